"""Build a gallery of many photos: by one process, by workers, with one killed, then all killed.

CROPS has small photos, as bench/crops.py makes them. Each build is the command in a process of its
own; the memory is the highest of each process, without what is mapped from files, looked at ten
times a second. In the third build a worker is killed by SIGKILL when half of the shards are there,
in the fourth all processes are, and the command is given again. All files must have the same bytes.

The last rows are a plan for ten million photos: what was measured, by the photo. No such gallery
was built.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.common import ROOT, livemosaic

from .results import Row, save

# The command reads so many photos with processes; this uses threads only.
BY_THREADS = """
import sys
from livemosaic import build_gallery
output, tile, *paths = sys.argv[1:]
print(build_gallery(paths, output, tile_px=int(tile)).photos, "photos", file=sys.stderr)
"""

PLANNED = 10_000_000
LOOK_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--tile", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)


def main(args: argparse.Namespace) -> None:
    args.work.mkdir(parents=True, exist_ok=True)
    cluster = ("--cluster", f"local:{args.workers}")
    rows: list[Row] = []
    digests = set()

    def keep(case: str, build: Build | None = None, **more: Any) -> None:
        """Save this row with those before it: all builds take long."""
        rows.append({"case": case, **more})
        if build is not None:
            digests.add(build.digest)
            rows[-1] |= build.row() if "workers" in more else build.figures()
        save(args.work, "build", rows)

    with TemporaryDirectory(dir=args.work) as name:
        folder = Path(name)
        output = folder / "bench.gallery"

        def build(
            *words: str, of: Sequence[Path] = (), at_half: Callable[[Build], None] | None = None
        ) -> Build:
            paths = of or [args.crops]
            command = livemosaic("gallery", "build", *map(str, paths), "-o", str(output), *words)
            return Build([*command, "--tile", str(args.tile)], output, at_half)

        # The first build makes shards, and compiles kernels; the second only puts them together.
        few = sorted(path for path in args.crops.iterdir() if path.is_dir())
        few = few[: -(-len(few) // 4)]
        part, kept = folder / "part", folder / "kept"
        build("--shards", str(part), of=few)
        part_merged = build("--shards", str(part), of=few)
        build("--shards", str(kept))
        shards = len(list(kept.glob("*.shard")))
        size = sum(path.stat().st_size for path in kept.glob("*.shard"))
        merged = build("--shards", str(kept))
        keep("all shards there", merged)
        threads = [sys.executable, "-c", BY_THREADS, str(output), str(args.tile), str(args.crops)]
        one = Build(threads, output)
        keep("threads of one process", one, workers=1)
        keep("a process for each processor", build())
        keep("workers", build(*cluster), workers=args.workers)
        Build.half = shards // 2
        keep("one killed", build(*cluster, at_half=Build.kill_worker))
        build(*cluster, at_half=Build.kill_all)
        again = build(*cluster)
        made = {"shards": shards, "made again": shards - len(again.seen)}
        keep("all killed, again", again, **made)
    keep("all of them", **{"same bytes": len(digests) == 1, "shards_mb": round(size / 1e6)})
    for workers in (16, 100):
        rows.append(plan(workers, one, merged, part_merged, size))
    save(args.work, "build", rows)


def plan(workers: int, one: Build, merged: Build, part: Build, shards_bytes: int) -> Row:
    """Ten million photos of the same kind: workers read, one process puts together. What each photo
    costs there is what more photos cost beside fewer."""
    photos, more = merged.photos, merged.photos - part.photos
    reading_s = (one.cpu_s - merged.cpu_s) / photos / workers
    merging_s = (merged.seconds - part.seconds) / more
    own_mb = (merged.main_mb - part.main_mb) / more
    return {
        "case": f"plan: {PLANNED:,} photos, {workers} workers; calculated, not measured",
        "hours": round(PLANNED * max(reading_s, merging_s) / 3600, 2),
        "limited by": "putting together" if merging_s > reading_s else "reading",
        "gallery_gb": round(merged.bytes / photos * PLANNED / 1e9, 1),
        "shards_gb": round(shards_bytes / photos * PLANNED / 1e9, 1),
        "main process_mb": round(merged.main_mb + own_mb * (PLANNED - photos)),
    }


class Build:
    """One build, looked at from outside."""

    half = 0

    def __init__(
        self,
        command: Sequence[str],
        output: Path,
        at_half: Callable[[Build], None] | None = None,
    ) -> None:
        """Wait for the end; do something when half of the shards are there."""
        self.output = output
        self.memory: dict[int, float] = {}  # MB by process
        self.seen = self.shards()  # at the start
        self._killed = False
        began = time.perf_counter()
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        while os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            for number in (self.process.pid, *descendants(self.process.pid)):
                with contextlib.suppress(OSError):
                    status = Path(f"/proc/{number}/status").read_text()
                    anonymous = re.search(r"RssAnon:\s+(\d+)", status)
                    if anonymous is not None:  # it has not ended
                        now_mb = int(anonymous[1]) * 1024 / 1e6
                        self.memory[number] = max(self.memory.get(number, 0), now_mb)
            if at_half is not None and len(self.shards()) >= Build.half:
                at_half(self)
                at_half = None
            time.sleep(LOOK_S)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.seconds = time.perf_counter() - began
        assert self.process.stderr is not None
        self.messages = self.process.stderr.read()
        if self._killed:
            return
        if self.process.returncode:
            raise SystemExit(self.messages)
        found = re.search(r"([\d,]+) photos", self.messages)
        assert found is not None
        self.photos = int(found[1].replace(",", ""))
        with self.output.open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.bytes = self.output.stat().st_size
        self.output.unlink()

    def shards(self) -> list[str]:
        """Names of the shards that are there, beside the gallery."""
        return [it.name for it in self.output.parent.glob("bench.gallery.shards/*.shard")]

    def kill_worker(self) -> None:
        os.kill(next(descendants(self.process.pid, "spawn_main")), signal.SIGKILL)

    def kill_all(self) -> None:
        self._killed = True
        for number in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)

    @property
    def main_mb(self) -> float:
        """The memory of the command itself."""
        return self.memory[self.process.pid]

    def figures(self) -> Row:
        highest = sorted((round(mb) for mb in self.memory.values()), reverse=True)
        return {"seconds": round(self.seconds, 1), "memory of each_mb": highest}

    def row(self) -> Row:
        highest = round(max(self.memory.values()))
        return {"rate": round(self.photos / self.seconds), "memory_mb": highest, **self.figures()}


def descendants(of: int, words: str = "") -> Iterator[int]:
    """The processes that a process has begun, and those that they have; with some words in their
    command line."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == of:
                number = int(path.parent.name)
                if words in (path.parent / "cmdline").read_text():
                    yield number
                yield from descendants(number, words)
