"""Tiles as they are composed: planes of the right size, prepared when first needed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..gallery.file_format import Gallery
from ..gallery.full_size import full_size_tiles
from ..jit import kernel
from ..media.colour import Colour, bgr_to_ycbcr

__all__ = ["TileCache"]

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

# Rows of stacked tiles that are prepared at once: OpenCV takes no more.
_MOST_ROWS = 32_767

# Bytes of a gallery that are read before their memory is let go of. To do it after each frame takes
# 0.4 ms, of letting go and of mapping again what lies beside; after 16 MB, 7 ms at once.
_READ_BYTES = 2**21


class TileCache:
    """The tiles of a gallery as I420 planes of one size and colour, scaled by 1 - overlay (which
    is one for luma and one for chroma).

    Prepared when first needed: a frame needs a few thousand of what may be 300,000. Pages of the
    arrays that were never written cost no memory.

    Parameters
    ----------
    gallery : tiles
    tile_px : their side in the output
    colour : of the output
    overlay : alpha of the superimposed original, in luma and in chroma
    sharp : take tiles that have to be enlarged from the photos themselves, where they are there
    most : tiles that are kept at once, not fewer than a picture has cells; None for all

    Attributes
    ----------
    y, u, v : uint8 (places, px, px), and (places, px / 2, px / 2)
    means : float32 (places, 3), of Y'CbCr before it is scaled
    deviations : float32 (places,), of luma before it is scaled
    overlay : what they are prepared for
    """

    def __init__(
        self,
        gallery: Gallery,
        *,
        tile_px: int,
        colour: Colour,
        overlay: tuple[float, float],
        sharp: bool = False,
        most: int | None = None,
    ) -> None:
        self._gallery, self._colour, self._px = gallery, colour, tile_px
        self.overlay = overlay
        self._sharp = sharp and tile_px > gallery.tile_px
        count, half = len(gallery.tiles), tile_px // 2
        n = count if most is None else min(count, most)
        self.y = np.empty((n, tile_px, tile_px), np.uint8)
        self.u = np.empty((n, half, half), np.uint8)
        self.v = np.empty((n, half, half), np.uint8)
        self._place = np.full(count, -1, np.int32)  # of each tile
        self._tile = np.full(n, -1, np.int32)  # in each place
        self._next = 0  # place
        self._read_bytes = 0  # of the gallery, since its memory was let go of
        # Rounded down, as the superimposed term is rounded to nearest: their sum stays below 256.
        levels = np.arange(256)[:, None] * (1.0 - np.array([overlay[0], overlay[1], overlay[1]]))
        self._lut = np.floor(levels + 1e-9).astype(np.uint8).reshape(256, 1, 3)
        self.means = np.zeros((n, 3), np.float32)
        self.deviations = np.zeros(n, np.float32)

    def prepare(self, ids: I32) -> I32:
        """Make sure that the tiles `ids` are there, and say at which places."""
        places = self._place[ids]
        if not len(ids) or places.min() >= 0:
            return places
        missing = np.unique(ids[places < 0])
        free = self._free(len(missing), places)
        most = _MOST_ROWS // max(self._px, self._gallery.tile_px)
        for start in range(0, len(missing), most):
            batch = missing[start : start + most]
            picture = self._resized(self._gallery.tiles[batch])
            if self._sharp:
                each = picture.reshape(len(batch), self._px, self._px, 3)
                found = full_size_tiles(self._gallery, batch, self._px)
                for number in np.flatnonzero(np.isin(batch, list(found))):
                    each[number] = found[int(batch[number])]
            n, px, half = len(batch), self._px, self._px // 2
            places = free[start : start + most]
            ycbcr = bgr_to_ycbcr(picture, self._colour)
            _statistics(ycbcr.reshape(n, -1, 3), places, self.means, self.deviations)
            y, u, v = cv2.split(cv2.LUT(ycbcr, self._lut))
            self.y[places] = y.reshape(n, px, px)
            for plane, full in ((self.u, u), (self.v, v)):
                small = cv2.resize(full, (half, n * half), interpolation=cv2.INTER_AREA)
                plane[places] = small.reshape(n, half, half)
            self._place[batch], self._tile[places] = places, batch
        self._read_bytes += len(missing) * self._gallery.tile_px**2 * 3
        if self._read_bytes > _READ_BYTES:  # their planes are all that is needed from now on
            self._gallery.release()
            self._read_bytes = 0
        return self._place[ids]

    def _free(self, count: int, needed: I32) -> I32:
        """Places for so many tiles, none of the `needed` ones: those that nothing is in, then those
        filled longest ago.

        Side by side, however far apart the tiles' numbers are: each page of memory that is written
        for the first time costs as much as a tile.
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
        self._place[before[before >= 0]] = -1
        self._tile[free] = -1
        return free

    def _resized(self, tiles: U8) -> U8:
        """(n, s, s, 3) to one picture (n * px, px, 3), tile below tile."""
        n, size = tiles.shape[:2]
        px = self._px
        if px == size:
            return tiles.reshape(n * px, px, 3)
        if px < size:
            # Area averaging never mixes tiles: their borders fall on whole output rows.
            stacked = tiles.reshape(n * size, size, 3)
            return np.asarray(
                cv2.resize(stacked, (px, n * px), interpolation=cv2.INTER_AREA), np.uint8
            )
        return np.concatenate(
            [cv2.resize(t, (px, px), interpolation=cv2.INTER_CUBIC) for t in tiles]
        ).astype(np.uint8)


@kernel
def _statistics(
    pixels: U8, ids: I32, means: NDArray[np.float32], deviations: NDArray[np.float32]
) -> None:
    """Means of the channels of tiles, uint8 (n, pixels, 3), and how far the first is from its own.

    2 us for a tile of 32x32; NumPy's reductions of an axis that is not the last take 13.
    """
    count = np.uintp(pixels.shape[1])
    for i in range(np.uintp(ids.shape[0])):
        first = second = third = np.uint32(0)
        squares = np.uint64(0)  # of 512x512 pixels they take 35 bits
        for p in range(count):
            value = np.uint32(pixels[i, p, 0])
            first += value
            squares += np.uint64(value * value)
            second += np.uint32(pixels[i, p, 1])
            third += np.uint32(pixels[i, p, 2])
        n, tile = np.float64(count), ids[i]
        mean = first / n
        means[tile, 0], means[tile, 1], means[tile, 2] = mean, second / n, third / n
        deviations[tile] = np.sqrt(max(squares / n - mean * mean, 0.0))
