"""Coefficients and costs in 16 bits, and the order in which the search reads them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..jit import F32, I16, I32, kernel_part

# How many coefficients the first estimate uses (the first three are the means), and the others.
COARSE, FINE = 16, 12
# Tiles that the kernels estimate together: the slots of a cluster are a multiple of it.
LANES = 32
# Coefficients are in quarters of a unit, and costs in quarters of a squared unit.
LEVELS, COST_LEVELS = 4.0, 4.0
# The cost of tiles that must not be chosen; sums stop here.
EXCLUDED = 65_535


def blocks(codes: F32, start: I32) -> tuple[I16, I32]:
    """Coefficients as `coarse_costs` reads them.

    `codes`, float32 (n, d), are some coefficients of tiles, cluster by cluster; `start`, int32
    (k + 1,), is the place of each cluster, and the end. Each cluster becomes a block, int16 (d, m),
    where m is its size, rounded up to `LANES`. The second result is as `start`, of slots.
    """
    sizes = [-(-int(size) // LANES) * LANES for size in np.diff(start)]
    slots = np.cumsum([0, *sizes], dtype=np.int32)
    levels, d = to_levels(codes), codes.shape[1]
    made = np.zeros(int(slots[-1]) * d, np.int16)
    for (begin, end), (first, last) in zip(pairwise(start), pairwise(slots), strict=True):
        block = made[first * d : last * d].reshape(d, last - first)
        block[:, : end - begin] = levels[begin:end].T
    return made, slots


def to_levels(codes: F32) -> I16:
    return np.asarray(np.rint(codes * np.float32(LEVELS)), np.int16)


@kernel_part
def quantize(cost: np.float32) -> np.uint16:
    """A cost in 16 bits; below `EXCLUDED`."""
    levels = cost * np.float32(COST_LEVELS)
    return np.uint16(min(max(levels, np.float32(0)), np.float32(EXCLUDED - 1)))
