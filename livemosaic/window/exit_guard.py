"""Finishes the outputs when the window system ends the process.

When the display has gone, or has closed the connection (`xkill`), Xlib or Qt calls C's `exit` in
the middle of a call of OpenCV. Nothing prevents that, and Python's own `atexit` is not part of it.
But C runs functions before the process ends, on the thread that called `exit`, while all other
threads go on.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

_FAILED = 1  # the exit code


class ExitGuard:
    """Calls a function when C code ends the process on this thread; the process ends after it.

    Does nothing where the C library is not glibc: no other window system does this, and musl cannot
    remove such a function.
    """

    def __init__(self, outlive: Callable[[], None]) -> None:
        self._outlive: Callable[[], None] | None = outlive
        self._thread = threading.get_ident()
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._called)  # stays alive
        # An address of its own tells the C library which function to remove.
        self._owner = ctypes.c_char()
        self._libc = _glibc()
        if self._libc is not None:
            self._libc["__cxa_atexit"](self._function, None, ctypes.byref(self._owner))
            atexit.register(self.remove)

    def remove(self) -> None:
        """Let the process end as usual. May be called twice."""
        if self._outlive is not None and self._libc is not None:
            self._outlive = None
            self._libc["__cxa_finalize"](ctypes.byref(self._owner))  # calls the function
            atexit.unregister(self.remove)

    def _called(self, _: int | None) -> None:
        outlive, self._outlive = self._outlive, None
        if outlive is None or threading.get_ident() != self._thread:
            return
        try:
            outlive()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(_FAILED)  # the rest of `exit` frees the memory that other threads use


def _glibc() -> Any:
    """The C library; None if it is another one."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
