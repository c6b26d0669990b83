"""Which tiles cells get: rotation, mirroring, dropped clusters, scene changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemosaic.gallery.gallery import Gallery
from livemosaic.mosaic.grid import Grid
from livemosaic.mosaic.match.clusters import ClusterMatcher
from livemosaic.mosaic.settings import MosaicSettings
from tests.conftest import write_tiles

GRID = Grid(6, 10, 32, 32, 320, 192)
RED, GREEN, BLUE = 4, 20, 100  # bins of the pure colours


@pytest.fixture(scope="module")
def primaries(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Five red, three green and one blue tile: three clusters, the last one dropped."""
    tiles = np.zeros((9, 8, 8, 3), np.uint8)
    tiles[:5, ..., 2] = tiles[5:8, ..., 1] = tiles[8:, ..., 0] = 255
    labels = np.repeat([0, 1, 2], [5, 3, 1]).astype(np.int32)
    path: Path = tmp_path_factory.mktemp("match") / "primaries.gallery"
    return write_tiles(path, tiles, labels, drop=1)


def colours(*bins: int) -> np.ndarray:
    counts = np.zeros((len(bins), 125), np.uint16)
    counts[np.arange(len(bins)), bins] = 64
    return counts


def choose(tested: ClusterMatcher, counts: Any) -> tuple[Any, Any]:
    return tested.match_histograms(counts, active=len(counts))


def matcher(gallery: Gallery, *, seed: int = 0) -> ClusterMatcher:
    return ClusterMatcher(gallery, GRID, MosaicSettings(match="clusters", palette=8, seed=seed))


def test_a_cluster_rotates_over_cells_and_frames(primaries: Gallery) -> None:
    tested = matcher(primaries)
    red, green = primaries.tiles_of(0).tolist(), primaries.tiles_of(1).tolist()
    first, _ = choose(tested, colours(RED, GREEN, RED, RED, GREEN))
    assert first.tolist() == [red[0], green[0], red[1], red[2], green[1]]
    second, _ = choose(tested, colours(RED, RED, RED, GREEN, GREEN))
    assert second.tolist() == [red[3], red[4], red[0], green[2], green[0]]
    many, _ = choose(tested, colours(*[RED] * 12))
    assert many.tolist() == [red[(1 + i) % 5] for i in range(12)]


def test_dropped_clusters_are_not_used(primaries: Gallery) -> None:
    assert primaries.kept.tolist() == [True, True, False]
    ids, _ = choose(matcher(primaries), colours(BLUE, RED, BLUE, BLUE))
    assert not np.isin(ids, primaries.tiles_of(2)).any()


def test_about_half_are_mirrored(primaries: Gallery) -> None:
    _, flips = choose(matcher(primaries), colours(*[RED] * 60))
    assert 15 < flips.sum() < 45


def test_symbols_are_not_mirrored(make_gallery: Callable[..., Gallery]) -> None:
    _, flips = choose(matcher(make_gallery(mirror=False)), colours(*[RED] * 60))
    assert not flips.any()


def test_mirroring_does_not_change_the_tiles(make_gallery: Callable[..., Gallery]) -> None:
    """The same random numbers are drawn either way."""
    one, other = matcher(make_gallery()), matcher(make_gallery(mirror=False))
    for bins in ([RED] * 40 + [GREEN] * 10, [BLUE, RED], [BLUE] * 35):
        np.testing.assert_array_equal(
            choose(one, colours(*bins))[0], choose(other, colours(*bins))[0]
        )


@pytest.mark.parametrize(("active", "reset"), [(30, False), (31, True)])
def test_a_scene_change_is_more_than_half_of_the_cells(
    primaries: Gallery, active: int, reset: bool
) -> None:
    """A reset chooses first centres at random: the mirroring drawn after it is another one."""
    tested = matcher(primaries)
    choose(tested, colours(RED, GREEN))
    _, flips = choose(tested, colours(*([RED, GREEN] * 16)[:active]))
    drawn = np.random.default_rng(0)
    drawn.integers(2), drawn.random(), drawn.random(2)  # the first frame: two centres, two cells
    same = bool(((drawn.random(active) < 0.5) == flips).all())
    assert same is not reset


def test_seeds(primaries: Gallery) -> None:
    counts = colours(*[RED, GREEN] * 30)
    runs = [choose(matcher(primaries, seed=seed), counts)[1].tolist() for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
