"""Clusters of tiles with similar colours: MiniBatchKMeans over histograms, without small clusters.

Source of the method: the reference notebook (vishnu-chand/videoMosaic). A cluster of few tiles
would repeat the same photos wherever its colour is needed; its cells do better with the next one.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from ..jit import F32, F64, I32, Bools
from .recipe import CLUSTERS, DROP_PERCENTILE
from .rows import SpooledRows

# A small gallery has fewer clusters: one for each 8 tiles of different colours. With fewer tiles a
# cluster's rotation would show the same photos side by side.
TILES_PER_CLUSTER = 8

# The centres are learned from at most this many tiles, 100 for each of 500 clusters: more tiles
# change them little, and the time to learn is the same for a gallery of any size.
SAMPLE = 50_000
BATCH = 2048  # of MiniBatchKMeans
STEPS = 60  # batches at most, so that each of SAMPLE tiles is used about 2.5 times
PREDICT_ROWS = 4096  # labelled at a time: 2 MB, and 8 MB of distances to 500 centres


class Clusters(NamedTuple):
    """k clusters of n tiles, the largest first; see the attributes of `Gallery`."""

    labels: I32
    centres: F32
    kept: Bools
    members_start: I32
    members: I32


def cluster_tiles(
    features: F32 | SpooledRows,
    *,
    clusters: int = CLUSTERS,
    seed: int = 0,
    max_sample: int = SAMPLE,
) -> I32:
    """Assign each tile to a cluster by its histogram, float32 (n, 125) with rows that sum to 1.

    There are `clusters` of them, or one for each 8 distinct histograms if that is less, at least 1.
    Of more than `max_sample` tiles a sample is learned from, drawn by `seed`; the others are only
    assigned, some at a time.
    One thread computes them: with more, the order of sums would differ, and the same photos would
    give another gallery on another machine. Labels count from 0; some clusters may be empty.
    """
    n = len(features)
    count = min(clusters, _distinct(features, clusters * TILES_PER_CLUSTER) // TILES_PER_CLUSTER)
    if count <= 1:
        return np.zeros(n, np.int32)

    from sklearn.cluster import MiniBatchKMeans  # 1.2 s, which only a build needs
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(n, max_sample, replace=False)) if n > max_sample else slice(None)
    sample = features[chosen]
    model = MiniBatchKMeans(
        count,
        random_state=int(rng.integers(2**31)),
        batch_size=BATCH,
        max_iter=max(1, STEPS * BATCH // len(sample)),
        n_init=1,
        # k-means++ reads all of these for each centre. With the default, three batches, it takes
        # longer than the learning after it, for 1 % less inertia.
        init_size=3 * count,
        compute_labels=False,  # of the sample
    )
    with threadpool_limits(1), warnings.catch_warnings():
        # About fewer clusters than requested, when tiles are alike.
        warnings.simplefilter("ignore")
        model.fit(sample)
        labels = np.empty(n, np.int32)
        for start in range(0, n, PREDICT_ROWS):
            rows = slice(start, start + PREDICT_ROWS)
            labels[rows] = model.predict(features[rows])
    return labels


def group_tiles(
    features: F32 | SpooledRows,
    labels: I32,
    photos: I32,
    *,
    drop_percentile: float = DROP_PERCENTILE,
    seed: int = 0,
) -> Clusters:
    """Turn labels, any numbers from 0 on, into clusters; `photos` is the photo of each tile.

    Empty clusters are removed; the others are numbered by falling population, then by their first
    tile. Those at or below `drop_percentile` of the populations are dropped; if that is all of
    them, the most populous stay. The tiles of a cluster are in random order, but one tile of each
    photo comes before a second one of any photo, so that crops do not stand side by side.
    """
    used, first, compact, population = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -population))
    rank = np.empty(len(used), np.int32)
    rank[order] = np.arange(len(used), dtype=np.int32)
    labels, population = rank[compact], population[order]

    kept = population > (np.percentile(population, drop_percentile) if drop_percentile > 0 else 0)
    if not kept.any():
        kept = population == population.max()

    start = np.cumsum([0, *population], dtype=np.int32)
    members = _rotation(labels, photos, seed)
    sums = _sums(features, labels, len(population))
    centres = (sums / population[:, None]).astype(np.float32)
    return Clusters(labels, centres, kept, start, members)


def _sums(features: F32 | SpooledRows, labels: I32, clusters: int) -> F64:
    """The sum of each cluster's histograms, read some at a time."""
    sums = np.zeros((clusters, features[:0].shape[1]), np.float64)
    for start in range(0, len(labels), PREDICT_ROWS):
        rows, own = features[start : start + PREDICT_ROWS], labels[start : start + PREDICT_ROWS]
        order = np.argsort(own, kind="stable")
        there, first = np.unique(own[order], return_index=True)
        sums[there] += np.add.reduceat(rows[order], first, axis=0, dtype=np.float64)
    return sums


def _rotation(labels: I32, photos: I32, seed: int) -> I32:
    """Tile numbers by cluster, by round (a photo's first tile, its second, ...), then at random."""
    n = len(labels)
    chance = np.random.default_rng(seed).permutation(n)
    by_photo = np.lexsort((chance, photos, labels))
    new_run = np.ones(n, bool)
    new_run[1:] = (np.diff(labels[by_photo]) != 0) | (np.diff(photos[by_photo]) != 0)
    place = np.arange(n)
    turn = np.empty(n, np.int64)
    turn[by_photo] = place - np.maximum.accumulate(np.where(new_run, place, 0))
    return np.lexsort((chance, turn, labels)).astype(np.int32)


def _distinct(features: F32 | SpooledRows, enough: int) -> int:
    """Count distinct rows, but only up to `enough`."""
    seen: set[bytes] = set()
    for start in range(0, len(features), PREDICT_ROWS):
        for row in features[start : start + PREDICT_ROWS]:
            seen.add(row.tobytes())
            if len(seen) >= enough:
                return enough
    return len(seen)
