"""Conversion of cameras' pixel formats to I420 planes."""

from __future__ import annotations

from typing import Any

from ...media.colour import U8, Planes
from ...media.ffmpeg import av
from ..bgr import BT601, bgr_planes
from ..i420 import Converter

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
        self.colour = BT601  # of the planes; final after the first picture
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
            return bgr_planes(raw)
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
