"""Measurements in constant memory: percentiles of times, and the report of a run."""

from __future__ import annotations

import math
import sys
from collections import Counter

__all__ = ["Times", "peak_rss_mb"]

# Times are counted in bins whose width is 2 % of their value: a percentile is right to 1 %, and a
# stream may run for days.
_BIN_RATIO = math.log(1.02)
_SMALLEST_S = 1e-6


class Times:
    """A distribution of durations."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self._max_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._bins[round(math.log(max(seconds, _SMALLEST_S)) / _BIN_RATIO)] += 1
        self._max_s = max(self._max_s, seconds)

    @property
    def max_ms(self) -> float:
        return round(self._max_s * 1e3, 3)

    def percentile_ms(self, percent: float) -> float:
        """The duration that `percent` of 100 do not exceed, in ms; 0 when none was counted."""
        wanted = percent / 100 * self._bins.total()
        seen = 0
        for index in sorted(self._bins):
            seen += self._bins[index]
            if seen >= wanted:
                return round(min(math.exp(index * _BIN_RATIO), self._max_s) * 1e3, 3)
        return 0.0

    def summary(self, *percents: int) -> dict[str, float]:
        """{"p50": ..., ...} in ms."""
        return {f"p{p}": self.percentile_ms(p) for p in percents}


def peak_rss_mb() -> float:
    """The most memory that this process has had, in MB; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1))
