"""Matching by layout: the tile whose colours lie where the cell's do.

A search on two levels, the nearest clusters and then the tiles in them, so that its cost depends on
the cells to match and the size of a cluster, not on the gallery. What a tile costs is

    the squared distance of its points to the cell's (CIELAB, mean over 4x4 points)
    + for each cell that shows the same photo, a price (variety)
    + a price for a photo in which little is to be seen (variety, too)

and photos that stand too near are not looked at. Source of the rules that keep the picture calm:
photomosaic-video 0.1.0 (PyPI), whose figures they start from.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..gallery.store import Gallery
from ..grid import Grid
from ..kernels import kernel
from ..layout import cell_points, points_to_lab
from .index import COEFFICIENTS, LayoutIndex, encode, layout_index

__all__ = ["LayoutMatcher"]

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# Clusters that are looked into for each cell; with more, no better tile is found in nine of ten
# cells (bench/quality, recall).
PROBES = 10

# A cell is matched again when its points have moved this far since its last match (CIELAB, root
# mean square): from lively to still. Camera noise of sigma 4 moves them by 0.3 to 1.
_MOVED_LIVELY, _MOVED_STILL = 2.0, 10.0
# A new tile has to cost less than this part of what the old one does: from lively to still.
_BETTER_LIVELY, _BETTER_STILL = 1.0, 0.6

# More cells to match than this share of all are a cut: nothing of the picture before is kept.
_CUT_SHARE = 0.5

# Prices in CIELAB units, squared, at full variety. A second use of a photo costs as much as a
# distance of 9 at every point, a plain tile as much as one of 11.
_USE_PRICE = 80.0
_PLAIN_PRICE = 2.5  # for each level that the texture stays below
_ENOUGH_TEXTURE = 40.0  # levels; half of the embedded photos' tiles have less


class _Shown(NamedTuple):
    """What is in the cells now. For kernels: arrays only.

    place : int32 (cells,), where in the index the cell's variant is, -1 for none
    uses : int32 (photos,), cells that show the photo
    cluster_uses : int32 (k,), the same, summed over the variants of a cluster
    near : int32 (photos,), the cell that a photo was last found near to
    """

    place: I32
    uses: I32
    cluster_uses: I32
    near: I32


@kernel
def _use(index: LayoutIndex, shown: _Shown, photo: int, by: int) -> None:
    """Note that one cell more (or less) shows a photo."""
    shown.uses[photo] += by
    for m in range(np.uintp(index.photo_start[photo]), np.uintp(index.photo_start[photo + 1])):
        shown.cluster_uses[index.cluster[index.photo_members[m]]] += by


@kernel
def _choose(
    index: LayoutIndex,
    shown: _Shown,
    prices: F32,
    cells: I32,
    codes: F32,
    columns: int,
    distance: int,
    most_uses: int,
    better: float,
    probes: int,
    costs: F32,
) -> None:
    """Choose a variant for each cell, in this order; each sees what the ones before it took.

    Parameters
    ----------
    prices : float32 (n,), of each variant at its first use; the last is that of a further use
    cells, codes : int32 (m,), and float32 (m, 16), their coefficients
    columns, distance : cells across; no photo twice within `distance` cells
    most_uses : of a photo in all cells
    better : a new variant has to cost less than this part of the old one's cost
    probes : clusters to look into
    costs : float32 (m,), overwritten: what the chosen variants cost
    """
    size, clusters = np.uintp(codes.shape[1]), np.uintp(index.centres_t.shape[1])
    use_price = prices[prices.shape[0] - 1]
    far = np.float32(3e38)
    ranks = np.empty(clusters, np.float32)
    sums = np.empty(index.codes_t.shape[1], np.float32)
    rows = shown.place.shape[0] // columns
    for i in range(np.uintp(cells.shape[0])):
        cell = int(np.int64(cells[i]))
        row, column = cell // columns, cell % columns
        old = int(np.int64(shown.place[cell]))
        if old >= 0:
            _use(index, shown, index.photo[old], -1)
            shown.place[cell] = -1
        top, left = row - distance, column - distance
        for y in range(top if top > 0 else 0, min(rows, row + distance + 1)):
            for x in range(left if left > 0 else 0, min(columns, column + distance + 1)):
                other = shown.place[y * columns + x]
                if other >= 0:
                    shown.near[index.photo[other]] = cell

        ranks[:] = np.float32(0)
        for k in range(size):
            value = codes[i, k]
            for c in range(clusters):
                away = index.centres_t[k, c] - value
                ranks[c] += away * away
        for c in range(clusters):
            # Where photos are in use already, the next cluster may have fresher ones.
            members = index.start[c + np.uintp(1)] - index.start[c]
            ranks[c] += use_price * np.float32(shown.cluster_uses[c]) / np.float32(members)

        best, fallback = np.int64(-1), np.int64(-1)
        best_cost = fallback_cost = far
        for probe in range(probes + clusters):
            if probe >= probes and best >= 0:
                break
            nearest = np.argmin(ranks)
            if ranks[nearest] == far:
                break
            ranks[nearest] = far
            begin, end = np.uintp(index.start[nearest]), np.uintp(index.start[nearest + 1])
            sums[begin:end] = prices[begin:end]
            for k in range(size):
                value = codes[i, k]
                for t in range(begin, end):
                    away = index.codes_t[k, t] - value
                    sums[t] += away * away
            for t in range(begin, end):
                photo = index.photo[t]
                uses = shown.uses[photo]
                cost = sums[t] + use_price * np.float32(uses)
                if cost < best_cost and shown.near[photo] != cell and uses < most_uses:
                    best, best_cost = np.int64(t), cost
                elif cost < fallback_cost:
                    fallback, fallback_cost = np.int64(t), cost
        if best < 0:  # a gallery of too few photos: rather one twice than none
            best, best_cost = fallback, fallback_cost
        if old >= 0 and better < 1e9:
            photo = index.photo[old]
            cost = prices[old] + use_price * np.float32(shown.uses[photo])
            for k in range(size):
                away = index.codes_t[k, old] - codes[i, k]
                cost += away * away
            if best_cost >= np.float32(better) * cost and shown.near[photo] != cell:
                best, best_cost = np.int64(old), cost
        shown.place[cell] = best
        costs[i] = best_cost
        _use(index, shown, index.photo[best], 1)


class LayoutMatcher:
    """Per-stream state of the match by layout.

    Parameters
    ----------
    gallery : tiles
    grid : the cells
    tint : 0..1, how far tiles will take on the cell's mean colour
    calm : 0..1, from lively to still
    variety : 0..1, from the best fit to fresh photos
    min_distance : no photo twice within so many cells; less in a gallery of few photos
    max_uses : of a photo in one picture, 0 for any number
    """

    def __init__(
        self,
        gallery: Gallery,
        grid: Grid,
        *,
        tint: float,
        calm: float,
        variety: float,
        min_distance: int,
        max_uses: int,
    ) -> None:
        self._grid, self._tint = grid, tint
        self._index = index = layout_index(gallery, tint=tint)
        photos = len(index.photo_start) - 1
        self._shown = _Shown(
            np.full(grid.cells, -1, np.int32),
            np.zeros(photos, np.int32),
            np.zeros(len(index.start) - 1, np.int32),
            np.full(photos, -1, np.int32),
        )
        plain = _PLAIN_PRICE * variety * np.maximum(_ENOUGH_TEXTURE - index.texture, 0)
        use_price = _USE_PRICE * variety**2
        self._prices = np.append(index.bias + plain, use_price).astype(np.float32)
        self.set_calm(calm)
        self._distance = min(min_distance, _possible_distance(photos))
        self._most_uses = max_uses or grid.cells
        self._lab = np.empty((grid.cells, 16, 3), np.float32)
        self._matched = np.full((grid.cells, 16, 3), np.inf, np.float32)  # at the last match
        self._codes = np.empty((0, COEFFICIENTS), np.float32)
        self.costs = np.empty(0, np.float32)  # of the tiles that `match` chose last

    def set_calm(self, calm: float) -> None:
        """Be calmer or livelier from the next frame on."""
        self._moved = _MOVED_LIVELY + calm * (_MOVED_STILL - _MOVED_LIVELY)
        self._better = _BETTER_LIVELY + calm * (_BETTER_STILL - _BETTER_LIVELY)

    def look(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
        """Cells whose points have moved since they were matched, the farthest first."""
        grid = self._grid
        self._lab = points_to_lab(cell_points(bgr, grid.rows, grid.columns))
        wants = np.empty(grid.cells, np.int32)
        _moved(self._lab, self._matched, np.float32(self._moved**2), wants)
        return wants

    def describe(self, cells: I32) -> None:
        """Their coefficients."""
        self._codes = encode(self._lab[cells], tint=self._tint)

    def match(self, cells: I32, *, active: int) -> tuple[I32, NDArray[np.bool_]]:
        """The cheapest tile for each cell, or the one that is there if no other is clearly so."""
        lab = self._lab[cells]
        cut = active > _CUT_SHARE * self._grid.cells
        if cut:
            self._forget(cells)
        # Cells in which much is to be seen choose first; a plain one is served by many tiles.
        order = np.argsort(-lab.var(axis=1).sum(axis=1), kind="stable").astype(np.int32)
        self.costs = np.empty(len(cells), np.float32)
        _choose(
            self._index,
            self._shown,
            self._prices,
            cells[order],
            self._codes[order],
            self._grid.columns,
            self._distance,
            self._most_uses,
            self._better,
            PROBES,
            self.costs,
        )
        self._matched[cells] = lab
        variants = self._index.variant[self._shown.place[cells]]
        return variants // 2, (variants & 1).astype(np.bool_)

    def _forget(self, cells: I32) -> None:
        """Empty some cells."""
        shown, index = self._shown, self._index
        shown.place[cells] = -1
        kept = shown.place[shown.place >= 0]
        shown.uses[:] = np.bincount(index.photo[kept], minlength=len(shown.uses))
        of_variants = shown.uses[index.photo].astype(np.float64)
        sums = np.bincount(index.cluster, weights=of_variants, minlength=len(shown.cluster_uses))
        shown.cluster_uses[:] = sums.astype(np.int32)


@kernel
def _moved(lab: F32, matched: F32, limit: np.float32, wants: I32) -> None:
    """How far points have moved, squared, where that is more than the limit."""
    n = np.float32(lab.shape[1])
    for i in range(np.uintp(lab.shape[0])):
        total = np.float32(0)
        for p in range(np.uintp(lab.shape[1])):
            for channel in range(np.uintp(3)):
                away = lab[i, p, channel] - matched[i, p, channel]
                total += away * away
        total /= n
        wants[i] = np.int32(min(total, np.float32(1e9))) if total > limit else np.int32(0)


def _possible_distance(photos: int) -> int:
    """How far apart equal photos can be with so many: half of them stay to choose from."""
    return max(0, (int(np.sqrt(photos / 2)) - 1) // 2)
