"""A webcam that is open only while a program reads the virtual camera."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, InvalidStateError, wait
from dataclasses import replace

import numpy as np

from ..errors import SourceError
from ..media.frame import Card, Frame, Item, StatusEvent
from .base import Source
from .continuity import StreamContinuity
from .reconnect import Backoff, ReconnectingSource, open_interruptibly

_logger = logging.getLogger("livemosaic")

# A program that lists all cameras opens each for a moment. One that shows a preview and then joins
# the call closes the camera in between.
_COMES_S, _GOES_S = 0.1, 1.0
_POLL_S = 0.05

_DARK = 40  # of a card's frame, BGR

_OFF = "waiting for a reader", "The camera is off\nIt starts when a program shows this picture"
_STARTING = "the camera is starting", "The camera is starting"
_BUSY = (
    "camera not available",
    "The camera is not available\nAnother program may be using it; trying again",
)


class OnDemandSource(Source):
    """A webcam that is closed, with its light off, while its pictures are not wanted.

    The constructor opens it for a moment, to learn what its pictures are like. The iteration opens
    it when they are wanted, and tries again while that fails. In the meantime a `StatusEvent` with
    a card says why there are no pictures. Times go on with the clock.

    Parameters
    ----------
    open : opens the webcam, or raises `SourceError`
    reconnect : after the camera was lost while it was open, and at the start; see
        `ReconnectingSource`

    Attributes
    ----------
    is_wanted : tells whether the pictures are wanted; the pipeline sets it. Until then they are
    starts : how often the camera was opened for a reader
    open_s : for how many seconds it was open, all together
    status : why there are no pictures, such as "waiting for a reader"; empty while there are
    """

    def __init__(
        self,
        open: Callable[[], Source],
        *,
        name: str,
        reconnect: str | int | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._open, self._reconnect = open, reconnect
        self._backoff, self._clock = backoff, clock
        self._interrupted: Future[None] = Future()
        self.is_wanted: Callable[[], bool] = lambda: True
        self._wanted_s = 0.0  # when the pictures were last wanted
        self._bad_before = self._reconnects_before = 0
        self._opened_s: float | None = None  # while it is open
        self._open_before_s = 0.0
        self.starts = 0
        self.status = ""
        with self._reconnecting(open) as source:
            self.info = source.info
        self._source: Source | None = None
        self._continuity = StreamContinuity(self.info, name=name)
        size = (self.info.height, self.info.width)
        dark = np.full((*size, 3), _DARK, np.uint8)
        self._dark = Frame.from_bgr(dark, colour=self.info.colour, time_base=self.info.time_base)

    @property
    def bad_frames(self) -> int:
        return self._bad_before + (self._source.bad_frames if self._source is not None else 0)

    @property
    def reconnects(self) -> int:
        now = self._source.reconnects if self._source is not None else 0
        return self._reconnects_before + now

    @property
    def open_s(self) -> float:
        now_s = self._clock() - self._opened_s if self._opened_s is not None else 0.0
        return self._open_before_s + now_s

    def __iter__(self) -> Iterator[Item]:
        while not self._interrupted.done():
            if self.status != _OFF[0] and not self.is_wanted():
                yield self._event(*_OFF)
            if not self._wait_for_reader():
                return
            yield from self._pictures()

    def interrupt(self) -> None:
        """End the iteration within a tenth of a second, unless the camera is just opened."""
        with contextlib.suppress(InvalidStateError):  # the second time
            self._interrupted.set_result(None)
        source = self._source
        if source is not None:
            source.interrupt()

    def close(self) -> None:
        self.interrupt()
        self._end()

    def _wait_for_reader(self) -> bool:
        """Wait until the pictures have been wanted for a while; False after `interrupt`."""
        since_s = self._clock()
        while not self._interrupted.done():
            now_s = self._clock()
            if not self.is_wanted():
                since_s = now_s
            elif not self.status or now_s - since_s >= _COMES_S:
                self._wanted_s = now_s
                return True
            wait([self._interrupted], _POLL_S)
        return False

    def _is_wanted(self) -> bool:
        """Whether the pictures are wanted, or were a moment ago, and nothing interrupts."""
        now_s = self._clock()
        if self.is_wanted():
            self._wanted_s = now_s
        return not self._interrupted.done() and now_s - self._wanted_s < _GOES_S

    def _pictures(self) -> Iterator[Item]:
        """Open the camera, and yield its pictures as long as they are wanted."""
        began_s = self._clock()
        if self.status:
            yield self._event(*_STARTING)
        first = yield from self._opened()
        if first is None:
            return
        try:
            self._source = self._reconnecting(first)
            self._continuity.restart(self._source.info)
            self.starts += 1
            for item in self._source:
                if self.status and isinstance(item, Frame):
                    self.status = ""
                    _logger.info("%s: on after %.1f s", self.name, self._clock() - began_s)
                yield from self._continuity(item)
                if not self._is_wanted():
                    # Before the camera is closed, which takes a while: the next reader must not see
                    # its last picture.
                    if not self._interrupted.done():
                        yield self._event(*_OFF)
                    return
        finally:
            self._end()

    def _opened(self) -> Generator[Item, None, Callable[[], Source] | None]:
        """Open the camera, and try again as long as it is wanted; None if it no longer is.

        Returns a function that gives the open camera first, and opens it again after that.
        """
        backoff, problem = self._backoff(), ""
        while self._is_wanted():
            began_s = self._clock()
            try:
                source = open_interruptibly(self._open, self._interrupted, name=self.name)
            except SourceError as error:
                if str(error) != problem:
                    problem = str(error)
                    _logger.warning("%s; trying again", problem)
                    yield self._event(*_BUSY)
                deadline_s = self._clock() + backoff.next_s()
                while self._is_wanted() and self._clock() < deadline_s:
                    wait([self._interrupted], _POLL_S)
                continue
            if source is None:
                return None
            self._opened_s = began_s
            ready = [source]
            return lambda: ready.pop() if ready else self._open()
        return None

    def _reconnecting(self, open: Callable[[], Source]) -> ReconnectingSource:
        return ReconnectingSource(
            open,
            name=self.name,
            reconnect=self._reconnect,
            backoff=self._backoff(),
            clock=self._clock,
            wanted=self._is_wanted,
        )

    def _end(self) -> None:
        """Close the camera, if it is open."""
        source, self._source = self._source, None
        if source is not None:
            source.close()
            self._bad_before += source.bad_frames
            self._reconnects_before += source.reconnects
        if self._opened_s is not None:
            self._open_before_s += self._clock() - self._opened_s
            self._opened_s = None

    def _event(self, status: str, text: str) -> StatusEvent:
        """A status, with a card at the current time."""
        if status == _OFF[0]:
            _logger.info("%s: the camera is off, waiting for a reader", self.name)
        self.status = status
        dark = replace(self._dark, captured_s=self._clock())
        self._continuity.restart(self.info)
        (frame,) = self._continuity(dark)
        assert isinstance(frame, Frame)
        return StatusEvent(status, Card(text, frame))
