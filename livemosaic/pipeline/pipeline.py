"""Joins reader, stage and writers, and sees them to their end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from ..control.state import Control, LiveStats
from ..errors import LivemosaicError
from ..gallery.file_format import Gallery
from ..media.frame import Frame, Item, StreamInfo
from ..mosaic.grid import Grid
from ..mosaic.mosaic import Mosaic
from ..sinks.base import Sink, Window
from ..sources.base import Source
from .governor import Governor
from .mosaic_worker import MosaicWorker
from .queues import BlockingQueue, FrameQueue, LatestQueue
from .recorder import Recorder
from .report import Progress, RunReport
from .sink_writer import SinkWriter, WindowWriter
from .source_reader import SourceReader
from .threads import ThreadGroup

__all__ = ["Pipeline", "Progress", "output_info"]

_logger = logging.getLogger("livemosaic")

# Frames that may wait between two stages, so that one that takes longer is evened out. Behind the
# mosaic each costs a picture of the output's size, and cells to copy into one more canvas.
_WAITING_INPUTS, _WAITING_OUTPUTS = 2, 1

# An encoder that has to wait for a disk loses nothing of a live input for so many frames, a
# quarter of a second; with more, memory would be the price (22 MB each at 5120x2880).
_RECORDED_FRAMES = 8

# How long stages may take to notice that they should end. Stopping at once is promised within a
# second; a stage that is not stuck needs the rest of one frame.
_JOIN_S = 0.5

# How often the caller's thread looks at progress and at what was asked for; and how often a
# window's events are served.
_TICK_S, _PUMP_S = 0.1, 0.015

# A live input that stays away does not tell the time: it ends so long after its duration.
_GRACE_S = 0.5

_MAX_LATENCY_S = 0.1
_MAX_RATE = 240  # frames/s; a device that says more does not know


def output_info(info: StreamInfo, grid: Grid, *, rate: Fraction | None = None) -> StreamInfo:
    """What sinks will be given when a mosaic with this grid is made of that source.

    `rate` is the constant output rate in frames/s, None to keep the input's own times.
    """
    info = replace(info, width=grid.width, height=grid.height)
    return info if rate is None else replace(info, rate=rate, peak_rate=None, time_base=1 / rate)


class Pipeline:
    """One source, one mosaic, one or more sinks.

    Each runs on its own thread, but a window, which is served by the thread that calls `run`.
    Nothing waits for a thread that is stuck in somebody else's code (a read that never returns, an
    encoder in the middle of a large picture): `stuck` tells that there is one.

    What happens when something ends or fails:

    =========================== ========================================= ======================
    what                        outputs                                   `run`
    =========================== ========================================= ======================
    end, `stop`, quit           finished                                  returns True
    `cancel`                    aborted, but those that are finished      returns False
    source, before any frame    aborted                                   raises
    source, later               finished with what has come               raises at the end
    one output                  that one is aborted, the others go on     raises at the end
    the last output             aborted; a recording is finished          raises
    a recording                 aborted, the others go on; it is told     as if it had not been
    anything else               aborted                                   raises
    =========================== ========================================= ======================

    From a file nothing is lost: each stage waits for the next. A live source is never kept waiting:
    the newest frame counts, and a governor sees that `max_latency_s` from capture to hand-off is
    kept. The pipeline closes the source, and closes or aborts each sink.

    Parameters
    ----------
    source, mosaic : open
    sinks : open, for `output_info` of the source; at most one is a `Window`
    rate : constant output rate in frames/s, None to keep the input's own times
    duration_s : stop after so many seconds of the input
    realtime : pace the input as if it were live
    max_latency_s : the promise for live sources
    started_s : when the program began, `time.monotonic()`, for `first_frame_s`
    control : what may be changed while it runs; its settings must be `for_grid`
    open_gallery : opens another gallery when one is wanted
    save_picture : writes a snapshot, and says its name
    open_recording : makes a sink when recording is switched on

    Attributes
    ----------
    control : as given
    kept : names of the sinks that are finished and whole
    """

    def __init__(
        self,
        source: Source,
        mosaic: Mosaic,
        sinks: Sequence[Sink],
        *,
        rate: Fraction | None = None,
        duration_s: float | None = None,
        realtime: bool = False,
        max_latency_s: float = _MAX_LATENCY_S,
        started_s: float | None = None,
        control: Control | None = None,
        open_gallery: Callable[[str], Gallery] | None = None,
        save_picture: Callable[[Frame], str] | None = None,
        open_recording: Callable[[], Sink] | None = None,
    ) -> None:
        info = source.info
        self._source, self._mosaic, self.control = source, mosaic, control
        self._live = info.live or realtime
        self._duration_s, self._rate = duration_s, rate
        self._output_rate = rate or info.rate
        self._stop_asked = False
        self._threads = ThreadGroup()
        incoming: FrameQueue[Item] = LatestQueue() if self._live else BlockingQueue(_WAITING_INPUTS)
        self._incoming = incoming
        self._reader = SourceReader(
            source,
            incoming,
            # Live, each sink keeps the pace itself: one that waits for the next frame to repeat
            # the last would be late.
            rate=None if self._live else rate,
            duration_s=duration_s,
            realtime=realtime,
            stopping=self._threads.stopping,
            # A source that breaks off when all is to end anyway has done so: Ctrl-C goes to the
            # sender, too, if they were started together.
            fail=lambda error: None if self._stop_asked else self._threads.record_error(error),
        )
        self._asked = [self._writer(sink) for sink in sinks]
        self._window = next((o for o in self._asked if isinstance(o, WindowWriter)), None)
        self._recorder: Recorder | None = None
        self._worker = MosaicWorker(
            mosaic,
            lambda: self._writers,
            self._threads.spawn,
            control=control,
            governor=self._governor(max_latency_s),
            open_gallery=open_gallery,
            save_picture=save_picture,
        )
        self._threads.create("source", self._reader.read)
        self._threads.create("mosaic", lambda: self._worker.run(incoming))
        for writer in self._asked:
            if writer is not self._window:
                writer.thread = self._threads.create(
                    f"sink {writer.sink.name}",
                    partial(self._tend, writer, writer.serve),
                    awaited=True,
                )
        if control is not None:
            control.on_quit = self.stop
            control.live_stats = self.live_stats
            if open_recording is not None:
                self._recorder = Recorder(
                    control,
                    self._threads,
                    open_recording=open_recording,
                    writer=self._writer,
                    over=lambda: self._worker.ended,
                )
        self._report = RunReport(
            source,
            self._reader,
            self._worker,
            self._asked,
            self._recorder,
            started_s=time.monotonic() if started_s is None else started_s,
        )

    def stop(self) -> None:
        """End the input now; what was read is still finished. Safe in a signal handler."""
        self._stop_asked = True

    def cancel(self) -> None:
        """Give up at once: outputs are aborted. Safe in a signal handler."""
        self._threads.cancelled = True

    @property
    def stuck(self) -> bool:
        """Whether a stage is still running after `run`: the process has to be left by `os._exit`.

        The interpreter's own end would pull the ground from under such a thread's feet, and crash.
        """
        return self._threads.stuck

    @property
    def kept(self) -> list[str]:
        return self._report.kept

    @property
    def progress(self) -> Progress:
        """What has happened so far."""
        return self._report.progress()

    def live_stats(self) -> LiveStats:
        """How it does, over the last seconds."""
        return self._report.live_stats()

    def report(self) -> dict[str, Any]:
        """The run in numbers; its names are a contract, see the README."""
        info = self._source.info
        return self._report.report(self._mosaic.plan(info.width, info.height))

    @property
    def expected_frames(self) -> int | None:
        """How many frames will come out, as far as the source knows (for progress only)."""
        info = self._source.info
        seconds = None if info.frames is None else float(info.frames / info.rate)
        if self._duration_s is not None:
            seconds = min(self._duration_s, seconds if seconds is not None else self._duration_s)
        return None if seconds is None else max(1, round(seconds * self._output_rate))

    def run(self, *, on_tick: Callable[[Progress], None] | None = None) -> bool:
        """Run to the end of the input.

        Parameters
        ----------
        on_tick : called about ten times a second on this thread

        Returns
        -------
        True when the outputs are whole, False after `cancel`

        Raises
        ------
        LivemosaicError
            the first error of any stage; `kept` says what is whole all the same
        """
        self._report.running_s = time.monotonic()
        ticked_s = 0.0
        try:
            self._threads.start()
            # The source may be stuck in a read when it is stopped: it is not waited for.
            while self._attend() and not self._threads.cancelled:
                if self._stop_asked or self._time_is_over():
                    self._end_input()
                if self._recorder is not None:
                    self._recorder.obey()
                now = time.monotonic()
                if on_tick is not None and now - ticked_s >= _TICK_S:
                    ticked_s = now
                    on_tick(self.progress)
        except BaseException:
            self._threads.cancelled = True
            raise
        finally:
            self._shut_down()
        if self._threads.error is not None:
            raise self._threads.error
        if on_tick is not None:
            on_tick(self.progress)
        return not self._threads.cancelled

    def _attend(self) -> bool:
        """Wait a little, or serve the window; False when every sink has its end."""
        window = self._window
        if window is None:
            self._threads.wait(_TICK_S)
        else:
            self._threads.guard(self._tend, window, lambda: self._step(window))
        return self._window is not None or self._threads.at_work

    def _step(self, window: WindowWriter) -> None:
        if not window.step(_PUMP_S):
            self._window = None

    def _tend(self, writer: SinkWriter, work: Callable[[], None]) -> None:
        """Do something for a writer that was asked for; when that fails, the others go on."""
        try:
            work()
        except LivemosaicError as error:
            self._threads.record_error(error)
            self._lose(writer, error)

    def _lose(self, writer: SinkWriter, error: LivemosaicError) -> None:
        """Go on without a writer that has failed, if there is anything to go on for."""
        writer.queue.cancel()  # nobody is to wait for it
        if writer is self._window:
            self._window = None
        if all(other.ended for other in self._writers):
            self._threads.cancelled = True
        elif all(other.ended for other in self._asked):
            self.stop()  # what is recorded is finished
        else:
            _logger.warning("%s; the other outputs go on", error)
            if self.control is not None:
                self.control.say(str(error))

    def _time_is_over(self) -> bool:
        first = self._report.first
        if not self._live or self._duration_s is None or not first.frames:
            return False
        return time.monotonic() > first.first_s + self._duration_s + _GRACE_S

    def _end_input(self) -> None:
        self._threads.stopping.set()
        self._source.interrupt()
        self._incoming.finish()

    def _shut_down(self) -> None:
        """Make every stage end, and leave nothing open that can be closed."""
        self._threads.stopping.set()
        self._source.interrupt()
        if self._threads.cancelled:
            self._incoming.cancel()
            for writer in self._writers:
                writer.queue.cancel()
        self._threads.join(_JOIN_S)
        for writer in self._writers:
            if writer.thread is not None and writer.thread.is_alive():
                writer.sink.discard()
            elif not writer.ended:
                writer.undo()
        if not self.stuck:
            self._source.close()
        self._report.ended_s = time.monotonic()

    # ---- sinks ---------------------------------------------------------------------------

    @property
    def _writers(self) -> Sequence[SinkWriter]:
        """All of them, recordings too."""
        return [*self._asked, *(self._recorder.writers if self._recorder is not None else ())]

    def _writer(self, sink: Sink) -> SinkWriter:
        queue: FrameQueue[Any]
        rate = sink.rate or (self._rate if self._live else None)
        if sink.latest_only:
            queue = LatestQueue()
        elif self._live:
            queue = LatestQueue(_RECORDED_FRAMES)
        else:
            queue = BlockingQueue(_WAITING_OUTPUTS)
        kind = WindowWriter if isinstance(sink, Window) else SinkWriter
        return kind(
            sink,
            queue,
            rate=None if kind is WindowWriter else rate,
            nominal=self._output_rate,
            cancelled=lambda: self._threads.cancelled,
        )

    def _governor(self, max_latency_s: float) -> Governor | None:
        if not self._live:
            return None
        interval_s = max(float(1 / self._source.info.rate), 1 / _MAX_RATE)
        return Governor(max_latency_s=max_latency_s, interval_s=interval_s)
