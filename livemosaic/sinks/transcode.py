"""Sound and text subtitles from one coding to another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from ..media.ffmpeg import av, filtered, fraction, open_container

__all__ = ["AudioConverter", "TextConverter"]

_BIT_RATE = 80_000  # bits/s and channel: transparent for AAC, MP3 and Opus
# What a file means that says how many channels it has, but not which.
_LAYOUTS = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}
_MILLISECOND = Fraction(1, 1000)


class AudioConverter:
    """Decodes sound and codes it again, at its own times.

    Gaps are filled with silence and overlaps cut, because what is not written in most containers
    would shift all that follows.

    Parameters
    ----------
    container : an `av` output container whose header is not yet written
    track : the input's stream
    encoder : FFmpeg's name of one
    from_zero : begin with silence if the sound begins later than at 0
    """

    def __init__(
        self, container: Any, track: Any, *, encoder: str, from_zero: bool = False
    ) -> None:
        self._decoder = _decoder(track)
        self._from_zero = from_zero
        codec = av.Codec(encoder, "w")
        rate = _nearest(self._decoder.sample_rate, codec.audio_rates)
        self._format = str(codec.audio_formats[0].name) if codec.audio_formats else "fltp"
        layout = _layout(self._decoder)
        if not _opens(encoder, rate, self._format, layout):
            layout = "stereo"  # MP3 has no more
        self.stream = container.add_stream(encoder, rate=rate)
        context = self.stream.codec_context
        context.format, context.layout = self._format, layout
        context.bit_rate = _BIT_RATE * max(2, context.layout.nb_channels)
        context.time_base = Fraction(1, rate)
        context.open()
        self._target = f"sample_fmts={self._format}:sample_rates={rate}:channel_layouts={layout}"
        self._graph: Any = None
        self._input: tuple[int, str, str] | None = None

    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        """Yield the packets that are ready once `packet` is in; see `Tracks.write`."""
        for frame in self._decoder.decode(packet):
            if hidden:
                continue
            frame.time_base = fraction(frame.time_base) or packet.time_base
            yield from self._convert(frame)

    def flush(self) -> Iterator[Any]:
        """Yield what is still inside."""
        try:
            for frame in self._decoder.decode(None):
                yield from self._convert(frame)
        except av.error.FFmpegError:
            pass  # the end of a cut-off track
        yield from self._drain()
        yield from self.stream.encode(None)

    def _convert(self, frame: Any) -> Iterator[Any]:
        shape = (frame.sample_rate, frame.format.name, frame.layout.name)
        if shape != self._input:
            yield from self._drain()
            self._graph, self._input = self._build(frame), shape
        yield from self._encode(frame)

    def _drain(self) -> Iterator[Any]:
        if self._graph is not None:
            yield from self._encode(None)
            self._graph = None

    def _encode(self, frame: Any) -> Iterator[Any]:
        for converted in filtered(self._graph, frame):
            yield from self.stream.encode(converted)

    def _build(self, frame: Any) -> Any:
        first = ":first_pts=0" if self._from_zero else ""
        self._from_zero = False  # another graph goes on where this one ends
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


class TextConverter:
    """Decodes text subtitles and codes them again.

    Parameters
    ----------
    container : an `av` output container whose header is not yet written
    track : the input's stream
    encoder : FFmpeg's name of one
    """

    def __init__(self, container: Any, track: Any, *, encoder: str) -> None:
        self._decoder = _decoder(track)
        self._decoder.open(strict=False)  # makes the header that the encoder needs
        self.stream = container.add_stream(encoder)
        context = self.stream.codec_context
        context.time_base = _MILLISECOND
        self.stream.time_base = _MILLISECOND
        context.subtitle_header = self._decoder.subtitle_header
        context.open()

    def write(self, packet: Any, *, hidden: bool) -> Iterator[Any]:
        """Yield the packet for `packet`, if it shows anything."""
        if hidden:
            return
        shown = self._decoder.decode2(packet)
        if shown is None or len(shown) == 0:
            return
        coded = self.stream.codec_context.encode_subtitle(shown)
        coded.stream = self.stream
        coded.time_base = packet.time_base
        coded.pts = coded.dts = packet.pts
        coded.duration = packet.duration or round(
            shown.end_display_time * _MILLISECOND / (fraction(packet.time_base) or 1)
        )
        yield coded

    def flush(self) -> Iterator[Any]:
        """Nothing stays inside."""
        return iter(())


def _decoder(track: Any) -> Any:
    """A decoder of our own for `track`: other sinks may be decoding the same packets.

    PyAV copies all parameters of a stream only into a stream of an output, so there is one, to
    nowhere.
    """
    with open_container(io.BytesIO(), "w", format="null") as nowhere:
        return nowhere.add_stream_from_template(track, opaque=True).codec_context


def _nearest(rate: int, rates: list[int] | None) -> int:
    if not rates or rate in rates:
        return rate
    return min((r for r in rates if r > rate), default=max(rates))


def _layout(context: Any) -> str:
    channels = context.layout.nb_channels
    name = str(context.layout.name)
    return _LAYOUTS.get(channels, "stereo") if name.endswith("channels") else name


def _opens(encoder: str, rate: int, format: str, layout: str) -> bool:
    context: Any = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.format, context.layout = rate, format, layout
    try:
        context.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
