"""The exact messages, which stand in messages.txt; other tests name only kinds, files and options.

A changed message changes one line of that file.
"""

from __future__ import annotations

import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import Frame, Gallery, Mosaic, MosaicSettings, open_gallery, render
from livemosaic.errors import LivemosaicError
from livemosaic.media import v4l2
from livemosaic.media.frame import StreamInfo
from livemosaic.sinks import FileOptions, open_sink, parse_output
from livemosaic.sources import open_source

from .clips import picture
from .program import Program, clip, left

MESSAGES = Path(__file__).with_name("messages.txt").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ livemosaic ?(.*)\n(\d) (.+)$", MESSAGES, re.MULTILINE)
CALLS = re.findall(r"^>>> (.+)\n(\w+): (.+)$", MESSAGES, re.MULTILINE)

NAMES: dict[str, Any] = {
    "FileOptions": FileOptions,
    "Fraction": Fraction,
    "Frame": Frame,
    "Gallery": Gallery,
    "INFO": StreamInfo(64, 48, rate=Fraction(25), time_base=Fraction(1, 25)),
    "Mosaic": Mosaic,
    "MosaicSettings": MosaicSettings,
    "np": np,
    "open_gallery": open_gallery,
    "open_sink": open_sink,
    "open_source": open_source,
    "parse_output": parse_output,
    "render": render,
}

SETTINGS = {
    "value": "[run]\noverlay = 2\n",
    "syntax": "[run\n",
    "unknown": "[run]\noverlay-luma = true\ncolums = 3\n",
    "strange": "[run]\nzzz = 3\n",
    "not-a-table": "run = 3\n",
    "top-level": "tile = 3\n",
    "type": "[run]\ntile = true\n",
    "switch": "[run]\nrealtime = 'yes'\n",
    "long": "[run]\ncolumns = " + "1" * 5000 + "\n",
    "deep": "[run]\ntile = " + "[" * 20_000 + "\n",
}


@pytest.fixture
def folder(tmp_path: Path, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with good and bad files and an empty folder `o` for outputs.

    The machine has neither cameras nor a display.
    """
    for name in ("o", "-folder"):
        (tmp_path / name).mkdir()
    clip(tmp_path / "a.mp4")
    video = (tmp_path / "a.mp4").read_bytes()
    assert gallery.path is not None
    tiles = gallery.path.read_bytes()
    files = {
        "have.mp4": b"mine",
        "empty.mp4": b"",
        "text.mp4": b"hello\n" * 100,
        "text.txt": b"hello\n" * 100,
        "cut.mp4": video[: len(video) // 2],  # its index is at the end
        "noise.mp4": np.random.default_rng(0).bytes(5000),
        "small.gallery": tiles,
        "altered.gallery": tiles[:-1] + bytes([tiles[-1] ^ 1]),
        "short.gallery": tiles[:-100],
        "zero.gallery": b"",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for name, text in SETTINGS.items():
        (tmp_path / f"{name}.toml").write_text(text)
    cv2.imwrite(str(tmp_path / "p.png"), picture(64, 48))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(v4l2, "video_devices", list)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def matches(message: str, expected: str) -> bool:
    """Whether a message is the expected one, in which `...` stands for any text."""
    return re.fullmatch(".+".join(map(re.escape, expected.split("..."))), message) is not None


def test_every_message_is_read() -> None:
    lines = [line for line in MESSAGES.splitlines() if line and not line.startswith("#")]
    assert len(lines) == 2 * (len(COMMANDS) + len(CALLS)) > 300


@pytest.mark.parametrize(("command", "code", "expected"), COMMANDS, ids=[c[0] for c in COMMANDS])
def test_commands(command: str, code: str, expected: str, folder: Path, program: Program) -> None:
    if sys.platform != "linux" and re.search(r"webcam|vcam|/dev/|window|screen |latency", command):
        pytest.skip("cameras and displays have other messages on this system")
    before = left(folder)
    outcome = program(*command.split())
    assert outcome.code == int(code)
    assert outcome.out == ""
    # The first test that needs them also gets messages on compiling kernels and unpacking photos.
    lines = [line for line in outcome.lines if ", once" not in line]
    assert len(lines) == 1, outcome.err
    assert matches(lines[0], f"livemosaic: error: {expected}"), lines[0]
    assert (left(folder), left(folder / "o")) == (before, [])


@pytest.mark.parametrize(("call", "error", "expected"), CALLS, ids=[c[0] for c in CALLS])
def test_calls(call: str, error: str, expected: str, folder: Path) -> None:
    with pytest.raises(LivemosaicError) as caught:
        eval(call, NAMES)
    assert type(caught.value).__name__ == error
    assert matches(str(caught.value), expected), str(caught.value)
    assert left(folder / "o") == []
