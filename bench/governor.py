"""The governor over recorded latency traces: the frames shown, their latency, and the steps.

    python -m bench.governor                            simulate it over the traces in bench/traces
    python -m bench.governor record NAME [--seconds 60] record a trace, one of those below, again

A trace has a row for each frame of a live run without a governor: when it was captured, how long it
waited for the mosaic's thread to run, the mosaic's work by the clock and in processor time, and the
time until the output had it, all in tenths of a millisecond. Its first line has the processor time
of a typical frame with each of the governor's steps.

The simulation replays them with the real governor. Its model: the waits are those of the machine
and stay as they were; the work shrinks with the step, by the clock as in processor time, because a
thread loses its processor in proportion to the time for which it needs one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from livemosaic.pipeline.governor import STEPS, Governor

FOLDER = Path(__file__).parent / "traces"
CLIP = Path(__file__).parent.parent / "livemosaic" / "demo" / "bigbuckbunny.mp4"
LIMIT_S = 0.1
UNIT_S = 1e-4
STEP_S = 5.0  # for the processor time with a step


@dataclass(frozen=True)
class Scene:
    """What is recorded: an input, the size and tiles of the mosaic, and other processes."""

    source: str
    size: tuple[int, int]
    tile_px: int
    busy: int = 0  # processes that compute without a pause
    busy_part: tuple[float, float] = (0, 1)  # of the time, when they do


LIGHT = ("pattern:640x360@15", (640, 360), 32)
SCENES = {
    "idle": Scene(*LIGHT),
    "core-taken": Scene(*LIGHT, busy=1),
    "six-busy": Scene(*LIGHT, busy=6),
    "six-busy-hd": Scene("film", (1280, 720), 16, busy=6),
    "overload": Scene("cuts", (2560, 1440), 8),
    "load-step": Scene("cuts", (1280, 720), 16, busy=4, busy_part=(1 / 3, 2 / 3)),
}


# ---- simulation --------------------------------------------------------------------------


@dataclass(frozen=True)
class Trace:
    """See the module; `rows` are captured, wait, work, cpu, after, in seconds."""

    interval_s: float
    step_cpu_s: list[float]
    rows: list[tuple[float, ...]]

    @classmethod
    def read(cls, path: Path) -> Trace:
        head, *lines = path.read_text().splitlines()
        about = json.loads(head)
        rows = [tuple(int(word) * UNIT_S for word in line.split(",")) for line in lines]
        return cls(about["interval_s"], about["step_cpu_s"], rows)

    def work_share(self, number: int) -> float:
        """The work with a step as a share of that at full quality."""
        return min(1.0, self.step_cpu_s[number] / self.step_cpu_s[0])


@dataclass
class Outcome:
    """The frames that were shown, and the seconds for which each step was in use."""

    frames: int
    latencies_s: list[float] = field(default_factory=list)
    step_s: list[float] = field(default_factory=lambda: [0.0] * len(STEPS))
    changes: int = 0

    def text(self) -> str:
        shown = len(self.latencies_s)
        p50, p95 = (1e3 * np.percentile(self.latencies_s, percent) for percent in (50, 95))
        steps = ", ".join(
            f"{step.description or 'full quality'} {seconds:.0f} s"
            for step, seconds in zip(STEPS, self.step_s, strict=True)
            if seconds >= 0.5
        )
        share = shown / self.frames
        return (
            f"{shown} of {self.frames} ({share:.0%}) | {p50:.1f} | {p95:.1f} | {steps} | "
            f"{self.changes}"
        )


def simulate(trace: Trace, governor: Any) -> Outcome:
    """Replay a trace; the governor is None for none."""
    outcome = Outcome(len(trace.rows))
    free_s = latest_s = 0.0  # when the mosaic's thread is free; the latency of the newest frame
    for number, (captured_s, wait_s, work_s, cpu_s, after_s) in enumerate(trace.rows):
        step = governor.number if governor is not None else 0
        outcome.step_s[step] += trace.interval_s
        start_s = max(captured_s, free_s) + wait_s
        if number + 1 < len(trace.rows) and trace.rows[number + 1][0] <= start_s:
            continue  # the next frame takes its place
        if governor is not None and not governor.accepts(captured_s):
            continue
        share = trace.work_share(step)
        free_s = start_s + share * work_s
        if governor is not None and governor.observe(
            free_s, latency_s=latest_s, work_s=share * work_s, **_cpu(governor, share * cpu_s)
        ):
            outcome.changes += 1
        latest_s = free_s + after_s - captured_s
        outcome.latencies_s.append(latest_s)
    return outcome


def _cpu(governor: Any, cpu_s: float) -> dict[str, float]:
    """The processor time, for governors that take it: earlier versions did not."""
    return {"cpu_s": cpu_s} if "cpu_s" in governor.observe.__code__.co_varnames else {}


def table() -> str:
    lines = [
        "| trace | governor | frames shown | p50, ms | p95, ms | seconds of each step | changes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in SCENES:
        path = FOLDER / f"{name}.csv"
        if not path.exists():
            continue
        trace = Trace.read(path)
        governor = Governor(max_latency_s=LIMIT_S, interval_s=trace.interval_s)
        for label, used in (("none", None), ("this", governor)):
            lines.append(f"| {name} | {label} | {simulate(trace, used).text()} |")
    return "\n".join(lines)


# ---- recording ---------------------------------------------------------------------------


@contextlib.contextmanager
def busy(count: int, from_s: float, to_s: float) -> Iterator[None]:
    """Other processes that compute without a pause, from and to these seconds."""
    over = threading.Event()

    def work() -> None:
        over.wait(from_s)
        command = [sys.executable, "-c", "while True: pass"]
        processes = [subprocess.Popen(command) for _ in range(count)]
        over.wait(to_s - from_s)
        for process in processes:
            process.kill()
            process.wait()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def clip(path: Path, size: tuple[int, int], seconds: float, *, every: int) -> Path:
    """A clip at 30 frames/s of each so many frames of the demo: with 12, every picture is new."""
    filters = f"select=not(mod(n\\,{every})),setpts=N/30/TB,scale={size[0]}:{size[1]}"
    command = ["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", str(CLIP), "-an"]
    command += ["-vf", filters, "-r", "30", "-t", str(seconds), "-c:v", "libx264"]
    subprocess.run([*command, "-preset", "ultrafast", "-crf", "20", str(path)], check=True)
    return path


def play(scene: Scene, source: str, seconds: float, step: int = 0) -> tuple[float, list[Any]]:
    """Run a pipeline with one step all the time; its interval, and the rows of its frames."""
    import cv2

    from livemosaic.media.frame import Frame, TrackPacket
    from livemosaic.mosaic.mosaic import Mosaic
    from livemosaic.mosaic.settings import MosaicSettings
    from livemosaic.pipeline import Pipeline
    from livemosaic.sinks import Sink
    from livemosaic.sources import open_source

    rows: dict[float, list[float]] = {}
    ends: dict[float, float] = {}

    class Measured(Mosaic):
        def process(self, frame: Any, *, max_cells: int | None = None, **options: Any) -> Any:
            began_s, began_cpu_s = time.monotonic(), time.thread_time()
            cells = round(grid.cells * STEPS[step].cell_share)
            picture = super().process(frame, max_cells=max(1, cells), **options)
            cpu_s, ends[frame.captured_s] = time.thread_time() - began_cpu_s, time.monotonic()
            work_s = ends[frame.captured_s] - began_s
            waited_s = began_s - max([frame.captured_s, *list(ends.values())[-2:-1]])
            rows[frame.captured_s] = [waited_s, work_s, cpu_s]
            return picture

    class Display(Sink):
        name, needs_every_frame = "null", False

        def write(self, item: Frame | TrackPacket) -> None:
            if isinstance(item, Frame):
                rows[item.captured_s].append(time.monotonic() - ends[item.captured_s])

    cv2.setNumThreads(1)
    opened = open_source(source)
    info = opened.info
    tile_px = scene.tile_px * STEPS[step].tile_factor
    settings = MosaicSettings(tile_px=tile_px, size=scene.size, for_screen=True)
    mosaic = Measured("photos", settings)
    grid = mosaic.plan(info.width, info.height)
    mosaic.update_settings(settings.for_grid(grid))
    mosaic.warm_up(info.width, info.height, info.colour)
    pipeline = Pipeline(opened, mosaic, [Display()], realtime=True, duration_s=seconds)
    pipeline.run()
    whole = [(at_s, *row) for at_s, row in sorted(rows.items()) if len(row) == 4]
    return float(1 / info.rate), whole


def record(name: str, seconds: float) -> None:
    """Record one trace; the first second, with its cold caches, is left out."""
    Governor.observe = lambda *_, **__: False  # type: ignore[method-assign]
    scene = SCENES[name]
    with tempfile.TemporaryDirectory() as folder:
        source = scene.source
        if source in ("cuts", "film"):
            path, every = Path(folder) / "clip.mp4", 12 if source == "cuts" else 1
            source = str(clip(path, scene.size, seconds + 2, every=every))
        step_cpu_s = []
        for step, _ in enumerate(STEPS):
            if STEPS[step].every == 1:
                _, rows = play(scene, source, STEP_S, step)
                step_cpu_s.append(statistics.median(row[3] for row in rows))
            else:  # the same work, for fewer frames
                step_cpu_s.append(step_cpu_s[-1])
        part = [1 + share * seconds for share in scene.busy_part]
        with busy(scene.busy, part[0] - 1 if part[0] == 1 else part[0], part[1]):
            interval_s, rows = play(scene, source, seconds + 1)
    began_s = rows[0][0]
    kept = [row for row in rows if row[0] - began_s >= 1]
    FOLDER.mkdir(exist_ok=True)
    about = {"interval_s": round(interval_s, 6), "step_cpu_s": [round(s, 6) for s in step_cpu_s]}
    lines = [json.dumps(about)]
    for at_s, *durations in with_dropped(kept, interval_s):
        values = [at_s - began_s - 1, *durations]
        lines.append(",".join(str(max(0, round(value / UNIT_S))) for value in values))
    (FOLDER / f"{name}.csv").write_text("\n".join(lines) + "\n")


def with_dropped(rows: list[Any], interval_s: float) -> Iterator[tuple[float, ...]]:
    """The rows with those of dropped frames: the work of the frame before, and a typical wait."""
    wait_s, after_s = (statistics.median(row[n] for row in rows) for n in (1, 4))
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        yield row
        if following is not None:
            for number in range(1, round((following[0] - row[0]) / interval_s)):
                cpu_s = row[3]
                yield row[0] + number * interval_s, wait_s, cpu_s, cpu_s, after_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("record", nargs="*", metavar="record NAME")
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    for name in args.record[1:] or (SCENES if args.record else ()):
        record(name, args.seconds)
    if not args.record:
        print(table())


if __name__ == "__main__":
    main()
