"""The threads of a pipeline, and the first error of any."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from .queues import Closed

__all__ = ["Spawn", "ThreadGroup"]


class Spawn(Protocol):
    """`ThreadGroup.spawn`."""

    def __call__(self, name: str, work: Callable[[], None], *, awaited: bool = False) -> object: ...


class ThreadGroup:
    """Threads that begin and end together.

    What is asked for comes in plain flags, because a signal handler that waited for a lock of the
    thread it interrupted would wait for ever.

    Attributes
    ----------
    cancelled : give up at once
    stopping : set when every thread is to end soon
    error : the first one of any thread
    """

    def __init__(self) -> None:
        self.cancelled = False
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self._lock = threading.Lock()
        self._news = threading.Event()  # a thread has ended
        self._threads: list[threading.Thread] = []
        self._awaited: set[threading.Thread] = set()

    def spawn(
        self, name: str, work: Callable[[], None], *, awaited: bool = False
    ) -> threading.Thread:
        """Start a thread for `work` at once, from any thread; see `create`."""
        thread = self.create(name, work, awaited=awaited)
        thread.start()
        return thread

    def create(
        self, name: str, work: Callable[[], None], *, awaited: bool = False
    ) -> threading.Thread:
        """Make a thread for `work`, for `start`; `awaited` if the pipeline's end has to wait for
        it, because something would be lost."""
        # A daemon: a call into FFmpeg that never returns must not keep the process alive.
        thread = threading.Thread(
            target=self.guard, args=(work,), name=f"livemosaic {name}", daemon=True
        )
        with self._lock:
            self._threads = [t for t in self._threads if t.ident is None or t.is_alive()]
            self._threads.append(thread)
            if awaited:
                self._awaited.add(thread)
        return thread

    def start(self) -> None:
        """Start those that were enlisted."""
        for thread in self._threads:
            thread.start()

    def guard(self, work: Callable[..., None], *args: Any) -> None:
        """Do `work`; an error of it ends everything."""
        try:
            work(*args)
        except Closed:
            pass
        except BaseException as error:
            self.record_error(error)
            self.cancelled = True
        finally:
            with self._lock:
                self._awaited.discard(threading.current_thread())
            self._news.set()

    def record_error(self, error: BaseException) -> None:
        """Note what the pipeline is to raise at its end, if it is the first error."""
        with self._lock:
            # What fails because everything is being given up is not the reason for it.
            if self.error is None and not self.cancelled:
                self.error = error

    def wait(self, seconds: float) -> None:
        """Wait until a thread has ended, at most so long."""
        self._news.wait(seconds)
        self._news.clear()

    def join(self, seconds: float) -> None:
        """Wait until all have ended, at most so long."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def at_work(self) -> bool:
        """Whether a thread that is awaited is still running."""
        return bool(self._awaited)

    @property
    def stuck(self) -> bool:
        """Whether a thread is still running."""
        return any(thread.is_alive() for thread in self._threads)
