"""Stop after a while, pace: on fakes, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, count

import pytest

from livemosaic.media.frame import Frame, Item
from livemosaic.pipeline.source_reader import paced
from livemosaic.sources.part import limited

from .fakes import frame, packet, times

# ---- limited -----------------------------------------------------------------------------


def test_limited_stops_an_endless_input() -> None:
    assert times(limited(map(frame, count()), 0.2)) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_limited_counts_from_the_first_frame() -> None:
    assert len(times(limited(map(frame, count(1000)), 1.0))) == 25


def test_limited_gives_one_frame_at_least() -> None:
    assert len(times(limited(map(frame, count()), 1e-6))) == 1


def test_limited_leaves_a_shorter_input_alone() -> None:
    items: list[Item] = [frame(0), packet(0), frame(1), packet(7)]
    assert list(limited(items, 10)) == items


def test_limited_cuts_other_tracks_at_the_same_time() -> None:
    early, late = [packet(n) for n in range(5)], [packet(n) for n in range(5, 30)]
    items: list[Item] = [frame(0), *early, *late, *map(frame, range(1, 200))]
    taken = list(limited(items, 0.2))
    assert times(taken) == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert [item for item in taken if not isinstance(item, Frame)] == early


def test_packets_without_a_time_pass() -> None:
    items: list[Item] = [frame(0), packet(None), frame(1)]
    assert list(limited(items, 1)) == items


def test_limited_reads_on_for_tracks_that_are_behind() -> None:
    sound = [packet(n) for n in range(30)]
    items: Iterable[Item] = chain(
        sound[:1], map(frame, range(20)), sound[1:], map(frame, count(20))
    )
    taken = list(limited(items, 0.4))
    assert len(times(taken)) == 10
    assert [item for item in taken if not isinstance(item, Frame)] == sound[:10]


def test_limited_does_not_wait_for_ever_for_a_sparse_track() -> None:
    items: list[Item] = [packet(0), *map(frame, range(1000))]
    taken = list(limited(items, 0.4))
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
