"""Faces in photos, and tiles that keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic.errors import LivemosaicError
from livemosaic.gallery import file_format
from livemosaic.gallery.build import build_gallery
from livemosaic.gallery.gallery import Gallery
from livemosaic.gallery.recipe import Recipe
from livemosaic.gallery.tiles import Crop, picture_tiles
from livemosaic.vision.faces import Face, FaceFinder, faces_in

from .conftest import U8
from .gallery_files import photo_of_person
from .program import Program

GREY = (90, 90, 90)


def _is_near(face: Face, *wanted: float) -> bool:
    return bool(np.abs(np.subtract(face, wanted)).max() < 0.3 * wanted[2])


def test_a_face_is_found() -> None:
    (face,) = faces_in(photo_of_person(512, 512, 0, 0, 512))
    assert _is_near(face, 173, 72, 103, 103)


@pytest.mark.parametrize("left", [0, 10, 20, 30])
def test_faces_of_a_tenth_of_the_width_are_found(left: int) -> None:
    photo = photo_of_person(1000, 480, left, 0, 480)
    photo[:, 500:] = photo[:, :500]
    faces = sorted(faces_in(photo))
    assert len(faces) == 2
    for face, shift in zip(faces, (left, 500 + left), strict=True):
        assert _is_near(face, shift + 162, 67, 97, 97)


def test_a_model_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livemosaic.vision.model.FOLDER", tmp_path)
    with pytest.raises(LivemosaicError, match=r"No such file.*install livemosaic again"):
        FaceFinder()
    (tmp_path / "face_detection_short_range.tflite").write_bytes(b"x" * 1000)
    with pytest.raises(LivemosaicError, match=r"\.tflite: cannot be read: it is damaged"):
        FaceFinder()


def test_nothing_is_no_face() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    assert faces_in(noise) == []
    assert faces_in(np.full((100, 300, 3), 128, np.uint8)) == []


def _crop(photo: U8, **options: Any) -> Crop:
    size = (photo.shape[1], photo.shape[0])
    _, crops, *_ = picture_tiles(photo, size, Recipe(crops=0, **options))
    return crops[0]


@pytest.mark.parametrize(
    ("width", "height", "left", "top", "differs"),
    [
        (800, 300, 10, 0, True),
        (800, 300, 500, 0, True),
        (300, 800, 0, 480, True),
        (300, 800, 0, 120, False),
        (300, 320, 0, 0, False),
        (2400, 300, 1500, 0, True),
        (300, 2400, 0, 1500, True),
    ],
)
def test_a_tile_keeps_the_head(width: int, height: int, left: int, top: int, differs: bool) -> None:
    photo = photo_of_person(width, height, left, top, 300)
    x, y, side, _ = _crop(photo)
    assert x <= left + 100
    assert left + 165 <= x + side
    assert y <= top + 20
    assert top + 100 <= y + side
    assert (_crop(photo, focus="centre") != _crop(photo)) == differs


@pytest.mark.parametrize("left", [0, 250])
def test_a_head_that_is_wider_than_a_tile_is_in_its_middle(left: int) -> None:
    photo = photo_of_person(900, 900, left, 0, 900)[120:420]  # the face alone fills the height
    (face,) = faces_in(photo)
    x, _, side, _ = _crop(photo)
    assert abs(x + side / 2 - (face.left + face.width / 2)) < 0.1 * side
    assert (x, side) != _crop(photo, focus="centre")[::2]


@pytest.mark.parametrize("size", [(64, 20000), (20000, 64), (3000, 300), (300, 3000)])
def test_a_panorama_has_tiles(size: tuple[int, int]) -> None:
    photo = np.full((size[1], size[0], 3), GREY, np.uint8)
    assert _crop(photo)[2:] == (min(size), min(size))


def test_as_many_faces_as_possible() -> None:
    photo = photo_of_person(640, 300, 430, 0, 300)  # two near each other, and one on the left
    photo[:, 390:500] = photo[:, 0:110] = photo[:, 510:620].copy()
    assert 592 - 300 <= _crop(photo)[0] <= 411


def test_a_photo_without_faces_keeps_its_middle() -> None:
    photo = np.full((300, 800, 3), GREY, np.uint8)
    photo[:, 250:550] = (0, 200, 0)
    assert _crop(photo) == _crop(photo, focus="centre") == (250, 0, 300, 300)


def test_crops_cut_no_face() -> None:
    photo = photo_of_person(
        600, 600, 150, 150, 300
    )  # the face is in the middle: all quadrants cut it
    faces, centre = (
        Gallery.from_images([photo], tile=64, crops=5, focus=focus) for focus in ("faces", "centre")
    )
    assert len(centre) == 6
    assert len(faces) < 6
    np.testing.assert_array_equal(faces.tiles[0], centre.tiles[0])


def test_a_gallery_from_before_keeps_its_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Program
) -> None:
    for name, left in (("a", 10), ("b", 500)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), photo_of_person(800, 300, left, 0, 300))
    file = tmp_path / "my.gallery"
    with monkeypatch.context() as before:
        before.delitem(file_format.OPTIONS, "focus")
        build_gallery(tmp_path / "a.png", file, crops=0, focus="centre")
    done = program("gallery", "add", file, tmp_path / "b.png")
    assert done.code == 0, done.err
    gallery = Gallery.open(file)
    assert [it.crop for it in gallery.sources] == [(250, 0, 300, 300)] * 2
    assert gallery.options["focus"] == "centre"


def test_the_number_of_threads_does_not_matter(tmp_path: Path) -> None:
    for number in range(6):
        photo = photo_of_person(400, 200, 30 * number, 0, 200)
        cv2.imwrite(str(tmp_path / f"{number}.png"), photo)
    for workers in (1, 3):
        build_gallery(tmp_path, tmp_path / f"{workers}.gallery", workers=workers, crops=0)
    one, three = (tmp_path / f"{workers}.gallery" for workers in (1, 3))
    assert one.read_bytes() == three.read_bytes()
