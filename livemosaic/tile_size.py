"""The size of tiles: the side of square ones, or the width and the height of others."""

from __future__ import annotations

import math
from typing import Any

from .errors import OptionError
from .option import Kind, Size, read_size, read_whole, text_of

TileSize = int | Size

MAX_RATIO = 2  # of the longer side to the shorter one

EXAMPLE = "32 or 48x32"
_PATTERN = "^[0-9]+x[0-9]+$"


def _tile(value: Any) -> TileSize:
    """The size of tiles from 32, 48x32, or two numbers."""
    pair = "x" in value.lower() if isinstance(value, str) else hasattr(value, "__len__")
    return tile_size(*read_size(value)) if pair else read_whole(value)


def _even_tile(value: Any) -> TileSize:
    tile = _tile(value)
    if isinstance(tile, int) and tile % 2:
        raise ValueError
    return tile


TILE = Kind("a whole number", "PX|WxH", _tile, EXAMPLE, "integer", _PATTERN)
EVEN_TILE = Kind("an even number", "PX|WxH", _even_tile, EXAMPLE, "integer", _PATTERN)


def tile_size(width: int, height: int) -> TileSize:
    """The size of tiles by their sides."""
    return width if width == height else (width, height)


def sides(tile: TileSize) -> Size:
    """Width and height of tiles."""
    return (tile, tile) if isinstance(tile, int) else tile


def shape(tile: TileSize) -> Size:
    """The shape of tiles: the smallest whole numbers that are as width to height."""
    width, height = sides(tile)
    divisor = math.gcd(width, height)
    return width // divisor, height // divisor


def enlarged(tile: TileSize, times: int, high: int) -> TileSize:
    """Tiles of the same shape, so many times as large, if no side is above `high`; else square ones
    of `high`, and others as large as whole times allow."""
    if isinstance(tile, int):
        return min(times * tile, high)
    times = max(1, min(times, high // max(tile)))
    return times * tile[0], times * tile[1]


def checked(field: str, value: Any, *, low: int, high: int, step: int = 1) -> TileSize:
    """The size of tiles from a value that an option of `TILE` or `EVEN_TILE` takes.

    Raises
    ------
    OptionError : a side is not allowed, or the shape is not from 1:2 to 2:1
    """
    tile = _tile(value)
    if isinstance(tile, int):
        return tile
    closest = nearest(tile, low=low, high=high, step=step)
    if tile != closest:
        numbers = f"{'even' if step == 2 else 'whole'} numbers from {low} to {high}"
        shapes = f"from 1:{MAX_RATIO} to {MAX_RATIO}:1"
        raise OptionError(
            field,
            tile,
            f"the sides must be {numbers} and the shape {shapes}; the nearest is "
            f"{text_of(sides(closest))}",
        )
    return tile


def nearest(tile: TileSize, *, low: int, high: int, step: int) -> TileSize:
    """The allowed size that is nearest to another: sides are multiples of a step, from `low` to
    `high`, and the shape is from 1:2 to 2:1."""
    lowest, highest = -(-low // step) * step, high // step * step

    def allowed(side: float, most: int = highest) -> int:
        return min(max(round(side / step) * step, lowest), most)

    width, height = map(allowed, sides(tile))
    long, short = max(width, height), min(width, height)
    if long > MAX_RATIO * short:  # the nearest point of the line on which it is so long
        best = (MAX_RATIO * long + short) / (MAX_RATIO**2 + 1)
        short = allowed(best, highest // MAX_RATIO // step * step)
        long = MAX_RATIO * short
        return (long, short) if width > height else (short, long)
    return tile_size(width, height)
