"""The statistics of a film, from those of its segments."""

from __future__ import annotations

import itertools
import operator
import time
from collections.abc import Sequence
from typing import Any

from ..pipeline.stats import peak_rss_mb
from ..sources.base import Source
from .plan import Plan

_MEANS = ("latency_ms", "stages_ms", "cells", "area")


def whole_report(
    reports: Sequence[dict[str, Any]],
    plan: Plan,
    source: Source,
    *,
    started_s: float,
    joining_s: float,
    made: Sequence[bool],
) -> dict[str, Any]:
    """One report for all segments: sums, and means that count each frame alike.

    Parameters
    ----------
    reports : of the segments
    started_s, joining_s : when the program began, and when the film got its first frame
    made : whether this run has made a segment, of each
    """
    weights = [report["frames_out"] for report in reports]
    total, duration_s = sum(weights), time.monotonic() - started_s
    own = sum(itertools.compress(weights, made))
    sink = {"frames": total, "dropped": 0, "repeated": 0}
    means = {name: _mean([report[name] for report in reports], weights) for name in _MEANS}
    end_s = plan.time_s(-1) + plan.last_s(source.info.rate)
    ends = [*(plan.time_s(first) for first in plan.firsts[1:]), end_s]
    segments = [
        {"start_s": float(plan.time_s(first)), "end_s": float(end_s), "frames": frames}
        for first, end_s, frames in zip(plan.firsts, ends, weights, strict=True)
    ]
    return {
        **reports[0],
        **means,
        "input": source.name,
        "frames_in": plan.frames_in,
        "frames_out": total,
        "dropped": plan.dropped,
        "repeated": plan.repeated,
        "duration_s": round(duration_s, 3),
        "fps": round(own / duration_s, 2),
        "first_frame_s": round(joining_s - started_s, 3),
        "peak_rss_mb": max(peak_rss_mb(), *(report["peak_rss_mb"] for report in reports)),
        "drops": {**reports[0]["drops"], "mosaic": plan.dropped},
        "sinks": [{**reports[0]["sinks"][0], **sink, "latency_ms": means["latency_ms"]}],
        "film": {"segments": segments, "made": sum(made), "kept": made.count(False)},
    }


def _mean(values: Sequence[Any], weights: Sequence[int]) -> Any:
    """The mean of numbers, or of those in dictionaries."""
    first = values[0]
    if isinstance(first, dict):
        return {name: _mean([value[name] for value in values], weights) for name in first}
    mean = sum(map(operator.mul, values, weights)) / max(1, sum(weights))
    return round(mean) if isinstance(first, int) else round(mean, 4)
