"""Video files and streams, with everything that came beside the picture."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from ..blocking import TimedCalls
from ..errors import LivemosaicError, SinkError
from ..media.ffmpeg import av, fraction, open_container, sink_error
from ..media.frame import Chapter, Frame, StreamInfo, TrackPacket
from .atomic_file import AtomicFile
from .base import Sink
from .destination import Destination
from .encoder import VideoEncoder
from .formats import NETWORK_OPTIONS, NETWORK_TIMEOUT_S, FileOptions, find_codec
from .tracks import Tracks

__all__ = ["FileSink"]

_logger = logging.getLogger("livemosaic")

# What the container writes itself about itself.
_STALE_KEYS = {"encoder", "major_brand", "minor_version", "compatible_brands"}

_MAX_TIMESCALE = 1_000_000  # ticks per second: beyond, players' 32-bit sums overflow


class FileSink(Sink):
    """Encodes frames into a container, and copies or converts the other tracks into it.

    A file is written under a hidden name beside its own, and takes its own when it is whole.
    It has to be closed before the source that the tracks came from. What goes over the network is
    coded without delay.

    Attributes
    ----------
    frames_written : frames in the file; repeated ones count where the container has a fixed rate
    dropped, repeated : frames that had no place there, and that were made to fill it
    bytes_written : of all packets, and after `close` of the file
    duration_s : from the first frame's start to the last one's end

    Raises
    ------
    SinkError
        when it cannot be created or written
    UsageError
        when the encoder refuses its settings
    """

    def __init__(self, target: Destination, info: StreamInfo, *, options: FileOptions) -> None:
        assert target.format is not None
        self.name = target.name
        # Viewers of a live input over the network want the newest frame, too.
        self.latest_only = info.live and target.network
        self.bytes_written = 0
        self.duration_s = 0.0
        self._info = info
        self._start: Fraction | None = None
        self._end = Fraction(0)  # of all that was written
        self._early: deque[TrackPacket] = deque()
        self._part = AtomicFile(target) if target.kind == "file" else None
        url = _local(self._part.path) if self._part is not None else target.url
        codec = find_codec(target.format, options, target=target.name)
        self._timed: TimedCalls | None = None
        if target.network:
            self._timed = TimedCalls(NETWORK_TIMEOUT_S, name=f"send {target.name}")
        self._container: Any = None
        began_s = time.monotonic()
        try:
            self._container = _open(url, target, time_base=info.time_base)
            self._video = VideoEncoder(
                self._container,
                codec,
                info,
                options=options,
                name=target.name,
                low_delay=target.network,
            )
            self._tracks = Tracks(self._container, info.tracks, format=target.format)
            self._describe()
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.abort()
            if isinstance(error, LivemosaicError):
                raise
            if target.network:
                # A server that says nothing is taken for one that talks nonsense in the end, and
                # FFmpeg's own error names the address with the password in it.
                late = time.monotonic() - began_s >= NETWORK_TIMEOUT_S
                raise sink_error(self.name, TimeoutError() if late else error) from None
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
                self._part.keep()
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


def _open(url: str, target: Destination, *, time_base: Fraction) -> Any:
    format = target.format
    assert format is not None
    options = dict(format.options)
    if target.network:
        options.update(NETWORK_OPTIONS)
    if format.muxer in ("mp4", "mov"):
        # Where the first frame begins is noted in this unit: a millisecond unless told.
        ticks = time_base.denominator
        fine = ticks * -(-1000 // ticks)
        options["movie_timescale"] = str(min(fine, _MAX_TIMESCALE))
    return open_container(url, "w", format=format.muxer, container_options=options)


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
