"""A match for a single picture: as good as it becomes, for as long as it takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...gallery.file_format import Gallery
from ..grid import Grid
from .layout import LayoutMatcher

__all__ = ["RefiningMatcher"]

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

# It ends when no cell finds a better tile, or after so many passes: of what 20 passes gain, two
# have nine tenths.
_PASSES = 8
_AT_ONCE = 4096  # cells, between two reports of progress

# A better search finds a better fit and more photos, and at the same prices mostly the latter. With
# three quarters of the variety there are about as many as a quick search finds, and all the rest of
# the gain is fit.
_VARIETY = 0.75


class RefiningMatcher:
    """Matches by layout, and then again and again, each cell beside all others as they are now.

    The quick search goes through the cells once, and those that come first know nothing of those
    after them. Here each pass lowers the sum of what all tiles cost, or leaves it: coordinate
    descent.

    Parameters
    ----------
    gallery, grid, tint, variety, min_distance, max_uses : as of `LayoutMatcher`
    on_progress : called as on_progress(done, total), a few times a second
    """

    def __init__(
        self,
        gallery: Gallery,
        grid: Grid,
        *,
        tint: float,
        variety: float,
        min_distance: int,
        max_uses: int,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._on_progress = on_progress
        self._layout = LayoutMatcher(
            gallery,
            grid,
            tint=tint,
            calm=0.0,  # any better tile is taken
            variety=_VARIETY * variety,
            min_distance=min_distance,
            max_uses=max_uses,
            hurry=False,
        )

    def update_settings(self, *, tint: float, calm: float) -> None:
        """As of `LayoutMatcher`; there is no frame before to be calm about."""
        self._layout.update_settings(tint=tint, calm=0.0)

    def observe(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
        """As of `LayoutMatcher`."""
        return self._layout.observe(bgr, state, active_pixels)

    def describe(self, cells: I32) -> None:
        """As of `LayoutMatcher`."""
        self._layout.describe(cells)

    def match(self, cells: I32, *, active: int) -> tuple[I32, NDArray[np.bool_]]:
        """The best tile for each cell, given all others."""
        ids, flips = self._layout.match(cells, active=active)
        total = (1 + _PASSES) * len(cells)
        done = len(cells)
        for _ in range(_PASSES):
            before = ids.copy(), flips.copy()
            for start in range(0, len(cells), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                self._layout.describe(cells[part])
                ids[part], flips[part] = self._layout.match(cells[part], active=0)
                done += len(cells[part])
                self._on_progress(done, total)
            if np.array_equal(before, (ids, flips)):
                break
        return ids, flips
