"""Video files and streams, with the tracks beside the picture."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any, Self

from ..errors import LivemosaicError, SinkError, UsageError, problem_of
from ..media.ffmpeg import (
    av,
    copy_packet,
    fraction,
    open_container,
    packet_begin_s,
    packet_end_s,
    shift_packet,
    sink_error,
)
from ..media.frame import Chapter, Frame, StreamInfo, TrackPacket
from ..media.paths import ending
from ..media.urls import PROTOCOLS, is_url, protocol_problem, public_name, split_url
from . import formats
from .atomic_file import AtomicFile, check_path, refuse_folder, resolved, sink_errors
from .base import AUTO, STANDARD_OUTPUT, Destination, FileOptions, RunContext, Sink, one_thread
from .encoder import HardwareError, VideoEncoder
from .muxer_file import MuxerFile
from .sender import Order, Sender
from .tracks import Tracks

_logger = logging.getLogger("livemosaic")

_STALE_KEYS = {"encoder", "major_brand", "minor_version", "compatible_brands"}
_MAX_TIMESCALE = 1_000_000  # ticks per second: with more, 32-bit sums in players overflow
# Begins the first packets of Nut; without it, a demuxer refuses the header.
_NUT_SYNC = bytes.fromhex("4e4be4adeeca4569")
# Whole MPEG-TS packets per datagram, as receivers expect; 7 fit into an Ethernet frame.
_DATAGRAM = 7 * 188
_MAX_LATE_S = 1  # of sound in MP4: until each track has begun, nothing is written
_MAX_WAITING = 10_000  # packets: minutes of sound
_BUFFER = 1 << 18  # bytes, as FFmpeg has for files
_EARLY_S = Fraction(1, 4)  # of sound whose loss is noticed


@dataclass(frozen=True, kw_only=True)
class FileDestination(Destination):
    """A video file, or a stream to standard output, a pipe, a device or an address."""

    format: formats.Format
    encodes: bool = True
    is_file: bool = False  # appears when it is complete; a stream is written as it comes
    is_network: bool = False

    @property
    def keeps_depth(self) -> bool:
        return formats.keeps_depth(self.options)

    @property
    def keeps_hdr(self) -> bool:
        return formats.keeps_hdr(self.format, self.options)

    def supported_options(self) -> set[str]:
        return formats.supported_options(self.format, self.options)

    def check(self) -> None:
        formats.find_codec(self.format, self.options, output=self.name)
        if self.is_file:
            check_path(self)

    def resolved(self, info: StreamInfo) -> Self:
        if self.options.codec != AUTO:
            return self
        from .auto_codec import choose

        options = choose(
            self.format, self.options, info, output=self.name, low_delay=self.is_network
        )
        return replace(self, options=options)

    def open(self, info: StreamInfo, context: RunContext) -> FileSink:
        try:
            return FileSink(self.resolved(info), info)
        except HardwareError as error:
            if self.options.codec != AUTO:
                raise
            # A driver may allow only so many encoders at once.
            problem = str(error).partition("; ")[0]
            _logger.info("%s; codec auto takes the software encoder", problem)
            return FileSink(self.without_options(("codec",)), info)


def parse_output(spec: str, options: FileOptions) -> FileDestination:
    if is_url(spec):
        return _address(spec, options)
    if spec == "-":
        if sys.stdout is not None and sys.stdout.isatty():
            raise UsageError("standard output: it is the terminal; pipe it or redirect it")
        name, location, is_file = "standard output", STANDARD_OUTPUT, False
        suffix = options.format or "matroska"
    else:
        refuse_folder(spec, example="out.mp4")
        # A pipe or a device is written in place, and /dev/stdout has no other path.
        path = resolved(spec)
        is_file = not os.path.exists(spec) or stat.S_ISREG(os.stat(spec).st_mode)
        name, location = spec, path if is_file else spec
        suffix = ending(spec)
        if suffix not in formats.FORMATS:
            suffix = options.format or suffix
    format = formats.find_format(suffix, output=name)
    if not is_file and format.muxer in ("mp4", "mov"):
        fix = "the format matroska" if spec == "-" else "a name that ends in .mkv or .ts"
        raise UsageError(
            f"{name}: a pipe cannot hold {format.muxer}, whose beginning is written last; use {fix}"
        )
    return FileDestination(
        name=name,
        options=options,
        location=location,
        compact=format.muxer == "gif",
        format=format,
        is_file=is_file,
    )


def _address(url: str, options: FileOptions) -> FileDestination:
    name, parts = public_name(url), split_url(url)
    scheme = parts.scheme.lower()
    if scheme not in PROTOCOLS:
        raise UsageError(f"{name}: {protocol_problem(name)}")
    by_scheme = None if options.format else formats.URL_FORMATS.get(scheme)
    format = by_scheme or formats.find_format(options.format or ending(parts.path), output=name)
    if format.muxer in ("mp4", "mov"):
        raise UsageError(
            f"{name}: a stream cannot hold {format.muxer}, whose beginning is written last; use a "
            "name that ends in .mkv or .ts"
        )
    if scheme == "udp" and "pkt_size=" not in url:
        # FFmpeg reads it from the address only.
        url += f"{'&' if '?' in url else '?'}pkt_size={_DATAGRAM}"
    return FileDestination(
        name=name, options=options, location=url, for_screen=True, format=format, is_network=True
    )


class FileSink(Sink):
    """Encodes frames into a container, and copies or converts the other tracks into it.

    Close it before the source of the tracks. Over the network, frames are encoded without delay.
    `UsageError` if the encoder refuses its options.

    Parameters
    ----------
    make_video : makes the video track
    check : called with the path of a file that is complete, before it gets its name; it may raise a
        `SinkError`
    """

    def __init__(
        self,
        destination: FileDestination,
        info: StreamInfo,
        *,
        make_video: Callable[..., VideoEncoder] = VideoEncoder,
        check: Callable[[Path], None] | None = None,
    ) -> None:
        self.name, is_network = destination.name, destination.is_network
        # Viewers of a live input over the network want the newest frame, too.
        self.latest_only = info.live and is_network
        self._info, self._check = info, check
        self._end_s = Fraction(0)  # of all that was written
        self._heard_s: Fraction | None = None  # end of the tracks so far, in the input's time
        self._waiting: list[TrackPacket] = []  # for the first frame, or the one after a pause
        is_mp4 = destination.format.muxer in ("mp4", "mov")
        self._begin = self._whole = 0  # bytes: of the header, and so far; see `_note_size`
        options = destination.options
        self._tells_early = not options.zeroed
        self._lasts = info.live and destination.is_file  # cannot be repeated: keep what plays
        self._waits_for_sound = self._lasts and is_mp4
        self._late_s: Fraction | None = None  # the time until which sound is to begin
        self._part = AtomicFile(destination, recording=self._lasts) if destination.is_file else None
        self._file: MuxerFile | None = None
        self._is_ending = self._is_ended = False
        self._helpers = contextlib.ExitStack()  # to be ended with the container
        self._sender: Sender | None = None
        self._container: Any = None
        header = BytesIO()
        try:
            if is_network:
                self._sender = Sender()
                self._helpers.callback(self._sender.kill)
                self._container = _open_sender(self._sender, destination, header)
            else:
                if self._part is not None:
                    self._file = MuxerFile(self._part)
                    self._helpers.callback(self._file.close)
                target = self._file or destination.location
                self._container = _open(
                    target, destination, time_base=info.time_base, live=self._lasts
                )
            codec = formats.find_codec(destination.format, options, output=self.name, info=info)
            self.codec = codec.name
            self._video = make_video(
                self._container,
                codec,
                info,
                options=options,
                name=self.name,
                low_delay=is_network,
                explain=lambda: _refusal(codec.name, options, info, low_delay=is_network),
            )
            self._tracks = Tracks(
                self._container,
                info.tracks,
                format=destination.format,
                seekable=destination.is_file,
            )
            self._helpers.callback(self._tracks.close)
            self._container.metadata.update(
                {key: text for key, text in info.metadata.items() if key.lower() not in _STALE_KEYS}
            )
            if not destination.is_file:  # a file gets them at its end, if they were reached
                self._set_chapters(info.chapters)
            self._container.start_encoding()
            if self._sender is not None:
                self._mux_one = _opened(self._sender, self._container, destination, header)
            else:
                self._mux_one = self._container.mux_one
            self._note_size()
            self._begin = self._whole
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.abort()
            if isinstance(error, LivemosaicError):
                raise
            if is_network:
                raise sink_error(self.name, error) from None
            refused = (av.error.ArgumentError, av.error.PatchWelcomeError)
            muxer = destination.format.muxer
            if options.codec is not None and muxer != "matroska" and isinstance(error, refused):
                raise SinkError(
                    f"{self.name}: {muxer} refuses the codec {options.codec}; write .mkv, or leave "
                    "it out"
                ) from error
            raise sink_error(self.name, error) from error
        except BaseException:
            self.abort()
            raise

    @one_thread
    def write(self, item: Frame | TrackPacket) -> None:
        """Encode a frame, or copy or convert a packet."""
        if self._sender is not None and self._sender.gave_up:
            return
        if not isinstance(item, Frame | TrackPacket):
            raise UsageError(
                f"{self.name}: a sink takes a Frame or a TrackPacket, not {type(item).__name__}"
            )
        with self._errors():
            if isinstance(item, Frame):
                self._end_pause(item.pts * item.time_base)
                self._mux(self._video.encode(item, heard_s=self._heard_s))
                rate = self._video.frame_rate
                self.dropped, self.repeated = rate.dropped, rate.repeated
                if self._waits_for_sound:
                    self._begin_late_sound(item.pts * item.time_base)
                waiting, self._waiting = self._waiting, []
                for packet in waiting:
                    self._write_or_wait(packet)
            else:
                self._write_or_wait(item)

    @one_thread
    def close(self) -> None:
        """Write the frames inside the encoders and the container's end; name the file."""
        try:
            if self._video.frames == 0:
                raise SinkError(f"{self.name}: no frames received; nothing was written")
            with self._errors():
                self._write_waiting()
                self._mux(self._video.flush())
                self._mux(self._tracks.flush())
                if self._part is not None:
                    self._set_chapters(self._reached_chapters())
                self._end_container()
                if self._sender is not None:
                    self._sender.finish()
                self._helpers.close()
            if self._part is not None:
                if self._check is not None:
                    self._check(self._part.path)
                self._part.commit()
        except BaseException:
            self.abort()
            raise
        if self._sender is not None and self._sender.gave_up:
            self.abort()
            _logger.warning(
                "%s: the receiver did not take the rest; check that it is running", self.name
            )
        if self.dropped and self._video.is_gif:
            _logger.warning(
                "%s: a GIF shows at most 50 frames/s, and %d of %d frames had no place in it: "
                "write .webm, or choose a lower fps",
                self.name,
                self.dropped,
                self._video.frames + self.dropped,
            )
        if self.dropped and self._video.fixed_rate:
            _logger.warning(
                "%s: its frame rate is constant, and %d of %d frames had no place in it: "
                "write .mkv or .mp4 by libx264, or choose a higher fps",
                self.name,
                self.dropped,
                self._video.frames - self.repeated + self.dropped,
            )

    def abort(self) -> None:
        if self._sender is not None:
            self._sender.kill()
        if self._container is not None:
            with contextlib.suppress(Exception):
                self._container.close()
        self._helpers.close()
        self.discard()

    def hurry(self) -> None:
        self._video.hurried = True
        if self._sender is not None:
            self._sender.hurry()

    def discard(self) -> None:
        if self._sender is not None:
            self._sender.kill()
        if self._part is not None:
            self._part.remove()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """`sink_errors`; a recording that any error ends keeps what plays, under its final name."""
        try:
            with sink_errors(self.name):
                yield
        except Exception as error:
            if self._sender is not None and self._sender.gave_up and isinstance(error, SinkError):
                return  # `close` reports it
            if not self._lasts or self._part is None or self._file is None:
                raise
            if self._whole <= self._begin:
                raise
            _logger.debug("%s", self.name, exc_info=error)
            self._end_early(self._part, self._file)
            raise SinkError(
                f"{problem_of(error, name=self.name)}; the recording ends there, and the file "
                "keeps what was written until then"
            ) from error

    def _end_early(self, part: AtomicFile, file: MuxerFile) -> None:
        """Give a recording its name after an error."""
        with contextlib.suppress(Exception):
            if not file.failed:
                self._mux(self._video.flush())
        with contextlib.suppress(Exception):
            self._end_container()
        if not self._is_ended:
            with contextlib.suppress(OSError):  # half a packet or fragment
                file.restore(self._whole)
        self._helpers.close()
        part.commit()

    def _end_container(self) -> None:
        """Write the container's end, if that has not failed already."""
        if not self._is_ending:
            self._is_ending = True
            self._container.close()
            self._is_ended = True

    def _set_chapters(self, chapters: Iterable[Chapter]) -> None:
        entries = (chapter._replace(metadata=dict(chapter.metadata)) for chapter in chapters)
        self._container.set_chapters([{"id": n, **it._asdict()} for n, it in enumerate(entries)])

    def _reached_chapters(self) -> Iterator[Chapter]:
        """The chapters of what was written: the run may have been stopped early."""
        for chapter in self._info.chapters:
            end = min(chapter.end, ceil(self._end_s / chapter.time_base))
            if chapter.start < end:
                yield chapter._replace(end=end)

    def _write_or_wait(self, item: TrackPacket) -> None:
        if self._video.origin is None:
            self._waiting.append(item)  # the first frame decides where 0 is
            return
        begin_s = packet_begin_s(item.packet)
        if begin_s is None or not self._video.is_after_pause(begin_s, self._heard_s):
            self._write_packet(item)
            return
        # Its time may be damaged. A frame tells, and one from before the pause may still come.
        self._waiting.append(item)
        if len(self._waiting) > _MAX_WAITING:
            self._write_waiting()

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            self._write_packet(item)

    def _end_pause(self, end_s: Fraction) -> None:
        """Write the waiting packets that begin before `end_s`, after no longer a pause than the
        format allows."""
        if self._video.origin is None:
            return
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            begin_s = packet_begin_s(item.packet)
            if begin_s is not None and begin_s < end_s:
                self._video.shorten_pause(begin_s, self._heard_s)
                self._write_packet(item)
            else:
                self._waiting.append(item)

    def _begin_late_sound(self, time_s: Fraction) -> None:
        if self._late_s is None:
            self._late_s = time_s + _MAX_LATE_S
        elif time_s > self._late_s:
            self._waits_for_sound = False
            self._mux(self._tracks.begin())

    def _write_packet(self, item: TrackPacket) -> None:
        end_s = packet_end_s(item.packet)
        if end_s is not None:
            self._heard_s = max(end_s, self._heard_s or end_s)
        # Writing puts a packet into the output's stream and time. Other sinks need the original.
        origin = self._video.origin or Fraction(0)
        packet = shift_packet(copy_packet(item.packet), -origin)
        if origin and packet.dts is not None and packet.dts < 0:
            self._leave_out(packet)  # before the first picture
            return
        try:
            self._mux(self._tracks.write(item._replace(packet=packet), hidden=item.hidden))
        except (av.error.InvalidDataError, av.error.ArgumentError):
            self._tracks.warn(item.track)

    def _leave_out(self, packet: Any) -> None:
        begin_s = packet_begin_s(packet) if packet.stream.type == "audio" else None
        if self._tells_early and begin_s is not None and begin_s < -_EARLY_S:
            self._tells_early = False
            _logger.warning(
                "%s: the sound before the first picture is left out, because the format stores no "
                "times; use .mkv",
                self.name,
            )

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            if self._info.chapters and packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                self._end_s = max(self._end_s, end * (fraction(packet.time_base) or 1))
            try:
                self._mux_one(packet)
            except (av.error.InvalidDataError, av.error.ArgumentError, av.error.PatchWelcomeError):
                # Muxers look into the packets of tracks, which may have waited for this one. A bad
                # packet is no reason to lose the rest.
                if not self._tracks.damaged:
                    raise
            self._note_size()

    def _note_size(self) -> None:
        """Note the size of a recording: until there it plays, because each packet is flushed."""
        if self._lasts and self._file is not None:
            self._whole = self._file.size


def _refusal(encoder: str, options: FileOptions, info: StreamInfo, *, low_delay: bool) -> str:
    from .auto_codec import reason

    return reason(encoder, options, info, low_delay=low_delay)


def _open(
    target: str | MuxerFile, destination: FileDestination, *, time_base: Fraction, live: bool
) -> Any:
    format = destination.format
    options = dict(format.options)
    if live:
        options |= formats.LIVE_OPTIONS | formats.LIVE_MUXER_OPTIONS.get(format.muxer, {})
    elif isinstance(target, MuxerFile):
        # Else each packet is written alone, because FFmpeg does not know that it is a file.
        options["flush_packets"] = "0"
    if format.muxer in ("mp4", "mov"):
        # The unit of the first frame's time, by default a millisecond.
        ticks = time_base.denominator
        options["movie_timescale"] = str(min(ticks * -(-1000 // ticks), _MAX_TIMESCALE))
    return open_container(
        target, "w", format=format.muxer, container_options=options, buffer_size=_BUFFER
    )


def _open_sender(sender: Sender, destination: FileDestination, header: BytesIO) -> Any:
    """Begin to open a stream; return its container, which fills the header or the sender."""
    format = destination.format
    options = {**format.options, **formats.NETWORK_OPTIONS}
    if format.muxer == "rtsp":  # it has no bytes without a server: the sender gets its packets
        return open_container(header, "w", format="nut", container_options=options)
    limit_s = destination.options.timeout_s
    sender.begin(Order(destination.location, "data", {"flush_packets": "1"}, limit_s))
    # Whole datagrams and packets of MPEG-TS.
    return open_container(
        sender, "w", format=format.muxer, container_options=options, buffer_size=24 * _DATAGRAM
    )


def _opened(
    sender: Sender, container: Any, destination: FileDestination, header: BytesIO
) -> Callable[[Any], None]:
    """Wait until the stream is open; return the function that sends a packet of its container."""
    format = destination.format
    send: Callable[[Any], None] = container.mux_one
    if format.muxer == "rtsp":
        options = {**format.options, **formats.NETWORK_OPTIONS}
        limit_s = destination.options.timeout_s
        sender.begin(
            Order(destination.location, "rtsp", options, limit_s, header.getvalue() + _NUT_SYNC)
        )
        send = sender.send
    sender.opened()
    return send
