"""Features of the match by layout: the mean colours of 4x4 parts (points) of tiles and cells.

Unlike histograms, they distinguish a tile that is dark at the top from one that is dark at the
bottom.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..jit import F32, U8, kernel, kernel_part

POINTS = 4  # per side; more would distinguish more photos, but make no difference from afar

# The weight of a* and b* relative to L*. With 1 the mean CIEDE2000 is better. With 0.7 the PSNR is
# better, and more different photos fit. (Oklab has a worse CIEDE2000 at the same PSNR.)
COLOUR_WEIGHT = 0.7


@kernel_part
def _luma(blue: float, green: float, red: float) -> float:
    return 0.114 * blue + 0.587 * green + 0.299 * red


@kernel
def _tile_points(tiles: U8, points: U8, texture: U8) -> None:
    """Means of the 4x4 parts of each tile, and the deviation of luma from them."""
    height, width = np.uintp(tiles.shape[1]), np.uintp(tiles.shape[2])
    sums = np.empty((POINTS, POINTS, 3), np.int64)
    counts = np.empty((POINTS, POINTS), np.int64)
    luma = np.empty((POINTS, POINTS), np.float64)
    for tile in range(np.uintp(tiles.shape[0])):
        sums[:] = 0
        counts[:] = 0
        for y in range(height):
            above = y * np.uintp(POINTS) // height
            for x in range(width):
                beside = x * np.uintp(POINTS) // width
                for channel in range(np.uintp(3)):
                    sums[above, beside, channel] += tiles[tile, y, x, channel]
                counts[above, beside] += 1
        for row in range(np.uintp(POINTS)):
            for column in range(np.uintp(POINTS)):
                for channel in range(np.uintp(3)):
                    mean = sums[row, column, channel] / counts[row, column]
                    points[tile, row, column, channel] = np.uint8(mean + 0.5)
                total = _luma(sums[row, column, 0], sums[row, column, 1], sums[row, column, 2])
                luma[row, column] = total / counts[row, column]
        squares = 0.0
        for y in range(height):
            above = y * np.uintp(POINTS) // height
            for x in range(width):
                here = _luma(tiles[tile, y, x, 0], tiles[tile, y, x, 1], tiles[tile, y, x, 2])
                away = here - luma[above, x * np.uintp(POINTS) // width]
                squares += away * away
        texture[tile] = np.uint8(min(255.0, np.sqrt(squares / (width * height)) + 0.5))


def tile_points(tiles: U8) -> tuple[U8, U8]:
    """Describe tiles, uint8 (n, height, width, 3) BGR, of at least 4x4 pixels.

    Returns
    -------
    points : uint8 (n, 4, 4, 3) BGR, the mean colours of the 4x4 parts
    texture : uint8 (n,), standard deviation of luma from these means in levels: the detail that is
        visible from near, and vanishes from afar
    """
    points = np.empty((len(tiles), POINTS, POINTS, 3), np.uint8)
    texture = np.empty(len(tiles), np.uint8)
    _tile_points(np.ascontiguousarray(tiles), points, texture)
    return points, texture


def cell_points(bgr: U8, rows: int, columns: int, some: NDArray[np.intp] | None = None) -> U8:
    """The points of all cells of a picture, uint8 (rows * 8, columns * 8, 3) BGR, row by row, or
    those of `some` cells: uint8 (n, 4, 4, 3)."""
    small = _small(bgr, rows, columns)
    if some is not None:
        row, column = np.divmod(some, columns)
        lines = small.reshape(rows, POINTS, columns, POINTS * 3)[row, :, column]
        return lines.reshape(-1, POINTS, POINTS, 3)
    cells = small.reshape(rows, POINTS, columns, POINTS, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(cells).reshape(-1, POINTS, POINTS, 3)


def _small(bgr: U8, rows: int, columns: int) -> U8:
    size = (columns * POINTS, rows * POINTS)
    return np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)


# OpenCV's 8-bit codes of L*, a* and b* in units, colour with less weight: (1, 256, 3).
_CODE = np.arange(256, dtype=np.float32)
_COLOUR = (_CODE - np.float32(128)) * np.float32(COLOUR_WEIGHT)
_LAB_UNITS = np.stack([_CODE * np.float32(100 / 255), _COLOUR, _COLOUR], axis=1)[None]


def points_to_lab(points: U8) -> F32:
    """uint8 (n, 4, 4, 3) BGR to CIELAB with less weight on colour: float32 (n, 16, 3), L* 0..100,
    then 0.7 a* and 0.7 b*.

    The conversion rounds to 8 bits, which is invisible and four times as fast.
    """
    if not len(points):
        return np.empty((0, POINTS * POINTS, 3), np.float32)
    coded = cv2.cvtColor(points.reshape(len(points), -1, 3), cv2.COLOR_BGR2LAB)
    return np.asarray(cv2.LUT(coded, _LAB_UNITS), np.float32)


# The same for a row of points of a cell, code by code.
_SHIFT = np.tile(np.array([0, 128, 128], np.float32), POINTS)
_SCALE = np.tile(np.array([100 / 255, COLOUR_WEIGHT, COLOUR_WEIGHT], np.float32), POINTS)


@kernel
def _cell_lab(coded: U8, shift: F32, scale: F32, lab: F32) -> None:
    """The points of cells, float32 (cells, 48), of a picture of points in OpenCV's codes."""
    side, width = np.uintp(POINTS), np.uintp(scale.shape[0])
    columns = np.uintp(coded.shape[1]) // width
    for y in range(np.uintp(coded.shape[0])):
        first = y // side * columns
        for column in range(columns):
            for j in range(width):
                code = np.float32(coded[y, column * width + j])
                lab[first + column, y % side * width + j] = (code - shift[j]) * scale[j]


def cell_lab(bgr: U8, rows: int, columns: int) -> F32:
    """The points of all cells of a picture as `points_to_lab` makes them of `cell_points`, in less
    time: float32 (rows * columns, 16, 3)."""
    coded = np.asarray(cv2.cvtColor(_small(bgr, rows, columns), cv2.COLOR_BGR2LAB), np.uint8)
    lab = np.empty((rows * columns, POINTS * POINTS, 3), np.float32)
    _cell_lab(coded.reshape(len(coded), -1), _SHIFT, _SCALE, lab.reshape(len(lab), -1))
    return lab
