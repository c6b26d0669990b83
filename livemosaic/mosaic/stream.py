"""A stream: the frames of one size and colour in a row, and how each becomes a mosaic.

    grid > activity > match > tint > compose

Each is a module here; `Stream.process` is their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np

from ..jit import F32, U8, Bools
from ..media.colour import Colour, ycbcr_to_bgr
from ..media.frame import Frame
from .activity import STILL, Activity
from .analysis import analysis_picture
from .area import Area, seen_cells
from .layer import CellTiles, Face
from .layers import CellCounts, Layers, Scene
from .painter import Painter, TileCaches
from .ready_gallery import ReadyGallery
from .settings import MosaicSettings
from .spotlight import Spotlight
from .waiting import HiddenCells


class FrameKind(NamedTuple):
    """What the frames of a stream have in common."""

    width: int
    height: int
    colour: Colour
    deep_colour: Colour | None = None  # of their pictures in 10 bits

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """The kind of a frame."""
        deep_colour = None if frame.deep is None else frame.deep.colour
        return cls(frame.width, frame.height, frame.colour, deep_colour)


class Stream:
    """What a mosaic knows of the frames so far.

    Attributes
    ----------
    kind : of the frames
    gallery : in use
    layers : the cells, and their tiles
    grid : the largest cells
    """

    def __init__(
        self,
        kind: FrameKind,
        settings: MosaicSettings,
        gallery: ReadyGallery,
        caches: tuple[TileCaches, TileCaches],
    ) -> None:
        """`caches` are of tiles in 8 and in 10 bits."""
        self.kind, self.gallery = kind, gallery
        self.layers = Layers(gallery.matchers, settings)
        self.grid = grid = self.layers.whole.grid
        self._activity = Activity(grid, threshold=settings.activity, overlay=settings.overlay)
        self._hidden = HiddenCells(grid)
        self._painter = Painter(self.layers, kind.colour, kind.deep_colour, *caches)
        self._painter.use_style(gallery, settings)
        self._bgr: U8 | None = None  # the last frame at the analysis resolution
        self._mask: U8 | None = None  # of its area

    def process(
        self,
        frame: Frame,
        *,
        max_cells: int | None,
        area: Area | None,
        faces: Sequence[Face],
        spotlights: Sequence[Spotlight],
        on_stage: Callable[[str], None],
    ) -> tuple[Frame, CellCounts]:
        """The mosaic of the next frame, see `Mosaic.process`, and what became of its cells. After
        an error some parts know the frame, and others do not: then the stream is over."""
        layers, is_first = self.layers, not self.has_begun
        self._mask = None if area is None else area.mask

        ycbcr = analysis_picture(frame, self.grid, layers.px)
        self._bgr = bgr = ycbcr_to_bgr(ycbcr, frame.colour)
        seen = layers.whole.seen(bgr)
        state, active_pixels = self._activity.update(seen), self._activity.active_pixels
        urgency = layers.whole.observe(seen, state, active_pixels)
        outdated = (state != STILL).reshape(-1)
        if not is_first:  # else all cells need a tile
            urgency = self._hidden.hold_back(area, urgency, outdated)
        on_stage("activity")

        if layers.whole.matcher.is_cut:  # nothing of the scene before is in the way
            layers.join_all()
        pinned, hidden = layers.show(spotlights, outdated), self._hidden.cells
        layers.split_faces(faces, (frame.width, frame.height), hidden | pinned)
        scene = Scene(bgr, state, active_pixels, urgency, hidden, pinned, outdated)
        matched = layers.match(scene, max_cells, on_stage)
        on_stage("match")

        picture, painted = self._painter.paint(frame, ycbcr, outdated, area, spotlights)
        on_stage("compose")
        return picture, layers.counts(matched, outdated, painted)

    def paint(
        self,
        frame: Frame,
        chosen: Sequence[CellTiles],
        area: Area | None,
        on_progress: Callable[[int, int], None],
    ) -> Frame:
        """The picture of a first frame with the tiles that were chosen for it, see
        `Mosaic.paint`."""
        self.layers.show_all(chosen)
        self._mask = None if area is None else area.mask
        self._painter.read_tiles(on_progress)
        ycbcr = analysis_picture(frame, self.grid, self.layers.px)
        every = np.ones(self.grid.cells, np.bool_)
        return self._painter.paint(frame, ycbcr, every, area)[0]

    # ---- between frames ------------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether there was a frame."""
        return self._bgr is not None

    @property
    def seen(self) -> Bools:
        """Which of the largest cells are seen in the area of the last frame."""
        if self._mask is None:
            return np.ones((self.grid.rows, self.grid.columns), np.bool_)
        return seen_cells(self._mask, self.grid)

    def distances(self, tile: int, tint: float) -> F32:
        """How far a tile is from each of the largest cells, see `Mosaic.distances`."""
        assert self._bgr is not None
        return self.layers.whole.distances(self._bgr, tile, tint)

    def update_settings(self, settings: MosaicSettings) -> None:
        """Use settings that keep tiles."""
        self._activity.set_limits(threshold=settings.activity, overlay=settings.overlay)
        self.layers.update_settings(settings)
        self._painter.use_style(self.gallery, settings)

    def follow(self, gallery: ReadyGallery) -> bool:
        """Go on with a later state of the gallery; false if a matcher cannot."""
        if not self.layers.follow(gallery.matchers, gallery.gallery.gone):
            return False
        self.gallery = gallery
        self._painter.follow(gallery)
        return True

    def warm_up(self) -> None:
        """Cache all tiles, unless they are very many."""
        self._painter.fill()
