"""A film by many processes or machines: planned, rendered as segments meanwhile, and joined."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..control.options import RunOptions
from ..errors import SinkError, SourceError
from ..gallery.shards import WAITS_S
from ..media.atomic_write import atomic_write
from ..media.frame import StreamInfo
from ..media.silence import silent
from ..media.urls import local_path
from ..session import open_input
from ..sinks.atomic_file import sink_errors
from ..sinks.base import Destination
from ..sinks.file import FileDestination
from ..sources.base import Source
from ..unfinished import forget_unfinished
from .engine import Engine, open_engine
from .film_key import (
    Stamp,
    absolute_options,
    digest_of,
    key_of_pictures,
    key_of_plan,
    named_images,
    stamp_of,
)
from .film_report import whole_report
from .join import join_segments, planned_ticks
from .packets import PacketFile, PacketWriter
from .parts import check_parts, own_parts, parts_folder, remove_others, remove_parts
from .plan import Plan, Planning, Segment
from .refusals import refuse, refuse_source, refused, try_out
from .requirements import Requirements, facts_of, file_digest
from .segment import (
    HAS_CHANGED,
    SegmentTask,
    render_segment,
)
from .shared_galleries import share_galleries

if TYPE_CHECKING:
    from ..gallery import GallerySpec

_SLICE_S = 0.25  # of waiting, until the next look whether to stop

_logger = logging.getLogger("livemosaic")


@dataclass
class FilmProgress:
    """The progress of a film.

    Attributes
    ----------
    phase : "rendering", "planning" (of a damaged film, for the second time) or "joining"
    frames, total : of this phase; the total is a guess while it is planned, None if unknown
    kept : frames of segments that were there before
    """

    phase: str
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
    done, kept : how many segments are done, how many of them by earlier runs
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
        self.done = self.kept = self.bad_frames = 0
        self._stamp: Stamp = []
        self._plan: Plan | None = None  # when it is whole
        # The segments that are planned so far, and the files of those that were there before.
        self._parts: list[tuple[SegmentTask, PacketFile | None]] = []
        self._rendered: set[Path] = set()  # by this run
        self._progress = FilmProgress("rendering")
        self._report: dict[str, Any] = {}

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            # Before it is opened: it may be replaced then, and the plan is that of the old one.
            with contextlib.suppress(OSError):
                self._stamp = stamp_of(self._options.input)
            source = undo.enter_context(open_input(self._options, [self._destination]))
            refuse_source(self._options, source)
            # First, so that a second run of the film builds no gallery anew.
            undo.enter_context(own_parts(self.folder, self._destination.name))
            self._galleries, opened = share_galleries(
                self._gallery, self._options, self.folder, on_photos=self._on_photos
            )
            self._trial = try_out(
                self._options, self._destination, source, opened, named=self._named
            )
            names = self._galleries.names
            self._options = replace(self._options, gallery=names if len(names) > 1 else names[0])
            self._source = source
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
    def segments(self) -> int:
        """How many segments the film has, as far as it is planned."""
        return len(self._parts if self._plan is None else self._plan.firsts)

    @property
    def is_planned(self) -> bool:
        """Whether `segments` is final."""
        return self._plan is not None

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
        for gallery in self._galleries.files:
            forget_unfinished(gallery)
        path = Path(local_path(self._options.input))
        film = Requirements((path,) if path.is_file() else ())  # else numbered pictures
        images = dict(named_images(self._options))
        needed = (*film.files, *self._galleries.files, *images.values())
        self._requirements = Requirements(needed, shared=self.folder)
        self._images = {name: file_digest(path) for name, path in images.items()}
        facts = facts_of(film.absolute())
        self._film_key = key_of_plan(self._options, self._destination, facts, self._stamp)
        self._key = key_of_pictures(
            self._options,
            self._destination,
            facts,
            galleries=self._galleries.digests,
            images=self._images,
        )
        self._on_progress = on_progress
        try:
            plan = self._make_segments()
        except SourceError as error:
            if not self._has_changed():
                raise
            raise SourceError(f"{source.name}: {HAS_CHANGED}") from error
        self.bad_frames = plan.bad_frames
        files = [self._made(task) if file is None else file for task, file in self._parts]
        reports = [file.about["report"] for file in files]
        info = replace(trial.info, tracks=source.info.tracks, chapters=source.info.chapters)
        joining_s = self._join(info, plan, files)
        self._report = whole_report(
            reports,
            plan,
            source,
            started_s=self._started_s,
            joining_s=joining_s,
            made=[task.path in self._rendered for task, _ in self._parts],
        )
        remove_parts(self.folder)

    def _has_changed(self) -> bool:
        """Whether the film is another one by now."""
        try:
            return stamp_of(self._options.input) != self._stamp
        except OSError:  # the error of the source says more
            return False

    # ---- its parts -----------------------------------------------------------------------------

    def _make_segments(self) -> Plan:
        """Plan the film, or take the plan of an earlier run, and have the segments rendered."""
        name = digest_of(self._film_key)
        self._plan_path, self._tracks_path = (
            self.folder / f"{kind}-{name}" for kind in ("plan", "tracks")
        )
        try:
            self._plan = Plan.load(self._plan_path)
            self._tracks = PacketFile(self._tracks_path)
        except (OSError, ValueError):
            self._plan = None
            with contextlib.suppress(_DamagedError):
                return self._render_while_planning()
            self._plan_again()
        assert self._plan is not None
        self._render(self._plan.segments())
        return self._plan

    def _render_while_planning(self) -> Plan:
        """Raises `_DamagedError`, see `_segments`."""
        with contextlib.closing(self._segments()) as segments:
            try:
                self._render(segments)
            except SourceError:  # other frames than planned: is the film damaged further on?
                for _ in segments:
                    self._tell(self._progress.frames)
                raise
        assert self._plan is not None
        return self._plan

    def _segments(self) -> Generator[Segment | None, None, None]:
        """Plan the film, and yield its segments, and None now and then; see `Planning`.

        Raises `_DamagedError` at the end if some frames could not be decoded. From the first of
        them on, there are no segments.
        """
        with self._planning(self._source) as planning:
            for segment in planning.segments():
                yield None if self._source.bad_frames else segment
        if self._source.bad_frames:
            raise _DamagedError
        self._save(planning)

    def _plan_again(self) -> None:
        """Plan a damaged film: how a decoder conceals damage depends on its threads, and workers
        have one."""
        self._progress = FilmProgress("planning", total=self._expected())
        with (
            silent(),
            open_input(self._options, [self._destination], threads=1) as source,
            self._planning(source) as planning,
        ):
            for _ in planning.segments():
                self._tell(len(planning.frames))
        self._save(planning)

    @contextlib.contextmanager
    def _planning(self, source: Source) -> Iterator[Planning]:
        """What plans the film in the block. The packets of its other tracks are in a file then."""
        options, path = self._options, self._tracks_path
        with sink_errors(str(path)), atomic_write(path) as file:
            tracks = PacketWriter(file)
            yield Planning(source, tracks, rate=options.fps, duration_s=options.duration)
            tracks.finish()

    def _save(self, planning: Planning) -> None:
        plan, self._tracks = planning.plan(), PacketFile(self._tracks_path)
        with sink_errors(str(self._plan_path)):
            plan.save(self._plan_path)
        self._plan = plan

    def _expected(self) -> int | None:
        """About how many frames the film has; None if unknown."""
        info, options = self._source.info, self._options
        if info.duration_s is None or not (options.fps or options.duration):
            return info.frames
        duration_s = min(info.duration_s, options.duration or info.duration_s)
        return round(duration_s * (options.fps or info.rate))

    def _tell(self, frames: int) -> None:
        self._progress.frames = frames
        self._on_progress(self._progress)
        if self._stopping:
            raise KeyboardInterrupt

    def _render(self, segments: Iterator[Segment | None]) -> None:
        """Have those segments made that are missing. None stands for those to come."""
        self.done = self.kept = 0
        self._parts = []
        self._progress = progress = FilmProgress("rendering", total=self._expected())
        missing: list[SegmentTask] = []
        tasks: Iterable[SegmentTask | None] = self._tasks(segments, missing)
        if self._plan is not None:
            tasks = list(tasks)
            if not tasks:
                return
        self._tell(progress.kept)
        finished = 0

        def tell(frames: int) -> None:
            frames += progress.kept + finished
            self._tell(min(frames, progress.total or frames))

        self._engine = open_engine(self._options.cluster, requirements=self._requirements)
        try:
            if self._stopping:
                raise KeyboardInterrupt
            with self._engine as engine:
                for number, _ in engine.run(render_segment, tasks, size=_length, on_progress=tell):
                    task = missing[number]
                    self._rendered.add(task.path)
                    finished += _length(task)
                    self.done += 1  # the engine calls `tell` at once, with what the others do
        finally:
            self._engine = None

    def _tasks(
        self, segments: Iterator[Segment | None], missing: list[SegmentTask]
    ) -> Iterator[SegmentTask | None]:
        """Yield tasks for the segments that are missing, and put them into a list, too.

        At the end, other segments in the folder are removed.
        """
        options, progress, frames = self._options, self._progress, 0
        absolute = absolute_options(options)
        frame_rate = copy(self._trial.video.frame_rate)
        for segment in segments:
            if segment is None:
                yield None
                continue
            if len(planned_ticks(frame_rate, segment)) < len(segment.frames):
                problem = "the container cannot tell the times of its frames apart"
                raise refused(options, f"{problem}; use .mkv, or --fps")
            name = digest_of([self._key, str(segment.time_base), [*segment.frames]])
            number = len(self._parts)
            path = self.folder.absolute() / f"segment-{number:05}-{name}"
            task = SegmentTask(
                path,
                segment,
                number,
                absolute,
                self._destination,
                galleries=self._galleries.digests,
                images=self._images,
            )
            file = task.file()
            self._parts.append((task, file))
            frames += len(segment.frames)
            if progress.total is not None:
                progress.total = max(progress.total, frames)
            if file is None:
                missing.append(task)
                yield task
            else:
                self.done += 1
                self.kept += path not in self._rendered
                progress.kept += len(segment.frames)
        progress.total = frames
        used = [self._plan_path, self._tracks_path, *self._galleries.files]
        names = {it.name for it in (*used, *(task.path for task, _ in self._parts))}
        removed = {*remove_others(self.folder, but=names)} - self._rendered
        if removed:
            _logger.info(
                "%s: removed segments of other options, gallery or film: %d",
                self._destination.name,
                len(removed),
            )
        if self.kept:
            _logger.info("%d of %d segments are done already", self.kept, self.segments)

    def _made(self, task: SegmentTask) -> PacketFile:
        """The file that a worker has made."""
        for wait_s in WAITS_S:
            for _ in range(round(wait_s / _SLICE_S)):
                if self._stopping:
                    raise KeyboardInterrupt
                time.sleep(_SLICE_S)
            if (file := task.file()) is not None:
                return file
        fix = "choose a folder for the output that all machines share"
        if (self._options.cluster or "local").startswith("local"):
            fix = "give the same command again"
        raise SinkError(
            f"{task.path}: what a worker wrote does not appear here, or is damaged; {fix}"
        )

    def _join(self, info: StreamInfo, plan: Plan, files: Sequence[PacketFile]) -> float:
        """Make the film, and return when it got its first frame."""
        begun_s = time.monotonic()
        self._progress = FilmProgress("joining", total=len(plan.frames))
        join_segments(
            self._destination, info, plan, segments=files, tracks=self._tracks, on_frame=self._tell
        )
        return begun_s


class _DamagedError(Exception):
    """Frames of the film could not be decoded."""


def _length(task: SegmentTask) -> int:
    return len(task.segment.frames)
