"""Which cells changed: the test that decides what is matched and composed again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .grid import ANALYSIS_PX, Grid
from .kernels import kernel

__all__ = ["ACTIVE", "STILL", "TOUCHED", "Activity"]

U8 = NDArray[np.uint8]
I32 = np.int32

STILL, TOUCHED, ACTIVE = 0, 1, 2

# A superimposed original may be out of date by this many levels of 255 in the output before its
# cell is composed again. Six is below what is seen on top of a tile's texture, and above what a
# camera's noise does to averaged pixels. Without this second test a thin thing of low contrast
# would leave a ghost: its pixels come back to their *accepted* value, but were shown otherwise.
_MAX_STALE_LEVELS = 6.0


@kernel
def _far(
    a: U8, b: U8, limit: I32, out: U8
) -> None:  # (3 * n,), (3 * n,) BGR rows -> 1 where their squared distance is above the limit
    for i in range(np.uintp(out.shape[0])):
        j = np.uintp(3) * i
        db = np.int32(a[j]) - np.int32(b[j])
        dg = np.int32(a[j + np.uintp(1)]) - np.int32(b[j + np.uintp(1)])
        dr = np.int32(a[j + np.uintp(2)]) - np.int32(b[j + np.uintp(2)])
        distance = np.int32(np.int32(db * db) + np.int32(dg * dg) + np.int32(dr * dr))
        out[i] = np.uint8(distance > limit)


@kernel
def _accept(
    a: U8, accepted: U8, far: U8
) -> None:  # accepted = a where far; as bit operations, because a branch would not be vectorised
    for i in range(np.uintp(far.shape[0])):
        j = np.uintp(3) * i
        mask = np.uint8(0) - far[i]
        for k in range(np.uintp(3)):
            old = accepted[j + k]
            accepted[j + k] = np.uint8(old ^ (np.uint8(old ^ a[j + k]) & mask))


@kernel
def _compare(
    bgr: U8, accepted: U8, shown: U8, limit: I32, stale_limit: I32, half: I32, state: U8
) -> None:
    """Whole rows of pixels at a time: loops over a cell's 8 pixels are too short to vectorise.

    A cell's row of flags is one 64-bit word, and its row of colours three: that is what ties this
    kernel to cells of 8x8.
    """
    rows, columns = np.uintp(state.shape[0]), np.uintp(state.shape[1])
    far = np.empty(columns * np.uintp(8), np.uint8)
    stale = np.empty(columns * np.uintp(8), np.uint8)
    far_words, stale_words = far.view(np.uint64), stale.view(np.uint64)
    bgr_words, shown_words = bgr.view(np.uint64), shown.view(np.uint64)
    active_pixels = np.empty(columns, np.int32)
    any_stale = np.empty(columns, np.uint64)
    ones, top = np.uint64(0x0101010101010101), np.uint64(56)
    for row in range(rows):
        active_pixels[:] = 0
        any_stale[:] = 0
        for y in range(row * np.uintp(8), row * np.uintp(8) + np.uintp(8)):
            _far(bgr[y], accepted[y], limit, far)
            _far(bgr[y], shown[y], stale_limit, stale)
            any_far = np.uint64(0)
            for column in range(columns):
                any_far |= far_words[column]
                any_stale[column] |= stale_words[column]
                # The product's top byte is the sum of the eight flags.
                active_pixels[column] += np.int32((far_words[column] * ones) >> top)
            if any_far != np.uint64(0):
                _accept(bgr[y], accepted[y], far)
        for column in range(columns):
            if active_pixels[column] > half:
                state[row, column] = ACTIVE
            elif any_stale[column] != np.uint64(0):
                state[row, column] = TOUCHED
            else:
                state[row, column] = STILL
                continue
            for y in range(row * np.uintp(8), row * np.uintp(8) + np.uintp(8)):
                for x in range(column * np.uintp(3), column * np.uintp(3) + np.uintp(3)):
                    shown_words[y, x] = bgr_words[y, x]


class Activity:
    """Per-stream memory of what was accepted and what is shown.

    A pixel is *active* when its Euclidean BGR distance to its last accepted value is above the
    threshold; its accepted value is then updated, so that slow drift is caught. A cell is *active*
    when more than half of its pixels are, *touched* when its superimposed original is out of date,
    and *still* otherwise. Source of the first rule: the reference notebook.

    Parameters
    ----------
    grid : the cells
    threshold : 0..255, in levels of BGR distance (16 in the reference)
    overlay : alpha of the superimposed original, 0..1; at 0 no cell is ever touched
    """

    def __init__(self, grid: Grid, *, threshold: float, overlay: float) -> None:
        self._limit = int(threshold * threshold)
        stale = min(threshold, _MAX_STALE_LEVELS / overlay) if overlay > 0 else 1000.0
        self._stale_limit = int(stale * stale)
        self._accepted: U8 | None = None
        self._shown: U8 | None = None
        self._state = np.empty((grid.rows, grid.columns), np.uint8)

    def update(self, bgr: U8) -> U8:
        """Compare a frame with what came before.

        Parameters
        ----------
        bgr : uint8 (rows * 8, columns * 8, 3), C-contiguous, at the analysis resolution

        Returns
        -------
        uint8 (rows, columns) of STILL, TOUCHED or ACTIVE; overwritten by the next call
        """
        rows = bgr.reshape(bgr.shape[0], -1)
        if self._accepted is None or self._shown is None:
            self._accepted, self._shown = rows.copy(), rows.copy()
            self._state[:] = ACTIVE
        else:
            _compare(
                rows,
                self._accepted,
                self._shown,
                np.int32(self._limit),
                np.int32(self._stale_limit),
                np.int32(ANALYSIS_PX * ANALYSIS_PX // 2),
                self._state,
            )
        return self._state
