"""Pictures as inputs: those that Pillow reads, and those that stay with FFmpeg."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from livemosaic.errors import SourceError
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import Frame
from livemosaic.sources import open_source
from livemosaic.sources.file import FileSource
from livemosaic.sources.image import ImageSource

from .conftest import ROOT
from .gallery_files import (
    ANIMATED_GIF,
    FIELDS,
    U8,
    encode,
    fields,
    heic,
    icc_profile,
    oriented,
    photo,
    with_12_bits,
    with_profile,
)
from .program import Program, needs_jit

WIDTH, HEIGHT = 192, 128


def picture_of(path: Path, kind: type[ImageSource] | type[FileSource] = ImageSource) -> U8:
    with open_source(str(path)) as source:
        assert type(source) is kind
        assert source.info.still
        assert source.info.frames == 1
        frames = [item for item in source if isinstance(item, Frame)]
    (frame,) = frames
    assert (frame.width, frame.height) == (source.info.width, source.info.height)
    return frame.to_bgr()


def assert_fields(picture: U8) -> None:
    height, width = picture.shape[:2]
    for (y, x), colour in FIELDS.items():
        found = picture[height * (1 + 2 * y) // 4, width * (1 + 2 * x) // 4]
        assert np.abs(found.astype(int) - colour).max() <= 6


def pillow(picture: U8, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture[..., ::-1]).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["photo.heic", "photo.HIF", "photo.jpg", "photo"])
def test_heic_by_its_content(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(heic(fields(WIDTH, HEIGHT), tile=64))
    picture = picture_of(tmp_path / name)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert_fields(picture)


def test_avif_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "q.jpg").write_bytes(pillow(fields(WIDTH, HEIGHT), "AVIF"))
    assert_fields(picture_of(tmp_path / "q.jpg"))


def test_a_dpx_that_is_not_linear(tmp_path: Path) -> None:
    encoder: Any = av.CodecContext.create("dpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "rgb24"
    encoder.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(fields(WIDTH, HEIGHT)[..., ::-1].copy(), "rgb24")
    data = bytearray(encoder.encode(frame)[0])
    data[801] = 2  # linear, as FFmpeg 5 says of any picture
    (tmp_path / "x.dpx").write_bytes(data)
    assert_fields(picture_of(tmp_path / "x.dpx", FileSource))


def test_a_jpeg_of_12_bits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    jpeg = pillow(fields(WIDTH, HEIGHT), "JPEG", quality=98)
    (tmp_path / "x.jpg").write_bytes(with_12_bits(jpeg))
    assert_fields(picture_of(tmp_path / "x.jpg", FileSource))
    assert not caplog.text


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
def test_a_colour_profile(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind.lower()}"
    path.write_bytes(with_profile(fields(WIDTH, HEIGHT), kind, "P3"))
    assert_fields(picture_of(path))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_orientation(extension: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / f"x{extension}"
    path.write_bytes(oriented(fields(WIDTH, HEIGHT), extension, orientation))
    with open_source(str(path)) as source:
        frame = next(item for item in source if isinstance(item, Frame))
    expected = np.asarray(cv2.imread(str(path)), np.uint8)
    assert (frame.height, frame.width) == expected.shape[:2]
    found = frame.to_bgr()
    for y in (1, 3):
        for x in (1, 3):
            at = frame.height * y // 4, frame.width * x // 4
            assert np.abs(found[at].astype(int) - expected[at]).max() <= 6


def test_transparency_of_a_converted_picture(tmp_path: Path) -> None:
    picture = np.dstack([fields(32, 32), np.zeros((32, 32), np.uint8)])
    file = io.BytesIO()
    image = Image.fromarray(picture[..., [2, 1, 0, 3]])
    image.save(file, "PNG", icc_profile=icc_profile("P3"))
    (tmp_path / "x.png").write_bytes(file.getvalue())
    assert np.abs(picture_of(tmp_path / "x.png").astype(int) - 128).max() <= 1


@pytest.mark.parametrize(
    "data",
    [encode(photo(1), ".jpg"), pillow(photo(1), "JPEG", icc_profile=icc_profile("sRGB"))],
    ids=["no profile", "sRGB"],
)
def test_samples_of_plain_jpegs_are_not_converted(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    (tmp_path / "s_1.jpg").write_bytes(data)
    luma = Image.open(io.BytesIO(data))
    luma.draft("YCbCr", luma.size)
    for name in ("a.png", "s_%d.jpg"):
        with open_source(str(tmp_path / name)) as source:
            (frame,) = source
            assert isinstance(frame, Frame)
            assert source.info.colour == frame.colour
        assert frame.colour.full_range
        assert np.abs(frame.y.astype(int) - np.asarray(luma)[..., 0]).max() <= 1


def test_animated_gif_stays_with_ffmpeg(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(ANIMATED_GIF)
    with open_source(str(tmp_path / "a.gif")) as source:
        assert type(source) is FileSource


@pytest.mark.parametrize("kind", ["PNG", "WebP", "AVIF"])
def test_animations(kind: str, tmp_path: Path) -> None:
    """Each picture has its time, its colours and the ground."""
    pictures = [Image.fromarray(over_nothing(fields(64, 48), n)) for n in range(3)]
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WebP" else {}
    durations = [100, 200, 100]
    pictures[0].save(
        file, kind, save_all=True, append_images=pictures[1:], duration=durations, **options
    )
    (tmp_path / "a").write_bytes(file.getvalue())
    with open_source(str(tmp_path / "a")) as source:
        assert not source.info.still
        assert source.info.rate == 10
        frames = [item for item in source if isinstance(item, Frame)]
    assert [round(frame.time_s * 1000) for frame in frames] == [0, 100, 300]
    for n, frame in enumerate(frames):
        picture = frame.to_bgr()
        assert np.abs(picture[:4, 16 * n + 4 : 16 * n + 12].astype(int) - 128).max() <= 4
        assert np.abs(picture[36, 48].astype(int) - FIELDS[1, 1]).max() <= 6


def over_nothing(picture: U8, n: int) -> U8:
    """RGBA with a transparent stripe that moves with `n`."""
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[:8, 16 * n : 16 * n + 16] = 0
    return np.dstack([picture[..., ::-1], alpha])


@pytest.mark.parametrize("name", ["x.png", "s_%d.png"])
def test_colour_profiles_of_png_do_not_crash_the_program(name: str, tmp_path: Path) -> None:
    """PyAV 18 frees their names twice if its side data is read; seen when garbage is collected."""
    data = pillow(photo(1), "PNG", icc_profile=icc_profile("sRGB"))
    for file in ("x.png", "s_1.png", "s_2.png"):
        (tmp_path / file).write_bytes(data)
    code = (
        "import gc; from livemosaic.sources import open_source\n"
        "for _ in range(5):\n"
        f"    with open_source({str(tmp_path / name)!r}) as source:\n"
        "        list(source)\n"
        "    del source; gc.collect()\n"
        "print('done')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.stdout == "done\n", done


@pytest.mark.parametrize("name", ["x.heic", "x.avif"])
def test_a_damaged_picture(name: str, tmp_path: Path) -> None:
    picture = fields(WIDTH, HEIGHT)
    data = heic(picture) if name == "x.heic" else pillow(picture, "AVIF")
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=f"{name}: .*damaged or cut off"):
        open_source(str(tmp_path / name))


def test_the_first_frame_of_a_video_needs_no_pillow() -> None:
    code = (
        "import sys; from livemosaic.sources import open_source\n"
        f"source = open_source({str(ROOT / 'livemosaic/demo/bigbuckbunny.mp4')!r})\n"
        "next(iter(source)); source.close()\n"
        "print([m for m in ('PIL', 'pillow_heif') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.stdout == "[]\n", done.stderr


@needs_jit
def test_a_phone_photo_becomes_a_mosaic(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "IMG_1234.HEIC").write_bytes(heic(fields(WIDTH, HEIGHT), tile=64))
    done = program("run", "IMG_1234.HEIC", "out.png", "--size", "384x256", "--overlay", "1")
    assert done.code == 0, done
    assert_fields(np.asarray(cv2.imread(str(tmp_path / "out.png")), np.uint8))


def test_the_largest_picture_of_an_icon(tmp_path: Path) -> None:
    file = io.BytesIO()
    picture = Image.fromarray(fields(128, 128)[..., ::-1])
    picture.save(file, "ICO", sizes=[(16, 16), (128, 128), (32, 32)])
    (tmp_path / "a.ico").write_bytes(file.getvalue())
    shown = picture_of(tmp_path / "a.ico")
    assert shown.shape == (128, 128, 3)
    assert_fields(shown)


def test_a_jpeg_that_is_cut_off_is_shown_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with open_source(str(tmp_path / "cut.jpg")) as source:
        assert (source.info.width, source.info.height) == (320, 240)
    assert "cut.jpg: damaged or cut off JPEG" in caplog.text
