"""Matching by layout: the tile whose colours are where the cell's are.

The cost of a tile in a cell is

    the squared distance of its points to the cell's (CIELAB, mean over 4x4 points)
    + a penalty for each cell that shows the same photo (variety)
    + a penalty for a photo without much detail (variety, too)

and photos that are too near are excluded. Source of the rules that keep the picture calm, and of
the values that theirs started from: photomosaic-video 0.1.0 (PyPI).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...gallery.gallery import Gallery
from ...gallery.layout_codes import encode, weights
from ...gallery.layout_features import POINTS, cell_lab, cell_points, points_to_lab
from ...gallery.layout_index import LayoutIndex, layout_index
from ...gallery.levels import COARSE, COST_LEVELS, EXCLUDED, to_levels
from ...jit import F32, I32, U8, U16, Bools, kernel
from ..grid import Grid
from ..settings import MosaicSettings
from .base import Matcher
from .denoise import Denoiser
from .search import Rules, assign, empty_assignment, occupy, vacate_all

if TYPE_CHECKING:
    from .quota import Quota

# The search looks into the nearest clusters of tiles for each cell, as long as they are promising
# compared with the cost of the best tile so far: up to so many times that cost, and so much more. A
# plain wall, whose cells all want the same photos, needs many.
_PROMISING, _SLACK, _TRIES = 1.4, 25.0, 16
# Without a tint the tiles of a cluster have different means, and its centre's distance says less.
_PROMISING_UNTINTED = 2.1
# In a gallery too large for a processor's caches, at most so many clusters and tiles of each; more
# when there is time. Many of its tiles are nearly as good as the best one.
_LARGE_GALLERY = 100_000
_LARGE_PROBES, _LARGE_TRIES = 3, 2
# A single picture may take longer: its cells all choose at once, and what is near is soon taken.
_LARGE_PROBES_UNHURRIED = 256
# Where clusters are in groups (see `Groups`), of so many groups, which leaves the time for more
# clusters and tiles. Live, twice the groups find nothing better, even with a million tiles.
_GROUPS, _GROUPS_UNHURRIED = 8, 64
_GROUPED_PROBES, _GROUPED_TRIES = 6, 4

# A frame with more cells to match is hurried: a picture in time is worth more than the best fit of
# what moves or is new. bench/match.py measures how often the best tile is missed.
UNHURRIED_CELLS = 1000
# With fewer cells, so are the last ones when the search has looked into so many slots, for 8 ms: in
# 20,000 tiles whose layouts are alike, 900 cells look into 40 million. The included photos rarely
# need more.
UNHURRIED_SLOTS = 5_000_000
_ALL_SLOTS = 2**62
_HURRIED_PROMISING, _HURRIED_SLACK, _HURRIED_PROBES, _HURRIED_TRIES = 1.3, 0.0, 16, 2
# In a hurry, a search looks into clusters of so many variants together.
_HURRIED_VARIANTS = 1700
# Finer cells keep the slack: without it, one in six gets a tile that costs over 5 % more than the
# best. It takes 2 to 5 % of the time of a cut.
_HURRIED_SLACK_FINER = _SLACK

# A cell is matched again when its points have moved this far since its last match (CIELAB, root
# mean square), from lively to still. Camera noise of sigma 4 moves them by up to 1 in cells of 32
# pixels, and by up to 3 in cells of 8.
_MOVED_LIVELY, _MOVED_STILL = 3.5, 8.5
# A new tile must cost less than this part of the old one's cost, from lively to still.
_BETTER_LIVELY, _BETTER_STILL = 1.0, 0.6

# Of the noise in a cell's points, the part that is no move: less would match all cells again as the
# mean becomes better, more would leave them as they were chosen for noisy points.
_NOISE_MOVES = 0.85
# A new tile must cost less than the old one by so much of the noise: tiles also fit noise.
_NOISE_MARGIN = 0.25

# When more than this share of the cells have moved this far it is a cut: no cell keeps its tile.
# The median cell of Big Buck Bunny's cuts moves by 15 to 52, of all its other frames by 10 at most;
# ugly camera noise moves it by 8.
_CUT_SHARE, _CUT_MOVED = 0.5, 13.0

# Penalties in CIELAB units, squared, at full variety. A second use of a photo costs as much as a
# distance of 9 at every point, a plain tile as much as one of 11.
_USE_PENALTY = 80.0
_PLAIN_PENALTY = 2.5  # for each level that the texture is below
_ENOUGH_TEXTURE = 40.0  # levels; half of the included photos' tiles have less

# The penalty of a crop that was added for its colours, in square tiles of so many pixels; more in
# larger ones. In a tile of 8 pixels a head that is cut off cannot be seen.
_CROP_PENALTY, _CROP_TILE_PX = 128.0, 32


class Decisions(NamedTuple):
    """The course of a match, for tests and measurements."""

    before: I32  # (cells,), the place in the index of each cell's variant before, -1 for none
    cells: I32  # (n,), the matched cells, in the order of their decisions


class LayoutMatcher(Matcher):
    """Per-stream state of the match by layout.

    `min_distance` is lower in a gallery of few photos, and `max_uses` higher. With `hurry`, the
    search is shorter where more than `unhurried_cells` wait, when it has looked into
    `unhurried_slots` of clusters for the cells of a frame, or where the gallery has more than
    `large_gallery` tiles and mirror images. `denoiser` and `index` are others for tests.
    """

    points: ClassVar[int] = POINTS

    def __init__(
        self,
        gallery: Gallery,
        grid: Grid,
        settings: MosaicSettings,
        *,
        hurry: bool = True,
        unhurried_cells: int = UNHURRIED_CELLS,
        unhurried_slots: int = UNHURRIED_SLOTS,
        large_gallery: int = _LARGE_GALLERY,
        denoiser: Denoiser | None = None,
        index: LayoutIndex | None = None,
    ) -> None:
        super().__init__(gallery, grid, settings)
        self._unhurried_cells = unhurried_cells if hurry else grid.cells
        self._unhurried_slots = unhurried_slots if hurry else _ALL_SLOTS
        self.index = index = layout_index(gallery) if index is None else index
        self._photos = photos = int(np.count_nonzero(np.diff(index.photo_start)))
        plain = np.maximum(_ENOUGH_TEXTURE - index.texture, 0)
        penalties = _PLAIN_PENALTY * settings.variety * plain
        penalties += _crop_penalty(grid) * gallery.added_crops[index.variant // 2]
        penalties = (index.residual + penalties).astype(np.float32)
        probes, tries = len(index.start) - 1, _TRIES
        grouped = len(index.groups.slots) > 2
        self._is_large = len(index.variant) > large_gallery
        if self._is_large:
            most, tries = _LARGE_PROBES, _LARGE_TRIES
            if grouped:
                most, tries = _GROUPED_PROBES, _GROUPED_TRIES
            if not hurry:
                most, tries = _LARGE_PROBES_UNHURRIED, _TRIES
            probes = min(probes, most)
        clusters = _HURRIED_VARIANTS * (len(index.start) - 1) / len(index.variant)
        most = _LARGE_PROBES if grouped else _HURRIED_PROBES
        self._hurried_probes = int(np.clip(clusters, _LARGE_PROBES, most))
        max_uses = settings.max_uses or grid.cells
        mean_penalties = np.add.reduceat(penalties, index.start[:-1]) / np.diff(index.start)
        if gallery.gone.any():
            penalties[gallery.gone[index.variant // 2]] = np.inf
        if grouped:  # then they differ in detail, too, see `layout_arrays`
            details = np.add.reduceat(index.details, index.slots[:-1], dtype=np.int64)
            mean_penalties += details / COST_LEVELS / np.diff(index.start)
        self.rules = Rules(
            weights=weights(settings.tint),
            penalties=penalties,
            member_penalties=penalties[index.photo_members],
            cluster_penalties=mean_penalties.astype(np.float32),
            group_penalties=_group_penalties(mean_penalties, index),
            use_penalty=np.float32(_USE_PENALTY * settings.variety**2),
            distance=min(settings.min_distance, _possible_distance(photos)),
            max_uses=max(max_uses, -(-grid.cells // photos)),  # enough to fill the picture
            better=np.float32(1),
            margin=np.float32(0),
            max_groups=_GROUPS if hurry else _GROUPS_UNHURRIED,
            max_probes=probes,
            promising=np.float32(_PROMISING),
            slack=np.float32(_SLACK),
            tries=tries,
        )
        self.assignment = empty_assignment([grid], index, self.rules)  # changed by `match` only
        self._first = 0  # the number of the first cell there
        self._hurried_slack = _HURRIED_SLACK
        self.update_settings(settings)
        self._lab = np.zeros((grid.cells, 16, 3), np.float32)  # the points of the last frame
        self._matched = np.full((grid.cells, 16, 3), np.inf, np.float32)  # at the last match
        self._denoiser = denoiser or Denoiser(grid.cells)
        self._matched_frames = np.ones(grid.cells, np.float32)  # that they were a mean of
        self._cut = False  # whether the next match starts from nothing
        self._decided = 0  # decisions so far
        self._quota: Quota | None = None
        self._make_quota(grid.cells)

    def _make_quota(self, cells: int) -> None:
        """Make the quota of a picture that has so many cells at least."""
        if self.settings.min_uses:
            from .quota import Quota

            own = self._first, self.grid.cells
            self._quota = Quota(self.index, self.assignment, self.settings, cells=cells, own=own)

    @classmethod
    def join(cls, matchers: Sequence[Self]) -> None:
        """Uses, distances and prices count over all sizes."""
        whole = matchers[0]
        # Where cells are finer, there are more of them within a distance.
        distance = _possible_distance(whole._photos // 2)
        rules = whole.rules._replace(distance=min(whole.rules.distance, distance))
        assignment = empty_assignment([it.grid for it in matchers], whole.index, rules)
        for size, matcher in enumerate(matchers):
            matcher.rules, matcher.assignment = rules, assignment
            matcher._first = int(assignment.first[size])
            matcher._hurried_slack = _HURRIED_SLACK_FINER if size else _HURRIED_SLACK
            matcher._decided = size << 48  # no two decisions have the same number
            if matcher.settings.unhurried:
                matcher._unhurried_cells = matcher.grid.cells
                matcher._unhurried_slots = _ALL_SLOTS
            matcher._make_quota(whole.grid.cells)

    @property
    def most_cells(self) -> int:
        """As often as each photo may be used."""
        return self.rules.max_uses * self._photos

    @property
    def is_cut(self) -> bool:
        """Whether most cells show something else, until they are matched."""
        return self._cut

    @property
    def _place(self) -> I32:
        """Of the own cells in the assignment."""
        return self.assignment.place[self._first : self._first + self.grid.cells]

    def leave(self, cells: I32) -> None:
        """Their photos may be used elsewhere."""
        vacate_all(self.index, self.assignment, self.rules, cells + np.int32(self._first))

    def show(self, cell: int, tile: int) -> None:
        """The cell counts for the photo."""
        number = cell + self._first
        vacate_all(self.index, self.assignment, self.rules, np.array([number], np.int32))
        place = self.index.place[[2 * tile]]  # not mirrored
        occupy(self.index, self.assignment, self.rules, number, place)

    @property
    def distance(self) -> int:
        """As in the rules."""
        return self.rules.distance

    @classmethod
    def warm_up(cls, gallery: Gallery) -> None:
        """Make the index: 2 s for 300,000 tiles."""
        layout_index(gallery)

    def take_over(self, before: Matcher) -> bool:
        """Go on where a matcher with an earlier state of the gallery is; each cell whose tile has
        left is matched again."""
        if not isinstance(before, LayoutMatcher):
            return False
        old = before._place
        place = np.where(old >= 0, self.index.place[before.index.variant[old]], np.int32(-1))
        occupy(self.index, self.assignment, self.rules, self._first, place.astype(np.int32))
        self._matched, self._matched_frames = before._matched, before._matched_frames
        self._matched[place < 0] = np.inf
        self._denoiser, self._decided = before._denoiser, before._decided
        return True

    def update_settings(self, settings: MosaicSettings) -> None:
        """Use another tint and calm from the next frame on; tiles stay until their cells move."""
        super().update_settings(settings)
        tint, calm = settings.tint, settings.calm
        self._moved = _MOVED_LIVELY + calm * (_MOVED_STILL - _MOVED_LIVELY)
        better = _BETTER_LIVELY + calm * (_BETTER_STILL - _BETTER_LIVELY)
        self.rules = self.rules._replace(
            weights=weights(tint), promising=_promising(tint), better=np.float32(better)
        )

    def observe(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
        """Cells whose points have moved since their last match are matched again, the farthest
        first."""
        urgency = self._moves(bgr) if self.visible is None else self._moves_of(self.visible, bgr)
        shown = self._place >= 0
        far = (urgency > _CUT_MOVED**2 + 2 * self._denoiser.noise) & shown
        self._cut = bool(np.count_nonzero(far) > _CUT_SHARE * np.count_nonzero(shown))
        if self._quota is not None:
            self._quota.offer_cells(urgency)
        return urgency

    def _moves(self, bgr: U8) -> I32:
        """How far the cells have moved, see `_moved`."""
        grid = self.grid
        self._lab = self._denoiser.update(cell_lab(bgr, grid.rows, grid.columns))
        urgency = np.empty(grid.cells, np.int32)
        _moved(self._lab, self._matched, self._matched_frames, *self._limits, urgency)
        return urgency

    def _moves_of(self, visible: Bools, bgr: U8) -> I32:
        """The same of some cells, which are few; 0 for the others."""
        grid, wanted = self.grid, visible.copy()
        wanted[self._denoiser.samples] = True
        some = np.flatnonzero(wanted)
        points = cell_points(bgr, grid.rows, grid.columns, some)
        self._lab[some] = lab = self._denoiser.update(points_to_lab(points), some)
        moves = np.empty(len(some), np.int32)
        _moved(lab, self._matched[some], self._matched_frames[some], *self._limits, moves)
        urgency = np.zeros(grid.cells, np.int32)
        urgency[some] = moves
        urgency[~visible] = 0
        return urgency

    @property
    def _limits(self) -> tuple[np.float32, np.float32]:
        return np.float32(self._moved**2), np.float32(_NOISE_MOVES * self._denoiser.noise)

    def describe(self, cells: I32) -> None:
        """The features are the coefficients of the cells' points."""
        self._codes, self._residual = encode(self._lab[cells])

    def match(self, cells: I32, *, active: int) -> tuple[I32, Bools]:
        """The cheapest tile for each cell, or its old one if no other is clearly cheaper."""
        self.choose(cells, active)
        if self._quota is not None:
            self._quota.fill_some(self.rules, cells, self._codes)
        return self.chosen(cells)

    def choose(self, cells: I32, active: int) -> None:
        """Choose by cost, without the quota."""
        place, waves = self._place, self._codes[:, 3:]  # all but the means
        # Cells with much detail choose first; many tiles suit a plain one.
        variance = np.einsum("ij,ij->i", waves, waves) + self._residual
        order = np.argsort(-variance, kind="stable")
        cut, self._cut = self._cut, False  # cells that are matched twice in a frame keep tiles
        before = place.copy()
        if cut:
            before[cells] = -1
        self.decisions = Decisions(before, cells[order])
        margin = np.float32(_NOISE_MARGIN * self._denoiser.noise)
        codes, rules = self._codes[order], self.rules._replace(margin=margin)
        hurried = rules._replace(
            max_probes=min(rules.max_probes, self._hurried_probes),
            promising=np.float32(_HURRIED_PROMISING),
            slack=np.float32(self._hurried_slack),
            tries=_HURRIED_TRIES,
        )
        slots = self._unhurried_slots
        if len(cells) > self._unhurried_cells or active > len(cells):  # cells wait: time is short
            slots = 0
        coded = codes, to_levels(codes), self._decided
        numbers = self.decisions.cells + np.int32(self._first)
        assign(self.index, self.assignment, rules, hurried, slots, numbers, *coded, cut)
        self._decided += len(cells)
        self._matched[cells] = self._lab[cells]
        self._matched_frames[cells] = np.maximum(self._denoiser.frames[cells], 1)

    def chosen(self, cells: I32) -> tuple[I32, Bools]:
        """The tiles that the cells have now, and which are mirrored."""
        variants = self.index.variant[self._place[cells]]
        return variants // 2, (variants & 1).astype(np.bool_)


@kernel
def _moved(
    lab: F32, matched: F32, frames: F32, limit: np.float32, noise: np.float32, urgency: I32
) -> None:
    """The squared distance that points have moved, where it is above the limit; else 0. Noise adds
    to the limit, less where the matched points are a mean of more frames."""
    n = np.float32(lab.shape[1])
    for i in range(np.uintp(lab.shape[0])):
        total = np.float32(0)
        for p in range(np.uintp(lab.shape[1])):
            for channel in range(np.uintp(3)):
                away = lab[i, p, channel] - matched[i, p, channel]
                total += away * away
        total /= n
        is_far = total > limit + noise / frames[i]
        urgency[i] = np.int32(min(total, np.float32(1e9))) if is_far else np.int32(0)


def _group_penalties(cluster_penalties: NDArray[Any], index: LayoutIndex) -> U16:
    """The means of the clusters' penalties, of each group, as the search reads them."""
    there = index.groups.clusters >= 0
    values = np.where(there, cluster_penalties[index.groups.clusters], 0)
    first = index.groups.slots[:-1]
    means = np.add.reduceat(values, first) / np.add.reduceat(there, first, dtype=np.int32)
    made = np.full(len(index.groups.means) // COARSE, EXCLUDED, np.uint16)
    made[: len(means)] = np.clip(means * COST_LEVELS, 0, EXCLUDED - 1)
    return made


def _crop_penalty(grid: Grid) -> float:
    size = math.sqrt(grid.tile_width * grid.tile_height) / _CROP_TILE_PX
    return _CROP_PENALTY * size * min(size, 1)


def _promising(tint: float) -> np.float32:
    """The distance of a cluster that is still promising, by how much the mean counts."""
    lowest, counts = weights(1.0)[0], weights(tint)[0]
    share = (counts - lowest) / (1 - lowest)
    return np.float32(_PROMISING + share * (_PROMISING_UNTINTED - _PROMISING))


def _possible_distance(photos: int) -> int:
    """The distance of equal photos that leaves half of the photos to choose from; at least 1."""
    return max(1, (int(np.sqrt(photos / 2)) - 1) // 2)
