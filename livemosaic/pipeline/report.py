"""A run in numbers: while it goes on, and at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..control.state import Vitals
from ..mosaic.grid import Grid
from ..mosaic.mosaic import CellCounts
from ..sources.base import Source
from .governor import STEPS
from .mosaic_worker import MosaicStage
from .recorder import Recorder
from .sink_writer import Outlet
from .source_reader import Intake
from .stats import peak_rss_mb

__all__ = ["Figures", "Progress"]


@dataclass(slots=True)
class Progress:
    """What has happened so far."""

    frames_in: int = 0
    frames_out: int = 0
    video_s: float = 0.0  # of the input's time, in the first output
    cells: CellCounts = field(default_factory=CellCounts)
    first_frame_s: float = 0.0  # when the first frame was handed off, after the program began
    doing: str = ""  # what a single picture's long work has come to


class Figures:
    """What the parts of a pipeline have done.

    Parameters
    ----------
    source, intake, stage : of the pipeline
    asked : the outlets that were asked for; figures are of the first that has not failed
    recorder : None where nothing is recorded
    started_s : when the program began, seconds of `time.monotonic()`

    Attributes
    ----------
    running_s, ended_s : when the pipeline began, and was at its end; set by it
    """

    def __init__(
        self,
        source: Source,
        intake: Intake,
        stage: MosaicStage,
        asked: Sequence[Outlet],
        recorder: Recorder | None,
        *,
        started_s: float,
    ) -> None:
        self._source, self._intake, self._stage = source, intake, stage
        self._asked, self._recorder = asked, recorder
        self._started_s = started_s
        self.running_s = self.ended_s = 0.0

    @property
    def first(self) -> Outlet:
        """The outlet that figures are of."""
        return next((outlet for outlet in self._asked if not outlet.failed), self._asked[0])

    @property
    def kept(self) -> list[str]:
        """Names of the sinks that are finished and whole."""
        asked = [outlet.sink.name for outlet in self._asked if outlet.kept]
        return asked + [recording["name"] for recording in self._recordings]

    def progress(self) -> Progress:
        """What has happened so far."""
        first = self.first
        return Progress(
            frames_in=self._intake.frames,
            frames_out=first.frames,
            video_s=first.video_s,
            cells=self._stage.cells,
            first_frame_s=first.first_s - self._started_s if first.frames else 0.0,
            doing=self._stage.doing,
        )

    def vitals(self) -> Vitals:
        """How it does, over the last seconds."""
        first, stage, cells = self.first, self._stage, self._stage.cells
        return Vitals(
            fps_in=self._intake.recent.per_second,
            fps_out=first.recent.per_second,
            latency_ms_p50=first.recent.percentile_ms(50),
            latency_ms_p95=first.recent.percentile_ms(95),
            dropped=self._dropped,
            active_share=cells.active / cells.total if cells.total else 0.0,
            stages_ms={name: recent.percentile_ms(50) for name, recent in stage.recent.items()},
            governor=stage.governor.step.words if stage.governor is not None else "",
            source=stage.notice,
            recording=self._recorder.name if self._recorder is not None else "",
        )

    @property
    def _dropped(self) -> int:
        return (
            self._intake.dropped_by_source
            + self._intake.dropped
            + self._stage.governed
            + self.first.dropped
        )

    @property
    def _recordings(self) -> list[dict[str, Any]]:
        """Reports of those that were kept."""
        if self._recorder is None:
            return []
        last = [outlet.report() for outlet in self._recorder.outlets if outlet.kept]
        return self._recorder.finished + last

    def report(self, grid: Grid) -> dict[str, Any]:
        """The whole, with the input's grid; its names are a contract, see the README."""
        p, stage, first = self.progress(), self._stage, self.first
        ended_s = self.ended_s or time.monotonic()
        frames = max(stage.frames, 1)
        times = {"decode": self._intake.times, **stage.times, "encode": first.times}
        governor = stage.governor
        return {
            "input": self._source.name,
            "outputs": [outlet.sink.name for outlet in self._asked],
            "frames_in": p.frames_in,
            "frames_out": first.frames_out,
            "dropped": self._dropped,
            "repeated": self._intake.repeated + first.repeated,
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
                "active_mean": round(stage.active_share / frames, 4),
                "touched_mean": round(stage.touched_share / frames, 4),
                "changed_mean": round(stage.changed_share / frames, 4),
            },
            "first_frame_s": round(p.first_frame_s, 3),
            "peak_rss_mb": peak_rss_mb(),
            "reconnects": self._source.reconnects,
            "drops": {
                "source": self._intake.dropped_by_source,
                "mosaic": self._intake.dropped,
                "governor": stage.governed,
            },
            "sinks": [*(outlet.report() for outlet in self._asked), *self._recordings],
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
