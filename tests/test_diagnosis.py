"""Which photos a gallery lacks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from livemosaic import Gallery, SourceError, diagnose_gallery
from livemosaic.diagnosis import colour_name
from livemosaic.gallery import build_gallery

from .gallery_files import write_pngs
from .program import Program, clip

GREEN, BLUE, GREY = (40, 160, 40), (200, 90, 30), (120, 120, 120)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Blue above green."""
    picture = np.empty((240, 320, 3), np.uint8)
    picture[:120], picture[120:] = BLUE, GREEN
    cv2.imwrite(str(tmp_path / "scene.png"), picture)
    return tmp_path / "scene.png"


def distance(colour: str, bgr: tuple[int, int, int]) -> int:
    """The largest difference of two colours, in levels."""
    levels = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)[::-1]
    return int(np.abs(levels - np.array(bgr)).max())


def plain(*colours: tuple[int, int, int]) -> list[np.ndarray]:
    return [np.full((32, 32, 3), colour, np.uint8) for colour in colours for _ in range(4)]


def test_the_missing_colour_is_named(scene: Path) -> None:
    found = diagnose_gallery(Gallery.from_images(plain(GREEN, GREY), tile=16), scene)
    assert [it.name for it in found.lacking] == ["blue"]
    assert distance(found.lacking[0].colour, BLUE) <= 3
    assert found.lacking[0].share > 0.9
    assert found.helpful[0].look == "blue all over"
    assert max(distance(point, BLUE) for point in found.helpful[0].points) <= 3
    assert found.helpful[0].gain > 0.9
    assert found.photos_share > 0.3
    assert found.input == str(scene)


def test_nothing_is_missing(scene: Path) -> None:
    found = diagnose_gallery(Gallery.from_images(plain(GREEN, BLUE), tile=16), scene)
    lacking = diagnose_gallery(Gallery.from_images(plain(GREEN, GREY), tile=16), scene)
    assert found.photos_error < 0.3 * lacking.photos_error
    assert found.photos_share < 0.05


def test_a_photo_that_it_asks_for_helps(scene: Path) -> None:
    """The gain is what such photos bring."""
    photos = plain(GREEN, GREY)
    before = diagnose_gallery(Gallery.from_images(photos, tile=16), scene)
    points = [bytes.fromhex(it[1:])[::-1] for it in before.helpful[0].points]
    wanted = np.frombuffer(b"".join(points), np.uint8).reshape(4, 4, 3)
    large = np.repeat(np.repeat(wanted, 8, axis=0), 8, axis=1)
    after = diagnose_gallery(Gallery.from_images([*photos, large], tile=16), scene)
    gained = 1 - (after.photos_error / before.photos_error) ** 2
    assert gained == pytest.approx(before.helpful[0].gain, abs=0.03)


def test_tiles_of_another_shape_are_judged_as_they_are_shown(scene: Path) -> None:
    """The mosaic's square cells show the middle of photos of 2:1, which fits."""
    photos = [np.full((16, 32, 3), GREY, np.uint8) for _ in range(8)]
    for number, photo in enumerate(photos):
        photo[:, 8:24] = BLUE if number % 2 else GREEN
    found = diagnose_gallery(Gallery.from_images(photos, tile=(32, 16)), scene)
    assert found.photos_error < 3


def test_videos(tmp_path: Path) -> None:
    clip(tmp_path / "a.mp4")
    found = diagnose_gallery(Gallery.from_images(plain(GREEN, GREY), tile=16), tmp_path / "a.mp4")
    assert found.error > 0


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 0), "black"), ((255, 255, 255), "white"), ((128, 128, 128), "grey"),
        ((255, 0, 0), "red"), ((0, 255, 0), "light green"), ((0, 0, 255), "dark blue"),
        ((135, 206, 235), "light blue"), ((140, 85, 40), "brown"),
        ((70, 40, 15), "dark brown"), ((110, 110, 20), "olive"),
        ((255, 255, 0), "light yellow"), ((0, 130, 130), "turquoise"),
    ],
)  # fmt: skip
def test_names_of_colours(rgb: tuple[int, int, int], name: str) -> None:
    assert colour_name(np.array(rgb[::-1])) == name


def test_what_cannot_be_read(tmp_path: Path) -> None:
    gallery = Gallery.from_images(plain(GREEN), tile=16)
    for name in ("a.png", "b.mp4"):
        (tmp_path / name).write_text("none")
        with pytest.raises(SourceError, match=name):
            diagnose_gallery(gallery, tmp_path / name)


def test_command(tmp_path: Path, scene: Path, program: Program) -> None:
    write_pngs(tmp_path / "photos", plain(GREEN, GREY))
    build_gallery(tmp_path / "photos", tmp_path / "x.gallery", tile_px=16)
    words = ("gallery", "info", tmp_path / "x.gallery", "--for", scene)
    outcome = program(*words)
    assert outcome.code == 0
    assert "lacks       blue (#" in outcome.out
    assert "would help  a photo that is blue all over" in outcome.out
    found = json.loads(program(*words, "--json").out)["diagnosis"]
    assert found["lacking"][0]["name"] == "blue"
    included = json.loads(program(*words[:3], "--diagnose", "--json").out)["diagnosis"]
    assert included["input"].endswith("bigbuckbunny.mp4")
