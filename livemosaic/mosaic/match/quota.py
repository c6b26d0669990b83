"""The quota: each photo gets so many cells at least, taken from photos that have more.

The search knows no lower limit: a photo that is nowhere the cheapest is never shown. Here such
photos get the cells where they cost the least more than what is there.
"""

from __future__ import annotations

import numpy as np

from ...gallery.layout_index import LayoutIndex
from ...jit import F32, I32, Count, kernel, kernel_part
from ..settings import MosaicSettings
from .search import Assignment, Rules, count_use, exact_cost, share_of, vacate, window

# In a frame of a stream so many costs of photos are computed, a few milliseconds, and so many cells
# are offered that did not change.
_COSTS, _OFFERS = 250_000, 16


class Quota:
    """The quota of a stream: `min_uses`, or as many uses of each photo as the cells allow.

    The picture has so many `cells` at least. `own` is the number of the first cell, and of the
    cells, that this quota is for; cells of other sizes count, too.
    """

    def __init__(
        self,
        index: LayoutIndex,
        now: Assignment,
        settings: MosaicSettings,
        *,
        cells: int,
        own: tuple[int, int],
    ) -> None:
        self._is_there = np.diff(index.photo_start) > 0  # photos that have left have no variant
        photos = int(np.count_nonzero(self._is_there))
        self._index, self._now, self._first = index, now, own[0]
        self._least = max(1, min(settings.min_uses, cells // photos))
        self._variants = len(index.variant) // photos  # of a photo
        self._offers = np.random.default_rng(settings.seed).permutation(own[1])
        self._turn = 0  # the photo whose turn it is

    def offer_cells(self, urgency: I32) -> None:
        """Let some more cells be matched if photos lack cells, so that they need no movement."""
        if len(self._lacking()):
            offered, self._offers = self._offers[:_OFFERS], np.roll(self._offers, -_OFFERS)
            urgency[offered] = np.maximum(urgency[offered], 1)

    def fill_some(self, rules: Rules, cells: I32, codes: F32) -> None:
        """Give some of the cells that were matched to photos, in turn: as many as take little
        time. `codes`, float32 (n, 28), are the cells' coefficients."""
        lacking = self._lacking()
        lacking = np.roll(lacking, -int(np.searchsorted(lacking, self._turn)))
        costs = len(cells) * self._variants
        lacking = lacking[: 1 + _COSTS // costs]
        step = 1 + costs // _COSTS
        some = slice(self._turn % step, None, step)
        self._fill(rules, cells[some].copy(), codes[some].copy(), lacking)
        if len(lacking):
            self._turn = int(lacking[-1]) + 1

    def fill_all(self, rules: Rules, cells: I32, codes: F32) -> None:
        """Give cells to all photos that lack some."""
        while self._fill(rules, cells, codes, self._lacking()):
            pass

    def _fill(self, rules: Rules, cells: I32, codes: F32, photos: I32) -> int:
        numbers = cells + np.int32(self._first)
        return _fill(self._index, self._now, rules, self._least, numbers, codes, photos)

    def _lacking(self) -> I32:
        """The photos below the quota, if any is above it."""
        uses = self._now.uses
        if not (uses > self._least).any():
            return np.empty(0, np.int32)
        return np.flatnonzero((uses < self._least) & self._is_there).astype(np.int32)


@kernel_part
def _is_near(index: LayoutIndex, now: Assignment, rules: Rules, cell: Count, photo: Count) -> bool:
    """Whether a photo is shown in another cell too near to a cell."""
    for size in range(now.columns.shape[0]):
        top, bottom, left, right = window(now, rules, cell, size)
        first, columns = now.first[size], now.columns[size]
        for y in range(top, bottom):
            for c in range(first + y * columns + left, first + y * columns + right):
                place = now.place[c]
                if c != cell and place >= 0 and index.photo[place] == photo:
                    return True
    return False


@kernel_part
def _cheapest(
    index: LayoutIndex, now: Assignment, rules: Rules, code: F32, photo: Count
) -> tuple[Count, np.float32]:
    """The place of a photo's cheapest variant for a cell, and its cost."""
    best: Count = -1
    lowest = np.float32(np.inf)
    for m in range(index.photo_start[photo], index.photo_start[photo + 1]):
        place = np.intp(index.photo_members[m])
        cost = exact_cost(index, now, rules, code, place)
        if cost < lowest:
            best, lowest = place, cost
    return best, lowest


@kernel
def _fill(
    index: LayoutIndex,
    now: Assignment,
    rules: Rules,
    quota: int,
    cells: I32,
    codes: F32,
    photos: I32,
) -> int:
    """Give a cell to each of some photos that has fewer than the quota; how many got one.

    Only cells of photos with more than the quota are taken. A photo keeps its distance, unless it
    would get no cell.

    Parameters
    ----------
    cells, codes : the cells that may change, int32 (m,), and their coefficients, (m, 28); none
        are empty
    photos : int32 (p,), in this order
    """
    costs, given = np.empty(cells.shape[0], np.float32), 0
    for i in range(cells.shape[0]):
        old = np.intp(now.place[cells[i]])
        uses_of_old = now.priced[index.photo[old]]
        costs[i] = exact_cost(index, now, rules, codes[i], old) - rules.use_penalty * uses_of_old
    for photo in photos:
        uses = now.uses[photo]
        if uses >= quota:
            continue
        best, best_near, least = -1, True, np.float32(np.inf)
        best_place: Count = -1
        for i in range(cells.shape[0]):
            shown = index.photo[now.place[cells[i]]]
            if now.uses[shown] <= quota:
                continue
            others = now.priced[shown] - share_of(now, np.intp(cells[i]))
            saved = costs[i] + rules.use_penalty * others
            place, more = _cheapest(index, now, rules, codes[i], photo)
            more -= saved
            if not best_near and more >= least:
                continue
            near = uses > 0 and _is_near(index, now, rules, cells[i], photo)
            if near < best_near or (near == best_near and more < least):
                best, best_place, best_near, least = i, place, near, more
        if best >= 0:
            vacate(index, now, rules, np.intp(cells[best]))
            now.place[cells[best]] = best_place
            count_use(index, now, rules, best_place, np.intp(cells[best]), np.intp(1))
            given += 1
    return given
