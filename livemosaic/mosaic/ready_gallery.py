"""A gallery that a stream can use at once: cut to the shape of its cells, and with its matchers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..argument import take
from ..gallery.cut import cut_gallery
from ..gallery.gallery import Gallery
from ..gallery.layout_features import cell_lab
from ..gallery.snapshot import GallerySnapshot
from .grid import ANALYSIS_PX, Grid, finer_grids
from .match import matcher_class
from .match.base import Matcher
from .settings import MosaicSettings

MakeMatcher = Callable[[Gallery, Grid, MosaicSettings], Matcher]


@dataclass(frozen=True, slots=True)
class ReadyGallery:
    """A gallery that a stream can use at once, from `Mosaic.prepare_gallery`."""

    gallery: Gallery
    cut: Gallery  # with tiles of the grid's shape
    matchers: Sequence[Matcher] = ()  # for cells of each size; none if there was no stream
    settings: MosaicSettings | None = None  # of the matchers

    def fits(self, grids: Sequence[Grid], settings: MosaicSettings) -> bool:
        """Whether the matchers are for these cells and settings."""
        if self.settings is None or not self.settings.keeps_tiles(settings):
            return False
        return [matcher.grid for matcher in self.matchers] == list(grids)

    def warm_up(self) -> None:
        """Load the kernels that the gallery needs to take the place of an earlier one."""
        for matcher in self.matchers:  # nothing changes
            matcher.show(0, int(np.flatnonzero(~self.gallery.gone)[0]))
            matcher.leave(np.zeros(1, np.int32))
            matcher.take_over(matcher)
        cell_lab(np.zeros((ANALYSIS_PX, ANALYSIS_PX, 3), np.uint8), 1, 1)


def make_ready(
    gallery: Gallery,
    grid: Grid,
    settings: MosaicSettings,
    make_matcher: MakeMatcher | None,
    on_progress: Callable[[int, int], None],
) -> ReadyGallery:
    """Cut a gallery, and make the matchers of cells of each size; by default those of the
    settings."""
    make, cut = make_matcher or matcher_class(settings), cut_gallery(gallery, grid.tile_px)
    matchers = [make(cut, it, settings) for it in finer_grids(grid, settings)]
    for matcher in matchers:
        take("matcher", matcher, Matcher, "a class derived from Matcher")
        matcher.on_progress = on_progress
    if len(matchers) > 1:
        type(matchers[0]).join(matchers)
    return ReadyGallery(gallery, cut, matchers, settings)


def follows(gallery: Gallery, earlier: Gallery) -> bool:
    """Whether a gallery is a later state of an earlier one, so that a stream may go on."""
    return isinstance(gallery, GallerySnapshot) and gallery.follows(earlier)
