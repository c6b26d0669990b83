"""The choice among tiles: what each costs a cell, and the search for the cheapest.

A search on two levels, the nearest clusters and then the tiles in them, so that its cost depends on
the cells to match and the size of a cluster, and little on the gallery. On both levels rough costs
come first, see `rough`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...jit import Count, kernel, kernel_part
from .coarse import LANES, NEVER, ROUGH, least_of, refine, roughly, scan, sixteenths
from .index import COEFFICIENTS, LayoutIndex, expected_detail

__all__ = ["LEAST_WEIGHED", "MOST_WEIGHED", "Rules", "Shown", "choose", "empty"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I16 = NDArray[np.int16]
U16 = NDArray[np.uint16]

# How much of an old variant's cost is weighed against a new one's, at least and at most. In a large
# gallery many are nearly as good as the best, and nobody sees that another would be better by 20 (a
# distance of 4.5): with 338,409 tiles a quarter fewer cells change, for 0.6 % of the cost. Where
# there are far more cells than photos each costs several times as much, for its many uses, and one
# that does not fit any more would never be left: people who have gone would stay to be seen.
LEAST_WEIGHED, MOST_WEIGHED = 100.0, 200.0


class Shown(NamedTuple):
    """What is in the cells now. For kernels: arrays only.

    place : int32 (cells,), where in the index the cell's variant is, -1 for none
    uses : int32 (photos,), cells that show the photo
    cluster_uses : int32 (k,), the same, summed over the variants of a cluster
    near : int64 (photos,), number of the decision that the photo was last too near for
    prices : uint16, of each variant in its room, and `NEVER` where there is none
    cluster_prices : uint16 (k, rounded up), what they are on average
    """

    place: I32
    uses: I32
    cluster_uses: I32
    near: NDArray[np.int64]
    prices: U16
    cluster_prices: U16


class Rules(NamedTuple):
    """What `choose` goes by.

    weights : float32 (28,), of the squares of the coefficients' differences
    prices : float32 (n,), of each variant at its first use
    member_prices : the same, in the order of the index's photo_members
    cluster_prices : float32 (k,), their means
    use_price : of each further use
    columns : cells across
    distance : no photo twice within so many cells
    most_uses : of a photo in all cells
    better : a new variant has to cost less than this part of the old one's cost, see `_to_beat`
    most_probes : clusters to look into, nearest first
    promising, slack : and none that is farther than so many times the best cost, and so much
    tries : of a cluster's variants, those that are too near included; like the number of clusters,
        more where nothing was found
    """

    weights: F32
    prices: F32
    member_prices: F32
    cluster_prices: F32
    use_price: np.float32
    columns: int
    distance: int
    most_uses: int
    better: np.float32
    most_probes: int
    promising: np.float32
    slack: np.float32
    tries: int


def empty(cells: int, index: LayoutIndex, rules: Rules) -> Shown:
    """Cells with nothing in them."""
    photos, clusters = len(index.photo_start) - 1, len(index.start) - 1
    shown = Shown(
        place=np.full(cells, -1, np.int32),
        uses=np.zeros(photos, np.int32),
        cluster_uses=np.zeros(clusters, np.int32),
        near=np.full(photos, -1, np.int64),
        prices=np.full(index.rooms[-1], NEVER, np.uint16),
        cluster_prices=np.full(len(index.centres) // ROUGH, NEVER, np.uint16),
    )
    _price_all(index, shown, rules)
    return shown


@kernel_part
def _price(index: LayoutIndex, shown: Shown, rules: Rules, number: Count, uses: np.float32) -> None:
    """Work out what a variant of a photo, and its cluster, cost apart from the distance.

    What this reads lies side by side, for it is done twice for each cell, for all of the photo's.
    """
    m = np.uintp(number)
    room, cluster = np.uintp(index.member_room[m]), np.uintp(index.member_cluster[m])
    price = rules.member_prices[m] + rules.use_price * uses
    expected = min(np.int32(roughly(price)) + np.int32(index.details[room]), np.int32(NEVER - 1))
    allowed = uses < np.float32(rules.most_uses)
    shown.prices[room] = np.uint16(expected) if allowed else np.uint16(NEVER)
    mean_uses = np.float32(shown.cluster_uses[cluster]) * index.cluster_share[cluster]
    shown.cluster_prices[cluster] = roughly(
        rules.cluster_prices[cluster] + rules.use_price * mean_uses
    )


@kernel
def _price_all(index: LayoutIndex, shown: Shown, rules: Rules) -> None:
    for m in range(np.uintp(index.photo_members.shape[0])):
        _price(index, shown, rules, m, np.float32(0))


@kernel_part
def _use(index: LayoutIndex, shown: Shown, rules: Rules, place: Count, by: Count) -> None:
    """Note that one cell more (or less) shows the photo of the variant at a place."""
    photo = np.uintp(index.photo[place])
    shown.uses[photo] += by
    uses = np.float32(shown.uses[photo])
    begin, end = index.photo_start[photo], index.photo_start[photo + np.uintp(1)]
    for m in range(np.uintp(begin), np.uintp(end)):
        shown.cluster_uses[np.uintp(index.member_cluster[m])] += by
        _price(index, shown, rules, m, uses)


@kernel_part
def _empty(index: LayoutIndex, shown: Shown, rules: Rules, cell: Count) -> Count:
    """Take out of a cell what is in it, and return its place, -1 for nothing."""
    place = np.intp(shown.place[cell])
    if place >= 0:
        _use(index, shown, rules, place, np.intp(-1))
        shown.place[cell] = -1
    return place


@kernel_part
def _note_near(index: LayoutIndex, shown: Shown, rules: Rules, cell: Count, number: Count) -> None:
    """Mark the photos that stand too near to a cell."""
    rows, columns = shown.place.shape[0] // rules.columns, rules.columns
    row, column = cell // columns, cell % columns
    left, right = max(column - rules.distance, 0), min(column + rules.distance + 1, columns)
    for y in range(max(row - rules.distance, 0), min(row + rules.distance + 1, rows)):
        for c in range(np.uintp(y * columns + left), np.uintp(y * columns + right)):
            place = shown.place[c]
            if place >= 0:
                shown.near[index.photo[np.uintp(place)]] = number


@kernel_part
def _cost(index: LayoutIndex, shown: Shown, rules: Rules, code: F32, place: Count) -> np.float32:
    """What a variant costs: its exact cost, but for the coefficients that no tile has."""
    v, one, w = np.uintp(place), np.uintp(1), rules.weights
    even = odd = np.float32(0)  # two sums, so that one need not wait for the other
    for k in range(np.uintp(0), np.uintp(COEFFICIENTS), np.uintp(2)):
        away = index.codes[v, k] - code[k]
        even += w[k] * away * away
        away = index.codes[v, k + one] - code[k + one]
        odd += w[k + one] * away * away
    uses = np.float32(shown.uses[index.photo[v]])
    return np.float32(even + odd + rules.prices[v] + rules.use_price * uses)


@kernel_part
def _to_beat(rules: Rules, cost: np.float32) -> np.float32:
    """What a new variant has to cost less than, so that it is clearly better than an old one."""
    weighed = min(max(cost, np.float32(LEAST_WEIGHED)), np.float32(MOST_WEIGHED))
    return np.float32(cost - (1 - rules.better) * weighed)


@kernel_part
def _fault(index: LayoutIndex, shown: Shown, rules: Rules, place: Count, number: Count) -> int:
    """What is wrong with a variant: 0 nothing, 1 it is used too often, 2 it stands too near."""
    photo = index.photo[place]
    if shown.near[photo] == number:
        return 2
    return 1 if shown.uses[photo] >= rules.most_uses else 0


@kernel_part
def _next_cluster(ranks: U16, groups: U16) -> tuple[int, np.uint16]:
    """The cluster of the least rank, the first of equals, which is then taken; and that rank."""
    group = 0
    for other in range(1, groups.shape[0]):
        if groups[other] < groups[group]:
            group = other
    least, cluster = groups[group], group * LANES
    while ranks[cluster] != least:
        cluster += 1
    ranks[cluster] = np.uint16(NEVER)
    groups[group] = least_of(ranks, group * LANES, (group + 1) * LANES)
    return cluster, least


@kernel_part
def _search(
    index: LayoutIndex,
    shown: Shown,
    rules: Rules,
    code: F32,
    levels: I16,
    number: Count,
    best: Count,
    best_cost: np.float32,
    ranks: U16,
    groups: U16,
    costs: U16,
) -> Count:
    """The cheapest of the best so far (-1 for none) and of what is found in the nearest clusters.

    Parameters
    ----------
    code, levels : float32 and int16 (28,), the cell's coefficients, and they in levels
    number, best, best_cost : of this decision, and of the best so far
    ranks, groups, costs : uint16 (clusters, rounded up), (groups of them,), and (largest room,),
        overwritten
    """
    detail = expected_detail(code)
    mean_weight = sixteenths(rules.weights[0])
    none = np.intp(0)
    scan(index.centres, shown.cluster_prices, levels, mean_weight, none, ranks.shape[0], ranks)
    for group in range(groups.shape[0]):
        groups[group] = least_of(ranks, group * LANES, (group + 1) * LANES)
    limit = roughly(best_cost)
    for probe in range(index.start.shape[0] - 1):
        # To find none would be to look at all tiles.
        if probe >= rules.most_probes and best >= 0:
            break
        cluster, rank = _next_cluster(ranks, groups)
        if rank >= roughly(rules.promising * best_cost + rules.slack):
            break
        begin, room = np.intp(index.start[cluster]), np.intp(index.rooms[cluster])
        end = np.intp(index.rooms[cluster + 1])
        least = scan(index.rough, shown.prices, levels, mean_weight, room, end, costs)
        if least < roughly(best_cost - detail):
            least = refine(index.fine, index.details, levels, room, end, costs)
        last, tried = limit, 0
        while least < min(limit, last) and (tried < rules.tries or best < 0):
            t = 0
            while costs[t] != least:
                t += 1
            costs[t] = np.uint16(NEVER)
            tried += 1
            if _fault(index, shown, rules, begin + t, number) == 0:
                # Estimates that differ by no more than rounding does are the same.
                last = np.uint16(min(int(last), int(least) + (int(least) >> 5) + 8))
                cost = _cost(index, shown, rules, code, begin + t)
                if cost < best_cost:
                    best, best_cost, limit = begin + t, cost, roughly(cost)
            least = least_of(costs, none, end - room)
    return best


@kernel_part
def _search_all(
    index: LayoutIndex, shown: Shown, rules: Rules, code: F32, number: Count
) -> tuple[int, np.float32]:
    """The cheapest of those with the least fault: rather one that is far away than none."""
    best, best_cost, least_fault = -1, np.float32(np.inf), 3
    for place in range(index.variant.shape[0]):
        fault = _fault(index, shown, rules, place, number)
        if fault > least_fault:
            continue
        cost = _cost(index, shown, rules, code, place)
        if fault < least_fault or cost < best_cost:
            best, best_cost, least_fault = place, cost, fault
    return best, best_cost


@kernel
def choose(
    index: LayoutIndex,
    shown: Shown,
    rules: Rules,
    cells: I32,
    codes: F32,
    levels: I16,
    first_number: int,
    anew: bool,
) -> None:
    """Choose a variant for each cell, in this order; each sees what the ones before it took.

    Parameters
    ----------
    cells : int32 (m,)
    codes, levels : float32 and int16 (m, 28), their coefficients, and they in levels
    first_number : of these decisions, each of which has a number that no other had
    anew : as if there had been nothing in these cells
    """
    ranks = np.empty(shown.cluster_prices.shape[0], np.uint16)
    groups = np.empty(ranks.shape[0] // LANES, np.uint16)
    costs = np.empty(index.largest_room, np.uint16)
    if anew:
        for i in range(cells.shape[0]):
            _empty(index, shown, rules, np.intp(cells[i]))
    for i in range(cells.shape[0]):
        cell, number, code = np.intp(cells[i]), first_number + i, codes[i]
        old, to_beat = _empty(index, shown, rules, cell), np.float32(np.inf)
        if old >= 0:
            to_beat = _to_beat(rules, _cost(index, shown, rules, code, old))
        _note_near(index, shown, rules, cell, number)
        best: Count = -1
        best_cost = np.float32(np.inf)
        if old >= 0 and _fault(index, shown, rules, old, number) == 0:
            best, best_cost = old, to_beat
        best = _search(
            index,
            shown,
            rules,
            code,
            levels[i],
            number,
            best,
            best_cost,
            ranks,
            groups,
            costs,
        )
        if best < 0:
            best, best_cost = _search_all(index, shown, rules, code, number)
            if (
                old >= 0
                and _fault(index, shown, rules, old, number)
                <= _fault(index, shown, rules, best, number)
                and best_cost >= to_beat
            ):
                best = old
        shown.place[cell] = best
        _use(index, shown, rules, best, np.intp(1))
