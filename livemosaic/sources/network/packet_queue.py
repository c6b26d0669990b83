"""What waits between receiving a stream and decoding it, and what is let go when that is slow."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

__all__ = ["Arrival", "PacketQueue"]

# When the oldest waiting picture is this old, decoding does not keep up, and what waits is let go
# up to the newest key picture. Long enough for the burst after a busy moment, which is caught up
# with.
_LATE_S = 0.5
# Without a key picture to go on from, the picture would stand until the next one comes, 10 s with
# some cameras: only a decoder that is hopelessly late is worth that.
_HOPELESS_S = 2.0
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


class PacketQueue:
    """Packets on their way from the thread that receives to the one that decodes.

    Attributes
    ----------
    waits : True where the receiver has to wait for the decoder, because the stream's reader is what
        paces it; False where the stream comes at its own pace and late pictures are let go
    dropped : packets of the picture that were let go
    """

    def __init__(self) -> None:
        self.waits = False
        self.dropped = 0
        self._changed = threading.Condition()
        self._waiting: deque[Arrival] = deque()
        self._skipping = False  # until the next key picture
        self._finished = False
        self._error: BaseException | None = None
        self._closed = False

    def put(self, arrival: Arrival) -> bool:
        """Add a packet; False when nobody wants any more."""
        with self._changed:
            while self.waits and len(self._waiting) >= _AHEAD and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            if arrival.track is None:
                if self._skipping and not arrival.key:
                    self.dropped += 1
                    return True
                arrival = arrival._replace(after_gap=self._skipping)
                self._skipping = False
            self._waiting.append(arrival)
            if not self.waits:
                self._let_go(arrival.at_s)
            self._changed.notify_all()
            return True

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
        """Forget what would be late."""
        pictures = [arrival for arrival in self._waiting if arrival.track is None]
        age_s = now_s - pictures[0].at_s if pictures else 0.0
        if len(self._waiting) > _MOST:
            self.dropped += len(pictures)
            self._waiting.clear()
            self._skipping = True
            return
        if age_s < _LATE_S:
            return
        resume = next((arrival for arrival in reversed(pictures) if arrival.key), None)
        if resume is None or resume is pictures[0]:
            if age_s < _HOPELESS_S:
                return
            resume = None
        kept: deque[Arrival] = deque()
        reached = False
        for arrival in self._waiting:
            if arrival is resume:
                reached = True
                arrival = arrival._replace(after_gap=True)
            if reached or arrival.track is not None:
                kept.append(arrival)
            else:
                self.dropped += 1
        self._waiting = kept
        self._skipping = resume is None
