"""The video track of a container: choosing it, describing it, and decoding its packets."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ..errors import RefusedError
from ..media.colour import UNSPECIFIED
from ..media.crop import NO_CROP
from ..media.ffmpeg import av, fraction
from ..media.frame import Chapter, Frame, StreamInfo
from ..processors import codec_threads
from .cropping import read_crop
from .deinterlace import Deinterlacer
from .i420 import Converter
from .input_paths import DEFAULT_RATE
from .timestamps import TimestampRepair

_logger = logging.getLogger("livemosaic")

# Streams in files of up to 10 s; all their videos are one video in several sizes.
SEGMENTED = {"hls", "dash"}
# Demuxers that report the time of the end as the duration, also that of a subtitle. Most muxers
# write another one as a tag of each track.
_DURATION_IS_END = {"matroska,webm"}
_DURATION_TAG = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")
_MAX_RATE = 1000  # frames/s; this is a time base (of milliseconds) misread as a rate
# FFmpeg reads any text file as ANSI art, and draws it.
_NOT_VIDEO = {"tty"}
# Phones put this in front of the names of metadata. FFmpeg's muxers of MOV and MP4 drop such names.
_QUICKTIME = "com.apple.quicktime."
_USUAL_KEYS = {"location.iso6709": "location", "creationdate": "date"}
# Metadata of a track that is wrong after a new encoding, or that was applied already.
_STALE_KEYS = {"rotate", "encoder", "vendor_id", "bps", "duration", "number_of_frames"}
# FFmpeg's AVFMT_NOTIMESTAMPS: the times of such a demuxer come from a rate that it invents.
_NO_TIMES = 0x0080
_ARRIVAL_TIME_BASE = Fraction(1, 90_000)  # MPEG's tick
# FFmpeg's own decoders ignore the alpha of VP8 and VP9.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# H.264's header in MP4 begins so; elsewhere, sequence parameter sets are in front of key frames.
_AVCC = b"\x01"
_SEQUENCE = re.compile(rb"\0\0\x01[\x27\x47\x67](.*?)\0\0\x01", re.DOTALL)
_HEADER_BYTES = 4096
_LINEAR = 8  # a transfer, as in ISO/IEC 23091-2
# AVI stores no times. Those that FFmpeg makes up for these codecs are late, and wrong for B-frames.
_WITHOUT_TIMES = {("avi", "h264"), ("avi", "hevc"), ("avi", "mpeg4")}
# Pictures inside a decoder: at most 16 in H.264 and HEVC, and some in a filter.
_MAX_INSIDE = 32


class VideoDecoder:
    """Decodes the packets of a container's main video track.

    A live one decodes without delay. The default decodes frames in parallel, which delays them by
    one frame per thread (80 ms at 25 frames/s on two processors).

    Attributes
    ----------
    stream : the `av.VideoStream`, until the container is closed
    timed : whether the container has times; live frames without times get their time of arrival
    lag : of pictures behind their packets, in ticks; not known where decoding begins in the middle
    """

    def __init__(
        self,
        container: Any,
        *,
        name: str,
        threads: int = 0,
        live: bool = False,
        keeps: Mapping[str, bool] | None = None,
    ) -> None:
        self.stream = _pick(container, name)
        self._name, self._keeps = name, keeps or {}
        self.bad_frames = 0
        self._context: Any = self.stream.codec_context
        alpha_decoder = _ALPHA_DECODERS.get(self._context.name)
        texts = {key.lower(): text for key, text in self.stream.metadata.items()}
        if alpha_decoder is not None and texts.get("alpha_mode") == "1":
            self._context = av.CodecContext.create(alpha_decoder, "r")
        self._context.thread_count = threads or codec_threads()
        self._context.thread_type = "SLICE" if live else "AUTO"
        if live:
            self._context.flags |= av.codec.context.Flags.low_delay
        self.rate = _rate(self.stream.average_rate, self.stream.guessed_rate)
        peak = max(self.rate, _rate(self.stream.guessed_rate, self.rate))
        self.timed = not (live and container.format.flags & _NO_TIMES)
        self._first_s: float | None = None  # when the first frame arrived
        self._packet_base = fraction(self.stream.time_base) or 1 / DEFAULT_RATE
        self.time_base = self._packet_base if self.timed else _ARRIVAL_TIME_BASE
        self._repaired = TimestampRepair(self.time_base, rate=self.rate, arrival=not self.timed)
        # Taken now, because a container that is closed cannot be asked.
        self._aspect = fraction(self.stream.sample_aspect_ratio)
        self._info = StreamInfo(
            width=1,  # until the first frame, which has the size
            height=1,
            rate=self.rate,
            peak_rate=None if live or peak == self.rate else peak,
            time_base=self.time_base,
            frames=self.stream.frames or None,
            duration_s=_duration_s(container, self.stream),
            chapters=tuple(_chapters(container)),
            metadata=_with_usual_names(container.metadata),
            video_metadata=_without_stale(self.stream.metadata),
        )
        self._crop = NO_CROP if live else read_crop(container, self.stream)
        if any(self._crop):
            sides = ", ".join(f"{side} {pixels}" for side, pixels in self._crop._asdict().items())
            _logger.info("%s: cropped as the file asks: %s", name, sides)
        self._deinterlacer = Deinterlacer(self._packet_base)
        self._converter: Converter | None = None
        self._header = bytes(self._context.extradata or b"")
        if self._header[:1] != _AVCC:  # else it is in the packets, too
            self._header = b""
        self._decoding_times = (container.format.name, self._context.name) in _WITHOUT_TIMES
        self._first_dts: int | None = None
        self._last_pts, self._second = -math.inf, 1 / self._packet_base
        self.lag: int | None = None
        self._arrivals: dict[int, float] = {}  # of pictures inside the decoder, by pts

    def decode(self, packet: Any | None, *, arrived_s: float | None = None) -> Iterator[Frame]:
        """Yield the frames that are ready once `packet` is in; None for the end.

        `arrived_s`, of `time.monotonic()`, becomes the frame's capture time; None: the time of
        decoding.
        """
        if packet is not None and packet.is_keyframe and self._begins_anew(packet):
            yield from self.decode(None)
            self._context = _like(self._context, self._header)
        # The demuxer marks incomplete packets; the decoder may conceal the damage.
        self.bad_frames += packet is not None and packet.is_corrupt
        if packet is not None and packet.pts is not None and arrived_s is not None:
            if len(self._arrivals) > _MAX_INSIDE:
                self._arrivals.clear()  # of pictures that the decoder never gave
            self._arrivals[packet.pts] = arrived_s
        try:
            pictures = self._context.decode(packet)
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, ValueError):
            self.bad_frames += packet is None or not packet.is_corrupt
            return
        if packet is not None and self._first_dts is None:
            self._first_dts = packet.dts
        for decoded in pictures:
            self.bad_frames += decoded.is_corrupt
            decoded.pts = self._presentation_time(decoded.pts, decoded.dts)
            if self._context.name == "dpx" and int(decoded.color_trc) == _LINEAR:
                decoded.color_trc = UNSPECIFIED  # many programs say so of any samples
            for picture in self._deinterlacer(decoded):
                yield self._frame(picture, arrived_s)

    def flush(self) -> Iterator[Frame]:
        """Yield the frames that are still inside."""
        yield from self.decode(None)
        for picture in self._deinterlacer.flush():
            yield self._frame(picture, None)

    def _presentation_time(self, pts: int | None, dts: int | None) -> int | None:
        """The time of a picture; None if it follows the one before.

        Where pictures have their decoding times, the first one has that of its packet.
        """
        first = self._first_dts if self._decoding_times else pts
        if self.lag is None and dts is not None and first is not None:
            self.lag = dts - first
        if pts is not None and self._context.name == "mpeg4":
            # B-frames that AVI had in the packets of others have wrong times elsewhere, too.
            self._decoding_times |= self._last_pts - self._second < pts < self._last_pts
            self._last_pts = pts
        if not self._decoding_times:
            return pts
        return None if dts is None or self.lag is None else dts - self.lag

    def _begins_anew(self, packet: Any) -> bool:
        """Whether a key frame has another header than those before: recordings were joined.

        FFmpeg's decoder of H.264 keeps range and matrix of a header for later ones without tags.
        """
        if self._context.name != "h264":
            return False
        before, self._header = self._header, _h264_header(packet) or self._header
        return before not in (b"", self._header)

    def skip(self, *, unused: bool) -> None:
        """Skip pictures that no other picture is predicted from, or decode them again."""
        self._context.skip_frame = "NONREF" if unused else "DEFAULT"

    def restart(self) -> None:
        """Drop all pictures inside: the next packet is a key frame."""
        self._context.flush_buffers()
        self._arrivals.clear()

    def describe(
        self, first: Frame, *, tracks: tuple[Any, ...], still: bool = False, live: bool = False
    ) -> StreamInfo:
        """Describe the stream after its first frame; the container may be closed."""
        assert self._converter is not None
        # The decoder knows the aspect if probing did not find it.
        aspect = self._aspect or fraction(self._context.sample_aspect_ratio) or Fraction(1)
        duration_s = None if still or live else self._info.duration_s
        frames = 1 if still else None if live else self._info.frames
        if frames is None and duration_s is not None:
            frames = max(1, round(duration_s * self.rate))
        return replace(
            self._info,
            width=first.width,
            height=first.height,
            colour=self._converter.colour,
            alpha=first.alpha is not None,
            deep=self._converter.deep_info,
            live=live,
            still=still,
            frames=frames,
            duration_s=duration_s,
            sample_aspect_ratio=1 / aspect if self._converter.transposed else aspect,
            tracks=tracks,
        )

    def _frame(self, picture: av.VideoFrame, arrived_s: float | None) -> Frame:
        if picture.pts is not None:
            arrived_s = self._arrivals.pop(picture.pts, arrived_s)
        captured_s = time.monotonic() if arrived_s is None else arrived_s
        if self._converter is None:
            codec = self._context.codec
            full_grey = codec.name == "mjpeg" or (codec.lossless and codec.intra_only)
            self._converter = Converter(
                picture,
                full_grey=full_grey,
                crop=self._crop,
                name=self._name,
                **self._keeps,
            )
        planes = self._converter(picture)
        pts, duration = picture.pts, max(0, picture.duration or 0)
        if not self.timed:
            if self._first_s is None:
                self._first_s = captured_s
            pts, duration = round((captured_s - self._first_s) / self.time_base), 0
        stood_still = self._repaired.stood_still
        pts = self._repaired(pts)
        if self._repaired.stood_still != stood_still:
            _logger.warning(
                "%s: its clock stands still: pictures come at %g frames/s", self._name, self.rate
            )
        return Frame(
            *planes,
            self._converter.colour,
            pts=pts,
            time_base=self.time_base,
            duration=duration,
            captured_s=captured_s,
            alpha=self._converter.alpha,
            deep=self._converter.deep,
        )


def _h264_header(packet: Any) -> bytes:
    """The header in a packet: of MP4, or the sequence parameter set; empty if there is none."""
    if packet.has_sidedata("new_extradata"):
        return bytes(packet.get_sidedata("new_extradata"))
    found = _SEQUENCE.search(memoryview(packet)[:_HEADER_BYTES])
    return bytes(found[1]) if found else b""


def _like(context: Any, header: bytes) -> Any:
    """A new decoder with the same options."""
    new: Any = av.CodecContext.create(context.codec.name, "r")
    new.thread_count, new.thread_type = context.thread_count, context.thread_type
    new.flags = context.flags
    if header[:1] == _AVCC:
        new.extradata = header
    return new


def other_tracks(container: Any) -> tuple[Any, ...]:
    """The tracks that are copied to outputs beside the video track."""
    kinds = ("audio", "subtitle", "attachment")
    return tuple(stream for stream in container.streams if stream.type in kinds)


def ignored_streams(container: Any, chosen: av.VideoStream) -> Iterator[str]:
    """Warnings about streams that no output gets: other videos, covers, and data."""
    if container.format.name in SEGMENTED:
        return
    for stream in container.streams.video:
        if stream.index == chosen.index or stream.disposition & av.stream.Disposition.dependent:
            continue  # a dependent stream is a part of another one
        kind = "cover picture" if _is_cover(stream) else "other video"
        yield f"its {kind} (stream {stream.index + 1}) is left out"
    chapters = len(container.chapters())
    others = (s for s in container.streams if s.type in ("data", "unknown"))
    data = [s.index + 1 for s in others if not _is_known(s, chapters)]
    if data:
        which = f"stream{'s' if len(data) > 1 else ''} {', '.join(map(str, data))}"
        yield f"its data ({which}), such as telemetry, is left out"


def _is_known(data: Any, chapters: int) -> bool:
    """Whether the metadata has the same: timecode and chapters."""
    return "timecode" in data.metadata or (
        getattr(data, "name", None) == "bin_data" and chapters > 0 and data.frames == chapters
    )


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _pick(container: Any, name: str) -> av.VideoStream:
    if container.format.name in _NOT_VIDEO:
        raise RefusedError(f"{name}: it is a text file; name a video or a picture")
    streams: list[av.VideoStream] = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        raise RefusedError(f"{name}: it has no video; name a file with pictures")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise RefusedError(f"{name}: this FFmpeg has no decoder for its video; convert it first")
    return stream


def _rate(*known: Any) -> Fraction:
    """The first valid rate."""
    rates = filter(None, map(fraction, known))
    return next((rate for rate in rates if 0 < rate < _MAX_RATE), DEFAULT_RATE)


def _duration_s(container: Any, video: av.VideoStream) -> float | None:
    time_base = fraction(video.time_base)
    if video.duration is not None and time_base is not None:
        return float(video.duration * time_base)
    if container.duration is not None:
        start = container.start_time or 0
        if container.format.name not in _DURATION_IS_END or not 0 < start < container.duration:
            start = 0
        tag = _DURATION_TAG.fullmatch(video.metadata.get("DURATION", ""))
        hours, minutes, seconds = map(float, tag.groups()) if tag else (0, 0, math.inf)
        duration_s = float((container.duration - start) / av.time_base)
        return min(duration_s, 3600 * hours + 60 * minutes + seconds)
    return None


def _chapters(container: Any) -> Iterator[Chapter]:
    for chapter in container.chapters():
        time_base = fraction(chapter["time_base"]) or Fraction(1, av.time_base)
        yield Chapter(chapter["start"], chapter["end"], time_base, dict(chapter["metadata"]))


def _with_usual_names(metadata: Mapping[str, str]) -> dict[str, str]:
    usual = {}
    for key, text in metadata.items():
        name = key.lower().removeprefix(_QUICKTIME)
        if name != key.lower():
            usual[_USUAL_KEYS.get(name, name)] = text
    return {**usual, **metadata}


def _without_stale(metadata: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower().partition("-")[0] not in _STALE_KEYS and not key.startswith("_STATISTICS")
    }
