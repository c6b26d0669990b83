"""The subcommand `run`: an input, its mosaic, and the outputs."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import gc
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...control.actions import switch
from ...control.ignored_options import refuse_contradictions
from ...control.options import (
    RunOptions,
    explicit_options,
    message,
    read_settings_file,
    resolve,
    user_settings_file,
)
from ...errors import LivemosaicError, OptionError, UsageError, counted, printable
from ...session import (
    default_output,
    expected_outputs,
    open_input,
    open_pipeline,
    parse_outputs,
)
from ...sinks import output_examples
from ...sources import check_input, input_examples
from ..arguments import add_options, completed_as_file
from ..console import BAD_FRAMES, photos_bar, print_code, print_json, print_notes, progress_bar
from ..signals import INTERRUPTED, Interrupts

if TYPE_CHECKING:
    from ...pipeline import Pipeline, Progress

_log = logging.getLogger("livemosaic")

_MANY_DROPPED = 0.1  # of the frames

EXAMPLES = """\
examples:
  livemosaic demo                            the included clip, to see that it works
  livemosaic run webcam                      a live view; press ? for its keys
  livemosaic run webcam vcam window          for a video call, with a preview
  livemosaic run rtsp://host/cam window      a network camera
  livemosaic run in.mp4                      a video, with its sound: in-mosaic.mp4
  livemosaic run photo.jpg out.png           a picture
  livemosaic run in.mp4 out.mp4 --profile reference
  livemosaic run in.mp4 out.mkv --gallery ~/Pictures --columns 120 --overlay 0.4
  livemosaic gallery build ~/Pictures -o my.gallery
"""


def add_parser(subcommands: Any, **settings: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "run",
        usage="%(prog)s [OPTIONS] INPUT [OUTPUT ...]",
        help="turn an input into a photomosaic, for one or more outputs",
        description="Turns INPUT into a photomosaic and sends it to each OUTPUT. Without one, a\n"
        "file becomes NAME-mosaic beside it, and a live input is shown in a window.\n"
        "Command-line options override the settings file, which overrides the profile.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
        **settings,
    )
    input = parser.add_argument(
        "input",
        metavar="INPUT",
        help=_listed(input_examples()),
    )
    outputs = parser.add_argument(
        "outputs",
        metavar="OUTPUT",
        nargs="*",
        default=(),
        help=_listed(output_examples()),
    )
    for action in (input, outputs):
        completed_as_file(action)
    add_options(parser)


def _listed(examples: Mapping[str, str]) -> str:
    text = "; ".join(f"{name}: {text.replace(' ', ', ')}" for name, text in examples.items())
    return text.replace("%", "%%")


def run(
    arguments: Mapping[str, Any],
    input: str,
    outputs: Sequence[str],
    interrupts: Interrupts,
    started_s: float,
) -> int:
    """Make a mosaic of an input. The arguments are the texts of the options that were typed."""
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
    if not explicit.get("no_config") and os.path.exists(own := user_settings_file()):
        files.insert(0, own)
    for file in files:
        _log.debug("settings file: %s", file)
    return {file: read_settings_file(file) for file in files}


def _run(
    options: RunOptions, texts: Mapping[Path, bytes], interrupts: Interrupts, started_s: float
) -> int:
    # Imports make a million objects that live to the end. To search them for garbage again and
    # again is a fifth of the start. NumPy's threads would spin without any work.
    gc.disable()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    refuse_contradictions(options)
    check_input(options.input)
    in_segments = options.resume or options.cluster is not None
    if in_segments and not options.outputs:
        from ...media.frame import StreamInfo

        output = default_output(options.input, StreamInfo(2, 2))
        options = dataclasses.replace(options, outputs=(output,))
    destinations = parse_outputs(options) if options.outputs else []

    import cv2

    # OpenCV's own threads help little with pictures of this size, and wait for each other in busy
    # loops. The stages run side by side instead.
    cv2.setNumThreads(1)
    if in_segments:
        from ..film import run_film

        return run_film(options, destinations, interrupts, started_s, named=_flag)
    with contextlib.ExitStack() as undo:
        source = open_input(options, destinations or expected_outputs(options))
        undo.callback(source.close)
        if not options.outputs:
            is_preview = options.preview is not None
            info = dataclasses.replace(source.info, still=source.info.still or is_preview)
            output = default_output(options.input, info)
            options = dataclasses.replace(options, outputs=(output,))
            destinations = parse_outputs(options)
        still = source.info.still  # and not shown live
        is_picture = still or options.preview is not None
        if videos := ", ".join(it.name for it in destinations if still and it.encodes):
            is_picture = False
            _log.info("%s: a video of one frame, because %s is a picture", videos, source.name)
        with photos_bar(quiet=options.quiet, when=options.progress) as count:
            pipeline = open_pipeline(
                source,
                destinations,
                options,
                undo,
                on_photos=count,
                on_page=None if options.quiet else _print_page,
                named=_flag,
                started_s=started_s,
            )
        interrupts.pipeline = pipeline  # it closes everything from here on
        undo.pop_all()
    gc.freeze()
    gc.enable()
    with _watching(options, texts, pipeline):
        code = _drive(pipeline, interrupts, options, still=still, is_picture=is_picture)
    if source.bad_frames:
        _log.warning(BAD_FRAMES, source.name, source.bad_frames)
    return code


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _print_page(url: str, guest_url: str) -> None:
    """Print the addresses, which have secrets: they are no log lines."""
    print_notes([f"control page: {url}"])
    if guest_url:
        from ...media.qr_code import qr_lines

        print_notes([f"guests: {guest_url}"])
        print_code(qr_lines(guest_url))


def _watching(
    options: RunOptions, texts: Mapping[Path, bytes], pipeline: Pipeline
) -> contextlib.AbstractContextManager[object]:
    """Apply saved changes of the settings files, if anything may change."""
    if not texts or not pipeline.interactive:
        return contextlib.nullcontext()
    from ...control.settings_file import SettingsFileWatcher
    from ...gallery import open_gallery

    opens = functools.partial(open_gallery, recipe=options.recipe)
    return SettingsFileWatcher(texts, options, pipeline.control, open_gallery=opens)


def _drive(
    pipeline: Pipeline,
    interrupts: Interrupts,
    options: RunOptions,
    *,
    still: bool,
    is_picture: bool,
) -> int:
    """Run a pipeline with a progress bar, and report the result."""
    reported = False
    settings: dict[str, Any] = {"unit": " frames", "total": pipeline.expected_frames}
    if still:  # a picture has neither a count nor a rate
        settings = {"bar_format": "{elapsed}{postfix}"}
    settings["mininterval"] = 0  # drawn at each tick
    lines = not pipeline.interactive  # a call may last for hours
    with progress_bar(quiet=options.quiet, when=options.progress, lines=lines, **settings) as bar:

        def tick(progress: Progress) -> None:
            nonlocal reported
            if interrupts.take_toggle():
                _log.info("%s", switch(pipeline.control, "privacy"))
            if interrupts.count and not reported:
                reported = True
                _log.info("finishing the current output (press Ctrl-C again to stop immediately)")
            if bar is not None:
                share = progress.cells.share("active")
                active = "matching" if still else f"{share:.0%} of cells active"
                bar.set_postfix_str(printable(progress.phase or active), refresh=False)
                bar.update(progress.frames_out - bar.n)

        try:
            finished = pipeline.run(on_tick=tick)
        except LivemosaicError:
            if interrupts.count and not pipeline.progress.frames_out:
                raise KeyboardInterrupt from None  # no sink can make a file of no frame
            raise
    if not finished:
        _log.info("stopped immediately; completed: %s", ", ".join(pipeline.completed) or "nothing")
        return INTERRUPTED
    report = pipeline.report()
    if options.json:
        print_json(report)
    interrupted = "interrupted: " if interrupts.count else ""
    _log.info("%s%s", interrupted, _summary(pipeline, report, is_picture=is_picture))
    return INTERRUPTED if interrupted else 0


def _summary(pipeline: Pipeline, report: dict[str, Any], *, is_picture: bool) -> str:
    grid, frames = report["grid"], report["frames_out"]
    outputs = ", ".join(report["outputs"])
    size = f"{grid['width']}x{grid['height']} pixels and {grid['columns']}x{grid['rows']} cells"
    took = f"made in {report['duration_s']:.1f} s"
    if is_picture:
        return f"{outputs}: a picture of {size}, {took}"
    if frames == 1:  # without a rate to speak of
        text = f"{outputs}: one frame of {size}, {took}"
    else:
        text = (
            f"{outputs}: {counted(frames, 'frame')}, {pipeline.progress.video_s:.1f} s, "
            f"of {size}, {took}, {report['fps']:.1f} frames/s"
        )
    if report["governor"] is not None:
        latency = report["latency_ms"]
        text += f", latency {latency['p50']:.0f} ms (p95 {latency['p95']:.0f})"
        if report["dropped"]:
            text += f", {report['dropped']} dropped"
        if report["governor"]["highest"]:
            text += f"; to keep the latency: {report['governor']['highest']}"
        if report["dropped"] > _MANY_DROPPED * report["frames_in"]:
            text += "; choose a smaller --size to keep more frames"
    return text
