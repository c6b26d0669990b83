"""The engine alone: until workers are there, tasks that do nothing, and the end.

Times are medians of some runs. An engine of `processes` starts each of them with its first task.
"""

from __future__ import annotations

import argparse
import time

from bench.common import median
from livemosaic.cluster.engine import open_engine

from .results import Row, save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)


def main(args: argparse.Namespace) -> None:
    rows = []
    for kind in ("processes", "local"):
        for workers in args.workers:
            runs = [once(kind, workers, args.tasks) for _ in range(args.repeat)]
            row = {name: round(median([it[name] for it in runs]), 4) for name in runs[0]}
            rows.append({"engine": kind, "workers": workers, **row})
    save(args.work, "engine", rows)


def once(kind: str, workers: int, tasks: int) -> Row:
    """Seconds of one run."""
    began = time.perf_counter()
    where = f"local:{workers}" if kind == "local" else None
    with open_engine(where, workers=None if where else workers) as engine:
        opened = time.perf_counter()
        next(engine.run(abs, [-1]))
        first = time.perf_counter()
        for _ in engine.run(abs, range(tasks)):
            pass
        done = time.perf_counter()
    closed = time.perf_counter()
    return {
        "open_s": opened - began,
        "first_task_s": first - opened,
        "task_s": (done - first) / tasks,
        "close_s": closed - done,
    }
