"""How a track gets into an output: copied, or converted to another codec."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from ..media.ffmpeg import av, filtered, fraction, open_container

_BIT_RATE = 80_000  # bits/s and channel: transparent for AAC, MP3 and Opus
# The usual layouts, for files that tell only the number of channels.
_LAYOUTS = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}
_MILLISECOND = Fraction(1, 1000)
_NO_TEXT = b"\0\0"  # its length, in MP4


class TrackWriter(ABC):
    """One track of an output: packets of the input in, packets for the muxer out."""

    stream: Any  # of the output container

    @abstractmethod
    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        """Yield the packets that are ready once `packet` is in; see `Tracks.write`."""

    def flush(self) -> Iterator[Any]:
        """Yield what is still inside."""
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


class AudioConverter(TrackWriter):
    """Decodes sound and encodes it at its own times.

    It fills gaps with silence and cuts overlaps, which would shift the rest in most containers.
    With `from_zero`, the time from 0 to the first sound is a gap, too.
    """

    def __init__(self, container: Any, track: Any, *, encoder: str, from_zero: bool) -> None:
        self._decoder = _decoder(track)
        self._from_zero = from_zero
        codec = av.Codec(encoder, "w")
        rate = _nearest(self._decoder.sample_rate, codec.audio_rates)
        format = str(codec.audio_formats[0].name) if codec.audio_formats else "fltp"
        layout = _layout(self._decoder)
        if not _opens(encoder, rate, format, layout):
            layout = "stereo"  # all that MP3 supports
        self.stream = container.add_stream(encoder, rate=rate)
        context = self.stream.codec_context
        context.format, context.layout = format, layout
        context.bit_rate = _BIT_RATE * max(2, context.layout.nb_channels)
        context.time_base = Fraction(1, rate)
        context.open()
        self._target = f"sample_fmts={format}:sample_rates={rate}:channel_layouts={layout}"
        self._graph: Any = None
        self._input: tuple[int, str, str] | None = None

    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        for frame in self._decoder.decode(packet):
            if not hidden:
                frame.time_base = fraction(frame.time_base) or packet.time_base
                yield from self._convert(frame)

    def flush(self) -> Iterator[Any]:
        try:
            for frame in self._decoder.decode(None):
                yield from self._convert(frame)
        except av.error.FFmpegError:
            pass  # the end of a truncated track
        yield from self._encode(None)
        yield from self.stream.encode(None)

    def _convert(self, frame: Any) -> Iterator[Any]:
        shape = (frame.sample_rate, frame.format.name, frame.layout.name)
        if shape != self._input:
            yield from self._encode(None)
            self._graph, self._input = self._build(frame), shape
        yield from self._encode(frame)

    def _encode(self, frame: Any) -> Iterator[Any]:
        if self._graph is not None:
            for converted in filtered(self._graph, frame):
                yield from self.stream.encode(converted)

    def _build(self, frame: Any) -> Any:
        first = ":first_pts=0" if self._from_zero else ""
        self._from_zero = False  # another graph continues where this one ends
        graph = av.filter.Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=frame.time_base,
            ),
            graph.add("aresample", f"async=1{first}"),
            graph.add("aformat", self._target),
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


def _layout(context: Any) -> str:
    name = str(context.layout.name)
    if name.endswith("channels"):  # "6 channels"
        return _LAYOUTS.get(context.layout.nb_channels, "stereo")
    return name


def _opens(encoder: str, rate: int, format: str, layout: str) -> bool:
    context: Any = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.format, context.layout = rate, format, layout
    try:
        context.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
