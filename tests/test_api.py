"""`render` and `mosaic_frames`: whole runs in one call."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import livemosaic
from livemosaic import api
from livemosaic.media.frame import Frame, Item, StreamInfo, TrackPacket

from .clips import frames as clip_frames
from .clips import make
from .program import needs_jit


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "in.mp4", clip_frames(6))


class Numbers(livemosaic.Source):
    """Three frames of a program's own."""

    def __init__(self) -> None:
        self.name = "numbers"
        self.info = StreamInfo(64, 48, rate=Fraction(10), time_base=Fraction(1, 10))
        self.closed = False

    def __iter__(self) -> Iterator[Item]:
        for number in range(3):
            picture = np.full((48, 64, 3), 60 * number, np.uint8)
            yield Frame.from_bgr(picture, pts=number, time_base=Fraction(1, 10))

    def close(self) -> None:
        self.closed = True


class Kept(livemosaic.Sink):
    """Keeps the times of its frames."""

    name = "kept"

    def __init__(self) -> None:
        self.times: list[float] = []
        self.closed = False

    def write(self, item: Frame | TrackPacket) -> None:
        assert isinstance(item, Frame)
        self.times.append(item.time_s)

    def close(self) -> None:
        self.closed = True


@pytest.mark.slow
@needs_jit
def test_examples() -> None:
    assert doctest.testmod(api).failed == 0


def test_render_a_file(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    statistics = livemosaic.render(clip, out, scale=1, tile=8, tint=0.5, codec="ffv1")
    assert statistics["frames_in"] == statistics["frames_out"] == 6
    assert statistics["grid"]["tile_px"] == 8
    assert out.stat().st_size > 0
    with pytest.raises(livemosaic.UsageError, match=r"out\.mkv"):
        livemosaic.render(clip, out, scale=1)
    livemosaic.render(clip, out, scale=1, duration=0.08, overwrite=True)


def test_render_own_source_and_sink(gallery: livemosaic.Gallery) -> None:
    source, sink = Numbers(), Kept()
    ticks: list[int] = []
    statistics = livemosaic.render(
        source,
        sink,
        gallery=gallery,
        on_progress=lambda progress: ticks.append(progress.frames_out),
        scale=1,
        tile_px=8,
    )
    assert statistics["input"] == "numbers"
    assert statistics["outputs"] == ["kept"]
    assert sink.times == [0.0, 0.1, 0.2]
    assert source.closed
    assert sink.closed
    assert ticks[-1] == 3


def test_an_error_closes_the_source(gallery: livemosaic.Gallery, tmp_path: Path) -> None:
    source = Numbers()
    with pytest.raises(livemosaic.SinkError):
        livemosaic.render(source, tmp_path / "no" / "out.mp4", gallery=gallery)
    with pytest.raises(livemosaic.UsageError, match="columns"):
        livemosaic.render(source, Kept(), gallery=gallery, columns=4000)
    assert source.closed


def test_wrong_options(clip: Path) -> None:
    wrong: tuple[dict[str, Any], ...]
    wrong = ({"tint": 5}, {"tint": "0.5"}, {"tile": 7}, {"fps": -1}, {"codec": 5})
    for options in wrong:
        with pytest.raises(livemosaic.OptionError, match=f"^{next(iter(options))}"):
            livemosaic.render(clip, "null", **options)
    wrong = ({"tinnt": 1}, {"config": 1}, {"json": 1})
    for options in wrong:
        with pytest.raises(TypeError, match=next(iter(options))):
            livemosaic.render(clip, "null", **options)
    with pytest.raises(livemosaic.UsageError, match="output"):
        livemosaic.render(clip)


def test_frames_of_a_file(clip: Path, gallery: livemosaic.Gallery) -> None:
    frames = list(livemosaic.mosaic_frames(clip, gallery, scale=1, tile=8))
    assert len(frames) == 6
    assert [frame.time_s for frame in frames] == [n / 25 for n in range(6)]
    whole = livemosaic.Mosaic(gallery, livemosaic.MosaicSettings(scale=1, tile_px=8))
    with livemosaic.open_source(str(clip)) as source:
        for frame, item in zip(frames, source, strict=True):
            assert isinstance(item, Frame)
            assert np.array_equal(frame.to_bgr(), whole.process(item).to_bgr())


def test_frames_of_arrays_and_sources(gallery: livemosaic.Gallery) -> None:
    pictures = [np.full((48, 64, 3), level, np.uint8) for level in (0, 60, 120)]
    frames = list(livemosaic.mosaic_frames(pictures, gallery, scale=1, tile=8))
    own = list(livemosaic.mosaic_frames(Numbers(), gallery, scale=1, tile=8))
    assert [frame.pts for frame in frames] == [0, 1, 2]
    for one, other in zip(frames, own, strict=True):
        assert np.array_equal(one.y, other.y)


def test_frames_close_what_they_open(clip: Path, gallery: livemosaic.Gallery) -> None:
    with pytest.raises(livemosaic.OptionError, match="tint"):  # at once, not at the first frame
        livemosaic.mosaic_frames(clip, gallery, tint=5)
    with pytest.raises(livemosaic.SourceError):
        next(livemosaic.mosaic_frames(clip.with_name("no.mp4"), gallery))
    frames = livemosaic.mosaic_frames(clip, gallery, scale=1)
    next(frames)
    frames.close()
