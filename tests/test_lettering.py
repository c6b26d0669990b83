"""Photos with lettering are recognised and never mirrored."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from livemosaic import Gallery, Mosaic, MosaicSettings
from livemosaic.gallery import build_gallery
from livemosaic.gallery.lettering import has_lettering
from livemosaic.gallery.report import gallery_info

from .gallery_files import U8, photo


def sign(text: str, *, seed: int = 1, light: bool = True, size: float = 1.0) -> U8:
    """A photo with a line of print."""
    picture = cv2.resize(photo(seed, width=480, height=360), (480, 360)) // 2
    ink = (250, 250, 250) if light else (5, 5, 5)
    picture = picture if light else picture + np.uint8(110)
    cv2.putText(picture, text, (20, 200), cv2.FONT_HERSHEY_DUPLEX, size, ink, 2, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


@pytest.mark.parametrize("light", [True, False])
@pytest.mark.parametrize("size", [0.7, 1.0, 1.8])
def test_print_is_found(light: bool, size: float) -> None:
    for seed in range(5):
        assert has_lettering(sign("HAPPY BIRTHDAY", seed=seed, light=light, size=size))
        assert has_lettering(sign("Best wishes", seed=seed, light=light, size=size))


def test_pictures_without_print() -> None:
    rng = np.random.default_rng(0)
    assert not has_lettering(np.zeros((300, 400, 3), np.uint8))
    assert not has_lettering(np.full((1, 1, 3), 255, np.uint8))
    for seed in range(20):
        smooth = photo(seed, width=400, height=300)
        assert not has_lettering(smooth)
        noise = rng.normal(0, 12, smooth.shape)
        assert not has_lettering((smooth + noise).clip(0, 255).astype(np.uint8))


def test_a_page_of_thousands_of_letters() -> None:
    """Time and memory stay limited; the first lines are enough."""
    page = np.full((256, 2560, 3), 250, np.uint8)
    for y in range(2, 246, 9):
        for x in range(3, 2550, 6):
            page[y : y + 7, x : x + 2] = 5
            page[y : y + 2, x : x + 4] = 5
    tracemalloc.start()
    try:
        assert has_lettering(page)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("size", "place"), [((256, 3000), (2500, 230)), ((3000, 256), (20, 2900))])
def test_a_sign_in_a_panorama(size: tuple[int, int], place: tuple[int, int]) -> None:
    """Leaves, or another pattern, must not hide it by their number."""
    picture = np.full((*size, 3), 128, np.uint8)
    for y in range(2, size[0] - 66, 10):
        for x in range(5, size[1] - 10, 14):
            picture[y : y + 7, x] = picture[y, x : x + 3] = 20
    assert not has_lettering(picture)
    cv2.putText(picture, "WELCOME", place, cv2.FONT_HERSHEY_DUPLEX, 1, (250,) * 3, 2, cv2.LINE_AA)
    assert has_lettering(picture)


@pytest.mark.parametrize("match", ["layout", "clusters"])
def test_lettering_is_not_mirrored(match: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(8):
        picture = sign("HAPPY BIRTHDAY", seed=seed) if seed % 2 else photo(seed, width=480)
        cv2.imwrite(str(folder / f"{seed}.jpg"), picture)
    build_gallery([folder], tmp_path / "g.gallery", crops=1, drop_percentile=0)
    gallery = Gallery.open(tmp_path / "g.gallery")
    np.testing.assert_array_equal(gallery.mirrors, gallery.source_photo % 2 == 0)
    assert gallery_info(gallery)["lettering"] == 4

    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, size=(640, 480), match=match))
    mosaic.apply(photo(3, width=320, height=240))
    with_letters = gallery.source_photo[mosaic.tile_ids] % 2 == 1
    assert with_letters.any()
    assert not mosaic.flips[with_letters].any()
    assert mosaic.flips[~with_letters].any()
