"""The compositor: tiles in their cells, the original over them.

Every plane is

    out = (1 - alpha) * (gain * tile + offset) + alpha * enlarged original

in the cells that changed. Gain and offset are the tint (1 and 0 without one). The original is
scaled before it is enlarged, where it has few samples. The tile cache scales tiles that are not
tinted, so that the kernel only adds.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from ..jit import F32, I32, U8, Bools
from ..media.colour import bgr_to_ycbcr
from ..media.frame import Frame
from .area import Area, mix_plane
from .blend import Rows, blend_plane, copy_plane, widen_rows
from .grid import Grid
from .spotlight import Drawn
from .tile_cache import TileCache
from .tint import PlaneTint, plane_tints

# The pool keeps so many more canvases than were lent at once within so many of the last frames.
_SPARE, _REMEMBERED = 2, 100


class Part(NamedTuple):
    """Cells of one size that are composed."""

    tiles: TileCache  # of that size
    cells: I32  # (m,), ascending numbers
    ids: I32  # (m,), their tiles
    flips: Bools  # (m,), which are mirrored
    means: F32 | None = None  # (m, 3), the mean Y'CbCr of each cell; None for no tint


class Canvas:
    """A reusable picture buffer: three planes of whole cells in one I420 block of memory."""

    __slots__ = ("memory", "number")

    def __init__(self, grid: Grid) -> None:
        self.memory = bytearray(grid.canvas_width * grid.canvas_height * 3 // 2)
        self.number = -1  # of the frame in it


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


def cached_overlay(overlay: tuple[float, float], tint: float) -> tuple[float, float]:
    """The overlay that the tile cache scales tiles for: none where the tint scales them, so that
    another overlay or tint needs no other tiles."""
    return (0.0, 0.0) if tint > 0 else overlay


class Compositor:
    """Per-stream canvases; composes what changed and copies as little as possible.

    A picture is never written while a view of its planes exists; then its canvas returns to the
    pool (a frame is a lease, see `Frame`). If the newest canvas has returned, the next frame is
    composed in place. If not (an encoder works on it), the compositor takes another canvas and
    copies the cells that it missed. Canvases that have not been needed for a while are freed.

    `grid` is that of the largest cells. Tiles are for `cached_overlay(overlay, tint)`; `overlay` is
    the alpha of the original's luma and of its chroma. `pool` has the canvases that no picture
    uses.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        overlay: tuple[float, float],
        tint: float = 0.0,
        pool: list[Canvas] | None = None,
    ) -> None:
        self._grid, self._tint = grid, tint
        self._overlays = (overlay[0], overlay[1], overlay[1])
        self._number = -1
        self._changed = np.zeros(grid.cells, np.int64)  # number of the frame that changed a cell
        self._pool = [] if pool is None else pool
        self._count = 0  # of canvases, in the pool and lent
        self._lent_counts: deque[int] = deque(maxlen=_REMEMBERED)  # in the last frames
        self._mixed_pool: deque[bytearray] = deque(maxlen=_SPARE)  # of canvases, see `_mixed`
        self._newest: Canvas | None = None
        self._picture: weakref.ref[U8] | None = None  # the newest's array, while it is lent
        self._rows: dict[tuple[int, int, int], Rows] = {}

    def compose(
        self,
        frame: Frame,
        cells: I32,
        parts: Sequence[Part],
        *,
        area: Area | None = None,
        spotlights: Sequence[Drawn] = (),
    ) -> tuple[U8, U8, U8]:
        """Compose the cells that changed; return uint8 planes (y, u, v) of the output's size, which
        are read-only and never written again while they exist.

        Parameters
        ----------
        cells : int32 (m,), ascending numbers of the largest cells; all of them the first time
        parts : these cells, or the finer ones that show them
        area : where the mosaic is seen; None for everywhere
        spotlights : drawn over these cells
        """
        self._free_canvases()
        newest = self._picture() if self._picture is not None else None
        if newest is not None and len(cells) == 0:
            return self._cropped(newest, area)
        canvas = self._take_canvas()
        flat = np.frombuffer(canvas.memory, np.uint8)
        planes = _planes(flat, self._grid)
        if self._newest is not None and self._newest is not canvas:
            missed = np.flatnonzero(self._changed > canvas.number).astype(np.int32)
            missed = np.setdiff1d(missed, cells, assume_unique=True)  # the others are composed now
            # Not from `newest`: another thread may drop the picture at any moment, a little before
            # its canvas is back in the pool.
            before = _planes(np.frombuffer(self._newest.memory, np.uint8), self._grid)
            for old, out in zip(before, planes, strict=True):
                height, width = out.shape[0] // self._grid.rows, out.shape[1] // self._grid.columns
                copy_plane(missed, width, height, old, out)
        self._number = canvas.number = self._number + 1
        self._changed[cells] = self._number
        self._blend(frame, parts, planes)
        for it in spotlights:
            it.draw(planes, partial(bgr_to_ycbcr, colour=frame.colour))
        self._newest, self._picture = canvas, weakref.ref(flat)
        # Every view of the planes keeps `flat` alive as its base.
        weakref.finalize(flat, self._pool.append, canvas).atexit = False
        # A caller who drew on a picture would draw on the next ones, too.
        flat.flags.writeable = False
        return self._cropped(flat, area)

    def _blend(
        self,
        frame: Frame,
        parts: Sequence[Part],
        planes: tuple[U8, U8, U8],
    ) -> None:
        """Blend tiles and original in each plane."""
        originals = zip((frame.y, frame.u, frame.v), self._overlays, planes, strict=True)
        wide = [self._widened(*original) for original in originals]
        for tiles, cells, ids, flips, means in parts:
            slots = tiles.slots(ids)
            tints: Sequence[PlaneTint | None] = [None] * 3
            if means is not None:
                tints = plane_tints(
                    tiles.means[slots],
                    tiles.deviations[slots],
                    means,
                    tint=self._tint,
                    overlays=self._overlays,
                    full_range=frame.colour.full_range,
                )
            cached = (tiles.y, tiles.u, tiles.v)
            for of_tiles, tint, (original, rows), out in zip(
                cached, tints, wide, planes, strict=True
            ):
                blend_plane(of_tiles, cells, slots, flips, tint, original, rows, out)

    def _take_canvas(self) -> Canvas:
        """The newest canvas of the pool, or another one."""
        canvas = max(self._pool, key=lambda c: c.number, default=None)
        if canvas is None:
            self._count += 1
            return Canvas(self._grid)
        self._pool.remove(canvas)
        return canvas

    def _free_canvases(self) -> None:
        """Free the canvases that have not been needed for a while, the oldest first.

        The newest is never among them, as more than one is spare.
        """
        self._lent_counts.append(self._count - len(self._pool))
        while self._count > max(self._lent_counts) + _SPARE:
            self._pool.remove(min(self._pool, key=lambda c: c.number))
            self._count -= 1

    def _cropped(self, flat: U8, area: Area | None) -> tuple[U8, U8, U8]:
        """The planes of a picture in its area, without what sticks out of the output."""
        if area is not None:
            flat = self._mixed(flat, area)
        y, u, v = _planes(flat, self._grid)
        width, height = self._grid.width, self._grid.height
        half = np.s_[: height // 2, : width // 2]
        return y[:height, :width], u[half], v[half]

    def _mixed(self, flat: U8, area: Area) -> U8:
        """A picture with what is outside of its area."""
        memory = self._mixed_pool.pop() if self._mixed_pool else bytearray(flat.nbytes)
        mixed = np.frombuffer(memory, np.uint8)
        outside = (area.outside.y, area.outside.u, area.outside.v)
        planes = zip(_planes(flat, self._grid), outside, _planes(mixed, self._grid), strict=True)
        for mosaic, source, out in planes:
            mix_plane(mosaic, *self._wide(source, out), *self._wide(area.mask, out), out)
        weakref.finalize(mixed, self._mixed_pool.append, memory).atexit = False
        mixed.flags.writeable = False
        return mixed

    def _widened(self, source: U8, overlay: float, out: U8) -> tuple[U8, Rows]:
        """The original of a plane, scaled by alpha and as wide as `out`; and how to enlarge its
        columns.

        Enlarging rows here and columns in the kernel takes half the time of enlarging both here,
        and the kernel does it for changed cells only.
        """
        scaled = np.asarray(cv2.convertScaleAbs(source, alpha=overlay), np.uint8)
        wide, rows = self._wide(scaled, out)
        right = out.shape[1] - wide.shape[1]  # the kernel reads the columns of tiles that stick out
        if right:
            wide = np.asarray(cv2.copyMakeBorder(wide, 0, 0, 0, right, cv2.BORDER_REPLICATE))
        return wide, rows

    def _wide(self, source: U8, out: U8) -> tuple[U8, Rows]:
        """A source as wide as the part of `out` that is seen, itself if it is; and how to enlarge
        its columns."""
        canvas_height, canvas_width = out.shape
        grid = self._grid
        width = canvas_width * grid.width // grid.canvas_width
        height = canvas_height * grid.height // grid.canvas_height
        rows = min(height, source.shape[0])
        wide: U8 = source
        if source.shape[0] > height or source.shape[1] > width:
            # INTER_LINEAR would skip samples.
            wide = np.asarray(cv2.resize(source, (width, rows), interpolation=cv2.INTER_AREA))
        elif source.shape[1] < width:
            wide = widen_rows(source, width)
        if wide.shape[0] < 2:  # the kernel reads two rows
            wide = np.asarray(cv2.copyMakeBorder(wide, 0, 1, 0, 0, cv2.BORDER_REPLICATE))
        key = (rows, height, canvas_height)
        if key not in self._rows:
            self._rows[key] = Rows(*key)
        return wide, self._rows[key]
