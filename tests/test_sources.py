"""The contract of every source, and the test picture."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

from livemosaic.errors import SinkError, SourceError, UsageError
from livemosaic.media.colour import Colour
from livemosaic.media.frame import Frame, StreamInfo, TrackPacket
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.pipeline import Pipeline
from livemosaic.sources import open_source
from livemosaic.sources.base import Source
from livemosaic.sources.pattern import PatternSource
from tests import clips, fakes


def _video(folder: Path) -> str:
    return str(clips.make(folder / "c.mp4", sound=["aac"]))


def _still(folder: Path) -> str:
    cv2.imwrite(str(folder / "p.png"), clips.picture())
    return str(folder / "p.png")


def _sequence(folder: Path) -> str:
    for n in range(3):
        cv2.imwrite(str(folder / f"s{n}.jpg"), clips.picture(number=n))
    return str(folder / "s%d.jpg")


def _pattern(_: Path) -> str:
    return "pattern:160x96@30"


@pytest.fixture(params=[_video, _still, _sequence, _pattern])
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make: Callable[[Path], str] = request.param
    return make(tmp_path)


class TestConformance:
    """One class over every source."""

    def test_frames_are_as_the_info_says(self, spec: str) -> None:
        source: Source = open_source(spec)
        info = source.info
        found = [i for i in islice(source, 40) if isinstance(i, Frame)]
        assert found
        half = ((info.height + 1) // 2, (info.width + 1) // 2)
        for frame in found:
            assert frame.y.shape == (info.height, info.width)
            assert frame.u.shape == frame.v.shape == half
            assert {p.dtype for p in (frame.y, frame.u, frame.v)} == {np.dtype(np.uint8)}
            assert {p.strides[1] for p in (frame.y, frame.u, frame.v) if p.shape[1] > 1} == {1}
            assert frame.colour == info.colour
            assert frame.time_base == info.time_base
            assert isinstance(frame.pts, int)
            assert 0 < frame.captured_s <= time.monotonic()
        assert all(a.pts < b.pts for a, b in pairwise(found))
        source.close()

    def test_info_is_plain(self, spec: str) -> None:
        source = open_source(spec)
        info = source.info
        assert source.name == spec
        assert source.bad_frames == 0
        for value in (info.rate, info.time_base, info.sample_aspect_ratio):
            assert type(value) is Fraction  # PyAV 19 has a class of its own
        assert 0 < info.rate <= 1000
        assert info.live == spec.startswith("pattern")
        source.close()

    def test_close_twice_and_midway(self, spec: str) -> None:
        source = open_source(spec)
        first = next(i for i in source if isinstance(i, Frame))
        source.close()
        source.close()
        assert int(first.y.sum()) > 0  # the picture outlives its source

    def test_two_readings_agree(self, spec: str) -> None:
        def all_planes() -> list[bytes]:
            source = open_source(spec)
            found = [i for i in islice(source, 10) if isinstance(i, Frame)]
            source.close()
            return [p.tobytes() for f in found for p in (f.y, f.u, f.v)]

        assert all_planes() == all_planes()

    def test_tracks_are_numbered(self, spec: str) -> None:
        source = open_source(spec)
        for item in islice(source, 60):
            if isinstance(item, TrackPacket):
                assert 0 <= item.track < len(source.info.tracks)
                assert item.packet.size > 0
        source.close()


def test_pattern_depends_on_the_number_only() -> None:
    source = PatternSource("pattern:320x240@30000/1001")
    run = list(islice(source, 50))
    again = PatternSource("pattern:320x240@30000/1001")
    for number in (0, 7, 49):
        one = again.frame(number)
        assert (one.y == run[number].y).all()
        assert (one.u == run[number].u).all()
        assert (one.v == run[number].v).all()
    assert not (run[0].y == run[10].y).all()
    assert source.info.rate == Fraction(30000, 1001)
    assert run[30].time_s == pytest.approx(1.001)


def test_pattern_shows_bars_ramp_and_disc() -> None:
    frame = PatternSource("pattern:640x480").frame(0)
    assert frame.colour == Colour("bt601")
    picture = frame.to_bgr()
    assert np.abs(picture[10, 600].astype(int) - 0).max() <= 2
    assert np.abs(picture[10, 40].astype(int) - 191).max() <= 2
    assert np.abs(picture[10, 200].astype(int) - (191, 191, 0)).max() <= 2
    ramp = picture[470].astype(int)
    assert (np.diff(ramp.mean(1)) >= 0).all()
    assert np.ptp(ramp, axis=1).max() <= 2
    assert np.abs(picture[240, 60].astype(int) - (40, 120, 255)).max() <= 3


@pytest.mark.parametrize(
    "spec",
    ["pattern:", "pattern:0x0", "pattern:101x100", "pattern:99999x2", "pattern:64x64@0",
     "pattern:64x64@1/0", "pattern:64x64@5000", "pattern:wide", "pattern@x",
     "pattern:64x64@0.0000000001", "pattern:64x64@" + "1" * 5000, "pattern:64x" + "1" * 5000],
    ids=lambda spec: spec[:30],
)  # fmt: skip
def test_pattern_refusals(spec: str) -> None:
    with pytest.raises(UsageError, match=spec.split("@")[0]):
        open_source(spec)


def test_pattern_rate_in_decimals() -> None:
    info = PatternSource("pattern:64x64@29.97002997002997").info
    assert (info.rate, info.time_base) == (Fraction(30000, 1001), Fraction(1001, 30000))


def test_smallest_and_fastest() -> None:
    frame = PatternSource("pattern:16x16@1000").frame(3)
    assert frame.y.shape == (16, 16)
    assert PatternSource("pattern").info.width == 1280


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_opencv_is_imported_before_pyav() -> None:
    """The other way round the first OpenCV window hangs for ever."""
    modules = ("sources.file", "sources.pattern", "sinks.file", "sinks.formats", "media.ffmpeg")
    for module in modules:
        order = _run(
            f"import sys, livemosaic.{module}\n"
            "names = list(sys.modules); print(names.index('cv2') < names.index('av'))"
        )
        assert order == "True"


def test_packages_are_cheap_to_import() -> None:
    loaded = _run(
        "import sys, livemosaic.sources as a, livemosaic.sinks as b\n"
        "print([m for m in ('av', 'cv2', 'numpy') if m in sys.modules])"
    )
    assert loaded == "[]"


def test_names_without_credentials() -> None:
    from livemosaic.media.urls import is_url, public_name

    assert public_name("rtsp://me:secret@cam:554/live?x=1") == "rtsp://cam:554/live?x=***"
    assert public_name("http://host/a@b.mp4") == "http://host/a@b.mp4"
    assert public_name("/tmp/me@home.mp4") == "/tmp/me@home.mp4"
    assert not is_url("C:\\clip.mp4")
    assert not is_url("a:b.mp4")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///tmp/a%20b%C3%A9%25.mp4", "/tmp/a bé%.mp4"),
        ("file:/tmp/a.mp4", "/tmp/a.mp4"),
        ("FILE://LocalHost/tmp/a.mp4", "/tmp/a.mp4"),
        ("file:///tmp/a?b#c%.mp4", "/tmp/a?b#c%.mp4"),
        ("file:///tmp/%20%04d.png", "/tmp/ %04d.png"),  # a sequence, and no end of transmission
        ("file:///tmp/%d.png", "/tmp/%d.png"),
        ("/tmp/a%20b.mp4", "/tmp/a%20b.mp4"),
        ("file:a.mp4", "file:a.mp4"),  # a name, if a strange one
        ("http://host/a%20b.mp4", "http://host/a%20b.mp4"),
    ],
)
def test_addresses_of_files_are_paths(text: str, path: str) -> None:
    from livemosaic.media.urls import local_path

    assert local_path(text) == path


@pytest.mark.parametrize("text", ["file://server/a.mp4", "file://a.mp4", "file://", "file:///"])
def test_addresses_of_no_file_here(text: str, tmp_path: Path) -> None:
    from livemosaic.sinks import parse_output

    wanted = "folder" if text == "file:///" else "no other machine"
    with pytest.raises((UsageError, SourceError), match=wanted):
        open_source(text)
    with pytest.raises((UsageError, SinkError), match=wanted):
        parse_output(text)


def test_address_of_a_file_is_read_as_the_file(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a b.mp4")
    source = open_source("file://" + str(path).replace(" ", "%20"))
    assert source.name == str(path)
    assert not source.info.live
    assert sum(isinstance(item, Frame) for item in source) == 10
    source.close()


def test_a_source_needs_a_name_an_info_and_frames() -> None:
    class Two(Source):
        name = "two frames"
        info = StreamInfo(*fakes.SIZE)

        def __iter__(self) -> Iterator[Frame]:
            yield from map(fakes.frame, range(2))

    sink = fakes.FakeSink()
    with Two() as source:
        assert Pipeline(source, cast(Mosaic, fakes.FakeMosaic()), [sink]).run()
    assert [item.pts for item in sink.items] == [0, 1]
    assert (source.bad_frames, source.dropped, source.reconnects) == (0, 0, 0)
    with pytest.raises(TypeError):
        Source()  # type: ignore[abstract]
