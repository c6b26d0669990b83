"""Coarse costs in 16 bits, which take 32 tiles in the time of one exact cost.

The search first estimates the costs of a whole cluster from the tiles' first coefficients. If an
estimate is promising, the search estimates again from all coefficients. It computes the exact cost
only for the lowest of these estimates.
"""

from __future__ import annotations

import numpy as np

from ...gallery.levels import COARSE, EXCLUDED, FINE, LANES
from ...jit import I16, U16, Count, kernel_part

# Larger differences (64 units) count as this one, so that their squares fit 16 bits.
_MAX_DIFFERENCE = 255


@kernel_part
def quantize_weight(weight: np.float32) -> np.int16:
    """The weight of a square, for `coarse_costs`."""
    return np.int16(np.rint(np.sqrt(weight) * np.float32(16)))


@kernel_part
def _add_square(cost: np.uint16, difference: np.int16) -> np.uint16:
    """A cost with the square of a difference; one instruction each for 32 tiles."""
    size = np.uint16(min(max(difference, np.int16(-difference)), np.int16(_MAX_DIFFERENCE)))
    square = np.uint16(np.uint16(size * size) >> np.uint16(2))
    return np.uint16(cost + min(square, np.uint16(~cost)))


@kernel_part
def minimum(costs: U16, begin: Count, end: Count) -> np.uint16:
    """The lowest of some costs, a multiple of `LANES`."""
    lowest = np.uint16(EXCLUDED)
    for t in range(np.uintp(begin), np.uintp(end)):
        lowest = np.uint16(min(lowest, costs[t]))
    return lowest


@kernel_part
def coarse_costs(
    blocks: I16,
    shift: Count,
    penalties: U16,
    code: I16,
    mean_weight: np.int16,
    begin: Count,
    end: Count,
    costs: U16,
) -> np.uint16:
    """Estimate the costs of a block's tiles from their coarse coefficients; return the lowest.

    Parameters
    ----------
    shift : the slot of the first block in `blocks`
    penalties : of each slot, `EXCLUDED` for an empty one
    code : int16 (28,), of the cell, in levels
    mean_weight : of the first three coefficients, from `quantize_weight`
    begin, end : slots of the block
    costs : (at least end - begin,), overwritten
    """
    # Constants, so that the inner loops become straight code.
    size, lanes, three = np.uintp(COARSE), np.uintp(LANES), np.uintp(3)
    count, first = np.uintp(end - begin), np.uintp(begin)
    at, lowest, four = np.uintp(begin - shift) * size, np.uint16(EXCLUDED), np.int16(4)
    for group in range(np.uintp(0), count, lanes):
        for lane in range(lanes):
            t = group + lane
            cost = penalties[first + t]
            for k in range(three):
                away = np.int16(blocks[at + k * count + t] - code[k])
                cost = _add_square(cost, np.int16(np.int16(away * mean_weight) >> four))
            for k in range(three, size):
                cost = _add_square(cost, np.int16(blocks[at + k * count + t] - code[k]))
            costs[t] = cost
            lowest = np.uint16(min(lowest, cost))
    return lowest


@kernel_part
def fine_costs(
    blocks: I16, shift: Count, details: U16, code: I16, begin: Count, end: Count, costs: U16
) -> np.uint16:
    """Replace the expected detail in a block's estimates by the fine coefficients' costs; return
    the lowest. `details` has the expected detail of each slot; for the others see `coarse_costs`.
    """
    size, lanes, coarse = np.uintp(FINE), np.uintp(LANES), np.uintp(COARSE)
    count, first = np.uintp(end - begin), np.uintp(begin)
    at, lowest = np.uintp(begin - shift) * size, np.uint16(EXCLUDED)
    for group in range(np.uintp(0), count, lanes):
        for lane in range(lanes):
            t = group + lane
            cost = np.uint16(costs[t] - details[first + t])
            for k in range(size):
                cost = _add_square(cost, np.int16(blocks[at + k * count + t] - code[coarse + k]))
            costs[t] = cost
            lowest = np.uint16(min(lowest, cost))
    return lowest
