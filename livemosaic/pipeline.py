"""The pipeline: it owns every thread, hand-over, deadline and shutdown.

    source --> hand-over --> Mosaic --> hand-over --> sink
                                   \\--> hand-over --> sink

Each stage runs on its own thread. The first error of any ends all of them, and is raised in the
caller; no thread is left behind.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .frame import Frame, StreamInfo, TrackPacket
from .grid import Grid
from .handover import Closed, WaitingHandover
from .mosaic import CellCounts, Mosaic
from .sinks.base import Sink
from .sources.base import Source
from .stats import Times, peak_rss_mb

__all__ = ["Pipeline", "Progress", "output_info"]

Item = Frame | TrackPacket

# Frames that may wait between two stages, so that one that takes longer is evened out. Behind the
# mosaic each costs a picture of the output's size, and cells to copy into one more canvas.
_WAITING_INPUTS, _WAITING_OUTPUTS = 2, 1

# How long a stage may take to notice that it should end, when everything is being given up.
_JOIN_S = 5.0

# How often the caller's thread looks at progress (and Python runs signal handlers, on Windows).
_TICK_S = 0.1

_STAGES = ("decode", "activity", "histogram", "match", "compose", "encode")


@dataclass(slots=True)
class Progress:
    """What has happened so far. Each field is written by one thread only."""

    frames_in: int = 0
    frames_out: int = 0
    cells: CellCounts = field(default_factory=CellCounts)
    first_frame_s: float = 0.0  # when the first frame was handed off, after `started_s`
    started_s: float = 0.0  # when the program began
    running_s: float = 0.0  # when the threads began
    ended_s: float = 0.0
    active_share: float = 0.0  # sums over frames, for the means of the report
    touched_share: float = 0.0
    changed_share: float = 0.0


def output_info(info: StreamInfo, grid: Grid) -> StreamInfo:
    """What sinks will be given when a mosaic with this grid is made of that source."""
    return replace(info, width=grid.width, height=grid.height)


class Pipeline:
    """One source, one mosaic, one or more sinks.

    Parameters
    ----------
    source, mosaic : open; the pipeline does not close the source
    sinks : open, for `output_info` of the source; each is closed or aborted by the pipeline
    duration_s : stop after so many seconds of the input
    started_s : when the program began, `time.monotonic()`, for `first_frame_s`
    """

    def __init__(
        self,
        source: Source,
        mosaic: Mosaic,
        sinks: Sequence[Sink],
        *,
        duration_s: float | None = None,
        realtime: bool = False,
        started_s: float | None = None,
    ) -> None:
        self._source, self._mosaic, self._sinks = source, mosaic, sinks
        self._duration_s = duration_s
        self._realtime = realtime
        self.progress = Progress(started_s=time.monotonic() if started_s is None else started_s)
        self._incoming: WaitingHandover[Item] = WaitingHandover(_WAITING_INPUTS)
        self._outgoing = [WaitingHandover[Item](_WAITING_OUTPUTS) for _ in sinks]
        self._stopping = threading.Event()
        self._cancelled = False
        self._error: BaseException | None = None
        self._error_lock = threading.Lock()
        self._times = {name: Times() for name in _STAGES}
        self._latency = Times()
        self._stage_began = 0.0
        mosaic.on_stage = self._on_stage

    def stop(self) -> None:
        """End the input now; what was read is still finished. Safe in a signal handler."""
        self._stopping.set()

    def cancel(self) -> None:
        """Give up at once: outputs are aborted. Safe in a signal handler."""
        self._cancelled = True

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
            the first error of any stage; the outputs are aborted then
        """
        self.progress.running_s = time.monotonic()
        stages = [
            threading.Thread(target=self._guarded, args=(self._read,), name="source"),
            threading.Thread(target=self._guarded, args=(self._filter,), name="mosaic"),
        ]
        stages += [
            threading.Thread(
                target=self._guarded, args=(self._write, sink, handover), name=f"sink {sink.name}"
            )
            for sink, handover in zip(self._sinks, self._outgoing, strict=True)
        ]
        for stage in stages:
            # Daemons: after `cancel` a call into FFmpeg that never returns must not keep the
            # process alive.
            stage.daemon = True
            stage.start()
        try:
            # The source may be stuck in a read when it is stopped: it is not waited for.
            while waiting := [stage for stage in stages[1:] if stage.is_alive()]:
                if self._cancelled or self._error is not None:
                    break
                waiting[0].join(_TICK_S)
                if self._stopping.is_set():
                    self._incoming.finish()
                if on_tick is not None:
                    on_tick(self.progress)
        except BaseException:
            self._give_up(stages)
            raise
        if self._cancelled or self._error is not None:
            self._give_up(stages)
        self.progress.ended_s = time.monotonic()
        if self._error is not None:
            raise self._error
        if on_tick is not None:
            on_tick(self.progress)
        return not self._cancelled

    def _give_up(self, stages: Iterable[threading.Thread]) -> None:
        """Make every stage end, and leave no output behind."""
        self._cancelled = True
        self._stopping.set()
        for handover in (self._incoming, *self._outgoing):
            handover.cancel()
        deadline = time.monotonic() + _JOIN_S
        for stage in stages:
            stage.join(max(0.0, deadline - time.monotonic()))

    def _guarded(self, stage: Callable[..., None], *args: Any) -> None:
        """Run a stage; keep the first error, and make the caller's thread end the others."""
        try:
            stage(*args)
        except Closed:
            pass
        except BaseException as error:
            with self._error_lock:
                if self._error is None:
                    self._error = error

    def _read(self) -> None:
        """Source stage: decode and hand over."""
        began = time.monotonic()
        first_time: float | None = None
        clock_start = began
        for item in self._source:
            if self._stopping.is_set():
                break
            if isinstance(item, Frame):
                if first_time is None:
                    first_time, clock_start = item.time_s, time.monotonic()
                elapsed = item.time_s - first_time
                if self._duration_s is not None and elapsed >= self._duration_s:
                    break
                self._times["decode"].add(time.monotonic() - began)
                if self._realtime:
                    self._stopping.wait(max(0.0, clock_start + elapsed - time.monotonic()))
                    item = replace(item, captured_s=time.monotonic())
                self.progress.frames_in += 1
            self._incoming.put(item)
            del item
            began = time.monotonic()
        self._incoming.finish()

    def _filter(self) -> None:
        """Mosaic stage: frames are filtered, packets pass."""
        progress = self.progress
        for item in self._incoming:
            out: Item = item
            if isinstance(item, Frame):
                self._stage_began = time.monotonic()
                out = self._mosaic.process(item)
                cells = progress.cells = self._mosaic.cells
                progress.active_share += cells.active / cells.total
                progress.touched_share += cells.touched / cells.total
                progress.changed_share += cells.changed / cells.total
            for handover in self._outgoing:
                handover.put(out)
            # A picture that nobody holds is painted on in place: let go of it before waiting.
            del item, out
        for handover in self._outgoing:
            handover.finish()

    def _write(self, sink: Sink, handover: WaitingHandover[Item]) -> None:
        """Sink stage: the first sink is the one that latency and frames are counted at."""
        counted = sink is self._sinks[0]
        try:
            for item in handover:
                began = time.monotonic()
                sink.write(item)
                if counted and isinstance(item, Frame):
                    now = time.monotonic()
                    self._times["encode"].add(now - began)
                    self._latency.add(now - item.captured_s)
                    if self.progress.frames_out == 0:
                        self.progress.first_frame_s = now - self.progress.started_s
                    self.progress.frames_out += 1
                del item
            if self._cancelled:
                raise Closed
            sink.close()
        except BaseException:
            with contextlib.suppress(Exception):
                sink.abort()
            raise

    def _on_stage(self, name: str) -> None:
        now = time.monotonic()
        self._times[name].add(now - self._stage_began)
        self._stage_began = now

    def report(self) -> dict[str, Any]:
        """The run in numbers; its names are a contract, see the README."""
        p = self.progress
        info = self._source.info
        grid = self._mosaic.plan(info.width, info.height)
        seconds = max((p.ended_s or time.monotonic()) - p.started_s, 1e-9)
        streaming = max((p.ended_s or time.monotonic()) - p.running_s, 1e-9)
        frames = max(p.frames_out, 1)
        return {
            "input": self._source.name,
            "outputs": [sink.name for sink in self._sinks],
            "frames_in": p.frames_in,
            "frames_out": p.frames_out,
            "dropped": 0,
            "repeated": 0,
            "duration_s": round(seconds, 3),
            "fps": round(p.frames_out / streaming, 2),
            "latency_ms": {**self._latency.summary(50, 95, 99), "max": self._latency.max_ms},
            "stages_ms": {name: times.summary(50, 95) for name, times in self._times.items()},
            "grid": {
                "rows": grid.rows,
                "columns": grid.columns,
                "tile_px": grid.tile_px,
                "width": grid.width,
                "height": grid.height,
            },
            "cells": {
                "total": grid.cells,
                "active_mean": round(p.active_share / frames, 4),
                "touched_mean": round(p.touched_share / frames, 4),
                "changed_mean": round(p.changed_share / frames, 4),
            },
            "first_frame_s": round(p.first_frame_s, 3),
            "peak_rss_mb": peak_rss_mb(),
            "reconnects": 0,
        }
