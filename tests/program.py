"""The program as a person runs it, and tiny inputs for it."""

from __future__ import annotations

import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from livemosaic.cli import app as cli
from livemosaic.media.ffmpeg import av

from .clips import frames, make
from .conftest import JIT, PROGRAMS, ROOT

needs_jit = pytest.mark.skipif(not JIT, reason="pixel loops in plain Python take minutes here")

# A 64x48 input becomes 128x96, in cells of 16: 8 columns and 6 rows.
SMALL = ("--scale", "2", "--tile", "16")
COMMAND = (sys.executable, "-X", "faulthandler", "-W", "error", "-m", "livemosaic")
# Kernels are compiled in all processes, and their cache is that of the package or the person.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"},
    "PYTHONPATH": str(ROOT),
}


class Outcome(NamedTuple):
    """The outcome of a run."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Its lines on standard error."""
        return self.err.splitlines()


Program = Callable[..., Outcome]


def spawn(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
    """Start the program in a process of its own, with pipes for its standard files.

    `command` is another one that runs it. After the test it is killed if it still runs.
    """
    command = options.pop("command", COMMAND)
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**ENVIRONMENT, **options.pop("env", {})}
    words = *command, *map(str, words)
    process = subprocess.Popen(words, env=environment, **{**streams, **options})
    PROGRAMS.append(process)
    return process


def finish(process: subprocess.Popen[bytes], *, timeout: float = 60) -> Outcome:
    """Wait for its end; what is to be written to its standard input has been."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"it does not end; it printed {err.decode()}")
    return Outcome(process.returncode, (out or b"").decode(errors="replace"), (err or b"").decode())


class Run:
    """A running program whose standard error is read along."""

    def __init__(self, *words: Any, **options: Any) -> None:
        self.process = spawn(*words, **options)
        self._output = b""

    def wait_for(self, pattern: bytes) -> re.Match[bytes]:
        """Wait until it prints `pattern`."""
        assert self.process.stderr is not None
        number, deadline = self.process.stderr.fileno(), time.monotonic() + 60
        while (match := re.search(pattern, self._output)) is None:
            ready, _, _ = select.select([number], [], [], max(0, deadline - time.monotonic()))
            data = os.read(number, 65536) if ready else b""
            assert data, f"it ended or hangs, and printed only {self._output.decode()}"
            self._output += data
        return match

    def interrupt(self, kind: signal.Signals = signal.SIGINT) -> float:
        self.process.send_signal(kind)
        return time.monotonic()

    def end(self) -> Outcome:
        """Wait for the end; all of its output."""
        outcome = finish(self.process, timeout=30)
        return outcome._replace(err=self._output.decode() + outcome.err)


@contextmanager
def program_in_process(capfd: pytest.CaptureFixture[str]) -> Iterator[Program]:
    """A function that runs the command line in this process, which is warm."""
    logger = logging.getLogger("livemosaic")
    before = logger.handlers[:], logger.propagate, logger.level

    def run(*words: Any) -> Outcome:
        capfd.readouterr()
        code = cli.main([str(word) for word in words])
        return Outcome(code, *capfd.readouterr())

    try:
        yield run
    finally:
        logger.handlers[:], logger.propagate = before[:2]
        logger.setLevel(before[2])


def without_privileges(*words: Any) -> Outcome:
    """Run as a user who needs the files' permissions."""
    command = [*COMMAND, *map(str, words)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root needs no permissions, and setpriv is missing")
        drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        if subprocess.run([*drop, "true"], capture_output=True, timeout=60).returncode:
            pytest.skip("root needs no permissions, and cannot drop its rights here")
        command = [*drop, *command]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    return Outcome(done.returncode, done.stdout, done.stderr)


def clip(path: Path, count: int = 10, *, size: tuple[int, int] = (64, 48), **options: Any) -> Path:
    """A small H.264 video at 25 frames/s."""
    return make(path, frames(count, size=size), **options)


def pictures(path: Path) -> list[Any]:
    """All frames of a video as RGB arrays."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def video_times(path: Path) -> list[float]:
    """The times of all frames of a video, in seconds."""
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def left(folder: Path) -> list[str]:
    """Names of everything in a folder, hidden files too."""
    return sorted(os.listdir(folder))


def put_in_the_way(folder: Path, kind: str) -> None:
    """Take the name of a folder by a "file" or a "dead link"; other kinds take none."""
    if kind == "file":
        folder.write_text("mine")
    elif kind == "dead link":
        folder.symlink_to(folder.parent / "away")
