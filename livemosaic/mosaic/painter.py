"""The painter: how the tiles that were chosen become the pictures of a stream, in 8 and 10 bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import GalleryError
from ..jit import F32, U8, Bools
from ..media.colour import Colour
from ..media.deep import eight_bits
from ..media.frame import Frame
from .analysis import analysis_picture
from .area import Area
from .compositor import Compositor, Part, cached_overlay
from .deep import DeepCompositor
from .layer import Layer
from .layers import Layers
from .ready_gallery import ReadyGallery
from .settings import MosaicSettings
from .spotlight import Spotlight, Spotlights
from .tile_cache import TileCache
from .tint import CellTint

# `read_tiles` reads so many tiles at once.
_TILES_AT_ONCE = 64


class LayerTiles:
    """How the tiles of a layer are shown: in the size and colours of its cells, and tinted."""

    def __init__(self, layer: Layer, cache: TileCache, *, tinted: bool) -> None:
        self.layer, self.cache = layer, cache
        self._tint = CellTint(layer.grid) if tinted else None
        self._means: F32 | None = None  # of the cells in this frame

    @property
    def is_tinted(self) -> bool:
        """Whether they are recoloured."""
        return self._tint is not None

    def tint(self, ycbcr: U8, outdated: Bools) -> None:
        """Tint for the means of a frame's cells; adds those that drifted to `outdated`, bool
        (cells,) of the largest cells. For `ycbcr`, see `CellTint.update`."""
        layer, self._means = self.layer, None
        if self._tint is None or not layer.is_shown:
            return
        if layer.coarser is None:
            self._means = self._tint.update(ycbcr, outdated)
            return
        own = outdated[layer.coarse]
        self._means = self._tint.update(ycbcr, own)
        outdated[layer.coarse[own & (layer.ids >= 0)]] = True

    def part(self, outdated: Bools) -> Part:
        """The cells that are shown in some of the largest cells."""
        layer, means = self.layer, self._means
        cells = np.flatnonzero(outdated[layer.coarse] & (layer.ids >= 0)).astype(np.int32)
        own = None if means is None else means[cells]
        return Part(self.cache, cells, layer.ids[cells], layer.flips[cells], own)


class TileCaches:
    """The tile caches of a mosaic, one for the cells of each size in its stream; the next stream
    goes on with them if it needs the same tiles.

    `kind` is the class of them, `max_bytes` is for all; see `TileCache`.
    """

    def __init__(
        self, kind: type[TileCache], max_bytes: int, on_damage: Callable[[GalleryError], None]
    ) -> None:
        self._kind, self._max_bytes, self._on_damage = kind, max_bytes, on_damage
        self._made: list[TileCache] = []
        self._made_for: tuple[object, ...] = ()

    def of_layers(
        self,
        ready: ReadyGallery,
        layers: Layers,
        settings: MosaicSettings,
        colour: Colour,
        overlay: tuple[float, float],
    ) -> list[LayerTiles]:
        """The tiles of each layer, for a colour and an overlay, see `TileCache`."""
        grids = [layer.grid for layer in layers.all]
        full_size, thorough = settings.full_size or settings.thorough, settings.thorough
        made_for = (ready.gallery, grids, colour, overlay, full_size, thorough)
        if self._made_for != made_for:
            self._made = [
                self._kind(
                    ready.cut,
                    tile=(grid.tile_width, grid.tile_height),
                    colour=colour,
                    overlay=overlay,
                    full_size=full_size,
                    min_tiles=grid.cells if thorough else 2 * grid.cells,
                    max_bytes=0 if thorough else self._max_bytes // len(grids),
                    on_damage=self._on_damage,
                )
                for grid in grids
            ]
            self._made_for = made_for
        tinted = settings.tint > 0
        return [LayerTiles(*its, tinted=tinted) for its in zip(layers.all, self._made, strict=True)]

    def follow(self, ready: ReadyGallery) -> None:
        """Use a later state of a live gallery; tiles keep their slots."""
        for cache in self._made:
            cache.follow(ready.cut)
        self._made_for = (ready.gallery, *self._made_for[1:])

    def clear(self) -> None:
        """Free their memory."""
        self._made, self._made_for = [], ()


class Painter:
    """Paints the pictures of a stream, where they changed.

    `caches` and `deep_caches` are the mosaic's; `deep_colour` is that of the pictures in 10 bits,
    None for no such pictures.
    """

    def __init__(
        self,
        layers: Layers,
        colour: Colour,
        deep_colour: Colour | None,
        caches: TileCaches,
        deep_caches: TileCaches,
    ) -> None:
        self._layers, self._colours = layers, (colour, deep_colour)
        self._caches = caches, deep_caches
        self._spotlights = Spotlights(layers.whole.grid)
        self._deep: DeepCompositor | None = None  # and its tiles, if there are 10 bits

    def use_style(self, ready: ReadyGallery, s: MosaicSettings) -> None:
        """Use settings from the next frame on, in which all cells are outdated."""
        (colour, deep_colour), (caches, deep_caches) = self._colours, self._caches
        layers, grid = self._layers, self._layers.whole.grid
        overlay = (s.overlay, 0.0 if s.overlay_luma else s.overlay)
        scaled_by = cached_overlay(overlay, s.tint)
        self._tiles = caches.of_layers(ready, layers, s, colour, scaled_by)
        self._compositor = Compositor(grid, overlay=overlay, tint=s.tint)
        if deep_colour is not None:
            self._deep_tiles = deep_caches.of_layers(ready, layers, s, deep_colour, (0.0, 0.0))
            self._deep = DeepCompositor(grid, overlay=overlay, tint=s.tint)
        else:
            deep_caches.clear()

    def follow(self, ready: ReadyGallery) -> None:
        """Use a later state of a live gallery."""
        for caches in self._caches:
            caches.follow(ready)

    def fill(self) -> None:
        """Cache all tiles, unless they are very many."""
        for tiles in self._tiles:
            tiles.cache.fill()

    def read_tiles(self, on_progress: Callable[[int, int], None]) -> None:
        """Cache the tiles that are shown, a few at a time, as large ones take a while."""
        wanted = [np.unique(its.layer.ids[its.layer.ids >= 0]) for its in self._tiles]
        done, total = 0, sum(map(len, wanted))
        for tiles, ids in zip(self._tiles, wanted, strict=True):
            for start in range(0, len(ids), _TILES_AT_ONCE):
                tiles.cache.slots(ids[start : start + _TILES_AT_ONCE])
                done = min(done + _TILES_AT_ONCE, total)
                on_progress(done, total)

    def paint(
        self,
        frame: Frame,
        ycbcr: U8,
        outdated: Bools,
        area: Area | None,
        spotlights: Sequence[Spotlight] = (),
    ) -> tuple[Frame, int]:
        """The picture of a frame, and how many cells were painted.

        `ycbcr` is its `analysis_picture`; `outdated`, bool (cells,), are the largest cells that
        changed. Added are those whose tint or spotlight changes.
        """
        for tiles in self._tiles:
            tiles.tint(ycbcr, outdated)
        if frame.deep is not None and self._deep is not None and self._deep_tiles[0].is_tinted:
            y, u, v = map(eight_bits, frame.deep.planes)
            ycbcr = analysis_picture(Frame(y, u, v), self._layers.whole.grid, self._layers.px)
            for tiles in self._deep_tiles:
                tiles.tint(ycbcr, outdated)
        drawn = self._spotlights.update(spotlights, outdated)
        cells = np.flatnonzero(outdated).astype(np.int32)
        parts = [tiles.part(outdated) for tiles in self._tiles]
        planes = self._compositor.compose(frame, cells, parts, area=area, spotlights=drawn)
        deep = None
        if frame.deep is not None and self._deep is not None:
            deep_parts = [tiles.part(outdated) for tiles in self._deep_tiles]
            deep = self._deep.compose(frame.deep, deep_parts, area, drawn)
        return frame.with_picture(*planes, deep=deep), sum(len(part.cells) for part in parts)
