"""The frame palette: scikit-learn's update, and new colours."""

from __future__ import annotations

import numpy as np
import pytest

from livemosaic.mosaic.match.palette import Palette
from tests import naive


def broad_counts(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Histograms that have colours in common, so that none is like no centre."""
    shares = rng.dirichlet(np.full(20, 2.0), rows)
    counts = np.zeros((rows, 125), np.uint16)
    counts[:, ::6][:, :20] = [rng.multinomial(64, share) for share in shares]
    return counts


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("size", [3, 40])
def test_learns_as_scikit_learn(seed: int, size: int) -> None:
    from sklearn.cluster import MiniBatchKMeans

    rng = np.random.default_rng(seed)
    palette = Palette(size, rng, pixels=64)
    first = broad_counts(rng, 300)
    palette.reset(first)
    centres = palette.centres.copy()
    model = MiniBatchKMeans(size, init=centres, n_init=1, reassignment_ratio=0.0, random_state=0)
    weights = np.zeros(size, np.int64)
    for rows in (300, 5, 100, 1, 250, 40):
        counts = first if rows == 300 else broad_counts(rng, rows)
        nearest = naive.squared_distances(counts / 64, centres).argmin(axis=1)
        weights += np.bincount(nearest, minlength=size)
        palette.learn(counts)
        model.partial_fit(counts / 64)
        centres = model.cluster_centers_
        np.testing.assert_allclose(palette.centres, centres, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(palette.weights, weights)
        np.testing.assert_array_equal(palette.labels(counts), model.predict(counts / 64))


def one_colour(colour: int, rows: int = 1) -> np.ndarray:
    counts = np.zeros((rows, 125), np.uint16)
    counts[:, colour] = 64
    return counts


def test_a_new_colour_gets_a_centre() -> None:
    rng = np.random.default_rng(0)
    palette = Palette(4, rng, pixels=64)
    old = np.concatenate([one_colour(c, 50) for c in (0, 1, 2, 3)])
    palette.reset(old)
    palette.learn(old)
    new = np.concatenate([old[:100], one_colour(124)])
    palette.learn(new)
    label = palette.labels(one_colour(124))[0]
    assert palette.centres[label, 124] == 1
    assert palette.weights[label] == 1


def test_several_new_colours_get_a_centre_each() -> None:
    """In one frame, and the centres of many cells stay."""
    rng = np.random.default_rng(0)
    palette = Palette(8, rng, pixels=64)
    old = np.concatenate([one_colour(c, 50 - c) for c in range(8)])
    palette.reset(old)
    palette.learn(old)
    new = np.concatenate([one_colour(c) for c in (60, 80, 100)])
    palette.learn(np.concatenate([old[:150], new]))
    for colour in (0, 1, 2, 60, 80, 100):
        label = palette.labels(one_colour(colour))[0]
        assert palette.centres[label, colour] == pytest.approx(1), colour


def test_rows_of_a_replaced_centre_move_to_their_nearest() -> None:
    """A centre that is given away may still have cells in the frame: they are labelled again."""
    palette = Palette(3, np.random.default_rng(0), pixels=64)
    half = np.zeros((1, 125), np.uint16)
    half[0, [0, 1]] = 32  # between colours 0 and 1, a centre of its own
    old = np.concatenate([one_colour(0, 50), one_colour(5, 40), half])
    palette.reset(old)
    palette.learn(old)
    # Colour 124 takes the least used centre, that of `half`, whose nearest is colour 0 then.
    palette.learn(np.concatenate([half, half, one_colour(124)]))
    labels = palette.labels(np.concatenate([one_colour(0), one_colour(5), one_colour(124)]))
    weights = palette.weights[labels]
    assert weights.tolist() == [52, 40, 1]


def test_the_first_centres_are_not_replaced_by_their_own_frame() -> None:
    """More colours than centres: k-means++ has chosen, and nothing is 'least used' yet."""
    counts = np.concatenate([one_colour(c, 10) for c in range(12)])
    palette = Palette(5, np.random.default_rng(3), pixels=64)
    palette.reset(counts)
    chosen = palette.centres.argmax(axis=1)
    palette.learn(counts)
    assert palette.weights.sum() == len(counts)
    # Each centre is still made of the colour that it was chosen for.
    assert (palette.centres[np.arange(5), chosen] > 0).all()


def test_fewer_colours_than_centres() -> None:
    palette = Palette(10, np.random.default_rng(0), pixels=64)
    counts = np.concatenate([one_colour(3, 5), one_colour(7, 5)])
    palette.reset(counts)
    palette.learn(counts)
    assert palette.weights.sum() == 10
    assert len(np.unique(palette.labels(counts))) == 2
    assert (palette.weights[palette.labels(counts)] > 0).all()


def test_reset_forgets() -> None:
    rng = np.random.default_rng(0)
    palette = Palette(4, rng, pixels=64)
    palette.reset(one_colour(1, 9))
    palette.learn(one_colour(1, 9))
    palette.reset(one_colour(2, 3))
    assert not palette.weights.any()
    assert not palette.centres[:, 1].any()
