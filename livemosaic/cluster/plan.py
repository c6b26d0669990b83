"""The plan of a film: its frames, and the segments that it is made in.

It is found by one pass over the decoded film, and depends on the film and the options only. So a
film is made of the same segments by any number of workers, and after any interruption.
"""

from __future__ import annotations

import time
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, overload

import cv2
import numpy as np

from ..errors import SourceError
from ..jit import U8
from ..media.atomic_write import atomic_write
from ..media.ffmpeg import av
from ..media.frame import Frame, Item, TrackPacket
from ..media.frame_rate import FrameRate
from ..pipeline.source_reader import MAX_GAP_S
from ..sources.base import Source
from ..sources.part import limited
from .packets import PacketFile, PacketWriter

# Of a segment. It begins at a cut if there is one in this range, the nearest to the usual length,
# else where the picture changes most: tiles change at the beginning of a segment.
SHORTEST_S, USUAL_S, LONGEST_S = 4, 8, 12

# A cut differs from the picture before by so much of 255, and by so many times the mean of the
# pictures around it: those of a shaken camera differ, too. (PySceneDetect's adaptive detector.)
_DIFFERENCE, _TIMES, _AROUND = 12.0, 3.0, 2

_LOOK_PX = 80  # width of the pictures that are compared
_SLICE_S = 0.2  # of reading, until other work may be done


class PlannedFrame(NamedTuple):
    """A frame of the film: its time and duration in ticks, and a checksum of a part of it."""

    pts: int
    duration: int
    mark: int


class PlannedFrames(Sequence[PlannedFrame]):
    """The frames of a film, in 24 bytes each: there may be a million."""

    def __init__(self, frames: Iterable[PlannedFrame] = (), *, data: bytes = b"") -> None:
        self._numbers = array("q", data)
        for frame in frames:
            self.append(frame)

    def append(self, frame: PlannedFrame) -> None:
        self._numbers.extend(frame)

    @property
    def data(self) -> bytes:
        return self._numbers.tobytes()

    def __len__(self) -> int:
        return len(self._numbers) // 3

    @overload
    def __getitem__(self, index: int) -> PlannedFrame: ...

    @overload
    def __getitem__(self, index: slice) -> PlannedFrames: ...

    def __getitem__(self, index: int | slice) -> PlannedFrame | PlannedFrames:
        if isinstance(index, slice):
            frames = range(len(self))[index]
            assert frames.step == 1
            data = self._numbers[3 * frames.start : 3 * frames.stop]
            return PlannedFrames(data=data.tobytes())
        first = 3 * range(len(self))[index]
        return PlannedFrame(*self._numbers[first : first + 3])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlannedFrames) and self._numbers == other._numbers

    __hash__ = None  # type: ignore[assignment]


class Segment(NamedTuple):
    """The frames of a segment, and the unit of their times."""

    time_base: Fraction
    frames: Sequence[PlannedFrame]


@dataclass(frozen=True, slots=True)
class Plan:
    """The frames of a film, and the number of the first frame of each segment."""

    time_base: Fraction
    frames: PlannedFrames
    firsts: tuple[int, ...]
    frames_in: int  # of the input, before a constant rate
    dropped: int  # for it
    repeated: int
    bad_frames: int

    def segments(self) -> Iterator[Segment]:
        """The segments in their order."""
        ends = [*self.firsts[1:], len(self.frames)]
        for first, end in zip(self.firsts, ends, strict=True):
            yield Segment(self.time_base, self.frames[first:end])

    def time_s(self, frame: int) -> Fraction:
        """The time of a frame."""
        return self.frames[frame].pts * self.time_base

    def last_s(self, rate: Fraction) -> Fraction:
        """How long the last frame lasts; by the film's rate if it has no duration, as in a run
        without segments."""
        return self.frames[-1].duration * self.time_base or 1 / rate

    def save(self, path: Path) -> None:
        document = {
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "firsts": self.firsts,
            "counts": [self.frames_in, self.dropped, self.repeated, self.bad_frames],
        }
        packet: Any = av.Packet(self.frames.data)
        packet.time_base = Fraction(1)
        with atomic_write(path) as file:
            writer = PacketWriter(file)
            writer.add(packet)
            writer.finish(**document)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """`OSError` if it is not there, `ValueError` if it is damaged."""
        file = PacketFile(path)
        ((packet, _),) = file
        base, firsts = Fraction(*file.about["time_base"]), tuple(file.about["firsts"])
        return cls(base, PlannedFrames(data=bytes(packet)), firsts, *file.about["counts"])


class Planning:
    """Reads a film, and plans it.

    Parameters
    ----------
    tracks : gets the packets of the other tracks, each with the number of frames before it, its
        track's number, and whether it is hidden
    rate, duration_s : as for `Pipeline`

    Attributes
    ----------
    frames : so far
    """

    def __init__(
        self,
        source: Source,
        tracks: PacketWriter,
        *,
        rate: Fraction | None,
        duration_s: float | None,
    ) -> None:
        self._source, self._tracks = source, tracks
        self._duration_s, self._count = duration_s, _Count()
        self._frame_rate = None if rate is None else FrameRate(rate, max_gap_s=MAX_GAP_S)
        self._time_base = Fraction(0)
        self.frames = PlannedFrames()
        self._times, self._scores = array("d"), array("d")
        self._firsts = [0]

    def segments(self) -> Iterator[Segment | None]:
        """Read the film, and yield each segment as soon as no later frame can change it, and None
        several times a second, for other work."""
        next_s = time.monotonic() + _SLICE_S
        for _ in self._read():
            yield from self._ended(is_whole=False)
            if time.monotonic() > next_s:
                yield None
                next_s = time.monotonic() + _SLICE_S
        yield from self._ended(is_whole=True)
        yield self._segment(None)

    def plan(self) -> Plan:
        """The whole plan, after the last segment."""
        rate = self._frame_rate
        return Plan(
            self._time_base,
            self.frames,
            tuple(self._firsts),
            self._count.frames,
            0 if rate is None else rate.dropped,
            0 if rate is None else rate.repeated,
            self._source.bad_frames,
        )

    def _read(self) -> Iterator[None]:
        """Take the items of the film one after the other."""
        items, look = iter(self._source), Look()
        if self._duration_s is not None:
            items = limited(items, self._duration_s)
        for item in at_rate(map(self._count, items), self._frame_rate, self._source):
            if isinstance(item, TrackPacket):
                self._tracks.add(item.packet, len(self.frames), item.track, int(item.hidden))
            elif isinstance(item, Frame):
                self._time_base = self._time_base or item.time_base
                if item.time_base != self._time_base:
                    problem = "the unit of its times changes; convert it first"
                    raise SourceError(f"{self._source.name}: {problem}")
                self._scores.append(look.difference(item))
                self._times.append(float(item.pts * item.time_base))
                self.frames.append(PlannedFrame(item.pts, item.duration, look.mark))
            del item  # see `Frame`
            yield

    def _ended(self, *, is_whole: bool) -> Iterator[Segment]:
        """The segments whose end has become known."""
        times, scores = self._times, self._scores
        while times and (first := next_first(times, scores, self._firsts[-1], is_whole=is_whole)):
            segment = self._segment(first)
            self._firsts.append(first)
            yield segment

    def _segment(self, end: int | None) -> Segment:
        """The last segment, up to a frame."""
        return Segment(self._time_base, self.frames[self._firsts[-1] : end])


class _Count:
    """Counts the frames of a source."""

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, item: Item) -> Item:
        self.frames += isinstance(item, Frame)
        return item


def at_rate(items: Iterable[Item], frame_rate: FrameRate | None, source: Source) -> Iterator[Item]:
    """The items at a constant rate, if there is one; as `SourceReader` does it."""
    if frame_rate is None:
        return iter(items)
    return frame_rate.newest(items, nominal_rate=source.info.rate)


class Look:
    """Looks at some samples of each frame.

    Attributes
    ----------
    mark : a checksum of those of the last frame
    """

    def __init__(self) -> None:
        self.mark = 0
        self._last: list[U8] = []

    def difference(self, frame: Frame) -> float:
        """How much a frame differs from the one before, from 0 to 255; also sets its mark."""
        last, now = self._last, self._samples(frame)
        self._last = now
        if [it.shape for it in last] != [it.shape for it in now]:
            return 0.0
        pairs = zip(last, now, strict=True)
        return max(cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in pairs)

    def take_mark(self, frame: Frame) -> int:
        """The mark of a frame."""
        self._samples(frame)
        return self.mark

    def _samples(self, frame: Frame) -> list[U8]:
        step = max(1, frame.width // _LOOK_PX)
        planes = [frame.y, frame.u, frame.v, *([] if frame.alpha is None else [frame.alpha])]
        samples = [np.ascontiguousarray(plane[::step, ::step]) for plane in planes]
        self.mark = 0
        for it in samples:
            self.mark = zlib.crc32(it.data, self.mark)
        return samples


def find_cuts(scores: Sequence[float], numbers: range) -> list[int]:
    """The numbers of the frames, of these, that are the first after a cut.

    `scores` says how much each frame differs from the one before.
    """
    cuts = []
    for number in numbers:
        around = [
            *scores[max(0, number - _AROUND) : number],
            *scores[number + 1 : number + 1 + _AROUND],
        ]
        score = scores[number]
        if number and score >= max(_DIFFERENCE, _TIMES * sum(around) / max(1, len(around))):
            cuts.append(number)
    return cuts


def next_first(
    times: Sequence[float], scores: Sequence[float], first: int, *, is_whole: bool
) -> int | None:
    """The number of the first frame of the segment after the one that begins at `first`.

    None if there is none, or, of a film that is not whole, if later frames decide about it. Only
    what comes after a segment's first frame decides where it ends. So a film that is begun at one
    has the same segments from there on.

    Parameters
    ----------
    times, scores : of each frame
    """
    begin_s, end_s = times[first], times[-1]
    latest_s = min(begin_s + LONGEST_S, end_s - SHORTEST_S)
    if end_s - begin_s <= LONGEST_S if is_whole else latest_s < begin_s + LONGEST_S:
        return None
    low = bisect_left(times, begin_s + SHORTEST_S, first)
    high = bisect_right(times, latest_s, first)
    if not is_whole and len(times) < high + _AROUND:
        return None
    usual_s = begin_s + USUAL_S
    if cuts := find_cuts(scores, range(low, high)):
        return min(cuts, key=lambda cut: abs(times[cut] - usual_s))
    # After a long pause, the next frame.
    return max(range(low, max(high, low + 1)), key=lambda number: scores[number])
