"""Activity: which cells changed, and therefore need another tile or another overlay."""

from __future__ import annotations

import numpy as np

from ..jit import U8, kernel, kernel_part
from .grid import ANALYSIS_PX, Grid

STILL, TOUCHED, ACTIVE = 0, 1, 2

# The overlaid original may differ from the input by this many levels of the output before its cell
# is composed again: hardly visible over a tile's texture, and more than camera noise does to
# averaged pixels. Without this second test a thin thing of low contrast would leave a ghost: its
# pixels return to their *accepted* value, but the cell shows others.
_MAX_STALE_LEVELS = 8.0

# The tests above overlook what is smaller than an analysis pixel, such as a dot in a large cell.
# In so many frames every row of cells is compared exactly once, and cells that differ at all are
# composed again. Of a still picture there are none; camera noise costs one cell in a hundred.
_REFRESH_FRAMES = 128


@kernel_part
def _far(a: U8, b: U8, limit: np.int32, out: U8) -> None:
    """Flag, uint8 (n,), the pixels of two BGR rows, uint8 (3 * n,), whose squared distance is
    above the limit."""
    for i in range(np.uintp(out.shape[0])):
        j = np.uintp(3) * i
        db = np.int32(a[j]) - np.int32(b[j])
        dg = np.int32(a[j + np.uintp(1)]) - np.int32(b[j + np.uintp(1)])
        dr = np.int32(a[j + np.uintp(2)]) - np.int32(b[j + np.uintp(2)])
        distance = np.int32(np.int32(db * db) + np.int32(dg * dg) + np.int32(dr * dr))
        out[i] = np.uint8(distance > limit)


@kernel_part
def _accept(a: U8, accepted: U8, far: U8) -> None:
    """Copy the flagged pixels; by bit operations, as LLVM does not vectorise a branch."""
    for i in range(np.uintp(far.shape[0])):
        j = np.uintp(3) * i
        mask = np.uint8(0) - far[i]
        for k in range(np.uintp(3)):
            old = accepted[j + k]
            accepted[j + k] = np.uint8(old ^ (np.uint8(old ^ a[j + k]) & mask))


# Where in a cell stale pixels are: bits of one byte per cell.
_ANYWHERE, _LEFT, _RIGHT, _TOP, _BOTTOM = 1, 2, 4, 8, 16


@kernel
def _compare(
    bgr: U8, accepted: U8, shown: U8, limit: np.int32, stale_limit: np.int32, active: U8, stale: U8
) -> None:
    """Compare a frame, uint8 (rows * 8, columns * 24), with the accepted and the shown pixels.

    The inner loops take whole rows of pixels: a cell's 8 pixels are too short for vectors. A cell's
    row of flags is one 64-bit word, so that this kernel only works for cells of 8x8.

    The numbers of active pixels go to `active`, uint8 (rows, columns); the places of stale pixels
    to `stale`, uint8 (rows + 2, columns + 2), inside its margin.
    """
    rows, columns = np.uintp(active.shape[0]), np.uintp(active.shape[1])
    far_flags = np.empty(columns * np.uintp(8), np.uint8)
    stale_flags = np.empty(columns * np.uintp(8), np.uint8)
    far_words, stale_words = far_flags.view(np.uint64), stale_flags.view(np.uint64)
    ones, top_byte, one = np.uint64(0x0101010101010101), np.uint64(56), np.uintp(1)
    low_byte, nothing = np.uint64(0xFF), np.uint64(0)
    for row in range(rows):
        for column in range(columns):
            active[row, column] = 0
            stale[row + one, column + one] = 0
        for y in range(np.uintp(8)):
            line = row * np.uintp(8) + y
            _far(bgr[line], accepted[line], limit, far_flags)
            _far(bgr[line], shown[line], stale_limit, stale_flags)
            where = _ANYWHERE
            if y == 0:
                where |= _TOP
            if y == 7:
                where |= _BOTTOM
            any_far = nothing
            for column in range(columns):
                # The product's top byte is the sum of the eight flags.
                word = far_words[column]
                any_far |= word
                active[row, column] += np.uint8((word * ones) >> top_byte)
                word = stale_words[column]
                if word != nothing:
                    found = where
                    if word & low_byte != nothing:
                        found |= _LEFT
                    if word >> top_byte != nothing:
                        found |= _RIGHT
                    stale[row + one, column + one] |= np.uint8(found)
            if any_far != nothing:
                _accept(bgr[line], accepted[line], far_flags)


@kernel
def _classify(active: U8, stale: U8, half: int, bgr: U8, shown: U8, state: U8) -> None:
    """Sort the cells into still, touched and active, and update the shown pixels of the last two.

    The original is interpolated, so that a cell's border shows some of the next cell: stale pixels
    at an edge touch the cells beyond it, too. Otherwise a thing beside a still cell would leave its
    glow there.
    """
    bgr_words, shown_words = bgr.view(np.uint64), shown.view(np.uint64)
    rows, columns = np.uintp(state.shape[0]), np.uintp(state.shape[1])
    one, two, three = np.uintp(1), np.uintp(2), np.uintp(3)
    for row in range(rows):
        for column in range(columns):
            above, here, below = stale[row], stale[row + one], stale[row + two]
            before, after = column, column + two
            if active[row, column] > half:
                state[row, column] = ACTIVE
            elif (
                here[column + one]
                | (here[before] & _RIGHT)
                | (here[after] & _LEFT)
                | (above[column + one] & _BOTTOM)
                | (below[column + one] & _TOP)
            ) or (
                (above[before] & (_BOTTOM | _RIGHT)) == (_BOTTOM | _RIGHT)
                or (above[after] & (_BOTTOM | _LEFT)) == (_BOTTOM | _LEFT)
                or (below[before] & (_TOP | _RIGHT)) == (_TOP | _RIGHT)
                or (below[after] & (_TOP | _LEFT)) == (_TOP | _LEFT)
            ):
                state[row, column] = TOUCHED
            else:
                state[row, column] = STILL
                continue
            for y in range(row * np.uintp(8), row * np.uintp(8) + np.uintp(8)):
                for x in range(column * three, column * three + three):
                    shown_words[y, x] = bgr_words[y, x]


class Activity:
    """Per-stream memory of the accepted and of the shown pixels.

    A pixel is *active* when its Euclidean BGR distance to its last accepted value is above the
    threshold; this value is then updated, so that slow drift is caught. A cell is *active* when
    more than half of its pixels are, *touched* when its overlaid original is out of date (its own
    pixels, or the pixels beside them, which are interpolated with its own), and *still* otherwise.
    Source of the rule for active cells: the reference notebook (vishnu-chand/videoMosaic).

    `threshold` is in levels of BGR distance (16 in the reference). `overlay` is the alpha of the
    overlaid original; at 0 no cell is ever touched.
    """

    def __init__(self, grid: Grid, *, threshold: float, overlay: float) -> None:
        self.set_limits(threshold=threshold, overlay=overlay)
        self.active_pixels = np.empty((grid.rows, grid.columns), np.uint8)  # of the last frame
        self._accepted: U8 | None = None
        self._shown: U8 | None = None
        self._state = np.empty((grid.rows, grid.columns), np.uint8)
        self._stale = np.zeros((grid.rows + 2, grid.columns + 2), np.uint8)  # with a margin
        self._frames = 0

    def set_limits(self, *, threshold: float, overlay: float) -> None:
        """Use other limits from the next frame on, in which no cell is still."""
        self._overlaid = overlay > 0
        self._limit = int(threshold * threshold)
        stale = min(threshold, _MAX_STALE_LEVELS / overlay) if overlay > 0 else 1000.0
        self._stale_limit = int(stale * stale)
        self._touch_all = True

    def update(self, bgr: U8) -> U8:
        """Compare a frame, uint8 (rows * 8, columns * 8, 3), C-contiguous, with those before.

        The result is uint8 (rows, columns): STILL, TOUCHED or ACTIVE; the next call overwrites it.
        """
        rows = bgr.reshape(bgr.shape[0], -1)
        if self._accepted is None or self._shown is None:
            self._accepted, self._shown = rows.copy(), rows.copy()
            self._state[:] = ACTIVE
            self.active_pixels[:] = ANALYSIS_PX * ANALYSIS_PX
        else:
            limits = np.int32(self._limit), np.int32(self._stale_limit)
            _compare(rows, self._accepted, self._shown, *limits, self.active_pixels, self._stale)
            half = ANALYSIS_PX * ANALYSIS_PX // 2
            _classify(self.active_pixels, self._stale, half, rows, self._shown, self._state)
            if self._touch_all:
                self._state[self._state == STILL] = TOUCHED
                self._shown[:] = rows
            elif self._overlaid:
                self._refresh(rows, self._shown)
        self._touch_all = False
        return self._state

    def _refresh(self, rows: U8, shown: U8) -> None:
        """Touch the still cells that differ at all, in this frame's share of the rows."""
        count, columns = self._state.shape
        begin, end = (n * count // _REFRESH_FRAMES for n in (self._frames, self._frames + 1))
        self._frames = (self._frames + 1) % _REFRESH_FRAMES
        for row in range(begin, end):
            lines = slice(row * ANALYSIS_PX, (row + 1) * ANALYSIS_PX)
            now, before = (p[lines].reshape(ANALYSIS_PX, columns, -1) for p in (rows, shown))
            stale = (now != before).any(axis=(0, 2)) & (self._state[row] == STILL)
            self._state[row, stale] = TOUCHED
            before[:, stale] = now[:, stale]
