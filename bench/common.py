"""Helpers of the benchmarks: the machine in words, child processes measured, medians, a table."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "livemosaic" / "demo" / "bigbuckbunny.mp4"


def machine() -> str:
    """Processor, load, commit and versions: a figure means nothing without them."""
    model = platform.processor() or "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    packages = ("numpy", "opencv-python", "numba", "av", "scikit-learn")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    load = f"load {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model}, {os.cpu_count()} cores, {load}, Python {platform.python_version()}, "
        f"{versions}, commit {commit}"
    )


@dataclass(frozen=True)
class Run:
    """One child process, measured from outside."""

    seconds: float
    cpu_s: float
    peak_rss_mb: float
    output: str


def run(command: Sequence[str], *, env: dict[str, str] | None = None) -> Run:
    """Run a command to its end; a failure ends the benchmark."""
    began = time.perf_counter()
    with subprocess.Popen(
        list(command), stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    ) as child:
        assert child.stdout is not None
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {child.returncode}")
    return Run(
        time.perf_counter() - began,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024 / 1e6,
        output,
    )


def livemosaic(*args: str) -> list[str]:
    """The command line of this tree's program, silent."""
    return [sys.executable, "-m", "livemosaic", *args]


def clip(source: Path, target: Path, *, filters: str, rate: int, loop: int = 0) -> Path:
    """Make a clip whose frames come at another rate: none is repeated or left out."""
    command = ["ffmpeg", "-v", "error", "-y", "-r", str(rate), "-stream_loop", str(loop)]
    command += ["-i", str(source), "-an", "-vf", filters, "-r", str(rate), "-c:v", "libx264"]
    subprocess.run([*command, "-preset", "veryfast", "-crf", "20", str(target)], check=True)
    return target


@contextlib.contextmanager
def one_core_taken() -> Iterator[None]:
    """Another process computes without a pause."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            yield
        finally:
            busy.kill()


def governor_s(report: Any) -> dict[str, float]:
    """The duration of each of the governor's steps, in seconds."""
    from livemosaic.pipeline.governor import STEPS

    changes = report["governor"]["changes"]
    ends = [change["at_s"] for change in changes[1:]] + [report["duration_s"]]
    durations: dict[str, float] = {}
    for change, end in zip(changes, ends, strict=False):  # without changes there is one end, too
        if change["step"]:
            step = STEPS[change["step"]].description
            durations[step] = durations.get(step, 0.0) + end - change["at_s"]
    return durations


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    """Rows of (work, figure, bar) as Markdown."""
    lines = ["| work | figure | bar |", "|---|---|---|"]
    return "\n".join(lines + [f"| {work} | {figure} | {bar} |" for work, figure, bar in rows])
