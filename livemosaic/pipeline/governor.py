"""The governor: keeps the latency limit on a machine that is too slow, or busy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from .stats import percentile


@dataclass(frozen=True, slots=True)
class Step:
    """One way to do less work."""

    description: str  # for the HUD and the report; empty for full quality
    cell_share: float = 1.0  # matched in one frame; the other cells follow in the next frames
    tile_factor: int = 1  # how many times larger the tiles are
    every: int = 1  # only each such frame is shown
    looks_per_s: int = 10  # for the area's mask; for faces half of it

    def words(self, *, has_area: bool) -> str:
        """The description; with an area, how often its mask is made, too."""
        if not has_area or not self.description:
            return self.description
        return f"{self.description}, {self.looks_per_s} masks/s"


# From full quality down, the least visible step first. With a quarter of the cells per frame a cut
# takes four frames to settle, which is hardly visible; with an eighth it is visible. A mask takes
# 6 ms of another thread, and a person moves little between two of them; between three in a second,
# a hand leaves it for a moment.
_LARGER = Step("larger tiles", cell_share=1 / 4, tile_factor=2, looks_per_s=3)
STEPS = (
    Step(""),
    Step("1/4 of the cells per frame", cell_share=1 / 4, looks_per_s=5),
    Step("1/8 of the cells per frame", cell_share=1 / 8, looks_per_s=5),
    _LARGER,
    replace(_LARGER, description="larger tiles, half the rate", every=2),
    replace(_LARGER, description="larger tiles, a third of the rate", every=3),
    replace(_LARGER, description="larger tiles, a fifth of the rate", every=5),
)
# From here on the governor drops frames. That shortens the delay, but does not help where frames
# are dropped because the mosaic takes longer than one frame lasts.
_FIRST_LOWER_RATE = next(number for number, step in enumerate(STEPS) if step.every > 1)

# A stream whose pictures come out of order is late before the mosaic has them, and no step can
# shorten that. The remaining time is the budget, but never less than this share of the limit.
_MIN_BUDGET = 0.5

# The governor decides twice a second, or later if there are too few frames by then: ten tell a
# trend from an outlier. After a second, or if each frame takes longer than it lasts, three have to
# do.
_PERIOD_S, _MAX_PERIOD_S = 0.5, 1.0
_ENOUGH_FRAMES, _FEWEST_FRAMES = 10, 3

# It takes a step when the load is more than this share of the budget. A step back must leave less:
# with an estimate of twice the work.
_HIGH = 0.8
_STEP_BACK_WORK = 2.0

# Nine of ten frames are faster than a slow one.
_PERCENT = 90

# A cut matches all cells. They have this share of the time between two frames, so that no frame is
# left out: those that changed least wait for the next frame, but a cut takes no more than four.
_MATCH_SHARE, _LEAST_CELLS = 0.4, 1 / 4

# The time of a cell is measured where so many are matched, or some wait: else the search is longer.
_ENOUGH_CELLS = 1000

# Less work shortens no delay if its processor time is a smaller share of the time that there is.
_MATERIAL = 0.1

# A step has helped if the load without it was higher by this factor.
_HELPED = 1.1

# It takes a step back after so many seconds with a low load. If it needs the step again soon, the
# next attempt comes after twice as long, so that it does not oscillate.
_PATIENCE_S, _MAX_PATIENCE_S = 2.0, 64.0
_SOON_S = 5.0

# If no step helps, it tries again after so many seconds, then after twice as many.
_REST_S = 8.0


class Change(NamedTuple):
    at_s: float
    step: int


class _Frame(NamedTuple):
    """The durations of a frame in seconds, see `Governor.observe`."""

    latency: float
    work: float
    cpu: float
    delivery: float
    decoding: float


@dataclass(frozen=True, slots=True)
class Load:
    """The load of some frames.

    On a busy machine a thread now and then waits for a processor, for as long as several frames
    last. Such a frame is late, but not by work. With less work it waits less often, and for less
    time, only if its work needs much of the processor: see `is_material`.

    Attributes
    ----------
    latency : of the slow frames, as a share of the budget
    work : of the slow frames' mosaic, as a share of the budget, if they got processor time as fast
        as a typical frame
    cpu : the same in processor time, as a share of the budget, or of the time between two frames if
        that is shorter
    mosaic_busy, output_busy : the share of the time between two frames that each needs
    """

    latency: float
    work: float
    cpu: float
    mosaic_busy: float
    output_busy: float

    @property
    def is_material(self) -> bool:
        """Whether less work of the mosaic can shorten the delay."""
        return self.cpu >= _MATERIAL

    @property
    def busy(self) -> float:
        """The share of the time between two frames for which the next one may have to wait."""
        return max(self.output_busy, self.mosaic_busy if self.is_material else 0.0)

    @classmethod
    def of(cls, frames: list[_Frame], *, max_latency_s: float, interval_s: float) -> Load:
        cpu_s = _percentile((frame.cpu for frame in frames), _PERCENT)
        work_s = _percentile((frame.work for frame in frames), _PERCENT)
        mean_cpu_s = sum(frame.cpu for frame in frames) / len(frames)
        slowdown = _percentile((frame.work for frame in frames), 50) / max(mean_cpu_s, 1e-9)
        work_s = min(work_s, cpu_s * max(1.0, slowdown))
        decoding_s = _percentile((frame.decoding for frame in frames), 50)
        budget_s = max(max_latency_s - decoding_s, _MIN_BUDGET * max_latency_s)
        latency_s = _percentile((frame.latency - frame.decoding for frame in frames), _PERCENT)
        delivery_s = _percentile((frame.delivery for frame in frames), 50)
        return cls(
            latency=latency_s / budget_s,
            work=work_s / budget_s,
            cpu=min(cpu_s, work_s) / min(budget_s, interval_s),
            mosaic_busy=work_s / interval_s,
            output_busy=delivery_s / interval_s,
        )


def _percentile(values: Iterable[float], percent: float) -> float:
    return percentile(Counter(values), percent)


class Governor:
    """Decides from the frames' durations how much work to leave out. Knows no clock.

    `max_latency_s`, from capture to delivery, may be set at any time. `interval_s` is the time from
    one frame of the source to the next. While `may_drop` is false, a recording needs every frame.
    """

    def __init__(self, *, max_latency_s: float, interval_s: float) -> None:
        self.max_latency_s, self._interval_s = max_latency_s, interval_s
        self.may_drop = True
        self.number = self.highest = 0  # the current step and the highest so far, in `STEPS`
        self.changes: list[Change] = []  # the last hundred
        self._frames: list[_Frame] = []  # of this period
        self._period_began_s: float | None = None
        self._tried: dict[int, Load] = {}  # the loads with lower steps, which were too high
        self._resting_until_s = self._last_accepted_s = float("-inf")
        self._rest_s = _REST_S  # the next one
        self._low_s = 0.0  # how long the load has been low
        self._cell_s = 0.0  # the processor time of a match, for each cell
        self._patience_s = [_PATIENCE_S] * len(STEPS)  # before the step is taken back
        self._relaxed_s = [float("-inf")] * len(STEPS)  # when that was

    @property
    def step(self) -> Step:
        return STEPS[self.number]

    def max_cells(self, cells: int) -> int | None:
        """How many of so many cells the mosaic may match in the next frame; None for all."""
        wanted_s = self._cell_s * cells
        fitting = _MATCH_SHARE * self._interval_s / wanted_s if wanted_s else 1.0
        share = min(self.step.cell_share, max(fitting, _LEAST_CELLS))
        return None if share >= 1 else max(1, round(cells * share))

    def observe_match(self, cells: int, cpu_s: float, *, deferred: int = 0) -> None:
        """Take the processor time of a frame's match into account; `deferred` cells wait."""
        if cells and (deferred or cells > _ENOUGH_CELLS):
            self._cell_s = (self._cell_s + cpu_s / cells) / (2 if self._cell_s else 1)

    def accepts(self, captured_s: float) -> bool:
        """Whether to show a frame that was captured at that time."""
        every = self.step.every if self.may_drop else 1
        min_interval_s = (every - 0.5) * self._interval_s
        if every > 1 and captured_s - self._last_accepted_s < min_interval_s:
            return False
        self._last_accepted_s = captured_s
        return True

    def observe(
        self,
        now_s: float,
        *,
        latency_s: float,
        work_s: float,
        cpu_s: float | None = None,
        delivery_s: float = 0.0,
        decoding_s: float = 0.0,
    ) -> bool:
        """Take a frame's durations into account; returns whether the step has changed.

        Parameters
        ----------
        latency_s : from capture to delivery
        work_s, cpu_s : of the mosaic, by the clock and in processor time; None: the same
        delivery_s : of the output's work
        decoding_s : the part of the latency before the source gave the frame
        """
        if self._period_began_s is None:
            self._period_began_s = now_s
        cpu_s = work_s if cpu_s is None else cpu_s
        self._frames.append(_Frame(latency_s, work_s, cpu_s, delivery_s, decoding_s))
        frames, passed_s = self._frames, now_s - self._period_began_s
        interval_s = self._interval_s * self.step.every
        few = passed_s >= _MAX_PERIOD_S or min(frame.cpu for frame in frames) > interval_s
        enough = _FEWEST_FRAMES if few else _ENOUGH_FRAMES
        if passed_s < _PERIOD_S or len(frames) < enough:
            return False
        self._frames, self._period_began_s = [], now_s
        load = Load.of(frames, max_latency_s=self.max_latency_s, interval_s=interval_s)
        number = self._decide(now_s, passed_s, load)
        if number == self.number:
            return False
        self.number = number
        self.highest = max(self.highest, number)
        self.changes = [*self.changes[-99:], Change(now_s, number)]
        self._low_s = 0.0
        return True

    def _decide(self, now_s: float, passed_s: float, load: Load) -> int:
        """The step after a period with this load."""
        number = self.number
        if self.step.every > 1 and not self.may_drop:
            return _FIRST_LOWER_RATE - 1
        if number and self._is_dispensable(load):
            self._low_s += passed_s
            if self._low_s < self._patience_s[number]:
                return number
            self._relaxed_s[number] = now_s
            self._tried.clear()
            return number - 1
        # Not to zero: a single bad moment must not keep the step.
        self._low_s = max(0.0, self._low_s - passed_s)
        if max(load.latency, load.mosaic_busy) <= _HIGH:
            self._tried.clear()
            self._rest_s = _REST_S
            return number
        if now_s < self._resting_until_s:
            return number
        helpful = next((n for n in range(number + 1, len(STEPS)) if self._may_help(n, load)), None)
        if helpful is not None:
            self._tried[number] = load
            self._note_need(now_s, number + 1)
            return helpful
        # Nothing more can help, so that what has not helped is given back.
        equal = min((n for n in self._tried if _is_as_good(self._tried[n], load)), default=number)
        self._tried.clear()
        if equal != number:
            self._resting_until_s = now_s + self._rest_s
            self._rest_s = min(2 * self._rest_s, _MAX_PATIENCE_S)
        return equal

    def _may_help(self, number: int, load: Load) -> bool:
        """Whether a step further down can shorten the delay, or keep more frames."""
        if number < _FIRST_LOWER_RATE:
            return load.is_material
        # With a lower rate frames no longer wait for the one before.
        return self.may_drop and load.latency > _HIGH and load.busy > _HIGH

    def _is_dispensable(self, load: Load) -> bool:
        """Whether the load will be low, or as high as now, without the current step."""
        every = STEPS[self.number - 1].every / self.step.every
        if self.number >= _FIRST_LOWER_RATE:
            return load.busy / every < _HIGH
        if _STEP_BACK_WORK * load.cpu < _MATERIAL:
            return True
        is_quick = load.latency + (_STEP_BACK_WORK - 1) * load.work < _HIGH
        return is_quick and _STEP_BACK_WORK * load.mosaic_busy < _HIGH

    def _note_need(self, now_s: float, number: int) -> None:
        """Wait longer before the next attempt to do without a step that was soon needed again."""
        since_relaxed_s = now_s - self._relaxed_s[number]
        if since_relaxed_s < _SOON_S:
            self._patience_s[number] = min(2 * self._patience_s[number], _MAX_PATIENCE_S)
        elif since_relaxed_s > _MAX_PATIENCE_S:
            self._patience_s[number] = _PATIENCE_S


def _is_as_good(before: Load, now: Load) -> bool:
    return before.latency <= _HELPED * now.latency and before.work <= _HELPED * now.work
