"""The verb `doctor`: what this machine has, what it lacks, what it can hold, and every cure."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING, Any

from ... import __version__
from ..console import print_json, print_text

if TYPE_CHECKING:
    from ...doctor import CheckResult

__all__ = ["add_parser", "run"]

_NAME_WIDTH = 16


def add_parser(verbs: Any, **settings: Any) -> None:
    """Add the verb to the result of `ArgumentParser.add_subparsers`."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "doctor",
        help="look what this machine has and can do, and how to cure what is wrong",
        description="Looks what this machine has and what it can hold live, in about 10 seconds, "
        "and says what to type for what is wrong. Exit code 0: it can run, 1: it cannot.",
        **settings,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Ask everything; the exit code."""
    began = time.monotonic()
    # As `run` does, before NumPy is imported: what is measured has to be what will be had.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ...doctor import run_checks

    findings = []
    for finding in run_checks():
        findings.append(finding)
        if not args.json:
            print_text(_lines(finding))
    able = all(finding.state != "problem" for finding in findings)
    if args.json:
        print_json(
            {
                "version": __version__,
                "can_run": able,
                "duration_s": round(time.monotonic() - began, 1),
                "checks": [finding.as_json() for finding in findings],
            }
        )
    else:
        print_text(_summary(findings))
    return 0 if able else 1


def _lines(finding: CheckResult) -> str:
    """A finding for people; the cure on a line of its own, to be copied."""
    text = f"{finding.name.replace('_', ' '):<{_NAME_WIDTH}} {finding.state:<8} {finding.text}\n"
    if finding.cure:
        text += f"{'':<{_NAME_WIDTH}} {'cure:':<8} {finding.cure}\n"
    return text


def _summary(findings: list[CheckResult]) -> str:
    problems = [finding.name for finding in findings if finding.state == "problem"]
    if problems:
        return f"\nit cannot run before this is cured: {', '.join(problems)}\n"
    warnings = sum(finding.state == "warning" for finding in findings)
    return f"\nit can run{f'; {warnings} to look at' if warnings else ''}\n"
