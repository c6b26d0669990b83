"""Calls into C code that may never return."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Patience", "call_interruptibly", "leave"]

T = TypeVar("T")

# Of every thread that this program starts.
_THREADS = "livemosaic "


def call_interruptibly(call: Callable[..., T], *args: Any) -> T:
    """Call on a thread of its own: a signal ends the waiting, which C code may never do.

    Standard input that nobody writes to, or a server that does not answer, can block for ever.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(call(*args))
        except BaseException as error:
            errors.append(error)
        done.set()

    threading.Thread(target=work, name=_THREADS + "open", daemon=True).start()
    # Not `join`: interrupted, Python 3.11's takes the thread for ended. The time-out is for
    # Windows, where a wait without one cannot be interrupted at all.
    while not done.wait(0.1):
        pass
    if errors:
        raise errors[0]
    return results[0]


def leave(code: int) -> int:
    """The process's exit code, or its end where a thread is stuck in somebody else's code.

    FFmpeg in the middle of a read cannot be called back, and the interpreter's own end would pull
    the ground from under its feet: the process would crash.
    """
    ours = [thread for thread in threading.enumerate() if thread.name.startswith(_THREADS)]
    for thread in ours:
        thread.join(0.1)  # it may be in its last lines
    if any(thread.is_alive() for thread in ours):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    return code


class Patience:
    """Makes calls on a thread of its own, and waits for each only so long.

    FFmpeg waits for ever until what is sent is taken, and PyAV has time-outs for inputs only. A
    thread that is stuck is left behind. This helps only with calls that let other threads run.

    Parameters
    ----------
    limit_s : for each call
    name : of the thread
    """

    def __init__(self, limit_s: float, *, name: str) -> None:
        self._limit_s = limit_s
        self._calls: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]
        self._calls = SimpleQueue()
        self.stuck = False
        threading.Thread(target=self._work, name=f"livemosaic {name}", daemon=True).start()

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it, one after the other.

        Raises
        ------
        TimeoutError
            when it, or a call before it, does not return
        """
        if self.stuck:
            raise TimeoutError
        future: Future[Any] = Future()
        self._calls.put((future, function, args))
        try:
            return future.result(self._limit_s)
        except TimeoutError:
            self.stuck = not future.done()  # else it is the function's own
            raise

    def end(self) -> None:
        """End the thread after the calls so far. May be called twice."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function, args = call
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)
            # The thread must not keep a packet or an error alive while it waits.
            del call, future, function, args
