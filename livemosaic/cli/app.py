"""The command line: the parser, errors and exit codes. `commands` has a module per subcommand.

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted (outputs are finished first).
Nothing heavy is imported before the subcommand is known: `--help` must answer at once.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import __version__
from ..blocking import leave
from ..control.options import message
from ..errors import (
    LivemosaicError,
    OptionError,
    UsageError,
    did_you_mean,
    is_out_of_memory,
    problem_of,
)
from ..media.paths import ending
from ..media.urls import public_name
from ..sources import input_kind
from .commands import completion, demo, devices, doctor, gallery, run
from .console import (
    open_standard_files,
    print_error,
    print_notes,
    print_text,
    set_up_logging,
)
from .signals import INTERRUPTED, Interrupts

_log = logging.getLogger("livemosaic")

_FLAG = re.compile(r"--[a-z][a-z-]+")  # in a help
_CHOICE = re.compile(r"(?s).*invalid choice: '(.*)' \(choose from (.*)\)")  # argparse's message
_NUMBER = re.compile(r"-\d*\.?\d+")  # a value below 0, by argparse's rule


def main(argv: Sequence[str] | None = None, *, is_process: bool = False) -> int:
    """Run the command line; return the exit code. With `is_process` the process ends after that."""
    started_s = time.monotonic()
    open_standard_files()
    with Interrupts(to_the_end=is_process) as interrupts:
        code = _run_subcommand(argv, interrupts, started_s)
    return leave(code)


def _run_subcommand(argv: Sequence[str] | None, interrupts: Interrupts, started_s: float) -> int:
    """Run a subcommand; every error becomes one line and an exit code."""
    verbose = False
    try:
        args = _parse(argv)
        verbose, quiet = getattr(args, "verbose", False), getattr(args, "quiet", False)
        if verbose and quiet:
            raise UsageError("--verbose and --quiet exclude each other; use one of them")
        set_up_logging(verbose=verbose, quiet=bool(quiet))
        if args.subcommand is None:
            make_parser().print_help()
            return 0
        if args.subcommand == "run":
            return run.run(vars(args), args.input, args.outputs, interrupts, started_s)
        if args.subcommand == "demo":
            return demo.run(args, interrupts, started_s)
        if args.subcommand == "gallery":
            return gallery.run(args, interrupts)
        subcommands = {
            "devices": devices.run,
            "doctor": doctor.run,
            "completion": completion.run,
        }
        return subcommands[args.subcommand](args)
    except UsageError as error:
        print_error(message(error) if isinstance(error, OptionError) else error)
        return 2
    except LivemosaicError as error:
        print_error(error)
        return 1
    except KeyboardInterrupt:
        _log.info("%s", interrupts.outcome())
        return INTERRUPTED
    except Exception as error:
        if is_out_of_memory(error):
            print_error(f"{problem_of(error)}; choose a smaller --size or --scale")
            return 1
        if isinstance(error, RuntimeError) and "start new thread" in str(error):
            print_error("the system starts no more threads; end other programs, or raise its limit")
            return 1
        if verbose:
            print_notes(traceback.format_exc().splitlines())
        problem = problem_of(error)
        is_internal = problem.startswith("internal error")
        print_error(f"{problem}; run with -v for the details" if is_internal else problem)
        return 1
    finally:
        gc.enable()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    try:
        args, rest = make_parser().parse_known_args(argv)
    except UsageError:
        _check_names(sys.argv[1:] if argv is None else argv)
        raise
    _check_names(rest)
    unknown = [word for word in rest if word.startswith("-") and word != "-"]
    if unknown or (rest and args.subcommand != "run"):
        flags = _FLAG.findall(args.parser.format_help())
        near = (did_you_mean(word.partition("=")[0], flags) for word in unknown)
        hint = " ".join(filter(None, near)) or f"see {args.parser.prog} --help"
        raise UsageError(f"unknown: {' '.join(rest)}; {hint}")
    if rest:  # outputs behind options, which argparse leaves over
        args.outputs = [*args.outputs, *rest]
    _refuse_empty(args)
    return args


def _refuse_empty(args: argparse.Namespace) -> None:
    """Raise `UsageError` for an argument of no characters: as a path, it would be this folder."""
    for name, value in vars(args).items():
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            word = name.replace("_", "-")
            is_option = f"--{word}" in _FLAG.findall(args.parser.format_help())
            named = f"--{word}" if is_option else word.upper()
            problem = "it is empty; give it a value, or leave it out"
            raise UsageError(f"argument {named}: {problem}")


def _check_names(words: Sequence[str]) -> None:
    """Raise `UsageError` for a name of a file that argparse reads as an option."""
    for word in words:
        if word == "--":
            return
        if word.startswith("-") and "=" not in word and not _NUMBER.fullmatch(word):
            named = word not in ("-", "-v", "-y") and os.path.lexists(word)
            if named or os.path.splitext(word)[1]:
                raise UsageError(f"{word}: not an option; if it is a file, write ./{word}")


class _Parser(argparse.ArgumentParser):
    """A parser with errors of one line and without abbreviations, which new options could break."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self.set_defaults(parser=self)  # a subcommand's overrides it

    def error(self, message: str) -> NoReturn:
        hint = ""
        if choice := _CHOICE.fullmatch(message):
            word, choices = choice[1], re.findall(r"[\w-]+", choice[2])
            hint = did_you_mean(word, choices)
            is_input = ending(word) or input_kind(word) != "file" or os.path.exists(word)
            if not hint and is_input and "run" in choices:
                message = message.replace(word, public_name(word), 1)
                hint = f"did you mean {self.prog} run {public_name(word)}?"
        raise UsageError(f"{message}; {hint or f'see {self.prog} --help'}")

    def print_help(self, file: object = None) -> None:
        print_text(self.format_help())


class _Version(argparse.Action):
    """Prints the version; argparse's own action hides that it could not."""

    def __init__(self, option_strings: Sequence[str], **settings: Any) -> None:
        super().__init__(option_strings, nargs=0, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print_text(f"livemosaic {__version__}\n")
        parser.exit()


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    common = _Parser(add_help=False)
    common.add_argument("-v", "--verbose", action="store_true", help="print more details")
    parser = _Parser(
        prog="livemosaic",
        description="Turns live video into photomosaics, in a window, as a virtual camera or in "
        "a file,\nwithin a latency limit that you choose. Also for video files and pictures.",
        epilog=run.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = "show program's version number and exit"
    parser.add_argument("--version", action=_Version, dest=argparse.SUPPRESS, help=text)
    subcommands = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND")
    for module in (run, demo, doctor, gallery, devices, completion):
        module.add_parser(subcommands, parents=[common])
    return parser
