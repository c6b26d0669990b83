"""Matching by layout: the tile whose colours lie where the cell's do.

What a tile costs a cell is

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
from .choice import Rules, Shown, choose
from .index import COEFFICIENTS, encode, layout_index, weights

__all__ = ["Decisions", "LayoutMatcher"]

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# Clusters that are looked into for each cell: the nearest, and further ones while the distance of
# their centre is promising beside the cost of the best tile so far. A plain wall, whose cells all
# want the same photos, needs most of them. So 94 to 99 of 100 cells get a tile within 5 % of the
# best of all, for 10 to 25 us a cell (bench/quality, recall); ten clusters for each are two thirds
# of that time, and 37 to 97 cells.
_LEAST_PROBES, _MOST_PROBES = 12, 48
_PROMISING = 1.75

# A cell is matched again when its points have moved this far since its last match (CIELAB, root
# mean square): from lively to still. Camera noise of sigma 4 moves them by up to 1 in cells of 32
# pixels, and by up to 3 in cells of 8.
_MOVED_LIVELY, _MOVED_STILL = 3.5, 8.5
# A new tile has to cost less than this part of what the old one does: from lively to still.
_BETTER_LIVELY, _BETTER_STILL = 1.0, 0.6

# More cells to match than this share of all are a cut: nothing of the picture before is kept.
_CUT_SHARE = 0.5

# Prices in CIELAB units, squared, at full variety. A second use of a photo costs as much as a
# distance of 9 at every point, a plain tile as much as one of 11.
_USE_PRICE = 80.0
_PLAIN_PRICE = 2.5  # for each level that the texture stays below
_ENOUGH_TEXTURE = 40.0  # levels; half of the embedded photos' tiles have less


class Decisions(NamedTuple):
    """How a match went, for those who want to check it.

    before : int32 (cells,), where in the index each cell's variant was, -1 for none
    cells : int32 (n,), the cells that were matched, in the order in which they chose
    """

    before: I32
    cells: I32


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
    max_uses : of a photo in one picture, 0 for any number; more where there are too few photos

    Attributes
    ----------
    index : the gallery's tiles
    rules : what they cost
    decisions : how the last match went
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
        self._grid = grid
        self.index = index = layout_index(gallery)
        photos = len(index.photo_start) - 1
        self._shown = Shown(
            np.full(grid.cells, -1, np.int32),
            np.zeros(photos, np.int32),
            np.zeros(len(index.start) - 1, np.int32),
            np.full(photos, -1, np.int64),
        )
        plain = _PLAIN_PRICE * variety * np.maximum(_ENOUGH_TEXTURE - index.texture, 0)
        self.rules = Rules(
            weights(tint),
            (index.rest + plain).astype(np.float32),
            np.float32(_USE_PRICE * variety**2),
            grid.columns,
            min(min_distance, _possible_distance(photos)),
            # Never fewer than fill the picture.
            max(max_uses, -(-grid.cells // photos)) if max_uses else grid.cells,
            np.float32(1),
            _LEAST_PROBES,
            np.float32(_PROMISING),
        )
        self.restyle(tint=tint, calm=calm)
        self._lab = np.empty((grid.cells, 16, 3), np.float32)
        self._matched = np.full((grid.cells, 16, 3), np.inf, np.float32)  # at the last match
        self._codes = np.empty((0, COEFFICIENTS), np.float32)
        self._found = np.empty(min(_MOST_PROBES, len(index.start) - 1), np.int32)
        self._decided = 0  # decisions so far
        self.decisions = Decisions(self._shown.place, np.empty(0, np.int32))

    @property
    def places(self) -> I32:
        """Where in the index each cell's variant is, -1 for none: int32 (cells,), a copy."""
        return self._shown.place.copy()

    def restyle(self, *, tint: float, calm: float) -> None:
        """Go by another tint and calm from the next frame on; tiles stay until their cells move."""
        self._moved = _MOVED_LIVELY + calm * (_MOVED_STILL - _MOVED_LIVELY)
        better = _BETTER_LIVELY + calm * (_BETTER_STILL - _BETTER_LIVELY)
        self.rules = self.rules._replace(weights=weights(tint), better=np.float32(better))

    def look(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
        """Cells whose points have moved since they were matched, the farthest first."""
        grid = self._grid
        self._lab = points_to_lab(cell_points(bgr, grid.rows, grid.columns))
        wants = np.empty(grid.cells, np.int32)
        _moved(self._lab, self._matched, np.float32(self._moved**2), wants)
        return wants

    def describe(self, cells: I32) -> None:
        """Their coefficients."""
        self._codes, _ = encode(self._lab[cells])

    def match(self, cells: I32, *, active: int) -> tuple[I32, NDArray[np.bool_]]:
        """The cheapest tile for each cell, or the one that is there if no other is clearly so."""
        lab, shown = self._lab[cells], self._shown
        if active > _CUT_SHARE * self._grid.cells:
            self._forget(cells)
        # Cells in which much is to be seen choose first; a plain one is served by many tiles.
        order = np.argsort(-lab.var(axis=1).sum(axis=1), kind="stable")
        self.decisions = Decisions(shown.place.copy(), cells[order])
        choose(
            self.index,
            shown,
            self.rules,
            self.decisions.cells,
            self._codes[order],
            self._decided,
            self._found,
        )
        self._decided += len(cells)
        self._matched[cells] = lab
        variants = self.index.variant[shown.place[cells]]
        return variants // 2, (variants & 1).astype(np.bool_)

    def _forget(self, cells: I32) -> None:
        """Empty some cells."""
        shown, index = self._shown, self.index
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
    """How far apart equal photos can be with so many: half of them stay to choose from.

    Neighbours are kept apart in any case, as well as can be.
    """
    return max(1, (int(np.sqrt(photos / 2)) - 1) // 2)
