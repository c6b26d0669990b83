"""The filter: a frame in, its mosaic out.

`Mosaic` is what a program uses. It starts a stream (`stream.py`, which is the way of a frame) and
says when another one has to start.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import NDArray

from ..argument import items, take, whole
from ..errors import GalleryError, OptionError, UsageError
from ..exclusive import exclusive
from ..gallery import open_gallery
from ..gallery.cut import cut_gallery
from ..gallery.damage import refuse
from ..gallery.gallery import Gallery
from ..jit import F32, I32, U8, Bools
from ..media.colour import Colour
from ..media.frame import Frame
from ..media.picture import from_frame, to_frame
from .area import Area
from .deep import DeepTileCache
from .grid import Grid, plan_grid
from .layer import CellTiles, Face, checked
from .layers import CellCounts
from .match import matcher_class
from .match.base import Matcher
from .painter import TileCaches
from .ready_gallery import MakeMatcher, ReadyGallery, follows, make_ready
from .settings import MosaicSettings
from .spotlight import Spotlight
from .stream import FrameKind, Stream
from .tile_cache import MAX_BYTES, TileCache
from .warm_up import load_kernels

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..gallery import GallerySpec

_one_thread = exclusive("make a Mosaic for each thread; they can share a Gallery")


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
        self._make_matcher, self._rgb = matcher, rgb
        report = partial(_report_damage, weakref.ref(self))
        self._caches = (
            TileCaches(TileCache, cache_bytes, report),
            TileCaches(DeepTileCache, cache_bytes, report),
        )
        self._stream: Stream | None = None  # the last one
        self._goes_on = False  # whether the next frame may be one of it

    def __repr__(self) -> str:
        changes = repr(self.settings).removeprefix("MosaicSettings(").removesuffix(")")
        return f"<Mosaic of {self.gallery!r}{changes and ': '}{changes}>"

    @property
    def grid(self) -> Grid:
        """The grid of the last frame; `UsageError` before the first."""
        return self._last("grid").grid

    @property
    def tile_ids(self) -> I32:
        """Which tile is in each cell now: int32 (rows, columns), a copy, -1 where finer cells are
        shown (see `layers`); `UsageError` before the first frame."""
        return self._last("tile_ids").layers.whole.tiles.tile_ids

    @property
    def flips(self) -> Bools:
        """Which tiles are mirrored now: bool (rows, columns), a copy; `UsageError` before the first
        frame."""
        return self._last("flips").layers.whole.tiles.flips

    @property
    def layers(self) -> tuple[CellTiles, ...]:
        """The tiles in the cells of each size, copies, the largest cells first: with `fine` there
        are several. `UsageError` before the first frame."""
        return tuple(layer.tiles for layer in self._last("layers").layers.all)

    @property
    def seen(self) -> Bools:
        """Which cells are seen in the area of the last frame: bool (rows, columns); `UsageError`
        before the first frame."""
        return self._last("seen").seen

    @property
    def matcher(self) -> Matcher:
        """The matcher, which chooses the tiles; each stream has a new one. `UsageError` before the
        first frame."""
        return self._last("matcher").layers.whole.matcher

    @property
    def cut_gallery(self) -> Gallery:
        """The gallery with tiles of the grid's shape: `gallery` itself if its tiles have it.
        `UsageError` before the first frame."""
        return self._last("cut_gallery").gallery.cut

    def distances(self, tile: int, *, tint: float) -> F32:
        """How far a tile is from each cell of the last frame, as the match by layout counts it:
        float32 (rows, columns), squares of CIELAB. There must be one that `continues`.

        `tint` is how much of its mean colour's distance does not count.
        """
        return self._last("distances").distances(tile, tint)

    def _last(self, name: str) -> Stream:
        """The last stream, for what a caller asks for by name."""
        if self._stream is None:
            raise UsageError(f"{name}: there is no frame yet; call `apply` or `process` before")
        return self._stream

    @property
    def continues(self) -> bool:
        """Whether there was a frame, and the next one of its size and colour shows the same cells:
        false before the first, after `forget`, and after changes that start another stream."""
        return self._goes_on and self._stream is not None and self._stream.has_begun

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
        self._goes_on = False
        try:
            return self._process(picture, None, faces=checked(faces))
        finally:
            self._goes_on = False  # the next frame of a stream does not continue it

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
        return self._process(frame, max_cells, area, checked(faces), spotlights)

    def _process(
        self,
        picture: Frame | Image | NDArray[Any],
        max_cells: int | None,
        area: Area | None = None,
        faces: Sequence[Face] = (),
        spotlights: Sequence[Spotlight] = (),
    ) -> Frame | Image | U8:
        frame = picture if isinstance(picture, Frame) else to_frame(picture, rgb=self._rgb)
        if area is not None:
            area.check(frame)
        kind, stream = FrameKind.of(frame), self._stream
        if stream is None or not self._goes_on or stream.kind != kind:
            stream = self._start(kind)
        for it in spotlights:
            it.check(stream.grid, len(self.gallery))
        self._goes_on = False  # until all parts know the frame
        made, self.cells = stream.process(
            frame,
            max_cells=max_cells,
            area=area,
            faces=faces,
            spotlights=spotlights,
            on_stage=self.on_stage,
        )
        self._goes_on = True
        if isinstance(picture, Frame):
            return made
        return from_frame(made, picture, rgb=self._rgb)

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
        stream = self._start(FrameKind(frame.width, frame.height, frame.colour))
        self._goes_on = False  # until the picture is whole
        return stream.paint(frame, layers, area, self.on_progress)

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
        earlier, stream = self.gallery, self._stream
        if ready is not None:
            gallery = ready.gallery
        if gallery is not None:
            self.gallery = gallery
        is_other = self.gallery is not earlier
        goes_on = self._goes_on and before.keeps_tiles(settings)
        goes_on = goes_on and (not is_other or follows(self.gallery, earlier))
        self._goes_on = False  # until all parts know the settings
        if stream is None or not goes_on:
            return
        if settings != before:
            stream.update_settings(settings)
        self._goes_on = not is_other or stream.follow(self._ready_for(stream, ready))

    def _ready_for(self, stream: Stream, ready: ReadyGallery | None) -> ReadyGallery:
        """The gallery, ready for a stream: as it was prepared, if the stream is still the same."""
        grids = [layer.grid for layer in stream.layers.all]
        if ready is None or not ready.fits(grids, self.settings):
            ready = self._make_ready(self.gallery, stream.grid)
            ready.warm_up()
        return ready

    @_one_thread
    def forget(self) -> None:
        """Take the next frame as a stream's first: no cell shows anything from before."""
        self._goes_on = False

    def _start(self, kind: FrameKind) -> Stream:
        self._goes_on = False
        ready = self._make_ready(self.gallery, self.plan(kind.width, kind.height))
        self._stream = Stream(kind, self.settings, ready, self._caches)
        self._goes_on = True
        return self._stream

    def _make_ready(self, gallery: Gallery, grid: Grid) -> ReadyGallery:
        return make_ready(gallery, grid, self.settings, self._make_matcher, self.on_progress)

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
        if self._stream is None and not self.settings.thorough:
            self._start(FrameKind(width, height, colour, deep_colour)).warm_up()

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
        load_kernels(self._scratch, settings, FrameKind(width, height, colour, deep_colour))

    def _scratch(self, settings: MosaicSettings) -> Mosaic:
        """A mosaic of the same gallery, with a stream of its own."""
        scratch = Mosaic(self.gallery, settings, matcher=self._make_matcher)
        scratch.on_damage = self.on_damage
        return scratch

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
        stream = self._stream
        if stream is not None and (gallery is self.gallery or follows(gallery, self.gallery)):
            ready = self._make_ready(gallery, stream.grid)
            ready.warm_up()
            return ready
        self.warm_up_gallery(gallery)
        return ReadyGallery(gallery, gallery)


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
