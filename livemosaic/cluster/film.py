"""A film by many processes or machines: planned once, rendered as segments, and joined."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..control.options import OPTIONS, RunOptions, values_of
from ..errors import OptionError, SinkError
from ..gallery import BUILTIN, is_of_photos, open_gallery
from ..gallery.joined import JoinedGallery
from ..gallery.shards import WAITS_S
from ..media.atomic_write import atomic_write
from ..media.frame import StreamInfo
from ..media.paths import is_sequence, numbered_files
from ..media.urls import local_path
from ..session import open_input, open_pipeline
from ..sinks import formats
from ..sinks.atomic_file import sink_errors
from ..sinks.base import Destination
from ..sinks.file import FileDestination
from ..sources import input_kind
from ..sources.base import Source
from .engine import Engine, check_cluster, open_engine
from .film_report import whole_report
from .join import join_segments, planned_ticks
from .packets import PacketFile, PacketWriter
from .parts import check_parts, own_parts, parts_folder, remove_parts, remove_segments
from .plan import Plan, make_plan
from .requirements import Requirements, facts_of, fingerprint
from .segment import (
    SegmentDestination,
    SegmentSink,
    SegmentTask,
    film_info,
    render_segment,
    silent,
    without_part,
)

if TYPE_CHECKING:
    from ..gallery import Gallery, GallerySpec

_logger = logging.getLogger("livemosaic")

_OF_ONE_RUN = ("map", "preview", "realtime", "web", "osc")

# Options that change no picture: those of programs and windows, and those that the plan has.
_NOT_OF_PICTURES = {"overwrite", "start", "end", "duration", "fps", "map", "map_paths", "preview"}


@dataclass
class FilmProgress:
    """The progress of a film.

    Attributes
    ----------
    phase : "planning", "rendering" or "joining"
    frames, total : of this phase; the total is a guess while it is planned, None if unknown
    kept : frames of segments that an earlier run has made
    """

    phase: str = "planning"
    frames: int = 0
    total: int | None = None
    kept: int = 0


OnProgress = Callable[[FilmProgress], None]


class Film:
    """A run that makes a film in segments, in a `with` block, whose beginning opens it.

    `stop` and `cancel` are safe in signal handlers.

    Parameters
    ----------
    options : of the run; `cluster` says which engine
    destinations : of the run, as `parse_outputs` gives them
    gallery, on_photos, named, started_s : as for `open_pipeline`

    Attributes
    ----------
    done, kept, segments : how many segments are done, how many of them by earlier runs, of how
        many; 0 before there is a plan
    folder : where they are
    bad_frames : of the input, that could not be decoded
    """

    def __init__(
        self,
        options: RunOptions,
        destinations: Sequence[Destination],
        *,
        gallery: GallerySpec | None = None,
        on_photos: Callable[[int, int], None] | None = None,
        named: Callable[[str], str] = str,
        started_s: float | None = None,
    ) -> None:
        refuse(options, destinations)
        (destination,) = destinations
        assert isinstance(destination, FileDestination)
        self._destination = destination
        self._options = options
        self._gallery = options.gallery if gallery is None else gallery
        self._on_photos, self._named = on_photos, named
        self._started_s = time.monotonic() if started_s is None else started_s
        self._undo = ExitStack()
        self._engine: Engine | None = None
        self._stopping = False
        self.folder = parts_folder(Path(destination.location))
        check_parts(self.folder)
        self.done = self.segments = self.kept = self.bad_frames = 0
        self._report: dict[str, Any] = {}

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            source = undo.enter_context(open_input(self._options, [self._destination]))
            if source.info.live or source.info.still:
                kind = "live" if source.info.live else "a single picture"
                raise _refused(self._options, f"{source.name} is {kind}; name a video file")
            self._source, self._trial = source, self._try_out(source)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def stop(self) -> None:
        """End the run soon, and keep the segments that are done."""
        self._stopping = True
        if self._engine is not None:
            self._engine.stop()

    def cancel(self) -> None:
        """The same at once."""
        self._stopping = True
        if self._engine is not None:
            self._engine.cancel()

    @property
    def workers(self) -> int:
        """How many segments are rendered at a time."""
        return 0 if self._engine is None else self._engine.places

    def report(self) -> dict[str, Any]:
        """The statistics of the whole film, as `livemosaic run --json` prints them."""
        return self._report

    def run(self, on_progress: OnProgress) -> None:
        """Make the film.

        Raises
        ------
        KeyboardInterrupt : `stop` or `cancel` was called
        LivemosaicError : it failed; the segments that are done stay
        """
        source, trial = self._source, self._trial
        with own_parts(self.folder, self._destination.name):
            self._share_galleries()
            requirements = Requirements(
                files=tuple(self._files()), shared=self.folder.absolute()
            ).absolute()
            key = self._key(requirements)
            plan, tracks = self._plan(source, key, on_progress)
            self._check(plan, trial)
            self.bad_frames = plan.bad_frames
            tasks = self._tasks(plan, key)
            files = self._render(tasks, plan, requirements, on_progress)
            reports = [file.about["report"] for file in files]
            info = replace(trial.info, tracks=source.info.tracks, chapters=source.info.chapters)
            self._join(info, plan, files, tracks, on_progress)
            self._report = whole_report(
                reports, plan, source, started_s=self._started_s, made=self.done - self.kept
            )
            remove_parts(self.folder)

    # ---- before it begins ----------------------------------------------------------------------

    def _try_out(self, source: Source) -> SegmentSink:
        """Open everything once, as each worker will: so errors come, and warnings, once and now.

        The result is closed.
        """
        options = self._options
        destination = SegmentDestination.of(self._destination, None, 0)
        info = film_info(source.info, options.fps, frames=source.info.frames or 0)
        with ExitStack() as undo:
            open_pipeline(
                _Described(source, info),
                [destination],
                without_part(options),
                undo,
                gallery=self._open_gallery(),
                named=self._named,
            )
        (sink,) = destination.opened
        self._refuse_codec(sink)
        return sink

    def _refuse_codec(self, sink: SegmentSink) -> None:
        """Raise `OptionError` if segments by this encoder, or in this container, do not join."""
        options, format, name = self._destination.options, self._destination.format, sink.codec
        if sink.video.fixed_rate or sink.video.is_gif:
            what = format.muxer if sink.video.is_gif or name == format.codec else f"codec {name}"
            problem = f"{what} has no times, at which segments could be joined"
            raise _refused(self._options, f"{problem}; write .mp4 or .mkv by libx264")
        if formats.encoder_defaults(options, sink.encoder).portable is None:
            known = [it for it, encoder in formats.ENCODERS.items() if encoder.portable is not None]
            problem = f"segments by the codec {name} cannot be joined exactly"
            raise _refused(self._options, f"{problem}; use {', '.join(known)}")
        if self._destination.options.codec == "auto":
            reason = "hardware differs from machine to machine"
            _logger.info("%s: codec auto takes %s: %s", sink.name, name, reason)

    def _open_gallery(self) -> GallerySpec:
        """The gallery, which is made now if it is one of photos; workers take its file."""
        spec = self._gallery
        gallery = open_gallery(spec, recipe=self._options.recipe, progress=self._on_photos)
        parts = gallery.parts if isinstance(gallery, JoinedGallery) else (gallery,)
        texts = tuple(map(self._text_of, parts))
        self._options = replace(self._options, gallery=texts if len(texts) > 1 else texts[0])
        return spec if is_of_photos(spec) else gallery

    def _text_of(self, gallery: Gallery) -> str:
        """A built-in gallery's name, or the path of a gallery."""
        if gallery.path is None:
            problem = "a gallery in memory is only in this process; name a gallery file"
            raise _refused(self._options, problem)
        name = gallery.name
        if name in BUILTIN and open_gallery(name).path == gallery.path:
            return name
        return str(gallery.path.absolute())

    @property
    def _galleries(self) -> tuple[str, ...]:
        """What workers open."""
        names = self._options.gallery
        return (names,) if isinstance(names, str) else tuple(names)

    def _share_galleries(self) -> None:
        """Put galleries of photos where other machines have them, too."""
        cluster = self._options.cluster
        if cluster is None or "://" not in cluster or not is_of_photos(self._gallery):
            return
        texts = []
        for number, text in enumerate(self._galleries):
            if text not in BUILTIN:
                shared = self.folder.absolute() / f"gallery-{number}"
                if fingerprint(shared) != fingerprint(Path(text)):  # not that of an earlier run
                    with (
                        sink_errors(str(shared)),
                        atomic_write(shared) as file,
                        open(text, "rb") as own,
                    ):
                        shutil.copyfileobj(own, file)
                text = str(shared)
            texts.append(text)
        self._options = replace(self._options, gallery=tuple(texts))

    def _files(self) -> Iterator[Path]:
        """The files that each worker reads."""
        options = self._options
        path = Path(local_path(options.input))
        if path.is_file():  # else numbered pictures
            yield path
        yield from (Path(name) for name in self._galleries if name not in BUILTIN)
        for picture in (options.outside, options.away):
            if picture is not None and os.path.isfile(picture):
                yield Path(picture)

    def _key(self, requirements: Requirements) -> dict[str, Any]:
        """All that decides about the pictures, but the plan."""
        values = values_of(self._options)
        chosen = {
            it.name: repr(values[it.name])
            for it in OPTIONS
            if it.group != "program" and it.name not in _NOT_OF_PICTURES | {"cluster", "resume"}
        }
        facts = facts_of(replace(requirements, shared=None))
        return {"options": chosen, "output": self._destination.format.muxer, "facts": facts}

    def _check(self, plan: Plan, trial: SegmentSink) -> None:
        if len(planned_ticks(trial.video, plan)) < len(plan.frames):
            problem = "the container cannot tell the times of its frames apart; use .mkv, or --fps"
            raise _refused(self._options, problem)

    # ---- its parts -----------------------------------------------------------------------------

    def _plan(
        self, source: Source, key: dict[str, Any], on_progress: OnProgress
    ) -> tuple[Plan, PacketFile]:
        """The plan, and the packets of the other tracks: those of an earlier run, or new ones."""
        options = self._options
        chosen = [str(it) for it in (options.start, options.end, options.duration, options.fps)]
        name = _digest([key, _stamp(options.input), chosen])
        path, tracks = (self.folder / f"{kind}-{name}" for kind in ("plan", "tracks"))
        self._plan_path = path
        with contextlib.suppress(OSError, ValueError):
            return Plan.load(path), PacketFile(tracks)
        progress = FilmProgress(total=source.info.frames)

        def count(frames: int) -> None:
            progress.frames = frames
            on_progress(progress)
            if self._stopping:
                raise KeyboardInterrupt

        def look_through(source: Source) -> Plan:
            with sink_errors(str(tracks)), atomic_write(tracks) as file:
                writer = PacketWriter(file)
                plan = make_plan(
                    source, writer, rate=options.fps, duration_s=options.duration, on_frame=count
                )
                writer.finish()
            return plan

        plan = look_through(source)
        if plan.bad_frames:
            # How a decoder conceals damage depends on its threads: workers have one.
            with silent(), open_input(options, [self._destination], threads=1) as alike:
                plan = look_through(alike)
        with sink_errors(str(path)):
            plan.save(path)
        return plan, PacketFile(tracks)

    def _tasks(self, plan: Plan, key: dict[str, Any]) -> list[SegmentTask]:
        """A task for each segment; other segments in the folder are removed."""
        options = self._options
        absolute = replace(
            options,
            input=str(Path(local_path(options.input)).absolute()),
            outside=_absolute(options.outside),
            away=None if options.away is None else options.away.absolute(),
            explicit=frozenset(),
        )
        tasks = []
        for number in range(len(plan.firsts)):
            name = _digest([key, str(plan.time_base), plan.segment(number)])
            path = self.folder.absolute() / f"segment-{number:05}-{name}"
            tasks.append(
                SegmentTask(path, self._plan_path.absolute(), number, absolute, self._destination)
            )
        remove_segments(self.folder, but={task.path.name for task in tasks})  # of other options
        return tasks

    def _render(
        self,
        tasks: Sequence[SegmentTask],
        plan: Plan,
        requirements: Requirements,
        on_progress: OnProgress,
    ) -> list[PacketFile]:
        """Have the segments made that are missing; the files of all."""
        counts = [len(plan.segment(task.number)) for task in tasks]
        files = [task.file() for task in tasks]
        missing = [task for task, file in zip(tasks, files, strict=True) if file is None]
        # The longest first: at the end all workers have something to do.
        missing.sort(key=lambda task: -counts[task.number])
        self.segments = len(tasks)
        self.done = self.kept = len(tasks) - len(missing)
        kept = sum(counts) - sum(counts[task.number] for task in missing)
        progress = FilmProgress("rendering", kept, sum(counts), kept)
        if self.done:
            _logger.info("%d of %d segments are done already", self.done, self.segments)
        if not missing:
            return [it for it in files if it is not None]
        on_progress(progress)
        finished = kept

        def tell(frames: int) -> None:
            progress.frames = min(finished + frames, sum(counts))
            on_progress(progress)

        self._engine = open_engine(self._options.cluster, requirements=requirements)
        try:
            if self._stopping:
                raise KeyboardInterrupt
            with self._engine as engine:
                for number, _ in engine.run(render_segment, missing, on_progress=tell):
                    finished += counts[missing[number].number]
                    self.done += 1  # the engine calls `tell` at once, with what the others do
        finally:
            self._engine = None
        return [
            self._made(task) if file is None else file
            for task, file in zip(tasks, files, strict=True)
        ]

    def _made(self, task: SegmentTask) -> PacketFile:
        """The file that a worker has made."""
        for wait_s in WAITS_S:
            time.sleep(wait_s)
            if self._stopping:
                raise KeyboardInterrupt
            if (file := task.file()) is not None:
                return file
        raise SinkError(
            f"{task.path}: what a worker wrote does not appear here, or is damaged; choose a "
            "folder for the output that all machines share"
        )

    def _join(
        self,
        info: StreamInfo,
        plan: Plan,
        files: Sequence[PacketFile],
        tracks: PacketFile,
        on_progress: OnProgress,
    ) -> None:
        progress = FilmProgress("joining", total=len(plan.frames))

        def count(frames: int) -> None:
            progress.frames = frames
            on_progress(progress)
            if self._stopping:
                raise KeyboardInterrupt

        join_segments(self._destination, info, plan, segments=files, tracks=tracks, on_frame=count)


class _Described(Source):
    """Stands for a source with another description. Nothing reads or closes it."""

    def __init__(self, source: Source, info: StreamInfo) -> None:
        self.name, self.info = source.name, info

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def refuse(options: RunOptions, destinations: Sequence[Destination]) -> None:
    """Raise `OptionError` for a run that cannot be made in segments."""
    if options.cluster is not None:
        check_cluster(options.cluster)
    for name in _OF_ONE_RUN:
        value = getattr(options, name)
        if value and name in options.explicit:
            problem = "it is for a film that one run makes; leave it out, or do not make segments"
            raise OptionError(name, value, problem)
    if input_kind(local_path(options.input)) != "file" or options.input == "-":
        raise _refused(options, "only a video file can be read again from any place; name one")
    if len(destinations) != 1:
        raise _refused(options, "it makes one file; name one output")
    (destination,) = destinations
    if not isinstance(destination, FileDestination) or not destination.is_file:
        problem = f"{destination.name} is no video file; name one, such as out.mp4"
        raise _refused(options, problem)


def _refused(options: RunOptions, problem: str) -> OptionError:
    """The error for a film that cannot be made in segments."""
    if options.cluster is not None:
        return OptionError("cluster", options.cluster, problem)
    return OptionError("resume", True, problem)


# ---- files ---------------------------------------------------------------------------------------


def _stamp(input: str) -> list[tuple[str, int, int]]:
    """What tells whether a film, or a numbered picture of one, is another one by now."""
    path = Path(local_path(input))
    files = numbered_files(path).values() if is_sequence(path) else [path]
    return [(it.name, it.stat().st_size, it.stat().st_mtime_ns) for it in files]


def _absolute(text: str) -> str:
    return os.path.abspath(text) if os.path.isfile(text) else text


def _digest(things: Any) -> str:
    text = json.dumps(things, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:16]
