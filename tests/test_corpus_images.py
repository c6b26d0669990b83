"""Pictures of tests/corpus come out as they look: as inputs, through a pipe, and as tiles."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from livemosaic.gallery.recipe import Recipe
from livemosaic.gallery.tiles import photo_tiles
from livemosaic.media.frame import Frame
from livemosaic.sources import open_source

from .conftest import ROOT
from .gallery_files import U8
from .program import Program, needs_jit
from .streams import files_of, http_server

CORPUS = ROOT / "tests" / "corpus"

GREY = (128, 128, 128)
WHITE, BLUE, YELLOW, PURPLE = (255, 255, 255), (29, 30, 200), (220, 219, 40), (200, 40, 200)
RED, GREEN = (200, 60, 50), (60, 170, 60)
SCENE = {
    (0.25, 0.25): (200, 60, 50),
    (0.75, 0.25): (60, 170, 60),
    (0.25, 0.75): (50, 80, 200),
    (0.75, 0.75): (224, 170, 140),
}
SIX = {
    (0.1, 0.1): (200, 30, 30),
    (0.5, 0.1): (30, 180, 30),
    (0.9, 0.1): (30, 30, 200),
    (0.1, 0.9): (220, 220, 40),
    (0.5, 0.9): (30, 200, 200),
    (0.9, 0.9): (200, 40, 200),
    (0.5, 0.5): (255, 255, 255),
}
STEPS = {((2 * n + 1) / 12, 0.5): (v, v, v) for n, v in enumerate((0, 8, 85, 128, 245, 255))}
DISC = {(0.5, 0.5): (200, 30, 30), (0.05, 0.1): GREY, (0.05, 0.9): GREY}

Colours = Mapping[tuple[float, float], tuple[int, ...]]  # R'G'B' by (x, y), as shares of the sides


def corners(*colours: tuple[int, ...]) -> Colours:
    """Of the top left, top right, bottom left and bottom right corner."""
    places = ((0.05, 0.05), (0.95, 0.05), (0.05, 0.95), (0.95, 0.95))
    return dict(zip(places, colours, strict=True))


# By file: the size of the picture, and its colours.
EXPECTED: dict[str, tuple[tuple[int, int], Colours]] = {
    "01-heic-grid/grid.heic": ((1536, 1024), SIX),
    "01-heic-grid/grid_thumb.heic": ((1536, 1024), SIX),
    "06-grey-jpeg/g.jpg": ((192, 96), STEPS),
    "06-grey-jpeg/g.png": ((192, 96), STEPS),
    "06-grey-jpeg/rgb.jpg": ((192, 96), STEPS),
    "07-transparent-input/garbage.png": ((320, 240), DISC),
    "07-transparent-input/logo.png": (
        (320, 160),
        {(0.03, 0.5): GREY, (0.3, 0.5): (0, 0, 0), (0.75, 0.5): GREY},
    ),
    "07-transparent-input/trans.gif": ((320, 240), DISC),
    "08-icc/adobe.jpg": ((256, 256), SCENE),
    "08-icc/p3.jpg": ((256, 256), SCENE),
    "08-icc/p3.png": ((256, 256), SCENE),
    "08-icc/srgb.jpg": ((256, 256), SCENE),
    "12-mirrored-exif/imir0.heic": ((768, 512), corners(YELLOW, PURPLE, WHITE, BLUE)),
    "12-mirrored-exif/imir1.heic": ((768, 512), corners(BLUE, WHITE, PURPLE, YELLOW)),
    "12-mirrored-exif/j2.jpg": ((768, 512), corners(BLUE, WHITE, PURPLE, YELLOW)),
    "12-mirrored-exif/j4.jpg": ((768, 512), corners(YELLOW, PURPLE, WHITE, BLUE)),
    "12-mirrored-exif/j7.jpg": ((512, 768), corners(PURPLE, BLUE, YELLOW, WHITE)),
    "12-mirrored-exif/p2.png": ((768, 512), corners(BLUE, WHITE, PURPLE, YELLOW)),
    "13-avif-turned-gallery/one.avif": ((768, 512), corners(WHITE, BLUE, YELLOW, PURPLE)),
    "13-avif-turned-gallery/irot1.avif": ((512, 768), corners(BLUE, PURPLE, WHITE, YELLOW)),
    "13-avif-turned-gallery/imir1.avif": ((768, 512), corners(BLUE, WHITE, PURPLE, YELLOW)),
    "14-picture-by-content/DSC00001.HIF": ((1536, 1024), SIX),
    "15-alpha-that-is-none/b32_alpha0.bmp": ((128, 128), SCENE),
    "15-alpha-that-is-none/b32_bitfields_noalpha.bmp": ((128, 128), SCENE),
    "15-alpha-that-is-none/extra_unspecified0.tif": ((128, 128), SCENE),
    "16-debatable/clap.avif": ((320, 180), corners(RED, GREEN, RED, GREEN)),
    "16-debatable/clap-turned.avif": ((180, 320), corners(RED, RED, GREEN, GREEN)),
}


def pictures(spec: Path | str) -> list[U8]:
    with open_source(str(spec)) as source:
        return [item.to_bgr() for item in source if isinstance(item, Frame)]


def piped(*files: Path, through: Path) -> list[U8]:
    """What comes out of a named pipe that the files are written to, one after the other."""
    os.mkfifo(through)
    data = b"".join(file.read_bytes() for file in files)
    writer = threading.Thread(target=through.write_bytes, args=(data,), daemon=True)
    writer.start()
    got = pictures(through)
    writer.join(10)
    return got


def assert_colours(picture: U8, colours: Colours, tolerance: int = 6) -> None:
    height, width = picture.shape[:2]
    for (x, y), colour in colours.items():
        found = picture[int(height * y), int(width * x), ::-1]
        assert np.abs(found.astype(int) - colour).max() <= tolerance, ((x, y), found)


@pytest.mark.parametrize("name", EXPECTED)
def test_as_input(name: str) -> None:
    (picture,) = pictures(CORPUS / name)
    size, colours = EXPECTED[name]
    assert picture.shape[1::-1] == size
    assert_colours(picture, colours)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", EXPECTED)
def test_through_a_pipe(name: str, tmp_path: Path) -> None:
    (picture,) = piped(CORPUS / name, through=tmp_path / "pipe")
    size, colours = EXPECTED[name]
    assert picture.shape[1::-1] == size
    assert_colours(picture, colours)


@pytest.mark.parametrize(
    "name", ["01-heic-grid/grid.heic", "12-mirrored-exif/j2.jpg", "08-icc/p3.png"]
)
def test_at_an_address(name: str) -> None:
    folder, file = (CORPUS / name).parent, Path(name).name
    with http_server(files_of(folder)) as url:
        (picture,) = pictures(f"{url.rstrip('/')}/{file}")
    size, colours = EXPECTED[name]
    assert picture.shape[1::-1] == size
    assert_colours(picture, colours)


@pytest.mark.parametrize("name", EXPECTED)
def test_as_tile(name: str) -> None:
    recipe = Recipe(tile_px=192, fit="stretch", crops=0)
    tiles, crops, *_ = photo_tiles((CORPUS / name).read_bytes(), recipe)
    size, colours = EXPECTED[name]
    assert crops == [(0, 0, *size)]
    assert_colours(tiles[0], colours)


def test_grey_video_of_jpegs() -> None:
    for picture in pictures(CORPUS / "06-grey-jpeg/grey.avi"):
        assert_colours(picture, STEPS)


def test_animation_over_nothing() -> None:
    frames = pictures(CORPUS / "07-transparent-input/anim.png")
    assert len(frames) == 5
    for picture in frames:
        assert_colours(picture, DISC)


TURNED = [CORPUS / f"11-mixed-sequence/turned/img_{n:04d}.jpg" for n in range(1, 6)]


def assert_turned(frames: list[U8]) -> None:
    """White at the top, red at the bottom; pictures 3 and 4 are narrower than the others."""
    assert [picture.shape for picture in frames] == [(240, 320, 3)] * 5
    for number, picture in enumerate(frames, 1):
        assert_colours(picture, {(0.5, 0.05): (255, 255, 255), (0.5, 0.95): (200, 30, 30)}, 10)
        side = (0, 0, 0) if number in (3, 4) else (60, 90, 160)
        assert_colours(picture, {(0.03, 0.5): side}, 10)


def test_turned_pictures_of_a_sequence() -> None:
    assert_turned(pictures(TURNED[0].with_name("img_%04d.jpg")))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_turned_pictures_of_a_pipe(tmp_path: Path) -> None:
    assert_turned(piped(*TURNED, through=tmp_path / "pipe"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_photos_of_several_parts_in_a_pipe(tmp_path: Path) -> None:
    """A JPEG of a phone has a second one behind it, which brightens the first on HDR screens."""
    files = []
    for number, colour in enumerate([(200, 60, 50), (60, 170, 60)]):
        files.append(tmp_path / f"{number}.jpg")
        photo, part = Image.new("RGB", (320, 240), colour), Image.new("L", (80, 60), 255)
        photo.save(files[-1], "MPO", save_all=True, append_images=[part.convert("RGB")])
    for sent in (files, files[:1]):
        frames = piped(*sent, through=tmp_path / f"pipe{len(sent)}")
        assert [picture.shape for picture in frames] == [(240, 320, 3)] * len(sent)
    # Another program has removed the part, and left the word of it.
    first = files[0].read_bytes()
    files[0].write_bytes(first[: first.index(b"\xff\xd9") + 2])
    assert len(piped(*files, through=tmp_path / "pipe")) == 2


@pytest.mark.parametrize(
    ("name", "grey"), [("s_%04d.jpg", (4,)), ("g_%04d.png", (1,)), ("r_%04d.jpg", ())]
)
def test_codings_of_a_sequence(name: str, grey: tuple[int, ...]) -> None:
    fields = [(255, 255, 255), (0, 0, 0), (200, 60, 50), (50, 80, 200)]
    path = CORPUS / "11-mixed-sequence/colours" / name
    found = pictures(path)
    assert len(found) == len(list(path.parent.glob(f"{name[0]}_*")))
    for number, picture in enumerate(found, 1):
        colours = [(round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in fields]
        shown = colours if number in grey else fields
        assert_colours(picture, dict(zip(SCENE, shown, strict=True)), 8)


@needs_jit
@pytest.mark.parametrize("name", ["q.jpg", "photo"])
def test_a_picture_by_any_name_becomes_a_mosaic(
    name: str, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes((CORPUS / "13-avif-turned-gallery/one.avif").read_bytes())
    done = program("run", name, "out.png", "--size", "384x256", "--overlay", "1")
    assert done.code == 0, done
    mosaic = np.asarray(cv2.imread(str(tmp_path / "out.png")), np.uint8)
    assert_colours(mosaic, EXPECTED["13-avif-turned-gallery/one.avif"][1], 8)
