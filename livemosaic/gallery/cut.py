"""Galleries whose tiles have another shape than a mosaic's: its tiles are cut from theirs.

Nothing is distorted, and only the tiles that a mosaic shows are kept.
"""

from __future__ import annotations

import copy
import threading
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..jit import I32, U8
from ..option import Size
from ..tile_size import TileSize, shape
from .file_format import Gallery
from .layout_features import tile_points
from .tiles import largest_part, scale_tiles

# Tiles that are described at once.
_BATCH = 1024

_made: WeakKeyDictionary[Gallery, dict[Size, Gallery]] = WeakKeyDictionary()
_lock = threading.Lock()


def cut_gallery(gallery: Gallery, tile: TileSize) -> Gallery:
    """The same photos in tiles of another shape; the gallery itself if its tiles have that shape.

    Of each gallery and shape there is one, which is made once: 0.2 s for 5,000 tiles.
    """
    wanted = shape(tile)
    if wanted == shape(gallery.tile_px):
        return gallery
    with _lock:
        of_gallery = _made.setdefault(gallery, {})
        if wanted not in of_gallery:
            of_gallery[wanted] = _cut(gallery, wanted)
        return of_gallery[wanted]


def _cut(gallery: Gallery, wanted: Size) -> Gallery:
    """Cut all tiles to a shape, and describe them."""
    covers = gallery.sources.crops
    crops = np.array([largest_part(crop, wanted) for crop in covers.tolist()], np.int32)
    tiles = CutTiles(gallery.tiles, covers, crops, wanted)
    made = copy.copy(gallery)
    made.tiles = cast(U8, tiles)
    made.tile_width, made.tile_height = tiles.shape[2], tiles.shape[1]
    made.sources = gallery.sources.with_crops(crops)
    made.points, made.texture = np.empty_like(gallery.points), np.empty_like(gallery.texture)
    for start in range(0, len(tiles), _BATCH):
        part = slice(start, start + _BATCH)
        made.points[part], made.texture[part] = tile_points(tiles[part])
        gallery.release()
    made.points.flags.writeable = made.texture.flags.writeable = crops.flags.writeable = False
    return made


class CutTiles:
    """Tiles that are cut from others when they are asked for, as NumPy's arrays are.

    `tiles` show the `covers` of photos, int32 (n, 4); the `crops` are inside these.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, tiles: U8, covers: I32, crops: I32, wanted: Size) -> None:
        self._tiles = tiles
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
        self._first, self._last = first - beyond, last - beyond

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, which: Any) -> U8:
        numbers = np.arange(len(self))[which]
        made = scale_tiles([self._part(number) for number in np.ravel(numbers)], self._size)
        return made if np.ndim(numbers) else made[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _part(self, number: int) -> U8:
        (left, top), (right, bottom) = self._first[number], self._last[number]
        return self._tiles[number, top:bottom, left:right]
