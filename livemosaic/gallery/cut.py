"""Galleries whose tiles have another shape than a mosaic's: its tiles are cut from theirs.

Nothing is distorted, and only the tiles that a mosaic shows are kept.
"""

from __future__ import annotations

import copy
import threading
from typing import Any, cast
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from ..jit import I32, U8
from ..option import Size
from ..tile_size import TileSize, shape
from .file_format import Gallery
from .layout_features import tile_points
from .snapshot import GallerySnapshot
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
            of_gallery[wanted] = _cut(gallery, wanted)
        return of_gallery[wanted]


def _cut(gallery: Gallery, wanted: Size) -> Gallery:
    """Cut all tiles to a shape, and describe them."""
    before = cut_gallery(gallery.base, wanted) if isinstance(gallery, GallerySnapshot) else None
    known = 0 if before is None else len(before)  # the first tiles, which are cut as there
    # The first tile of a photo shows the whole of it, as far as its shape allows.
    numbers, first = np.unique(gallery.source_photo, return_index=True)
    tile_of = dict(zip(numbers.tolist(), first.tolist(), strict=True))
    from_uncut, covers = np.full(len(gallery), -1, np.int32), gallery.sources.crops.copy()
    for place, photo in enumerate(gallery.uncut_photo.tolist()):
        if photo in tile_of:
            from_uncut[tile_of[photo]] = place
            covers[tile_of[photo]] = gallery.uncut_crop[place]
    heads = heads_by_photo(gallery.heads)
    new = zip(covers[known:].tolist(), gallery.source_photo[known:].tolist(), strict=True)
    parts = [largest_part(cover, wanted, heads.get(photo, ())) for cover, photo in new]
    crops = np.array(parts, np.int32).reshape(-1, 4)
    if before is not None:
        crops = np.concatenate([before.sources.crops, crops])
    tiles = CutTiles(gallery, from_uncut, covers, crops, wanted)
    made = copy.copy(gallery)
    made.tiles = cast(U8, tiles)
    made.tile_width, made.tile_height = tiles.shape[2], tiles.shape[1]
    made.sources = gallery.sources.with_crops(crops)
    made.points, made.texture = np.empty_like(gallery.points), np.empty_like(gallery.texture)
    if before is not None and isinstance(made, GallerySnapshot):
        made.base = before
        made.points[:known], made.texture[:known] = before.points, before.texture
    for start in range(known, len(tiles), _BATCH):
        part = slice(start, start + _BATCH)
        made.points[part], made.texture[part] = tile_points(tiles[part])
        gallery.release()
    made.points.flags.writeable = made.texture.flags.writeable = crops.flags.writeable = False
    return made


class CutTiles:
    """Tiles of another shape than a gallery's, cut when they are asked for; indexed as an array.

    A tile is a part of the gallery's, or of an uncut photo if `from_uncut`, int32 (n,), says which;
    else that is -1. These show the `covers` of photos, int32 (n, 4), and the `crops` are in them.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(
        self, gallery: Gallery, from_uncut: I32, covers: I32, crops: I32, wanted: Size
    ) -> None:
        self._tiles, self._uncut, self._from_uncut = gallery.tiles, gallery.uncut, from_uncut
        width, height = gallery.tile_width, gallery.tile_height
        share = min(width / wanted[0], height / wanted[1])
        self._size = max(1, round(wanted[0] * share)), max(1, round(wanted[1] * share))
        self.shape = (len(gallery), self._size[1], self._size[0], 3)
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
        sources, boxes = self._from_uncut[chosen].tolist(), self._boxes[chosen].tolist()
        for out, tile, place, box in zip(made, chosen.tolist(), sources, boxes, strict=True):
            left, top, right, bottom = box
            picture = self._tiles[tile] if place < 0 else self._uncut[place]
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
