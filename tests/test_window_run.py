"""`run ... window` as a person has it: keys, the close button, signals; what is seen each time."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.sources.pattern import PatternSource

from .program import COMMAND, ENVIRONMENT, Outcome, finish, needs_jit, pictures, spawn
from .qr_reader import read_qr
from .screen import SIZE, Screen, open_screen, until

pytestmark = [needs_jit, pytest.mark.slow, pytest.mark.alone]

U8 = NDArray[np.uint8]

TITLE = "livemosaic"
PATTERN = "pattern:480x270"
WIDTH, HEIGHT = 960, 540

# The colours of the test picture's bars, (8, 3) BGR.
BARS = PatternSource(PATTERN).frame(0).to_bgr()[30, 30::60].astype(int)

# The first run ever compiles the kernels.
_COMPILING_S = 120.0


@pytest.fixture(scope="module")
def screen() -> Iterator[Screen]:
    with open_screen() as screen:
        yield screen


class Live:
    """A run with a window, and eyes on that."""

    def __init__(self, screen: Screen, process: subprocess.Popen[bytes]) -> None:
        self.screen, self.process = screen, process

    def window(self) -> str | None:
        """Its number, if it is there already; fails when the program has ended."""
        if self.process.poll() is not None:
            pytest.fail(f"it ended: {finish(self.process)}")
        return self.screen.find(TITLE)

    def press(self, key: str) -> None:
        self.screen.press(TITLE, key)

    def press_until(self, true: Callable[[U8], Any], *keys: str, what: str) -> U8:
        """Press keys in turns, whose effects add up, until `true` of what is in the window."""
        turns = itertools.cycle(keys)

        def check() -> U8 | None:
            self.press(next(turns))
            picture = self.picture()
            return picture if true(picture) else None

        return until(check, what=what)

    def size(self) -> tuple[int, int]:
        return self._place()[2:]

    def picture(self) -> U8:
        """The picture in the window now."""
        left, top, width, height = self._place()
        return self.screen.shot()[top : top + height, left : left + width]

    def see(self, true: Callable[[U8], Any], what: str) -> U8:
        """Look until `true` of what is in the window; returns that."""

        def check() -> U8 | None:
            picture = self.picture()
            return picture if picture.shape[:2] == (HEIGHT, WIDTH) and true(picture) else None

        return until(check, what=what)

    def _place(self) -> tuple[int, int, int, int]:
        def ask() -> bytes:  # a window may close in between
            words = ("xdotool", "getwindowgeometry", "--shell", self.window() or "none")
            return self.screen.run(*words, check=False)

        output = until(lambda: ask() or None, what="the window's place")
        found = dict(line.split("=") for line in output.decode().split())
        left, top, width, height = (int(found[name]) for name in ("X", "Y", "WIDTH", "HEIGHT"))
        return left, top, width, height


@contextmanager
def live(
    screen: Screen,
    folder: Path,
    *options: str,
    rate: int = 30,
    started: Callable[[U8], bool] = lambda picture: bars(picture)[4:].max() > 80,
) -> Iterator[Live]:
    """The test picture in a window, without statistics."""
    process = spawn(
        *("run", f"{PATTERN}@{rate}", "window", "--size", f"{WIDTH}x{HEIGHT}"),
        *("--tile", "20", *options),
        env={"DISPLAY": screen.name},
        cwd=folder,
    )
    try:
        run = Live(screen, process)
        until(run.window, what="the window", timeout_s=_COMPILING_S)
        run.see(started, "the mosaic")
        yield run
    finally:
        process.kill()
        process.communicate()


def strips(picture: U8) -> list[U8]:
    """Of each of the eight bars, a part over which the disc never comes."""
    edge = WIDTH // len(BARS)
    return [picture[30:150, n * edge + 20 : (n + 1) * edge - 20] for n in range(len(BARS))]


def bars(picture: U8) -> NDArray[np.float64]:
    """The mean colours of the bars, (8, 3) BGR."""
    return np.array([strip.mean(axis=(0, 1)) for strip in strips(picture)])


def detail(picture: U8) -> float:
    """How far the pixels of a bar are from each other; little in the original, much in tiles."""
    return float(np.mean([strip.std(axis=(0, 1)).mean() for strip in strips(picture)[:7]]))


def is_original(picture: U8) -> bool:
    return bool(np.abs(bars(picture) - BARS).max() < 12 and detail(picture) < 1)


def is_mirrored(picture: U8) -> bool:
    return bool(np.abs(bars(picture) - BARS[::-1]).max() < 12)


def same(one: U8, other: U8) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(strips(one), strips(other), strict=True))


@pytest.mark.slow
def test_every_key(screen: Screen, tmp_path: Path) -> None:
    """One after another in one run, and what each does to the picture."""
    # Compile the kernels of larger tiles now; in the background it would take too long.
    words = ("run", f"{PATTERN}@30", "null", "--size", f"{WIDTH}x{HEIGHT}", "--tile", "30")
    assert finish(spawn(*words, "--duration", "0.1"), timeout=_COMPILING_S).code == 0
    # Little to do for the governor, whose larger tiles would be taken for what a key did.
    calm = ("--max-latency", "5000")
    with live(screen, tmp_path, "--overlay", "0.5", "--json", *calm, rate=10) as run:
        mixed = detail(run.picture())
        run.press_until(is_original, "plus", "equal", "Up", "KP_Add", what="only the original")
        run.press("x")
        run.see(is_mirrored, "the mirrored original")
        run.press("x")
        run.see(is_original, "the original as it was")
        run.press_until(lambda p: detail(p) > 0.6 * mixed, "minus", "Down", what="less of it")
        run.press("p")
        tiles = run.see(lambda p: detail(p) > 1.3 * mixed, "only tiles")
        run.press("bracketright")
        larger = run.see(lambda p: not same(p, tiles), "larger tiles")
        run.press("2")
        run.see(lambda p: not same(p, larger), "emoji")
        run.press("o")  # not while there are only tiles
        run.press("p")

        def corner(picture: U8) -> bool:
            # The second bar, yellow, in a picture a quarter as wide, 8 pixels from the edge.
            yellow = picture[HEIGHT - 8 - 100, WIDTH - 8 - 240 + 45]
            return bool(np.abs(yellow.astype(int) - BARS[1]).max() < 12)

        run.see(corner, "the original in the corner")
        run.press("o")
        run.see(lambda p: not corner(p), "no original in the corner")

        def is_kept() -> bool | None:
            """Whether a snapshot is what is seen; the governor may change the tiles in between."""
            before = set(tmp_path.glob("*.png"))
            run.press("s")
            (new,) = until(lambda: set(tmp_path.glob("*.png")) - before or None, what="a snapshot")
            saved = until(lambda: read(new), what="a whole snapshot")
            return np.abs(bars(saved) - bars(run.picture())).max() < 4 or None

        until(is_kept, what="a snapshot of what is seen")
        run.press("space")
        run.see(lambda p: stands(p, run), "a picture that stands")
        run.press("space")
        run.see(lambda p: not stands(p, run), "a picture that moves")

        run.press("question")
        run.see(lambda p: p[200:300, 470:490].max(axis=2).mean() < 110, "the keys")
        run.press("question")
        run.see(lambda p: p[200:300, 470:490].max(axis=2).mean() > 110, "no keys")
        run.press("r")
        until(lambda: True if list(tmp_path.glob(".*.mkv")) else None, what="a recording")
        run.see(
            lambda p: ((p[:60, 600:, 2] > 180) & (p[:60, 600:, 0] < 90)).sum() > 20, "a red dot"
        )
        run.press("r")
        until(lambda: True if list(tmp_path.glob("l*.mkv")) else None, what="the finished one")
        run.press("f")
        until(lambda: True if run.size() == SIZE else None, what="the full screen")
        run.press("F11")
        until(lambda: True if run.size() != SIZE else None, what="the window again")
        run.press("q")
        outcome = finish(run.process)
    assert outcome.code == 0
    # On a machine that is very busy the governor makes them twice as large.
    assert json.loads(outcome.out)["grid"]["tile_px"] in (30, 60)
    (recording,) = tmp_path.glob("*.mkv")
    assert pictures(recording)[0].shape == (HEIGHT, WIDTH, 3)


def read(path: Path) -> U8 | None:
    picture = cv2.imread(str(path))
    return None if picture is None else np.asarray(picture, np.uint8)


def stands(picture: U8, run: Live) -> bool:
    """Whether the disc's row is the same in three pictures, one after another."""
    rows = slice(HEIGHT // 2 - 20, HEIGHT // 2 + 20)
    return all(np.array_equal(picture[rows], run.picture()[rows]) for _ in range(2))


def test_the_qr_code_can_be_read(screen: Screen, tmp_path: Path) -> None:
    """With the text of `guests:`, from the start and after the key."""
    words = ("--qr", "--web", "0", "--guests", "party", "--no-config")
    with live(screen, tmp_path, *words) as run:
        address = read_qr(run.see(read_qr, "the code"))
        run.press("u")
        run.see(lambda p: p[-200:, :200].mean() < 200 and not read_qr(p), "no code")
        run.press("u")
        run.see(lambda p: read_qr(p) == address, "the code again")
        run.press("q")
        outcome = finish(run.process)
    assert f"guests: {address}" in outcome.lines


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_quit(screen: Screen, tmp_path: Path, key: str) -> None:
    with live(screen, tmp_path) as run:
        run.press(key)
        outcome = finish(run.process)
    assert outcome.code == 0
    assert_calm(outcome)


def test_a_recording_of_a_killed_session_gets_a_name(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / ".a.0123456789abcdef.recording.mkv").write_bytes(b"pictures")
    with live(screen, tmp_path) as run:
        run.press("q")
        outcome = finish(run.process)
    assert "a-recovered.mkv: a recording that a killed run left" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a-recovered.mkv"]


def test_closed_by_the_window_manager(screen: Screen, tmp_path: Path) -> None:
    """The other outputs go on, and are finished when the small window is closed, too."""
    with live(screen, tmp_path, "out.mkv") as run:
        screen.run("wmctrl", "-c", TITLE)
        until(lambda: True if run.size() == (480, 80) else None, what="the small window")
        screen.run("wmctrl", "-c", TITLE)
        outcome = finish(run.process)
    assert outcome.code == 0
    assert_calm(outcome)
    assert pictures(tmp_path / "out.mkv")[0].shape == (HEIGHT, WIDTH, 3)


def test_closed_with_on_close_end(screen: Screen, tmp_path: Path) -> None:
    with live(screen, tmp_path, "out.mkv", "--on-close", "end") as run:
        screen.run("wmctrl", "-c", TITLE)
        outcome = finish(run.process)
    assert outcome.code == 0
    assert pictures(tmp_path / "out.mkv")[0].shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_window_that_the_display_closes(screen: Screen, tmp_path: Path, name: str) -> None:
    """Xlib and Qt end the process then; the files and the recording are finished before."""
    with live(screen, tmp_path, name) as run:
        record(run, tmp_path)
        screen.run("xdotool", "windowkill", run.window() or "none")
        until(lambda: screen.find(TITLE) is None or None, what="no window")
        run.process.send_signal(signal.SIGINT)
        outcome = finish(run.process)
    assert_finished_without_window(outcome)
    (recording,) = tmp_path.glob("livemosaic-*.mkv")
    assert sorted(os.listdir(tmp_path)) == sorted([name, recording.name])
    for file in (name, recording.name):
        assert pictures(tmp_path / file)[0].shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("options", [["out.mp4", "--on-close", "end"], []])
def test_a_display_that_dies(tmp_path: Path, options: list[str]) -> None:
    """Without an output that goes on, or with --on-close end, the run ends by itself."""
    with open_screen() as screen, live(screen, tmp_path, *options) as run:
        if not options:
            record(run, tmp_path)
        screen.kill()
        outcome = finish(run.process)
    assert_finished_without_window(outcome)
    (file,) = tmp_path.iterdir()
    assert pictures(file)[0].shape == (HEIGHT, WIDTH, 3)


def test_a_folder_that_is_gone_costs_only_what_goes_there(screen: Screen, tmp_path: Path) -> None:
    """A snapshot, a recording that goes on, and a new one; the file elsewhere is whole."""
    folder = tmp_path / "gone"
    folder.mkdir()
    with live(screen, folder, str(tmp_path / "out.mp4")) as run:
        record(run, folder)
        shutil.rmtree(folder)
        for key in ("s", "r", "r"):
            run.press(key)
            time.sleep(0.5)
        run.press("q")
        outcome = finish(run.process)
    assert outcome.code == 0
    assert len([line for line in outcome.lines if line.startswith("livemosaic: warning: ")]) == 3
    assert sum("the current folder does not exist any more" in line for line in outcome.lines) >= 2
    assert pictures(tmp_path / "out.mp4")[0].shape == (HEIGHT, WIDTH, 3)


def record(run: Live, folder: Path) -> None:
    """Start a recording in the folder, and wait for its first pictures."""
    run.press("r")
    until(lambda: list(folder.glob("*livemosaic-*.mkv*")) or None, what="a recording")
    time.sleep(0.5)


def assert_finished_without_window(outcome: Outcome) -> None:
    assert outcome.code == 1
    assert outcome.lines[-2].startswith("livemosaic: completed: ")
    assert outcome.lines[-1].startswith("livemosaic: error: window: the display ")


def test_options_are_obeyed_at_the_start(screen: Screen, tmp_path: Path) -> None:
    """And a signal toggles privacy mode."""
    away = np.full((90, 160, 3), (255, 0, 255), np.uint8)
    cv2.imwrite(str(tmp_path / "away.png"), away)
    words = ("--overlay", "1", "--mirror", "--privacy", "--away", "away.png", "--figures")
    with live(screen, tmp_path, *words, started=is_away) as run:
        run.see(lambda p: p[20:60, 20:120].max(axis=2).mean() < 120, "the statistics")
        run.process.send_signal(signal.SIGUSR1)
        run.press("h")
        run.see(is_mirrored, "the mirrored original")
        run.process.send_signal(signal.SIGUSR1)
        run.see(is_away, "the picture of privacy mode")
        run.press("q")
        assert finish(run.process).code == 0


def is_away(picture: U8) -> bool:
    """Whether the lower right part is magenta."""
    part = picture[400:500, 700:900].astype(int)
    return bool(np.abs(part.mean(axis=(0, 1)) - (255, 0, 255)).max() < 30)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(screen: Screen, tmp_path: Path, kind: signal.Signals) -> None:
    with live(screen, tmp_path) as run:
        run.process.send_signal(kind)
        outcome = finish(run.process)
    assert outcome.code == 130
    assert_calm(outcome)


@pytest.mark.parametrize("display", [None, ":4093"])
def test_no_display(tmp_path: Path, display: str | None) -> None:
    """One line, and an exit code; no other output is left behind."""
    known = {name: value for name, value in ENVIRONMENT.items() if name != "WAYLAND_DISPLAY"}
    known.pop("DISPLAY", None)
    process = subprocess.Popen(
        [*COMMAND, "run", PATTERN, "out.mkv", "window"],
        env={**known, **({"DISPLAY": display} if display else {})},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    outcome = finish(process)
    assert outcome.code == 1
    assert [line for line in outcome.lines if "error" in line] == outcome.lines[-1:]
    assert outcome.lines[-1].startswith("livemosaic: error: window: ")
    assert os.listdir(tmp_path) == []


def assert_calm(outcome: Outcome) -> None:
    """All lines are the program's own: OpenCV and Qt print nothing."""
    assert all(line.startswith("livemosaic: ") for line in outcome.lines)
    assert not any("error" in line or "warning" in line for line in outcome.lines)
