"""A constant rate for sinks that need one, whatever that of the pictures.

By the clock for those that somebody watches, by the pictures' own times for those that keep them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from ..media.frame import Frame, TrackPacket
from ..media.ticks import Ticks
from .queues import Ended, FrameQueue

__all__ = ["ConstantPace", "ConstantRate"]

# Behind by more, the process was suspended: what was missed is not made up for.
_MOST_BEHIND = 2

# A longer time without a picture is not filled: hours of the same one are worth nothing.
_MOST_FILLED_S = 10


class ConstantPace:
    """Gives out a picture at each tick: the newest, or the last one again.

    A tick is not a moment but an interval of half a period to both sides: a picture that comes
    within it is passed on at once, so that a source of the same rate is not delayed. At its end
    the last picture is repeated.

    Parameters
    ----------
    queue : where pictures come from; a slot, so that the newest counts
    rate : ticks per second
    clock : seconds, `time.monotonic` or a test's own

    Attributes
    ----------
    repeated : how many pictures were given out again
    dropped : 0: what comes too fast is left out by the slot
    """

    dropped = 0

    def __init__(
        self,
        queue: FrameQueue[Frame | TrackPacket],
        rate: Fraction,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._rate, self._clock = queue, rate, clock
        self.repeated = 0

    def __iter__(self) -> Iterator[tuple[Frame | TrackPacket, bool]]:
        """Items, and whether each is new; frames count the ticks since the stream's time 0."""
        period = float(1 / self._rate)
        last: Frame | None = None
        tick, due = 0, 0.0
        while True:
            try:
                if last is None:
                    item = self._queue.take()
                else:
                    self._queue.rest(due - period / 2 - self._clock())
                    item = self._queue.take(max(0.0, due + period / 2 - self._clock()))
            except Ended:
                return
            if isinstance(item, TrackPacket):
                yield item, True
                continue
            now = self._clock()
            if item is not None and last is None:
                tick, due = math.floor(item.time_s * self._rate), now
            elif now > due + _MOST_BEHIND * period:
                missed = math.floor((now - due) / period)
                tick, due = tick + missed, due + missed * period
            self.repeated += item is None
            last = item or last
            if last is None:
                continue
            yield replace(last, pts=tick, time_base=1 / self._rate, duration=1), item is not None
            tick, due = tick + 1, due + period


class ConstantRate:
    """Gives each picture to the tick that is nearest to its time, at once.

    Ticks that were passed over get the picture before them; a picture whose tick is taken is left
    out.

    Parameters
    ----------
    queue : where pictures come from
    rate : ticks per second

    Attributes
    ----------
    repeated : how many pictures were given out again
    dropped : how many were left out
    """

    def __init__(self, queue: FrameQueue[Frame | TrackPacket], rate: Fraction) -> None:
        self._queue, self._rate = queue, rate
        self._ticks = Ticks(rate)
        self.repeated = 0

    @property
    def dropped(self) -> int:
        return self._ticks.dropped

    def __iter__(self) -> Iterator[tuple[Frame | TrackPacket, bool]]:
        """Items, and whether each is new; frames count the ticks since the stream's time 0."""
        last: Frame | None = None
        for item in self._queue:
            if isinstance(item, TrackPacket):
                yield item, True
                continue
            ticks = self._ticks.take(item.pts * item.time_base)
            if ticks is None:
                continue
            if last is not None and len(ticks) - 1 <= _MOST_FILLED_S * self._rate:
                for tick in ticks[:-1]:
                    self.repeated += 1
                    yield self._at(tick, last), False
            yield self._at(ticks[-1], item), True
            last = item
            del item

    def _at(self, tick: int, frame: Frame) -> Frame:
        return replace(frame, pts=tick, time_base=1 / self._rate, duration=1)
