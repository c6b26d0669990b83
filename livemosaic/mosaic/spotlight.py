"""Spotlights: photos that are shown with their own colours, over one cell or several.

The cell keeps the photo's tile meanwhile, whatever the match would choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..argument import whole
from ..errors import UsageError
from ..jit import U8, Bools
from ..media.colour import AnyPlanes, halved
from ..media.frame import even
from .grid import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Spotlight:
    """A photo in the spotlight, in a frame: for `Mosaic.process`.

    Attributes
    ----------
    tile : number of its tile
    cell : the place, a number of a cell (row * columns + column); of cells of several sizes a
        largest one
    picture : uint8 (height, width, 3) BGR, the photo in the shape of the cell, in any size
    size : of what is shown, in cells: 1 is the cell itself; larger ones are over cells beside it
    share : 1 shows the photo in its own colours, 0 what the mosaic shows there
    """

    tile: int
    cell: int
    picture: U8
    size: float = 1.0
    share: float = 1.0

    def check(self, grid: Grid, tiles: int) -> None:
        """`UsageError` if there is no such cell or tile."""
        cell, tile = whole("spotlight.cell", self.cell, 0), whole("spotlight.tile", self.tile, 0)
        for name, number, count in (("cell", cell, grid.cells), ("tile", tile, tiles)):
            if number >= count:
                raise UsageError(f"spotlights: there is no {name} {number}; there are {count}")


class Rect:
    """Where a spotlight is on the canvas, in pixels; all are even."""

    __slots__ = ("height", "left", "top", "width")

    def __init__(self, grid: Grid, spotlight: Spotlight) -> None:
        row, column = divmod(spotlight.cell, grid.columns)
        self.left, self.width = _span(column, grid.tile_width, spotlight.size, grid.width)
        self.top, self.height = _span(row, grid.tile_height, spotlight.size, grid.height)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height."""
        return self.left, self.top, self.width, self.height

    def cells(self, grid: Grid) -> tuple[slice, slice]:
        """The rows and columns of the cells that it touches."""
        right, bottom = self.left + self.width, self.top + self.height
        return (
            slice(self.top // grid.tile_height, -(-bottom // grid.tile_height)),
            slice(self.left // grid.tile_width, -(-right // grid.tile_width)),
        )


def _span(number: int, tile: int, size: float, side: int) -> tuple[int, int]:
    """Begin and length of a span around a cell's centre, moved so that it is in the picture."""
    begin, end = number * tile, max(side, (number + 1) * tile)
    length = min(max(even(tile * size), 2), end)
    first = begin + (tile - length) / 2
    return int(min(max(first, 0), end - length)) // 2 * 2, length


class Drawn:
    """A spotlight in a frame."""

    def __init__(self, grid: Grid, spotlight: Spotlight) -> None:
        self.spotlight, self.rect = spotlight, Rect(grid, spotlight)
        # Equal for two, in frames one after the other, that look the same.
        self.look = *self.rect.box, float(spotlight.share), id(spotlight.picture)

    def draw(self, planes: AnyPlanes, convert: Callable[[U8], NDArray[Any]]) -> None:
        """Draw it over planes of whole cells. `convert` makes Y'CbCr of BGR, (h, w, 3)."""
        left, top, width, height = self.rect.box
        picture, share = self.spotlight.picture, float(self.spotlight.share)
        smaller = picture.shape[0] >= height and picture.shape[1] >= width
        mode = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        ycbcr = convert(np.asarray(cv2.resize(picture, (width, height), interpolation=mode)))
        y, u, v = cv2.split(ycbcr)
        for plane, photo, by in zip(planes, (y, halved(u), halved(v)), (1, 2, 2), strict=True):
            part = plane[top // by : (top + height) // by, left // by : (left + width) // by]
            part[:] = photo if share >= 1 else cv2.addWeighted(photo, share, part, 1 - share, 0)


class Spotlights:
    """Those of a stream's last frame."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._shown: list[Drawn] = []

    def update(self, spotlights: Sequence[Spotlight], outdated: Bools) -> list[Drawn]:
        """Those of a frame that have to be drawn, in their order: over cells that are composed.

        `outdated`, bool (cells,), are these cells. Added are those of spotlights that have changed,
        and all cells of a spotlight of which one is composed.
        """
        if not spotlights and not self._shown:
            return []
        before = self._shown
        self._shown = now = [Drawn(self._grid, it) for it in spotlights]
        cells = outdated.reshape(self._grid.rows, self._grid.columns)
        for some, others in ((before, now), (now, before)):
            looks = {it.look for it in others}
            for it in some:
                if it.look not in looks:
                    cells[it.rect.cells(self._grid)] = True
        places = [it.rect.cells(self._grid) for it in now]
        drawn = [False] * len(now)
        spreads = True
        while spreads:  # over those that lie over each other
            spreads = False
            for number, place in enumerate(places):
                if not drawn[number] and cells[place].any():
                    cells[place] = True
                    drawn[number] = spreads = True
        return [it for it, is_drawn in zip(now, drawn, strict=True) if is_drawn]
