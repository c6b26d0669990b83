"""Which parts of a photo become tiles, and how they are scaled."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from livemosaic.gallery.recipe import Recipe
from livemosaic.gallery.resize import shrink
from livemosaic.gallery.tiles import photo_parts, photo_tiles, scale_tiles
from livemosaic.media.image_reader import BadImage, ImageReader

from .gallery_files import U8, encode, heic, oriented, photo


@pytest.mark.parametrize("orientation", [1, 6])
def test_scaled_decode_looks_like_the_full_one(orientation: int) -> None:
    picture = np.asarray(cv2.GaussianBlur(photo(2, width=640, height=400), (0, 0), 5), np.uint8)
    data = oriented(picture, ".jpg", orientation)
    (scaled,), crops, *_ = photo_tiles(data, Recipe(32, crops=0))
    left, top, w, h = crops[0]
    assert (w, h) == (400, 400)
    square = ImageReader(data).read()[top : top + h, left : left + w]
    expected = cv2.resize(square, (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(scaled.astype(int) - expected).mean() < 2


def test_crop_and_stretch() -> None:
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = 255
    data = encode(picture, ".png")
    (tile,), crops, *_ = photo_tiles(data, Recipe(16, crops=0))
    assert crops == [(20, 0, 20, 20)]
    assert tile.min() == 255
    (tile,), crops, *_ = photo_tiles(data, Recipe(16, "stretch", crops=0))
    assert crops == [(0, 0, 60, 20)]
    assert tile[:, 0].max() == 0
    assert tile[:, 8].min() == 255


@pytest.mark.parametrize(
    ("height", "width", "px", "down"),
    [
        (45, 45, 32, 32), (44, 54, 32, 32), (500, 333, 64, 64), (300, 300, 255, 255),
        (64, 64, 64, 64), (9, 8, 8, 8), (300, 444, 96, 64), (64, 67, 48, 64),
    ],
)  # fmt: skip
def test_shrinking_is_a_mean_of_areas(height: int, width: int, px: int, down: int) -> None:
    rng = np.random.default_rng(height)
    pictures = rng.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    small = np.empty((down, px, 3), np.uint8)
    for picture in pictures:
        shrink(picture, small)
        expected = cv2.resize(picture, (px, down), interpolation=cv2.INTER_AREA)
        difference = np.abs(small.astype(int) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.02
    for level in (0, 1, 254, 255):
        shrink(np.full_like(pictures[0], level), small)
        assert (small == level).all()


def test_views_are_scaled_as_copies() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (70, 70, 3), dtype=np.uint8)
    regions = [picture[3 : 3 + h, :w] for h, w in [(40, 40), (33, 50), (20, 64), (8, 8)]]
    tiles = scale_tiles(regions, (32, 32))
    assert tiles.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(
        tiles, scale_tiles([region.copy() for region in regions], (32, 32))
    )
    assert scale_tiles([], (32, 32)).shape == (0, 32, 32, 3)


def quarters() -> tuple[U8, list[tuple[int, int, int]]]:
    picture = np.zeros((64, 64, 3), np.uint8)
    colours = [(10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200)]
    for i, colour in enumerate(colours):
        y, x = divmod(i, 2)
        picture[y * 32 : y * 32 + 32, x * 32 : x * 32 + 32] = colour
    return picture, colours


def test_crops_of_a_photo() -> None:
    picture, colours = quarters()
    data = encode(picture, ".png")
    tiles, crops, *_ = photo_tiles(data, Recipe(32, crops=5))
    assert crops[:3] == [(0, 0, 64, 64), (16, 16, 32, 32), (0, 0, 32, 32)]
    assert len(tiles) == 6
    for tile, colour in zip(tiles[2:], colours, strict=True):
        assert (tile == colour).all()
    assert len(photo_tiles(data, Recipe(32, crops=2)).pixels) == 3
    # Crops of 32 pixels would be blurred as tiles of 64.
    assert len(photo_tiles(data, Recipe(64, crops=5)).pixels) == 1


@pytest.mark.parametrize("kind", ["png", "heic"])
def test_parts_of_a_photo(kind: str) -> None:
    picture, colours = quarters()
    data = encode(picture, ".png") if kind == "png" else heic(picture)
    (parts,) = photo_parts(data, [(0, 0, 32, 32), (32, 32, 32, 32)], (24, 24))
    assert parts.shape == (2, 24, 24, 3)
    assert np.abs(parts[0].mean((0, 1)) - colours[0]).max() < 5
    assert np.abs(parts[1].mean((0, 1)) - colours[3]).max() < 5
    with pytest.raises(BadImage, match="smaller"):
        photo_parts(data, [(32, 32, 33, 32)], (24, 24))


def test_parts_over_several_backgrounds() -> None:
    picture = np.zeros((16, 16, 4), np.uint8)
    dark, light = photo_parts(
        encode(picture, ".png"), [(0, 0, 16, 16)], (8, 8), backgrounds=(10, 245)
    )
    assert (dark == 10).all()
    assert (light == 245).all()


def test_tiny_and_thin_photos() -> None:
    for shape in ((1, 1, 3), (1, 500, 3)):
        (tile,), *_ = photo_tiles(encode(np.full(shape, 77, np.uint8), ".png"), Recipe(16))
        assert (tile == 77).all()
