"""Tint: each tile's mean colour moves towards its cell's.

Lightness is shifted, and its contrast lowered where the shifted tile would be clipped, in the darks
and in the lights; colour is shifted only.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .grid import Grid
from .kernels import kernel

__all__ = ["CellTint"]

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

# A cell's mean may drift this far, in levels, before its tile is tinted anew: less cannot be seen,
# and camera noise moves the mean of 64 pixels by half a level.
_MAX_STALE_LEVELS = 2.5


@kernel
def _settle(means: F32, shown: F32, limit: np.float32, paint: NDArray[np.bool_]) -> None:
    """Take over means that have drifted too far, and those of cells that are painted anyway."""
    for i in range(np.uintp(means.shape[0])):
        far = np.float32(0)
        for channel in range(np.uintp(3)):
            far = max(far, abs(means[i, channel] - shown[i, channel]))
        if far > limit:
            paint[i] = True
        if paint[i]:
            for channel in range(np.uintp(3)):
                shown[i, channel] = means[i, channel]


class CellTint:
    """Per-stream memory of the mean colour that each cell's tile was tinted for.

    Parameters
    ----------
    grid : the cells
    """

    def __init__(self, grid: Grid) -> None:
        self._size = (grid.columns, grid.rows)
        self._shown = np.full((grid.cells, 3), -1e6, np.float32)

    def update(self, ycbcr: U8, paint: NDArray[np.bool_]) -> F32:
        """Take in a frame.

        Parameters
        ----------
        ycbcr : uint8 (rows * 8, columns * 8, 3) Y'CbCr
        paint : bool (cells,), which are painted anyway; set for those whose mean has drifted

        Returns
        -------
        float32 (cells, 3), the mean Y'CbCr to tint for; overwritten by the next call
        """
        small = cv2.resize(ycbcr, self._size, interpolation=cv2.INTER_AREA)
        means = np.asarray(small, np.float32).reshape(-1, 3)
        _settle(means, self._shown, np.float32(_MAX_STALE_LEVELS), paint)
        return self._shown
