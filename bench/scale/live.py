"""A minute live, 1280x720 at 30 frames/s in tiles of 16 pixels: on an idle machine, then with one
core taken by another process.

CLIP is played again and again as if it were live, by bench/live_child.py. The memory is the highest
of the process's own, without what is mapped from files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from bench.common import ROOT, clip, governor_s, one_core_taken, run

from .results import Row, add_sizes, galleries, save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sizes(parser)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", choices=("idle", "busy"))


def main(args: argparse.Namespace) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        film = Path(name) / "film.mp4"
        clip(args.clip, film, filters="scale=1280:720", rate=30, loop=3)
        for tiles, path in galleries(args).items():
            for load in ("idle", "busy"):
                if args.only in (None, load):
                    row = once(path, film, args.seconds, busy=load == "busy")
                    rows.append({"tiles": tiles, "load": load, **row})
    save(args.work, "live", rows)


def once(gallery: Path, film: Path, seconds: float, *, busy: bool) -> Row:
    """Latency, drops, the governor's steps, processor time and memory of one run."""
    child = [sys.executable, str(ROOT / "bench" / "live_child.py"), str(film), "null"]
    child += ["--tile", "16", "--scale", "1", "--duration", str(seconds)]
    with one_core_taken() if busy else contextlib.nullcontext():
        done = run([*child, "--gallery", str(gallery)], env={"PYTHONPATH": str(ROOT)})
    made = json.loads(done.output)
    report, series = made["report"], made["series"]
    latency = report["sinks"][0]["latency_ms"]
    return {
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "fps": report["fps"],
        "frames": report["frames_in"],
        "dropped": report["dropped"],
        "governed_s": governor_s(report),
        "cpu_s": series[-1]["cpu_s"],
        "private_mb": max(second["private_mb"] for second in series),
        "resident_mb": max(second["rss_mb"] for second in series),
    }
