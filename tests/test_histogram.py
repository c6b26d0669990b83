"""Colour histograms: what the bins are. Their counting is tested in test_kernels.py."""

from __future__ import annotations

import cv2
import numpy as np

from livemosaic.gallery.histogram import BINS, HISTOGRAM_SIZE, tile_histograms
from tests.conftest import synthetic_tiles


def test_features_are_what_opencv_counts() -> None:
    """The bins of the reference: five equal ones per channel, in the order B, G, R."""
    tiles = synthetic_tiles(20, 24, seed=3)
    expected = [
        cv2.calcHist([tile], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3).ravel() / 24**2
        for tile in tiles
    ]
    np.testing.assert_allclose(tile_histograms(tiles), expected, rtol=1e-6)


def test_rows_sum_to_one() -> None:
    features = tile_histograms(synthetic_tiles(20, 17))
    assert features.shape == (20, HISTOGRAM_SIZE)
    np.testing.assert_allclose(features.sum(axis=1), 1, rtol=1e-6)


def test_no_tiles() -> None:
    assert tile_histograms(np.empty((0, 8, 8, 3), np.uint8)).shape == (0, HISTOGRAM_SIZE)


def test_a_view_that_is_not_contiguous() -> None:
    tiles = synthetic_tiles(6, 16)
    np.testing.assert_array_equal(tile_histograms(tiles[::2]), tile_histograms(tiles)[::2])
