"""The governor on a machine that is a formula: what it does, when, and how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from bench import governor as traces
from livemosaic.pipeline.governor import STEPS, Governor, Step

INTERVAL_S = 1 / 30
LIMIT_S = 0.1

# Seconds of work for a step, at a time.
Machine = Callable[[Step, float], float]


def run(
    governor: Governor,
    machine: Machine,
    *,
    begin: float = 0.0,
    seconds: float,
    wait_s: float = 0.0,
    decoding_s: float = 0.0,
) -> list[int]:
    """Give a governor all frames of some seconds; the step after each."""
    numbers = []
    free_s = begin  # when the mosaic is free again
    for frame in range(round(seconds / INTERVAL_S)):
        captured_s = begin + frame * INTERVAL_S
        if captured_s + INTERVAL_S <= free_s or not governor.accepts(captured_s):
            numbers.append(governor.number)
            continue  # a newer one takes its place in the slot
        started_s = max(captured_s, free_s)
        work_s = machine(governor.step, started_s)
        free_s = started_s + work_s
        governor.observe(
            free_s,
            latency_s=decoding_s + free_s + wait_s - captured_s,
            work_s=work_s,
            decoding_s=decoding_s,
        )
        numbers.append(governor.number)
    return numbers


def matching(base_s: float, cells_s: float) -> Machine:
    """A machine whose work depends on the share of cells that are matched."""

    def work(step: Step, now_s: float) -> float:
        return base_s + cells_s * (step.cell_share or 1.0) / step.tile_factor**2

    return work


def test_a_machine_that_is_quick_enough_is_left_alone() -> None:
    governor = make()
    assert set(run(governor, matching(0.005, 0.010), seconds=60)) == {0}
    assert governor.changes == []
    assert governor.max_cells(1000) is None


@pytest.mark.parametrize("decoding_s", [0.05, 0.2])
def test_what_decoding_takes_costs_no_step(decoding_s: float) -> None:
    """A stream with pictures out of order is late before the mosaic has them."""
    governor = make()
    assert set(run(governor, matching(0.005, 0.010), seconds=10, decoding_s=decoding_s)) == {0}


def test_what_decoding_takes_leaves_less_room() -> None:
    governor = make()
    machine = matching(0.005, 0.020)
    assert set(run(governor, machine, seconds=10, wait_s=0.03)) == {0}
    governor = make()
    assert run(governor, machine, seconds=10, wait_s=0.03, decoding_s=0.05)[-1] > 0


def make(interval_s: float = INTERVAL_S) -> Governor:
    return Governor(max_latency_s=LIMIT_S, interval_s=interval_s)


def test_it_gives_up_only_what_is_needed() -> None:
    governor = make()
    numbers = run(governor, matching(0.005, 0.040), seconds=5)
    assert numbers[-1] == 1  # a quarter of the cells: 15 ms
    assert governor.max_cells(1000) == 250


def test_a_cut_lasts_no_longer_than_a_frame() -> None:
    """Without a step: the cells that fit are matched, the others in the next frames."""
    governor = make()
    assert governor.max_cells(3600) is None
    governor.observe_match(900, 0.030)  # few, which are searched for longer
    assert governor.max_cells(3600) is None
    governor.observe_match(3600, 3600 * 6e-6)
    assert governor.max_cells(3600) == pytest.approx(0.4 * INTERVAL_S / 6e-6, abs=1)
    assert governor.max_cells(2000) is None
    assert governor.number == 0


def test_a_slow_first_frame_is_forgotten() -> None:
    """Such as one whose kernels were compiled. A cut takes four frames at most."""
    governor = make()
    governor.observe_match(3600, 2.0)
    assert governor.max_cells(3600) == 900
    for _ in range(12):
        governor.observe_match(900, 900 * 2e-6, deferred=2700)
    assert governor.max_cells(3600) is None


def test_everything_within_a_few_seconds() -> None:
    """On a machine that is far too slow frames are left out in the end."""
    governor = make()
    numbers = run(governor, lambda step, now: 0.15, seconds=10)
    assert numbers[-1] == len(STEPS) - 1
    assert governor.highest == len(STEPS) - 1
    steps = [change.step for change in governor.changes]
    assert steps == list(range(1, len(STEPS)))  # one after the other
    assert governor.changes[-1].at_s < 6


def test_frames_are_not_left_out_because_some_are() -> None:
    """Longer than a frame lasts, yet within the limit: a lower rate would be no help."""
    governor = make()
    numbers = run(governor, lambda step, now: 0.045, seconds=20)
    assert STEPS[max(numbers)].every == 1


def test_a_lower_rate_leaves_out_as_many_frames_as_it_says() -> None:
    governor = make()
    run(governor, lambda step, now: 0.15, seconds=10)
    every = governor.step.every
    assert every > 1
    accepted = [governor.accepts(100 + n * INTERVAL_S) for n in range(60)]
    assert sum(accepted) == 60 / every
    assert all(accepted[n] == accepted[n % every] for n in range(60))


def test_it_comes_back_when_there_is_room() -> None:
    governor = make()
    run(governor, lambda step, now: 0.15, seconds=10)
    numbers = run(governor, matching(0.003, 0.005), begin=10, seconds=60)
    assert numbers[-1] == 0
    assert numbers == sorted(numbers, reverse=True)  # without turning back


@pytest.mark.parametrize(
    ("base_s", "cells_s"), [(0.004, 0.030), (0.002, 0.060), (0.008, 0.024), (0.001, 0.12)]
)
def test_it_does_not_swing(base_s: float, cells_s: float) -> None:
    """Each step has room, the one before it has not: tries become rarer and rarer."""
    governor = make()
    run(governor, matching(base_s, cells_s), seconds=300)
    late = [change for change in governor.changes if change.at_s > 150]
    assert len(late) <= 6  # three tries in the second half of five minutes


def test_one_slow_frame_is_no_reason() -> None:
    governor = make()

    def hiccup(step: Step, now_s: float) -> float:
        return 0.2 if 3.0 <= now_s < 3.05 else 0.01

    assert set(run(governor, hiccup, seconds=10)) == {0}


def test_an_output_s_own_delay_counts() -> None:
    """The limit is to the delivery: there, too little time is left for the mosaic."""
    governor = make()
    assert max(run(governor, matching(0.010, 0.005), seconds=5, wait_s=0.09)) > 0


def test_the_changes_that_are_kept_are_bounded() -> None:
    governor = make()
    for n in range(2000):
        work_s = 0.15 if (n // 50) % 2 == 0 else 0.001
        run(governor, lambda step, now, s=work_s: s, begin=n * 2.0, seconds=2)  # type: ignore[misc]
    assert len(governor.changes) <= 100


@pytest.mark.parametrize(
    ("name", "least_share", "most_p95_s"),
    [
        ("idle", 0.99, 0.1),
        ("core-taken", 0.99, 0.1),
        ("six-busy", 0.85, 0.1),
        ("six-busy-hd", 0.5, 0.3),
        ("overload", 0.35, 0.1),
        ("load-step", 0.85, 0.1),
    ],
)
def test_recorded_machines(name: str, least_share: float, most_p95_s: float) -> None:
    """The table of bench/governor.py, whose latencies were recorded once."""
    trace = traces.Trace.read(traces.FOLDER / f"{name}.csv")
    governor = Governor(max_latency_s=LIMIT_S, interval_s=trace.interval_s)
    outcome = traces.simulate(trace, governor)
    assert len(outcome.latencies_s) >= least_share * outcome.frames
    assert sorted(outcome.latencies_s)[int(0.95 * len(outcome.latencies_s))] <= most_p95_s
    if name in ("idle", "core-taken", "six-busy"):
        assert outcome.changes == 0


# ---- a busy machine ----------------------------------------------------------------------

SLOW_INTERVAL_S = 1 / 15
CPU_S = 0.0015


class Busy(NamedTuple):
    """What a frame costs on a busy machine: waits, work by the clock, and its processor time."""

    wait_s: float
    work_s: float
    cpu_s: float


def run_busy(
    governor: Governor, machine: Callable[[int], Busy], *, begin: float = 0.0, seconds: float
) -> list[int]:
    """Give a governor the frames of some seconds at 15 frames/s; the step after each."""
    numbers, free_s, latest_s = [], begin, 0.0
    for frame in range(round(seconds / SLOW_INTERVAL_S)):
        captured_s = begin + frame * SLOW_INTERVAL_S
        busy = machine(frame)
        started_s = max(captured_s, free_s) + busy.wait_s
        if captured_s + SLOW_INTERVAL_S > started_s and governor.accepts(captured_s):
            free_s = started_s + busy.work_s
            governor.observe(free_s, latency_s=latest_s, work_s=busy.work_s, cpu_s=busy.cpu_s)
            latest_s = free_s - captured_s
        numbers.append(governor.number)
    return numbers


def light(frame: int) -> Busy:
    return Busy(0.0005, CPU_S, CPU_S)


def beside_others(frame: int) -> Busy:
    """Of five frames one waits for a processor, and one loses it in the middle of its work."""
    if frame % 5 == 1:
        return Busy(0.06 + 0.01 * (frame % 8), CPU_S, CPU_S)
    return Busy(0.001, 0.12 if frame % 5 == 3 else CPU_S, CPU_S)


def standing_still(frame: int) -> Busy:
    """Most frames wait for longer than the limit."""
    return Busy(0.001, 0.11 + 0.01 * (frame % 5), CPU_S)


@pytest.mark.parametrize("machine", [beside_others, standing_still])
def test_a_machine_that_stands_still_now_and_then_costs_no_step(
    machine: Callable[[int], Busy],
) -> None:
    governor = make(SLOW_INTERVAL_S)
    assert set(run_busy(governor, machine, seconds=90)) == {0}


def overloaded(governor: Governor) -> Callable[[int], Busy]:
    def work(frame: int) -> Busy:
        step = governor.step
        work_s = 0.06 + 0.2 * step.cell_share / step.tile_factor**2
        return Busy(0.001, work_s, work_s)

    return work


@pytest.mark.parametrize("machine", [light, beside_others, standing_still])
def test_it_comes_back_on_a_busy_machine(machine: Callable[[int], Busy]) -> None:
    """Also from a fifth of 15 frames/s, of which half a second has one or two."""
    governor = make(SLOW_INTERVAL_S)
    run_busy(governor, overloaded(governor), seconds=30)
    assert governor.number > 0
    for frame in range(3):  # to the last one
        governor.observe(31.0 + frame, latency_s=1.0, work_s=0.3)
    numbers = run_busy(governor, machine, begin=40, seconds=40)
    assert numbers[-1] == 0
    assert numbers == sorted(numbers, reverse=True)


def test_what_does_not_help_is_given_back() -> None:
    """Work that no step makes less: longer than a frame lasts, yet within the limit."""
    governor = make()
    numbers = run(governor, lambda step, now: 0.045, seconds=300)
    assert numbers.count(0) > 0.9 * len(numbers)  # it tries again, more and more rarely


@pytest.mark.parametrize("work_s", [0.07, 0.15])
def test_a_recording_loses_no_frame(work_s: float) -> None:
    governor = make()
    governor.may_drop = False
    numbers = run(governor, lambda step, now: work_s, seconds=20)
    assert STEPS[max(numbers)].every == 1


def test_a_recording_that_begins_gets_every_frame_at_once() -> None:
    governor = make()
    run(governor, lambda step, now: 0.15, seconds=10)
    assert governor.step.every > 1
    governor.may_drop = False
    assert all(governor.accepts(10 + n * INTERVAL_S) for n in range(30))
    run(governor, lambda step, now: 0.15, begin=12, seconds=2)
    assert governor.step.every == 1


def test_a_slow_output_needs_a_lower_rate() -> None:
    """Each frame waits for the output's work for the one before, which a lower rate avoids."""
    governor = make()
    for frame in range(200):
        wait_s = 0.02 if governor.step.every == 1 else 0.0
        governor.observe(
            frame * INTERVAL_S, latency_s=0.065 + wait_s, work_s=0.001, delivery_s=0.06
        )
    assert governor.step.every == 2
    assert 1 not in [change.step for change in governor.changes]
