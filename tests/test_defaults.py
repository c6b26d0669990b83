"""What the program does with as few words as possible: its help, and where a result goes."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from livemosaic.cli.console import ProgressLines, photos_bar, progress_bar, set_up_logging
from livemosaic.errors import UsageError
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import StreamInfo
from livemosaic.session import default_output

from .clips import picture
from .conftest import ROOT
from .program import SMALL, Program, clip, left, needs_jit, pictures

VIDEO, PICTURE = StreamInfo(64, 48), StreamInfo(64, 48, still=True)


@pytest.mark.parametrize("words", [[], ["gallery"]])
def test_without_words_it_prints_help(words: list[str], program: Program) -> None:
    outcome = program(*words)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("usage: livemosaic")


@pytest.mark.parametrize(
    ("input", "info", "output"),
    [
        ("film.mp4", VIDEO, "film-mosaic.mp4"),
        ("a/b.c/film.MKV", VIDEO, "a/b.c/film-mosaic.MKV"),
        ("film.webm", VIDEO, "film-mosaic.webm"),
        ("broadcast.m2ts", VIDEO, "broadcast-mosaic.mp4"),
        ("raw.y4m", VIDEO, "raw-mosaic.mp4"),
        ("film", VIDEO, "film-mosaic.mp4"),
        ("file:///a/my%20film.mov", VIDEO, "/a/my film-mosaic.mov"),
        ("moving.gif", VIDEO, "moving-mosaic.gif"),
        ("still.gif", PICTURE, "still-mosaic.png"),
        ("photo.jpg", PICTURE, "photo-mosaic.jpg"),
        ("photo.JPEG", PICTURE, "photo-mosaic.JPEG"),
        ("photo.png", PICTURE, "photo-mosaic.png"),
        ("IMG_1234.HEIC", PICTURE, "IMG_1234-mosaic.png"),
        ("in_%04d.png", VIDEO, "in_%04d-mosaic.png"),
        ("in_%04d.bmp", VIDEO, "in_%04d-mosaic.png"),
        ("webcam", StreamInfo(64, 48, live=True), "window"),
        ("rtsp://camera/live", StreamInfo(64, 48, live=True), "window"),
    ],
)
def test_where_a_result_goes(input: str, info: StreamInfo, output: str) -> None:
    assert default_output(input, info) == str(Path(output) if output != "window" else output)


@pytest.mark.parametrize("input", ["-", "https://me:secret@example.org/film.mp4"])
def test_an_input_without_a_place_needs_an_output(input: str) -> None:
    with pytest.raises(UsageError, match=r"there is no output; name one") as caught:
        default_output(input, VIDEO)
    assert "secret" not in str(caught.value)


@needs_jit
def test_a_run_without_an_output(
    tmp_path: Path, program: Program, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    clip(tmp_path / "films" / "a.mkv")
    cv2.imwrite(str(tmp_path / "p.jpg"), picture(64, 48))
    small = ("--gallery", gallery.path, *SMALL)
    assert program("run", "films/a.mkv", *small).code == 0
    assert len(pictures(tmp_path / "films" / "a-mosaic.mkv")) == 10
    assert program("run", *small, "p.jpg").code == 0
    assert left(tmp_path) == ["films", "p-mosaic.jpg", "p.jpg"]
    again = program("run", "p.jpg", *small)
    assert again.code == 2
    assert "-y" in again.err


@needs_jit
def test_a_run_without_an_output_keeps_hdr(
    tmp_path: Path, program: Program, gallery: Gallery
) -> None:
    path = tmp_path / "pq.mkv"
    shutil.copy(ROOT / "tests" / "corpus" / "05-hdr" / "pq.mkv", path)
    outcome = program("run", path, "--hdr", "keep", "--gallery", gallery.path, *SMALL)
    assert outcome.code == 0
    assert len(outcome.lines) == 1  # neither "no effect" nor "brought to BT.709"
    with av.open(str(path.with_stem(f"{path.stem}-mosaic"))) as made:
        assert made.streams.video[0].codec_context.pix_fmt == "yuv420p10le"


def test_rate_of_a_bar_counts_the_time_without_frames() -> None:
    settings: dict[str, Any] = {"unit": " frames", "total": 3000}
    with progress_bar(quiet=False, when="always", **settings) as bar:
        for _ in range(2):
            for count in (0, 0, 10):
                time.sleep(0.11)
                bar.update(count)
        assert bar.n == 20
        assert 0 < bar.format_dict["rate"] < 10 / 0.33


def test_photos_that_are_there_at_the_start_took_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def bar(**settings: Any) -> Iterator[None]:
        seen.append(settings)
        yield None

    monkeypatch.setattr("livemosaic.cli.console.progress_bar", bar)
    with photos_bar(quiet=False) as progress:
        progress(700, 1000)
        progress(800, 1000)
    (settings,) = seen
    assert (settings["initial"], settings["total"]) == (700, 1000)


def test_progress_without_a_terminal_is_a_line_each_minute(
    capfd: pytest.CaptureFixture[str], program: Program
) -> None:
    set_up_logging(verbose=False, quiet=False)
    now = [0.0]
    lines = ProgressLines(unit=" frames", total=3000, clock=lambda: now[0])
    for second in range(1, 125):
        now[0] = float(second)
        lines.update(10)
    assert capfd.readouterr().err.splitlines() == [
        "livemosaic: 600 of 3,000 frames (20%), 10.0 per second, about 4 min left",
        "livemosaic: 1,200 of 3,000 frames (40%), 10.0 per second, about 3 min left",
    ]
    now[0] += 60
    lines.update(1540)
    assert capfd.readouterr().err.endswith(" per second, about 15 s left\n")
    resumed = ProgressLines(unit=" frames", total=3000, initial=1200, clock=lambda: now[0])
    now[0] += 60
    resumed.update(600)
    line = "livemosaic: 1,800 of 3,000 frames (60%), 10.0 per second, about 2 min left\n"
    assert capfd.readouterr().err == line
    resumed.total = 2400  # it was a guess
    now[0] += 60
    resumed.update(0)
    assert "1,800 of 2,400 frames (75%)" in capfd.readouterr().err
    endless = ProgressLines(unit=" frames", clock=lambda: now[0])
    now[0] += 60
    endless.update(90)
    still = ProgressLines(clock=lambda: now[0])
    now[0] += 60
    still.set_postfix_str("matching 40%")
    still.update(0)
    assert capfd.readouterr().err.splitlines() == [
        "livemosaic: 90 frames, 1.5 per second",
        "livemosaic: matching 40%",
    ]
