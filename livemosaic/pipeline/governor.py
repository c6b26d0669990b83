"""The governor: it keeps the promised latency on a machine that is too slow, or busy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["STEPS", "Governor", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """What is given up.

    Attributes
    ----------
    words : for a person
    matched : share of the cells that may be matched in one frame; the others follow in the next
    larger : how many times larger the tiles are
    every : only each such frame is shown
    """

    words: str
    matched: float | None = None
    larger: int = 1
    every: int = 1


# From nothing to everything that can be given up, what is seen least first. A quarter of the cells
# per frame is a cut that takes four frames to settle: hardly seen. An eighth is.
STEPS = (
    Step(""),
    Step("1/4 of the cells per frame", matched=1 / 4),
    Step("1/8 of the cells per frame", matched=1 / 8),
    Step("larger tiles", matched=1 / 4, larger=2),
    Step("larger tiles, half the rate", matched=1 / 4, larger=2, every=2),
    Step("larger tiles, a third of the rate", matched=1 / 4, larger=2, every=3),
    Step("larger tiles, a fifth of the rate", matched=1 / 4, larger=2, every=5),
)
# From here on frames are left out: it lowers the delay, but is no cure for frames that are left out
# because the mosaic takes longer than one lasts.
_FEWER_FRAMES = next(number for number, step in enumerate(STEPS) if step.every > 1)

# A stream whose pictures come out of order is late before the mosaic has them, and no step makes
# that good: what the promise leaves is to be kept, but not less than this share of it.
_LEAST_ROOM = 0.5

# What happened is judged twice a second: ten frames and more tell a habit from an accident.
_PERIOD_S = 0.5
# A step is taken when nine of ten frames take more than this share of what they may...
_HIGH = 0.8
# ... and taken back when they take less than this: a step changes the load by up to a half.
_LOW = 0.4
_USUAL = 0.9  # the share of frames that counts as nine of ten

# A step is taken back after so many seconds with room. If it is needed again soon, the next try
# comes after twice as long: so it does not swing.
_PATIENCE_S, _MOST_PATIENCE_S = 2.0, 64.0
_SOON_S = 5.0


class Change(NamedTuple):
    """A step that was taken."""

    at_s: float
    step: int


class Governor:
    """Decides from what frames took what has to be given up. Pure: times come in as parameters.

    Parameters
    ----------
    max_latency_s : the promise, from capture to hand-off
    interval_s : of the source's frames

    Attributes
    ----------
    max_latency_s : may be set at any time
    step : what is given up now
    changes : when which step was taken, the last hundred
    """

    def __init__(self, *, max_latency_s: float, interval_s: float) -> None:
        self.max_latency_s, self._interval_s = max_latency_s, interval_s
        self._number = 0
        self._lateness: list[float] = []
        self._works: list[float] = []
        self._period_began: float | None = None
        self._room_since: float | None = None
        self._patience_s = _PATIENCE_S
        self._relaxed_s = float("-inf")
        self._last_accepted_s = float("-inf")
        self.highest = 0
        self.changes: list[Change] = []

    @property
    def step(self) -> Step:
        return STEPS[self._number]

    @property
    def number(self) -> int:
        """Which of `STEPS` it is, 0 for the first."""
        return self._number

    def most(self, cells: int) -> int | None:
        """How many of so many cells may be matched in the next frame; None for all."""
        share = self.step.matched
        return None if share is None else max(1, round(cells * share))

    def accepts(self, captured_s: float) -> bool:
        """Whether a frame is to be shown, by when it was captured."""
        wanted = (self.step.every - 0.5) * self._interval_s
        if self.step.every > 1 and captured_s - self._last_accepted_s < wanted:
            return False
        self._last_accepted_s = captured_s
        return True

    def observe(
        self, now_s: float, *, latency_s: float, work_s: float, decoding_s: float = 0.0
    ) -> bool:
        """Note how a frame did.

        Parameters
        ----------
        now_s : when
        latency_s : from capture to hand-off
        work_s : of the mosaic
        decoding_s : of the latency, what passed before the source gave the frame out

        Returns
        -------
        whether `step` is another one now
        """
        if self._period_began is None:
            self._period_began = now_s
        room_s = max(self.max_latency_s - decoding_s, _LEAST_ROOM * self.max_latency_s)
        self._lateness.append((latency_s - decoding_s) / room_s)
        self._works.append(work_s)
        if now_s - self._period_began < _PERIOD_S:
            return False
        late = _usual(self._lateness)
        busy = _usual(self._works) / (self._interval_s * self.step.every)
        self._lateness.clear()
        self._works.clear()
        self._period_began = now_s
        return self._judge(now_s, late=late, busy=busy)

    def _judge(self, now_s: float, *, late: float, busy: float) -> bool:
        last = len(STEPS) - 1 if late > _HIGH else _FEWER_FRAMES - 1
        if max(late, busy) > _HIGH:
            self._room_since = None
            if self._number >= last:
                return False
            since_relaxed_s = now_s - self._relaxed_s
            if since_relaxed_s < _SOON_S:
                self._patience_s = min(2 * self._patience_s, _MOST_PATIENCE_S)
            elif since_relaxed_s > _MOST_PATIENCE_S:
                self._patience_s = _PATIENCE_S
            self._move(now_s, self._number + 1)
            return True
        if max(late, busy) > _LOW or self._number == 0:
            self._room_since = None
            return False
        if self._room_since is None:
            self._room_since = now_s
        if now_s - self._room_since < self._patience_s:
            return False
        self._room_since, self._relaxed_s = None, now_s
        self._move(now_s, self._number - 1)
        return True

    def _move(self, now_s: float, number: int) -> None:
        self._number = number
        self.highest = max(self.highest, number)
        self.changes = [*self.changes[-99:], Change(now_s, number)]


def _usual(values: list[float]) -> float:
    """What nine of ten values do not exceed."""
    return sorted(values)[min(int(len(values) * _USUAL), len(values) - 1)]
