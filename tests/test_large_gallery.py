"""The search in a gallery with very many clusters: in groups, of which it sees the nearest."""

from __future__ import annotations

from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest

from bench.quality.recall import layout_costs
from bench.scale.make import make_gallery
from livemosaic.gallery import Gallery, open_gallery
from livemosaic.gallery.cluster_groups import group_clusters
from livemosaic.gallery.layout_index import LayoutIndex, layout_index, new_index
from livemosaic.gallery.levels import COARSE, LANES
from livemosaic.media.frame import Frame
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from tests.conftest import U8

SETTINGS = MosaicSettings(tile_px=16, scale=1)


def still(seed: int = 0) -> Frame:
    """A picture of smooth colours, in 510 cells."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    picture: U8 = np.asarray(cv2.resize(small, (480, 272), interpolation=cv2.INTER_CUBIC), np.uint8)
    return Frame.from_bgr(picture)


def in_groups(index: LayoutIndex, size: int) -> LayoutIndex:
    """An index whose clusters are in groups, as those of a large gallery."""
    clusters, scale = len(index.start) - 1, np.ones(COARSE, np.float32)
    groups = group_clusters(index.centres, clusters, scale, most=size, size=size)
    return index._replace(groups=groups)


@pytest.fixture(scope="module")
def photos() -> Gallery:
    return open_gallery("photos")


def test_each_cluster_is_in_one_group(photos: Gallery) -> None:
    index = in_groups(layout_index(photos), 8)
    groups, clusters = index.groups, len(index.start) - 1
    assert len(groups.slots) - 1 > 8
    assert (np.diff(groups.slots) % LANES == 0).all()
    assert np.array_equal(np.sort(groups.clusters[groups.clusters >= 0]), np.arange(clusters))
    assert np.array_equal(groups.clusters[groups.slot], np.arange(clusters))
    centres = index.centres.reshape(COARSE, -1)
    for first, last in zip(groups.slots[:-1], groups.slots[1:], strict=True):
        block = groups.centres[first * COARSE : last * COARSE].reshape(COARSE, -1)
        own = groups.clusters[first:last]
        assert np.array_equal(block[:, own >= 0], centres[:, own[own >= 0]])


def test_few_clusters_are_one_group(photos: Gallery) -> None:
    index = layout_index(photos)
    assert len(index.groups.slots) == 2
    assert np.array_equal(index.groups.centres, index.centres)


def test_all_groups_give_the_same_tiles_as_one(photos: Gallery) -> None:
    """As long as none is left out, clusters are searched by their distance, not by group."""
    index, frame = layout_index(photos), still()
    made = []
    for it in (index, in_groups(index, 30)):
        assert len(it.groups.slots) - 1 <= 8
        mosaic = Mosaic(photos, SETTINGS, matcher=partial(LayoutMatcher, index=it))
        mosaic.process(frame)
        costs = layout_costs(mosaic, frame, samples=60)
        made.append(costs.chosen.sum())
    assert made[1] == pytest.approx(made[0], rel=0.005)  # clusters of one rank, in another order


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Some tens of thousands of tiles, mixed of the included photos."""
    path = tmp_path_factory.mktemp("large") / "large.gallery"
    crops = np.asarray(open_gallery("photos").tiles[:, ::2, ::2])
    make_gallery(path, crops, 24_000)
    return Gallery.open(path)


@pytest.mark.slow
def test_a_search_without_hurry_costs_two_percent_more_than_the_best_of_all(large: Gallery) -> None:
    """The median; it compares a cell with a small part of the clusters and tiles."""
    index = in_groups(new_index(large, large=0), 12)

    def matcher(*arguments: Any) -> LayoutMatcher:
        made = LayoutMatcher(*arguments, hurry=False, large_gallery=0, index=index)
        # This gallery has a tenth of the clusters of those that are large.
        made.rules = made.rules._replace(max_groups=16, max_probes=16)
        return made

    mosaic, frame = Mosaic(large, SETTINGS, matcher=matcher), still()
    mosaic.process(frame)
    costs = layout_costs(mosaic, frame, samples=100)
    assert np.median(costs.chosen / costs.best) <= 1.02
    assert isinstance(mosaic.matcher, LayoutMatcher)
    rules, slots = mosaic.matcher.rules, index.groups.slots
    ranked = rules.max_groups * np.diff(slots).max()
    assert len(slots) - 1 > rules.max_groups
    assert ranked < len(index.groups.clusters)
    assert rules.max_probes * index.max_slots < len(index.variant) / 5


def test_a_picture_far_from_all_tiles_is_filled() -> None:
    """Estimates have a highest value: where all have it, the nearest group is compared."""
    rng = np.random.default_rng(0)
    yellow = np.array([0, 220, 250]) + rng.integers(-30, 6, (300, 1, 1, 3))
    images = np.broadcast_to(yellow.clip(0, 255).astype(np.uint8), (300, 16, 16, 3))
    gallery = Gallery.from_images(list(images), tile=16, crops=0)
    index = in_groups(layout_index(gallery), 4)
    settings = MosaicSettings(tile_px=16, scale=1, tint=0.0)
    mosaic = Mosaic(gallery, settings, matcher=partial(LayoutMatcher, index=index))
    blue = np.zeros((96, 160, 3), np.uint8)
    blue[..., 0] = 255
    mosaic.process(Frame.from_bgr(blue))
    assert isinstance(mosaic.matcher, LayoutMatcher)
    shown = index.photo[mosaic.matcher.assignment.place].reshape(6, 10)
    assert len(np.unique(shown)) > 10
    for y, x in np.ndindex(shown.shape):
        near = shown[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        assert np.count_nonzero(near == shown[y, x]) == 1
