"""The tracks beside the picture: copied, converted, or left out with a warning."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

from ..media.ffmpeg import av, fraction, reason
from ..media.frame import TrackPacket
from .formats import Format
from .transcode import AudioConverter, Copier, TextConverter, TrackWriter

_logger = logging.getLogger("livemosaic")

_MAX_EARLY_S = 0.04  # viewers notice sound that is 0.045 s early (ITU-R BT.1359)
_TEXT = {"subrip", "ass", "ssa", "mov_text", "webvtt", "text"}
# Beginnings of keys that a container computes, or that are wrong after another encoding.
_STALE_KEYS = ("_statistics", "bps", "duration", "number_of", "encoder", "vendor_id")


class Tracks:
    """All tracks of an output but the picture. The container has no header yet."""

    def __init__(self, container: Any, tracks: Sequence[Any], *, format: Format) -> None:
        self._tracks = tracks
        self._writers: dict[int, TrackWriter] = {}
        self._last: dict[int, tuple[int, int]] = {}  # dts and duration of the last packet
        self._warned: set[int] = set()
        for number, track in enumerate(tracks):
            try:
                writer = _writer(container, track, format)
            except (av.error.FFmpegError, ValueError) as error:
                _logger.warning("%s is left out: %s", _label(number, track), reason(error))
                continue
            for key, text in track.metadata.items():
                if not key.lower().startswith(_STALE_KEYS):
                    writer.stream.metadata[key] = text
            writer.stream.disposition = int(track.disposition)
            self._writers[number] = writer

    def write(self, item: TrackPacket, *, hidden: bool) -> Iterator[Any]:
        """Yield the packets that are ready for the muxer once `item` is in.

        `hidden` packets are decoded but not played, because they are before an edit list begins.
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
        """Report once that a track is damaged.

        Not why: decoders report any error for damaged data, even that permission is denied.
        """
        if number not in self._warned:
            self._warned.add(number)
            label = _label(number, self._tracks[number])
            _logger.warning("%s is damaged, parts are left out", label)

    def _ordered(self, number: int, packets: Iterable[Any]) -> Iterator[Any]:
        """Give every packet a time after that of the packet before, as muxers require."""
        track = self._tracks[number]
        for packet in packets:
            dts = packet.dts if packet.dts is not None else packet.pts
            last_dts, last_duration = self._last.get(number, (None, 0))
            if dts is None:
                dts = 0 if last_dts is None else last_dts + last_duration
            if last_dts is not None and dts <= last_dts:
                dts = last_dts + _min_step(packet, track)
            packet.dts = dts
            packet.pts = dts if packet.pts is None else max(packet.pts, dts)
            packet.duration = _duration(packet, track)
            self._last[number] = dts, packet.duration
            yield packet


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


def _writer(container: Any, track: Any, format: Format) -> TrackWriter:
    """Add `track` to `container`; raise `ValueError` with the reason if that is impossible."""
    if track.type == "attachment":
        if format.muxer != "matroska":
            raise ValueError(f"{format.muxer} cannot contain attachments; an .mkv file can")
        return Copier(container.add_stream_from_template(track))
    if track.codec_context is None:
        raise ValueError("this FFmpeg does not know its codec")
    codec = track.codec_context.codec
    copied = format.audio_copies if track.type == "audio" else format.subtitle_copies
    fits = copied is None or codec.canonical_name in copied
    silent_first = format.timeless and track.type == "audio" and _begins_late(track)
    if fits and not silent_first and _can_copy(track, format):
        return Copier(container.add_stream_from_template(track))
    if track.type == "audio":
        if format.audio is None:
            raise ValueError(f"{format.muxer} cannot contain sound; an .mp4 or .mkv file can")
        return AudioConverter(container, track, encoder=format.audio, from_zero=format.timeless)
    if format.subtitle is None:
        raise ValueError(f"{format.muxer} cannot contain such subtitles; an .mkv file can")
    if codec.canonical_name not in _TEXT:
        raise ValueError(
            f"{format.muxer} contains text only, and they are pictures; an .mkv file takes them"
        )
    return TextConverter(container, track, encoder=format.subtitle)


def _begins_late(track: Any) -> bool:
    """Whether sound begins noticeably later than the picture."""
    start, *others = map(_start_s, (track, *track.container.streams.video))
    seen = [other for other in others if other is not None]
    return start is not None and bool(seen) and start - min(seen) > _MAX_EARLY_S


def _start_s(stream: Any) -> Fraction | None:
    base = fraction(stream.time_base)
    return None if base is None or stream.start_time is None else stream.start_time * base


def _can_copy(track: Any, format: Format) -> bool:
    """Whether the muxer accepts the track: try to write a header to nowhere.

    A muxer may refuse a codec that it lists, for its parameters. At the real header, that would
    cost the whole file.
    """
    try:
        trial = av.open(io.BytesIO(), "w", format=format.muxer)
        trial.add_stream_from_template(track)
        trial.start_encoding()
        trial.close()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _label(number: int, track: Any) -> str:
    about = [text for text in (track.type, track.name, track.language) if text and text != "und"]
    return f"track {number + 1} ({', '.join(about)})"
