"""What a window shows, as pixels: the picture with black bars beside it, and panels over it."""

from __future__ import annotations

import weakref
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.colour import ycbcr_to_bgr
from ..media.frame import Frame
from ..media.text import Panel

__all__ = ["Canvas"]

U8 = NDArray[np.uint8]

_CORNER_SHARE = 0.25  # width of the original in its corner, of the picture's
_CORNER_EDGE = (235, 235, 235)


class Canvas:
    """The pixels of a window of one size.

    Parameters
    ----------
    width, height : in pixels
    aspect : width by height that the picture is to have

    Attributes
    ----------
    pixels : uint8 (height, width, 3) BGR
    """

    def __init__(self, width: int, height: int, *, aspect: float) -> None:
        self._aspect = aspect
        inner = min(width, max(1, round(height * aspect)))
        outer = min(height, max(1, round(width / aspect)))
        left, top = (width - inner) // 2, (height - outer) // 2
        self.pixels: U8 = np.zeros((height, width, 3), np.uint8)
        self._picture = self.pixels[top : top + outer, left : left + inner]
        self._covered: list[tuple[U8, U8]] = []  # parts, and what was there before
        self._seen: tuple[Any, ...] = ()
        self._seen_memory: list[weakref.ref[U8]] = []

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def resized(self, width: int, height: int) -> Canvas:
        """A canvas of another size with the same picture: good enough until the next frame."""
        self.uncover()
        other = Canvas(width, height, aspect=self._aspect)
        other._picture[:] = cv2.resize(self._picture, other._picture.shape[1::-1])
        return other

    def draw(self, frame: Frame) -> bool:
        """Draw a frame, and nothing over it; returns whether it is another picture."""
        planes = (frame.y, frame.u, frame.v)
        # Pictures between which nothing changed share their memory. It may be another picture's
        # when it was let go of in the meantime.
        seen = tuple((p.__array_interface__["data"][0], p.shape, p.strides) for p in planes)
        alive = [memory() is not None for memory in self._seen_memory]
        if seen == self._seen and all(alive):
            return False
        self._seen, self._seen_memory = seen, [weakref.ref(_owner(plane)) for plane in planes]
        self.uncover()  # panels lie over the bars too
        _convert(frame, self._picture)
        return True

    def corner(self, original: Frame) -> Panel:
        """The input, small, with a thin edge, for a corner."""
        width = max(2, round(self._picture.shape[1] * _CORNER_SHARE))
        height = max(2, round(width / self._aspect))
        small: U8 = np.empty((height, width, 3), np.uint8)
        _convert(original, small)
        cv2.rectangle(small, (0, 0), (width - 1, height - 1), _CORNER_EDGE, 1)
        return Panel(np.zeros_like(small), small)

    def cover(self, panel: Panel, left: int, top: int) -> None:
        """Lay a panel over the picture; what sticks out is cut."""
        rows = slice(max(top, 0), max(top + panel.height, 0))
        part = self.pixels[rows, max(left, 0) : max(left + panel.width, 0)]
        self._covered.append((part, part.copy()))
        panel.paint(self.pixels, left, top)

    def cover_corner(self, panel: Panel, *, margin: int) -> None:
        """Lay a panel into the lower right corner of the picture."""
        right = (self.width + self._picture.shape[1]) // 2
        bottom = (self.height + self._picture.shape[0]) // 2
        self.cover(panel, right - margin - panel.width, bottom - margin - panel.height)

    def uncover(self) -> None:
        """Take all panels away."""
        while self._covered:
            part, before = self._covered.pop()
            part[:] = before


def _owner(plane: U8) -> U8:
    """The array whose memory a plane is a view of."""
    return plane.base if isinstance(plane.base, np.ndarray) else plane


def _convert(frame: Frame, out: U8) -> None:
    """Scale a frame, and convert it to uint8 (h, w, 3) BGR `out`.

    In this order, because it is cheaper where the window is smaller than the picture.
    """
    size = (out.shape[1], out.shape[0])
    planes = [_scaled(plane, size) for plane in (frame.y, frame.u, frame.v)]
    out[:] = ycbcr_to_bgr(np.asarray(cv2.merge(planes), np.uint8), frame.colour)


def _scaled(plane: U8, size: tuple[int, int]) -> U8:
    """A plane in another size. Averaging over any ratio costs six times as much as this."""
    while plane.shape[1] >= 2 * size[0] and plane.shape[0] >= 2 * size[1]:
        half = (plane.shape[1] // 2, plane.shape[0] // 2)
        plane = np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.uint8)
    if plane.shape[1::-1] != size:
        plane = np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return plane
