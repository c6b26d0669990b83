"""The program with network streams, as a person runs it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests import clips
from tests.program import SMALL, finish, needs_jit, spawn, video_times
from tests.streams import (
    TIMEOUT_S,
    RtspServer,
    free_port,
    half_of,
    http_server,
    need_rtsp_server,
    watchdog,
)

pytestmark = needs_jit


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[RtspServer]:
    need_rtsp_server()
    clip = clips.make(
        tmp_path / "camera.mp4",
        clips.frames(1500, size=(64, 48)),
        options={"g": "25", "tune": "zerolatency", "preset": "ultrafast"},
    )
    server = RtspServer(clip, "--user", "me:secret")
    server.clip = clip  # type: ignore[attr-defined]
    yield server
    server.kill()


def wait_for(process: subprocess.Popen[bytes], text: str) -> str:
    """Wait until the program prints `text`; return all that it has printed."""
    assert process.stderr is not None
    printed = ""
    with watchdog(process):
        for line in process.stderr:
            printed += line.decode()
            if text in printed:
                return printed
    pytest.fail(f"it did not say {text!r} but {printed!r}")


@pytest.mark.slow
def test_camera_to_a_file_through_a_power_cut(camera: RtspServer, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    url = camera.url.replace("//", "//me:secret@")
    pictures = tmp_path / "p_%04d.png"
    process = spawn("run", url, out, pictures, *SMALL, "--duration", "4", "--json", "-v")
    printed = ""
    try:
        wait_for_pictures(process, tmp_path, 10)
        camera.kill()
        printed = wait_for(process, "reconnecting")
        camera.start(camera.clip, "--user", "me:secret")  # type: ignore[attr-defined]
        outcome = finish(process)
    finally:
        process.kill()
    assert outcome.code == 0, printed + outcome.err
    report = json.loads(outcome.out)
    assert report["reconnects"] == 1
    assert report["input"] == camera.url
    assert "secret" not in printed + outcome.err + outcome.out
    assert re.search(r"back after \d", outcome.err)
    times = video_times(out)
    assert times == sorted(set(times))
    assert 2.5 < times[-1] - times[0] < 4.5
    # The gap is in the recording, as long as it was.
    assert max(b - a for a, b in pairwise(times)) > 0.2


@pytest.mark.slow
def test_file_behind_a_connection_that_breaks_is_kept_and_told(tmp_path: Path) -> None:
    clip = clips.make(tmp_path / "c.mkv", clips.frames(100, size=(64, 48)))
    out = tmp_path / "out.mkv"
    with http_server(half_of(clip)) as url:
        outcome = finish(spawn("run", f"{url}/c.mkv", out, *SMALL, "--quiet"))
    assert outcome.code == 1
    (printed,) = outcome.lines
    assert re.search(f"error: {url}/c.mkv: reading failed before its end: .*connection", printed)
    assert 30 < len(video_times(out)) < 70


def wait_for_pictures(process: subprocess.Popen[bytes], folder: Path, count: int) -> None:
    """Wait until so many have been written."""
    with watchdog(process):
        while process.poll() is None:
            if len(list(folder.glob(".p_*/*.png"))) >= count:
                return
            time.sleep(0.02)  # another program's files: there is nothing to wait on
    pytest.fail("no pictures came")


@pytest.mark.slow
def test_ctrl_c_while_the_camera_is_away(camera: RtspServer, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    pictures = tmp_path / "p_%04d.png"
    process = spawn("run", camera.url.replace("//", "//me:secret@"), out, pictures, *SMALL)
    try:
        wait_for_pictures(process, tmp_path, 10)
        camera.kill()
        wait_for(process, "reconnecting")
        process.send_signal(signal.SIGINT)
        outcome = finish(process, timeout=5)
    finally:
        process.kill()
    assert outcome.code == 130
    assert len(video_times(out)) > 5


@pytest.mark.slow
def test_ctrl_c_while_waiting_for_the_first_time() -> None:
    url = f"rtsp://127.0.0.1:{free_port()}/cam"
    process = spawn("run", url, "null", "--reconnect", "always")
    try:
        wait_for(process, "trying again")
        process.send_signal(signal.SIGINT)
        outcome = finish(process, timeout=5)
    finally:
        process.kill()
    assert outcome.code == 130
    assert outcome.lines[-1] == "livemosaic: interrupted: nothing was written"


@pytest.mark.slow
def test_ctrl_c_while_a_server_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(TIMEOUT_S)
        process = spawn("run", f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam", "null")
        try:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            outcome = finish(process, timeout=5)
            connection.close()
        finally:
            process.kill()
    assert outcome.code == 130


@pytest.mark.slow
@pytest.mark.parametrize("who", ["", "me:wrong@"])
def test_errors_are_one_line_without_secrets(camera: RtspServer, who: str) -> None:
    url = camera.url.replace("//", f"//{who}")
    outcome = finish(spawn("run", url, "null", "-v", "--reconnect", "always"))
    assert outcome.code == 1
    (line,) = outcome.lines
    assert line.startswith(f"livemosaic: error: {camera.url}: ")
    assert "authentication failed" in line
    assert "wrong" not in line
