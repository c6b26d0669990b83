"""The tracks beside the picture: copied, converted, or left out with a warning."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from math import ceil
from typing import Any

from ..media.ffmpeg import (
    add_copy,
    av,
    codec_name,
    copy_packet,
    fraction,
    open_container,
    reason,
)
from ..media.frame import TrackPacket
from .formats import Format
from .transcode import (
    MAX_EARLY_S,
    AudioConverter,
    Copier,
    SoundCopier,
    TextConverter,
    TrackEndedError,
    TrackWriter,
)

_logger = logging.getLogger("livemosaic")

_TEXT = {"subrip", "ass", "ssa", "mov_text", "webvtt", "text"}
# Beginnings of keys that a container computes, or that are wrong after another encoding.
_STALE_KEYS = ("_statistics", "bps", "duration", "number_of", "encoder", "vendor_id")


class Tracks:
    """All tracks of an output but the picture. The container has no header yet.

    FFmpeg's muxers interleave: they may report a bad packet while they write another one, and do
    not say its track. So each packet goes through a muxer that writes to nowhere first. That one
    may keep something of a packet that it refuses, and begins again with the last good one.
    """

    def __init__(
        self, container: Any, tracks: Sequence[Any], *, format: Format, seekable: bool
    ) -> None:
        self._tracks = tracks
        self._trial = partial(_trial, format=format, seekable=seekable)
        self._trials: dict[int, Any] = {}
        self._is_rtsp = format.muxer == "rtsp"  # it writes nowhere but to a server
        self._taken: dict[int, Any] = {}  # the last packet that the muxer took
        self._writers: dict[int, TrackWriter] = {}
        # Of the last packet: dts, duration, and their time base.
        self._last: dict[int, tuple[int, int, Any]] = {}
        self._warned: set[int] = set()
        for number, track in enumerate(tracks):
            try:
                writer = _writer(container, track, format, self._can_copy)
            except (av.error.FFmpegError, ValueError) as error:
                _logger.warning("%s is left out: %s", _label(number, track), reason(error))
                continue
            for key, text in track.metadata.items():
                if not key.lower().startswith(_STALE_KEYS):
                    writer.stream.metadata[key] = text
            writer.stream.disposition = int(track.disposition)
            if (
                isinstance(writer, AudioConverter)
                and writer.channels < track.codec_context.channels
            ):
                _logger.info(
                    "%s: its %d channels are mixed to %d; an .mkv file keeps them",
                    *(_label(number, track), track.codec_context.channels, writer.channels),
                )
            self._writers[number] = writer

    def write(self, item: TrackPacket, *, hidden: bool) -> Iterator[Any]:
        """Yield the packets that are ready for the muxer once `item` is in.

        `hidden` packets are decoded but not played, because they are before an edit list begins.
        """
        writer = self._writers.get(item.track)
        if writer is not None:
            yield from self._good(item.track, writer.write(item.packet, hidden=hidden))

    def flush(self) -> Iterator[Any]:
        """Yield what is still inside."""
        for number, writer in tuple(self._writers.items()):
            yield from self._good(number, writer.flush())

    def begin(self) -> Iterator[Any]:
        """Yield a little silence for sound that has not begun."""
        for number, writer in tuple(self._writers.items()):
            if number not in self._last:
                with contextlib.suppress(av.error.FFmpegError, ValueError):  # there is no encoder
                    yield from self._good(number, list(writer.silence()))

    def close(self) -> None:
        """Release what the tracks need beside the output. Never raises."""
        while self._trials:
            with contextlib.suppress(Exception):
                self._trials.popitem()[1].close()

    @property
    def damaged(self) -> bool:
        """Whether a track was reported as damaged."""
        return bool(self._warned)

    def warn(self, number: int) -> None:
        """Report once that a track is damaged.

        Not why: decoders report any error for damaged data, even that permission is denied.
        """
        if number not in self._warned:
            self._warned.add(number)
            label = _label(number, self._tracks[number])
            _logger.warning("%s is damaged, parts are left out", label)

    def _good(self, number: int, packets: Iterable[Any]) -> Iterator[Any]:
        """Yield packets until an error of the track, without those that the muxer refuses."""
        try:
            for packet in self._ordered(number, packets):
                if self._fits(number, packet):
                    yield packet
        except TrackEndedError as error:
            del self._writers[number]
            label = _label(number, self._tracks[number])
            _logger.warning("%s: its rest is left out: %s", label, error)
        except (av.error.FFmpegError, ValueError):
            self.warn(number)

    def _can_copy(self, track: Any) -> bool:
        """Whether the muxer accepts the track.

        A muxer may refuse a codec that it lists, for its parameters. At the real header, that would
        cost the whole file.
        """
        try:
            self._trial(track).close()
        except (av.error.FFmpegError, ValueError):
            return False
        return True

    def _fits(self, number: int, packet: Any) -> bool:
        """Whether the muxer takes a packet."""
        if self._is_rtsp:
            return True
        stream = self._writers[number].stream
        if number not in self._trials:
            self._trials[number] = self._trial(stream)
        try:
            _check_dolby(self._trials[number].streams[0], packet, self._taken.get(number))
            _mux_copy(self._trials[number], packet)
        except (av.error.FFmpegError, ValueError):
            self.warn(number)
            with contextlib.suppress(av.error.FFmpegError):
                self._trials.pop(number).close()
            if number in self._taken:
                self._trials[number] = self._trial(stream)
                with contextlib.suppress(av.error.FFmpegError):
                    _mux_copy(self._trials[number], self._taken[number])
            return False
        self._taken[number] = copy_packet(packet)
        return True

    def _ordered(self, number: int, packets: Iterable[Any]) -> Iterator[Any]:
        """Give every packet a time after that of the packet before, as muxers require."""
        track = self._tracks[number]
        for packet in packets:
            dts = packet.dts if packet.dts is not None else packet.pts
            last_dts, last_duration = self._end_of_last(number, packet.time_base)
            if dts is None:
                dts = 0 if last_dts is None else last_dts + last_duration
            if last_dts is not None and dts <= last_dts:
                dts = last_dts + _min_step(packet, track)
            packet.dts = dts
            packet.pts = dts if packet.pts is None else max(packet.pts, dts)
            packet.duration = _duration(packet, track)
            self._last[number] = dts, packet.duration, packet.time_base
            yield packet

    def _end_of_last(self, number: int, time_base: Any) -> tuple[int | None, int]:
        """The dts and duration of the track's last packet, in ticks of `time_base`."""
        if number not in self._last:
            return None, 0
        dts, duration, base = self._last[number]
        if base != time_base:  # sound that was copied is encoded from now on
            dts, duration = (ceil(ticks * base / time_base) for ticks in (dts, duration))
        return dts, duration


def _min_step(packet: Any, track: Any) -> int:
    """The least ticks from one packet to the next: muxers count in samples."""
    base, rate = fraction(packet.time_base), getattr(track.codec_context, "sample_rate", 0)
    return ceil(1 / (rate * base)) if rate and base is not None else 1


def _duration(packet: Any, track: Any) -> int:
    """The duration of a packet in ticks, 0 if it is unknown.

    From a pipe, packets that were read to find out the format of the sound come without it.
    """
    base, context = fraction(packet.time_base), track.codec_context
    if packet.duration or track.type != "audio" or base is None or context is None:
        return packet.duration or 0
    samples, rate = context.frame_size, context.sample_rate
    return round(Fraction(samples, rate) / base) if samples and rate else 0


def _writer(
    container: Any, track: Any, format: Format, can_copy: Callable[[Any], bool]
) -> TrackWriter:
    """Add `track` to `container`; raise `ValueError` with the reason if that is impossible."""
    if track.type == "attachment":
        if format.muxer != "matroska":
            raise ValueError(f"{format.muxer} cannot contain attachments; an .mkv file can")
        return Copier(add_copy(container, track))
    if track.codec_context is None:
        # Muxers take more, but with another name (MPEG-TS) or without the description (MOV).
        same = format.muxer in track.container.format.name.split(",")
        if not same or track.type != "subtitle" or not can_copy(track):
            raise ValueError("this FFmpeg does not know its codec")
        return Copier(add_copy(container, track))
    codec = track.codec_context.codec
    copied = format.audio_copies if track.type == "audio" else format.subtitle_copies
    fits = copied is None or codec.canonical_name in copied
    silent_first = format.timeless and track.type == "audio" and _begins_late(track)
    if fits and not silent_first and can_copy(track):
        return _copier(container, track, format)
    if track.type == "audio":
        if format.audio is None:
            raise ValueError(f"{format.muxer} cannot contain sound; an .mp4 or .mkv file can")
        return AudioConverter.added(
            container, track, encoder=format.audio, timeless=format.timeless
        )
    if format.subtitle is None:
        raise ValueError(f"{format.muxer} cannot contain such subtitles; an .mkv file can")
    if codec.canonical_name not in _TEXT:
        raise ValueError(
            f"{format.muxer} contains text only, and they are pictures; an .mkv file takes them"
        )
    return TextConverter(container, track, encoder=format.subtitle)


def _copier(container: Any, track: Any, format: Format) -> Copier:
    stream = add_copy(container, track)
    context = track.codec_context
    if track.type != "audio" or (format.muxer == "mpegts" and not context.extradata):
        return Copier(stream)  # in MPEG-TS, each packet tells its coding
    # MOV stores no times of single samples, either.
    is_pcm = format.muxer == "mov" and context.codec.canonical_name.startswith("pcm_")
    return SoundCopier(stream, track, timeless=format.timeless or is_pcm)


def _begins_late(track: Any) -> bool:
    """Whether sound begins noticeably later than the picture."""
    start, *others = map(_start_s, (track, *track.container.streams.video))
    seen = [other for other in others if other is not None]
    return start is not None and bool(seen) and start - min(seen) > MAX_EARLY_S


def _start_s(stream: Any) -> Fraction | None:
    base = fraction(stream.time_base)
    return None if base is None or stream.start_time is None else stream.start_time * base


class _Pipe:
    """Takes bytes, and cannot seek."""

    def write(self, data: bytes) -> int:
        return len(data)


def _trial(track: Any, *, format: Format, seekable: bool) -> Any:
    """An output to nowhere for packets of `track`; raises if the muxer refuses the track."""
    target = os.devnull if seekable else _Pipe()
    trial = open_container(target, "w", format=format.muxer, container_options=dict(format.options))
    add_copy(trial, track)
    trial.start_encoding()
    return trial


def _mux_copy(output: Any, packet: Any) -> None:
    copy = copy_packet(packet)
    copy.stream = output.streams[0]
    output.mux_one(copy)


def _check_dolby(stream: Any, packet: Any, before: Any) -> None:
    """Raise `ValueError` for (E-)AC-3 that costs the end of an MP4 file.

    Its muxer has no name for some versions, which it notices when it writes the header, at the end.
    It joins packets to six blocks of samples; if their number of blocks differs from that of
    `before`, the packet before, it refuses all others.
    """
    name, head = codec_name(stream), _head(packet)
    if stream.container.format.name in ("mp4", "mov") and name in ("ac3", "eac3") and head:
        version = head[5] >> 3
        if version in (9, 10) or (name == "ac3" and version > 8):
            raise ValueError(f"version {version}")
        if name == "eac3" and before is not None and _blocks(head) != _blocks(_head(before)):
            raise ValueError("another number of blocks")


def _head(packet: Any) -> bytes:
    head = bytes(memoryview(packet)[:6])
    return head if len(head) == 6 else b""


def _blocks(head: bytes) -> int | None:
    """The code of the number of blocks of an E-AC-3 packet; 3 for low rates, which imply it."""
    return (3 if head[4] >> 6 == 3 else head[4] >> 4 & 3) if head else None


def _label(number: int, track: Any) -> str:
    context = track.codec_context
    name = track.name if track.type == "attachment" else context and context.codec.canonical_name
    about = [track.type, name, track.language]
    shown = [text for text in about if text and text != "und"]
    return f"track {number + 1} ({', '.join(shown)})"
