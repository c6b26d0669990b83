"""The match for single pictures, and the tiles of posters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.gallery import build_gallery
from livemosaic.gallery.gallery import Gallery
from livemosaic.gallery.layout_features import cell_lab, points_to_lab
from livemosaic.gallery.layout_index import layout_index
from livemosaic.media.frame import Frame
from livemosaic.mosaic.grid import Grid
from livemosaic.mosaic.match.refine import RefiningMatcher
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings

from .conftest import U8, moving_pictures
from .gallery_files import encode
from .program import Program, clip, needs_jit

pytestmark = needs_jit


def mosaic_of(
    bgr: U8, gallery: Gallery, *, thorough: bool, variety: float = 0.4, max_uses: int = 0
) -> Mosaic:
    """A mosaic after one picture."""
    mosaic = Mosaic(
        gallery,
        MosaicSettings(
            tile_px=16, scale=2, overlay=0, thorough=thorough, variety=variety, max_uses=max_uses
        ),
    )
    mosaic.process(Frame.from_bgr(bgr))
    return mosaic


def distance(mosaic: Mosaic, bgr: U8) -> float:
    """Mean squared distance of the tiles' points to the cells', without their means (CIELAB)."""
    ids, flips = mosaic.tile_ids, mosaic.flips
    rows, columns = ids.shape
    wide = np.asarray(
        cv2.resize(bgr, (columns * 8, rows * 8), interpolation=cv2.INTER_AREA), np.uint8
    )
    cells = cell_lab(wide, rows, columns)
    points = mosaic.gallery.points[ids.reshape(-1)]
    points = np.where(flips.reshape(-1, 1, 1, 1), points[:, :, ::-1], points)
    tiles = points_to_lab(np.ascontiguousarray(points))
    apart = (cells - cells.mean(axis=1, keepdims=True)) - (
        tiles - tiles.mean(axis=1, keepdims=True)
    )
    return float(np.square(apart).sum(axis=2).mean())


def nearest_repeat(photos: NDArray[np.int32]) -> int:
    """The smallest distance of two cells with the same photo."""
    nearest = max(map(int, photos.shape))
    for photo in np.unique(photos):
        places = np.argwhere(photos == photo)
        apart = np.abs(places[:, None] - places[None]).max(axis=2)
        apart[np.diag_indices(len(places))] = nearest
        nearest = min(nearest, int(apart.min()))
    return nearest


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("variety", [0.2, 0.8])
def test_fits_better_with_as_many_photos(gallery: Gallery, seed: int, variety: float) -> None:
    bgr = moving_pictures(1, seed=seed)[0]
    quick, thorough = (
        mosaic_of(bgr, gallery, thorough=thorough, variety=variety) for thorough in (False, True)
    )
    assert distance(thorough, bgr) < 0.99 * distance(quick, bgr)
    photos = [len(np.unique(m.tile_ids)) for m in (quick, thorough)]
    assert photos[1] >= 0.9 * photos[0]


def test_rules_hold(gallery: Gallery) -> None:
    bgr = moving_pictures(1)[0]
    for max_uses in (0, 3):
        mosaic = mosaic_of(bgr, gallery, thorough=True, variety=0.1, max_uses=max_uses)
        uses = np.bincount(mosaic.tile_ids.reshape(-1))
        assert uses.max() <= (max_uses or mosaic.tile_ids.size)
        assert nearest_repeat(mosaic.tile_ids) > 3


def test_it_ends_where_no_cell_finds_a_better_tile(gallery: Gallery) -> None:
    grid = Grid(12, 20, 16, 16, 320, 192)
    reports: list[tuple[int, int]] = []
    matcher = RefiningMatcher(gallery, grid, MosaicSettings())
    matcher.on_progress = lambda done, total: reports.append((done, total))
    bgr = np.asarray(cv2.resize(moving_pictures(1)[0], (160, 96)), np.uint8)
    state = np.full((12, 20), 2, np.uint8)
    matcher.observe(bgr, state, state)
    cells = np.arange(240, dtype=np.int32)
    matcher.describe(cells)
    ids, flips = matcher.match(cells, active=240)
    passes = len(reports)
    assert 2 <= passes < 8
    assert [done for done, _ in reports] == [240 * (n + 2) for n in range(passes)]
    assert {total for _, total in reports} == {240 * 9}
    again = matcher.match(cells, active=0)
    np.testing.assert_array_equal((ids, flips), again)


def test_same_picture_same_mosaic(gallery: Gallery) -> None:
    bgr = moving_pictures(1)[0]
    one, other = (mosaic_of(bgr, gallery, thorough=True) for _ in range(2))
    np.testing.assert_array_equal(one.tile_ids, other.tile_ids)
    np.testing.assert_array_equal(one.flips, other.flips)


# ---- tiles ---------------------------------------------------------------------------------


def test_large_tiles_are_taken_from_the_photos(tmp_path: Path) -> None:
    """And from the gallery when these have gone."""
    folder = tmp_path / "photos"
    folder.mkdir()
    board = np.kron(np.indices((64, 64)).sum(axis=0) % 2, np.ones((4, 4))) * 120 + 60
    for n, shade in enumerate((1.0, 0.8, 0.6, 0.4)):
        bgr = np.repeat((board * shade).astype(np.uint8)[:, :, None], 3, axis=2)
        (folder / f"{n}.png").write_bytes(encode(bgr, ".png"))
    build_gallery([str(folder)], tmp_path / "g.gallery", clusters=1, drop_percentile=0)

    def contrast(*, thorough: bool) -> float:
        settings = MosaicSettings(
            tile_px=256, size=(512, 512), overlay=0, tint=0, thorough=thorough
        )
        mosaic = Mosaic(tmp_path / "g.gallery", settings)
        out = mosaic.process(Frame.from_bgr(np.full((32, 32, 3), 100, np.uint8)))
        return float(np.mean([out.y[y : y + 256, x : x + 256].std() for y, x in CORNERS]))

    # The squares are one pixel in the gallery's tiles, and averaged away there.
    assert contrast(thorough=True) > 2 * contrast(thorough=False) > 0
    for path in folder.iterdir():
        path.unlink()
    assert contrast(thorough=True) == contrast(thorough=False)


CORNERS = ((0, 0), (0, 256), (256, 0), (256, 256))

# ---- the command line ----------------------------------------------------------------------


def test_pictures_are_matched_thoroughly_and_videos_are_not(
    tmp_path: Path, program: Program, gallery: Gallery
) -> None:
    bgr = np.asarray(cv2.resize(moving_pictures(1)[0], (160, 96)), np.uint8)
    cv2.imwrite(str(tmp_path / "p.png"), bgr)
    clip(tmp_path / "a.mkv", codec="ffv1")
    words = ("--scale", "2", "--tile", "16", "--gallery", gallery.path, "--progress", "always")
    done = program("run", tmp_path / "p.png", tmp_path / "o.png", *words)
    assert done.code == 0, done.err
    assert "writing" in done.err
    settings = MosaicSettings(tile_px=16, scale=2, thorough=True)
    source = next(iter(open_still(tmp_path / "p.png")))
    expected = Mosaic(gallery, settings).process(source)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "o.png")), expected.to_bgr())
    done = program("run", tmp_path / "a.mkv", "null", *words)
    assert "cells active" in done.err
    assert "writing" not in done.err


def open_still(path: Path) -> Iterator[Frame]:
    from livemosaic.sources import open_source

    source = open_source(str(path))
    assert source.info.still
    yield from (item for item in source if isinstance(item, Frame))
    source.close()


@pytest.mark.parametrize("large_gallery", [0, 10**6])
def test_in_a_large_gallery_the_first_pass_searches_more(large_gallery: int) -> None:
    """Any other gallery is searched as a whole in each pass."""
    rng = np.random.default_rng(0)
    points = rng.integers(0, 256, (9000, 4, 4, 3), np.uint8)
    gallery = Gallery.from_images(list(points), tile=8, crops=0, clusters=4)
    searched: list[int] = []

    class Noting(RefiningMatcher):
        def choose(self, cells: NDArray[np.int32], active: int) -> None:
            searched.append(self.rules.max_probes)
            super().choose(cells, active)

    make = partial(Noting, large_gallery=large_gallery)
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=1), matcher=make)
    mosaic.process(moving_pictures(1, seed=0)[0])
    clusters = len(layout_index(gallery).start) - 1
    assert clusters > 128
    later = clusters if large_gallery else 128
    assert searched == [clusters, *[later] * (len(searched) - 1)]
    assert len(searched) > 2
    matcher = mosaic.matcher
    assert isinstance(matcher, RefiningMatcher)
    assert matcher.rules.max_probes == clusters
    matcher.on_progress = lambda done, total: pytest.fail("the test's own")
    with pytest.raises(pytest.fail.Exception, match="the test's own"):
        mosaic.process(moving_pictures(1, seed=1)[0])
    assert matcher is mosaic.matcher
    assert matcher.rules.max_probes == clusters
