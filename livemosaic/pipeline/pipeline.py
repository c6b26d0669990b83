"""The pipeline: connects source, mosaic and sinks by threads and queues, and runs them."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..argument import items, number, positive, take
from ..control.options import MAX_LATENCY_MS
from ..control.state import Control, LiveState, LiveStats
from ..errors import LivemosaicError, SinkError, UsageError, problem_of
from ..gallery.gallery import Gallery
from ..jit import U8
from ..media.frame import Frame, Item, StreamInfo
from ..mosaic.grid import Grid
from ..mosaic.mosaic import Mosaic
from ..option import Texts
from ..sinks.base import Sink, Window
from ..sources.base import Source
from ..sources.on_demand import OnDemandSource
from .away import AwayPicture
from .governor import Governor
from .mosaic_worker import MosaicWorker
from .queues import BlockingQueue, Closed, FrameQueue, LatestQueue
from .recorder import Recorder
from .report import Progress, RunReport
from .sink_writer import FanOut, SinkWriter, WindowWriter
from .source_reader import SourceReader
from .threads import ThreadGroup, quick_switches

if TYPE_CHECKING:
    from ..control.osc import OscReceiver
    from ..gallery.live import LiveGallery
    from ..gallery.watch import FolderWatcher

_logger = logging.getLogger("livemosaic")

# Frames of a file that may wait in a queue, to even out a slow one. Behind the mosaic each costs a
# picture of the output's size, and the cells to copy into one more canvas.
_MAX_INPUT_FRAMES, _MAX_OUTPUT_FRAMES = 2, 1

# A file sink of a live input loses no frame while its encoder waits for a disk for a quarter of a
# second; more would cost memory (22 MB for each frame of 5120x2880).
_MAX_RECORDED_FRAMES = 8

# `cancel` ends a run within a second; a thread that is not stuck needs the rest of one frame.
_JOIN_S = 0.5

# Intervals of the caller's thread: progress and requests; a window's events.
_TICK_S, _PUMP_S = 0.1, 0.015

# A live input that gives no more frames cannot end a run by its duration: the clock does, after
# this delay.
_GRACE_S = 0.5

_MAX_RATE = 240  # frames/s; a device that reports more does not know its rate

_MONITORS_ON = bool(os.environ.get("LIVEMOSAIC_MONITORS"))  # in tests, see `monitors`


def output_info(info: StreamInfo, grid: Grid, *, rate: Fraction | None = None) -> StreamInfo:
    """Describe the stream that sinks get when a mosaic with this grid is made of that source.

    Parameters
    ----------
    info : of the source
    grid : `Mosaic.plan` of the source's width and height
    rate : constant output rate in frames/s; None: frames keep the input's times
    """
    take("info", info, StreamInfo, "a StreamInfo")
    take("grid", grid, Grid, "a Grid, see Mosaic.plan")
    rate = None if rate is None else positive("rate", rate)
    info = replace(info, width=grid.width, height=grid.height)
    return info if rate is None else replace(info, rate=rate, peak_rate=None, time_base=1 / rate)


def _any_of(watches: Sequence[Callable[[], bool]]) -> Callable[[], bool]:
    if not watches:
        raise UsageError(
            "pipeline: no sink tells whether a program reads its pictures, as a source that is on "
            "demand needs; add a virtual camera on Linux, or leave out on_demand"
        )
    return lambda: any([watch() for watch in watches])


class Pipeline:
    """Makes a mosaic of one source for one or more sinks.

    Source, mosaic and each sink run on threads of their own. A window runs on the thread that calls
    `run`. From a file no frame is lost: each thread waits for the next one. A live source never
    waits: only the latest frame is processed, and a governor keeps the latency from capture to
    delivery below `max_latency_s`. The pipeline closes the source, and closes or aborts each sink.

    =============================== ================================== ==========================
    event                           outputs                            `run`
    =============================== ================================== ==========================
    end of the input, `stop`        finished                           returns True
    `cancel`                        aborted, unless finished before    returns False
    source or mosaic fails at first aborted                            raises
    source or mosaic fails later    finished with the frames so far    raises at the end
    one sink fails                  this one aborted, the others go on raises at the end
                                    (a live file keeps what it has)
    the last sink fails             aborted; recordings are finished   raises
    a recording or snapshot fails   aborted, the others go on          goes on; `control` reports
    any other error                 aborted                            raises
    =============================== ================================== ==========================

    Parameters
    ----------
    source : an open source: of `open_source`, or your own `Source`; one with `on_demand` is open
        only while a program reads one of the sinks
    mosaic : the filter
    sinks : open sinks for `output_info` of the source: of `open_sink`, or your own `Sink`; at most
        one is a `Window`
    rate : constant output rate in frames/s; None: frames keep the input's times
    duration_s : stop after so many seconds of the input
    realtime : pace a file as if it were live
    max_latency_s : limit for live sources
    started_s : `time.monotonic()` at the program's start, for the report; None: now
    control : changes the picture while the pipeline runs; its settings need the fixed output size
        of `MosaicSettings.for_grid`. None: a new one of this kind
    open_gallery : opens the gallery that the control's state names; None: the gallery never changes
    save_picture : writes a snapshot and returns its name; None: there are no snapshots
    open_recording : opens the sink of a recording; None: there are no recordings
    name_poster : gives the path of a new poster, .jpg; None: there are no posters
    away : shown in privacy mode instead of tiles for a coarse picture
    outside : pictures that the state's `outside` may name, BGR by name, to save reading them; the
        pipeline empties it
    viewers : open sinks that only look on, such as a control page: the run ends without them, and
        its statistics are not about them
    live_gallery : of which the mosaic's gallery is a snapshot, so that it follows
    watcher : of folders, for the live gallery; started and closed
    osc : receives changes; started and closed

    Attributes
    ----------
    control : as passed, or the new one
    interactive : True where a viewer can change the picture: the source is live or paced, or there
        is a window, a control page or OSC

    Examples
    --------
    >>> from livemosaic import Mosaic, MosaicSettings
    >>> from livemosaic.pipeline import Pipeline, output_info
    >>> from livemosaic.sinks import open_sink
    >>> from livemosaic.sources import open_source
    >>> source = open_source("pattern:64x48@25")
    >>> mosaic = Mosaic("photos", MosaicSettings(scale=1, tile_px=8))
    >>> output = output_info(source.info, mosaic.plan(source.info.width, source.info.height))
    >>> pipeline = Pipeline(source, mosaic, [open_sink("null", output)], duration_s=0.2)
    >>> pipeline.run()
    True
    >>> pipeline.report()["frames_in"]
    5
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
        max_latency_s: float = MAX_LATENCY_MS / 1e3,
        started_s: float | None = None,
        control: Control | None = None,
        open_gallery: Callable[[Texts], Gallery] | None = None,
        save_picture: Callable[[Frame], str] | None = None,
        open_recording: Callable[[], Sink] | None = None,
        name_poster: Callable[[], Path] | None = None,
        away: AwayPicture | None = None,
        outside: dict[str, U8] | None = None,
        viewers: Sequence[Sink] = (),
        live_gallery: LiveGallery | None = None,
        watcher: FolderWatcher | None = None,
        osc: OscReceiver | None = None,
    ) -> None:
        take("source", source, Source, "a Source")
        take("mosaic", mosaic, Mosaic, "a Mosaic")
        for sink in items("sinks", sinks, "a list of Sinks"):
            take("sinks", sink, Sink, "a list of Sinks")
        rate = None if rate is None else positive("rate", rate)
        if duration_s is not None:
            number("duration_s", duration_s, 0)
        number("max_latency_s", max_latency_s, 0)
        take("control", control, Control | None, "a Control")
        if isinstance(source, OnDemandSource):
            watches = (sink.watch_readers() for sink in sinks)
            source.is_wanted = _any_of([watch for watch in watches if watch is not None])
        self._source, self._mosaic, self._watcher = source, mosaic, watcher
        self._live, self._rate = source.info.live or realtime, rate
        self._duration_s = duration_s
        if control is None:
            grid = mosaic.plan(source.info.width, source.info.height)
            control = Control(LiveState(mosaic.settings.for_grid(grid)))
        self.control = control
        self._threads = threads = ThreadGroup()
        self._unused = [True]  # until `run`, which any thread may call

        # source reader -> incoming -> mosaic worker -> fan-out -> a queue and a writer per sink
        incoming: FrameQueue[Item]
        incoming = LatestQueue() if self._live else BlockingQueue(_MAX_INPUT_FRAMES)
        if _MONITORS_ON:
            from .monitors import Monitor, watch_queue

            watch_queue(incoming, Monitor("source to mosaic", source.info, live=self._live))
        reader = SourceReader(
            source,
            incoming,
            threads,
            # Live, the sink writers keep the rate: a reader that waits for the next frame before it
            # repeats the last would be late.
            rate=None if self._live else rate,
            duration_s=duration_s,
            realtime=realtime,
        )
        fan_out = FanOut(
            [self._make_writer(sink) for sink in sinks],
            [self._make_writer(viewer) for viewer in viewers],
        )
        interval_s = max(float(1 / source.info.rate), 1 / _MAX_RATE)
        governor = Governor(max_latency_s=max_latency_s, interval_s=interval_s)
        worker = MosaicWorker(
            mosaic,
            incoming,
            fan_out,
            threads,
            control=control,
            governor=governor if self._live else None,
            open_gallery=open_gallery,
            save_picture=save_picture,
            name_poster=name_poster,
            away=away,
            outside=outside,
            live_gallery=live_gallery,
            watcher=watcher,
            aspect=source.info.sample_aspect_ratio,
        )
        recorder = Recorder(control, fan_out, open_recording, self._make_writer)
        started_s = time.monotonic() if started_s is None else started_s
        self._report = RunReport(source, reader, worker, fan_out, recorder, started_s)
        self._reader, self._incoming, self._worker = reader, incoming, worker
        self._fan_out, self._recorder = fan_out, recorder

        windows = [writer for writer in fan_out.sinks if isinstance(writer, WindowWriter)]
        self._window = windows[0] if windows else None  # while it is open
        self._osc = osc
        self.interactive = self._live or bool(windows or viewers or osc)
        control.has_window = bool(windows)
        control.on_quit = self.stop
        control.on_snap = worker.take_photo
        control.live_stats = self.live_stats
        control.find_photo = worker.places.find
        control.snaps, control.on_remove = worker.booth.snaps, worker.booth.remove

    def stop(self) -> None:
        """End the input now, and finish the outputs. Safe in a signal handler."""
        self._threads.stop_requested = True

    def cancel(self) -> None:
        """Give up at once, and abort the outputs. Safe in a signal handler."""
        self._threads.cancelled = True

    @property
    def stuck(self) -> bool:
        """Whether a thread is still running after `run`, in a call that does not return.

        Leave the process by `os._exit` then: the interpreter's own exit could crash the thread.
        """
        return self._threads.stuck

    @property
    def completed(self) -> list[str]:
        """Names of the sinks, recordings and posters that are closed and whole."""
        return self._report.completed

    @property
    def progress(self) -> Progress:
        """Frames, time and cells so far."""
        return self._report.progress()

    def live_stats(self) -> LiveStats:
        """Statistics of the last seconds."""
        return self._report.live_stats()

    def report(self) -> dict[str, Any]:
        """The statistics of the run, as `livemosaic run --json` prints them."""
        info = self._source.info
        return self._report.report(self._mosaic.plan(info.width, info.height))

    @property
    def expected_frames(self) -> int | None:
        """How many frames will come out, for a progress bar; None where the source cannot tell."""
        info = self._source.info
        seconds = None if info.frames is None else float(info.frames / info.rate)
        if self._duration_s is not None:
            seconds = min(self._duration_s, seconds if seconds is not None else self._duration_s)
        return None if seconds is None else max(1, round(seconds * (self._rate or info.rate)))

    def run(self, *, on_tick: Callable[[Progress], None] | None = None) -> bool:
        """Run to the end of the input, once.

        Parameters
        ----------
        on_tick : called about ten times a second on this thread

        Returns
        -------
        True when the outputs are finished, False after `cancel`

        Raises
        ------
        UsageError
            it runs already, or has run
        LivemosaicError
            the first error of any thread; `completed` names the outputs that are whole all the same
        """
        try:
            self._unused.pop()
        except IndexError:
            raise UsageError("pipeline: it runs once; make another one") from None
        self._report.running_s = time.monotonic()
        if self._window is not None:
            self._window.sink.on_lost = partial(self._outlive_window, on_tick)
        with quick_switches() if self._live else contextlib.nullcontext():
            self._serve(on_tick, start=self._start)
        if on_tick is not None:
            on_tick(self.progress)
        return not self._threads.cancelled

    def _serve(
        self,
        on_tick: Callable[[Progress], None] | None,
        *,
        start: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve window, recorder and caller until all outputs have ended; raise the first error."""
        ticked_s = 0.0
        try:
            start()
            # The loop does not wait for the source, which may be stuck in a read.
            while self._wait() and not self._threads.cancelled:
                if self._threads.stop_requested or self._is_overdue():
                    self._end_input()
                if self._threads.stop_requested:
                    for writer in self._fan_out.writers:
                        writer.sink.hurry()
                self._recorder.update()
                now_s = time.monotonic()
                if on_tick is not None and now_s - ticked_s >= _TICK_S:
                    ticked_s = now_s
                    on_tick(self.progress)
        except BaseException:
            self._threads.cancelled = True
            raise
        finally:
            self._shut_down()
        if self._threads.error is not None:
            if self.completed:
                _logger.info("completed: %s", ", ".join(self.completed))
            raise self._threads.error

    def _start(self) -> None:
        self._threads.spawn("source", self._reader.run)
        self._threads.spawn("mosaic", self._worker.run)
        for writer in (*self._fan_out.sinks, *self._fan_out.viewers):
            if writer is not self._window:
                writer.start(self._run_sink)
        if self._osc is not None:
            self._osc.start(self.control)

    def _wait(self) -> bool:
        """Wait a moment, or serve the window; False when all sinks have ended."""
        if self._window is None:
            self._threads.wait(_TICK_S)
        else:
            self._threads.guard(partial(self._step_window, self._window))
        return self._window is not None or self._threads.working

    def _step_window(self, window: WindowWriter) -> None:
        try:
            if not window.step(_PUMP_S):
                self._window = None
        except Closed:
            raise
        except Exception as error:
            self._window = None
            self._drop_sink(window, error)

    def _outlive_window(self, on_tick: Callable[[Progress], None] | None, error: SinkError) -> None:
        """Go on to the end without the window, see `Window.on_lost`. Never raises."""
        window, self._window = self._window, None
        if window is not None and not window.ended:
            window.abort()
            self._drop_sink(window, error)
        try:
            self._serve(on_tick)
        except Exception as error:
            _logger.error("%s", error)

    def _run_sink(self, writer: SinkWriter) -> None:
        """Run a sink's writer on its own thread; when it fails, the other sinks go on."""
        try:
            writer.run()
        except Closed:  # the run is cancelled
            raise
        except Exception as error:
            self._drop_sink(writer, error)

    def _drop_sink(self, writer: SinkWriter, error: Exception) -> None:
        """Go on without a sink that has failed, if another output is left."""
        self._threads.record_error(error)
        writer.queue.cancel()  # the mosaic worker must not wait for room
        if not isinstance(error, LivemosaicError):
            _logger.debug("%s", writer.sink.name, exc_info=error)
        problem = problem_of(error, name=writer.sink.name)
        is_said = self._threads.error is error  # the first is raised at the end
        if all(other.ended for other in self._fan_out.outputs):
            self.cancel()
        elif all(other.ended for other in self._fan_out.sinks):
            self.stop()  # and finish the recording
        elif isinstance(writer, WindowWriter) and self.control.state.on_close == "end":
            self.stop()
        else:
            problem, is_said = f"{problem}; the other outputs go on", False
        if not is_said:
            self.control.warn(problem)

    def _is_overdue(self) -> bool:
        """Whether a live input has reached its duration by the clock."""
        first = self._report.first
        if not self._live or self._duration_s is None or not first.frames:
            return False
        return time.monotonic() > first.first_s + self._duration_s + _GRACE_S

    def _end_input(self) -> None:
        self._threads.stopping.set()
        self._source.interrupt()
        self._incoming.finish()

    def _shut_down(self) -> None:
        """End every thread; close the source and the sinks, unless a thread is stuck in them."""
        if self._osc is not None:
            self._osc.close()
        self._end_input()
        writers = self._fan_out.writers
        if self._threads.cancelled:
            self._incoming.cancel()
            for writer in writers:
                writer.queue.cancel()
            if self._worker.poster is not None:
                self._worker.poster.cancel()
        self._threads.join(_JOIN_S)
        for writer in writers:
            if writer.thread is not None and writer.thread.is_alive():
                writer.sink.discard()
            elif not writer.ended:
                writer.abort()
        if not self.stuck:
            self._source.close()
        self._report.ended_s = time.monotonic()
        if self._watcher is not None:
            self._watcher.end()
            while not (self._threads.cancelled or self._watcher.wait(_TICK_S)):
                pass
            self._watcher.close(saves=False)

    def _make_writer(self, sink: Sink) -> SinkWriter:
        """The writer of a sink, with the queue that suits the sink."""
        queue: FrameQueue[Any]
        if sink.latest_only:
            queue = LatestQueue()
        elif self._live:
            queue = LatestQueue(_MAX_RECORDED_FRAMES)
        else:
            queue = BlockingQueue(_MAX_OUTPUT_FRAMES)
        nominal_rate = self._rate or self._source.info.rate
        if _MONITORS_ON:
            from .monitors import Monitor, watch_queue, watch_sink

            info = self._source.info
            info = output_info(info, self._mosaic.plan(info.width, info.height))
            watch_queue(queue, Monitor(f"mosaic to {sink.name}", info, live=self._live))
            watch_sink(sink, Monitor(f"writer to {sink.name}", info, live=self._live))
        if isinstance(sink, Window):
            return WindowWriter(sink, queue, self._threads, rate=None, nominal_rate=nominal_rate)
        rate = sink.rate or (self._rate if self._live else None)
        return SinkWriter(sink, queue, self._threads, rate=rate, nominal_rate=nominal_rate)
