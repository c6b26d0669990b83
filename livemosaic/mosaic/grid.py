"""The grid: the output's size, and its cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..argument import whole
from ..errors import OptionError, UsageError
from ..media.frame import even
from ..option import text_of
from ..tile_size import TileSize, sides, tile_size
from .settings import (
    DEFAULT_LONG_SIDE,
    DEFAULT_TILE_PX,
    MAX_SIDE,
    MAX_TILE_PX,
    MIN_TILE_PX,
    SCREEN_SIZE,
    SCREEN_TILE_PX,
    MosaicSettings,
    can_halve,
)

# The filter analyses every cell at 8x8 pixels, whatever its size in the input and the output. For
# the reference profile (cells of 32 output pixels, scale 4) this is the input itself. For larger
# cells it is faster, and averages camera noise away before the activity threshold.
ANALYSIS_PX = 8

_MAX_LONG_SIDE = 3840  # of a default size: what common H.264 players decode
# A cell takes 1.3 kB: so many, with 20,000x13,334 pixels, stay below 2 GB.
_MAX_CELLS = 900_000


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of cells that covers the output; the last row and column may stick out."""

    rows: int
    columns: int
    tile_width: int  # of a cell in output pixels, even: chroma has half the resolution
    tile_height: int  # likewise
    width: int  # of the output in pixels, even; tiles that stick out are cut
    height: int

    @property
    def tile_px(self) -> TileSize:
        """The size of the cells as in `MosaicSettings`: the side of square ones, or width and
        height."""
        return tile_size(self.tile_width, self.tile_height)

    @property
    def cells(self) -> int:
        """Number of cells, numbered row by row."""
        return self.rows * self.columns

    @property
    def canvas_width(self) -> int:
        """Width of all columns together in pixels, at least `width`."""
        return self.columns * self.tile_width

    @property
    def canvas_height(self) -> int:
        """Height of all rows together in pixels, at least `height`."""
        return self.rows * self.tile_height


def finer_grids(grid: Grid, settings: MosaicSettings) -> list[Grid]:
    """A grid, and with `fine` the one whose cells have half the sides; for a single picture also
    the one of a quarter. As far as tiles keep even sides and the cells are not too many."""
    found = [grid]
    times = 0 if settings.fine == "none" else 2 if settings.thorough else 1
    for _ in range(times):
        its = found[-1]
        if not can_halve(its.tile_px) or sum(it.cells for it in found) + 4 * its.cells > _MAX_CELLS:
            break
        half = (its.tile_width // 2, its.tile_height // 2)
        found.append(Grid(2 * its.rows, 2 * its.columns, *half, its.width, its.height))
    return found


def plan_grid(source_width: int, source_height: int, settings: MosaicSettings) -> Grid:
    """Choose the output's size and its grid, or raise `UsageError` if the settings make none."""
    source_width, source_height = whole("width", source_width, 1), whole("height", source_height, 1)
    tile_px, columns = settings.tile_px, settings.columns
    scale, size = settings.scale, settings.size
    if scale is not None and size is not None:
        raise UsageError("scale and size exclude each other; use one of them")
    if tile_px is not None and columns is not None:
        if scale is not None or size is not None:
            raise UsageError(
                "tile size, columns and output size exclude each other; use two of them"
            )
        scale, columns = columns * sides(tile_px)[0] / source_width, None
    if size is not None:
        width, height = size
    else:
        if scale is None and settings.for_screen:
            scale = min(SCREEN_SIZE[0] / source_width, SCREEN_SIZE[1] / source_height)
        elif scale is None:
            long_side = max(source_width, source_height)
            scale = min(max(DEFAULT_LONG_SIDE, long_side), _MAX_LONG_SIDE) / long_side
        width, height = even(source_width * scale), even(source_height * scale)
    if columns is not None:
        halves = 1 if settings.fine == "none" else 2  # the sides of fine cells are even, too
        max_columns = width // (halves * MIN_TILE_PX)
        if columns > max_columns:
            problem = f"must be from 1 to {max_columns} for an output {width} pixels wide"
            raise OptionError("columns", columns, problem)
        tile_px = side = min(halves * even(width / columns / halves), MAX_TILE_PX)
        if size is None:  # whole tiles across
            height = even(height * columns * side / width)
            width = columns * side
    if tile_px is None:
        tile_px = SCREEN_TILE_PX if settings.for_screen else DEFAULT_TILE_PX
    tile_width, tile_height = sides(tile_px)
    rows, columns = -(-height // tile_height), -(-width // tile_width)
    if settings.round_up:
        width, height = columns * tile_width, rows * tile_height
    of_columns = settings.columns is not None
    if max(width, height) > MAX_SIDE:
        by_tiles = of_columns and settings.tile_px is not None
        fix = "fewer columns or smaller tiles" if by_tiles else "another scale or size"
        raise UsageError(
            f"an output of {width}x{height} pixels is too large: sides have at most {MAX_SIDE}; "
            f"choose {fix}"
        )
    if rows * columns > _MAX_CELLS:
        fix = "fewer columns" if of_columns else "larger tiles, or a smaller scale or size"
        raise UsageError(
            f"{columns}x{rows} tiles of {text_of(tile_px)} pixels are too many: the limit is "
            f"{_MAX_CELLS:,}; choose {fix}"
        )
    return Grid(rows, columns, tile_width, tile_height, width, height)


def fixed_grid(
    settings: MosaicSettings,
    *,
    tile_px: TileSize | None = None,
    columns: int | None = None,
    fine: str | None = None,
) -> Grid:
    """The grid of these tiles, or of so many columns, for an output that keeps its size.

    `settings` are those of `MosaicSettings.for_grid`; `fine` is used instead of theirs.
    """
    assert settings.size is not None
    width, height = settings.size
    fine = fine or settings.fine
    return plan_grid(width, height, replace(settings, tile_px=tile_px, columns=columns, fine=fine))
