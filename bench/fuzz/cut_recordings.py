"""Recordings that are cut at random moments: do they play to within two seconds of the cut?

    nice python bench/fuzz/cut_recordings.py [--cuts 100] [--seed 0] [--jobs 2]

A cut is SIGKILL, a full disk (a limit for the file's size), or the death of the X server of a
window beside the file (left out without Xvfb). The exit code is 1 if a recording fails.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from livemosaic.media.ffmpeg import av  # noqa: E402

ENDINGS = ("mp4", "mkv", "mov", "webm", "ts")
CUTS = ("kill", "full", "screen")
FPS, MOST_LOST_S, TIMEOUT_S = 15, 2.0, 60.0
# A child sets its own limit: code between fork and exec could lock up beside other threads.
LIMITED = (
    "import os, resource, sys; limit = int(sys.argv[1]); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)); os.execv(sys.argv[2], sys.argv[2:])"
)


def cut(kind: str, ending: str, seed: int, folder: Path) -> tuple[str, float]:
    """Cut one recording; the problem, or none, and the seconds that it lacks at its end."""
    chance = random.Random(seed)
    path = folder / f"{kind}{seed}.{ending}"
    lasts_s, limit = chance.uniform(1, 5), chance.randrange(8_000, 30_000)
    words = [sys.executable, "-m", "livemosaic", "run", f"pattern:160x120@{FPS}", str(path)]
    words += ["--scale", "1", "--tile", "8"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = None
    if kind == "full":
        words = [sys.executable, "-c", LIMITED, str(limit), *words]
    if kind == "screen":
        words.append("window")
        server, environment["DISPLAY"] = screen()
    log = folder / f"{path.name}.log"
    with log.open("w") as file:
        run = subprocess.Popen(words, env=environment, stderr=file, stdout=file)
    try:
        if not wait_for(lambda: run.poll() is not None or list(folder.glob(f".{path.stem}.*"))):
            return "it does not begin", 0
        began_s = time.monotonic()
        if kind == "full":
            wait_for(lambda: run.poll() is not None or path.exists())
        else:
            time.sleep(lasts_s)
        lasted_s = time.monotonic() - began_s
        if server is not None:
            server.kill()
            time.sleep(0.2)
            run.send_signal(signal.SIGINT)
        elif kind == "kill":
            run.kill()
        run.wait(TIMEOUT_S)
    finally:
        run.kill()
        run.wait()
        if server is not None:
            server.kill()
            server.wait()
    parts = list(folder.glob(f".{path.stem}.*"))
    if parts and kind == "full":
        return f"it left {[it.name for it in parts]}: {log.read_text()[-300:]}", 0
    try:
        lacks_s = lasted_s - end_s(parts[0] if parts else path)
    except (av.error.FFmpegError, IndexError) as error:
        return f"after {lasted_s:.1f} s it does not play: {error}", lasted_s
    return ("" if lacks_s <= MOST_LOST_S else "too much is lost"), lacks_s


def end_s(path: Path) -> float:
    """The end of the last picture, decoding all of them."""
    with av.open(str(path)) as container:
        return [float(frame.time or 0) for frame in container.decode(video=0)][-1] + 1 / FPS


def screen() -> tuple[subprocess.Popen[bytes], str]:
    """An X server, and its name."""
    read, write = os.pipe()
    words = ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    server = subprocess.Popen(words, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as file:
        return server, f":{file.readline().strip()}"


def wait_for(true: Callable[[], object]) -> bool:
    """Look until `true`; False if it takes too long."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        if true():
            return True
        time.sleep(0.01)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    kinds = CUTS if shutil.which("Xvfb") else CUTS[:2]
    every = itertools.islice(itertools.cycle(itertools.product(ENDINGS, kinds)), options.cuts)
    lacks: dict[tuple[str, str], list[float]] = defaultdict(list)
    failed = 0
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.jobs) as pool:
        runs = []
        for number, (ending, kind) in enumerate(every):
            folder = Path(name) / str(number)  # the next run would name what another left
            folder.mkdir()
            seed = options.seed * 1_000_003 + number
            runs.append((ending, kind, seed, pool.submit(cut, kind, ending, seed, folder)))
        for ending, kind, seed, run in runs:
            problem, lacks_s = run.result()
            lacks[ending, kind].append(lacks_s)
            if problem:
                failed += 1
                print(f"FAILED {kind} {ending} {seed}: {problem}", flush=True)
    for (ending, kind), seconds in sorted(lacks.items()):
        print(f"{ending:5} {kind:7} {len(seconds):3} cuts, lack at most {max(seconds):.2f} s")
    print(f"{options.cuts} recordings, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
