"""What a source gives after it has come back, joined to what it gave before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ..media.ffmpeg import fraction
from ..media.frame import Frame, Item, StreamInfo, TrackPacket
from .i420 import fit

__all__ = ["StreamContinuity"]

_logger = logging.getLogger("livemosaic")

# Times that run ahead of the clock by more are a sender's new beginning, or a camera that has set
# its clock. By less they come from a network that was late before.
_JUMP_S = 2
_MICROSECOND = 1_000_000  # per second; finer is noise of the clock


class StreamContinuity:
    """Makes one stream of several: in the times, the size, the colour and the tracks of the first.

    Times go on as the clock did while nothing came. Pictures of another size are fitted into the
    first one's, tracks that a sink could not take for the first ones are left out with a warning.

    Parameters
    ----------
    info : of the first source
    name : of all of them, for warnings
    """

    def __init__(self, info: StreamInfo, *, name: str) -> None:
        self._name = name
        self._first = self._info = info
        self._tracks = dict(enumerate(range(len(info.tracks))))  # number here: number at first
        self._shift = Fraction(0)  # seconds
        self._last: tuple[Fraction, float] | None = None  # time and capture of a frame
        self._fresh = False  # no frame of this source has come
        self._warned: set[str] = set()

    def restart(self, info: StreamInfo) -> None:
        """What comes now is from a source that is like `info`."""
        self._info = info
        self._fresh = self._last is not None
        self._tracks = {}
        for number, (first, track) in enumerate(zip(self._first.tracks, info.tracks, strict=False)):
            if _alike(first, track):
                self._tracks[number] = number
            else:
                self._warn(f"its {track.type} is coded in another way since it is back: left out")
        size = (info.width, info.height)
        if size != (self._first.width, self._first.height):
            self._warn(
                "it came back with pictures of {}x{}: fitted into {}x{}".format(
                    *size, self._first.width, self._first.height
                )
            )

    def __call__(self, item: Item) -> Iterator[Item]:
        """Yield what becomes of an item."""
        if isinstance(item, Frame):
            yield self._frame(item)
        elif isinstance(item, TrackPacket):
            # Where it belongs is known from the first frame on.
            if not self._fresh and item.track in self._tracks:
                yield TrackPacket(self._tracks[item.track], self._shifted(item.packet))
        else:
            yield item

    def _frame(self, frame: Frame) -> Frame:
        first, base = self._first, self._first.time_base
        time = frame.pts * frame.time_base + self._shift
        if self._last is not None:
            last, captured_s = self._last
            passed = max(Fraction(0), _exact(frame.captured_s - captured_s))
            if self._fresh or not 0 < time - last <= passed + _JUMP_S:
                self._shift += last + passed - time
                time = last + passed
            time = max(time, last + base)
        self._fresh = False
        self._last = time, frame.captured_s
        frame = self._like_first(frame)
        if self._shift == 0 and frame.time_base == base:
            return frame
        return replace(
            frame,
            pts=round(time / base),
            time_base=base,
            duration=round(frame.duration * frame.time_base / base),
            colour=first.colour,
        )

    def _like_first(self, frame: Frame) -> Frame:
        first = self._first
        colour = first.colour
        if (frame.colour.matrix, frame.colour.full_range) != (colour.matrix, colour.full_range):
            same = Frame.from_bgr(frame.to_bgr(), colour=colour)
            frame = replace(frame, y=same.y, u=same.u, v=same.v, colour=colour)
        if (frame.width, frame.height) != (first.width, first.height):
            y, u, v = fit(
                (frame.y, frame.u, frame.v),
                (first.width, first.height),
                full_range=colour.full_range,
                aspect=self._info.sample_aspect_ratio / first.sample_aspect_ratio,
            )
            frame = replace(frame, y=y, u=u, v=v)
        return frame

    def _shifted(self, packet: Any) -> Any:
        base = fraction(packet.time_base)
        if self._shift and base is not None:
            ticks = round(self._shift / base)
            if packet.pts is not None:
                packet.pts += ticks
            if packet.dts is not None:
                packet.dts += ticks
        return packet

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            _logger.warning("%s: %s", self._name, text)


def _exact(seconds: float) -> Fraction:
    return Fraction(round(seconds * _MICROSECOND), _MICROSECOND)


def _alike(a: Any, b: Any) -> bool:
    """Whether packets of track `b` can go where those of `a` went, under `a`'s header."""
    return bool(a.type == b.type and _coding(a) == _coding(b))


def _coding(track: Any) -> tuple[Any, ...]:
    context = track.codec_context
    if track.type != "audio":
        return (context.codec.canonical_name, context.extradata)
    layout = context.layout
    return (
        context.codec.canonical_name,
        context.extradata,
        context.sample_rate,
        layout.nb_channels if layout is not None else 0,
    )
