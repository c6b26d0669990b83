"""The contract of every sink."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import livemosaic.window  # noqa: F401  (registers its kind of output)
from livemosaic.errors import SinkError
from livemosaic.media.frame import Frame, StreamInfo, TrackPacket
from livemosaic.sinks import Destination, FileOptions, Kind, Sink, open_sink, parse_output, register
from livemosaic.sinks.base import RunContext, are_for_screen
from livemosaic.sources import open_source
from tests import clips


@pytest.fixture(params=["null", "o.mp4", "o.mkv", "o.webm", "o.avi", "o.gif", "o.y4m", "o_%d.png"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name: str = request.param
    (tmp_path / "out").mkdir()
    return name if name == "null" else str(tmp_path / "out" / name)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(
        tmp_path_factory.mktemp("clip") / "in.mkv", sound=["aac"], texts=["ass"], rate=25
    )


class TestConformance:
    """One class over every sink."""

    def test_takes_all_that_a_source_gives(self, target: str, clip: Path) -> None:
        source = open_source(str(clip))
        sink = open_sink(target, source.info)
        for item in clips.items(source):
            sink.write(item)
        sink.close()
        source.close()
        assert sink.name == target
        if target != "null":
            written = open_source(target)
            assert sum(isinstance(item, Frame) for item in written) == 10
            written.close()

    def test_does_not_change_or_keep_the_frame(self, target: str) -> None:
        source = open_source("pattern:160x96@25")
        sink = open_sink(target, source.info)
        frame = next(clips.items(source))
        assert isinstance(frame, Frame)
        before = [p.copy() for p in (frame.y, frame.u, frame.v)]
        sink.write(frame)
        for plane, copy in zip((frame.y, frame.u, frame.v), before, strict=True):
            assert (plane == copy).all()
            plane[:] = 0
        sink.close()

    def test_takes_read_only_frames(self, target: str) -> None:
        source = open_source("pattern:160x96@25")
        sink = open_sink(target, source.info)
        for frame, _ in zip(source, range(3), strict=False):
            assert isinstance(frame, Frame)
            planes = [p.copy() for p in (frame.y, frame.u, frame.v)]
            for plane in planes:
                plane.flags.writeable = False
            sink.write(frame.with_picture(*planes))
        sink.close()

    def test_makes_nothing_of_no_frame(self, target: str) -> None:
        sink = open_sink(target, open_source("pattern:160x96@25").info)
        if target == "null":
            sink.close()
            return
        with pytest.raises(SinkError, match=re.escape(target)):
            sink.close()
        assert list(Path(target).parent.iterdir()) == []

    def test_abort_at_any_time(self, target: str, clip: Path) -> None:
        for count in (0, 1, 12):
            source = open_source(str(clip))
            sink = open_sink(target, source.info)
            for item, _ in zip(clips.items(source), range(count), strict=False):
                sink.write(item)
            sink.abort()
            source.close()
            if target != "null":
                assert list(Path(target).parent.iterdir()) == []

    def test_a_file_that_came_meanwhile_is_not_replaced(self, target: str) -> None:
        if target == "null":
            return
        source = open_source("pattern:160x96@25")
        sink = open_sink(target, source.info)
        sink.write(next(clips.items(source)))
        first = Path(target.replace("%d", "1"))
        first.write_text("precious")
        other = first.with_stem(f"{first.stem}-2")
        with pytest.raises(SinkError, match=re.escape(str(other))):
            sink.close()
        assert first.read_text() == "precious"
        assert sorted(first.parent.iterdir()) == sorted([first, other])
        assert other.stat().st_size > 100

    def test_replaces_when_allowed(self, target: str) -> None:
        source = open_source("pattern:160x96@25")
        for _ in range(2):
            sink = open_sink(target, source.info, options=FileOptions(overwrite=True))
            sink.write(next(clips.items(source)))
            sink.close()


# ---- destinations ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        ("window", "is_display for_screen has_keys encodes"),
        ("vcam", "is_display for_screen"),
        ("vcam:/dev/video10", "is_display for_screen"),
        ("null", ""),
        ("o.mp4", "encodes"),
        ("o.gif", "compact encodes"),
        ("o_%d.png", ""),
        ("o.JPG", ""),
        ("-", "encodes"),
        ("rtmp://me:secret@host/live/key", "for_screen encodes"),
        ("vcam.mp4", "encodes"),
        ("http://host/a.png.ts", "for_screen encodes"),
    ],
)
def test_what_an_output_is(spec: str, facts: str) -> None:
    destination = parse_output(spec)
    names = ("is_display", "for_screen", "compact", "has_keys", "encodes")
    assert [name for name in names if getattr(destination, name)] == facts.split()
    assert "secret" not in destination.name
    assert (destination.location == "") == (spec == "null")


def test_the_size_for_a_screen() -> None:
    for specs, for_screen in [
        (["o.mp4"], False),
        (["o.mp4", "window"], True),
        (["o.gif"], True),
        (["o.gif", "p.gif"], True),
        (["o.gif", "o.mp4"], False),
        (["udp://host:1", "o.mp4"], True),
    ]:
        assert are_for_screen([parse_output(spec) for spec in specs]) == for_screen


class OwnSink(Sink):
    """Has what a sink must have."""

    def write(self, item: Frame | TrackPacket) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class OwnDestination(Destination):
    def open(self, info: StreamInfo, context: RunContext) -> OwnSink:
        return OwnSink()


def parse_own(spec: str, options: FileOptions) -> OwnDestination | None:
    return OwnDestination(name=spec, options=options) if spec == "own:sink" else None


def test_a_kind_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("own_sinks")
    monkeypatch.setitem(sys.modules, "own_sinks", module)
    monkeypatch.setattr(module, "parse_output", parse_own, raising=False)
    register(Kind(r"own:.*", "own_sinks", {}))
    info = StreamInfo(160, 96)
    with open_sink("own:sink", info) as sink:
        assert isinstance(sink, OwnSink)
        assert (sink.rate, sink.latest_only, sink.dropped, sink.repeated) == (None, False, 0, 0)
    assert parse_output("own:other.mp4").encodes  # left to the next kind
