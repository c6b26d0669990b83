"""Bounded queues between pipeline threads."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from ..media.frame import Frame, TrackPacket

T = TypeVar("T")

# Packets of other tracks are small, but a track that runs far ahead of the picture must not pile
# up without limit: this is half a minute of audio with two subtitle tracks.
_MAX_PACKETS = 4096


class Closed(Exception):
    """The queue takes and gives no more items: the other side has gone."""


class Ended(Exception):
    """The queue is finished and empty."""


class FrameQueue(ABC, Iterator[T]):
    """A short queue between two threads; the subclass decides what happens when it is full.

    Packets of other tracks keep their order among the frames.
    """

    def __init__(self, max_frames: int, *, max_packets: int = _MAX_PACKETS) -> None:
        self._max_frames, self._max_packets = max_frames, max_packets
        self._items: deque[T] = deque()
        self._frames = 0
        self._changed = threading.Condition()
        self._finished = self._cancelled = False
        self.dropped = 0  # frames that were removed to make room

    def put(self, item: T) -> None:
        """Append one item; `Closed` after `finish` and `cancel`."""
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
        """Remove and return the oldest item; None when none came in time.

        Raises `Closed` after `cancel`, and `Ended` after `finish` when the queue is empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
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
            self._changed.wait_for(lambda: self._closed, max(0.0, seconds))

    def finish(self) -> None:
        """Refuse further items; those in the queue can still be taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Stop both sides at once and remove all items."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take the items until the end. `Closed` when cancelled."""
        return self

    def __next__(self) -> T:
        # Not a generator, which would hold the last frame during the wait: see `Frame`.
        try:
            item = self.take()
        except Ended:
            raise StopIteration from None
        assert item is not None  # without a timeout
        return item

    @property
    def _closed(self) -> bool:
        return self._finished or self._cancelled

    def _has_room(self, is_packet: bool) -> bool:
        if is_packet:
            return len(self._items) - self._frames < self._max_packets
        return self._frames < self._max_frames

    @abstractmethod
    def _make_room(self, is_packet: bool) -> None:
        """Make room for one more item; the caller owns the lock."""


class BlockingQueue(FrameQueue[T]):
    """`put` waits for room, so no frame is lost. For files."""

    def _make_room(self, is_packet: bool) -> None:
        self._changed.wait_for(lambda: self._closed or self._has_room(is_packet))


class LatestQueue(FrameQueue[T]):
    """`put` never waits: the oldest frame makes room for the newest. For live streams.

    With one frame it is a slot for the latest picture; with more it evens out a thread whose speed
    varies.
    """

    def __init__(self, max_frames: int = 1, *, max_packets: int = _MAX_PACKETS) -> None:
        super().__init__(max_frames, max_packets=max_packets)

    def _make_room(self, is_packet: bool) -> None:
        while not self._has_room(is_packet):
            kinds = (isinstance(item, TrackPacket) for item in self._items)
            oldest = next(place for place, kind in enumerate(kinds) if kind == is_packet)
            self._frames -= not is_packet
            self.dropped += isinstance(self._items[oldest], Frame)
            del self._items[oldest]
