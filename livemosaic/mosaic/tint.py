"""The tint: each tile's mean colour moves towards the mean colour of its cell.

    mean'   = mean + reach * (cell's mean - mean)
    sample' = mean' + gain * (sample - mean)

`reach` is the tint, and more near black and white. `gain` is 1 for colour; for luma it is lower
where the moved tile would be clipped. `_plane_tints` is the formula, `tint_tiles` applies it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..jit import F32, I16, I32, U8, U16, Bools, kernel
from .grid import Grid

# A cell's mean may drift by so many levels before its tile is tinted again: less is invisible, and
# camera noise moves the mean of 64 pixels by half a level.
_MAX_STALE_LEVELS = 2.5

# A tile's luma is taken to spread by so many standard deviations. Its gain is never below the
# minimum, or photos in the darks would be invisible.
_SPREAD, _MIN_GAIN = 2.0, 0.3

# The reach grows within so many levels of black and white, or the bars of a film and a fade to
# black would be grey.
_NEAR_END_LEVELS = 32.0

# Gains are in 1/256, so that a 16-bit lane just holds their product with an 8-bit sample.
_GAIN_BITS = 8
_GAIN_ONE = 1 << _GAIN_BITS


class PlaneTint(NamedTuple):
    """How the tiles of n cells are tinted and scaled in one plane: tile * gain / 256 + offset."""

    gain: U16
    offset: I16
    top: int  # the result is clipped to 0..top, so that adding the original cannot overflow


class CellTint:
    """Per-stream memory of the mean colour that each cell's tile was tinted for."""

    def __init__(self, grid: Grid) -> None:
        self._rows = grid.rows
        self._shown = np.full((grid.cells, 3), -1e6, np.float32)

    def update(self, ycbcr: U8, outdated: Bools) -> F32:
        """The mean Y'CbCr to tint for, float32 (cells, 3); the next call overwrites it.

        `ycbcr` is uint8 (rows * px, columns * px, 3). `outdated`, bool (cells,), are the cells that
        will be composed; those whose mean has drifted are added.
        """
        lines, px = ycbcr.reshape(len(ycbcr), -1), len(ycbcr) // self._rows
        _update(lines, px, self._shown, np.float32(_MAX_STALE_LEVELS), outdated)
        return self._shown


@kernel
def _update(ycbcr: U8, side: int, shown: F32, limit: np.float32, outdated: Bools) -> None:
    """Take over the means that have drifted beyond the limit, and those of outdated cells.

    `ycbcr` is uint8 (rows * side, columns * side * 3). The lines of a row of cells are summed
    before its cells are, so that whole lines of samples are added as vectors.
    """
    px, step = np.uintp(side), np.uintp(3 * side)
    columns = np.uintp(ycbcr.shape[1]) // step
    sums, mean = np.empty(ycbcr.shape[1], np.uint16), np.empty(3, np.float32)
    share = np.float32(1 / side**2)
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
                outdated[cell] = True
            if outdated[cell]:
                for channel in range(np.uintp(3)):
                    shown[cell, channel] = mean[channel]


def plane_tints(
    tile_means: F32,
    deviations: F32,
    cell_means: F32,
    *,
    tint: float,
    overlays: tuple[float, float, float],
    full_range: bool,
    steps: int = 1,
) -> list[PlaneTint]:
    """The tints of tiles in their cells, one for each plane.

    Means are float32 (n, 3) Y'CbCr; `deviations`, float32 (n,), are of the tiles' luma. `overlays`
    is the alpha of the overlaid original in each plane; the tiles are scaled by 1 - alpha.
    Offsets are in so many steps of a level.
    """
    low, high = (0, 255) if full_range else (16, 235)
    shares = np.array([1.0 - overlay for overlay in overlays], np.float32)
    shape = (3, len(tile_means))
    gains, offsets = np.empty(shape, np.uint16), np.empty(shape, np.int16)
    numbers = np.float32(tint), np.float32(low), np.float32(high), np.float32(steps)
    _plane_tints(tile_means, deviations, cell_means, *numbers, shares, gains, offsets)
    tops = [int(share * 255 + 1e-4) for share in shares]
    return [PlaneTint(*plane) for plane in zip(gains, offsets, tops, strict=True)]


@kernel
def _plane_tints(
    tile_means: F32,
    deviations: F32,
    cell_means: F32,
    tint: np.float32,
    low: np.float32,
    high: np.float32,
    steps: np.float32,
    shares: F32,
    gains: U16,
    offsets: I16,
) -> None:
    """The formula of the tint, see the top of this module."""
    one, min_gain = np.float32(1), np.float32(_MIN_GAIN)
    for i in range(np.uintp(tile_means.shape[0])):
        from_end = max(min(cell_means[i, 0] - low, high - cell_means[i, 0]), np.float32(0))
        near_end = max(one - from_end / np.float32(_NEAR_END_LEVELS), np.float32(0))
        reach = tint + tint * (one - tint) * near_end
        for channel in range(np.uintp(3)):
            mean, share, gain = tile_means[i, channel], shares[channel], one
            moved = mean + reach * (cell_means[i, channel] - mean)
            if channel == 0:
                headroom = min(moved - low, high - moved)
                spread = max(np.float32(_SPREAD) * deviations[i], np.float32(1e-3))
                gain = min(max(headroom / spread, min_gain), one)
            scaled = np.rint(share * gain * np.float32(_GAIN_ONE))
            offset = share * moved - scaled / np.float32(_GAIN_ONE) * mean
            gains[channel, i] = np.uint16(scaled)
            offsets[channel, i] = np.int16(np.rint(steps * offset))


@kernel
def tint_tiles(tiles: U8, ids: I32, gain: U16, offset: I16, top: int, tinted: U8) -> None:
    """Tint the tiles `ids`, int32 (m,), in one plane, into `tinted`, uint8 (m, px * px).

    `tiles` is uint8 (n, px * px): the lines of most tiles are too short for vectors.
    """
    bits, half = np.uint16(_GAIN_BITS), np.uint16(_GAIN_ONE // 2)
    highest, lowest = np.int16(top), np.int16(0)
    for i in range(np.uintp(ids.shape[0])):
        tile, times, plus = np.uintp(ids[i]), gain[i], offset[i]
        for p in range(np.uintp(tiles.shape[1])):
            scaled = np.uint16(np.uint16(tiles[tile, p]) * times + half) >> bits
            moved = np.int16(np.int16(scaled) + plus)
            tinted[i, p] = np.uint8(min(max(moved, lowest), highest))
