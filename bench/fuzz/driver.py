"""Calls in forked children: as good as new processes, without the time that Python needs to start.

The parent has loaded everything that a run needs, and has no threads that a fork would lose.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import livemosaic
import livemosaic.session
from livemosaic.cli import app

ROOT = Path(__file__).resolve().parent.parent.parent
MAX_S, MAX_MB = 30, 1000
_KILL_S, _KILL_MB = 10 * MAX_S, 3 * MAX_MB  # beside other programs, time passes without work
_SYMPTOMS = ("internal error", "Traceback", "Exception ignored", "terminate called", "Fatal")


@dataclass(frozen=True)
class Outcome:
    """How a child ended. `code` is below 0 for a signal, as in `subprocess`."""

    code: int
    text: str
    cpu_s: float
    peak_mb: float

    def problems(self) -> list[str]:
        """What no input may cause."""
        found = [symptom for symptom in _SYMPTOMS if symptom in self.text]
        if self.cpu_s > MAX_S:  # on a machine that does nothing else
            found.append(f"over {MAX_S} s")
        if self.peak_mb > MAX_MB:
            found.append(f"over {MAX_MB} MB")
        if self.code not in (0, 1, 2):
            found.append(f"exit code {self.code}")
        return found


@contextlib.contextmanager
def warm_folder() -> Iterator[Path]:
    """Load what runs need; a folder for their files, where caches are, too."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        cv2.setNumThreads(1)  # OpenCV's threads would be lost
        mosaic = livemosaic.Mosaic(columns=4)
        mosaic.process(np.zeros((32, 32, 3), np.uint8))
        mosaic.apply(np.zeros((32, 32, 3), np.uint8))
        folder = Path(name) / "work"
        folder.mkdir()
        yield folder


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def command(folder: Path, argv: Sequence[str]) -> Outcome:
    """The program with these arguments, in a folder."""
    return forked(folder, lambda: app.main(argv, is_process=True))


def forked(folder: Path, call: Callable[[], int]) -> Outcome:
    """A call in a child, in a folder; its result is the exit code."""
    with tempfile.TemporaryFile() as messages:
        child = os.fork()
        if not child:
            code = 70
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(messages.fileno(), 1)
                os.dup2(messages.fileno(), 2)
                faulthandler.enable()
                os.chdir(folder)
                code = call()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        began = time.monotonic()
        while True:
            done, status, usage = os.wait4(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() - began > _KILL_S or _resident_mb(child) > _KILL_MB:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.005)
        messages.seek(0)
        return Outcome(
            os.waitstatus_to_exitcode(status),
            messages.read().decode(errors="replace"),
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024 / 1e6,
        )


def _resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
