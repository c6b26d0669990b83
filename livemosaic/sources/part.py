"""A part of a stream: the picture and all other tracks begin and end at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import ceil, inf
from typing import Any, TypeVar

from ..errors import OptionError
from ..media.ffmpeg import fraction, packet_begin_s, shift_packet
from ..media.frame import Frame, Item, StatusEvent, StreamInfo, TrackPacket
from .base import EARLY_S, Source

T = TypeVar("T", bound=Item)

# A container may store a track's packets this much later than the picture of the same time. It is
# longer than any muxer's interleaving, and limits what is decoded in vain.
_LATE_S = 2


class PartSource(Source):
    """A part of a source, which is not live: its times begin at 0, and so do its chapters.

    `start_s` and `end_s` count from the first frame; None: from the beginning, to the end. Closes
    the source. `OptionError` if the source has no frame at the start.
    """

    def __init__(
        self, source: Source, *, start_s: float | None = None, end_s: float | None = None
    ) -> None:
        self.name, self._source = source.name, source
        if start_s == inf:  # of a number with hundreds of digits
            raise _too_late(source, start_s)
        items, early = iter(source), list[Item]()
        first: tuple[Fraction, Fraction] | None = None
        for item in items:
            early.append(item)
            if isinstance(item, Frame):
                first = item.pts * item.time_base, item.time_base
                break
        begin_s, tick = first or (Fraction(0), Fraction(1))
        # In whole ticks, so that the frames' times are exact.
        start = begin_s + ceil(_exact(start_s or 0.0) / tick) * tick
        end = None if end_s is None else begin_s + _exact(end_s)
        rest = source.skip_to(start, items) if start > begin_s else items
        whole = _chained(early, items) if rest is items else rest
        self._range = start, end
        self._origin_s = origin_s = start if start_s is not None else Fraction(0)
        self._items = self._part_of(whole)
        self._ahead: list[Item] = []
        for item in self._items:
            self._ahead.append(item)
            if isinstance(item, Frame):
                break
        else:
            raise _too_late(source, start_s)
        self._bad_before = source.bad_frames
        self.info = _part_info(source.info, origin_s, end and end - begin_s, start - begin_s)

    @property
    def bad_frames(self) -> int:
        return self._source.bad_frames - self._bad_before

    def __iter__(self) -> Iterator[Item]:
        yield from _chained(self._ahead, self._items)

    def skip_to(
        self, time_s: Fraction, items: Iterator[Item], *, early_s: float = EARLY_S
    ) -> Iterator[Item]:
        rest = self._source.skip_to(time_s + self._origin_s, self._items, early_s=early_s)
        if rest is self._items:
            return items
        self._items = self._part_of(rest)
        return self._items

    def _part_of(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items of the part, at its times."""
        start, end = self._range
        return (_shifted(it, -self._origin_s) for it in part(items, start_s=start, end_s=end))

    def interrupt(self) -> None:
        self._source.interrupt()

    def close(self) -> None:
        self._source.close()


def _too_late(source: Source, start_s: float | None) -> OptionError:
    lasts_s = source.info.duration_s
    lasts = "is shorter" if lasts_s is None else f"lasts {lasts_s:.1f} s"
    return OptionError("start", start_s, f"{source.name} {lasts}; choose an earlier time")


def _part_info(
    info: StreamInfo, origin_s: Fraction, end_s: Fraction | None, start_s: Fraction
) -> StreamInfo:
    """The description of a part; `origin_s` is the time that became 0."""
    if info.duration_s is not None:
        last_s = info.duration_s if end_s is None else min(info.duration_s, float(end_s))
        duration_s = max(0.0, last_s - float(start_s))
        frames = max(1, round(duration_s * info.rate))
        info = replace(info, duration_s=duration_s, frames=frames)
    chapters = (it.earlier(origin_s) for it in info.chapters)
    return replace(info, chapters=tuple(it for it in chapters if it.start < it.end))


def _exact(seconds: float) -> Fraction:
    """Seconds to the microsecond: the float next to 0.2 lets a frame at 0.2 s through."""
    return Fraction(seconds).limit_denominator(1_000_000)


def part(
    items: Iterable[T], *, start_s: Fraction | None = None, end_s: Fraction | None = None
) -> Iterator[T]:
    """Yield the frames from `start_s` to before `end_s`, and what other tracks have in this time.

    A subtitle that begins before or ends after that is shortened. A container may store packets
    later than the pictures of the same time. So this reads on after the last picture, for at most
    2 s, for tracks that have not reached the end.
    """
    behind: set[int] = set()  # tracks that may not have reached the end
    for item in items:
        if isinstance(item, Frame):
            time_s = item.pts * item.time_base
            if end_s is None or time_s < end_s:
                if start_s is None or time_s >= start_s:
                    yield item
            elif not behind or time_s > end_s + _LATE_S:
                return
        elif isinstance(item, StatusEvent):
            yield item
        elif end_s is None or not _starts_after(item.packet, end_s):
            behind.add(item.track)
            if _shortened(item.packet, start_s, end_s):
                yield item
        else:
            behind.discard(item.track)


def limited(items: Iterable[T], seconds: float) -> Iterator[T]:
    """Yield the first `seconds` of a stream, counted from its first frame."""
    items = iter(items)
    early: list[T] = []
    for item in items:
        early.append(item)
        if isinstance(item, Frame):
            end_s = item.pts * item.time_base + _exact(seconds)
            del item  # see `Frame`
            yield from part(_chained(early, items), end_s=end_s)
            return
    yield from early


def _shifted(item: T, seconds: Fraction) -> T:
    if isinstance(item, Frame):
        return replace(item, pts=item.pts + round(seconds / item.time_base))
    if isinstance(item, TrackPacket):
        shift_packet(item.packet, seconds)
    return item


def _chained(early: list[T], items: Iterator[T]) -> Iterator[T]:
    """Yield from a list, which loses what was yielded: it must not hold a frame."""
    while early:
        yield early.pop(0)
    yield from items


def _starts_after(packet: Any, end_s: Fraction) -> bool:
    begin_s = packet_begin_s(packet)
    return begin_s is not None and begin_s >= end_s


def _shortened(packet: Any, start_s: Fraction | None, end_s: Fraction | None) -> bool:
    """Shorten a subtitle to a time, in place; whether anything of a packet is in this time."""
    base = fraction(packet.time_base)
    if packet.pts is None or base is None:
        return True
    is_text = packet.duration and packet.stream.type == "subtitle"
    if start_s is not None and (early := ceil(start_s / base) - packet.pts) > 0:
        if not is_text or packet.duration <= early:
            return False
        packet.duration -= early
        packet.pts = packet.dts = packet.pts + early
    if end_s is not None and is_text:
        packet.duration = min(packet.duration, max(1, ceil(end_s / base) - packet.pts))
    return True
