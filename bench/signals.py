"""Signals at random moments, from the first line of main to the end of the process.

    python -m bench.signals [--count 300] [--seed 0] [--jobs 1]

Each try starts one of the tasks below and sends it one or two signals at random moments. It then
checks the exit code, the messages, and the files that are left. The exit code of this program is
the number of tries that failed.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from livemosaic.gallery.gallery import Gallery
from livemosaic.jit import cache_folder
from livemosaic.media.ffmpeg import av

ROOT = Path(__file__).resolve().parent.parent
KINDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# The start of Python itself belongs to Python: until main has begun, signals end the process here.
LAUNCH = """
import os, signal, sys
for kind in (signal.SIGINT, signal.SIGTERM):
    signal.signal(kind, lambda *_: os._exit(130))
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from livemosaic.__main__ import main
os.write(int(sys.argv.pop(1)), b"!")
sys.exit(main())
"""

# A person presses Ctrl-C again after this time; the program counts two within 50 ms as one.
FIRST_GAP_S, LAST_GAP_S = 0.06, 0.6

# None of these may be printed.
SYMPTOMS = ("Traceback", "Exception ignored", "terminate called", "internal error", "Fatal")

TIMEOUT_S = 180  # the first run compiles


def check_video(path: Path) -> None:
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 0, "no frames"


def check_picture(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def check_gallery(path: Path) -> None:
    assert len(Gallery.open(path).tiles) > 0, "no tiles"


@dataclass(frozen=True)
class Task:
    """A command line with one output, and the check that the output is whole."""

    name: str
    line: str
    check: Callable[[Path], None]
    first_use: bool = False  # with an empty cache folder

    @property
    def words(self) -> list[str]:
        return self.line.split()

    @property
    def output(self) -> str:
        return next(word for word in self.words if word.startswith("out."))


TASKS = (
    Task("run", "run clip.mp4 out.mkv --scale 1 --tile 16", check_video),
    Task("live", "run pattern:160x120@25 out.mp4 --duration 1", check_video),
    Task("demo", "demo out.mp4", check_video),
    Task("build", "gallery build photos -o out.gallery", check_gallery),
    Task("poster", "run photos/0.png out.png --size 640x480", check_picture),
    Task("first unpacking", "run photos/0.png out.png --size 320x240", check_picture, True),
)


@dataclass(frozen=True)
class Try:
    """A task, and what it gets: (seconds after the one before, signal), ..."""

    task: Task
    signals: tuple[tuple[float, signal.Signals], ...]

    def __str__(self) -> str:
        sent = ", ".join(f"{kind.name} after {after_s:.4f} s" for after_s, kind in self.signals)
        return f"{self.task.name}: {sent or 'no signal'}"


def make_inputs(folder: Path) -> None:
    """A short clip and a few photos, all of noise."""
    generator = random.Random(0)
    (folder / "photos").mkdir()
    for number in range(60):
        small = Image.frombytes("RGB", (8, 6), generator.randbytes(8 * 6 * 3))
        small.resize((320, 240)).save(folder / "photos" / f"{number}.png", compress_level=1)
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(50):
            with Image.open(folder / "photos" / f"{number}.png") as image:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image))))
        container.mux(stream.encode())


def run(trial: Try, inputs: Path, cache: Path) -> tuple[float, list[str]]:
    """Make one try; how long the process lived after main began, and what was wrong."""
    task = trial.task
    with tempfile.TemporaryDirectory() as name:
        folder, problems = Path(name), list[str]()
        for source in inputs.iterdir():
            (folder / source.name).symlink_to(source)
        before = set(os.listdir(folder))
        own_cache = folder / "cache" if task.first_use else cache
        own_cache.mkdir(exist_ok=True)
        before.add("cache")
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", LAUNCH, str(writer), *task.words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LIVEMOSAIC_CACHE": str(own_cache)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
        )
        os.close(writer)
        select.select([reader], [], [], TIMEOUT_S)
        os.close(reader)
        began_s = time.monotonic()
        for after_s, kind in trial.signals:
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                process.send_signal(kind)
        try:
            output = process.communicate(timeout=TIMEOUT_S)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            process.kill()
            output = process.communicate()[0].decode(errors="replace")
            problems.append("it does not end")
        lived_s = time.monotonic() - began_s
        code = process.returncode
        if code not in ((0, 130) if trial.signals else (0,)):
            problems.append(f"exit code {code}")
        problems += [symptom for symptom in SYMPTOMS if symptom in output]
        left = sorted({*os.listdir(folder)} - before)
        if left not in ([], [task.output]):
            problems.append(f"left: {left}")
        if parts := [name for name in os.listdir(own_cache) if name.endswith(".part")]:
            problems.append(f"left in the cache: {parts}")
        if task.output in left:
            try:
                task.check(folder / task.output)
            except Exception as error:
                problems.append(f"{task.output} is not whole: {error!r}")
            if "nothing was written" in output or "completed: nothing" in output:
                problems.append("it says that nothing was written")
        elif code == 0:
            problems.append("there is no output")
        if problems:
            problems.append(output[-2000:])
        return lived_s, problems


def random_try(generator: random.Random, task: Task, lifetime_s: float) -> Try:
    """One or two signals; three of ten aim at the last tenth of a task's life."""
    from_s = 0.9 * lifetime_s if generator.random() < 0.3 else 0.0
    first = generator.uniform(from_s, 1.02 * lifetime_s)
    signals = [(first, generator.choice(KINDS))]
    if generator.random() < 0.5:
        signals.append((generator.uniform(FIRST_GAP_S, LAST_GAP_S), generator.choice(KINDS[:2])))
    return Try(task, tuple(signals))


def lifetime(task: Task, inputs: Path, cache: Path) -> float:
    """How long a task lives without signals, when it neither compiles nor unpacks a gallery."""

    def kept() -> int:
        return len([*cache_folder().rglob("*.nbc"), *cache.glob("*")])

    while True:
        before = kept()
        lived_s, problems = run(Try(task, ()), inputs, cache)
        if problems:
            sys.exit(f"{task.name}: {problems}")
        if kept() == before:
            return lived_s


def tries(count: int, seed: int, lifetimes: dict[str, float]) -> list[Try]:
    """`count` tries, in turn over all tasks."""
    generator = random.Random(seed)
    chosen = [TASKS[number % len(TASKS)] for number in range(count)]
    return [random_try(generator, task, lifetimes[task.name]) for task in chosen]


def failures(count: int, *, seed: int = 0, jobs: int = 1) -> list[str]:
    """Make `count` tries; a description of each that failed."""
    with tempfile.TemporaryDirectory() as name:
        inputs, cache = Path(name) / "inputs", Path(name) / "cache"
        inputs.mkdir()
        make_inputs(inputs)
        with ThreadPoolExecutor(jobs) as pool:
            lived = pool.map(lambda task: lifetime(task, inputs, cache), TASKS)
            lifetimes = dict(zip((task.name for task in TASKS), lived, strict=True))
            chosen = tries(count, seed, lifetimes)
            outcomes = list(pool.map(lambda trial: run(trial, inputs, cache), chosen))
    return [
        f"{trial}: {'; '.join(problems)}"
        for trial, (_, problems) in zip(chosen, outcomes, strict=True)
        if problems
    ]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args(words)
    failed = failures(args.count, seed=args.seed, jobs=args.jobs)
    for failure in failed:
        print(failure)
    print(f"{len(failed)} of {args.count} tries failed")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
