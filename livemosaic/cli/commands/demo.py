"""The verb `demo`: the embedded clip, to see that it works."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

from ...control.options import add_options
from ...sinks import parse_output
from ..signals import Interrupts
from . import run as run_command

__all__ = ["add_parser", "run"]

_log = logging.getLogger("livemosaic")

_CLIP = Path(__file__).parents[2] / "demo" / "bigbuckbunny.mp4"
_OUTPUT = "livemosaic-demo.mp4"
_OPTIONS = ("overwrite", "config", "no_config", "json", "quiet", "progress")

_NEXT = """\
  livemosaic run webcam window              yourself, live; press ? in it
  livemosaic run webcam vcam                in a video call
  livemosaic run YOUR.mp4 mosaic.mp4        your own video
  livemosaic run YOUR.jpg mosaic.png        your own picture
  livemosaic run YOUR.mp4 out.mp4 --gallery ~/Pictures
                                            made of your own photos
  livemosaic doctor                         what this machine has and can do
  livemosaic run --help                     everything else"""


def add_parser(verbs: Any, **settings: Any) -> None:
    """Add the verb to the result of `ArgumentParser.add_subparsers`."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "demo", help="render the embedded clip, to see that it works", **settings
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        nargs="?",
        help=f"where to: a file, or window ({_OUTPUT}, replaced if it is there)",
    )
    add_options(parser, names=_OPTIONS)


def run(args: argparse.Namespace, interrupts: Interrupts, started_s: float) -> int:
    """Run the embedded clip and say what to try next; the exit code."""
    output = args.output or _OUTPUT
    # The default name is the program's own; what somebody names may be theirs.
    overwrite = True if args.output is None else args.overwrite
    arguments = vars(args) | {"overwrite": overwrite}
    code = run_command.run(arguments, str(_CLIP), [output], interrupts, started_s)
    if code == 0:
        if not parse_output(output).is_display:
            _log.info("the demo is in %s", output)
        _log.info("next:\n%s", _NEXT.replace("livemosaic", _program()))
    return code


def _program() -> str:
    """What to type for this program: just after its installation it may not be on the PATH."""
    if shutil.which("livemosaic") is not None:
        return "livemosaic"
    called = Path(sys.argv[0])
    return str(called) if called.stem == "livemosaic" else f"{sys.executable} -m livemosaic"
