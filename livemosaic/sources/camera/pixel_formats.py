"""Conversion of cameras' pixel formats to I420 planes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media.colour import UNSPECIFIED, Colour, bgr_to_i420
from ...media.ffmpeg import LIMITED, MATRIX_CODES, av
from ..i420 import Converter

__all__ = ["Pixels"]

U8 = NDArray[np.uint8]
Planes = tuple[U8, U8, U8]

# The default of V4L2 and of the USB video class for uncompressed pictures of any size. Outputs are
# tagged with it, because players would guess BT.709 from 1280x720 upwards.
_CAMERA = Colour("bt601", False, (UNSPECIFIED, UNSPECIFIED, MATRIX_CODES["bt601"], LIMITED))

_PACKED = {"YUYV": "yuyv422", "UYVY": "uyvy422"}  # FFmpeg's names


class Pixels:
    """Converts a camera's pictures to planes.

    Parameters
    ----------
    fourcc : the pixel format, with Linux's name
    size : width and height of the pictures

    Attributes
    ----------
    colour : of the planes; final after the first picture
    """

    def __init__(self, fourcc: str, size: tuple[int, int]) -> None:
        self.colour = _CAMERA
        self._fourcc = fourcc
        self._size = size
        self._converter: Converter | None = None
        self._decoder: Any = None
        if fourcc == "MJPG":
            self._decoder = av.CodecContext.create("mjpeg", "r")
            self._decoder.thread_count = 1  # more would delay pictures

    def __call__(self, raw: U8) -> Planes | None:
        """The planes y (h, w), u and v (ceil(h/2), ceil(w/2)); None for a damaged picture."""
        if self._decoder is not None:
            return self._decode(raw)
        width, height = self._size
        if self._fourcc in _PACKED:
            return self._unpack(raw.reshape(height, width * 2))
        if self._fourcc == "GREY":
            grey = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
            return raw.reshape(height, width), grey, grey
        if self._fourcc in ("NV12", "NV21"):
            rows = raw.reshape(height * 3 // 2, width)
            first, second = cv2.split(rows[height:].reshape(height // 2, width // 2, 2))
            return rows[:height], *_ordered(first, second, swapped=self._fourcc == "NV21")
        if self._fourcc in ("YU12", "YV12"):
            samples = raw.reshape(-1)
            y, chroma = samples[: width * height], samples[width * height :]
            first, second = chroma.reshape(2, height // 2, width // 2)
            ordered = _ordered(first, second, swapped=self._fourcc == "YV12")
            return y.reshape(height, width), *ordered
        return self._from_bgr(raw)

    def _decode(self, raw: U8) -> Planes | None:
        try:
            pictures = self._decoder.decode(av.Packet(raw.tobytes()))
        except (av.error.FFmpegError, ValueError):
            return None
        if not pictures or pictures[-1].is_corrupt:
            return None
        if self._converter is None:
            self._converter = Converter(pictures[-1])
            self.colour = self._converter.colour
        return self._converter(pictures[-1])

    def _unpack(self, rows: U8) -> Planes:
        frame = av.VideoFrame(*self._size, _PACKED[self._fourcc])
        plane: Any = frame.planes[0]
        memory = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        memory[: rows.shape[0], : rows.shape[1]] = rows
        if self._converter is None:
            self._converter = Converter(frame)
        return self._converter(frame)

    def _from_bgr(self, bgr: U8) -> Planes:
        height, width = bgr.shape[:2]
        if (width | height) & 1:
            return bgr_to_i420(bgr, self.colour)
        # OpenCV's own conversion (BT.601, limited range) is ten times as fast.
        planes = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), np.uint8).reshape(-1)
        u, v = planes[width * height :].reshape(2, height // 2, width // 2)
        return planes[: width * height].reshape(height, width), u, v


def _ordered(first: Any, second: Any, *, swapped: bool) -> tuple[U8, U8]:
    u, v = np.asarray(first, np.uint8), np.asarray(second, np.uint8)
    return (v, u) if swapped else (u, v)
