"""The colour histogram of a cell or tile: 5 bins per channel, 5x5x5 = 125 values.

Source: the reference notebook (vishnu-chand/videoMosaic), which matches cells and photos by it.
"""

from __future__ import annotations

import numpy as np

from ..jit import F32, I32, U8, U16, kernel

BINS = 5
HISTOGRAM_SIZE = BINS**3

# bin = value * 5 // 256, as a table: a look-up is cheaper than two multiplications. The tables
# include the place value of their channel.
_RED = (np.arange(256) * BINS // 256).astype(np.uintp)
_GREEN = _RED * np.uintp(BINS)
_BLUE = _GREEN * np.uintp(BINS)


@kernel
def cell_histograms(bgr: U8, cells: I32, rows: int, columns: int, out: U16) -> None:
    """Count the colours of some cells of a picture.

    Parameters
    ----------
    bgr : uint8 (rows * height, columns * width, 3), C-contiguous; of cells of width x height
    cells : int32 (n,), row-major numbers of the cells to count
    rows, columns : of cells in the picture
    out : uint16 (>= n, 125), overwritten; a row sums to width * height. Bin index:
        (b * 5 + g) * 5 + r
    """
    across = np.uintp(columns)
    width, height = np.uintp(bgr.shape[1]) // across, np.uintp(bgr.shape[0]) // np.uintp(rows)
    out[: cells.shape[0]] = 0
    for i in range(np.uintp(cells.shape[0])):
        row = np.uintp(cells[i]) // across
        top, left = row * height, (np.uintp(cells[i]) - row * across) * width
        for y in range(top, top + height):
            for x in range(left, left + width):
                blue, green, red = bgr[y, x, 0], bgr[y, x, 1], bgr[y, x, 2]
                out[i, _BLUE[blue] + _GREEN[green] + _RED[red]] += np.uint16(1)


def tile_histograms(tiles: U8) -> F32:
    """Histograms of whole tiles, (n, height, width, 3) BGR of at most 255x255 pixels: (n, 125),
    rows sum to 1."""
    n, height, width = tiles.shape[:3]
    counts = np.empty((n, HISTOGRAM_SIZE), np.uint16)
    picture = np.ascontiguousarray(tiles).reshape(n * height, width, 3)
    cell_histograms(picture, np.arange(n, dtype=np.int32), max(n, 1), 1, counts)
    return counts.astype(np.float32) / np.float32(height * width)
