"""The search: the cost of a tile in a cell, and the cheapest tile for each cell.

First the nearest clusters, then the tiles in them. In a large gallery, clusters are in groups, and
the nearest groups come before them. The time depends on the cells to match and the size of a
cluster, and little on the gallery. On all levels coarse costs come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...gallery.layout_codes import COEFFICIENTS, expected_detail
from ...gallery.layout_index import LayoutIndex
from ...gallery.levels import COARSE, EXCLUDED, LANES, quantize
from ...jit import F32, I16, I32, U16, Count, kernel, kernel_part
from ..grid import Grid
from .coarse import coarse_costs, fine_costs, minimum, quantize_weight

# The part of an old variant's cost that is weighed against a new one's, at least and at most. In a
# large gallery many are nearly as good as the best, and a gain of 20 (a distance of 4.5) is
# invisible: with 338,409 tiles a quarter fewer cells change, for 0.6 % of the cost. With far more
# cells than photos each costs several times as much, for its many uses; without a maximum a tile
# that does not fit any more would never be replaced: people who have left would remain visible.
MIN_WEIGHED, MAX_WEIGHED = 100.0, 200.0


class Assignment(NamedTuple):
    """The content of the cells, of one size or several. For kernels: only arrays.

    Cells of another size are numbered after those that are twice as large.
    """

    first: I32  # (sizes + 1,), the number of the first cell of each size, and the end
    columns: I32  # (sizes,), cells across
    place: I32  # (cells,), the place in the index of the cell's variant, -1 for none
    uses: I32  # (photos,), cells that show the photo
    priced: F32  # (photos,), the same by area: a cell of half the sides is a quarter of a use
    cluster_priced: F32  # (k,), the same, summed over the variants of a cluster
    near: NDArray[np.int64]  # (photos,), number of the last decision that it was too near for
    penalties: U16  # (slots,), of each variant, and `EXCLUDED` for an empty slot
    cluster_penalties: U16  # their means, of each slot of `Groups`


class Rules(NamedTuple):
    """The rules of `assign`."""

    weights: F32  # (28,), of the squares of the coefficients' differences
    penalties: F32  # (n,), of each variant at its first use
    member_penalties: F32  # the same, in the order of the index's photo_members
    cluster_penalties: F32  # (k,), their means
    use_penalty: np.float32  # of each further use
    distance: int  # no photo twice within so many cells
    max_uses: int  # of a photo in all cells
    better: np.float32  # a new variant costs less than this part of the old one's, see `_to_beat`
    margin: np.float32  # and at least so much less
    group_penalties: U16  # (g, rounded up), of each group of clusters at its photos' first use
    max_groups: int  # groups of clusters to search, nearest first
    max_probes: int  # clusters to search, nearest first; more until a variant is found
    promising: np.float32  # but none that is farther than so many times the best cost,
    slack: np.float32  # and so much
    tries: int  # variants of a cluster, excluded ones too; more until one is found


def empty_assignment(grids: Sequence[Grid], index: LayoutIndex, rules: Rules) -> Assignment:
    """Cells without content, of each grid; each has cells of half the sides of the one before."""
    first = np.cumsum([0, *(grid.cells for grid in grids)])
    photos, clusters = len(index.photo_start) - 1, len(index.start) - 1
    empty = Assignment(
        first=first.astype(np.int32),
        columns=np.array([grid.columns for grid in grids], np.int32),
        place=np.full(first[-1], -1, np.int32),
        uses=np.zeros(photos, np.int32),
        priced=np.zeros(photos, np.float32),
        cluster_priced=np.zeros(clusters, np.float32),
        near=np.full(photos, -1, np.int64),
        penalties=np.full(index.slots[-1], EXCLUDED, np.uint16),
        cluster_penalties=np.full(len(index.groups.clusters), EXCLUDED, np.uint16),
    )
    _update_penalties(index, empty, rules)
    return empty


@kernel_part
def _update_penalty(
    index: LayoutIndex, now: Assignment, rules: Rules, member: Count, photo: Count
) -> None:
    """Compute the cost of a variant of a photo, and of its cluster, apart from the distance.

    It reads arrays side by side, as each cell updates all variants of two photos.
    """
    m = np.uintp(member)
    slot, cluster = np.uintp(index.member_slot[m]), np.uintp(index.member_cluster[m])
    cost = quantize(rules.member_penalties[m] + rules.use_penalty * now.priced[photo])
    expected = min(np.int32(cost) + np.int32(index.details[slot]), np.int32(EXCLUDED - 1))
    allowed = now.uses[photo] < rules.max_uses
    now.penalties[slot] = np.uint16(expected) if allowed else np.uint16(EXCLUDED)
    mean_uses = now.cluster_priced[cluster] * index.cluster_share[cluster]
    now.cluster_penalties[np.uintp(index.groups.slot[cluster])] = quantize(
        rules.cluster_penalties[cluster] + rules.use_penalty * mean_uses
    )


@kernel
def _update_penalties(index: LayoutIndex, now: Assignment, rules: Rules) -> None:
    for photo in range(np.uintp(now.uses.shape[0])):
        for m in range(np.uintp(index.photo_start[photo]), np.uintp(index.photo_start[photo + 1])):
            _update_penalty(index, now, rules, m, photo)


@kernel_part
def share_of(now: Assignment, cell: Count) -> np.float32:
    """The area of a cell, as a share of that of a largest one."""
    share, size = np.float32(1), 0
    while cell >= now.first[size + 1]:
        share, size = share / np.float32(4), size + 1
    return share


@kernel_part
def count_use(
    index: LayoutIndex, now: Assignment, rules: Rules, place: Count, cell: Count, step: Count
) -> None:
    """Count a cell more (or less, with a step of -1) for the photo of the variant at a place."""
    photo = np.intp(index.photo[place])
    share = np.float32(step) * share_of(now, cell)
    now.uses[photo] += step
    now.priced[photo] += share
    begin, end = index.photo_start[photo], index.photo_start[photo + 1]
    for m in range(np.uintp(begin), np.uintp(end)):
        now.cluster_priced[np.uintp(index.member_cluster[m])] += share
        _update_penalty(index, now, rules, m, photo)


@kernel
def occupy(index: LayoutIndex, now: Assignment, rules: Rules, first: int, places: I32) -> None:
    """Fill empty cells, from the first on, with the variants at places, int32 (n,), -1 for none."""
    for cell in range(places.shape[0]):
        now.place[first + cell] = places[cell]
        if places[cell] >= 0:
            count_use(index, now, rules, np.intp(places[cell]), np.intp(first + cell), np.intp(1))


@kernel_part
def vacate(index: LayoutIndex, now: Assignment, rules: Rules, cell: Count) -> Count:
    """Empty a cell, and return the place of its variant before, -1 for none."""
    place = np.intp(now.place[cell])
    if place >= 0:
        count_use(index, now, rules, place, cell, np.intp(-1))
        now.place[cell] = -1
    return place


@kernel
def vacate_all(index: LayoutIndex, now: Assignment, rules: Rules, cells: I32) -> None:
    """Empty some cells."""
    for i in range(cells.shape[0]):
        vacate(index, now, rules, np.intp(cells[i]))


@kernel_part
def window(now: Assignment, rules: Rules, cell: Count, size: int) -> tuple[int, int, int, int]:
    """The first row, the end of rows, the first column and the end of columns of the cells of a
    size that are too near to a cell for the same photo. Two cells of unlike sizes count the
    distance in those of the larger one."""
    own = 0
    while cell >= now.first[own + 1]:
        own += 1
    columns, number = now.columns[own], cell - now.first[own]
    row, column = number // columns, number % columns
    larger = min(own, size)
    row, column, halved = row >> (own - larger), column >> (own - larger), size - larger
    columns, distance = now.columns[larger], rules.distance
    rows = (now.first[larger + 1] - now.first[larger]) // columns
    top, bottom = max(row - distance, 0), min(row + distance + 1, rows)
    left, right = max(column - distance, 0), min(column + distance + 1, columns)
    return top << halved, bottom << halved, left << halved, right << halved


@kernel_part
def _mark_near(
    index: LayoutIndex, now: Assignment, rules: Rules, cell: Count, number: Count
) -> None:
    """Mark the photos that are too near to a cell."""
    for size in range(now.columns.shape[0]):
        top, bottom, left, right = window(now, rules, cell, size)
        first, columns = now.first[size], now.columns[size]
        for y in range(top, bottom):
            line = first + y * columns
            for c in range(np.uintp(line + left), np.uintp(line + right)):
                place = now.place[c]
                if place >= 0:
                    now.near[index.photo[np.uintp(place)]] = number


@kernel_part
def exact_cost(
    index: LayoutIndex, now: Assignment, rules: Rules, code: F32, place: Count
) -> np.float32:
    """The exact cost of a variant, without the cell's residual, which is the same for all."""
    first = index.codes.shape[0]
    if place < first:
        return _cost(index, now, rules, code, place, index.codes, place)
    return _cost(index, now, rules, code, place, index.added_codes, place - first)


@kernel_part
def _cost(
    index: LayoutIndex,
    now: Assignment,
    rules: Rules,
    code: F32,
    place: Count,
    codes: F32,
    row: Count,
) -> np.float32:
    """The same of the variant whose coefficients are a row of `codes`."""
    v, r, one, w = np.uintp(place), np.uintp(row), np.uintp(1), rules.weights
    even = odd = np.float32(0)  # two sums, so that one need not wait for the other
    for k in range(np.uintp(0), np.uintp(COEFFICIENTS), np.uintp(2)):
        away = codes[r, k] - code[k]
        even += w[k] * away * away
        away = codes[r, k + one] - code[k + one]
        odd += w[k + one] * away * away
    uses = now.priced[index.photo[v]]
    return np.float32(even + odd + rules.penalties[v] + rules.use_penalty * uses)


@kernel_part
def _to_beat(rules: Rules, cost: np.float32) -> np.float32:
    """The cost below which a new variant is clearly better than an old one of a cost."""
    weighed = min(max(cost, np.float32(MIN_WEIGHED)), np.float32(MAX_WEIGHED))
    return np.float32(cost - max((1 - rules.better) * weighed, rules.margin))


@kernel_part
def _violation(
    index: LayoutIndex, now: Assignment, rules: Rules, place: Count, number: Count
) -> int:
    """The rule that a variant violates: 0 none, 1 its photo's uses, 2 its photo's distance."""
    photo = index.photo[place]
    if now.near[photo] == number:
        return 2
    return 1 if now.uses[photo] >= rules.max_uses else 0


class Scratch(NamedTuple):
    """Memory that searches use again. The clusters to search are ranked in runs of `LANES`."""

    ranks: U16  # of clusters
    lowest: U16  # (runs,)
    slots: I32  # (runs,), the slot of a run's first cluster in `Groups`
    group_ranks: U16  # (g, rounded up), of groups of clusters
    group_lowest: U16
    costs: U16  # (max_slots,), of the variants of a cluster
    looked: NDArray[np.int64]  # (1,), how many slots were looked into


@kernel_part
def _take_lowest(ranks: U16, lowest: U16, runs: int) -> tuple[int, np.uint16]:
    """Take the lowest rank, the first of equals: where it was, and the rank."""
    run = 0
    for other in range(1, runs):
        if lowest[other] < lowest[run]:
            run = other
    rank, found = lowest[run], run * LANES
    while ranks[found] != rank:
        found += 1
    ranks[found] = np.uint16(EXCLUDED)
    lowest[run] = minimum(ranks, run * LANES, (run + 1) * LANES)
    return found, rank


@kernel_part
def _rank_clusters(
    index: LayoutIndex,
    now: Assignment,
    rules: Rules,
    levels: I16,
    mean_weight: np.int16,
    scratch: Scratch,
) -> int:
    """Rank the clusters of the nearest groups; the number of runs."""
    none, ranks = np.intp(0), scratch.ranks
    runs, groups = 0, index.groups.slots.shape[0] - 1
    if groups > 1:
        near, size = scratch.group_ranks, scratch.group_ranks.shape[0]
        penalties = rules.group_penalties
        coarse_costs(index.groups.means, none, penalties, levels, mean_weight, none, size, near)
        for run in range(scratch.group_lowest.shape[0]):
            scratch.group_lowest[run] = minimum(near, run * LANES, (run + 1) * LANES)
    for _ in range(min(groups, rules.max_groups)):
        group = 0
        if groups > 1:
            group = _take_lowest(near, scratch.group_lowest, scratch.group_lowest.shape[0])[0]
        begin, end = np.intp(index.groups.slots[group]), np.intp(index.groups.slots[group + 1])
        own = ranks[runs * LANES :]
        coarse_costs(
            index.groups.centres, none, now.cluster_penalties, levels, mean_weight, begin, end, own
        )
        for slot in range(begin, end, LANES):
            scratch.lowest[runs] = minimum(ranks, runs * LANES, (runs + 1) * LANES)
            scratch.slots[runs] = slot
            runs += 1
    return runs


@kernel_part
def _search(
    index: LayoutIndex,
    now: Assignment,
    rules: Rules,
    code: F32,
    levels: I16,
    number: Count,
    best: Count,
    best_cost: np.float32,
    scratch: Scratch,
) -> Count:
    """The cheapest of the best so far (-1 for none) and the variants of the nearest clusters.

    `code` and `levels` (28,) are the cell's coefficients, `number` is the decision's.
    """
    added = np.intp(index.coarse.shape[0] // COARSE)  # the first slot of those
    detail = expected_detail(code)
    mean_weight = quantize_weight(rules.weights[0])
    none, costs = np.intp(0), scratch.costs
    runs = _rank_clusters(index, now, rules, levels, mean_weight, scratch)
    limit = quantize(best_cost)
    for probe in range(runs * LANES):
        # Without any found, `_search_far` would have to look at more tiles.
        if probe >= rules.max_probes and best >= 0:
            break
        found, rank = _take_lowest(scratch.ranks, scratch.lowest, runs)
        cluster = index.groups.clusters[scratch.slots[found // LANES] + found % LANES]
        if rank >= quantize(rules.promising * best_cost + rules.slack):
            break
        begin, slot = np.intp(index.start[cluster]), np.intp(index.slots[cluster])
        end = np.intp(index.slots[cluster + 1])
        scratch.looked[0] += end - slot
        coarse, fine, codes, shift, row = index.coarse, index.fine, index.codes, none, begin
        if slot >= added:
            coarse, fine, codes = index.added_coarse, index.added_fine, index.added_codes
            shift, row = added, begin - np.intp(index.codes.shape[0])
        lowest = coarse_costs(coarse, shift, now.penalties, levels, mean_weight, slot, end, costs)
        if lowest < quantize(best_cost - detail):
            lowest = fine_costs(fine, shift, index.details, levels, slot, end, costs)
        last, tried = limit, 0
        while lowest < min(limit, last) and (tried < rules.tries or best < 0):
            t = 0
            while costs[t] != lowest:
                t += 1
            costs[t] = np.uint16(EXCLUDED)
            tried += 1
            if _violation(index, now, rules, begin + t, number) == 0:
                # Estimates that differ by no more than rounding does are the same.
                last = np.uint16(min(int(last), int(lowest) + (int(lowest) >> 5) + 8))
                cost = _cost(index, now, rules, code, begin + t, codes, row + t)
                if cost < best_cost:
                    best, best_cost, limit = begin + t, cost, quantize(cost)
            lowest = minimum(costs, none, end - slot)
    return best


@kernel_part
def _nearest_group(index: LayoutIndex, rules: Rules, levels: I16) -> int:
    """The group of clusters that is nearest, however far: `coarse_costs` has a highest cost."""
    nearest, least = 0, np.float32(np.inf)
    size = index.groups.means.shape[0] // COARSE
    for group in range(index.groups.slots.shape[0] - 1):
        total = np.float32(0)
        for k in range(COARSE):
            away = np.float32(index.groups.means[k * size + group] - levels[k])
            total += rules.weights[k] * away * away
        if total < least:
            nearest, least = group, total
    return nearest


@kernel_part
def _search_far(
    index: LayoutIndex, now: Assignment, rules: Rules, code: F32, levels: I16, number: Count
) -> tuple[int, np.float32]:
    """The cheapest variant of the least violation, of the nearest group of clusters: better one too
    far away than none."""
    best, best_cost, least = -1, np.float32(np.inf), 3
    group = _nearest_group(index, rules, levels)
    for slot in range(index.groups.slots[group], index.groups.slots[group + 1]):
        cluster = index.groups.clusters[slot]
        if cluster < 0:
            continue
        for place in range(index.start[cluster], index.start[cluster + 1]):
            violation = _violation(index, now, rules, place, number)
            if violation > least or np.isinf(rules.penalties[place]):  # the latter has left
                continue
            cost = exact_cost(index, now, rules, code, place)
            if violation < least or cost < best_cost:
                best, best_cost, least = place, cost, violation
    while best < 0 or np.isinf(rules.penalties[best]):  # all of the group have left
        best += 1
    return best, best_cost


@kernel
def assign(
    index: LayoutIndex,
    now: Assignment,
    rules: Rules,
    hurried: Rules,
    unhurried_slots: int,
    cells: I32,
    codes: F32,
    levels: I16,
    first_number: int,
    from_nothing: bool,
) -> None:
    """Choose a variant for each cell, in this order; each decision sees those before it.

    `codes` and `levels` (m, 28) are the coefficients of the cells. No two decisions of a stream
    have the same number. With `from_nothing`, as if the cells had been empty. When the search has
    looked into so many `unhurried_slots`, the `hurried` rules are for the other cells.
    """
    runs = now.cluster_penalties.shape[0] // LANES
    groups = index.groups.means.shape[0] // COARSE
    scratch = Scratch(
        ranks=np.empty(runs * LANES, np.uint16),
        lowest=np.empty(runs, np.uint16),
        slots=np.empty(runs, np.int32),
        group_ranks=np.empty(groups, np.uint16),
        group_lowest=np.empty(groups // LANES, np.uint16),
        costs=np.empty(index.max_slots, np.uint16),
        looked=np.zeros(1, np.int64),
    )
    if from_nothing:
        for i in range(cells.shape[0]):
            vacate(index, now, rules, np.intp(cells[i]))
    for i in range(cells.shape[0]):
        cell, number, code = np.intp(cells[i]), first_number + i, codes[i]
        old, to_beat = vacate(index, now, rules, cell), np.float32(np.inf)
        if old >= 0:
            to_beat = _to_beat(rules, exact_cost(index, now, rules, code, old))
        _mark_near(index, now, rules, cell, number)
        best: Count = -1
        best_cost = np.float32(np.inf)
        if old >= 0 and _violation(index, now, rules, old, number) == 0:
            best, best_cost = old, to_beat
        its = rules if scratch.looked[0] < unhurried_slots else hurried
        best = _search(index, now, its, code, levels[i], number, best, best_cost, scratch)
        if best < 0:
            best, best_cost = _search_far(index, now, rules, code, levels[i], number)
            if (
                old >= 0
                and _violation(index, now, rules, old, number)
                <= _violation(index, now, rules, best, number)
                and best_cost >= to_beat
            ):
                best = old
        now.place[cell] = best
        count_use(index, now, rules, best, cell, np.intp(1))
