"""Cells that wait for a match: those for which a frame has no time, and those that are hidden."""

from __future__ import annotations

import numpy as np

from ..jit import I32, Bools
from .area import Area, hidden_cells
from .grid import Grid

# Cells wait with this urgency at most, which a matcher may give in each frame, too: both together
# are an int32.
_MOST_URGENT = 10**9


class WaitingCells:
    """Of the cells of one size, those that have to be matched since an earlier frame."""

    def __init__(self, cells: int) -> None:
        self._urgency = np.zeros(cells, np.int32)  # above 0: waits

    def select(
        self, urgency: I32, allowed: Bools, needed: Bools, max_cells: int | None
    ) -> tuple[int, I32]:
        """The number of active cells, and the numbers of those to match now.

        Only `allowed` cells are matched; the others remember that they have to be. Those that need
        a tile come first. Cells that have to wait become more urgent by their changes meanwhile.
        """
        self._urgency = np.where(allowed, self._urgency, np.maximum(self._urgency, urgency))
        is_active = ((urgency > 0) | (self._urgency > 0)) & allowed
        active = np.flatnonzero(is_active | needed).astype(np.int32)
        if max_cells is None or len(active) <= max_cells:
            self._urgency[active] = 0
            return len(active), active
        waits = self._urgency[active] + 1 + urgency[active]
        self._urgency[active] = np.minimum(waits, _MOST_URGENT)
        waits = np.where(needed[active], np.int32(2**31 - 1), self._urgency[active])
        first = np.argsort(-waits, kind="stable")
        cells = np.sort(active[first[: max(max_cells, np.count_nonzero(needed))]])
        self._urgency[cells] = 0
        return len(active), cells

    def put_first(self, cells: Bools) -> None:
        """Let some cells be matched before all others."""
        self._urgency[cells] = _MOST_URGENT


class HiddenCells:
    """Cells of which nothing is seen: they wait for a match, and to be composed, until they are."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._urgency = np.zeros(grid.cells, np.int32)  # of those that wait
        self._outdated = np.zeros(grid.cells, np.bool_)
        self._any = False
        self.cells = np.zeros(grid.cells, np.bool_)  # in the last frame

    def hold_back(self, area: Area | None, urgency: I32, outdated: Bools) -> I32:
        """The urgency of the cells that are seen; changes `outdated`, bool (cells,), to those."""
        if area is None and not self._any:
            return urgency
        hidden = np.zeros_like(outdated) if area is None else hidden_cells(area.mask, self._grid)
        self.cells = hidden
        self._any = bool(hidden.any())
        urgency = np.maximum(urgency, self._urgency)
        self._urgency = np.where(hidden, urgency, np.int32(0))
        outdated |= self._outdated
        self._outdated = outdated & hidden
        outdated &= ~hidden
        return np.where(hidden, np.int32(0), urgency)
