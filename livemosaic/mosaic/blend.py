"""The compositor's kernels, which blend tiles and the original in one plane of the output.

    out = tile + enlarged original

The tile cache or the tint multiplies the tile by 1 - alpha; the original is multiplied by alpha.
`widen_rows` enlarges whole rows of the original; columns are enlarged only in composed cells.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..jit import I32, U8, U16, Bools, kernel, kernel_part
from .tint import PlaneTint, tint_tiles

U64 = NDArray[np.uint64]

# Weights are in 1/256: the sum of weighted 8-bit samples just fits into 16 bits.
_WEIGHT_BITS = 8
_WEIGHT_ONE = 1 << _WEIGHT_BITS

# Whole factors of enlargement that have a kernel of their own; each is compiled when first used.
_MAX_FACTOR = 8

# Tiles are tinted a few at a time, so that they are still in the processor's cache when blended.
_TINTED_BYTES = 2**17


class Rows:
    """Bilinear enlargement along a column, with aligned sample centres.

    `source` rows become `picture` lines; the lines up to `canvas` repeat the last. `above`, int32
    (canvas,), is the source row above each line; `weight`, uint16, of the row below it, in 1/256.
    """

    __slots__ = ("above", "weight")

    def __init__(self, source: int, picture: int, canvas: int) -> None:
        centre = (np.arange(canvas) + 0.5) * source / picture - 0.5
        centre = np.clip(centre, 0, source - 1)
        self.above = np.minimum(centre.astype(np.int32), max(source - 2, 0)).astype(np.int32)
        self.weight = np.round((centre - self.above) * _WEIGHT_ONE).astype(np.uint16)


def blend_plane(
    tiles: U8,
    cells: I32,
    ids: I32,
    flips: Bools,
    tint: PlaneTint | None,
    wide: U8,
    rows: Rows,
    out: U8,
) -> None:
    """Blend tiles and original in some cells of one plane.

    Parameters
    ----------
    tiles : uint8 (n, height, width); without a tint scaled by 1 - alpha and rounded down
    cells : int32 (m,), row-major numbers of the cells
    ids, flips : int32 and bool (m,), the tile of each cell, and whether it is mirrored
    tint : of these cells, None for none
    wide : uint8 (h, columns * width), the original scaled by alpha, its rows enlarged
    rows : how to enlarge the columns of `wide`
    out : uint8 (rows * height, columns * width)
    """
    height, width = tiles.shape[1:]
    if tint is None:
        _blend(tiles, cells, ids, flips, wide, rows, out)
        return
    count = max(1, min(_TINTED_BYTES // (width * height), len(cells)))
    tinted, numbers = np.empty((count, height, width), np.uint8), np.arange(count, dtype=np.int32)
    flat, flat_tinted = tiles.reshape(len(tiles), -1), tinted.reshape(count, -1)
    for start in range(0, len(cells), count):
        part = slice(start, start + count)
        tint_tiles(flat, ids[part], tint.gain[part], tint.offset[part], tint.top, flat_tinted)
        numbers = numbers[: len(cells) - start]
        _blend(tinted, cells[part], numbers, flips[part], wide, rows, out)


def _blend(tiles: U8, cells: I32, ids: I32, flips: Bools, wide: U8, rows: Rows, out: U8) -> None:
    """Blend tiles as they are; see `blend_plane`."""
    height, width = tiles.shape[1:]
    planes: tuple[NDArray[Any], ...] = (tiles, wide, out)
    if width % 8 == 0 and width < 32:
        blend = _blend_words(width, height)
        planes = tuple(plane.view(np.uint64) for plane in planes)
    else:
        blend = _blend_bytes(width, height)
    blend(planes[0], cells, ids, flips, planes[1], rows.above, rows.weight, planes[2])


@kernel_part
def _mix(upper: np.uint8, lower: np.uint8, weight: np.uint16) -> np.uint16:
    """A sample between two rows, `weight` in 1/256 below the upper one."""
    one, bits, half = np.uint16(_WEIGHT_ONE), np.uint16(_WEIGHT_BITS), np.uint16(_WEIGHT_ONE // 2)
    mixed = np.uint16(np.uint16(upper) * np.uint16(one - weight) + np.uint16(lower) * weight + half)
    return np.uint16(mixed >> bits)


@cache
def _blend_bytes(width: int, height: int) -> Any:
    """The kernel for any tile size; LLVM vectorises its loops from 32 samples on."""
    across, down = np.uintp(width), np.uintp(height)

    @kernel
    def blend_bytes(
        tiles: U8, cells: I32, ids: I32, flips: Bools, wide: U8, above: I32, weight: U16, out: U8
    ) -> None:
        columns, last = np.uintp(out.shape[1]) // across, across - np.uintp(1)
        for i in range(np.uintp(cells.shape[0])):
            row = np.uintp(cells[i]) // columns
            left, tile = (np.uintp(cells[i]) - row * columns) * across, np.uintp(ids[i])
            flip = flips[i]
            for y in range(down):
                line = row * down + y
                upper = np.uintp(above[line])
                lower, w = upper + np.uintp(1), np.uint16(weight[line])
                if flip:
                    for x in range(across):
                        mixed = _mix(wide[upper, left + x], wide[lower, left + x], w)
                        sample = np.uint16(tiles[tile, y, last - x])
                        out[line, left + x] = np.uint8(sample + mixed)
                else:
                    for x in range(across):
                        mixed = _mix(wide[upper, left + x], wide[lower, left + x], w)
                        sample = np.uint16(tiles[tile, y, x])
                        out[line, left + x] = np.uint8(sample + mixed)

    return blend_bytes


@cache
def _blend_words(width: int, height: int) -> Any:
    """The kernel for widths of 8, 16 and 24, whose loops are too short for vectors: eight samples
    at a time in a 64-bit word, 2.5 times as fast."""
    down, words = np.uintp(height), np.uintp(width // 8)

    @kernel
    def blend_words(
        tiles: U64, cells: I32, ids: I32, flips: Bools, wide: U64, above: I32, weight: U16, out: U64
    ) -> None:
        columns = np.uintp(out.shape[1]) // words
        even, pairs = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
        one, bits, last = np.uint64(_WEIGHT_ONE), np.uint64(_WEIGHT_BITS), words - np.uintp(1)
        half = np.uint64(0x0001000100010001 * (_WEIGHT_ONE // 2))
        s8, s16, s32 = np.uint64(8), np.uint64(16), np.uint64(32)
        for i in range(np.uintp(cells.shape[0])):
            row = np.uintp(cells[i]) // columns
            left, tile = (np.uintp(cells[i]) - row * columns) * words, np.uintp(ids[i])
            flip = flips[i]
            for y in range(down):
                line = row * down + y
                upper = np.uintp(above[line])
                lower = upper + np.uintp(1)
                w1 = np.uint64(weight[line])
                w0 = one - w1
                for x in range(words):
                    a, b = wide[upper, left + x], wide[lower, left + x]
                    low = (((a & even) * w0 + (b & even) * w1 + half) >> bits) & even
                    a, b = a >> s8, b >> s8
                    high = (((a & even) * w0 + (b & even) * w1 + half) >> bits) & even
                    if flip:
                        t = tiles[tile, y, last - x]
                        t = ((t >> s8) & even) | ((t & even) << s8)
                        t = ((t >> s16) & pairs) | ((t & pairs) << s16)
                        t = (t >> s32) | (t << s32)
                    else:
                        t = tiles[tile, y, x]
                    # No byte carries into the next: the two terms sum to at most 255.
                    out[line, left + x] = t + (low | (high << s8))

    return blend_words


def copy_plane(cells: I32, width: int, height: int, old: U8, out: U8) -> None:
    """Copy some cells of a plane, uint8 (rows * height, columns * width), from `old` to `out`."""
    if width % 8 == 0:
        _copy_kernel(width // 8, height)(cells, old.view(np.uint64), out.view(np.uint64))
    else:
        _copy_kernel(width, height)(cells, old, out)


@cache
def _copy_kernel(width: int, height: int) -> Any:
    """Copy `width` items and `height` lines; constants, so that a line is one instruction."""
    across, down = np.uintp(width), np.uintp(height)

    @kernel
    def copy_lines(cells: I32, old: NDArray[Any], out: NDArray[Any]) -> None:
        columns = np.uintp(out.shape[1]) // across
        for i in range(np.uintp(cells.shape[0])):
            row = np.uintp(cells[i]) // columns
            left = (np.uintp(cells[i]) - row * columns) * across
            for y in range(row * down, row * down + down):
                for x in range(across):
                    out[y, left + x] = old[y, left + x]

    return copy_lines


def widen_rows(plane: U8, width: int) -> U8:
    """Enlarge the rows of a plane, uint8 (h, w), bilinearly to `width`: uint8 (h, width).

    By a whole number five times as fast as OpenCV.
    """
    factor, remainder = divmod(width, plane.shape[1])
    if remainder or not 1 < factor <= _MAX_FACTOR:
        size = (width, plane.shape[0])
        return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    wide = np.empty((plane.shape[0], width), np.uint8)
    _widen_kernel(factor)(constant(plane), wide)
    return wide


def constant(plane: U8) -> U8:
    """A plane as kernels read it: of one type, read-only and without gaps, so that they are
    compiled once."""
    plane = np.ascontiguousarray(plane).view()
    plane.flags.writeable = False
    return plane


@cache
def _widen_kernel(factor: int) -> Any:
    """Enlarge by a whole number.

    Around a sample are `factor` new ones, each a mixture of it and a neighbour. With constant
    weights LLVM turns the inner loop into a few shuffles for many samples at once.
    """
    offsets = (np.arange(factor) + 0.5) / factor - 0.5
    before = np.round(np.maximum(-offsets, 0.0) * _WEIGHT_ONE).astype(np.uint16)
    after = np.round(np.maximum(offsets, 0.0) * _WEIGHT_ONE).astype(np.uint16)
    own = (_WEIGHT_ONE - before - after).astype(np.uint16)
    step = np.uintp(factor)

    @kernel
    def widen(plane: U8, out: U8) -> None:
        n = np.uintp(plane.shape[1])
        padded = np.empty(n + np.uintp(2), np.uint8)
        half, bits = np.uint16(_WEIGHT_ONE // 2), np.uint16(_WEIGHT_BITS)
        for y in range(np.uintp(plane.shape[0])):
            for x in range(n):  # not as a slice, which takes 2 s more to compile
                padded[x + np.uintp(1)] = plane[y, x]
            padded[np.uintp(0)] = padded[np.uintp(1)]
            padded[n + np.uintp(1)] = padded[n]
            for x in range(n):
                a = np.uint16(padded[x])
                b = np.uint16(padded[x + np.uintp(1)])
                c = np.uint16(padded[x + np.uintp(2)])
                for k in range(step):
                    beside = np.uint16(np.uint16(a * before[k]) + np.uint16(c * after[k]))
                    mixed = np.uint16(np.uint16(b * own[k]) + beside + half)
                    out[y, step * x + k] = np.uint8(mixed >> bits)

    return widen
