"""Groups of clusters: with very many clusters, a search compares a cell with those of the nearest
groups only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..jit import F32, I16, I32
from .kmeans import kmeans
from .levels import COARSE, LEVELS, blocks

# More clusters than these are in groups of about so many. To compare a cell with 8,000 takes
# longer than all else of its search.
MOST_CLUSTERS, GROUP_SIZE = 1000, 64


class Groups(NamedTuple):
    """k clusters in g groups of similar ones, at least one. The slots of each group are a multiple
    of `LANES`."""

    slots: I32  # (g + 1,), the first slot of each group, and the end
    clusters: I32  # of each slot, -1 for none
    slot: I32  # (k,), of each cluster
    centres: I16  # coarse coefficients of the clusters' means, by group, see `levels.blocks`
    means: I16  # the same of the groups', as if they were one cluster


def group_clusters(
    centres: I16, clusters: int, scale: F32, *, most: int = MOST_CLUSTERS, size: int = GROUP_SIZE
) -> Groups:
    """Groups of clusters, one if there are at most so many.

    Parameters
    ----------
    centres : coarse coefficients of the clusters' means, as if they were one cluster
    scale : (16,), of the coefficients' differences
    most, size : others for tests
    """
    codes = centres.reshape(COARSE, -1)[:, :clusters].T / np.float32(LEVELS)
    start, order = np.array([0, clusters], np.int32), np.arange(clusters, dtype=np.int32)
    if clusters > most:
        start, order = kmeans(np.ascontiguousarray(codes * scale, np.float32), size)
    by_group, slots = blocks(codes[order].astype(np.float32), start)
    places = np.arange(clusters) + np.repeat(slots[:-1] - start[:-1], np.diff(start))
    in_slots = np.full(slots[-1], -1, np.int32)
    in_slots[places] = order
    slot = np.empty(clusters, np.int32)
    slot[order] = places
    sums = np.add.reduceat(codes[order], start[:-1], axis=0, dtype=np.float64)
    means = (sums / np.diff(start)[:, None]).astype(np.float32)
    means_block = blocks(means, np.array([0, len(means)], np.int32))[0]
    return Groups(slots, in_slots, slot, by_group, means_block)
