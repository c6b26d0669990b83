"""The area of a picture that becomes a mosaic, and what is shown outside of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..argument import take
from ..errors import UsageError
from ..jit import I32, U8, U16, Bools, kernel
from ..media.colour import Colour
from ..media.frame import Frame, check_plane
from .blend import Rows, constant
from .grid import Grid

# Interpolation mixes each sample with those beside it, and a cell may end in the middle of one.
_AROUND = np.ones((5, 5), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """Where the mosaic is in a frame, and what is shown elsewhere: for `Mosaic.process`.

    Attributes
    ----------
    mask : uint8 (height, width) of any size, stretched over the picture: 255 shows the mosaic, 0
        shows `outside`, values between mix both
    outside : a frame of any size, whose colour is that of the frame; it has a picture in 10 bits if
        the frame has one

    Raises
    ------
    UsageError : the mask has another type or layout, or `outside` is no frame

    Examples
    --------
    The mosaic is in the right half, the picture itself in the left half:

    >>> mask = np.zeros((720, 1280), np.uint8)                          # doctest: +SKIP
    >>> mask[:, 640:] = 255                                             # doctest: +SKIP
    >>> area = livemosaic.Area(mask, livemosaic.Frame.from_bgr(photo))  # doctest: +SKIP
    >>> picture = mosaic.process(photo, area=area)                      # doctest: +SKIP
    """

    mask: U8
    outside: Frame

    def __post_init__(self) -> None:
        check_plane("mask", self.mask, getattr(self.mask, "shape", ()))
        take("outside", self.outside, Frame, "a Frame")

    def check(self, frame: Frame) -> None:
        """`UsageError` if this is for frames of another colour."""
        if _colours(self.outside) != _colours(frame):
            raise UsageError(
                "area: the colour of what is outside is not that of the frame; give a Frame of the "
                "same colour, with 10 bits if the frame has these"
            )


def _colours(frame: Frame) -> tuple[Colour, Colour | None]:
    return frame.colour, None if frame.deep is None else frame.deep.colour


def seen_cells(mask: U8, grid: Grid) -> Bools:
    """The cells that show more mosaic than what is outside somewhere, bool (rows, columns)."""
    return np.asarray(_most(mask, grid) >= 128)


def hidden_cells(mask: U8, grid: Grid) -> Bools:
    """The cells of which nothing is seen, bool (rows * columns,)."""
    dilated = np.asarray(cv2.dilate(mask, _AROUND), np.uint8)
    return np.asarray(_most(dilated, grid) == 0).reshape(-1)


def _most(mask: U8, grid: Grid) -> U8:
    """The highest value of the mask in each cell, uint8 (rows, columns)."""
    for axis, count, tile, side in (
        (0, grid.rows, grid.tile_height, grid.height),
        (1, grid.columns, grid.tile_width, grid.width),
    ):
        length = mask.shape[axis]
        starts = np.arange(count) * (tile * length) // side
        mask = np.maximum.reduceat(mask, np.minimum(starts, length - 1), axis)
    return mask


def mix_plane(
    mosaic: U8, outside: U8, outside_rows: Rows, mask: U8, mask_rows: Rows, out: U8
) -> None:
    """Mix a plane of the mosaic with what is outside.

    `mosaic` and `out` are uint8 (height, width). `outside` and `mask` have the same width, at most
    that, which is mixed; their columns are enlarged here, as their rows say.
    """
    _mix(
        constant(mosaic), constant(outside), outside_rows.above, outside_rows.weight,
        constant(mask), mask_rows.above, mask_rows.weight, out,
    )  # fmt: skip


@kernel
def _mix(
    mosaic: U8, outside: U8, above: I32, weight: U16, mask: U8, mask_above: I32, mask_weight: U16,
    out: U8,
) -> None:  # fmt: skip
    one, half, bits = np.uint16(256), np.uint16(128), np.uint16(8)
    width = np.uintp(outside.shape[1])
    for y in range(np.uintp(out.shape[0])):
        a, w = np.uintp(above[y]), np.uint16(weight[y])
        b, v = np.uintp(mask_above[y]), np.uint16(mask_weight[y])
        upper, lower = outside[a], outside[a + np.uintp(1)]
        mask_upper, mask_lower = mask[b], mask[b + np.uintp(1)]
        tiles, line = mosaic[y], out[y]
        for x in range(width):
            m = np.uint16(mask_upper[x]) * np.uint16(one - v) + np.uint16(mask_lower[x]) * v
            m = np.uint16(np.uint16(m + half) >> bits)
            m = np.uint16(m + np.uint16(m >> np.uint16(7)))  # 0..256
            other = np.uint16(upper[x]) * np.uint16(one - w) + np.uint16(lower[x]) * w
            other = np.uint16(np.uint16(other + half) >> bits)
            mixed = np.uint16(tiles[x]) * m + np.uint16(other * np.uint16(one - m))
            line[x] = np.uint8(np.uint16(mixed + half) >> bits)


@kernel
def mix_deep(plane: U16, outside: U16, mask: U8) -> None:
    """Mix what is outside into a plane of 10 bits; all are (height, width)."""
    for y in range(np.uintp(plane.shape[0])):
        for x in range(np.uintp(plane.shape[1])):
            m = np.uint32(mask[y, x])
            m += m >> np.uint32(7)
            mixed = np.uint32(plane[y, x]) * m + np.uint32(outside[y, x]) * (np.uint32(256) - m)
            plane[y, x] = np.uint16((mixed + np.uint32(128)) >> np.uint32(8))
