"""The match for a single picture: as good as possible, however long it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...gallery.gallery import Gallery
from ...jit import I32, Bools
from ..grid import Grid
from ..settings import MosaicSettings
from .layout import LayoutMatcher

# It ends when no cell finds a better tile, or after so many passes: two have nine tenths of the
# gain of 20.
_PASSES = 8
_BATCH = 4096  # cells between two reports of progress

# In a large gallery the first pass searches twice the clusters that the others do: a tile that it
# finds is not lost, and those that all passes would find beyond it are hardly better.
_LATER_PROBES = 128

# A longer search finds a better fit and more photos, and with the same penalties mostly the latter.
# With three quarters of the variety the photos are about as many as a quick search finds, and the
# gain is in the fit.
_VARIETY = 0.75


class RefiningMatcher(LayoutMatcher):
    """Matches by layout, and then again, each cell beside all others as they are now.

    The quick search visits the cells once, and the first ones know nothing of the last ones. Here
    each pass lowers the sum of all costs, or leaves it: coordinate descent.
    """

    def __init__(
        self, gallery: Gallery, grid: Grid, settings: MosaicSettings, **options: Any
    ) -> None:
        settings = replace(settings, variety=_VARIETY * settings.variety)
        super().__init__(gallery, grid, settings, hurry=False, **options)

    def update_settings(self, settings: MosaicSettings) -> None:
        """Use another tint; there is no frame before, so that any better tile is taken."""
        super().update_settings(replace(settings, calm=0.0))

    def match(self, cells: I32, *, active: int) -> tuple[I32, Bools]:
        """The best tile for each cell, given all others."""
        self.choose(cells, active)
        first = self.rules
        if self._is_large:
            self.rules = first._replace(max_probes=min(first.max_probes, _LATER_PROBES))
        try:
            self._refine(cells)
        finally:  # the caller may end it with an error in `on_progress`
            self.rules = first
        if self._quota is not None:
            self.describe(cells)
            self._quota.fill_all(self.rules, cells, self._codes)
        return self.chosen(cells)

    def _refine(self, cells: I32) -> None:
        """Choose again, pass by pass."""
        ids, flips = self.chosen(cells)
        done, total = len(cells), (1 + _PASSES) * len(cells)
        for _ in range(_PASSES):
            before = ids.copy(), flips.copy()
            for start in range(0, len(cells), _BATCH):
                part = slice(start, start + _BATCH)
                self.describe(cells[part])
                self.choose(cells[part], 0)
                ids[part], flips[part] = self.chosen(cells[part])
                done += len(cells[part])
                self.on_progress(done, total)
            if np.array_equal(before, (ids, flips)):
                break
