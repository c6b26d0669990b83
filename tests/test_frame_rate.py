"""The constant frame rate: by the frames' times, and by a clock that the test turns."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livemosaic.media.frame import Frame, Item, TrackPacket
from livemosaic.media.frame_rate import FrameRate
from livemosaic.pipeline.frame_rate import by_clock
from livemosaic.pipeline.queues import Ended, LatestQueue

from . import fakes
from .fakes import frame, packet

RATE = Fraction(30)
PERIOD = float(1 / RATE)

# ---- the newest picture at each tick -----------------------------------------------------


def newest(
    numbers: list[int], rate: Fraction, *, duration: int = 1
) -> tuple[list[int], FrameRate, list[Frame]]:
    """Which input frame each output frame shows, the rate's counters, and the output."""
    frame_rate = FrameRate(rate)
    inputs = (frame(n, duration=duration) for n in numbers)
    items = frame_rate.newest(inputs, nominal_rate=fakes.RATE)
    out = [item for item in items if isinstance(item, Frame)]
    assert [f.pts for f in out] == list(range(out[0].pts, out[0].pts + len(out)))
    assert all(f.time_base == 1 / rate and f.duration == 1 for f in out)
    return [int(f.y[0, 0]) for f in out], frame_rate, out


def test_the_same_rate_changes_nothing() -> None:
    shown, counted, _ = newest(list(range(10)), fakes.RATE)
    assert shown == list(range(10))
    assert (counted.repeated, counted.dropped) == (0, 0)


@pytest.mark.parametrize("duration", [1, 0])
def test_twice_the_rate_repeats(duration: int) -> None:
    shown, counted, _ = newest(list(range(5)), 2 * fakes.RATE, duration=duration)
    assert shown == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert (counted.repeated, counted.dropped) == (5, 0)


def test_a_lower_rate_drops() -> None:
    shown, counted, _ = newest(list(range(10)), Fraction(10))
    # Ticks at 0, 0.1, 0.2, 0.3 s: the newest frame of 25 per second at each.
    assert shown == [0, 2, 5, 7]
    assert (counted.repeated, counted.dropped) == (0, 6)


def test_gaps_are_filled() -> None:
    assert newest([0, 1, 5], fakes.RATE)[0] == [0, 1, 1, 1, 1, 5]


def test_packets_pass_at_once_before_the_frame_that_waits() -> None:
    items: list[Item] = [packet(0), frame(0), packet(1), frame(1)]
    out = list(FrameRate(fakes.RATE).newest(items, nominal_rate=fakes.RATE))
    assert [isinstance(item, Frame) for item in out] == [False, False, True, True]


def test_the_start_stays_in_step_with_other_tracks() -> None:
    assert newest(list(range(52, 60)), Fraction(10))[2][0].time_s == 2.0  # the tick before 2.08 s
    assert newest(list(range(-1, 9)), Fraction(10))[2][0].time_s == -0.1


@given(
    steps=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    rate=st.fractions(Fraction(1, 2), 120, max_denominator=1001),
    start=st.integers(-100, 100),
)
def test_every_tick_shows_the_newest_frame(steps: list[int], rate: Fraction, start: int) -> None:
    inputs = [start]
    for step in steps:
        inputs.append(inputs[-1] + step)
    _, counted, out = newest(inputs, rate)
    assert len(out) == len(inputs) - counted.dropped + counted.repeated
    end = Fraction(inputs[-1] + 1) / fakes.RATE
    assert out[0].pts / rate <= Fraction(start) / fakes.RATE
    assert (out[-1].pts + 1) / rate >= end > out[-1].pts / rate
    for tick, shown in enumerate(out, out[0].pts):
        assert shown.pts == tick
        last = max((n for n in inputs if n / fakes.RATE <= tick / rate), default=inputs[0])
        assert shown.y[0, 0] == last % 256


# ---- each picture at the nearest tick, at once -------------------------------------------


def nearest(*items: Any) -> tuple[list[Any], FrameRate]:
    frame_rate = FrameRate(RATE, max_gap_s=10)
    return list(frame_rate.nearest(items)), frame_rate


def test_each_tick_gets_the_picture_before_it() -> None:
    """At half the rate, with a hole of two pictures, from a second on."""
    out, counted = nearest(*(frame(n, rate=RATE / 2) for n in (15, 16, 19)))
    assert [item.pts for item, _ in out] == list(range(30, 39))
    assert [item.y[0, 0] for item, _ in out] == [15] * 2 + [16] * 6 + [19]
    assert [new for _, new in out] == [n in (0, 2, 8) for n in range(9)]
    assert {item.time_base for item, _ in out} == {1 / RATE}
    assert (counted.repeated, counted.dropped) == (6, 0)


def test_of_pictures_of_one_tick_the_first_is_taken() -> None:
    out, counted = nearest(*(frame(n, rate=4 * RATE) for n in range(9)))
    assert [item.pts for item, _ in out] == [0, 1, 2]
    assert (counted.repeated, counted.dropped) == (0, 6)


def test_of_twice_as_many_pictures_every_other_is_taken() -> None:
    """Half of them are in the middle between two ticks: by turns up and down they would jerk."""
    out, counted = nearest(*(frame(n, rate=2 * RATE) for n in range(12)))
    assert [item.y[0, 0] for item, _ in out] == [0, 1, 3, 5, 7, 9, 11]
    assert (counted.repeated, counted.dropped) == (0, 5)


def test_a_long_gap_is_not_filled() -> None:
    out, counted = nearest(frame(0, rate=RATE), packet(0), frame(3600 * 30, rate=RATE))
    assert [item.pts for item, _ in out if isinstance(item, Frame)] == [0, 3600 * 30]
    assert counted.repeated == 0


@given(
    times=st.lists(st.fractions(-2, 9, max_denominator=90_000), max_size=60),
    rate=st.fractions(Fraction(1, 2), 120, max_denominator=1001),
    max_gap_s=st.sampled_from([None, 0, 1]),
)
def test_ticks_never_go_back(times: list[Fraction], rate: Fraction, max_gap_s: int | None) -> None:
    frame_rate = FrameRate(rate, max_gap_s=max_gap_s)
    taken = [(time, frame_rate.ticks(time)) for time in sorted(times)]
    ticks = [tick for _, own in taken for tick in own]
    assert all(a < b for a, b in pairwise(ticks))
    for time, own in taken:
        assert not own or abs(own[-1] / rate - time) <= 1 / rate / 2
    shown = sum(bool(own) for _, own in taken)
    assert frame_rate.dropped == len(times) - shown
    assert frame_rate.repeated == len(ticks) - shown
    if max_gap_s is None:
        assert all(b == a + 1 for a, b in pairwise(ticks))
    elif max_gap_s == 0:
        assert frame_rate.repeated == 0


# ---- by the clock ------------------------------------------------------------------------


class Timeline(LatestQueue[Frame | TrackPacket]):
    """A queue whose items come at set times, and a clock that runs only during waits."""

    def __init__(self, arrivals: list[tuple[float, Any]], *, end: float) -> None:
        super().__init__()
        self.now = 0.0
        self._arrivals, self._end = list(arrivals), end

    def clock(self) -> float:
        return self.now

    def rest(self, seconds: float) -> None:
        self.wait_until(self.now + max(0.0, seconds))

    def take(self, timeout_s: float | None = None) -> Any:
        until = self._end if timeout_s is None else self.now + timeout_s
        while True:
            if (item := super().take(0)) is not None:
                return item
            if not self._arrivals or self._arrivals[0][0] > until:
                break
            self.wait_until(self._arrivals[0][0])
        self.wait_until(until)
        if self.now >= self._end:
            raise Ended
        return None

    def wait_until(self, until: float) -> None:
        while self._arrivals and self._arrivals[0][0] <= until:
            self.put(self._arrivals.pop(0)[1])
        self.now = max(self.now, until)


def played(arrivals: list[tuple[float, Any]], *, end: float) -> tuple[list[Any], FrameRate]:
    """The output as (time, item, new), and the rate's counters."""
    line, frame_rate = Timeline(arrivals, end=end), FrameRate(RATE)
    items = by_clock(line, frame_rate, clock=line.clock)
    return [(line.now, item, new) for item, new in items], frame_rate


def at_rate(rate: float, seconds: float) -> list[tuple[float, Any]]:
    count = round(seconds * rate)
    return [(n / rate, frame(n, rate=Fraction(rate))) for n in range(count)]


def test_a_source_of_the_same_rate_is_not_delayed() -> None:
    arrivals = at_rate(30, 3)
    out, counted = played(arrivals, end=3)
    assert [(now, item.captured_s) for now, item, _ in out] == [
        (when, item.captured_s) for when, item in arrivals
    ]
    assert counted.repeated == 0


@pytest.mark.parametrize("rate", [5, 12.5, 25, 29, 31, 50, 60])
def test_the_rate_is_kept_and_each_new_picture_is_shown_soon(rate: float) -> None:
    out, counted = played(at_rate(rate, 10), end=10)
    assert abs(len(out) - 300) <= 2
    gaps = [b[0] - a[0] for a, b in pairwise(out)]
    assert max(gaps) <= 2 * PERIOD + 1e-9
    assert counted.repeated == sum(not new for *_, new in out)
    assert sum(new for *_, new in out) >= min(rate, 30) * 10 * 0.95


def test_the_ticks_count_time() -> None:
    out, _ = played(at_rate(25, 4), end=4)
    ticks = [item.pts for _, item, _ in out]
    assert ticks == list(range(len(out)))
    assert {item.time_base for _, item, _ in out} == {1 / RATE}


def test_the_first_tick_is_at_the_stream_s_time() -> None:
    """So that the picture stays in step with the other tracks."""
    out, _ = played([(0.0, frame(50)), (0.04, frame(51))], end=0.2)
    assert out[0][1].time_s == 2.0


def test_a_source_that_stops_is_repeated_until_the_end() -> None:
    out, counted = played([(0.0, frame(0))], end=2)
    assert abs(len(out) - 60) <= 1
    assert counted.repeated == len(out) - 1


def test_nothing_before_the_first_picture() -> None:
    out, _ = played([(1.0, frame(0))], end=1.5)
    assert out[0][0] == 1.0


def test_ticks_during_a_suspension_are_left_out() -> None:
    line = Timeline([(n / 30, frame(n)) for n in range(300)], end=10)
    items = by_clock(line, FrameRate(RATE), clock=line.clock)
    for _ in range(30):
        last, _ = next(items)
    line.wait_until(5.0)
    after, _ = next(items)
    assert isinstance(last, Frame)
    assert isinstance(after, Frame)
    assert after.pts - last.pts == pytest.approx(4 * 30, abs=3)


def test_packets_pass_at_once() -> None:
    sound = packet(0)
    out, _ = played([(0.0, frame(0)), (0.02, sound), (0.034, frame(1))], end=0.06)
    assert [item is sound for _, item, _ in out] == [False, True, False]
