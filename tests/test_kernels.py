"""The compiled kernels against their twins in tests/naive.py.

They run twice: as machine code, and, by the last test here, as plain Python, which checks indices
and types. They use public names only, so that the kernels can be rewritten.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from livemosaic.gallery.gallery import Gallery
from livemosaic.gallery.histogram import cell_histograms, tile_histograms
from livemosaic.gallery.kmeans import kmeans
from livemosaic.gallery.layout_codes import encode
from livemosaic.gallery.layout_features import cell_lab, cell_points, points_to_lab, tile_points
from livemosaic.jit import F32
from livemosaic.media.colour import Colour, bgr_to_i420
from livemosaic.media.frame import Frame
from livemosaic.mosaic.activity import Activity
from livemosaic.mosaic.compositor import Compositor, Part, cached_overlay
from livemosaic.mosaic.grid import Grid
from livemosaic.mosaic.match.clusters import ClusterMatcher
from livemosaic.mosaic.match.denoise import Denoiser
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.match.palette import Palette
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.mosaic.tile_cache import TileCache
from livemosaic.mosaic.tint import CellTint
from tests import naive
from tests.conftest import JIT, ROOT, U8, synthetic_tiles, write_tiles

seeds = st.integers(0, 2**32 - 1)

# As machine code each size is compiled on its own (half a second): those where the way changes.
# As plain Python all of the small ones are tried, too; large ones take seconds each.
SIZES = [4, 6, 8, 10, 16, 22, 24, 32, 34, 48, 64, 70]
if not JIT:
    SIZES = sorted({*SIZES, *range(4, 36, 2)})


def random_counts(rng: np.random.Generator, rows: int, *, bins: int = 6) -> np.ndarray:
    """Sparse histograms of 64 pixels, uint16 (rows, 125), with equal rows among them."""
    counts = np.zeros((rows, 125), np.uint16)
    for row in counts:
        used = rng.choice(125, rng.integers(1, bins + 1), replace=False)
        row[used] = rng.multinomial(64, np.full(len(used), 1 / len(used)))
    counts[rng.integers(rows, size=rows // 3)] = counts[0]
    return counts


# ---- histogram ------------------------------------------------------------------------------


@given(seeds, st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 2, 7, 8, 9, 16]), st.data())
def test_cell_histograms(seed: int, rows: int, columns: int, px: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (rows * px, columns * px, 3), np.uint8)
    if seed % 3 == 0:
        picture[:] = np.array([0, 51, 52, 102, 103, 255])[rng.integers(0, 6, picture.shape)]
    chosen = data.draw(st.sets(st.integers(0, rows * columns - 1)))
    cells = np.array(sorted(chosen), np.int32)
    out = np.full((rows * columns, 125), 999, np.uint16)
    cell_histograms(picture, cells, rows, columns, out)
    for count, cell in zip(out, cells, strict=False):
        top, left = cell // columns * px, cell % columns * px
        expected = naive.histogram(picture[top : top + px, left : left + px])
        np.testing.assert_array_equal(count, expected)


@pytest.mark.parametrize(("px", "height"), [(4, 4), (33, 33), (33, 20)])
def test_tile_histograms(px: int, height: int) -> None:
    tiles = synthetic_tiles(5, px)[:, :height]
    features = tile_histograms(tiles)
    assert features.dtype == np.float32
    expected = [naive.histogram(tile) / (px * height) for tile in tiles]
    np.testing.assert_allclose(features, expected, rtol=1e-6)


def test_tile_histograms_of_the_largest_tile() -> None:
    """255 x 255 pixels of one colour are the most that a 16-bit count holds."""
    px = 255 if JIT else 40
    features = tile_histograms(np.full((1, px, px, 3), 255, np.uint8))
    assert features[0, 124] == 1


# ---- activity -------------------------------------------------------------------------------


@given(
    seeds,
    st.integers(1, 3),
    st.integers(1, 5),
    st.sampled_from([0.0, 1.0, 5.5, 16.0, 40.0, 255.0]),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_activity(seed: int, rows: int, columns: int, threshold: float, overlay: float) -> None:
    rng = np.random.default_rng(seed)
    activity = Activity(
        Grid(rows, columns, 32, 32, columns * 32, rows * 32), threshold=threshold, overlay=overlay
    )
    # Eight levels of the output may be out of date; the limits are on squared distances.
    stale = min(threshold, 8 / overlay) if overlay else 1000
    twin = naive.Activity(threshold**2, stale**2)
    picture = rng.integers(0, 256, (rows * 8, columns * 8, 3), np.uint8)
    for _ in range(5):
        state, expected = activity.update(picture), twin.update(picture)
        np.testing.assert_array_equal(state == naive.ACTIVE, expected == naive.ACTIVE)
        assert (state >= expected).all()
        # More cells are composed only beside those that must be, as the original is interpolated.
        more = np.argwhere(state > expected)
        must = np.argwhere(expected > naive.STILL)
        assert all((np.abs(must - cell).max(axis=1) <= 1).any() for cell in more)
        twin.compose(state > naive.STILL)
        change = rng.normal(0, rng.choice([0, 2, 8, 60]), picture.shape)
        change *= rng.random((*picture.shape[:2], 1)) < rng.choice([0.02, 0.5, 1])
        picture = np.clip(picture + change, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("levels", "active"), [(16, False), (17, True)])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_activity_is_above_the_threshold(levels: int, active: bool, channel: int) -> None:
    activity = Activity(Grid(1, 1, 32, 32, 32, 32), threshold=16, overlay=0)
    picture = np.full((8, 8, 3), 100, np.uint8)
    activity.update(picture)
    changed = picture.copy()
    changed[..., channel] -= levels
    assert bool(activity.update(changed)[0, 0] == naive.ACTIVE) is active


@pytest.mark.parametrize(("pixels", "active"), [(32, False), (33, True)])
def test_activity_needs_more_than_half_of_the_pixels(pixels: int, active: bool) -> None:
    activity = Activity(Grid(1, 3, 32, 32, 96, 32), threshold=16, overlay=0.5)
    picture = np.full((8, 24, 3), 100, np.uint8)
    activity.update(picture)
    changed = picture.copy()
    cell = changed[:, 8:16].reshape(-1, 3)
    cell[:pixels] = 200
    changed[:, 8:16] = cell.reshape(8, 8, 3)
    state = activity.update(changed)[0]
    assert bool(state[1] == naive.ACTIVE) is active


# ---- palette --------------------------------------------------------------------------------


@given(seeds, st.integers(1, 40), st.integers(1, 30))
@example(0, 1, 1)
@example(0, 1, 20)
def test_palette_starts_by_k_means_plus_plus(seed: int, rows: int, size: int) -> None:
    counts = random_counts(np.random.default_rng(seed), rows)
    palette = Palette(size, np.random.default_rng(seed), pixels=64)
    palette.reset(counts)
    expected = naive.plus_plus(counts / 64, size, np.random.default_rng(seed))
    # Exactly: all numbers are multiples of 1/64, so nothing is rounded.
    np.testing.assert_array_equal(palette.centres, expected)
    assert not palette.weights.any()


@given(seeds, st.integers(1, 40), st.integers(1, 30))
def test_palette_labels_are_the_nearest_centres(seed: int, rows: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    palette = Palette(size, rng, pixels=64)
    first, second = random_counts(rng, rows), random_counts(rng, rows)
    palette.reset(first)
    palette.learn(first)
    palette.learn(second)
    labels = palette.labels(second)
    assert labels.dtype == np.int32
    distances = naive.squared_distances(second / 64, palette.centres)
    distances[:, ~palette.centres.any(axis=1)] = np.inf
    chosen = distances[np.arange(rows), labels]
    np.testing.assert_allclose(chosen, distances.min(axis=1), atol=1e-12)


@given(seeds, st.integers(1, 40))
def test_palette_centres_are_means(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    palette = Palette(5, rng, pixels=64)
    counts = random_counts(rng, rows)
    palette.reset(counts)
    distances = naive.squared_distances(counts / 64, palette.centres)
    distances[:, ~palette.centres.any(axis=1)] = np.inf
    labels = distances.argmin(axis=1)
    palette.learn(counts)
    assert palette.weights.sum() == rows
    for label in np.unique(labels):
        members = counts[labels == label] / 64
        np.testing.assert_allclose(palette.centres[label], members.mean(axis=0), atol=1e-12)


# ---- match ----------------------------------------------------------------------------------


@given(seeds, st.integers(1, 30))
def test_match_takes_the_cluster_of_largest_cosine(seed: int, rows: int) -> None:
    """With a centre for each histogram and one tile in each cluster, the tile tells the cluster."""
    gallery = one_tile_clusters()
    counts = np.unique(random_counts(np.random.default_rng(seed), rows), axis=0)
    grid = Grid(1, len(counts), 32, 32, 32 * len(counts), 32)
    settings = MosaicSettings(match="clusters", palette=len(counts) + 2, seed=seed)
    matcher = ClusterMatcher(gallery, grid, settings)
    ids, flips = matcher.match_histograms(counts, active=len(counts))
    best = naive.most_similar(counts / 64, np.asarray(gallery.centres, np.float64))
    np.testing.assert_array_equal(ids, [gallery.tiles_of(cluster)[0] for cluster in best])
    assert flips.shape == ids.shape


@given(seeds, st.integers(4, 33), st.integers(4, 33))
def test_tile_points(seed: int, height: int, width: int) -> None:
    tile = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    (points,), (texture,) = tile_points(tile[None])
    right, deviation = naive.tile_points(tile)
    np.testing.assert_array_equal(points, right)
    assert abs(float(texture) - deviation) <= 0.51


@given(seeds, st.integers(1, 5), st.integers(1, 5))
def test_cell_lab(seed: int, rows: int, columns: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (rows * 8, columns * 8, 3), np.uint8)
    expected = points_to_lab(cell_points(picture, rows, columns))
    np.testing.assert_array_equal(cell_lab(picture, rows, columns), expected)
    some = np.arange(seed % 2, rows * columns, 2)
    points = cell_points(picture, rows, columns, some)
    np.testing.assert_array_equal(points_to_lab(points), expected[some])


@given(seeds)
def test_coefficients(seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 256, (3, 4, 4, 3), np.uint8)
    lab = points_to_lab(points)
    for one, codes, residual in zip(lab, *encode(lab), strict=True):
        right, left_out = naive.coefficients(one)
        np.testing.assert_allclose(codes, right, atol=1e-3)
        assert residual == pytest.approx(left_out, abs=0.05)


@given(seeds, st.integers(1, 150), st.integers(1, 4), st.sampled_from([3, 8, 40]))
def test_kmeans(seed: int, count: int, dimensions: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 1, (count, dimensions)).astype(np.float32)
    start, order = kmeans(points, size)
    parts = [order[a:b].tolist() for a, b in pairwise(start)]
    right = naive.kmeans(points, size)
    if max(map(len, right)) <= 3 * size and len(right) > 1:
        assert parts == right
    assert sorted(order.tolist()) == list(range(count))
    assert all(parts)


@given(seeds, st.integers(1, 60), st.sampled_from([0.5, 3.0, 12.0]))
def test_denoiser(seed: int, cells: int, noise: float) -> None:
    """Some cells move, all have noise: the means are those of a plain writing."""
    rng = np.random.default_rng(seed)
    denoiser, twin = Denoiser(cells), naive.Denoise()
    clean = rng.uniform(0, 100, (cells, 1, 3)) + rng.normal(0, 10, (cells, 16, 3))
    for _ in range(12):
        clean = np.where(rng.random((cells, 1, 1)) < 0.1, rng.uniform(0, 100, clean.shape), clean)
        lab = (clean + rng.normal(0, noise, clean.shape)).astype(np.float32)
        points, expected = denoiser.update(lab), twin.update(lab.astype(np.float64))
        np.testing.assert_array_equal(denoiser.frames, twin.count)
        np.testing.assert_allclose(points, expected, atol=1e-3)


@given(seeds, st.integers(1, 400))
def test_the_denoiser_of_some_cells(seed: int, cells: int) -> None:
    """They have the points that they have among all; a cell that comes again begins anew."""
    rng = np.random.default_rng(seed)
    whole, part = Denoiser(cells), Denoiser(cells)
    wanted = rng.random(cells) < 0.3
    wanted[part.samples] = True
    some, out = np.flatnonzero(wanted), int(rng.choice(np.flatnonzero(wanted)))
    clean = rng.uniform(0, 100, (cells, 16, 3))
    for _ in range(6):
        lab = (clean + rng.normal(0, 3, clean.shape)).astype(np.float32)
        np.testing.assert_array_equal(part.update(lab[some], some), whole.update(lab)[some])
    np.testing.assert_array_equal(part.frames[some], whole.frames[some])
    if out not in part.samples:
        part.update(lab[some[some != out]], some[some != out])
        assert part.frames[out] == 0


def test_hard_edges_that_move_over_a_still_are_no_noise() -> None:
    """Each frame changes every point of some cells; the others stand still."""
    rng = np.random.default_rng(0)
    lab = rng.uniform(0, 100, (300, 16, 3)).astype(np.float32)
    denoiser = Denoiser(len(lab))
    for _ in range(8):
        lab = lab.copy()
        cells = rng.choice(len(lab), 90, replace=False)
        lab[cells] = rng.choice(np.array([5, 95], np.float32), (90, 16, 3))
        np.testing.assert_array_equal(denoiser.update(lab), lab)
        assert denoiser.noise == 0


class KeepsNoise(Denoiser):
    """Leaves the points as they are."""

    def update(self, lab: F32, some: NDArray[np.intp] | None = None) -> F32:
        self.frames[:] = 0
        return lab


@pytest.mark.slow
@given(
    seeds,
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(0, 3),
    st.sampled_from([0, 1, 3]),
    st.sampled_from(["single", "crops", "two"]),
)
def test_match_by_layout(
    seed: int,
    rows: int,
    columns: int,
    tint: float,
    calm: float,
    variety: float,
    min_distance: int,
    max_uses: int,
    name: str,
) -> None:
    """Every decision of five frames beside a search through all variants."""
    gallery, rng = _made[name], np.random.default_rng(seed)
    grid = Grid(rows, columns, 32, 32, 32 * columns, 32 * rows)
    look: dict[str, Any] = {"tint": tint, "calm": calm, "variety": variety}
    settings = MosaicSettings(min_distance=min_distance, max_uses=max_uses, **look)
    matcher = LayoutMatcher(gallery, grid, settings, denoiser=KeepsNoise(grid.cells))
    index = matcher.index
    points = gallery.points[index.variant // 2]
    points[index.variant % 2 == 1] = points[index.variant % 2 == 1][:, :, ::-1]
    codes, residual = zip(*map(naive.coefficients, points_to_lab(points)), strict=True)
    photo = gallery.source_photo[index.variant // 2]
    photos = len(np.unique(photo))
    twin = naive.LayoutMatch(
        np.array(codes),
        np.array(residual),
        gallery.texture[index.variant // 2],
        photo,
        grid=(rows, columns),
        # Half of the photos stay to choose from, but neighbours are kept apart if they can be.
        distance=min(min_distance, max(1, (int((photos / 2) ** 0.5) - 1) // 2)),
        max_uses=max(max_uses, -(-rows * columns // photos)) if max_uses else 1000,
        **look,
    )
    state = np.zeros((rows, columns), np.uint8)
    picture = rng.integers(0, 256, (rows * 8, columns * 8, 3), np.uint8)
    for _ in range(5):
        lab = cell_lab(picture, rows, columns)
        urgency = matcher.observe(picture, state, state)
        far = np.array([twin.urgency(cell, points) for cell, points in enumerate(lab)])
        np.testing.assert_array_equal((urgency > 0)[abs(far) > 0.1], (far > 0)[abs(far) > 0.1])
        cells = np.flatnonzero(urgency).astype(np.int32)
        if len(cells):
            matcher.describe(cells)
            ids, flips = matcher.match(cells, active=len(cells))
            chosen = dict(
                zip(cells.tolist(), matcher.assignment.place[cells].tolist(), strict=True)
            )
            np.testing.assert_array_equal(index.variant[list(chosen.values())], 2 * ids + flips)
            moved = np.count_nonzero(np.floor(far + twin.limit) > 13**2)
            cut = bool(moved > rows * columns / 2)
            if cut:
                for cell in cells:
                    twin.place[cell] = None
            for cell in matcher.decisions.cells.tolist():
                code, _ = naive.coefficients(lab[cell])
                twin.check(cell, lab[cell], code, chosen[cell], cut=cut)
        changed = rng.random((rows, columns, 1)) < rng.choice([0.1, 0.5, 1])
        other = picture + rng.normal(0, rng.choice([4, 30, 90]), picture.shape)
        mask = changed.repeat(8, axis=0).repeat(8, axis=1)
        picture = np.where(mask, other.clip(0, 255), picture).astype(np.uint8)


@given(seeds, st.integers(1, 12))
def test_cell_tint(seed: int, cells: int) -> None:
    """It takes over means that drifted by more than 2.5 levels, and those of outdated cells."""
    rng = np.random.default_rng(seed)
    tint = CellTint(Grid(1, cells, 32, 32, 32 * cells, 32))
    shown = np.full((cells, 3), -1000.0)
    pixels = rng.integers(0, 256, (8, cells, 8, 3))
    for number in range(5):
        means = pixels.mean(axis=(0, 2))
        outdated = rng.random(cells) < 0.2
        before = outdated.copy()
        result = tint.update(pixels.reshape(8, 8 * cells, 3).astype(np.uint8), outdated)
        drifted = (np.abs(means - shown) > 2.5).any(axis=1)
        np.testing.assert_array_equal(outdated, before | drifted)
        assert number > 0 or outdated.all()
        shown[outdated] = means[outdated]
        np.testing.assert_array_equal(result, shown)
        pixels = (pixels + rng.integers(-4, 5, (1, cells, 1, 3))).clip(0, 255)


_made: dict[str, Gallery] = {}


@pytest.fixture(scope="module", autouse=True)
def _galleries(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A gallery for hypothesis' tests: 40 tiles, each a cluster, and of fewer photos."""
    path = tmp_path_factory.mktemp("kernels") / "single.gallery"
    tiles = synthetic_tiles(40, 12, seed=1)
    numbers = np.arange(40, dtype=np.int32)
    _made["single"] = write_tiles(path, tiles, numbers)
    # Four crops of each of ten photos, that are never mirrored.
    path = path.with_name("crops.gallery")
    _made["crops"] = write_tiles(path, tiles, numbers, mirror=False, photos=numbers // 4)
    path = path.with_name("two.gallery")
    _made["two"] = write_tiles(path, tiles[:8], numbers[:8], photos=numbers[:8] // 4)


def one_tile_clusters() -> Gallery:
    return _made["single"]


# ---- compose --------------------------------------------------------------------------------


# The original is rounded when it is enlarged along rows and again along columns, with weights of a
# few bits. A lost carry, a wrong tile or a wrong neighbour is far more.
ROUNDING = 2.0
# A tile is scaled, given less contrast and shifted, each time in whole levels.
TINT_ROUNDING = 2.0


class Twins:
    """Composes with the program and with the twin, and compares every picture."""

    def __init__(self, grid: Grid, *, overlay: tuple[float, float], colour: Colour, tint: float):
        self.grid, self.overlay, self.tint = grid, overlay, tint
        gallery = one_tile_clusters()
        scaled_by = cached_overlay(overlay, tint)
        self.cache = TileCache(
            gallery, tile=(grid.tile_width, grid.tile_height), colour=colour, overlay=scaled_by
        )
        self.composer = Compositor(grid, overlay=overlay, tint=tint)
        # As they are, for the twin to tint and scale.
        self.tiles = TileCache(
            gallery, tile=(grid.tile_width, grid.tile_height), colour=colour, overlay=(0, 0)
        )
        self.tiles.slots(np.arange(len(gallery), dtype=np.int32))
        half = (grid.canvas_height // 2, grid.canvas_width // 2)
        self.planes = [
            np.zeros(shape) for shape in ((grid.canvas_height, grid.canvas_width), half, half)
        ]
        self.before: list[U8] = []

    def compose(
        self,
        frame: Frame,
        cells: np.ndarray,
        ids: np.ndarray,
        flips: np.ndarray,
        means: np.ndarray | None,
    ) -> tuple[U8, U8, U8]:
        part = Part(self.cache, cells, ids, flips, means)
        out = self.composer.compose(frame, cells, [part])
        width, height = self.grid.width, self.grid.height
        across, down = self.grid.tile_width, self.grid.tile_height
        stores = (self.tiles.y, self.tiles.u, self.tiles.v)
        untouched = np.ones((self.grid.rows, self.grid.columns), bool)
        untouched.flat[cells] = False
        low, high = (0, 255) if frame.colour.full_range else (16, 235)
        for i, (plane, tiles, source, made) in enumerate(
            zip(self.planes, stores, (frame.y, frame.u, frame.v), out, strict=True)
        ):
            overlay = self.overlay[min(i, 1)]
            original = naive.enlarged(source, width, height, overlay=overlay)
            shown = tiles[ids].astype(np.float64)
            if means is not None:
                for tile, mean in zip(shown, means, strict=True):
                    reach = naive.reach(self.tint, mean[0], low, high)
                    tile[:] = naive.tinted(
                        tile, mean[i], reach=reach, lowest=low, highest=high, shift_only=i > 0
                    )
            numbers = np.arange(len(ids), dtype=np.int32)
            naive.compose(plane, shown * (1 - overlay), original, cells, numbers, flips)
            rounding = ROUNDING + (0 if means is None else TINT_ROUNDING)
            np.testing.assert_allclose(made, plane[:height, :width], rtol=0, atol=rounding)
            if self.before:
                old = untouched.repeat(down, axis=0).repeat(across, axis=1)[:height, :width]
                np.testing.assert_array_equal(made[old], self.before[i][old])
            width, height = self.grid.width // 2, self.grid.height // 2
            across, down = self.grid.tile_width // 2, self.grid.tile_height // 2
        self.before = [plane.copy() for plane in out]
        return out


def check_compose(
    grid: Grid,
    source: tuple[int, int],
    *,
    overlay: float | tuple[float, float],
    seed: int,
    hold: Callable[[int], bool],
    tint: float = 0.0,
) -> None:
    """Five frames of random cells; pictures for which `hold` is true are kept to the end."""
    overlay = overlay if isinstance(overlay, tuple) else (overlay, overlay)
    rng = np.random.default_rng(seed)
    colour = Colour(full_range=bool(seed % 2))
    twins = Twins(grid, overlay=overlay, colour=colour, tint=tint)
    held = []
    for number in range(5):
        picture = rng.integers(0, 256, (source[1], source[0], 3), np.uint8)
        frame = Frame(*bgr_to_i420(picture, colour), colour)
        share = [1.0, 0.5, 0.0, 0.9, 0.2][number]
        count = round(grid.cells * share)
        cells = np.sort(rng.choice(grid.cells, count, replace=False)).astype(np.int32)
        ids = rng.integers(0, 40, count).astype(np.int32)
        means = rng.choice([0, 16, 20, 60, 128, 200, 235, 255], (count, 3)).astype(np.float32)
        flips = rng.random(count) < 0.5
        out = twins.compose(frame, cells, ids, flips, means if tint else None)
        if hold(number):
            held.append([(plane, plane.copy()) for plane in out])
        del out
    for planes in held:
        for plane, copy in planes:
            np.testing.assert_array_equal(plane, copy)


@pytest.mark.parametrize("px", SIZES)
def test_compose_every_tile_size(px: int) -> None:
    columns = 3 if px < 40 else 2
    grid = Grid(2, columns, px, px, columns * px - 2, 2 * px)
    check_compose(
        grid, (columns * px // 3 + 2, px // 2 + 1), overlay=0.5, seed=px, hold=lambda n: n == 0
    )


@pytest.mark.parametrize("tile", [(24, 16), (16, 24), (32, 16), (18, 32), (48, 32), (34, 66)])
@pytest.mark.parametrize("tint", [0.0, 0.8])
def test_compose_tiles_that_are_not_square(tile: tuple[int, int], tint: float) -> None:
    width, height = tile
    grid = Grid(2, 3, width, height, 3 * width - 4, 2 * height - 2)
    source = (width + 2, height // 2 + 1)
    check_compose(grid, source, overlay=0.5, seed=7, hold=lambda n: n == 0, tint=tint)


@pytest.mark.parametrize("px", SIZES)
def test_compose_every_tile_size_with_a_tint(px: int) -> None:
    columns = 3 if px < 40 else 2
    grid = Grid(2, columns, px, px, columns * px - 2, 2 * px)
    source = (columns * px // 3 + 2, px // 2 + 1)
    check_compose(grid, source, overlay=(0.2, 0.0), seed=px, hold=lambda n: n == 0, tint=0.8)


def test_more_tiles_than_are_tinted_at_once() -> None:
    """128 kB of them, 32 of this size."""
    grid = Grid(6, 6, 64, 64, 384, 384)
    check_compose(grid, (48, 48), overlay=0.2, seed=1, hold=lambda n: False, tint=0.8)


@given(
    seeds,
    st.sampled_from([4, 6, 8, 16, 32]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 0.8, 1.0])] * 2),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sets(st.integers(0, 4)),
    st.data(),
)
def test_compose(
    seed: int,
    px: int,
    rows: int,
    columns: int,
    overlay: tuple[float, float],
    tint: float,
    hold: set[int],
    data: st.DataObject,
) -> None:
    if px == 32:
        rows = columns = 2
    cut = data.draw(st.tuples(*[st.integers(0, px // 2 - 1)] * 2), "half of the pixels cut off")
    grid = Grid(rows, columns, px, px, columns * px - 2 * cut[0], rows * px - 2 * cut[1])
    # From a single pixel to more than the output has.
    source = data.draw(
        st.tuples(st.integers(1, grid.width * 5 // 4), st.integers(1, grid.height * 5 // 4))
    )
    check_compose(grid, source, overlay=overlay, seed=seed, hold=hold.__contains__, tint=tint)


# ---- as plain Python ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not JIT, reason="this is the run without the JIT")
@pytest.mark.timeout(280)
def test_kernels_without_the_jit(tmp_path: Path) -> None:
    """The same tests with the kernels as plain Python: bad indices and types show as errors."""
    shrink = "tests/test_gallery_tiles.py::test_shrinking_is_a_mean_of_areas[45-45-32-32]"
    words = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*words, __file__, shrink],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
