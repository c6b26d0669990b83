"""The match by layout compared with a search through all tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livemosaic.gallery.layout_features import cell_lab, points_to_lab
from livemosaic.media.colour import ycbcr_to_bgr
from livemosaic.media.frame import Frame
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.match.search import MAX_WEIGHED, MIN_WEIGHED, Rules
from livemosaic.mosaic.mosaic import Mosaic, analysis_picture

__all__ = ["Costs", "layout_costs"]


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of tiles in some cells, float (n,): of the chosen ones, and of the best of all."""

    chosen: NDArray[Any]
    best: NDArray[Any]


def layout_costs(mosaic: Mosaic, frame: Frame) -> Costs:
    """Repeat the decisions of a frame's match, one by one, with a look at every tile.

    By the exact cost, of all 16 points in three channels, and by the same rules, also that of calm:
    if even the cheapest of all tiles is not clearly better, the cell's own is the best choice.
    """
    matcher = mosaic.matcher
    assert isinstance(matcher, LayoutMatcher)
    if mosaic.cells.active == mosaic.cells.deferred:
        return Costs(np.empty(0), np.empty(0))
    index, rules, grid = matcher.index, matcher.rules, mosaic.plan(frame.width, frame.height)
    before, cells = matcher.decisions
    bgr = ycbcr_to_bgr(analysis_picture(frame, grid), frame.colour)
    lab = cell_lab(bgr, grid.rows, grid.columns)[cells]
    points = matcher.gallery.points[index.variant // 2]
    mirrored = index.variant % 2 == 1
    points[mirrored] = points[mirrored, :, ::-1]
    exact = _distances(lab, points_to_lab(points), float(np.sqrt(rules.weights[0])))
    exact += rules.penalties - index.residual

    place, after = before.copy(), matcher.assignment.place
    rows, columns = np.divmod(np.arange(grid.cells), grid.columns)
    uses = np.bincount(index.photo[place[place >= 0]], minlength=len(index.photo_start) - 1)
    chosen, best = np.empty(len(cells)), np.empty(len(cells))
    for i, cell in enumerate(cells):
        old, new = place[cell], after[cell]
        if old >= 0:
            uses[index.photo[old]] -= 1
            place[cell] = -1
        beside = np.maximum(abs(rows - rows[cell]), abs(columns - columns[cell]))
        near = place[(beside <= rules.distance) & (place >= 0)]
        cost = exact[i] + rules.use_penalty * uses[index.photo]
        allowed = (uses < rules.max_uses)[index.photo] & ~np.isin(index.photo, index.photo[near])
        chosen[i] = cost[new]
        best[i] = cost[allowed].min() if allowed.any() else cost[new]
        if old >= 0 and allowed[old] and best[i] >= _to_beat(cost[old], rules):
            best[i] = cost[old]
        place[cell] = new
        uses[index.photo[new]] += 1
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
