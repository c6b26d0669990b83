"""The tracks beside the picture: copied, converted, or left out with a warning."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import Any, Protocol

from ..media.ffmpeg import av, fraction, reason
from ..media.frame import TrackPacket
from .formats import Format
from .transcode import AudioConverter, TextConverter

__all__ = ["Tracks"]

_logger = logging.getLogger("livemosaic")

_LIPS_S = 0.04  # sound that much too early is noticed (ITU-R BT.1359: from 0.045 s on)
_TEXT = {"subrip", "ass", "ssa", "mov_text", "webvtt", "text"}
_NO_TEXT = b"\0\0"  # its length, in MP4
# Keys that a container computes for itself, or that are wrong after another coding.
_STALE_KEYS = ("_statistics", "bps", "duration", "number_of", "encoder", "vendor_id")


class _Writer(Protocol):
    """One track of the output: packets in, packets for the muxer out."""

    stream: Any

    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]: ...

    def flush(self) -> Iterator[Any]: ...


class Tracks:
    """All tracks of an output but the picture's.

    Parameters
    ----------
    container : an `av` output container whose header is not yet written
    tracks : `StreamInfo.tracks`
    format : the container's
    """

    def __init__(self, container: Any, tracks: Sequence[Any], *, format: Format) -> None:
        self._writers: dict[int, _Writer] = {}
        self._last_dts: dict[int, int] = {}
        self._lasts: dict[int, int] = {}  # ticks that the last packet does
        self._warned: set[int] = set()
        self._tracks = tracks
        for number, track in enumerate(tracks):
            try:
                writer = _writer(container, track, format)
            except (av.error.FFmpegError, ValueError) as error:
                _logger.warning("%s is left out: %s", _label(number, track), reason(error))
                continue
            if isinstance(writer, str):
                _logger.warning("%s is left out: %s", _label(number, track), writer)
                continue
            writer.stream.metadata.update(_fresh(track.metadata))
            writer.stream.disposition = int(track.disposition)
            self._writers[number] = writer

    def write(self, item: TrackPacket, *, hidden: bool) -> Iterator[Any]:
        """Yield the packets that are ready for the muxer once `item` is in.

        `hidden` : it is there to be decoded, and not to be played (an edit list begins behind it)
        """
        writer = self._writers.get(item.track)
        if writer is None:
            return
        try:
            packets = list(writer.write(item.packet, hidden=hidden))
        except (av.error.FFmpegError, ValueError):
            self.warn(item.track)
            return
        yield from self._ordered(item.track, packets)

    def flush(self) -> Iterator[Any]:
        """Yield what is still inside."""
        for number, writer in self._writers.items():
            yield from self._ordered(number, writer.flush())

    def warn(self, number: int) -> None:
        """Say once that a part of a track had to be left out.

        Not why: of what is damaged decoders say whatever they like, even that permission is denied.
        """
        if number not in self._warned:
            self._warned.add(number)
            label = _label(number, self._tracks[number])
            _logger.warning("%s is damaged, parts are left out", label)

    def _ordered(self, number: int, packets: Any) -> Iterator[Any]:
        """Give every packet what a muxer insists on: a time, later than the one before."""
        for packet in packets:
            last = self._last_dts.get(number)
            dts = packet.dts if packet.dts is not None else packet.pts
            if dts is None:
                dts = 0 if last is None else last + self._lasts[number]
            if last is not None and dts <= last:
                dts = last + _step(packet, self._tracks[number])
            packet.dts = dts
            packet.pts = dts if packet.pts is None else max(packet.pts, dts)
            self._last_dts[number] = dts
            self._lasts[number] = packet.duration = _duration(packet, self._tracks[number])
            yield packet


class _Copier:
    """Passes coded packets on.

    Of what a cut has hidden, only the last packet before the first that is played goes with them:
    decoders need it, and a second more would be heard.

    Gaps between texts, which MP4 fills with empty ones, are not passed on: the muxer makes them,
    and that which was read last would go on to the next text, behind all that is written.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._before: Any = None
        self._started = False

    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        if packet.stream.codec_context.name == "mov_text" and bytes(packet) == _NO_TEXT:
            return
        packet.stream = self.stream
        if hidden:
            self._before = packet
            return
        if not self._started and self._before is not None:
            yield self._before
        self._before, self._started = None, True
        yield packet

    def flush(self) -> Iterator[Any]:
        return iter(())


def _step(packet: Any, track: Any) -> int:
    """How many ticks a packet has to be behind the one before it: a sample, as muxers count."""
    base, rate = fraction(packet.time_base), getattr(track.codec_context, "sample_rate", 0)
    return ceil(1 / (rate * base)) if rate and base is not None else 1


def _duration(packet: Any, track: Any) -> int:
    """How many ticks a packet lasts, 0 if nobody knows.

    What a reader that cannot go back has looked at to find out what the sound is, it gives without.
    """
    base, context = fraction(packet.time_base), track.codec_context
    if packet.duration or track.type != "audio" or base is None or context is None:
        return packet.duration or 0
    samples, rate = context.frame_size, context.sample_rate
    return round(Fraction(samples, rate) / base) if samples and rate else 0


def _writer(container: Any, track: Any, format: Format) -> _Writer | str:
    """How `track` gets into `container`, or why it does not."""
    if track.type == "attachment":
        if format.muxer != "matroska":
            return f"{format.muxer} holds no attachments; an .mkv file does"
        return _Copier(container.add_stream_from_template(track))
    if track.codec_context is None:
        return "this FFmpeg does not know its coding"
    codec = track.codec_context.codec
    copied = format.audio_copies if track.type == "audio" else format.subtitle_copies
    silent_first = format.timeless and track.type == "audio" and _begins_late(track)
    taken = copied is None or codec.canonical_name in copied
    if taken and not silent_first and _can_copy(track, format):
        return _Copier(container.add_stream_from_template(track))
    if track.type == "audio":
        if format.audio is None:
            return f"{format.muxer} holds no sound; an .mp4 or .mkv file does"
        return AudioConverter(container, track, encoder=format.audio, from_zero=format.timeless)
    if format.subtitle is None:
        return f"{format.muxer} holds no such subtitles; an .mkv file does"
    if codec.canonical_name not in _TEXT:
        return f"{format.muxer} holds text only, and they are pictures; an .mkv file takes them"
    return TextConverter(container, track, encoder=format.subtitle)


def _begins_late(track: Any) -> bool:
    """Whether a file's sound begins so much later than its picture that it is seen."""
    start, *others = map(_start_s, (track, *track.container.streams.video))
    seen = [other for other in others if other is not None]
    return start is not None and bool(seen) and start - min(seen) > _LIPS_S


def _start_s(stream: Any) -> Fraction | None:
    base = fraction(stream.time_base)
    return None if stream.start_time is None or base is None else stream.start_time * base


def _can_copy(track: Any, format: Format) -> bool:
    """Whether the muxer takes the track: asked by writing a header to nowhere.

    What a muxer says it takes and what it takes with these very parameters are not the same, and
    a refusal at the real header would cost the whole file.
    """
    try:
        trial = av.open(io.BytesIO(), "w", format=format.muxer)
        trial.add_stream_from_template(track)
        trial.start_encoding()
        trial.close()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _fresh(metadata: dict[str, str]) -> dict[str, str]:
    return {
        key: value for key, value in metadata.items() if not key.lower().startswith(_STALE_KEYS)
    }


def _label(number: int, track: Any) -> str:
    about = [text for text in (track.name, track.language) if text and text != "und"]
    return f"track {number + 1} ({track.type}{', ' if about else ''}{', '.join(about)})"
