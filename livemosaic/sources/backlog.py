"""What waits between receiving a stream and decoding it, and what is let go when that is slow."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

__all__ = ["Arrival", "Backlog"]

# When the oldest waiting picture is this old, decoding does not keep up, and what is waiting is let
# go up to the newest key picture, or until the next one comes: a picture that stands is better than
# a delay that grows. Long enough for a burst after a busy moment, which is caught up with.
_LIMIT_S = 0.5
# Nothing is received faster than it is decoded from a stream that is paced by its reader.
_AHEAD = 256  # packets, some seconds of picture and sound
_MOST = 4096  # packets, when nobody takes anything: minutes of sound


class Arrival(NamedTuple):
    """A packet that has come.

    Attributes
    ----------
    packet : av.Packet
    track : index into `StreamInfo.tracks`, None for the picture's
    at_s : when it came, `time.monotonic()`
    key : whether decoding can begin with it
    after_gap : whether packets of the same track before it were let go
    """

    packet: Any
    track: int | None
    at_s: float
    key: bool = False
    after_gap: bool = False


class Backlog:
    """Packets on their way from the thread that receives to the one that decodes.

    Parameters
    ----------
    waits : True where the receiver has to wait for the decoder, because the stream's reader is what
        paces it; False where the stream comes at its own pace and late pictures are let go

    Attributes
    ----------
    dropped : packets of the picture that were let go
    """

    def __init__(self, *, waits: bool = False) -> None:
        self.dropped = 0
        self._waits = waits
        self._changed = threading.Condition()
        self._waiting: deque[Arrival] = deque()
        self._skipping = False  # until the next key picture
        self._finished = False
        self._error: BaseException | None = None
        self._closed = False

    def put(self, arrival: Arrival) -> bool:
        """Add a packet; False when nobody wants any more."""
        with self._changed:
            while self._waits and len(self._waiting) >= _AHEAD and not self._closed:
                self._changed.wait()
            if arrival.track is None:
                if self._skipping and not arrival.key:
                    self.dropped += 1
                    return not self._closed
                arrival = arrival._replace(after_gap=self._skipping)
                self._skipping = False
            self._waiting.append(arrival)
            if not self._waits:
                self._let_go(arrival.at_s)
            self._changed.notify_all()
            return not self._closed

    def finish(self, error: BaseException | None = None) -> None:
        """No more will come; `error` is what `get` raises at the end."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Wake both sides, for good; from any thread."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def get(self, timeout: float) -> Arrival | None:
        """The next packet; None at the end, or when it is closed.

        Raises
        ------
        TimeoutError
            when none comes within `timeout` seconds
        """
        with self._changed:
            if not self._changed.wait_for(self._ready, timeout):
                raise TimeoutError
            if self._waiting:
                self._changed.notify_all()
                return self._waiting.popleft()
            if self._error is not None and not self._closed:
                raise self._error
            return None

    def _ready(self) -> bool:
        return bool(self._waiting) or self._finished or self._closed

    def _let_go(self, now_s: float) -> None:
        pictures = [arrival for arrival in self._waiting if arrival.track is None]
        too_many = len(self._waiting) > _MOST
        if not too_many and (not pictures or now_s - pictures[0].at_s < _LIMIT_S):
            return
        keys = [arrival for arrival in pictures if arrival.key]
        resume = keys[-1] if keys and not too_many else None
        if resume is pictures[0]:
            resume = None
        kept: deque[Arrival] = deque()
        reached = False
        for arrival in self._waiting:
            if arrival.track is not None:
                if not too_many:
                    kept.append(arrival)
            elif arrival is resume:
                reached = True
                kept.append(arrival._replace(after_gap=True))
            elif reached:
                kept.append(arrival)
            else:
                self.dropped += 1
        self._waiting = kept
        self._skipping = resume is None
