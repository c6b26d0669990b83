"""Whatever FFmpeg opens: video files, pictures, numbered sequences, standard input."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import SourceError
from ..frame import Chapter, Frame, StreamInfo, TrackPacket
from ..media import av, fraction, open_container, reason, source_error
from .clock import Clock
from .deinterlace import Deinterlacer
from .locate import DEFAULT_RATE, STANDARD_INPUT, Location, locate
from .planes import Converter

__all__ = ["FileSource"]

_logger = logging.getLogger("livemosaic")

# A file that ends this much before its header says is cut off: tracks are rarely of one length,
# and some headers round.
_SHORT_S, _SHORT_SHARE = 1.0, 0.05
# Packets without one decodable picture after which a file is given up; also bounds what is held
# back before the first frame.
_PROBE_PACKETS = 20_000
# Reading errors in a row after which a damaged file is taken to end. Each costs one retry.
_MAX_READ_ERRORS = 32
_MAX_RATE = 1000  # frames/s; more is a time base misread as a rate

# FFmpeg takes any text file for ANSI art, and draws it.
_NOT_VIDEO = {"tty"}
# Containers of video that also hold single pictures.
_PICTURE_SUFFIXES = {".avif", ".heic", ".heif"}
# Keys of a track that describe the coded track and are wrong for another coding, or that were
# applied already.
_STALE_KEYS = {"rotate", "encoder", "vendor_id", "bps", "duration", "number_of_frames"}


class FileSource:
    """Frames of the first video track of a file, and the packets of its other tracks.

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
        when there is no picture in it that can be decoded; the message says why
    """

    def __init__(self, spec: str, *, rate: Fraction | None = None, threads: int = 0) -> None:
        location = locate(spec, rate=rate)
        self.name = location.name
        self._piped = location.url == STANDARD_INPUT
        self.bad_frames = 0
        self.reconnects = 0
        self._start_s: float | None = None  # of the packets so far
        self._end_s: float | None = None
        self._container = _open(location)
        self._items: Iterator[Frame | TrackPacket] = iter(())
        self._ready: deque[Frame | TrackPacket] = deque()
        try:
            self._video = self._pick_video()
            self._video.thread_type = "AUTO"  # frames in parallel too: latency is no matter here
            self._video.thread_count = threads
            self._tracks = tuple(
                s for s in self._container.streams if s.type in ("audio", "subtitle", "attachment")
            )
            self._time_base = fraction(self._video.time_base) or 1 / DEFAULT_RATE
            self._rate = _rate(self._video)
            self._clock = Clock(self._time_base, rate=self._rate)
            self._deinterlacer = Deinterlacer(self._time_base)
            self._converter: Converter | None = None
            self._items = self._read()
            first = self._first_frame()
            self.info = self._describe(location, first)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Frame | TrackPacket]:
        while self._ready:
            yield self._ready.popleft()
        yield from self._items
        self._warn_if_short()

    def interrupt(self) -> None:
        """Nothing to wake: its reader waits for nobody."""

    def close(self) -> None:
        """Release the file. May be called twice."""
        self._items = iter(())
        self._container.close()

    # ---- opening -------------------------------------------------------------------------

    def _pick_video(self) -> av.VideoStream:
        if self._container.format.name in _NOT_VIDEO:
            raise SourceError(f"{self.name}: it is a text file; name a video or a picture")
        streams: list[av.VideoStream] = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic  # cover art
        ]
        if not streams:
            raise SourceError(f"{self.name}: it has no video; name a file with pictures")
        best = self._container.streams.best("video")
        stream = best if best in streams else streams[0]
        if stream.codec_context is None:
            raise SourceError(
                f"{self.name}: this FFmpeg has no decoder for its video; convert it first"
            )
        return stream

    def _first_frame(self) -> Frame:
        for item in self._items:
            self._ready.append(item)
            if isinstance(item, Frame):
                return item
            if len(self._ready) > _PROBE_PACKETS:
                break
        if self._piped:
            raise SourceError(
                f"{self.name}: not one picture of it can be decoded; most MP4 files cannot be "
                "read from a pipe, so name the file instead"
            )
        raise SourceError(
            f"{self.name}: not one picture of it can be decoded; it is damaged or cut off, "
            "copy it again"
        )

    def _describe(self, location: Location, first: Frame) -> StreamInfo:
        assert self._converter is not None
        video, container = self._video, self._container
        aspect = fraction(video.sample_aspect_ratio) or Fraction(1)
        if self._converter.transposed:
            aspect = 1 / aspect
        still = not location.sequence and not self._piped and _is_still(container, video)
        duration_s = None if still else _duration_s(container, video)
        frames = 1 if still else video.frames or None
        if frames is None and duration_s is not None:
            frames = max(1, round(duration_s * self._rate))
        return StreamInfo(
            width=first.width,
            height=first.height,
            rate=self._rate,
            time_base=self._time_base,
            colour=self._converter.colour,
            still=still,
            frames=frames,
            duration_s=duration_s,
            sample_aspect_ratio=aspect,
            tracks=self._tracks,
            chapters=tuple(_chapters(container)),
            metadata=dict(container.metadata),
            video_metadata=_without_stale(video.metadata),
        )

    # ---- reading -------------------------------------------------------------------------

    def _read(self) -> Iterator[Frame | TrackPacket]:
        track_of = {stream.index: number for number, stream in enumerate(self._tracks)}
        for packet in self._packets():
            if packet.size == 0:
                continue  # PyAV's request to flush; ours comes below, even after damage
            self._note_time(packet.pts, packet.time_base)
            track = track_of.get(packet.stream_index)
            if track is None:
                yield from self._decode(packet)
            else:
                yield TrackPacket(track, packet)
        yield from self._decode(None)
        for picture in self._deinterlacer.flush():
            yield self._frame(picture)

    def _warn_if_short(self) -> None:
        """Readers of most containers take the end of a file that is cut off for its end."""
        wanted = self.info.duration_s
        if wanted is None or self._end_s is None or self._start_s is None:
            return
        got = self._end_s - self._start_s
        if wanted - got > max(_SHORT_S, _SHORT_SHARE * wanted):
            _logger.warning(
                "%s: it ends after %.1f s of %.1f s: it is cut off or damaged; copy it again",
                self.name,
                got,
                wanted,
            )

    def _note_time(self, pts: int | None, time_base: Any) -> None:
        base = fraction(time_base)
        if pts is not None and base is not None:
            at = float(pts * base)
            self._start_s = at if self._start_s is None else min(at, self._start_s)
            self._end_s = at if self._end_s is None else max(at, self._end_s)

    def _packets(self) -> Iterator[Any]:
        """Demultiplex, and go on behind damage as long as the reader gets anywhere."""
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                for packet in self._container.demux(self._video, *self._demuxed_tracks()):
                    errors = 0
                    yield packet
                return
            except av.error.InvalidDataError:
                errors += 1
                self.bad_frames += 1
            except (av.error.FFmpegError, OSError) as error:
                # The disk or the connection has failed: there is no more.
                _logger.warning("%s: reading failed: %s", self.name, reason(error))
                return

    def _demuxed_tracks(self) -> list[Any]:
        return [track for track in self._tracks if track.type != "attachment"]

    def _decode(self, packet: Any | None) -> Iterator[Frame]:
        # The reader marks what it found cut or incomplete; the decoder may hide that very well.
        self.bad_frames += packet is not None and packet.is_corrupt
        try:
            pictures = self._video.decode(packet)
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, ValueError):
            self.bad_frames += packet is None or not packet.is_corrupt
            return
        for decoded in pictures:
            if decoded.is_corrupt:
                self.bad_frames += 1
            for picture in self._deinterlacer(decoded):
                yield self._frame(picture)

    def _frame(self, picture: av.VideoFrame) -> Frame:
        captured_s = time.monotonic()
        if self._converter is None:
            codec = self._video.codec_context.codec
            self._converter = Converter(picture, lossless=codec.lossless and codec.intra_only)
        y, u, v = self._converter(picture)
        return Frame(
            y,
            u,
            v,
            self._converter.colour,
            pts=self._clock(picture.pts),
            time_base=self._time_base,
            duration=max(0, picture.duration or 0),
            captured_s=captured_s,
        )


def _open(location: Location) -> Any:
    try:
        return open_container(location.url, format=location.format, options=location.options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise source_error(location.name, error) from error


def _rate(video: av.VideoStream) -> Fraction:
    for known in (video.average_rate, video.guessed_rate):
        rate = fraction(known)
        if rate is not None and 0 < rate <= _MAX_RATE:
            return rate
    return DEFAULT_RATE


def _is_still(container: Any, video: av.VideoStream) -> bool:
    name = container.format.name
    if name == "image2" or name.endswith("_pipe"):  # FFmpeg's readers of single pictures
        return True
    return Path(container.name).suffix.lower() in _PICTURE_SUFFIXES and video.frames <= 1


def _duration_s(container: Any, video: av.VideoStream) -> float | None:
    time_base = fraction(video.time_base)
    if video.duration is not None and time_base is not None:
        return float(video.duration * time_base)
    if container.duration is not None:
        return float(container.duration / av.time_base)
    return None


def _chapters(container: Any) -> Iterator[Chapter]:
    for chapter in container.chapters():
        time_base = fraction(chapter["time_base"]) or Fraction(1, av.time_base)
        yield Chapter(chapter["start"], chapter["end"], time_base, dict(chapter["metadata"]))


def _without_stale(metadata: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower().partition("-")[0] not in _STALE_KEYS and not key.startswith("_STATISTICS")
    }
