"""The reference's way: by clusters of histograms.

A cell's histogram finds its palette centre, the palette centre
the tile cluster of smallest cosine distance, and the cell takes the next tile of that cluster in
rotation, mirrored with probability one half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...gallery.file_format import Gallery
from ...gallery.histogram import HISTOGRAM_SIZE, cell_histograms
from ...jit import kernel
from ..activity import ACTIVE
from ..grid import ANALYSIS_PX, Grid
from .palette import Palette

__all__ = ["ClusterMatcher"]

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

# More active cells than this share of the first frame's mean a scene change (the reference).
_SCENE_CHANGE_SHARE = 0.5


@kernel
def _most_similar(
    centres: NDArray[np.float64], directions_t: NDArray[np.float64], nearest: I32
) -> None:
    """The direction of largest cosine for each centre.

    A kernel, not a matrix product: a threaded BLAS stalls on a busy machine, and its rounding may
    depend on the number of threads.

    Parameters
    ----------
    centres : float64 (k, 125)
    directions_t : float64 (125, n), columns of length 1
    nearest : int32 (k,), overwritten
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


class ClusterMatcher:
    """Per-stream state of the match by clusters.

    Parameters
    ----------
    gallery : tiles and their clusters
    grid : the cells
    palette_size : number of palette centres (150 in the reference)
    seed : of all randomness
    """

    def __init__(self, gallery: Gallery, grid: Grid, *, palette_size: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._palette = Palette(palette_size, self._rng, pixels=ANALYSIS_PX**2)
        self._mirror = gallery.mirror
        self._kept = np.flatnonzero(gallery.kept)
        centres = np.asarray(gallery.centres, np.float64)[self._kept]
        self._directions_t = np.ascontiguousarray(_unit_rows(centres).T)
        self._members = np.asarray(gallery.members)
        self._start = np.asarray(gallery.members_start)
        self._turn = np.zeros(len(gallery.kept), np.int64)  # next member of each tile cluster
        self._grid = grid
        self._counts = np.empty((grid.cells, HISTOGRAM_SIZE), np.uint16)

    def update_settings(self, *, tint: float, calm: float) -> None:
        """It goes by neither: a cell that is active takes another tile."""

    def observe(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
        """Active cells are matched again, those with the most active pixels first."""
        self._bgr = bgr
        wants = np.where(state == ACTIVE, active_pixels, np.uint8(0))
        return wants.reshape(-1).astype(np.int32)

    def describe(self, cells: I32) -> None:
        """Their histograms."""
        cell_histograms(self._bgr, cells, self._grid.columns, self._counts)

    def match(self, cells: I32, *, active: int) -> tuple[I32, NDArray[np.bool_]]:
        """The next tile of the cluster that is most similar to the cell's palette centre."""
        return self.choose(self._counts[: len(cells)], active=active)

    def choose(self, counts: NDArray[np.uint16], *, active: int) -> tuple[I32, NDArray[np.bool_]]:
        """Choose tiles by histograms, uint16 (n, 125) in the order of the cells."""
        if active > _SCENE_CHANGE_SHARE * self._grid.cells or not self._palette.weights.any():
            self._palette.reset(counts)
        self._palette.learn(counts)
        labels = self._palette.labels(counts)
        clusters = self._tile_clusters()[labels]
        ids = self._next_tiles(clusters)
        flips = self._rng.random(len(ids)) < 0.5
        return ids, flips if self._mirror else np.zeros_like(flips)

    def _tile_clusters(self) -> NDArray[np.intp]:
        """The tile cluster of each palette centre, by cosine; int (palette size,)."""
        nearest = np.empty(len(self._palette.centres), np.int32)
        _most_similar(self._palette.centres, self._directions_t, nearest)
        clusters: NDArray[np.intp] = self._kept[nearest]
        return clusters

    def _next_tiles(self, clusters: NDArray[np.intp]) -> I32:
        """The next member of each cluster, in rotation; int32 (n,)."""
        # The occurrence of each cluster so far in this frame, without a loop over cells: in an
        # order that is stable, the place in a run of equal numbers.
        order = np.argsort(clusters, kind="stable")
        ordered = clusters[order]
        first = np.searchsorted(ordered, ordered, side="left")
        occurrence = np.empty(len(clusters), np.int64)
        occurrence[order] = np.arange(len(clusters)) - first
        sizes = self._start[clusters + 1] - self._start[clusters]
        turn = (self._turn[clusters] + occurrence) % sizes
        self._turn += np.bincount(clusters, minlength=len(self._turn))
        return np.asarray(self._members[self._start[clusters] + turn], np.int32)


def _unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale each row to length 1; rows of zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)
