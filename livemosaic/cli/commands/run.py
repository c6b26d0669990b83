"""The verb `run`: an input, its mosaic, and where that goes."""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...control.options import (
    RunOptions,
    add_options,
    explicit_options,
    message,
    read_settings_file,
    resolve,
    user_settings_file,
)
from ...errors import LivemosaicError, OptionError, UsageError
from ..console import print_json, progress_bar
from ..ignored_options import refuse_contradictions
from ..session import join, open_input, parse_outputs
from ..signals import Interrupts

if TYPE_CHECKING:
    from ...control.state import Control
    from ...pipeline import Pipeline, Progress

__all__ = ["EXAMPLES", "add_parser", "run"]

_log = logging.getLogger("livemosaic")

EXAMPLES = """\
examples:
  livemosaic demo                            the embedded clip, to see that it works
  livemosaic run webcam window               a live view; press ? in it
  livemosaic run webcam vcam window          for a video call, with a preview
  livemosaic run rtsp://host/cam window      a network camera
  livemosaic run in.mp4 out.mp4              a video file, its sound kept
  livemosaic run photo.jpg out.png           a picture
  livemosaic run in.mp4 out.mp4 --profile reference
  livemosaic run in.mp4 out.mkv --gallery ~/Pictures --columns 120 --overlay 0.4
  livemosaic gallery build ~/Pictures -o my.gallery
"""


def add_parser(verbs: Any, **settings: Any) -> None:
    """Add the verb to the result of `ArgumentParser.add_subparsers`."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "run",
        help="make a mosaic of an input, for one or more outputs",
        description="Makes a mosaic of INPUT and gives it to each OUTPUT.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
        **settings,
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="webcam, webcam:N, webcam:NAME or /dev/videoN; a video or picture, a numbered "
        "sequence (in_%%04d.png), an address (rtsp://...), - for standard input, or "
        "pattern:WxH@FPS",
    )
    parser.add_argument(
        "outputs",
        metavar="OUTPUT",
        nargs="+",
        help="window, vcam or vcam:DEVICE, a file (mp4 mkv mov webm avi gif png jpg), a numbered "
        "sequence, an address, - for standard output, or null",
    )
    add_options(parser)


def run(
    arguments: Mapping[str, Any],
    input: str,
    outputs: Sequence[str],
    interrupts: Interrupts,
    started_s: float,
) -> int:
    """Make a mosaic of an input; the exit code.

    Parameters
    ----------
    arguments : text of the options that were typed, by name

    Raises
    ------
    LivemosaicError : the run failed
    """
    explicit = explicit_options(arguments)
    texts = _settings_files(explicit)
    options = resolve(explicit, texts, input=input, outputs=outputs)
    try:
        return _run(options, texts, interrupts, started_s)
    except OptionError as error:
        raise UsageError(message(error, options.files)) from None


def _settings_files(explicit: Mapping[str, Any]) -> dict[Path, bytes]:
    """The settings files to read, and their contents."""
    files = [explicit["config"]] if "config" in explicit else []
    if not explicit.get("no_config") and (own := user_settings_file()).exists():
        files.insert(0, own)
    for file in files:
        _log.debug("settings file: %s", file)
    return {file: read_settings_file(file) for file in files}


def _run(
    options: RunOptions,
    texts: Mapping[Path, bytes],
    interrupts: Interrupts,
    started_s: float,
) -> int:
    # Imports make a million objects that live to the end: looking through them for garbage again
    # and again is a fifth of the start. Nor is there work for NumPy's threads, which spin.
    gc.disable()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    refuse_contradictions(options)
    destinations = parse_outputs(options)

    import cv2

    # OpenCV's own threads help little on pictures of this size and cost 40 % more processor time
    # in waiting for each other; the stages are what runs side by side.
    cv2.setNumThreads(1)
    with contextlib.ExitStack() as undo:
        source = open_input(options, destinations)
        undo.callback(source.close)
        still = source.info.still  # and is not held for somebody who watches
        pipeline = join(source, destinations, options, interrupts, undo, started_s)
        interrupts.pipeline = pipeline  # from here on nothing is thrown: it closes all of them
        undo.pop_all()
    gc.freeze()
    gc.enable()
    control = pipeline.control if pipeline.interactive else None
    with _watching(options, texts, control):
        code = _drive(pipeline, interrupts, options, still=still)
    if source.bad_frames:
        _log.warning(
            "%s: %d damaged frames or packets could not be decoded", source.name, source.bad_frames
        )
    return code


# ---- running -----------------------------------------------------------------------------


def _watching(
    options: RunOptions, texts: Mapping[Path, bytes], control: Control | None
) -> contextlib.AbstractContextManager[object]:
    """Apply saved changes of the settings files, if there is anything that may change."""
    if not texts or control is None:
        return contextlib.nullcontext()
    from ...control.settings_file import SettingsFileWatcher
    from ...gallery import open_gallery

    return SettingsFileWatcher(texts, options=options, control=control, open_gallery=open_gallery)


def _drive(pipeline: Pipeline, interrupts: Interrupts, options: RunOptions, *, still: bool) -> int:
    """Run a pipeline with progress, and say how it went."""
    told = False
    words: dict[str, Any] = {"unit": " frames", "total": pipeline.expected_frames}
    if still:  # neither a count nor a rate: what is done, and since when
        words = {"bar_format": "{elapsed}{postfix}"}
    with progress_bar(quiet=options.quiet, when=options.progress, **words) as bar:

        def tick(progress: Progress) -> None:
            nonlocal told
            if interrupts.count and not told:
                told = True
                _log.info("finishing what was begun; once more stops at once")
            if bar is not None:
                cells = progress.cells
                share = cells.active / cells.total if cells.total else 0.0
                active = "matching" if still else f"{share:.0%} of cells active"
                bar.set_postfix_str(progress.phase or active, refresh=False)
                bar.update(progress.frames_out - bar.n)

        try:
            whole = pipeline.run(on_tick=tick)
        except LivemosaicError:
            if interrupts.count and not pipeline.progress.frames_out:
                raise KeyboardInterrupt from None  # no sink can make a file of no frame
            if pipeline.completed:
                _log.info("finished all the same: %s", ", ".join(pipeline.completed))
            raise
    if not whole:
        _log.info("stopped at once; kept: %s", ", ".join(pipeline.completed) or "nothing")
        return 130
    report = pipeline.report()
    if options.json:
        print_json(report)
    _log.info(
        "%s%s", "interrupted: " if interrupts.count else "", _summary(pipeline, report, still=still)
    )
    return 130 if interrupts.count else 0


def _summary(pipeline: Pipeline, report: dict[str, Any], *, still: bool) -> str:
    grid, frames = report["grid"], report["frames_out"]
    outputs = ", ".join(report["outputs"])
    size = f"{grid['width']}x{grid['height']} pixels and {grid['columns']}x{grid['rows']} cells"
    took = f"made in {report['duration_s']:.1f} s"
    if still:
        return f"{outputs}: a picture of {size}, {took}"
    text = (
        f"{outputs}: {frames} frame{'' if frames == 1 else 's'}, "
        f"{pipeline.progress.video_s:.1f} s, of {size}, {took}, {report['fps']:.1f} frames/s"
    )
    if report["governor"] is not None:
        latency = report["latency_ms"]
        text += f", latency {latency['p50']:.0f} ms (p95 {latency['p95']:.0f})"
        if report["dropped"]:
            text += f", {report['dropped']} dropped"
        if report["governor"]["highest"]:
            text += f"; to keep the latency: {report['governor']['highest']}"
    return text
