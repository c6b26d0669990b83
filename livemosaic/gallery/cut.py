"""Galleries whose tiles have another shape than a mosaic's, or than each other's: tiles of one
shape are cut from theirs.

Nothing is distorted, and only the tiles that a mosaic shows are kept.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from ..jit import I32, U8
from ..option import Size
from ..tile_size import TileSize, shape
from .gallery import Gallery
from .joined import JoinedGallery
from .layout_features import tile_points
from .snapshot import GallerySnapshot
from .stacked import ScaledRows, StackedRows
from .tiles import heads_by_photo, largest_part

# Tiles that are described at once.
_BATCH = 1024

_made: WeakKeyDictionary[Gallery, dict[Size, Gallery]] = WeakKeyDictionary()
_lock = threading.RLock()


def cut_gallery(gallery: Gallery, tile: TileSize) -> Gallery:
    """The same photos in tiles of another shape; the gallery itself if its tiles have that shape.

    Of each gallery and shape there is one, which is made once: 0.2 s for 5,000 tiles.
    """
    wanted = shape(tile)
    if wanted == shape(gallery.tile_px):
        return gallery
    of_gallery = _made.get(gallery, {})
    if wanted in of_gallery:  # not after another gallery, which a thread may be cutting
        return of_gallery[wanted]
    with _lock:
        of_gallery = _made.setdefault(gallery, {})
        if wanted not in of_gallery:
            if isinstance(gallery, JoinedGallery):
                of_gallery[wanted] = gallery.of_shape(lambda part: cut_gallery(part, wanted))
            else:
                of_gallery[wanted] = _cut(gallery, wanted)
        return of_gallery[wanted]


def join_galleries(galleries: Sequence[Gallery]) -> Gallery:
    """Several galleries as one, with tiles of the shape of the first one's."""
    parts = [part for it in galleries for part in it.parts]
    return JoinedGallery(parts, [cut_gallery(part, parts[0].tile_px) for part in parts])


def _cut(gallery: Gallery, wanted: Size) -> Gallery:
    """Cut all tiles to a shape, and describe them."""
    if not isinstance(gallery, GallerySnapshot):
        tiles, crops, points, texture = _cut_rows(gallery, wanted)
        made = copy.copy(gallery)
        made.tiles, made.sources = cast(U8, tiles), gallery.sources.with_crops(crops)
        made.tile_width, made.tile_height = tiles.shape[2], tiles.shape[1]
        made.points, made.texture, made.stored_index = points, texture, None
        return made
    before = cut_gallery(gallery.base, wanted)  # the first tiles are cut as there
    tiles, crops, points, texture = _cut_rows(
        gallery, wanted, tile=len(before), photo=before.sources.photo_count
    )
    snapshot = copy.copy(gallery)
    snapshot.base = before
    size = before.tile_width, before.tile_height
    same = tiles.shape[1:3] == size[::-1]
    added = tiles if same else ScaledRows(cast(U8, tiles), size)
    snapshot.tile_width, snapshot.tile_height = size
    snapshot.tiles = cast(U8, StackedRows(before.tiles, added))
    all_crops = StackedRows(before.sources.crops, crops)
    snapshot.sources = gallery.sources.with_crops(cast(I32, all_crops))
    snapshot.points = cast(U8, StackedRows(before.points, points))
    snapshot.texture = np.concatenate([before.texture, texture])
    snapshot.texture.flags.writeable = False
    return snapshot


def _cut_rows(
    gallery: Gallery, wanted: Size, *, tile: int = 0, photo: int = 0
) -> tuple[CutTiles, I32, U8, U8]:
    """Tiles of another shape from a tile on, whose photos are those from a photo on: the tiles,
    their crops, points and texture."""
    own = gallery.source_photo[tile:]
    # The first tile of a photo shows the whole of it, as far as its shape allows.
    numbers, first = np.unique(own, return_index=True)
    tile_of = dict(zip(numbers.tolist(), first.tolist(), strict=True))
    from_uncut, covers = np.full(len(own), -1, np.int32), np.array(gallery.sources.crops[tile:])
    for place in np.flatnonzero(gallery.uncut_photo >= photo).tolist():
        shown = tile_of.get(int(gallery.uncut_photo[place]))
        if shown is not None:
            from_uncut[shown], covers[shown] = place, gallery.uncut_crop[place]
    heads = heads_by_photo(gallery.heads[gallery.heads[:, 0] >= photo])
    new = zip(covers.tolist(), own.tolist(), strict=True)
    parts = [largest_part(cover, wanted, heads.get(number, ())) for cover, number in new]
    crops = np.array(parts, np.int32).reshape(-1, 4)
    pixels = gallery.tiles[tile:] if tile else gallery.tiles
    tiles = CutTiles(pixels, gallery.uncut, from_uncut, covers, crops, wanted)
    points, texture = np.empty((len(tiles), 4, 4, 3), np.uint8), np.empty(len(tiles), np.uint8)
    for start in range(0, len(tiles), _BATCH):
        part = slice(start, start + _BATCH)
        points[part], texture[part] = tile_points(tiles[part])
        gallery.release()
    points.flags.writeable = texture.flags.writeable = crops.flags.writeable = False
    return tiles, crops, points, texture


class CutTiles:
    """Tiles of another shape than a gallery's, cut when they are asked for; indexed as an array.

    A tile is a part of one of `tiles`, or of an `uncut` photo if `from_uncut`, int32 (n,), says
    which; else that is -1. These show the `covers` of photos, int32 (n, 4), and the `crops` are in
    them.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(
        self, tiles: U8, uncut: U8, from_uncut: I32, covers: I32, crops: I32, wanted: Size
    ) -> None:
        self._tiles, self._uncut, self._from_uncut = tiles, uncut, from_uncut
        height, width = tiles.shape[1:3]
        share = min(width / wanted[0], height / wanted[1])
        self._size = max(1, round(wanted[0] * share)), max(1, round(wanted[1] * share))
        self.shape = (len(tiles), self._size[1], self._size[0], 3)
        begin, end = crops[:, :2] - covers[:, :2], crops[:, :2] - covers[:, :2] + crops[:, 2:]
        scale = (width, height) / np.maximum(covers[:, 2:], 1)
        first, last = np.rint(begin * scale).astype(int), np.rint(end * scale).astype(int)
        # The corners are rounded; a part that is as large as a tile but for that is not scaled.
        nearly = np.abs(last - first - self._size) <= 1
        last = np.where(nearly, first + self._size, np.maximum(last, first + 1))
        beyond = np.maximum(last - (width, height), 0)
        self._boxes = np.hstack([first - beyond, last - beyond]).astype(np.int32)

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, which: Any) -> U8:
        numbers = np.arange(len(self))[which]
        chosen = np.ravel(numbers)
        made = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        places = self._from_uncut[chosen]
        # The disk reads all of them at once.
        tiles, uncut = iter(self._tiles[chosen[places < 0]]), iter(self._uncut[places[places >= 0]])
        boxes = self._boxes[chosen].tolist()
        for out, place, (left, top, right, bottom) in zip(
            made, places.tolist(), boxes, strict=True
        ):
            picture = next(tiles if place < 0 else uncut)
            part = picture[top:bottom, left:right]
            if part.shape == out.shape:
                out[:] = part
            else:
                smaller = part.shape[0] >= out.shape[0] and part.shape[1] >= out.shape[1]
                mode = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
                cv2.resize(part, self._size, out, interpolation=mode)
        return made if np.ndim(numbers) else made[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)
