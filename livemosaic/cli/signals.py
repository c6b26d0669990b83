"""What Ctrl-C, SIGTERM and SIGHUP do."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

__all__ = ["Interrupts"]


class _Stoppable(Protocol):
    """What `Interrupts` asks of a pipeline; both are called in a signal handler."""

    def stop(self) -> None: ...

    def cancel(self) -> None: ...


# Programs that stop others (`timeout`, service managers) signal the process and then its group: two
# signals within a millisecond are one request. No person presses Ctrl-C twice in this time.
_SAME_REQUEST_S = 0.05


# A terminal that is closed says so by this one, twice: the system and the shell. None on Windows.
_HANGUP: int | None = getattr(signal, "SIGHUP", None)


class Interrupts:
    """What Ctrl-C, SIGTERM and SIGHUP (unless `nohup` has it ignored) do within the `with` block:
    end the preparations by a `KeyboardInterrupt`, and later ask the pipeline to end.

    Attributes
    ----------
    count : how many came; those within 50 ms are one
    pipeline : set when it takes over: the first one stops it, the second cancels it
    """

    def __init__(self) -> None:
        self.count = 0
        self.pipeline: _Stoppable | None = None
        self._holding = False
        self._last_s = -math.inf
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        # Python allows it on the main thread only.
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM):
                self._before[kind] = signal.signal(kind, self._take)
            if _HANGUP is not None and signal.getsignal(_HANGUP) is signal.SIG_DFL:
                self._before[_HANGUP] = signal.signal(_HANGUP, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)

    def _take(self, kind: int, _: object) -> None:
        now, before = time.monotonic(), self._last_s
        self._last_s = now
        if now - before < _SAME_REQUEST_S or (kind == _HANGUP and self.count):
            return
        self.count += 1
        if self.pipeline is not None:
            (self.pipeline.stop if self.count == 1 else self.pipeline.cancel)()
        elif not self._holding or self.count > 1:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The first one takes effect only at the end of the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self.count:
            raise KeyboardInterrupt
