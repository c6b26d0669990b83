"""Percentiles in constant memory."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from livemosaic.pipeline.stats import Durations, peak_rss_mb, percentile


def test_nothing_was_counted() -> None:
    assert Durations().summary(50, 95) == {"p50": 0.0, "p95": 0.0}
    assert Durations().max_ms == 0.0


@pytest.mark.parametrize("percent", [1, 50, 95, 99, 100])
def test_percentiles_are_right_to_two_percent(percent: int) -> None:
    seconds = np.random.default_rng(0).lognormal(-4, 1.5, 5000)
    durations = Durations()
    for value in seconds:
        durations.add(float(value))
    expected = np.percentile(seconds, percent, method="inverted_cdf") * 1e3
    assert durations.percentile_ms(percent) == pytest.approx(expected, rel=0.02)


def test_no_percentile_is_above_the_largest() -> None:
    durations = Durations()
    durations.add(0.010049)
    assert durations.max_ms == 10.049
    assert durations.percentile_ms(99) <= durations.max_ms


def test_memory_does_not_grow_with_the_count() -> None:
    def size(count: int) -> int:
        durations = Durations()
        for number in range(count):
            durations.add(0.001 + number * 0.02 / count)
        return len(pickle.dumps(durations))

    assert size(40_000) < 1.1 * size(4000)


@pytest.mark.parametrize("percent", [1, 50, 90, 95, 100])
@pytest.mark.parametrize("count", [1, 2, 10, 11, 200])
def test_percentile(count: int, percent: int) -> None:
    values = np.random.default_rng(count).integers(0, 30, count).tolist()
    expected = np.percentile(values, percent, method="inverted_cdf")
    assert percentile(Counter(values), percent) == expected


def test_recent_durations() -> None:
    """The last three seconds: how many per second, and how long."""
    now = [0.0]
    durations = Durations(clock=lambda: now[0])
    assert (durations.recent_rate, durations.recent_ms(50)) == (0.0, 0.0)
    for number in range(101):
        now[0] = number / 10
        durations.add(number / 1000)
    assert durations.recent_rate == pytest.approx(10)
    assert durations.recent_ms(100) == 100
    assert durations.recent_ms(1) == 70
    now[0] += 4
    assert (durations.recent_rate, durations.recent_ms(50)) == (0.0, 0.0)
    assert durations.percentile_ms(50) == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-12, 3600.0])
def test_any_duration_can_be_counted(seconds: float) -> None:
    durations = Durations()
    durations.add(seconds)
    assert durations.percentile_ms(50) <= max(seconds, 0) * 1e3


def test_peak_memory() -> None:
    pytest.importorskip("resource", reason="this system does not say")
    assert 10 < peak_rss_mb() < 1e6
