"""A run in numbers: while it goes on, and at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..control.state import LiveStats
from ..mosaic.grid import Grid
from ..mosaic.mosaic import CellCounts
from ..sources.base import Source
from .governor import STEPS
from .mosaic_worker import MosaicWorker
from .recorder import Recorder
from .sink_writer import SinkWriter
from .source_reader import SourceReader
from .stats import peak_rss_mb

__all__ = ["Progress", "RunReport"]


@dataclass(slots=True)
class Progress:
    """What has happened so far."""

    frames_in: int = 0
    frames_out: int = 0
    video_s: float = 0.0  # of the input's time, in the first output
    cells: CellCounts = field(default_factory=CellCounts)
    first_frame_s: float = 0.0  # when the first frame was handed off, after the program began
    doing: str = ""  # what a single picture's long work has come to


class RunReport:
    """What the parts of a pipeline have done.

    Parameters
    ----------
    source, reader, stage : of the pipeline
    asked : the writers that were asked for; figures are of the first that has not failed
    recorder : None where nothing is recorded
    started_s : when the program began, seconds of `time.monotonic()`

    Attributes
    ----------
    running_s, ended_s : when the pipeline began, and was at its end; set by it
    """

    def __init__(
        self,
        source: Source,
        reader: SourceReader,
        worker: MosaicWorker,
        asked: Sequence[SinkWriter],
        recorder: Recorder | None,
        *,
        started_s: float,
    ) -> None:
        self._source, self._reader, self._worker = source, reader, worker
        self._asked, self._recorder = asked, recorder
        self._started_s = started_s
        self.running_s = self.ended_s = 0.0

    @property
    def first(self) -> SinkWriter:
        """The writer that figures are of."""
        return next((writer for writer in self._asked if not writer.failed), self._asked[0])

    @property
    def kept(self) -> list[str]:
        """Names of the sinks that are finished and whole."""
        asked = [writer.sink.name for writer in self._asked if writer.kept]
        return asked + [recording["name"] for recording in self._recordings]

    def progress(self) -> Progress:
        """What has happened so far."""
        first = self.first
        return Progress(
            frames_in=self._reader.frames,
            frames_out=first.frames,
            video_s=first.video_s,
            cells=self._worker.cells,
            first_frame_s=first.first_s - self._started_s if first.frames else 0.0,
            doing=self._worker.doing,
        )

    def live_stats(self) -> LiveStats:
        """How it does, over the last seconds."""
        first, worker, cells = self.first, self._worker, self._worker.cells
        return LiveStats(
            fps_in=self._reader.recent.per_second,
            fps_out=first.recent.per_second,
            latency_ms_p50=first.recent.percentile_ms(50),
            latency_ms_p95=first.recent.percentile_ms(95),
            dropped=self._dropped,
            active_share=cells.active / cells.total if cells.total else 0.0,
            stages_ms={name: recent.percentile_ms(50) for name, recent in worker.recent.items()},
            governor=worker.governor.step.words if worker.governor is not None else "",
            source=worker.notice,
            recording=self._recorder.name if self._recorder is not None else "",
        )

    @property
    def _dropped(self) -> int:
        return (
            self._reader.dropped_by_source
            + self._reader.dropped
            + self._worker.governed
            + self.first.dropped
        )

    @property
    def _recordings(self) -> list[dict[str, Any]]:
        """Reports of those that were kept."""
        if self._recorder is None:
            return []
        last = [writer.report() for writer in self._recorder.writers if writer.kept]
        return self._recorder.finished + last

    def report(self, grid: Grid) -> dict[str, Any]:
        """The whole, with the input's grid; its names are a contract, see the README."""
        p, worker, first = self.progress(), self._worker, self.first
        ended_s = self.ended_s or time.monotonic()
        frames = max(worker.frames, 1)
        times = {"decode": self._reader.times, **worker.times, "encode": first.times}
        governor = worker.governor
        return {
            "input": self._source.name,
            "outputs": [writer.sink.name for writer in self._asked],
            "frames_in": p.frames_in,
            "frames_out": first.frames_out,
            "dropped": self._dropped,
            "repeated": self._reader.repeated + first.repeated,
            "duration_s": round(ended_s - self._started_s, 3),
            "fps": round(first.frames_out / max(ended_s - self.running_s, 1e-9), 2),
            "latency_ms": first.latency_ms(),
            "stages_ms": {name: of.summary(50, 95) for name, of in times.items()},
            "grid": {
                "rows": grid.rows,
                "columns": grid.columns,
                "tile_px": grid.tile_px,
                "width": grid.width,
                "height": grid.height,
            },
            "cells": {
                "total": grid.cells,
                "active_mean": round(worker.active_share / frames, 4),
                "touched_mean": round(worker.touched_share / frames, 4),
                "changed_mean": round(worker.changed_share / frames, 4),
            },
            "first_frame_s": round(p.first_frame_s, 3),
            "peak_rss_mb": peak_rss_mb(),
            "reconnects": self._source.reconnects,
            "drops": {
                "source": self._reader.dropped_by_source,
                "mosaic": self._reader.dropped,
                "governor": worker.governed,
            },
            "sinks": [*(writer.report() for writer in self._asked), *self._recordings],
            "governor": None
            if governor is None
            else {
                "step": governor.step.words,
                "highest": STEPS[governor.highest].words,
                "changes": [
                    {"at_s": round(change.at_s - self.running_s, 2), "step": change.step}
                    for change in governor.changes
                ],
            },
        }
