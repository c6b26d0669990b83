"""The filter: a frame in, its mosaic out.

grid > activity > match (by layout, or by clusters of histograms) > tint > compose
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..gallery import open_gallery
from ..gallery.file_format import Gallery
from ..media.colour import Colour, ycbcr_to_bgr
from ..media.frame import Frame
from ..option import options_of
from .activity import STILL, Activity
from .compositor import Compositor, tile_overlay
from .grid import ANALYSIS_PX, Grid, plan_grid
from .match import ClusterMatcher, LayoutMatcher, Matcher, RefiningMatcher, layout_index
from .settings import MAX_TILE_PX, MosaicSettings
from .tile_cache import TileCache
from .tint import CellTint

__all__ = ["CellCounts", "Mosaic"]

U8 = NDArray[np.uint8]


# Galleries of so many tiles, and bytes of them in the size that is shown, are prepared as a whole
# before a live source begins. Of more, few are ever shown.
_PREPARED_TILES, _PREPARED_BYTES = 8192, 2**24

# Prepared tiles that are kept: 350,000 of 32 pixels, so that large galleries stay as they are. Of
# larger ones, twice as many as there are cells if that is more.
_KEPT_BYTES = 2**29

# Kernels are loaded for tiles so many times larger, too: the pipeline's governor doubles them when
# there is no time to lose, and compiling takes 0.3 s.
_WARM_SIZES = (1, 2)

# Options that change how tiles are shown, not which.
_STYLE = [known.field for known in options_of(MosaicSettings) if known.keeps_tiles]


@dataclass(frozen=True, slots=True)
class CellCounts:
    """What became of the cells of one frame."""

    total: int = 0
    active: int = 0  # changed so much that they are matched again, in this frame or a later one
    deferred: int = 0  # of those, how many are left to a later frame
    touched: int = 0
    changed: int = 0  # cells whose tile is another one than before


def _no_stage(name: str) -> None:
    """Nobody measures."""


def _no_progress(done: int, total: int) -> None:
    """Nobody waits."""


class Mosaic:
    """A photomosaic filter for one stream.

    It knows no clock: the same gallery, settings and frames give the same pictures, bit for bit. It
    has no threads and does no I/O, but for a thorough one, which reads the photos themselves where
    the gallery's tiles are too small. Frames of another size or colour start a new stream.

    Parameters
    ----------
    gallery : a `Gallery`, or what `open_gallery` takes: "photos", "emoji", a file or a folder
    settings : `MosaicSettings`

    Attributes
    ----------
    cells : what became of the cells of the last frame
    on_stage : called with the name of each stage when it is done (activity, features, match,
        compose), for measuring
    on_progress : called as on_progress(done, total) during a thorough match

    Examples
    --------
    >>> mosaic = Mosaic()                                     # doctest: +SKIP
    >>> picture = mosaic.apply(cv2.imread("photo.jpg"))       # doctest: +SKIP

    For a single picture, with all the time that it takes:

    >>> mosaic = Mosaic(settings=MosaicSettings(thorough=True))     # doctest: +SKIP
    """

    def __init__(
        self,
        gallery: Gallery | str | Path = "photos",
        settings: MosaicSettings | None = None,
    ) -> None:
        self.gallery = gallery if isinstance(gallery, Gallery) else open_gallery(gallery)
        self.settings = settings or MosaicSettings()
        self.cells = CellCounts()
        self.on_stage: Callable[[str], None] = _no_stage
        self.on_progress: Callable[[int, int], None] = _no_progress
        self._key: tuple[int, int, Colour] | None = None
        self._tiles: TileCache | None = None

    @property
    def grid(self) -> Grid:
        """The grid of the last frame."""
        return self._grid

    @property
    def tile_ids(self) -> NDArray[np.int32]:
        """Which tile is in each cell now: int32 (rows, columns), a copy."""
        return self._ids.reshape(self._grid.rows, self._grid.columns).copy()

    @property
    def flips(self) -> NDArray[np.bool_]:
        """Which tiles are mirrored now: bool (rows, columns), a copy."""
        return self._flips.reshape(self._grid.rows, self._grid.columns).copy()

    @property
    def matcher(self) -> Matcher:
        """What chooses the tiles; another one for another stream."""
        return self._matcher

    def plan(self, width: int, height: int) -> Grid:
        """The grid for frames of a size."""
        s = self.settings
        return plan_grid(
            width,
            height,
            tile_px=s.tile_px,
            columns=s.columns,
            scale=s.scale,
            size=s.size,
            round_up=s.round_up,
            for_screen=s.for_screen,
        )

    def apply(self, bgr: NDArray[Any]) -> U8:
        """The mosaic of a picture.

        Parameters
        ----------
        bgr : uint8 (height, width, 3) BGR

        Returns
        -------
        the same of another size, see `plan`: about 2560 pixels on the longer side, unless the
        settings say otherwise; `MosaicSettings(scale=1)` keeps the picture's
        """
        return self.process(Frame.from_bgr(bgr)).to_bgr()

    def warm_up(self, width: int, height: int, colour: Colour) -> None:
        """Do what the first frame of a live source should not have to: load every kernel that
        frames of this size need, also with tiles twice as large, 0.2 s, price the tiles of a large
        gallery, and prepare those of one that is not too large, 0.1 s.

        A stream that has begun stays as it is, and another thread may go on with it.
        """
        grid = self.plan(width, height)
        self.warm_up_kernels(self.settings, width, height, colour)
        tiles = len(self.gallery.tiles)
        enough = tiles <= _PREPARED_TILES and tiles * grid.tile_px**2 * 3 // 2 <= _PREPARED_BYTES
        if self._tiles is None and not self.settings.thorough:
            self._start(width, height, colour)
            if enough:
                self._composer.prepare(np.arange(tiles, dtype=np.int32))

    def warm_up_kernels(
        self, settings: MosaicSettings, width: int, height: int, colour: Colour
    ) -> None:
        """Load every kernel that frames of this size need with other settings, also with tiles
        twice as large: 0.2 s, and up to 4 s where they were never used and are compiled. Safe from
        any thread; the stream's state stays as it is."""
        grid = Mosaic(self.gallery, settings).plan(width, height)
        settings = settings.for_grid(grid)
        for tile_px in {min(n * grid.tile_px, MAX_TILE_PX) for n in _WARM_SIZES}:
            self._run_once(replace(settings, tile_px=tile_px), width, height, colour)

    def _run_once(self, settings: MosaicSettings, width: int, height: int, colour: Colour) -> None:
        """Make small mosaics, with the kernels that large ones need.

        Those depend on the tile's size and the scale, not on how many cells there are.
        """
        grid = plan_grid(width, height, tile_px=settings.tile_px, size=settings.size)
        scale = grid.width / width
        side = max(2, round(2 * grid.tile_px / scale))
        if side < min(width, height):
            width = height = side
            settings = replace(settings, scale=scale, size=None, round_up=True)
        scratch = Mosaic(self.gallery, settings)
        held = []  # a picture that is held has to be copied
        for level in (0, 255):
            picture = np.full((height, width, 3), level, np.uint8)
            held.append(scratch.process(Frame.from_bgr(picture, colour=colour)))

    def warm_up_gallery(self, gallery: Gallery) -> None:
        """Work out what matching needs of a gallery, 2 s for 300,000 tiles, so that the first frame
        after a change to it need not. Safe from any thread; the stream's state stays as it is."""
        if self.settings.match == "layout":
            layout_index(gallery)

    def change(self, settings: MosaicSettings, *, gallery: Gallery | None = None) -> None:
        """Use other settings, or another gallery, from the next frame on.

        Cells keep their tiles when only `_STYLE` is another. The output's size changes if the
        settings say so.
        """
        before, self.settings = self.settings, settings
        if gallery is not None and gallery is not self.gallery:
            self.gallery, self._key = gallery, None
        style = {name: getattr(settings, name) for name in _STYLE}
        if replace(before, **style) != settings:
            self._key = None
        elif self._key is not None and settings != before:
            self._activity.set_limits(threshold=settings.activity, overlay=settings.overlay)
            self._matcher.update_settings(tint=settings.tint, calm=settings.calm)
            self._tint = CellTint(self._grid) if settings.tint > 0 else None
            self._composer = self._new_composer(self._grid, self._key[2])

    def forget(self) -> None:
        """Take the next frame as a stream's first: no cell shows anything from before."""
        self._key = None

    def process(self, frame: Frame, *, max_cells: int | None = None) -> Frame:
        """The mosaic of a frame, with the frame's times and colour.

        The arrays of the result are read-only and never written again, and its memory is used again
        when they are gone. Frames between which nothing changed share them. An exception, or a
        Ctrl-C, in the middle of a frame ends the stream: the next frame begins another.

        Parameters
        ----------
        frame : the picture
        max_cells : how many cells may be matched; those that changed most come first, the others
            keep their tiles until one of the next frames. None: all
        """
        if (frame.width, frame.height, frame.colour) != self._key:
            self._start(frame.width, frame.height, frame.colour)
        ycbcr = analysis_picture(frame, self._grid)
        bgr = ycbcr_to_bgr(ycbcr, frame.colour)
        key, self._key = self._key, None  # until all parts know of the frame
        state = self._activity.update(bgr)
        wants = self._matcher.observe(bgr, state, self._activity.active_pixels)
        active, matched = self._choose(wants, max_cells)
        self.on_stage("activity")

        if len(matched):
            self._matcher.describe(matched)
        self.on_stage("features")
        changed = 0
        # What a cell shows is out of date, whether its own tile is or another takes its place.
        paint = (state != STILL).reshape(-1)
        if len(matched):
            ids, flips = self._matcher.match(matched, active=active)
            other = (self._ids[matched] != ids) | (self._flips[matched] != flips)
            changed = int(np.count_nonzero(self._ids[matched[other]] >= 0))
            self._ids[matched], self._flips[matched] = ids, flips
            paint[matched[other]] = True
        self.on_stage("match")

        tints = self._tint.update(ycbcr, paint) if self._tint is not None else None
        cells = np.flatnonzero(paint).astype(np.int32)
        planes = self._composer.compose(
            frame,
            cells,
            self._ids[cells],
            self._flips[cells],
            None if tints is None else tints[cells],
        )
        self.on_stage("compose")
        touched = int(np.count_nonzero(paint)) - int(np.count_nonzero(paint[matched]))
        self.cells = CellCounts(
            total=len(paint),
            active=active,
            deferred=active - len(matched),
            touched=touched,
            changed=changed,
        )
        self._key = key
        return frame.with_picture(*planes)

    def _choose(
        self, wants: NDArray[np.int32], max_cells: int | None
    ) -> tuple[int, NDArray[np.int32]]:
        """How many cells are to be matched, and the numbers of those to match now.

        Cells that have to wait become more urgent by what they change meanwhile.
        """
        active = np.flatnonzero((wants > 0) | (self._urgency > 0)).astype(np.int32)
        if max_cells is None or len(active) <= max_cells or self._ids[0] < 0:
            self._urgency[:] = 0
            return len(active), active
        self._urgency[active] += 1 + wants[active]
        first = np.argsort(-self._urgency[active], kind="stable")
        matched = np.sort(active[first[:max_cells]])
        self._urgency[matched] = 0
        return len(active), matched

    def _start(self, width: int, height: int, colour: Colour) -> None:
        """Forget the stream before, and begin one of such frames."""
        s, self._key = self.settings, None
        self._grid = grid = self.plan(width, height)
        self._activity = Activity(grid, threshold=s.activity, overlay=s.overlay)
        self._matcher = self._new_matcher(grid)
        self._tiles = None
        self._composer = self._new_composer(grid, colour)
        self._tint = CellTint(grid) if s.tint > 0 else None
        self._urgency = np.zeros(grid.cells, np.int32)  # above 0: active since an earlier frame
        self._ids = np.full(grid.cells, -1, np.int32)
        self._flips = np.zeros(grid.cells, np.bool_)
        self._key = (width, height, colour)  # not before: any of this may fail

    def _new_matcher(self, grid: Grid) -> Matcher:
        s = self.settings
        if s.match == "clusters":
            return ClusterMatcher(self.gallery, grid, palette_size=s.palette, seed=s.seed)
        by_layout: Callable[..., Matcher] = (
            partial(RefiningMatcher, on_progress=self.on_progress)
            if s.thorough
            else partial(LayoutMatcher, calm=s.calm)
        )
        return by_layout(
            self.gallery,
            grid,
            tint=s.tint,
            variety=s.variety,
            min_distance=s.min_distance,
            max_uses=s.max_uses,
        )

    def _new_composer(self, grid: Grid, colour: Colour) -> Compositor:
        s = self.settings
        overlay = (s.overlay, 0.0 if s.overlay_luma else s.overlay)
        scaled_for = tile_overlay(overlay, s.tint)
        fitting = _KEPT_BYTES * 2 // (3 * grid.tile_px**2)
        if self._tiles is None or self._tiles.overlay != scaled_for:
            self._tiles = TileCache(
                self.gallery,
                tile_px=grid.tile_px,
                colour=colour,
                overlay=scaled_for,
                sharp=s.full_size or s.thorough,
                most=grid.cells if s.thorough else max(2 * grid.cells, fitting),
            )
        return Compositor(grid, self._tiles, overlay=overlay, tint=s.tint)


def analysis_picture(frame: Frame, grid: Grid) -> U8:
    """A frame at 8x8 pixels per cell, uint8 (rows * 8, columns * 8, 3) Y'CbCr, contiguous.

    Cells that stick out of the picture are filled by repeating its edge.
    """
    full = (grid.columns * ANALYSIS_PX, grid.rows * ANALYSIS_PX)
    width = min(full[0], max(1, round(grid.width * ANALYSIS_PX / grid.tile_px)))
    height = min(full[1], max(1, round(grid.height * ANALYSIS_PX / grid.tile_px)))
    planes = []
    for plane in (frame.y, frame.u, frame.v):
        if plane.shape == (height, width):
            planes.append(plane)
            continue
        shrink = plane.shape[0] >= height and plane.shape[1] >= width
        mode = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        planes.append(np.asarray(cv2.resize(plane, (width, height), interpolation=mode), np.uint8))
    merged = cv2.merge(planes)
    if (width, height) != full:
        below, right = full[1] - height, full[0] - width
        merged = cv2.copyMakeBorder(merged, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(merged, np.uint8)
