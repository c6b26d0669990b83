"""Each photo at least so many times: exactly in a single picture, over time in a stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic import Gallery, Mosaic, MosaicSettings
from livemosaic.errors import OptionError
from livemosaic.gallery.layout_codes import encode
from livemosaic.gallery.layout_features import cell_lab
from livemosaic.media.frame import Frame
from livemosaic.mosaic.grid import Grid
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.match.quota import Quota

from .conftest import U8, moving_pictures, synthetic_tiles, write_tiles
from .gallery_files import write_photos
from .program import SMALL, Program, needs_jit

pytestmark = needs_jit


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Gallery]:
    """A function that makes a gallery of some photos, with a crop of each."""
    folder = tmp_path_factory.mktemp("few")

    def make(count: int) -> Gallery:
        tiles = synthetic_tiles(2 * count, 16, seed=count)
        numbers = np.arange(2 * count, dtype=np.int32)
        return write_tiles(folder / f"{count}.gallery", tiles, numbers % 2, photos=numbers // 2)

    return make


def plain(width: int = 320, height: int = 240) -> U8:
    """A picture that wants few photos."""
    across = np.linspace(60, 120, width).astype(np.uint8)
    return np.repeat(np.tile(across, (height, 1))[..., None], 3, axis=2)


def uses(mosaic: Mosaic) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    photos = len(mosaic.gallery.sources.photos())
    shown = mosaic.gallery.source_photo[mosaic.tile_ids].ravel()
    return np.bincount(shown, minlength=photos)


@pytest.mark.parametrize(
    ("photos", "least", "expected"),
    [(48, 1, 1), (48, 4, 4), (190, 1, 1), (192, 1, 1), (95, 3, 2)],
)
@pytest.mark.parametrize("max_uses", [0, 4])
def test_a_picture_shows_each_photo(
    few: Callable[[int], Gallery], photos: int, least: int, expected: int, max_uses: int
) -> None:
    """Of 192 cells; as often as the cells allow."""
    settings = MosaicSettings(
        tile_px=20, scale=1, thorough=True, min_uses=least, max_uses=max_uses, variety=0.0
    )
    mosaic = Mosaic(few(photos), settings)
    mosaic.apply(plain())
    assert uses(mosaic).min() >= expected


def test_more_photos_than_cells(few: Callable[[int], Gallery]) -> None:
    settings = MosaicSettings(tile_px=20, scale=1, thorough=True, min_uses=1)
    mosaic = Mosaic(few(300), settings)
    mosaic.apply(plain())
    assert uses(mosaic).max() == 1


def test_photos_keep_their_distance(few: Callable[[int], Gallery]) -> None:
    settings = MosaicSettings(tile_px=20, scale=1, thorough=True, min_uses=2, min_distance=2)
    mosaic = Mosaic(few(90), settings)
    mosaic.apply(plain())
    photos = mosaic.gallery.source_photo[mosaic.tile_ids]
    rows, columns = photos.shape
    for row, column in np.ndindex(rows, columns):
        around = photos[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
        assert (around == photos[row, column]).sum() == 1


def test_the_picture_does_not_suffer_much(few: Callable[[int], Gallery]) -> None:
    """Photos that would be used anyway stay where they fit."""

    def error(min_uses: int) -> float:
        settings = MosaicSettings(tile_px=20, scale=1, thorough=True, min_uses=min_uses, overlay=0)
        picture = next(iter(moving_pictures(1)))
        made = Mosaic(few(60), settings).apply(picture)
        size = (made.shape[1] // 20, made.shape[0] // 20)
        small = [cv2.resize(it, size, interpolation=cv2.INTER_AREA) for it in (made, picture)]
        return float(np.square(small[0].astype(float) - small[1]).mean())

    assert error(1) < 1.3 * error(0) + 1


@pytest.mark.parametrize("moves", [True, False])
def test_a_stream_shows_each_photo_over_time(few: Callable[[int], Gallery], moves: bool) -> None:
    settings = MosaicSettings(tile_px=16, scale=1, min_uses=1, variety=0.0)
    mosaic = Mosaic(few(150), settings)
    pictures = list(moving_pictures(40)) if moves else [plain()] * 40
    seen = np.zeros(150, bool)
    for picture in pictures:
        mosaic.process(Frame.from_bgr(picture))
        seen |= uses(mosaic) > 0
    assert seen.all()
    if not moves:  # and then nothing changes any more
        assert (uses(mosaic) > 0).all()
        before = mosaic.tile_ids
        mosaic.process(Frame.from_bgr(pictures[0]))
        np.testing.assert_array_equal(before, mosaic.tile_ids)


def test_too_few_cells_are_reported(program: Program, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), plain(64, 48))
    write_photos(tmp_path / "photos", 60)
    names = ["run", str(tmp_path / "p.png"), str(tmp_path / "o.png"), "--min-uses", "1"]
    words = [*names, "--gallery", str(tmp_path / "photos"), "--crops", "0", "-y"]
    outcome = program(*words, *SMALL)
    assert outcome.code == 0
    assert "--min-uses 1: 48 cells are too few for 60 photos" in outcome.err
    assert "too few" not in program(*words, "--scale", "4", "--tile", "16").err


def test_no_more_at_least_than_at_most() -> None:
    with pytest.raises(OptionError, match=r"min_uses 3: must be at most 2, which is max_uses"):
        MosaicSettings(min_uses=3, max_uses=2)


def naive_fill(
    matcher: LayoutMatcher, quota: int, cells: NDArray[np.int32], codes: NDArray[np.float32]
) -> NDArray[np.int32]:
    """The places after each photo below the quota got the cell where it costs the least more."""
    index, rules, place = matcher.index, matcher.rules, matcher.assignment.place.copy()
    columns = matcher.grid.columns

    def cost(cell: int, at: int, uses: int) -> float:
        away = np.square(index.all_codes[at] - codes[cell]) @ rules.weights
        return float(away + rules.penalties[at] + rules.use_penalty * uses)

    def near(cell: int, photo: Any) -> bool:
        row, column = divmod(cell, columns)
        same = np.flatnonzero(index.photo[place] == photo)
        away = np.maximum(abs(same // columns - row), abs(same % columns - column))
        return bool(((away <= rules.distance) & (same != cell)).any())

    while True:
        uses = np.bincount(index.photo[place], minlength=len(index.photo_start) - 1)
        lacking = np.flatnonzero(uses < quota)
        given = 0
        for photo in lacking:
            variants = np.flatnonzero(index.photo == photo)
            choices = [
                (
                    near(cell, photo),
                    cost(cell, at, uses[photo]) - cost(cell, place[cell], uses[old] - 1),
                    cell,
                    at,
                )
                for cell in cells.tolist()
                if uses[old := index.photo[place[cell]]] > quota
                for at in variants.tolist()
            ]
            if choices:
                _, _, cell, at = min(choices)
                uses[index.photo[place[cell]]] -= 1
                uses[photo] += 1
                place[cell], given = at, given + 1
        if not given:
            return place


@pytest.mark.parametrize("photos", [11, 23, 40])
@pytest.mark.parametrize("quota", [1, 2])
def test_the_plain_counterpart(few: Callable[[int], Gallery], photos: int, quota: int) -> None:
    rng = np.random.default_rng(photos)
    settings = MosaicSettings(min_uses=quota, min_distance=1, variety=0.1)
    matcher = LayoutMatcher(few(photos), Grid(5, 7, 32, 32, 224, 160), settings)
    picture = rng.integers(90, 130, (40, 56, 3), np.uint8)
    state, cells = np.zeros((5, 7), np.uint8), np.arange(35, dtype=np.int32)
    matcher.observe(picture, state, state)
    matcher.describe(cells)
    matcher.choose(cells, active=35)
    codes, _ = encode(cell_lab(picture, 5, 7))
    least = max(1, min(quota, 35 // photos))
    expected = naive_fill(matcher, least, cells, codes)
    assert (expected != matcher.assignment.place).any()
    quota_of_all = Quota(matcher.index, matcher.assignment, settings, cells=35, own=(0, 35))
    quota_of_all.fill_all(matcher.rules, cells, codes)
    np.testing.assert_array_equal(matcher.assignment.place, expected)
