"""The packets between receiving a stream and decoding it; drops some when decoding is slow."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

# If the oldest waiting frame is this old, decoding does not keep up, and the frames before the
# newest key frame are dropped. A decoder can catch up with less, the burst after a busy moment.
_LATE_S = 0.5
# Without a key frame in the queue, the output would stand still until the next one comes, which
# takes 10 s with some cameras. So the delay has to be longer to drop all.
_VERY_LATE_S = 2.0
_MAX_AHEAD = 256  # packets, some seconds of video and sound, where the receiver waits
_MAX_WAITING = 4096  # packets, minutes of sound, when the decoder takes none


class Arrival(NamedTuple):
    """A received packet."""

    packet: Any
    track: int | None  # index into `StreamInfo.tracks`, None for a frame
    at_s: float  # time of arrival, `time.monotonic()`
    key: bool = False  # whether decoding can begin with it
    after_gap: bool = False  # whether packets of the same track before it were dropped


class PacketQueue:
    """Packets on their way from the receiving thread to the decoding one."""

    def __init__(self) -> None:
        # True where reading paces the stream: `put` waits for the decoder. False where the stream
        # has its own pace: late frames are dropped.
        self.waits = False
        self.dropped = 0  # frames
        self._changed = threading.Condition()
        self._waiting: deque[Arrival] = deque()
        self._skipping = False  # until the next key frame
        self._finished = False
        self._error: BaseException | None = None
        self._closed = False

    def put(self, arrival: Arrival) -> bool:
        """Add a packet; False after `close`."""
        with self._changed:
            while self.waits and len(self._waiting) >= _MAX_AHEAD and not self._closed:
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
                self._drop_late(arrival.at_s)
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None = None) -> None:
        """End the queue; after the last packet `get` raises `error`, or returns None."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """End both sides at once, from any thread."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def get(self, timeout: float) -> Arrival | None:
        """The next packet; None at the end and after `close`. `TimeoutError` if none comes."""
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

    def _drop_late(self, now_s: float) -> None:
        frames = [arrival for arrival in self._waiting if arrival.track is None]
        if len(self._waiting) > _MAX_WAITING:
            self.dropped += len(frames)
            self._waiting.clear()
            self._skipping = True
            return
        age_s = now_s - frames[0].at_s if frames else 0.0
        if age_s < _LATE_S:
            return
        resume = next((arrival for arrival in reversed(frames) if arrival.key), None)
        if resume is None or resume is frames[0]:
            if age_s < _VERY_LATE_S:
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
