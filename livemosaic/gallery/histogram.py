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
def cell_histograms(bgr: U8, cells: I32, columns: int, out: U16) -> None:
    """Count the colours of some cells of a picture.

    Parameters
    ----------
    bgr : uint8 (rows * px, columns * px, 3), C-contiguous; px is the cells' size
    cells : int32 (n,), row-major numbers of the cells to count
    columns : cells per row
    out : uint16 (>= n, 125), overwritten; a row sums to px * px. Bin index: (b * 5 + g) * 5 + r
    """
    across = np.uintp(columns)
    px = np.uintp(bgr.shape[1]) // across
    out[: cells.shape[0]] = 0
    for i in range(np.uintp(cells.shape[0])):
        row = np.uintp(cells[i]) // across
        top, left = row * px, (np.uintp(cells[i]) - row * across) * px
        for y in range(top, top + px):
            for x in range(left, left + px):
                blue, green, red = bgr[y, x, 0], bgr[y, x, 1], bgr[y, x, 2]
                out[i, _BLUE[blue] + _GREEN[green] + _RED[red]] += np.uint16(1)


def tile_histograms(tiles: U8) -> F32:
    """Histograms of whole tiles, (n, px, px, 3) BGR, px at most 255: (n, 125), rows sum to 1."""
    n, px = tiles.shape[0], tiles.shape[1]
    counts = np.empty((n, HISTOGRAM_SIZE), np.uint16)
    picture = np.ascontiguousarray(tiles).reshape(n * px, px, 3)
    cell_histograms(picture, np.arange(n, dtype=np.int32), 1, counts)
    return counts.astype(np.float32) / np.float32(px * px)
