"""The monitors of the hand-overs, which all other tests run with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from livemosaic.media.frame import Frame, StreamInfo
from livemosaic.pipeline import Pipeline
from livemosaic.pipeline.monitors import Monitor, MonitorError

from .fakes import RATE, SIZE, FakeMosaic, FakeSink, FakeSource, frame, packet

INFO = StreamInfo(*SIZE, rate=RATE, time_base=1 / RATE, duration_s=10.0, tracks=("sound",))


def live(number: int, age_s: float = 0.0) -> Frame:
    return replace(frame(number), captured_s=time.monotonic() - age_s)


def larger(number: int) -> Frame:
    return Frame.from_bgr(np.zeros((50, 64, 3), np.uint8), pts=number)


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([frame(1), frame(1)], "after that"),
        ([frame(2), frame(1)], "after that"),
        ([frame(0), larger(1)], "size"),
        ([frame(1000)], "the end"),
        ([packet(0, track=1)], "track 1"),
        ([replace(frame(0), duration=-1)], "duration"),
    ],
)
def test_a_rule_is_broken(items: list[Any], problem: str) -> None:
    monitor = Monitor("here", INFO, live=False)
    *before, last = items
    for item in before:
        monitor.check(item)
    with pytest.raises(MonitorError, match=f"here: .*{problem}"):
        monitor.check(last)


@pytest.mark.parametrize(
    "second", [lambda: live(1, -1), lambda: live(1, 100), lambda: live(1, 2), lambda: frame(1)]
)
def test_a_live_frame_is_late_or_has_no_time(second: Callable[[], Frame]) -> None:
    monitor = Monitor("here", replace(INFO, live=True), live=True)
    monitor.check(live(0, 1))
    with pytest.raises(MonitorError, match=r"old|captured"):
        monitor.check(second())


def test_pictures_are_kept() -> None:
    monitor = Monitor("here", replace(INFO, duration_s=None), live=False)

    def picture(number: int) -> Frame:
        made = frame(number)
        made.y.flags.writeable = False  # as those of the mosaic are
        monitor.check(made)
        return made

    for number in range(300):
        picture(number)
    with pytest.raises(MonitorError, match="frames are kept"):
        assert [picture(number) for number in range(300, 600)]


def test_a_pipeline_with_a_broken_rule_fails() -> None:
    sink = FakeSink()
    with pytest.raises(MonitorError, match="source to mosaic"):
        Pipeline(FakeSource([frame(1), frame(0)]), FakeMosaic(), [sink]).run()
    assert sink.ends == ["closed"]
