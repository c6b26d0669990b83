"""Whether a program reads a virtual camera of v4l2loopback."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import SinkError
from ..media import v4l2

MODULE = Path("/sys/module/v4l2loopback")

_SEARCH_S = 5.0  # a search in all processes takes some ms


class Readers:
    """Tells whether a program reads the virtual camera `device`; safe from any thread.

    From version 0.13 on v4l2loopback itself tells how many programs take pictures. Before, each
    program that has opened the camera counts as a reader, but this one. Linux counts how often the
    module's cameras are open, in `module`/refcnt, whichever user and container opens them. Among
    several virtual cameras, the processes that this user may look into tell which one is open.

    Raises
    ------
    SinkError
        when neither is known
    """

    def __init__(
        self,
        device: str,
        *,
        module: Path = MODULE,
        subscribe: Callable[[str], int] = v4l2.subscribe_readers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device, self._module, self._clock = device, module, clock
        self._lock = threading.Lock()
        self._closed = False
        self._count = 0
        self._before = -1  # how often the module's cameras were open
        self._searched_s = 0.0
        try:
            self._descriptor: int | None = subscribe(device)
        except OSError:
            self._descriptor = None
            self._is_only = sum(it.virtual for it in v4l2.video_devices()) == 1
            self._opened()

    def are_there(self) -> bool:
        """Whether a program reads; False after `close`. Costs some microseconds."""
        with self._lock:
            if self._closed:
                return False
            if self._descriptor is None:
                self._update_count()
            elif (count := v4l2.readers_of(self._descriptor)) is not None:
                self._count = count
            return self._count > 0

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(self._descriptor)
                self._descriptor = None

    def _update_count(self) -> None:
        opened, now_s = self._opened(), self._clock()
        if opened == self._before and (self._is_only or now_s < self._searched_s + _SEARCH_S):
            return
        self._before, self._searched_s = opened, now_s
        if self._is_only:
            # This program sends, and looks at the camera when it lists all cameras.
            self._count = opened - v4l2.own_descriptors(self._device)
        else:
            self._count = len(v4l2.holders(self._device))

    def _opened(self) -> int:
        try:
            return int((self._module / "refcnt").read_text())
        except (OSError, ValueError):
            raise SinkError(
                f"vcam: the driver does not tell whether a program reads {self._device}; install "
                "v4l2loopback 0.13 or later, or leave out --on-demand"
            ) from None
