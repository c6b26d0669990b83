"""Joins the segments of a film without coding again."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SinkError
from ..media.ffmpeg import fraction, open_container
from ..media.frame import Frame, StreamInfo, TrackPacket
from ..media.frame_rate import FrameRate
from ..media.silence import silent
from ..sinks.encoder import VideoEncoder
from ..sinks.file import FileDestination, FileSink
from ..sources.file import LEAPS
from .packets import PacketFile
from .plan import Plan, Segment

_TELL = 500  # frames from one call of `on_frame` to the next


def join_segments(
    destination: FileDestination,
    info: StreamInfo,
    plan: Plan,
    *,
    segments: Sequence[PacketFile],
    tracks: PacketFile,
    on_frame: Callable[[int], None],
) -> None:
    """Make the file of a film.

    Parameters
    ----------
    info : of the film's stream, with the tracks of the source
    segments : in their order
    tracks : the packets of the source's other tracks, see `Planning`
    on_frame : called now and then with the number of frames so far; it may raise an exception

    Raises
    ------
    SinkError : a segment is not as planned, the file cannot be written, or what is in it is not as
        planned; there is no file then
    """
    make_video = partial(JoinedVideo, plan=plan, segments=segments)
    check = partial(check_times, plan=plan, name=destination.name)
    sink = FileSink(destination, info, make_video=make_video, check=check)
    try:
        # Only the times of these frames are looked at.
        y, u, v = (_empty(side, info) for side in (1, 2, 2))
        empty = Frame(y, u, v, time_base=plan.time_base)
        waiting = iter(_track_packets(tracks, info))
        packet = next(waiting, None)
        for number, frame in enumerate(plan.frames):
            while packet is not None and packet[0] <= number:
                sink.write(packet[1])
                packet = next(waiting, None)
            sink.write(replace(empty, pts=frame.pts, duration=frame.duration))
            if number % _TELL == 0:
                on_frame(number)
        for item in chain([] if packet is None else [packet], waiting):
            sink.write(item[1])
    except BaseException:
        sink.abort()
        raise
    sink.close()


def _empty(shrink: int, info: StreamInfo) -> Any:
    return np.empty((-(-info.height // shrink), -(-info.width // shrink)), np.uint8)


def _track_packets(tracks: PacketFile, info: StreamInfo) -> Iterator[tuple[int, TrackPacket]]:
    """The packets of the other tracks, each with the number of frames before it."""
    for packet, (number, track, hidden) in tracks:
        packet.stream = info.tracks[track]
        yield number, TrackPacket(track, packet, bool(hidden))


class JoinedVideo(VideoEncoder):
    """The video track of a film whose packets are there already, see `VideoEncoder`."""

    def __init__(
        self, *places: Any, plan: Plan, segments: Sequence[PacketFile], **details: Any
    ) -> None:
        with silent():
            super().__init__(*places, portable=True, **details)
        self._plan, self._segments = plan, segments
        self._packets = self._joined()

    def encode(self, frame: Frame, *, heard_s: Fraction | None = None) -> Iterator[Any]:
        self.frames += 1
        yield next(self._packets)

    def flush(self) -> Iterator[Any]:
        return iter(())

    def _joined(self) -> Iterator[Any]:
        """The packets with the times of the whole film."""
        ticks = self._planned_ticks()
        order = self._order(ticks)
        stamps = decoding_times(ticks, order)
        last = self._plan.last_s(self._rate) / self._time_base
        ends = ticks[1:]
        ends.append(ticks[-1] + max(1, round(last)))
        packets = (packet for segment in self._segments for packet, _ in segment)
        for number, packet in enumerate(packets):
            packet.stream, packet.time_base = self._stream, self._time_base
            place = order[number]
            packet.pts, packet.dts = ticks[place], stamps[number]
            packet.duration = ends[place] - ticks[place]
            if number == len(ticks) - 1 and self._is_mp4:  # see `VideoEncoder.flush`
                packet.duration = max(packet.duration, ends[-1] - packet.dts - ticks[0] + stamps[0])
            yield packet

    def _planned_ticks(self) -> array[int]:
        """The time of each planned frame in the encoder's unit."""
        plan = self._plan
        ticks = planned_ticks(self.frame_rate, plan)
        if len(ticks) < len(plan.frames):
            raise SinkError(f"{self._name}: frames are missing; start again")
        return ticks

    def _order(self, ticks: Sequence[int]) -> array[int]:
        """The number of the frame in each packet, in the order of decoding."""
        order = array("q")
        for segment, planned in zip(self._segments, self._plan.segments(), strict=True):
            first = len(order)
            frames = ticks[first : first + len(planned.frames)]
            try:
                places = frames_of(segment, frames, self._time_base, self.extradata)
            except ValueError as error:
                raise SinkError(
                    f"{segment.path}: {error}; delete this file, and start again to make it anew"
                ) from None
            order.extend(first + place for place in places)
        return order


def planned_ticks(frame_rate: FrameRate, plan: Plan | Segment) -> array[int]:
    """The time of each planned frame in the unit of an encoder; fewer if frames fall together."""
    times = (frame.pts * plan.time_base for frame in plan.frames)
    return array("q", (ticks[-1] for time_s in times if (ticks := frame_rate.ticks(time_s))))


def frames_of(
    segment: PacketFile, ticks: Sequence[int], time_base: Fraction, extradata: bytes
) -> list[int]:
    """The number of the frame in each packet of a segment, in the order of decoding.

    `ticks` are the times of its frames, in units of `time_base`. `ValueError` says why it is not as
    planned.
    """
    if len(segment) != len(ticks):
        raise ValueError(f"it has {len(segment)} frames instead of {len(ticks)}")
    times = segment.times
    if any(base != time_base for _, base in times):
        raise ValueError("its times have another unit than planned")
    found = [pts for pts, _ in times]
    if sorted(found) != list(ticks):
        raise ValueError("its frames have other times than planned")
    if found[0] != ticks[0]:
        raise ValueError("its first picture needs others before it")
    if bytes.fromhex(segment.about["extradata"]) != extradata:
        raise ValueError("it was encoded with other parameters")
    return [bisect_left(ticks, pts) for pts in found]


def decoding_times(ticks: Sequence[int], order: Sequence[int]) -> array[int]:
    """When each packet is decoded: as late as the encoder of a whole film would say.

    Parameters
    ----------
    ticks : when each frame is shown
    order : the number of the frame in each packet
    """
    delay = max(number - place for number, place in enumerate(order))
    early = ticks[min(delay, len(ticks) - 1)] - ticks[0]
    return array(
        "q",
        (
            ticks[number - delay] if number >= delay else ticks[number] - early
            for number in range(len(ticks))
        ),
    )


def check_times(path: Path, *, plan: Plan, name: str) -> None:
    """Read a file, and raise `SinkError` if its frames or their times are not as planned."""
    with open_container(str(path)) as container:
        stream = container.streams.video[0]
        base = fraction(stream.time_base) or Fraction(1)
        leaps = bool(container.format.flags & LEAPS)
        found = sorted(
            packet.pts
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None
        )
    begin_s = plan.frames[0].pts * plan.time_base
    problem = ""
    if len(found) != len(plan.frames):
        problem = f"{len(found)} frames instead of {len(plan.frames)}"
    elif any(after <= before for before, after in pairwise(found)):
        problem = "two frames at one time"
    else:
        # Containers round; MPEG-TS begins at a time of its own.
        shift = found[0] - begin_s / base if leaps else Fraction(0)
        planned = (frame.pts * plan.time_base / base + shift for frame in plan.frames)
        if any(abs(a - b) > 1 for a, b in zip(found, planned, strict=True)):
            problem = "frames at other times"
    if problem:
        raise SinkError(f"{name}: what was joined is not as planned, {problem}; please report it")
