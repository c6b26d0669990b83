"""The command line: the only place that joins concrete parts.

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted (the output is finished first).
Nothing heavy is imported before the verb is known: `--help` must answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, config
from .errors import LivemosaicError, UsageError
from .gallery import command as gallery_command

if TYPE_CHECKING:
    from .pipeline import Pipeline, Progress
    from .sinks.base import Sink
    from .sources.base import Source

__all__ = ["main"]

_log = logging.getLogger("livemosaic")

_EXAMPLES = """\
examples:
  livemosaic demo                            the embedded clip, to see that it works
  livemosaic run in.mp4 out.mp4              a video file, its sound kept
  livemosaic run photo.jpg out.png           a picture
  livemosaic run in.mp4 out.mp4 --profile reference
  livemosaic run in.mp4 out.mkv --gallery ~/Pictures --columns 120 --overlay 0.4
  livemosaic gallery build ~/Pictures -o my.gallery
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    started_s = time.monotonic()
    parser = _parser()
    args = parser.parse_args(argv)
    verbose = getattr(args, "verbose", False)
    _set_up_logging(verbose=verbose, quiet=getattr(args, "quiet", False))
    try:
        if args.verb == "run":
            return _run(args, started_s)
        if args.verb == "demo":
            return _demo(args, started_s)
        return gallery_command.run(args)
    except UsageError as error:
        _complain(error)
        return 2
    except LivemosaicError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        _say("interrupted: nothing was written")
        return 130
    except Exception as error:
        if verbose:
            raise
        _complain(f"internal error: {type(error).__name__}: {error}; run with -v for the details")
        return 1


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-v", "--verbose", action="store_true", help="say more, also of errors")
    parser = argparse.ArgumentParser(
        prog="livemosaic",
        description="Turns every frame of a video into a photomosaic, as a stream.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"livemosaic {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    run = verbs.add_parser(
        "run",
        parents=[common],
        help="make a mosaic of an input, for one or more outputs",
        description="Makes a mosaic of INPUT and gives it to each OUTPUT.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXAMPLES,
    )
    run.add_argument(
        "input",
        metavar="INPUT",
        help="a video or picture, a numbered sequence (in_%%04d.png), an address, - for standard "
        "input, or pattern:WxH@FPS",
    )
    run.add_argument(
        "outputs",
        metavar="OUTPUT",
        nargs="+",
        help="a file (mp4 mkv mov webm avi gif png jpg), a numbered sequence, an address, "
        "- for standard output, or null",
    )
    config.add_options(run)
    run.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with a [run] table")
    run.add_argument("--realtime", action="store_true", help="pace a file as if it were live")
    _add_output_options(run)

    demo = verbs.add_parser(
        "demo", parents=[common], help="render the embedded clip, to see that it works"
    )
    demo.add_argument(
        "output",
        metavar="OUTPUT",
        nargs="?",
        default="livemosaic-demo.mp4",
        help="where to (livemosaic-demo.mp4, replaced if it is there)",
    )
    _add_output_options(demo)
    gallery_command.add_parser(verbs)
    return parser


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--json", action="store_true", help="print the run in numbers at the end")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument(
        "--progress", choices=("auto", "always", "never"), default="auto", help="progress bar"
    )


def _demo(args: argparse.Namespace, started_s: float) -> int:
    clip = Path(__file__).with_name("demo") / "bigbuckbunny.mp4"
    given = {"input": str(clip), "outputs": [args.output], "config": None, "realtime": False}
    options = dict.fromkeys(option.name for option in config.OPTIONS)
    args = argparse.Namespace(**{**options, **vars(args), **given, "overwrite": True})
    code = _run(args, started_s)
    if code == 0 and not args.quiet:
        output = args.outputs[0]
        _say(
            f"the demo is in {output}\n"
            "next:\n"
            f"  livemosaic run YOUR.mp4 mosaic.mp4             your own video\n"
            f"  livemosaic run YOUR.jpg mosaic.png             your own picture\n"
            f"  livemosaic run YOUR.mp4 out.mp4 --gallery ~/Pictures   made of your own photos\n"
            f"  livemosaic run --help                          everything else"
        )
    return code


def _run(args: argparse.Namespace, started_s: float) -> int:
    options = config.resolve(vars(args), file=args.config)
    if args.json and "-" in args.outputs:
        raise UsageError("--json and the output - both want standard output: leave one out")
    if len(set(args.outputs)) != len(args.outputs):
        raise UsageError("the same output is given twice: leave one out")
    for name in args.outputs:
        _check_known(name)

    from .sinks import FileOptions, check_target

    file_options = FileOptions(
        codec=options["codec"],
        preset=options["preset"],
        crf=options["crf"],
        format=options["format"],
        overwrite=args.overwrite,
        source_name=args.input,
    )
    for output in args.outputs:
        check_target(output, options=file_options)

    import cv2

    from .kernels import kernels_are_cached
    from .mosaic import Mosaic, MosaicSettings
    from .pipeline import Pipeline, output_info
    from .sinks import open_sink
    from .sources import open_source

    # OpenCV's own threads help little on pictures of this size and cost 40 % more processor time
    # in waiting for each other; the stages are what runs side by side.
    cv2.setNumThreads(1)
    settings = MosaicSettings(
        tile_px=options["tile"],
        columns=options["columns"],
        scale=options["scale"],
        size=options["size"],
        round_up=options["round_up"],
        match=options["match"],
        palette=options["palette"],
        overlay=options["overlay"],
        activity=options["activity"],
        seed=options["seed"],
    )
    source: Source = open_source(args.input)
    with contextlib.closing(source):
        mosaic = Mosaic(options["gallery"], settings)
        if options["fps"] is not None and not source.info.still:
            from .sources.rate import FixedRate

            source = FixedRate(source, rate=options["fps"])
        info = output_info(source.info, mosaic.plan(source.info.width, source.info.height))
        if not kernels_are_cached():
            _log.info("compiling for this processor, once: the first run takes some seconds more")
        sinks: list[Sink] = []
        try:
            for output in args.outputs:
                sinks.append(open_sink(output, info, options=file_options))
            pipeline = Pipeline(
                source,
                mosaic,
                sinks,
                duration_s=options["duration"],
                realtime=args.realtime,
                started_s=started_s,
            )
        except BaseException:
            for sink in sinks:
                sink.abort()
            raise
        return _drive(pipeline, source, args)


def _drive(pipeline: Pipeline, source: Source, args: argparse.Namespace) -> int:
    """Run a pipeline with progress and signals, and say how it went."""
    interrupts = 0

    def interrupt(*_: Any) -> None:
        nonlocal interrupts
        interrupts += 1
        (pipeline.stop if interrupts == 1 else pipeline.cancel)()

    told = False
    with _signals(interrupt), _progress_bar(args, source) as show:

        def tick(progress: Progress) -> None:
            nonlocal told
            if interrupts and not told:
                told = True
                _say("finishing what was begun; once more stops at once")
            show(progress)

        whole = pipeline.run(on_tick=tick)
    report = pipeline.report()
    if source.bad_frames:
        _log.warning(
            "%s: %d damaged frames or packets could not be decoded", source.name, source.bad_frames
        )
    if not whole:
        _say("stopped at once: no output was kept")
        return 130
    if args.json:
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()
    if not args.quiet:
        holds = "interrupted: " if interrupts else ""
        grid = report["grid"]
        _say(
            f"{holds}{', '.join(report['outputs'])}: {report['frames_out']} frames of "
            f"{grid['width']}x{grid['height']}, {grid['columns']}x{grid['rows']} cells, "
            f"in {report['duration_s']:.1f} s, {report['fps']:.1f} frames/s"
        )
    return 130 if interrupts else 0


def _check_known(output: str) -> None:
    """Words that later versions will know must not become files of that name."""
    if output in ("window", "vcam") or output.startswith("vcam:"):
        raise UsageError(f"{output}: not in this version yet; give a file name, - or null")


@contextlib.contextmanager
def _signals(handler: Any) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `handler` meanwhile."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, handler) for kind in kinds]
    try:
        yield
    finally:
        for kind, old in zip(kinds, before, strict=True):
            signal.signal(kind, old)


@contextlib.contextmanager
def _progress_bar(args: argparse.Namespace, source: Source) -> Iterator[Any]:
    """A bar on standard error: frames, frames/s, time left, active cells."""
    wanted = args.progress == "always" or (args.progress == "auto" and sys.stderr.isatty())
    if not wanted or args.quiet:
        yield lambda progress: None
        return
    from tqdm import tqdm

    with tqdm(total=source.info.frames, unit="frame", file=sys.stderr, leave=False) as bar:

        def show(progress: Progress) -> None:
            cells = progress.cells
            share = cells.active / cells.total if cells.total else 0.0
            bar.set_postfix_str(f"{share:.0%} of cells active", refresh=False)
            bar.update(progress.frames_out - bar.n)

        yield show


class _Handler(logging.Handler):
    """Log records as the program's own words."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        _say(level + record.getMessage())


def _set_up_logging(*, verbose: bool, quiet: bool) -> None:
    _log.handlers[:] = [_Handler()]
    _log.propagate = False
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    _log.setLevel(level)


def _say(text: str) -> None:
    # A closed standard error must not stop the work.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"livemosaic: {text}\n")
        sys.stderr.flush()


def _complain(error: object) -> None:
    _say(f"error: {error}")
