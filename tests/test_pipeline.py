"""The pipeline on fakes: order, ends, errors in every stage, and what is kept alive."""

from __future__ import annotations

import doctest
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count
from typing import Any

import pytest

from livemosaic.control import state
from livemosaic.errors import SinkError, SourceError
from livemosaic.media.frame import Frame
from livemosaic.pipeline import Pipeline, Progress, output_info, pipeline

from .fakes import (
    RATE,
    TIMEOUT_S,
    FakeMosaic,
    FakeSink,
    FakeSource,
    Gate,
    MosaicError,
    failing,
    frame,
    packet,
    pipeline_threads,
    times,
)

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("no_thread_is_left"),
    pytest.mark.alone,
]


def make(source: Any, *sinks: Any, mosaic: Any = None, **options: Any) -> Pipeline:
    return Pipeline(source, mosaic or FakeMosaic(), sinks, **options)


@pytest.mark.slow
def test_the_docstrings_examples() -> None:
    for module in (pipeline, state):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


# ---- to the end --------------------------------------------------------------------------


def test_everything_reaches_every_sink_in_order() -> None:
    items = [packet(0), *map(frame, range(30)), packet(1), frame(30), packet(2)]
    source, sinks = FakeSource(items), [FakeSink("one"), FakeSink("two")]
    pipeline = make(source, *sinks)
    assert pipeline.run()
    for sink in sinks:
        assert [isinstance(i, Frame) for i in sink.items] == [isinstance(i, Frame) for i in items]
        assert times(sink.items) == times(items)
        assert sink.ends == ["closed"]
    assert source.closed == 1
    assert sorted(pipeline.completed) == ["one", "two"]
    assert pipeline_threads() == []
    progress = pipeline.progress
    assert (progress.frames_in, progress.frames_out) == (31, 31)
    assert progress.video_s == pytest.approx(31 / 25)
    assert 0 < progress.first_frame_s < TIMEOUT_S


def test_the_source_is_closed_after_the_sinks() -> None:
    """They copy tracks that belong to it."""
    source = FakeSource(map(frame, range(3)))
    seen: list[int] = []
    assert make(source, FakeSink(on_close=lambda: seen.append(source.closed))).run()
    assert (seen, source.closed) == ([0], 1)


def test_ticks_come_while_it_runs_and_at_the_end() -> None:
    gate, seen = Gate(), []

    def tick(progress: Progress) -> None:
        seen.append(progress.frames_out)
        if len(seen) == 2:
            gate.open()

    assert make(FakeSource([frame(0), gate, frame(1)]), FakeSink()).run(on_tick=tick)
    assert seen[-1] == 2


def test_duration_rate_and_pace_go_together() -> None:
    source, sink = FakeSource(map(frame, count())), FakeSink()
    pipeline = make(source, sink, duration_s=0.4, rate=2 * RATE, realtime=True)
    began = time.monotonic()
    assert pipeline.run()
    assert time.monotonic() - began >= 0.36
    # Every tick has its number, whatever the machine does meanwhile.
    ticks = [item.pts for item in sink.items]
    assert ticks == sorted(set(ticks))
    assert ticks[-1] <= 20
    assert {item.time_base for item in sink.items} == {1 / (2 * RATE)}
    report = pipeline.report()
    assert report["frames_in"] == 10
    assert report["frames_out"] == len(ticks)
    assert report["repeated"] > 0


@pytest.mark.parametrize(
    ("frames", "options", "expected"),
    [
        (100, {}, 100),
        (100, {"duration_s": 2.0}, 50),
        (100, {"duration_s": 20.0}, 100),
        (100, {"rate": Fraction(10)}, 40),
        (None, {}, None),
        (None, {"duration_s": 2.0}, 50),
    ],
)
def test_expected_frames(frames: int | None, options: dict[str, Any], expected: int | None) -> None:
    source = FakeSource([], frames=frames)
    assert make(source, FakeSink(), **options).expected_frames == expected


def test_output_info() -> None:
    info, grid = FakeSource([]).info, FakeMosaic().plan(640, 480)
    made = output_info(info, grid)
    assert (made.width, made.height, made.rate) == (640, 480, RATE)
    made = output_info(info, grid, rate=Fraction(10))
    assert (made.rate, made.time_base) == (Fraction(10), Fraction(1, 10))


def test_at_most_six_pictures_are_alive() -> None:
    """Two wait for the mosaic, one for the sink, and each of the three stages has one in hand."""
    total, limit = 60, 6
    alive: list[int] = [0]
    produced, written = [0], [0]
    changed = threading.Condition()

    def gone() -> None:
        alive[0] -= 1

    def pictures() -> Iterator[Frame]:
        for number in range(total):
            picture = frame(number)
            alive[0] += 1
            weakref.finalize(picture.y, gone)
            with changed:
                produced[0] += 1
                assert produced[0] - written[0] <= limit, "more than the queues may contain"
                changed.notify_all()
            yield picture
            del picture

    def slow(item: Frame) -> None:
        with changed:
            expected = min(total, written[0] + limit)
            assert changed.wait_for(lambda: produced[0] >= expected, TIMEOUT_S)
            written[0] += 1

    class Same(FakeMosaic):
        def process(self, frame: Any, **options: Any) -> Any:
            return frame

    assert make(FakeSource(pictures()), FakeSink(on_write=slow, keep=False), mosaic=Same()).run()
    assert written[0] == total
    assert alive[0] == 0


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("latest_only", [False, True])
def test_no_thread_holds_a_picture_while_it_waits(live: bool, latest_only: bool) -> None:
    """Otherwise the mosaic could not paint into its memory again."""
    released = threading.Event()

    class Lender(FakeMosaic):
        def process(self, frame: Any, **options: Any) -> Any:
            picture = super().process(frame, **options)
            weakref.finalize(picture.y, released.set)
            return picture

    def pictures() -> Iterator[Frame]:
        for number in range(5):
            yield replace(frame(number), captured_s=time.monotonic())
            assert released.wait(TIMEOUT_S), "a thread still holds the picture"
            released.clear()

    source = FakeSource(pictures())
    source.info = replace(source.info, live=live)
    sink = FakeSink(keep=False, latest_only=latest_only)
    assert make(source, sink, mosaic=Lender()).run()


# ---- errors ------------------------------------------------------------------------------

ERROR = SinkError("out: it failed; this is the test's own")


@pytest.mark.parametrize(("at", "end"), [(0, "aborted"), (5, "closed")])
def test_an_error_of_the_mosaic_ends_everything(at: int, end: str) -> None:
    """Outputs with pictures are finished."""
    source, sinks = FakeSource(map(frame, range(20))), [FakeSink("one"), FakeSink("two")]
    pipeline = make(source, *sinks, mosaic=FakeMosaic(fail_at=at))
    with pytest.raises(MosaicError):
        pipeline.run()
    assert [(sink.ends, len(sink.items)) for sink in sinks] == [([end], at), ([end], at)]
    assert (len(pipeline.completed), source.closed) == (2 if at else 0, 1)


def test_a_source_without_a_picture_ends_everything() -> None:
    source, sink = FakeSource([packet(0), SourceError("in: it failed")]), FakeSink()
    pipeline = make(source, sink)
    with pytest.raises(SourceError):
        pipeline.run()
    assert (sink.ends, pipeline.completed, source.closed) == (["aborted"], [], 1)


def test_what_has_come_from_a_source_that_fails_is_kept() -> None:
    source = FakeSource([*map(frame, range(5)), SourceError("in: it failed")])
    sinks = [FakeSink("one"), FakeSink("two")]
    pipeline = make(source, *sinks)
    with pytest.raises(SourceError, match="it failed"):
        pipeline.run()
    for sink in sinks:
        assert [item.pts for item in sink.items] == list(range(5))
        assert sink.ends == ["closed"]
    assert sorted(pipeline.completed) == ["one", "two"]
    assert source.closed == 1


@pytest.mark.parametrize("at", [0, 5])
@pytest.mark.parametrize("number", [0, 1])
def test_an_output_that_fails_does_not_end_the_others(
    number: int, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    sinks = [FakeSink("one"), FakeSink("two")]
    sinks[number] = FakeSink("bad", on_write=failing(ERROR, at=at))
    good = sinks[1 - number]
    source = FakeSource(map(frame, range(20)))
    pipeline = make(source, *sinks)
    with pytest.raises(SinkError, match="the test's own"):
        pipeline.run()
    assert [item.pts for item in good.items] == list(range(20))
    assert (sinks[number].ends, good.ends, pipeline.completed) == (
        ["aborted"],
        ["closed"],
        [good.name],
    )
    assert (pipeline.progress.frames_out, source.closed) == (20, 1)
    assert "the other outputs go on" in caplog.text


def test_when_every_output_has_failed_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    sinks = [
        FakeSink(on_write=failing(SinkError(f"the {text}"), at=at))
        for text, at in (("first", 0), ("second", 3))
    ]
    began = time.monotonic()
    with pytest.raises(SinkError, match="the first"):
        make(FakeSource(map(frame, count())), *sinks).run()
    assert [record.message for record in caplog.records] == [
        "the first; the other outputs go on",
        "the second",
    ]
    assert time.monotonic() - began < 2
    assert [sink.ends for sink in sinks] == [["aborted"], ["aborted"]]


def test_an_output_that_is_finished_is_kept_when_another_fails_to_finish() -> None:
    closed = threading.Event()

    def fail() -> None:
        assert closed.wait(TIMEOUT_S)
        raise ERROR

    first, second = FakeSink("first", on_close=fail), FakeSink("second", on_close=closed.set)
    pipeline = make(FakeSource([frame(0)]), first, second)
    with pytest.raises(SinkError):
        pipeline.run()
    assert (first.ends, second.ends, pipeline.completed) == (["aborted"], ["closed"], ["second"])


def test_an_error_while_the_source_is_stuck_in_a_read() -> None:
    gate = Gate()
    source = FakeSource([frame(0), gate])
    sink = FakeSink(on_write=failing(ERROR))
    began = time.monotonic()
    with pytest.raises(SinkError):
        make(source, sink).run()
    assert time.monotonic() - began < 2
    assert sink.ends == ["aborted"]
    assert source.closed == 0  # one cannot close what a thread is in
    gate.open()


def test_the_first_error_is_the_one() -> None:
    """Aborting may fail too; that is not why."""
    sink = FakeSink(on_write=failing(ERROR), on_abort=failing(ValueError("while aborting")))
    with pytest.raises(SinkError, match="the test's own"):
        make(FakeSource(map(frame, count())), sink).run()


def test_an_exception_of_the_caller_aborts_everything() -> None:
    source, sink = FakeSource(map(frame, count())), FakeSink(keep=False)
    with pytest.raises(KeyboardInterrupt):
        make(source, sink).run(on_tick=failing(KeyboardInterrupt()))
    assert sink.ends == ["aborted"]
    assert source.closed == 1


def test_threads_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sinks = FakeSource(map(frame, count())), [FakeSink(keep=False), FakeSink()]
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if len(pipeline_threads()) == 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="new thread"):
        make(source, *sinks).run()
    assert [sink.ends for sink in sinks] == [["aborted"], ["aborted"]]


# ---- stop and cancel ---------------------------------------------------------------------


def test_stop_finishes_what_was_read() -> None:
    source, sink = FakeSource(map(frame, count())), FakeSink()
    pipeline = make(source, sink)

    def stop(progress: Progress) -> None:
        if progress.frames_out >= 3:
            pipeline.stop()

    assert pipeline.run(on_tick=stop)
    assert sink.ends == ["closed"]
    assert source.closed == 1
    assert [item.pts for item in sink.items] == list(range(len(sink.items)))
    assert len(sink.items) == pipeline.progress.frames_out >= 3


def test_stop_before_the_first_frame() -> None:
    pipeline = make(FakeSource(map(frame, count())), FakeSink())
    pipeline.stop()
    assert pipeline.run()


@pytest.mark.slow
def test_stop_does_not_wait_for_a_source_that_is_stuck() -> None:
    gate = Gate()
    source, sink = FakeSource([frame(0), frame(1), gate]), FakeSink()
    pipeline = make(source, sink)

    def stop(progress: Progress) -> None:
        if progress.frames_out == 2:
            gate.reached()
            pipeline.stop()

    began = time.monotonic()
    assert pipeline.run(on_tick=stop)
    ended = time.monotonic()
    assert sink.ends == ["closed"]
    assert times(sink.items) == [0, 0.04]
    assert pipeline.stuck
    assert source.closed == 0
    assert ended - began < 2
    gate.open()


def test_stop_wakes_a_paced_source() -> None:
    hour = frame(25 * 3600)
    pipeline = make(FakeSource([frame(0), hour]), FakeSink(), realtime=True)

    def stop(progress: Progress) -> None:
        if progress.frames_out:
            pipeline.stop()

    began = time.monotonic()
    assert pipeline.run(on_tick=stop)
    assert time.monotonic() - began < 2
    assert pipeline.progress.frames_out == 1


@pytest.mark.slow
@pytest.mark.parametrize("where", ["write", "close"])
def test_cancel_does_not_wait_for_a_sink_that_is_stuck(where: str) -> None:
    gate, source = Gate(), FakeSource(map(frame, range(2)))
    sink = FakeSink(on_write=lambda item: gate()) if where == "write" else FakeSink(on_close=gate)
    pipeline = make(source, sink)
    cancelled_s: list[float] = []

    def cancel(progress: Progress) -> None:
        if not cancelled_s:
            gate.reached()
            cancelled_s.append(time.monotonic())
            pipeline.cancel()

    assert not pipeline.run(on_tick=cancel)
    assert time.monotonic() - cancelled_s[0] < 1
    assert sink.ends == ["discarded"]
    assert pipeline.completed == []
    assert source.closed == 0
    gate.open()


def test_cancel_aborts_and_says_what_was_finished_before() -> None:
    gate, closed = Gate(), threading.Event()
    quick = FakeSink("quick", on_close=closed.set)
    slow = FakeSink("slow", on_write=lambda item: gate())
    pipeline = make(FakeSource([frame(0)]), quick, slow)

    def cancel(progress: Progress) -> None:
        gate.reached()
        assert closed.wait(TIMEOUT_S)
        pipeline.cancel()
        gate.open()

    assert not pipeline.run(on_tick=cancel)
    assert pipeline.completed == ["quick"]
    assert slow.ends == ["aborted"]


def test_what_fails_because_of_cancel_is_no_error() -> None:
    gate = Gate()

    def fail(item: Any) -> None:
        gate()
        raise ERROR

    pipeline = make(FakeSource(map(frame, count())), FakeSink(on_write=fail))

    def cancel(progress: Progress) -> None:
        gate.reached()
        pipeline.cancel()
        gate.open()

    assert not pipeline.run(on_tick=cancel)
