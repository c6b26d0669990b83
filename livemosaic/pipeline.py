"""The pipeline: it owns every thread, hand-over, deadline and shutdown.

    source --> hand-over --> Mosaic --> hand-over --> sink
                                   \\--> hand-over --> sink

Each stage runs on its own thread. The first error of any ends all of them, and is raised in the
caller. Nothing waits for a thread that is stuck in somebody else's code (a read that never
returns, an encoder in the middle of a large picture): `stuck` tells that there is one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from .frame import Frame, Item, Notice, StreamInfo, TrackPacket
from .grid import Grid
from .handover import Closed, WaitingHandover
from .mosaic import CellCounts, Mosaic
from .sinks.base import Sink
from .sources.base import Source
from .sources.rate import FixedRate, limited, paced
from .stats import Times, peak_rss_mb

__all__ = ["Pipeline", "Progress", "output_info"]

# Frames that may wait between two stages, so that one that takes longer is evened out. Behind the
# mosaic each costs a picture of the output's size, and cells to copy into one more canvas.
_WAITING_INPUTS, _WAITING_OUTPUTS = 2, 1

# How long stages may take to notice that they should end. Stopping at once is promised within a
# second; a stage that is not stuck needs the rest of one frame.
_JOIN_S = 0.5

# How often the caller's thread looks at progress and at what was asked for.
_TICK_S = 0.1

_STAGES = ("decode", "activity", "histogram", "match", "compose", "encode")


@dataclass(slots=True)
class Progress:
    """What has happened so far. Each field is written by one thread only."""

    frames_in: int = 0
    frames_out: int = 0
    video_s: float = 0.0  # of the input's time, in the first output
    cells: CellCounts = field(default_factory=CellCounts)
    first_frame_s: float = 0.0  # when the first frame was handed off, after `started_s`
    started_s: float = 0.0  # when the program began
    running_s: float = 0.0  # when the threads began
    ended_s: float = 0.0
    active_share: float = 0.0  # sums over frames, for the means of the report
    touched_share: float = 0.0
    changed_share: float = 0.0


def output_info(info: StreamInfo, grid: Grid, *, rate: Fraction | None = None) -> StreamInfo:
    """What sinks will be given when a mosaic with this grid is made of that source.

    `rate` is the constant output rate in frames/s, None to keep the input's own times.
    """
    info = replace(info, width=grid.width, height=grid.height)
    return info if rate is None else replace(info, rate=rate, time_base=1 / rate)


class Pipeline:
    """One source, one mosaic, one or more sinks.

    The pipeline closes the source, and closes or aborts each sink.

    Parameters
    ----------
    source, mosaic : open
    sinks : open, for `output_info` of the source; latency and frames are counted at the first
    rate : constant output rate in frames/s, None to keep the input's own times
    duration_s : stop after so many seconds of the input
    realtime : pace the input as if it were live
    started_s : when the program began, `time.monotonic()`, for `first_frame_s`

    Attributes
    ----------
    progress : what has happened so far
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
        started_s: float | None = None,
    ) -> None:
        self._source, self._mosaic, self._sinks = source, mosaic, sinks
        self._duration_s = duration_s
        self._realtime = realtime
        self._rate = None if rate is None else FixedRate(rate, nominal=source.info.rate)
        self._output_rate = rate or source.info.rate
        self.progress = Progress(started_s=time.monotonic() if started_s is None else started_s)
        self.kept: list[str] = []
        self._incoming: WaitingHandover[Item] = WaitingHandover(_WAITING_INPUTS)
        self._outgoing = [WaitingHandover[Frame | TrackPacket](_WAITING_OUTPUTS) for _ in sinks]
        self._reader = self._stage("source", self._read)
        self._writers = [
            self._stage(f"sink {sink.name}", self._write, sink, handover)
            for sink, handover in zip(sinks, self._outgoing, strict=True)
        ]
        self._stages = [self._reader, self._stage("mosaic", self._filter), *self._writers]
        # What is asked for comes in plain flags, because a signal handler that waited for a lock
        # of the thread it interrupted would wait for ever.
        self._stop_asked = False
        self._cancelled = False
        self._stopping = threading.Event()
        self._news = threading.Event()  # a stage has ended
        self._error: BaseException | None = None
        self._error_lock = threading.Lock()
        self._times = {name: Times() for name in _STAGES}
        self._latency = Times()
        self._stage_began = 0.0
        mosaic.on_stage = self._on_stage

    def stop(self) -> None:
        """End the input now; what was read is still finished. Safe in a signal handler."""
        self._stop_asked = True

    def cancel(self) -> None:
        """Give up at once: outputs are aborted. Safe in a signal handler."""
        self._cancelled = True

    @property
    def stuck(self) -> bool:
        """Whether a stage is still running after `run`: the process has to be left by `os._exit`.

        The interpreter's own end would pull the ground from under such a thread's feet, and crash.
        """
        return any(stage.is_alive() for stage in self._stages)

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
            the first error of any stage; the outputs are aborted then
        """
        self.progress.running_s = time.monotonic()
        try:
            for stage in self._stages:
                stage.start()
            # The source may be stuck in a read when it is stopped: it is not waited for.
            while any(writer.is_alive() for writer in self._writers):
                self._news.wait(_TICK_S)
                self._news.clear()
                if self._stop_asked:
                    self._stopping.set()
                    self._incoming.finish()
                if self._cancelled:
                    break
                if on_tick is not None:
                    on_tick(self.progress)
        except BaseException:
            self._cancelled = True
            raise
        finally:
            self._shut_down()
        if self._error is not None:
            raise self._error
        if on_tick is not None:
            on_tick(self.progress)
        return not self._cancelled

    def _shut_down(self) -> None:
        """Make every stage end, and leave nothing open that can be closed."""
        self._stopping.set()
        if self._cancelled:
            self._incoming.cancel()
            for outgoing in self._outgoing:
                outgoing.cancel()
        deadline = time.monotonic() + _JOIN_S
        for stage in self._stages:
            if stage.ident is not None:  # it was started
                stage.join(max(0.0, deadline - time.monotonic()))
        for sink, writer in zip(self._sinks, self._writers, strict=True):
            if writer.is_alive():
                sink.discard()
            elif writer.ident is None:
                sink.abort()
        if not self.stuck:
            self._source.close()
        self.progress.ended_s = time.monotonic()

    # ---- stages --------------------------------------------------------------------------

    def _stage(self, name: str, work: Callable[..., None], *args: Any) -> threading.Thread:
        # A daemon: a call into FFmpeg that never returns must not keep the process alive.
        return threading.Thread(
            target=self._guarded, args=(work, *args), name=f"livemosaic {name}", daemon=True
        )

    def _guarded(self, work: Callable[..., None], *args: Any) -> None:
        """Run a stage; keep the first error, and make the caller's thread end the others."""
        try:
            work(*args)
        except Closed:
            pass
        except BaseException as error:
            with self._error_lock:
                # What fails because everything is being given up is not the reason for it.
                if not self._cancelled:
                    self._error = error
                    self._cancelled = True
        finally:
            self._news.set()

    def _read(self) -> None:
        """Source stage: decode and hand over."""
        items = self._decoded()
        if self._duration_s is not None:
            items = limited(items, self._duration_s)
        if self._realtime:
            items = paced(items, wait=self._stopping.wait)
        items = self._counted(items)
        if self._rate is not None:
            items = self._rate(items)
        for item in items:
            if self._stopping.is_set():
                break
            self._incoming.put(item)
            del item
        self._incoming.finish()

    def _decoded(self) -> Iterator[Item]:
        """The source's items; how long each frame took."""
        began = time.monotonic()
        for item in self._source:
            if isinstance(item, Frame):
                self._times["decode"].add(time.monotonic() - began)
            yield item
            del item
            began = time.monotonic()

    def _counted(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            self.progress.frames_in += isinstance(item, Frame)
            yield item

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
                if not isinstance(out, Notice):
                    handover.put(out)
            # A picture that nobody holds is painted on in place: let go of it before waiting.
            del item, out
        for handover in self._outgoing:
            handover.finish()

    def _write(self, sink: Sink, handover: WaitingHandover[Frame | TrackPacket]) -> None:
        """Sink stage."""
        counted = sink is self._sinks[0]
        try:
            for item in handover:
                began = time.monotonic()
                sink.write(item)
                if counted and isinstance(item, Frame):
                    self._count(item, began)
                del item
            if self._cancelled:
                raise Closed
            sink.close()
        except BaseException:
            with contextlib.suppress(Exception):
                sink.abort()
            raise
        self.kept.append(sink.name)

    def _count(self, frame: Frame, began: float) -> None:
        """Note that the first sink has taken a frame."""
        progress, now = self.progress, time.monotonic()
        self._times["encode"].add(now - began)
        self._latency.add(now - frame.captured_s)
        if progress.frames_out == 0:
            progress.first_frame_s = now - progress.started_s
            self._first_time_s = frame.time_s
        lasts = float(frame.duration * frame.time_base or 1 / self._output_rate)
        progress.video_s = frame.time_s + lasts - self._first_time_s
        progress.frames_out += 1

    def _on_stage(self, name: str) -> None:
        now = time.monotonic()
        self._times[name].add(now - self._stage_began)
        self._stage_began = now

    # ---- report --------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """The run in numbers; its names are a contract, see the README."""
        p = self.progress
        info = self._source.info
        grid = self._mosaic.plan(info.width, info.height)
        ended = p.ended_s or time.monotonic()
        frames = max(p.frames_out, 1)
        return {
            "input": self._source.name,
            "outputs": [sink.name for sink in self._sinks],
            "frames_in": p.frames_in,
            "frames_out": p.frames_out,
            "dropped": self._rate.dropped if self._rate is not None else 0,
            "repeated": self._rate.repeated if self._rate is not None else 0,
            "duration_s": round(ended - p.started_s, 3),
            "fps": round(p.frames_out / max(ended - p.running_s, 1e-9), 2),
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
            "reconnects": self._source.reconnects,
        }
