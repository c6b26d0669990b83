"""The filter: a frame in, its mosaic out.

    grid > activity > match > tint > compose

Each is a module here; `Mosaic.process` is their order. Match and tint are of each layer, the cells
of one size (`layer.py`).
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from ..argument import items, take, whole
from ..errors import GalleryError, OptionError, UsageError
from ..exclusive import exclusive
from ..gallery import open_gallery
from ..gallery.cut import cut_gallery
from ..gallery.damage import refuse
from ..gallery.gallery import Gallery
from ..gallery.layout_features import cell_lab, points_to_lab
from ..gallery.snapshot import GallerySnapshot
from ..jit import F32, I32, U8, Bools
from ..media.colour import Colour, ycbcr_to_bgr
from ..media.deep import eight_bits
from ..media.frame import DeepPicture, Frame
from ..media.picture import from_frame, to_frame
from ..option import options_of
from ..tile_size import enlarged
from .activity import STILL, Activity
from .area import Area, HiddenCells, seen_cells
from .compositor import Compositor, cached_overlay
from .deep import DeepCompositor, DeepTileCache
from .grid import ANALYSIS_PX, Grid, finer_grids, plan_grid
from .layer import Face, Layer, quartered
from .match import matcher_class
from .match.base import Matcher
from .settings import MAX_TILE_PX, MosaicSettings
from .spotlight import Spotlight, Spotlights
from .tile_cache import MAX_BYTES, TileCache
from .tint import CellTint

# `warm_up` caches all tiles of galleries up to this size. Of larger ones, few are ever shown.
_WARM_TILES, _WARM_BYTES = 8192, 2**24

# `warm_up` loads kernels for tiles so many times larger, too: the pipeline's governor doubles them
# when there is no time for a compilation.
_WARM_SIZES = (1, 2)

# `paint` reads so many tiles at once.
_TILES_AT_ONCE = 64

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..gallery import GallerySpec

# Options that change how tiles are shown, not which.
_STYLE = [known.field for known in options_of(MosaicSettings) if known.keeps_tiles]

# Width, height and colour of a stream's frames, and the colour of those in 10 bits.
_Key = tuple[int, int, Colour, Colour | None]

MakeMatcher = Callable[[Gallery, Grid, MosaicSettings], Matcher]

_one_thread = exclusive("make a Mosaic for each thread; they can share a Gallery")


@dataclass(frozen=True, slots=True)
class CellCounts:
    """How many cells of one frame were matched, composed and changed."""

    total: int = 0
    active: int = 0  # that needed a match, in this frame or a later one
    deferred: int = 0  # active ones that wait for a later frame
    touched: int = 0  # that were composed again with the same tile
    changed: int = 0  # whose tile is another one than before
    split: int = 0  # cells, not in the total, that are shown by four finer ones

    def share(self, name: str) -> float:
        """A count as a share of all cells, 0..1; among them those that are split, because these may
        be matched, to see whether a photo would fit again."""
        count: int = getattr(self, name)
        return count / max(self.total + self.split, 1)

    @property
    def split_share(self) -> float:
        """Of the largest cells, those shown by finer ones: each split makes four cells of one."""
        return self.split / max(self.total - 3 * self.split, 1)


class CellTiles(NamedTuple):
    """The tiles in the cells of one size, see `Mosaic.layers`."""

    grid: Grid
    tile_ids: I32  # int32 (rows, columns), -1 where cells of this size are not shown
    flips: Bools  # bool (rows, columns), which tiles are mirrored


@dataclass(frozen=True, slots=True)
class ReadyGallery:
    """A gallery that a stream can use at once, from `Mosaic.prepare_gallery`."""

    gallery: Gallery
    cut: Gallery  # with tiles of the grid's shape
    matchers: list[Matcher]  # to go on with, see `Mosaic.layers`; none for the first frame


class Mosaic:
    """A photomosaic filter: `apply` for single pictures, `process` for the frames of a stream.

    The same gallery, settings and frames give the same pictures, bit for bit: the filter has no
    clock and no threads. It reads no files but the gallery; with `full_size` or `thorough`, also
    the photos whose tiles it has to enlarge. A frame of another size or colour starts a new stream.

    One thread at a time may call a mosaic; a call during another one is refused with `UsageError`.
    Make one for each thread. They can share a `Gallery`, which never changes.

    Parameters
    ----------
    gallery : a `Gallery`, or an argument of `open_gallery`: "photos", "emoji", a file, a folder, or
        a list of pictures
    settings : `MosaicSettings`; instead of a profile
    profile : a named set of options: "default", "reference", "photos-first" or "picture-first"
    rgb : arrays are RGB, here and in the list of pictures; by default BGR, as OpenCV has them
    matcher : makes the matcher of a stream from gallery, grid and settings, such as a subclass of
        `Matcher`; None for the one that `settings.match` names
    cache_bytes : of tiles in the output's size that are kept
    options : single options beside settings or profile, by the names of the command line with
        underscores for dashes, or of the fields of `MosaicSettings`: columns=40, tint=0.5

    Raises
    ------
    UsageError : an option does not take its value, or options exclude each other
    GalleryError : the gallery cannot be used
    TypeError : there is no such option

    Attributes
    ----------
    gallery, settings : in use
    cells : what became of the cells of the last frame
    on_stage : called with the name of each stage at its end (activity, features, match, compose),
        for measuring
    on_progress : called as on_progress(done, total) during a thorough match, and by `paint`
    on_damage : called with the `GalleryError` if a tile of a large gallery file is damaged, which
        is found out when it is first shown. By default it raises the error; otherwise the tile is a
        blur of the right colours

    Examples
    --------
    >>> from livemosaic import Mosaic
    >>> Mosaic(columns=40, tint=0.5)
    <Mosaic of <Gallery 'photos': 5514 tiles of 64 px>: columns=40, tint=0.5>
    >>> mosaic = Mosaic(columns=40, profile="photos-first")   # doctest: +SKIP
    >>> picture = mosaic.apply(cv2.imread("photo.jpg"))       # doctest: +SKIP

    For a single picture, as good as possible:

    >>> mosaic = Mosaic(thorough=True)                        # doctest: +SKIP
    """

    def __init__(
        self,
        gallery: GallerySpec = "photos",
        settings: MosaicSettings | None = None,
        *,
        profile: str | None = None,
        rgb: bool = False,
        matcher: MakeMatcher | None = None,
        cache_bytes: int = MAX_BYTES,
        **options: Any,
    ) -> None:
        if settings is not None and profile is not None:
            raise UsageError(f"profile {profile}: there are settings, too; leave one of them out")
        if settings is None:
            settings = MosaicSettings.of_profile("default" if profile is None else profile)
        _check_settings(settings)
        self.settings = settings.changed(**options)
        take("matcher", matcher, Callable | None, "a class derived from Matcher")
        whole("cache_bytes", cache_bytes, 0)
        self.gallery = open_gallery(gallery, rgb=rgb)
        self.cells = CellCounts()
        self.on_stage: Callable[[str], None] = lambda name: None
        self.on_progress: Callable[[int, int], None] = lambda done, total: None
        self.on_damage: Callable[[GalleryError], None] = refuse
        self._make_matcher, self._cache_bytes, self._rgb = matcher, cache_bytes, rgb
        self._key: _Key | None = None  # of the stream
        self._tiles: list[TileCache] = []  # of each layer
        self._deep: DeepCompositor | None = None
        self._layers: list[Layer]  # the largest cells first; of the stream
        self._tiles_for: tuple[object, ...] = ()  # what they depend on, the gallery first
        self._mask: U8 | None = None  # of the last frame's area
        self._bgr: U8 | None = None  # the last frame at the analysis resolution
        self._begun = False  # whether the stream has had a frame

    def __repr__(self) -> str:
        changes = repr(self.settings).removeprefix("MosaicSettings(").removesuffix(")")
        return f"<Mosaic of {self.gallery!r}{changes and ': '}{changes}>"

    @property
    def grid(self) -> Grid:
        """The grid of the last frame; `UsageError` before the first."""
        self._check_started("grid")
        return self._grid

    @property
    def tile_ids(self) -> I32:
        """Which tile is in each cell now: int32 (rows, columns), a copy, -1 where finer cells are
        shown (see `layers`); `UsageError` before the first frame."""
        self._check_started("tile_ids")
        return _cells_of(self._layers[0]).tile_ids

    @property
    def flips(self) -> Bools:
        """Which tiles are mirrored now: bool (rows, columns), a copy; `UsageError` before the first
        frame."""
        self._check_started("flips")
        return _cells_of(self._layers[0]).flips

    @property
    def layers(self) -> tuple[CellTiles, ...]:
        """The tiles in the cells of each size, copies, the largest cells first: with `fine` there
        are several. `UsageError` before the first frame."""
        self._check_started("layers")
        return tuple(map(_cells_of, self._layers))

    @property
    def seen(self) -> Bools:
        """Which cells are seen in the area of the last frame: bool (rows, columns); `UsageError`
        before the first frame."""
        self._check_started("seen")
        if self._mask is None:
            return np.ones((self._grid.rows, self._grid.columns), np.bool_)
        return seen_cells(self._mask, self._grid)

    @property
    def matcher(self) -> Matcher:
        """The matcher, which chooses the tiles; each stream has a new one. `UsageError` before the
        first frame."""
        self._check_started("matcher")
        return self._layers[0].matcher

    @property
    def cut_gallery(self) -> Gallery:
        """The gallery with tiles of the grid's shape: `gallery` itself if its tiles have it.
        `UsageError` before the first frame."""
        self._check_started("cut_gallery")
        return self._cut

    def distances(self, tile: int, *, tint: float) -> F32:
        """How far a tile is from each cell of the last frame, as the match by layout counts it:
        float32 (rows, columns), squares of CIELAB. There must be one that `continues`.

        `tint` is how much of its mean colour's distance does not count.
        """
        bgr, grid = self._bgr, self.grid
        assert bgr is not None
        cells = cell_lab(self._layers[0].seen(bgr), grid.rows, grid.columns)
        away = points_to_lab(np.array(self._cut.points[tile : tile + 1])) - cells
        # As if so much of the mean was taken away before, in a quarter of the time.
        points = np.float32(away.shape[1])
        mean = np.einsum("npc->nc", away) / points
        far = np.einsum("npc,npc->n", away, away) / points
        far -= np.float32(1 - (1 - tint) ** 2) * np.einsum("nc,nc->n", mean, mean)
        return np.asarray(far, np.float32).reshape(grid.rows, grid.columns)

    def _check_started(self, name: str) -> None:
        if "_layers" not in self.__dict__:  # the last that `_start` sets
            raise UsageError(f"{name}: there is no frame yet; call `apply` or `process` before")

    @property
    def continues(self) -> bool:
        """Whether there was a frame, and the next one of its size and colour shows the same cells:
        false before the first, after `forget`, and after changes that start another stream."""
        return self._begun and self._key is not None

    def plan(self, width: int, height: int) -> Grid:
        """The grid for frames of a size."""
        return plan_grid(width, height, self.settings)

    @overload
    def apply(self, picture: Frame, *, faces: Sequence[Face] = ()) -> Frame: ...
    @overload
    def apply(self, picture: Image, *, faces: Sequence[Face] = ()) -> Image: ...
    @overload
    def apply(self, picture: NDArray[Any], *, faces: Sequence[Face] = ()) -> U8: ...
    @_one_thread
    def apply(
        self, picture: Frame | Image | NDArray[Any], *, faces: Sequence[Face] = ()
    ) -> Frame | Image | U8:
        """The mosaic of a single picture, whatever came before it.

        Parameters
        ----------
        picture : uint8 (height, width, 3) BGR (RGB if the mosaic is `rgb`), a Pillow image, or a
            `Frame`
        faces : where faces are, see `process`

        Returns
        -------
        the same kind, of another size, see `plan`: without other settings about 2560 pixels on the
        longer side; scale=1 keeps the picture's

        Raises
        ------
        UsageError : it is no picture, or another thread uses the mosaic
        """
        self._key = None
        try:
            return self._process(picture, None, faces=_checked(faces))
        finally:
            self._key = None  # the next frame of a stream does not continue it

    # ---- the walk of a frame -----------------------------------------------------------------

    @overload
    def process(
        self,
        frame: Frame,
        *,
        max_cells: int | None = None,
        area: Area | None = None,
        faces: Sequence[Face] = (),
        spotlights: Sequence[Spotlight] = (),
    ) -> Frame: ...
    @overload
    def process(
        self,
        frame: Image,
        *,
        max_cells: int | None = None,
        area: Area | None = None,
        faces: Sequence[Face] = (),
        spotlights: Sequence[Spotlight] = (),
    ) -> Image: ...
    @overload
    def process(
        self,
        frame: NDArray[Any],
        *,
        max_cells: int | None = None,
        area: Area | None = None,
        faces: Sequence[Face] = (),
        spotlights: Sequence[Spotlight] = (),
    ) -> U8: ...
    @_one_thread
    def process(
        self,
        frame: Frame | Image | NDArray[Any],
        *,
        max_cells: int | None = None,
        area: Area | None = None,
        faces: Sequence[Face] = (),
        spotlights: Sequence[Spotlight] = (),
    ) -> Frame | Image | U8:
        """The mosaic of the next frame of a stream.

        Only cells that changed since the frame before are matched and painted again, and photos
        stay calm. For an array or a Pillow image, see `apply`. Of a `Frame` the result is a `Frame`
        with its times and colour.

        The arrays of a resulting `Frame` are read-only and never written again; when they are gone,
        the next pictures use their memory. Frames between which nothing changed share them. An
        exception, or a Ctrl-C, in the middle of a frame ends the stream: the next frame starts
        another.

        Parameters
        ----------
        frame : the picture
        max_cells : cells to match at most; those that changed most come first, the others keep
            their tiles until one of the next frames. None for all
        area : where the mosaic is, and what is shown elsewhere; None for everywhere
        faces : with `fine="faces"`: left, top, width and height of each face, from brows to chin,
            in pixels of the picture. `faces_in` finds them
        spotlights : photos that are shown as they are; of those over each other the last one is
            seen
        """
        if max_cells is not None:
            whole("max_cells", max_cells, 0)
        take("area", area, Area | None, "an Area")
        for it in items("spotlights", spotlights, "a list of Spotlights"):
            take("spotlights", it, Spotlight, "a list of Spotlights")
        return self._process(frame, max_cells, area, _checked(faces), spotlights)

    def _process(
        self,
        picture: Frame | Image | NDArray[Any],
        max_cells: int | None,
        area: Area | None = None,
        faces: Sequence[Face] = (),
        spotlights: Sequence[Spotlight] = (),
    ) -> Frame | Image | U8:
        if isinstance(picture, Frame):
            return self._process_frame(picture, max_cells, area, faces, spotlights)
        frame = to_frame(picture, rgb=self._rgb)
        frame = self._process_frame(frame, max_cells, area, faces, spotlights)
        return from_frame(frame, picture, rgb=self._rgb)

    def _process_frame(
        self,
        frame: Frame,
        max_cells: int | None,
        area: Area | None,
        faces: Sequence[Face],
        spotlights: Sequence[Spotlight],
    ) -> Frame:
        if area is not None:
            area.check(frame)
        deep_colour = None if frame.deep is None else frame.deep.colour
        if (frame.width, frame.height, frame.colour, deep_colour) != self._key:
            self._start(frame.width, frame.height, frame.colour, deep_colour)
        for it in spotlights:
            it.check(self._grid, len(self.gallery))
        key, self._key = self._key, None  # no stream until all parts know the frame
        self._mask = None if area is None else area.mask

        ycbcr = analysis_picture(frame, self._grid, self._px)
        self._bgr = bgr = ycbcr_to_bgr(ycbcr, frame.colour)
        layers, whole = self._layers, self._layers[0]
        seen = whole.seen(bgr)
        state = self._activity.update(seen)
        urgency = whole.observe(seen, state, self._activity.active_pixels)
        outdated = (state != STILL).reshape(-1)
        if self._begun:  # else all cells need a tile
            urgency = self._hidden.hold_back(area, urgency, outdated)
        self.on_stage("activity")

        if whole.matcher.is_cut:  # nothing of the scene before is in the way
            self._join_all()
        pinned = np.zeros(self._grid.cells, np.bool_)
        for it in spotlights:
            pinned[it.cell] = True
            outdated[it.cell] |= whole.show(it.cell, it.tile)
        if self.settings.fine == "faces":
            for layer in layers[:-1]:
                fixed = (self._hidden.cells | pinned)[layer.coarse]
                layer.split_faces(faces, (frame.width, frame.height), fixed, self._room)
        active = changed = 0
        matched: list[I32] = []
        for number, layer in enumerate(layers):
            if number:
                coarser = layers[number - 1]
                if not coarser.split.any() and not layer.is_shown:
                    break
                hidden = self._hidden.cells[layer.coarse] & (layer.ids >= 0)
                layer.matcher.visible = quartered(coarser.split, coarser.grid) & ~hidden
                urgency = layer.observe(bgr, state, self._activity.active_pixels)
            left = None if max_cells is None else max_cells - sum(len(it) for it in matched)
            found = self._match(number, bgr, urgency, left, outdated, pinned)
            active, changed = active + found[0], changed + found[1]
            matched.append(found[2])
        self._begun = True
        self.on_stage("match")

        means = [self._means(layer, layer.tint, ycbcr, outdated) for layer in layers]
        deep_means = self._deep_means(frame, outdated)
        drawn = self._spotlights.update(spotlights, outdated)
        composed = np.flatnonzero(outdated).astype(np.int32)
        parts = [layer.part(outdated, it) for layer, it in zip(layers, means, strict=True)]
        planes = self._compositor.compose(frame, composed, parts, area=area, spotlights=drawn)
        deep = None
        if frame.deep is not None and self._deep is not None:
            deep_parts = [
                layer.part(outdated, it, deep=True)
                for layer, it in zip(layers, deep_means, strict=True)
            ]
            deep = self._deep.compose(frame.deep, deep_parts, area, drawn)
        self.on_stage("compose")

        self._key = key
        painted = sum(len(part.cells) for part in parts)
        new = sum(
            layer.count(outdated, cells) for layer, cells in zip(layers, matched, strict=False)
        )
        self.cells = CellCounts(
            sum(layer.shown for layer in layers),
            active,
            deferred=active - sum(len(it) for it in matched),
            touched=painted - new,
            changed=changed,
            split=sum(int(np.count_nonzero(layer.split)) for layer in layers),
        )
        return frame.with_picture(*planes, deep=deep)

    @_one_thread
    def paint(
        self, frame: Frame, layers: Sequence[CellTiles], *, area: Area | None = None
    ) -> Frame:
        """The picture of a frame with the tiles that another mosaic has chosen for it, also in
        another size: the first frame of a stream.

        Parameters
        ----------
        frame, area : see `process`
        layers : those of the other mosaic, see `layers`, with as many cells as this one plans; the
            tiles are numbers of this gallery. `on_progress` is called while tiles are read

        Raises
        ------
        UsageError : the cells are others than those that the settings make
        """
        if area is not None:
            area.check(frame)
        self._start(frame.width, frame.height, frame.colour)
        self._key = None  # no stream until the picture is whole
        shapes = [(its.grid.rows, its.grid.columns) for its in layers]
        if shapes != [(its.grid.rows, its.grid.columns) for its in self._layers]:
            raise UsageError(
                "layers: the cells are others than those of the settings; use the same"
            )
        self._mask = None if area is None else area.mask
        for layer, its in zip(self._layers, layers, strict=True):
            layer.ids = its.tile_ids.reshape(-1).astype(np.int32)
            layer.flips = its.flips.reshape(-1).copy()
        self._read_tiles()
        ycbcr = analysis_picture(frame, self._grid, self._px)
        every = np.ones(self._grid.cells, np.bool_)
        means = [self._means(layer, layer.tint, ycbcr, every) for layer in self._layers]
        parts = [layer.part(every, it) for layer, it in zip(self._layers, means, strict=True)]
        cells = np.arange(self._grid.cells, dtype=np.int32)
        planes = self._compositor.compose(frame, cells, parts, area=area)
        return frame.with_picture(*planes)

    def _read_tiles(self) -> None:
        """Cache the tiles that are shown, a few at a time, as large ones take a while."""
        wanted = [np.unique(layer.ids[layer.ids >= 0]) for layer in self._layers]
        done, total = 0, sum(map(len, wanted))
        for layer, tiles in zip(self._layers, wanted, strict=True):
            for start in range(0, len(tiles), _TILES_AT_ONCE):
                layer.tiles.slots(tiles[start : start + _TILES_AT_ONCE])
                done = min(done + _TILES_AT_ONCE, total)
                self.on_progress(done, total)

    def _join_all(self) -> None:
        """Which cells split is decided anew in the next match."""
        for layer in self._layers[1:]:
            layer.leave(np.flatnonzero(layer.ids >= 0))
        for layer in self._layers:
            layer.split[:] = False

    def _room(self) -> int:
        """How many more cells may split: there are photos for so many more."""
        layers = self._layers
        splits = sum(int(np.count_nonzero(it.split)) for it in layers)
        return (layers[0].matcher.most_cells - layers[0].grid.cells) // 3 - splits

    def _match(
        self,
        number: int,
        bgr: U8,
        urgency: I32,
        max_cells: int | None,
        outdated: Bools,
        pinned: Bools,
    ) -> tuple[int, int, I32]:
        """Match the cells of a layer that need it, but no `pinned` ones, and mark those that show
        another tile, or none any more; returns how many needed it, how many changed, and which were
        matched."""
        layer, splits = self._layers[number], number + 1 < len(self._layers)
        by_details = splits and self.settings.fine == "detail"
        visible: Bools = np.ones(layer.grid.cells, np.bool_)
        allowed: Bools = ~pinned
        if number:
            coarser = self._layers[number - 1]
            visible = quartered(coarser.split, coarser.grid)
            layer.split &= visible
            allowed = visible & ~self._hidden.cells[layer.coarse]
        if not by_details:  # else they are matched, to see whether a photo would fit again
            allowed = allowed & ~layer.split
        needed = visible & (layer.ids < 0) & ~layer.split
        active, cells = layer.select(urgency, allowed, needed, max_cells)
        before = layer.ids.copy(), layer.flips.copy()
        if len(cells):
            layer.matcher.describe(cells)
        if not number:
            self.on_stage("features")
        if len(cells):
            layer.ids[cells], layer.flips[cells] = self._matched(layer, cells, active)
            if by_details:
                layer.split_details(bgr, cells, self.settings.tint, number, self._room)
        if number or splits:
            layer.leave(np.flatnonzero((layer.ids >= 0) & (layer.split | ~visible)))
        shown = layer.ids >= 0
        other = (layer.ids != before[0]) | ((layer.flips != before[1]) & shown)
        outdated[layer.coarse[other]] = True
        return active, int(np.count_nonzero(other & shown & (before[0] >= 0))), cells

    def _matched(self, layer: Layer, cells: I32, active: int) -> tuple[I32, Bools]:
        """The tiles that the matcher chooses for some cells."""
        ids, flips = layer.matcher.match(cells, active=active)
        if self._make_matcher is not None and not (
            np.shape(ids) == np.shape(flips) == cells.shape
            and (np.less(ids, len(self.gallery)) & np.greater_equal(ids, 0)).all()
        ):
            raise UsageError(
                f"{type(layer.matcher).__name__}.match: it gave no tile for each cell; return "
                f"int32 and bool {cells.shape}, with numbers from 0 to {len(self.gallery) - 1}"
            )
        return ids, flips

    def _means(self, layer: Layer, tint: CellTint | None, ycbcr: U8, outdated: Bools) -> F32 | None:
        """The means to tint the cells of a layer for, see `CellTint.update`."""
        if tint is None or not layer.is_shown:
            return None
        if layer is self._layers[0]:
            return tint.update(ycbcr, outdated)
        own = outdated[layer.coarse]
        means = tint.update(ycbcr, own)
        outdated[layer.coarse[own & (layer.ids >= 0)]] = True
        return means

    def _deep_means(self, frame: Frame, outdated: Bools) -> list[F32 | None]:
        """The same for the 10-bit picture, of each layer."""
        if frame.deep is None or self._layers[0].deep_tint is None:
            return [None] * len(self._layers)
        y, u, v = map(eight_bits, frame.deep.planes)
        ycbcr = analysis_picture(Frame(y, u, v), self._grid, self._px)
        return [self._means(layer, layer.deep_tint, ycbcr, outdated) for layer in self._layers]

    # ---- the stream's state --------------------------------------------------------------------

    def change(self, **options: Any) -> None:
        """Use other values of some options from the next frame on: `mosaic.change(tint=0.2)`.

        Cells keep their tiles if only tint, overlay, activity or calm change. For the names and the
        errors, see `MosaicSettings.changed`.
        """
        self.update_settings(self.settings.changed(**options))

    @_one_thread
    def update_settings(
        self,
        settings: MosaicSettings,
        *,
        gallery: Gallery | None = None,
        ready: ReadyGallery | None = None,
    ) -> None:
        """Use other settings, or another gallery, from the next frame on.

        Cells keep their tiles if only tint, overlay, activity or calm change, and if the gallery is
        a later snapshot of the same `LiveGallery`; a matcher of your own may refuse that. The
        output's size changes with the settings. `ready` is the gallery from `prepare_gallery`,
        which saves the time that it takes.
        """
        _check_settings(settings)
        take("gallery", gallery, Gallery | None, "a Gallery")
        before, self.settings = self.settings, settings
        if ready is not None:
            gallery = ready.gallery
        earlier = self.gallery
        if gallery is not None and gallery is not earlier:
            self.gallery = gallery
            if not (isinstance(gallery, GallerySnapshot) and gallery.follows(earlier)):
                self._key = None
        if not _keep_tiles(before, settings):
            self._key = None
        elif self._key is not None and settings != before:
            self._activity.set_limits(threshold=settings.activity, overlay=settings.overlay)
            for layer in self._layers:
                layer.matcher.update_settings(settings)
            self._use_style(*self._key[2:])
        if self.gallery is not earlier and self._key is not None and not self._follow(ready):
            self._key = None

    def _follow(self, ready: ReadyGallery | None) -> bool:
        """Go on with a later state of the gallery; false if a matcher cannot."""
        if ready is None or not self._is_ready(ready):
            ready = self._make_ready(self.gallery)
        for matcher, layer in zip(ready.matchers, self._layers, strict=True):
            matcher.update_settings(self.settings)
            matcher.on_progress = self.on_progress
            if not matcher.take_over(layer.matcher):
                return False
            layer.matcher = matcher
            layer.replace_gone(self.gallery.gone)
        if self._room() < 0:  # so many photos have left
            self._join_all()
        self._cut = ready.cut
        for layer in self._layers:
            layer.tiles.follow(ready.cut)
            if layer.deep_tiles is not None:
                layer.deep_tiles.follow(ready.cut)
        self._tiles_for = (self.gallery, *self._tiles_for[1:])
        return True

    def _is_ready(self, ready: ReadyGallery) -> bool:
        """Whether a gallery was prepared for the stream as it is now."""
        grids = [layer.grid for layer in self._layers]
        if [matcher.grid for matcher in ready.matchers] != grids:
            return False
        return _keep_tiles(ready.matchers[0].settings, self.settings)

    @_one_thread
    def forget(self) -> None:
        """Take the next frame as a stream's first: no cell shows anything from before."""
        self._key = None

    def _start(
        self, width: int, height: int, colour: Colour, deep_colour: Colour | None = None
    ) -> None:
        s, self._key = self.settings, None
        self._grid = grid = self.plan(width, height)
        self._activity = Activity(grid, threshold=s.activity, overlay=s.overlay)
        self._cut = cut_gallery(self.gallery, grid.tile_px)
        layers: list[Layer] = []
        for matcher in self._make_matchers(self._cut, grid):
            layers.append(Layer(matcher, layers[-1] if layers else None))
        # Pixels on each side of the largest cells: enough for the finest ones.
        self._px = max(ANALYSIS_PX, layers[0].matcher.points << (len(layers) - 1))
        self._layers = layers
        self._use_style(colour, deep_colour)
        self._hidden = HiddenCells(grid)
        self._spotlights = Spotlights(grid)
        self._begun = False
        self._key = (width, height, colour, deep_colour)  # last, as all of this may fail

    def _use_style(self, colour: Colour, deep_colour: Colour | None) -> None:
        """Make the tint and the compositor of a stream, and the tile cache if need be."""
        s, grid = self.settings, self._grid
        overlay = (s.overlay, 0.0 if s.overlay_luma else s.overlay)
        scaled_by = cached_overlay(overlay, s.tint)
        full_size, thorough = s.full_size or s.thorough, s.thorough
        grids = [it.grid for it in self._layers]
        tiles_for = (self.gallery, grids, colour, scaled_by, full_size, thorough)
        max_bytes = self._cache_bytes // len(self._layers)
        if not self._tiles or self._tiles_for != tiles_for:
            self._tiles_for = tiles_for
            self._tiles = [
                TileCache(
                    self._cut,
                    tile=(it.grid.tile_width, it.grid.tile_height),
                    colour=colour,
                    overlay=scaled_by,
                    full_size=full_size,
                    min_tiles=it.grid.cells if thorough else 2 * it.grid.cells,
                    max_bytes=0 if thorough else max_bytes,
                    on_damage=partial(_report_damage, weakref.ref(self)),
                )
                for it in self._layers
            ]
        self._compositor = Compositor(grid, overlay=overlay, tint=s.tint)
        self._deep = None
        if deep_colour is not None:
            self._deep = DeepCompositor(grid, overlay=overlay, tint=s.tint)
        for layer, tiles in zip(self._layers, self._tiles, strict=True):
            layer.tiles = tiles
            layer.tint = CellTint(layer.grid) if s.tint > 0 else None
            if deep_colour is None:
                continue
            layer.deep_tint = CellTint(layer.grid) if s.tint > 0 else None
            if layer.deep_tiles is None:
                layer.deep_tiles = DeepTileCache(
                    self._cut,
                    tile=(layer.grid.tile_width, layer.grid.tile_height),
                    colour=deep_colour,
                    full_size=full_size,
                    min_tiles=2 * layer.grid.cells,
                    max_bytes=max_bytes,
                    on_damage=partial(_report_damage, weakref.ref(self)),
                )

    # ---- warm-up: what a live stream must not wait for -------------------------------------------

    @_one_thread
    def warm_up(
        self, width: int, height: int, colour: Colour, deep_colour: Colour | None = None
    ) -> None:
        """Load every kernel that frames of this size need (0.2 s), index the gallery, and cache its
        tiles unless they are very many (0.1 s). A stream that has started stays as it is.

        `deep_colour` is the colour of the frames' pictures in 10 bits, if they have these.
        """
        self.warm_up_kernels(self.settings, width, height, colour, deep_colour)
        if self._tiles or self.settings.thorough:
            return
        self._start(width, height, colour, deep_colour)
        tiles = len(self.gallery.tiles)
        for layer in self._layers:
            pixels = layer.grid.tile_width * layer.grid.tile_height
            if tiles <= _WARM_TILES and tiles * pixels * 3 // 2 <= _WARM_BYTES:
                layer.tiles.slots(np.arange(tiles, dtype=np.int32))

    def warm_up_kernels(
        self,
        settings: MosaicSettings,
        width: int,
        height: int,
        colour: Colour,
        deep_colour: Colour | None = None,
    ) -> None:
        """Load every kernel that frames of this size need with other settings, also with tiles
        twice as large: 0.2 s, and up to 4 s where they have to be compiled.

        Safe from any thread; the stream stays as it is.
        """
        grid = plan_grid(width, height, settings)
        settings = settings.for_grid(grid)
        for tile_px in {enlarged(grid.tile_px, n, MAX_TILE_PX) for n in _WARM_SIZES}:
            each = replace(settings, tile_px=tile_px)
            self._run_kernels(each, width, height, colour, deep_colour)

    def _run_kernels(
        self,
        settings: MosaicSettings,
        width: int,
        height: int,
        colour: Colour,
        deep_colour: Colour | None,
    ) -> None:
        """Make some small mosaics, with the kernels of large ones: these depend on the tile's size
        and the scale, not on the number of cells. The last pictures have noise, to be measured, and
        one an area."""
        grid = plan_grid(width, height, settings)
        scale = grid.width / width
        across = max(2, round(2 * grid.tile_width / scale))
        down = max(2, round(2 * grid.tile_height / scale))
        if across < width and down < height:
            width, height = across, down
            settings = replace(settings, scale=scale, size=None, round_up=True)
        if settings.fine != "none":  # by faces, cells surely split
            settings = replace(settings, fine="faces")
        scratch = Mosaic(self.gallery, settings, matcher=self._make_matcher)
        scratch.on_damage = self.on_damage
        lent: list[Frame] = []  # so that the second one has to copy the first
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        made = scratch.plan(width, height)
        everywhere = np.full((made.height, made.width), 255, np.uint8)
        for picture in (np.zeros_like(noise), np.full_like(noise, 255), noise, noise):
            frame = Frame.from_bgr(picture, colour=colour)
            if deep_colour is not None:
                y, u, v = (plane.astype(np.uint16) for plane in (frame.y, frame.u, frame.v))
                frame = replace(frame, deep=DeepPicture(y, u, v, deep_colour))
            # Cells split after the first picture, so that some leave, too.
            faces = [(0.0, 0.0, float(width), float(height))] if lent else []
            area = Area(everywhere, frame) if len(lent) == 3 else None
            lent.append(scratch.process(frame, area=area, faces=faces))
        if isinstance(self.gallery, GallerySnapshot):  # photos may join
            scratch.prepare_gallery(self.gallery)

    def warm_up_gallery(self, gallery: Gallery) -> None:
        """Index a gallery for the match, 2 s for 300,000 tiles, so that the first frame with it
        need not. Safe from any thread; the stream stays as it is."""
        if self._make_matcher is None:
            settings = self.settings
            cut = cut_gallery(gallery, 1 if settings.tile_px is None else settings.tile_px)
            matcher_class(settings).warm_up(cut)

    def prepare_gallery(self, gallery: Gallery) -> ReadyGallery:
        """Do all that takes time before `update_settings` uses a gallery: of a later snapshot of a
        live gallery with 300,000 tiles 0.1 s, of any other such gallery 2 s. Safe from any thread;
        the stream stays as it is."""
        is_later = isinstance(gallery, GallerySnapshot) and gallery.follows(self.gallery)
        if (is_later or gallery is self.gallery) and "_layers" in self.__dict__:
            return self._make_ready(gallery)
        self.warm_up_gallery(gallery)
        return ReadyGallery(gallery, gallery, [])

    def _make_ready(self, gallery: Gallery) -> ReadyGallery:
        grid = self._grid
        cut = cut_gallery(gallery, grid.tile_px)
        matchers = self._make_matchers(cut, grid)
        for matcher in matchers:  # nothing changes, but its kernels are loaded
            matcher.show(0, int(np.flatnonzero(~gallery.gone)[0]))
            matcher.leave(np.zeros(1, np.int32))
            matcher.take_over(matcher)
        cell_lab(np.zeros((ANALYSIS_PX, ANALYSIS_PX, 3), np.uint8), 1, 1)
        return ReadyGallery(gallery, cut, matchers)

    def _make_matchers(self, gallery: Gallery, grid: Grid) -> list[Matcher]:
        """The matchers of the cells of each size."""
        make, settings = self._make_matcher or matcher_class(self.settings), self.settings
        matchers = [make(gallery, it, settings) for it in finer_grids(grid, settings)]
        for matcher in matchers:
            take("matcher", matcher, Matcher, "a class derived from Matcher")
            matcher.on_progress = self.on_progress
        if len(matchers) > 1:
            type(matchers[0]).join(matchers)
        return matchers


def _report_damage(mosaic: weakref.ref[Mosaic], error: GalleryError) -> None:
    """As the mosaic wants it now. A tile cache must not keep the mosaic: its memory would wait for
    the garbage collector."""
    owner = mosaic()
    if owner is not None:
        owner.on_damage(error)


def _check_settings(settings: object) -> None:
    if not isinstance(settings, MosaicSettings):
        problem = "must be MosaicSettings; options are given by name, such as tint=0.3"
        raise OptionError("settings", settings, problem)


def _keep_tiles(before: MosaicSettings, settings: MosaicSettings) -> bool:
    """Whether settings differ only in how tiles are shown."""
    return replace(before, **{name: getattr(settings, name) for name in _STYLE}) == settings


def _cells_of(layer: Layer) -> CellTiles:
    size = (layer.grid.rows, layer.grid.columns)
    return CellTiles(layer.grid, layer.ids.reshape(size).copy(), layer.flips.reshape(size).copy())


def _checked(faces: Sequence[Face]) -> list[Face]:
    try:
        found = [(float(x), float(y), float(w), float(h)) for x, y, w, h in faces]
    except (TypeError, ValueError):
        found = [(math.nan,) * 4]
    if not np.isfinite(found).all():
        raise OptionError("faces", faces, "must be left, top, width and height of each face")
    return found


def analysis_picture(frame: Frame, grid: Grid, px: int = ANALYSIS_PX) -> U8:
    """A frame at 8x8 pixels (px) per cell, uint8 (rows * 8, columns * 8, 3) Y'CbCr, contiguous.

    Cells that stick out of the picture are filled by repeating its edge.
    """
    full = (grid.columns * px, grid.rows * px)
    width = min(full[0], max(1, round(grid.width * px / grid.tile_width)))
    height = min(full[1], max(1, round(grid.height * px / grid.tile_height)))
    planes = []
    for plane in (frame.y, frame.u, frame.v):
        shrink = plane.shape[0] >= height and plane.shape[1] >= width
        mode = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        planes.append(cv2.resize(plane, (width, height), interpolation=mode))
    merged = cv2.merge(planes)
    if (width, height) != full:
        below, right = full[1] - height, full[0] - width
        merged = cv2.copyMakeBorder(merged, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(merged, np.uint8)
