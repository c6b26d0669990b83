"""A sink, the hand-over before it, and how it does."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from ..media.frame import Frame, TrackPacket
from ..media.frame_rate import FrameRate
from ..sinks.base import Sink, Window
from .frame_rate import by_clock
from .queues import Closed, Ended, FrameQueue
from .stats import Recent, Times

__all__ = ["SinkWriter", "WindowWriter"]

_MAX_GAP_S = 10  # longer gaps of a recording are not filled with hours of one picture


class SinkWriter:
    """Gives one sink its items, on a thread of its own.

    Parameters
    ----------
    sink : open
    queue : what the mosaic puts its pictures into for this sink
    rate : give it frames at this constant rate; None: as they come
    cancelled : whether the work is to be given up

    Attributes
    ----------
    frames : how many the sink took
    frames_out : how many are in its result
    dropped : how many did not reach it, or found no place in it
    repeated : how many it had before
    first_s : when it had taken the first frame, 0 before
    last_latency_s, last_decoding_s : of the newest frame that it took
    video_s : from the first frame's time to the end of the last one's
    times : of the sink's work per frame
    latency : from capture to hand-off
    recent : the same over the last seconds
    thread : on which it is served; None for a window, which needs the caller's
    kept : finished, and whole
    failed : undone
    """

    def __init__(
        self,
        sink: Sink,
        queue: FrameQueue[Frame | TrackPacket],
        *,
        rate: Fraction | None,
        nominal: Fraction,
        cancelled: Callable[[], bool],
    ) -> None:
        self.sink, self.queue = sink, queue
        self._frame_rate = FrameRate(rate, max_gap_s=_MAX_GAP_S) if rate is not None else None
        self._lasts_s = float(1 / (rate or nominal))
        self._cancelled = cancelled
        self.frames = 0
        self.first_s = 0.0
        self.last_latency_s = self.last_decoding_s = 0.0
        self.video_s = 0.0
        self.times, self.latency, self.recent = Times(), Times(), Recent()
        self.thread: threading.Thread | None = None
        self.kept = self.failed = False
        self._started_at_s = 0.0  # the first frame's own time

    @property
    def repeated(self) -> int:
        paced = self._frame_rate.repeated if self._frame_rate is not None else 0
        return paced + self._by_itself[1]

    @property
    def frames_out(self) -> int:
        dropped, repeated = self._by_itself
        return self.frames - dropped + repeated

    @property
    def _by_itself(self) -> tuple[int, int]:
        """Frames that the sink left out and repeated."""
        return self.sink.dropped, self.sink.repeated

    @property
    def dropped(self) -> int:
        """Frames that the sink did not get, or left out."""
        paced = self._frame_rate.dropped if self._frame_rate is not None else 0
        return self.queue.dropped + paced + self._by_itself[0]

    @property
    def ended(self) -> bool:
        """Whether it is finished or undone."""
        return self.kept or self.failed

    def put(self, item: Frame | TrackPacket) -> None:
        """Hand over an item for the sink, if it takes any more."""
        with contextlib.suppress(Closed):
            self.queue.put(item)

    def serve(self) -> None:
        """Give the sink everything to the end, and finish it, or undo it."""
        try:
            for item, new in self._items():
                self._give(item, new=new)
                del item
            if self._cancelled():
                raise Closed
            self._finish()
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """End a sink that is not to be finished. Never raises."""
        self.failed = True
        with contextlib.suppress(Exception):
            self.sink.abort()

    def _finish(self) -> None:
        self.sink.close()
        self.kept = True

    def report(self) -> dict[str, Any]:
        """How this sink did, in numbers."""
        return {
            "name": self.sink.name,
            "frames": self.frames_out,
            "dropped": self.dropped,
            "repeated": self.repeated,
            "latency_ms": self.latency_ms(),
        }

    def latency_ms(self) -> dict[str, float]:
        """From capture to hand-off, over the whole run."""
        return {**self.latency.summary(50, 95, 99), "max": self.latency.max_ms}

    def _items(self) -> Iterator[tuple[Frame | TrackPacket, bool]]:
        if self._frame_rate is None:
            for item in self.queue:
                yield item, True
                del item
        elif self.sink.latest_only:
            yield from by_clock(self.queue, self._frame_rate)
        else:
            yield from self._frame_rate.nearest(self.queue)

    def _give(self, item: Frame | TrackPacket, *, new: bool = True) -> None:
        began = time.monotonic()
        self.sink.write(item)
        if isinstance(item, Frame):
            self._count(item, began, new=new)

    def _count(self, frame: Frame, began: float, *, new: bool) -> None:
        now = time.monotonic()
        self.times.add(now - began)
        if self.frames == 0:
            self.first_s, self._started_at_s = now, frame.time_s
        self.frames += 1
        lasts_s = float(frame.duration * frame.time_base) or self._lasts_s
        self.video_s = frame.time_s + lasts_s - self._started_at_s
        if new:
            self.last_latency_s, self.last_decoding_s = now - frame.captured_s, frame.decoding_s
            self.latency.add(self.last_latency_s)
            self.recent.add(self.last_latency_s)


class WindowWriter(SinkWriter):
    """Gives a window its pictures, in steps on the thread that windows need."""

    sink: Window

    def step(self, timeout_s: float) -> bool:
        """Show the next picture if there is one in time, and serve the window's events.

        Returns
        -------
        False when the window is closed, because there is nothing more to show
        """
        try:
            item = self.queue.take(timeout_s)
            if item is not None:
                self._give(item)
            self.sink.pump()
        except Ended:
            self._finish()
            return False
        except BaseException:
            self.undo()
            raise
        return True
