"""The command line: the only place that joins concrete parts.

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted (the output is finished first).
Nothing heavy is imported before the verb is known: `--help` must answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__, config
from .errors import LivemosaicError, UsageError
from .gallery import command as gallery_command
from .terminal import (
    Interrupts,
    complain,
    leave,
    open_standard_files,
    patiently,
    print_json,
    progress_bar,
    set_up_logging,
)

if TYPE_CHECKING:
    from .pipeline import Pipeline, Progress
    from .sinks.base import Sink

__all__ = ["main"]

_log = logging.getLogger("livemosaic")

_DEMO_OUTPUT = "livemosaic-demo.mp4"

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
    open_standard_files()
    with Interrupts() as interrupts:
        code = _run_verb(argv, interrupts, started_s)
    return leave(code)


def _run_verb(argv: Sequence[str] | None, interrupts: Interrupts, started_s: float) -> int:
    """Do what is asked for; every error becomes one line and an exit code."""
    verbose = False
    try:
        args = _parse(argv)
        verbose = getattr(args, "verbose", False)
        set_up_logging(verbose=verbose, quiet=getattr(args, "quiet", False))
        if args.verb == "run":
            return _run(args, interrupts, started_s)
        if args.verb == "demo":
            return _demo(args, interrupts, started_s)
        return gallery_command.run(args)
    except UsageError as error:
        complain(error)
        return 2
    except LivemosaicError as error:
        complain(error)
        return 1
    except KeyboardInterrupt:
        _log.info("interrupted: nothing was written")
        return 130
    except MemoryError:
        complain("there is not enough memory; choose a smaller --size or --scale")
        return 1
    except Exception as error:
        if verbose:
            traceback.print_exc()
        complain(f"internal error: {type(error).__name__}: {error}; run with -v for the details")
        return 1
    finally:
        gc.enable()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    args, rest = _parser().parse_known_args(argv)
    unknown = [word for word in rest if word.startswith("-") and word != "-"]
    if unknown or (rest and args.verb != "run"):
        raise UsageError(f"unknown: {' '.join(rest)}; see livemosaic {args.verb} --help")
    if rest:  # argparse does not take outputs up again behind options
        args.outputs += rest
    return args


class _Parser(argparse.ArgumentParser):
    """Errors in one line, as all others; no abbreviations, which a later option could break."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument("-v", "--verbose", action="store_true", help="say more, also of errors")
    parser = _Parser(
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
    _add_output_options(run)

    demo = verbs.add_parser(
        "demo", parents=[common], help="render the embedded clip, to see that it works"
    )
    demo.add_argument(
        "output",
        metavar="OUTPUT",
        nargs="?",
        help=f"where to ({_DEMO_OUTPUT}, replaced if it is there)",
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


def _demo(args: argparse.Namespace, interrupts: Interrupts, started_s: float) -> int:
    clip = Path(__file__).with_name("demo") / "bigbuckbunny.mp4"
    output = args.output or _DEMO_OUTPUT
    # The default name is the program's own; what somebody names may be theirs.
    overwrite = args.overwrite or args.output is None
    given = {"input": str(clip), "outputs": [output], "config": None, "overwrite": overwrite}
    code = _run(argparse.Namespace(**{**vars(args), **given}), interrupts, started_s)
    if code == 0:
        _log.info(
            "the demo is in %s\n"
            "next:\n"
            "  livemosaic run YOUR.mp4 mosaic.mp4             your own video\n"
            "  livemosaic run YOUR.jpg mosaic.png             your own picture\n"
            "  livemosaic run YOUR.mp4 out.mp4 --gallery ~/Pictures   made of your own photos\n"
            "  livemosaic run --help                          everything else",
            output,
        )
    return code


def _run(args: argparse.Namespace, interrupts: Interrupts, started_s: float) -> int:
    options = config.resolve(vars(args), file=args.config)
    _check_outputs(args)
    # Imports make a million objects that live to the end: looking through them for garbage again
    # and again is a fifth of the start. Nor is there work for NumPy's threads, which spin.
    gc.disable()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from .sinks import FileOptions, check_target

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
        check_target(name, options=its_options)

    import cv2

    from .gallery import open_gallery
    from .kernels import import_quickly, kernels_are_cached

    import_quickly()
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
    with contextlib.ExitStack() as undo:
        source = patiently(open_source, args.input)
        undo.callback(source.close)
        info = source.info
        rate = None if info.still else options["fps"]
        with _photos_bar(args) as progress:
            mosaic = Mosaic(open_gallery(options["gallery"], progress=progress), settings)
        info = output_info(info, mosaic.plan(info.width, info.height), rate=rate)
        sinks: list[Sink] = []
        with interrupts.held():  # half of a sink could not be undone
            for name, its_options in outputs:
                sinks.append(open_sink(name, info, options=its_options))
                undo.callback(sinks[-1].abort)
        if not kernels_are_cached():
            _log.info("compiling for this processor, once: the first run takes some seconds more")
        pipeline = Pipeline(
            source,
            mosaic,
            sinks,
            rate=rate,
            duration_s=options["duration"],
            realtime=options["realtime"],
            started_s=started_s,
        )
        interrupts.pipeline = pipeline  # from here on nothing is thrown: it closes all of them
        undo.pop_all()
    gc.freeze()
    gc.enable()
    code = _drive(pipeline, interrupts, args)
    if source.bad_frames:
        _log.warning(
            "%s: %d damaged frames or packets could not be decoded", source.name, source.bad_frames
        )
    return code


@contextlib.contextmanager
def _photos_bar(args: argparse.Namespace) -> Iterator[Callable[[int, int], None]]:
    """Progress of a gallery's build: a bar that comes only if there is something to build."""
    bars: list[Any] = []
    with contextlib.ExitStack() as stack:

        def progress(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress_bar(args, unit=" photos", total=total)))
            if bars[0] is not None:
                bars[0].update(done - bars[0].n)

        yield progress


def _drive(pipeline: Pipeline, interrupts: Interrupts, args: argparse.Namespace) -> int:
    """Run a pipeline with progress, and say how it went."""
    told = False
    with progress_bar(args, unit=" frames", total=pipeline.expected_frames) as bar:

        def tick(progress: Progress) -> None:
            nonlocal told
            if interrupts.count and not told:
                told = True
                _log.info("finishing what was begun; once more stops at once")
            if bar is not None:
                cells = progress.cells
                share = cells.active / cells.total if cells.total else 0.0
                bar.set_postfix_str(f"{share:.0%} of cells active", refresh=False)
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
    grid = report["grid"]
    _log.info(
        "%s%s: %d frame%s, %.1f s, of %dx%d pixels and %dx%d cells, made in %.1f s, %.1f frames/s",
        "interrupted: " if interrupts.count else "",
        ", ".join(report["outputs"]),
        report["frames_out"],
        "" if report["frames_out"] == 1 else "s",
        pipeline.progress.video_s,
        *(grid[name] for name in ("width", "height", "columns", "rows")),
        report["duration_s"],
        report["fps"],
    )
    return 130 if interrupts.count else 0


def _check_outputs(args: argparse.Namespace) -> None:
    """What is wrong with the outputs together, or with their words."""
    files = [os.path.realpath(name) for name in args.outputs if name != "null"]
    for name in args.outputs:
        if name in ("window", "vcam") or name.startswith("vcam:"):
            # Words that later versions will know must not become files of that name.
            raise UsageError(f"{name}: not in this version yet; give a file name, - or null")
        if files.count(os.path.realpath(name)) > 1:
            raise UsageError(f"{name}: the same output is given twice; leave one out")
    if args.json and "-" in args.outputs:
        raise UsageError("--json and the output - both want standard output; leave one out")
    if sys.stdout is None and (args.json or "-" in args.outputs):
        raise UsageError("standard output is closed; leave out --json and the output -")
