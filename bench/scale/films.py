"""Films in segments: the same film by any number of workers, killed or not, and how fast.

`checks` makes the film by 1, 2 and 3 workers, with a worker killed in the middle, and with
everything killed and the command given again. Each has to have the same pictures, times and sound.
`rates` compares 2 workers with one run without segments, in turns: by a light encoder of small
pictures, and as the program makes films by default. Rates include the start and the plan.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.common import livemosaic, median, run
from livemosaic.media.ffmpeg import av

from .results import Row, save

LIGHT = ("--scale", "1", "--tile", "16", "--preset", "ultrafast")
KINDS = {"light": LIGHT, "mp4": ()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clip", type=Path, required=True, help="a film with sound")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=("checks", "rates"))


def main(args: argparse.Namespace) -> None:
    rows: list[Row] = []
    if args.only != "rates":
        rows += checks(args.clip, args.work)
    if args.only != "checks":
        for kind, options in KINDS.items():
            rows += rates(kind, options, args.clip, args.work, args.repeat)
    save(args.work, "film", rows)


def command(clip: Path, output: Path, *options: str) -> list[str]:
    return livemosaic("run", str(clip), str(output), "-y", "--quiet", "--json", *options)


# ---- the same film -------------------------------------------------------------------------------


def checks(clip: Path, folder: Path) -> list[Row]:
    """A row for each way to make the film; the first is what the others have to be."""
    rows: list[Row] = []
    first: dict[str, Any] = {}
    for name, workers, killed in (
        ("1 worker", 1, ""),
        ("2 workers", 2, ""),
        ("3 workers", 3, ""),
        ("a worker killed", 2, "worker"),
        ("all killed, then resumed", 2, "all"),
    ):
        output = folder / "film.mp4"
        output.unlink(missing_ok=True)
        words = command(clip, output, *LIGHT, "--cluster", f"local:{workers}")
        if killed:
            made = interrupted(words, output, killed)
        else:
            result = run(words)
            made = {"fps": round(json.loads(result.output)["frames_out"] / result.seconds, 2)}
        found = film(output)
        first = first or found
        differ = [it for it in found if found[it] != first[it]]
        parts = output.with_name(f"{output.name}.parts").exists()
        same = {"differ": differ, "parts_left": parts}
        rows.append({"film": name, "workers": workers, **same, **made})
        if differ or parts:
            raise SystemExit(f"{name}: not the same film: {rows[-1]}")
    return rows


def film(path: Path) -> dict[str, Any]:
    """The pictures of a film, their times, and its sound, as digests."""
    pictures, sound, times = hashlib.md5(), hashlib.md5(), []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.audio):
            if packet.size:
                sound.update(bytes(packet) + str((packet.pts, packet.duration)).encode())
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            pictures.update(frame.to_ndarray())
            times.append(frame.pts)
    return {"pictures": pictures.hexdigest(), "times": times, "sound": sound.hexdigest()}


def interrupted(words: list[str], output: Path, killed: str) -> Row:
    """Kill a worker, or everything, when some segments are done; finish the film."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        parts = output.with_name(f"{output.name}.parts")
        while len(list(parts.glob("segment-*"))) < 2:
            if process.poll() is not None:
                raise SystemExit("the film was made before it could be interrupted")
            time.sleep(0.05)
        if killed == "worker":
            os.kill(workers_of(process.pid)[0], signal.SIGKILL)
            output_text, _ = process.communicate()
        else:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            output_text = run(words).output.encode()
    report = json.loads(output_text)["film"]
    return {"made": report["made"], "kept": report["kept"]}


def workers_of(process: int) -> list[int]:
    """The processes that a process has started, and those that these have started, that compute."""
    found: list[tuple[int, int]] = []
    waiting = [process]
    while waiting:
        for file in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            for child in map(int, file.read_text().split()):
                waiting.append(child)
                times = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                found.append((int(times[11]), child))
    return [child for _, child in sorted(found, reverse=True)]


# ---- how fast ------------------------------------------------------------------------------------


def rates(kind: str, options: tuple[str, ...], clip: Path, folder: Path, repeat: int) -> list[Row]:
    """One run, and processes and Dask's workers with segments, in turns."""
    ways = {
        "one run": (),
        "2 processes": ("--resume",),
        "2 workers": ("--cluster", "local:2"),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    cpu_s: dict[str, list[float]] = {way: [] for way in ways}
    frames = 0
    for _ in range(repeat):
        for way, more in ways.items():
            output = folder / "film.mp4"
            output.unlink(missing_ok=True)
            result = run(command(clip, output, *options, *more))
            frames = json.loads(result.output)["frames_out"]
            seconds[way].append(result.seconds)
            cpu_s[way].append(result.cpu_s)
    once = seconds["one run"]
    return [
        {
            "film": f"{kind}, {way}",
            "fps": round(frames / median(its), 2),
            "cpu_ms": round(1e3 * median(cpu_s[way]) / frames, 1),
            "to_one_run": round(median([a / b for a, b in zip(once, its, strict=True)]), 3),
        }
        for way, its in seconds.items()
    ]
