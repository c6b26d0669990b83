"""Live use: latency, rate, drops and processor time, on an idle and on a busy machine.

    python bench/live.py --clip TRAILER --webcam CLIP [--seconds 20] [--long 300]
                         [--only idle,busy,hd,cpu,cuts,blocked,recorded,rtsp,ends]

    python bench/live.py ... --gallery FILE     with a gallery of your own, see bench/crops.py

TRAILER is any clip with motion, CLIP one of a webcam. ffmpeg makes clips of the necessary sizes and
rates of them, which are played as if they were live.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from common import (
    CLIP,
    ROOT,
    clip,
    governor_s,
    livemosaic,
    machine,
    median,
    one_core_taken,
    run,
    table,
)

Row = tuple[str, str, str]
CHILD = [sys.executable, str(ROOT / "bench" / "live_child.py")]
TILE = ("--tile", "16", "--scale", "1")


def live(
    args: argparse.Namespace,
    source: Path | str,
    *outputs: str,
    seconds: float,
    options: tuple[str, ...],
) -> Any:
    """Run the child; its report and series."""
    command = [*CHILD, str(source), *outputs, "--duration", str(seconds), *options]
    command += ["--gallery", args.gallery]
    return json.loads(run(command, env={"PYTHONPATH": str(ROOT)}).output)


def summary(result: Any, *, sink: int = 0) -> str:
    """Rate, latency, drops and the governor's steps of a run, in words."""
    report = result["report"]
    latency = report["sinks"][sink]["latency_ms"]
    fps = report["fps"] * report["sinks"][sink]["frames"] / report["frames_out"]
    text = f"{fps:.1f} frames/s, p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms"
    dropped = report["frames_in"] - report["sinks"][sink]["frames"]
    text += f", {dropped} of {report['frames_in']} dropped"
    durations = governor_s(report)
    steps = "; ".join(f"{step}: {seconds:.1f} s" for step, seconds in durations.items())
    return text + (f", governed for {sum(durations.values()):.1f} s ({steps})" if steps else "")


def growth(result: Any) -> str:
    """Latency of the first and of the last fifth, medians over seconds."""
    p50 = [second["p50_ms"] for second in result["series"]][2:]
    fifth = max(1, len(p50) // 5)
    first, last = median(p50[:fifth]), median(p50[-fifth:])
    return f"p50 of the first fifth {first:.1f} ms, of the last {last:.1f} ms"


def idle(args: argparse.Namespace, folder: Path) -> list[Row]:
    source = clip(args.clip, folder / "720p30.mp4", filters="scale=1280:720", rate=30)
    result = live(args, source, "null", seconds=args.seconds, options=TILE)
    return [("1280x720 at 30, tile 16, idle", summary(result), "p50 10 ms, p99 33 ms, no drop")]


def busy(args: argparse.Namespace, folder: Path) -> list[Row]:
    source = clip(args.clip, folder / "long.mp4", filters="scale=1280:720", rate=30, loop=9)
    with one_core_taken():
        result = live(args, source, "null", seconds=args.long, options=TILE)
    bar = "25 frames/s, p99 66 ms, no growth over 5 minutes"
    return [
        (f"the same, one core taken by another process, {args.long:.0f} s", summary(result), bar),
        ("its growth", growth(result), ""),
    ]


def hd(args: argparse.Namespace, folder: Path) -> list[Row]:
    source = clip(args.clip, folder / "1080p60.mp4", filters="scale=1920:1080", rate=60)
    rows = []
    for tile in ("24", "16"):
        options = ("--tile", tile, "--scale", "1")
        result = live(args, source, "null", seconds=args.seconds, options=options)
        rows.append((f"1920x1080 at 60, tile {tile}", summary(result), "50 frames/s, p99 50 ms"))
    return rows


def cpu(args: argparse.Namespace, folder: Path) -> list[Row]:
    filters = "crop=iw:iw*9/16,scale=1280:720"
    source = clip(args.webcam, folder / "webcam.mp4", filters=filters, rate=30)
    result = live(args, source, "null", seconds=args.seconds, options=TILE)
    first, last = result["series"][1], result["series"][-1]
    share = (last["cpu_s"] - first["cpu_s"]) / (last["at_s"] - first["at_s"])
    text = f"{share:.0%} of one core; {summary(result)}"
    return [("whole process, webcam clip at 720p30, decoding included", text, "45 %")]


def cuts(args: argparse.Namespace, folder: Path) -> list[Row]:
    filters = "select=not(mod(n\\,12)),setpts=N/30/TB,scale=1280:720"
    source = clip(args.clip, folder / "cuts.mp4", filters=filters, rate=30, loop=6)
    result = live(args, source, "null", seconds=args.seconds, options=TILE)
    bar = "latency limit kept (100 ms), 25 frames/s, delay flat"
    changed = result["report"]["cells"]["active_mean"]
    text = f"{summary(result)}, {changed:.0%} of cells active; {growth(result)}"
    return [("every frame new (a cut per frame), 720p30", text, bar)]


def blocked(args: argparse.Namespace, folder: Path) -> list[Row]:
    source = clip(args.clip, folder / "blocked.mp4", filters="scale=1280:720", rate=30)
    rows = []
    for outputs in (("null",), ("null", "blocking")):
        result = live(args, source, *outputs, seconds=args.seconds, options=TILE)
        rows.append((f"outputs {' and '.join(outputs)}: of null", summary(result), "unchanged"))
    return rows


def recorded(args: argparse.Namespace, folder: Path) -> list[Row]:
    """With an encoder at work at the same time: x264 with the defaults of this program."""
    source = clip(args.clip, folder / "recorded.mp4", filters="scale=1280:720", rate=30)
    file = str(folder / "recording.mkv")
    result = live(args, source, "null", file, seconds=args.seconds, options=TILE)
    return [
        ("the first again, beside a recording: of null", summary(result), ""),
        ("of the recording, an .mkv with default options", summary(result, sink=1), ""),
    ]


def ends(args: argparse.Namespace, folder: Path) -> list[Row]:
    """From the signal to the end of the process."""
    rows = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script may have it ignored
    for kind in (signal.SIGINT, signal.SIGTERM):
        took = []
        for _ in range(5):
            output = folder / "ends.mkv"
            words = ("run", "pattern", str(output), "null", "-y", "--progress", "always")
            with subprocess.Popen(livemosaic(*words), stderr=subprocess.PIPE) as child:
                assert child.stderr is not None
                printed = b""
                while b"cells active" not in printed:
                    printed += child.stderr.read1(100)
                began = time.monotonic()
                child.send_signal(kind)
                child.stderr.read()
                child.wait()
                took.append(time.monotonic() - began)
        rows.append((f"{kind.name} to the end, a file finished", f"{median(took):.2f} s", "1 s"))
    return rows


def rtsp(args: argparse.Namespace, folder: Path) -> list[Row]:
    """A server that ends and comes back, and one that stands still, five times each."""
    sys.path.insert(0, str(ROOT))
    from livemosaic.media.frame import Frame, StatusEvent
    from livemosaic.sources import open_source
    from tests.streams import RtspServer

    # Long enough not to end while it is watched.
    long = folder / "long_stream.mp4"
    command = ["ffmpeg", "-v", "error", "-y", "-stream_loop", "60", "-i", str(CLIP), "-an"]
    subprocess.run([*command, "-c", "copy", str(long)], check=True)
    server = RtspServer(long)
    source = open_source(server.url)
    seen: dict[type, float] = {}

    def watch() -> None:
        for item in source:
            seen[type(item)] = time.monotonic()

    def until(kind: type, since: float) -> float:
        while seen.get(kind, 0.0) < since:
            time.sleep(0.002)
        return seen[kind] - since

    reader = threading.Thread(target=watch, daemon=True)
    reader.start()
    back, noticed = [], []
    for _ in range(5):
        until(Frame, time.monotonic())
        killed = time.monotonic()
        server.kill()
        until(StatusEvent, killed)
        time.sleep(3)  # the waits between attempts have grown to their longest
        server.start(long)
        back.append(until(Frame, time.monotonic()))
        stopped = time.monotonic()
        server.pause()
        noticed.append(until(StatusEvent, stopped))
        server.go_on()
    source.interrupt()
    reader.join(10)
    source.close()
    server.kill()
    return [
        ("RTSP server back after a kill: until the picture", f"{max(back):.2f} s at most", "2 s"),
        ("RTSP server stands still: until noticed", f"{max(noticed):.2f} s at most", "3 s"),
    ]


PARTS = {f.__name__: f for f in (idle, busy, hd, cpu, cuts, blocked, recorded, rtsp, ends)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clip", type=Path, required=True, help="a clip with motion")
    parser.add_argument("--webcam", type=Path, required=True, help="a clip of a webcam")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma separated")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--long", type=float, default=300, help="seconds of the busy run")
    parser.add_argument("--gallery", default="photos")
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        rows = [row for part in args.only.split(",") for row in PARTS[part](args, Path(name))]
    print(table(rows))


if __name__ == "__main__":
    main()
