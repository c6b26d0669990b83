"""Percentiles in constant memory."""

from __future__ import annotations

import numpy as np
import pytest

from livemosaic.pipeline.stats import Times, peak_rss_mb


def test_nothing_was_counted() -> None:
    assert Times().summary(50, 95) == {"p50": 0.0, "p95": 0.0}
    assert Times().max_ms == 0.0


@pytest.mark.parametrize("percent", [1, 50, 95, 99, 100])
def test_percentiles_are_right_to_two_percent(percent: int) -> None:
    seconds = np.random.default_rng(0).lognormal(-4, 1.5, 5000)
    times = Times()
    for value in seconds:
        times.add(float(value))
    expected = np.percentile(seconds, percent, method="inverted_cdf") * 1e3
    assert times.percentile_ms(percent) == pytest.approx(expected, rel=0.02)


def test_no_percentile_is_above_the_largest() -> None:
    times = Times()
    times.add(0.010049)
    assert times.max_ms == 10.049
    assert times.percentile_ms(99) <= times.max_ms


def test_memory_does_not_grow_with_the_count() -> None:
    times = Times()
    for number in range(20_000):
        times.add(0.001 + number * 1e-6)
    assert len(times._bins) < 200


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-12, 3600.0])
def test_any_duration_can_be_counted(seconds: float) -> None:
    times = Times()
    times.add(seconds)
    assert times.percentile_ms(50) <= max(seconds, 0) * 1e3


def test_peak_memory() -> None:
    pytest.importorskip("resource", reason="this system does not say")
    assert 10 < peak_rss_mb() < 1e6
