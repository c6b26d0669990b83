"""A layer: the cells of one size in a stream, their matcher, and what they show.

There is one, or one more for each time that cells may split in four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..gallery.layout_features import cell_points
from ..jit import F32, I32, U8, Bools
from .compositor import Part
from .grid import ANALYSIS_PX, Grid
from .match.base import Matcher
from .tile_cache import TileCache
from .tint import CellTint

_T = TypeVar("_T", bound=np.generic)

# A face in pixels of the picture: left, top, width and height.
Face = tuple[float, float, float, float]

# A cell splits if so much of it is in a head, and joins again if less is.
_SPLITS_FROM, _JOINS_BELOW = 0.5, 0.2
# A head is so much larger than its face, which is from ear to ear and from brows to chin: to the
# left and to the right, above, and below, relative to the face's width and height.
_BESIDE, _ABOVE, _BELOW = 0.12, 0.45, 0.05
# A face of so many cells across need not be finer.
_ENOUGH_ACROSS = 20

# Cells wait with this urgency at most, which a matcher may give in each frame, too: both together
# are an int32.
_MOST_URGENT = 10**9

# A cell splits if its photo is so far from it (BGR, mean squared distance of 4x4 points after the
# tint), and joins again if a photo is nearer than so much of that. The variance within a cell says
# less: for an edge there is a photo, for a pattern there is none. A cell that has split once does
# so again from a larger distance: it has a quarter of the area.
_SPLITS_APART, _JOINS_SHARE, _AGAIN = 700.0, 0.6, 3.0


class Layer:
    """The cells of one size.

    Attributes
    ----------
    grid, matcher : of these cells
    coarse : int32 (cells,), the number of the largest cell that each is in
    ids, flips : int32 and bool (cells,), the tile of each cell, -1 where it is not shown; and which
        are mirrored
    split : bool (cells,), those that are shown by four finer ones
    tiles, tint, deep_tiles, deep_tint : how the tiles are shown; None for no tint and no 10 bits
    """

    def __init__(self, matcher: Matcher, coarser: Layer | None) -> None:
        self.matcher = matcher
        self.grid = grid = matcher.grid
        if coarser is None:
            self.coarse = np.arange(grid.cells, dtype=np.int32)
        else:
            self.coarse = quartered(coarser.coarse, coarser.grid)
        self.ids = np.full(grid.cells, -1, np.int32)
        self.flips = np.zeros(grid.cells, np.bool_)
        self.split = np.zeros(grid.cells, np.bool_)
        # Of a cell that sticks out of the output, a finer one may show nothing.
        self._can_split = np.outer(
            2 * (grid.height - np.arange(grid.rows) * grid.tile_height) > grid.tile_height,
            2 * (grid.width - np.arange(grid.columns) * grid.tile_width) > grid.tile_width,
        ).reshape(-1)
        self._urgency = np.zeros(grid.cells, np.int32)  # above 0: active since an earlier frame
        self.tiles: TileCache
        self.tint: CellTint | None = None
        self.deep_tiles: TileCache | None = None
        self.deep_tint: CellTint | None = None

    def observe(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
        """Let the matcher observe a frame in any resolution; the urgency of each cell."""
        times = self.grid.rows // state.shape[0]
        if times > 1:
            state, active_pixels = (repeated(it, times) for it in (state, active_pixels))
        return self.matcher.observe(self.seen(bgr), state, active_pixels)

    def seen(self, bgr: U8) -> U8:
        """A picture at the analysis resolution of these cells, or below."""
        size = (self.grid.columns * ANALYSIS_PX, self.grid.rows * ANALYSIS_PX)
        if bgr.shape[0] <= size[1]:
            return bgr
        return np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)

    def select(
        self, urgency: I32, allowed: Bools, needed: Bools, max_cells: int | None
    ) -> tuple[int, I32]:
        """The number of active cells, and the numbers of those to match now.

        Only `allowed` cells are matched; the others remember that they have to be. Those that need
        a tile come first. Cells that have to wait become more urgent by their changes meanwhile.
        """
        self._urgency = np.where(allowed, self._urgency, np.maximum(self._urgency, urgency))
        is_active = ((urgency > 0) | (self._urgency > 0)) & allowed
        active = np.flatnonzero(is_active | needed).astype(np.int32)
        if max_cells is None or len(active) <= max_cells:
            self._urgency[active] = 0
            return len(active), active
        waits = self._urgency[active] + 1 + urgency[active]
        self._urgency[active] = np.minimum(waits, _MOST_URGENT)
        waits = np.where(needed[active], np.int32(2**31 - 1), self._urgency[active])
        first = np.argsort(-waits, kind="stable")
        cells = np.sort(active[first[: max(max_cells, np.count_nonzero(needed))]])
        self._urgency[cells] = 0
        return len(active), cells

    def replace_gone(self, gone: Bools) -> None:
        """Match the cells again whose tiles are `gone`, bool (tiles,), before all others."""
        self._urgency[(self.ids >= 0) & gone[self.ids]] = _MOST_URGENT

    def split_faces(
        self,
        faces: Sequence[Face],
        size: tuple[int, int],
        fixed: Bools,
        room: Callable[[], int],
    ) -> None:
        """Split cells in heads, but change none of the `fixed` ones; faces are in a picture of a
        size. At most `room` more cells split."""
        grid = self.grid
        across = size[0] * grid.tile_width / grid.width
        down = size[1] * grid.tile_height / grid.height
        share = np.zeros((grid.rows, grid.columns))
        for left, top, width, height in faces:
            if width / across > _ENOUGH_ACROSS:
                continue
            x, right = left - _BESIDE * width, left + (1 + _BESIDE) * width
            y, bottom = top - _ABOVE * height, top + (1 + _BELOW) * height
            covered = np.outer(
                _covered(y / down, bottom / down, grid.rows),
                _covered(x / across, right / across, grid.columns),
            )
            share = np.maximum(share, covered)
        shares = share.reshape(-1)
        now = (shares >= _SPLITS_FROM) | (self.split & (shares >= _JOINS_BELOW))
        now &= self._can_split
        self.split = _limited(self.split, np.where(fixed, self.split, now), shares, room)

    def split_details(
        self, bgr: U8, cells: I32, tint: float, times: int, room: Callable[[], int]
    ) -> None:
        """Split cells whose photo, which was just matched, does not fit; at most `room` more.
        `times` is how often these cells have been split."""
        apart = self._apart(bgr, cells, tint) / np.float32(_SPLITS_APART * _AGAIN**times)
        before = self.split[cells]
        now = (apart >= 1) | (before & (apart >= _JOINS_SHARE))
        now &= self._can_split[cells]
        self.split[cells] = _limited(before, now, apart, room)

    def _apart(self, bgr: U8, cells: I32, tint: float) -> F32:
        """The distance of cells from their tiles, float32 (n,)."""
        grid, gallery = self.grid, self.matcher.gallery
        wanted = cell_points(bgr, grid.rows, grid.columns)[cells]
        points, flips = np.array(gallery.points[self.ids[cells]]), self.flips[cells]
        points[flips] = points[flips][:, :, ::-1]
        away = points.astype(np.float32) - wanted
        away -= np.float32(tint) * away.mean(axis=(1, 2), keepdims=True)
        return np.asarray(np.square(away).sum(axis=3).mean(axis=(1, 2)), np.float32)

    def show(self, cell: int, tile: int) -> bool:
        """Let a cell show a tile that was chosen elsewhere; whether that is another one."""
        self.split[cell] = False
        if self.ids[cell] == tile and not self.flips[cell]:
            return False
        self.ids[cell], self.flips[cell] = tile, False
        self.matcher.show(cell, tile)
        return True

    def leave(self, cells: NDArray[np.intp]) -> None:
        """Some cells are not shown any more."""
        if len(cells):
            self.matcher.leave(cells.astype(np.int32))
            self.ids[cells] = -1

    @property
    def is_shown(self) -> bool:
        """Whether any of these cells is shown, or finer ones."""
        return bool(((self.ids >= 0) | self.split).any())

    def count(self, coarse: Bools, cells: I32) -> int:
        """How many of some cells are shown in those of the largest cells."""
        return int(np.count_nonzero(coarse[self.coarse[cells]] & (self.ids[cells] >= 0)))

    @property
    def shown(self) -> int:
        """How many of the cells are shown."""
        return int(np.count_nonzero(self.ids >= 0))

    def part(self, coarse: Bools, means: F32 | None, *, deep: bool = False) -> Part:
        """The cells that are shown in some of the largest cells."""
        cells = np.flatnonzero(coarse[self.coarse] & (self.ids >= 0)).astype(np.int32)
        tiles = self.deep_tiles if deep else self.tiles
        assert tiles is not None
        means = None if means is None else means[cells]
        return Part(tiles, cells, self.ids[cells], self.flips[cells], means)


def _limited(
    before: Bools, now: Bools, score: NDArray[np.floating[Any]], room: Callable[[], int]
) -> Bools:
    """Which cells split, of which at most `room` more than before: those of the highest score."""
    new = np.flatnonzero(now & ~before)
    if len(new) and len(new) > (most := max(0, room())):
        now = now.copy()
        now[new[np.argsort(-score[new], kind="stable")[most:]]] = False
    return now


def quartered(values: NDArray[_T], grid: Grid) -> NDArray[_T]:
    """The values of a grid's cells for the four finer ones of each."""
    return repeated(values.reshape(grid.rows, grid.columns), 2).reshape(-1)


def repeated(values: NDArray[_T], times: int) -> NDArray[_T]:
    """The values of cells, (rows, columns), for finer ones, so many along each side of a cell."""
    return np.repeat(np.repeat(values, times, 0), times, 1)


def _covered(begin: float, end: float, count: int) -> F32:
    """The share of each of `count` units that a span covers."""
    edges = np.arange(count)
    covered = np.minimum(end, edges + 1) - np.maximum(begin, edges)
    return np.asarray(np.clip(covered, 0, 1), np.float32)
