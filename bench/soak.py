"""Ten minutes of live use: does anything grow?

    python bench/soak.py --film FILM [--seconds 600]

The test picture at 30 frames/s, and FILM (any long clip) played as if it were live, run side by
side. Memory, latency, threads and open files of the first and the last minute are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from common import ROOT, machine, median, table
from live import CHILD

Row = tuple[str, str, str]

FIGURES = {
    "rss_mb": ("memory", "MB"),
    "p50_ms": ("latency p50", "ms"),
    "p95_ms": ("latency p95", "ms"),
    "fps": ("rate", "frames/s"),
    "threads": ("threads", ""),
    "descriptors": ("open files", ""),
}


def rows(name: str, result: Any) -> list[Row]:
    """First minute against last minute, without the first seconds."""
    series = result["series"][5:]
    part = max(1, min(60, len(series) // 3))
    lines = []
    for key, (words, unit) in FIGURES.items():
        first = median([second[key] for second in series[:part]])
        last = median([second[key] for second in series[-part:]])
        lines.append((f"{name}: {words}", f"{first:g} to {last:g} {unit}".strip(), "flat"))
    report = result["report"]
    text = f"{report['frames_out']} of {report['frames_in']}, {report['dropped']} dropped"
    return [*lines, (f"{name}: frames", text, "")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--film", required=True, help="a long clip")
    parser.add_argument("--seconds", type=float, default=600)
    args = parser.parse_args()
    print(machine())
    runs = {"pattern": "pattern:1280x720@30", "film": str(Path(args.film).resolve())}
    children = {
        name: subprocess.Popen(
            [*CHILD, source, "null", "--duration", str(args.seconds)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for name, source in runs.items()
    }
    lines: list[Row] = []
    for name, child in children.items():
        output, _ = child.communicate()
        lines += rows(name, json.loads(output))
    print(table(lines))


if __name__ == "__main__":
    main()
