"""Tiles larger than the gallery's: from the photos, while they are there and the same."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from livemosaic.gallery import build_gallery, open_gallery
from livemosaic.gallery.builtin import builtin_credit, builtin_image
from livemosaic.gallery.full_size import full_size_tiles
from livemosaic.gallery.gallery import Gallery

from .conftest import U8
from .gallery_files import encode, oriented, photo
from .program import needs_jit


def stripes(seed: int, *, period: int = 4) -> U8:
    """400x300, with lines that a tile of 64 pixels cannot hold."""
    picture = photo(seed, width=400, height=300)
    picture[:, ::period] //= 2
    picture[:, 1::period] //= 2
    return np.asarray(picture, np.uint8)


@pytest.fixture
def made(tmp_path: Path) -> Gallery:
    """Six photos: four JPEGs, one of them turned by its EXIF tag, a PNG, and a small one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.jpg").write_bytes(encode(stripes(i), ".jpg"))
    (folder / "3.jpg").write_bytes(oriented(stripes(3), ".jpg", 6))
    (folder / "4.png").write_bytes(encode(stripes(4), ".png"))
    (folder / "5.png").write_bytes(encode(photo(5, width=50, height=50), ".png"))
    build_gallery([str(folder)], tmp_path / "g.gallery", clusters=2, crops=5)
    return Gallery.open(tmp_path / "g.gallery")


def numbers(gallery: Gallery, name: str) -> list[int]:
    return [i for i in range(len(gallery)) if gallery.sources[i].path.endswith(name)]


def apart(a: U8, b: U8) -> float:
    """Mean difference of two tiles, seen from where their lines vanish."""
    a, b = (cv2.resize(t, (8, 8), interpolation=cv2.INTER_AREA).astype(int) for t in (a, b))
    return float(np.abs(a - b).mean())


def detail(tile: U8) -> float:
    """Mean difference of neighbours, side by side and one above the other."""
    return sum(float(np.abs(np.diff(tile.astype(int), axis=axis)).mean()) for axis in (0, 1))


@needs_jit
@pytest.mark.parametrize("px", [96, 128, 256])
def test_sharper_than_the_gallery(made: Gallery, px: int) -> None:
    found = full_size_tiles(made, np.arange(len(made)), (px, px))
    small = numbers(made, "5.png")
    assert len(small) == 1
    assert set(found) == set(range(len(made))) - set(small)
    for number, tile in found.items():
        assert tile.shape == (px, px, 3)
        assert apart(tile, made.tiles[number]) < 6
        if px == 256:  # smaller tiles do not hold the lines either
            large = cv2.resize(made.tiles[number], (px, px), interpolation=cv2.INTER_CUBIC)
            assert detail(tile) > 2 * detail(np.asarray(large, np.uint8))


@needs_jit
def test_photos_that_are_not_there_any_more(made: Gallery) -> None:
    folder = Path(made.sources[0].path).parent
    (folder / "0.jpg").unlink()
    (folder / "1.jpg").write_bytes(encode(255 - stripes(1), ".jpg"))  # another one
    (folder / "2.jpg").write_bytes(encode(stripes(2)[:200, :200], ".jpg"))  # a smaller one
    (folder / "4.png").write_bytes(b"no picture")
    found = full_size_tiles(made, np.arange(len(made)), (128, 128))
    assert set(found) == set(numbers(made, "3.jpg"))


@pytest.mark.slow
@needs_jit
def test_builtin_photos_and_emoji() -> None:
    photos, emoji = open_gallery("photos"), open_gallery("emoji")
    found = full_size_tiles(photos, np.arange(60), (120, 120))
    # Of 120 pixels; their crops have fewer than the gallery's 64.
    assert set(found) == {n for n in range(60) if photos.sources[n].crop == (0, 0, 120, 120)}
    assert set(found) == set(range(0, 60, 6))
    found = full_size_tiles(emoji, np.arange(40), (96, 96))
    for number, tile in found.items():  # each over its own background
        assert np.abs(tile[0, 0].astype(int) - emoji.tiles[number][0, 0]).max() <= 2
    assert len(found) == 30


def test_builtin_images_and_their_credits() -> None:
    assert builtin_image("photos.zip/s0001.jpg") is not None
    assert builtin_image("photos.zip/none.jpg") is None
    assert builtin_image("/home/me/s0001.jpg") is None
    licence, names = builtin_credit("photos.zip/s0001.jpg") or ("", "")
    assert "CC BY 2.0" in licence
    assert "## Photographers" in names
    assert builtin_credit("/home/me/photos.zip/s0001.jpg") is None
    assert "SIL Open Font License" in (builtin_credit("emoji.zip/1f600.webp") or ("",))[0]
