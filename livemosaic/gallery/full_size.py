"""Tiles that are larger than the gallery's, taken from the photos themselves while they are there.

A gallery keeps 64 pixels of each tile, which is enough for video. On a poster, tiles are larger.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from .builtin import EMOJI_GROUNDS, builtin_image
from .decode import GROUND, BadImage, Crop, photo_parts, read_photo, silent_opencv
from .file_format import Gallery

__all__ = ["full_size_tiles"]

U8 = NDArray[np.uint8]

# A photo that was edited since the gallery was built, or another one of the same name, shows
# something else. What is the same differs by 0 to 3 levels in the mean, at so few pixels that it
# does not matter which decoder and filter made them small.
_MOST_APART, _COMPARED_PX = 10.0, 16

_THREADS = 4  # each may hold a photo of 100 megapixels


def full_size_tiles(gallery: Gallery, tiles: NDArray[np.integer], px: int) -> dict[int, U8]:
    """Tiles at another size, as far as their photos are there and still the same.

    Parameters
    ----------
    gallery : of the tiles
    tiles : their numbers; those of a photo should stand side by side
    px : side of the result in pixels, larger than the gallery's tiles

    Returns
    -------
    uint8 (px, px, 3) BGR by number
    """
    ends = np.flatnonzero(np.diff(gallery.source_photo[tiles])) + 1
    with silent_opencv(), ThreadPoolExecutor(_THREADS) as threads:
        photos = threads.map(
            lambda part: _of_one_photo(gallery, part.tolist(), px), np.split(tiles, ends)
        )
        return {number: tile for photo in photos for number, tile in photo.items()}


def _of_one_photo(gallery: Gallery, tiles: list[int], px: int) -> dict[int, U8]:
    sources = [gallery.sources[tile] for tile in tiles]
    # No part of a photo becomes sharper than its pixels are.
    worth = [min(s.crop[2:]) > gallery.tile_px for s in sources]
    tiles = [tile for tile, good in zip(tiles, worth, strict=True) if good]
    crops: list[Crop] = [s.crop for s, good in zip(sources, worth, strict=True) if good]
    if not tiles:
        return {}
    try:
        data = builtin_image(sources[0].path)
        grounds = EMOJI_GROUNDS if data is not None else (GROUND,)
        data = data if data is not None else read_photo(sources[0].path)
        shown = [photo_parts(data, crops, px, ground=ground) for ground in grounds]
    except BadImage:
        return {}
    found = {}
    for number, tile in enumerate(tiles):
        parts = [parts[number] for parts in shown]
        before = _coarse(gallery.tiles[tile])
        apart = [float(np.abs(_coarse(part) - before).mean()) for part in parts]
        if min(apart) <= _MOST_APART:
            found[tile] = parts[int(np.argmin(apart))]
    return found


def _coarse(tile: U8) -> NDArray[np.float32]:
    size = (_COMPARED_PX, _COMPARED_PX)
    return np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_AREA), np.float32)
