"""The spotlight: each photo that joins is surely shown, for its seconds, one after another.

    large over several cells > smaller, into its cell > there in its own colours > as any other

A photo takes the cell that it fits best, and keeps it all the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..gallery.full_size import full_size_tiles
from ..gallery.gallery import Gallery
from ..gallery.snapshot import GallerySnapshot
from ..jit import F32, U8, Bools
from ..mosaic.grid import Grid
from ..mosaic.mosaic import Mosaic
from ..mosaic.spotlight import Rect, Spotlight
from .live_gallery import GalleryFollower

if TYPE_CHECKING:
    from ..gallery.live import LiveGallery
    from ..vision.faces import Face

# A photo grows to its large size, stays so, becomes smaller, and at the end takes the mosaic's
# colours. The first three are shorter if it is shown for less than `_UNHURRIED_S`.
_GROWS_S, _LARGE_S, _SHRINKS_S, _FADES_S = 0.15, 1.0, 0.5, 0.8
_UNHURRIED_S, _LEAST_S = 2.5, 0.01
_GROWS_FROM = 0.6  # of the large size

# The large size: so much of the picture's height, but at least so many cells across.
_LARGE_HEIGHT, _LARGE_CELLS = 1 / 8, 2.0
# In its cell a photo has so much of its own colours: seen beside others, and still a part of the
# picture.
_OWN_COLOURS = 0.7

# All together cover at most so much of the mosaic, or it would be none any more; one may always be
# there. The next begins so long after the one before, so that each is noticed.
_MOST_COVERED, _APART_S = 0.06, 0.25

# A photo whose cell has left the area for so long takes another one.
_UNSEEN_S = 0.5

# What a place costs that is worse than any distance of colours: cut by the picture's edge or the
# area's; over a face or finer cells; near the same photo; over another spotlight.
_CUT, _FACE, _NEAR, _OVER = 1e5, 1e6, 1e7, 1e8


@dataclass(slots=True)
class _Turn:
    """A photo in the spotlight."""

    photo: int
    tile: int
    picture: U8
    cut: Gallery  # that the picture is a tile of, for its shape
    is_sharp: bool = False  # read again from its file
    cell: int | None = None  # of a grid with the same cells as that of the last frame
    shown_s: float = 0.0  # for which it has been in the picture
    unseen_s: float = 0.0  # for which its cell has not been
    size: float = 1.0
    share: float = 1.0

    def update(self, seconds: float, large: float) -> None:
        """Its size and share for the time that has passed."""
        pace, at_s = min(1.0, max(seconds, _LEAST_S) / _UNHURRIED_S), self.shown_s
        grown = _eased(at_s / (pace * _GROWS_S))
        shrunk = _eased((at_s - pace * _LARGE_S) / (pace * _SHRINKS_S))
        faded = _eased((at_s - seconds) / _FADES_S)
        self.size = 1 + (large * (_GROWS_FROM + (1 - _GROWS_FROM) * grown) - 1) * (1 - shrunk)
        self.size = max(self.size, 1.0)
        self.share = (1 - (1 - _OWN_COLOURS) * shrunk) * (1 - faded)


class SpotlightTurns:
    """Whose turn it is, and where: the spotlights of each frame with a live gallery.

    Its new photos are taken in the order in which they came.
    """

    def __init__(
        self,
        live: LiveGallery,
        spawn: Callable[[str, Callable[[], None], Callable[[], None]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live, self._spawn, self._clock = live, spawn, clock
        self._waiting = live.new
        self._turns: list[_Turn] = []
        self._drawn = False  # in the last frame
        self._last_s = self._began_s = -1e9  # of the last frame, and when a turn began
        self._reading = False
        self._may_begin = False
        self.done = 0  # photos that were shown for their seconds

    @property
    def shown(self) -> int:
        """How many photos are in the spotlight."""
        return len(self._turns)

    @property
    def waiting(self) -> int:
        """How many photos wait for their turn."""
        return len(self._waiting)

    @property
    def is_due(self) -> bool:
        """Whether the last picture is to be painted again, although no frame has come."""
        return self._may_begin and bool(self._turns or self._waiting)

    def pause(self) -> None:
        """Nothing of it is in the next picture; the photos have their time afterwards."""
        self._drawn = self._may_begin = False
        for turn in self._turns:
            turn.cell = None

    def next(
        self, mosaic: Mosaic, grid: Grid, seconds: float, faces: Sequence[Face] = ()
    ) -> Sequence[Spotlight]:
        """The spotlights of the next frame, whose grid is `grid`.

        Each photo is shown for so many seconds; 0 shows none, and forgets those that wait. Where
        there is another place, none begins over `faces`, in pixels of the output.
        """
        now_s = self._clock()
        passed_s = now_s - self._last_s if self._drawn else 0.0
        self._last_s = now_s
        if not self._turns and not self._waiting:
            return ()
        if not seconds:
            self._waiting.clear()
            self._turns = []
            return ()
        gallery = mosaic.gallery
        follows = isinstance(gallery, GallerySnapshot) and gallery.base is self._live.snapshot.base
        if not follows or not mosaic.continues or mosaic.grid != grid:
            self.pause()
            self._may_begin = follows
            return ()
        self._may_begin = True
        assert isinstance(gallery, GallerySnapshot)
        seen = mosaic.seen
        large = _large_size(grid)
        self._end_some(gallery, passed_s, seconds)
        self._move_some(seen, passed_s)
        if self._has_room(now_s, large, int(np.count_nonzero(seen))):
            self._begin(mosaic, gallery, now_s)
        for turn in self._turns:
            turn.update(seconds, large)
            if turn.cell is None:
                turn.cell = self._place(mosaic, turn, seen, large, faces)
            if turn.cut.tile_px != mosaic.cut_gallery.tile_px:
                turn.cut, turn.is_sharp = mosaic.cut_gallery, False
                turn.picture = np.array(turn.cut.tiles[turn.tile])
        self._sharpen(grid, large)
        placed = [turn for turn in self._turns if turn.cell is not None]
        self._turns = placed + [turn for turn in self._turns if turn.cell is None]
        self._drawn = bool(placed)
        return [
            Spotlight(turn.tile, turn.cell, turn.picture, turn.size, turn.share)
            for turn in placed
            if turn.cell is not None
        ]

    def _end_some(self, gallery: GallerySnapshot, passed_s: float, seconds: float) -> None:
        """End those that had their time, and those that have left the gallery."""
        left = []
        for turn in self._turns:
            if turn.cell is not None:
                turn.shown_s += passed_s
            if gallery.gone[turn.tile]:
                continue
            if turn.shown_s < seconds + _FADES_S:
                left.append(turn)
            else:
                self.done += 1
        self._turns = left

    def _move_some(self, seen: Bools, passed_s: float) -> None:
        """Those whose cell is not in the area any more need another one."""
        for turn in self._turns:
            if turn.cell is None or seen.flat[turn.cell]:
                turn.unseen_s = 0.0
                continue
            turn.shown_s -= passed_s  # it was not seen
            turn.unseen_s += passed_s
            if turn.unseen_s > _UNSEEN_S:
                turn.cell = None

    def _has_room(self, now_s: float, large: float, cells: int) -> bool:
        """Whether one more may begin."""
        if not self._waiting or now_s - self._began_s < _APART_S:
            return False
        if any(turn.cell is None for turn in self._turns):
            return False
        covered = sum(turn.size**2 for turn in self._turns)
        return not self._turns or covered + large**2 <= _MOST_COVERED * cells

    def _begin(self, mosaic: Mosaic, gallery: GallerySnapshot, now_s: float) -> None:
        """Begin the turn of the next photo that is still in the gallery."""
        first = len(gallery.base)
        while self._waiting and self._waiting[0] < len(gallery.stamps):
            photo = self._waiting.popleft()
            tiles = first + np.flatnonzero(gallery.source_photo[first:] == photo)
            if len(tiles) and not gallery.gone[tiles[0]]:
                tile, cut = int(tiles[0]), mosaic.cut_gallery
                self._turns.append(_Turn(photo, tile, np.array(cut.tiles[tile]), cut))
                self._began_s = now_s
                return

    def _place(
        self, mosaic: Mosaic, turn: _Turn, seen: Bools, large: float, faces: Sequence[Face]
    ) -> int | None:
        """The cell that a photo fits best; None if there is no mosaic."""
        whole, *finer = mosaic.layers
        grid, ids = whole.grid, whole.tile_ids
        cost: F32 = mosaic.distances(turn.tile, tint=(1 - _OWN_COLOURS) * mosaic.settings.tint)
        if grid.canvas_height > grid.height:
            cost[-1] += _CUT
        if grid.canvas_width > grid.width:
            cost[:, -1] += _CUT
        half = int(np.ceil((large - 1) / 2))
        around = np.ones((2 * half + 1, 2 * half + 1), np.uint8)
        cost[cv2.erode(seen.astype(np.uint8), around) == 0] += _CUT
        for face in faces:
            x, y, width, height = face.scaled(1 / grid.tile_width, 1 / grid.tile_height)
            top, left = max(int(y) - half, 0), max(int(x) - half, 0)
            bottom, right = int(np.ceil(y + height)), int(np.ceil(x + width))
            cost[top : bottom + half, left : right + half] += _FACE
        photo_of, distance = mosaic.gallery.source_photo, mosaic.matcher.distance
        near = np.zeros(ids.shape, np.int32)
        for layer in (whole, *finer):
            times = layer.grid.rows // grid.rows
            same = (layer.tile_ids >= 0) & (photo_of[layer.tile_ids] == turn.photo)
            for row, column in (np.argwhere(same) // times).tolist():
                near[_around(row, column, distance)] += 1
                near[row, column] -= 1  # it may stay where it is
        cost[near > 0] += _NEAR
        cost[ids < 0] += _FACE  # it is split
        cost[~seen] = np.inf
        for other in self._turns:
            if other.cell is None or other is turn:
                continue
            rows, columns = Rect(grid, Spotlight(0, other.cell, turn.picture, other.size)).cells(
                grid
            )
            top, left = max(rows.start - half, 0), max(columns.start - half, 0)
            cost[top : rows.stop + half, left : columns.stop + half] += _OVER
            cost.flat[other.cell] = np.inf
        best = int(cost.argmin())
        return best if np.isfinite(cost.flat[best]) else None

    def _sharpen(self, grid: Grid, large: float) -> None:
        """Read a photo that is large again from its file, on the side, one at a time."""
        if self._reading:
            return
        turn = next((it for it in self._turns if not it.is_sharp and it.size > 1), None)
        if turn is None:
            return
        turn.is_sharp = True
        size = round(large * grid.tile_width), round(large * grid.tile_height)
        if size[0] <= turn.cut.tile_width:
            return

        def read(turn: _Turn = turn, cut: Gallery = turn.cut) -> None:
            found = full_size_tiles(cut, np.array([turn.tile]), size)
            if turn.tile in found and turn.cut is cut:
                turn.picture = found[turn.tile]
            end()

        def end() -> None:
            self._reading = False

        self._reading = True
        self._spawn("spotlight", read, end)

    def report(self) -> dict[str, int]:
        """For `--json`."""
        return {"done": self.done, "shown": self.shown, "waiting": self.waiting}


class SpotlightGalleries:
    """The turns of the photos of each live gallery of a run; those of the one in use are shown."""

    def __init__(
        self,
        follower: GalleryFollower,
        spawn: Callable[[str, Callable[[], None], Callable[[], None]], None],
    ) -> None:
        self._follower, self._spawn = follower, spawn
        self._turns: dict[LiveGallery, SpotlightTurns] = {}

    @property
    def is_due(self) -> bool:
        """See `SpotlightTurns`."""
        return any(turns.is_due for turns in self._turns.values())

    def pause(self) -> None:
        """See `SpotlightTurns`."""
        for turns in self._turns.values():
            turns.pause()

    def next(
        self, mosaic: Mosaic, grid: Grid, seconds: float, faces: Sequence[Face]
    ) -> Sequence[Spotlight]:
        """See `SpotlightTurns`."""
        live = self._follower.live
        if live is not None and live not in self._turns:
            self._turns[live] = SpotlightTurns(live, self._spawn)
        for its, turns in self._turns.items():
            if its is not live:
                turns.pause()
        return () if live is None else self._turns[live].next(mosaic, grid, seconds, faces)

    def report(self) -> dict[str, int] | None:
        """For `--json`; None if no gallery is live."""
        reports = [turns.report() for turns in list(self._turns.values())]
        return {name: sum(it[name] for it in reports) for name in reports[0]} if reports else None


def _large_size(grid: Grid) -> float:
    """The large size in cells."""
    wanted = max(_LARGE_HEIGHT * grid.height / grid.tile_height, _LARGE_CELLS)
    return max(min(wanted, min(grid.rows, grid.columns) / 2), 1.0)


def _around(row: int, column: int, distance: int) -> tuple[slice, slice]:
    top, left = max(row - distance, 0), max(column - distance, 0)
    return slice(top, row + distance + 1), slice(left, column + distance + 1)


def _eased(share: float) -> float:
    """0 to 1, slowly at both ends."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
