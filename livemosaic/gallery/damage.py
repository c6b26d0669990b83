"""Tiles of a large gallery file that turn out to be damaged when they are read."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..errors import GalleryError
from ..jit import I32, U8
from .gallery import Gallery


def refuse(error: GalleryError) -> None:
    """Raise the error: every tile must be whole."""
    raise error


def stored_tiles(gallery: Gallery, tiles: I32, on_damage: Callable[[GalleryError], None]) -> U8:
    """Some tiles of a gallery, uint8 (n, height, width, 3). If some are damaged, `on_damage` is
    called once with the error. Unless it raises that, they are blurs of the right colours."""
    try:
        return gallery.tiles[tiles]
    except GalleryError as error:
        on_damage(error)
    size = (gallery.tile_width, gallery.tile_height)
    made = np.empty((len(tiles), *size[::-1], 3), np.uint8)
    for out, tile in zip(made, tiles.tolist(), strict=True):
        try:
            out[:] = gallery.tiles[tile]
        except GalleryError:
            cv2.resize(gallery.points[tile], size, out, interpolation=cv2.INTER_LINEAR)
    return made
