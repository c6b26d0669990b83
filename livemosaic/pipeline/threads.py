"""The threads of a pipeline, and the first error of any."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from .queues import Closed

# For so long another thread may keep Python's interpreter from one that waits; by default 5 ms. The
# mosaic's thread gives it up for each kernel, and has to get it back many times in a frame.
SWITCH_S = 0.0005

_intervals: list[float] = []  # before each of the pipelines that switch quickly


@contextlib.contextmanager
def quick_switches() -> Iterator[None]:
    """For a live run: no thread keeps the interpreter from the others for long."""
    _intervals.append(sys.getswitchinterval())
    sys.setswitchinterval(min(SWITCH_S, _intervals[0]))
    try:
        yield
    finally:
        first = _intervals[0]
        _intervals.pop()
        if not _intervals:
            sys.setswitchinterval(first)


class ThreadGroup:
    """Threads that end together.

    `stop_requested` and `cancelled` are plain flags: a signal handler must not wait for a lock that
    the interrupted thread may own.
    """

    def __init__(self) -> None:
        self.stop_requested = False  # end the input, then finish the outputs
        self.cancelled = False  # give up at once
        self.stopping = threading.Event()  # every thread has to end soon
        self.error: BaseException | None = None  # the first of any thread
        self._lock = threading.Lock()
        self._thread_ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._awaited: set[threading.Thread] = set()

    def spawn(
        self, name: str, work: Callable[[], None], *, awaited: bool = False
    ) -> threading.Thread:
        """Start a thread for `work`, from any thread.

        With `awaited`, the pipeline must not end before the thread: a result would be lost.
        """
        # A daemon: a call into FFmpeg that never returns must not keep the process alive.
        thread = threading.Thread(
            target=self.guard, args=(work,), name=f"livemosaic {name}", daemon=True
        )
        with self._lock:
            if awaited:
                self._awaited.add(thread)
            try:
                thread.start()
            except RuntimeError:  # the system starts no more
                self._awaited.discard(thread)
                raise
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        return thread

    def guard(self, work: Callable[[], None]) -> None:
        """Call `work`; an error other than `Closed` cancels the whole group."""
        try:
            work()
        except Closed:
            pass
        except BaseException as error:
            self.record_error(error)
            self.cancelled = True
        finally:
            with self._lock:
                self._awaited.discard(threading.current_thread())
            self._thread_ended.set()

    def record_error(self, error: BaseException) -> None:
        """Keep an error for the pipeline to raise, if it is the first."""
        with self._lock:
            # After a cancel, errors are only its consequences.
            if self.error is None and not self.cancelled:
                self.error = error

    def wait(self, timeout_s: float) -> None:
        """Wait until any thread has ended."""
        self._thread_ended.wait(timeout_s)
        self._thread_ended.clear()

    def join(self, timeout_s: float) -> None:
        """Wait until all threads have ended."""
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    @property
    def working(self) -> bool:
        """Whether an awaited thread is still running."""
        return bool(self._awaited)

    @property
    def stuck(self) -> bool:
        """Whether any thread is still running."""
        return any(thread.is_alive() for thread in self._threads)
