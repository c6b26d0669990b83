"""A layer: the cells of one size in a stream, their matcher, and which tiles they show.

There is one, or one more for each time that cells may split in four.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, UsageError
from ..gallery.layout_features import cell_lab, cell_points, points_to_lab
from ..jit import F32, I32, U8, Bools
from .grid import ANALYSIS_PX, Grid
from .match.base import Matcher
from .waiting import WaitingCells

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

# A cell splits if its photo is so far from it (BGR, mean squared distance of 4x4 points after the
# tint), and joins again if a photo is nearer than so much of that. The variance within a cell says
# less: for an edge there is a photo, for a pattern there is none. A cell that has split once does
# so again from a larger distance: it has a quarter of the area.
_SPLITS_APART, _JOINS_SHARE, _AGAIN = 700.0, 0.6, 3.0


class CellTiles(NamedTuple):
    """The tiles in the cells of one size, see `Mosaic.layers`."""

    grid: Grid
    tile_ids: I32  # int32 (rows, columns), -1 where cells of this size are not shown
    flips: Bools  # bool (rows, columns), which tiles are mirrored


class Layer:
    """The cells of one size.

    Attributes
    ----------
    matcher, grid : of these cells
    coarser : the layer with cells of twice the sides; None for the largest ones
    coarse : int32 (cells,), the number of the largest cell that each is in
    ids, flips : int32 and bool (cells,), the tile of each cell, -1 where it is not shown; and which
        are mirrored
    split : bool (cells,), those that are shown by four finer ones
    waiting : those that have to be matched
    """

    def __init__(self, matcher: Matcher, coarser: Layer | None) -> None:
        self.matcher, self.coarser = matcher, coarser
        self.grid = grid = matcher.grid
        self.coarse = np.arange(grid.cells, dtype=np.int32)
        if coarser is not None:
            self.coarse = coarser.quartered(coarser.coarse)
        self.ids = np.full(grid.cells, -1, np.int32)
        self.flips = np.zeros(grid.cells, np.bool_)
        self.split = np.zeros(grid.cells, np.bool_)
        # Of a cell that sticks out of the output, a finer one may show nothing.
        self._can_split = np.outer(
            2 * (grid.height - np.arange(grid.rows) * grid.tile_height) > grid.tile_height,
            2 * (grid.width - np.arange(grid.columns) * grid.tile_width) > grid.tile_width,
        ).reshape(-1)
        self.waiting = WaitingCells(grid.cells)

    @property
    def tiles(self) -> CellTiles:
        """The tiles in the cells, copies."""
        size = (self.grid.rows, self.grid.columns)
        return CellTiles(self.grid, self.ids.reshape(size).copy(), self.flips.reshape(size).copy())

    @property
    def visible(self) -> Bools:
        """Where cells of this size or finer ones are shown, bool (cells,)."""
        if self.coarser is None:
            return np.ones(self.grid.cells, np.bool_)
        return self.coarser.quartered(self.coarser.split)

    @property
    def is_shown(self) -> bool:
        """Whether any of these cells is shown, or finer ones."""
        return bool(((self.ids >= 0) | self.split).any())

    @property
    def shown(self) -> int:
        """How many of the cells are shown."""
        return int(np.count_nonzero(self.ids >= 0))

    def quartered(self, values: NDArray[_T]) -> NDArray[_T]:
        """The values of the cells for the four finer ones of each."""
        return repeated(values.reshape(self.grid.rows, self.grid.columns), 2).reshape(-1)

    def count(self, coarse: Bools, cells: I32) -> int:
        """How many of some cells are shown in those of the largest cells."""
        return int(np.count_nonzero(coarse[self.coarse[cells]] & (self.ids[cells] >= 0)))

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

    def match(self, cells: I32, active: int) -> None:
        """Let the matcher choose tiles for some cells, which it has described."""
        ids, flips = self.matcher.match(cells, active=active)
        tiles = len(self.matcher.gallery.points)
        if not (
            np.shape(ids) == np.shape(flips) == cells.shape
            and (np.less(ids, tiles) & np.greater_equal(ids, 0)).all()
        ):
            raise UsageError(
                f"{type(self.matcher).__name__}.match: it gave no tile for each cell; return "
                f"int32 and bool {cells.shape}, with numbers from 0 to {tiles - 1}"
            )
        self.ids[cells], self.flips[cells] = ids, flips

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

    def follow(self, matcher: Matcher, gone: Bools) -> bool:
        """Go on with a matcher for a later state of the gallery; false if it cannot. Cells whose
        tiles are `gone`, bool (tiles,), are matched before all others."""
        if not matcher.take_over(self.matcher):
            return False
        self.matcher = matcher
        self.waiting.put_first((self.ids >= 0) & gone[self.ids])
        return True

    def distances(self, bgr: U8, tile: int, tint: float) -> F32:
        """How far a tile is from each cell of a frame, see `Mosaic.distances`."""
        grid = self.grid
        cells = cell_lab(self.seen(bgr), grid.rows, grid.columns)
        away = points_to_lab(np.array(self.matcher.gallery.points[tile : tile + 1])) - cells
        # As if so much of the mean was taken away before, in a quarter of the time.
        points = np.float32(away.shape[1])
        mean = np.einsum("npc->nc", away) / points
        far = np.einsum("npc,npc->n", away, away) / points
        far -= np.float32(1 - (1 - tint) ** 2) * np.einsum("nc,nc->n", mean, mean)
        return np.asarray(far, np.float32).reshape(grid.rows, grid.columns)

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

    def split_details(self, bgr: U8, cells: I32, tint: float, room: Callable[[], int]) -> None:
        """Split cells whose photo, which was just matched, does not fit; at most `room` more."""
        far = _SPLITS_APART if self.coarser is None else _SPLITS_APART * _AGAIN
        apart = self._apart(bgr, cells, tint) / np.float32(far)
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


def _limited(
    before: Bools, now: Bools, score: NDArray[np.floating[Any]], room: Callable[[], int]
) -> Bools:
    """Which cells split, of which at most `room` more than before: those of the highest score."""
    new = np.flatnonzero(now & ~before)
    if len(new) and len(new) > (most := max(0, room())):
        now = now.copy()
        now[new[np.argsort(-score[new], kind="stable")[most:]]] = False
    return now


def repeated(values: NDArray[_T], times: int) -> NDArray[_T]:
    """The values of cells, (rows, columns), for finer ones, so many along each side of a cell."""
    return np.repeat(np.repeat(values, times, 0), times, 1)


def _covered(begin: float, end: float, count: int) -> F32:
    """The share of each of `count` units that a span covers."""
    edges = np.arange(count)
    covered = np.minimum(end, edges + 1) - np.maximum(begin, edges)
    return np.asarray(np.clip(covered, 0, 1), np.float32)


def checked(faces: Sequence[Face]) -> list[Face]:
    """The faces that a caller gives, as numbers; `OptionError` if they are none."""
    try:
        found = [(float(x), float(y), float(w), float(h)) for x, y, w, h in faces]
    except (TypeError, ValueError):
        found = [(math.nan,) * 4]
    if not np.isfinite(found).all():
        raise OptionError("faces", faces, "must be left, top, width and height of each face")
    return found
