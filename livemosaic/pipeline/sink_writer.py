"""Sink writers: each gives one sink its items; a fan-out hands every item to all writers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from ..media.frame import Frame, TrackPacket, for_each
from ..media.frame_rate import FrameRate
from ..sinks.base import Sink, Window
from .frame_rate import by_clock
from .queues import Closed, Ended, FrameQueue
from .stats import Durations
from .threads import ThreadGroup

_MAX_GAP_S = 10  # longer gaps of a recording are not filled with hours of one picture


class SinkWriter:
    """Gives one sink its items, on a thread of its own.

    Parameters
    ----------
    queue : the mosaic worker's results for this sink
    rate : constant frames/s for the sink; None: frames keep their own times
    nominal_rate : frames/s of the mosaic worker's pictures

    Attributes
    ----------
    frames : how many frames the sink took
    first_s : `time.monotonic()` after the first frame, 0 before
    last_latency_s, last_decoding_s : of the newest frame that the sink took
    video_s : from the first frame's time to the end of the last frame
    durations : of the sink's work per frame
    latency : from capture to hand-off
    thread : None for a window, which needs the caller's thread
    completed, aborted : how the sink has ended
    """

    def __init__(
        self,
        sink: Sink,
        queue: FrameQueue[Frame | TrackPacket],
        threads: ThreadGroup,
        *,
        rate: Fraction | None,
        nominal_rate: Fraction,
    ) -> None:
        self.sink, self.queue, self._threads = sink, queue, threads
        self._frame_rate = FrameRate(rate, max_gap_s=_MAX_GAP_S) if rate is not None else None
        self._frame_s = float(1 / (rate or nominal_rate))
        self.frames = 0
        self.first_s = 0.0
        self.last_latency_s = self.last_decoding_s = 0.0
        self.video_s = 0.0
        self.durations, self.latency = Durations(), Durations()
        self.thread: threading.Thread | None = None
        self.completed = self.aborted = False
        self._start_time_s = 0.0  # the first frame's own time

    @property
    def frames_out(self) -> int:
        """How many frames are in the sink's result."""
        return self.frames - self.sink.dropped + self.sink.repeated

    @property
    def dropped(self) -> int:
        """Frames that did not reach the sink, or that the sink left out."""
        for_rate = self._frame_rate.dropped if self._frame_rate is not None else 0
        return self.queue.dropped + for_rate + self.sink.dropped

    @property
    def repeated(self) -> int:
        """How often a frame was repeated for the sink's rate."""
        for_rate = self._frame_rate.repeated if self._frame_rate is not None else 0
        return for_rate + self.sink.repeated

    @property
    def ended(self) -> bool:
        return self.completed or self.aborted

    def put(self, item: Frame | TrackPacket) -> None:
        """Queue an item, unless the sink takes no more."""
        with contextlib.suppress(Closed):
            self.queue.put(item)

    def run(self) -> None:
        """Write all items and close the sink; abort the sink on an error or a cancel."""
        try:
            for_each(self._items(), lambda entry: self._write(*entry))
            if self._threads.cancelled:
                raise Closed
            self._close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Abort the sink. Never raises."""
        self.aborted = True
        with contextlib.suppress(Exception):
            self.sink.abort()

    def report(self) -> dict[str, Any]:
        """This sink's part of the run report."""
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
        """The items to write, and whether each is new; False for repeated frames."""
        if self._frame_rate is None:
            return map(lambda item: (item, True), self.queue)
        if self.sink.latest_only:
            return by_clock(self.queue, self._frame_rate)
        return self._frame_rate.nearest(self.queue)

    def _write(self, item: Frame | TrackPacket, is_new: bool = True) -> None:
        began_s = time.monotonic()
        self.sink.write(item)
        if not isinstance(item, Frame):
            return
        now_s = time.monotonic()
        self.durations.add(now_s - began_s)
        if self.frames == 0:
            self.first_s, self._start_time_s = now_s, item.time_s
        self.frames += 1
        frame_s = float(item.duration * item.time_base) or self._frame_s
        self.video_s = item.time_s + frame_s - self._start_time_s
        if is_new:
            self.last_latency_s, self.last_decoding_s = now_s - item.captured_s, item.decoding_s
            self.latency.add(self.last_latency_s)

    def _close(self) -> None:
        self.sink.close()
        self.completed = True


class WindowWriter(SinkWriter):
    """Gives a window its pictures, in steps on the thread that windows need."""

    sink: Window

    def step(self, timeout_s: float) -> bool:
        """Show the next picture if it comes in time, and serve the window's events.

        Returns
        -------
        False after the last picture; the window is closed then
        """
        try:
            item = self.queue.take(timeout_s)
            if item is not None:
                self._write(item)
            self.sink.pump()
        except Ended:
            self._close()
            return False
        except BaseException:
            self.abort()
            raise
        return True


class FanOut:
    """Hands every item of the mosaic worker to all sink writers.

    Attributes
    ----------
    sinks : the writers of the pipeline's own sinks
    recordings : the writers of recordings, which come and go; the recorder replaces the sequence,
        because other threads may iterate over the old one
    finished : no more items will come
    """

    def __init__(self, sinks: Sequence[SinkWriter]) -> None:
        self.sinks = sinks
        self.recordings: Sequence[SinkWriter] = ()
        self.finished = False

    @property
    def writers(self) -> list[SinkWriter]:
        return [*self.sinks, *self.recordings]

    def put(self, item: Frame | TrackPacket) -> None:
        """Hand an item to all writers."""
        for writer in self.writers:
            writer.put(item)

    def finish(self) -> None:
        """End all queues; their items are still written."""
        # The flag first: the recorder adds a writer, and reads the flag after that.
        self.finished = True
        for writer in self.writers:
            writer.queue.finish()

    def lowest_latency_s(self) -> tuple[float, float]:
        """Latency, and the decoding in it, of the newest frame in the quickest sink that is open.

        A slower sink adds a delay of its own, which less work in the mosaic would not shorten.
        """
        return min(
            (
                (writer.last_latency_s, writer.last_decoding_s)
                for writer in self.writers
                if writer.frames and not writer.ended
            ),
            default=(0.0, 0.0),
        )
