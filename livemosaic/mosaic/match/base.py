"""The base of all ways of matching."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import numpy as np

from ...gallery.gallery import Gallery
from ...jit import I32, U8, Bools
from ..activity import ACTIVE
from ..grid import ANALYSIS_PX, Grid
from ..settings import MosaicSettings


class Matcher(ABC):
    """Chooses tiles for the cells of one stream, frame by frame.

    A way of your own is a subclass that has `match`: `Mosaic(gallery, settings, matcher=MyMatcher)`
    makes one for each stream. For each frame it calls `observe`, and where cells have to be matched
    `describe` and `match`.

    Parameters
    ----------
    gallery : tiles
    grid : the cells
    settings : of the mosaic

    Attributes
    ----------
    gallery, grid, settings : as given; `settings` may be updated
    bgr : the picture of the last `observe`
    visible : bool (cells,), where cells of this size are shown now, None for everywhere; about the
        others `observe` need not find anything out
    on_progress : to be called as on_progress(done, total) if `match` takes seconds
    points : of the class, how many pixels each side of a cell has in that picture at least
    """

    points: ClassVar[int] = ANALYSIS_PX

    def __init__(self, gallery: Gallery, grid: Grid, settings: MosaicSettings) -> None:
        self.gallery, self.grid, self.settings = gallery, grid, settings
        self.visible: Bools | None = None
        self.on_progress: Callable[[int, int], None] = lambda done, total: None

    @classmethod  # noqa: B027 - there may be nothing to do
    def warm_up(cls, gallery: Gallery) -> None:
        """Work out what all streams with a gallery share, before one starts; on any thread."""

    def take_over(self, before: Matcher) -> bool:
        """Go on where the stream's matcher is, which has an earlier state of a live gallery.

        Both have the same grid and settings. False, the default, if it cannot: then cells keep no
        tile. `before` is used no more.
        """
        return False

    @classmethod  # noqa: B027 - they may have nothing in common
    def join(cls, matchers: Sequence[Self]) -> None:
        """Let the matchers of one picture with cells of several sizes count photos together.

        Each but the first is for cells of half the sides of the one before.
        """

    @property
    def most_cells(self) -> int:
        """How many cells, of all sizes, there are photos for."""
        return sys.maxsize

    @property
    def is_cut(self) -> bool:
        """Whether the observed frame is another scene, in which no cell keeps its tile."""
        return False

    def leave(self, cells: I32) -> None:  # noqa: B027 - there may be nothing to do
        """Some cells, int32 (n,), are not shown any more: finer ones or a larger one are."""

    def show(self, cell: int, tile: int) -> None:  # noqa: B027 - there may be nothing to do
        """A cell shows a tile that was chosen elsewhere, and is not matched for some time."""

    @property
    def distance(self) -> int:
        """No photo is twice within so many cells; 0 if there is no such rule."""
        return 0

    def update_settings(self, settings: MosaicSettings) -> None:
        """Use settings that differ in tint, calm, overlay or activity, from the next frame on.

        Other settings start a new stream, with a new matcher.
        """
        self.settings = settings

    def observe(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
        """Take in a frame; by default active cells are matched again.

        Parameters
        ----------
        bgr : uint8 (rows * 8, columns * 8, 3) BGR, at the analysis resolution; if `points` is
            lower, it may be, too
        state, active_pixels : uint8 (rows, columns), from `Activity`

        Returns
        -------
        int32 (cells,), how urgent it is to match each cell again; 0: not at all
        """
        self.bgr = bgr
        return np.where(state == ACTIVE, active_pixels, 0).reshape(-1).astype(np.int32)

    def describe(self, cells: I32) -> None:  # noqa: B027 - there may be nothing to do
        """Work out the features of some cells of that frame, for `match`.

        Parameters
        ----------
        cells : int32 (n,), ascending numbers, n >= 1
        """

    @abstractmethod
    def match(self, cells: I32, *, active: int) -> tuple[I32, Bools]:
        """Choose tiles for the cells that were described.

        Parameters
        ----------
        cells : the same
        active : the number of cells that need a match, these and those that have to wait

        Returns
        -------
        ids : int32 (n,), tile numbers
        flips : bool (n,), which are mirrored
        """
