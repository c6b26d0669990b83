"""Slow twins of the compiled kernels, in plain Python and NumPy, for tests that compare the two.

They define the result, not how to compute it fast or in how many bits.
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

    The program may compose more cells than it must: `compose` says which ones.
    """

    def __init__(self, limit: float, stale_limit: float) -> None:
        self.limit, self.stale_limit = limit, stale_limit
        self.accepted: NDArray[np.int64] | None = None

    def update(self, bgr: U8) -> NDArray[np.int64]:
        """The lowest state of each cell: STILL, TOUCHED or ACTIVE, int64 (rows, columns)."""
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

    def compose(self, cells: NDArray[np.bool_]) -> None:
        """These cells, bool (rows, columns), show the newest picture now."""
        pixels = cells.repeat(8, axis=0).repeat(8, axis=1)
        self.shown[pixels] = self.now[pixels]


def histogram(cell: U8) -> NDArray[np.int64]:
    """Counts of 5x5x5 colours of a BGR picture."""
    counts = np.zeros(125, np.int64)
    for b, g, r in cell.reshape(-1, 3).tolist():
        counts[(b * 5 // 256 * 5 + g * 5 // 256) * 5 + r * 5 // 256] += 1
    return counts


def squared_distances(x: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, k) of rows to centres."""
    return np.asarray(((x[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2))


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


def compose(
    out: NDArray[np.float64],
    tiles: NDArray[Any],
    original: NDArray[np.float64],
    cells: NDArray[np.int32],
    ids: NDArray[np.int32],
    flips: NDArray[np.bool_],
) -> None:
    """Put tiles into cells of one plane and add the original; its edges repeat beyond it."""
    height, width = tiles.shape[1:]
    columns = out.shape[1] // width
    for cell, tile, flip in zip(cells.tolist(), ids.tolist(), flips.tolist(), strict=True):
        top, left = cell // columns * height, cell % columns * width
        for y in range(height):
            line = min(top + y, original.shape[0] - 1)
            for x in range(width):
                column = min(left + x, original.shape[1] - 1)
                sample = tiles[tile, y, width - 1 - x if flip else x]
                out[top + y, left + x] = sample + original[line, column]


def reach(tint: float, cells_luma: float, lowest: float, highest: float) -> float:
    """How far a tile's mean moves towards a cell's; further where that is near black or white."""
    from_end = max(min(cells_luma - lowest, highest - cells_luma), 0)
    return tint + tint * (1 - tint) * max(1 - from_end / 32, 0)


def tinted(
    tile: NDArray[Any],
    cells_mean: float,
    *,
    reach: float,
    lowest: float,
    highest: float,
    shift_only: bool,
) -> NDArray[np.float64]:
    """One plane of a tile whose mean moves towards a cell's by the share `reach`.

    A tile that would leave `lowest` to `highest` (two standard deviations of it) loses contrast, at
    most 70 %, except with `shift_only`, for colour.
    """
    samples = tile.astype(np.float64)
    own = samples.mean()
    wanted = own + reach * (cells_mean - own)
    room = min(wanted - lowest, highest - wanted)
    gain = 1.0 if shift_only else min(max(room / max(2 * samples.std(), 1e-3), 0.3), 1.0)
    return np.asarray((wanted + gain * (samples - own)).clip(0, 255))


# ---- match by layout --------------------------------------------------------------------------


def tile_points(tile: U8) -> tuple[NDArray[np.int64], float]:
    """Means of the 4x4 parts of a tile, rounded, and the deviation of its luma from theirs."""
    height, width = tile.shape[:2]
    above, beside = ([y * 4 // size for y in range(size)] for size in (height, width))
    points, squares = np.zeros((4, 4, 3), np.int64), 0.0
    for row in range(4):
        for column in range(4):
            inside = [
                tile[y, x].astype(np.float64)
                for y in range(height)
                for x in range(width)
                if (above[y], beside[x]) == (row, column)
            ]
            mean = np.mean(inside, axis=0)
            points[row, column] = np.floor(mean + 0.5)
            squares += sum(((pixel - mean) @ (0.114, 0.587, 0.299)) ** 2 for pixel in inside)
    return points, np.sqrt(squares / (height * width))


def coefficients(lab: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """The 28 cosine coefficients of 16 points, means first; and the sum of squares without them.

    All 16 of lightness, and of each colour axis the six of lowest frequency.
    """
    waves = sorted(np.ndindex(4, 4), key=lambda uv: (uv[0] + uv[1], max(uv), uv))
    kept = {}
    for channel, count in ((0, 16), (1, 6), (2, 6)):
        for place, (u, v) in enumerate(waves[:count]):
            scale = (0.5 if u == 0 else np.sqrt(0.5)) * (0.5 if v == 0 else np.sqrt(0.5))
            kept[channel, place] = (
                sum(
                    lab[4 * y + x, channel]
                    * np.cos(np.pi / 4 * (y + 0.5) * u)
                    * np.cos(np.pi / 4 * (x + 0.5) * v)
                    for y in range(4)
                    for x in range(4)
                )
                * scale
                / 4
            )
    order = [(c, p) for b, e in ((0, 1), (1, 99)) for c in range(3) for p in range(b, e)]
    coarse = {0: 10, 1: 3, 2: 3}
    order.sort(key=lambda at: (at[1] > 0, at[1] >= coarse[at[0]], at[0], at[1]))
    codes = np.array([kept[at] for at in order if at in kept])
    return codes, float((lab.astype(np.float64) ** 2).sum() / 16 - codes @ codes)


def kmeans(points: NDArray[Any], size: int) -> list[list[int]]:
    """k-means from points at even distances, six rounds on a sample; small inputs only: there is
    one level, and no part is too large."""
    n = len(points)
    count = round(n / size)
    if count <= 1:
        return [list(range(n))]
    sample = points[:: max(1, n // (count * 32))]
    centres = [sample[c * len(sample) // count] for c in range(count)]
    for _ in range(6):
        labels = squared_distances(sample, np.array(centres)).argmin(axis=1)
        centres = [
            sample[labels == c].mean(axis=0) if (labels == c).any() else centres[c]
            for c in range(count)
        ]
    labels = squared_distances(points, np.array(centres)).argmin(axis=1)
    parts = [np.flatnonzero(labels == c).tolist() for c in range(count)]
    return [part for part in parts if part]


class LayoutMatch:
    """The rules of the match by layout, with a look at every variant for every cell.

    Parameters
    ----------
    codes, residual : float (n, 28) and (n,), of the variants
    texture, photo : (n,)
    """

    def __init__(
        self,
        codes: NDArray[Any],
        residual: NDArray[Any],
        texture: NDArray[Any],
        photo: NDArray[Any],
        *,
        grid: tuple[int, int],
        tint: float,
        calm: float,
        variety: float,
        distance: int,
        max_uses: int,
    ) -> None:
        self.codes, self.photo = codes, photo
        self.weights = np.where(np.arange(28) < 3, max(1 - tint, 0.2) ** 2, 1.0)
        self.penalties = residual + 2.5 * variety * np.maximum(40 - texture, 0)
        self.use_penalty = 80 * variety**2
        self.columns, self.distance, self.max_uses = grid[1], distance, max_uses
        self.limit, self.better = (3.5 + 5 * calm) ** 2, 1 - 0.4 * calm
        self.place: list[int | None] = [None] * (grid[0] * grid[1])
        self.matched: list[NDArray[Any] | None] = [None] * len(self.place)

    def urgency(self, cell: int, lab: NDArray[Any]) -> float:
        """How far the cell has moved beyond the limit; above 0 if it must be matched."""
        before = self.matched[cell]
        return np.inf if before is None else float(((lab - before) ** 2).sum() / 16) - self.limit

    def violation(self, variant: int, cell: int) -> int:
        """0 none, 1 its photo's uses, 2 its photo's distance; the cell itself is empty."""
        photos = {c: self.photo[v] for c, v in enumerate(self.place) if v is not None}
        here = divmod(cell, self.columns)
        for other, photo in photos.items():
            there = divmod(other, self.columns)
            away = max(abs(here[0] - there[0]), abs(here[1] - there[1]))
            if photo == self.photo[variant] and away <= self.distance:
                return 2
        return int(list(photos.values()).count(self.photo[variant]) >= self.max_uses)

    def cost(self, variant: int, code: NDArray[Any]) -> float:
        uses = sum(v is not None and self.photo[v] == self.photo[variant] for v in self.place)
        away = (self.weights * (self.codes[variant] - code) ** 2).sum()
        return float(away + self.penalties[variant] + self.use_penalty * uses)

    def check(
        self, cell: int, lab: NDArray[Any], code: NDArray[Any], chosen: int, *, cut: bool
    ) -> None:
        """Assert that a choice is right, or nearly, and take it over.

        The search uses estimates: `test_recall` tests how often it finds the best.
        """
        old, self.place[cell] = self.place[cell], None
        if cut:
            old = None
        variants = range(len(self.codes))
        violations = [self.violation(v, cell) for v in variants]
        costs = [self.cost(v, code) for v in variants]
        least = min(costs[v] for v in variants if violations[v] == min(violations))
        to_beat = 0.0
        if old is not None:
            to_beat = costs[old] - (1 - self.better) * min(max(costs[old], 100), 200)
        near = 1e-4 * least + 1e-3
        keep = old is not None and violations[old] <= min(violations)
        if keep and least >= to_beat + near:
            assert chosen == old, "nothing is clearly better"
        elif chosen != old or not keep or 1.3 * least + 3 < to_beat:
            assert violations[chosen] == min(violations)
            assert costs[chosen] <= 1.3 * least + 3
        self.place[cell], self.matched[cell] = chosen, lab.copy()


class Denoise:
    """The mean of each cell's points over frames in which only noise differs."""

    def __init__(self) -> None:
        self.before: NDArray[Any] | None = None
        self.noise: NDArray[Any] | None = None  # of lightness and colour
        self.mean, self.count = np.empty(0), np.empty(0)

    def update(self, lab: NDArray[Any]) -> NDArray[Any]:
        """The points of a frame, (cells, 16, 3), without its noise."""
        before, self.before = self.before, lab
        if before is None:
            self.mean, self.count = lab.copy(), np.ones(len(lab))
            return lab
        away = (lab - before).reshape(-1, 4, 4, 3)
        squares = (away**2).mean(axis=(1, 2))
        energy = np.array([squares[:, 0], squares[:, 1:].sum(axis=1)])
        # Lightness: the differences across the diagonals of each 2x2 block.
        blocks = away.reshape(-1, 2, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5)
        chess = (blocks[..., 0, 0, :] - blocks[..., 0, 1, :] - blocks[..., 1, 0, :]) / 2
        chess += blocks[..., 1, 1, :] / 2
        fine = (chess[..., 0] ** 2).sum(axis=(1, 2)) / 4
        # Colour: the frequencies in which both halves of a side have opposite signs.
        signs = np.array([[1, 1, -1, -1], [1, -1, -1, 1]]) / 2
        coarse = np.einsum("ay,bx,nyxc->nabc", signs, signs, away)[..., 1:]
        high = np.array([fine, (coarse**2).sum(axis=(1, 2, 3)) / 4])
        if energy.any():
            whole, quick = np.median(energy, axis=1) / 2, np.median(high, axis=1) / 2
            found = np.maximum(quick - 0.5 * np.maximum(whole - quick, 0), 0)
            self.noise = found if self.noise is None else (self.noise + found) / 2
        if self.noise is None or self.noise.sum() < 4:
            self.count[:] = 0
            return lab
        off = (lab - self.mean).reshape(-1, 2, 2, 2, 2, 3).mean(axis=(2, 4))
        off = (off**2).mean(axis=(1, 2)) / (1 + 1 / np.maximum(self.count, 1))[:, None]
        moved = (off[:, 0] > 2 * self.noise[0]) | (off[:, 1:].sum(axis=1) > 3.25 * self.noise[1])
        self.count[moved] = 0
        self.count = np.minimum(self.count + 1, 8)
        self.mean += (lab - self.mean) / self.count[:, None, None]
        return self.mean
