"""A constant pace for sinks that need one, whatever the pace of the pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from ..frame import Frame, TrackPacket
from ..handover import Ended, Handover

__all__ = ["ConstantPace"]

# Behind by more, the process was suspended: what was missed is not made up for.
_MOST_BEHIND = 2


class ConstantPace:
    """Gives out a picture at each tick: the newest, or the last one again.

    A tick is not a moment but an interval of half a period to both sides: a picture that comes
    within it is passed on at once, so that a source of the same rate is not delayed. At its end
    the last picture is repeated.

    Parameters
    ----------
    handover : where pictures come from; a slot, so that the newest counts
    rate : ticks per second
    clock : seconds, `time.monotonic` or a test's own

    Attributes
    ----------
    repeated : how many pictures were given out again
    """

    def __init__(
        self,
        handover: Handover[Frame | TrackPacket],
        rate: Fraction,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handover, self._rate, self._clock = handover, rate, clock
        self.repeated = 0

    def __iter__(self) -> Iterator[tuple[Frame | TrackPacket, bool]]:
        """Items, and whether each is new; frames count the ticks since the stream's time 0."""
        period = float(1 / self._rate)
        last: Frame | None = None
        tick, due = 0, 0.0
        while True:
            try:
                if last is None:
                    item = self._handover.take()
                else:
                    self._handover.rest(due - period / 2 - self._clock())
                    item = self._handover.take(max(0.0, due + period / 2 - self._clock()))
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
