"""The tile cache: a gallery's tiles as planes of the output's size and colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError
from ..gallery.damage import refuse, stored_tiles
from ..gallery.full_size import full_size_tiles
from ..gallery.gallery import Gallery
from ..gallery.snapshot import GallerySnapshot
from ..jit import F32, I32, U8, kernel, kernel_part
from ..media.colour import Colour, bgr_to_ycbcr
from ..option import Size

# Rows of stacked tiles in one of OpenCV's pictures.
_MAX_ROWS = 32_767

# The cache fills this many bytes: 350,000 tiles of 32 pixels.
MAX_BYTES = 2**29

# `fill` caches all tiles of galleries up to this size. Of larger ones, few are ever shown.
_FILL_TILES, _FILL_BYTES = 8192, 2**24

# The gallery releases its memory after so many bytes were read, as tiles that are cut to another
# shape are mapped. After each frame it takes 0.4 ms, with mapping the pages beside them again;
# after 16 MB, 7 ms at once.
_READ_BYTES = 2**21

_Index = np.unsignedinteger[Any]


class TileCache:
    """The tiles of a gallery as I420 planes of one size and colour, scaled by 1 - overlay.

    A tile fills a slot when a cell first needs it: a frame needs a few thousand of what may be
    300,000 tiles. Pages of the arrays that were never written take no memory.

    Parameters
    ----------
    tile : width and height of a tile in the output
    overlay : alpha of the overlaid original, in luma and in chroma
    full_size : read tiles that must be enlarged from the photos, where these exist: file I/O
    min_tiles : the number of slots is at least this, or all tiles: not below the cells of a picture
    max_bytes : and as many as fit here
    on_damage : called with the error if a tile of the gallery's file is damaged. Unless it raises
        the error, the tile is a blur of the right colours
    """

    dtype: np.dtype[Any] = np.dtype(np.uint8)  # of the planes

    def __init__(
        self,
        gallery: Gallery,
        *,
        tile: Size,
        colour: Colour,
        overlay: tuple[float, float],
        full_size: bool = False,
        min_tiles: int = 0,
        max_bytes: int = MAX_BYTES,
        on_damage: Callable[[GalleryError], None] = refuse,
    ) -> None:
        self._gallery, self._colour, self._on_damage = gallery, colour, on_damage
        self._width, self._height = width, height = tile
        self._full_size = full_size and width > gallery.tile_width
        self._min_tiles = min_tiles
        count, half = len(gallery.tiles), (height // 2, width // 2)
        n = max(min_tiles, max_bytes * 2 // (3 * width * height * self.dtype.itemsize))
        if not isinstance(gallery, GallerySnapshot):  # one may grow
            n = min(count, n)
        self.y = np.empty((n, height, width), self.dtype)
        self.u = np.empty((n, *half), self.dtype)
        self.v = np.empty((n, *half), self.dtype)
        self._slot = np.full(count, -1, np.int32)  # of each tile
        self._tile = np.full(n, -1, np.int32)  # in each slot
        self._next = 0  # slot to fill
        self._read_bytes = 0  # of the gallery, since it released its memory
        self._lut: U8 | None = None
        if any(overlay):
            # Rounded down, as the original is rounded to nearest: their sum stays below 256.
            shares = 1.0 - np.array([overlay[0], overlay[1], overlay[1]])
            levels = np.floor(np.arange(256)[:, None] * shares + 1e-9)
            self._lut = levels.astype(np.uint8).reshape(256, 1, 3)
        self.means = np.zeros((n, 3), np.float32)  # of Y'CbCr before the overlay scales it
        self.deviations = np.zeros(n, np.float32)  # the standard deviation of luma, likewise

    def follow(self, gallery: Gallery) -> None:
        """Use a later state of a live gallery; tiles keep their slots."""
        more = len(gallery) - len(self._slot)
        self._slot = np.concatenate([self._slot, np.full(more, -1, np.int32)])
        self._gallery = gallery
        count = len(self._tile)
        if count < min(self._min_tiles, len(gallery)):  # it began with all tiles of a gallery
            self._grow(self._min_tiles - count)
            self._next = count

    def _grow(self, more: int) -> None:
        """Add empty slots."""
        for name in ("y", "u", "v", "means", "deviations"):
            before = getattr(self, name)
            rows = np.empty((more, *before.shape[1:]), before.dtype)
            setattr(self, name, np.concatenate([before, rows]))
        self._tile = np.concatenate([self._tile, np.full(more, -1, np.int32)])

    def fill(self) -> None:
        """Cache all tiles, unless they are very many."""
        count = len(self._slot)
        if count <= _FILL_TILES and count * self._width * self._height * 3 // 2 <= _FILL_BYTES:
            self.slots(np.arange(count, dtype=np.int32))

    def slots(self, ids: I32) -> I32:
        """The slots of tiles, int32; fills slots for those that have none."""
        slots = self._slot[ids]
        if not len(ids) or slots.min() >= 0:
            return slots
        missing = np.unique(ids[slots < 0])
        free = self._free_slots(len(missing), slots)
        count = _MAX_ROWS // max(self._height, self._gallery.tile_height)
        for start in range(0, len(missing), count):
            self._fill(missing[start : start + count], free[start : start + count])
        self._read_bytes += len(missing) * self._gallery.tile_width * self._gallery.tile_height * 3
        if self._read_bytes > _READ_BYTES:
            self._gallery.release()
            self._read_bytes = 0
        return self._slot[ids]

    def _fill(self, ids: I32, slots: I32) -> None:
        n, width, height = len(ids), self._width, self._height
        picture = self._resized(stored_tiles(self._gallery, ids, self._on_damage))
        if self._full_size:
            tiles = picture.reshape(n, height, width, 3)
            found = full_size_tiles(self._gallery, ids, (width, height))
            for number in np.flatnonzero(np.isin(ids, list(found))):
                tiles[number] = found[int(ids[number])]
        ycbcr, painted = (it.reshape(n, height, width, 3) for it in self._samples(picture))
        kept = self.y, self.u, self.v, self.means, self.deviations
        _store(ycbcr, painted, slots, *kept)
        self._slot[ids], self._tile[slots] = slots, ids

    def _samples(self, bgr: U8) -> tuple[U8, NDArray[Any]]:
        """The Y'CbCr of tiles, uint8 (h, w, 3) as `bgr`, and the same as it is painted."""
        ycbcr = bgr_to_ycbcr(bgr, self._colour)
        return ycbcr, ycbcr if self._lut is None else np.asarray(cv2.LUT(ycbcr, self._lut))

    def _free_slots(self, count: int, needed: I32) -> I32:
        """Slots for so many tiles, none of the `needed` ones: empty ones first, then the oldest.

        They are side by side, however far apart the tiles' numbers are: to write a page of memory
        for the first time takes as long as a tile.
        """
        n = len(self._tile)
        end = self._next + count
        if end <= n and (self._tile[self._next : end] < 0).all():  # as always in a small gallery
            free = np.arange(self._next, end, dtype=np.int32)
            self._next = end % n
            return free
        needed = np.unique(needed[needed >= 0])
        assert count + len(needed) <= n, "more tiles than a picture has cells"
        window = ((self._next + np.arange(count + len(needed))) % n).astype(np.int32)
        free = window[~np.isin(window, needed)][:count]
        self._next = (int(free[-1]) + 1) % n
        before = self._tile[free]
        self._slot[before[before >= 0]] = -1
        self._tile[free] = -1
        return free

    def _resized(self, tiles: U8) -> U8:
        """(n, h, w, 3) to one picture (n * height, width, 3), tile below tile."""
        n, h, w = tiles.shape[:3]
        width, height = self._width, self._height
        stacked = tiles.reshape(n * h, w, 3)
        if (width, height) == (w, h):
            return stacked
        if width <= w and height <= h:
            # Area averaging never mixes tiles: their borders are borders of output rows.
            small = cv2.resize(stacked, (width, n * height), interpolation=cv2.INTER_AREA)
            return np.asarray(small, np.uint8)
        large = [cv2.resize(t, (width, height), interpolation=cv2.INTER_CUBIC) for t in tiles]
        return np.concatenate(large).astype(np.uint8)


@kernel
def _store(
    ycbcr: U8,
    painted: NDArray[Any],
    slots: I32,
    y: NDArray[Any],
    u: NDArray[Any],
    v: NDArray[Any],
    means: F32,
    deviations: F32,
) -> None:
    """Fill slots with tiles, (n, height, width, 3): as they are `painted`, chroma at half the size;
    and the channel means of `ycbcr` with the standard deviation of the first.

    Less than half the time of NumPy and OpenCV, plane by plane.
    """
    height, width = np.uintp(ycbcr.shape[1]), np.uintp(ycbcr.shape[2])
    one, two = np.uintp(1), np.uintp(2)
    for i in range(np.uintp(slots.shape[0])):
        slot, shown = slots[i], painted[i]
        first = second = third = np.uint32(0)
        squares = np.uint64(0)  # 35 bits for 512x512 pixels
        for row in range(height):
            for column in range(width):
                value = np.uint32(ycbcr[i, row, column, 0])
                first += value
                squares += np.uint64(value * value)
                second += np.uint32(ycbcr[i, row, column, 1])
                third += np.uint32(ycbcr[i, row, column, 2])
                y[slot, row, column] = shown[row, column, 0]
        for row in range(height // two):
            for column in range(width // two):
                u[slot, row, column] = _mean_of_four(shown, row * two, column * two, one)
                v[slot, row, column] = _mean_of_four(shown, row * two, column * two, two)
        n = np.float64(height * width)
        mean = first / n
        means[slot, 0], means[slot, 1], means[slot, 2] = mean, second / n, third / n
        deviations[slot] = np.sqrt(max(squares / n - mean * mean, 0.0))


@kernel_part
def _mean_of_four(tile: NDArray[Any], row: _Index, column: _Index, channel: _Index) -> np.uint32:
    """The mean of a sample and those right of and below it, as OpenCV rounds it."""
    one, total = np.uintp(1), np.uint32(2)
    total += np.uint32(tile[row, column, channel])
    total += np.uint32(tile[row, column + one, channel])
    total += np.uint32(tile[row + one, column, channel])
    total += np.uint32(tile[row + one, column + one, channel])
    return np.uint32(total >> np.uint32(2))
