"""Files out: what is in them, and that they are there only when whole."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import livemosaic.window  # noqa: F401  (registers its kind of output)
from livemosaic.errors import OptionError, SinkError, UsageError
from livemosaic.media.colour import Colour
from livemosaic.media.ffmpeg import av, open_container
from livemosaic.media.frame import Frame, StreamInfo, TrackPacket
from livemosaic.sinks import FileOptions, Sink, open_sink, parse_output
from livemosaic.sinks.base import distribute_options
from livemosaic.sinks.encoder_probe import Trial, probe
from livemosaic.sources import open_source
from tests import clips
from tests.gallery_files import fields


def info(like: Frame, **fields: Any) -> StreamInfo:
    return StreamInfo(like.width, like.height, colour=like.colour, **fields)


def write(path: Path | str, items: list[Frame], *, still: bool = False, **options: Any) -> Sink:
    sink = open_sink(str(path), info(items[0], still=still), options=FileOptions(**options))
    for item in items:
        sink.write(item)
    sink.close()
    return sink


def copy(source: Path | str, target: Path, **options: Any) -> Sink:
    """Through source and sink, with nothing between."""
    opened = open_source(str(source))
    try:
        sink = open_sink(str(target), opened.info, options=FileOptions(**options))
        for item in clips.items(opened):
            sink.write(item)
        sink.close()
        return sink
    finally:
        opened.close()


def read(path: Path | str) -> list[Frame]:
    source = open_source(str(path))
    try:
        return [item for item in source if isinstance(item, Frame)]
    finally:
        source.close()


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# ---- pictures ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("o.mp4", None),
        ("o.m4v", None),
        ("o.mkv", None),
        ("o.mov", None),
        ("o.webm", None),
        ("o.avi", None),
        ("o.ts", None),
        ("o.gif", None),
        ("o.y4m", None),
        ("o_%03d.png", None),
        ("o_%03d.jpg", None),
        ("o.mkv", "ffv1"),
        ("o.mkv", "mjpeg"),
        ("o.mov", "png"),
        ("o.mov", "prores_ks"),
        ("o.avi", "huffyuv"),
        ("o.avi", "mpeg4"),
        ("o.mp4", "mpeg4"),
        ("o.mkv", "libx265"),
        ("o.mkv", "libsvtav1"),
        ("o.mkv", "libvpx"),
        ("o.mkv", "rawvideo"),
        ("o.ts", "mpeg2video"),
    ],
)
def test_kinds_of_files(tmp_path: Path, name: str, codec: str | None) -> None:
    if codec is not None:
        clips.need_encoder(codec)
    sent = clips.frames(12)
    # The arrays belong to the caller again as soon as `write` returns.
    sink = open_sink(str(tmp_path / name), info(sent[0]), options=FileOptions(codec=codec))
    for frame in sent:
        buffer = np.concatenate([p.ravel() for p in (frame.y, frame.u, frame.v)])
        y, u, v = np.split(buffer, [frame.y.size, frame.y.size + frame.u.size])
        lent = frame.with_picture(
            y.reshape(frame.y.shape), u.reshape(frame.u.shape), v.reshape(frame.v.shape)
        )
        sink.write(lent)
        buffer[:] = np.random.default_rng(0).integers(0, 256, buffer.size)
    sink.close()
    got = read(tmp_path / name)
    assert len(got) == 12
    for a, b in zip(got, sent, strict=True):
        assert np.abs(a.to_bgr().astype(int) - b.to_bgr()).mean() < 12
        if codec in ("ffv1", "rawvideo") or name.endswith("y4m"):
            assert (a.y == b.y).all()
            assert (a.u == b.u).all()
            assert (a.v == b.v).all()


@pytest.mark.parametrize(("name", "live"), [("o.mp4", False), ("o.mov", False), ("o.mp4", True)])
def test_hevc_for_players_of_apple(tmp_path: Path, name: str, live: bool) -> None:
    """They play it by this tag only, which says that no picture has a header of its own."""
    clips.need_encoder("libx265")
    sent = clips.frames(6)
    options = FileOptions(codec="h265")
    sink = open_sink(str(tmp_path / name), info(sent[0], live=live), options=options)
    for frame in sent:
        sink.write(frame)
    sink.close()
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"
    assert len(read(tmp_path / name)) == 6


@pytest.mark.parametrize("size", [(160, 96), (160, 98), (162, 96), (158, 90)])
@pytest.mark.parametrize("padded", [False, True])
def test_any_layout_of_the_arrays(tmp_path: Path, size: tuple[int, int], padded: bool) -> None:
    sent = clips.frames(3, size=size)
    if padded:
        sent = [
            f.with_picture(*(np.pad(p, ((0, 0), (0, 32)))[:, :-32] for p in (f.y, f.u, f.v)))
            for f in sent
        ]
    write(tmp_path / "o.mkv", sent, crf=0)
    for a, b in zip(read(tmp_path / "o.mkv"), sent, strict=True):
        assert (a.y == b.y).all()
        assert (a.u == b.u).all()
        assert (a.v == b.v).all()


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.mov", "o.png", "mjpeg.mov", "png.mov"])
def test_colours_survive(tmp_path: Path, matrix: Any, full: bool, name: str) -> None:
    code = clips.MATRIX_CODES[matrix]
    tags = (code, code, code, clips.FULL if full else clips.LIMITED)
    sent = clips.frames(1, colour=Colour(matrix, full, tags))
    write(tmp_path / "in.mkv", sent, codec="ffv1")
    assert read(tmp_path / "in.mkv")[0].colour.tags == tags
    codec = name.partition(".")[0] if name[0] != "o" else None
    if name == "o.png":
        write(tmp_path / name, sent, still=True)
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        assert np.abs(picture.astype(int) - sent[0].to_bgr()).max() <= 1
        return
    crf = 1 if codec is None else None
    copy(tmp_path / "in.mkv", tmp_path / name, codec=codec, crf=crf)
    got = read(tmp_path / name)[0]
    if codec is None:
        assert got.colour == Colour(matrix, full, tags)
    # Away from edges, which chroma at half resolution cannot keep.
    a, b = got.to_bgr().astype(int), sent[0].to_bgr().astype(int)
    flat = np.ones(a.shape[:2], bool)
    flat[:, np.arange(160) % 20 < 4] = flat[:, np.arange(160) % 20 >= 16] = False
    flat[:28] = flat[44:52] = False
    limit = 2 if codec is None else 10 if codec == "mjpeg" else 3
    assert np.abs(a - b)[flat].max() <= limit


def test_what_was_not_said_is_not_said(tmp_path: Path) -> None:
    sent = clips.frames(2)
    write(tmp_path / "o.mp4", sent)
    with open_container(str(tmp_path / "o.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (2, 2, 2)
        assert context.color_range == 0


def test_matrix_is_said_when_the_size_would_mislead(tmp_path: Path) -> None:
    sent = clips.frames(1, size=(1280, 64), colour=Colour("bt601"))
    write(tmp_path / "o.mp4", sent)
    assert read(tmp_path / "o.mp4")[0].colour.matrix == "bt601"


def test_still_picture_in_and_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), clips.picture())
    for name in ("o.png", "o.jpg", "o.jpeg", "o.mp4", "o.gif"):
        copy(tmp_path / "in.png", tmp_path / name)
        assert len(read(tmp_path / name)) == 1
    with pytest.raises(UsageError, match=r"x_%04d\.png"):
        open_sink(str(tmp_path / "x.png"), info(clips.frames(1)[0]))


def test_gif_looks_like_the_picture(tmp_path: Path) -> None:
    sent = clips.frames(5)
    write(tmp_path / "o.gif", sent)
    got = read(tmp_path / "o.gif")
    assert np.abs(got[4].to_bgr().astype(int) - sent[4].to_bgr()).mean() < 4


@pytest.mark.parametrize(
    ("name", "codec", "full_range"),
    [
        ("o.mp4", "libx264", True),
        ("o.mkv", "ffv1", True),
        ("o.y4m", None, True),
        ("o.webm", "libvpx-vp9", True),
        ("o.webm", "libvpx", False),
        ("o.mov", "prores_ks", False),
        ("o.ts", "mpeg2video", False),
        ("o.avi", "mpeg4", False),
        ("o.avi", "utvideo", False),
        ("o.avi", "rawvideo", False),
    ],
)
def test_full_range_stays_or_becomes_limited_where_the_file_cannot_say_it(
    tmp_path: Path, name: str, codec: str | None, full_range: bool
) -> None:
    sent = clips.frames(3, colour=Colour("bt601", True))
    write(tmp_path / name, sent, codec=codec)
    got = read(tmp_path / name)
    assert got[0].colour.full_range is full_range
    for a, b in zip(got, sent, strict=True):
        assert np.abs(a.to_bgr().astype(int) - b.to_bgr()).mean() < 2.5


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("o.y4m", None),
        ("o.avi", "mpeg4"),
        ("o.avi", "rawvideo"),
        ("o.avi", "utvideo"),
        ("o.ts", "mpeg2video"),
        ("o.mkv", "mpeg4"),
    ],
)
def test_a_matrix_that_the_file_cannot_say_is_that_of_the_size(
    tmp_path: Path, name: str, codec: str | None
) -> None:
    picture = fields(160, 96)
    colour = Colour("bt709")  # small pictures are taken for BT.601
    sent = [Frame.from_bgr(picture, colour=colour, pts=n, duration=1) for n in range(10)]
    write(tmp_path / name, sent, codec=codec)
    middles = np.ix_([24, 72], [40, 120])
    for frame in read(tmp_path / name):
        difference = frame.to_bgr()[middles].astype(int) - picture[middles]
        assert np.abs(difference).max() <= 6


@pytest.mark.parametrize(
    ("rate", "shown"), [(24, [0, 4, 8, 13, 17]), (60, [0, 2, 5, 7, 10]), (120, [0, 2, 4, 6, 8])]
)
def test_gif_of_any_rate_plays_at_its_speed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rate: int, shown: list[int]
) -> None:
    base = Fraction(1, rate)
    film = clips.make(tmp_path / "in.mp4", clips.frames(12), time_base=base, rate=rate)
    copy(film, tmp_path / "o.gif")
    assert [frame.pts for frame in read(tmp_path / "o.gif")][:5] == shown  # 1/100 s
    assert ("at most 50 frames/s" in caplog.text) is (rate > 50)


def test_aspect_of_pixels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = clips.make(tmp_path / "in.mp4", aspect=Fraction(4, 3))
    for name in ("o.mp4", "o.mkv", "o.mov"):
        copy(source, tmp_path / name)
        with open_container(str(tmp_path / name)) as container:
            assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    assert not caplog.text
    for name, codec in {"o.webm": None, "o.gif": None, "o.y4m": None, "o.avi": "utvideo"}.items():
        caplog.clear()
        copy(source, tmp_path / name, codec=codec)
        assert f"{name}: the pixels are not square" in caplog.text
    caplog.clear()
    copy(source, tmp_path / "o_%d.png")
    assert "213x96" in caplog.text


def test_size_must_not_change(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "o.mp4"), info(clips.frames(1)[0]))
    with pytest.raises(SinkError, match="80x48"):
        sink.write(clips.frames(1, size=(80, 48))[0])
    sink.abort()


# ---- time --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov", "webm"])
@pytest.mark.parametrize("time_base", [(1, 1000), (1, 90000), (1, 12800), (1001, 30000)])
@pytest.mark.parametrize("first", [0, 40])
def test_times_are_the_inputs(
    tmp_path: Path, ending: str, time_base: tuple[int, int], first: int
) -> None:
    base = Fraction(*time_base)
    ticks = [first + t for t in (0, 3, 4, 9, 40, 41, 42, 100, 101, 140)]
    tick = max(1, round(Fraction(1, 100) / base))
    sent = [
        Frame(f.y, f.u, f.v, f.colour, pts=t * tick, time_base=base)
        for f, t in zip(clips.frames(), ticks, strict=True)
    ]
    target = tmp_path / f"o.{ending}"
    sink = open_sink(str(target), info(sent[0], time_base=base))
    for frame in sent:
        sink.write(frame)
    sink.close()
    got = clips.packet_times(target, "video")
    expected = [float(f.pts * base) for f in sent]
    tolerance = 1e-9 if ending in ("mp4", "mov") else 0.0005001
    assert np.abs(np.subtract(got, expected)).max() <= tolerance


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_long_gaps_in_fine_ticks(tmp_path: Path, ending: str) -> None:
    base = Fraction(1, 1_000_000_000)
    times = [0.0, 2.9, 5.8, 8.7, 8.74, 20.0]
    sent = [
        Frame(f.y, f.u, f.v, f.colour, pts=round(t / base), time_base=base)
        for f, t in zip(clips.frames(6), times, strict=True)
    ]
    sink = open_sink(str(tmp_path / f"o.{ending}"), info(sent[0], time_base=base))
    for frame in sent:
        sink.write(frame)
    sink.close()
    seen = clips.packet_times(tmp_path / f"o.{ending}", "video")
    assert seen == pytest.approx(times, abs=1e-4 if ending != "mkv" else 0.0006)


def test_duration_of_the_last_frame(tmp_path: Path) -> None:
    sent = [
        Frame(f.y, f.u, f.v, pts=p, duration=d, time_base=Fraction(1, 1000))
        for f, p, d in zip(clips.frames(3), (0, 40, 80), (40, 40, 700), strict=True)
    ]
    sink = open_sink(str(tmp_path / "o.mp4"), info(sent[0], time_base=Fraction(1, 1000)))
    for frame in sent:
        sink.write(frame)
    sink.close()
    source = open_source(str(tmp_path / "o.mp4"))
    assert source.info.duration_s == pytest.approx(0.78)
    source.close()


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov", "webm"])
def test_of_pictures_of_one_tick_the_first_is_taken(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A picture that was made between two frames may have no place between their ticks."""
    whole, fine = Fraction(1), Fraction(1, 1000)
    times = [(0, whole), (300, fine), (400, fine), (1, whole), (1600, fine), (2, whole), (3, whole)]
    sent = [
        Frame(f.y, f.u, f.v, pts=pts, time_base=base)
        for f, (pts, base) in zip(clips.frames(7), times, strict=True)
    ]
    sink = open_sink(str(tmp_path / f"o.{ending}"), info(sent[0], time_base=whole))
    for frame in sent:
        sink.write(frame)
    sink.close()
    assert (sink.dropped, sink.repeated) == (3, 0)
    assert clips.packet_times(tmp_path / f"o.{ending}", "video") == [0, 1, 2, 3]
    assert not caplog.text


@pytest.mark.parametrize(
    ("name", "codec"),
    [("o.avi", None), ("o.y4m", None), ("o.mp4", "mpeg4"), ("o.ts", "mpeg2video")],
)
def test_fixed_rate_repeats_and_drops(
    tmp_path: Path, name: str, codec: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    slots = [0, 1, 1, 2, 5, 6]  # the third is too much; 3 and 4 are missing
    sent = [
        Frame(f.y, f.u, f.v, pts=s * 40 + n % 2, time_base=Fraction(1, 1000))
        for n, (f, s) in enumerate(zip(clips.frames(6), slots, strict=True))
    ]
    sink = open_sink(
        str(tmp_path / name),
        info(sent[0], time_base=Fraction(1, 1000)),
        options=FileOptions(codec=codec),
    )
    for frame in sent:
        sink.write(frame)
    with caplog.at_level(logging.WARNING, "livemosaic"):
        sink.close()
    assert (sink.dropped, sink.repeated) == (1, 2)
    assert f"{name}: " in caplog.text
    assert "1 of 6 frames" in caplog.text
    got = read(tmp_path / name)
    assert len(got) == 7
    shown = [0, 1, 3, 3, 3, 4, 5]
    for frame, number in zip(got, shown, strict=True):
        closest = min(range(6), key=lambda n: np.abs(frame.y.astype(int) - sent[n].y).mean())
        assert closest == number


@pytest.mark.parametrize(("name", "codec"), [("o.avi", None), ("o.mkv", "mpeg4")])
def test_bursts_keep_their_frames_at_a_fixed_rate(
    tmp_path: Path, name: str, codec: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """20 frames in 0.8 s, nothing for 2 s, 9 frames: 9.2 frames/s in the mean."""
    times = [*range(20), *range(70, 79)]
    path = clips.make(
        tmp_path / "in.mp4",
        clips.frames(29, size=(400, 96)),
        pts=[t * 3600 for t in times],
        time_base=Fraction(1, 90000),
    )
    with caplog.at_level(logging.WARNING, "livemosaic"):
        sink = copy(path, tmp_path / name, codec=codec)
    assert (sink.dropped, sink.repeated) == (0, 50)
    assert not caplog.records
    got = read(tmp_path / name)
    assert len(got) == 79
    assert [n for n in range(1, 79) if np.abs(got[n].y.astype(int) - got[n - 1].y).max() > 60] == [
        *range(1, 20),
        *range(70, 79),
    ]


# ---- other tracks ------------------------------------------------------------------------

SOUND = {"mp4": "aac", "mov": "aac", "mkv": "aac", "webm": "opus", "avi": "mp3", "ts": "aac"}
TEXT = {"mp4": "mov_text", "mov": "mov_text", "mkv": "subrip", "webm": "webvtt"}


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(
        tmp_path_factory.mktemp("rich") / "in.mp4",
        clips.frames(50),
        sound=["aac", "libmp3lame"],
        texts=["mov_text"],
        languages=["deu", "eng", "fra"],
        chapters=[(0, 1000, "one"), (1000, 2000, "two")],
        metadata={"title": "a title", "artist": "an artist"},
    )


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm", "avi", "ts"])
def test_tracks_chapters_and_metadata(
    tmp_path: Path, rich: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / f"o.{ending}"
    with caplog.at_level(logging.WARNING, "livemosaic"):
        copy(rich, target)
    found = clips.streams(target)
    sound = [codec for kind, codec, _ in found if kind == "audio"]
    second = SOUND[ending] if ending == "webm" else "mp3"
    assert sound == [SOUND[ending], second]
    texts = [codec for kind, codec, _ in found if kind == "subtitle"]
    assert texts == ([TEXT[ending]] if ending in TEXT else [])
    warned = [r.message for r in caplog.records]
    assert len(warned) == (0 if ending in TEXT else 1)
    assert all("track 3 (subtitle, mov_text, fra) is left out" in w for w in warned)
    # The sound lasts as long as the picture, and begins with it.
    heard = clips.packet_times(target, "audio")
    seen = clips.packet_times(target, "video")
    assert abs(heard[0] - seen[0]) < 0.06
    assert abs(heard[-1] - seen[-1]) < 0.1
    with open_container(str(target)) as container:
        if ending not in ("avi", "ts"):
            assert [c["metadata"]["title"] for c in container.chapters()] == ["one", "two"]
            assert [float(c["start"] * c["time_base"]) for c in container.chapters()] == [0, 1]
        if ending != "ts":
            assert container.metadata["title"] == "a title"
            assert {k.lower(): v for k, v in container.metadata.items()}["artist"] == "an artist"
        if ending != "mov":  # QuickTime's list has no "deu"
            languages = [s.language for s in container.streams if s.type in ("audio", "subtitle")]
            expected = ["deu", "eng"] + (["fra"] if texts else [])
            assert languages == (expected if ending != "avi" else [None, None])
        for stream in container.streams.audio:
            layout = stream.codec_context.layout.nb_channels
            assert layout == (6 if stream is container.streams.audio[0] and ending != "avi" else 2)
    assert clips.packet_times(target, "video")[1:] == pytest.approx(
        [seen[0] + n / 25 for n in range(1, 50)], abs=0.0006
    )
    assert len(read(target)) == 50


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_metadata_of_a_phone(tmp_path: Path, ending: str) -> None:
    """A phone names it `com.apple.quicktime.location.ISO6709`, which MP4 and MOV do not keep."""
    own = {"location.ISO6709": "+47.3700+008.5400/", "creationdate": "2024-05-01T12:00:00+0200"}
    metadata = {f"com.apple.quicktime.{key}": text for key, text in own.items()}
    path = clips.make(tmp_path / "in.mkv", clips.frames(5), metadata=metadata)
    copy(path, tmp_path / f"o.{ending}")
    with open_container(str(tmp_path / f"o.{ending}")) as container:
        kept = {key.lower(): text for key, text in container.metadata.items()}
    assert (kept["location"], kept["date"]) == tuple(own.values())


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_chapters_end_with_the_film(tmp_path: Path, ending: str) -> None:
    """As after --duration, or when it was interrupted."""
    path = clips.make(
        tmp_path / "in.mkv",
        clips.frames(50),
        sound=["aac"],
        chapters=[(0, 1000, "one"), (1000, 1800_000, "two"), (1800_000, 3600_000, "three")],
    )
    target = tmp_path / f"o.{ending}"
    copy(path, target)
    with open_container(str(target)) as container:
        chapters = [
            tuple(round(float(c[key] * c["time_base"]), 1) for key in ("start", "end"))
            for c in container.chapters()
        ]
        assert chapters == [(0, 1), (1, 2)]
        assert [c["metadata"]["title"] for c in container.chapters()] == ["one", "two"]
        assert container.duration / av.time_base == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_subtitles_keep_words_and_times(tmp_path: Path, rich: Path, ending: str) -> None:
    middle, target = tmp_path / "m.mkv", tmp_path / f"o.{ending}"
    copy(rich, middle)
    copy(middle, target)
    with open_container(str(target)) as container:
        stream = container.streams.subtitles[0]
        shown = [
            (float(p.pts * p.time_base), float(p.duration * p.time_base), lines[0].dialogue)
            for p in container.demux(stream)
            if p.size and p.pts is not None and (lines := p.decode())
        ]
    assert [text.strip() for *_, text in shown] == [b"line 1", b"line 2"]
    assert [start for start, *_ in shown] == pytest.approx([0.04, 0.2])
    assert [duration for _, duration, _ in shown] == pytest.approx([0.08, 0.12])


@pytest.mark.parametrize(
    ("sound", "source", "target", "expected"),
    [
        ("pcm_s16le", "avi", "mp4", "aac"),
        ("pcm_s16le", "mkv", "mkv", "pcm_s16le"),
        ("pcm_s16le", "mov", "mov", "pcm_s16le"),
        ("libopus", "mkv", "mkv", "opus"),
        ("libopus", "webm", "mp4", "opus"),
        ("libopus", "webm", "avi", "mp3"),
        ("flac", "mkv", "webm", "opus"),
        ("libmp3lame", "avi", "mp4", "mp3"),
        ("aac", "ts", "mp4", "aac"),
        ("aac", "ts", "mkv", "aac"),
        ("ac3", "mkv", "mp4", "ac3"),
    ],
)
def test_sound_is_copied_or_converted(
    tmp_path: Path, sound: str, source: str, target: str, expected: str
) -> None:
    codec = "libvpx-vp9" if source == "webm" else "libx264"
    path = clips.make(tmp_path / f"in.{source}", clips.frames(25), codec=codec, sound=[sound])
    result = tmp_path / f"o.{target}"
    copy(path, result)
    assert clips.streams(result)[1][1] == expected
    # Decodable, of the right length, and still the tone it was.
    with open_container(str(result)) as container:
        parts = [f for f in container.decode(container.streams.audio[0])]
        rate = parts[0].sample_rate
        samples = sum(f.samples for f in parts)
        resampled = av.AudioResampler("flt", "mono", 48000)
        wave = np.concatenate([r.to_ndarray()[0] for f in parts for r in resampled.resample(f)])
    assert samples / rate == pytest.approx(1, abs=0.08)
    spectrum = np.abs(np.fft.rfft(wave[4800:38400]))
    assert abs(np.argmax(spectrum) / len(wave[4800:38400]) * 48000 - 440) < 5


def test_gaps_in_converted_sound_stay(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "in.mkv", clips.frames(50), sound=["pcm_s16le"])
    opened = open_source(str(path))
    sink = open_sink(str(tmp_path / "o.mp4"), opened.info)
    for item in clips.items(opened):
        if isinstance(item, Frame) or not 0.5 <= item.packet.pts * item.packet.time_base < 1.5:
            sink.write(item)
    sink.close()
    opened.close()
    with open_container(str(tmp_path / "o.mp4")) as container:
        resampled = av.AudioResampler("flt", "mono", 48000)
        wave = np.concatenate(
            [r.to_ndarray()[0] for f in container.decode(audio=0) for r in resampled.resample(f)]
        )
    assert len(wave) / 48000 == pytest.approx(2, abs=0.08)
    loud = [np.abs(wave[int(a * 48000) : int(b * 48000)]).max() > 0.1 for a, b in
            ((0.1, 0.4), (0.6, 1.4), (1.6, 1.9))]  # fmt: skip
    assert loud == [True, False, True]


@pytest.mark.parametrize(
    ("sound", "source"), [("aac", "mkv"), ("libmp3lame", "mkv"), ("pcm_s16le", "mov")]
)
def test_sound_that_begins_late_in_avi(tmp_path: Path, sound: str, source: str) -> None:
    """AVI has no place for a time: what is missing has to be silence."""
    path = clips.make(tmp_path / f"in.{source}", clips.frames(50), sound=[sound])
    late = tmp_path / f"late.{source}"
    with open_container(str(path)) as whole, open_container(str(late), "w") as result:
        streams = {s.index: result.add_stream_from_template(s) for s in whole.streams}
        for packet in whole.demux():
            if packet.dts is None or (
                packet.stream.type == "audio" and packet.pts * packet.time_base < 1
            ):
                continue
            packet.stream = streams[packet.stream.index]
            result.mux_one(packet)
    copy(late, tmp_path / "o.avi")
    with open_container(str(tmp_path / "o.avi")) as container:
        resampled = av.AudioResampler("flt", "mono", 48000)
        wave = np.concatenate(
            [r.to_ndarray()[0] for f in container.decode(audio=0) for r in resampled.resample(f)]
        )
    assert len(wave) / 48000 == pytest.approx(2, abs=0.08)
    assert np.abs(wave[: int(0.95 * 48000)]).max() < 0.01
    assert np.abs(wave[int(1.05 * 48000) : int(1.9 * 48000)]).max() > 0.1


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film as `ffmpeg -ss 1 -c copy` cuts it: the first second is there, but hidden."""
    folder = tmp_path_factory.mktemp("cut")
    whole = clips.make(folder / "in.mp4", clips.frames(50), sound=["aac"], texts=["mov_text"])
    target = folder / "cut.mp4"
    with open_container(str(whole)) as source, open_container(str(target), "w") as result:
        streams = {s.index: result.add_stream_from_template(s) for s in source.streams}
        result.start_encoding()
        for packet in source.demux():
            if packet.dts is None:
                continue
            second = round(1 / packet.time_base)
            packet.stream = streams[packet.stream.index]
            packet.pts, packet.dts = packet.pts - second, packet.dts - second
            result.mux_one(packet)
    return target


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm", "avi", "ts"])
def test_what_a_cut_hides_stays_hidden(tmp_path: Path, cut: Path, ending: str) -> None:
    with open_container(str(cut)) as container:
        hidden = [p.is_discard for p in container.demux(audio=0)]
    assert sum(hidden) > 40
    target = tmp_path / f"o.{ending}"
    copy(cut, target)
    seen, heard = (clips.packet_times(target, kind) for kind in ("video", "audio"))
    assert -0.06 < heard[0] - seen[0] < 0.06
    assert heard[-1] - seen[0] == pytest.approx(1, abs=0.06)
    if ending not in ("avi", "ts"):  # whose times do not tell
        assert seen[0] == 0


@pytest.mark.slow
def test_two_files_at_once(tmp_path: Path, rich: Path) -> None:
    """Each sink leaves the packets as they were, and decodes for itself."""
    names = ("o.mkv", "o.webm", "o.avi", "o.mp4", "p.webm")
    opened = open_source(str(rich))
    sinks = [open_sink(str(tmp_path / name), opened.info) for name in names]
    for item in clips.items(opened):
        for sink in sinks:
            sink.write(item)
    for sink in sinks:
        sink.close()
    opened.close()
    (tmp_path / "alone").mkdir()
    for name in names:
        copy(rich, tmp_path / "alone" / name)
        for kind in ("video", "audio", "subtitle"):
            if kind == "subtitle" and name.endswith("avi"):
                continue
            alone = clips.packet_times(tmp_path / "alone" / name, kind)
            assert clips.packet_times(tmp_path / name, kind) == alone
        with open_container(str(tmp_path / name)) as container:
            assert all(not f.is_corrupt for f in container.decode(audio=0))


@pytest.mark.slow
def test_two_files_at_once_on_two_threads(tmp_path: Path) -> None:
    """As the pipeline does it: both have the same packets, at the same time."""
    path = clips.make(tmp_path / "in.mkv", clips.frames(400), sound=["aac"])
    opened = open_source(str(path))
    items = list(opened)
    packets = [item for item in items if isinstance(item, TrackPacket)]
    names = ("o.mkv", "o.mov")
    sinks = [open_sink(str(tmp_path / name), opened.info) for name in names]
    for sink in sinks:
        sink.write(next(item for item in items if isinstance(item, Frame)))
    together = threading.Barrier(len(sinks), timeout=30)

    def serve(sink: Sink) -> None:
        for item in packets:
            together.wait()
            sink.write(item)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(sinks)) as threads:
            list(threads.map(serve, sinks))
    finally:
        sys.setswitchinterval(before)
    for sink in sinks:
        sink.close()
    opened.close()
    times = [round(t, 2) for t in clips.packet_times(path, "audio")]
    for name in names:
        assert [round(t, 2) for t in clips.packet_times(tmp_path / name, "audio")] == times


def test_damaged_sound_is_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = clips.make(tmp_path / "in.mkv", clips.frames(50), sound=["aac", "flac"])
    noise = np.random.default_rng(0)
    for ending in ("mp4", "webm", "ts"):
        caplog.clear()
        opened = open_source(str(path))
        sink = open_sink(str(tmp_path / f"o.{ending}"), opened.info)
        for number, item in enumerate(clips.items(opened)):
            if not isinstance(item, Frame) and number % 3 == 0:
                bad = av.Packet(noise.bytes(item.packet.size))
                bad.time_base, bad.stream = item.packet.time_base, item.packet.stream
                bad.pts, bad.dts = item.packet.pts, item.packet.dts
                item = item._replace(packet=bad)
            sink.write(item)
        sink.close()
        opened.close()
        assert len(read(tmp_path / f"o.{ending}")) == 50
        messages = [r.message for r in caplog.records]
        assert len(messages) == len(set(messages)) <= 2
        assert all("damaged" in m for m in messages)


def test_sound_over_a_discontinuity_is_not_taken_for_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """That of a recording may begin a little before its picture, in what came before it."""
    sent = clips.frames(26)
    part = clips.make(tmp_path / "in.ts", sent, pts=range(2, 28), sound=["aac"])
    (tmp_path / "joined.ts").write_bytes(2 * part.read_bytes())
    copy(part, tmp_path / "one.mp4")
    copy(tmp_path / "joined.ts", tmp_path / "two.mp4")
    one, two = (clips.packet_times(tmp_path / name, "audio") for name in ("one.mp4", "two.mp4"))
    assert len(two) >= 2 * len(one)
    assert not caplog.text


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_a_part_is_not_as_long_as_the_gap_between_texts(tmp_path: Path, ending: str) -> None:
    path = clips.make(tmp_path / "in.mp4", clips.frames(10), texts=["mov_text"])
    opened = open_source(str(path))  # texts at 0.04 to 0.12 s and at 0.2 s
    sink = open_sink(str(tmp_path / f"o.{ending}"), opened.info)
    for item in clips.items(opened):
        at_s = item.time_s if isinstance(item, Frame) else item.packet.pts * item.packet.time_base
        if at_s < 0.13:
            sink.write(item)
    sink.close()
    opened.close()
    with open_container(str(tmp_path / f"o.{ending}")) as container:
        assert container.duration == pytest.approx(160_000, abs=1500)
        texts = [bytes(p) for p in container.demux(subtitles=0) if p.size > 2]
        assert len(texts) == 1


def test_no_sound_is_no_problem(tmp_path: Path) -> None:
    copy(clips.make(tmp_path / "in.mp4"), tmp_path / "o.mkv")
    assert clips.streams(tmp_path / "o.mkv") == [("video", "h264", None)]


# ---- whole or not at all -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.gif", "o_%d.png"])
def test_name_appears_at_the_end(tmp_path: Path, name: str) -> None:
    sent = clips.frames(3)
    sink = open_sink(str(tmp_path / name), info(sent[0]))
    for frame in sent:
        sink.write(frame)
        assert all(n.startswith(".") and n.endswith(".part") for n in left(tmp_path))
    sink.close()
    assert left(tmp_path) == ([name] if "%" not in name else ["o_1.png", "o_2.png", "o_3.png"])


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o_%d.png"])
@pytest.mark.parametrize("count", [0, 2])
def test_abort_leaves_nothing(tmp_path: Path, name: str, count: int) -> None:
    old = tmp_path / "o.mp4"
    old.write_bytes(b"old")
    sent = clips.frames(2)
    sink = open_sink(str(tmp_path / name), info(sent[0]), options=FileOptions(overwrite=True))
    for frame in sent[:count]:
        sink.write(frame)
    sink.abort()
    sink.abort()
    assert left(tmp_path) == ["o.mp4"]
    assert old.read_bytes() == b"old"


def test_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real" / "there.mp4")
    write(tmp_path / "link.mp4", clips.frames(2))
    assert (tmp_path / "link.mp4").is_symlink()
    assert len(read(tmp_path / "real" / "there.mp4")) == 2


@pytest.mark.parametrize("name", ["a.mp4", "a_%d.png"])
def test_link_to_itself(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(name)
    with pytest.raises(SinkError, match="leads to itself"):
        open_sink(str(tmp_path / name), StreamInfo(64, 64))


def test_strange_names(tmp_path: Path) -> None:
    for name in ("a:b.mp4", "100%.mkv", "with space.mp4", "-dash.mp4", "ünï.mkv", "%d.mp4"):
        write(tmp_path / name, clips.frames(2))
        assert len(read(tmp_path / name)) == 2


@pytest.mark.parametrize("name", ["ü" * 125 + ".mkv", "x" * 249 + "%d.png"])
def test_names_as_long_as_the_disk_takes(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, clips.frames(2))
    assert len(left(tmp_path)) == (1 if name.endswith(".mkv") else 2)


@pytest.mark.parametrize("name", ["o.mkv", "o_%d.png"])
def test_what_a_killed_run_left_is_not_in_the_way(tmp_path: Path, name: str) -> None:
    """In a container all runs have the same process number."""
    killed = open_sink(str(tmp_path / name), info(clips.frames(1)[0]))
    killed.write(clips.frames(1)[0])
    write(tmp_path / name, clips.frames(2))
    assert len([n for n in left(tmp_path) if not n.startswith(".")]) == (2 if "%" in name else 1)
    killed.abort()
    assert not [n for n in left(tmp_path) if n.startswith(".")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if not mount or os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk needs mount and root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("name", "codec"), [("o.mp4", "mjpeg"), ("o.mkv", "ffv1"), ("o.mp4", None), ("o_%d.png", None)]
)
def test_full_disk(small_disk: Path, name: str, codec: str | None) -> None:
    if name == "o.mp4" and codec == "mjpeg":
        name = "o.mov"
    noise = np.random.default_rng(0)
    sent = [
        f.with_picture(noise.integers(0, 256, f.y.shape, np.uint8), f.u, f.v)
        for f in clips.frames(60)
    ]
    sink = open_sink(str(small_disk / name), info(sent[0]), options=FileOptions(codec=codec))

    def fill() -> None:
        for frame in sent:
            sink.write(frame)
        sink.close()

    with pytest.raises(SinkError, match=re.escape(str(small_disk / name))) as caught:
        fill()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    sink.abort()
    assert left(small_disk) == []


def test_full_device() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    sent = clips.frames(20)
    sink = open_sink(
        "/dev/full", info(sent[0]), options=FileOptions(format="matroska", codec="ffv1")
    )

    def fill() -> None:
        for frame in sent:
            sink.write(frame)
        sink.close()

    with pytest.raises(SinkError, match="/dev/full") as caught:
        fill()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    sink.abort()
    assert Path("/dev/full").exists()


_TO_STDOUT = """
import sys
from livemosaic.errors import SinkError
from livemosaic.sinks import FileOptions, open_sink
from livemosaic.sources import open_source
source = open_source("pattern:320x240@25")
options = FileOptions(format=sys.argv[1], codec=sys.argv[2] or None)
sink = open_sink("-", source.info, options=options)
try:
    for number, frame in enumerate(source):
        if number == int(sys.argv[3]):
            break
        sink.write(frame)
    sink.close()
except SinkError as error:
    sink.abort()
    print(error, file=sys.stderr)
    sys.exit(3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("format", ["matroska", "y4m", "mkv"])
def test_standard_output(tmp_path: Path, format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TO_STDOUT, format, "", "10"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    path = tmp_path / ("o.y4m" if format == "y4m" else "o.mkv")
    path.write_bytes(done.stdout)
    assert len(read(path)) == 10


@pytest.mark.slow
def test_reader_that_goes_away() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _TO_STDOUT, "matroska", "ffv1", "500"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1000)
        process.stdout.close()
        message = process.stderr.read().decode()
        assert process.wait(timeout=60) == 3
    assert message.startswith("standard output: ")
    assert message.count("\n") == 1


# ---- refusals ----------------------------------------------------------------------------


def test_refused_before_anything_is_made(tmp_path: Path) -> None:
    source = clips.make(tmp_path / "in.mp4")
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "there.mp4").touch()
    (tmp_path / "p_0007.png").touch()
    for name in ("q_final.png", "q_7.png", "q_00007.png", "q_0007.pngx", "q_0007_.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    before = left(tmp_path)
    (tmp_path / "sub").mkdir()
    cases: list[tuple[str, dict[str, Any], type[Exception], str]] = [
        ("there.mp4", {}, UsageError, "there.mp4"),
        ("p_%04d.png", {}, UsageError, "p_0007.png"),
        ("in.mp4", {"overwrite": True}, UsageError, "input and output"),
        ("link.mp4", {"overwrite": True}, UsageError, "input and output"),
        ("./sub/../in.mp4", {"overwrite": True}, UsageError, "input and output"),
        ("x" * 260 + ".mp4", {}, SinkError, "too long"),
        ("o.xyz", {}, UsageError, ".xyz is not known; use one of avi, gif"),
        ("o", {}, UsageError, "no ending; use one of"),
        ("o.mp4", {"codec": "nope"}, OptionError, "codec 'nope'"),
        ("o.mp4", {"codec": "libx246"}, OptionError, "libx264"),
        ("o.mp4", {"codec": "aac"}, OptionError, "codec 'aac'"),
        ("o.webm", {"codec": "libx264"}, OptionError, "webm"),
        ("o.mkv", {"codec": "ffv1", "crf": 20}, OptionError, "crf 20"),
        ("o.mkv", {"codec": "ffv1", "preset": "fast"}, OptionError, "preset 'fast'"),
        ("o_%d.png", {"crf": 3}, UsageError, "o_%d.png"),
        ("folder.mp4", {}, SinkError, "folder.mp4"),
        ("none/o.mp4", {}, SinkError, "none does not exist"),
    ]
    for name, options, kind, named in cases:
        asked = FileOptions(source_name=str(source), **options)
        with pytest.raises(kind, match=re.escape(named)) as caught:
            parse_output(str(tmp_path / name), asked).check()
        assert "\n" not in str(caught.value)
    (tmp_path / "sub").rmdir()
    files = (str(tmp_path / name) for name in ("new.mp4", "q_%04d.png", "q_%03d.png"))
    for good in ("null", "-", "rtmp://host/live", *files):
        parse_output(good, FileOptions(source_name=str(source))).check()
    assert left(tmp_path) == before


def test_a_pipe_is_no_place_for_mp4(tmp_path: Path) -> None:
    for name in ("p.mp4", "p.mov", "p.mkv"):
        os.mkfifo(tmp_path / name)
    for name in ("p.mp4", "p.mov"):
        with pytest.raises(UsageError, match=r"\.mkv"):
            parse_output(str(tmp_path / name), FileOptions()).check()
    parse_output(str(tmp_path / "p.mkv"), FileOptions()).check()
    with pytest.raises(UsageError, match=r"standard output.*matroska"):
        parse_output("-", FileOptions(format="mp4")).check()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"crf": 18}, {"o.mp4": "crf", "o.webm": "crf", "window": "crf"}),
        ({"preset": "fast"}, {"o.mp4": "preset", "window": "preset"}),
        ({"codec": "libx265"}, {"o.mp4": "codec", "window": "codec"}),
        ({"codec": "rawvideo", "preset": "fast"}, {"window": "codec", "o.mp4": "preset"}),
        (
            {"codec": "libvpx", "crf": 9},
            {"o.webm": "codec crf", "window": "codec crf", "o.mp4": "crf"},
        ),
        ({}, {}),
    ],
)
def test_outputs_share_the_encoders_options(
    asked: dict[str, Any], expected: dict[str, str]
) -> None:
    names = ["f_%d.png", "o.mp4", "o.gif", "o.webm", "window", "vcam", "null"]
    shared = distribute_options([parse_output(name, FileOptions(**asked)) for name in names])
    assert [destination.name for destination in shared] == names
    got = {
        it.name: " ".join(k for k in ("codec", "preset", "crf") if getattr(it.options, k))
        for it in shared
    }
    assert {name: keys for name, keys in got.items() if keys} == expected


def test_an_option_that_no_output_takes_is_refused() -> None:
    cases: list[tuple[list[str], dict[str, Any], str]] = [
        (["f_%d.png", "null"], {"crf": 18}, "crf"),
        (["o.mp4", "f_%d.png"], {"codec": "nope"}, "nope"),
        (["o.gif", "f_%d.png"], {"preset": "fast"}, "preset"),
    ]
    for names, asked, named in cases:
        first, _ = distribute_options([parse_output(name, FileOptions(**asked)) for name in names])
        with pytest.raises(UsageError, match=named):
            first.check()


def test_format_is_for_what_has_no_ending(tmp_path: Path) -> None:
    write(tmp_path / "o.mp4", clips.frames(2), format="y4m")
    write(tmp_path / "o", clips.frames(2), format="mkv")
    for name, format in (("o.mp4", "mov,mp4"), ("o", "matroska")):
        with open_container(str(tmp_path / name)) as container:
            assert container.format.name.startswith(format)
    with pytest.raises(UsageError, match=r"\.nope"):
        parse_output(str(tmp_path / "p"), FileOptions(format="nope")).check()


def test_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(SinkError, match=re.escape(str(tmp_path))):
        parse_output(str(tmp_path / "o.mp4"), FileOptions()).check()


@pytest.mark.parametrize(("option", "value"), [("preset", "hasty"), ("crf", 5000)])
def test_an_encoder_refuses_its_options(tmp_path: Path, option: str, value: Any) -> None:
    options = FileOptions(**{option: value})
    with pytest.raises(OptionError) as caught:
        open_sink(str(tmp_path / "o.mp4"), info(clips.frames(1)[0]), options=options)
    assert (caught.value.option, caught.value.value) == (option, value)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "codec", "words"),
    [
        ("o.mov", "vp9", "mov refuses the codec vp9"),
        ("o.mov", "vp8", "mov refuses the codec vp8"),
        ("o.mkv", "h264_nvenc", "needs an NVIDIA card"),
        ("o.mkv", "hevc_qsv", "needs an Intel graphics processor"),
    ],
)
def test_codecs_that_cannot_be_used(tmp_path: Path, name: str, codec: str, words: str) -> None:
    if "_" in codec:
        clips.need_encoder(codec)
        if probe(Trial((codec,)))[codec]["state"] == "good":
            pytest.skip("this machine has it")
    info = StreamInfo(160, 96)
    with pytest.raises(SinkError, match=words):
        open_sink(str(tmp_path / name), info, options=FileOptions(codec=codec))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "codec"), [("o.mp4", None), ("o.mkv", "libx264")])
def test_a_codec_that_is_not_the_cause_is_not_named(
    tmp_path: Path, name: str, codec: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise av.error.ArgumentError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("livemosaic.sinks.file.open_container", refuse)
    with pytest.raises(SinkError, match="cannot be written") as caught:
        open_sink(str(tmp_path / name), StreamInfo(160, 96), options=FileOptions(codec=codec))
    assert "264" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 2])
def test_few_pictures_in_x265(tmp_path: Path, count: int) -> None:
    """The encoder's times of decoding are uninitialised memory for fewer than three pictures."""
    for number in range(4):
        path = tmp_path / f"{number}.mp4"
        with open_sink(str(path), StreamInfo(160, 96), options=FileOptions(codec="h265")) as sink:
            for frame in clips.frames(count):
                sink.write(frame)
        with av.open(str(path)) as container:
            packets = [it for it in container.demux(video=0) if it.size]
            assert len(packets) == count
            assert all(it.dts == it.pts for it in packets)


@pytest.mark.parametrize(
    ("asked", "found", "profile"),
    [
        ("h265", "hevc", None),
        ("x264", "h264", None),
        ("dnxhd", "dnxhd", "DNXHR HQ"),
        ("dnxhr_444", "dnxhd", "DNXHR 444"),
        ("prores", "prores", None),
    ],
)
def test_usual_names_of_codecs(tmp_path: Path, asked: str, found: str, profile: str | None) -> None:
    frames = clips.frames(1, size=(320, 192))
    path = tmp_path / "o.mov"
    with open_sink(str(path), StreamInfo(320, 192), options=FileOptions(codec=asked)) as sink:
        sink.write(frames[0])
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        next(container.decode(video=0))
        assert context.name == found
        assert profile in (None, context.profile)


def test_encoder_refuses_the_size(tmp_path: Path) -> None:
    y, u, v = (np.zeros(s, np.uint8) for s in ((97, 161), (49, 81), (49, 81)))
    frame = Frame(y, u, v)
    with pytest.raises(SinkError, match="161x97"):
        open_sink(str(tmp_path / "o.mp4"), info(frame))
    assert left(tmp_path) == []
    write(tmp_path / "o.mkv", [frame], codec="ffv1")
    assert read(tmp_path / "o.mkv")[0].y.shape == (97, 161)


def test_addresses() -> None:
    sent = clips.frames(3)
    sink = open_sink("udp://127.0.0.1:9", info(sent[0]))  # no receiver has to listen
    for frame in sent:
        sink.write(frame)
    sink.close()
    with pytest.raises(SinkError, match=r"rtmp://127\.0\.0\.1:1/\*\*\*") as caught:
        open_sink("rtmp://me:secret@127.0.0.1:1/live", info(sent[0]))
    assert "secret" not in str(caught.value)


def test_terminal_is_no_place_for_a_video(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(UsageError, match="terminal"):
        parse_output("-", FileOptions()).check()
