"""The governor: keeps the latency limit on a machine that is too slow, or busy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from .stats import percentile


@dataclass(frozen=True, slots=True)
class Step:
    """One way to do less work."""

    description: str  # for the HUD and the report; empty for full quality
    cell_share: float = 1.0  # matched in one frame; the other cells follow in the next frames
    tile_factor: int = 1  # how many times larger the tiles are
    every: int = 1  # only each such frame is shown


# From full quality down, the least visible step first. With a quarter of the cells per frame a cut
# takes four frames to settle, which is hardly visible; with an eighth it is visible.
STEPS = (
    Step(""),
    Step("1/4 of the cells per frame", cell_share=1 / 4),
    Step("1/8 of the cells per frame", cell_share=1 / 8),
    Step("larger tiles", cell_share=1 / 4, tile_factor=2),
    Step("larger tiles, half the rate", cell_share=1 / 4, tile_factor=2, every=2),
    Step("larger tiles, a third of the rate", cell_share=1 / 4, tile_factor=2, every=3),
    Step("larger tiles, a fifth of the rate", cell_share=1 / 4, tile_factor=2, every=5),
)
# From here on the governor drops frames. That shortens the delay, but does not help where frames
# are dropped because the mosaic takes longer than one frame lasts.
_FIRST_LOWER_RATE = next(number for number, step in enumerate(STEPS) if step.every > 1)

# A stream whose pictures come out of order is late before the mosaic has them, and no step can
# shorten that. The remaining time is the budget, but never less than this share of the limit.
_MIN_BUDGET = 0.5

# The governor decides twice a second: ten frames and more tell a trend from an outlier.
_PERIOD_S = 0.5
# It takes a step when 90 % of the frames take more than this share of their budget...
_HIGH = 0.8
# ... and takes it back when they take less than this: a step changes the load by up to a half.
_LOW = 0.4
_PERCENT = 90

# It takes a step back after so many seconds with a low load. If it needs the step again soon, the
# next attempt comes after twice as long, so that it does not oscillate.
_PATIENCE_S, _MAX_PATIENCE_S = 2.0, 64.0
_SOON_S = 5.0


class Change(NamedTuple):
    at_s: float
    step: int


class Governor:
    """Decides from the frames' durations how much work to leave out. Knows no clock.

    `max_latency_s`, from capture to delivery, may be set at any time. `interval_s` is the time from
    one frame of the source to the next.
    """

    def __init__(self, *, max_latency_s: float, interval_s: float) -> None:
        self.max_latency_s, self._interval_s = max_latency_s, interval_s
        self.number = self.highest = 0  # the current step and the highest so far, in `STEPS`
        self.changes: list[Change] = []  # the last hundred
        self._latency_shares: Counter[float] = Counter()
        self._work_shares: Counter[float] = Counter()
        self._period_began_s: float | None = None
        self._low_since_s: float | None = None
        self._patience_s = _PATIENCE_S
        self._relaxed_s = self._last_accepted_s = float("-inf")

    @property
    def step(self) -> Step:
        return STEPS[self.number]

    def max_cells(self, cells: int) -> int | None:
        """How many of so many cells the mosaic may match in the next frame; None for all."""
        share = self.step.cell_share
        return None if share == 1 else max(1, round(cells * share))

    def accepts(self, captured_s: float) -> bool:
        """Whether to show a frame that was captured at that time."""
        min_interval_s = (self.step.every - 0.5) * self._interval_s
        if self.step.every > 1 and captured_s - self._last_accepted_s < min_interval_s:
            return False
        self._last_accepted_s = captured_s
        return True

    def observe(
        self, now_s: float, *, latency_s: float, work_s: float, decoding_s: float = 0.0
    ) -> bool:
        """Take a frame's durations into account; returns whether the step has changed.

        `work_s` is the mosaic's. `decoding_s` is the part of the latency before the source gave the
        frame.
        """
        if self._period_began_s is None:
            self._period_began_s = now_s
        budget_s = max(self.max_latency_s - decoding_s, _MIN_BUDGET * self.max_latency_s)
        self._latency_shares[(latency_s - decoding_s) / budget_s] += 1
        self._work_shares[work_s / (self._interval_s * self.step.every)] += 1
        if now_s - self._period_began_s < _PERIOD_S:
            return False
        latency_share = percentile(self._latency_shares, _PERCENT)
        work_share = percentile(self._work_shares, _PERCENT)
        self._latency_shares.clear()
        self._work_shares.clear()
        self._period_began_s = now_s
        return self._decide(now_s, latency_share, work_share)

    def _decide(self, now_s: float, latency_share: float, work_share: float) -> bool:
        load = max(latency_share, work_share)
        if load > _HIGH:
            self._low_since_s = None
            last = len(STEPS) - 1 if latency_share > _HIGH else _FIRST_LOWER_RATE - 1
            if self.number >= last:
                return False
            since_relaxed_s = now_s - self._relaxed_s
            if since_relaxed_s < _SOON_S:
                self._patience_s = min(2 * self._patience_s, _MAX_PATIENCE_S)
            elif since_relaxed_s > _MAX_PATIENCE_S:
                self._patience_s = _PATIENCE_S
            self._move(now_s, self.number + 1)
            return True
        if load > _LOW or self.number == 0:
            self._low_since_s = None
            return False
        if self._low_since_s is None:
            self._low_since_s = now_s
        if now_s - self._low_since_s < self._patience_s:
            return False
        self._low_since_s, self._relaxed_s = None, now_s
        self._move(now_s, self.number - 1)
        return True

    def _move(self, now_s: float, number: int) -> None:
        self.number = number
        self.highest = max(self.highest, number)
        self.changes = [*self.changes[-99:], Change(now_s, number)]
