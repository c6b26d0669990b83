"""The pipeline on live fakes: what is dropped and where, who waits for whom, what keys change."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest

from livemosaic.control.state import Control, LiveState, LiveStats, OnClose
from livemosaic.errors import SinkError, SourceError
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.colour import Colour
from livemosaic.media.frame import Frame, Item, StatusEvent
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MAX_TILE_PX, MosaicSettings
from livemosaic.pipeline import Pipeline
from livemosaic.pipeline.away import AwayPicture
from livemosaic.pipeline.governor import Governor
from livemosaic.pipeline.mosaic_worker import MosaicWorker
from livemosaic.pipeline.queues import BlockingQueue, LatestQueue
from livemosaic.pipeline.sink_writer import FanOut, SinkWriter
from livemosaic.pipeline.threads import ThreadGroup, quick_switches
from livemosaic.pipeline.warmup import WarmUp
from livemosaic.sinks.base import Sink, Window
from livemosaic.sinks.null import NullSink
from livemosaic.tile_size import TileSize

from .fakes import (
    RATE,
    SIZE,
    TIMEOUT_S,
    FakeMosaic,
    FakeSink,
    FakeSource,
    Gate,
    MosaicError,
    frame,
    packet,
    pipeline_threads,
    until,
    wait_until,
)

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("no_thread_is_left"),
    pytest.mark.alone,
]


class LiveSource(FakeSource):
    """A live `FakeSource`; captures a frame when the reader takes it."""

    def __init__(self, items: Any, *, rate: Fraction = RATE) -> None:
        super().__init__(items)
        self.info = replace(self.info, live=True, rate=rate)
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            if self.ended.is_set():
                return
            if isinstance(item, Frame):
                item = replace(item, captured_s=time.monotonic())
            yield item

    def interrupt(self) -> None:
        super().interrupt()
        self.ended.set()


class FakeWindow(FakeSink, Window):
    """A `FakeSink` of the caller's thread."""

    def __init__(self, on_pump: Callable[[], None] = lambda: None, **settings: Any) -> None:
        super().__init__("window", latest_only=True, **settings)
        self._on_pump = on_pump
        self.threads: set[threading.Thread] = set()

    def write(self, item: Any) -> None:
        self.threads.add(threading.current_thread())
        super().write(item)

    def pump(self) -> None:
        self.threads.add(threading.current_thread())
        self._on_pump()


def pts(sink: FakeSink) -> list[int]:
    return [item.pts for item in sink.items if isinstance(item, Frame)]


def newest_is(sink: FakeSink, number: int) -> Callable[[], bool]:
    """A condition: the sink's newest frame has this number."""
    return lambda: pts(sink)[-1:] == [number]


def has_items(sink: FakeSink, count: int) -> bool:
    return len(sink.items) == count


def has_original(sink: FakeSink, number: int) -> bool:
    return number in originals(sink)


def originals(sink: FakeSink) -> list[int]:
    """The numbers of the frames that the pictures were made of."""
    return [item.original.pts for item in sink.items]


# ---- who waits for whom ------------------------------------------------------------------


def test_frames_that_come_while_the_mosaic_is_busy_are_dropped_and_counted() -> None:
    gate, sink = Gate(), FakeSink(latest_only=True)

    class Slow(FakeMosaic):
        def process(self, frame: Any, **options: Any) -> Any:
            if frame.pts == 0:
                gate()
            return super().process(frame, **options)

    source = LiveSource([frame(0), gate.reached, *map(frame, range(1, 11)), gate.open])
    pipeline = Pipeline(source, Slow(), [sink])
    assert pipeline.run()
    assert pts(sink)[-1] == 10  # the newest has won
    report = pipeline.report()
    assert report["frames_in"] == 11
    assert report["frames_out"] == len(pts(sink))
    assert report["dropped"] == 11 - len(pts(sink))
    assert report["drops"]["mosaic"] + report["sinks"][0]["dropped"] == report["dropped"]
    assert report["drops"]["mosaic"] >= 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{"latest_only": True}, {}, {"latest_only": True, "rate": RATE}])
def test_a_sink_that_is_stuck_does_not_delay_another(kind: dict[str, Any]) -> None:
    gate = Gate()
    stuck, other = FakeSink("stuck", on_write=lambda item: gate()), FakeSink("other", **kind)
    total = 60

    def items() -> Iterator[Any]:
        for n in range(total):
            yield frame(n)
            if "rate" in kind:
                yield lambda: time.sleep(0.01)
            else:  # each frame reaches the other sink before the next one is captured
                yield until(newest_is(other, n))
        yield gate.open

    pipeline = Pipeline(LiveSource(items()), FakeMosaic(), [other, stuck])
    assert pipeline.run()
    report = pipeline.report()
    if "rate" not in kind:
        assert pts(other) == list(range(total))
        assert report["dropped"] == 0
    assert report["sinks"][1]["dropped"] > 0
    assert report["latency_ms"]["p50"] < 1000


def test_a_recording_rides_out_a_slow_moment() -> None:
    """A file wants every frame; a disk may take its time for some of them."""
    gate, file, seen = (
        Gate(),
        FakeSink("file"),
        FakeSink("seen", latest_only=True),
    )
    file.on_write = lambda item: gate() if isinstance(item, Frame) and item.pts == 0 else None
    items: list[Any] = [frame(0), gate.reached]
    for n in range(1, 7):
        items += [frame(n), until(newest_is(seen, n))]
    assert Pipeline(LiveSource([*items, gate.open]), FakeMosaic(), [file, seen]).run()
    assert pts(file) == list(range(7))


def test_sound_is_not_dropped_with_pictures() -> None:
    gate, sink = Gate(), FakeSink(latest_only=False)
    sink.on_write = lambda item: gate() if isinstance(item, Frame) and item.pts == 0 else None
    sounds = [packet(n) for n in range(40)]
    mixed = [thing for n in range(1, 41) for thing in (frame(n), sounds[n - 1])]
    source = LiveSource([frame(0), gate.reached, *mixed, gate.open])
    assert Pipeline(source, FakeMosaic(), [sink]).run()
    assert [item for item in sink.items if not isinstance(item, Frame)] == sounds
    assert len(pts(sink)) < 41


def test_a_recording_at_another_rate_rides_out_a_slow_moment_too() -> None:
    gate, file, seen = (
        Gate(),
        FakeSink("file"),
        FakeSink("seen", latest_only=True),
    )
    file.on_write = lambda item: gate() if item.pts == 0 else None
    items: list[Any] = [frame(0), gate.reached]
    for n in range(1, 7):
        items += [frame(n), until(partial(has_original, seen, n))]
    pipeline = Pipeline(
        LiveSource([*items, gate.open]),
        FakeMosaic(),
        [file, seen],
        rate=2 * RATE,
    )
    assert pipeline.run()
    assert pts(file) == list(range(13))
    assert originals(file) == [n for n in range(6) for _ in range(2)] + [6]


def test_a_recording_at_a_lower_rate_leaves_pictures_out() -> None:
    sink = FakeSink()
    steps = [thing for n in range(21) for thing in (frame(n), lambda: time.sleep(0.002))]
    pipeline = Pipeline(LiveSource(steps), FakeMosaic(), [sink], rate=RATE / 5)
    assert pipeline.run()
    assert pts(sink) == list(range(5))
    assert pipeline.report()["dropped"] == 16


@pytest.mark.slow
def test_a_sink_with_a_pace_gets_it() -> None:
    sink = FakeSink(latest_only=True, rate=Fraction(50))
    began = time.monotonic()
    source = LiveSource([frame(0), lambda: time.sleep(1)])
    pipeline = Pipeline(source, FakeMosaic(), [sink])
    assert pipeline.run()
    took = time.monotonic() - began
    assert 5 <= len(sink.items) <= took * 50 + 2  # a busy machine skips ticks
    assert pipeline.report()["repeated"] == len(sink.items) - 1


# ---- ends --------------------------------------------------------------------------------


FAILED = SinkError("x: it failed; the test's own")


def fail(item: Any = None) -> None:
    raise FAILED


def endless() -> Iterator[Any]:
    return (thing for n in count() for thing in (frame(n), lambda: time.sleep(0.002)))


def test_a_source_that_fails_is_an_end() -> None:
    error = SourceError("x: it failed; the test's own")
    source, sink, window = LiveSource([frame(0), error]), FakeSink("sink"), FakeWindow()
    began = time.monotonic()
    with pytest.raises(SourceError, match="the test's own"):
        Pipeline(source, FakeMosaic(), [sink, window]).run()
    assert time.monotonic() - began < 2
    assert (pts(sink), sink.ends, pts(window), window.ends) == ([0], ["closed"], [0], ["closed"])
    assert source.closed == 1


def test_a_window_that_fails_does_not_end_a_recording() -> None:
    control, sink, window = Control(), FakeSink("sink"), FakeWindow(fail)

    def tick(progress: object) -> None:
        if window.ends and len(sink.items) > 5:
            control.quit()

    pipeline = Pipeline(LiveSource(endless()), FakeMosaic(), [window, sink], control=control)
    with pytest.raises(SinkError, match="the test's own"):
        pipeline.run(on_tick=tick)
    assert (window.ends, sink.ends, pipeline.completed) == (["aborted"], ["closed"], ["sink"])
    assert pipeline.progress.frames_out == len(sink.items)


def test_an_output_that_fails_is_told_in_the_window_which_goes_on() -> None:
    control, sink = Control(), FakeSink("sink", on_write=fail)
    window = FakeWindow(lambda: control.quit() if sink.ends and len(window.items) > 20 else None)
    began = time.monotonic()
    with pytest.raises(SinkError, match="the test's own"):
        Pipeline(LiveSource(endless()), FakeMosaic(), [sink, window], control=control).run()
    assert time.monotonic() - began < 5
    assert (sink.ends, window.ends) == (["aborted"], ["closed"])
    assert "the test's own" in control.take_message()


def test_a_recording_is_finished_when_the_last_output_fails() -> None:
    control, recording = Control(LiveState(recording=True)), FakeSink("r.mkv")
    sink = FakeSink("sink", on_write=lambda item: fail() if pts(recording) else None)
    pipeline = Pipeline(
        LiveSource(endless()), FakeMosaic(), [sink], control=control,
        open_recording=lambda: recording,
    )  # fmt: skip
    with pytest.raises(SinkError, match="the test's own"):
        pipeline.run()
    assert (sink.ends, recording.ends, pipeline.completed) == (["aborted"], ["closed"], ["r.mkv"])


@pytest.mark.error_logs
@pytest.mark.parametrize("on_close", ["continue", "end"])
def test_outputs_are_finished_inside_a_call_that_ends_the_process(
    on_close: OnClose, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the display goes away: see `Window.on_lost`."""
    control, sink = Control(LiveState(on_close=on_close)), FakeSink("sink")
    items = [frame(n) for n in range(20)] if on_close == "continue" else endless()
    source = LiveSource(items)
    ends: list[list[str]] = []

    def exit_like_xlib() -> None:
        assert window.on_lost is not None
        window.on_lost(SinkError("window: gone"))
        ends.append(list(sink.ends))  # and the process would end

    window = FakeWindow(exit_like_xlib)
    with pytest.raises(SinkError, match="gone"):
        Pipeline(source, FakeMosaic(), [sink, window], control=control).run()
    assert ends == [["closed"]]
    assert [it.getMessage() for it in caplog.records if it.levelname == "ERROR"] == ["window: gone"]


@pytest.mark.parametrize("where", ["sink", "window"])
def test_an_error_of_the_only_output_ends_all_within_two_seconds(where: str) -> None:
    source = LiveSource(endless())
    sink = FakeSink("sink", on_write=fail) if where == "sink" else FakeWindow(fail)
    began = time.monotonic()
    with pytest.raises(SinkError, match="the test's own"):
        Pipeline(source, FakeMosaic(), [sink]).run()
    assert time.monotonic() - began < 2
    assert (sink.ends, source.closed) == (["aborted"], 1)


def test_stop_interrupts_the_source() -> None:
    source, sink = LiveSource([]), FakeSink()
    source.items = [frame(0), lambda: source.ended.wait(TIMEOUT_S)]
    pipeline = Pipeline(source, FakeMosaic(), [sink])
    began = time.monotonic()
    assert pipeline.run(on_tick=lambda progress: pipeline.stop() if progress.frames_out else None)
    assert time.monotonic() - began < 2
    assert sink.ends == ["closed"]
    assert not pipeline.stuck
    assert source.closed == 1


@pytest.mark.slow
def test_the_duration_ends_although_nothing_comes() -> None:
    source = LiveSource([])
    source.items = [frame(0), lambda: source.ended.wait(TIMEOUT_S)]
    began = time.monotonic()
    assert Pipeline(source, FakeMosaic(), [FakeSink()], duration_s=0.2).run()
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(("kind", "is_live"), [(LiveSource, True), (FakeSource, False)])
def test_the_interpreter_is_given_up_soon_while_a_picture_is_live(kind: Any, is_live: bool) -> None:
    """And as before when the last run has ended, also of runs that end in the order of their
    beginnings."""
    before, seen = sys.getswitchinterval(), []
    source = kind([frame(0), lambda: seen.append(sys.getswitchinterval())])
    assert Pipeline(source, FakeMosaic(), [FakeSink()]).run()
    assert (seen[0] <= 0.001) == is_live
    first, second = quick_switches(), quick_switches()
    for each in (first, second):
        each.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() <= 0.001
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == before


# ---- the window --------------------------------------------------------------------------


def test_a_window_lives_on_the_caller_s_thread() -> None:
    window = FakeWindow()
    items = [thing for n in range(5) for thing in (frame(n), until(newest_is(window, n)))]
    assert Pipeline(LiveSource(items), FakeMosaic(), [window]).run()
    assert window.threads == {threading.current_thread()}
    assert pts(window) == list(range(5))
    assert window.ends == ["closed"]


def test_a_window_is_served_while_nothing_comes() -> None:
    pumped = [0]

    def pump() -> None:
        pumped[0] += 1

    source = LiveSource([frame(0), until(lambda: pumped[0] > 20)])
    assert Pipeline(source, FakeMosaic(), [FakeWindow(pump)]).run()


def test_quitting_at_the_window() -> None:
    control, file = Control(), FakeSink("file")
    window = FakeWindow(lambda: control.quit() if window.items else None)
    endless = (thing for n in count() for thing in (frame(n), lambda: time.sleep(0.005)))
    source = LiveSource(endless)
    assert Pipeline(source, FakeMosaic(), [window, file], control=control).run()
    assert (window.ends, file.ends) == (["closed"], ["closed"])


# ---- the control's state ----------------------------------------------------------------------


# Frames so far apart in their own time that a repainted picture is between two of them.
FAR = 1000


def run_with(
    control: Control, *steps: Any, mosaic: Any = None, **options: Any
) -> tuple[FakeSink, Any]:
    """Run a frame, then each step: what to do before the next frame."""
    sink, mosaic = FakeSink(latest_only=True), mosaic or FakeMosaic()
    items: list[Any] = [frame(0), until(lambda: sink.items)]
    for n, step in enumerate(steps, 1):
        items += [step, frame(FAR * n), until(newest_is(sink, FAR * n))]
    pipeline = Pipeline(LiveSource(items), mosaic, [sink], control=control, **options)
    assert pipeline.run()
    return sink, mosaic


def flow(*steps: tuple[Callable[[], object], Callable[[], object]]) -> Iterator[Any]:
    """Frames without end; before each step's they flow until it is true."""
    n = 0
    for do, true in steps:
        do()
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < 3 * TIMEOUT_S, "it does not become true"
            yield frame(n)
            n += 1
            time.sleep(0.005)


def test_settings_reach_the_mosaic() -> None:
    control = Control()
    _, mosaic = run_with(control, lambda: control.change(overlay=0.25))
    assert mosaic.settings.overlay == 0.25


def test_a_pipeline_without_a_control_has_one_that_keeps_the_size(gallery: Gallery) -> None:
    sink = FakeSink()
    pipeline: Pipeline
    items = [frame(0), until(lambda: sink.items), lambda: pipeline.control.change(tile_px=8)]
    pipeline = Pipeline(
        FakeSource([*items, frame(1)]), Mosaic(gallery, MosaicSettings(columns=4)), [sink]
    )
    assert not pipeline.interactive
    assert pipeline.run()
    first, second = sink.items
    assert first.y.shape == second.y.shape
    assert (first.y != second.y).any()


def test_larger_tiles_have_an_end_and_the_promise_may_change() -> None:
    governor, mosaic = Governor(max_latency_s=0.1, interval_s=0.04), FakeMosaic()
    now_s = 0.0
    while governor.step.tile_factor == 1:
        governor.observe(now_s, latency_s=1.0, work_s=1.0)
        now_s += 1
    control = Control(LiveState(MosaicSettings(tile_px=16)))
    for tile_px, expected in ((20, 40), (MAX_TILE_PX, MAX_TILE_PX)):
        incoming: BlockingQueue[Item] = BlockingQueue(1)
        worker = MosaicWorker(
            mosaic,
            incoming,
            FanOut([]),
            ThreadGroup(),
            control=control,
            governor=governor,
        )
        control.change(tile_px=tile_px, max_latency_s=tile_px / 1e3)
        incoming.put(frame(0))
        incoming.finish()
        worker.run()
        assert mosaic.settings.tile_px == expected
        assert governor.max_latency_s == tile_px / 1e3


def test_only_what_keeps_frames_needs_all_of_them() -> None:
    threads = ThreadGroup()

    def writer(sink: Sink) -> SinkWriter:
        return SinkWriter(sink, LatestQueue(), threads, rate=None, nominal_rate=RATE)

    recording = writer(FakeSink("recording"))
    fan_out = FanOut([writer(FakeSink(latest_only=True)), writer(NullSink())])
    assert not fan_out.needs_every_frame
    fan_out.recordings = [recording]
    assert fan_out.needs_every_frame
    recording.abort()
    assert not fan_out.needs_every_frame


def test_privacy_shows_tiles_only_and_ends() -> None:
    control = Control(LiveState(MosaicSettings(overlay=0.5)))
    seen: list[float] = []
    mosaic = FakeMosaic()
    run_with(
        control,
        lambda: control.change(privacy=True),
        lambda: seen.append(mosaic.settings.overlay),
        lambda: control.change(privacy=False),
        lambda: seen.append(mosaic.settings.overlay),
        mosaic=mosaic,
    )
    assert seen == [0.0, 0.5]


def test_privacy_hides_everybody(gallery: Gallery) -> None:
    """Also where a tile would have served on: as if there had been no picture before."""
    rng = np.random.default_rng(7)
    noise = rng.integers(16, 236, (SIZE[1], SIZE[0]), np.uint8)
    picture = replace(frame(0), y=noise)
    settings = MosaicSettings(tile_px=8, size=SIZE, tint=0.0, calm=1.0, overlay=0.2)
    alone = Mosaic(gallery, replace(settings, overlay=0.0)).process(picture.pixelated())
    control, sink = Control(LiveState(settings)), FakeSink(latest_only=True)
    items: list[Any] = [
        picture,
        until(lambda: sink.items),
        lambda: control.change(privacy=True),
        replace(picture, pts=FAR),
        until(lambda: pts(sink)[-1:] == [FAR]),
    ]
    Pipeline(LiveSource(items), Mosaic(gallery, settings), [sink], control=control).run()
    hidden = sink.items[-1]
    for plane in ("y", "u", "v"):
        np.testing.assert_array_equal(getattr(hidden, plane), getattr(alone, plane))
    assert hidden.original.y.std() < 0.3 * noise.std()


@pytest.mark.parametrize("change", [{"match": "clusters"}, {"tile_px": 18}, {"tint": 0.5}])
def test_what_has_to_be_compiled_does_not_hold_the_picture(change: dict[str, Any]) -> None:
    """Nor does it delay other changes, such as privacy mode."""
    before = MosaicSettings(tile_px=16, size=SIZE, tint=0.0, overlay=0.5)
    control, gate = Control(LiveState(before)), Gate()
    seen: list[MosaicSettings] = []

    def warm_up(settings: MosaicSettings) -> None:
        seen.append(settings)
        gate()

    mosaic = FakeMosaic(on_warm_up=warm_up)
    run_with(
        control,
        lambda: control.change(**change),
        gate.reached,
        lambda: control.change(privacy=True),  # frames go on, and keys are obeyed
        lambda: seen.append(mosaic.settings),
        gate.open,
        until(lambda: not any("warm-up" in name for name in pipeline_threads())),
        mosaic=mosaic,
    )
    after = replace(before, **change)
    assert seen == [after, replace(before, overlay=0.0)]
    assert mosaic.settings == replace(after, overlay=0.0)


def test_a_warm_up_without_a_thread_is_tried_again() -> None:
    names: list[str] = []

    def spawn(name: str, work: Callable[[], None], give_up: Callable[[], None]) -> None:
        names.append(name)
        give_up()

    warm_up = WarmUp(FakeMosaic(), MosaicSettings(), spawn)
    wanted = MosaicSettings(match="clusters", overlay=0.5)
    for _ in range(2):
        now = warm_up.available(wanted, frame(0))
        assert (now.match, now.overlay) == ("layout", 0.5)
    assert names == ["warm-up"] * 2


def test_of_many_sizes_that_are_asked_for_the_last_is_warmed_up_next() -> None:
    before = MosaicSettings(tile_px=16, size=SIZE)
    control, gate = Control(LiveState(before)), Gate()
    seen: list[TileSize | None] = []

    def warm_up(settings: MosaicSettings) -> None:
        seen.append(settings.tile_px)
        gate()

    mosaic = FakeMosaic(on_warm_up=warm_up)
    run_with(
        control,
        lambda: control.change(tile_px=18),
        gate.reached,
        lambda: control.change(tile_px=20),
        lambda: control.change(tile_px=22),
        gate.open,
        until(lambda: mosaic.settings.tile_px == 22),
        mosaic=mosaic,
    )
    assert seen == [18, 22]


@pytest.mark.parametrize("colour", [Colour("bt601"), Colour("bt709")])
def test_an_away_picture_is_shown_whole_in_privacy_mode(colour: Colour) -> None:
    """In frames of any size and colour, with the frame's times, between black bars."""
    bgr = np.full((40, 80, 3), (30, 200, 90), np.uint8)
    away = AwayPicture(bgr)
    for size in ((160, 160), (161, 91)):
        grey = np.full((size[1], size[0], 3), 128, np.uint8)
        hidden = Frame.from_bgr(grey, colour=colour, pts=7)
        shown = away.in_place_of(hidden)
        assert (shown.width, shown.height, shown.colour) == (*size, colour)
        assert (shown.pts, shown.time_base) == (hidden.pts, hidden.time_base)
        pixels = shown.to_bgr().astype(int)
        assert np.abs(pixels[size[1] // 2, size[0] // 2] - (30, 200, 90)).max() < 4
    square = away.in_place_of(Frame.from_bgr(np.zeros((160, 160, 3), np.uint8))).to_bgr()
    assert square[:38].max() < 4
    assert square[122:].max() < 4


def test_privacy_and_freeze_at_the_start(gallery: Gallery) -> None:
    """No picture of before is ever shown, and the overlay is off in the first one."""
    settings = MosaicSettings(scale=1, tile_px=8, overlay=0.9)
    mosaic = Mosaic(gallery, settings)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    items = [Frame.from_bgr(noise, pts=n) for n in range(5)]
    grid = mosaic.plan(*SIZE)
    control = Control(LiveState(settings.for_grid(grid), privacy=True, freeze=True))
    sink = FakeSink("out")
    Pipeline(FakeSource(items), mosaic, [sink], control=control).run()
    assert mosaic.settings.overlay == 0
    seen = [item.original for item in sink.items]
    assert all(np.array_equal(it.y, items[0].pixelated().y) for it in seen)


def test_mirror() -> None:
    control = Control()

    def slope(n: int) -> Frame:
        picture = frame(n)
        picture.y[:] = np.arange(SIZE[0], dtype=np.uint8)
        return picture

    sink = FakeSink(latest_only=True)
    items = [
        slope(0),
        until(lambda: sink.items),
        lambda: control.change(mirror=True),
        slope(FAR),
        until(lambda: len(sink.items) == 2),
    ]
    Pipeline(LiveSource(items), FakeMosaic(), [sink], control=control).run()
    assert (sink.items[1].y == sink.items[0].y[:, ::-1]).all()


def test_a_frozen_picture_stays_and_can_still_be_adjusted() -> None:
    control, sink, mosaic = Control(), FakeSink(latest_only=True), FakeMosaic()
    items: list[Any] = [
        frame(0),
        until(lambda: sink.items),
        lambda: control.change(freeze=True),
        frame(FAR),  # the picture is painted again, because of the change
        until(lambda: len(sink.items) == 2),
        *(thing for n in range(2, 9) for thing in (frame(n * FAR), lambda: time.sleep(0.01))),
        lambda: control.change(overlay=0.1),
        frame(9 * FAR),
        until(lambda: len(sink.items) == 3),
        lambda: control.change(freeze=False),
        frame(10 * FAR),
        until(lambda: sink.items[-1].pts == 10 * FAR),
    ]
    Pipeline(LiveSource(items), mosaic, [sink], control=control).run()
    assert [int(item.y[0, 0]) for item in sink.items[:3]] == [0, 0, 0]
    assert int(sink.items[-1].y[0, 0]) == 10 * FAR % 256


@pytest.mark.parametrize("source", [FakeSource, LiveSource])
def test_a_picture_can_be_frozen_at_any_pace(source: Any) -> None:
    """A file that is shown and written, too; it does not get shorter."""
    control, sink = Control(), FakeSink(latest_only=source is LiveSource)
    items = [
        *(frame(n * FAR) for n in range(3)),
        until(lambda: pts(sink)[-1:] == [2 * FAR]),
        lambda: control.change(freeze=True),
        *(frame(n * FAR) for n in range(3, 6)),
    ]
    Pipeline(source(items), FakeMosaic(), [sink], control=control).run()
    assert int(sink.items[-1].y[0, 0]) == 2 * FAR % 256
    if source is FakeSource:
        assert pts(sink) == [n * FAR for n in range(6)]


def test_what_is_wanted_is_done_while_nothing_comes() -> None:
    """Privacy mode hides faces at once, even if the camera is gone or slow."""
    control, sink, mosaic = (
        Control(LiveState(MosaicSettings(overlay=0.5))),
        FakeSink(latest_only=True),
        None,
    )
    overlays: list[float] = []

    class Noting(FakeMosaic):
        def process(self, frame: Any, **options: Any) -> Any:
            overlays.append(self.settings.overlay)
            return super().process(frame, **options)

    mosaic = Noting()
    items: list[Any] = [
        frame(0),
        until(lambda: sink.items),
        lambda: control.change(privacy=True),
        until(lambda: len(sink.items) == 2),  # no frame came
        lambda: time.sleep(0.25),
        frame(1),  # it was on its way: its time is past
        StatusEvent("reconnecting"),
        until(lambda: len(sink.items) == 3),
        lambda: control.change(mirror=True),
        until(lambda: len(sink.items) == 4),
        frame(FAR),
        until(lambda: sink.items[-1].pts == FAR),
    ]
    Pipeline(LiveSource(items), mosaic, [sink], control=control).run()
    assert overlays[1:] == [0.0] * 4
    times = [item.time_s for item in sink.items]
    assert times == sorted(set(times))


def test_pictures_made_anew_have_times_between_two_frames() -> None:
    """Also where the source's time base has no tick between them, and during a status."""
    control, sink, base = Control(), FakeSink(latest_only=True), Fraction(100)
    items: list[Any] = [
        frame(0, rate=1 / base),
        *(
            step
            for n in range(1, 4)
            for step in (
                until(partial(has_items, sink, n)),
                partial(control.change, overlay=n / 10),
            )
        ),
        until(lambda: len(sink.items) == 4),
        frame(1, rate=1 / base),
        until(lambda: len(sink.items) == 5),
        StatusEvent("reconnecting"),
        until(lambda: len(sink.items) == 6),
        lambda: control.change(overlay=0.5),
        until(lambda: len(sink.items) == 7),
        frame(100 * 1_000_000 + 1, rate=Fraction(1_000_000)),  # captured before the last overlay
        frame(2, rate=1 / base),
        until(lambda: len(sink.items) == 8),
    ]
    Pipeline(LiveSource(items), FakeMosaic(), [sink], control=control).run()
    times = [item.time_s for item in sink.items]
    assert times == sorted(set(times))
    assert (times[0], times[4], times[7]) == (0, base, 2 * base)


def test_a_frozen_picture_can_be_mirrored_and_kept() -> None:
    control, sink, saved = Control(), FakeSink(latest_only=True), []

    def slope(n: int) -> Frame:
        picture = frame(n)
        picture.y[:] = np.arange(SIZE[0], dtype=np.uint8) + n % 100
        return picture

    def save(picture: Frame) -> str:
        saved.append(picture)
        return "x.png"

    items: list[Any] = [
        lambda: control.change(mirror=True),
        slope(0),
        until(lambda: sink.items),
        lambda: control.change(freeze=True, mirror=False),
        slope(FAR),
        until(lambda: len(sink.items) == 2),
        control.request_snapshot,
        slope(2 * FAR),
        until(lambda: saved),
    ]
    source = LiveSource(items)
    Pipeline(source, FakeMosaic(), [sink], control=control, save_picture=save).run()
    plain = slope(0).y
    assert (sink.items[0].y == plain[:, ::-1]).all()
    assert (sink.items[1].y == plain).all()
    assert (saved[0].y == plain).all()


def test_a_status_becomes_an_overlay_on_the_last_picture() -> None:
    sink = FakeSink(latest_only=True)

    def picture(n: int) -> Frame:
        y = np.full((480, 640), 60, np.uint8)
        u, v = np.full((2, 240, 320), 128, np.uint8)
        return replace(frame(n), y=y, u=u, v=v)

    class Same(FakeMosaic):
        def process(self, frame: Any, **options: Any) -> Any:
            return frame

    items = [
        StatusEvent("reconnecting"),  # nothing to put it on yet
        picture(0),
        until(lambda: len(sink.items) == 1),
        StatusEvent("reconnecting"),
        until(lambda: len(sink.items) == 2),
        picture(FAR),
        until(lambda: len(sink.items) == 3),
    ]
    source = LiveSource(items)
    source.info = replace(source.info, width=640, height=480)
    Pipeline(source, Same(), [sink], control=Control()).run()
    before, overlay, after = sink.items
    changed = before.y != overlay.y
    assert 0.001 < changed.mean() < 0.2
    assert changed[200:280].any()
    assert (before.y == 60).all()
    assert (after.y == 60).all()


def test_a_gallery_is_opened_besides_and_taken_when_it_is_there(gallery: Gallery) -> None:
    control, gate, mosaic = Control(), Gate(), FakeMosaic()

    def open_gallery(name: str) -> Gallery:
        gate()
        return gallery

    run_with(
        control,
        lambda: control.change(gallery="emoji"),
        gate.reached,  # frames go on meanwhile
        gate.open,
        until(lambda: not any("gallery" in name for name in pipeline_threads())),
        mosaic=mosaic,
        open_gallery=open_gallery,
    )
    assert gallery in mosaic.galleries


def test_a_gallery_that_cannot_be_opened_is_said() -> None:
    control, mosaic = Control(), FakeMosaic()

    def open_gallery(name: str) -> Gallery:
        raise SinkError(f"{name}: no such thing; the test's own")

    run_with(
        control,
        lambda: control.change(gallery="nope"),
        until(lambda: not any("gallery" in name for name in pipeline_threads())),
        mosaic=mosaic,
        open_gallery=open_gallery,
    )
    assert "nope: no such thing" in control.take_message()
    assert set(mosaic.galleries) == {None}
    assert control.state.gallery == "photos"  # the same choice is possible again


def test_a_gallery_without_a_thread_to_open_it(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, start = Control(), threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if "gallery" in thread.name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    run_with(
        control,
        lambda: control.change(gallery="emoji"),
        until(lambda: control.state.gallery == "photos"),  # the same choice is possible again
        open_gallery=lambda _: gallery,
    )
    assert "new thread" in control.take_message()


def test_a_gallery_that_is_in_use_is_not_opened_again(gallery: Gallery) -> None:
    control, mosaic = Control(), FakeMosaic()
    opened: list[str] = []
    gate = Gate()

    def open_gallery(name: str) -> Gallery:
        opened.append(name)
        gate()
        return gallery

    run_with(
        control,
        lambda: control.change(gallery="emoji"),
        gate.reached,
        lambda: control.change(gallery="photos"),
        gate.open,
        until(lambda: not any("gallery" in name for name in pipeline_threads())),
        mosaic=mosaic,
        open_gallery=open_gallery,
    )
    assert opened == ["emoji"]
    assert set(mosaic.galleries) == {None}


def test_a_snapshot(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "livemosaic")
    control = Control()
    saved: list[Frame] = []

    def save(picture: Frame) -> str:
        saved.append(picture)
        return "x.png"

    run_with(
        control,
        control.request_snapshot,
        until(lambda: saved and not any("snapshot" in name for name in pipeline_threads())),
        lambda: None,
        save_picture=save,
    )
    assert len(saved) == 1
    assert control.take_message() == caplog.messages[-1] == "saved x.png"


def test_a_snapshot_that_takes_long_is_waited_for() -> None:
    control, sink = Control(), FakeSink(latest_only=True)
    saved: list[str] = []
    saved_at_ticks: list[int] = []
    over = threading.Event()

    def tick(progress: object) -> None:
        saved_at_ticks.append(len(saved))
        if sink.ends:
            over.set()

    def save(picture: Frame) -> str:
        assert over.wait(TIMEOUT_S)
        saved.append("x.png")
        return "x.png"

    pipeline = Pipeline(
        LiveSource(flow((control.request_snapshot, lambda: not control.snapshot_requested))),
        FakeMosaic(),
        [sink],
        control=control,
        save_picture=save,
    )
    assert pipeline.run(on_tick=tick)
    assert saved_at_ticks[-1] == 1
    assert not pipeline.stuck


def test_recording_on_and_off_and_on_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "livemosaic")
    control, made = Control(), list[FakeSink]()

    def open_recording() -> FakeSink:
        made.append(FakeSink(f"recording {len(made)}"))
        return made[-1]

    sink = FakeSink(latest_only=True)
    frames = flow(
        (lambda: control.change(recording=True), lambda: made and pts(made[0])),
        (lambda: control.change(recording=False), lambda: made[0].ends),
        (lambda: control.change(recording=True), lambda: len(made) == 2 and pts(made[1])),
    )
    pipeline = Pipeline(
        LiveSource(frames),
        FakeMosaic(),
        [sink],
        control=control,
        open_recording=open_recording,
    )
    assert pipeline.run()
    assert [recording.ends for recording in made] == [["closed"], ["closed"]]
    assert set(pts(made[0])) & set(pts(made[1])) == set()
    report = pipeline.report()
    assert report["outputs"] == [sink.name]
    recorded = [(recording["name"], recording["frames"]) for recording in report["sinks"][1:]]
    assert recorded == [(recording.name, len(pts(recording))) for recording in made]
    assert pipeline.completed == [sink.name, *(recording.name for recording in made)]
    saved = [f"saved {recording.name}" for recording in made]
    assert [text for text in caplog.messages if text.startswith("saved")] == saved
    assert control.take_message() == saved[-1]


@pytest.mark.slow
def test_a_recording_that_has_ended_is_released() -> None:
    """Its encoder needs 80 MB, and its last latency must not count for the others."""
    control, made = Control(), list[weakref.ref[FakeSink]]()

    def open_recording() -> FakeSink:
        recording = FakeSink("recording")
        made.append(weakref.ref(recording))
        return recording

    late = FakeSink(latest_only=True, on_write=lambda item: time.sleep(0.2 if ended() else 0))

    def ended() -> bool:
        return len(made) == 1 and made[0]() is None

    frames = flow(
        (lambda: control.change(recording=True), lambda: made),
        (lambda: control.change(recording=False), ended),
        (lambda: None, lambda: pipeline.report()["governor"]["highest"]),
    )
    pipeline = Pipeline(
        LiveSource(frames), FakeMosaic(), [late], control=control,
        open_recording=open_recording,
    )  # fmt: skip
    assert pipeline.run()


def test_a_recording_that_is_on_at_the_end_ends_with_it() -> None:
    """And no other one is begun while a slower output still finishes."""
    control, made = Control(LiveState(recording=True)), list[FakeSink]()
    ticked = threading.Semaphore(0)

    def open_recording() -> FakeSink:
        made.append(FakeSink(f"recording {len(made)}"))
        return made[-1]

    def finish_slowly() -> None:
        wait_until(lambda: made[0].ends)
        while ticked.acquire(blocking=False):
            pass
        for _ in range(3):
            assert ticked.acquire(timeout=TIMEOUT_S)

    sink = FakeSink(latest_only=True, on_close=finish_slowly)
    frames = flow((lambda: None, lambda: made and pts(made[0])))
    pipeline = Pipeline(
        LiveSource(frames),
        FakeMosaic(),
        [sink],
        control=control,
        open_recording=open_recording,
    )
    assert pipeline.run(on_tick=lambda progress: ticked.release())
    assert [recording.ends for recording in made] == [["closed"]]


def test_a_recording_that_fails_does_not_end_the_others() -> None:
    control = Control()

    def fail(item: Any) -> None:
        raise SinkError("r.mkv: the disk is full; the test's own")

    sink = FakeSink(latest_only=True)
    frames = flow(
        (lambda: control.change(recording=True), lambda: not control.state.recording),
        (sink.items.clear, lambda: sink.items),
    )
    pipeline = Pipeline(
        LiveSource(frames), FakeMosaic(), [sink], control=control,
        open_recording=lambda: FakeSink("r.mkv", on_write=fail),
    )  # fmt: skip
    assert pipeline.run()
    assert "disk is full" in control.take_message()


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError("unforeseen"), OSError(28, "")])
@pytest.mark.parametrize("what", ["snapshot", "opening", "writing", "closing", "gallery", "sink"])
def test_any_error_costs_only_what_fails(what: str, error: Exception) -> None:
    control, outputs = Control(), FakeSink("file")

    def fail(*_: Any) -> Any:
        raise error

    def open_recording() -> FakeSink:
        if what == "opening":
            fail()
        if what == "closing":
            return FakeSink("r.mkv", on_close=fail)
        return FakeSink("r.mkv", on_write=fail)

    def begin() -> None:
        if what == "snapshot":
            control.request_snapshot()
        elif what == "gallery":
            control.change(gallery="emoji")
        elif what != "sink":
            control.change(recording=True)

    def end() -> None:
        if what == "closing":
            wait_until(lambda: control.live_stats().recording)
            control.change(recording=False)

    messages: list[str] = []

    def is_reported() -> str:
        messages.append(control.take_message())
        return messages[-1]

    frames = flow(
        (begin, lambda: True),
        (end, is_reported),
        (outputs.items.clear, lambda: outputs.items),
    )
    sinks = [outputs, FakeSink("broken", on_write=fail)] if what == "sink" else [outputs]
    pipeline = Pipeline(
        LiveSource(frames), FakeMosaic(), sinks, control=control, save_picture=fail,
        open_recording=open_recording, open_gallery=fail,
    )  # fmt: skip
    with pytest.raises(type(error)) if what == "sink" else nullcontext():
        pipeline.run()
    assert outputs.ends == ["closed"]
    assert control.state.gallery == "photos"
    assert not control.state.recording
    assert ("not enough memory" if isinstance(error, MemoryError) else "internal") in messages[-1]


@pytest.mark.parametrize("where", ["source", "mosaic"])
def test_outputs_are_finished_after_an_internal_error(where: str) -> None:
    """A live recording cannot be repeated."""
    sink = FakeSink("file")
    last = ZeroDivisionError("unforeseen") if where == "source" else frame(3)
    items = [*map(frame, range(3)), until(newest_is(sink, 2)), last]
    mosaic = FakeMosaic(fail_at=3 if where == "mosaic" else None)
    pipeline = Pipeline(LiveSource(items), mosaic, [sink])
    with pytest.raises(ZeroDivisionError if where == "source" else MosaicError):
        pipeline.run()
    assert (sink.ends, pipeline.completed) == (["closed"], ["file"])


def test_a_recording_that_fails_at_its_end_does_not_end_the_next() -> None:
    control, made = Control(), list[FakeSink]()

    def end_late() -> None:
        wait_until(lambda: len(made) == 2 and pts(made[1]))
        fail()

    def open_recording() -> FakeSink:
        made.append(FakeSink("r.mkv", on_close=lambda: None if made[1:] else end_late()))
        return made[-1]

    sink = FakeSink(latest_only=True)
    more: list[int] = []
    steps = flow(
        (lambda: control.change(recording=True), lambda: made and pts(made[0])),
        (lambda: control.change(recording=False), lambda: not control.live_stats().recording),
        (lambda: control.change(recording=True), lambda: made[0].ends),
        (lambda: more.append(len(pts(made[1]))), lambda: len(pts(made[1])) > more[0] + 20),
    )
    pipeline = Pipeline(
        LiveSource(steps), FakeMosaic(), [sink], control=control,
        open_recording=open_recording,
    )  # fmt: skip
    assert pipeline.run()
    assert [recording.ends for recording in made] == [["aborted"], ["closed"]]


def test_a_source_that_breaks_off_when_it_is_stopped_is_no_error() -> None:
    sink = FakeSink("sink")
    pipeline: Pipeline
    items = [frame(0), until(lambda: sink.items), lambda: pipeline.stop(), SourceError("gone")]
    pipeline = Pipeline(FakeSource(items), FakeMosaic(), [sink])
    assert pipeline.run()
    assert sink.ends == ["closed"]


def test_a_recording_that_fails_does_not_stop_a_file() -> None:
    """A file's frames wait for every sink, but not for a recording that has failed."""
    control = Control()

    def fail(item: Any) -> None:
        raise SinkError("r.mkv: the disk is full; the test's own")

    sink = FakeSink()
    frames = flow(
        (lambda: control.change(recording=True), lambda: not control.state.recording),
        (sink.items.clear, lambda: len(sink.items) > 20),
    )
    pipeline = Pipeline(
        FakeSource(frames), FakeMosaic(), [sink], control=control,
        open_recording=lambda: FakeSink("r.mkv", on_write=fail),
    )  # fmt: skip
    assert pipeline.run()
    assert "disk is full" in control.take_message()


# ---- the same picture --------------------------------------------------------------------


def test_live_and_from_a_file_the_same_pictures(gallery: Gallery) -> None:
    rng = np.random.default_rng(5)
    pictures = [
        replace(frame(n), y=rng.integers(16, 235, (SIZE[1], SIZE[0]), np.uint8)) for n in range(12)
    ]
    settings = MosaicSettings(tile_px=8, size=SIZE, seed=3)
    from_file, live = FakeSink("file"), FakeSink("live")
    assert Pipeline(FakeSource(pictures), Mosaic(gallery, settings), [from_file]).run()
    items = [
        thing for picture in pictures for thing in (picture, until(newest_is(live, picture.pts)))
    ]
    pipeline = Pipeline(
        LiveSource(items, rate=Fraction(1)),
        Mosaic(gallery, settings),
        [live],
        control=Control(LiveState(settings)),
    )
    assert pipeline.run()
    assert pipeline.report()["dropped"] == 0
    for a, b in zip(from_file.items, live.items, strict=True):
        for plane in ("y", "u", "v"):
            assert (getattr(a, plane) == getattr(b, plane)).all()


def test_live_stats() -> None:
    control, seen = Control(), list[LiveStats]()
    sink = FakeSink(latest_only=True)
    pipeline: Pipeline
    items: list[Any] = []
    for n in range(10):
        items += [frame(n), until(newest_is(sink, n))]
    items += [lambda: seen.append(pipeline.live_stats()), StatusEvent("reconnecting")]
    items += [
        until(lambda: pipeline.live_stats().source),
        lambda: seen.append(pipeline.live_stats()),
    ]
    pipeline = Pipeline(LiveSource(items), FakeMosaic(), [sink], control=control)
    assert pipeline.run()
    during, away = seen
    assert during.fps_in > 0
    assert during.fps_out > 0
    assert 0 < during.latency_ms_p50 <= during.latency_ms_p95
    assert during.active_share == 0.5
    assert set(during.stages_ms) == {"activity", "features", "match", "compose"}
    assert (during.source, away.source) == ("", "reconnecting")
