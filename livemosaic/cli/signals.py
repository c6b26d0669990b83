"""Signals: Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

# Programs that stop others (`timeout`, service managers) signal the process and then its group: two
# signals within a millisecond are one request. A person does not press Ctrl-C twice in this time.
_SAME_REQUEST_S = 0.05

# When a terminal closes, both the system and the shell send this signal. Windows has none.
_HANGUP: int | None = getattr(signal, "SIGHUP", None)


class _Stoppable(Protocol):
    """The part of a pipeline that a signal handler calls."""

    def stop(self) -> None: ...

    def cancel(self) -> None: ...


class Interrupts:
    """Handles Ctrl-C, SIGTERM and SIGHUP (unless `nohup` ignores it) within the `with` block.

    Before there is a pipeline, a signal raises `KeyboardInterrupt`. After that the first signal
    stops the pipeline, and the second cancels it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0  # signals within 50 ms are one
        self.pipeline: _Stoppable | None = None  # to be set when it takes over
        self._clock = clock
        self._deferring = False
        self._last_s = -math.inf
        self._handlers: dict[int, Any] = {}  # those before

    def __enter__(self) -> Interrupts:
        # Python allows this on the main thread only.
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM):
                self._handlers[kind] = signal.signal(kind, self._handle)
            if _HANGUP is not None and signal.getsignal(_HANGUP) is signal.SIG_DFL:
                self._handlers[_HANGUP] = signal.signal(_HANGUP, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._handlers.items():
            signal.signal(kind, handler)

    def _handle(self, kind: int, _: object) -> None:
        now_s, last_s = self._clock(), self._last_s
        self._last_s = now_s
        if now_s - last_s < _SAME_REQUEST_S or (kind == _HANGUP and self.count):
            return
        self.count += 1
        if self.pipeline is not None:
            (self.pipeline.stop if self.count == 1 else self.pipeline.cancel)()
        elif not self._deferring or self.count > 1:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the first signal take effect only at the end of the block."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self.count:
            raise KeyboardInterrupt
