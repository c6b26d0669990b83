"""Where a photo is in the picture, for other threads that ask."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..control.state import Place
from ..gallery.gallery import Gallery
from ..gallery.snapshot import GallerySnapshot
from ..jit import Bools
from ..mosaic.grid import Grid
from ..mosaic.layer import CellTiles
from ..mosaic.mosaic import Mosaic
from ..mosaic.spotlight import Rect, Spotlight
from .live_gallery import GalleryFollower

# An answer waits for the next picture, and is given up after this time.
_WAIT_S = 1.0


class _Picture(NamedTuple):
    gallery: Gallery
    layers: Sequence[CellTiles]
    seen: Bools  # of the largest cells
    spotlights: Sequence[Spotlight]


class PhotoPlaces:
    """Finds the places of photos in the next picture.

    The mosaic's thread copies what is in its cells, a few thousand numbers, for pictures that a
    thread has asked for; for the others it does nothing.
    """

    def __init__(self, follower: GalleryFollower) -> None:
        self._follower = follower
        self._answered = threading.Event()
        self._picture: _Picture | None = None
        self.is_asked = False

    def take(self, mosaic: Mosaic, spotlights: Sequence[Spotlight]) -> None:
        """Note the picture that was just made, with its spotlights, if any thread waits for it."""
        if self.is_asked:
            self.is_asked = False
            self._picture = _Picture(mosaic.gallery, mosaic.layers, mosaic.seen, spotlights)
            self._answered.set()

    def find(self, path: str) -> list[Place]:
        """See `Control.photo_places`."""
        self._answered.clear()
        self.is_asked = True
        if not self._answered.wait(_WAIT_S):
            return []
        picture = self._picture
        assert picture is not None
        number = self._number(picture.gallery, path)
        if number is None:
            return []
        places: list[Place] = []
        whole, seen = picture.layers[0].grid, picture.seen.copy()
        for it in picture.spotlights:
            if picture.gallery.source_photo[it.tile] == number and seen.flat[it.cell]:
                places.append(_part(whole, *Rect(whole, it).box))
                seen.flat[it.cell] = False  # the same place
        for grid, ids, _ in picture.layers:
            times = grid.rows // whole.rows
            shown = (ids >= 0) & np.repeat(np.repeat(seen, times, 0), times, 1)
            shown &= picture.gallery.source_photo[ids] == number
            width, height = grid.tile_width, grid.tile_height
            places += [
                _part(grid, column * width, row * height, width, height)
                for row, column in np.argwhere(shown).tolist()
            ]
        return places

    def _number(self, gallery: Gallery, path: str) -> int | None:
        """The number of a photo in a gallery; None if it is not there."""
        live = self._follower.live
        if isinstance(gallery, GallerySnapshot) and live is not None:
            return live.number(path)
        return next(iter(gallery.sources.find(path)), None)  # of joined ones, the first has it


def _part(grid: Grid, left: int, top: int, width: int, height: int) -> Place:
    """A part of the canvas, without what sticks out of the picture."""
    width, height = min(width, grid.width - left), min(height, grid.height - top)
    return Place(left / grid.width, top / grid.height, width / grid.width, height / grid.height)
