"""Rough costs, in 16 bits: 32 tiles at a time, where exact ones take one.

What a tile costs a cell is estimated from its first coefficients, for a whole cluster; where that
is promising, from all of them; and only for the tile of the least estimate is the cost worked out.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...jit import Count, kernel_part

__all__ = [
    "FINE",
    "LANES",
    "NEVER",
    "ROUGH",
    "blocks",
    "least_of",
    "refine",
    "roughly",
    "scan",
    "sixteenths",
    "to_levels",
]

U16 = NDArray[np.uint16]
I16 = NDArray[np.int16]
F32 = NDArray[np.float32]

# Coefficients that estimates are made from; the first three are the means.
ROUGH = 16
FINE = 12  # that are left
# Tiles that are looked at together; each cluster has room for a multiple of them.
LANES = 32
# Coefficients are counted in quarters of a unit, and costs in quarters of a squared one.
_LEVELS, _COST_LEVELS = 4.0, 4.0
# Differences beyond this (64 units) are not told apart, so that their squares fit 16 bits.
_MOST_AWAY = 255
# What is never taken; sums stop here.
NEVER = 65_535


def blocks(codes: F32, start: NDArray[np.int32]) -> tuple[I16, NDArray[np.int32]]:
    """Coefficients as `scan` reads them.

    Parameters
    ----------
    codes : float32 (n, d), some coefficients of tiles, cluster by cluster
    start : int32 (k + 1,), of each cluster, and the end

    Returns
    -------
    rough : int16, of each cluster a block (d, m) where m is its size, rounded up to `LANES`
    rooms : int32 (k + 1,), where each cluster's room begins, counted in tiles
    """
    rooms = np.cumsum(
        [0, *(-(-int(size) // LANES) * LANES for size in np.diff(start))], dtype=np.int32
    )
    levels = to_levels(codes)
    rough = np.zeros(int(rooms[-1]) * codes.shape[1], np.int16)
    for (begin, end), (room, room_end) in zip(pairwise(start), pairwise(rooms), strict=True):
        block = rough[room * codes.shape[1] : room_end * codes.shape[1]]
        block.reshape(codes.shape[1], room_end - room)[:, : end - begin] = levels[begin:end].T
    return rough, rooms


def to_levels(codes: F32) -> I16:
    """Coefficients in levels."""
    return np.asarray(np.rint(codes * np.float32(_LEVELS)), np.int16)


@kernel_part
def sixteenths(weight: np.float32) -> np.int16:
    """The weight of a square, for `scan`."""
    return np.int16(np.rint(np.sqrt(weight) * np.float32(16)))


@kernel_part
def roughly(cost: np.float32) -> np.uint16:
    """A cost as `scan` counts it; less than `NEVER`."""
    levels = cost * np.float32(_COST_LEVELS)
    return np.uint16(min(max(levels, np.float32(0)), np.float32(NEVER - 1)))


@kernel_part
def _add_square(cost: np.uint16, away: np.int16) -> np.uint16:
    """A cost with the square of a difference; one instruction each for 32 tiles."""
    size = np.uint16(min(max(away, np.int16(-away)), np.int16(_MOST_AWAY)))
    square = np.uint16(np.uint16(size * size) >> np.uint16(2))
    return np.uint16(cost + min(square, np.uint16(~cost)))


@kernel_part
def least_of(costs: U16, begin: Count, end: Count) -> np.uint16:
    """The least of some costs, a multiple of `LANES`."""
    least = np.uint16(NEVER)
    for t in range(np.uintp(begin), np.uintp(end)):
        least = np.uint16(min(least, costs[t]))
    return least


@kernel_part
def scan(
    rough: I16, prices: U16, code: I16, mean_weight: np.int16, begin: Count, end: Count, costs: U16
) -> np.uint16:
    """Estimate what the tiles of a block cost.

    Parameters
    ----------
    rough : int16, from `blocks`
    prices : uint16, for each place in it, `NEVER` where nothing is
    code : int16 (28,), of the cell, in levels, of which the first 16 are looked at
    mean_weight : of the first three coefficients, from `sixteenths`
    begin, end : the block's room
    costs : uint16 (at least end - begin,), overwritten

    Returns
    -------
    the least of them
    """
    # Constants, so that the inner loops become straight code.
    size, lanes, three = np.uintp(ROUGH), np.uintp(LANES), np.uintp(3)
    room, first = np.uintp(end - begin), np.uintp(begin)
    at, least, four = first * size, np.uint16(NEVER), np.int16(4)
    for group in range(np.uintp(0), room, lanes):
        for lane in range(lanes):
            t = group + lane
            cost = prices[first + t]
            for k in range(three):
                away = np.int16(rough[at + k * room + t] - code[k])
                cost = _add_square(cost, np.int16(np.int16(away * mean_weight) >> four))
            for k in range(three, size):
                cost = _add_square(cost, np.int16(rough[at + k * room + t] - code[k]))
            costs[t] = cost
            least = np.uint16(min(least, cost))
    return least


@kernel_part
def refine(fine: I16, details: U16, code: I16, begin: Count, end: Count, costs: U16) -> np.uint16:
    """Replace, in the estimates of a block, what was expected of the other coefficients.

    Parameters
    ----------
    fine : int16, from `blocks`, the other coefficients
    details : uint16, for each place in it, what was expected
    code : int16 (28,), of the cell, in levels
    begin, end : the block's room
    costs : uint16 (at least end - begin,), from `scan`

    Returns
    -------
    the least of them
    """
    size, lanes, rough = np.uintp(FINE), np.uintp(LANES), np.uintp(ROUGH)
    room, first = np.uintp(end - begin), np.uintp(begin)
    at, least = first * size, np.uint16(NEVER)
    for group in range(np.uintp(0), room, lanes):
        for lane in range(lanes):
            t = group + lane
            cost = np.uint16(costs[t] - details[first + t])
            for k in range(size):
                cost = _add_square(cost, np.int16(fine[at + k * room + t] - code[rough + k]))
            costs[t] = cost
            least = np.uint16(min(least, cost))
    return least
