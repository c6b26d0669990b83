"""Snapshots and recordings: each gets a name of its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from livemosaic.commands.keepsakes import Keepsakes
from livemosaic.frame import Frame, StreamInfo
from livemosaic.sinks import FileOptions
from tests.clips import picture


def test_several_in_one_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while none of them is there yet: a recording appears when it ends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "livemosaic-now")
    frame = Frame.from_bgr(picture(64, 48))
    keepsakes = Keepsakes(StreamInfo(64, 48, colour=frame.colour), FileOptions())
    recordings = [keepsakes.open_recording() for _ in range(3)]
    assert [keepsakes.save_picture(frame) for _ in range(2)] == [
        "livemosaic-now.png",
        "livemosaic-now-2.png",
    ]
    for recording in recordings:
        recording.write(frame)
        recording.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "livemosaic-now-2.mkv",
        "livemosaic-now-2.png",
        "livemosaic-now-3.mkv",
        "livemosaic-now.mkv",
        "livemosaic-now.png",
    ]
