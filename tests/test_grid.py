"""The output's size and its cells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from livemosaic.errors import UsageError
from livemosaic.mosaic.grid import Grid, plan_grid
from livemosaic.mosaic.settings import MosaicSettings


def plan(width: int, height: int, **options: Any) -> Grid:
    return plan_grid(width, height, MosaicSettings(**options))


sides = st.integers(2, 4096)
tiles = st.integers(2, 256).map(lambda half: 2 * half)


def check(grid: Grid) -> None:
    """Every grid covers the output, by less than a tile too much."""
    assert grid.width % 2 == grid.height % 2 == grid.tile_width % 2 == 0
    assert grid.width >= 2
    assert grid.height >= 2
    assert grid.cells == grid.rows * grid.columns >= 1
    assert 0 <= grid.canvas_width - grid.width < grid.tile_width
    assert 0 <= grid.canvas_height - grid.height < grid.tile_height


@given(sides, sides)
def test_defaults(width: int, height: int) -> None:
    assume(max(width, height) <= 400 * min(width, height))
    grid = plan(width, height)
    check(grid)
    assert grid.tile_px == 32
    assert 2560 <= max(grid.width, grid.height) <= 3840
    assert grid.width / width == pytest.approx(grid.height / height, abs=2 / min(width, height))


@given(sides, sides, tiles, st.floats(0.1, 8), st.booleans())
def test_scale_keeps_the_aspect(
    width: int, height: int, tile_px: int, scale: float, round_up: bool
) -> None:
    assume(min(width, height) * scale >= 2)
    assume(max(width, height) * scale + tile_px <= 32766)
    assume(width * height * scale**2 < 800_000 * tile_px**2)
    grid = plan(width, height, tile_px=tile_px, scale=scale, round_up=round_up)
    check(grid)
    # Even sides are within one pixel; whole tiles within one cell.
    off = tile_px + 1 if round_up else 1
    assert abs(grid.width - width * scale) <= off
    assert abs(grid.height - height * scale) <= off
    if round_up:
        assert (grid.width, grid.height) == (grid.canvas_width, grid.canvas_height)


@given(sides, sides, st.integers(1, 500))
def test_columns(width: int, height: int, columns: int) -> None:
    assume(max(width, height) <= 4 * min(width, height))
    try:
        grid = plan(width, height, columns=columns)
    except UsageError as error:
        assert "columns" in str(error) or "output of" in str(error)  # noqa: PT017
        return
    check(grid)
    assert grid.columns == columns
    assert abs(grid.height - grid.width * height / width) <= grid.tile_height


@given(sides, sides, st.integers(1, 200), st.integers(2, 60).map(lambda half: 2 * half))
def test_tile_and_columns_are_a_size(width: int, height: int, columns: int, tile_px: int) -> None:
    assume(max(width, height) <= 4 * min(width, height))
    assume(columns * tile_px * height / width <= 32000)
    grid = plan(width, height, tile_px=tile_px, columns=columns)
    check(grid)
    assert (grid.tile_px, grid.columns, grid.width) == (tile_px, columns, columns * tile_px)
    assert abs(grid.height - grid.width * height / width) <= 1.01


def test_no_tile_is_no_default() -> None:
    with pytest.raises(UsageError, match="tile_px"):
        plan(640, 360, tile_px=0)


@given(st.integers(1, 2000), st.integers(1, 2000), tiles)
def test_exact_size(half_width: int, half_height: int, tile_px: int) -> None:
    size = (2 * half_width, 2 * half_height)
    grid = plan(640, 360, tile_px=tile_px, size=size)
    check(grid)
    assert (grid.width, grid.height) == size


def test_reference_profile() -> None:
    grid = plan(1280, 720, tile_px=32, scale=4, round_up=True)
    assert grid == Grid(90, 160, 32, 32, 5120, 2880)
    # 854 x 480 is not a whole number of cells: one column more, and the picture is stretched.
    grid = plan(854, 480, tile_px=32, scale=4, round_up=True)
    assert (grid.columns, grid.rows, grid.width, grid.height) == (107, 60, 3424, 1920)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tile_px": 33}, "tile_px 33"),
        ({"tile_px": 2}, "tile_px 2"),
        ({"tile_px": 514}, "tile_px 514"),
        ({"tile_px": 16, "columns": 10, "scale": 2}, "tile size, columns and output size"),
        ({"tile_px": 16, "columns": 10, "size": (640, 360)}, "tile size, columns and output size"),
        ({"tile_px": 16, "columns": 0}, "columns 0"),
        ({"tile_px": 15, "columns": 10}, "tile_px 15"),
        ({"tile_px": 4, "size": (8000, 8000)}, "2000x2000 tiles of 4 pixels"),
        ({"scale": 2, "size": (640, 360)}, "scale and size"),
        ({"size": (641, 360)}, "size.*641"),
        ({"size": (640, 361)}, "size.*361"),
        ({"size": (0, 0)}, "size"),
        ({"size": (-64, 64)}, "size.*-64"),
        ({"scale": 0}, "scale 0"),
        ({"scale": -1}, "scale -1"),
        ({"scale": float("nan")}, "scale nan"),
        ({"scale": 100}, "64000x36000"),
        ({"columns": 0}, "columns 0"),
        ({"columns": 10_000}, "columns 10000"),
    ],
)
def test_limits(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        plan(640, 360, **options)
