"""One continuous stream of a live source that goes away and comes back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ..media.ffmpeg import shift_packet
from ..media.frame import Frame, Item, StreamInfo, TrackPacket
from .i420 import fit

_logger = logging.getLogger("livemosaic")

# If times run ahead of the clock by more, the sender began anew, or a camera set its clock. If by
# less, only the network was late before.
_JUMP_S = 2
_MICROSECONDS = 1_000_000  # per second; finer times are noise of the clock


class StreamContinuity:
    """Gives the items of several sources the times, size, colour and tracks of the first source.

    Between two sources, times advance as the clock did. Pictures of another size are fitted into
    the first size. A track that a sink could not append to the first one is left out, with a
    warning.
    """

    def __init__(self, info: StreamInfo, *, name: str) -> None:
        self._name = name
        self._first = self._info = info
        self._tracks = set(range(len(info.tracks)))  # those that continue
        self._shift_s = Fraction(0)
        self._last: tuple[Fraction, float] | None = None  # time and capture of the last frame
        self._restarted = False  # and no frame since
        self._warned: set[str] = set()

    def restart(self, info: StreamInfo) -> None:
        """Begin a new source, which is described by `info`."""
        first, self._info = self._first, info
        self._restarted = self._last is not None
        self._tracks = set()
        for number, (before, track) in enumerate(zip(first.tracks, info.tracks, strict=False)):
            if before.type == track.type and _coding(before) == _coding(track):
                self._tracks.add(number)
            else:
                self._warn(f"its {track.type} has another coding after the reconnect: left out")
        if (info.width, info.height) != (first.width, first.height):
            self._warn(
                f"it came back with pictures of {info.width}x{info.height}: fitted into "
                f"{first.width}x{first.height}"
            )

    def __call__(self, item: Item) -> Iterator[Item]:
        """Yield the adapted item, if it is not left out."""
        if isinstance(item, Frame):
            yield self._frame(item)
        elif isinstance(item, TrackPacket):
            # Only the first frame tells how far to shift.
            if not self._restarted and item.track in self._tracks:
                shift_packet(item.packet, self._shift_s)
                yield item
        else:
            yield item

    def _frame(self, frame: Frame) -> Frame:
        first, base = self._first, self._first.time_base
        time_s = frame.pts * frame.time_base + self._shift_s
        if self._last is not None:
            last_s, captured_s = self._last
            passed_s = max(Fraction(0), _exact(frame.captured_s - captured_s))
            if self._restarted or not 0 < time_s - last_s <= passed_s + _JUMP_S:
                self._shift_s += last_s + passed_s - time_s
                time_s = last_s + passed_s
            time_s = max(time_s, last_s + base)
        self._restarted = False
        self._last = time_s, frame.captured_s
        frame = self._adapted(frame)
        if self._shift_s == 0 and frame.time_base == base:
            return frame
        return replace(
            frame,
            pts=round(time_s / base),
            time_base=base,
            duration=round(frame.duration * frame.time_base / base),
            colour=first.colour,
        )

    def _adapted(self, frame: Frame) -> Frame:
        """The frame in the first source's colour and size."""
        first, colour = self._first, self._first.colour
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

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            _logger.warning("%s: %s", self._name, text)


def _exact(seconds: float) -> Fraction:
    return Fraction(round(seconds * _MICROSECONDS), _MICROSECONDS)


def _coding(track: Any) -> tuple[Any, ...]:
    """All that an output's header says of a track: its packets fit only that header."""
    context = track.codec_context
    if context is None:
        return ()
    coding = (context.codec.canonical_name, context.extradata)
    if track.type != "audio":
        return coding
    channels = context.layout.nb_channels if context.layout is not None else 0
    return (*coding, context.sample_rate, channels)
