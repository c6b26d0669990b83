"""Video files and streams, with the tracks beside the picture."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from ..blocking import TimedCalls
from ..errors import LivemosaicError, SinkError, UsageError
from ..media.ffmpeg import av, fraction, open_container, sink_error
from ..media.frame import Chapter, Frame, StreamInfo, TrackPacket
from ..media.urls import is_url, public_name, split_url
from .atomic_file import AtomicFile
from .base import Sink
from .destination import STANDARD_OUTPUT, Destination, FileOptions, RunContext
from .encoder import VideoEncoder
from .formats import (
    FORMATS,
    NETWORK_OPTIONS,
    URL_FORMATS,
    Format,
    find_codec,
    find_format,
    supported_options,
)
from .output_paths import check_path, ending, refuse_folder
from .tracks import Tracks

__all__ = ["FileSink", "parse_output"]

_logger = logging.getLogger("livemosaic")

# What the container writes itself about itself.
_STALE_KEYS = {"encoder", "major_brand", "minor_version", "compatible_brands"}

_MAX_TIMESCALE = 1_000_000  # ticks per second: beyond, players' 32-bit sums overflow

# Whole MPEG-TS packets in each datagram, as receivers expect; 7 fit into an Ethernet frame.
_DATAGRAM_BYTES = 7 * 188


@dataclass(frozen=True, kw_only=True)
class FileDestination(Destination):
    """A video file, or a stream to standard output, a pipe, a device or an address.

    Attributes
    ----------
    format : the container
    is_file : appears when it is complete; a stream is written as it comes
    is_network : is an address
    """

    format: Format
    encodes: bool = True
    is_file: bool = False
    is_network: bool = False

    def supported_options(self) -> set[str]:
        return supported_options(self.format, self.options)

    def check(self) -> None:
        find_codec(self.format, self.options, output=self.name)
        if self.is_file:
            check_path(self.name, self.location, self.options)

    def open(self, info: StreamInfo, context: RunContext) -> FileSink:
        return FileSink(self, info)


def parse_output(spec: str, options: FileOptions) -> FileDestination:
    if spec == "-":
        if sys.stdout is not None and sys.stdout.isatty():
            raise UsageError("standard output: it is the terminal; pipe it or redirect it")
        name = "standard output"
        format = find_format(options.format or "matroska", output=name)
        return _pipe(name, STANDARD_OUTPUT, format, options)
    if is_url(spec):
        return _address(spec, options)
    refuse_folder(spec, example="out.mp4")
    suffix = ending(spec)
    # A known ending counts more than `options.format`.
    named = suffix if suffix in FORMATS or options.format is None else options.format
    format = find_format(named, output=spec)
    if os.path.exists(spec) and not stat.S_ISREG(os.stat(spec).st_mode):
        return _pipe(spec, spec, format, options)
    return FileDestination(
        name=spec,
        options=options,
        location=os.path.realpath(spec),
        compact=format.muxer == "gif",
        format=format,
        is_file=True,
    )


def _pipe(name: str, location: str, format: Format, options: FileOptions) -> FileDestination:
    """A pipe or a device: for a container that is written without going back."""
    if format.muxer in ("mp4", "mov"):
        is_stdout = location == STANDARD_OUTPUT
        fix = "--format matroska" if is_stdout else "a name that ends in .mkv or .ts"
        raise UsageError(
            f"{name}: a pipe cannot hold {format.muxer}, whose beginning is written last; use {fix}"
        )
    return FileDestination(name=name, options=options, location=location, format=format)


def _address(url: str, options: FileOptions) -> FileDestination:
    name, parts = public_name(url), split_url(url)
    scheme = parts.scheme.lower()
    by_scheme = None if options.format else URL_FORMATS.get(scheme)
    format = by_scheme or find_format(options.format or ending(parts.path), output=name)
    # FFmpeg reads these from the address only.
    defaults = {
        "udp": f"pkt_size={_DATAGRAM_BYTES}",
        "tcp": f"timeout={_microseconds(options.timeout_s)}",  # also to connect
    }
    extra = defaults.get(scheme, "")
    if extra and f"{extra.partition('=')[0]}=" not in url:
        url += f"{'&' if '?' in url else '?'}{extra}"
    return FileDestination(
        name=name,
        options=options,
        location=url,
        for_screen=True,
        format=format,
        is_network=True,
    )


class FileSink(Sink):
    """Encodes frames into a container, and copies or converts the other tracks into it.

    Close it before the source that the tracks come from. For the network, frames are encoded
    without delay.

    Attributes
    ----------
    frames_written : frames in the file; repeated ones count where the container has a fixed rate
    bytes_written : of all packets, and after `close` of the file
    duration_s : from the first frame's start to the last one's end

    Raises
    ------
    SinkError
        when it cannot be created or written
    UsageError
        when the encoder refuses its settings
    """

    def __init__(self, destination: FileDestination, info: StreamInfo) -> None:
        self.name = destination.name
        # Viewers of a live input over the network want the newest frame, too.
        self.latest_only = info.live and destination.is_network
        self.bytes_written = 0
        self.duration_s = 0.0
        self._info = info
        self._start: Fraction | None = None
        self._end = Fraction(0)  # of all that was written
        self._early: deque[TrackPacket] = deque()
        options, url = destination.options, destination.location
        self._part: AtomicFile | None = None
        if destination.is_file:
            self._part = AtomicFile(url, name=self.name, overwrite=options.overwrite)
            url = _local(self._part.path)
        self._timed: TimedCalls | None = None
        if destination.is_network:
            self._timed = TimedCalls(options.timeout_s, name=f"send {self.name}")
        self._container: Any = None
        began_s = time.monotonic()
        try:
            self._container = _open(url, destination, time_base=info.time_base)
            self._video = VideoEncoder(
                self._container,
                find_codec(destination.format, options, output=self.name),
                info,
                options=options,
                name=self.name,
                low_delay=destination.is_network,
            )
            self._tracks = Tracks(self._container, info.tracks, format=destination.format)
            self._describe()
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.abort()
            if isinstance(error, LivemosaicError):
                raise
            if destination.is_network:
                # FFmpeg reports a server that says nothing as one that talks nonsense. Its error
                # names the address with the password, so it is not the cause of ours.
                is_late = time.monotonic() - began_s >= options.timeout_s
                raise sink_error(self.name, TimeoutError() if is_late else error) from None
            raise sink_error(self.name, error) from error

    @property
    def frames_written(self) -> int:
        return self._video.frames

    def write(self, item: Frame | TrackPacket) -> None:
        """Encode a frame, or copy or convert a packet."""
        try:
            if isinstance(item, Frame):
                self._write_frame(item)
            elif self._video.origin is None:
                self._early.append(item)  # where 0 is, only the first frame tells
            else:
                self._write_packet(item)
        except SinkError:
            raise
        except (av.error.FFmpegError, OSError) as error:
            raise sink_error(self.name, error) from error

    def close(self) -> None:
        """Write what is still inside the encoders and the container's end; name the file."""
        if self.frames_written == 0:
            self.abort()
            raise SinkError(f"{self.name}: not one frame came, so that nothing is written")
        try:
            self._mux(self._video.flush())
            self._mux(self._tracks.flush())
            if self._part is not None:
                self._set_chapters(self._chapters_so_far())
            self._container.close()
            self._end_timed()
            if self._part is not None:
                self.bytes_written = self._part.path.stat().st_size
                self._part.commit()
            self._warn_of_rate()
        except SinkError:
            self.abort()
            raise
        except (av.error.FFmpegError, OSError) as error:
            self.abort()
            raise sink_error(self.name, error) from error

    def abort(self) -> None:
        """Close and remove what was written. Never raises."""
        # What a call is in the middle of cannot be closed.
        if self._container is not None and not (self._timed and self._timed.stuck):
            with contextlib.suppress(Exception):
                self._container.close()
        self._end_timed()
        self.discard()

    def discard(self) -> None:
        """Remove what was written; from any thread. Never raises."""
        if self._part is not None:
            self._part.discard()

    def _warn_of_rate(self) -> None:
        if self.dropped and self._video.fixed_rate:
            _logger.warning(
                "%s: its frame rate is constant, and %d of %d frames had no place in it: "
                "write .mkv or .mp4 by libx264, or ask for a higher rate by --fps",
                self.name,
                self.dropped,
                self.frames_written - self.repeated + self.dropped,
            )

    def _describe(self) -> None:
        info = self._info
        self._container.metadata.update(
            {key: value for key, value in info.metadata.items() if key.lower() not in _STALE_KEYS}
        )
        if self._part is None:  # there is no going back at the end
            self._set_chapters(info.chapters)

    def _set_chapters(self, chapters: Iterable[Chapter]) -> None:
        self._container.set_chapters(
            [
                {
                    "id": number,
                    "start": chapter.start,
                    "end": chapter.end,
                    "time_base": chapter.time_base,
                    "metadata": dict(chapter.metadata),
                }
                for number, chapter in enumerate(chapters)
            ]
        )

    def _chapters_so_far(self) -> Iterator[Chapter]:
        """The chapters of what was written: it may have been stopped before its end."""
        for chapter in self._info.chapters:
            end = min(chapter.end, ceil(self._end / chapter.time_base))
            if chapter.start < end:
                yield chapter._replace(end=end)

    def _write_frame(self, frame: Frame) -> None:
        self._mux(self._video.encode(frame))
        self.dropped, self.repeated = self._video.dropped, self._video.repeated
        start = frame.pts * frame.time_base
        if self._start is None:
            self._start = start
        last = frame.duration * frame.time_base or 1 / self._info.rate
        self.duration_s = float(start + last - self._start)
        while self._early:
            self._write_packet(self._early.popleft())

    def _write_packet(self, item: TrackPacket) -> None:
        # Writing puts a packet into the output's stream and time; another sink has it, too.
        hidden = item.packet.is_discard  # which PyAV cannot copy
        item = item._replace(packet=_copy(item.packet))
        try:
            self._mux(self._shifted(item, hidden=hidden))
        except (av.error.InvalidDataError, av.error.ArgumentError):
            # Muxers look into what they copy. A bad packet is no reason to lose the rest.
            self._tracks.warn(item.track)

    def _shifted(self, item: TrackPacket, *, hidden: bool) -> Iterable[Any]:
        """The packets for `item`, in the output's time."""
        origin = self._video.origin
        if origin:
            packet = item.packet
            shift = round(origin / (fraction(packet.time_base) or 1))
            if packet.pts is not None:
                packet.pts -= shift
            if packet.dts is not None:
                packet.dts -= shift
                if packet.dts < 0:
                    return ()  # before the first picture
        return self._tracks.write(item, hidden=hidden)

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self.bytes_written += packet.size
            if self._info.chapters and packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                self._end = max(self._end, end * (fraction(packet.time_base) or 1))
            if self._timed is None:
                self._container.mux_one(packet)
            else:
                self._timed(self._container.mux_one, packet)

    def _end_timed(self) -> None:
        if self._timed is not None:
            self._timed.end()


def _open(url: str, destination: FileDestination, *, time_base: Fraction) -> Any:
    format = destination.format
    options = dict(format.options)
    if destination.is_network:
        options |= NETWORK_OPTIONS
    if format.muxer == "rtsp":
        options["timeout"] = _microseconds(destination.options.timeout_s)
    if format.muxer in ("mp4", "mov"):
        # Where the first frame begins is noted in this unit: by default a millisecond.
        ticks = time_base.denominator
        fine = ticks * -(-1000 // ticks)
        options["movie_timescale"] = str(min(fine, _MAX_TIMESCALE))
    return open_container(url, "w", format=format.muxer, container_options=options)


def _microseconds(seconds: float) -> str:
    return str(round(seconds * 1_000_000))


def _copy(packet: Any) -> Any:
    """A packet of our own."""
    copy: Any = av.Packet(packet)  # its bytes only
    copy.stream, copy.time_base = packet.stream, packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    for data in packet.iter_sidedata():
        copy.set_sidedata(data)
    return copy


def _local(path: Path) -> str:
    """The path, made unmistakable: "a:b.mp4" would be read as protocol "a"."""
    text = str(path)
    return f"file:{text}" if ":" in text else text
