"""Tiles larger than the gallery's, made from the photos again if they are still there.

A gallery has 64 pixels of each tile, which is enough for video. On a poster, tiles are larger.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from operator import gt

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError
from ..jit import F32, U8
from ..media.image_reader import BACKGROUND, BadImage
from ..option import Size
from .builtin import EMOJI_BACKGROUNDS, builtin_image
from .gallery import Gallery
from .tiles import photo_parts
from .video_frames import read_photo_file

# A photo that was edited since the gallery was built, or another one of the same name, shows
# something else. The same photo differs by 0 to 3 levels in the mean, at so few pixels that the
# decoder and the filter that made them small do not matter.
_MAX_APART, _COMPARED_PX = 10.0, 16

_THREADS = 4  # each may hold a photo of 100 megapixels


def full_size_tiles(gallery: Gallery, tiles: NDArray[np.integer], size: Size) -> dict[int, U8]:
    """Tiles by their numbers, enlarged to `size` (width, height), BGR, as far as their photos are
    there and still the same."""
    tiles = tiles[np.argsort(gallery.source_photo[tiles], kind="stable")]  # each photo is read once
    ends = np.flatnonzero(np.diff(gallery.source_photo[tiles])) + 1
    with ThreadPoolExecutor(_THREADS) as threads:
        photos = threads.map(
            lambda part: _of_one_photo(gallery, part.tolist(), size), np.split(tiles, ends)
        )
        return {number: tile for photo in photos for number, tile in photo.items()}


def _of_one_photo(gallery: Gallery, tiles: list[int], size: Size) -> dict[int, U8]:
    # No part of a photo becomes sharper than its pixels are.
    crops = {tile: gallery.sources[tile].crop for tile in tiles}
    size_now = gallery.tile_width, gallery.tile_height
    crops = {tile: crop for tile, crop in crops.items() if all(map(gt, crop[2:], size_now))}
    if not crops:
        return {}
    path = gallery.sources[tiles[0]].path
    image = builtin_image(path)
    backgrounds = (BACKGROUND,) if image is None else EMOJI_BACKGROUNDS
    try:
        data = read_photo_file(path) if image is None else image
        parts = photo_parts(data, list(crops.values()), size, backgrounds=backgrounds)
        stored = [_coarse(gallery.tiles[tile]) for tile in crops]
    except (BadImage, GalleryError):
        return {}
    found = {}
    for tile, before, versions in zip(crops, stored, zip(*parts, strict=True), strict=True):
        apart = [float(np.abs(_coarse(version) - before).mean()) for version in versions]
        if min(apart) <= _MAX_APART:
            found[tile] = versions[int(np.argmin(apart))]
    return found


def _coarse(tile: U8) -> F32:
    size = (_COMPARED_PX, _COMPARED_PX)
    return np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_AREA), np.float32)
