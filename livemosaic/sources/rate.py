"""A source at a constant rate, whatever the rate of the one behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from ..frame import Frame, StreamInfo, TrackPacket
from .base import Source

__all__ = ["FixedRate"]


class FixedRate:
    """Repeats and leaves out frames so that there are exactly `rate` per second.

    Each output frame is the newest input frame at its time. Packets of other tracks pass.
    """

    def __init__(self, source: Source, *, rate: Fraction) -> None:
        self._source, self._rate = source, rate
        info = source.info
        frames = info.frames
        if frames is not None:
            frames = max(1, round(frames * rate / info.rate))
        self._info = replace(info, rate=rate, time_base=1 / rate, frames=frames)

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def info(self) -> StreamInfo:
        return self._info

    @property
    def bad_frames(self) -> int:
        return self._source.bad_frames

    def __iter__(self) -> Iterator[Frame | TrackPacket]:
        newest: Frame | None = None
        tick = 0
        end = Fraction(0)
        for item in self._source:
            if isinstance(item, TrackPacket):
                yield item
                continue
            time = item.pts * item.time_base
            if newest is None:
                # The first tick at or before the first frame: other tracks stay in step.
                tick = int(time * self._rate)
            else:
                while Fraction(tick) < time * self._rate:
                    yield self._at(newest, tick)
                    tick += 1
            newest = item
            end = time + max(item.duration * item.time_base, 1 / self._rate)
        while newest is not None and Fraction(tick) < end * self._rate:
            yield self._at(newest, tick)
            tick += 1

    def close(self) -> None:
        self._source.close()

    def _at(self, frame: Frame, tick: int) -> Frame:
        return replace(frame, pts=tick, time_base=self._info.time_base, duration=1)
