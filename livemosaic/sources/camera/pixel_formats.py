"""Conversion of cameras' pixel formats to I420 planes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ...media.colour import U8, UNSPECIFIED, Colour, Planes, bgr_to_i420
from ...media.ffmpeg import LIMITED, MATRIX_CODES, av
from ..i420 import Converter

# The default of V4L2 and of the USB video class for uncompressed pictures of any size. Outputs are
# tagged with it, because players would guess BT.709 from 1280x720 upwards.
_CAMERA = Colour("bt601", False, (UNSPECIFIED, UNSPECIFIED, MATRIX_CODES["bt601"], LIMITED))

# Linux's names of uncompressed formats, and FFmpeg's. YV12 is YU12 with u and v swapped.
_UNCOMPRESSED = {
    **{"YUYV": "yuyv422", "UYVY": "uyvy422", "NV12": "nv12", "NV21": "nv21"},
    **{"YU12": "yuv420p", "YV12": "yuv420p", "GREY": "gray"},
}


class Pixels:
    """Converts a camera's pictures, of width and height `size`, to planes.

    `fourcc` is Linux's name of their pixel format.
    """

    def __init__(self, fourcc: str, size: tuple[int, int]) -> None:
        self.colour = _CAMERA  # of the planes; final after the first picture
        self._fourcc = fourcc
        self._converter: Converter | None = None
        self._decoder: Any = None  # None for "BGR3"
        if fourcc == "MJPG":
            self._decoder = av.CodecContext.create("mjpeg", "r")
            self._decoder.thread_count = 1  # more would delay pictures
        elif fourcc in _UNCOMPRESSED:
            self._decoder = av.CodecContext.create("rawvideo", "r")
            self._decoder.width, self._decoder.height = size
            self._decoder.pix_fmt = _UNCOMPRESSED[fourcc]

    def __call__(self, raw: U8) -> Planes | None:
        """The planes y (h, w), u and v (ceil(h/2), ceil(w/2)); None for a damaged picture."""
        if self._decoder is None:
            return self._from_bgr(raw)
        try:
            pictures = self._decoder.decode(av.Packet(raw.tobytes()))
        except (av.error.FFmpegError, ValueError):
            return None
        if not pictures or pictures[-1].is_corrupt:
            return None
        if self._converter is None:
            self._converter = Converter(pictures[-1], full_grey=self._fourcc == "MJPG")
            if self._fourcc == "MJPG":
                self.colour = self._converter.colour
        y, u, v = self._converter(pictures[-1])
        return (y, v, u) if self._fourcc == "YV12" else (y, u, v)

    def _from_bgr(self, bgr: U8) -> Planes:
        height, width = bgr.shape[:2]
        if (width | height) & 1:
            return bgr_to_i420(bgr, self.colour)
        # OpenCV's own conversion (BT.601, limited range) is ten times as fast.
        planes = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), np.uint8).reshape(-1)
        u, v = planes[width * height :].reshape(2, height // 2, width // 2)
        return planes[: width * height].reshape(height, width), u, v
