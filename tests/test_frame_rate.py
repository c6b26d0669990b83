"""The constant pace, on a clock that the test turns; and the constant rate, which needs none."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from livemosaic.media.frame import Frame, TrackPacket
from livemosaic.pipeline.frame_rate import ConstantPace, ConstantRate
from livemosaic.pipeline.queues import BlockingQueue, Ended, LatestQueue

from .fakes import frame, packet

RATE = Fraction(30)
PERIOD = float(1 / RATE)


class Timeline(LatestQueue[Frame | TrackPacket]):
    """A slot whose items come at given times, and a clock that runs only while it is waited."""

    def __init__(self, arrivals: list[tuple[float, Any]], *, end: float) -> None:
        super().__init__()
        self.now = 0.0
        self._arrivals, self._end = list(arrivals), end

    def clock(self) -> float:
        return self.now

    def rest(self, seconds: float) -> None:
        self._pass(self.now + max(0.0, seconds))

    def take(self, timeout_s: float | None = None) -> Any:
        until = self._end if timeout_s is None else self.now + timeout_s
        while True:
            if (item := super().take(0)) is not None:
                return item
            if not self._arrivals or self._arrivals[0][0] > until:
                break
            self._pass(self._arrivals[0][0])
        self._pass(until)
        if self.now >= self._end:
            raise Ended
        return None

    def _pass(self, until: float) -> None:
        while self._arrivals and self._arrivals[0][0] <= until:
            self.put(self._arrivals.pop(0)[1])
        self.now = max(self.now, until)


def given(arrivals: list[tuple[float, Any]], *, end: float) -> tuple[list[Any], ConstantPace]:
    """What comes out: (time, item, new)."""
    line = Timeline(arrivals, end=end)
    pace = ConstantPace(line, RATE, clock=line.clock)
    return [(line.now, item, new) for item, new in pace], pace


def at_rate(rate: float, seconds: float, *, shift: float = 0.0) -> list[tuple[float, Any]]:
    count = round(seconds * rate)
    return [(shift + n / rate, frame(n, rate=Fraction(rate))) for n in range(count)]


def test_a_source_of_the_same_rate_is_not_delayed() -> None:
    arrivals = at_rate(30, 3)
    out, pace = given(arrivals, end=3)
    assert [(now, item.captured_s) for now, item, _ in out] == [
        (when, item.captured_s) for when, item in arrivals
    ]
    assert pace.repeated == 0


@pytest.mark.parametrize("rate", [5, 12.5, 25, 29, 31, 50, 60])
def test_the_rate_is_kept_and_each_new_picture_is_shown_soon(rate: float) -> None:
    out, pace = given(at_rate(rate, 10), end=10)
    assert abs(len(out) - 300) <= 2
    gaps = [b[0] - a[0] for a, b in pairwise(out)]
    assert max(gaps) <= 2 * PERIOD + 1e-9
    assert pace.repeated == sum(not new for *_, new in out)
    assert sum(new for *_, new in out) >= min(rate, 30) * 10 * 0.95


def test_the_ticks_count_time() -> None:
    out, _ = given(at_rate(25, 4), end=4)
    ticks = [item.pts for _, item, _ in out]
    assert ticks == list(range(len(out)))
    assert {item.time_base for _, item, _ in out} == {1 / RATE}


def test_the_first_tick_is_at_the_stream_s_time() -> None:
    """So that the picture stays in step with the other tracks."""
    out, _ = given([(0.0, frame(50)), (0.04, frame(51))], end=0.2)
    assert out[0][1].time_s == 2.0


def test_a_source_that_stops_is_repeated_until_the_end() -> None:
    out, pace = given([(0.0, frame(0))], end=2)
    assert abs(len(out) - 60) <= 1
    assert pace.repeated == len(out) - 1


def test_nothing_before_the_first_picture() -> None:
    out, _ = given([(1.0, frame(0))], end=1.5)
    assert out[0][0] == 1.0


def test_a_process_that_slept_does_not_make_up_for_it() -> None:
    line = Timeline([(n / 30, frame(n)) for n in range(300)], end=10)
    items = iter(ConstantPace(line, RATE, clock=line.clock))
    for _ in range(30):
        last, _ = next(items)
    line._pass(5.0)
    after, _ = next(items)
    assert isinstance(last, Frame)
    assert isinstance(after, Frame)
    assert after.pts - last.pts == pytest.approx(4 * 30, abs=3)


def test_packets_pass_at_once() -> None:
    sound = packet(0)
    out, _ = given([(0.0, frame(0)), (0.02, sound), (0.034, frame(1))], end=0.06)
    assert [item is sound for _, item, _ in out] == [False, True, False]


# ---- by the pictures' own times ----------------------------------------------------------


def resampled(*items: Any) -> tuple[list[Any], ConstantRate]:
    line: BlockingQueue[Frame | TrackPacket] = BlockingQueue(len(items))
    for item in items:
        line.put(item)
    line.finish()
    rate = ConstantRate(line, RATE)
    return list(rate), rate


def test_each_tick_gets_the_picture_before_it() -> None:
    """At half the rate, with a hole of two pictures, from a second on."""
    source = [frame(n, rate=RATE / 2) for n in (15, 16, 19)]
    given, rate = resampled(*source)
    assert [item.pts for item, _ in given] == list(range(30, 39))
    assert [item.y[0, 0] for item, _ in given] == [15] * 2 + [16] * 6 + [19]
    assert [new for _, new in given] == [n in (0, 2, 8) for n in range(9)]
    assert {item.time_base for item, _ in given} == {1 / RATE}
    assert (rate.repeated, rate.dropped) == (6, 0)


def test_of_pictures_of_one_tick_the_first_is_taken() -> None:
    given, rate = resampled(*(frame(n, rate=4 * RATE) for n in range(9)))
    assert [item.pts for item, _ in given] == [0, 1, 2]
    assert (rate.repeated, rate.dropped) == (0, 6)


def test_of_twice_as_many_pictures_every_other_is_taken() -> None:
    """Half of them are in the middle between two ticks: by turns up and down they would jerk."""
    given, rate = resampled(*(frame(n, rate=2 * RATE) for n in range(12)))
    assert [item.y[0, 0] for item, _ in given] == [0, 1, 3, 5, 7, 9, 11]
    assert (rate.repeated, rate.dropped) == (0, 5)


def test_a_long_time_without_a_picture_is_not_filled() -> None:
    given, rate = resampled(frame(0, rate=RATE), packet(0), frame(3600 * 30, rate=RATE))
    assert [item.pts for item, _ in given if isinstance(item, Frame)] == [0, 3600 * 30]
    assert rate.repeated == 0
