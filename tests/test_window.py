"""A real window: on a display without a monitor, with a window manager, keys and screenshots."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.control.state import Control
from livemosaic.errors import SinkError
from livemosaic.media.frame import StreamInfo
from livemosaic.window import display
from livemosaic.window.window import WindowSink, first_size

from .conftest import ROOT
from .screen import TIMEOUT_S, Screen, open_screen
from .test_canvas import COLOURS

U8 = NDArray[np.uint8]

TITLE = "livemosaic"

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="needs X11"), pytest.mark.alone]


@pytest.fixture(scope="module")
def screen() -> Iterator[Screen]:
    with open_screen() as screen:
        yield screen


class Shown:
    """The window program, running."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._rest = b""

    def start(self) -> None:
        """Let it show its first picture."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; its exit code says why
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

    def line(self) -> dict[str, Any]:
        """The next object that it prints."""
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT_S)
            assert ready, "it prints nothing"
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, f"it ended: {self.process.stderr.read().decode()}"  # type: ignore[union-attr]
            self._rest += more
        line, self._rest = self._rest.split(b"\n", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def ended(self) -> tuple[int, str]:
        """Its exit code and its standard error, once it has ended."""
        _, err = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, err.decode()


@contextmanager
def shown(
    environment: dict[str, str],
    size: tuple[int, int] = (1280, 720),
    *lasting: str,
    starts: bool = True,
) -> Iterator[Shown]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.window_program", *map(str, size), *lasting],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    program = Shown(process)
    if starts:
        program.start()
    try:
        yield program
    finally:
        process.kill()
        process.communicate()


def is_colour(number: int) -> Callable[[U8], Any]:
    return lambda shot: np.abs(shot.astype(int) - COLOURS[number]).max(axis=2) <= 6


def box(shot: U8, number: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of all pixels of one of COLOURS."""
    return cv2.boundingRect(is_colour(number)(shot).astype(np.uint8))  # type: ignore[return-value]


def picture_box(shot: U8) -> tuple[int, int, int, int]:
    """Where the picture is: its third quarter ends lower left, its second one upper right."""
    left, _, _, _ = box(shot, 2)
    _, third_top, _, third_height = box(shot, 2)
    second_left, second_top, second_width, _ = box(shot, 1)
    bottom = third_top + third_height
    return left, second_top, second_left + second_width - left, bottom - second_top


def has_picture(shot: U8) -> bool:
    return all(is_colour(number)(shot).any() for number in range(4))


def fits(width: int, height: int) -> Callable[[U8], bool]:
    """Whether the picture is there in this size."""

    def check(shot: U8) -> bool:
        found = picture_box(shot)[2:] if has_picture(shot) else (0, 0)
        return bool(np.abs(np.subtract(found, (width, height))).max() <= 2)

    return check


# A 720p picture's window at first: 85 % of the screen's width.
FIRST = fits(1190, 669)


# ---- a window ----------------------------------------------------------------------------


@pytest.mark.slow
def test_picture_colours_and_aspect(screen: Screen) -> None:
    """A window of its own size at first; another size is filled with the aspect kept."""
    with shown(screen.environment, (1280, 720)) as program:
        shot = screen.see(FIRST, what="the picture")
        program.line()
        left, top, width, height = picture_box(shot)
        for number, colour in enumerate(COLOURS):
            x, y = left + width // 2 * (number % 2) + 250, top + height // 2 * (number // 2) + 300
            np.testing.assert_allclose(shot[y, x], colour, atol=4)

        for size, expected in (((500, 600), (500, 281)), ((900, 300), (533, 300))):
            window = screen.window(TITLE)
            screen.run("xdotool", "windowsize", window, *map(str, size))
            shot = screen.see(fits(*expected), what=f"the picture in a window of {size}")
            left, top, width, height = picture_box(shot)
            beside = shot[top + height + 8, left + 9] if size[1] > 500 else shot[top + 9, left - 8]
            np.testing.assert_array_equal(beside, 0)


KEYS_OF_CONTROL: list[tuple[str, Callable[[Any], object]]] = [
    ("plus", lambda c: c["settings"]["overlay"] == 0.3),
    ("minus", lambda c: c["settings"]["overlay"] == 0.2),
    ("KP_Subtract", lambda c: c["settings"]["overlay"] == 0.1),
    ("Up", lambda c: c["settings"]["overlay"] == 0.2),
    ("m", lambda c: c["settings"]["match"] == "clusters"),
    ("bracketright", lambda c: c["settings"]["tile_px"] == 40),
    ("Left", lambda c: c["settings"]["tile_px"] == 20),
    ("Left", lambda c: c["settings"]["tile_px"] == 16),
    ("bracketleft", lambda c: c["settings"]["tile_px"] == 10),
    ("2", lambda c: c["gallery"] == "emoji"),
    ("KP_1", lambda c: c["gallery"] == "photos"),
    ("x", lambda c: c["mirror"]),
    ("space", lambda c: c["freeze"]),
    ("r", lambda c: c["recording"]),
    ("p", lambda c: c["privacy"]),
]


@pytest.mark.slow
def test_every_key(screen: Screen) -> None:
    with shown(screen.environment) as program:
        screen.see(has_picture, what="the picture")
        line = program.line()
        for name, true in KEYS_OF_CONTROL:
            screen.press(TITLE, name)
            while not true(line["state"]):
                line = program.line()
        screen.press(TITLE, "s")
        assert program.line() == {"snapshot": True}
        screen.press(TITLE, "y")  # without a meaning
        screen.press(TITLE, "q")
        assert program.line() == {"quit": True}
        assert program.ended() == (0, "")


@pytest.mark.slow
def test_what_the_window_shows_over_the_picture(screen: Screen) -> None:
    """Statistics, keys, the original: their pixels come and go in their places."""
    with shown(screen.environment, starts=False) as program:
        screen.window(TITLE)  # a hint is there for a moment, and a window can take longer
        program.start()
        first = screen.see(FIRST, what="the picture")
        left, top, width, height = picture_box(first)
        program.line()

        def region(shot: U8, x: float, y: float) -> U8:
            across, down = left + round(x * width), top + round(y * height)
            return shot[down - 20 : down + 20, across - 30 : across + 30]

        def dark(x: float, y: float) -> Callable[[U8], bool]:
            return lambda shot: bool(np.median(region(shot, x, y).max(axis=2)) < 90)

        def plain(x: float, y: float, number: int) -> Callable[[U8], bool]:
            return lambda shot: bool(is_colour(number)(region(shot, x, y)).all())

        stats, keys, corner = (0.12, 0.1), (0.5, 0.4), (0.9, 0.9)
        assert plain(*stats, 0)(first)
        hint = (0.5, 0.96)
        assert dark(*hint)(first)  # a later shot could be too late
        screen.see(lambda shot: not dark(*hint)(shot), what="no hint any more")
        screen.press(TITLE, "h")
        screen.see(dark(*stats), what="the statistics")
        screen.press(TITLE, "h")
        screen.see(plain(*stats, 0), what="the picture without the statistics")
        screen.press(TITLE, "question")
        screen.see(dark(*keys), what="the keys")
        screen.press(TITLE, "F1")
        screen.see(lambda shot: not dark(*keys)(shot), what="the picture without the keys")
        assert plain(*corner, 3)(screen.shot())
        screen.press(TITLE, "o")  # in it the quarters are turned left to right
        screen.see(plain(0.95, 0.94, 2), what="the original in the corner")
        screen.press(TITLE, "space")
        screen.see(plain(0.95, 0.94, 3), what="no original of before, while the camera is off")
        screen.press(TITLE, "space")
        screen.see(plain(0.95, 0.94, 2), what="the original in the corner again")
        screen.press(TITLE, "p")
        screen.see(plain(*corner, 3), what="no original while there are only tiles")
        screen.see(dark(0.95, 0.04), what="that there are only tiles")
        screen.press(TITLE, "f")

        full = fits(1400, 788)  # all of the screen's width
        screen.see(full, what="the full screen")
        screen.see_pointer(False)
        screen.run("xdotool", "windowminimize", "--sync", screen.window(TITLE))
        screen.see_pointer(True)
        screen.run("xdotool", "windowactivate", "--sync", screen.window(TITLE))
        screen.see(full, what="the full screen again")
        screen.see_pointer(False)  # also when the mouse enters the window again
        screen.press(TITLE, "F11")
        screen.see(lambda shot: has_picture(shot) and not full(shot), what="the window again")
        screen.see_pointer(True)
        screen.press(TITLE, "f")
        screen.see(full, what="the full screen")
        screen.press(TITLE, "Escape")
        screen.see(lambda shot: has_picture(shot) and not full(shot), what="the window again")
        screen.press(TITLE, "Escape")
        assert program.ended() == (0, "")


@pytest.mark.slow
def test_closed_by_the_window_manager(screen: Screen) -> None:
    with shown(screen.environment, (320, 180)) as program:
        screen.see(has_picture, what="the picture")
        program.line()
        screen.run("wmctrl", "-c", TITLE)
        assert program.line() == {"quit": True}
        assert program.ended() == (0, "")


@pytest.mark.slow
def test_closed_while_another_output_goes_on(screen: Screen) -> None:
    """A small window takes its place, which has the keys, too; closing that ends the run."""
    with shown(screen.environment, (640, 360), "vcam") as program:
        screen.see(has_picture, what="the picture")
        program.line()
        screen.press(TITLE, "f")  # it is no full screen
        assert program.line()["state"]["fullscreen"]
        screen.see(fits(1400, 788), what="the full screen")
        screen.run("wmctrl", "-c", TITLE)
        screen.see(lambda shot: not has_picture(shot), what="the small window")
        size = screen.run("xdotool", "getwindowgeometry", screen.window(TITLE)).decode()
        assert "480x80" in size
        screen.press(TITLE, "p")
        assert program.line()["state"]["privacy"]
        screen.run("wmctrl", "-c", TITLE)
        assert program.line() == {"quit": True}
        assert program.ended() == (0, "")


@pytest.mark.slow
def test_a_window_that_is_minimised_is_not_closed(screen: Screen) -> None:
    with shown(screen.environment) as program:
        screen.see(has_picture, what="the picture")
        program.line()
        window = screen.window(TITLE)
        screen.run("xdotool", "windowminimize", "--sync", window)
        screen.see(lambda shot: not has_picture(shot), what="no window")
        screen.run("xdotool", "windowmap", "--sync", window)
        screen.see(has_picture, what="the picture again")
        screen.press(TITLE, "x")
        assert program.line()["state"]["mirror"]


def test_windows_one_after_another(screen: Screen) -> None:
    """In one process, as tests and programs do; none is left behind."""
    code = (
        "from livemosaic.window.window import WindowSink\n"
        "from tests.test_canvas import quarters\n"
        "from livemosaic.control.state import Control\n"
        "from livemosaic.media.frame import Frame, StreamInfo\n"
        "for end in ('close', 'abort', 'close'):\n"
        "    window = WindowSink(StreamInfo(64, 36), control=Control())\n"
        "    window.write(Frame.from_bgr(quarters(64, 36)))\n"
        "    window.pump()\n"
        "    getattr(window, end)()\n"
        "    window.write(Frame.from_bgr(quarters(64, 36)))\n"
        "    window.pump()\n"
        "print('all have ended', flush=True)\n"
        "input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**screen.environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"all have ended\n"
        screen.see(lambda _: TITLE not in screen.run("wmctrl", "-l").decode(), what="no window")
        _, err = process.communicate(b"\n", timeout=TIMEOUT_S)
        assert (process.returncode, err) == (0, b"")
    finally:
        process.kill()
        process.communicate()


# ---- no window ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "no display"),
        ({"DISPLAY": ""}, "no display"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "Xwayland"),
        ({"DISPLAY": ":4093"}, "':4093'"),
        ({"DISPLAY": "nonsense"}, "'nonsense'"),
        ({"DISPLAY": ":4093", "QT_QPA_PLATFORM": "wayland"}, "':4093'"),
    ],
)
def test_no_display_is_an_error_and_no_abort(variables: dict[str, str], named: str) -> None:
    known = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {name: value for name, value in os.environ.items() if name not in known}
    with shown({**environment, **variables}) as program:
        code, err = program.ended()
    assert code == 1
    assert err.startswith("SinkError: window: ")
    assert named in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_desktop_that_wants_wayland_gets_a_window(screen: Screen) -> None:
    """It sets Wayland for all Qt programs, and OpenCV's Qt has none."""
    wayland = {
        "QT_QPA_PLATFORM": "wayland",
        "XDG_SESSION_TYPE": "wayland",
        "WAYLAND_DISPLAY": "wayland-0",
    }
    with shown({**screen.environment, **wayland}) as program:
        screen.see(has_picture, what="the picture")
        program.line()
        screen.press(TITLE, "q")
        assert program.line() == {"quit": True}
        assert program.ended() == (0, "")


def test_a_display_that_keeps_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1] - 6000
        if number < 0:
            pytest.skip("the system gave a port below X11's")
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{number}")
        with pytest.raises(SinkError, match="does not answer"):
            display.check_display(timeout_s=0.3)
        server.accept()[0].close()
    for thread in threading.enumerate():
        if thread.name == "livemosaic display":
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()


def test_the_size_of_the_screen(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", screen.name)
    assert display.check_display() == (1400, 900)


def test_a_library_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = tmp_path / "qt" / "plugins" / "platforms"
    plugins.mkdir(parents=True)
    (plugins / "libqxcb.so").write_text("no library")
    monkeypatch.setattr(cv2, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("QT_QPA_PLATFORM", "")
    monkeypatch.setenv("QT_LOGGING_RULES", "")
    with pytest.raises(SinkError, match=r"libqxcb\.so"):
        display.check_display()


def test_an_opencv_without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", refuse)
    monkeypatch.setattr("livemosaic.window.window.check_display", lambda: None)
    with pytest.raises(SinkError, match="uninstall opencv-python-headless"):
        WindowSink(StreamInfo(64, 36), control=Control())


# ---- its size at first -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "screen_size", "window"),
    [
        ((2560, 1440), (1920, 1080), (1280, 720)),
        ((2560, 1440), (1366, 768), (1161, 653)),
        ((2560, 1440), None, (1280, 720)),
        ((3840, 2160), (3840, 2160), (960, 540)),
        ((1280, 720), (1920, 1080), (1280, 720)),
        ((320, 180), (1920, 1080), (640, 360)),
        ((100, 50), (1920, 1080), (700, 350)),
        ((320, 180), (500, 400), (320, 180)),
        ((1080, 1920), (1920, 1080), (516, 917)),
        ((2, 2), (1920, 1080), (640, 640)),
    ],
)
def test_first_size(
    picture: tuple[int, int], screen_size: tuple[int, int] | None, window: tuple[int, int]
) -> None:
    width, height = picture
    size = first_size(width, Fraction(width, height), screen_size)
    assert size == pytest.approx(window, abs=1)
