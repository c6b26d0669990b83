"""Monitors of the hand-overs between threads: the tests run every pipeline with them.

`LIVEMOSAIC_MONITORS=1` switches them on. Otherwise this module is not imported.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from ..media.frame import Frame, StreamInfo, TrackPacket
from ..sinks.base import Sink
from .queues import FrameQueue

T = TypeVar("T")

# No queue and no encoder needs that many pictures at once.
_MAX_LEASES = 100

# Even a test that stops a thread goes on after that time.
_MAX_AGE_S = 60.0

# The container may give a duration that ends before the last frames do.
_MAX_OVERTIME_S = 5.0


class MonitorError(AssertionError):
    """A hand-over breaks a rule: an error of the program, or of a source that is not its own."""


class Monitor:
    """Checks each item that comes by one place.

    Parameters
    ----------
    place : for the message
    info : the stream, with the frames' width and height
    live : whether frames carry the time of their capture
    """

    def __init__(self, place: str, info: StreamInfo, *, live: bool) -> None:
        self._place, self._info, self._live = place, info, live
        self._last: tuple[Any, float] | None = None  # of the last frame: time and capture
        self._leases: list[weakref.ref[Any]] = []

    def check(self, item: object) -> None:
        """Raise `MonitorError` if the item breaks a rule."""
        tracks = len(self._info.tracks)
        if isinstance(item, TrackPacket) and tracks:
            self._expect(0 <= item.track < tracks, f"a packet of track {item.track}")
        if not isinstance(item, Frame):
            return
        size = item.width, item.height
        self._expect(size == (self._info.width, self._info.height), f"a frame of the size {size}")
        self._check_times(item)
        self._check_leases(item)

    def _check_times(self, frame: Frame) -> None:
        at, now_s = frame.pts * frame.time_base, time.monotonic()
        if self._last is not None:
            self._expect(at > self._last[0], f"a frame at {at} after that at {self._last[0]}")
        end_s = self._info.duration_s
        if end_s is not None and not self._info.live:
            self._expect(
                at <= end_s + _MAX_OVERTIME_S, f"a frame at {at}, after the end at {end_s}"
            )
        self._expect(frame.duration >= 0, f"a frame with the duration {frame.duration}")
        if self._live:
            age_s = now_s - frame.captured_s
            self._expect(0 <= age_s <= _MAX_AGE_S, f"a frame that is {age_s:.3f} s old")
            if self._last is not None:
                back_s = self._last[1] - frame.captured_s
                self._expect(back_s <= 0, f"a frame captured {back_s:.3f} s before the last")
        self._last = at, frame.captured_s

    def _check_leases(self, frame: Frame) -> None:
        if frame.y.flags.writeable:
            return  # not a picture of the mosaic, whose memory is used again
        self._leases = [lease for lease in self._leases if lease() is not None]
        self._leases.append(weakref.ref(frame.y))
        self._expect(len(self._leases) <= _MAX_LEASES, f"{len(self._leases)} frames are kept")

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            raise MonitorError(f"{self._place}: {problem}; its stream is {self._info}")


def watch_queue(queue: FrameQueue[T], monitor: Monitor) -> None:
    """Check the items that are put into a queue."""
    queue.put = _checked(queue.put, monitor)  # type: ignore[assignment,method-assign]


def watch_sink(sink: Sink, monitor: Monitor) -> None:
    """Check the items that a sink gets."""
    sink.write = _checked(sink.write, monitor)  # type: ignore[assignment,method-assign]


def _checked(put: Callable[[Any], None], monitor: Monitor) -> Callable[[Any], None]:
    # Not the method itself: its object, which will have this one, must end with its last user.
    method = weakref.WeakMethod(put)

    def checked(item: Any) -> None:
        monitor.check(item)
        put = method()
        assert put is not None
        put(item)

    return checked
