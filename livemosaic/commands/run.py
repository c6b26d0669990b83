"""The verb `run`: an input, its mosaic, and where that goes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import logging
import os
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import config
from ..errors import LivemosaicError, UsageError
from ..terminal import Interrupts, counting_bar, patiently, print_json, progress_bar

if TYPE_CHECKING:
    from ..control import Control
    from ..frame import Frame
    from ..grid import Grid
    from ..mosaic import Mosaic, MosaicSettings
    from ..pipeline import Pipeline, Progress
    from ..sinks import FileOptions
    from ..sinks.base import Sink
    from ..sources.base import Source

__all__ = ["EXAMPLES", "add_output_options", "add_parser", "run"]

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
    config.add_options(parser)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a TOML file with a [run] table; while it runs live, what is saved there is applied",
    )
    parser.add_argument(
        "--map",
        metavar="FILE",
        help="beside a picture, write a page (html) that says which photo each cell is",
    )
    add_output_options(parser)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add what every verb that makes a mosaic has."""
    parser.add_argument("-y", "--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--json", action="store_true", help="print the run in numbers at the end")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument(
        "--progress", choices=("auto", "always", "never"), default="auto", help="progress bar"
    )


def run(args: argparse.Namespace, interrupts: Interrupts, started_s: float) -> int:
    """Do what the parsed arguments ask for; the exit code.

    Raises
    ------
    LivemosaicError
        whatever keeps it from being done
    """
    options = config.resolve(vars(args), file=args.config)
    _check_outputs(args)
    # Imports make a million objects that live to the end: looking through them for garbage again
    # and again is a fifth of the start. Nor is there work for NumPy's threads, which spin.
    gc.disable()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from ..sinks import FileOptions, check_target
    from ..sinks.target import resolve_map

    file_options = FileOptions(
        codec=options["codec"],
        preset=options["preset"],
        crf=options["crf"],
        overwrite=args.overwrite,
        source_name=args.input,
    )
    outputs = [
        # --format is of standard output only: a file's ending says what it is.
        (name, dataclasses.replace(file_options, format=options["format"] if name == "-" else None))
        for name in args.outputs
    ]
    for name, its_options in outputs:
        if not _is_watched(name):
            check_target(name, options=its_options)
    if args.map is not None:
        resolve_map(args.map, options=file_options)

    import cv2

    from ..kernels import import_quickly, kernels_are_cached

    import_quickly()
    # OpenCV's own threads help little on pictures of this size and cost 40 % more processor time
    # in waiting for each other; the stages are what runs side by side.
    cv2.setNumThreads(1)
    with contextlib.ExitStack() as undo:
        source = _open_source(args, options)
        undo.callback(source.close)
        if args.map is not None and not source.info.still:
            raise UsageError(
                f"--map {args.map}: a map is of one picture that goes to files; "
                f"{args.input} is a video or is shown live, so leave it out"
            )
        mosaic = _open_mosaic(args, options, thorough=source.info.still)
        if not kernels_are_cached():
            _log.info("compiling for this processor, once: the first run takes some seconds more")
        pipeline = _join(source, mosaic, outputs, args, options, interrupts, undo, started_s)
        interrupts.pipeline = pipeline  # from here on nothing is thrown: it closes all of them
        undo.pop_all()
    gc.freeze()
    gc.enable()
    with _watching(args, options, pipeline.control):
        code = _drive(pipeline, interrupts, args)
    if source.bad_frames:
        _log.warning(
            "%s: %d damaged frames or packets could not be decoded", source.name, source.bad_frames
        )
    return code


# ---- joining -----------------------------------------------------------------------------


def _open_source(args: argparse.Namespace, options: dict[str, Any]) -> Source:
    from ..sources import HeldStill, open_source

    source = patiently(
        lambda: open_source(args.input, reconnect=options["reconnect"], capture=options["capture"])
    )
    if source.info.still and any(map(_is_watched, args.outputs)):
        return HeldStill(source)
    return source


def _open_mosaic(args: argparse.Namespace, options: dict[str, Any], *, thorough: bool) -> Mosaic:
    from ..gallery import open_gallery
    from ..mosaic import Mosaic

    with counting_bar(quiet=args.quiet, when=args.progress, unit=" photos") as progress:
        gallery = open_gallery(options["gallery"], progress=progress)
    settings = mosaic_settings(options, live=any(map(_is_watched, args.outputs)))
    return Mosaic(gallery, dataclasses.replace(settings, thorough=thorough))


def mosaic_settings(options: dict[str, Any], *, live: bool) -> MosaicSettings:
    """What of the resolved options a mosaic has to know."""
    from ..mosaic import MosaicSettings

    return MosaicSettings(
        tile_px=options["tile"],
        columns=options["columns"],
        scale=options["scale"],
        size=options["size"],
        round_up=options["round_up"],
        live=live,
        match=options["match"],
        tint=options["tint"],
        calm=options["calm"],
        variety=options["variety"],
        min_distance=options["min_distance"],
        max_uses=options["max_uses"],
        overlay_luma=options["overlay_luma"],
        palette=options["palette"],
        overlay=options["overlay"],
        activity=options["activity"],
        seed=options["seed"],
    )


def _join(
    source: Source,
    mosaic: Mosaic,
    outputs: list[tuple[str, FileOptions]],
    args: argparse.Namespace,
    options: dict[str, Any],
    interrupts: Interrupts,
    undo: contextlib.ExitStack,
    started_s: float,
) -> Pipeline:
    """Open the outputs, and make the pipeline; `undo` closes what was opened."""
    from ..gallery import open_gallery
    from ..pipeline import Pipeline, output_info
    from ..sinks import open_sink

    info, grid = source.info, mosaic.plan(source.info.width, source.info.height)
    realtime = options["realtime"] or (
        # To be watched, a file runs at its own pace; to be written as well, as fast as it can.
        not info.live and all(_is_watched(name) for name in args.outputs)
    )
    live = info.live or realtime
    rate: Fraction | None = None if info.still else options["fps"]
    output = output_info(info, grid, rate=rate)
    control = _make_control(mosaic, options, grid) if live or "window" in args.outputs else None
    if live:
        mosaic.warm_up(info.width, info.height, info.colour)
    sinks: list[Sink] = []
    with interrupts.held():  # half of a sink could not be undone
        for name, its_options in outputs:
            if name == "window":
                assert control is not None
                from ..sinks.window import WindowSink

                sinks.append(WindowSink(output, control=control, vitals=lambda: control.vitals()))
            else:
                sinks.append(open_sink(name, output, options=its_options, rate=rate))
            undo.callback(sinks[-1].abort)
        if args.map is not None:
            sinks.append(_open_map(args, outputs[0][1], mosaic, grid))
            undo.callback(sinks[-1].abort)
    return Pipeline(
        source,
        mosaic,
        sinks,
        rate=rate,
        duration_s=options["duration"],
        realtime=realtime,
        max_latency_s=options["max_latency"] / 1e3,
        started_s=started_s,
        control=control,
        open_gallery=open_gallery,
        save_picture=_save_picture,
        open_recording=lambda: open_sink(_dated("mkv"), output, options=outputs[0][1]),
    )


def _open_map(args: argparse.Namespace, options: FileOptions, mosaic: Mosaic, grid: Grid) -> Sink:
    from ..sinks.map import MapSink
    from ..sinks.target import resolve_map

    return MapSink(
        resolve_map(args.map, options=options),
        title=Path(args.input).name,
        grid=grid,
        gallery=mosaic.gallery,
        cells=lambda: (mosaic.tile_ids, mosaic.flips),
    )


def _make_control(mosaic: Mosaic, options: dict[str, Any], grid: Any) -> Control:
    from ..control import Control, Wanted
    from ..gallery import EMBEDDED

    mosaic.change(mosaic.settings.for_grid(grid))
    # The number keys: the gallery of the start, then those that everybody has.
    galleries = dict.fromkeys((options["gallery"], *EMBEDDED))
    return Control(Wanted(mosaic.settings, options["gallery"]), galleries=tuple(galleries))


def _save_picture(frame: Frame) -> str:
    """Write a picture into the current folder, named by the time; its name."""
    from ..frame import StreamInfo
    from ..sinks import open_sink

    name = _dated("png")
    info = StreamInfo(frame.width, frame.height, colour=frame.colour, still=True)
    sink = open_sink(name, info)
    try:
        sink.write(frame)
        sink.close()
    except BaseException:
        sink.abort()
        raise
    return name


def _dated(suffix: str) -> str:
    """A new file's name in the current folder."""
    stem = time.strftime("livemosaic-%Y%m%d-%H%M%S")
    name, number = f"{stem}.{suffix}", 1
    while os.path.exists(name):
        number += 1
        name = f"{stem}-{number}.{suffix}"
    return name


# ---- running -----------------------------------------------------------------------------


def _watching(
    args: argparse.Namespace, options: dict[str, Any], control: Control | None
) -> contextlib.AbstractContextManager[object]:
    """The settings file is applied when it is saved, if there are one and something to change."""
    if args.config is None or control is None:
        return contextlib.nullcontext()
    from ..gallery import open_gallery
    from ..watch import ConfigWatch

    return ConfigWatch(
        args.config, given=vars(args), options=options, control=control, open_gallery=open_gallery
    )


def _drive(pipeline: Pipeline, interrupts: Interrupts, args: argparse.Namespace) -> int:
    """Run a pipeline with progress, and say how it went."""
    told = False
    with progress_bar(
        quiet=args.quiet, when=args.progress, unit=" frames", total=pipeline.expected_frames
    ) as bar:

        def tick(progress: Progress) -> None:
            nonlocal told
            if interrupts.count and not told:
                told = True
                _log.info("finishing what was begun; once more stops at once")
            if bar is not None:
                cells = progress.cells
                share = cells.active / cells.total if cells.total else 0.0
                doing = progress.doing or f"{share:.0%} of cells active"
                bar.set_postfix_str(doing, refresh=False)
                bar.update(progress.frames_out - bar.n)

        try:
            whole = pipeline.run(on_tick=tick)
        except LivemosaicError:
            if interrupts.count and not pipeline.progress.frames_out:
                raise KeyboardInterrupt from None  # no sink can make a file of no frame
            if pipeline.kept:
                _log.info("finished all the same: %s", ", ".join(pipeline.kept))
            raise
    if not whole:
        _log.info("stopped at once; kept: %s", ", ".join(pipeline.kept) or "nothing")
        return 130
    report = pipeline.report()
    if args.json:
        print_json(report)
    _log.info("%s%s", "interrupted: " if interrupts.count else "", _summary(pipeline, report))
    return 130 if interrupts.count else 0


def _summary(pipeline: Pipeline, report: dict[str, Any]) -> str:
    grid, frames = report["grid"], report["frames_out"]
    text = (
        f"{', '.join(report['outputs'])}: {frames} frame{'' if frames == 1 else 's'}, "
        f"{pipeline.progress.video_s:.1f} s, of {grid['width']}x{grid['height']} pixels and "
        f"{grid['columns']}x{grid['rows']} cells, made in {report['duration_s']:.1f} s, "
        f"{report['fps']:.1f} frames/s"
    )
    if report["governor"] is not None:
        latency = report["latency_ms"]
        text += f", latency {latency['p50']:.0f} ms (p95 {latency['p95']:.0f})"
        if report["dropped"]:
            text += f", {report['dropped']} dropped"
        if report["governor"]["highest"]:
            text += f"; to keep the latency: {report['governor']['highest']}"
    return text


# ---- checks ------------------------------------------------------------------------------


def _is_watched(output: str) -> bool:
    """Whether an output is for somebody who watches now."""
    return output in ("window", "vcam") or output.startswith("vcam:")


def _check_outputs(args: argparse.Namespace) -> None:
    """What is wrong with the outputs together, or with their words."""
    names = [name for name in (*args.outputs, args.map) if name not in ("null", None)]
    places = [name if _is_watched(name) else os.path.realpath(name) for name in names]
    for name, place in zip(names, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"{name}: the same output is given twice; leave one out")
    if args.json and "-" in args.outputs:
        raise UsageError("--json and the output - both want standard output; leave one out")
    if sys.stdout is None and (args.json or "-" in args.outputs):
        raise UsageError("standard output is closed; leave out --json and the output -")
