"""A live source that goes away and comes back, as one that never ends."""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from typing import Any

from ..errors import RefusedError, SourceError, UsageError
from ..media.frame import Item, StatusEvent, StreamInfo
from .base import Source
from .continuity import StreamContinuity

__all__ = ["Reconnecting", "attempts"]

_logger = logging.getLogger("livemosaic")

# The first attempt is quick, because most interruptions are short; then each waits twice as long as
# the one before. One second at most: the picture has to be back within 2 s of its source, and an
# attempt that nobody answers costs next to nothing.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 1.0
# A share by which each wait varies, so that many clients do not come back at the same moment.
_JITTER = 0.2
# A source that goes away again sooner was never well: its waits go on growing.
_WELL_S = 5.0


def attempts(reconnect: str | int | None) -> float | None:
    """How often `--reconnect` tries: a number, infinity for "always", None where nothing is said.

    Raises
    ------
    UsageError
        for anything but never, a whole number from 0, and always
    """
    if reconnect is None:
        return None
    text = str(reconnect)
    if text == "always":
        return float("inf")
    if text == "never":
        return 0
    if text.isascii() and text.isdigit():
        return int(text)
    raise UsageError(f"--reconnect {text}: say never, always, or how many times in a row")


class Reconnecting(Source):
    """Opens a live source again when it ends, fails or stalls.

    While it is away there is a `StatusEvent`. Its frames and packets go on in the times, the size,
    the colour and the tracks that it had at first.

    Parameters
    ----------
    open : opens the source, or raises `SourceError`; `RefusedError` when trying again is useless
    name : of the source, for messages
    reconnect : "never"; "always"; how many attempts in a row may fail; None for always once it has
        been there, while an error of the first attempt is one at once
    jitter : gives numbers from 0 to 1

    Attributes
    ----------
    reconnects : how often it came back
    """

    reconnects = 0

    def __init__(
        self,
        open: Callable[[], Source],
        *,
        name: str,
        reconnect: str | int | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._open, self._jitter = open, jitter
        asked = attempts(reconnect)
        self._attempts = float("inf") if asked is None else asked
        self._interrupted: Future[None] = Future()
        self._wait_s = _FIRST_WAIT_S
        self._bad_before = self._dropped_before = 0
        try:
            source = open()
        except SourceError as error:
            if not asked or isinstance(error, RefusedError):
                raise
            _logger.warning("%s; trying again", error)
            source = self._retry(refusals=True)
        self._source = source
        self.info: StreamInfo = source.info
        self._splice = StreamContinuity(self.info, name=name)

    @property
    def bad_frames(self) -> int:
        return self._bad_before + self._source.bad_frames

    @property
    def dropped(self) -> int:
        """Pictures that the source let go because decoding did not keep up."""
        return self._dropped_before + self._source.dropped

    def __iter__(self) -> Iterator[Item]:
        while True:
            began_s = time.monotonic()
            failure: SourceError | None = None
            try:
                for item in self._source:
                    yield from self._splice(item)
                    if self._interrupted.done():
                        return
            except SourceError as error:
                failure = error
            if self._interrupted.done():
                return
            if self._attempts == 0:
                if failure is not None:
                    raise failure
                return
            if time.monotonic() - began_s > _WELL_S:
                self._wait_s = _FIRST_WAIT_S
            _logger.warning("%s; reconnecting", failure or f"{self.name}: the stream has ended")
            yield StatusEvent("reconnecting")
            try:
                self._come_back()
            except _InterruptedError:
                return

    def interrupt(self) -> None:
        """End the iteration at once, from any thread."""
        with contextlib.suppress(InvalidStateError):  # the second time
            self._interrupted.set_result(None)
        self._source.interrupt()

    def close(self) -> None:
        """Release the source. May be called twice."""
        self.interrupt()
        self._source.close()

    def _come_back(self) -> None:
        """Replace the source by a new one."""
        since_s = time.monotonic()
        self._source.close()
        source = self._retry(refusals=False)
        self._bad_before, self._dropped_before = self.bad_frames, self.dropped
        self._source = source
        self.reconnects += 1
        self._splice.restart(source.info)
        _logger.info("%s: back after %.1f s", self.name, time.monotonic() - since_s)

    def _retry(self, *, refusals: bool) -> Source:
        """Open until it works; `refusals` says whether they count at once.

        A server that starts again may know neither paths nor users at first: what has been there is
        asked for again.
        """
        for failed in itertools.count(1):
            wait_s = self._wait_s * (1 + _JITTER * (2 * self._jitter() - 1))
            self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
            if wait([self._interrupted], wait_s).done:
                break
            try:
                return self._attempt()
            except SourceError as error:
                if refusals and isinstance(error, RefusedError):
                    raise
                if failed >= self._attempts:
                    times = "once" if failed == 1 else f"{failed} times in a row"
                    raise SourceError(
                        f"{error}; tried again {times}, --reconnect always never gives up"
                    ) from None
                _logger.debug("%s", error)
        raise _InterruptedError

    def _attempt(self) -> Source:
        """Open on a thread of its own: the wait can be interrupted, what happens in C cannot."""
        opened: Future[Source] = Future()

        def work() -> None:
            try:
                opened.set_result(self._open())
            except BaseException as error:
                opened.set_exception(error)

        threading.Thread(target=work, name=f"livemosaic open {self.name}", daemon=True).start()
        both: list[Future[Any]] = [opened, self._interrupted]
        wait(both, return_when=FIRST_COMPLETED)
        if not opened.done() or self._interrupted.done():
            opened.add_done_callback(_close)
            raise _InterruptedError
        return opened.result()


class _InterruptedError(Exception):
    """Nobody wants the source any more."""


def _close(opened: Future[Source]) -> None:
    if opened.exception() is None:
        opened.result().close()
