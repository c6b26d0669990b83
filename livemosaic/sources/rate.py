"""What is done to the times of a stream of items: stop after a while, pace.

Each takes the items of a source and gives items, so that any of them can follow any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

from ..media.frame import Frame, Item, StatusEvent, TrackPacket

__all__ = ["limited", "paced"]

# A container may hold a track's packets this much later than the picture they belong to. Longer
# than any muxer's interleaving; it bounds what is decoded for nothing.
_LATE_S = 2


def limited(items: Iterable[Item], seconds: float) -> Iterator[Item]:
    """The first `seconds` of a stream, all its tracks cut at the same time.

    Pictures and packets are not in step in a container: after the last picture it reads on (at
    most 2 s) for what other tracks still have to give before the end.
    """
    end: Fraction | None = None
    behind: set[int] = set()  # tracks that may still have something before the end
    for item in items:
        if isinstance(item, Frame):
            at = item.pts * item.time_base
            if end is None:
                # To the microsecond: the float next to 0.2 lets a frame at 0.2 s through.
                end = at + Fraction(seconds).limit_denominator(1_000_000)
            if at < end:
                yield item
            elif not behind or at > end + _LATE_S:
                return
        elif isinstance(item, StatusEvent):
            yield item
        elif end is None or not _starts_after(item, end):
            behind.add(item.track)
            yield item
        else:
            behind.discard(item.track)


def paced(
    items: Iterable[Item],
    *,
    wait: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """Frames no earlier than a live source would give them, stamped as captured then.

    Parameters
    ----------
    wait : called with seconds; may return early when the program is to stop
    clock : seconds, `time.monotonic` or a test's own
    """
    start: float | None = None  # what the clock says at the stream's time 0
    for item in items:
        if isinstance(item, Frame):
            now = clock()
            if start is None:
                start = now - item.time_s
            # By absolute times: waiting from frame to frame would drift.
            if (early := start + item.time_s - now) > 0:
                wait(early)
            item = replace(item, captured_s=clock())
        yield item


def _starts_after(item: TrackPacket, end: Fraction) -> bool:
    packet = item.packet
    if packet.pts is None or packet.time_base is None:
        return False
    # PyAV's rationals are not all `Fraction`s; see `media.fraction`.
    base = packet.time_base
    return bool(Fraction(packet.pts * base.numerator, base.denominator) >= end)
