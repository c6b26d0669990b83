"""The choice among tiles: what each costs a cell, and the search for the cheapest.

A search on two levels, the nearest clusters and then the tiles in them, so that its cost depends on
the cells to match and the size of a cluster, not on the gallery.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel
from .index import COEFFICIENTS, ROUGH, LayoutIndex

__all__ = ["Rules", "Shown", "choose"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


class Shown(NamedTuple):
    """What is in the cells now. For kernels: arrays only.

    place : int32 (cells,), where in the index the cell's variant is, -1 for none
    uses : int32 (photos,), cells that show the photo
    cluster_uses : int32 (k,), the same, summed over the variants of a cluster
    near : int64 (photos,), number of the decision that the photo was last too near for
    """

    place: I32
    uses: I32
    cluster_uses: I32
    near: NDArray[np.int64]


class Rules(NamedTuple):
    """What `choose` goes by.

    weights : float32 (28,), of the squares of the coefficients' differences
    prices : float32 (n,), of each variant at its first use
    use_price : of each further use
    columns : cells across
    distance : no photo twice within so many cells
    most_uses : of a photo in all cells
    better : a new variant has to cost less than this part of the old one's cost
    least_probes : clusters to look into in any case
    promising : more, while they are below so many times the best cost
    """

    weights: F32
    prices: F32
    use_price: np.float32
    columns: int
    distance: int
    most_uses: int
    better: np.float32
    least_probes: int
    promising: np.float32


@kernel
def _use(index: LayoutIndex, shown: Shown, place: int, by: int) -> None:
    """Note that one cell more (or less) shows the photo of the variant at a place."""
    photo = np.uintp(index.photo[place])
    shown.uses[photo] += by
    for m in range(index.photo_start[photo], index.photo_start[photo + np.uintp(1)]):
        shown.cluster_uses[index.cluster[index.photo_members[m]]] += by


@kernel
def _note_near(index: LayoutIndex, shown: Shown, rules: Rules, cell: int, number: int) -> None:
    """Mark the photos that stand too near to a cell."""
    rows, columns = shown.place.shape[0] // rules.columns, rules.columns
    row, column = cell // columns, cell % columns
    for y in range(max(row - rules.distance, 0), min(row + rules.distance + 1, rows)):
        for x in range(max(column - rules.distance, 0), min(column + rules.distance + 1, columns)):
            place = shown.place[y * columns + x]
            if place >= 0:
                shown.near[index.photo[place]] = number


@kernel
def _rank(index: LayoutIndex, shown: Shown, rules: Rules, code: F32, ranks: F32) -> None:
    """What is to be expected of each cluster."""
    clusters = np.uintp(ranks.shape[0])
    ranks[:] = np.float32(0)
    for k in range(np.uintp(index.centres_t.shape[0])):
        value, weight = code[k], rules.weights[k]
        for c in range(clusters):
            away = index.centres_t[k, c] - value
            ranks[c] += weight * away * away
    for c in range(clusters):
        # Where photos are in use already, the next cluster may have fresher ones.
        members = index.start[c + np.uintp(1)] - index.start[c]
        ranks[c] += rules.use_price * np.float32(shown.cluster_uses[c]) / np.float32(members)


@kernel
def _smallest(ranks: F32, found: I32) -> None:
    """The numbers of the smallest, ascending; of equals the first ones. At most all of them."""
    kept = 0
    for c in range(ranks.shape[0]):
        rank = ranks[c]
        if kept == found.shape[0]:
            if rank >= ranks[found[kept - 1]]:
                continue
            kept -= 1
        at = kept
        while at > 0 and ranks[found[at - 1]] > rank:
            found[at] = found[at - 1]
            at -= 1
        found[at] = c
        kept += 1


@kernel
def _first_costs(
    index: LayoutIndex, shown: Shown, rules: Rules, begin: int, end: int, costs: F32
) -> None:
    """What variants cost apart from their distance, from `begin` to `end` of the index."""
    first = np.uintp(begin)
    for t in range(np.uintp(end - begin)):
        uses = np.float32(shown.uses[index.photo[first + t]])
        costs[t] = rules.prices[first + t] + rules.use_price * uses


@kernel
def _add_distances(
    block: F32, weights: F32, code: F32, first_k: int, end_k: int, costs: F32
) -> None:
    """Add the distance in some coefficients, four at a time: 0.3 us instead of 0.5 for 86 variants.

    Parameters
    ----------
    block : float32 (28, n), coefficients of some variants
    first_k, end_k : which coefficients, a multiple of four
    costs : float32 (n,), overwritten
    """
    w = weights
    for k in range(first_k, end_k, 4):
        v0, v1, v2, v3 = code[k], code[k + 1], code[k + 2], code[k + 3]
        w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
        c0, c1, c2, c3 = block[k], block[k + 1], block[k + 2], block[k + 3]
        for t in range(np.uintp(costs.shape[0])):
            d0, d1, d2, d3 = c0[t] - v0, c1[t] - v1, c2[t] - v2, c3[t] - v3
            costs[t] += (w0 * d0 * d0 + w1 * d1 * d1) + (w2 * d2 * d2 + w3 * d3 * d3)


@kernel
def _cost_of(index: LayoutIndex, shown: Shown, rules: Rules, code: F32, place: int) -> np.float32:
    """What one variant costs."""
    cost = np.empty(1, np.float32)
    _first_costs(index, shown, rules, place, place + 1, cost)
    cluster = index.cluster[place]
    begin, n = int(index.start[cluster]), int(index.start[cluster + 1] - index.start[cluster])
    at = begin * COEFFICIENTS + place - begin
    for k in range(COEFFICIENTS):
        away = index.codes[at + k * n] - code[k]
        cost[0] += rules.weights[k] * away * away
    return np.float32(cost[0])


@kernel
def _fault(index: LayoutIndex, shown: Shown, rules: Rules, place: int, number: int) -> int:
    """What is wrong with a variant: 0 nothing, 1 it is used too often, 2 it stands too near."""
    photo = index.photo[place]
    if shown.near[photo] == number:
        return 2
    return 1 if shown.uses[photo] >= rules.most_uses else 0


@kernel
def _look(
    index: LayoutIndex,
    shown: Shown,
    rules: Rules,
    code: F32,
    cluster: int,
    number: int,
    fault: int,
    best: int,
    best_cost: np.float32,
    costs: F32,
) -> tuple[int, np.float32]:
    """The better of the best so far and of those in a cluster with no worse than a fault."""
    begin, end = int(index.start[cluster]), int(index.start[cluster + 1])
    costs = costs[: end - begin]
    size = COEFFICIENTS
    block = index.codes[begin * size : end * size].reshape((size, end - begin))
    _first_costs(index, shown, rules, begin, end, costs)
    _add_distances(block, rules.weights, code, 0, ROUGH, costs)
    least = np.float32(np.inf)
    for t in range(np.uintp(costs.shape[0])):
        least = min(least, costs[t])
    if least < best_cost:  # else none can become the best by adding the rest
        _add_distances(block, rules.weights, code, ROUGH, COEFFICIENTS, costs)
        for t in range(costs.shape[0]):
            if costs[t] < best_cost and _fault(index, shown, rules, begin + t, number) <= fault:
                best, best_cost = begin + t, costs[t]
    return best, best_cost


@kernel
def choose(
    index: LayoutIndex,
    shown: Shown,
    rules: Rules,
    cells: I32,
    codes: F32,
    first_number: int,
    found: I32,
) -> None:
    """Choose a variant for each cell, in this order; each sees what the ones before it took.

    Parameters
    ----------
    cells, codes : int32 (m,), and float32 (m, 28), their coefficients
    first_number : of these decisions, each of which has a number that no other had
    found : int32 (probes,), of the clusters that are looked into at most; overwritten
    """
    clusters = index.centres_t.shape[1]
    ranks = np.empty(clusters, np.float32)
    costs = np.empty(np.diff(index.start).max(), np.float32)
    for i in range(cells.shape[0]):
        cell, number, code = int(cells[i]), first_number + i, codes[i]
        old = int(shown.place[cell])
        if old >= 0:
            _use(index, shown, old, -1)
            shown.place[cell] = -1
        _note_near(index, shown, rules, cell, number)
        _rank(index, shown, rules, code, ranks)
        _smallest(ranks, found)
        best, best_cost, fault = -1, np.float32(np.inf), 0
        for probe in range(found.shape[0]):
            cluster = int(found[probe])
            if probe >= rules.least_probes and ranks[cluster] > rules.promising * best_cost:
                break
            best, best_cost = _look(
                index, shown, rules, code, cluster, number, fault, best, best_cost, costs
            )
        while best < 0:
            # Rather one that is far away, or has a fault, than none.
            for cluster in range(clusters):
                best, best_cost = _look(
                    index, shown, rules, code, cluster, number, fault, best, best_cost, costs
                )
            if best < 0:
                fault += 1
        if (
            old >= 0
            and _fault(index, shown, rules, old, number) <= fault
            and best_cost >= rules.better * _cost_of(index, shown, rules, code, old)
        ):
            best = old
        shown.place[cell] = best
        _use(index, shown, best, 1)
