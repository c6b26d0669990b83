"""Ctrl-C and SIGTERM: the first finishes the file, the second leaves nothing, neither hangs."""

from __future__ import annotations

import itertools
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bench import signals
from livemosaic.blocking import call_interruptibly, leave
from livemosaic.cli.signals import Interrupts
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.atomic_write import atomic_write
from livemosaic.unfinished import (
    add_unfinished,
    forget_unfinished,
    is_complete,
    remove_unfinished,
)

from .clips import need_encoder
from .fakes import TIMEOUT_S, Gate
from .program import ENVIRONMENT, SMALL, Run, clip, left, needs_jit, pictures, video_times

# ---- the parts ---------------------------------------------------------------------------


class FakePipeline:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def stop(self) -> None:
        self.calls.append("stop")

    def cancel(self) -> None:
        self.calls.append("cancel")


class Left(BaseException):
    """The process has ended."""


def leaving(**options: Any) -> Interrupts:
    """Interrupts that raise `Left` instead of ending the process of the tests."""

    def end(code: int) -> None:
        raise Left(code)

    return Interrupts(exit=end, **options)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_preparations_are_interrupted(kind: signal.Signals, tmp_path: Path) -> None:
    before = signal.getsignal(kind)
    with leaving() as interrupts:
        with pytest.raises(Left, match="130"), atomic_write(tmp_path / "x"):
            signal.raise_signal(kind)
        assert interrupts.count == 1
        assert left(tmp_path) == []
    assert signal.getsignal(kind) is before


def test_unfinished_files_do_not_stay(tmp_path: Path) -> None:
    """The process ends without the steps that would remove them."""
    paths = [tmp_path / name for name in ("file", "folder", "not made yet")]
    for path in paths:
        add_unfinished(path)
    paths[0].touch()
    paths[1].mkdir()
    (paths[1] / "1.png").touch()
    (tmp_path / "other").touch()
    try:
        remove_unfinished()
        assert left(tmp_path) == ["other"]
        forget_unfinished(paths[0])
        paths[0].touch()
        remove_unfinished()
        assert left(tmp_path) == ["file", "other"]
    finally:
        for path in paths:
            forget_unfinished(path)


def test_a_complete_result_is_not_interrupted(tmp_path: Path) -> None:
    with slowly() as interrupts:
        interrupts.result = tmp_path / "x"
        with atomic_write(tmp_path / "x") as file:
            file.write(b"all of it")
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        interrupts.result = tmp_path / "y"
        with pytest.raises(Left):
            signal.raise_signal(signal.SIGINT)
    assert (tmp_path / "x").read_bytes() == b"all of it"


def test_a_result_that_gets_no_name_is_not_complete(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="x"), atomic_write(tmp_path / "x", beside=True):
        pass
    assert not is_complete(tmp_path / "x")
    assert left(tmp_path) == ["x", "x-2"]  # the result


def test_at_the_end_of_the_process_signals_change_nothing() -> None:
    """Python's own handlers would end it by the signal."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Interrupts(to_the_end=True):
            pass
        assert {signal.getsignal(kind) for kind in before} == {signal.SIG_IGN}
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def test_two_signals_at_once_are_one_request() -> None:
    """`timeout` and service managers signal the process, and then its group."""
    with Interrupts() as interrupts:
        interrupts.pipeline = pipeline = FakePipeline()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert pipeline.calls == ["stop"]


def slowly() -> Interrupts:
    """Interrupts for which a second passes between two signals."""
    return leaving(clock=partial(next, itertools.count(1.0)))


def test_the_first_stops_a_pipeline_and_the_second_cancels_it() -> None:
    with slowly() as interrupts:
        interrupts.pipeline = pipeline = FakePipeline()
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(kind)
    assert pipeline.calls == ["stop", "cancel", "cancel"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGUSR1")
def test_a_signal_asks_for_privacy_mode() -> None:
    with Interrupts() as interrupts:
        assert not interrupts.take_toggle()
        signal.raise_signal(signal.SIGUSR1)
        assert interrupts.take_toggle()
        assert not interrupts.take_toggle()
        for _ in range(2):  # on and off again
            signal.raise_signal(signal.SIGUSR1)
        assert not interrupts.take_toggle()
    assert interrupts.count == 0


def test_signals_are_left_alone_on_another_thread() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[Any] = []

    def work() -> None:
        with Interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(TIMEOUT_S)
    assert seen == [before]


def test_a_call_returns_or_raises() -> None:
    assert call_interruptibly(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        call_interruptibly(divmod, 7, 0)


def test_a_call_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    gate = Gate()

    def interrupt() -> None:
        gate.reached()
        signal.raise_signal(signal.SIGINT)  # as always: Python runs the handler on the main thread

    thread = threading.Thread(target=interrupt)
    with leaving():
        thread.start()
        with pytest.raises(Left):
            call_interruptibly(gate)
    leave(130)
    assert codes == [130]  # the thread is still at its gate
    gate.open()
    for stuck in threading.enumerate():
        if stuck is not threading.current_thread():
            stuck.join(TIMEOUT_S)
    assert leave(3) == 3
    assert codes == [130]


# ---- the program -------------------------------------------------------------------------

only_here = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send Ctrl-C there")
pytestmark = [only_here, pytest.mark.timeout(90), pytest.mark.alone]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "o").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(gallery: Gallery) -> Iterator[Callable[..., Run]]:
    """A function that starts the program with a small gallery and small pictures."""
    started: list[Run] = []

    def start(*words: Any, **options: Any) -> Run:
        more = [] if "--gallery" in words else ["--gallery", gallery.path]
        more += [] if {"--gallery", "--size"} & {*map(str, words)} else SMALL
        started.append(Run("run", *words, *more, "--progress", "always", **options))
        return started[-1]

    yield start
    for run in started:
        run.process.kill()
        run.process.communicate()


RUNS = rb"\d+ frames \[|[1-9]\d* ?frames? \[|[1-9]\d*(/\d+)? \[.*cells active"
PATTERN = "pattern:64x48@25"


@pytest.fixture
def hangups() -> Iterator[None]:
    """They are not ignored, as they are where the tests themselves run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangups")
def test_a_hangup_never_cancels() -> None:
    """It comes from the system and from the shell."""
    with slowly() as interrupts:
        interrupts.pipeline = pipeline = FakePipeline()
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert pipeline.calls == ["stop"]


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM"])
def test_an_ignored_signal_stays_so(name: str) -> None:
    """`nohup` ignores SIGHUP, and a script SIGINT for what it starts with `&`."""
    kind = getattr(signal, name)
    before = signal.signal(kind, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(kind)
        assert interrupts.count == 0
        assert signal.getsignal(kind) is signal.SIG_IGN
    finally:
        signal.signal(kind, before)


# The signals come at the first import behind the beginning of main.
STARTING = """
import signal, sys
from livemosaic.__main__ import main
for kind in sys.argv.pop(1).split():
    signal.signal(getattr(signal, kind), signal.SIG_IGN)
class Sends:
    def find_spec(self, *_):
        sys.meta_path.remove(self)
        for kind in (signal.SIGUSR1, signal.SIGINT):
            signal.raise_signal(kind)
sys.meta_path.insert(0, Sends())
sys.exit(main())
"""


@pytest.mark.parametrize(("ignored", "code"), [("SIGINT", 0), ("", 130)])
def test_signals_while_the_program_starts(ignored: str, code: int) -> None:
    """A hotkey for privacy mode does not end it."""
    command = [sys.executable, "-c", STARTING, ignored, "--version"]
    assert subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL).returncode == code


@pytest.mark.slow
@needs_jit
@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(
    ("kind", "name"),
    [(signal.SIGINT, "x.mp4"), (signal.SIGTERM, "x.mkv"), (signal.SIGHUP, "x_%04d.png")],
)
def test_the_first_finishes_the_file(
    kind: signal.Signals, name: str, folder: Path, run: Callable[..., Run]
) -> None:
    running = run(PATTERN, f"o/{name}", "--realtime")
    running.wait_for(RUNS)
    sent = running.interrupt(kind)
    outcome = running.end()
    assert time.monotonic() - sent < 5
    assert outcome.code == 130, outcome.err
    match = re.search(r"interrupted: o/\S+: (\d+) frames?, (\d+\.\d) s, of 128x96", outcome.err)
    assert match is not None, outcome.err
    assert "finishing the current output" in outcome.err
    count = int(match[1])
    assert abs(float(match[2]) - count / 25) <= 0.05
    if "%" in name:
        assert left(folder / "o") == [f"x_{n:04}.png" for n in range(1, count + 1)]
    else:
        assert left(folder / "o") == [name]
        assert len(pictures(folder / "o" / name)) == count


@pytest.mark.slow
@needs_jit
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_the_second_leaves_nothing(
    kind: signal.Signals, folder: Path, run: Callable[..., Run]
) -> None:
    """Standard output is not read, so that its sink is stuck and the first one cannot finish.

    Of a file each output waits for the slowest.
    """
    clip(folder / "a.mkv", 500, size=(640, 480))
    running = run("a.mkv", "-", "o/x.mkv", "o/y_%03d.png", "--format", "y4m")
    running.wait_for(RUNS)
    running.interrupt()
    running.wait_for(b"press Ctrl-C again")
    sent = running.interrupt(kind)
    code = running.process.wait(30)
    assert time.monotonic() - sent < 1.5  # the limit is 1; the machine may be busy with tests
    assert code == 130
    assert "stopped immediately; completed: nothing" in running.end().err
    assert left(folder / "o") == []


@pytest.mark.slow
@needs_jit
def test_the_second_does_not_wait_for_the_encoder(folder: Path, run: Callable[..., Run]) -> None:
    """x265 has half a minute to do for the pictures that it looks ahead at."""
    need_encoder("libx265")
    words = ["--codec", "libx265", "--preset", "veryslow", "--size", "2560x1920"]
    running = run("pattern:640x480@25", "o/x.mkv", *words)
    running.wait_for(RUNS)
    running.interrupt()
    running.wait_for(b"press Ctrl-C again")
    sent = running.interrupt()
    code = running.process.wait(30)
    assert time.monotonic() - sent < 1.5
    assert code == 130
    assert left(folder / "o") == []


@pytest.mark.slow
@needs_jit
def test_a_standard_input_that_stalls(folder: Path, run: Callable[..., Run]) -> None:
    """The frames so far are finished, without the thread that reads."""
    data = clip(folder / "a.mkv", 100, options={"g": "10"}).read_bytes()
    running = run("-", "o/x.mkv", stdin=subprocess.PIPE)
    assert running.process.stdin is not None
    running.process.stdin.write(data[: len(data) * 9 // 10])
    running.process.stdin.flush()
    running.wait_for(RUNS)
    sent = running.interrupt()
    code = running.process.wait(30)
    assert time.monotonic() - sent < 2
    assert code == 130
    count = len(video_times(folder / "o/x.mkv"))
    assert f"interrupted: o/x.mkv: {count} frames" in running.end().err
    assert left(folder / "o") == ["x.mkv"]


@pytest.mark.slow
def test_a_standard_input_that_never_begins(folder: Path, run: Callable[..., Run]) -> None:
    import array
    import fcntl
    import termios

    running = run("-", "o/x.mkv", stdin=subprocess.PIPE)
    pipe = running.process.stdin
    assert pipe is not None
    pipe.write(b"\x1a\x45\xdf\xa3")  # Matroska begins so
    pipe.flush()
    waiting = array.array("i", [1])
    deadline = time.monotonic() + 30
    while waiting[0]:  # until it has been read, and more is waited for
        assert time.monotonic() < deadline
        fcntl.ioctl(pipe.fileno(), termios.FIONREAD, waiting)
        select.select([], [], [], 0.01)
    sent = running.interrupt()
    code = running.process.wait(30)
    assert time.monotonic() - sent < 1.5
    assert code == 130
    assert running.end().lines == ["livemosaic: interrupted: nothing was written"]
    assert left(folder / "o") == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_jit
def test_signals_at_random_moments() -> None:
    """The command in bench/signals.py makes 300 tries."""
    assert signals.failures(12, seed=1, jobs=2) == []


@pytest.mark.slow
def test_while_a_gallery_is_built(folder: Path, run: Callable[..., Run]) -> None:
    (folder / "mine").mkdir()
    (folder / "cache").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    for n in range(200):
        cv2.imwrite(f"mine/{n}.jpg", np.roll(noise, n, 1) // (n % 5 + 1))
    clip(folder / "a.mp4")
    cache = {"LIVEMOSAIC_CACHE": str(folder / "cache")}
    running = run("a.mp4", "o/x.mp4", "--gallery", "mine", env=cache)
    running.wait_for(b"building a gallery")
    sent = running.interrupt(signal.SIGTERM)
    outcome = running.end()
    assert time.monotonic() - sent < 5
    assert outcome.code == 130, outcome.err
    assert outcome.lines[-1] == "livemosaic: interrupted: nothing was written"
    assert left(folder / "o") == left(folder / "cache") == []
