"""A segment of a film: its frames as planned, their mosaic, and its packets in a file."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..control.options import RunOptions
from ..errors import GalleryError, OptionError, SinkError, SourceError
from ..gallery import open_gallery
from ..gallery.gallery import Gallery
from ..media.atomic_write import atomic_write
from ..media.ffmpeg import open_container
from ..media.frame import Frame, Item, StreamInfo, TrackPacket
from ..media.frame_rate import FrameRate
from ..media.silence import silent
from ..pipeline.queues import Closed
from ..pipeline.source_reader import MAX_GAP_S
from ..session import open_input, open_pipeline
from ..sinks import formats
from ..sinks.atomic_file import sink_errors
from ..sinks.base import Destination, RunContext, Sink, one_thread
from ..sinks.encoder import VideoEncoder
from ..sinks.file import FileDestination
from ..sources.base import EARLY_S, Source
from ..sources.part import limited
from .engine import teller
from .packets import PacketFile, PacketWriter
from .parts import remove_late
from .plan import Look, Segment, at_rate
from .requirements import file_digest

_logger = logging.getLogger("livemosaic")

# A film, gallery or picture.
HAS_CHANGED = (
    "it has changed since the film began; put the old one back, or give the same command again, "
    "which makes all segments anew"
)


@dataclass(frozen=True, slots=True)
class SegmentTask:
    """A segment that is to be rendered.

    Attributes
    ----------
    path : of the file to make, named by all that decides about its content
    segment : its planned frames
    number : of the segment, from 0
    options : of the film
    destination : of the film; says how to encode
    galleries : the digest of each gallery when the film began
    images : the digest of each image that an option names, by the option
    """

    path: Path
    segment: Segment
    number: int
    options: RunOptions
    destination: FileDestination
    galleries: tuple[str, ...]
    images: Mapping[str, str]

    def __str__(self) -> str:
        return f"segment {self.number + 1}"

    def file(self) -> PacketFile | None:
        """The file, if it is there and whole; reads all of it."""
        try:
            return PacketFile(self.path)
        except (OSError, ValueError):
            return None


def render_segment(task: SegmentTask) -> None:
    """Make the file of a segment, unless it is there; see `SegmentTask`.

    Reads from the key frame before the segment. Where the frames are not those of the plan then, it
    reads from an earlier one: some need the pictures before. At last it reads from the start: the
    index may be wrong.
    """
    if task.file() is not None:
        return
    for early_s in (0.0, EARLY_S, None) if task.number else (None,):
        try:
            _render(task, early_s)
            remove_late(task.path)
            return
        except _OtherFramesError as error:
            _logger.debug("%s: %s", task, error)
    raise SourceError(
        f"{task.options.input}: its frames are not as planned; if it has changed, delete the "
        f"folder {task.path.parent} and start again"
    )


class _OtherFramesError(SourceError):
    """The frames of a source are not those of the plan."""


def _render(task: SegmentTask, early_s: float | None) -> None:
    options = task.options
    sinks: list[SegmentSink] = []
    destination = SegmentDestination.of(
        task.destination, task.path, len(task.segment.frames), on_open=sinks.append
    )
    with silent(), ExitStack() as undo:
        source = undo.enter_context(
            SegmentSource(
                open_input(options, [destination], threads=1),  # see `Film._plan_again`
                task.segment,
                rate=options.fps,
                duration_s=options.duration,
                early_s=early_s,
            )
        )
        gallery = open_gallery(options.gallery)
        pipeline = open_pipeline(
            source, [destination], without_part(options), undo, gallery=gallery
        )
        _check_unchanged(task, gallery)  # now that all is read
        undo.pop_all()
    (sink,) = sinks
    sink.report = pipeline.report
    tell = teller()
    pipeline.run(on_tick=lambda progress: tell(progress.frames_out))


def _check_unchanged(task: SegmentTask, gallery: Gallery) -> None:
    """Raise an error if a gallery or a picture is another one than when the film began: segments
    would not go together."""
    for part, digest in zip(gallery.parts, task.galleries, strict=True):
        if part.digest != digest:
            raise GalleryError(f"{part.path}: {HAS_CHANGED}")
    for name, known in task.images.items():
        path = str(getattr(task.options, name))
        if file_digest(Path(path)) != known:
            raise OptionError(name, path, HAS_CHANGED)


def without_part(options: RunOptions) -> RunOptions:
    """The options for frames that are a part of the film, and at its rate, already.

    Those for live runs may come from a settings file, which is for many runs.
    """
    return replace(
        options,
        start=None,
        end=None,
        duration=None,
        fps=None,
        realtime=False,
        web=None,
        osc=None,
        watch=None,
        guests=None,
    )


class SegmentSource(Source):
    """The frames of one segment of a film. Closes the film's source.

    Raises `_OtherFramesError` in the iteration where a frame is not that of the plan.

    Parameters
    ----------
    source : of the film
    segment : its planned frames
    rate, duration_s : of the film, as for `Pipeline`
    early_s : read from a key frame at least so much before the segment; None: from the start
    """

    def __init__(
        self,
        source: Source,
        segment: Segment,
        *,
        rate: Fraction | None,
        duration_s: float | None,
        early_s: float | None,
    ) -> None:
        self.name, self._source = source.name, source
        self._time_base, self._frames = segment
        self._rate, self._duration_s, self._early_s = rate, duration_s, early_s
        self.info = film_info(source.info, rate, frames=len(segment.frames))

    @property
    def bad_frames(self) -> int:
        return self._source.bad_frames

    def __iter__(self) -> Iterator[Item]:
        with silent():  # the pipeline has a thread for this
            yield from self._planned()

    def close(self) -> None:
        self._source.close()

    def _planned(self) -> Iterator[Item]:
        look, planned = Look(), iter(self._frames)
        at = next(planned)
        for item in self._film():
            if not isinstance(item, Frame) or item.pts * item.time_base < at.pts * self._time_base:
                continue
            found = (item.pts * item.time_base, item.duration, look.take_mark(item))
            if found != (at.pts * self._time_base, at.duration, at.mark):
                raise _OtherFramesError(f"{self.name}: another frame at {float(item.time_s):.3f} s")
            yield item
            del item
            try:
                at = next(planned)
            except StopIteration:
                return
        raise _OtherFramesError(f"{self.name}: it ends too early")

    def _film(self) -> Iterator[Item]:
        """The items of the film, from its start or a place shortly before the segment."""
        items = iter(self._source)
        if self._early_s is not None:
            first = next((it for it in items if isinstance(it, Frame)), None)
            begin_s = self._frames[0].pts * self._time_base
            if first is not None and first.pts * first.time_base < begin_s:
                items = self._source.skip_to(begin_s, items, early_s=self._early_s)
        elif self._duration_s is not None:  # counts from the first frame
            items = limited(items, self._duration_s)
        frame_rate = None if self._rate is None else FrameRate(self._rate, max_gap_s=MAX_GAP_S)
        return at_rate(items, frame_rate, self._source)


def film_info(info: StreamInfo, rate: Fraction | None, *, frames: int) -> StreamInfo:
    """The description of a film's pictures at a constant rate, if there is one."""
    if rate is not None:
        info = replace(info, rate=rate, peak_rate=None, time_base=1 / rate)
    return replace(info, frames=frames, tracks=(), chapters=())


@dataclass(frozen=True, kw_only=True)
class SegmentDestination(Destination):
    """The file of a segment's packets.

    Attributes
    ----------
    film : the destination of the whole film
    path : of the file
    frames : how many there must be
    on_open : is called with the sink
    """

    film: FileDestination
    path: Path | None
    frames: int
    on_open: Callable[[SegmentSink], None]

    @classmethod
    def of(
        cls,
        film: FileDestination,
        path: Path | None,
        frames: int,
        *,
        on_open: Callable[[SegmentSink], None],
    ) -> SegmentDestination:
        return cls(
            name=film.name,
            options=film.options,
            encodes=True,
            film=film,
            path=path,
            frames=frames,
            on_open=on_open,
        )

    @property
    def keeps_depth(self) -> bool:
        return self.film.keeps_depth

    @property
    def keeps_hdr(self) -> bool:
        return self.film.keeps_hdr

    def open(self, info: StreamInfo, context: RunContext) -> SegmentSink:
        sink = SegmentSink(self, info)
        self.on_open(sink)
        return sink


class SegmentSink(Sink):
    """Encodes a segment, and writes its packets into a file.

    Attributes
    ----------
    info : of the stream
    video : the encoder
    encoder : its `av.Codec`
    report : a function for the report of the run, to be kept in the file
    """

    report: Callable[[], dict[str, Any]]

    def __init__(self, destination: SegmentDestination, info: StreamInfo) -> None:
        self.name, self.info = destination.name, info
        self._destination = destination
        film = destination.film
        self._undo = ExitStack()
        self._file: PacketWriter | None = None
        with contextlib.ExitStack() as undo:
            # The encoder asks the container what it needs; nothing is written.
            container = open_container(io.BytesIO(), "w", format=film.format.muxer)
            undo.callback(_close, container)
            codec = formats.find_codec(film.format, film.options, output=self.name, info=info)
            self.encoder, self.codec = codec, str(codec.name)
            self.video = VideoEncoder(
                container, codec, info, options=film.options, name=self.name, portable=True
            )
            self._undo = undo.pop_all()

    @one_thread
    def write(self, item: Frame | TrackPacket) -> None:
        if isinstance(item, TrackPacket):
            return
        with sink_errors(self.name):
            if self._file is None:
                assert self._destination.path is not None
                file = self._undo.enter_context(atomic_write(self._destination.path))
                self._file = PacketWriter(file)
            for packet in self.video.encode(item):
                self._file.add(packet)

    @one_thread
    def close(self) -> None:
        if self._file is None or self.video.frames != self._destination.frames:
            raise Closed  # the source has reported why; else this file would count as complete
        try:
            with sink_errors(self.name):
                for packet in self.video.flush():
                    self._file.add(packet)
                extradata = self.video.extradata.hex()
                self._file.finish(codec=self.codec, extradata=extradata, report=self.report())
                self._undo.close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove the unfinished file."""
        undo, self._undo = self._undo, ExitStack()
        with contextlib.suppress(_AbortedError):
            undo.__exit__(_AbortedError, _AbortedError(), None)

    def discard(self) -> None:
        pass  # the process ends, and with it its unfinished files


class _AbortedError(SinkError):
    """Makes `atomic_write` remove its file."""


def _close(container: Any) -> None:
    with contextlib.suppress(Exception):
        container.close()
