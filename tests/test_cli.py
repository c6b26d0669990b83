"""The command line with real parts: help, words, figures, and what goes in and out."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic.cli.console import print_code
from livemosaic.control.options import OPTIONS, user_settings_file
from livemosaic.control.state import Control
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.frame import StreamInfo
from livemosaic.media.qr_code import qr_lines
from livemosaic.sinks.base import Window

from .clips import frames, make, packet_times, picture, streams
from .fakes import FakeSink
from .program import (
    ENVIRONMENT,
    SMALL,
    Program,
    clip,
    finish,
    left,
    needs_jit,
    pictures,
    spawn,
    video_times,
)
from .streams import free_port

# ---- help --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["demo", "--help"], ["gallery", "build", "--help"]]
)
def test_help_is_quick(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "livemosaic", *words],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "usage: livemosaic" in done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"numpy", "cv2", "numba", "av", "sklearn", "scipy", "tqdm"}


def test_one_word_for_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    from livemosaic.cli import app as cli

    for words in (["run"], ["gallery", "build"], ["gallery", "add"]):
        with pytest.raises(SystemExit):
            cli.main([*words, "--help"])
        assert set(re.findall(r"--cluster ([A-Z]+)", capsys.readouterr().out)) == {"CLUSTER"}


def test_every_option_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    from livemosaic.cli import app as cli

    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in OPTIONS:
        assert re.search(rf"^  (-\w, )?{option.flag}\b", text, re.M), option.name
        for choice in option.choices:
            assert choice in text
    assert "-v, --verbose" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import livemosaic
    from livemosaic.cli import app as cli

    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"livemosaic {livemosaic.__version__}\n"


# ---- running -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a.mp4: 10 frames of 64x48 and sound."""
    clip(tmp_path / "a.mp4", sound=["aac"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small(gallery: Gallery) -> list[str]:
    """Options for small pictures from a small gallery."""
    return [*SMALL, "--gallery", str(gallery.path)]


def size(path: Path | str) -> tuple[int, int]:
    first = pictures(Path(path))[0]
    return first.shape[1], first.shape[0]


def names(value: Any) -> Any:
    """The names in an object, nested as they are."""
    return {k: names(v) for k, v in value.items()} if isinstance(value, dict) else None


P2 = {"p50": None, "p95": None}
CONTRACT = {
    **dict.fromkeys(["input", "outputs", "frames_in", "frames_out", "dropped", "repeated"]),
    **dict.fromkeys(["duration_s", "fps", "gallery", "first_frame_s", "peak_rss_mb", "reconnects"]),
    "latency_ms": {"p50": None, "p95": None, "p99": None, "max": None},
    "stages_ms": dict.fromkeys(
        ["decode", "area", "activity", "features", "match", "compose", "encode"], P2
    ),
    "grid": dict.fromkeys(["rows", "columns", "tile_px", "width", "height"]),
    "cells": dict.fromkeys(["total", "active_mean", "touched_mean", "changed_mean", "split_mean"]),
    # Beyond the contract's first names.
    "area": {"mosaic_mean": None},
    "drops": dict.fromkeys(["source", "mosaic", "governor"]),
    "sinks": None,
    "posters": None,
    "spotlight": None,
    "governor": None,
    "on_demand": None,
}


@needs_jit
def test_json_keeps_its_contract(folder: Path, program: Program, small: list[str]) -> None:
    outcome = program("run", "a.mp4", "o.mkv", "null", "--json", *small)
    assert outcome.code == 0
    assert outcome.out.count("\n") == 1
    report = json.loads(outcome.out)
    assert names(report) == CONTRACT
    assert (report["input"], report["outputs"]) == ("a.mp4", ["o.mkv", "null"])
    assert (report["frames_in"], report["frames_out"]) == (10, 10)
    assert report["grid"] == {"rows": 6, "columns": 8, "tile_px": 16, "width": 128, "height": 96}
    assert report["cells"]["total"] == 48
    for share in ("active_mean", "touched_mean", "changed_mean", "split_mean"):
        assert 0 <= report["cells"][share] <= 1
    for times in (report["latency_ms"], *report["stages_ms"].values()):
        assert all(value >= 0 for value in times.values())
        assert times["p50"] <= times["p95"]
    assert report["latency_ms"]["max"] > 0
    assert 0 < report["first_frame_s"] <= report["duration_s"]
    assert report["fps"] > 0
    assert report["peak_rss_mb"] > 10


@needs_jit
def test_what_it_says_at_the_end(folder: Path, program: Program, small: list[str]) -> None:
    outcome = program("run", "a.mp4", "o.mp4", *small)
    assert (outcome.code, outcome.out, len(outcome.lines)) == (0, "", 1)
    assert outcome.err.startswith(
        "livemosaic: o.mp4: 10 frames, 0.4 s, of 128x96 pixels and 8x6 cells, made in "
    )


@needs_jit
def test_quiet_says_nothing_but_errors(folder: Path, program: Program, small: list[str]) -> None:
    words = ["run", "a.mp4", "o.mp4", "--quiet", "--progress", "always", *small]
    assert program(*words) == (0, "", "")
    assert program(*words).lines[0].startswith("livemosaic: error: ")


@pytest.mark.slow
@needs_jit
def test_progress_without_a_terminal(folder: Path, program: Program, small: list[str]) -> None:
    program("run", "a.mp4", "null", *small)  # the first run ever tells that it compiles
    assert len(program("run", "a.mp4", "null", *small).lines) == 1
    outcome = program("run", "a.mp4", "null", "--progress", "always", "--realtime", *small)
    bars = [line for line in outcome.err.split("\r") if "cells active" in line]
    # A busy machine may drop some of the frames: they come as if live.
    assert re.search(
        r"\d+%\|.*\| \d+/10 \[00:\d\d<00:\d\d, .*frames/s, \d+% of cells active\]", bars[-1]
    )
    assert program("run", "a.mp4", "null", "--progress", "never", *small).err.count("\n") == 1


def screen(data: bytes) -> list[str]:
    """The lines that a terminal shows after `data`."""
    lines: list[list[str]] = [[]]
    column = 0
    for char in data.decode():
        if char == "\r":
            column = 0
        elif char == "\n":
            lines.append([])
        else:
            lines[-1][column : column + 1] = [char]
            column += 1
    return ["".join(line).rstrip() for line in lines]


@pytest.mark.slow
@needs_jit
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_is_clean_afterwards(folder: Path, small: list[str]) -> None:
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    process = spawn("run", "a.mp4", "null", "--realtime", *small, stderr=theirs)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 60
    while select.select([ours], [], [], max(0, deadline - time.monotonic()))[0]:
        try:
            data = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not data:
            break
        seen += data
    os.close(ours)
    assert finish(process).code == 0
    assert b"cells active" in seen
    assert screen(seen)[1:] == [""]
    assert re.match(r"livemosaic: null: \d+ frames, 0\.\d s, of 128x96", screen(seen)[0])


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(
    ("columns", "encoding", "shown"),
    [(80, "utf-8", True), (40, "utf-8", False), (80, "ascii", False)],
)
def test_a_qr_code_is_for_a_terminal_with_room(
    columns: int, encoding: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    lines = qr_lines("http://192.0.2.1:8080/upload?token=0123456789abcdefghijkl")
    with os.fdopen(theirs, "w", encoding=encoding) as terminal, os.fdopen(ours, "rb") as seen:
        monkeypatch.setattr(sys, "stderr", terminal)
        print_code(lines)
        terminal.write("end\n")
        terminal.flush()
        text = b""
        while b"end" not in text:
            text += os.read(seen.fileno(), 65536)
    assert all(line.encode() in text for line in lines) == shown
    assert shown or text == b"end\r\n"


def test_a_qr_code_is_for_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    print_code(qr_lines("http://192.0.2.1/"))
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@needs_jit
def test_a_closed_pipe_gets_no_progress(folder: Path, small: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = spawn("run", "a.mp4", "o.mp4", "--progress", "always", *small, stderr=theirs)
    os.close(theirs)
    assert finish(process).code == 0
    assert len(pictures(folder / "o.mp4")) == 10


@needs_jit
def test_the_first_run_says_why_it_takes_longer(
    folder: Path, program: Program, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livemosaic.jit.kernels_are_cached", lambda: False)
    assert "compiling for this processor" in program("run", "a.mp4", "null", *small).lines[0]


# ---- in and out --------------------------------------------------------------------------


@needs_jit
def test_several_outputs_at_once(folder: Path, program: Program, small: list[str]) -> None:
    (folder / "o").mkdir()
    words = ["run", "a.mp4", "o/x.mp4", "o/x.mkv", *small, "o/x_%02d.png", "null", "null", "--json"]
    outcome = program(*words, "--crf", "18")
    assert outcome.code == 0
    assert len(json.loads(outcome.out)["outputs"]) == 5
    assert left(folder / "o") == ["x.mkv", "x.mp4", *(f"x_{n:02}.png" for n in range(1, 11))]
    assert len(pictures(folder / "o/x.mp4")) == len(pictures(folder / "o/x.mkv")) == 10
    assert size("o/x.mp4") == size("o/x.mkv") == size("o/x_01.png") == (128, 96)
    assert [kind for kind, *_ in streams(folder / "o/x.mkv")] == ["video", "audio"]


@needs_jit
def test_a_video_of_a_picture(folder: Path, program: Program, small: list[str]) -> None:
    cv2.imwrite("p.png", picture(64, 48))
    outcome = program("run", "p.png", "o.png", "o.mp4", *small)
    assert outcome.code == 0
    notice, end = outcome.lines[-2:]
    assert notice == "livemosaic: o.mp4: a video of one frame, because p.png is a picture"
    assert "o.png, o.mp4: one frame of 128x96 pixels and 8x6 cells, made in " in end
    assert "frames/s" not in end


@needs_jit
@pytest.mark.parametrize("name", ["o.png", "o.jpg"])
def test_a_picture(name: str, folder: Path, program: Program, small: list[str]) -> None:
    cv2.imwrite("p.png", picture(64, 48))
    outcome = program("run", "p.png", name, "--fps", "10", *small)
    assert outcome.code == 0
    assert size(name) == (128, 96)
    assert f"{name}: a picture of 128x96 pixels and 8x6 cells, made in " in outcome.err
    assert "frame" not in outcome.err  # it has neither a count nor a rate
    bars = program("run", "p.png", name, "-y", "--progress", "always", *small).err.split("\r")
    doing = re.compile(r"\d\d:\d\d, (matching|painting|writing).*")
    assert any(doing.fullmatch(bar.strip()) for bar in bars)
    assert not any("frame" in bar or "%|" in bar for bar in bars)


@pytest.mark.slow
@needs_jit
def test_a_stream_is_of_a_size_to_be_shown(folder: Path, program: Program) -> None:
    url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    outcome = program("run", "a.mp4", url, "o.mkv", "--duration", "0.1", "--json")
    grid = json.loads(outcome.out)["grid"]
    assert (grid["width"], grid["height"], grid["tile_px"]) == (960, 720, 24)
    assert program("run", "a.mp4", (folder / "f.mkv").as_uri(), "--duration", "0.1").code == 0
    assert size("f.mkv")[0] == 2560


@needs_jit
def test_a_size_of_another_shape_is_told(folder: Path, program: Program, small: list[str]) -> None:
    words = ["--tile", "16", *small[small.index("--gallery") :], "--duration", "0.1"]
    outcome = program("run", "a.mp4", "wide.mp4", "--size", "128x64", *words)
    assert outcome.code == 0
    assert "the size 128x64 stretches the picture" in outcome.err
    assert "; 86x64 keeps its shape" in outcome.err
    for kept in ("86x64", "128x96", "126x96"):
        assert len(program("run", "a.mp4", "null", "--size", kept, *words).lines) == 1


@needs_jit
def test_a_folder_with_the_name_of_a_built_in_gallery(tmp_path: Path) -> None:
    (tmp_path / "emoji").mkdir()
    words = ("run", "pattern:64x64", "null", "--duration", "0.1", "--gallery", "emoji")
    outcome = finish(spawn(*words, cwd=tmp_path))
    assert outcome.code == 0
    assert "write ./emoji" in outcome.err


@pytest.mark.slow
@needs_jit
def test_a_gif_is_of_a_size_to_be_shown(folder: Path, program: Program) -> None:
    assert program("run", "a.mp4", "o.gif", "--duration", "0.1").code == 0
    assert size("o.gif") == (960, 720)
    assert program("run", "a.mp4", "p.gif", "--duration", "0.1", "--size", "64x48").code == 0
    assert size("p.gif") == (64, 48)


@needs_jit
def test_a_numbered_sequence(folder: Path, program: Program, small: list[str]) -> None:
    for n in range(3, 9):
        cv2.imwrite(f"in_{n:03}.png", picture(64, 48, number=n))
    assert program("run", "in_%03d.png", "out_%d.jpg", *small).code == 0
    assert left(folder) == sorted(
        ["a.mp4", *(f"in_{n:03}.png" for n in range(3, 9)), *(f"out_{n}.jpg" for n in range(1, 7))]
    )
    assert size("out_6.jpg") == (128, 96)


@needs_jit
def test_a_numbered_sequence_has_the_rate_that_is_asked_for(
    folder: Path, program: Program, small: list[str]
) -> None:
    for n in range(6):
        cv2.imwrite(f"in_{n}.png", picture(64, 48, number=n))
    outcome = program("run", "in_%d.png", "o.mp4", "--fps", "30000/1001", "--json", *small)
    report = json.loads(outcome.out)
    assert [report[key] for key in ("frames_in", "dropped", "repeated", "frames_out")] == [
        *(6, 0, 0, 6)
    ]
    assert video_times(folder / "o.mp4") == pytest.approx([n * 1.001 / 30 for n in range(6)])


@pytest.mark.slow
@needs_jit
@pytest.mark.parametrize("format", [None, "matroska", "y4m"])
def test_standard_input_and_output(format: str | None, folder: Path, small: list[str]) -> None:
    clip(folder / "a.mkv", sound=["aac"])
    words = ["run", "-", "-", *small, *(["--format", format] if format else [])]
    with open("a.mkv", "rb") as source, open("o", "wb") as target:
        outcome = finish(spawn(*words, stdin=source, stdout=target))
    assert outcome.code == 0, outcome.err
    assert len(pictures(folder / "o")) == 10
    assert size("o") == (128, 96)
    if format == "y4m":
        assert (folder / "o").read_bytes().startswith(b"YUV4MPEG2 W128 H96 F25:1")
    else:
        assert [kind for kind, *_ in streams(folder / "o")] == ["video", "audio"]


@pytest.mark.slow
@needs_jit
def test_a_pipe_on_both_sides(folder: Path, small: list[str]) -> None:
    """Neither can be sought in."""
    clip(folder / "a.mkv")
    process = spawn("run", "-", "-", *small, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out, _ = process.communicate((folder / "a.mkv").read_bytes(), timeout=60)
    assert process.returncode == 0
    (folder / "o.mkv").write_bytes(out)
    assert len(pictures(folder / "o.mkv")) == 10


@pytest.mark.slow
@needs_jit
def test_sound_of_a_broadcast_through_a_pipe(folder: Path, small: list[str]) -> None:
    """The bytes that show the format come without times, and cannot be read again."""
    path = make(folder / "a.ts", frames(50), sound=["aac"])
    for source, name in ((path, "file.mp4"), ("-", "pipe.mp4")):
        with path.open("rb") as file, subprocess.Popen(["cat"], stdin=file, stdout=-1) as cat:
            outcome = finish(spawn("run", source, name, *small, stdin=cat.stdout))
        assert outcome.code == 0
        assert "warning" not in outcome.err
    times = packet_times(folder / "file.mp4", "audio")
    assert len(times) > 40
    assert packet_times(folder / "pipe.mp4", "audio") == pytest.approx(times, abs=0.001)


@pytest.mark.slow
@needs_jit
def test_format_is_of_standard_output_alone(folder: Path, small: list[str]) -> None:
    with open("o", "wb") as target:
        words = ["run", "a.mp4", "-", "o.mp4", "--format", "y4m", *small]
        assert finish(spawn(*words, stdout=target)).code == 0
    assert (folder / "o").read_bytes().startswith(b"YUV4MPEG2")
    assert [kind for kind, *_ in streams(folder / "o.mp4")] == ["video", "audio"]


@needs_jit
def test_a_recording_is_coded_as_is_asked_for(
    folder: Path, program: Program, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the window is not the first of the outputs, and the first takes no codec."""

    class FakeWindow(FakeSink, Window):
        def __init__(self, info: StreamInfo, *, control: Control, display: int | None) -> None:
            super().__init__("window", latest_only=True)
            control.change(recording=True)

        def pump(self) -> None: ...

    monkeypatch.setattr("livemosaic.window.window.WindowSink", FakeWindow)
    words = ["run", "a.mp4", "o_%02d.png", "window", "--codec", "mpeg4", "--realtime", *small]
    assert program(*words).code == 0
    (recording,) = folder.glob("livemosaic-*.mkv")
    assert streams(recording)[0][1] == "mpeg4"


@pytest.mark.slow
@needs_jit
def test_a_pattern(folder: Path, program: Program, small: list[str]) -> None:
    assert program("run", "pattern:64x48@10", "o.mkv", "--duration", "0.5", *small).code == 0
    assert video_times(folder / "o.mkv") == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=0.001)


# ---- times -------------------------------------------------------------------------------


@needs_jit
def test_duration_cuts_picture_and_sound(folder: Path, program: Program, small: list[str]) -> None:
    clip(folder / "long.mkv", 100, sound=["aac"])
    outcome = program("run", "long.mkv", "o.mkv", "--duration", "2", *small)
    assert outcome.code == 0
    assert "50 frames, 2.0 s" in outcome.err
    assert len(pictures(folder / "o.mkv")) == 50
    assert 1.95 <= packet_times(folder / "o.mkv", "audio")[-1] < 2.0


@needs_jit
@pytest.mark.parametrize(
    ("fps", "count"), [("50", 20), ("10", 4), ("30000/1001", 12), ("29.97002997003", 12)]
)
def test_fps(fps: str, count: int, folder: Path, program: Program, small: list[str]) -> None:
    outcome = program("run", "a.mp4", "o.mp4", "--fps", fps, "--json", *small)
    report = json.loads(outcome.out)
    assert report["frames_in"] - report["dropped"] + report["repeated"] == report["frames_out"]
    assert report["frames_out"] == count
    rate = float(eval(fps))
    found = video_times(folder / "o.mp4")
    assert found == pytest.approx([n / rate for n in range(count)], abs=1e-4)
    # The sound is untouched, and begins where it did.
    before, after = (packet_times(folder / name, "audio") for name in ("a.mp4", "o.mp4"))
    assert after == pytest.approx(before, abs=1e-3)


@needs_jit
def test_what_a_fixed_rate_repeats_is_counted(
    folder: Path, program: Program, small: list[str]
) -> None:
    clip(folder / "gap.mp4", 4, pts=[0, 1, 2, 6])
    outcome = program("run", "gap.mp4", "o.avi", "null", "--json", *small)
    report = json.loads(outcome.out)
    assert [report[key] for key in ("frames_in", "dropped", "repeated", "frames_out")] == [
        *(4, 0, 3, 7)
    ]
    assert [(of["frames"], of["repeated"]) for of in report["sinks"]] == [(7, 3), (4, 0)]


@needs_jit
def test_fps_of_a_variable_rate_with_a_late_start(
    folder: Path, program: Program, small: list[str]
) -> None:
    times = [12, 13, 17, 18, 25]  # of 25 per second
    clip(folder / "late.mkv", len(times), pts=times)
    assert program("run", "late.mkv", "o.mkv", "--fps", "25", *small).code == 0
    assert video_times(folder / "o.mkv") == pytest.approx(
        [n / 25 for n in range(12, 26)], abs=0.001
    )


@pytest.mark.slow
@needs_jit
def test_realtime_takes_as_long_as_the_clip(
    folder: Path, program: Program, small: list[str]
) -> None:
    clip(folder / "second.mkv", 25)
    outcome = program("run", "second.mkv", "null", "--realtime", "--json", *small)
    report = json.loads(outcome.out)
    assert report["duration_s"] >= 0.96
    assert report["frames_out"] == 25
    assert report["fps"] <= 27
    assert report["latency_ms"]["p50"] < 40  # no frame has waited for another


# ---- options -----------------------------------------------------------------------------


def grid_of(outcome: Any) -> dict[str, int]:
    grid: dict[str, int] = json.loads(outcome.out)["grid"]
    return grid


@needs_jit
def test_the_reference_profile(folder: Path, program: Program, gallery: Gallery) -> None:
    words = ["run", "a.mp4", "null", "--json", "--gallery", gallery.path, "--duration", "0.1"]
    grid = grid_of(program(*words, "--profile", "reference"))
    assert grid == {"rows": 6, "columns": 8, "tile_px": 32, "width": 256, "height": 192}
    grid = grid_of(program(*words, "--profile", "reference", "--tile", "16"))
    assert (grid["tile_px"], grid["width"]) == (16, 256)


@needs_jit
def test_a_settings_file(folder: Path, program: Program, gallery: Gallery) -> None:
    (folder / "s.toml").write_text(
        f"[run]\ngallery = '{gallery.path}'\nsize = '192x144'\ntile = 24\nduration = 0.1\n"
    )
    words = ["run", "a.mp4", "null", "--json", "--config", "s.toml"]
    assert grid_of(program(*words)) == {
        "rows": 6, "columns": 8, "tile_px": 24, "width": 192, "height": 144,
    }  # fmt: skip
    assert grid_of(program(*words, "--columns", "4"))["columns"] == 4


@pytest.fixture
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own settings file, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", str(tmp_path / "config"))
    file = user_settings_file()
    assert file.is_relative_to(tmp_path)
    file.parent.mkdir(parents=True)
    return file


@needs_jit
def test_the_users_own_settings_file(
    folder: Path, own_settings: Path, program: Program, gallery: Gallery
) -> None:
    own_settings.write_text(
        f"[run]\ngallery = '{gallery.path}'\nsize = '192x144'\ntile = 24\nduration = 0.1\n"
    )
    words = ["run", "a.mp4", "null", "--json"]
    grid = grid_of(program(*words))
    assert (grid["tile_px"], grid["width"], grid["columns"]) == (24, 192, 8)
    (folder / "s.toml").write_text("[run]\ntile = 48\n")
    assert grid_of(program(*words, "--config", "s.toml"))["tile_px"] == 48
    assert grid_of(program(*words, "--config", "s.toml", "--tile", "12"))["tile_px"] == 12
    without = ["--no-config", "--gallery", gallery.path, "--tile", "16", "--scale", "1"]
    assert grid_of(program(*words, *without))["width"] == 64


@needs_jit
def test_verbose_names_the_settings_files(
    folder: Path, own_settings: Path, program: Program, small: list[str]
) -> None:
    own_settings.write_text("")
    (folder / "s.toml").write_text("")
    words = ["run", "a.mp4", "null", "-v", "--duration", "0.1", *small]
    names = [f"settings file: {name}" for name in (own_settings, "s.toml")]
    assert [name in program(*words, "--config", "s.toml").err for name in names] == [True, True]
    outcome = program(*words, "--config", "s.toml", "--no-config")
    assert [name in outcome.err for name in names] == [False, True]


@pytest.mark.parametrize("words", [["run", "a.mp4", "o.mp4"], ["demo", "o.mp4"]])
@pytest.mark.parametrize("line", ["tint = 5", "tile = 33"])
def test_an_error_names_the_settings_file(
    line: str, words: list[str], folder: Path, own_settings: Path, program: Program
) -> None:
    own_settings.write_text(f"[run]\n{line}\n")
    outcome = program(*words)
    assert outcome.code == 2
    assert f"{own_settings}: {line}: must be " in outcome.err


@needs_jit
def test_overlay_1_is_the_input(folder: Path, program: Program, gallery: Gallery) -> None:
    words = ["--scale", "1", "--tile", "16", "--gallery", gallery.path, "--overlay", "1"]
    assert program("run", "a.mp4", "o.mkv", "--codec", "ffv1", *words).code == 0
    for ours, theirs in zip(pictures(folder / "o.mkv"), pictures(folder / "a.mp4"), strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 2


# ---- damage ------------------------------------------------------------------------------


@needs_jit
def test_a_damaged_input_is_shown_as_far_as_it_goes(
    folder: Path, program: Program, small: list[str]
) -> None:
    from .clips import frames

    path = make(folder / "d.mp4", frames(60, size=(64, 48)), options={"g": "10"})
    data = bytearray(path.read_bytes())
    start = len(data) // 4  # well before the index at the end
    data[start : start + 300] = b"\xff" * 300
    path.write_bytes(data)
    outcome = program("run", "d.mp4", "o.mkv", *small)
    assert outcome.code == 0
    assert len(pictures(folder / "o.mkv")) >= 10
    assert re.search(r"warning: d.mp4: damaged frames or packets .*: \d+", outcome.err)
