"""Matching by clusters of histograms: the published algorithm's way.

A cell's histogram finds its nearest palette centre, this centre the tile cluster of the smallest
cosine distance, and the cell takes the next tile of that cluster in rotation, mirrored with
probability one half. Source: the reference notebook (vishnu-chand/videoMosaic).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...gallery.gallery import Gallery
from ...gallery.histogram import HISTOGRAM_SIZE, cell_histograms
from ...jit import F64, I32, U16, Bools, kernel
from ..grid import ANALYSIS_PX, Grid
from ..settings import MosaicSettings
from .base import Matcher
from .palette import Palette

# More active cells than this share of the first frame's mean a scene change (the reference).
_SCENE_CHANGE_SHARE = 0.5


@kernel
def _most_similar(centres: F64, directions_t: F64, nearest: I32) -> None:
    """Find the direction with the largest cosine for each centre, of float64 (k, 125).

    The columns of `directions_t`, float64 (125, n), have length 1. `nearest` (k,) is overwritten.
    Not a matrix product: a threaded BLAS stalls on a busy machine, and its rounding may depend on
    the number of threads.
    """
    n = np.uintp(directions_t.shape[1])
    score = np.empty(n, np.float64)
    for i in range(np.uintp(centres.shape[0])):
        score[:] = 0.0
        for b in range(np.uintp(HISTOGRAM_SIZE)):
            weight = centres[i, b]
            if weight != 0.0:
                for j in range(n):
                    score[j] += weight * directions_t[b, j]
        nearest[i] = np.argmax(score)


class ClusterMatcher(Matcher):
    """Per-stream state of the match by clusters.

    Tint and calm change nothing: an active cell takes another tile.
    """

    def __init__(self, gallery: Gallery, grid: Grid, settings: MosaicSettings) -> None:
        super().__init__(gallery, grid, settings)
        self._rng = np.random.default_rng(settings.seed)
        self._palette = Palette(settings.palette, self._rng, pixels=ANALYSIS_PX**2)
        self._kept = np.flatnonzero(gallery.kept)
        centres = np.asarray(gallery.centres, np.float64)[self._kept]
        length = np.linalg.norm(centres, axis=1, keepdims=True)
        directions = centres / np.where(length > 0, length, 1.0)
        self._directions_t = np.ascontiguousarray(directions.T)
        self._members = np.asarray(gallery.members)
        self._start = np.asarray(gallery.members_start)
        self._turn = np.zeros(len(gallery.kept), np.int64)  # next member of each tile cluster
        self._counts = np.empty((grid.cells, HISTOGRAM_SIZE), np.uint16)

    def take_over(self, before: Matcher) -> bool:
        """Go on with the palette and the rotations; a cell takes its next tile when it changes."""
        if not isinstance(before, ClusterMatcher):
            return False
        self._rng, self._palette, self._turn = before._rng, before._palette, before._turn
        return True

    def describe(self, cells: I32) -> None:
        """The features are histograms."""
        cell_histograms(self.bgr, cells, self.grid.rows, self.grid.columns, self._counts)

    def match(self, cells: I32, *, active: int) -> tuple[I32, Bools]:
        """The next tile of the cluster that is most similar to the cell's palette centre."""
        return self.match_histograms(self._counts[: len(cells)], active=active)

    def match_histograms(self, counts: U16, *, active: int) -> tuple[I32, Bools]:
        """Choose tiles by histograms, uint16 (n, 125) in the order of the cells."""
        if active > _SCENE_CHANGE_SHARE * self.grid.cells or not self._palette.weights.any():
            self._palette.reset(counts)
        self._palette.learn(counts)
        nearest = np.empty(len(self._palette.centres), np.int32)
        _most_similar(self._palette.centres, self._directions_t, nearest)
        ids = self._next_tiles(self._kept[nearest][self._palette.labels(counts)])
        flips = self._rng.random(len(ids)) < 0.5
        return ids, flips & self.gallery.mirrors[ids]

    def _next_tiles(self, clusters: NDArray[np.intp]) -> I32:
        """The next member of each cluster, in rotation; int32 (n,)."""
        # How often each cluster occurred before in this frame, without a loop over cells: in a
        # stable order, the place in a run of equal numbers.
        order = np.argsort(clusters, kind="stable")
        ordered = clusters[order]
        first = np.searchsorted(ordered, ordered, side="left")
        occurrence = np.empty(len(clusters), np.int64)
        occurrence[order] = np.arange(len(clusters)) - first
        sizes = self._start[clusters + 1] - self._start[clusters]
        turn = (self._turn[clusters] + occurrence) % sizes
        self._turn += np.bincount(clusters, minlength=len(self._turn))
        return np.asarray(self._members[self._start[clusters] + turn], np.int32)
