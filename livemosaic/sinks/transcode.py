"""How a track gets into an output: copied, or converted to another codec."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from fractions import Fraction
from typing import Any

from ..media.ffmpeg import (
    av,
    codec_name,
    copy_packet,
    filtered,
    fraction,
    open_container,
    packet_end_s,
)

_BIT_RATE = 80_000  # bits/s and channel: transparent for AAC, MP3 and Opus
_RATE = 48_000  # samples/s where the input does not say it: that of broadcasts and discs
# Silence is made for gaps up to this length, at once and at all.
_MAX_FILTERED_S, _MAX_SILENCE_S = 10, 600
_PRIMING = 8192  # samples until every encoder gives a packet
MAX_EARLY_S = Fraction(4, 100)  # viewers notice sound that is 0.045 s early (ITU-R BT.1359)
# The usual layouts, for files that only give the number of channels.
_LAYOUTS = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}
# FFmpeg mixes up the channels of the former in Opus (ticket 8939).
_OPUS_LAYOUTS = {"5.0": "5.1", "6.1": "7.1"}
_MILLISECOND = Fraction(1, 1000)
_NO_TEXT = b"\0\0"  # its length, in MP4
_WITH_RATE = {"mp2", "mp3", "ac3"}  # whose packets tell it
_ADTS_SIZE = 7  # of the header of an AAC packet in a stream
# Samples/s and channels by their numbers in AAC's headers.
_AAC_RATES = dict(enumerate((96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000)))
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1"}


class TrackEndedError(Exception):
    """The rest of a track cannot be written; the message says why."""


class TrackWriter(ABC):
    """One track of an output: packets of the input in, packets for the muxer out."""

    stream: Any  # of the output container

    @abstractmethod
    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        """Yield the packets that are ready once `packet` is in; see `Tracks.write`."""

    def flush(self) -> Iterator[Any]:
        """Yield what is still inside."""
        return iter(())

    def silence(self) -> Iterator[Any]:
        """Yield a packet or two of silence at time 0, if it is sound that can be encoded."""
        return iter(())


class Copier(TrackWriter):
    """Copies packets.

    Of the hidden packets, only the last before the first that is played is copied. Decoders need
    it, and players would play more. Empty texts, which fill gaps in MP4, are not copied. The muxer
    makes them, and the last one could last beyond the end of the output.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._before: Any = None
        self._started = False

    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        if codec_name(packet.stream) == "mov_text" and bytes(packet) == _NO_TEXT:
            return
        packet.stream = self.stream
        if hidden:
            self._before = packet
            return
        if not self._started and self._before is not None:
            yield self._before
        self._before, self._started = None, True
        yield packet


class SoundCopier(Copier):
    """Copies sound while its coding stays the same, and encodes the rest in the first coding.

    An output says the coding of a track once, in its header. AAC packets do not repeat it (except
    in MPEG-TS); other codecs do, but AVI computes times by the rate in the header. Where AVI needs
    silence for a pause, the rest is encoded, too.
    """

    def __init__(self, stream: Any, track: Any, *, timeless: bool) -> None:
        super().__init__(stream)
        self._track, self._timeless = track, timeless
        self._name = track.codec_context.codec.canonical_name
        self._parser = _decoder(track) if timeless and self._name in _WITH_RATE else None
        self._coding: int | None = None
        self._head = b""  # of the first packet
        self._end_s: Fraction | None = None  # of what was copied
        self._converter: AudioConverter | None = None

    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        coding = self._find_coding(packet) if self._converter is None else None
        if coding is not None and self._coding is None:
            self._coding, self._head = coding, bytes(memoryview(packet)[:_ADTS_SIZE])
        changes = coding is not None and coding != self._coding
        if self._converter is None and (changes or self._pauses(packet)):
            self._converter = self._continued()
        if self._converter is not None:
            yield from self._framed(self._converter.write(packet, hidden=hidden))
            return
        if self._timeless and self._is_past(packet):
            return  # it would shift the rest
        self._end_s = packet_end_s(packet) or self._end_s
        yield from super().write(packet, hidden=hidden)

    def flush(self) -> Iterator[Any]:
        if self._converter is not None:
            yield from self._framed(self._converter.flush())

    def silence(self) -> Iterator[Any]:
        for packet in self._framed(self._continued().silence()):
            self._end_s = packet_end_s(packet) or self._end_s
            yield packet

    def _find_coding(self, packet: Any) -> int | None:
        """A number for the coding of a packet; None where the packet does not tell."""
        if self._name == "aac":
            head = bytes(memoryview(packet)[:_ADTS_SIZE])
            if _is_adts(head):
                return _adts_coding(head)
            extradata = packet.get_sidedata("new_extradata") or self._track.codec_context.extradata
            return int.from_bytes(bytes(extradata)[:2]) & ~7 if extradata else None
        if self._parser is None:
            return None
        self._parser.parse(bytes(packet))
        return self._parser.sample_rate or None

    def _is_past(self, packet: Any) -> bool:
        """Whether a quarter of a packet or more is before the end of what was copied."""
        end_s, base = packet_end_s(packet), fraction(packet.time_base)
        if end_s is None or self._end_s is None or base is None:
            return False
        return bool(end_s - (packet.duration or 0) * base * 3 / 4 <= self._end_s)

    def _pauses(self, packet: Any) -> bool:
        """Whether silence has to be made before a packet."""
        end_s, base = self._end_s, fraction(packet.time_base)
        if not self._timeless or end_s is None or packet.pts is None or base is None:
            return False
        return bool(packet.pts * base - end_s > MAX_EARLY_S)

    def _continued(self) -> AudioConverter:
        context = self._track.codec_context
        rate, layout = context.sample_rate, _layout(context)
        if self._name == "aac" and self._coding is not None:
            rate = _AAC_RATES.get(self._coding >> 7 & 15, rate)
            layout = _AAC_LAYOUTS.get(self._coding >> 3 & 15, layout)
        else:
            rate = self._coding or rate
        codec = av.Codec(self._name, "w")
        encoder: Any = av.CodecContext.create(codec, "w")
        format = str(codec.audio_formats[0].name) if codec.audio_formats else "fltp"
        # AVI also computes times of MP2 by the size of its packets.
        _open(encoder, rate, format, layout, bit_rate=context.bit_rate)
        return AudioConverter(
            self.stream, self._track, encoder, timeless=self._timeless, start_s=self._end_s
        )

    def _framed(self, packets: Iterator[Any]) -> Iterator[Any]:
        """The packets in the framing of the first one, without those for the encoder's start."""
        for packet in packets:
            if self._is_past(packet):
                continue
            if _is_adts(self._head):
                packet = copy_packet(packet, _adts(self._head, bytes(packet)))
            yield packet


class AudioConverter(TrackWriter):
    """Decodes sound and encodes it at its own times.

    It fills gaps with silence and cuts overlaps, which would shift the rest in most containers.
    Long gaps stay as they are in containers that store times.

    Parameters
    ----------
    encoder : an open context
    timeless : the container stores no times
    start_s : where the sound begins; None: with the first packet
    """

    def __init__(
        self, stream: Any, track: Any, encoder: Any, *, timeless: bool, start_s: Fraction | None
    ) -> None:
        self.stream, self._decoder, self._encoder = stream, _decoder(track), encoder
        self._timeless, self._end_s, self._start_s = timeless, start_s, start_s
        self._base: Any = None  # of the packets' times
        self._next: int | None = None  # the time that the encoder waits for, in samples
        self._graph: Any = None
        self._input: tuple[int, str, str] | None = None

    @classmethod
    def added(cls, container: Any, track: Any, *, encoder: str, timeless: bool) -> AudioConverter:
        """Add a stream for `track` to a container."""
        decoder = _decoder(track)
        codec = av.Codec(encoder, "w")
        rate = _nearest(decoder.sample_rate or _RATE, codec.audio_rates)
        format = str(codec.audio_formats[0].name) if codec.audio_formats else "fltp"
        layout = _layout(decoder)
        if encoder == "libopus":
            layout = _OPUS_LAYOUTS.get(layout, layout)
        if not _opens(encoder, rate, format, layout):
            layout = "stereo"  # all that MP3 supports
        stream = container.add_stream(encoder, rate=rate)
        _open(stream.codec_context, rate, format, layout)
        start_s = Fraction(0) if timeless else None
        return cls(stream, track, stream.codec_context, timeless=timeless, start_s=start_s)

    @property
    def channels(self) -> int:
        """Of the output."""
        return int(self._encoder.layout.nb_channels)

    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        self._base = packet.time_base
        for frame in self._decoder.decode(packet):
            if not hidden:
                yield from self._convert(frame)

    def flush(self) -> Iterator[Any]:
        try:
            for frame in self._decoder.decode(None):
                yield from self._convert(frame)
        except av.error.FFmpegError:
            pass  # the end of a truncated track
        yield from self._filter(None)
        yield from self._encode(None)

    def silence(self) -> Iterator[Any]:
        # By another encoder: the last packet would fade into the sound that comes.
        mine, other = self._encoder, copy(self)
        other._encoder = av.CodecContext.create(mine.codec, "w")
        _open(
            other._encoder, mine.sample_rate, mine.format.name, mine.layout.name,
            bit_rate=mine.bit_rate,
        )  # fmt: skip
        yield from (packet for packet in other._silence(0, _PRIMING) if packet.pts >= 0)

    def _convert(self, frame: Any) -> Iterator[Any]:
        frame.time_base = fraction(frame.time_base) or self._base
        shape = (frame.sample_rate, frame.format.name, frame.layout.name)
        if frame.pts is None and self._end_s is not None:
            frame.pts = round(self._end_s / frame.time_base)
        start_s = None if frame.pts is None else frame.pts * frame.time_base
        gap_s = Fraction(0) if start_s is None or self._end_s is None else start_s - self._end_s
        if shape != self._input or gap_s > _MAX_FILTERED_S:
            yield from self._filter(None)
            self._graph = self._input = None  # if the next line fails
            if gap_s > _MAX_FILTERED_S:
                yield from self._fill(gap_s)
            self._graph, self._input = self._build(frame), shape
        if start_s is not None:
            self._end_s = start_s + Fraction(frame.samples, frame.sample_rate)
        yield from self._filter(frame)

    def _fill(self, gap_s: Fraction) -> Iterator[Any]:
        """Yield silence, a second at a time, where the container needs it."""
        assert self._end_s is not None
        self._start_s = None
        if not self._timeless:
            return
        if gap_s > _MAX_SILENCE_S:
            raise TrackEndedError(
                f"it pauses for {float(gap_s) / 60:.0f} min; an .mkv file takes that"
            )
        rate = self._encoder.sample_rate
        yield from self._silence(round(self._end_s * rate), round((self._end_s + gap_s) * rate))

    def _silence(self, begin: int, end: int) -> Iterator[Any]:
        """Yield silence from and to a time in samples, a second at a time."""
        rate = self._encoder.sample_rate
        for pts in range(begin, end, rate):
            frame = av.AudioFrame(
                self._encoder.format.name, self._encoder.layout.name, min(rate, end - pts)
            )
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts, frame.sample_rate, frame.time_base = pts, rate, Fraction(1, rate)
            yield from self._encode(frame)

    def _filter(self, frame: Any) -> Iterator[Any]:
        if self._graph is not None:
            for converted in filtered(self._graph, frame):
                yield from self._encode(converted)

    def _encode(self, frame: Any) -> Iterator[Any]:
        if frame is not None:
            # Filters cut overlaps, but each begins anew when the coding changes.
            next_pts = frame.pts or 0 if self._next is None else self._next
            pts = next_pts if frame.pts is None else frame.pts
            if pts + frame.samples <= next_pts:
                return
            frame.pts = max(pts, next_pts)
            self._next = frame.pts + frame.samples
        for packet in self._encoder.encode(frame):
            packet.stream = self.stream
            yield packet

    def _build(self, frame: Any) -> Any:
        encoder = self._encoder
        first = ""
        if self._start_s is not None:
            first = f":first_pts={round(self._start_s * frame.sample_rate)}"
        self._start_s = None  # another graph continues where this one ends
        target = (
            f"sample_fmts={encoder.format.name}:sample_rates={encoder.sample_rate}"
            f":channel_layouts={encoder.layout.name}"
        )
        graph = av.filter.Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=_known_layout(frame.layout),
                time_base=frame.time_base,
            ),
            graph.add("aresample", f"async=1{first}"),
            graph.add("aformat", target),
            graph.add("abuffersink"),
        ).configure()
        return graph


class TextConverter(TrackWriter):
    """Decodes text subtitles and encodes them again."""

    def __init__(self, container: Any, track: Any, *, encoder: str) -> None:
        self._decoder = _decoder(track)
        self._decoder.open(strict=False)  # makes the header that the encoder needs
        self.stream = container.add_stream(encoder)
        context = self.stream.codec_context
        context.time_base = self.stream.time_base = _MILLISECOND
        context.subtitle_header = self._decoder.subtitle_header
        context.open()

    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        shown = None if hidden else self._decoder.decode2(packet)
        if not shown:
            return
        encoded = self.stream.codec_context.encode_subtitle(shown)
        encoded.stream = self.stream
        encoded.time_base = packet.time_base
        encoded.pts = encoded.dts = packet.pts
        encoded.duration = packet.duration or round(
            shown.end_display_time * _MILLISECOND / (fraction(packet.time_base) or 1)
        )
        yield encoded


def _decoder(track: Any) -> Any:
    """A decoder of our own for `track`: other sinks may be decoding the same packets.

    PyAV copies all parameters of a stream only into a stream of an output, here to nowhere.
    """
    with open_container(io.BytesIO(), "w", format="null") as nowhere:
        return nowhere.add_stream_from_template(track, opaque=True).codec_context


def _nearest(rate: int, rates: list[int] | None) -> int:
    if not rates or rate in rates:
        return rate
    return min((r for r in rates if r > rate), default=max(rates))


def _known_layout(layout: Any) -> str:
    """The name of a layout; the usual one if only the number of channels is known."""
    name = str(layout.name)  # such as "6 channels"
    return _LAYOUTS.get(layout.nb_channels, name) if name.endswith("channels") else name


def _layout(context: Any) -> str:
    """The layout to encode the sound of a decoder in.

    Speakers at the side (DTS, AC-3, E-AC-3) count as speakers at the back. Opus has no others, and
    in AAC few players know them.
    """
    name = _known_layout(context.layout).replace("(side)", "")
    return "stereo" if name.endswith("channels") else name


def _open(
    encoder: Any, rate: int, format: str, layout: str, *, bit_rate: int | None = None
) -> None:
    encoder.sample_rate, encoder.format, encoder.layout = rate, format, layout
    encoder.bit_rate = bit_rate or _BIT_RATE * max(2, encoder.layout.nb_channels)
    encoder.time_base = Fraction(1, rate)
    encoder.open()


def _opens(encoder: str, rate: int, format: str, layout: str) -> bool:
    context: Any = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.format, context.layout = rate, format, layout
    try:
        context.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _is_adts(head: bytes) -> bool:
    return len(head) == _ADTS_SIZE and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def _adts_coding(head: bytes) -> int:
    """The first 13 bits of AAC's configuration: object type, rate and channels, and 3 more."""
    rate, channels = head[2] >> 2 & 15, (head[2] & 1) << 2 | head[3] >> 6
    return ((head[2] >> 6) + 1) << 11 | rate << 7 | channels << 3


def _adts(head: bytes, data: bytes) -> bytes:
    """AAC data behind a header like `head`, without a checksum."""
    size = _ADTS_SIZE + len(data)
    length = (head[3] & 0xFC | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F)
    return bytes((head[0], head[1] | 1, head[2], *length, 0xFC)) + data
