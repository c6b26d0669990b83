"""Hand-overs: what stands between two stages that run on threads of their own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ..media.frame import Frame, TrackPacket

__all__ = ["BlockingQueue", "Closed", "Ended", "FrameQueue", "LatestQueue"]

T = TypeVar("T")

# Packets of other tracks are small, but a track that runs far ahead of the picture must not pile
# up without limit: this is half a minute of audio with two subtitle tracks.
_MAX_PACKETS = 4096

# A wait looks again after this long, although every change wakes it.
_LOOK_S = 1.0


class Closed(Exception):
    """The other side has gone: there is no sense in going on."""


class Ended(Exception):
    """Nothing more will come."""


class FrameQueue(ABC, Generic[T]):
    """A short queue between two threads. What happens when it is full is up to the subclass.

    Parameters
    ----------
    frames : how many frames may wait; packets of other tracks pass in their order

    Attributes
    ----------
    dropped : frames that were left out
    """

    def __init__(self, frames: int) -> None:
        self._limit = frames
        self._items: deque[T] = deque()
        self._frames = 0
        self._changed = threading.Condition()
        self._finished = False
        self._cancelled = False
        self.dropped = 0

    def put(self, item: T) -> None:
        """Hand over one item. `Closed` when nobody takes it."""
        is_packet = isinstance(item, TrackPacket)
        with self._changed:
            if not self._closed:
                self._make_room(is_packet)
            if self._closed:
                raise Closed
            self._items.append(item)
            self._frames += not is_packet
            self._changed.notify_all()

    def take(self, timeout_s: float | None = None) -> T | None:
        """The next item; None when none came in time.

        Raises
        ------
        Ended : after `finish`, when everything was taken
        Closed : after `cancel`
        """
        with self._changed:
            self._wait_for(lambda: self._items or self._closed, timeout_s)
            if self._cancelled:
                raise Closed
            if not self._items:
                if self._finished:
                    raise Ended
                return None
            item = self._items.popleft()
            self._frames -= not isinstance(item, TrackPacket)
            self._changed.notify_all()
            return item

    def rest(self, seconds: float) -> None:
        """Let time pass; returns early after `finish` and `cancel`."""
        with self._changed:
            self._wait_for(lambda: self._closed, max(0.0, seconds))

    def finish(self) -> None:
        """Nothing more will be taken in; what is there is still given out."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Stop both sides at once and forget what is there."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take the items until the end. `Closed` when cancelled."""
        while True:
            try:
                item = self.take()
            except Ended:
                return
            if item is not None:
                yield item
            # The generator must not keep a picture alive while it waits for the next.
            del item

    @property
    def _closed(self) -> bool:
        return self._finished or self._cancelled

    def _has_room(self, is_packet: bool) -> bool:
        if is_packet:
            return len(self._items) - self._frames < _MAX_PACKETS
        return self._frames < self._limit

    def _wait_for(self, true: Callable[[], object], timeout_s: float | None) -> None:
        if timeout_s is not None:
            self._changed.wait_for(true, timeout_s)
            return
        while not self._changed.wait_for(true, _LOOK_S):
            pass

    @abstractmethod
    def _make_room(self, is_packet: bool) -> None:
        """Do what is to be done so that one more item fits; the lock is held."""


class BlockingQueue(FrameQueue[T]):
    """Loses nothing: who puts waits for room. For files."""

    def _make_room(self, is_packet: bool) -> None:
        self._wait_for(lambda: self._closed or self._has_room(is_packet), None)


class LatestQueue(FrameQueue[T]):
    """Keeps nobody waiting: the oldest makes room for the newest. For what is live.

    With one frame it is a slot that holds the newest picture; with more it evens out a stage whose
    pace varies.
    """

    def __init__(self, frames: int = 1) -> None:
        super().__init__(frames)

    def _make_room(self, is_packet: bool) -> None:
        while not self._has_room(is_packet):
            kinds = (isinstance(item, TrackPacket) for item in self._items)
            oldest = next(place for place, kind in enumerate(kinds) if kind == is_packet)
            self._frames -= not is_packet
            self.dropped += isinstance(self._items[oldest], Frame)
            del self._items[oldest]
