"""Snapshots and recordings: each gets a name of its own."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from livemosaic.control.capture_files import CaptureFiles
from livemosaic.media.ffmpeg import av, open_container
from livemosaic.media.frame import Chapter, Frame, StreamInfo
from livemosaic.sinks import FileOptions
from livemosaic.sources import open_source
from tests import clips
from tests.clips import picture


def test_several_in_one_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while none of them is there yet: a recording appears when it ends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "livemosaic-now")
    frame = Frame.from_bgr(picture(64, 48))
    capture_files = CaptureFiles(StreamInfo(64, 48, colour=frame.colour), FileOptions())
    recordings = [capture_files.open_recording() for _ in range(3)]
    assert [capture_files.save_picture(frame) for _ in range(2)] == [
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


@pytest.mark.parametrize("codec", [None, "mpeg4"])
def test_a_recording_begins_at_its_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_source(str(clips.make(tmp_path / "in.mkv", clips.frames(50), sound=["aac"])))
    chapters = (Chapter(0, 3600, Fraction(1), {"title": "one"}),)
    capture_files = CaptureFiles(replace(source.info, chapters=chapters), FileOptions(codec=codec))
    recording = capture_files.open_recording()
    frames = 0
    # As if ten minutes had passed; of the pictures only from 1 s on.
    for item in clips.items(source):
        if isinstance(item, Frame):
            if item.time_s >= 1:
                frames += 1
                recording.write(replace(item, pts=item.pts + round(600 / item.time_base)))
            continue
        item.packet.pts += round(600 / item.packet.time_base)
        item.packet.dts += round(600 / item.packet.time_base)
        recording.write(item)
    recording.close()
    source.close()
    assert frames == 25
    seen = clips.packet_times(Path(recording.name), "video")
    assert seen == pytest.approx([n / 25 for n in range(25)], abs=0.0006)
    heard = clips.packet_times(Path(recording.name), "audio")
    assert 0 <= heard[0] < 0.03
    assert heard[-1] == pytest.approx(1, abs=0.06)
    with open_container(recording.name) as container:
        assert container.duration / av.time_base == pytest.approx(1, abs=0.06)
        assert container.chapters() == []


def test_a_snapshot_of_pixels_that_are_not_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    info = StreamInfo(64, 48, sample_aspect_ratio=Fraction(3, 2))
    CaptureFiles(info, FileOptions()).save_picture(Frame.from_bgr(picture(64, 48)))
    assert "the pixels are not square, which pictures cannot store: show them at 96x48" in (
        caplog.text
    )
