"""A webcam that is open only while the virtual camera is read; with real devices in
test_real_devices.py."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemosaic.control.state import Control, LiveState
from livemosaic.errors import OptionError, SinkError, SourceError, UsageError
from livemosaic.media import v4l2
from livemosaic.media.frame import Card, Frame, Item, StatusEvent
from livemosaic.media.v4l2 import VideoDevice
from livemosaic.pipeline import Pipeline, output_info
from livemosaic.sinks import open_sink
from livemosaic.sinks.virtual_camera_readers import Readers
from livemosaic.sources import open_source
from livemosaic.sources.base import Source
from livemosaic.sources.on_demand import OnDemandSource
from livemosaic.sources.reconnect import Backoff
from tests.fakes import (
    RATE,
    SIZE,
    TIMEOUT_S,
    FakeMosaic,
    FakeSink,
    FakeSource,
    frame,
    until,
    wait_until,
)
from tests.program import pictures, video_times

WAITING, STARTING, BUSY = "waiting for a reader", "the camera is starting", "camera not available"


class Stage:
    """A camera and its readers, on a clock that goes on as it is looked at."""

    def __init__(self) -> None:
        self.now_s, self.step_s = 100.0, 0.1
        self.reads = False
        self.problems: list[SourceError] = []  # of the next attempts to open the camera
        self.lost = False  # at the next frame
        self.opened = 0
        self.closed_s = 0.0
        self.is_open = False
        self.plan: dict[float, Callable[[], object]] = {}  # what happens when

    def clock(self) -> float:
        if not self.step_s:  # that of the pipeline
            return time.monotonic()
        self.now_s += self.step_s
        for at_s in sorted(self.plan):
            if at_s <= self.now_s:
                self.plan.pop(at_s)()
        return self.now_s

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        self.plan[self.now_s + seconds] = what

    def come(self) -> None:
        self.reads = True

    def go(self) -> None:
        self.reads = False

    def is_wanted(self) -> bool:
        self.clock()
        return self.reads

    def open(self) -> Source:
        if self.problems:
            raise self.problems.pop(0)
        assert not self.is_open, "two at a time"
        self.opened, self.is_open = self.opened + 1, True
        return StageCamera(self)


class StageCamera(FakeSource):
    def __init__(self, stage: Stage) -> None:
        super().__init__(())
        self.info = replace(self.info, live=True)
        self.stage = stage

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        while not self.interrupted:
            if self.stage.lost:
                self.stage.lost = False
                raise SourceError("webcam: the camera has gone")
            if self.stage.step_s:
                self.stage.now_s += float(1 / RATE)
            else:
                time.sleep(float(1 / RATE))
            yield replace(frame(number), captured_s=self.stage.clock())
            number += 1

    def close(self) -> None:
        super().close()
        self.stage.is_open, self.stage.closed_s = False, self.stage.now_s


@pytest.fixture
def stage() -> Stage:
    return Stage()


def on_demand(stage: Stage, **options: Any) -> OnDemandSource:
    source = OnDemandSource(
        stage.open,
        name="webcam",
        backoff=lambda: Backoff(0.01, 0.02),
        clock=stage.clock,
        **options,
    )
    source.is_wanted = stage.is_wanted
    return source


def next_of(items: Iterator[Item], kind: Any) -> Any:
    """The next item that is a frame, or the next status of this text."""
    for item in items:
        if item.text == kind if isinstance(item, StatusEvent) else kind is Frame:
            return item
    raise AssertionError("it has ended")


def test_the_camera_is_open_only_while_it_is_read(stage: Stage) -> None:
    source = on_demand(stage)
    assert (stage.opened, stage.is_open) == (1, False)  # what its pictures are like is known
    items = iter(source)
    times, left_s = [], 0.0
    for visit in range(1, 21):
        waiting = next_of(items, WAITING)
        assert source.status == WAITING
        stage.after(0.2, stage.come)
        next_of(items, STARTING)
        assert not stage.is_open
        times += [waiting.card.frame.time_s, next_of(items, Frame).time_s]
        assert stage.is_open
        assert source.status == ""
        assert source.starts == visit
        stage.go()
        left_s = stage.now_s
    assert next_of(items, WAITING).card is not None
    # A reader that comes while the camera is closed must not see its last picture.
    assert stage.is_open
    stage.after(0.2, stage.come)
    next_of(items, STARTING)
    assert stage.closed_s - left_s < 2
    assert stage.opened == 21
    assert times == sorted(set(times))
    assert 20 < source.open_s < 40
    source.close()
    assert list(items) == []


def test_the_first_item_is_a_card_of_the_pictures_size(stage: Stage) -> None:
    waiting = next(iter(on_demand(stage)))
    assert isinstance(waiting, StatusEvent)
    assert waiting.card is not None
    assert "The camera is off" in waiting.card.text
    assert (waiting.card.frame.width, waiting.card.frame.height) == SIZE
    assert waiting.card.frame.y.std() == 0
    assert waiting.card.frame.time_s == 0


def test_a_reader_at_the_start_sees_no_card(stage: Stage) -> None:
    stage.come()
    assert isinstance(next(iter(on_demand(stage))), Frame)


def test_a_short_visit_does_not_turn_the_camera_on(stage: Stage) -> None:
    source = on_demand(stage)
    items = iter(source)
    next_of(items, WAITING)
    stage.step_s = 0.02
    stage.after(0.5, stage.come)
    stage.after(0.55, stage.go)
    stage.after(1, source.interrupt)
    assert list(items) == []
    assert stage.opened == 1


def test_a_short_absence_does_not_turn_the_camera_off(stage: Stage) -> None:
    """A program closes its preview and joins the call."""
    stage.come()
    source = on_demand(stage)
    items = iter(source)
    next_of(items, Frame)
    stage.go()
    stage.after(0.5, stage.come)
    stage.after(5, source.interrupt)
    assert all(isinstance(item, Frame) for item in items)
    assert stage.opened == 2


def test_a_camera_that_is_busy_is_tried_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    source = on_demand(stage)
    items = iter(source)
    next_of(items, WAITING)
    stage.problems = [SourceError("webcam: in use by zoom; close that")] * 3
    stage.come()
    busy = next_of(items, BUSY)
    assert "not available" in busy.card.text
    assert isinstance(next(items), Frame)
    assert source.status == ""
    warnings = [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]
    assert warnings == ["webcam: in use by zoom; close that; trying again"]


def test_a_reader_that_goes_while_the_camera_is_busy(stage: Stage) -> None:
    source = on_demand(stage)
    items = iter(source)
    next_of(items, WAITING)
    stage.problems = [SourceError("webcam: in use")] * 1000
    stage.come()
    next_of(items, BUSY)
    stage.go()
    next_of(items, WAITING)
    assert source.starts == 0


def test_a_camera_that_is_lost_comes_back(stage: Stage) -> None:
    stage.come()
    source = on_demand(stage)
    items = iter(source)
    next_of(items, Frame)
    stage.lost = True
    assert next(items) == StatusEvent("reconnecting")  # the last picture stays
    next_of(items, Frame)
    assert source.reconnects == 1
    stage.lost, stage.problems = True, [SourceError("webcam: away")] * 1000
    next_of(items, "reconnecting")
    stage.go()
    next_of(items, WAITING)  # it is not tried for ever
    assert source.reconnects == 1


def test_reconnect_never_is_for_a_camera_that_is_lost(stage: Stage) -> None:
    stage.come()
    source = on_demand(stage, reconnect="never")
    items = iter(source)
    next_of(items, Frame)
    stage.lost = True
    with pytest.raises(SourceError, match="has gone"):
        list(items)
    assert not stage.is_open


def test_without_a_camera_at_the_start(stage: Stage) -> None:
    stage.problems = [SourceError("webcam: there is no camera")]
    with pytest.raises(SourceError, match="there is no camera"):
        on_demand(stage)
    stage.problems = [SourceError("webcam: there is no camera")]
    assert on_demand(stage, reconnect="always").info.width == SIZE[0]


@pytest.mark.parametrize("busy", [False, True])
def test_interrupt_ends_the_wait(stage: Stage, busy: bool) -> None:
    source = on_demand(stage)
    items = iter(source)
    next_of(items, WAITING)
    if busy:
        stage.problems = [SourceError("webcam: in use")] * 10_000
        stage.come()
        next_of(items, BUSY)
    timer = threading.Timer(0.1, source.interrupt)
    timer.start()
    assert [it for it in items if isinstance(it, Frame)] == []
    timer.join()


def test_a_source_that_is_closed_before_it_begins(stage: Stage) -> None:
    source = on_demand(stage)
    source.close()
    assert list(source) == []


def test_an_interrupt_does_not_wait_for_a_camera_that_is_opening(stage: Stage) -> None:
    release, closed = threading.Event(), threading.Event()

    class Slow(StageCamera):
        def close(self) -> None:
            super().close()
            closed.set()

    def open_slowly() -> Source:
        source.interrupt()
        release.wait(TIMEOUT_S)
        return Slow(stage)

    cameras = [lambda: StageCamera(stage), open_slowly]
    source = OnDemandSource(lambda: cameras.pop(0)(), name="webcam", clock=stage.clock)
    assert list(source) == []
    release.set()
    assert closed.wait(TIMEOUT_S)  # when it has come, it is closed


# ---- the pictures --------------------------------------------------------------------------


def card(number: int, text: str = "The camera is off\nIt starts later") -> StatusEvent:
    dark = frame(number)
    dark.y[:] = 30
    return StatusEvent(WAITING, Card(text, dark))


def captured(picture: Frame) -> Frame:
    return replace(picture, captured_s=time.monotonic())


class LiveSource(FakeSource):
    def __init__(self, items: Any) -> None:
        super().__init__(items)
        self.info = replace(self.info, live=True)

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            if isinstance(item, StatusEvent) and item.card is not None:
                yield item._replace(card=item.card._replace(frame=captured(item.card.frame)))
            else:
                yield captured(item) if isinstance(item, Frame) else item


def pipeline(items: list[Any], sink: FakeSink, **options: Any) -> Pipeline:
    return Pipeline(LiveSource(items), FakeMosaic(), [sink], **options)


FAR = 1000


def test_a_card_is_shown_instead_of_the_last_picture() -> None:
    control, sink, seen = Control(), FakeSink(latest_only=True), []
    picture = frame(0)
    picture.y[:] = 200
    items: list[Any] = [
        card(0),
        until(lambda: len(sink.items) == 1),
        picture.with_times_of(frame(10)),
        until(lambda: len(sink.items) == 2),
        card(FAR),
        until(lambda: len(sink.items) == 3),
        lambda: control.change(mirror=True),
        lambda: control.change(privacy=True),
        control.request_snapshot,
        until(lambda: not control.snapshot_requested),
        lambda: seen.append((control.live_stats().source, control.take_message())),
        lambda: control.change(privacy=False),
        picture.with_times_of(frame(2 * FAR)),
        until(lambda: len(sink.items) == 4),
    ]
    run = pipeline(items, sink, control=control, save_picture=lambda _: "x.png")
    run.run()
    first, shown, second, again = sink.items
    assert [it.time_s for it in sink.items] == [0, 0.4, 40, 80]
    assert np.median(shown.y) == np.median(again.y) == 200
    for it in (first, second):
        assert np.median(it.y) < 60
        grid = FakeMosaic().plan(*SIZE)
        assert (it.width, it.height) == (grid.width, grid.height)
    assert seen == [(WAITING, f"no snapshot: {WAITING}")]
    report = run.report()
    assert report["frames_in"] == 2
    assert report["dropped"] == 0
    assert report["drops"] == {"source": 0, "mosaic": 0, "governor": 0}
    assert report["governor"]["changes"] == []
    assert report["on_demand"] is None


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv"])
def test_in_a_file_the_card_lasts_as_long_as_the_wait(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    sink = open_sink(file, output_info(FakeSource(()).info, FakeMosaic().plan(*SIZE)))
    bright = frame(0)
    bright.y[:] = 200
    beside = FakeSink(latest_only=True)
    items = [
        bright,
        until(lambda: len(beside.items) == 1),
        card(FAR),
        until(lambda: len(beside.items) == 2),
        bright.with_times_of(frame(2 * FAR)),
    ]
    Pipeline(LiveSource(items), FakeMosaic(), [sink, beside]).run()
    assert video_times(file) == [0, 40, 80]
    means = [picture.mean() for picture in pictures(file)]
    assert means[1] < 80 < 150 < means[0] == pytest.approx(means[2], abs=2)


def test_a_frozen_picture_is_there_again_after_a_card() -> None:
    control, sink = Control(LiveState(freeze=True)), FakeSink(latest_only=True)
    items: list[Any] = [
        frame(7),
        until(lambda: len(sink.items) == 1),
        card(FAR),
        until(lambda: len(sink.items) == 2),
        frame(2 * FAR),
        until(lambda: len(sink.items) == 3),
    ]
    pipeline(items, sink, control=control).run()
    assert (sink.items[2].y == sink.items[0].y).all()
    assert not (sink.items[1].y == sink.items[0].y).all()


class Watched(FakeSink):
    """A sink that tells whether it is read."""

    def __init__(self, reads: Callable[[], bool]) -> None:
        super().__init__(latest_only=True)
        self._reads = reads

    def watch_readers(self) -> Callable[[], bool]:
        return self._reads


def test_the_pipeline_asks_the_sink(stage: Stage) -> None:
    stage.step_s = 0
    source = on_demand(stage)
    sink, beside = Watched(stage.is_wanted), FakeSink()
    run = Pipeline(source, FakeMosaic(), [beside, sink])
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(run.run()))
    thread.start()
    wait_until(lambda: sink.items)
    assert run.live_stats().source == WAITING
    stage.come()
    wait_until(lambda: source.starts and not source.status)
    stage.go()
    wait_until(lambda: source.status == WAITING)
    run.stop()
    thread.join(TIMEOUT_S)
    assert ended == [True]
    assert run.report()["on_demand"]["status"] == WAITING
    assert run.report()["on_demand"]["starts"] == 1
    assert sink.ends == beside.ends == ["closed"]
    assert beside.items  # the other outputs show the card, too


def test_a_sink_that_cannot_tell_is_refused(stage: Stage) -> None:
    with pytest.raises(UsageError, match="on demand"):
        Pipeline(on_demand(stage), FakeMosaic(), [FakeSink()])


def test_only_a_webcam_can_be_closed() -> None:
    with pytest.raises(OptionError, match=r"on_demand.*no webcam"):
        open_source("pattern:64x48@25", on_demand=True)


# ---- the readers ---------------------------------------------------------------------------


class Driver:
    """What Linux says of v4l2loopback, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.module = folder
        self.device = folder / "video10"
        self.device.touch()
        self.now_s = 0.0
        self.opened(0)

    def opened(self, count: int) -> None:
        (self.module / "refcnt").write_text(f"{count}\n")

    def clock(self) -> float:
        return self.now_s

    def readers(self, **options: Any) -> Readers:
        options = {"subscribe": refuse, **options}
        return Readers(str(self.device), module=self.module, clock=self.clock, **options)


def refuse(path: str) -> int:
    raise OSError(22, "Invalid argument")


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    cameras(monkeypatch, 1)
    return Driver(tmp_path)


def cameras(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    found = [VideoDevice(f"/dev/video{10 + n}", "x", virtual=True) for n in range(count)]
    monkeypatch.setattr(v4l2, "video_devices", lambda: [VideoDevice("/dev/video0", "y"), *found])


linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


@linux
def test_who_has_opened_the_camera_reads_but_this_program(driver: Driver) -> None:
    readers = driver.readers()
    with driver.device.open("rb"):  # as the sender has
        driver.opened(1)
        assert not readers.are_there()
        driver.opened(2)
        assert readers.are_there()
        with driver.device.open("rb"):  # as a list of all cameras does
            driver.opened(3)
            assert readers.are_there()
            driver.opened(2)
            assert not readers.are_there()
    driver.opened(0)
    assert not readers.are_there()


@linux
def test_one_of_several_virtual_cameras(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other's users do not count; a reader that is killed does not, either."""
    cameras(monkeypatch, 2)
    readers = driver.readers()
    driver.opened(2)  # the sender, and one of the other camera
    assert not readers.are_there()
    code = "import sys; it = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(driver.device)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        driver.opened(3)
        assert readers.are_there()
        other.kill()
        other.wait()
        driver.now_s += 10  # also if it came in the moment when another went
        assert not readers.are_there()


def test_a_driver_that_does_not_tell(driver: Driver) -> None:
    (driver.module / "refcnt").unlink()
    with pytest.raises(SinkError, match=r"does not tell.*0\.13"):
        driver.readers()


def test_a_driver_that_sends_events(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int | None] = [0, None, 1, None, None, 0, None]
    monkeypatch.setattr(v4l2, "readers_of", lambda descriptor: counts.pop(0))
    descriptor = os.open(driver.device, os.O_RDONLY)
    readers = driver.readers(subscribe=lambda path: descriptor)
    driver.opened(5)
    seen = [readers.are_there() for _ in range(7)]
    assert seen == [False, False, True, True, True, False, False]
    readers.close()
    assert not readers.are_there()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    readers.close()


@linux
def test_a_file_is_no_driver_that_sends_events(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.touch()
    with pytest.raises(OSError, match="ioctl"):
        v4l2.subscribe_readers(str(file))
