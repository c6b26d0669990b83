"""Painting cells of one plane of the output: the kernels.

    out = tile + enlarged original

The tile is scaled by 1 - alpha: when it was prepared, or here if it is tinted. The original is
scaled by alpha before. Its rows are enlarged as a whole (`widen_rows`), its columns only in the
cells that are painted.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..jit import kernel

__all__ = ["WEIGHT_ONE", "PlaneTint", "Rows", "copy_plane", "paint_plane", "widen_rows"]

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

# Interpolation weights and gains are in 1/256: with 8-bit samples a 16-bit lane just holds the sum.
_WEIGHT_BITS = 8
WEIGHT_ONE = 1 << _WEIGHT_BITS

# Whole factors of enlargement that have a kernel of their own; each is compiled when first used.
_MAX_FACTOR = 8

# Tiles are tinted a few at a time, so that they are still in the processor's cache when painted.
_TINTED_BYTES = 2**17


class PlaneTint(NamedTuple):
    """How the tiles of some cells are tinted and scaled in one plane: tile * gain / 256 + offset.

    gain, offset : uint16 and int16 (n,)
    top : the result is clipped to 0..top, so that adding the original cannot overflow
    """

    gain: NDArray[np.uint16]
    offset: NDArray[np.int16]
    top: int


class Rows:
    """Bilinear enlargement along a column: which row is above each output line, and how the two
    rows are mixed (`weight` in 1/256 for the lower one). Sample centres are aligned."""

    __slots__ = ("above", "weight")

    def __init__(self, source: int, picture: int, canvas: int) -> None:
        """`source` rows become `picture` lines; lines up to `canvas` repeat the last."""
        centre = (np.arange(canvas) + 0.5) * source / picture - 0.5
        centre = np.clip(centre, 0, source - 1)
        above = np.minimum(centre.astype(np.int32), max(source - 2, 0)).astype(np.int32)
        self.above = above
        self.weight = np.round((centre - above) * WEIGHT_ONE).astype(np.uint16)


def paint_plane(
    tiles: U8,
    cells: I32,
    ids: I32,
    flips: NDArray[np.bool_],
    tint: PlaneTint | None,
    wide: U8,
    rows: Rows,
    out: U8,
) -> None:
    """Paint some cells of one plane.

    Parameters
    ----------
    tiles : uint8 (n, px, px); without a tint scaled by 1 - alpha and rounded down
    cells : int32 (m,), row-major numbers of the cells
    ids, flips : int32 and bool (m,), which tile is in the cell, and whether it is mirrored
    tint : of these cells, None for none
    wide : uint8 (h, columns * px), the original scaled by alpha, enlarged horizontally
    rows : how to enlarge `wide` vertically
    out : uint8 (rows * px, columns * px)
    """
    px = tiles.shape[1]
    if tint is None:
        _paint(tiles, cells, ids, flips, wide, rows, out)
        return
    most = max(1, _TINTED_BYTES // (px * px))
    tinted = np.empty((min(most, len(cells)), px, px), np.uint8)
    numbers = np.arange(len(tinted), dtype=np.int32)
    for start in range(0, len(cells), most):
        part = slice(start, start + most)
        n = len(cells[part])
        gain, offset, top = tint.gain[part], tint.offset[part], tint.top
        _tint(
            tiles.reshape(len(tiles), -1), ids[part], gain, offset, top, tinted.reshape(-1, px * px)
        )
        _paint(tinted, cells[part], numbers[:n], flips[part], wide, rows, out)


@kernel
def _tint(
    tiles: U8,
    ids: I32,
    gain: NDArray[np.uint16],
    offset: NDArray[np.int16],
    top: int,
    tinted: U8,
) -> None:
    """Tint whole tiles, uint8 (n, px * px): the lines of most are too short to be vectorised."""
    bits, half = np.uint16(_WEIGHT_BITS), np.uint16(WEIGHT_ONE // 2)
    most, least = np.int16(top), np.int16(0)
    for i in range(np.uintp(ids.shape[0])):
        tile, times, plus = np.uintp(ids[i]), gain[i], offset[i]
        for p in range(np.uintp(tiles.shape[1])):
            scaled = np.uint16(np.uint16(tiles[tile, p]) * times + half) >> bits
            moved = np.int16(np.int16(scaled) + plus)
            tinted[i, p] = np.uint8(min(max(moved, least), most))


def _paint(
    tiles: U8,
    cells: I32,
    ids: I32,
    flips: NDArray[np.bool_],
    wide: U8,
    rows: Rows,
    out: U8,
) -> None:
    """Paint tiles as they are; see `paint_plane`."""
    px = tiles.shape[1]
    if px % 8 == 0 and px < 32:
        _paint_words(px)(
            tiles.view(np.uint64),
            cells,
            ids,
            flips,
            wide.view(np.uint64),
            rows.above,
            rows.weight,
            out.view(np.uint64),
        )
    else:
        _paint_bytes(px)(tiles, cells, ids, flips, wide, rows.above, rows.weight, out)


@cache
def _paint_bytes(tile_px: int) -> Any:
    """The kernel for any tile size; its loops are vectorised from 32 samples on."""
    px = np.uintp(tile_px)

    @kernel
    def paint_bytes(
        tiles: U8,
        cells: I32,
        ids: I32,
        flips: NDArray[np.bool_],
        wide: U8,
        above: I32,
        weight: NDArray[np.uint16],
        out: U8,
    ) -> None:
        columns = np.uintp(out.shape[1]) // px
        one, bits, last = np.uint16(WEIGHT_ONE), np.uint16(_WEIGHT_BITS), px - np.uintp(1)
        half = np.uint16(WEIGHT_ONE // 2)
        for i in range(np.uintp(cells.shape[0])):
            row = np.uintp(cells[i]) // columns
            left, tile = (np.uintp(cells[i]) - row * columns) * px, np.uintp(ids[i])
            flip = flips[i]
            for y in range(px):
                line = row * px + y
                upper = np.uintp(above[line])
                lower = upper + np.uintp(1)
                w1 = np.uint16(weight[line])
                w0 = np.uint16(one - w1)
                if flip:
                    for x in range(px):
                        mixed = np.uint16(
                            np.uint16(wide[upper, left + x]) * w0
                            + np.uint16(wide[lower, left + x]) * w1
                            + half
                        )
                        out[line, left + x] = np.uint8(
                            np.uint16(tiles[tile, y, last - x]) + np.uint16(mixed >> bits)
                        )
                else:
                    for x in range(px):
                        mixed = np.uint16(
                            np.uint16(wide[upper, left + x]) * w0
                            + np.uint16(wide[lower, left + x]) * w1
                            + half
                        )
                        out[line, left + x] = np.uint8(
                            np.uint16(tiles[tile, y, x]) + np.uint16(mixed >> bits)
                        )

    return paint_bytes


@cache
def _paint_words(tile_px: int) -> Any:
    """The kernel for small tiles of a multiple of 8: eight samples at a time in a 64-bit word.

    A loop over 16 samples is not vectorised (5.0 ms for the chroma of 5120x2880 against 2.0 ms).
    """
    height, words = np.uintp(tile_px), np.uintp(tile_px // 8)

    @kernel
    def paint_words(
        tiles: NDArray[np.uint64],
        cells: I32,
        ids: I32,
        flips: NDArray[np.bool_],
        wide: NDArray[np.uint64],
        above: I32,
        weight: NDArray[np.uint16],
        out: NDArray[np.uint64],
    ) -> None:
        columns = np.uintp(out.shape[1]) // words
        even, pairs = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
        one, bits, last = np.uint64(WEIGHT_ONE), np.uint64(_WEIGHT_BITS), words - np.uintp(1)
        half = np.uint64(0x0001000100010001 * (WEIGHT_ONE // 2))
        s8, s16, s32 = np.uint64(8), np.uint64(16), np.uint64(32)
        for i in range(np.uintp(cells.shape[0])):
            row = np.uintp(cells[i]) // columns
            left, tile = (np.uintp(cells[i]) - row * columns) * words, np.uintp(ids[i])
            flip = flips[i]
            for y in range(height):
                line = row * height + y
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

    return paint_words


def copy_plane(cells: I32, px: int, old: U8, out: U8) -> None:
    """Copy some cells of a plane, uint8 (rows * px, columns * px), from `old` to `out`."""
    if px % 8 == 0:
        _copy_kernel(px // 8, px)(cells, old.view(np.uint64), out.view(np.uint64))
    else:
        _copy_kernel(px, px)(cells, old, out)


@cache
def _copy_kernel(width: int, height: int) -> Any:
    """Copies of `width` items and `height` lines; constant, so that a line is one instruction."""
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


def widen_rows(plane: U8, width: int) -> U8 | None:
    """Enlarge the rows of a plane, uint8 (h, w), bilinearly to `width`: uint8 (h, width).

    0.5 ms where `cv2.resize` takes 2.5 ms. None if there is no kernel for the factor.
    """
    factor, rest = divmod(width, plane.shape[1])
    if rest or not 1 < factor <= _MAX_FACTOR:
        return None
    wide = np.empty((plane.shape[0], width), np.uint8)
    _widen_kernel(factor)(plane, wide)
    return wide


@cache
def _widen_kernel(factor: int) -> Any:
    """Enlargement by a whole number.

    Around a sample there are `factor` new ones, each a mixture of it and a neighbour; with constant
    weights LLVM turns the inner loop into a few shuffles for many samples at once.
    """
    offsets = (np.arange(factor) + 0.5) / factor - 0.5
    before = np.round(np.maximum(-offsets, 0.0) * WEIGHT_ONE).astype(np.uint16)
    after = np.round(np.maximum(offsets, 0.0) * WEIGHT_ONE).astype(np.uint16)
    own = (WEIGHT_ONE - before - after).astype(np.uint16)
    step = np.uintp(factor)

    @kernel
    def widen(plane: U8, out: U8) -> None:
        n = np.uintp(plane.shape[1])
        padded = np.empty(n + np.uintp(2), np.uint8)
        half, bits = np.uint16(WEIGHT_ONE // 2), np.uint16(_WEIGHT_BITS)
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
                    mixed = np.uint16(
                        np.uint16(a * before[k])
                        + np.uint16(b * own[k])
                        + np.uint16(c * after[k])
                        + half
                    )
                    out[y, step * x + k] = np.uint8(mixed >> bits)

    return widen
