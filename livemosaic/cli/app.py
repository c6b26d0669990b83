"""The command line: words, errors and exit codes. Each verb has a module in `commands`.

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted (the output is finished first).
Nothing heavy is imported before the verb is known: `--help` must answer at once.
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
from ..errors import LivemosaicError, OptionError, UsageError
from .commands import demo, devices, doctor, gallery, run
from .console import open_standard_files, print_error, set_up_logging
from .signals import Interrupts

__all__ = ["main"]

_log = logging.getLogger("livemosaic")

_NUMBER = re.compile(r"-\d*\.?\d+")  # a value below 0, as argparse knows it


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
            return run.run(vars(args), args.input, args.outputs, interrupts, started_s)
        if args.verb == "demo":
            return demo.run(args, interrupts, started_s)
        if args.verb == "devices":
            return devices.run(args)
        if args.verb == "doctor":
            return doctor.run(args)
        return gallery.run(args)
    except UsageError as error:
        print_error(message(error) if isinstance(error, OptionError) else error)
        return 2
    except LivemosaicError as error:
        print_error(error)
        return 1
    except KeyboardInterrupt:
        _log.info("interrupted: nothing was written")
        return 130
    except MemoryError:
        print_error("there is not enough memory; choose a smaller --size or --scale")
        return 1
    except Exception as error:
        if isinstance(error, FileNotFoundError) and _folder_is_gone():
            print_error("the current folder does not exist any more; go to one that does")
            return 1
        if verbose:
            traceback.print_exc()
        print_error(f"internal error: {type(error).__name__}: {error}; run with -v for the details")
        return 1
    finally:
        gc.enable()


def _folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    try:
        args, rest = _parser().parse_known_args(argv)
    except UsageError:
        _check_names(sys.argv[1:] if argv is None else argv)
        raise
    _check_names(rest)
    unknown = [word for word in rest if word.startswith("-") and word != "-"]
    if unknown or (rest and args.verb != "run"):
        raise UsageError(f"unknown: {' '.join(rest)}; see livemosaic {args.verb} --help")
    if rest:  # argparse does not take outputs up again behind options
        args.outputs += rest
    return args


def _check_names(words: Sequence[str]) -> None:
    """Raise `UsageError` for the name of a file that argparse takes for an option."""
    for word in words:
        if word == "--":
            return
        if word.startswith("-") and "=" not in word and not _NUMBER.fullmatch(word):
            named = word not in ("-", "-v", "-y") and os.path.lexists(word)
            if named or os.path.splitext(word)[1]:
                raise UsageError(f"{word}: it is read as an option; if it is a file, say ./{word}")


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
        epilog=run.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"livemosaic {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run.add_parser(verbs, parents=[common])
    demo.add_parser(verbs, parents=[common])
    doctor.add_parser(verbs, parents=[common])
    gallery.add_parser(verbs, parents=[common])
    devices.add_parser(verbs, parents=[common])
    return parser
