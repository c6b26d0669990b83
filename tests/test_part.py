"""`--start`, `--end` and `--preview`: parts of a video, and one picture of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import render
from livemosaic.control.options import RunOptions, explicit_options
from livemosaic.errors import OptionError, UsageError
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import Frame, Item, TrackPacket
from livemosaic.session import open_input
from livemosaic.sources import open_source
from livemosaic.sources.part import PartSource, part

from . import fakes
from .clips import make, packet_times, picture
from .program import Program, needs_jit

BITS = 10  # of a frame's number


def coded(number: int) -> Frame:
    """A picture that shows its number: a block for each bit."""
    image = np.full((48, 160, 3), 128, np.uint8)
    for bit in range(BITS):
        image[8:40, bit * 16 : bit * 16 + 16] = 255 * (number >> bit & 1)
    return Frame.from_bgr(image, pts=number, duration=1)


def number_of(frame: Frame) -> int:
    return sum((int(frame.y[24, bit * 16 + 8]) > 128) << bit for bit in range(BITS))


def numbers(path: Path | str, start: float | None = None, end: float | None = None) -> list[int]:
    """The numbers of the frames in a part of a video, whose times begin at 0."""
    with PartSource(open_source(str(path)), start_s=start, end_s=end) as source:
        found = [item for item in source if isinstance(item, Frame)]
        if start is not None:
            assert 0 <= found[0].time_s < 0.04
        if source.info.frames is not None:
            assert abs(source.info.frames - len(found)) <= 1
    return [number_of(frame) for frame in found]


# Key frames are far apart, and frames are stored in another order than they are shown.
CLOSED = {"qp": "20", "g": "100", "bf": "2", "x264-params": "scenecut=0:open-gop=0"}
OPEN = {**CLOSED, "x264-params": "scenecut=0:open-gop=1"}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 seconds, with sound and subtitles."""
    return make(
        tmp_path_factory.mktemp("part") / "film.mp4",
        [coded(n) for n in range(600)],
        options=CLOSED,
        sound=["aac"],
        texts=["mov_text"],
        chapters=[(0, 9000, "one"), (9000, 14000, "two"), (14000, 24000, "three")],
    )


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (0.0, None, 0, 599),
        (0.04, 0.12, 1, 2),
        (0.05, 0.13, 2, 3),
        (3.0, 4.0, 75, 99),
        (12.0, 13.0, 300, 324),  # behind several key frames
        (12.01, 13.03, 301, 325),
        (23.96, None, 599, 599),
        (None, 0.4, 0, 9),
        (20, 100, 500, 599),
    ],
)
def test_a_part_has_exactly_its_frames(
    film: Path, start: float | None, end: float | None, first: int, last: int
) -> None:
    assert numbers(film, start, end) == list(range(first, last + 1))


def test_two_parts_have_each_frame_once(film: Path) -> None:
    for cut in (9.99, 10.0, 10.01, 10.02, 10.03):
        assert numbers(film, 9, cut) + numbers(film, cut, 11) == list(range(225, 275))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("film.mp4", {"options": CLOSED, "sound": ["aac"]}),
        ("open.mp4", {"options": OPEN}),
        ("film.mov", {"options": CLOSED}),
        ("film.ts", {"options": CLOSED, "sound": ["aac"]}),
        ("film.avi", {"codec": "mpeg4", "options": {"g": "60", "bf": "2"}}),
        (
            "film.webm",
            {"codec": "libvpx", "options": {"deadline": "realtime", "b": "1M", "g": "60"}},
        ),
        ("film.flv", {"options": {**CLOSED, "bf": "0"}}),
        ("raw.h264", {"options": {**CLOSED, "bf": "0"}, "format": "h264"}),  # has no times
        ("film.gif", {"codec": "gif", "pix_fmt": "gray"}),
    ],
)
def test_every_container_has_parts(tmp_path: Path, name: str, settings: dict[str, object]) -> None:
    clip = make(tmp_path / name, [coded(n) for n in range(300)], **settings)  # type: ignore[arg-type]
    assert numbers(clip, 8.0, 8.4) == list(range(200, 210))


def test_a_late_beginning_counts_from_the_first_picture(tmp_path: Path) -> None:
    pts = [n + 1000 for n in range(300)]
    clip = make(tmp_path / "late.mkv", [coded(n) for n in range(300)], options=CLOSED, pts=pts)
    assert numbers(clip, 8.0, 8.4) == list(range(200, 210))
    assert numbers(clip, None, 0.2) == list(range(5))


def test_a_numbered_sequence_has_parts(tmp_path: Path) -> None:
    for n in range(30):
        cv2.imwrite(str(tmp_path / f"in_{n:03d}.png"), coded(n).to_bgr())
    assert numbers(tmp_path / "in_%03d.png", 0.4, 0.6) == list(range(10, 15))
    whole = open_source(str(tmp_path / "in_%03d.png"), rate=Fraction(10))
    with PartSource(whole, start_s=0.4) as source:
        assert source.info.frames == 26


def test_a_pipe_has_parts(tmp_path: Path) -> None:
    """Nothing can be skipped there, so it is read and left out."""
    film = make(tmp_path / "a.mkv", [coded(n) for n in range(400)], options=CLOSED)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(film.read_bytes()), daemon=True)
    writer.start()
    found = numbers(pipe, 12.0, None)
    assert found == list(range(300, 400))


def test_a_start_behind_the_end(film: Path, tmp_path: Path) -> None:
    for start_s in (99.0, 99e12, 99e99, float("inf")):  # FFmpeg's times have 64 bits
        problem = r"start (9|inf).*lasts 24\.\d s; choose an earlier time"
        with pytest.raises(OptionError, match=problem):
            PartSource(open_source(str(film)), start_s=start_s)
    cv2.imwrite(str(tmp_path / "in_1.png"), picture(64, 48))
    with pytest.raises(OptionError, match=r"start 2.*lasts 0\.0 s"):
        PartSource(open_source(str(tmp_path / "in_%d.png")), start_s=2.0)


def test_a_single_picture_has_no_parts(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), picture(64, 48))
    options = RunOptions(input=str(tmp_path / "p.png"), start=2.0, end=3.0, preview=2.5)
    with open_input(options) as source:
        assert source.info.still


def tracks(items: Sequence[Item]) -> list[tuple[int, int]]:
    packets = [item.packet for item in items if isinstance(item, TrackPacket)]
    return [(packet.pts, packet.duration) for packet in packets]


def test_other_tracks_are_cut_alike() -> None:
    times = [(0, 10), (5, 10), (12, 3), (18, 10), (25, 2)]

    def stream(kind: str) -> list[Item]:
        packets = [fakes.packet(pts, duration=length, kind=kind) for pts, length in times]
        return [fakes.frame(0), *packets, *map(fakes.frame, range(1, 100))]

    limits = {"start_s": Fraction(10, 25), "end_s": Fraction(20, 25)}
    sound = list(part(stream("audio"), **limits))
    assert tracks(sound) == [(12, 3), (18, 10)]
    assert len(fakes.times(sound)) == 10
    assert tracks(list(part(stream("subtitle"), **limits))) == [(10, 5), (12, 3), (18, 2)]


@needs_jit
def test_a_part_is_a_film(film: Path, tmp_path: Path, gallery: Gallery) -> None:
    for name in ("part.mkv", "part.mp4"):
        out = tmp_path / name
        render(film, out, gallery=gallery, scale=1, tile=16, start=8.0, end=10.0)
        video, sound = packet_times(out, "video"), packet_times(out, "audio")
        assert (len(video), video[0]) == (50, 0)
        assert sound[0] < 0.03
        assert 1.9 < sound[-1] < 2.0
        with av.open(str(out)) as container:
            chapters = container.chapters()
        marks = [(it["start"] * (it["time_base"] or 0), it["metadata"]["title"]) for it in chapters]
        assert marks == [(0, "one"), (1, "two")]


# ---- a preview ---------------------------------------------------------------------------

LOOK: dict[str, Any] = {"scale": 2.0, "tile": 16}


def moving(number: int, *, scene: int = 0) -> Frame:
    """A picture of a scene, with a disc that moves over it, and noise."""
    rng = np.random.default_rng(scene)
    image = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (160, 120))
    colour = (0, 255, 255) if scene else (255, 0, 0)
    cv2.circle(image, (20 + number * 7 % 120, 60), 20, colour, -1)
    noise = np.random.default_rng(1000 + number).normal(0, 3, image.shape)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return Frame.from_bgr(np.asarray(image, np.uint8), pts=number, duration=1)


def preview_and_film(
    clip: Path, folder: Path, gallery: Gallery, numbers: Sequence[int], **options: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Previews of some frames, and the same frames of the film."""
    render(clip, folder / "f_%04d.png", gallery=gallery, **LOOK, **options)
    pairs = []
    for number in numbers:
        path = folder / f"preview-{number}.png"
        render(clip, path, gallery=gallery, preview=number / 25, **LOOK, **options)
        film = cv2.imread(str(folder / f"f_{number + 1:04d}.png"))
        shown = cv2.imread(str(path))
        assert film is not None
        assert shown is not None
        pairs.append((np.asarray(shown), np.asarray(film)))
    return pairs


@needs_jit
@pytest.mark.slow
@pytest.mark.parametrize("match", ["layout", "clusters"])
def test_near_the_beginning_a_preview_is_the_film_s_picture(
    match: str, tmp_path: Path, gallery: Gallery
) -> None:
    clip = make(tmp_path / "a.mkv", [moving(n) for n in range(60)], codec="ffv1")
    for shown, film in preview_and_film(clip, tmp_path, gallery, [0, 1, 40, 59], match=match):
        assert np.array_equal(shown, film)


@needs_jit
@pytest.mark.slow
def test_behind_a_cut_of_all_cells_a_preview_has_the_photos_of_the_film(
    tmp_path: Path, gallery: Gallery
) -> None:
    """The run-up begins at 3.2 s, in the first scene; the film has a cut at 8 s."""
    count, cut, at = 340, 200, 330
    clip = make(
        tmp_path / "a.mkv",
        [moving(n, scene=int(n >= cut)) for n in range(count)],
        codec="ffv1",
    )
    ((shown, film),) = preview_and_film(clip, tmp_path, gallery, [at])
    # The same photos; the original over them may be as old as the last change that can be seen.
    away = np.abs(shown.astype(int) - film)
    assert away.max() <= 8
    assert away.mean() < 0.5


@needs_jit
def test_a_preview_is_one_picture_with_its_name(
    film: Path, tmp_path: Path, program: Program, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").symlink_to(film)
    words = ("--gallery", gallery.path, "--scale", "1", "--tile", "16")
    outcome = program("run", "film.mp4", "--preview", "0:12.5", "p.png", "--map", "m.html", *words)
    assert outcome.code == 0
    assert "p.png, m.html: a picture of 160x48 pixels" in outcome.lines[-1]
    assert program("run", "film.mp4", "--preview", "5", *words).code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "film-mosaic.png", "film.mp4", "m.html", "p.png",
    ]  # fmt: skip
    # Without tint and tiles it is the original itself, which has a number.
    original = (*words, "--overlay", "1")
    assert program("run", "film.mp4", "--preview", "12.5", "o.png", *original).code == 0
    shown = cv2.imread("o.png")
    assert shown is not None
    assert number_of(Frame.from_bgr(shown)) == 312


@pytest.mark.parametrize("output", ["o.mp4", "window", "vcam", "o.gif", "-"])
def test_a_preview_is_no_video(output: str, film: Path) -> None:
    with pytest.raises(UsageError, match="a preview is a picture"):
        render(film, output, preview=1.0)


def test_a_preview_of_what_is_not_there(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.png"
    for at in (26.0, 99.0):
        with pytest.raises(OptionError, match=r"preview .*lasts 24\.\d s"):
            render(film, out, preview=at)
    with pytest.raises(OptionError, match=r"preview .*is live"):
        render("pattern:64x48", out, preview=1.0)
    assert not out.exists()


def test_times_as_they_are_written() -> None:
    for text, seconds in {
        "90": 90,
        "1:30": 90,
        "0:47:10.5": 2830.5,
        "00:47:10": 2830,
        "0.04": 0.04,
        "100:00": 6000,
    }.items():
        assert explicit_options({"start": text}) == {"start": seconds}
    for text in ("", ":", "1:60", "1:-1", "-1", "1:2:3:4", "x", "1:2.5:3", "nan", "1e9999"):
        with pytest.raises(OptionError, match="must be a time, such as"):
            explicit_options({"start": text})
