"""Calls into C code that may never return."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")

# The names of all threads that this program starts begin with it.
_THREADS = "livemosaic "


def start_call(call: Callable[..., T], *args: Any, name: str) -> Future[T]:
    """Call on a daemon thread with this name, which has the context variables of this one; the
    future gets the result or the error."""
    future: Future[T] = Future()
    run, settle = copy_context().run, (_settle, future, call, args)
    threading.Thread(target=run, args=settle, name=_THREADS + name, daemon=True).start()
    return future


def call_interruptibly(call: Callable[..., T], *args: Any) -> T:
    """Call on a thread of its own, so that Ctrl-C ends the wait.

    Standard input without a writer, or a server that does not answer, can block C code for ever.
    """
    future = start_call(call, *args, name="open")
    # With a time-out, because Windows cannot interrupt a wait without one.
    while not wait([future], 0.1).done:
        pass
    return future.result()


def leave(code: int) -> int:
    """Return the process's exit code, or end the process if a thread is stuck in foreign code.

    FFmpeg cannot be stopped in the middle of a read. The interpreter's own end would free the
    memory that such a thread uses, and the process would crash.
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


def _settle(future: Future[Any], call: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Make a call, and give its result or error to a future."""
    try:
        future.set_result(call(*args))
    except BaseException as error:
        future.set_exception(error)
