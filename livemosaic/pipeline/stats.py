"""Measurements in constant memory: percentiles of durations, and the peak of memory."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TypeVar

Number = TypeVar("Number", int, float)

# Durations are counted in bins whose width is 2 % of their value: a percentile is right to 1 %, and
# a stream may run for days.
_BIN_RATIO = math.log(1.02)
_SMALLEST_S = 1e-6

# Live statistics cover this time: long enough to be read, short enough to follow.
_RECENT_S = 3.0
_MAX_RECENT = 1024  # entries; bounds memory at absurd rates


def percentile(counts: Mapping[Number, int], percent: float) -> Number:
    """The smallest value that at least `percent` of 100 values do not exceed (nearest rank).

    `counts` says how often each value occurs. There is at least one.
    """
    rank, seen = percent / 100 * sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= rank:
            break
    return value


class Durations:
    """A distribution of durations: of the whole run, and of the last seconds.

    One thread adds; any thread may read.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bins: Counter[int] = Counter()
        self._max_s = 0.0
        self._last: deque[tuple[float, float]] = deque(maxlen=_MAX_RECENT)

    def add(self, seconds: float) -> None:
        """Count one duration that ends now."""
        self._bins[round(math.log(max(seconds, _SMALLEST_S)) / _BIN_RATIO)] += 1
        self._max_s = max(self._max_s, seconds)
        self._last.append((self._clock(), seconds))

    @property
    def max_ms(self) -> float:
        return round(self._max_s * 1e3, 3)

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the run in ms; 0 when no duration was counted."""
        if not self._bins:
            return 0.0
        middle_s = math.exp(percentile(self._bins, percent) * _BIN_RATIO)
        return round(min(middle_s, self._max_s) * 1e3, 3)

    def summary(self, *percents: int) -> dict[str, float]:
        """{"p50": ..., ...} of the run in ms."""
        return {f"p{p}": self.percentile_ms(p) for p in percents}

    @property
    def recent_rate(self) -> float:
        """Durations per second, of the last seconds."""
        times = [at_s for at_s, _ in self._recent()]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def recent_ms(self, percent: float) -> float:
        """A percentile of the last seconds in ms; 0 when there was no duration."""
        durations = Counter(seconds for _, seconds in self._recent())
        return percentile(durations, percent) * 1e3 if durations else 0.0

    def _recent(self) -> list[tuple[float, float]]:
        oldest_s = self._clock() - _RECENT_S
        return [entry for entry in tuple(self._last) if entry[0] >= oldest_s]


def peak_rss_mb() -> float:
    """The peak of this process's memory in MB; 0 on systems that do not report it."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # bytes; kilobytes of 1,024 elsewhere
    return float(round(peak * unit / 1e6, 1))
