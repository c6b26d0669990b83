"""The mosaic in 10 bits, beside the one in 8 bits: the same tiles in the same cells.

Every plane is computed as in `compositor`, in the colour of the 10-bit picture, which may be HDR.
It is for files only, so that a picture is composed anew in the cells that changed, and copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import cv2
import numpy as np

from ..jit import I16, I32, U8, U16, Bools, kernel
from ..media.deep import STEPS, TOP, DeepColours, eight_bits
from ..media.frame import DeepPicture
from .area import Area, mix_deep
from .compositor import Part
from .grid import Grid
from .spotlight import Drawn
from .tile_cache import TileCache
from .tint import PlaneTint, plane_tints


class DeepTileCache(TileCache):
    """The tiles of a gallery in 10 bits, as they are without an overlay; `means` and `deviations`
    are in levels of 8 bits."""

    dtype = np.dtype(np.uint16)

    @cached_property
    def _convert(self) -> DeepColours:
        return DeepColours(self._colour)

    def _samples(self, bgr: U8) -> tuple[U8, np.ndarray]:
        deep = self._convert(bgr)
        return eight_bits(deep), deep


class DeepCompositor:
    """The canvas of a stream in 10 bits."""

    def __init__(self, grid: Grid, *, overlay: tuple[float, float], tint: float) -> None:
        self._grid, self._tint = grid, tint
        self._overlays = (overlay[0], overlay[1], overlay[1])
        height, width = grid.canvas_height, grid.canvas_width
        half = (height // 2, width // 2)
        full = np.zeros((height, width), np.uint16)
        self._canvas = full, np.zeros(half, np.uint16), np.zeros(half, np.uint16)
        self._converter = lru_cache(maxsize=1)(DeepColours)

    def compose(
        self,
        picture: DeepPicture,
        parts: Sequence[Part],
        area: Area | None = None,
        spotlights: Sequence[Drawn] = (),
    ) -> DeepPicture:
        """The picture after the cells that changed were composed; see `Compositor.compose`.

        Tiles are of `DeepTileCache`, and means in levels of 8 bits.
        """
        width, height = self._grid.width, self._grid.height
        sizes = [(width // by, height // by) for by in (1, 2, 2)]
        originals = [
            _scaled(source, overlay, size, (out.shape[1], out.shape[0]))
            for source, overlay, size, out in zip(
                picture.planes, self._overlays, sizes, self._canvas, strict=True
            )
        ]
        for part in parts:
            tiles, slots = part.tiles, part.tiles.slots(part.ids)
            tints = self._tints(part, slots, full_range=picture.colour.full_range)
            cached = (tiles.y, tiles.u, tiles.v)
            for of_tiles, tint, above, out in zip(
                cached, tints, originals, self._canvas, strict=True
            ):
                blend_deep(
                    of_tiles, part.cells, slots, part.flips, tint.gain, tint.offset, tint.top,
                    above, out,
                )  # fmt: skip
        for spotlight in spotlights:
            spotlight.draw(self._canvas, self._converter(picture.colour))
        planes = [
            out[:down, :across].copy()
            for out, (across, down) in zip(self._canvas, sizes, strict=True)
        ]
        if area is not None and area.outside.deep is not None:
            for plane, source in zip(planes, area.outside.deep.planes, strict=True):
                size = plane.shape[::-1]
                mask = np.asarray(cv2.resize(area.mask, size), np.uint8)
                mix_deep(plane, _scaled(source, 1.0, size, size), mask)
        y, u, v = planes
        return picture._replace(y=y, u=u, v=v)

    def _tints(self, part: Part, slots: I32, *, full_range: bool) -> list[PlaneTint]:
        if part.means is None:
            count = len(slots)
            return [
                PlaneTint(
                    np.full(count, round(256 * (1 - overlay)), np.uint16),
                    np.zeros(count, np.int16),
                    int(TOP * (1 - overlay)),
                )
                for overlay in self._overlays
            ]
        tints = plane_tints(
            part.tiles.means[slots],
            part.tiles.deviations[slots],
            part.means,
            tint=self._tint,
            overlays=self._overlays,
            full_range=full_range,
            steps=STEPS,
        )
        return [
            tint._replace(top=int(TOP * (1 - overlay)))
            for tint, overlay in zip(tints, self._overlays, strict=True)
        ]


def _scaled(source: U16, overlay: float, size: tuple[int, int], canvas: tuple[int, int]) -> U16:
    """A plane times the overlay, enlarged to `size` (width, height); repeats its edge after it."""
    part = cv2.addWeighted(source, overlay, source, 0, 0)
    smaller = source.shape[0] > size[1] or source.shape[1] > size[0]
    mode = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    part = cv2.resize(part, size, interpolation=mode)
    below, right = canvas[1] - size[1], canvas[0] - size[0]
    if below or right:
        part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(part, np.uint16)


@kernel
def blend_deep(
    tiles: U16,
    cells: I32,
    ids: I32,
    flips: Bools,
    gain: U16,
    offset: I16,
    top: int,
    original: U16,
    out: U16,
) -> None:
    """Tint tiles and add the original, in some cells of one plane.

    `tiles` is uint16 (n, height, width), `gain` and `offset` are of the cells, in 1/256 and in
    steps of 10 bits; `original`, already times its alpha, is as large as `out`, uint16
    (rows * height, columns * width).
    """
    down, across = np.uintp(tiles.shape[1]), np.uintp(tiles.shape[2])
    columns, last = np.uintp(out.shape[1]) // across, across - np.uintp(1)
    for i in range(np.uintp(cells.shape[0])):
        row = np.uintp(cells[i]) // columns
        left, tile = (np.uintp(cells[i]) - row * columns) * across, np.uintp(ids[i])
        flip, factor, shift = flips[i], np.int32(gain[i]), np.int32(offset[i])
        for y in range(down):
            line = row * down + y
            for x in range(across):
                at = last - x if flip else x
                sample = (np.int32(tiles[tile, y, at]) * factor + np.int32(128)) >> np.int32(8)
                tinted = min(max(sample + shift, np.int32(0)), np.int32(top))
                added = tinted + np.int32(original[line, left + x])
                out[line, left + x] = np.uint16(min(added, np.int32(1023)))
