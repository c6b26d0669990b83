"""Files in: codecs, pixel formats, colour, geometry and time."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic.errors import SourceError
from livemosaic.media.colour import Colour, Matrix
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import Frame, TrackPacket
from livemosaic.sources import Source, open_source
from tests import clips

CORPUS = Path(__file__).with_name("corpus")


def read(path: Path | str, **options: Any) -> tuple[list[Frame], Source]:
    source = open_source(str(path), **options)
    try:
        return [item for item in source if isinstance(item, Frame)], source
    finally:
        source.close()


def apart(a: Frame, b: Frame) -> tuple[float, float]:
    """Mean difference of luma and of chroma."""
    luma = np.abs(a.y.astype(int) - b.y).mean()
    chroma = max(np.abs(p.astype(int) - q).mean() for p, q in ((a.u, b.u), (a.v, b.v)))
    return float(luma), float(chroma)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "ending", "tolerance"),
    [
        ("libx264", "yuv420p", "mp4", 0.0),
        ("libx264", "yuv422p", "mkv", 1.0),
        ("libx264", "yuv444p", "mkv", 1.0),
        ("libx264", "yuv420p10le", "mkv", 0.5),
        ("libx264", "gray", "mkv", 0.0),
        ("libx264", "nv12", "mkv", 0.0),
        ("libx265", "yuv420p", "mp4", 3.0),
        ("libx265", "yuv420p10le", "mkv", 3.0),
        ("libvpx-vp9", "yuv420p", "webm", 3.0),
        ("libvpx", "yuva420p", "webm", 4.0),
        ("libsvtav1", "yuv420p", "mkv", 3.0),
        ("mpeg4", "yuv420p", "avi", 6.0),
        ("mpeg2video", "yuv420p", "mpg", 6.0),
        ("prores_ks", "yuv422p10le", "mov", 2.0),
        ("prores_ks", "yuva444p10le", "mov", 2.0),
        ("ffv1", "yuv420p", "mkv", 0.0),
        ("ffv1", "yuv444p16le", "mkv", 1.0),
        ("ffv1", "gray10le", "mkv", 0.5),
        ("ffv1", "bgr0", "mkv", 2.0),
        ("png", "rgb24", "mov", 2.0),
        ("qtrle", "rgb24", "mov", 2.0),
        ("rawvideo", "uyvy422", "mov", 1.0),
    ],
)
def test_codecs_and_pixel_formats(
    tmp_path: Path, codec: str, pix_fmt: str, ending: str, tolerance: float
) -> None:
    sent = clips.frames(6)
    options = {"svtav1-params": "lp=1"} if codec == "libsvtav1" else None
    if codec == "libvpx":
        options = {"auto-alt-ref": "0", "crf": "10", "b": "5M"}
    if codec == "libx265":
        options = {"x265-params": "log-level=none", "crf": "12"}
    tags = (2, 2, 2, clips.LIMITED) if pix_fmt.startswith("gray") else None
    path = clips.make(
        tmp_path / f"clip.{ending}", sent, codec=codec, pix_fmt=pix_fmt, options=options, tags=tags
    )
    got, source = read(path)
    assert len(got) == 6
    assert source.bad_frames == 0
    assert not got[0].colour.full_range
    for a, b in zip(got, sent, strict=True):
        luma, chroma = apart(a, b)
        assert luma <= tolerance
        if not pix_fmt.startswith("gray"):
            # The bars' edges are too sharp for chroma to survive two samplings.
            assert chroma <= max(tolerance, 3.0 if "420" not in pix_fmt else 0)
        else:
            assert (a.u == 128).all()
            assert (a.v == 128).all()


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le", "yuvj420p"])
def test_matrix_and_range_are_kept(
    tmp_path: Path, matrix: Matrix, full: bool, pix_fmt: str
) -> None:
    if pix_fmt == "yuvj420p" and not full:
        pytest.skip("the format says full range")
    code = clips.MATRIX_CODES[matrix]
    tags = (code, code, code, clips.FULL if full else clips.LIMITED)
    sent = clips.frames(2, colour=Colour(matrix, full, tags))
    path = clips.make(tmp_path / "c.mkv", sent, pix_fmt=pix_fmt, tags=tags)
    got, source = read(path)
    assert got[0].colour == Colour(matrix, full, tags)
    assert source.info.colour == got[0].colour
    assert np.abs(got[0].y.astype(int) - sent[0].y).max() <= 1


@pytest.mark.parametrize(("size", "matrix"), [((160, 96), "bt601"), ((1280, 64), "bt709")])
def test_matrix_is_guessed_from_the_size(
    tmp_path: Path, size: tuple[int, int], matrix: Matrix
) -> None:
    path = clips.make(tmp_path / "c.mkv", clips.frames(1, size=size))
    _, source = read(path)
    assert source.info.colour == Colour(matrix, False, (2, 2, 2, 0))


def test_eight_bit_planes_are_not_copied(tmp_path: Path) -> None:
    got, _ = read(clips.make(tmp_path / "c.mp4"))
    assert not got[0].y.flags.owndata
    # The decoder has gone, its pictures have not.
    assert apart(got[9], clips.frames()[9]) == (0, 0)


def test_picture_in_rgb_becomes_the_colours_of_its_size(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    cv2.imwrite(str(path), clips.picture())
    got, source = read(path)
    assert source.info.still
    assert source.info.frames == 1
    expected = Frame.from_bgr(clips.picture(), colour=Colour("bt601"))
    # Chroma is averaged a little differently at the bars' edges.
    assert np.abs(got[0].y.astype(int) - expected.y).max() <= 1
    assert np.median(np.abs(got[0].u.astype(int) - expected.u)) <= 1
    assert got[0].colour == Colour("bt601", False, (*got[0].colour.tags[:2], 6, 1))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tiff"])
def test_still_pictures(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"p.{ending}"
    cv2.imwrite(str(path), clips.picture())
    got, source = read(path)
    assert len(got) == 1
    assert source.info.still
    assert np.abs(got[0].to_bgr().astype(int) - clips.picture()).mean() < 6
    assert got[0].colour.full_range == (ending == "jpg")


def gif(path: Path, count: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "rgb8"
        for frame in clips.frames(count):
            picture = clips.av_frame(frame).reformat(format="rgb8")
            picture.pts, picture.time_base = frame.pts, frame.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("count", [1, 2])
def test_gif_of_one_frame_is_a_picture(tmp_path: Path, count: int) -> None:
    got, source = read(gif(tmp_path / "c.gif", count))
    assert len(got) == count
    assert source.info.still == (count == 1)


def animated_webp() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return name + len(data).to_bytes(4, "little") + data + bytes(len(data) & 1)

    size = b"".join((side - 1).to_bytes(3, "little") for side in (160, 96))
    body = chunk(b"VP8X", bytes([2, 0, 0, 0]) + size) + chunk(b"ANIM", bytes(6))
    for number in range(2):
        done, data = cv2.imencode(".webp", clips.picture(number=number))
        assert done
        body += chunk(b"ANMF", bytes(6) + size + bytes([40, 0, 0, 0]) + data.tobytes()[12:])
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def test_animated_webp(tmp_path: Path) -> None:
    path = tmp_path / "c.webp"
    path.write_bytes(animated_webp())
    got, source = read(path)
    assert [(f.pts, f.duration) for f in got] == [(0, 40), (40, 40)]
    assert source.info.rate == 25
    assert np.abs(got[1].to_bgr().astype(int) - clips.picture(number=1)).mean() < 6
    path.write_bytes(animated_webp()[:18])
    with pytest.raises(SourceError, match="it is damaged or cut off"):
        open_source(str(path))


@pytest.mark.parametrize("size", [(161, 97), (33, 48), (48, 33), (1, 1)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "bgr0", "gray"])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    sent = clips.frames(2, size=(160, 96))
    width, height = size
    half = ((height + 1) // 2, (width + 1) // 2)
    sent = [
        f.with_picture(f.y[:1].repeat(height, 0).repeat(2, 1)[:, :width].copy(),
                       np.full(half, 100, np.uint8), np.full(half, 150, np.uint8))
        for f in sent
    ]  # fmt: skip
    got, source = read(clips.make(tmp_path / "c.mkv", sent, codec="ffv1", pix_fmt=pix_fmt))
    assert (source.info.width, source.info.height) == size
    assert got[0].y.shape == (height, width)
    assert got[0].u.shape == got[0].v.shape == half


@pytest.mark.parametrize(
    ("degrees", "turned"),
    [(90, cv2.ROTATE_90_COUNTERCLOCKWISE), (-90, cv2.ROTATE_90_CLOCKWISE), (180, cv2.ROTATE_180)],
)
def test_rotation_is_applied(tmp_path: Path, degrees: int, turned: int) -> None:
    sent = clips.frames(2)
    path = clips.make(tmp_path / "c.mp4", sent, rotation=degrees, aspect=Fraction(4, 3))
    got, source = read(path)
    for plane in ("y", "u", "v"):
        assert (getattr(got[1], plane) == cv2.rotate(getattr(sent[1], plane), turned)).all()
    upright = degrees == 180
    assert (source.info.width, source.info.height) == ((160, 96) if upright else (96, 160))
    assert source.info.sample_aspect_ratio == (Fraction(4, 3) if upright else Fraction(3, 4))
    assert "rotate" not in source.info.video_metadata


@pytest.mark.parametrize(("ending", "time_base"), [("mp4", (1, 90000)), ("mkv", (1, 1000))])
def test_variable_rate_keeps_its_times(
    tmp_path: Path, ending: str, time_base: tuple[int, int]
) -> None:
    base = Fraction(*time_base)
    pts = [round(t / base) for t in (0, 0.04, 0.1, 0.11, 0.5, 1.5, 1.52, 3, 3.04, 3.2)]
    path = clips.make(tmp_path / f"c.{ending}", pts=pts, time_base=base)
    got, source = read(path)
    assert [f.pts * f.time_base for f in got] == [p * base for p in pts]
    assert {f.time_base for f in got} == {source.info.time_base}


def test_missing_times_are_made_up(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "c.h264", rate=30, format="h264")
    got, source = read(path)
    times = [float(f.pts * f.time_base) for f in got]
    assert len(times) == 10
    steps = np.diff(times)
    assert (steps > 0).all()
    assert np.allclose(steps, 1 / float(source.info.rate), atol=1e-4)


@pytest.mark.parametrize("missing", [range(0), range(10, 15)])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])  # with pictures before a key frame
def test_avi_has_times_though_it_stores_none(tmp_path: Path, codec: str, missing: range) -> None:
    shown = [n for n in range(30) if n not in missing]
    path = clips.make(
        tmp_path / "c.avi",
        [clips.frames(30)[n] for n in shown],
        codec=codec,
        pts=shown,
        options={
            **{"bf": "2", "g": "10", "sc_threshold": "0", "b_strategy": "0"},
            **({"x264-params": "open-gop=1"} if codec == "libx264" else {}),
        },
    )
    got, _ = read(path)
    assert [float(frame.pts * frame.time_base) for frame in got] == [n / 25 for n in shown]
    with open_source(str(path)) as opened:
        items = opened.skip_to(Fraction(6), iter(opened))
        part = [item for item in items if isinstance(item, Frame)]
    assert len(part) < len(got)
    for a, b in zip(part, got[-len(part) :], strict=True):
        assert (a.pts, apart(a, b)) == (b.pts, (0, 0))


def test_b_frames_that_are_packed_with_others_have_times() -> None:
    got, _ = read(CORPUS / "18-packed-b-frames" / "packed.avi")
    assert [frame.pts * frame.time_base for frame in got] == [Fraction(n, 25) for n in range(20)]


def test_packed_b_frames_in_another_container(tmp_path: Path) -> None:
    with (
        av.open(str(CORPUS / "18-packed-b-frames" / "packed.avi")) as source,
        av.open(str(tmp_path / "c.mp4"), "w") as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    got, _ = read(tmp_path / "c.mp4")
    times = [frame.pts * frame.time_base for frame in got]
    steps = [b - a for a, b in pairwise(times[3:])]  # the third shows that they are packed
    assert steps == [Fraction(1, 25)] * 16


def test_interlaced_pictures_are_made_whole(tmp_path: Path) -> None:
    need = clips.frames(6)
    comb = []
    for n, f in enumerate(need):
        later = clips.frames(n + 2)[-1]
        y = f.y.copy()
        y[1::2] = later.y[1::2]  # the second field shows a later time
        comb.append(f.with_picture(y, f.u, f.v))
    path = clips.make(tmp_path / "c.mkv", comb, options={"x264-params": "tff=1:qp=0"})
    got, _ = read(path)
    assert [f.pts for f in got] == [0, 40, 80, 120, 160, 200]

    def combing(frame: Frame) -> float:
        y = frame.y.astype(int)
        return float(np.abs(y[1:-1] - (y[:-2] + y[2:]) / 2)[:40].mean())

    assert np.mean([combing(f) for f in got]) < 0.6 * np.mean([combing(f) for f in comb])


def test_progressive_pictures_are_left_alone(tmp_path: Path) -> None:
    got, _ = read(clips.make(tmp_path / "c.mkv"))
    assert all(apart(a, b) == (0, 0) for a, b in zip(got, clips.frames(), strict=True))


def test_numbered_sequence(tmp_path: Path) -> None:
    for n in range(17, 22):
        cv2.imwrite(str(tmp_path / f"img_{n:04d}.png"), clips.picture(number=n))
    got, source = read(tmp_path / "img_%04d.png", rate=Fraction(10))
    assert len(got) == 5
    assert source.info.rate == 10
    assert not source.info.still
    assert source.info.frames == 5
    assert [f.time_s for f in got] == pytest.approx([n / 10 for n in range(5)])
    with pytest.raises(SourceError, match="no picture has such a name"):
        open_source(str(tmp_path / "other_%04d.png"))


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize("grey", [(True, False), (False, True), (True, True)])
def test_grey_and_coloured_pictures_of_a_sequence_are_alike(
    tmp_path: Path, ending: str, grey: tuple[bool, ...]
) -> None:
    """The ranges of their samples differ in the file, and not in the frames."""
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    coloured = np.dstack([ramp] * 3)
    for n, is_grey in enumerate(grey):
        cv2.imwrite(str(tmp_path / f"{n}.{ending}"), ramp if is_grey else coloured)
    got, _ = read(tmp_path / f"%d.{ending}")
    for frame in got:
        np.testing.assert_allclose(frame.to_bgr(), coloured, atol=4)


def test_numbered_sequence_with_holes_is_read_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = [n for n in range(3, 18) if n not in (5, 9, 10)]
    for n in numbers:
        cv2.imwrite(str(tmp_path / f"100%_{n:03d}.png"), clips.picture(number=n))
    cv2.imwrite(str(tmp_path / "100%_0006.png"), clips.picture())  # of another sequence
    with caplog.at_level(logging.WARNING, "livemosaic"):
        got, source = read(tmp_path / "100%_%03d.png", rate=Fraction(30000, 1001))
    assert [(f.pts, f.duration) for f in got] == [(n, 1) for n in range(12)]
    assert source.info.time_base == 1 / source.info.rate == Fraction(1001, 30000)
    assert source.info.frames == 12
    assert source.info.duration_s == pytest.approx(12 * 1.001 / 30)
    assert source.bad_frames == 0
    for frame, n in zip(got, numbers, strict=True):
        expected = Frame.from_bgr(clips.picture(number=n), colour=Colour("bt601"))
        assert apart(frame, expected)[0] < 0.5  # the next one is 2 away
    (message,) = [r.message for r in caplog.records]
    assert "missing numbers: 3, the first is 5" in message


@pytest.mark.parametrize("bad", [(4,), (0, 1), (7,)])
@pytest.mark.parametrize("damage", ["empty", "cut", "gone", "folder"])
def test_bad_picture_of_a_sequence_costs_no_other(
    tmp_path: Path, bad: tuple[int, ...], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(8):
        path = tmp_path / f"{n}.png"
        cv2.imwrite(str(path), clips.picture(number=n))
        if n not in bad:
            continue
        data = path.read_bytes()
        path.unlink()
        if damage == "gone":
            path.symlink_to(tmp_path / "nowhere")
        elif damage == "folder":
            path.mkdir()
        else:
            path.write_bytes(data[:30] if damage == "cut" else b"")
    got, source = read(tmp_path / "%d.png")
    assert [f.pts for f in got] == [n for n in range(8) if n not in bad]
    assert source.bad_frames == len(bad)
    assert not caplog.records


@pytest.mark.skipif(sys.platform != "linux", reason="threads have names in /proc")
def test_the_decoder_of_a_sequence_has_no_threads(tmp_path: Path) -> None:
    """One that frees Python's memory can wait for ever when the decoder is closed."""
    for number in range(4):
        path = tmp_path / f"a{number}.png"
        cv2.imwrite(str(path), clips.picture())
    damaged = (tmp_path / "a0.png").read_bytes()
    (tmp_path / "a0.png").write_bytes(b"\x88" + damaged[1:])  # so that FFmpeg reads them
    with open_source(str(tmp_path / "a%d.png")) as source:
        tasks = Path("/proc/self/task").iterdir()
        names = [(task / "comm").read_text().strip() for task in tasks]
        assert not [name for name in names if name.startswith("av:png")]
        assert sum(isinstance(item, Frame) for item in source) == 3


def test_sequence_of_empty_pictures_is_refused(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.png").touch()
    with pytest.raises(SourceError, match="all its pictures are empty"):
        open_source(str(tmp_path / "%d.png"))


def test_size_change_is_fitted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for n, size in enumerate([(160, 96), (80, 48), (80, 48), (160, 96)]):
        cv2.imwrite(str(tmp_path / f"{n}.png"), clips.picture(*size))
    with caplog.at_level(logging.WARNING, "livemosaic"):
        got, _ = read(tmp_path / "%d.png")
    assert [f.y.shape for f in got] == [(96, 160)] * 4
    assert [f.u.shape for f in got] == [(48, 80)] * 4
    assert [r.message for r in caplog.records] == [
        f"{tmp_path}/%d.png: the picture changes its size: fitted into 160x96"
    ]


_FROM_PIPE = """
import sys
from livemosaic.errors import SourceError
from livemosaic.sources import open_source
try:
    s = open_source(sys.argv[1])
    print(s.name, s.info.still, sum(1 for _ in s))
except SourceError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "redirected", "message"),
    [
        ("c.mkv", False, "standard input False 10"),
        ("c.mp4", True, "standard input False 10"),
        ("p.webp", False, "standard input True 1"),
        ("p.png", True, "standard input True 1"),
        ("two.png", False, "standard input False 2"),
        ("animated.webp", False, "standard input False 2"),
        ("empty", False, "standard input: not a video or picture"),
    ],
)
def test_standard_input(tmp_path: Path, name: str, redirected: bool, message: str) -> None:
    path = tmp_path / name
    path.touch()
    if name == "animated.webp":
        path.write_bytes(animated_webp())
    elif name.endswith(("png", "webp")):
        _, data = cv2.imencode(path.suffix, clips.picture())
        path.write_bytes(data.tobytes() * (1 + (name == "two.png")))
    elif name != "empty":
        clips.make(path)
    command = [sys.executable, "-c", _FROM_PIPE, "-"]
    with path.open("rb") as file:
        if redirected:
            done = subprocess.run(command, stdin=file, capture_output=True, timeout=60, check=True)
        else:
            done = subprocess.run(
                command, input=file.read(), capture_output=True, timeout=60, check=True
            )
    assert done.stderr == b""
    assert re.match(message, done.stdout.decode())


def through_pipe(path: Path, pipe: Path) -> str:
    """The items of a file that is read through a named pipe."""
    os.mkfifo(pipe)
    # The check does not wait for a writer, so it does not open the pipe.
    code = "import sys, livemosaic.sources.input_paths as i; i.resolve_input(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, pipe], timeout=30, check=True)
    with subprocess.Popen(["sh", "-c", 'exec cat "$0" > "$1"', path, pipe]) as writer:
        try:
            command = [sys.executable, "-c", _FROM_PIPE, str(pipe)]
            done = subprocess.run(command, capture_output=True, timeout=30, check=True, text=True)
            assert writer.wait(10) == 0
        finally:
            writer.kill()
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipe_is_opened_once(tmp_path: Path) -> None:
    """Its writer would be left alone, and end."""
    path, pipe = clips.make(tmp_path / "c.mkv", clips.frames(40)), tmp_path / "pipe"
    assert through_pipe(path, pipe) == f"{pipe} False 40\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("count", [1, 2])
def test_named_pipe_with_pictures(tmp_path: Path, count: int) -> None:
    path, pipe = tmp_path / "p.png", tmp_path / "pipe"
    _, data = cv2.imencode(".png", clips.picture())
    path.write_bytes(data.tobytes() * count)
    assert through_pipe(path, pipe) == f"{pipe} {count == 1} {count}\n"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pictures_of_a_slow_pipe(tmp_path: Path) -> None:
    """Each is there before the one after the next: FFmpeg sees its end when the next begins.

    It reads some megabytes before it shows the first.
    """
    pipe, got, late = tmp_path / "pipe", threading.Semaphore(0), []
    os.mkfifo(pipe)
    _, data = cv2.imencode(
        ".png", np.random.default_rng(0).integers(0, 255, (700, 900, 3), np.uint8)
    )

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for number in range(6):
                file.write(data.tobytes())
                time.sleep(0.5)
                if number >= 4 and not all(
                    got.acquire(timeout=5) for _ in range(4 if number == 4 else 1)
                ):
                    late.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    with open_source(str(pipe)) as source:
        for _ in source:
            got.release()
    writer.join()
    assert not late


def test_milliseconds_are_no_rate(tmp_path: Path) -> None:
    """Browsers record a screen so: a constant rate would be a thousand pictures a second."""
    path = clips.make(
        tmp_path / "c.webm",
        codec="libvpx",
        pts=[0, 40, 41, 180, 200, 350, 351, 400, 583, 601],
        time_base=Fraction(1, 1000),
        rate=1000,
    )
    source = open_source(str(path))
    assert source.info.rate == 25
    assert source.info.peak_rate is None
    source.close()


def test_other_tracks_come_along(tmp_path: Path) -> None:
    path = clips.make(
        tmp_path / "c.mkv",
        sound=["aac", "libmp3lame"],
        texts=["ass"],
        languages=["deu", "eng", "fra"],
        chapters=[(0, 200, "one"), (200, 400, "two")],
        metadata={"title": "a title"},
    )
    source = open_source(str(path))
    items = list(source)
    info = source.info
    assert [(t.type, t.language) for t in info.tracks] == [
        ("audio", "deu"),
        ("audio", "eng"),
        ("subtitle", "fra"),
    ]
    per_track = [sum(isinstance(i, TrackPacket) and i.track == n for i in items) for n in range(3)]
    assert per_track[0] > 10
    assert per_track[1] > 10
    assert per_track[2] == 2
    assert [(c.start * c.time_base, c.metadata["title"]) for c in info.chapters] == [
        (0, "one"),
        (Fraction(1, 5), "two"),
    ]
    assert info.metadata["title"] == "a title"
    assert info.duration_s == pytest.approx(0.4, abs=0.1)
    source.close()
    source.close()


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = clips.make(tmp_path / "c.mkv", clips.frames(60))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    read(path)
    assert capfd.readouterr() == ("", "")


# ---- bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "options"), [("mp4", None), ("mkv", None), ("ts", None)])
def test_damaged_file_gives_what_it_has(tmp_path: Path, ending: str, options: None) -> None:
    path = clips.make(tmp_path / f"c.{ending}", clips.frames(60), options={"g": "10", "qp": "10"})
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(1).integers(0, 256, 300, np.uint8).tobytes()
    for part in (0.4, 0.5, 0.6):
        at = int(len(data) * part)
        data[at : at + 300] = noise
    path.write_bytes(data)
    got, source = read(path)
    assert 20 <= len(got) <= 62
    assert source.bad_frames > 0
    assert all(a.pts < b.pts for a, b in pairwise(got))


def test_cut_off_file_gives_what_it_has(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "c.mkv", clips.frames(60))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    got, source = read(path)
    assert 10 < len(got) < 60
    assert source.bad_frames <= 2


def test_a_file_that_ends_early_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = clips.make(tmp_path / "c.mkv", clips.frames(150))
    read(path)
    assert not caplog.records
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 5 // 10])
    read(path)
    assert "cut off or damaged" in caplog.text


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_file_whose_last_picture_lasts_is_whole(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    rate = Fraction(1, 5)
    path = clips.make(tmp_path / f"c.{ending}", clips.frames(4), rate=rate, time_base=1 / rate)
    got, source = read(path)
    assert [f.time_s for f in got] == [0, 5, 10, 15]
    assert source.info.duration_s == 20
    assert not caplog.records


def test_a_subtitle_that_lasts_longer_than_the_film(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.mkv"
    with (
        av.open(str(clips.make(tmp_path / "in.mkv", texts=["srt"]))) as source,
        av.open(str(path), "w") as target,
    ):
        streams = {it.index: target.add_stream_from_template(it) for it in source.streams}
        for packet in source.demux():
            if packet.size:
                if packet.stream.type == "subtitle":
                    packet.duration = 100_000  # milliseconds
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    frames, opened = read(path)
    assert (len(frames), opened.info.frames, opened.info.duration_s) == (10, 10, 0.4)
    assert not caplog.text


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.txt").write_text("some words\n" * 50)
    (tmp_path / "text.mp4").write_text("some words\n" * 50)
    whole = clips.make(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(5000))
    for name, problem in {
        "missing.mp4": "no such file",
        "empty.mp4": "empty",
        ".": "folder",
        "text.txt": "text file|not a video",
        "text.mp4": "not a video",
        "cut.mp4": "cut off",
        "noise.mkv": "not a video",
    }.items():
        path = str(tmp_path / name) if name != "." else str(tmp_path)
        with pytest.raises(SourceError, match=problem) as caught:
            open_source(path)
        assert str(caught.value).startswith(path)
        assert "\n" not in str(caught.value)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clips.make(tmp_path / "c.mp4")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, who may read all
    with pytest.raises(SourceError, match="permission"):
        open_source(str(path))


def test_sound_without_picture(tmp_path: Path) -> None:
    path = tmp_path / "c.mka"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("aac", rate=48000)
        container.mux(list(clips.tone(stream, Fraction(1, 2))))
    with pytest.raises(SourceError, match="no video"):
        open_source(str(path))


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    clips.need_encoder("libmp3lame")
    path = tmp_path / "c.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 160, 96, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.start_encoding()
        coded = clips.av_frame(clips.frames(1)[0])
        coded.pts, coded.time_base = 0, Fraction(1, 1)
        container.mux(cover.encode(coded.reformat(format="yuvj420p", dst_color_range=2)))
        container.mux(cover.encode(None))
        container.mux(list(clips.tone(stream, Fraction(1, 2))))
    with av.open(str(path)) as check:
        assert len(check.streams.video) == 1
    with pytest.raises(SourceError, match="no video"):
        open_source(str(path))


def test_data_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, other = clips.make(tmp_path / "in.ts"), tmp_path / "data.ts"
    with av.open(str(path)) as source, av.open(str(other), "w") as result:
        video = result.add_stream_from_template(source.streams.video[0])
        data = result.add_data_stream("klv")
        result.start_encoding()
        for packet in source.demux(video=0):
            if packet.dts is not None:
                telemetry = av.Packet(b"telemetry")
                telemetry.pts = telemetry.dts = packet.dts
                packet.stream, telemetry.stream, telemetry.time_base = video, data, packet.time_base
                result.mux([packet, telemetry])
    with caplog.at_level(logging.WARNING, "livemosaic"):
        assert len(read(other)[0]) == 10
    assert [r.message for r in caplog.records] == [
        f"{other}: its data (stream 2), such as telemetry, is left out"
    ]


def test_timecode_and_chapters_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Which are tracks of data in MP4."""
    path = clips.make(
        tmp_path / "in.mp4",
        sound=["aac"],
        chapters=[(0, 200, "a")],
        metadata={"timecode": "01:02:03:04"},
    )
    with av.open(str(path)) as check:
        assert len(check.streams.data) == 2
    with caplog.at_level(logging.WARNING, "livemosaic"):
        source = open_source(str(path))
    source.close()
    assert not caplog.records
    assert source.info.video_metadata["timecode"] == "01:02:03:04"
    assert len(source.info.chapters) == 1


def test_other_videos_and_covers_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.mp4"
    small = [clips.av_frame(f) for f in clips.frames(3, size=(80, 48))]
    large = [clips.av_frame(f) for f in clips.frames(3)]
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 80, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        other = container.add_stream("libx264", rate=25)
        other.width, other.height = 80, 48
        video = container.add_stream("libx264", rate=25)
        video.width, video.height = 160, 96
        video.disposition = av.stream.Disposition.default
        container.start_encoding()
        small[0].pts = 0
        picture = small[0].reformat(format="yuvj420p", dst_color_range=2)
        container.mux([*cover.encode(picture), *cover.encode(None)])
        for stream, pictures in ((other, small), (video, large)):
            for n, picture in enumerate(pictures):
                picture.pts, picture.time_base = n, Fraction(1, 25)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    with caplog.at_level(logging.WARNING, "livemosaic"):
        got, _ = read(path)
    assert [f.y.shape for f in got] == [(96, 160)] * 3
    with av.open(str(path)) as check:
        covers = [bool(s.disposition & cover.disposition) for s in check.streams.video]
    assert sorted(covers) == [False, False, True]
    assert sorted(r.message for r in caplog.records) == sorted(
        [
            f"{path}: its cover picture (stream {covers.index(True) + 1}) is left out",
            f"{path}: its other video (stream {covers.index(False) + 1}) is left out",
        ]
    )


def test_times_that_repeat_or_go_back_are_repaired() -> None:
    from livemosaic.sources.timestamps import TimestampRepair

    clock = TimestampRepair(Fraction(1, 1000), rate=Fraction(25))
    assert [clock(p) for p in (0, 40, 40, 30, 80, None, None, 200)] == [
        0, 40, 41, 42, 80, 120, 160, 200,
    ]  # fmt: skip
    # Two recordings joined: the second goes on where the first ended.
    clock = TimestampRepair(Fraction(1, 1000), rate=Fraction(25))
    assert [clock(p) for p in (5000, 5040, 0, 40, 80)] == [5000, 5040, 5080, 5120, 5160]
    # No rounding adds up at a rate that is no whole number of ticks.
    clock = TimestampRepair(Fraction(1, 1000), rate=Fraction(30000, 1001))
    assert [clock(None) for _ in range(301)][-1] == round(300 * 1001 / 30)


def later(path: Path, seconds: float, *, name: str) -> Path:
    """The same recording, by a clock that is so much ahead."""
    target = path.with_name(name)
    options = {"output_ts_offset": str(seconds)}
    with av.open(str(path)) as source, av.open(str(target), "w", options=options) as container:
        streams = {s.index: container.add_stream_from_template(s) for s in source.streams}
        chapters = source.chapters()
        for chapter in chapters:
            for key in ("start", "end"):
                chapter[key] += round(seconds / (chapter["time_base"] or 1))
        container.set_chapters(chapters)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                container.mux(packet)
    return target


def times(path: Path) -> tuple[list[float], list[float]]:
    """Of all pictures and of all sound, in seconds."""
    source = open_source(str(path))
    items = list(source)
    shown = [float(i.pts * i.time_base) for i in items if isinstance(i, Frame)]
    packets = [i.packet for i in items if isinstance(i, TrackPacket)]
    heard = [float(p.pts * p.time_base) for p in packets if p.stream.type == "audio"]
    source.close()
    return shown, heard


@pytest.mark.parametrize(
    ("ending", "start_s"), [("ts", 1.5), *((e, 36_000.0) for e in ("ts", "mkv", "mp4", "flv"))]
)
def test_times_count_from_where_a_recording_begins(
    tmp_path: Path, ending: str, start_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    whole = clips.make(tmp_path / f"c.{ending}", clips.frames(50), sound=["aac"])
    piece = later(whole, start_s, name=f"late.{ending}")
    with av.open(str(piece)) as check:
        assert check.start_time / 1e6 == pytest.approx(start_s, abs=0.1)
    (shown, heard), (its_shown, its_heard) = times(whole), times(piece)
    # Sound begins with samples that are not to be heard, one frame of AAC at most.
    assert min(*its_shown, *its_heard) == pytest.approx(0, abs=0.022)
    # By one shift for all, so that the sound stays with the picture.
    assert np.subtract(its_shown, shown) == pytest.approx(its_shown[0] - shown[0], abs=0.002)
    assert np.subtract(its_heard, heard) == pytest.approx(its_shown[0] - shown[0], abs=0.002)
    assert read(piece)[1].info.duration_s == pytest.approx(2, abs=0.1)
    assert not caplog.records


@pytest.mark.parametrize(("ending", "start_s"), [("ts", 0.5), ("mkv", 50.0), ("mp4", 50.0)])
def test_small_beginnings_are_kept(tmp_path: Path, ending: str, start_s: float) -> None:
    whole = clips.make(tmp_path / f"c.{ending}", sound=["aac"])
    piece = later(whole, start_s, name=f"late.{ending}")
    shown, its_shown = times(whole)[0], times(piece)[0]
    assert np.subtract(its_shown, shown) == pytest.approx(start_s, abs=0.002)


def test_picture_that_comes_later_than_the_sound_stays_late(tmp_path: Path) -> None:
    pts = [n + 75 for n in range(10)]
    path = clips.make(tmp_path / "c.mkv", pts=pts, sound=["aac"])
    shown, heard = times(path)
    assert shown[0] == 3
    assert heard[0] == pytest.approx(0, abs=0.03)
    assert times(later(path, 3600, name="late.mkv"))[0] == pytest.approx(shown, abs=0.03)


def test_chapters_count_from_where_a_recording_begins(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "c.mkv", chapters=[(0, 200, "one"), (200, 400, "two")])
    chapters = read(later(path, 100, name="late.mkv"))[1].info.chapters
    assert [(float(c.start * c.time_base), float(c.end * c.time_base)) for c in chapters] == [
        (0, 0.2),
        (0.2, 0.4),
    ]


@pytest.mark.parametrize("count", [25, 75])
def test_joined_recordings_go_on_with_all_their_tracks(tmp_path: Path, count: int) -> None:
    piece = clips.make(tmp_path / "c.ts", clips.frames(count), sound=["aac"])
    path = tmp_path / "joined.ts"
    path.write_bytes(piece.read_bytes() * 3)
    source = open_source(str(path))
    items = list(source)
    shown = np.array([float(i.pts * i.time_base) for i in items if isinstance(i, Frame)])
    assert len(shown) == 3 * count
    assert np.diff(shown) == pytest.approx(0.04, abs=0.001)
    sound = [i.packet for i in items if isinstance(i, TrackPacket)]
    heard = np.array([float(p.pts * p.time_base) for p in sound])
    source.close()
    # A frame of sound is 21 ms. Sound is a little longer than the picture, or shorter.
    assert np.abs(np.diff(heard)).max() < 0.1
    assert heard[-1] - heard[0] == pytest.approx(3 * count / 25, abs=0.1)


@pytest.mark.parametrize("sound", [["aac"], []])
def test_joined_recordings_of_which_one_was_made_later(
    tmp_path: Path, sound: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    first = clips.make(tmp_path / "a.ts", clips.frames(75), sound=sound)
    path = tmp_path / "joined.ts"
    pieces = [first, later(first, 5000, name="b.ts"), later(first, 5020, name="c.ts"), first]
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    shown, heard = times(path)
    assert len(shown) == 4 * 75
    assert np.diff(shown) == pytest.approx(0.04, abs=0.001)
    if sound:
        assert np.abs(np.diff(heard)).max() < 0.1
        assert heard[-1] - heard[0] == pytest.approx(12, abs=0.1)
    assert not caplog.records


def test_sound_that_steps_back_before_or_after_the_picture() -> None:
    from livemosaic.sources.discontinuity import Discontinuity

    with av.open(io.BytesIO(), "w", format="matroska") as container:
        streams = [container.add_stream("libx264", rate=25), clips.add_track(container, "aac")]
        streams.append(clips.add_track(container, "ass"))

    def times(order: Sequence[tuple[int, int]], *, leaps: bool = False) -> list[tuple[int, int]]:
        shifted = Discontinuity(0, rate=Fraction(25), leaps=leaps)
        out = []
        for index, ms in order:
            packet = av.Packet(b"x")
            packet.stream, packet.time_base = streams[index], Fraction(1, 1000)
            packet.pts = packet.dts = ms
            out += list(shifted(packet))
        out += list(shifted.flush())
        return [(p.stream_index, p.pts) for p in out]

    piece = [(kind, ms) for ms in range(0, 2000, 40) for kind in (0, 1)]
    whole = [(kind, ms) for ms in range(0, 4000, 40) for kind in (0, 1)]
    assert times(piece * 2) == whole
    last, first = piece[-1], piece[1]
    late = [*piece[:-1], piece[0], last, first, *piece[2:]]
    assert sorted(times(late)) == sorted(whole)
    early = [*piece, first, piece[0], *piece[2:]]
    assert sorted(times(early)) == sorted(whole)
    # Nor does it matter with a leap ahead, where one says nothing.
    ahead = [(kind, ms + 60_000) for kind, ms in piece]
    late = [*piece[:-1], ahead[0], last, *ahead[1:]]
    early = [*piece, ahead[1], ahead[0], *ahead[2:]]
    for order in ([*piece, *ahead], late, early):
        assert sorted(times(order, leaps=True)) == sorted(whole)
        assert sorted(times(order)) == sorted(order)
    # Disorder is none, nor is a track that steps back alone: it is not lost, and moves no other.
    assert times([(0, 0), (0, 80), (0, 40), (0, 120)]) == [(0, 0), (0, 80), (0, 40), (0, 120)]
    alone = [(0, 0), (1, 2000), (1, 0), (0, 40), (1, 20)]
    assert sorted(times(alone)) == sorted(alone)
    # Silence after a discontinuity is kept.
    silent = [*piece * 2, *((0, ms) for ms in range(2000, 6000, 40)), (1, 5960)]
    assert times(silent)[-1] == (1, 7960)
    # So are pauses of the picture alone, and of the sound alone, where times may leap.
    for kind in (0, 1):
        pause = [(1 - kind, ms) for ms in range(2000, 60_000, 40)]
        order = [*piece, *pause, *ahead]
        assert sorted(times(order, leaps=True)) == sorted(order)
    texts = [*piece, (2, 500), *piece[:26], (2, 500), *piece[26:]]
    assert [ms for kind, ms in times(texts) if kind == 2] == [500, 2500]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_camera_picture(tmp_path: Path, orientation: int) -> None:
    """EXIF as cameras write it; OpenCV reads it too, by code of its own."""
    path = tmp_path / "p.jpg"
    done, data = cv2.imencode(".jpg", clips.picture())
    assert done
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + bytes([0, orientation]) + bytes(6)
    body = b"Exif\0\0" + tiff
    head = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    path.write_bytes(data.tobytes()[:2] + head + data.tobytes()[2:])
    expected = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))
    got, _ = read(path)
    assert got[0].to_bgr().shape == expected.shape
    assert np.abs(got[0].to_bgr().astype(int) - expected).mean() < 6


@pytest.mark.parametrize(("hflip", "vflip", "code"), [(True, False, 1), (False, True, 0)])
def test_mirrored_video(tmp_path: Path, hflip: bool, vflip: bool, code: int) -> None:
    path = clips.make(tmp_path / "c.mp4", rotation=0, mirror=(hflip, vflip))
    got, _ = read(path)
    assert (got[3].y == cv2.flip(clips.frames()[3].y, code)).all()


@pytest.mark.parametrize(
    "lists",
    [
        {"a.m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\na.m3u8\n"},
        {"a.m3u8": '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",URI="a.m3u8"\n'},
        {"a.ffconcat": "ffconcat version 1.0\nfile 'b.ffconcat'\n",
         "b.ffconcat": "ffconcat version 1.0\nfile a.ffconcat\n"},
    ],
)  # fmt: skip
def test_a_playlist_that_contains_itself(tmp_path: Path, lists: dict[str, str]) -> None:
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    first = tmp_path / next(iter(lists))
    with pytest.raises(SourceError, match="contains itself"):
        open_source(str(first))


def test_a_long_chain_of_playlists(tmp_path: Path) -> None:
    for number in range(30):
        text = f"ffconcat version 1.0\nfile {number + 1}.ffconcat\n"
        (tmp_path / f"{number}.ffconcat").write_text(text)
    with pytest.raises(SourceError, match="contains over 20 playlists"):
        open_source(str(tmp_path / "0.ffconcat"))


def test_a_list_may_have_a_film_twice(tmp_path: Path) -> None:
    clips.make(tmp_path / "a.mkv", clips.frames(5))
    (tmp_path / "a.ffconcat").write_text("ffconcat version 1.0\nfile a.mkv\nfile a.mkv\n")
    with open_source(str(tmp_path / "a.ffconcat")) as source:
        assert sum(isinstance(item, Frame) for item in source) == 10
