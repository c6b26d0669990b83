"""The plan of a film: its frames, and the segments that it is made in.

It is found by one pass over the decoded film, and depends on the film and the options only. So a
film is made of the same segments by any number of workers, and after any interruption.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import SourceError
from ..jit import U8
from ..media.atomic_write import atomic_write
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


class PlannedFrame(NamedTuple):
    """A frame of the film: its time and duration in ticks, and a checksum of a part of it."""

    pts: int
    duration: int
    mark: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The frames of a film, and the number of the first frame of each segment."""

    time_base: Fraction
    frames: tuple[PlannedFrame, ...]
    firsts: tuple[int, ...]
    frames_in: int  # of the input, before a constant rate
    dropped: int  # for it
    repeated: int
    bad_frames: int

    def segment(self, number: int) -> tuple[PlannedFrame, ...]:
        """The frames of a segment."""
        return self.frames[slice(*[*self.firsts, len(self.frames)][number : number + 2])]

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
            "frames": self.frames,
        }
        with atomic_write(path) as file:
            PacketWriter(file).finish(**document)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """`OSError` if it is not there, `ValueError` if it is damaged."""
        document = PacketFile(path).about
        frames = tuple(PlannedFrame(*it) for it in document["frames"])
        return cls(
            Fraction(*document["time_base"]), frames, tuple(document["firsts"]), *document["counts"]
        )


def make_plan(
    source: Source,
    tracks: PacketWriter,
    *,
    rate: Fraction | None,
    duration_s: float | None,
    on_frame: Callable[[int], None],
) -> Plan:
    """Read a film, and plan it.

    Parameters
    ----------
    tracks : gets the packets of the other tracks, each with the number of frames before it, its
        track's number, and whether it is hidden
    rate, duration_s : as for `Pipeline`
    on_frame : called with the number of frames so far; it may raise an exception to end the pass
    """
    frame_rate = None if rate is None else FrameRate(rate, max_gap_s=MAX_GAP_S)
    count = _Count()
    items = iter(source)
    if duration_s is not None:
        items = limited(items, duration_s)
    items = map(count, items)
    frames: list[PlannedFrame] = []
    scores: list[float] = []
    look, base = Look(), Fraction(0)
    for item in at_rate(items, frame_rate, source):
        if isinstance(item, TrackPacket):
            tracks.add(item.packet, len(frames), item.track, int(item.hidden))
        elif isinstance(item, Frame):
            base = base or item.time_base
            if item.time_base != base:
                raise SourceError(f"{source.name}: the unit of its times changes; convert it first")
            scores.append(look.difference(item))
            frames.append(PlannedFrame(item.pts, item.duration, look.mark))
            on_frame(len(frames))
    times = [float(frame.pts * base) for frame in frames]
    return Plan(
        base,
        tuple(frames),
        tuple(split(times, scores)),
        count.frames,
        0 if frame_rate is None else frame_rate.dropped,
        0 if frame_rate is None else frame_rate.repeated,
        source.bad_frames,
    )


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


def find_cuts(scores: Sequence[float]) -> list[int]:
    """The numbers of the frames that are the first after a cut.

    `scores` says how much each frame differs from the one before.
    """
    cuts = []
    for number, score in enumerate(scores):
        around = [
            *scores[max(0, number - _AROUND) : number],
            *scores[number + 1 : number + 1 + _AROUND],
        ]
        if number and score >= max(_DIFFERENCE, _TIMES * sum(around) / max(1, len(around))):
            cuts.append(number)
    return cuts


def split(times: Sequence[float], scores: Sequence[float]) -> list[int]:
    """The numbers of the first frames of all segments, from the time and the score of each frame.

    Only what comes after a segment's first frame decides where it ends. So a film that is begun at
    one has the same segments from there on.
    """
    cuts = find_cuts(scores)
    firsts = [0]
    end_s = times[-1]
    while end_s - times[firsts[-1]] > LONGEST_S:
        begin_s = times[firsts[-1]]
        low = bisect_left(times, begin_s + SHORTEST_S)
        high = bisect_right(times, min(begin_s + LONGEST_S, end_s - SHORTEST_S))
        usual_s = begin_s + USUAL_S
        if inside := [cut for cut in cuts if low <= cut < high]:
            firsts.append(min(inside, key=lambda cut: abs(times[cut] - usual_s)))
        else:  # after a long pause, the next frame
            firsts.append(max(range(low, max(high, low + 1)), key=lambda number: scores[number]))
    return firsts
