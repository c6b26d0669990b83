"""The match by layout compared with a search through all tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livemosaic.gallery.gallery import Gallery
from livemosaic.gallery.layout_features import cell_lab, points_to_lab
from livemosaic.jit import F32, I32, U8
from livemosaic.media.colour import ycbcr_to_bgr
from livemosaic.media.frame import Frame
from livemosaic.mosaic.analysis import analysis_picture
from livemosaic.mosaic.layer import Face
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.match.search import MAX_WEIGHED, MIN_WEIGHED, Rules
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings

__all__ = ["Costs", "costs_by_size", "layout_costs"]

_TILES = 8192  # to compare at a time: 64 KB a decision


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of tiles in some cells, float (n,): of the chosen ones, and of the best of all."""

    chosen: NDArray[Any]
    best: NDArray[Any]


def layout_costs(mosaic: Mosaic, frame: Frame, *, samples: int | None = None) -> Costs:
    """Repeat the decisions of a frame's match, one by one, with a look at every tile; or so many
    samples of them.

    By the exact cost, of all 16 points in three channels, and by the same rules, also that of calm:
    if even the cheapest of all tiles is not clearly better, the cell's own is the best choice.
    """
    matcher = mosaic.matcher
    assert isinstance(matcher, LayoutMatcher)
    if mosaic.cells.active == mosaic.cells.deferred:
        return Costs(np.empty(0), np.empty(0))
    grid, (before, cells) = mosaic.plan(frame.width, frame.height), matcher.decisions
    bgr = ycbcr_to_bgr(analysis_picture(frame, grid), frame.colour)
    after = matcher.assignment.place
    return _costs(_Decisions(matcher, bgr, before, 0, cells, after, samples))


def costs_by_size(
    gallery: Gallery, settings: MosaicSettings, frames: Sequence[Frame], faces: Sequence[Face] = ()
) -> list[Costs]:
    """The same for the frames of a stream with finer cells: of the largest cells, then of those
    that are half as large."""
    decided: dict[int, list[Costs]] = {}

    class Noting(LayoutMatcher):
        """Repeats its decisions; uses and distances count over all sizes."""

        def choose(self, cells: I32, active: int) -> None:
            now = self.assignment
            before = now.place.copy()
            super().choose(cells, active)
            size = now.columns.tolist().index(self.grid.columns)
            before[now.first[size] : now.first[size + 1]] = self.decisions.before  # none at a cut
            order = self.decisions.cells
            made = _Decisions(self, self.bgr, before, size, order, now.place.copy())
            decided.setdefault(size, []).append(_costs(made))

        def observe(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
            self.bgr = bgr
            return super().observe(bgr, state, active_pixels)

    mosaic = Mosaic(gallery, settings, matcher=Noting)
    for frame in frames:
        mosaic.process(frame, faces=faces)
    return [
        Costs(np.concatenate([it.chosen for it in of]), np.concatenate([it.best for it in of]))
        for _, of in sorted(decided.items())
    ]


class _Decisions(NamedTuple):
    """Decisions of one size in a frame."""

    matcher: LayoutMatcher
    bgr: U8
    before: I32  # the place in the index of the variants of all cells, of all sizes
    size: int
    cells: I32  # of this size, in their order
    after: I32
    samples: int | None = None  # how many of them to compare, evenly spread; by default all


class _Turn(NamedTuple):
    """A decision: the tiles of photos that other cells show have a price, or are not allowed."""

    old: int  # the place of the variant before, -1 for none
    new: int
    places: NDArray[np.intp]  # ascending
    prices: NDArray[np.floating[Any]]
    allowed: NDArray[np.bool_]


def _costs(decisions: _Decisions) -> Costs:
    matcher, bgr, before, size, cells, after, samples = decisions
    index, rules, grid, now = matcher.index, matcher.rules, matcher.grid, matcher.assignment
    count = len(cells) if samples is None else min(samples, len(cells))
    sampled = np.linspace(0, len(cells) - 1, count).astype(np.intp)

    sizes = np.repeat(np.arange(len(now.columns)), np.diff(now.first))
    rows, columns = np.divmod(np.arange(len(sizes)) - now.first[sizes], now.columns[sizes])
    larger = np.minimum(sizes, size)  # distances count in the larger cells
    at = np.stack([rows, columns]) >> (sizes - larger)
    place, shares = before.copy(), 0.25**sizes
    full, photos = place >= 0, len(index.photo_start) - 1
    uses = np.bincount(index.photo[place[full]], minlength=photos)
    priced = np.bincount(index.photo[place[full]], shares[full], minlength=photos)
    turns: list[_Turn] = []
    for i, number in enumerate(cells + now.first[size]):
        old, new, share = place[number], after[number], shares[number]
        if old >= 0:
            uses[index.photo[old]] -= 1
            priced[index.photo[old]] -= share
            place[number] = -1
        if len(turns) < count and i == sampled[len(turns)]:
            own = np.array([[rows[number]], [columns[number]]]) >> (size - larger)
            near = place[(abs(at - own).max(axis=0) <= rules.distance) & (place >= 0)]
            allowed = uses < rules.max_uses
            allowed[index.photo[near]] = False
            places = np.flatnonzero((uses > 0)[index.photo])
            shown = index.photo[places]
            prices = rules.use_penalty * priced[shown]
            turns.append(_Turn(int(old), int(new), places, prices, allowed[shown]))
        place[number] = new
        uses[index.photo[new]] += 1
        priced[index.photo[new]] += share
    return _compared(matcher, cell_lab(bgr, grid.rows, grid.columns)[cells[sampled]], turns)


def _compared(matcher: LayoutMatcher, lab: F32, turns: Sequence[_Turn]) -> Costs:
    """The costs of decisions, by the points of their cells, (n, 16, 3), some tiles at a time."""
    index, rules = matcher.index, matcher.rules
    chosen, kept, best = np.full((3, len(turns)), np.inf)
    for begin in range(0, len(index.variant), _TILES):
        variant = index.variant[begin : begin + _TILES]
        points = matcher.gallery.points[variant // 2]
        mirrored = variant % 2 == 1
        points[mirrored] = points[mirrored, :, ::-1]
        end = begin + len(variant)
        costs = _distances(lab, points_to_lab(points), float(np.sqrt(rules.weights[0])))
        costs += rules.penalties[begin:end] - index.residual[begin:end]
        for i, (row, turn) in enumerate(zip(costs, turns, strict=True)):
            some = slice(*np.searchsorted(turn.places, (begin, end)))
            places = turn.places[some] - begin
            row[places] += turn.prices[some]
            if begin <= turn.new < end:
                chosen[i] = row[turn.new - begin]
            row[places[~turn.allowed[some]]] = np.inf
            if begin <= turn.old < end:
                kept[i] = row[turn.old - begin]
            best[i] = min(best[i], row.min())
    best[np.isinf(best)] = chosen[np.isinf(best)]
    for i in np.flatnonzero(np.isfinite(kept)).tolist():
        if best[i] >= _to_beat(kept[i], rules):
            best[i] = kept[i]
    return Costs(chosen, best)


def _to_beat(cost: float, rules: Rules) -> float:
    """The cost below which a tile is clearly better than an old one of that cost."""
    return float(cost - (1 - rules.better) * min(max(cost, MIN_WEIGHED), MAX_WEIGHED))


def _distances(
    one: NDArray[np.float32], other: NDArray[np.float32], mean_weight: float
) -> NDArray[np.float64]:
    """Of points, float32 (n, 16, 3) and (m, 16, 3): (n, m) mean squares over 16 points."""
    rows = []
    for lab in (one, other):
        lab = lab.astype(np.float64)
        lab -= (1 - mean_weight) * lab.mean(axis=1, keepdims=True)
        rows.append(lab.reshape(len(lab), -1) / 4)
    a, b = rows
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.maximum(squares, 0), np.float64)
