"""Sink writers: each gives one sink its items; a fan-out queues every item for all writers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

from ..control.state import OutputStats
from ..media.frame import Frame, TrackPacket, for_each
from ..media.frame_rate import FrameRate
from ..sinks.base import Sink, Window
from .frame_rate import by_clock
from .queues import Closed, Ended, FrameQueue
from .stats import Durations
from .threads import ThreadGroup

_MAX_GAP_S = 10  # longer gaps of a recording are not filled with hours of one picture


class Delivery(NamedTuple):
    """Of a frame to a sink: the latency, the decoding in it, and the sink's own work, in s."""

    latency_s: float = 0.0
    decoding_s: float = 0.0
    work_s: float = 0.0


class SinkWriter:
    """Gives one sink its items, on a thread of its own.

    Parameters
    ----------
    rate : constant frames/s for the sink; None: frames keep their own times
    nominal_rate : frames/s of the mosaic worker's pictures
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
        self._has_rate = rate is not None
        self._frame_rate = FrameRate(rate or nominal_rate, max_gap_s=_MAX_GAP_S)
        self.frames = 0  # that the sink took
        self.first_s = 0.0  # `time.monotonic()` after the first frame
        self.last_delivery = Delivery()  # of the newest frame
        self.video_s = 0.0  # from the first frame's time to the end of the last frame
        self.durations = Durations()  # of the sink's work per frame
        self.latency = Durations()  # from capture to delivery
        self.thread: threading.Thread | None = None  # a window has none of its own
        self.completed = self.aborted = False
        self._start_time_s = 0.0  # the first frame's own time

    @property
    def frames_out(self) -> int:
        """How many frames are in the sink's result."""
        return self.frames - self.sink.dropped + self.sink.repeated

    @property
    def dropped(self) -> int:
        """Frames that did not reach the sink, or that the sink left out."""
        return self.queue.dropped + self._frame_rate.dropped + self.sink.dropped

    @property
    def repeated(self) -> int:
        """How often a frame was repeated for the sink's rate."""
        return self._frame_rate.repeated + self.sink.repeated

    @property
    def ended(self) -> bool:
        return self.completed or self.aborted

    def put(self, item: Frame | TrackPacket) -> None:
        """Queue an item, unless the sink takes no more."""
        with contextlib.suppress(Closed):
            self.queue.put(item)

    def start(self, run: Callable[[SinkWriter], None]) -> None:
        """Start a thread that calls `run`."""
        name = f"sink {self.sink.name}"
        self.thread = self._threads.spawn(name, partial(run, self), awaited=True)

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
            "codec": self.sink.codec,
            "frames": self.frames_out,
            "dropped": self.dropped,
            "repeated": self.repeated,
            "latency_ms": self.latency_ms(),
        }

    def stats(self) -> OutputStats:
        """This sink's part of the live statistics."""
        return OutputStats(
            name=self.sink.name,
            state="failed" if self.aborted else "finished" if self.completed else "running",
            frames=self.frames_out,
            dropped=self.dropped,
            codec=self.sink.codec,
        )

    def latency_ms(self) -> dict[str, float]:
        """From capture to delivery, over the whole run."""
        return {**self.latency.summary(50, 95, 99), "max": self.latency.max_ms}

    def _items(self) -> Iterator[tuple[Frame | TrackPacket, bool]]:
        """The items to write, and whether each is new; False for repeated frames."""
        if not self._has_rate:
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
        frame_s = item.duration * item.time_base or 1 / self._frame_rate.rate
        self.video_s = item.time_s + float(frame_s) - self._start_time_s
        if is_new:
            latency_s = now_s - item.captured_s
            self.last_delivery = Delivery(latency_s, item.decoding_s, now_s - began_s)
            self.latency.add(latency_s)

    def _close(self) -> None:
        self.sink.close()
        self.completed = True


class WindowWriter(SinkWriter):
    """Gives a window its pictures, in steps on the thread that windows need."""

    sink: Window

    def step(self, timeout_s: float) -> bool:
        """Show the next picture if it comes in time, and serve the window's events.

        After the last picture, close the window and return False.
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

    Viewers only look on: they are no outputs, and no other sink depends on them.
    """

    def __init__(self, sinks: Sequence[SinkWriter], viewers: Sequence[SinkWriter] = ()) -> None:
        self.sinks, self.viewers = sinks, viewers  # of the pipeline
        # They come and go. The recorder replaces the sequence, because other threads may iterate
        # over the old one.
        self.recordings: Sequence[SinkWriter] = ()
        self.finished = False

    @property
    def outputs(self) -> list[SinkWriter]:
        return [*self.sinks, *self.recordings]

    @property
    def writers(self) -> list[SinkWriter]:
        return [*self.outputs, *self.viewers]

    def put(self, item: Frame | TrackPacket) -> None:
        for writer in self.writers:
            writer.put(item)

    def finish(self) -> None:
        """End all queues; their items are still written."""
        # The flag first: the recorder adds a writer, and reads the flag after that.
        self.finished = True
        for writer in self.writers:
            writer.queue.finish()

    def quickest_delivery(self) -> Delivery:
        """Of the newest frame, to the quickest sink that is open.

        A slower sink adds a delay of its own, which less work in the mosaic would not shorten.
        """
        open_writers = (writer for writer in self.outputs if writer.frames and not writer.ended)
        return min((writer.last_delivery for writer in open_writers), default=Delivery())

    @property
    def needs_every_frame(self) -> bool:
        """Whether an open sink keeps frames, as a recording does."""
        return any(writer.sink.needs_every_frame for writer in self.writers if not writer.ended)
