"""Tasks for the workers of a cluster, which import them from here."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

from livemosaic.cluster.engine import teller
from livemosaic.errors import OptionError, SinkError
from livemosaic.processors import codec_threads, usable_cores


def square(number: int) -> int:
    return number * number


def fail(kind: str) -> None:
    if kind == "option":
        raise OptionError("tile", 3, "must be larger")
    if kind == "sink":
        raise SinkError("x.mp4: the disk is full; free some space")
    raise ValueError("a defect")


def tell(count: int) -> int:
    its = teller()
    for done in range(1, count + 1):
        its(done)
        time.sleep(0.6)
    return count


def warn(text: str) -> None:
    logging.getLogger("livemosaic").warning("%s", text)


def kill_worker_once(path: str) -> int:
    """Kill the process that runs it, the first time."""
    if not Path(path).exists():
        Path(path).touch()
        kill_worker(path)
    return os.getpid()


def kill_worker(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def processors(_: int) -> tuple[int, int, int]:
    import cv2

    return usable_cores(), codec_threads(), cv2.getNumThreads()


def variable(name: str) -> str | None:
    return os.environ.get(name)


def session(_: int) -> tuple[int, int]:
    return os.getsid(0), os.nice(0)


def pid_then_wait(path: str) -> None:
    """Write this process's number into a file, then take a long time."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def wait_once(path: str) -> str:
    """The first time, take a long time, as `pid_then_wait`."""
    if Path(path).exists():
        return "again"
    pid_then_wait(path)
    return "first"
