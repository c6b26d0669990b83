"""Measurements in constant memory: percentiles of times, and the report of a run."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable

__all__ = ["Recent", "Times", "peak_rss_mb"]

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


# How far back the figures on the screen look: long enough to be read, short enough to follow.
_RECENT_S = 3.0
_RECENT_MOST = 1024  # entries; bounds memory at absurd rates


class Recent:
    """Durations of the last seconds, for what is shown while it runs.

    Written by one thread; others may read at any time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: deque[tuple[float, float]] = deque(maxlen=_RECENT_MOST)

    def add(self, seconds: float = 0.0) -> None:
        """Count one duration, now."""
        self._entries.append((self._clock(), seconds))

    @property
    def per_second(self) -> float:
        """How many came per second."""
        times = [at for at, _ in self._within()]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def percentile_ms(self, percent: float) -> float:
        """The duration that `percent` of 100 do not exceed, in ms; 0 when there is none."""
        durations = sorted(seconds for _, seconds in self._within())
        if not durations:
            return 0.0
        return durations[math.ceil(percent / 100 * len(durations)) - 1] * 1e3

    def _within(self) -> list[tuple[float, float]]:
        oldest = self._clock() - _RECENT_S
        return [entry for entry in tuple(self._entries) if entry[0] >= oldest]


def peak_rss_mb() -> float:
    """The most memory that this process has had, in MB; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # bytes; kilobytes of 1,024 elsewhere
    return float(round(peak * unit / 1e6, 1))
