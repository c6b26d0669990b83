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

from ...gallery.file_format import Gallery
from ...gallery.layout_features import cell_points, points_to_lab
from ...jit import kernel
from ..grid import Grid
from .coarse import to_levels
from .index import COEFFICIENTS, encode, layout_index, weights
from .search import Rules, choose, empty

__all__ = ["UNHURRIED_CELLS", "Decisions", "LayoutMatcher"]

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# Clusters that are looked into for each cell: the nearest, as long as they are promising beside the
# cost of the best tile so far. A plain wall, whose cells all want the same photos, needs many.
_PROMISING, _SLACK, _TRIES = 1.4, 25.0, 16
# With no tint, up to so many times the best cost, for the tiles of a cluster have different means,
# and how far its centre is says less (recall 90 and 94 %; with 1.4, 66 and 80 %).
_PROMISING_UNTINTED = 2.1
# And at most so many clusters, and tiles of each, in a gallery that is too large for a processor's
# caches; more where there is time. There are many tiles in it that are nearly as good as the best:
# with 3 clusters instead of 5 or 8 what is chosen from 338,409 costs 0.1 % more.
_LARGE = 100_000
_LARGE_PROBES, _LARGE_TRIES = 3, 2
_LARGE_PROBES_UNHURRIED = 16

# A frame in which more cells are to be matched is hurried: a picture in time is worth more than the
# best fit of what moves or is new. Four of ten tiles of a first picture are within 5 % of the best
# then (bench/match.py); together they cost little more, as each choice changes what the next pay.
UNHURRIED_CELLS = 1000
_HURRIED_PROMISING, _HURRIED_SLACK, _HURRIED_PROBES, _HURRIED_TRIES = 1.3, 0.0, 16, 2

# A cell is matched again when its points have moved this far since its last match (CIELAB, root
# mean square): from lively to still. Camera noise of sigma 4 moves them by up to 1 in cells of 32
# pixels, and by up to 3 in cells of 8.
_MOVED_LIVELY, _MOVED_STILL = 3.5, 8.5
# A new tile has to cost less than this part of what the old one does: from lively to still.
_BETTER_LIVELY, _BETTER_STILL = 1.0, 0.6

# When more than this share of the cells have moved this far it is a cut: nothing of the picture
# before is kept. (The median cell of Big Buck Bunny's cuts moves by 15 to 52, that of all its other
# frames by 10 at most; camera noise that is ugly to look at moves it by 8.)
_CUT_SHARE, _CUT_MOVED = 0.5, 13.0

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
    hurry : search less for each cell where there are very many to match, or very many tiles

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
        hurry: bool = True,
    ) -> None:
        self._grid = grid
        self._unhurried_cells = UNHURRIED_CELLS if hurry else grid.cells
        self.index = index = layout_index(gallery)
        photos = len(index.photo_start) - 1
        plain = _PLAIN_PRICE * variety * np.maximum(_ENOUGH_TEXTURE - index.texture, 0)
        prices = (index.rest + plain).astype(np.float32)
        probes, tries = len(index.start) - 1, _TRIES
        if len(index.variant) > _LARGE:
            probes = min(probes, _LARGE_PROBES if hurry else _LARGE_PROBES_UNHURRIED)
            tries = _LARGE_TRIES if hurry else _TRIES
        mean_prices = np.add.reduceat(prices, index.start[:-1]) / np.diff(index.start)
        self.rules = Rules(
            weights=weights(tint),
            prices=prices,
            member_prices=prices[index.photo_members],
            cluster_prices=mean_prices.astype(np.float32),
            use_price=np.float32(_USE_PRICE * variety**2),
            columns=grid.columns,
            distance=min(min_distance, _possible_distance(photos)),
            # Never fewer than fill the picture.
            most_uses=max(max_uses, -(-grid.cells // photos)) if max_uses else grid.cells,
            better=np.float32(1),
            most_probes=probes,
            promising=_promising(tint),
            slack=np.float32(_SLACK),
            tries=tries,
        )
        self._shown = empty(grid.cells, index, self.rules)
        self.update_settings(tint=tint, calm=calm)
        self._lab = np.empty((grid.cells, 16, 3), np.float32)
        self._matched = np.full((grid.cells, 16, 3), np.inf, np.float32)  # at the last match
        self._codes = np.empty((0, COEFFICIENTS), np.float32)
        self._rest = np.empty(0, np.float32)
        self._cut = False  # whether nothing is to be kept at the next match
        self._decided = 0  # decisions so far
        self.decisions = Decisions(self._shown.place, np.empty(0, np.int32))

    @property
    def places(self) -> I32:
        """Where in the index each cell's variant is, -1 for none: int32 (cells,), a copy."""
        return self._shown.place.copy()

    def update_settings(self, *, tint: float, calm: float) -> None:
        """Go by another tint and calm from the next frame on; tiles stay until their cells move."""
        self._moved = _MOVED_LIVELY + calm * (_MOVED_STILL - _MOVED_LIVELY)
        better = _BETTER_LIVELY + calm * (_BETTER_STILL - _BETTER_LIVELY)
        self.rules = self.rules._replace(
            weights=weights(tint), promising=_promising(tint), better=np.float32(better)
        )

    def observe(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
        """Cells whose points have moved since they were matched, the farthest first."""
        grid = self._grid
        self._lab = points_to_lab(cell_points(bgr, grid.rows, grid.columns))
        wants = np.empty(grid.cells, np.int32)
        _moved(self._lab, self._matched, np.float32(self._moved**2), wants)
        far = np.count_nonzero(wants > _CUT_MOVED**2)
        self._cut = bool(far > _CUT_SHARE * grid.cells)
        return wants

    def describe(self, cells: I32) -> None:
        """Their coefficients."""
        self._codes, self._rest = encode(self._lab[cells])

    def match(self, cells: I32, *, active: int) -> tuple[I32, NDArray[np.bool_]]:
        """The cheapest tile for each cell, or the one that is there if no other is clearly so."""
        shown, waves = self._shown, self._codes[:, 3:]  # all but the means
        # Cells in which much is to be seen choose first; a plain one is served by many tiles.
        variance = np.einsum("ij,ij->i", waves, waves) + self._rest
        order = np.argsort(-variance, kind="stable")
        cut, self._cut = self._cut, False  # a frame may be matched again, and keeps its tiles then
        before = shown.place.copy()
        if cut:
            before[cells] = -1
        self.decisions = Decisions(before, cells[order])
        codes = self._codes[order]
        # Cells that have to wait say that there is no time, too.
        hurried = len(cells) > self._unhurried_cells or active > len(cells)
        choose(
            self.index,
            shown,
            self._hurried() if hurried else self.rules,
            self.decisions.cells,
            codes,
            to_levels(codes),
            self._decided,
            cut,
        )
        self._decided += len(cells)
        self._matched[cells] = self._lab[cells]
        variants = self.index.variant[shown.place[cells]]
        return variants // 2, (variants & 1).astype(np.bool_)

    def _hurried(self) -> Rules:
        """The rules for many cells at once."""
        return self.rules._replace(
            most_probes=min(self.rules.most_probes, _HURRIED_PROBES),
            promising=np.float32(_HURRIED_PROMISING),
            slack=np.float32(_HURRIED_SLACK),
            tries=_HURRIED_TRIES,
        )


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


def _promising(tint: float) -> np.float32:
    """How many times the best cost a cluster may be away, by how much the mean counts."""
    least, counts = weights(1.0)[0], weights(tint)[0]
    share = (counts - least) / (1 - least)
    return np.float32(_PROMISING + share * (_PROMISING_UNTINTED - _PROMISING))


def _possible_distance(photos: int) -> int:
    """How far apart equal photos can be with so many: half of them stay to choose from.

    Neighbours are kept apart in any case, as well as can be.
    """
    return max(1, (int(np.sqrt(photos / 2)) - 1) // 2)
