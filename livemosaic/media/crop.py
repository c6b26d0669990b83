"""Pixels that a file asks to remove at the sides of its pictures."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from .colour import AnyPlanes


class Crop(NamedTuple):
    """Pixels to remove at each side of the stored picture."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """The size of a picture after the cropping."""
        left, top = _even(self.left), _even(self.top)
        return width - left - self.right, height - top - self.bottom

    def of(self, planes: AnyPlanes) -> AnyPlanes:
        """The planes of I420 without what is cropped."""
        y, u, v = planes
        left, top = _even(self.left), _even(self.top)
        width, height = self.size_of(y.shape[1], y.shape[0])
        half = np.s_[top // 2 : (top + height + 1) // 2, left // 2 : (left + width + 1) // 2]
        return y[top : top + height, left : left + width], u[half], v[half]


NO_CROP = Crop()


def _even(pixels: int) -> int:
    """The next even number: a sample of chroma is above two of luma."""
    return pixels + pixels % 2


def of_aperture(stored: tuple[int, ...], aperture: bytes) -> Crop:
    """The cropping of a picture of the size `stored` to the content of a `clap` box: fractions of
    width, height, and offsets of the centre (ISO/IEC 14496-12, 12.1.4).

    Raises
    ------
    ZeroDivisionError, struct.error : it is damaged
    """
    fractions = struct.unpack(">4I4i", aperture)
    width, height, right, down = (
        above / below for above, below in zip(fractions[::2], fractions[1::2], strict=True)
    )
    left = round((stored[0] - width) / 2 + right)
    top = round((stored[1] - height) / 2 + down)
    return Crop(left, top, stored[0] - left - round(width), stored[1] - top - round(height))
