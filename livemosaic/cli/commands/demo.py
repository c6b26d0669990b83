"""The subcommand `demo`: the included clip, to see that livemosaic works."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

from ...sinks import parse_output
from ..arguments import add_options, completed_as_file
from ..console import print_notes
from ..signals import Interrupts
from . import run as run_command

_log = logging.getLogger("livemosaic")

_CLIP = Path(__file__).parents[2] / "demo" / "bigbuckbunny.mp4"
_OUTPUT = "livemosaic-demo.mp4"
_OPTIONS = ("overwrite", "config", "no_config", "json", "quiet", "progress")

_NEXT = {
    "run webcam window": "yourself, live; press ? for the keys",
    "run webcam vcam": "in a video call",
    "run YOUR.mp4 mosaic.mp4": "your own video",
    "run YOUR.jpg mosaic.png": "your own picture",
    "run YOUR.mp4 out.mp4 --gallery ~/Pictures": "made of your own photos",
    "doctor": "check what this machine can do",
    "run --help": "everything else",
}


def add_parser(subcommands: Any, **settings: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "demo",
        help="turn the included clip into a photomosaic, to see that it works",
        description="Turns the included clip into a photomosaic, to see that livemosaic works.",
        **settings,
    )
    output = parser.add_argument(
        "output",
        metavar="OUTPUT",
        nargs="?",
        help=f"a file, or window (default: {_OUTPUT}, which is replaced if it exists)",
    )
    completed_as_file(output)
    add_options(parser, names=_OPTIONS)


def run(args: argparse.Namespace, interrupts: Interrupts, started_s: float) -> int:
    output = args.output or _OUTPUT
    # The default name is the program's own; a file with another name may be the user's.
    arguments = vars(args) | {"overwrite": True if args.output is None else args.overwrite}
    code = run_command.run(arguments, str(_CLIP), [output], interrupts, started_s)
    if code == 0:
        if not parse_output(output).is_display:
            _log.info("the demo is in %s", output)
        if not args.quiet:
            print_notes(["next:", *_next_lines(_program())])
    return code


def _next_lines(program: str) -> list[str]:
    width = max(map(len, _NEXT))
    return [f"  {program} {words:{width}}  {meaning}" for words, meaning in _NEXT.items()]


def _program() -> str:
    """The command to start this program: just after its installation PATH may not have it."""
    if shutil.which("livemosaic") is not None:
        return "livemosaic"
    called = Path(sys.argv[0])
    return str(called) if called.stem == "livemosaic" else f"{sys.executable} -m livemosaic"
