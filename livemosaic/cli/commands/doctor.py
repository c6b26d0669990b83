"""The subcommand `doctor`: checks this machine and prints how to fix what does not work."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...errors import counted
from ..console import print_json, print_lines

if TYPE_CHECKING:
    from ...doctor import CheckResult
    from ...doctor.latency import Latency

_NAME_WIDTH = 16


def add_parser(subcommands: Any, **settings: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "doctor",
        help="check what this machine can do, and how to fix what does not work",
        description="Checks this machine in about 10 seconds: which parts work, which video it can "
        "process live, and what to type for a part that does not work. Exit code 0: livemosaic can "
        "run, 1: it cannot. With --latency it measures how late the picture is; for that, a small "
        "square in a window flashes about once a second.",
        **settings,
    )
    parser.add_argument(
        "--latency",
        metavar="INPUT",
        nargs="?",
        const="screen",
        help="measure how late the picture of a live input is in the window, by flashes that it "
        "sees: screen (the default), or webcam, if you point it at the flashing square",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    # As `run` does, before the import of NumPy: both must have the same speed.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if args.latency is not None:
        return _measure_latency(args, began)
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


def _measure_latency(args: argparse.Namespace, began_s: float) -> int:
    from ...doctor.latency import measure_latency

    found = measure_latency(args.latency)
    if args.json:
        facts = {**asdict(found), "microphone_delay_ms": found.microphone_delay_ms}
        took_s = round(time.monotonic() - began_s, 1)
        print_json({"version": __version__, "duration_s": took_s, **facts})
    else:
        print_lines(_latency_lines(found))
    return 0


def _latency_lines(found: Latency) -> list[str]:
    latency, since_capture = found.latency_ms, found.since_capture_ms
    text = f"{latency['p50']:.0f} ms (p95 {latency['p95']:.0f}), from light to light"
    if found.governor:
        text += f", with {found.governor}"
    lines = {
        "input": f"{found.input}, {found.width}x{found.height} at {found.rate:g}",
        "latency": text,
        "since capture": f"{since_capture['p50']:.0f} ms (p95 {since_capture['p95']:.0f}) of it",
        "changes": f"{found.changes} seen, {found.lost} lost",
        "microphone": f"delay it by {found.microphone_delay_ms} ms to match the picture",
    }
    return [f"{name:<{_NAME_WIDTH}} {text}" for name, text in lines.items()]


def _lines(result: CheckResult) -> list[str]:
    """A result for people; the fix has a line of its own, to be copied."""
    lines = [f"{result.name.replace('_', ' '):<{_NAME_WIDTH}} {result.state:<8} {result.text}"]
    if result.fix:
        lines.append(f"{'':<{_NAME_WIDTH}} {'fix:':<8} {result.fix}")
    return lines


def _summary(problems: list[str], warnings: int) -> list[str]:
    if problems:
        return ["", f"not ready to run; fix first: {', '.join(problems)}"]
    count = f" ({counted(warnings, 'warning')})" if warnings else ""
    return ["", f"ready to run{count}"]
