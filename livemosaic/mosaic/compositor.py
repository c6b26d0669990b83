"""Composing the output picture: tiles in their cells, the original superimposed.

Every plane is computed as

    out = (1 - alpha) * (gain * tile + offset) + alpha * enlarged original

where gain and offset tint the tile (they are 1 and 0 without a tint), and only in the cells that
changed. The original is scaled before it is enlarged, where it has few samples. Tiles that are not
tinted are scaled when they are prepared, so that the kernel only adds.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.frame import Frame
from .blend import PlaneTint, Rows, copy_plane, paint_plane, widen_rows
from .grid import Grid
from .tile_cache import TileCache
from .tint import plane_tints

__all__ = ["Compositor", "tile_overlay"]

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]


# Canvases that are kept: so many more than were held at once within so many of the last frames.
_SPARE, _REMEMBERED = 2, 100


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
    overlay or tint needs no other tiles (16 us each, and there may be thousands)."""
    return (0.0, 0.0) if tint > 0 else overlay


class Compositor:
    """Per-stream canvases; composes what changed and copies as little as can be.

    A picture that was handed out is never written while somebody holds it: its canvas comes back
    to the pool when the last view of its planes is gone. When the newest picture has come back, it
    is painted on in place. When it is still held (an encoder works on it), another canvas is
    taken, and the cells that it missed are copied from the newest. Canvases that have not been
    needed for a while are let go.

    Parameters
    ----------
    grid : the cells
    tiles : prepared for `tile_overlay(overlay, tint)`
    overlay : alpha of the original's luma and of its chroma
    tint : 0..1
    """

    def __init__(
        self, grid: Grid, tiles: TileCache, *, overlay: tuple[float, float], tint: float = 0.0
    ) -> None:
        self._grid, self._tiles, self._tint = grid, tiles, tint
        self._overlays = (overlay[0], overlay[1], overlay[1])
        self._number = -1
        self._changed = np.zeros(grid.cells, np.int64)  # number of the frame that changed a cell
        self._pool: list[_Canvas] = []
        self._made = 0  # canvases that there are, in the pool and lent
        self._held: deque[int] = deque(maxlen=_REMEMBERED)  # how many were lent, frame by frame
        self._newest: _Canvas | None = None
        self._lent: weakref.ref[U8] | None = None  # the newest's array while somebody holds it
        self._rows: dict[tuple[int, int, int], Rows] = {}

    def prepare(self, ids: I32) -> None:
        """Prepare tiles now that would be when they are first painted."""
        self._tiles.prepare(ids)

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
        y, u, v : uint8 planes of the output's size, read-only, never written again while they are
            held
        """
        self._let_go()
        lent = self._lent() if self._lent is not None else None
        if lent is not None and len(cells) == 0:
            return self._cropped(_planes(lent, self._grid))
        canvas = max(self._pool, key=lambda c: c.painted, default=None)
        if canvas is None:
            canvas = _Canvas(self._grid)
            self._made += 1
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
        tints: Sequence[PlaneTint | None] = [None] * 3
        if means is not None:
            tints = plane_tints(
                self._tiles.means[ids],
                self._tiles.deviations[ids],
                means,
                tint=self._tint,
                overlays=self._overlays,
                full_range=frame.colour.full_range,
            )
        for tiles, source, overlay, tint, out in zip(
            (self._tiles.y, self._tiles.u, self._tiles.v),
            (frame.y, frame.u, frame.v),
            self._overlays,
            tints,
            planes,
            strict=True,
        ):
            wide, rows = self._enlarge(source, overlay, out)
            paint_plane(tiles, cells, ids, flips, tint, wide, rows, out)
        canvas.painted = self._number
        self._newest, self._lent = canvas, weakref.ref(flat)
        # Every view of the planes keeps `flat` alive as its base.
        weakref.finalize(flat, self._pool.append, canvas).atexit = False
        # What somebody draws on a picture would stay in the next ones.
        flat.flags.writeable = False
        return self._cropped(_planes(flat, self._grid))

    def _let_go(self) -> None:
        """Let go of canvases that have not been needed for a while, those painted longest ago.

        The newest is never among them, as more than one is spare.
        """
        self._held.append(self._made - len(self._pool))
        while self._made > max(self._held) + _SPARE:
            self._pool.remove(min(self._pool, key=lambda c: c.painted))
            self._made -= 1

    def _cropped(self, planes: tuple[U8, U8, U8]) -> tuple[U8, U8, U8]:
        grid = self._grid
        if (grid.canvas_width, grid.canvas_height) == (grid.width, grid.height):
            return planes
        y, u, v = planes
        half = (slice(grid.height // 2), slice(grid.width // 2))
        return y[: grid.height, : grid.width], u[half], v[half]

    def _enlarge(self, source: U8, overlay: float, out: U8) -> tuple[U8, Rows]:
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
            widened = widen_rows(np.asarray(scaled, np.uint8), width)
            wide = (
                cv2.resize(scaled, size, interpolation=cv2.INTER_LINEAR)
                if widened is None
                else widened
            )
        # The kernel reads two rows, and the columns of tiles that stick out.
        below, right = int(wide.shape[0] < 2), canvas_width - width
        if below or right:
            wide = cv2.copyMakeBorder(wide, 0, below, 0, right, cv2.BORDER_REPLICATE)
        key = (size[1], height, canvas_height)
        if key not in self._rows:
            self._rows[key] = Rows(*key)
        return np.asarray(wide, np.uint8), self._rows[key]
