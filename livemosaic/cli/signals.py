"""Signals: Ctrl-C, SIGTERM, SIGHUP and SIGUSR1."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..errors import printable
from ..unfinished import is_complete, remove_unfinished
from . import console

_logger = logging.getLogger("livemosaic")

INTERRUPTED = 130  # the exit code

# Programs that stop others (`timeout`, service managers) signal the process and then its group: two
# signals within a millisecond are one request. A person does not press Ctrl-C twice in this time.
_SAME_REQUEST_S = 0.05

# When a terminal closes, both the system and the shell send this signal. Windows has none.
_HANGUP: int | None = getattr(signal, "SIGHUP", None)

# Turns privacy mode on and off, for hotkeys of a desktop. Windows has none.
_TOGGLE: int | None = getattr(signal, "SIGUSR1", None)


class _Stoppable(Protocol):
    """The part of a pipeline that a signal handler calls."""

    def stop(self) -> None: ...

    def cancel(self) -> None: ...


class Interrupts:
    """Handles Ctrl-C, SIGTERM and SIGHUP within the `with` block.

    One that is ignored stays so: `nohup` ignores SIGHUP, and a script SIGINT for what it starts
    with `&`.

    ============================ ======================================================
    when                         effect
    ============================ ======================================================
    there is no pipeline yet     unfinished files are removed, and the process ends
    a pipeline runs              the first signal stops the pipeline, the second cancels it
    the result is complete       none: the process ends within a moment, with its own exit code
    ============================ ======================================================

    No signal raises an exception. An exception at any place, for example in an import or in a call
    from C code, can be lost there, or become another error.

    Parameters
    ----------
    to_the_end : after the block, ignore the signals until the process ends. Python's own handlers
        would end the process by the signal, although its result is complete
    exit : ends the process
    """

    def __init__(
        self,
        *,
        to_the_end: bool = False,
        clock: Callable[[], float] = time.monotonic,
        exit: Callable[[int], object] = os._exit,
    ) -> None:
        self.count = 0  # signals within 50 ms are one
        self.pipeline: _Stoppable | None = None  # to be set when it takes over
        self.toggles = 0  # requests to turn privacy mode on or off, not yet taken
        self.result: str | Path | None = None  # the file that a run without a pipeline makes
        self.kept: Path | None = None  # the folder that stays, if the same command can go on
        self._to_the_end, self._clock, self._exit = to_the_end, clock, exit
        self._last_s = -math.inf
        self._handlers: dict[int, Any] = {}  # those before

    def __enter__(self) -> Interrupts:
        # Python allows this on the main thread only.
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM, _HANGUP):
                if kind is not None and signal.getsignal(kind) is not signal.SIG_IGN:
                    self._handlers[kind] = signal.signal(kind, self._handle)
            if _TOGGLE is not None:
                self._handlers[_TOGGLE] = signal.signal(_TOGGLE, self._toggle)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._handlers.items():
            signal.signal(kind, signal.SIG_IGN if self._to_the_end else handler)

    def _toggle(self, kind: int, _: object) -> None:
        self.toggles += 1  # no more: the interrupted code may own the lock of the state

    def take_toggle(self) -> bool:
        """Whether privacy mode is to be turned on or off; resets the request."""
        toggles, self.toggles = self.toggles, 0
        return toggles % 2 == 1

    def _handle(self, kind: int, _: object) -> None:
        now_s, last_s = self._clock(), self._last_s
        self._last_s = now_s
        if now_s - last_s < _SAME_REQUEST_S or (kind == _HANGUP and self.count):
            return
        self.count += 1
        if self.pipeline is not None:
            (self.pipeline.stop if self.count == 1 else self.pipeline.cancel)()
        elif self.result is None or not is_complete(self.result):
            self._give_up()

    def outcome(self) -> str:
        """What an interruption has left."""
        text = "interrupted: nothing was written"
        if self.kept is not None and os.path.isdir(self.kept):  # its name may be too long
            text += f"; to go on, give the same command again ({printable(self.kept)} stays)"
        return text

    def _give_up(self) -> None:
        """End the process now. The interrupted code may own any lock: nothing here takes one."""
        try:
            remove_unfinished()
            if _logger.handlers and _logger.level <= logging.INFO:
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    number = sys.stderr.fileno()
                    before = console.clearing(number)
                    os.write(number, before + f"livemosaic: {self.outcome()}\n".encode())
        finally:
            self._exit(INTERRUPTED)
