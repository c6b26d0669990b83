"""Slow twins of the compiled kernels, in plain Python and NumPy: what the tests hold them to.

They say what is computed and nothing about how to do it fast, or in how many bits.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

STILL, TOUCHED, ACTIVE = 0, 1, 2


class Activity:
    """Activity of cells of 8x8 pixels; `limit` and `stale_limit` are squared distances.

    The program may paint more cells than it must. It tells by `paint` which ones it did.
    """

    def __init__(self, limit: float, stale_limit: float) -> None:
        self.limit, self.stale_limit = limit, stale_limit
        self.accepted: NDArray[np.int64] | None = None

    def update(self, bgr: U8) -> NDArray[np.int64]:
        """The least that each cell must be: STILL, TOUCHED or ACTIVE, int64 (rows, columns)."""
        now = self.now = bgr.astype(np.int64)
        rows, columns = bgr.shape[0] // 8, bgr.shape[1] // 8
        if self.accepted is None:
            self.accepted, self.shown = now.copy(), now.copy()
            return np.full((rows, columns), ACTIVE)
        state = np.full((rows, columns), STILL)
        for row in range(rows):
            for column in range(columns):
                cell = slice(row * 8, row * 8 + 8), slice(column * 8, column * 8 + 8)
                far = ((now[cell] - self.accepted[cell]) ** 2).sum(axis=2) > self.limit
                stale = ((now[cell] - self.shown[cell]) ** 2).sum(axis=2) > self.stale_limit
                self.accepted[cell][far] = now[cell][far]
                if far.sum() * 2 > 64:
                    state[row, column] = ACTIVE
                elif stale.any():
                    state[row, column] = TOUCHED
        return state

    def paint(self, painted: NDArray[np.bool_]) -> None:
        """These cells, bool (rows, columns), show the newest picture now."""
        pixels = painted.repeat(8, axis=0).repeat(8, axis=1)
        self.shown[pixels] = self.now[pixels]


def histogram(cell: U8) -> NDArray[np.int64]:
    """Counts of 5x5x5 colours of a BGR picture."""
    counts = np.zeros(125, np.int64)
    for b, g, r in cell.reshape(-1, 3).tolist():
        counts[(b * 5 // 256 * 5 + g * 5 // 256) * 5 + r * 5 // 256] += 1
    return counts


def squared_distances(x: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, k) of rows to centres."""
    return ((x[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)


def plus_plus(x: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """k-means++ by inverting the cumulated squared distances; zeros where no more are needed."""
    centres = np.zeros((size, x.shape[1]))
    chosen = [int(rng.integers(len(x)))]
    for i in range(min(size, len(x))):
        centres[i] = x[chosen[i]]
        cumulated = np.cumsum(squared_distances(x, x[chosen]).min(axis=1))
        if cumulated[-1] == 0:
            break
        point = rng.random() * cumulated[-1]
        chosen.append(next((j for j, c in enumerate(cumulated) if c > point), len(x) - 1))
    return centres


def most_similar(x: NDArray[np.float64], centres: NDArray[np.float64]) -> list[int]:
    """The centre of largest cosine for each row, the first of equals."""
    nearest = []
    for row in x:
        cosines = [row @ c / max(np.sqrt((row @ row) * (c @ c)), 1e-300) for c in centres]
        nearest.append(int(np.argmax(np.round(cosines, 12))))
    return nearest


def enlarged(plane: U8, width: int, height: int, *, overlay: float) -> NDArray[np.float64]:
    """A plane scaled by `overlay` and brought to a size, without rounding."""
    scaled = cv2.convertScaleAbs(plane, alpha=overlay).astype(np.float32)
    down = plane.shape[0] > height or plane.shape[1] > width
    rows = min(height, plane.shape[0])
    mode = cv2.INTER_AREA if down else cv2.INTER_LINEAR
    wide = cv2.resize(scaled, (width, rows), interpolation=mode)
    wide = wide.reshape(rows, width).astype(np.float64)
    out = np.empty((height, width))
    for line in range(height):
        centre = (line + 0.5) * rows / height - 0.5
        centre = min(max(centre, 0), rows - 1)
        above = min(int(centre), max(rows - 2, 0))
        below = min(above + 1, rows - 1)
        weight = centre - above
        out[line] = wide[above] * (1 - weight) + wide[below] * weight
    return out


def paint(
    out: NDArray[np.float64],
    tiles: NDArray[Any],
    original: NDArray[np.float64],
    cells: NDArray[np.int32],
    ids: NDArray[np.int32],
    flips: NDArray[np.bool_],
) -> None:
    """Put tiles into cells of one plane and add the original; its edges repeat beyond it."""
    px = tiles.shape[1]
    columns = out.shape[1] // px
    for cell, tile, flip in zip(cells.tolist(), ids.tolist(), flips.tolist(), strict=True):
        top, left = cell // columns * px, cell % columns * px
        for y in range(px):
            line = min(top + y, original.shape[0] - 1)
            for x in range(px):
                column = min(left + x, original.shape[1] - 1)
                sample = tiles[tile, y, px - 1 - x if flip else x]
                out[top + y, left + x] = sample + original[line, column]


def tinted(
    tile: NDArray[Any],
    cells_mean: float,
    *,
    tint: float,
    lowest: float,
    highest: float,
    shift_only: bool,
) -> NDArray[np.float64]:
    """One plane of a tile whose mean moves towards a cell's by the share `tint`.

    What would leave `lowest` to `highest` (two standard deviations of it) loses contrast, at most
    70 %, but for `shift_only`, which colour is.
    """
    samples = tile.astype(np.float64)
    own = samples.mean()
    wanted = own + tint * (cells_mean - own)
    room = min(wanted - lowest, highest - wanted)
    gain = 1.0 if shift_only else min(max(room / max(2 * samples.std(), 1e-3), 0.3), 1.0)
    return (wanted + gain * (samples - own)).clip(0, 255)
