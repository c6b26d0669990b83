"""A run in numbers: progress and live statistics while it goes on, the report at its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ..control.state import LiveStats
from ..mosaic.grid import Grid
from ..mosaic.layers import CellCounts
from ..sources.base import Source
from ..sources.on_demand import OnDemandSource
from .governor import STEPS
from .mosaic_worker import CELL_COUNTS, MosaicWorker
from .recorder import Recorder
from .sink_writer import FanOut, SinkWriter
from .source_reader import SourceReader
from .stats import peak_rss_mb


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    Attributes
    ----------
    frames_in, frames_out : frames that the source gave, and that the first sink took
    video_s : duration of the first sink's result
    cells : of the last frame
    first_frame_s : from the program's start to the first frame's delivery; 0 before
    phase : of a single picture's long work, such as "matching 40%"
    """

    frames_in: int = 0
    frames_out: int = 0
    video_s: float = 0.0
    cells: CellCounts = field(default_factory=CellCounts)
    first_frame_s: float = 0.0
    phase: str = ""


@dataclass(slots=True)
class RunReport:
    """Collects the statistics of a pipeline's parts. Times are those of `time.monotonic()`."""

    source: Source
    reader: SourceReader
    worker: MosaicWorker
    fan_out: FanOut
    recorder: Recorder
    started_s: float  # of the program
    running_s: float = 0.0  # start and end of `Pipeline.run`, which sets them
    ended_s: float = 0.0

    @property
    def first(self) -> SinkWriter:
        """The first sink that has not failed: the statistics are about it."""
        sinks = self.fan_out.sinks
        return next((writer for writer in sinks if not writer.aborted), sinks[0])

    @property
    def completed(self) -> list[str]:
        """Names of the completed sinks, recordings and posters."""
        sinks = [writer.sink.name for writer in self.fan_out.sinks if writer.completed]
        recordings = (recording["name"] for recording in self.recorder.reports)
        return [*sinks, *recordings, *self._posters]

    @property
    def _posters(self) -> list[str]:
        return [] if self.worker.poster is None else self.worker.poster.made

    def progress(self) -> Progress:
        first = self.first
        return Progress(
            frames_in=self.reader.frames,
            frames_out=first.frames,
            video_s=first.video_s,
            cells=self.worker.cells,
            first_frame_s=first.first_s - self.started_s if first.frames else 0.0,
            phase=self.worker.phase,
        )

    def live_stats(self) -> LiveStats:
        first, worker, cells = self.first, self.worker, self.worker.cells
        return LiveStats(
            fps_in=self.reader.durations.recent_rate,
            fps_out=first.latency.recent_rate,
            latency_ms_p50=first.latency.recent_ms(50),
            latency_ms_p95=first.latency.recent_ms(95),
            dropped=self._dropped,
            active_share=cells.share("active"),
            split_share=cells.split_share,
            stages_ms={
                name: stage.recent_ms(50)
                for name, stage in worker.durations.items()
                if name != "area" or stage.recent_rate
            },
            governor=worker.governed_by(worker.governor.step)
            if worker.governor is not None
            else "",
            source=worker.status,
            recording=self.recorder.name,
            photos=worker.follower.summary,
            gallery=worker.follower.report(),
            spotlight=worker.spotlight.report(),
            poster="" if worker.poster is None else worker.poster.progress,
            latency_ms_p99=first.latency.recent_ms(99),
            governor_share=worker.governor.number / (len(STEPS) - 1) if worker.governor else 0.0,
            input=self.source.name,
            outputs=tuple(writer.stats() for writer in self.fan_out.outputs),
        )

    @property
    def _drops(self) -> dict[str, int]:
        """Frames that were dropped before the sinks, by the reason."""
        return {
            "source": self.reader.dropped_by_source,
            "mosaic": self.reader.dropped,
            "governor": self.worker.dropped_by_governor,
        }

    @property
    def _dropped(self) -> int:
        return sum(self._drops.values()) + self.first.dropped

    def report(self, grid: Grid) -> dict[str, Any]:
        """The report for `--json`, whose names are a contract; `grid` is that of the input."""
        worker, first = self.worker, self.first
        ended_s = self.ended_s or time.monotonic()
        stages = {"decode": self.reader.durations} | worker.durations | {"encode": first.durations}
        sinks = [writer.report() for writer in self.fan_out.sinks]
        return {
            "input": self.source.name,
            "outputs": [sink["name"] for sink in sinks],
            "frames_in": self.reader.frames,
            "frames_out": first.frames_out,
            "dropped": self._dropped,
            "repeated": self.reader.repeated + first.repeated,
            "duration_s": round(ended_s - self.started_s, 3),
            "fps": round(first.frames_out / max(ended_s - self.running_s, 1e-9), 2),
            "latency_ms": first.latency_ms(),
            "stages_ms": {name: stage.summary(50, 95) for name, stage in stages.items()},
            "grid": {
                name: getattr(grid, name)
                for name in ("rows", "columns", "tile_px", "width", "height")
            },
            "cells": {
                "total": grid.cells,
                **{
                    f"{name}_mean": round(worker.cell_shares[name] / max(worker.frames, 1), 4)
                    for name in CELL_COUNTS
                },
                "split_mean": round(worker.split_shares / max(worker.frames, 1), 4),
            },
            "area": {"mosaic_mean": round(worker.mosaic_shares / max(worker.frames, 1), 4)},
            "gallery": worker.follower.report(),
            "spotlight": worker.spotlight.report(),
            "first_frame_s": round(self.progress().first_frame_s, 3),
            "peak_rss_mb": peak_rss_mb(),
            "reconnects": self.source.reconnects,
            "drops": self._drops,
            "sinks": sinks + self.recorder.reports,
            "posters": self._posters,
            "governor": self._governor_report(),
            "on_demand": self._on_demand_report(),
        }

    def _on_demand_report(self) -> dict[str, Any] | None:
        source = self.source
        if not isinstance(source, OnDemandSource):
            return None
        return {
            "status": source.status,
            "starts": source.starts,
            "open_s": round(source.open_s, 2),
        }

    def _governor_report(self) -> dict[str, Any] | None:
        governor = self.worker.governor
        if governor is None:
            return None
        return {
            "step": self.worker.governed_by(governor.step),
            "highest": self.worker.governed_by(STEPS[governor.highest]),
            "changes": [
                {"at_s": round(change.at_s - self.running_s, 2), "step": change.step}
                for change in governor.changes
            ],
        }
