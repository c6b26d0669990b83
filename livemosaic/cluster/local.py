"""Workers as processes of this machine, without Dask."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Any

from ..errors import ClusterError, words_of
from ..unfinished import end_helper, remove_unfinished, start_helper
from .task import Order, Outcome, call
from .workers import News, Workers

_ENDING_S = 5.0  # for the processes to remove their files
_LOOK_S = 1.0  # between two looks which of them are stopped


class LocalProcesses(Workers):
    """Workers as processes of this machine. None outlives this process, however that ends."""

    def __init__(self, count: int) -> None:
        self._names = [f"process {number}" for number in range(1, count + 1)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped: set[subprocess.Popen[bytes]] = set()
        self._looked_s = float("-inf")
        self._news: queue.SimpleQueue[tuple[subprocess.Popen[bytes], News]] = queue.SimpleQueue()

    @property
    def places(self) -> Mapping[str, int]:
        return dict.fromkeys(self._names, 1)

    def start(self, worker: str, order: Order) -> None:
        process = self._processes.get(worker)
        if process is None or process.poll() is not None:
            process = self._begin(worker)
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it was killed: `wait` says so
            _send(order, process.stdin)

    def _begin(self, worker: str) -> subprocess.Popen[bytes]:
        self._end(worker)
        try:
            # Else `nice livemosaic` would not count for what the processes do.
            process = start_helper(f"{__package__}.local_process", in_session=True)
        except OSError as error:
            fix = "end other programs, or use fewer workers"
            raise ClusterError(f"{worker}: cannot start: {words_of(error)}; {fix}") from None
        self._processes[worker] = process
        threading.Thread(
            target=self._follow, args=(worker, process), name=f"livemosaic {worker}", daemon=True
        ).start()
        return process

    def _follow(self, worker: str, process: subprocess.Popen[bytes]) -> None:
        """Take the news of a process until it ends."""
        assert process.stdout is not None
        with contextlib.suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            while True:
                self._news.put((process, News(worker, *pickle.load(process.stdout))))
        self._news.put((process, News(worker, "lost", None, None)))

    def wait(self, seconds: float) -> list[News]:
        if found := self._look():
            return found
        with contextlib.suppress(queue.Empty):
            process, news = self._news.get(timeout=seconds)
            if self._processes.get(news.worker) is process:
                if news.kind == "lost":
                    self._end(news.worker)
                return [news]
        return []

    def _look(self) -> list[News]:
        """Look which processes have been stopped, not ended; the news are those since the last
        look."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return []
        self._looked_s, before = now_s, self._stopped
        self._stopped = {it for it in self._processes.values() if _is_stopped(it)}
        found = []
        for worker, process in self._processes.items():
            if process in self._stopped - before:
                text = f"{worker} is stopped; let it go on with: kill -CONT {process.pid}"
                found.append(News(worker, "log", None, [logging.WARNING, text]))
        return found

    def cancel(self, keys: Mapping[int, str]) -> None:
        for process in self._closed(keys.values()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING_S)
        for worker in keys.values():
            self._end(worker)

    def close(self) -> None:
        self.cancel(dict(enumerate(self._processes)))

    def kill(self) -> None:
        for process in list(self._processes.values()):
            with contextlib.suppress(OSError):
                process.kill()

    def _closed(self, workers: Any) -> list[subprocess.Popen[bytes]]:
        """The processes of workers, which have been asked to end."""
        processes = [self._processes[name] for name in workers if name in self._processes]
        for process in processes:
            assert process.stdin is not None
            with contextlib.suppress(OSError, ValueError):
                process.stdin.close()
        return processes

    def _end(self, worker: str) -> None:
        if process := self._processes.pop(worker, None):
            end_helper(process)


def _is_stopped(process: subprocess.Popen[bytes]) -> bool:
    """Whether a signal such as SIGSTOP has stopped a process."""
    if sys.platform == "win32" or not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it has ended
        return False


# ---- in the process ------------------------------------------------------------------------------


def _send(thing: object, stream: IO[bytes]) -> None:
    stream.write(pickle.dumps(thing))
    stream.flush()


def serve() -> None:
    """The work of the process: do the tasks that standard input names."""
    source = sys.stdin.buffer
    # Standard output is for the news. What a library prints must not come between them.
    target = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sending = threading.Lock()
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def take_orders() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                orders.put(pickle.load(source))
        remove_unfinished()
        os._exit(1)

    threading.Thread(target=take_orders, daemon=True).start()
    while True:
        order = orders.get()

        def send(kind: str, value: Any, key: int = order.key) -> None:
            with sending:
                _send((kind, key, value), target)

        outcome: Outcome = call(order, send)
        send("outcome", outcome)
