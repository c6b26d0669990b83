"""Statistics as JSON: those of now, and a line for each second of the last minutes."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from ..control.state import LiveStats

_LASTS_S = 300

# The columns of a line of the history.
COLUMNS = (
    "at_s", "fps_in", "fps_out", "latency_ms_p50", "latency_ms_p95", "latency_ms_p99", "dropped",
    "active_share", "governor_share",
)  # fmt: skip


class History:
    """A line of numbers for each second, see `COLUMNS`; the oldest are forgotten."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self.lines: deque[list[float]] = deque(maxlen=_LASTS_S)

    def add(self, stats: LiveStats) -> list[float]:
        """Add and return a line."""
        at_s = time.monotonic() - self._began_s
        line = [at_s, *(float(getattr(stats, name)) for name in COLUMNS[1:])]
        self.lines.append([round(number, 3) for number in line])
        return self.lines[-1]


def stats_json(stats: LiveStats, *, waiting: int) -> dict[str, Any]:
    """The statistics of `GET /api/stats`, whose names are a contract; with the number of guests'
    photos that wait."""
    latency = (stats.latency_ms_p50, stats.latency_ms_p95, stats.latency_ms_p99)
    return {
        "input": stats.input,
        "input_status": stats.source,
        "fps_in": round(stats.fps_in, 2),
        "fps_out": round(stats.fps_out, 2),
        "latency_ms": {
            name: round(ms, 1) for name, ms in zip(("p50", "p95", "p99"), latency, strict=True)
        },
        "dropped": stats.dropped,
        "active_share": round(stats.active_share, 4),
        "split_share": round(stats.split_share, 4),
        "gallery": None if stats.gallery is None else dict(stats.gallery),
        "spotlight": None if stats.spotlight is None else dict(stats.spotlight),
        "stages_ms": {name: round(ms, 2) for name, ms in stats.stages_ms.items()},
        "governor": {"step": stats.governor, "share": round(stats.governor_share, 3)},
        "recording": stats.recording,
        "waiting": waiting,
        "outputs": [
            {
                "name": it.name,
                "state": it.state,
                "frames": it.frames,
                "dropped": it.dropped,
                "codec": it.codec,
            }
            for it in stats.outputs
        ],
    }
