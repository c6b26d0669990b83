"""Why an input or an output failed, in words for people."""

from __future__ import annotations

import errno
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from livemosaic import SourceError, UsageError, render
from livemosaic.media.ffmpeg import reason, sink_error
from livemosaic.media.image_reader import BadImage, read_picture
from livemosaic.media.urls import protocol_problem
from livemosaic.sources import open_source

from .program import Program, clip

_NO_CONNECTION = OSError(errno.EIO, "Input/output error")


def test_a_file_that_is_too_large_for_the_disk() -> None:
    text = str(sink_error("out.mp4", OSError(errno.EFBIG, "File too large")))
    assert "FAT32" in text
    assert "ulimit" in text


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOSPC", "EDQUOT", "EROFS", "ENOMEM", "EIO"])
def test_what_the_system_lacks_has_a_fix(name: str) -> None:
    code = getattr(errno, name, errno.EIO)  # Windows has no quota
    assert "; " in reason(OSError(code, "the system's words"), "out.mp4")


@pytest.mark.parametrize("address", ["http://a..b/x", "rtmp://host-that-is-not/x"])
def test_a_host_that_is_not_known(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: None) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    host = address.split("/")[2]
    assert reason(_NO_CONNECTION, address).startswith(f"no host {host} is known here; ")


def test_a_look_up_takes_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: ends.wait(60))
    assert "redirects in a circle" in reason(_NO_CONNECTION, "http://host/x")
    assert not ends.is_set()
    ends.set()


@pytest.mark.parametrize("address", ["rtsp://***", "http://127.0.0.1:9/x", "http://[::1]/x"])
def test_a_host_that_is_known_or_hidden(address: str) -> None:
    assert "the connection broke" in reason(_NO_CONNECTION, address)


def test_a_disk_is_no_connection() -> None:
    assert "check the disk" in reason(_NO_CONNECTION, "out.mp4")


@pytest.mark.parametrize(
    ("url", "expected"),
    [("htps://h/x", "did you mean https?"), ("rstp://h", "rtsp?"), ("zzz://h", "use rtsp, ")],
)
def test_a_protocol_that_is_not_known(url: str, expected: str) -> None:
    assert expected in protocol_problem(url)


def test_a_protocol_that_this_ffmpeg_lacks() -> None:
    with pytest.raises(SourceError) as caught:
        open_source("srt://127.0.0.1:9?timeout=1000")
    if "has no protocol srt://" not in str(caught.value):
        pytest.skip("this FFmpeg has SRT")
    assert "docs/streams.md" in str(caught.value)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_no_inner_words_of_a_library(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut.{kind}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: 60 if kind != "tif" else 4000])
    with pytest.raises(BadImage) as caught:
        read_picture(str(path))
    assert str(caught.value).startswith("damaged or cut off ")
    assert "File Read" not in str(caught.value)


def test_an_input_is_checked_before_the_outputs(tmp_path: Path, program: Program) -> None:
    """Else the second name would seem to be the problem, and -y the solution."""
    have = clip(tmp_path / "have.mp4")
    for missing in ("nothere.png", "have.mp4/x.png", "x_%03d.png"):
        outcome = program("run", tmp_path / missing, have)
        assert outcome.code == 1
        assert str(tmp_path / missing) in outcome.err
    outcome = program("run", tmp_path / "have.mp4/x.png")
    assert "-mosaic" not in outcome.err
    with pytest.raises(SourceError):
        render(tmp_path / "nothere.png", have)


def test_several_outputs_have_one_input(tmp_path: Path) -> None:
    first, second = clip(tmp_path / "a.mp4"), clip(tmp_path / "b.mp4")
    with pytest.raises(UsageError, match=r"b\.mp4: .*exists.*; only the first name, .*a\.mp4"):
        render(first, second, tmp_path / "c.mp4")
    with pytest.raises(UsageError, match=r"to replace it$"):
        render(first, second)


def test_photos_of_a_pattern_are_no_outputs(tmp_path: Path, program: Program) -> None:
    photos: list[Any] = []
    for name in ("1", "2", "3"):
        photos.append(tmp_path / f"{name}.png")
        Image.new("RGB", (64, 64), "red").save(photos[-1])
    outcome = program("run", clip(tmp_path / "a.mp4"), "--gallery", *photos, "-y")
    assert outcome.code == 2
    assert f"--gallery '{tmp_path}/*.png'" in outcome.err
    # With two photos only, there is one output.
    outcome = program("run", photos[2], "--gallery", *photos[:2])
    assert outcome.code == 2
    assert f"--gallery '{tmp_path}/*.png'; or add -y to replace it" in outcome.err
