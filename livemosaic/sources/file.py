"""Whatever FFmpeg opens: video files, pictures, numbered sequences, standard input."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import RefusedError, SourceError
from ..media.ffmpeg import av, fraction, open_container, reason, source_error
from ..media.frame import Chapter, Frame, TrackPacket
from ..media.urls import is_url
from .base import Source, SourceOptions
from .decoder import VideoDecoder, beside, left_out
from .discontinuity import Discontinuity
from .input_paths import STANDARD_INPUT, Location, locate

__all__ = ["FileSource", "open_input"]

_logger = logging.getLogger("livemosaic")

# A file that ends this much before its header says is cut off: tracks are rarely of one length,
# and some headers round.
_SHORT_S, _SHORT_SHARE = 1.0, 0.05
# Packets without one decodable picture after which a file is given up; also bounds what is held
# back before the first frame.
_PROBE_PACKETS = 20_000
# Reading errors in a row after which a damaged file is taken to end. Each costs one retry.
_MAX_READ_ERRORS = 32
# A file whose first picture or sound is this much later than 0 is taken to begin there: broadcasts
# and pieces of streams keep the sender's clock, which says nothing in another file. Less is kept,
# for it may be exact: a delay of sound, or of pictures sent out of order; and where times do not
# come from such a clock a minute may be meant, too.
_LATE_S, _LATE_CLOCK_S = 60, 1
# FFmpeg's AVFMT_TS_DISCONT: times of such a format may leap, and nothing is missing.
_LEAPS = 0x0200
# For the answers of a server, each: seconds, to open and to read.
_TIMEOUTS_S = (10.0, 10.0)

# Containers of video that also hold single pictures.
_PICTURE_SUFFIXES = {".avif", ".heic", ".heif"}


class FileSource(Source):
    """Frames of the first video track of a file, and the packets of its other tracks.

    Times are the file's own, unless it begins more than a minute from 0 (of broadcasts, MPEG-TS and
    such, a second): then they count from its first picture or sound.

    The tracks in `info.tracks` belong to the open file: a sink that copies them has to be closed
    before the source is.

    Parameters
    ----------
    spec : a path, a numbered sequence such as `img_%04d.png`, an address, or `-`
    rate : frames/s of a numbered sequence, 25 by default
    threads : of the decoder, 0 for as many as there are processors

    Raises
    ------
    SourceError
        when there is no picture in it that can be decoded; the message says why. While iterating,
        behind everything that could be read, when the connection broke
    """

    def __init__(self, spec: str, *, rate: Fraction | None = None, threads: int = 0) -> None:
        location = locate(spec, rate=rate)
        self.name = location.name
        self._remote = is_url(location.url)
        self._piped = location.url == STANDARD_INPUT
        if not self._remote and not self._piped:
            self._piped = Path(self.name).is_fifo()
        self._broken: SourceError | None = None  # the connection
        self._start_s: float | None = None  # of the packets so far
        self._end_s: float | None = None
        self._read_errors = 0
        self._head = b""  # of the picture's first packet
        self._pictures = location.pictures
        self._container = _open(location)
        self._items: Iterator[Frame | TrackPacket] = iter(())
        self._ready: deque[Frame | TrackPacket] = deque()
        try:
            self._video = VideoDecoder(self._container, name=self.name, threads=threads)
            self._tracks = beside(self._container)
            leaps = bool(self._container.format.flags & _LEAPS)
            late_s = _LATE_CLOCK_S if leaps else _LATE_S
            self._origin_s = _origin_s(self._video.stream, *self._tracks, late_s=late_s)
            self._joint = Discontinuity(
                self._video.stream.index,
                rate=self._video.rate,
                origin_s=self._origin_s,
                leaps=leaps,
            )
            self._items = self._read_pictures() if self._pictures else self._read()
            first = self._first_frame()
            still = not self._pictures and self._is_still()
            self.info = self._video.describe(first, tracks=self._tracks, still=still)
            if self._origin_s:
                chapters = tuple(_earlier(c, self._origin_s) for c in self.info.chapters)
                self.info = replace(self.info, chapters=chapters)
            for text in () if still else left_out(self._container, self._video.stream):
                _logger.warning("%s: %s", self.name, text)
            if self._pictures:  # of which the container is but one
                count = len(self._pictures)
                self.info = replace(
                    self.info, frames=count, duration_s=float(count / self.info.rate)
                )
        except BaseException:
            self.close()
            raise

    @property
    def bad_frames(self) -> int:
        return self._read_errors + self._video.bad_frames

    def __iter__(self) -> Iterator[Frame | TrackPacket]:
        while self._ready:
            yield self._ready.popleft()
        yield from self._items
        if self._broken is not None:
            raise self._broken
        self._warn_if_short()

    def close(self) -> None:
        """Release the file. May be called twice."""
        self._items = iter(())
        self._container.close()

    # ---- opening -------------------------------------------------------------------------

    def _first_frame(self) -> Frame:
        for item in self._items:
            self._ready.append(item)
            if isinstance(item, Frame):
                return item
            if len(self._ready) > _PROBE_PACKETS:
                break
        if self._broken is not None:
            raise self._broken
        webp = self._head[:4] == b"RIFF" and self._head[8:16] == b"WEBPVP8X"
        if webp and int.from_bytes(self._head[20:21]) & 2:
            raise RefusedError(
                f"{self.name}: it is an animated WebP, which FFmpeg cannot decode; convert it to "
                "GIF or MP4"
            )
        if self._piped:
            raise SourceError(
                f"{self.name}: not one picture of it can be decoded; most MP4 files cannot be "
                "read from a pipe, so name the file instead"
            )
        raise SourceError(
            f"{self.name}: not one picture of it can be decoded; it is damaged or cut off, "
            "copy it again"
        )

    def _is_still(self) -> bool:
        name = self._container.format.name
        if name == "image2" or name.endswith("_pipe"):  # FFmpeg's readers of single pictures
            return not self._piped or not self._goes_on()  # of which a pipe may bring many
        if name == "gif":
            return not self._goes_on()
        suffix = Path(self._container.name).suffix.lower()
        return suffix in _PICTURE_SUFFIXES and self._video.stream.frames <= 1

    def _goes_on(self) -> bool:
        """Whether there is a picture behind the first."""
        for item in self._items:
            self._ready.append(item)
            if isinstance(item, Frame):
                return True
        return False

    # ---- reading -------------------------------------------------------------------------

    def _read(self) -> Iterator[Frame | TrackPacket]:
        track_of = {stream.index: number for number, stream in enumerate(self._tracks)}
        for packet in self._joined():
            self._note_time(packet)
            track = track_of.get(packet.stream_index)
            if track is None:
                self._head = self._head or bytes(memoryview(packet)[:32])
                yield from self._video.decode(packet)
            else:
                yield TrackPacket(track, packet)
        yield from self._video.flush()

    def _joined(self) -> Iterator[Any]:
        for packet in self._packets():
            if packet.size:  # else PyAV's request to flush; ours comes, even after damage
                yield from self._joint(packet)
        yield from self._joint.flush()

    def _warn_if_short(self) -> None:
        """Readers of most containers take the end of a file that is cut off for its end."""
        wanted = self.info.duration_s
        if wanted is None or self._end_s is None or self._start_s is None:
            return
        got = self._end_s - self._start_s + float(self._joint.left_out_s)
        if wanted - got > max(_SHORT_S, _SHORT_SHARE * wanted):
            _logger.warning(
                "%s: it ends after %.1f s of %.1f s: it is cut off or damaged; copy it again",
                self.name,
                got,
                wanted,
            )

    def _note_time(self, packet: Any) -> None:
        base = fraction(packet.time_base)
        if packet.pts is None or base is None:
            return
        start_s = float(packet.pts * base)
        # A text may last until behind the end.
        lasts = 0 if packet.stream.type == "subtitle" else packet.duration or 0
        end_s = float((packet.pts + lasts) * base)
        self._start_s = start_s if self._start_s is None else min(start_s, self._start_s)
        self._end_s = end_s if self._end_s is None else max(end_s, self._end_s)

    def _packets(self) -> Iterator[Any]:
        """Demultiplex, and go on behind damage as long as the reader gets anywhere."""
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                for packet in self._container.demux(self._video.stream, *self._demuxed_tracks()):
                    errors = 0
                    yield packet
                return
            except av.error.InvalidDataError:
                errors += 1
                self._read_errors += 1
            except (av.error.FFmpegError, OSError) as error:
                # There is no more. Of a file here that is mostly damage: readers take what ends too
                # early for a failing disk.
                why = f"{self.name}: reading failed before its end: {reason(error)}"
                if self._remote:
                    self._broken = SourceError(why)
                else:
                    _logger.warning("%s", why)
                return

    def _read_pictures(self) -> Iterator[Frame]:
        shown = 0
        coming = chain.from_iterable(map(self._video.decode, self._numbered()))
        for frame in chain(coming, self._video.flush()):
            shown += 1
            yield frame
        # Of what is in its threads at the end, the decoder does not say what was bad.
        lost = len(self._pictures) - shown
        self._read_errors = max(self._read_errors, lost - self._video.bad_frames)

    def _numbered(self) -> Iterator[Any]:
        """The pictures of a sequence, each at its time; one that is bad costs no other."""
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
            packet.duration = 1
            packet.is_keyframe = True
            yield packet

    def _demuxed_tracks(self) -> list[Any]:
        return [track for track in self._tracks if track.type != "attachment"]


def open_input(spec: str, options: SourceOptions) -> FileSource:
    return FileSource(spec, rate=options.rate, threads=options.threads)


def _open(location: Location) -> Any:
    try:
        return open_container(
            location.url,
            format=location.format,
            options=location.options,
            timeout=_TIMEOUTS_S if is_url(location.url) else None,
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise source_error(location.name, error) from error


def _origin_s(*streams: Any, late_s: float) -> Fraction:
    """The time of the input, in seconds, that is 0 for its reader: its start if that is late."""
    starts = [
        stream.start_time * base
        for stream in streams
        if stream.type in ("video", "audio")  # texts begin when somebody speaks
        and stream.start_time is not None
        and (base := fraction(stream.time_base)) is not None
    ]
    start_s = min(starts, default=Fraction(0))
    return start_s if abs(start_s) > late_s else Fraction(0)


def _earlier(chapter: Chapter, seconds: Fraction) -> Chapter:
    ticks = round(seconds / chapter.time_base)
    return chapter._replace(start=max(0, chapter.start - ticks), end=max(0, chapter.end - ticks))
