"""The subcommand `run` for a film that is made in segments, with `--resume` or `--cluster`."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..cluster.film import Film, FilmProgress
from ..control.options import RunOptions
from ..errors import LivemosaicError, counted
from .console import BAD_FRAMES, photos_bar, print_json, progress_bar
from .signals import INTERRUPTED, Interrupts

if TYPE_CHECKING:
    from ..sinks import Destination

_log = logging.getLogger("livemosaic")


def run_film(
    options: RunOptions,
    destinations: Sequence[Destination],
    interrupts: Interrupts,
    started_s: float,
    *,
    named: Callable[[str], str],
) -> int:
    """Make a film in segments; returns the exit code."""
    with contextlib.ExitStack() as undo:
        with photos_bar(quiet=options.quiet, when=options.progress) as count:
            film = undo.enter_context(
                Film(options, destinations, on_photos=count, named=named, started_s=started_s)
            )
        gc.freeze()
        gc.enable()
        interrupts.pipeline = film
        try:
            with _bars(options, film) as show:
                film.run(show)
        except KeyboardInterrupt:
            _log.info("interrupted: %s", _kept(film) or "nothing was written")
            return INTERRUPTED
        except LivemosaicError:
            if kept := _kept(film):
                _log.info("%s", kept)
            raise
    report = film.report()
    if options.json:
        print_json(report)
    _log.info("%s", _summary(report))
    if film.bad_frames:
        _log.warning(BAD_FRAMES, report["input"], film.bad_frames)
    return 0


@contextlib.contextmanager
def _bars(options: RunOptions, film: Film) -> Iterator[Callable[[FilmProgress], None]]:
    """Yield a function that shows the progress, by a bar for each phase.

    Segments that were there before begin another one: they say nothing about the time left.
    """
    with contextlib.ExitStack() as stack:
        shown, bar = ("", 0), None

        def show(progress: FilmProgress) -> None:
            nonlocal shown, bar
            if (progress.phase, progress.kept) != shown:
                stack.close()
                shown = progress.phase, progress.kept
                settings: dict[str, Any] = {"unit": " frames", "total": progress.total}
                # Workers tell twice a second how far they are, in turns: the mean of some of these.
                settings |= {"desc": progress.phase, "initial": progress.frames, "smoothing": 0.05}
                bar = stack.enter_context(
                    progress_bar(quiet=options.quiet, when=options.progress, **settings)
                )
            if bar is not None:
                bar.total = progress.total
                if progress.phase != "planning":
                    text = _done(film)
                    if film.workers:
                        text += f", {counted(film.workers, 'worker')}"
                    bar.set_postfix_str(text, refresh=False)
                bar.update(progress.frames - bar.n)

        yield show


def _kept(film: Film) -> str:
    """What is kept of a film that is not finished, and how to go on; empty if nothing is."""
    if not film.is_planned and not film.done:
        return ""
    return f"{_done(film)} are done, in {film.folder}; give the same command again to go on"


def _done(film: Film) -> str:
    """How many segments are done, and of how many."""
    if film.is_planned:
        return f"{film.done} of {counted(film.segments, 'segment')}"
    return f"{film.done} of {film.segments} or more segments"


def _summary(report: dict[str, Any]) -> str:
    grid, segments = report["grid"], report["film"]["segments"]
    video_s = segments[-1]["end_s"] - segments[0]["start_s"]
    kept = report["film"]["kept"]
    return (
        f"{', '.join(report['outputs'])}: {counted(report['frames_out'], 'frame')}, "
        f"{video_s:.1f} s, of {grid['width']}x{grid['height']} pixels and "
        f"{grid['columns']}x{grid['rows']} cells, made in {report['duration_s']:.1f} s, "
        f"{report['fps']:.1f} frames/s, in {counted(len(segments), 'segment')}"
        + (f", {kept} of them before" if kept else "")
    )
