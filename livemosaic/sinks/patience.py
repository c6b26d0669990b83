"""Calls into C code that may never return."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

__all__ = ["Patience"]


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
