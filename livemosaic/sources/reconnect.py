"""Reconnecting to a live source that ends, fails or stalls."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from dataclasses import dataclass
from typing import Any

from ..blocking import start_call
from ..errors import OptionError, RefusedError, SourceError
from ..media.frame import Item, StatusEvent
from ..parse import reconnect_attempts
from .base import Source
from .continuity import StreamContinuity

_logger = logging.getLogger("livemosaic")

# A source that ends sooner was not stable: the waits continue to grow.
_STABLE_S = 5.0


@dataclass
class Backoff:
    """The waits before attempts to reconnect: each twice as long as the one before."""

    first_s: float = 0.25  # short, because most interruptions are short
    # The picture should be back within 2 s after the source is. An attempt without an answer costs
    # next to nothing.
    max_s: float = 1.0
    # Each wait varies by this share, so that many clients do not return at the same moment.
    jitter: float = 0.2
    chance: Callable[[], float] = random.random  # returns numbers from 0 to 1

    def __post_init__(self) -> None:
        self._next_s = self.first_s

    def next_s(self) -> float:
        """The wait before the next attempt."""
        wait_s = self._next_s * (1 + self.jitter * (2 * self.chance() - 1))
        self._next_s = min(2 * self._next_s, self.max_s)
        return wait_s

    def reset(self) -> None:
        """Begin with the first wait again."""
        self._next_s = self.first_s


class ReconnectingSource(Source):
    """Opens a live source again when it ends, fails or stalls.

    A `StatusEvent` says that the source is away. Its later frames and packets continue the times,
    the size, the colour and the tracks of the first ones.

    Parameters
    ----------
    open : opens the source, or raises `SourceError`; `RefusedError` if a retry is useless
    reconnect : "never", "always", or how many attempts in a row may fail. None: always, but an
        error of the first attempt is final
    wanted : the iteration ends instead of another attempt when this is False
    """

    reconnects = 0

    def __init__(
        self,
        open: Callable[[], Source],
        *,
        name: str,
        reconnect: str | int | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self._open, self._clock, self._wanted = open, clock, wanted
        self._backoff = backoff or Backoff()
        try:
            self._max_attempts = reconnect_attempts(
                "always" if reconnect is None else str(reconnect)
            )
        except ValueError:
            problem = "must be never, always, or a number of attempts"
            raise OptionError("reconnect", reconnect, problem) from None
        self._interrupted: Future[None] = Future()
        self._bad_before = self._dropped_before = 0
        try:
            source = open()
        except SourceError as error:
            if reconnect is None or not self._max_attempts or isinstance(error, RefusedError):
                raise
            _logger.warning("%s; trying again", error)
            retried = self._retry(refusals_are_final=True)
            assert retried is not None  # `interrupt` cannot be called yet
            source = retried
        self._source = source
        self.info = source.info
        self._continuity = StreamContinuity(self.info, name=name)

    @property
    def bad_frames(self) -> int:
        return self._bad_before + self._source.bad_frames

    @property
    def dropped(self) -> int:
        return self._dropped_before + self._source.dropped

    def __iter__(self) -> Iterator[Item]:
        while True:
            began_s = self._clock()
            failure: SourceError | None = None
            try:
                for item in self._source:
                    yield from self._continuity(item)
                    if self._interrupted.done():
                        return
            except SourceError as error:
                failure = error
            if self._interrupted.done():
                return
            if self._max_attempts == 0:
                if failure is not None:
                    raise failure
                return
            if self._clock() - began_s > _STABLE_S:
                self._backoff.reset()
            _logger.warning("%s; reconnecting", failure or f"{self.name}: the stream has ended")
            yield StatusEvent("reconnecting")
            if not self._reconnect():
                return

    def interrupt(self) -> None:
        with contextlib.suppress(InvalidStateError):  # the second time
            self._interrupted.set_result(None)
        self._source.interrupt()

    def close(self) -> None:
        self.interrupt()
        self._source.close()

    def _reconnect(self) -> bool:
        """Replace the source by a new one; False after `interrupt`, or if it is not wanted."""
        since_s = self._clock()
        self._source.close()
        source = self._retry(refusals_are_final=False)
        if source is None:
            return False
        self._bad_before, self._dropped_before = self.bad_frames, self.dropped
        self._source = source
        self.reconnects += 1
        self._continuity.restart(source.info)
        _logger.info("%s: back after %.1f s", self.name, self._clock() - since_s)
        return True

    def _retry(self, *, refusals_are_final: bool) -> Source | None:
        """Open the source, and retry until it works; None after `interrupt`, or if not wanted.

        A server that restarts may refuse paths and users at first. So refusals are final only for a
        source that was never open.
        """
        failed = 0
        while self._wanted() and not wait([self._interrupted], self._backoff.next_s()).done:
            try:
                return open_interruptibly(self._open, self._interrupted, name=self.name)
            except SourceError as error:
                if refusals_are_final and isinstance(error, RefusedError):
                    raise
                failed += 1
                if failed >= self._max_attempts:
                    attempts = "attempt" if failed == 1 else "attempts in a row"
                    raise SourceError(
                        f"{error}; gave up after {failed} {attempts}; "
                        "to keep trying, set reconnect to always"
                    ) from None
                _logger.debug("%s", error)
        return None


def open_interruptibly(
    open: Callable[[], Source], interrupted: Future[None], *, name: str
) -> Source | None:
    """Open on a thread of its own; None if interrupted, which ends this wait, but no call in C."""
    opened = start_call(open, name=f"open {name}")
    both: list[Future[Any]] = [opened, interrupted]
    wait(both, return_when=FIRST_COMPLETED)
    if not opened.done() or interrupted.done():
        opened.add_done_callback(_close)
        return None
    return opened.result()


def _close(opened: Future[Source]) -> None:
    if opened.exception() is None:
        opened.result().close()
