"""Hand-overs: what stands between two stages that run on threads of their own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from .frame import TrackPacket

__all__ = ["Closed", "WaitingHandover"]

T = TypeVar("T")

# Packets of other tracks are small, but a track that runs far ahead of the picture must not pile
# up without limit: this is half a minute of audio with two subtitle tracks.
_MAX_PACKETS = 4096


class Closed(Exception):
    """The other side has gone: there is no sense in going on."""


class WaitingHandover(Generic[T]):
    """A short queue that loses nothing: who puts waits for room. For files.

    Parameters
    ----------
    frames : how many frames may wait; packets of other tracks pass in their order
    """

    def __init__(self, frames: int) -> None:
        self._limit = frames
        self._items: deque[T] = deque()
        self._frames = 0
        self._changed = threading.Condition()
        self._finished = False
        self._cancelled = False

    def put(self, item: T) -> None:
        """Hand over one item; waits while the queue is full. `Closed` when nobody takes it."""
        is_frame = not isinstance(item, TrackPacket)
        with self._changed:
            self._changed.wait_for(
                lambda: self._cancelled or self._finished or self._has_room(is_frame)
            )
            if self._cancelled or self._finished:
                raise Closed
            self._items.append(item)
            self._frames += is_frame
            self._changed.notify_all()

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
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._finished or self._cancelled)
                if self._cancelled:
                    raise Closed
                if not self._items:
                    return
                item = self._items.popleft()
                self._frames -= not isinstance(item, TrackPacket)
                self._changed.notify_all()
            yield item
            # The generator must not keep a picture alive while it waits for the next.
            del item

    def _has_room(self, is_frame: bool) -> bool:
        if is_frame:
            return self._frames < self._limit
        return len(self._items) - self._frames < _MAX_PACKETS
