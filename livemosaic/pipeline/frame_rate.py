"""A constant frame rate by the clock, for live sinks. `media.frame_rate` goes by frame times."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from ..media.frame import Frame, TrackPacket
from ..media.frame_rate import FrameRate
from .queues import Ended, FrameQueue

# After a longer delay the process was suspended: the missed ticks are left out.
_MAX_BEHIND = 2  # periods


def by_clock(
    queue: FrameQueue[Frame | TrackPacket],
    frame_rate: FrameRate,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[Frame | TrackPacket, bool]]:
    """Yield one picture per tick, the latest or the last one again, and whether it is new.

    A tick is an interval of half a period to both sides. A picture that comes within it is yielded
    at once, so that a source of the same rate is not delayed. At its end the last one is repeated.
    The queue is a `LatestQueue`, because only the latest picture counts.
    """
    period = float(1 / frame_rate.rate)
    last: Frame | None = None
    tick, due = 0, 0.0
    while True:
        try:
            if last is None:
                item = queue.take()
            else:
                queue.rest(due - period / 2 - clock())
                item = queue.take(max(0.0, due + period / 2 - clock()))
        except Ended:
            return
        if isinstance(item, TrackPacket):
            yield item, True
            continue
        now = clock()
        if item is not None and last is None:
            tick, due = math.floor(item.time_s * frame_rate.rate), now
        elif now > due + _MAX_BEHIND * period:
            missed = math.floor((now - due) / period)
            tick, due = tick + missed, due + missed * period
        frame_rate.repeated += item is None
        last = item or last
        if last is None:
            continue
        yield frame_rate.at(tick, last), item is not None
        tick, due = tick + 1, due + period
