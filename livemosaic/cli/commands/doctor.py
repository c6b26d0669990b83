"""The subcommand `doctor`: checks this machine and prints how to fix what does not work."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ... import __version__
from ..console import print_json, print_lines

if TYPE_CHECKING:
    from ...doctor import CheckResult

_NAME_WIDTH = 16


def add_parser(subcommands: Any, **settings: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "doctor",
        help="check what this machine can do, and how to fix what does not work",
        description="Checks this machine in about 10 seconds: which parts work, which video it can "
        "process live, and what to type for a part that does not work. Exit code 0: livemosaic can "
        "run, 1: it cannot.",
        **settings,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    # As `run` does, before the import of NumPy: both must have the same speed.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ...doctor import run_checks

    results = []
    for result in run_checks():
        results.append(result)
        if not args.json:
            print_lines(_lines(result))
    problems = [result.name for result in results if result.state == "problem"]
    if args.json:
        print_json(
            {
                "version": __version__,
                "can_run": not problems,
                "duration_s": round(time.monotonic() - began, 1),
                "checks": [asdict(result) for result in results],
            }
        )
    else:
        print_lines(_summary(problems, sum(result.state == "warning" for result in results)))
    return 1 if problems else 0


def _lines(result: CheckResult) -> list[str]:
    """A result for people; the fix has a line of its own, to be copied."""
    lines = [f"{result.name.replace('_', ' '):<{_NAME_WIDTH}} {result.state:<8} {result.text}"]
    if result.fix:
        lines.append(f"{'':<{_NAME_WIDTH}} {'fix:':<8} {result.fix}")
    return lines


def _summary(problems: list[str], warnings: int) -> list[str]:
    if problems:
        return ["", f"not ready to run; fix first: {', '.join(problems)}"]
    count = f" ({warnings} warning{'' if warnings == 1 else 's'})" if warnings else ""
    return ["", f"ready to run{count}"]
