"""The search in a gallery with very many clusters: in groups, of which it sees the nearest."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest

from bench.quality.recall import layout_costs
from livemosaic.gallery import Gallery, open_gallery
from livemosaic.gallery.cluster_groups import group_clusters
from livemosaic.gallery.layout_index import LayoutIndex, layout_index
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
