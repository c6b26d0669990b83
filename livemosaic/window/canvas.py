"""The pixels of a window: the picture between black bars, and panels over it."""

from __future__ import annotations

import weakref
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from ..media.colour import U8, ycbcr_to_bgr
from ..media.frame import Frame
from ..media.scale import letterbox, scaled
from ..media.text import Panel

_CORNER_SHARE = 0.25  # width of the original in the corner, of the picture's
_CORNER_EDGE = (235, 235, 235)


class Canvas:
    """The uint8 (height, width, 3) BGR pixels of a window of one size.

    `aspect` is width by height of the picture as a viewer sees it.
    """

    def __init__(self, width: int, height: int, *, aspect: Fraction) -> None:
        self.width, self.height, self._aspect = width, height, aspect
        left, top, w, h = letterbox(1, 1, (width, height), aspect=aspect)
        self.pixels: U8 = np.zeros((height, width, 3), np.uint8)
        self._picture = self.pixels[top : top + h, left : left + w]
        self._covered: list[tuple[U8, U8]] = []  # parts under panels, and their pixels before
        self._drawn: tuple[Any, ...] = ()
        self._drawn_memory: list[weakref.ref[U8]] = []

    def resized(self, width: int, height: int) -> Canvas:
        """A canvas of another size with the same picture, to be shown until the next frame."""
        self.uncover()
        other = Canvas(width, height, aspect=self._aspect)
        other._picture[:] = cv2.resize(self._picture, other._picture.shape[1::-1])
        return other

    def draw(self, frame: Frame) -> bool:
        """Draw a frame, and remove all panels; returns whether the picture is a new one."""
        planes = (frame.y, frame.u, frame.v)
        # Pictures between which nothing changed share their memory. If that memory was released in
        # between, it may contain another picture.
        drawn = tuple((p.__array_interface__["data"][0], p.shape, p.strides) for p in planes)
        alive = [memory() is not None for memory in self._drawn_memory]
        if drawn == self._drawn and all(alive):
            return False
        self._drawn, self._drawn_memory = drawn, [weakref.ref(_owner(plane)) for plane in planes]
        self.uncover()  # panels may cover the bars, too
        _convert(frame, self._picture)
        return True

    def corner(self, original: Frame) -> Panel:
        """The original with a thin edge, small, as a panel."""
        width = max(2, round(self._picture.shape[1] * _CORNER_SHARE))
        height = max(2, round(width / self._aspect))
        small: U8 = np.empty((height, width, 3), np.uint8)
        _convert(original, small)
        cv2.rectangle(small, (0, 0), (width - 1, height - 1), _CORNER_EDGE, 1)
        return Panel(np.full_like(small, 255), small)

    def cover(self, panel: Panel, left: int, top: int) -> None:
        """Lay a panel over the picture; parts outside are cut off."""
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
        """Remove all panels."""
        while self._covered:
            part, before = self._covered.pop()
            part[:] = before


def _owner(plane: U8) -> U8:
    """The array whose memory a plane is a view of."""
    return plane.base if isinstance(plane.base, np.ndarray) else plane


def _convert(frame: Frame, out: U8) -> None:
    """Scale a frame, and convert it to uint8 (h, w, 3) BGR `out`.

    Scaling first is cheaper where the window is smaller than the picture.
    """
    height, width = out.shape[:2]
    planes = [scaled(plane, width, height) for plane in (frame.y, frame.u, frame.v)]
    out[:] = ycbcr_to_bgr(np.asarray(cv2.merge(planes), np.uint8), frame.colour)
