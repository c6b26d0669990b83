"""Composing the output picture: tiles in their cells, the original superimposed.

Every plane is computed as

    out = (1 - alpha) * (gain * tile + offset) + alpha * enlarged original

where gain and offset tint the tile (they are 1 and 0 without a tint), and only in the cells that
changed. The original is scaled before it is enlarged, where it has few samples. Tiles that are not
tinted are scaled when they are prepared, so that the kernel only adds.
"""

from __future__ import annotations

import weakref
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .colour import Colour
from .frame import Frame
from .grid import Grid
from .kernels import kernel
from .tiles import TileStore

__all__ = ["Composer", "tile_overlay"]

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

# Interpolation weights are in 1/256: with 8-bit samples a 16-bit lane just holds the sum.
_WEIGHT_BITS = 8
_ONE = 1 << _WEIGHT_BITS

# Whole factors of enlargement that have a kernel of their own; each is compiled when first used.
_MAX_FACTOR = 8

# A tile's luma lies within so many standard deviations of its mean, for the most part; and its
# contrast is never lowered below this share.
_SPREAD, _LEAST_GAIN = 2.0, 0.3


@cache
def _compose_bytes(tile_px: int) -> Any:
    """The kernel for any tile size; its loops are vectorised from 32 samples on."""
    px = np.uintp(tile_px)

    @kernel
    def compose_bytes(
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
        one, bits, last = np.uint16(_ONE), np.uint16(_WEIGHT_BITS), px - np.uintp(1)
        half = np.uint16(_ONE // 2)
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

    return compose_bytes


@cache
def _compose_words(tile_px: int) -> Any:
    """The kernel for small tiles of a multiple of 8: eight samples at a time in a 64-bit word.

    A loop over 16 samples is not vectorised (5.0 ms for the chroma of 5120x2880 against 2.0 ms).
    """
    height, words = np.uintp(tile_px), np.uintp(tile_px // 8)

    @kernel
    def compose_words(
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
        one, bits, last = np.uint64(_ONE), np.uint64(_WEIGHT_BITS), words - np.uintp(1)
        half = np.uint64(0x0001000100010001 * (_ONE // 2))
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

    return compose_words


@cache
def _compose_tinted(tile_px: int) -> Any:
    """The kernel for tiles that are tinted."""
    px = np.uintp(tile_px)

    @kernel
    def compose_tinted(
        tiles: U8,
        cells: I32,
        ids: I32,
        flips: NDArray[np.bool_],
        gain: NDArray[np.uint16],
        offset: NDArray[np.int16],
        top: int,
        wide: U8,
        above: I32,
        weight: NDArray[np.uint16],
        out: U8,
    ) -> None:
        columns = np.uintp(out.shape[1]) // px
        one, bits, last = np.uint16(_ONE), np.uint16(_WEIGHT_BITS), px - np.uintp(1)
        half, most, least = np.uint16(_ONE // 2), np.int16(top), np.int16(0)
        tinted = np.empty(px, np.uint8)
        for i in range(np.uintp(cells.shape[0])):
            row = np.uintp(cells[i]) // columns
            left, tile = (np.uintp(cells[i]) - row * columns) * px, np.uintp(ids[i])
            flip, times, plus = flips[i], gain[i], offset[i]
            for y in range(px):
                line = row * px + y
                upper = np.uintp(above[line])
                lower = upper + np.uintp(1)
                w1 = np.uint16(weight[line])
                w0 = np.uint16(one - w1)
                for x in range(px):
                    scaled = np.uint16(np.uint16(tiles[tile, y, x]) * times + half) >> bits
                    moved = np.int16(np.int16(scaled) + plus)
                    tinted[x] = np.uint8(min(max(moved, least), most))
                if flip:
                    for x in range(px // np.uintp(2)):
                        tinted[x], tinted[last - x] = tinted[last - x], tinted[x]
                for x in range(px):
                    mixed = np.uint16(
                        np.uint16(wide[upper, left + x]) * w0
                        + np.uint16(wide[lower, left + x]) * w1
                        + half
                    )
                    out[line, left + x] = np.uint8(np.uint16(tinted[x]) + np.uint16(mixed >> bits))

    return compose_tinted


@cache
def _widen_kernel(factor: int) -> Any:
    """Bilinear enlargement of rows by a whole number, 0.5 ms where `cv2.resize` takes 2.5 ms.

    Around a sample there are `factor` new ones, each a mixture of it and a neighbour; with constant
    weights LLVM turns the inner loop into a few shuffles for many samples at once.
    """
    offsets = (np.arange(factor) + 0.5) / factor - 0.5
    before = np.round(np.maximum(-offsets, 0.0) * _ONE).astype(np.uint16)
    after = np.round(np.maximum(offsets, 0.0) * _ONE).astype(np.uint16)
    own = (_ONE - before - after).astype(np.uint16)
    step = np.uintp(factor)

    @kernel
    def widen(plane: U8, out: U8) -> None:
        n = np.uintp(plane.shape[1])
        padded = np.empty(n + np.uintp(2), np.uint8)
        half, bits = np.uint16(_ONE // 2), np.uint16(_WEIGHT_BITS)
        for y in range(np.uintp(plane.shape[0])):
            padded[np.uintp(1) : n + np.uintp(1)] = plane[y]
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


def copy_plane(cells: I32, px: int, old: U8, out: U8) -> None:
    """Copy some cells of a plane, uint8 (rows * px, columns * px), from `old` to `out`."""
    if px % 8 == 0:
        _copy_kernel(px // 8, px)(cells, old.view(np.uint64), out.view(np.uint64))
    else:
        _copy_kernel(px, px)(cells, old, out)


def compose_plane(
    tiles: U8,
    cells: I32,
    ids: I32,
    flips: NDArray[np.bool_],
    tint: _PlaneTint | None,
    wide: U8,
    rows: _Rows,
    out: U8,
) -> None:
    """Compose some cells of one plane.

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
    if tint is not None:
        _compose_tinted(px)(tiles, cells, ids, flips, *tint, wide, rows.above, rows.weight, out)
    elif px % 8 == 0 and px < 32:
        _compose_words(px)(
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
        _compose_bytes(px)(tiles, cells, ids, flips, wide, rows.above, rows.weight, out)


class _PlaneTint(NamedTuple):
    """How the tiles of some cells are tinted and scaled in one plane: tile * gain / 256 + offset.

    gain, offset : uint16 and int16 (n,)
    top : the result is clipped to 0..top, so that adding the original cannot overflow
    """

    gain: NDArray[np.uint16]
    offset: NDArray[np.int16]
    top: int


class _Rows:
    """Bilinear enlargement along a column: which row is above each output line, and how the two
    rows are mixed (`weight` in 1/256 for the lower one). Sample centres are aligned."""

    __slots__ = ("above", "weight")

    def __init__(self, source: int, picture: int, canvas: int) -> None:
        """`source` rows become `picture` lines; lines up to `canvas` repeat the last."""
        centre = (np.arange(canvas) + 0.5) * source / picture - 0.5
        centre = np.clip(centre, 0, source - 1)
        above = np.minimum(centre.astype(np.int32), max(source - 2, 0)).astype(np.int32)
        self.above = above
        self.weight = np.round((centre - above) * _ONE).astype(np.uint16)


class _Canvas:
    """A reusable picture buffer: three planes of whole cells in one I420 block of memory."""

    __slots__ = ("memory", "painted")

    def __init__(self, grid: Grid) -> None:
        self.memory = bytearray(grid.canvas_width * grid.canvas_height * 3 // 2)
        self.painted = -1  # number of the frame that it holds


def _planes(flat: U8, grid: Grid) -> tuple[U8, U8, U8]:
    """The planes of an I420 block of whole cells, as views."""
    width, height = grid.canvas_width, grid.canvas_height
    luma, chroma = width * height, width * height // 4
    half = (height // 2, width // 2)
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma :].reshape(half),
    )


def tile_overlay(overlay: tuple[float, float], tint: float) -> tuple[float, float]:
    """The overlay that tiles are prepared for: none where the tint scales them, so that another
    overlay or tint needs no other tiles (35 us each, and there may be thousands)."""
    return (0.0, 0.0) if tint > 0 else overlay


class Composer:
    """Per-stream canvases; composes what changed and copies as little as can be.

    A picture that was handed out is never written while somebody holds it: its canvas comes back
    to the pool when the last view of its planes is gone. When the newest picture has come back, it
    is painted on in place. When it is still held (an encoder works on it), another canvas is
    taken, and the cells that it missed are copied from the newest.

    Parameters
    ----------
    grid : the cells
    tiles : prepared for `tile_overlay(overlay, tint)`
    overlay : alpha of the original's luma and of its chroma
    tint : 0..1
    """

    def __init__(
        self, grid: Grid, tiles: TileStore, *, overlay: tuple[float, float], tint: float = 0.0
    ) -> None:
        self._grid, self._tiles, self._tint = grid, tiles, tint
        self._overlays = (overlay[0], overlay[1], overlay[1])
        self._number = -1
        self._changed = np.zeros(grid.cells, np.int64)  # number of the frame that changed a cell
        self._pool: list[_Canvas] = []
        self._newest: _Canvas | None = None
        self._lent: weakref.ref[U8] | None = None  # the newest's array while somebody holds it
        self._rows: dict[tuple[int, int, int], _Rows] = {}

    def compose(
        self,
        frame: Frame,
        cells: I32,
        ids: I32,
        flips: NDArray[np.bool_],
        means: NDArray[np.float32] | None = None,
    ) -> tuple[U8, U8, U8]:
        """Paint the cells that changed.

        Parameters
        ----------
        frame : the original
        cells : int32 (m,), ascending numbers of the cells to paint; all of them the first time
        ids, flips : int32 and bool (m,), their tiles, and which are mirrored
        means : float32 (m, 3), the mean Y'CbCr of each cell; needed for a tint only

        Returns
        -------
        y, u, v : uint8 planes of the output's size, never written again while they are held
        """
        lent = self._lent() if self._lent is not None else None
        if lent is not None and len(cells) == 0:
            return self._cropped(_planes(lent, self._grid))
        canvas = max(self._pool, key=lambda c: c.painted, default=None)
        if canvas is None:
            canvas = _Canvas(self._grid)
        else:
            self._pool.remove(canvas)
        flat = np.frombuffer(canvas.memory, np.uint8)
        planes = _planes(flat, self._grid)
        if self._newest is not None and self._newest is not canvas:
            # Not read from what was lent: another thread may let go of that at any moment, a little
            # before its canvas is back in the pool.
            newest = np.frombuffer(self._newest.memory, np.uint8)
            missed = np.flatnonzero(self._changed > canvas.painted).astype(np.int32)
            # What is painted in any case need not be copied.
            missed = np.setdiff1d(missed, cells, assume_unique=True)
            for old, out in zip(_planes(newest, self._grid), planes, strict=True):
                copy_plane(missed, out.shape[1] // self._grid.columns, old, out)
        self._number += 1
        self._changed[cells] = self._number
        ids = self._tiles.prepare(ids)
        tints = [None] * 3 if means is None else self._plane_tints(ids, means, frame.colour)
        for tiles, source, overlay, tint, out in zip(
            (self._tiles.y, self._tiles.u, self._tiles.v),
            (frame.y, frame.u, frame.v),
            self._overlays,
            tints,
            planes,
            strict=True,
        ):
            wide, rows = self._enlarge(source, overlay, out)
            compose_plane(tiles, cells, ids, flips, tint, wide, rows, out)
        canvas.painted = self._number
        self._newest, self._lent = canvas, weakref.ref(flat)
        # Every view of the planes keeps `flat` alive as its base.
        weakref.finalize(flat, self._pool.append, canvas).atexit = False
        return self._cropped(planes)

    def _cropped(self, planes: tuple[U8, U8, U8]) -> tuple[U8, U8, U8]:
        grid = self._grid
        if (grid.canvas_width, grid.canvas_height) == (grid.width, grid.height):
            return planes
        y, u, v = planes
        half = (slice(grid.height // 2), slice(grid.width // 2))
        return y[: grid.height, : grid.width], u[half], v[half]

    def _plane_tints(
        self, ids: I32, means: NDArray[np.float32], colour: Colour
    ) -> list[_PlaneTint | None]:
        """Gain and offset for each plane, so that tiles come as near to the cells' means as the
        tint says."""
        own = self._tiles.means[ids]
        wanted = own + self._tint * (means - own)
        low, high = (0, 255) if colour.full_range else (16, 235)
        # Contrast that would be clipped is given up instead; never all of it, or photos in the
        # darks could not be seen at all.
        room = np.minimum(wanted[:, 0] - low, high - wanted[:, 0])
        spread = np.maximum(_SPREAD * self._tiles.deviations[ids], 1e-3)
        gains = np.ones_like(wanted)
        gains[:, 0] = np.clip(room / spread, _LEAST_GAIN, 1.0)
        tints: list[_PlaneTint | None] = []
        for channel, overlay in enumerate(self._overlays):
            share = 1.0 - overlay
            gain = np.rint(share * gains[:, channel] * _ONE)
            offset = np.rint(share * wanted[:, channel] - gain / _ONE * own[:, channel])
            top = int(share * 255 + 1e-9)
            tints.append(_PlaneTint(gain.astype(np.uint16), offset.astype(np.int16), top))
        return tints

    def _enlarge(self, source: U8, overlay: float, out: U8) -> tuple[U8, _Rows]:
        """Scale a plane by alpha and to the canvas's width; its height is left to the kernel.

        Enlarging rows here and columns in the kernel costs half of enlarging all of it here, and
        the kernel does it for changed cells only.
        """
        canvas_height, canvas_width = out.shape
        grid = self._grid
        width = canvas_width * grid.width // grid.canvas_width
        height = canvas_height * grid.height // grid.canvas_height
        scaled = cv2.convertScaleAbs(source, alpha=overlay)
        if source.shape[0] > height or source.shape[1] > width:
            # Going down, every sample counts: INTER_LINEAR would skip some.
            size = (width, min(height, source.shape[0]))
            wide = cv2.resize(scaled, size, interpolation=cv2.INTER_AREA)
        else:
            size = (width, source.shape[0])
            factor, rest = divmod(width, source.shape[1])
            if rest == 0 and 1 < factor <= _MAX_FACTOR:
                wide = np.empty((source.shape[0], width), np.uint8)
                _widen_kernel(factor)(scaled, wide)
            else:
                wide = cv2.resize(scaled, size, interpolation=cv2.INTER_LINEAR)
        # The kernel reads two rows, and the columns of tiles that stick out.
        below, right = int(wide.shape[0] < 2), canvas_width - width
        if below or right:
            wide = cv2.copyMakeBorder(wide, 0, below, 0, right, cv2.BORDER_REPLICATE)
        key = (size[1], height, canvas_height)
        if key not in self._rows:
            self._rows[key] = _Rows(*key)
        return np.asarray(wide, np.uint8), self._rows[key]
