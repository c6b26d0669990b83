"""Video files and standard input, read by FFmpeg; pictures that sources/image.py leaves to it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain, islice
from typing import Any

from ..errors import SourceError
from ..media.ffmpeg import av, demux, fraction, packet_begin_s, reason
from ..media.frame import Frame, Item, TrackPacket
from ..media.urls import is_url
from .base import EARLY_S, Source, SourceOptions
from .decoder import VideoDecoder, ignored_streams, other_tracks
from .discontinuity import Discontinuity
from .image import open_images
from .input_paths import InputPath, resolve_input

_logger = logging.getLogger("livemosaic")

# A file that is shorter than its header says by more than this is cut off. Less is normal: tracks
# differ in length, and some headers round.
_SHORT_S, _SHORT_SHARE = 1.0, 0.05
# After so many packets without a decodable picture, a file is given up. This also limits how many
# packets wait for the first frame.
_PROBE_PACKETS = 20_000
# After so many reading errors in a row, a damaged file ends. Each costs one retry.
_MAX_READ_ERRORS = 32
# A file that begins later than this is shifted to begin at 0: broadcasts and recorded streams keep
# the sender's clock. An earlier beginning may be meant: a delay of sound, or pictures in coding
# order; in formats without such a clock, even a minute.
_LATE_S, _LATE_CLOCK_S = 60, 1
# FFmpeg's AVFMT_TS_DISCONT: times in such a format may leap, and nothing is missing.
LEAPS = 0x0200
# In these formats tracks may begin at any place. FFmpeg looks for them in the first 5 MB or 7 s.
# If there is no sound, or its rate is not known, it looks further.
_HEADERLESS = {"mpegts", "mpeg"}
_FURTHER = {"probesize": "64000000", "analyzeduration": "60000000"}  # bytes, microseconds


class FileSource(Source):
    """Frames of the first video track of a file, and the packets of its other tracks.

    Times are the file's own. A file that begins more than a minute from 0 (MPEG-TS and such: more
    than a second) is shifted, so that its first picture or sound is at 0.

    The tracks in `info.tracks` belong to the open file: close sinks that copy them before the
    source. If a connection breaks, the iteration raises `SourceError` after all items that could
    be read.
    """

    def __init__(self, path: InputPath, *, threads: int = 0, **keeps: bool) -> None:
        self.name = path.name
        # The packets of numbered pictures are Python's memory. A thread of the decoder would wait
        # for the interpreter to free one, while the interpreter waits for it to close the decoder.
        self._threads = 1 if path.pictures else threads
        self._path, self._keeps = path, keeps
        self._remote = is_url(path.url)
        self._pipe = path.pipe
        self._connection_error: SourceError | None = None
        self._start_s, self._end_s = math.inf, -math.inf  # of the packets so far
        self._read_errors = 0
        self._pictures = path.pictures
        self._container = _open(path)
        self._items: Iterator[Frame | TrackPacket] = iter(())
        self._ahead: list[Frame | TrackPacket] = []  # read before the iteration
        try:
            self._begin()
            first = self._first_frame()
            still = not self._pictures and self._is_still()
            self._items, self._ahead = chain(self._ahead, self._items), []
            self.info = self._video.describe(first, tracks=self._tracks, still=still)
            if self._origin_s:
                chapters = tuple(it.earlier(self._origin_s) for it in self.info.chapters)
                self.info = replace(self.info, chapters=chapters)
            for text in () if still else ignored_streams(self._container, self._video.stream):
                _logger.warning("%s: %s", self.name, text)
            if self._pictures:  # the container is only one of them
                count = len(self._pictures)
                duration_s = float(count / self.info.rate)
                self.info = replace(self.info, frames=count, duration_s=duration_s)
        except BaseException:
            self.close()
            raise

    @property
    def bad_frames(self) -> int:
        return self._read_errors + self._video.bad_frames

    def __iter__(self) -> Iterator[Frame | TrackPacket]:
        yield from self._items
        if self._connection_error is not None:
            raise self._connection_error
        self._warn_if_short()

    def skip_to(
        self, time_s: Fraction, items: Iterator[Item], *, early_s: float = EARLY_S
    ) -> Iterator[Item]:
        begin_s = time_s - Fraction(early_s)
        if self._pictures or self._pipe is not None or begin_s <= self._start_s:
            return items
        self._reopen()
        at_s, packets, early = time_s + self._origin_s, self._packets(), []
        try:
            self._container.seek(int((begin_s + self._origin_s) * av.time_base))
            for packet in packets:
                early.append(packet)
                if packet.stream_index == self._video.stream.index:
                    first_s = packet_begin_s(packet)
                    if first_s is not None and first_s <= at_s:
                        self._items = self._read(chain(early, packets))
                        return iter(self)
                    break
        except (av.error.FFmpegError, OSError):  # it cannot seek
            pass
        except OverflowError:  # later than any time that a file can have
            return iter(())
        self._reopen()  # its index is wrong, or its pictures have no times: read all of it
        return iter(self)

    def close(self) -> None:
        self._items = iter(())
        self._container.close()
        if self._pipe is not None:
            self._pipe.close()

    # ---- opening -------------------------------------------------------------------------

    def _reopen(self) -> None:
        self._container.close()
        self._container, lag = _open(self._path), self._video.lag
        self._begin()
        self._video.lag = lag
        self.info = replace(self.info, tracks=self._tracks)

    def _begin(self) -> None:
        """Begin to read the open container."""
        self._video = VideoDecoder(
            self._container, name=self.name, threads=self._threads, keeps=self._keeps
        )
        self._tracks = other_tracks(self._container)
        leaps = bool(self._container.format.flags & LEAPS)
        late_s = _LATE_CLOCK_S if leaps else _LATE_S
        # The time that becomes 0.
        self._origin_s = _origin_s(self._video.stream, *self._tracks, late_s=late_s)
        self._discontinuity = Discontinuity(
            self._video.stream.index, rate=self._video.rate, origin_s=self._origin_s, leaps=leaps
        )
        packets = self._packets()
        self._items = self._read_pictures() if self._pictures else self._read(packets)

    def _read_ahead(self) -> Frame | None:
        """Read up to the next frame; None if there is none."""
        for item in islice(self._items, _PROBE_PACKETS):
            self._ahead.append(item)
            if isinstance(item, Frame):
                return item
        return None

    def _first_frame(self) -> Frame:
        if (first := self._read_ahead()) is not None:
            return first
        if self._connection_error is not None:
            raise self._connection_error
        fix = "it is damaged or cut off, copy it again"
        if self._pipe is not None:
            fix = "most MP4 files cannot be read from a pipe, so name the file instead"
        raise SourceError(f"{self.name}: no picture in it can be decoded; {fix}")

    def _is_still(self) -> bool:
        name = self._container.format.name
        if name == "image2" or name.endswith("_pipe"):  # FFmpeg's demuxers of single pictures
            return self._pipe is None or self._read_ahead() is None  # a pipe may bring many
        return name == "gif" and self._read_ahead() is None

    # ---- reading -------------------------------------------------------------------------

    def _read(self, packets: Iterable[Any]) -> Iterator[Frame | TrackPacket]:
        track_of = {stream.index: number for number, stream in enumerate(self._tracks)}
        for packet in self._continuous(packets):
            self._note_time(packet)
            track = track_of.get(packet.stream_index)
            if track is None:
                yield from self._video.decode(packet)
            else:
                yield TrackPacket(track, packet, packet.is_discard)
        yield from self._video.flush()

    def _continuous(self, packets: Iterable[Any]) -> Iterator[Any]:
        for packet in packets:
            if packet.size:  # an empty one is PyAV's request to flush, which `_read` does itself
                yield from self._discontinuity(packet)
        yield from self._discontinuity.flush()

    def _warn_if_short(self) -> None:
        """Warn of a file that is cut off: most demuxers report its end as a normal one."""
        expected_s = self.info.duration_s
        if expected_s is None or self._end_s < self._start_s:
            return
        read_s = self._end_s - self._start_s + float(self._discontinuity.removed_s)
        if expected_s - read_s > max(_SHORT_S, _SHORT_SHARE * expected_s):
            _logger.warning(
                "%s: it ends after %.1f s of %.1f s: it is cut off or damaged; copy it again",
                self.name,
                read_s,
                expected_s,
            )

    def _note_time(self, packet: Any) -> None:
        base = fraction(packet.time_base)
        if packet.pts is None or base is None:
            return
        # A subtitle may last longer than the video.
        duration = 0 if packet.stream.type == "subtitle" else packet.duration or 0
        self._start_s = min(self._start_s, float(packet.pts * base))
        self._end_s = max(self._end_s, float((packet.pts + duration) * base))

    def _packets(self) -> Iterator[Any]:
        """Demultiplex; continue after damage as long as the demuxer finds packets."""
        tracks = [track for track in self._tracks if track.type != "attachment"]
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                for packet in demux(self._container, (self._video.stream, *tracks)):
                    errors = 0
                    yield packet
                return
            except av.error.InvalidDataError:
                errors += 1
                self._read_errors += 1
            except (av.error.FFmpegError, OSError) as error:
                # For a local file this is mostly damage: demuxers report a failing disk when a file
                # is cut off.
                text = f"{self.name}: reading failed before its end: {reason(error)}"
                if self._remote:
                    self._connection_error = SourceError(text)
                else:
                    _logger.warning("%s", text)
                return

    def _read_pictures(self) -> Iterator[Frame]:
        frames = 0
        decoded = chain.from_iterable(map(self._video.decode, self._numbered()))
        for frame in chain(decoded, self._video.flush()):
            frames += 1
            yield frame
        lost = len(self._pictures) - frames
        self._read_errors = max(self._read_errors, lost - self._video.bad_frames)

    def _numbered(self) -> Iterator[Any]:
        """The pictures of a sequence as packets; a bad one does not affect others."""
        for number, path in enumerate(self._pictures):
            try:
                data = path.read_bytes()
            except OSError:
                data = b""
            if not data:
                self._read_errors += 1
                continue
            packet = av.Packet(data)
            packet.stream, packet.time_base = self._video.stream, self._video.time_base
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, True
            yield packet


def open_input(spec: str, options: SourceOptions, *, maybe_picture: bool = True) -> Source:
    """Open a video or pictures; without `maybe_picture`, as a video at once."""
    path = resolve_input(spec, rate=options.rate).open_pipe()
    return open_path(path, options, maybe_picture=maybe_picture)


def open_path(path: InputPath, options: SourceOptions, *, maybe_picture: bool) -> Source:
    """Open an input that was found, and whose pipe is open."""
    try:
        pictures = open_images(path, options) if maybe_picture else None
        return pictures or FileSource(
            path,
            threads=options.threads,
            keep_alpha=options.alpha,
            keep_depth=options.keep_depth,
            keep_hdr=options.keep_hdr,
        )
    except BaseException:
        if path.pipe is not None:
            path.pipe.close()
        raise


def _open(path: InputPath) -> Any:
    container = path.open()
    if path.pipe is not None or is_url(path.url) or not _may_have_more(container):
        return container
    container.close()
    return replace(path, options={**path.options, **_FURTHER}).open()


def _may_have_more(container: Any) -> bool:
    """Whether sound may begin behind the part that FFmpeg has looked at."""
    if container.format.name not in _HEADERLESS:
        return False
    contexts = [sound.codec_context for sound in container.streams.audio]
    return not contexts or any(it is not None and not it.sample_rate for it in contexts)


def _origin_s(*streams: Any, late_s: float) -> Fraction:
    """The time of the input that becomes 0: its start if that is late, else 0."""
    starts = [
        stream.start_time * base
        for stream in streams
        if stream.type in ("video", "audio")  # subtitles begin at any time
        and stream.start_time is not None
        and (base := fraction(stream.time_base)) is not None
    ]
    start_s = min(starts, default=Fraction(0))
    return start_s if abs(start_s) > late_s else Fraction(0)
