"""A constant frame rate: which picture is shown at which tick, what is repeated and dropped.

The source reader makes it of a file's frames, a sink writer of live pictures, and the encoder for
containers that have no times. A sink that has to be fed by the clock adds `pipeline.frame_rate`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

from .frame import Frame, Item, TrackPacket

_HALF = Fraction(1, 2)


class FrameRate:
    """The ticks of a constant frame rate.

    Use one instance per stream, and one of its two ways:

    - `newest`: each tick shows the newest picture at its time. A picture is yielded when the next
      one is known. For files.
    - `nearest` and `ticks`: each picture is shown at the tick nearest to its time, at once. Skipped
      ticks repeat the picture before; of two pictures with the same tick the first is shown. For
      live pictures, which must not wait, and for encoders.

    Parameters
    ----------
    rate : ticks per second
    max_gap_s : in a longer gap no picture is repeated (`nearest` and `ticks`), or only for so long
        (`newest`); None: any gap is filled
    spacing : ticks from one picture to the next at least (`ticks`)
    """

    def __init__(self, rate: Fraction, *, max_gap_s: int | None = None, spacing: int = 1) -> None:
        self.rate, self._spacing = rate, spacing
        self.repeated = 0  # ticks that show the picture of the tick before
        self.dropped = 0  # pictures that are shown at no tick
        self._max_gap = math.inf if max_gap_s is None else max_gap_s * rate  # ticks
        self._next: int | None = None  # the first free tick

    def ticks(self, time_s: Fraction) -> range:
        """Take the free ticks up to a picture's own tick, which is the last.

        At the ticks before it, the picture before is shown. Empty if the picture has to be dropped.
        """
        # Halves always round up. Rounding them to even would give pictures of twice the rate, which
        # lie in the middle between two ticks, two ticks and no tick in turn.
        own = math.floor(time_s * self.rate + _HALF)
        first = own if self._next is None else self._next
        if own < first:
            self.dropped += 1
            return range(0)
        if own - first > self._max_gap:
            first = own
        self._next = own + self._spacing
        self.repeated += own - first
        return range(first, own + 1)

    def nearest(
        self, items: Iterable[Frame | TrackPacket]
    ) -> Iterator[tuple[Frame | TrackPacket, bool]]:
        """Yield items, and whether each is new; False for repeated frames."""
        last: Frame | None = None
        for item in items:
            if not isinstance(item, Frame):
                yield item, True
                continue
            ticks = self.ticks(item.pts * item.time_base)
            if last is not None:
                for tick in ticks[:-1]:
                    yield self.at(tick, last), False
            if ticks:
                yield self.at(ticks[-1], item), True
                last = item

    def newest(self, items: Iterable[Item], *, nominal_rate: Fraction) -> Iterator[Item]:
        """Yield exactly one frame per tick. Items of other tracks pass at once.

        The first frame is at the last tick before its time, so that other tracks stay in step. The
        input's `nominal_rate` is for a last frame without a duration.
        """
        last: Frame | None = None
        for item in items:
            if not isinstance(item, Frame):
                yield item
                continue
            time_s = item.pts * item.time_base
            if last is None:
                self._next = math.floor(time_s * self.rate)
            else:
                yield from self._until(time_s, last)
            last = item
        if last is not None:
            duration_s = last.duration * last.time_base or 1 / nominal_rate
            yield from self._until(last.pts * last.time_base + duration_s, last)

    def at(self, tick: int, frame: Frame) -> Frame:
        """The frame at the time of a tick."""
        return replace(frame, pts=tick, time_base=1 / self.rate, duration=1)

    def _until(self, end_s: Fraction, frame: Frame) -> Iterator[Frame]:
        """Take the free ticks before `end_s` for a frame."""
        assert self._next is not None
        first, self._next = self._next, max(self._next, math.ceil(end_s * self.rate))
        self.dropped += self._next == first
        shown = self._next if self._next - first <= self._max_gap else first + int(self._max_gap)
        self.repeated += max(0, shown - first - 1)
        for tick in range(first, shown):
            yield self.at(tick, frame)
