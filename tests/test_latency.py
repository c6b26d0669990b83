"""`doctor --latency`: on a display without a monitor, where an eye of its own looks on."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.doctor.latency import FLASHES, Latency, measure_latency
from livemosaic.errors import SinkError, SourceError, UsageError

from .conftest import ROOT
from .program import ENVIRONMENT, Outcome, Program, Run, clip, finish, left, needs_jit
from .screen import Screen, open_screen, until

pytestmark = pytest.mark.alone

slow = pytest.mark.slow
linux = pytest.mark.skipif(sys.platform != "linux", reason="X11")

PERIOD_MS = 1000 / 30
# The window of the flashes is there: a part of the screen is cheap for a busy machine.
PART = "screen:480x300+0+0"
NAMES = {"p50", "p95", "max"}
ADDED = {"version", "duration_s", "microphone_delay_ms"}  # by the command


def page_json() -> dict[str, Any]:
    """The example in docs/doctor.md."""
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    *_, code = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = json.loads(code)
    return found


@pytest.fixture(scope="module")
def screen() -> Iterator[Screen]:
    with open_screen() as screen:
        yield screen


STARTED: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def _end_all() -> Iterator[None]:
    """A test that fails leaves none behind."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def started(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    STARTED.append(process)
    return process


def command(screen: Screen, *words: str, cwd: Path = ROOT, changes: int | None = None) -> Run:
    """Start the program; with `changes` it measures so many, after one second."""
    words, options = ("doctor", "--latency", *words), dict[str, Any]()
    if changes is not None:
        options["command"] = [sys.executable, "-m", "tests.latency_program"]
        words = ("--command", str(changes), *words)
    environment = {**screen.variables, "PYTHONPATH": str(ROOT)}
    run = Run(*words, env=environment, cwd=cwd, **options)
    started(run.process)
    return run


def start(
    screen: Screen, input: str, *, late: int = 0, changes: int = 4, find_s: float = 30, **env: str
) -> subprocess.Popen[bytes]:
    """Start tests/latency_program.py."""
    words = [input, str(late), str(changes), str(find_s)]
    return started(
        subprocess.Popen(
            [sys.executable, "-m", "tests.latency_program", *words],
            env={**ENVIRONMENT, **screen.variables, **env},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    )


def measured(screen: Screen, input: str, **options: Any) -> dict[str, Any]:
    outcome = finish(start(screen, input, **options), timeout=120)
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def cover(screen: Screen) -> subprocess.Popen[bytes]:
    """Lay a window over that of the flashes."""
    if shutil.which("xlogo") is None:
        pytest.skip("not installed: xlogo; see scripts/test")
    words = ["xlogo", "-geometry", "700x500+0+0", "-fg", "gray", "-bg", "gray"]
    return started(subprocess.Popen(words, env={**os.environ, **screen.variables}))


def await_flashes(screen: Screen) -> None:
    """Wait for their window; the first run ever compiles the kernels."""
    until(lambda: screen.find(FLASHES), what="the window", timeout_s=120)


# ---- the program -------------------------------------------------------------------------


class Eye:
    """Sees the square and its mosaic with its own clock, as often as it can."""

    def __init__(self, screen: Screen) -> None:
        import mss

        self._screens = mss.MSS(display=screen.name)
        self.looks: list[tuple[float, NDArray[np.bool_]]] = []

    def look(self) -> None:
        began_s = time.monotonic()
        # A row through both: the square's mosaic is at the same height, 40 % as large.
        shot = self._screens.grab({"left": 0, "top": 100, "width": 700, "height": 1})
        row = np.asarray(shot)[0, :, :3].mean(axis=1)
        both = np.array([row[230:250].mean(), row[645:665].mean()]) > 115
        self.looks.append(((began_s + time.monotonic()) / 2, both))

    def latencies_ms(self) -> list[float]:
        """From each change of the square to that of its mosaic."""
        times = np.array([at_s for at_s, _ in self.looks])
        seen = np.array([both for _, both in self.looks])
        (square,), (mosaic,) = (np.nonzero(np.diff(seen[:, it].astype(int))) for it in (0, 1))
        found = []
        for place in square + 1:
            after = [
                it + 1 for it in mosaic if it + 1 >= place and seen[it + 1, 1] == seen[place, 0]
            ]
            if after:
                found.append((times[after[0]] - times[place]) * 1e3)
        return found


class Seen(NamedTuple):
    """A measurement, and what an eye saw meanwhile."""

    outcome: Outcome
    found: dict[str, Any]
    eye: Eye
    left: list[str]


@pytest.fixture(scope="module")
def seen(screen: Screen, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder, eye = tmp_path_factory.mktemp("seen"), Eye(screen)
    process = command(screen, "--json", cwd=folder, changes=12).process
    while process.poll() is None:
        eye.look()
        time.sleep(0.003)
    outcome = finish(process)
    assert outcome.code == 0, outcome.err
    return Seen(outcome, json.loads(outcome.out), eye, left(folder))


@slow
@needs_jit
def test_it_agrees_with_an_eye_that_looks_on(screen: Screen, seen: Seen) -> None:
    """Both windows have the picture when it says so."""
    outcome, found, eye, files = seen
    assert (found["input"], found["width"], found["height"]) == ("screen", 1400, 900)
    assert set(found) == set(page_json())
    assert found["changes"] == 12
    assert set(found["latency_ms"]) == set(found["since_capture_ms"]) == NAMES
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p95"] <= found["latency_ms"]["max"]
    assert found["microphone_delay_ms"] == round(found["latency_ms"]["p50"])
    seen_ms = eye.latencies_ms()
    assert len(seen_ms) >= 12
    assert found["latency_ms"]["p50"] == pytest.approx(np.median(seen_ms), abs=PERIOD_MS / 2)
    assert re.search(
        r"warning: in 1 s a small white square begins to flash.*Ctrl-C now", outcome.err
    )
    assert "the flashes are seen" in outcome.err
    assert "Traceback" not in outcome.err
    assert files == []
    assert not screen.find(FLASHES)


@slow
@needs_jit
def test_a_picture_that_comes_100_ms_later(screen: Screen, seen: Seen) -> None:
    """The result rises by as much; other programs may disturb one measurement."""
    before, rises = seen.found["latency_ms"]["p50"], list[float]()
    for _ in range(3):
        rises.append(measured(screen, "screen", late=3, changes=8)["latency_ms"]["p50"] - before)
        if abs(rises[-1] - 100) <= PERIOD_MS:
            return
    pytest.fail(f"it rises by {rises} ms")


@slow
@needs_jit
def test_a_screen_with_another_scaling(screen: Screen) -> None:
    found = measured(screen, "screen", QT_SCALE_FACTOR="1.5")
    assert (found["changes"], found["width"]) == (4, 1400)


@slow
@needs_jit
def test_a_window_lies_over_the_flashes(screen: Screen) -> None:
    process = start(screen, PART, find_s=3)
    await_flashes(screen)
    other = cover(screen)
    outcome = finish(process)
    other.terminate()
    other.wait()
    assert outcome.code == 1
    assert outcome.lines[-1] == (
        f"SourceError: {PART}: the white square in the window 'livemosaic flashes' is not in its "
        "picture; leave that window uncovered, and on this screen"
    )


@slow
@needs_jit
def test_a_window_lies_over_the_flashes_for_a_while(screen: Screen) -> None:
    """Then they are found again; what was lost is counted."""
    run = command(screen, PART, changes=20)
    run.wait_for(b"the flashes are seen")
    other = cover(screen)
    time.sleep(5)
    other.terminate()
    other.wait()
    outcome = finish(run.process, timeout=120)
    assert outcome.code == 0, outcome.err
    changes = re.search(r"^changes +20 seen, [12] lost$", outcome.out, re.MULTILINE)
    assert changes, outcome.out
    assert re.search(r"^latency +\d+ ms \(p95 \d+\), from light to light", outcome.out, re.M)
    assert re.search(r"^microphone +delay it by \d+ ms to match the picture$", outcome.out, re.M)


@slow
@needs_jit
def test_a_camera_in_a_dark_room(screen: Screen) -> None:
    """Which sees the mosaic of the square, too."""
    found = measured(screen, "camera", changes=6)
    assert (found["input"], found["changes"]) == ("camera", 6)
    assert found["latency_ms"]["p50"] > 1


@slow
@needs_jit
def test_a_camera_that_sees_something_else(screen: Screen) -> None:
    outcome = finish(start(screen, "pattern:320x180@30", find_s=2))
    assert outcome.code == 1
    assert outcome.lines[-1] == (
        "SourceError: pattern:320x180@30: the white square in the window 'livemosaic flashes' is "
        "not seen by it; point the camera at the square from about 30 cm, and keep other light away"
    )


@slow
@needs_jit
@pytest.mark.parametrize("title", ["livemosaic", FLASHES])
def test_the_user_closes_a_window(screen: Screen, title: str) -> None:
    process = start(screen, PART)
    await_flashes(screen)
    screen.run("wmctrl", "-F", "-c", title)
    outcome = finish(process)
    assert outcome.code == 1
    assert "SinkError: window: it was closed, or " in outcome.lines[-1]


@slow
@needs_jit
@pytest.mark.parametrize("begun", [False, True])
def test_ctrl_c(screen: Screen, begun: bool) -> None:
    run = command(screen, PART, changes=20 if begun else None)
    # As a person types it, there are 40 changes after 5 seconds.
    run.wait_for(
        b"the flashes are seen" if begun else b"in 5 s .* for about 31 s; .* press Ctrl-C now"
    )
    asked_s = run.interrupt()
    outcome: Outcome = run.end()
    assert time.monotonic() - asked_s < 5
    assert (outcome.code, outcome.out) == (130, "")
    assert "Traceback" not in outcome.err
    until(lambda: True if not screen.find(FLASHES) else None, what="no window")


@slow
@needs_jit
def test_the_display_goes(tmp_path: Path) -> None:
    with open_screen() as screen:
        run = command(screen, cwd=tmp_path)
        run.wait_for(b"press Ctrl-C now")
        screen.kill()
        outcome = run.end()
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    assert re.search(r"the display .* (has closed the connection|does not answer)", outcome.err)
    assert left(tmp_path) == []


@pytest.mark.parametrize("failing", [1, 2])
def test_no_window_stays_after_an_error_of_opencv(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first picture of the flashes, while they open, and at the next."""
    is_open, shown = set[str](), list[str]()

    def imshow(title: str, picture: object) -> None:
        shown.append(title)
        if shown.count(FLASHES) == failing:
            raise cv2.error("out of memory")

    quiet = dict.fromkeys(("resizeWindow", "moveWindow", "setWindowProperty"), lambda *_: None)
    keys = dict.fromkeys(("waitKey", "waitKeyEx"), lambda ms: -1)
    for name, function in {
        **quiet,
        **keys,
        "imshow": imshow,
        "namedWindow": lambda title, flags: is_open.add(title),
        "destroyWindow": is_open.discard,
        "getWindowProperty": lambda title, which: float(title in is_open),
        "getWindowImageRect": lambda title: (0, 0, 640, 360),
    }.items():
        monkeypatch.setattr(cv2, name, function)
    for module in ("livemosaic.window.window", "livemosaic.doctor.latency"):
        monkeypatch.setattr(f"{module}.check_display", lambda **_: (1400, 900))
    with pytest.raises((cv2.error, SinkError), match="out of memory"):
        measure_latency("pattern:64x48@30", notice_s=0)
    assert shown.count(FLASHES) == failing
    assert is_open == set()


# ---- without a display -------------------------------------------------------------------


@linux
def test_wayland(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", ":0")
    outcome = program("doctor", "--latency")
    assert outcome.code == 1
    assert "cannot see the screen in a Wayland session; log in to an X11 session" in outcome.err


@linux
def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SourceError, match="screen: there is no display"):
        measure_latency()
    with pytest.raises(SinkError, match=r"window: there is no display .* computer that has one"):
        measure_latency("webcam")


def test_not_live(tmp_path: Path) -> None:
    film = clip(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=r"a\.mp4: it is not live; name screen, or a webcam"):
        measure_latency(str(film))


@pytest.mark.parametrize("options", [{"changes": 1}, {"notice_s": -1}, {"find_s": "3"}])
def test_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        measure_latency(**options)


def test_the_page_has_the_names_of_the_json() -> None:
    assert set(page_json()) == {*(it.name for it in dataclasses.fields(Latency)), *ADDED}


def test_the_microphone() -> None:
    """Half of the changes are shown before, half after."""
    latency = {"p50": 83.6, "p95": 120.0, "max": 130.0}
    assert Latency("webcam", 1280, 720, 30.0, latency, latency, 40, 0, "").microphone_delay_ms == 84
