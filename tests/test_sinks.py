"""What every sink promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from livemosaic.errors import SinkError
from livemosaic.media.frame import Frame
from livemosaic.sinks import FileOptions, open_sink
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
        with pytest.raises(SinkError, match="no frames"):
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
        with pytest.raises(SinkError, match=f"made it; the result is {other}"):
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
