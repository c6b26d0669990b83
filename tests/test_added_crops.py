"""Whole photos come first; crops are added for colours, and cost more in large tiles."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from livemosaic import Gallery, Mosaic, MosaicSettings
from livemosaic.gallery import build_gallery

from .gallery_files import U8, encode, photo
from .program import needs_jit


def person(seed: int) -> U8:
    """A head before a wall, and in one corner something of another colour: 200x150."""
    rng = np.random.default_rng(seed)
    picture = np.full((150, 200, 3), np.add((150, 170, 180), rng.integers(-20, 20, 3)), np.uint8)
    picture[:75, 125:] = rng.integers(0, 256, 3)
    cv2.circle(picture, (90, 70), 40, (120, 150, 210), -1)
    return picture


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    folder = tmp_path_factory.mktemp("party")
    for seed in range(30):
        (folder / f"{seed:02d}.png").write_bytes(encode(person(seed), ".png"))
    report = build_gallery([folder], folder / "g.gallery", tile_px=32)
    assert report.photos == 30
    return Gallery.open(folder / "g.gallery")


def test_crops_are_fewer_and_follow_the_whole_photos(party: Gallery) -> None:
    assert 30 < len(party) < 30 * 3
    np.testing.assert_array_equal(party.source_photo[:30], np.arange(30))
    np.testing.assert_array_equal(party.added_crops, np.arange(len(party)) >= 30)
    assert all(source.crop[2:] == (150, 150) for source in party.sources[:30])
    assert all(source.crop[2:] == (75, 75) for source in party.sources[30 : len(party)])
    assert party.options["crops"] is None
    # What a crop shows is a colour that no whole photo has.
    means = party.tiles.reshape(len(party), -1, 3).mean(axis=1)
    away = np.abs(means[30:, None] - means[None, :30]).max(axis=2)
    assert away.min() > 4


def test_photos_of_even_colours_get_no_crops(tmp_path: Path) -> None:
    for level in range(0, 250, 10):
        picture = np.full((100, 100, 3), level, np.uint8)
        (tmp_path / f"{level:03d}.png").write_bytes(encode(picture, ".png"))
    assert build_gallery([tmp_path], tmp_path / "g.gallery", tile_px=32).tiles == 25


def test_crops_that_are_asked_for(tmp_path: Path) -> None:
    for seed in range(4):
        (tmp_path / f"{seed}.png").write_bytes(encode(person(seed), ".png"))
    build_gallery([tmp_path], tmp_path / "g.gallery", tile_px=32, crops=2)
    gallery = Gallery.open(tmp_path / "g.gallery")
    assert len(gallery) == 12
    assert not gallery.added_crops.any()


def test_an_upright_photo_keeps_its_head(tmp_path: Path) -> None:
    """Of a photo of 9 to 16, a fifth of what is cut off is above."""
    picture = np.full((320, 180, 3), 90, np.uint8)
    picture[40:80] = 255
    (tmp_path / "p.png").write_bytes(encode(picture, ".png"))
    build_gallery([tmp_path], tmp_path / "g.gallery", tile_px=32, crops=0)
    gallery = Gallery.open(tmp_path / "g.gallery")
    assert gallery.sources[0].crop == (0, 28, 180, 180)
    assert (gallery.tiles[0] == 255).any(axis=(1, 2)).sum() >= 6


def test_images_in_memory_are_cut_alike() -> None:
    gallery = Gallery.from_images([person(seed) for seed in range(30)], tile=32)
    assert 30 < len(gallery) < 90
    assert gallery.added_crops.sum() == len(gallery) - 30


@needs_jit
def test_the_larger_a_tile_the_fewer_crops(party: Gallery) -> None:
    picture = cv2.resize(photo(3), (480, 320), interpolation=cv2.INTER_CUBIC)
    shown = []
    for tile_px in (8, 32, 96):
        settings = MosaicSettings(tile_px=tile_px, columns=24, thorough=True, tint=0.5)
        mosaic = Mosaic(party, settings)
        mosaic.apply(picture)
        shown.append(party.added_crops[mosaic.tile_ids].mean())
    assert shown[0] > shown[1] >= shown[2]
    assert shown[0] > 0.1
    assert shown[2] < 0.02
