"""The grid: how big the output is and how it is cut into cells."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError, UsageError
from ..media.frame import even
from .settings import (
    DEFAULT_LONG_SIDE,
    DEFAULT_TILE_PX,
    MAX_TILE_PX,
    MIN_TILE_PX,
    SCREEN_SIZE,
    SCREEN_TILE_PX,
)

__all__ = ["ANALYSIS_PX", "Grid", "plan_grid"]

# Every cell is analysed at 8x8 pixels, whatever its size in the input and the output. For the
# reference profile (cells of 32 output pixels, scale 4) this is the input itself. For larger cells
# it costs less and averages camera noise away before the activity threshold sees it.
ANALYSIS_PX = 8

_MAX_LONG_SIDE = 3840  # of a default size: what common H.264 players decode
# 16-bit limits of OpenCV's resize and of most encoders.
_MAX_SIDE = 32766
# Each takes 1.3 kB while it is matched: so many, and 20,000x13,334 pixels, stay below 2 GB.
_MAX_CELLS = 900_000


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of square cells that covers the output; the last row and column may stick out.

    Attributes
    ----------
    rows, columns : cells
    tile_px : side of a cell in output pixels, even (chroma planes have half the resolution)
    width, height : of the output in pixels, even; tiles that stick out are cut
    """

    rows: int
    columns: int
    tile_px: int
    width: int
    height: int

    @property
    def cells(self) -> int:
        """Number of cells, numbered row by row."""
        return self.rows * self.columns

    @property
    def canvas_width(self) -> int:
        """Width of all columns together in pixels, at least `width`."""
        return self.columns * self.tile_px

    @property
    def canvas_height(self) -> int:
        """Height of all rows together in pixels, at least `height`."""
        return self.rows * self.tile_px


def plan_grid(
    source_width: int,
    source_height: int,
    *,
    tile_px: int | None = None,
    columns: int | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    round_up: bool = False,
    for_screen: bool = False,
) -> Grid:
    """Choose the output's size and its grid.

    Parameters
    ----------
    source_width, source_height : of the input in pixels
    tile_px : side of a tile in output pixels, even; 32 by default
    columns : cells across instead of `tile_px`; the output's width follows if it is not given. With
        `tile_px`, and neither `scale` nor `size`, both together are the width
    scale : output size relative to the input
    size : exact output size in pixels, even, instead of `scale`
    round_up : grow the output to whole tiles and stretch the picture to it by less than a tile, as
        the reference does, instead of cutting the tiles at the edge
    for_screen : choose missing values for a screen: the largest size that fits 1280x720, tiles of
        16 pixels

    Raises
    ------
    UsageError : the values make no grid
    """
    if scale is not None and size is not None:
        raise UsageError("scale and size exclude each other; use one of them")
    if tile_px is not None and columns is not None:
        if scale is not None or size is not None:
            raise UsageError(
                "tile size, columns and output size exclude each other; use two of them"
            )
        if columns < 1:
            raise OptionError("columns", columns, "must be at least 1")
        scale, columns = columns * tile_px / source_width, None
    if size is not None:
        width, height = size
        if width % 2 or height % 2:
            raise OptionError("size", size, "both sides must be even (4:2:0 video)")
    else:
        if scale is None and for_screen:
            scale = min(SCREEN_SIZE[0] / source_width, SCREEN_SIZE[1] / source_height)
        elif scale is None:
            long_side = max(source_width, source_height)
            scale = min(max(DEFAULT_LONG_SIDE, long_side), _MAX_LONG_SIDE) / long_side
        if not scale > 0:
            raise OptionError("scale", scale, "must be above 0")
        width, height = even(source_width * scale), even(source_height * scale)
    if columns is not None:
        if not 1 <= columns <= width // MIN_TILE_PX:
            most = width // MIN_TILE_PX
            raise OptionError(
                "columns", columns, f"must be from 1 to {most} for an output {width} pixels wide"
            )
        tile_px = min(even(width / columns), MAX_TILE_PX)
        if size is None:
            height = even(height * columns * tile_px / width)
            width = columns * tile_px
    if tile_px is None:
        tile_px = SCREEN_TILE_PX if for_screen else DEFAULT_TILE_PX
    if tile_px % 2 or not MIN_TILE_PX <= tile_px <= MAX_TILE_PX:
        problem = f"must be an even number from {MIN_TILE_PX} to {MAX_TILE_PX}"
        raise OptionError("tile_px", tile_px, problem)
    rows, columns = -(-height // tile_px), -(-width // tile_px)
    if round_up:
        width, height = columns * tile_px, rows * tile_px
    if max(width, height) > _MAX_SIDE or min(width, height) < 2:
        raise UsageError(
            f"an output of {width}x{height} pixels cannot be made: sides must be 2 to {_MAX_SIDE}; "
            "choose another scale or size"
        )
    if rows * columns > _MAX_CELLS:
        raise UsageError(
            f"{columns}x{rows} tiles of {tile_px} pixels are too many: at most {_MAX_CELLS:,} can "
            "be; choose larger tiles, or a smaller scale or size"
        )
    return Grid(rows, columns, tile_px, width, height)
