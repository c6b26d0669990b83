"""File to file: speed, processor time, memory and start-up, each beside what it is compared with.

    python bench/files.py [--repeat N] [--long CLIP] [--only encode,null,memory,start]

Runs that are compared alternate, and figures are medians, because machines are noisy.
`--long` names a longer clip for the memory row (the table's is the 1,323-frame trailer).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import CLIP, ROOT, livemosaic, machine, median, run, table

X264 = ("--codec", "libx264", "--preset", "ultrafast", "--crf", "23")
FRAMES = 132

Row = tuple[str, str, str]


def encode(folder: Path, repeat: int) -> list[Row]:
    """End to end with x264, against ffmpeg re-encoding the result, and the plain reference.

    Each program has made a frame or two just before, so that its files are in the page cache: a
    machine may take them out of it while the others run, and then all but ffmpeg, which is small,
    would be measured reading libraries from the disk (up to 0.6 s).
    """
    out, again = folder / "mosaic.mp4", folder / "again.mp4"
    ours, theirs, ffmpeg_cpu, our_cpu, peaks = [], [], [], [], []
    for _ in range(repeat):
        command = livemosaic(
            "run", str(CLIP), str(out), "-y", "--profile", "reference", *X264, "--quiet", "--json"
        )
        run([*command, "--duration", "0.1"])
        result = run(command)
        report = json.loads(result.output)
        assert report["frames_out"] == FRAMES
        # Start-up is ffmpeg's too: both whole, from the first instruction to the last.
        ours.append(FRAMES / result.seconds)
        our_cpu.append(result.cpu_s / FRAMES)
        peaks.append(result.peak_rss_mb)
        if shutil.which("ffmpeg"):
            command = ["ffmpeg", "-v", "error", "-y", "-i", str(out), "-an", "-c:v", "libx264"]
            command += ["-preset", "ultrafast", "-crf", "23"]
            run([*command, "-frames:v", "2", str(again)])
            result = run([*command, str(again)])
            theirs.append(FRAMES / result.seconds)
            ffmpeg_cpu.append(result.cpu_s / FRAMES)
    rows = [
        (
            f"{FRAMES} frames of 720p to 5120x2880, profile reference, x264 ultrafast crf 23",
            f"{median(ours):.1f} frames/s, {1e3 * median(our_cpu):.0f} ms of CPU per frame",
            "",
        ),
        ("peak memory of the same", f"{median(peaks):.0f} MB", "700 MB"),
    ]
    if theirs:
        ratio = median([a / b for a, b in zip(ours, theirs, strict=True)])
        rows.append(
            (
                "the same, to ffmpeg re-encoding the result",
                f"{ratio:.2f} ({median(theirs):.1f} frames/s, "
                f"{1e3 * median(ffmpeg_cpu):.0f} ms of CPU per frame)",
                "0.9, aim 1.2",
            )
        )
    command = [sys.executable, str(ROOT / "bench" / "reference.py"), str(CLIP), str(again)]
    for words, threads, bar in (("", "1", "8"), (", its encoder on all cores", "0", "")):
        rates = []
        for _ in range(max(1, repeat // 3)):
            run([*command, *X264, "--threads", threads, "--frames", "2"])
            rates.append(FRAMES / run([*command, *X264, "--threads", threads]).seconds)
        ratio = median(ours) / median(rates)
        rows.append(
            (
                f"the same, to bench/reference.py{words}",
                f"{ratio:.1f} ({median(rates):.2f} frames/s)",
                bar,
            )
        )
    return rows


# Measured in a process of its own: the steady state, without imports and the first picture.
_NULL = """
import json, sys, time
import cv2
from livemosaic.control.options import resolve
from livemosaic import Mosaic
from livemosaic.pipeline import Pipeline
from livemosaic.sinks import open_sink
from livemosaic.sources import open_source
cv2.setNumThreads(1)  # as the command line does
settings = resolve({"profile": "reference"}).mosaic
for again in range(2):  # the first run loads the kernels
    source = open_source(sys.argv[1])
    mosaic = Mosaic("photos", settings)
    pipeline = Pipeline(source, mosaic, [open_sink("null", source.info)])
    cpu, wall = time.process_time(), time.perf_counter()
    pipeline.run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    source.close()
frames = pipeline.progress.frames_out
print(json.dumps([frames / wall, 1e3 * cpu / frames]))
"""

_OPENCV = """
import json, sys, time
import cv2
cv2.setNumThreads(int(sys.argv[2]))
capture, frames = cv2.VideoCapture(sys.argv[1]), []
while True:
    ok, frame = capture.read()
    if not ok:
        break
    frames.append(frame)
mosaic = cv2.resize(frames[0], None, fx=4, fy=4)
big, out = mosaic.copy(), mosaic.copy()
cpu = time.process_time()
for frame in frames:
    cv2.resize(frame, None, big, 4, 4)
    cv2.addWeighted(big, 0.5, mosaic, 0.5, 0, out)
print(json.dumps(1e3 * (time.process_time() - cpu) / len(frames)))
"""


def null(folder: Path, repeat: int) -> list[Row]:
    """Without an encoder: frames/s, and CPU against two OpenCV calls on frames in memory."""
    rates, ours, theirs = [], [], []
    for _ in range(repeat):
        rate, cpu = json.loads(run([sys.executable, "-c", _NULL, str(CLIP)]).output)
        rates.append(rate)
        ours.append(cpu)
        # The cheaper of OpenCV's ways; its decoding is not counted, ours is.
        theirs.append(
            min(
                json.loads(run([sys.executable, "-c", _OPENCV, str(CLIP), n]).output)
                for n in ("1", "2")
            )
        )
    return [
        ("the same, sink null", f"{median(rates):.0f} frames/s", "60"),
        (
            "CPU per frame, decoding included, to cv2.resize 4x and cv2.addWeighted in BGR",
            f"{median(ours):.1f} ms to {median(theirs):.1f} ms: "
            f"{median([a / b for a, b in zip(ours, theirs, strict=True)]):.2f}",
            "below 1",
        ),
    ]


def memory(folder: Path, long: Path | None) -> list[Row]:
    """Peak memory does not grow with the input."""
    if long is None:
        return []
    peaks, frames = [], []
    for clip in (CLIP, long):
        command = livemosaic("run", str(clip), str(folder / "long.mp4"), "-y", "--quiet", "--json")
        result = run([*command, "--profile", "reference", *X264])
        peaks.append(result.peak_rss_mb)
        frames.append(json.loads(result.output)["frames_out"])
    growth = 100 * (peaks[1] / peaks[0] - 1)
    return [
        (
            f"peak memory, {frames[1]:,} frames against {frames[0]}",
            f"{peaks[1]:.0f} MB against {peaks[0]:.0f} MB: {growth:+.1f} %",
            "+5 %",
        )
    ]


def start(folder: Path, repeat: int) -> list[Row]:
    """How long until something is there."""
    helps, firsts = [], []
    for _ in range(repeat):
        helps.append(run(livemosaic("--help")).seconds)
        command = livemosaic("run", str(CLIP), str(folder / "first.mp4"), "-y", "--quiet", "--json")
        firsts.append(json.loads(run(command).output)["first_frame_s"])
    cold = {
        "LIVEMOSAIC_CACHE": str(folder / "cache"),
        "NUMBA_CACHE_DIR": str(folder / "kernels"),
        "PYTHONPATH": str(ROOT),
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        livemosaic("run", str(CLIP), "-", "--quiet"),
        stdout=subprocess.PIPE,
        env={**os.environ, **cold},
    )
    assert process.stdout is not None
    process.stdout.read(64_000)
    first_ever = time.perf_counter() - began
    process.kill()
    process.wait()
    process.stdout.close()
    return [
        ("time to the first frame written, warm", f"{median(firsts):.2f} s", "2 s"),
        ("`--help`", f"{median(helps):.2f} s", "0.3 s"),
        ("the first run ever, to the first 64 kB out", f"{first_ever:.1f} s", "15 s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--long", type=Path)
    parser.add_argument("--only", default="encode,null,memory,start")
    args = parser.parse_args()
    print(machine())
    wanted = args.only.split(",")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "encode" in wanted:
            rows += encode(folder, args.repeat)
        if "null" in wanted:
            rows += null(folder, args.repeat)
        if "memory" in wanted:
            rows += memory(folder, args.long)
        if "start" in wanted:
            rows += start(folder, args.repeat)
    print(table(rows))


if __name__ == "__main__":
    main()
