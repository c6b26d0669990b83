"""Tint: each tile's mean colour moves towards its cell's.

Lightness is shifted, and its contrast lowered where the shifted tile would be clipped, in the darks
and in the lights; colour is shifted only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import kernel
from .blend import WEIGHT_ONE, PlaneTint
from .grid import ANALYSIS_PX, Grid

__all__ = ["CellTint", "plane_tints"]

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

# A cell's mean may drift this far, in levels, before its tile is tinted anew: less cannot be seen,
# and camera noise moves the mean of 64 pixels by half a level.
_MAX_STALE_LEVELS = 2.5

# A tile's luma lies within so many standard deviations of its mean, for the most part; and its
# contrast is never lowered below this share.
_SPREAD, _LEAST_GAIN = 2.0, 0.3

# So near to black and white a tile's mean moves further: most of what the tint leaves of the
# difference is made good there, or the bars of a film and a fade to black would be grey.
_NEAR_END_LEVELS = 32.0


@kernel
def _update(ycbcr: U8, shown: F32, limit: np.float32, paint: NDArray[np.bool_]) -> None:
    """Take over means that have drifted too far, and those of cells that are painted anyway.

    `ycbcr` is uint8 (rows * 8, columns * 24). A line of cells is summed before its cells are, so
    that whole lines of samples are added as vectors.
    """
    px, step = np.uintp(ANALYSIS_PX), np.uintp(3 * ANALYSIS_PX)
    columns = np.uintp(ycbcr.shape[1]) // step
    sums, mean = np.empty(ycbcr.shape[1], np.uint16), np.empty(3, np.float32)
    share = np.float32(1 / ANALYSIS_PX**2)
    for row in range(np.uintp(ycbcr.shape[0]) // px):
        for x in range(np.uintp(ycbcr.shape[1])):
            sums[x] = 0
        for y in range(row * px, row * px + px):
            for x in range(np.uintp(ycbcr.shape[1])):
                sums[x] += np.uint16(ycbcr[y, x])
        for column in range(columns):
            cell, far = row * columns + column, np.float32(0)
            for channel in range(np.uintp(3)):
                total = np.uint32(0)
                for x in range(column * step + channel, column * step + step, np.uintp(3)):
                    total += np.uint32(sums[x])
                mean[channel] = np.float32(total) * share
                far = max(far, abs(mean[channel] - shown[cell, channel]))
            if far > limit:
                paint[cell] = True
            if paint[cell]:
                for channel in range(np.uintp(3)):
                    shown[cell, channel] = mean[channel]


class CellTint:
    """Per-stream memory of the mean colour that each cell's tile was tinted for.

    Parameters
    ----------
    grid : the cells
    """

    def __init__(self, grid: Grid) -> None:
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
        lines = ycbcr.reshape(len(ycbcr), -1)
        _update(lines, self._shown, np.float32(_MAX_STALE_LEVELS), paint)
        return self._shown


def plane_tints(
    own: F32,
    deviations: F32,
    means: F32,
    *,
    tint: float,
    overlays: tuple[float, float, float],
    full_range: bool,
) -> list[PlaneTint]:
    """How tiles come as near to their cells' means as the tint says.

    Parameters
    ----------
    own, deviations : float32 (n, 3) and (n,), the tiles' mean Y'CbCr, and deviation of luma
    means : float32 (n, 3), the cells' mean Y'CbCr
    tint : 0..1
    overlays : alpha of the superimposed original, in each plane

    Returns
    -------
    for each plane
    """
    low, high = (0, 255) if full_range else (16, 235)
    shares = np.array([1.0 - overlay for overlay in overlays], np.float32)
    gains, offsets = np.empty((3, len(own)), np.uint16), np.empty((3, len(own)), np.int16)
    _plane_tints(
        own,
        deviations,
        means,
        np.float32(tint),
        np.float32(low),
        np.float32(high),
        shares,
        gains,
        offsets,
    )
    tops = [int(share * 255 + 1e-4) for share in shares]
    return [PlaneTint(*plane) for plane in zip(gains, offsets, tops, strict=True)]


@kernel
def _plane_tints(
    own: F32,
    deviations: F32,
    means: F32,
    tint: np.float32,
    low: np.float32,
    high: np.float32,
    shares: F32,
    gains: NDArray[np.uint16],
    offsets: NDArray[np.int16],
) -> None:
    one, least = np.float32(1), np.float32(_LEAST_GAIN)
    for i in range(np.uintp(own.shape[0])):
        from_end = max(min(means[i, 0] - low, high - means[i, 0]), np.float32(0))
        near_end = max(one - from_end / np.float32(_NEAR_END_LEVELS), np.float32(0))
        reach = tint + tint * (one - tint) * near_end
        for channel in range(np.uintp(3)):
            mean, share, gain = own[i, channel], shares[channel], one
            wanted = mean + reach * (means[i, channel] - mean)
            if channel == 0:
                # Contrast that would be clipped is given up instead; never all of it, or photos in
                # the darks could not be seen at all.
                room = min(wanted - low, high - wanted)
                spread = max(np.float32(_SPREAD) * deviations[i], np.float32(1e-3))
                gain = min(max(room / spread, least), one)
            scaled = np.rint(share * gain * np.float32(WEIGHT_ONE))
            moved = share * wanted - scaled / np.float32(WEIGHT_ONE) * mean
            gains[channel, i] = np.uint16(scaled)
            offsets[channel, i] = np.int16(np.rint(moved))
