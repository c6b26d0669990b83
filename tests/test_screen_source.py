"""The screen as an input, on a real X server, and on one that is made up."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.errors import RefusedError, SourceError, UsageError
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import Frame
from livemosaic.sources import open_source
from livemosaic.sources.screen import Place, ScreenSource, list_screens

from .program import finish, needs_jit, spawn
from .screen import SIZE, Screen, open_screen, until

pytestmark = pytest.mark.alone

U8 = NDArray[np.uint8]


# ---- made up -----------------------------------------------------------------------------


class FakeScreens:
    """As `mss.MSS`: two screens, of which each pixel is its own grey."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self.monitors: list[dict[str, Any]] = [{}]
        left = 0
        for width, height in sizes:
            self.monitors.append({"left": left, "top": 0, "width": width, "height": height})
            left += width
        self.monitors[0] = {"left": 0, "top": 0, "width": left, "height": max(sizes)[1]}
        self.primary_monitor = self.monitors[-1]
        self.taken: list[dict[str, int]] = []
        self.closed = 0
        self.error: Exception | None = None
        self.on_grab: Callable[[], None] = lambda: None

    def grab(self, place: dict[str, int]) -> U8:
        self.on_grab()
        if self.error is not None:
            raise self.error
        self.taken.append(place)
        return np.full((place["height"], place["width"], 4), len(self.taken), np.uint8)

    def close(self) -> None:
        self.closed += 1


class Clock:
    """Time that passes only while a picture is taken; waits are short."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def opened(screens: FakeScreens, spec: str = "screen", **options: Any) -> ScreenSource:
    return ScreenSource(spec, open_screens=lambda name: screens, **options)


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ("screen", (64, 48, 100, 0)),  # the main one
        ("screen:1", (100, 50, 0, 0)),
        ("screen:2", (64, 48, 100, 0)),
        ("screen:120x10+5+7", (120, 10, 5, 7)),  # over both
    ],
)
def test_places(spec: str, place: tuple[int, int, int, int]) -> None:
    screens = FakeScreens((100, 50), (64, 48))
    source = opened(screens, spec)
    assert (source.info.width, source.info.height) == place[:2]
    assert [screens.taken[0][side] for side in ("width", "height", "left", "top")] == list(place)
    assert source.info.live
    assert source.info.colour.matrix == "bt601"
    source.close()
    source.close()


@pytest.mark.parametrize(
    "spec", ["screen:3", "screen:0", "screen:65x48+100+0", "screen:10x10+-1+0", "screen:1x51+0+0"]
)
def test_what_is_not_there(spec: str) -> None:
    screens = FakeScreens((100, 50), (64, 48))
    with pytest.raises(RefusedError, match=r"164x50\+0\+0|screen:1 \(100x50\+0\+0\), screen:2"):
        opened(screens, spec)
    assert screens.closed


@pytest.mark.parametrize(
    "spec", ["screen:", "screen:x", "screen:10x10", "screen:0x10+0+0", "screen:-1", "screen:2:3"]
)
def test_mistakes(spec: str) -> None:
    with pytest.raises(UsageError, match="screen:1280x720"):
        open_source(spec)


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (64, 47), (63, 48), (1, 1)])
def test_sizes(size: tuple[int, int]) -> None:
    frame = next(iter(opened(FakeScreens(size))))
    width, height = size
    assert frame.y.shape == (height, width)
    assert frame.u.shape == frame.v.shape == ((height + 1) // 2, (width + 1) // 2)
    assert np.ptp(frame.y) == 0


def test_pictures_that_take_too_long_are_dropped() -> None:
    clock, screens = Clock(), FakeScreens((64, 48))
    source = opened(screens, rate=Fraction(10), clock=clock)
    lasts_s = iter([0.05, 0.25, 0.05, 0.0])

    def pass_time() -> None:
        clock.now_s += next(lasts_s)

    screens.on_grab = pass_time
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == 3:
            break
        if len(frames) == 1:
            clock.now_s = 100.1  # as if it had waited
    assert [f.pts for f in frames] == [0, 1, 4]
    assert source.dropped == 2
    assert [f.captured_s for f in frames] == pytest.approx([100.0, 100.1, 100.35])


def test_a_screen_that_changes_its_size() -> None:
    """As with a webcam that comes back: the size of the video stays."""
    made = [FakeScreens((64, 48))]
    source = ScreenSource(rate=Fraction(1000), open_screens=lambda name: made[-1])
    frames = iter(source)
    next(frames)
    made[0].error = RuntimeError("BadMatch")
    made.append(FakeScreens((32, 32)))
    frame = next(frames)
    assert frame.y.shape == (48, 64)
    assert frame.y[24, 0] == 16  # a bar at the side
    assert made[0].closed


def test_a_larger_screen_is_noticed() -> None:
    clock = Clock()
    made = iter([FakeScreens((64, 48)), FakeScreens((128, 96))])
    source = ScreenSource(rate=Fraction(1000), open_screens=lambda name: next(made), clock=clock)
    frames = iter(source)
    next(frames)
    clock.now_s += 3
    assert next(frames).y.shape == (48, 64)
    assert next(made, None) is None


def test_the_system_is_busy_changing_the_screens() -> None:
    """It gives no answer twice, and once where none is needed."""
    clock, screens = Clock(), FakeScreens((64, 48))
    answers = iter([True, False, True, False, False, True])

    def open_screens(name: str) -> FakeScreens:
        if not next(answers):
            raise SourceError("busy")
        screens.error = None
        return screens

    source = ScreenSource(rate=Fraction(1000), open_screens=open_screens, clock=clock)
    frames = iter(source)
    next(frames)
    clock.now_s += 3
    next(frames)  # no answer: it goes on
    clock.now_s += 3
    next(frames)
    screens.error = RuntimeError("BadMatch")
    next(frames)  # no answer, no answer, and a new picture
    assert next(answers, None) is None


def test_a_screen_that_goes() -> None:
    screens = [FakeScreens((100, 50), (64, 48)), FakeScreens((100, 50))]
    source = ScreenSource("screen:2", open_screens=lambda name: screens[0])
    frames = iter(source)
    next(frames)
    screens.pop(0).error = RuntimeError("gone")
    with pytest.raises(SourceError, match="no such screen"):
        next(frames)


# ---- without a display -------------------------------------------------------------------

linux = pytest.mark.skipif(sys.platform != "linux", reason="X11")


@linux
def test_wayland(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", ":0")  # Xwayland, which shows only X11 programs, or nothing
    with pytest.raises(RefusedError, match=r"Wayland session; log in to an X11 .* webcam:OBS"):
        open_source("screen")


@linux
@pytest.mark.parametrize(("display", "problem"), [("", "is not set"), (":9876", "':9876'")])
def test_no_display(monkeypatch: pytest.MonkeyPatch, display: str, problem: str) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(SourceError, match=f"screen: .*{problem}.*; "):
        open_source("screen")
    with pytest.raises(SourceError, match=f"screen: .*{problem}.*; "):
        list_screens()


@linux
def test_no_picture() -> None:
    """A display that answers, but shows its screen to no program, as Xwayland."""
    screens = FakeScreens((64, 48))
    screens.error = RuntimeError("BadMatch")
    with pytest.raises(SourceError, match="no picture of the screen; log in to an X11 session"):
        opened(screens)
    assert screens.closed


@linux
@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("Library libxcb-randr.so not found", r"libxcb-randr.so not found\); install it"),
        ("Only screens of color depth 24 or 32 are supported, not 16", "24 bits per pixel"),
    ],
)
def test_a_display_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, problem: str, message: str
) -> None:
    import mss

    def fail(**options: Any) -> None:
        raise mss.ScreenShotError(problem)

    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(mss, "MSS", fail)
    with pytest.raises(RefusedError, match=message):
        open_source("screen")


@linux
def test_a_display_that_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an X server does when its last program leaves: the check of a window may be that one."""
    import mss

    screens: list[Any] = [mss.ScreenShotError("Cannot connect to display"), FakeScreens((64, 48))]

    def connect(**options: Any) -> Any:
        if isinstance(found := screens.pop(0), Exception):
            raise found
        return found

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(mss, "MSS", connect)
    assert [str(it.place) for it in list_screens(pictures=False)] == ["64x48+0+0"]


def test_macos_asks_for_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS a program without permission would see the desktop without its windows."""
    asked: list[str] = []

    class Graphics:
        def __init__(self, path: str) -> None: ...

        def CGPreflightScreenCaptureAccess(self) -> int:
            asked.append("preflight")
            return 0

        def CGRequestScreenCaptureAccess(self) -> int:
            asked.append("request")
            return 0

    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", Graphics)
    with pytest.raises(RefusedError, match="Privacy & Security > Screen & System Audio"):
        open_source("screen")
    assert asked == ["preflight", "request"]


# ---- a real X server ---------------------------------------------------------------------


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    if shutil.which("xsetroot") is None:
        pytest.skip("not installed: xsetroot; see scripts/test")
    with open_screen() as screen:
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.setenv("DISPLAY", screen.name)
        yield screen


def shown(spec: str, rate: int = 30) -> ScreenSource:
    source = open_source(spec, capture=(1, 1, Fraction(rate)))
    assert isinstance(source, ScreenSource)
    return source


def paint(screen: Screen, colour: str) -> None:
    """Fill the screen with a colour."""
    screen.run("xsetroot", "-solid", colour)


def bgr(frame: Frame, x: int, y: int) -> list[int]:
    return [int(value) for value in frame.to_bgr()[y, x]]


def is_near(found: list[int], wanted: tuple[int, int, int]) -> bool:
    return all(abs(a - b) <= 3 for a, b in zip(found, wanted, strict=True))


def test_the_picture_is_what_is_shown(screen: Screen) -> None:
    assert [it.place for it in list_screens()] == [Place(*SIZE, 0, 0)]
    screen.run("xdotool", "mousemove", "900", "700")
    with shown("screen", 20) as source:
        assert (source.info.width, source.info.height) == SIZE
        assert source.info.rate == 20
        frames = iter(source)
        for colour, wanted in (("#d02010", (16, 32, 208)), ("#1060f0", (240, 96, 16))):
            paint(screen, colour)
            frame = next(it for it in islice(frames, 200) if is_near(bgr(it, 700, 300), wanted))
            shot = screen.shot()
            assert is_near(bgr(frame, 5, 5), wanted)
            difference = np.abs(frame.to_bgr()[::50, ::50].astype(int) - shot[::50, ::50])
            assert np.percentile(difference, 95) <= 3


def test_a_part_of_the_screen(screen: Screen) -> None:
    """A grid of lines says where the part begins."""
    screen.run("xsetroot", "-mod", "16", "16", "-fg", "white", "-bg", "black")
    screen.run("xdotool", "mousemove", "900", "700")
    whole = screen.see(lambda shot: np.ptp(shot[:32, :32]) == 255, what="the grid")
    with shown("screen:101x75+40+30") as source:
        frame = next(iter(source))
    assert frame.y.shape == (75, 101)
    part = whole[30:105, 40:141]
    assert np.abs(frame.to_bgr().astype(int) - part).max() <= 3
    assert not np.array_equal(part, whole[:75, :101])


def test_the_mouse_pointer_is_shown(screen: Screen) -> None:
    paint(screen, "#406080")
    with shown("screen:200x200+600+300") as source:
        frames = iter(source)

        def spread() -> int:
            return int(np.ptp(next(frames).y))

        screen.run("xdotool", "mousemove", "700", "400")
        until(lambda: spread() > 50 or None, what="the pointer")
        screen.run("xdotool", "mousemove", "10", "10")
        until(lambda: spread() < 5 or None, what="no pointer")


def test_rate_and_times(screen: Screen) -> None:
    with shown("screen:320x240+0+0", 25) as source:
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        frames = list(islice(source, 26))
        lasted_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    assert [f.pts for f in frames] == sorted({f.pts for f in frames})
    assert frames[-1].pts == 25 + source.dropped
    late_s = [f.captured_s - began_s - f.time_s for f in frames]
    assert min(late_s) > -0.01
    assert statistics.median(late_s) < 0.2  # it does not drift
    assert cpu_s < lasted_s / 2  # it waits, and does not spin


def test_interrupt(screen: Screen) -> None:
    source = ScreenSource(rate=Fraction(1, 10))
    frames = iter(source)
    next(frames)
    source.interrupt()
    began_s = time.monotonic()
    assert list(frames) == []
    assert time.monotonic() - began_s < 5
    source.close()


def test_the_server_dies(screen: Screen) -> None:
    source = shown("screen")
    frames = iter(source)
    next(frames)
    screen.kill()
    with pytest.raises(SourceError, match=r"the display .* does not answer; check"):
        list(frames)
    source.close()


# ---- whole runs --------------------------------------------------------------------------


def _run(screen: Screen, folder: Path, *words: str) -> subprocess.Popen[bytes]:
    return spawn("run", *words, env=screen.variables, cwd=folder)


@needs_jit
@pytest.mark.slow
def test_the_server_dies_during_a_run(screen: Screen, tmp_path: Path) -> None:
    """The run ends with an error, and its file is finished."""
    process = _run(screen, tmp_path, "screen:320x240+0+0", "out.mkv", "null")
    until(lambda: next(tmp_path.glob("*out*"), None), what="the file", timeout_s=120)
    time.sleep(2)
    screen.kill()
    outcome = finish(process)
    assert outcome.code == 1
    assert "does not answer" in outcome.err
    assert "Traceback" not in outcome.err
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 0


@needs_jit
@pytest.mark.slow
def test_the_own_window_on_the_screen(screen: Screen, tmp_path: Path) -> None:
    """The window shows the screen that shows the window ..."""
    words = ("screen", "window", "--size", "640x400", "--capture", "640x400@15")
    process = _run(screen, tmp_path, *words)
    until(lambda: screen.find("livemosaic"), what="the window", timeout_s=120)
    time.sleep(2)
    assert process.poll() is None
    screen.press("livemosaic", "q")
    outcome = finish(process)
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    assert os.listdir(tmp_path) == []
