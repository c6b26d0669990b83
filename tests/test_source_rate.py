"""Stop after a while, pace, fix the rate: on fakes, with a clock of the test's own."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain, count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livemosaic.media.frame import Frame
from livemosaic.sources.rate import FixedRate, limited, paced

from .fakes import RATE, frame, packet, times

# ---- limited -----------------------------------------------------------------------------


def test_limited_stops_an_endless_input() -> None:
    assert times(limited(map(frame, count()), 0.2)) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_limited_counts_from_the_first_frame() -> None:
    assert len(times(limited(map(frame, count(1000)), 1.0))) == 25


def test_limited_gives_one_frame_at_least() -> None:
    assert len(times(limited(map(frame, count()), 1e-6))) == 1


def test_limited_leaves_a_shorter_input_alone() -> None:
    items = [frame(0), packet(0), frame(1), packet(7)]
    assert list(limited(items, 10)) == items


def test_limited_cuts_other_tracks_at_the_same_time() -> None:
    early, late = [packet(n) for n in range(5)], [packet(n) for n in range(5, 30)]
    items = [frame(0), *early, *late, *map(frame, range(1, 200))]
    taken = list(limited(items, 0.2))
    assert times(taken) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert [item for item in taken if not isinstance(item, Frame)] == early


def test_packets_without_a_time_pass() -> None:
    items = [frame(0), packet(None), frame(1)]
    assert list(limited(items, 1)) == items


def test_limited_reads_on_for_tracks_that_are_behind() -> None:
    sound = [packet(n) for n in range(30)]
    items = chain(sound[:1], map(frame, range(20)), sound[1:], map(frame, count(20)))
    taken = list(limited(items, 0.4))
    assert len(times(taken)) == 10
    assert [item for item in taken if not isinstance(item, Frame)] == sound[:10]


def test_limited_does_not_wait_for_ever_for_a_sparse_track() -> None:
    taken = list(limited(iter([packet(0), *map(frame, range(1000))]), 0.4))
    assert len(times(taken)) == 10


# ---- paced -------------------------------------------------------------------------------


class FakeClock:
    """Time passes only by waiting, and by `work_s` for each frame."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def test_paced_frames_come_at_their_times_and_are_stamped() -> None:
    clock = FakeClock()
    got = []
    for item in paced([frame(50), packet(0), frame(51), frame(53)], wait=clock.wait, clock=clock):
        got.append((clock.now - 1000, getattr(item, "captured_s", None)))
        clock.now += 0.01  # work, which pacing has to make up for
    assert [at for at, _ in got] == pytest.approx([0, 0.01, 0.04, 0.12])
    assert got[3][1] == pytest.approx(1000.12)


def test_paced_does_not_wait_when_it_is_late() -> None:
    clock = FakeClock()
    for _ in paced([frame(n) for n in range(5)], wait=clock.wait, clock=clock):
        clock.now += 1.0
    assert clock.waits == []


# ---- FixedRate ---------------------------------------------------------------------------


def fixed(numbers: list[int], rate: Fraction, *, duration: int = 1) -> tuple[list[int], FixedRate]:
    """Which input frame each output frame shows, and the stage."""
    stage = FixedRate(rate, nominal=RATE)
    out = list(stage(frame(n, duration=duration) for n in numbers))
    assert [f.pts for f in out] == list(range(out[0].pts, out[0].pts + len(out)))
    assert all(f.time_base == 1 / rate and f.duration == 1 for f in out)
    return [int(f.y[0, 0]) for f in out], stage


def test_the_same_rate_changes_nothing() -> None:
    shown, stage = fixed(list(range(10)), RATE)
    assert shown == list(range(10))
    assert (stage.repeated, stage.dropped) == (0, 0)


@pytest.mark.parametrize("duration", [1, 0])
def test_twice_the_rate_repeats(duration: int) -> None:
    shown, stage = fixed(list(range(5)), 2 * RATE, duration=duration)
    assert shown == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert (stage.repeated, stage.dropped) == (5, 0)


def test_a_lower_rate_drops() -> None:
    shown, stage = fixed(list(range(10)), Fraction(10))
    # Ticks at 0, 0.1, 0.2, 0.3 s: the newest frame of 25 per second at each.
    assert shown == [0, 2, 5, 7]
    assert (stage.repeated, stage.dropped) == (0, 6)


def test_gaps_are_filled() -> None:
    assert fixed([0, 1, 5], RATE)[0] == [0, 1, 1, 1, 1, 5]


def test_packets_pass_at_once() -> None:
    out = list(FixedRate(RATE, nominal=RATE)([packet(0), frame(0), packet(1), frame(1)]))
    assert [isinstance(item, Frame) for item in out] == [False, False, True, True]


def test_the_start_stays_in_step_with_other_tracks() -> None:
    out = list(FixedRate(Fraction(10), nominal=RATE)(map(frame, range(52, 60))))
    assert out[0].time_s == 2.0  # the tick before 2.08 s
    out = list(FixedRate(Fraction(10), nominal=RATE)(map(frame, range(-1, 9))))
    assert out[0].time_s == -0.1


@given(
    steps=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    rate=st.fractions(Fraction(1, 2), 120, max_denominator=1001),
    start=st.integers(-100, 100),
)
def test_every_tick_shows_the_newest_frame(steps: list[int], rate: Fraction, start: int) -> None:
    inputs = [start]
    for step in steps:
        inputs.append(inputs[-1] + step)
    stage = FixedRate(rate, nominal=RATE)
    out = list(stage(frame(n) for n in inputs))
    assert len(out) == len(inputs) - stage.dropped + stage.repeated
    end = Fraction(inputs[-1] + 1) / RATE
    assert out[0].pts / rate <= Fraction(start) / RATE
    assert (out[-1].pts + 1) / rate >= end > out[-1].pts / rate
    for tick, shown in enumerate(out, out[0].pts):
        assert shown.pts == tick
        newest = max((n for n in inputs if n / RATE <= tick / rate), default=inputs[0])
        assert shown.y[0, 0] == newest % 256
