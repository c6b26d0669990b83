"""How mosaics look and change by layout: calm, variety, distance, tint, overlay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from livemosaic.gallery import open_gallery
from livemosaic.gallery.gallery import Gallery
from livemosaic.gallery.layout_features import points_to_lab
from livemosaic.gallery.layout_index import layout_index
from livemosaic.media.colour import Colour
from livemosaic.media.frame import Frame
from livemosaic.mosaic.grid import Grid
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.match.refine import RefiningMatcher
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from tests.conftest import U8, moving_pictures, synthetic_tiles, write_tiles
from tests.program import needs_jit

pytestmark = needs_jit

SMALL: dict[str, Any] = {"tile_px": 16, "scale": 2, "overlay": 0.0}


@pytest.fixture(scope="module")
def photos() -> Gallery:
    return open_gallery("photos")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Gallery]:
    """A function that makes a gallery of some photos, with three crops of each."""
    folder = tmp_path_factory.mktemp("few")

    def make(count: int, *, mirror: bool = True) -> Gallery:
        numbers = np.arange(count * 3, dtype=np.int32)
        path = folder / f"{count}{mirror}.gallery"
        tiles = synthetic_tiles(count * 3, 16, seed=count)
        return write_tiles(path, tiles, numbers % 2, mirror=mirror, photos=numbers // 3)

    return make


def still(size: tuple[int, int] = (320, 192), *, seed: int = 5) -> U8:
    """Smooth colours with edges, as of a room."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 235, (9, 15, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    smooth[: size[1] // 2, : size[0] // 3] = rng.uniform(20, 235, 3)
    return smooth.clip(0, 255).astype(np.uint8)


def noisy(picture: U8, count: int, *, sigma: float = 4.0) -> Iterator[U8]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        noise = rng.normal(0, sigma, picture.shape)
        yield (picture + noise).round().clip(0, 255).astype(np.uint8)


def shown(mosaic: Mosaic) -> NDArray[Any]:
    """Which variant each cell shows, int (rows, columns)."""
    return 2 * mosaic.tile_ids + mosaic.flips


def photo(mosaic: Mosaic) -> NDArray[Any]:
    return mosaic.gallery.source_photo[mosaic.tile_ids]


def nearest_repeat(photos: NDArray[Any]) -> float:
    """The smallest distance of two cells with the same photo."""
    rows, columns = photos.shape
    for distance in range(1, max(rows, columns)):
        for down in range(distance + 1):
            for across in range(-distance, distance + 1):
                if max(down, abs(across)) != distance:
                    continue
                one = photos[: rows - down, max(0, -across) : columns - max(0, across)]
                other = photos[down:, max(0, across) : columns - max(0, -across)]
                if (one == other).any():
                    return distance
    return np.inf


# ---- calm -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile_px", [8, 16, 32])
@pytest.mark.parametrize("calm", [0.0, 0.5])
def test_camera_noise_changes_nothing(photos: Gallery, tile_px: int, calm: float) -> None:
    """At any size of the cells; smaller ones than of 8 pixels of the input average less noise."""
    mosaic = Mosaic(photos, MosaicSettings(tile_px=tile_px, scale=1, calm=calm, tint=0.8))
    first = None
    for picture in noisy(still(), 12):
        mosaic.process(Frame.from_bgr(picture))
        first = shown(mosaic) if first is None else first
        assert mosaic.cells.changed == 0
        np.testing.assert_array_equal(shown(mosaic), first)


@pytest.mark.parametrize(("tile_px", "sigma"), [(16, 30.0), (8, 30.0), (8, 15.0)])
def test_noise_that_is_ugly_changes_little(photos: Gallery, tile_px: int, sigma: float) -> None:
    """It is no cut, and its mean over some frames is clean."""
    mosaic = Mosaic(photos, MosaicSettings(tile_px=tile_px, scale=1))
    changed = []
    for picture in noisy(still(), 20, sigma=sigma):
        mosaic.process(Frame.from_bgr(picture))
        changed.append(mosaic.cells.changed / mosaic.cells.total)
    assert max(changed[2:]) < 0.06
    assert np.mean(changed[2:]) < 0.02


@pytest.mark.parametrize("sigma", [8.0, 20.0])
def test_a_cut_and_a_thing_that_comes_are_followed_at_once_under_noise(
    photos: Gallery, sigma: float
) -> None:
    """As without noise: the tiles of the new picture are there in its first frame."""
    before, after = still(), np.ascontiguousarray(still()[::-1, ::-1])
    thing = before.copy()
    thing[32:96, 64:160] = 255 - thing[32:96, 64:160]
    for second, place in ((after, np.s_[:, :]), (thing, np.s_[2:6, 4:10])):
        mosaic = Mosaic(photos, MosaicSettings(tile_px=16, scale=1))
        for picture in noisy(before, 8, sigma=sigma):
            mosaic.process(Frame.from_bgr(picture))
        old = shown(mosaic)[place]
        mosaic.process(Frame.from_bgr(next(noisy(second, 1, sigma=sigma))))
        assert (shown(mosaic)[place] != old).mean() > 0.7


def test_what_has_gone_does_not_stay(few: Callable[..., Gallery]) -> None:
    """Also where each photo is in many cells, and costs much for it."""
    gallery, settings = few(40), MosaicSettings(**SMALL, tint=0.0)
    after_somebody: list[float] = []
    fresh: list[float] = []
    for shift in range(4):
        ground = np.clip(np.roll(still(), 40 * shift, axis=1), 60, 255)
        person = ground.copy()
        person[40:140, 60:160] -= np.uint8(48)
        for errors, pictures in ((after_somebody, (person, ground)), (fresh, (ground,))):
            mosaic = Mosaic(gallery, settings)
            for picture in pictures:
                frame = mosaic.process(Frame.from_bgr(picture))
            grid = mosaic.plan(320, 192)
            cells, wanted = (
                cv2.resize(p, (grid.columns, grid.rows), interpolation=cv2.INTER_AREA).astype(float)
                for p in (frame.to_bgr(), ground)
            )
            errors.append(np.abs(cells - wanted)[5:17, 8:20].mean())
    # 6 % are of tiles that nearly fit; 17 % if an old tile's whole cost is weighed.
    assert np.mean(after_somebody) < 1.08 * np.mean(fresh)


def changes(gallery: Gallery, pictures: list[U8], **options: Any) -> int:
    mosaic = Mosaic(gallery, MosaicSettings(**SMALL, **options))
    count = 0
    for picture in pictures:
        mosaic.process(Frame.from_bgr(picture))
        count += mosaic.cells.changed
    return count


def test_calm_is_calmer(gallery: Gallery) -> None:
    ground = still((400, 240))
    pictures = [ground[n : n + 192, 2 * n : 2 * n + 320].copy() for n in range(24)]
    counts = [changes(gallery, pictures, calm=calm) for calm in (0.0, 0.5, 1.0)]
    assert counts[0] > 1.5 * counts[1] > 0
    assert counts[1] > 1.5 * counts[2]


def test_what_moved_little_stays_and_a_tile_that_still_serves_too(gallery: Gallery) -> None:
    """Of a picture whose left becomes brighter by 4 and by 20 of lightness.

    With a tint, which takes care of the mean, most tiles are no worse for it than others.
    """
    picture = np.clip(still(), 40, 150)
    mosaic = Mosaic(gallery, MosaicSettings(**SMALL, tint=1.0, calm=0.5))
    active, changed = [], []
    for levels in (0, 10, 60):
        brighter = picture.copy()
        brighter[:, :144] += np.uint8(levels)
        mosaic.process(Frame.from_bgr(brighter))
        active.append(mosaic.cells.active / mosaic.cells.total)
        changed.append(mosaic.cells.changed / mosaic.cells.total)
    assert active[1] == changed[1] == 0
    assert active[2] == pytest.approx(0.45)
    assert 0 < changed[2] < 0.3 * active[2]


@pytest.mark.parametrize(("better_by", "changed"), [(19, 0), (25, 1)])
def test_a_tile_gives_way_to_one_that_is_better_by_twenty(
    tmp_path: Path, better_by: float, changed: int
) -> None:
    """However good the first is; what is less cannot be seen. At a calm of 0.5."""
    greys = np.repeat(np.arange(256, dtype=np.uint8), 48).reshape(256, 4, 4, 3)
    lightness = points_to_lab(greys)[:, 0, 0]

    def grey(wanted: float) -> int:
        return int(np.abs(lightness - wanted).argmin())

    cell = lightness[grey(57)]  # away by 7 from the first tile: its cost is 49
    other = cell + np.sqrt(49 - better_by)
    levels = np.array([grey(50), grey(other)], np.uint8)
    tiles = np.broadcast_to(levels[:, None, None, None], (2, 8, 8, 3)).copy()
    gallery = write_tiles(tmp_path / "greys.gallery", tiles, np.zeros(2, np.int32), mirror=False)
    mosaic = Mosaic(gallery, MosaicSettings(**SMALL, calm=0.5, tint=0.0, variety=0.0))
    for level in (levels[0], grey(57)):
        mosaic.process(Frame.from_bgr(np.full((8, 8, 3), level, np.uint8)))
    assert (mosaic.cells.active, mosaic.cells.changed) == (1, changed)


def test_a_cut_forgets_the_picture_before(gallery: Gallery) -> None:
    """Every cell shows what a new filter would show."""
    one, other = (Frame.from_bgr(still(seed=seed)) for seed in (1, 2))
    settings = MosaicSettings(**SMALL, calm=1.0, tint=0.0)
    mosaic, fresh = Mosaic(gallery, settings), Mosaic(gallery, settings)
    mosaic.process(one)
    mosaic.process(other)
    fresh.process(other)
    cells = mosaic.cells
    assert cells.active > 0.9 * cells.total
    assert (shown(mosaic) == shown(fresh)).mean() > 0.9


def test_calm_can_be_changed_while_it_runs(gallery: Gallery) -> None:
    """The tiles stay, and from then on it is as calm as if it had been so before."""
    settings = MosaicSettings(**SMALL, calm=0.0)
    mosaic = Mosaic(gallery, settings)
    ground = still((400, 240))
    pictures = [ground[n : n + 192, 2 * n : 2 * n + 320].copy() for n in range(16)]
    mosaic.process(Frame.from_bgr(pictures[0]))
    before = shown(mosaic)
    mosaic.update_settings(replace(settings, calm=1.0))
    mosaic.process(Frame.from_bgr(pictures[0]))
    np.testing.assert_array_equal(shown(mosaic), before)
    count = 0
    for picture in pictures:
        mosaic.process(Frame.from_bgr(picture))
        count += mosaic.cells.changed
    assert count == changes(gallery, pictures, calm=1.0)
    assert count < changes(gallery, pictures, calm=0.0)


# ---- distance, uses, variety ------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0, 1, 3, 5])
@pytest.mark.parametrize("variety", [0.0, 0.4])
def test_no_photo_twice_within_a_distance(photos: Gallery, distance: int, variety: float) -> None:
    """After every frame of a clip that moves and cuts; also where few cells may be matched."""
    settings = MosaicSettings(**SMALL, min_distance=distance, variety=variety, calm=0.2)
    free, limited = Mosaic(photos, settings), Mosaic(photos, settings)
    repeats = []
    for picture in moving_pictures(14, seed=3, cut=9):
        frame = Frame.from_bgr(picture)
        free.process(frame)
        limited.process(frame, max_cells=60)
        for mosaic in (free, limited):
            repeats.append(nearest_repeat(photo(mosaic)))
            assert repeats[-1] > distance
    if variety == 0:
        assert min(repeats) <= distance + 3  # it is not for want of trying


@pytest.mark.parametrize(
    ("count", "apart"), [(1, 1), (2, 1), (6, 1), (9, 2), (40, 2), (120, 4), (200, 4)]
)
def test_a_small_gallery_repeats_as_far_away_as_it_can(
    few: Callable[..., Gallery], count: int, apart: int
) -> None:
    """From nine photos on none stands beside itself: eight neighbours leave one."""
    mosaic = Mosaic(few(count), MosaicSettings(**SMALL, min_distance=3))
    for picture in moving_pictures(6, cut=4):
        mosaic.process(Frame.from_bgr(picture))
        assert nearest_repeat(photo(mosaic)) >= apart


def test_one_photo_still_makes_a_mosaic(few: Callable[..., Gallery]) -> None:
    gallery = few(1)
    mosaic = Mosaic(gallery, MosaicSettings(**SMALL))
    for picture in moving_pictures(3):
        mosaic.process(Frame.from_bgr(picture))
    assert set(np.unique(photo(mosaic))) == {0}
    assert len(np.unique(shown(mosaic))) > 1  # its crops and their mirror images


@pytest.mark.parametrize(
    ("count", "most", "allowed"), [(919, 2, 2), (919, 5, 5), (200, 8, 8), (919, 1, 2), (60, 1, 24)]
)
def test_max_uses(
    photos: Gallery, few: Callable[..., Gallery], count: int, most: int, allowed: int
) -> None:
    """Of 960 cells; in a gallery of too few photos it gives way, before neighbours are alike."""
    gallery = photos if count == 919 else few(count)
    settings = MosaicSettings(**SMALL, max_uses=most, variety=0.0, min_distance=1)
    mosaic = Mosaic(gallery, settings)
    for picture in moving_pictures(8, cut=5):
        mosaic.process(Frame.from_bgr(picture))
        assert photo(mosaic).size == 960
        assert np.bincount(photo(mosaic).ravel()).max() <= allowed
        assert nearest_repeat(photo(mosaic)) > 1


def test_more_variety_more_photos(photos: Gallery) -> None:
    frame = Frame.from_bgr(still())
    counts = []
    for variety in (0.0, 0.4, 1.0):
        mosaic = Mosaic(photos, MosaicSettings(**SMALL, variety=variety))
        mosaic.process(frame)
        counts.append(len(np.unique(photo(mosaic))))
    assert counts[0] * 1.2 < counts[1]
    assert counts[1] * 1.1 < counts[2]


@pytest.mark.parametrize(
    ("colour", "least"),
    [((36, 34, 40), 50), ((214, 222, 226), 50), ((0, 0, 0), 40), ((255, 255, 255), 40)],
)
def test_a_flat_wall_is_many_photos(
    photos: Gallery, colour: tuple[int, int, int], least: int
) -> None:
    """100 cells of one colour, none of the photos twice within three cells."""
    mosaic = Mosaic(photos, MosaicSettings(tile_px=32, scale=1))
    mosaic.apply(np.full((320, 320, 3), colour, np.uint8))
    assert mosaic.cells.total == 100
    assert len(np.unique(photo(mosaic))) >= least
    assert nearest_repeat(photo(mosaic)) > 3


def test_mirror_images_are_chosen_where_they_fit(tmp_path: Path) -> None:
    """One photo, dark on its left: it is mirrored where the picture is dark on the right."""
    tile = np.full((1, 16, 16, 3), 40, np.uint8)
    tile[:, :, 8:] = 210
    picture = np.full((64, 64, 3), 40, np.uint8)
    for column in range(4):
        left = column * 16 + (8 if column % 2 else 0)
        picture[:, left : left + 8] = 210
    expected = np.tile([[True, False] * 2], (4, 1))
    for mirror in (True, False):
        path = tmp_path / f"{mirror}.gallery"
        gallery = write_tiles(path, tile, np.zeros(1, np.int32), mirror=mirror)
        mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=1))
        mosaic.apply(picture)
        np.testing.assert_array_equal(mosaic.flips, expected & mirror)


def test_emoji_are_never_mirrored() -> None:
    mosaic = Mosaic("emoji", MosaicSettings(**SMALL))
    for picture in moving_pictures(3, cut=2):
        mosaic.process(Frame.from_bgr(picture))
        assert not mosaic.flips.any()


# ---- tint -------------------------------------------------------------------------------------


def cell_means(plane: U8, rows: int, columns: int) -> NDArray[np.float64]:
    height, width = plane.shape
    cells = plane.reshape(rows, height // rows, columns, width // columns)
    return np.asarray(cells.mean(axis=(1, 3), dtype=np.float64))


def ramps() -> U8:
    """Grey from black to white, and below it dark, middle and light colours; 20x12 cells."""
    picture = np.empty((192, 320, 3), np.uint8)
    picture[:64] = np.linspace(0, 255, 320).round()[None, :, None]
    hues = np.array([[179 * n // 20, 120, 0] for n in range(20)], np.uint8)
    for row, value in enumerate((40, 90, 150, 230)):
        hues[:, 2] = value
        band = cv2.cvtColor(hues[None], cv2.COLOR_HSV2BGR)
        picture[64 + row * 32 : 96 + row * 32] = band.repeat(16, axis=1).repeat(32, axis=0)
    return picture


@pytest.mark.parametrize("full_range", [False, True])
def test_a_full_tint_gives_each_cell_its_colour(photos: Gallery, full_range: bool) -> None:
    """Its mean is the input's, in the darks and the lights too, although nothing of the input is
    superimposed; and few samples leave the range that can be shown."""
    frame = Frame.from_bgr(ramps(), colour=Colour(full_range=full_range))
    mosaic = Mosaic(photos, MosaicSettings(tile_px=32, scale=2, overlay=0.0, tint=1.0))
    out = mosaic.process(frame)
    low, high = (0, 255) if full_range else (16, 235)
    off = [
        np.abs(cell_means(made, 12, 20) - cell_means(given_, 12, 20))
        for made, given_ in ((out.y, frame.y), (out.u, frame.u), (out.v, frame.v))
    ]
    shown_luma = np.abs(cell_means(out.y.clip(low, high), 12, 20) - cell_means(frame.y, 12, 20))
    assert max(o.max() for o in off) < 4
    assert np.percentile(shown_luma, 95) < 4
    assert shown_luma.max() < 12
    middle = (cell_means(frame.y, 12, 20) > low + 20) & (cell_means(frame.y, 12, 20) < high - 20)
    inside = np.kron(middle, np.ones((32, 32))) > 0
    clipped = (out.y <= low) | (out.y >= high)
    assert clipped[inside].mean() < 0.02
    # Photos can still be seen there.
    assert out.y.reshape(12, 32, 20, 32).std(axis=(1, 3))[middle].mean() > 15


def test_half_a_tint_is_half_way(photos: Gallery) -> None:
    frame = Frame.from_bgr(np.full((64, 64, 3), 128, np.uint8))
    settings = MosaicSettings(tile_px=32, scale=1, overlay=0.0, tint=0.0)
    mosaic = Mosaic(photos, settings)
    means = [cell_means(mosaic.process(frame).y, 2, 2)]
    for tint in (0.5, 1.0):
        mosaic.update_settings(replace(settings, tint=tint))
        means.append(cell_means(mosaic.process(frame).y, 2, 2))
    np.testing.assert_allclose(means[1], (means[0] + means[2]) / 2, atol=1.5)


@pytest.mark.parametrize("tint", [0.0, 0.4, 1.0])
def test_another_tint_keeps_the_tiles(gallery: Gallery, tint: float) -> None:
    frame = Frame.from_bgr(still())
    settings = MosaicSettings(**SMALL, tint=0.7)
    mosaic = Mosaic(gallery, settings)
    before = mosaic.process(frame)
    before_y, tiles = before.y.copy(), shown(mosaic)
    mosaic.update_settings(replace(settings, tint=tint))
    after = mosaic.process(frame)
    np.testing.assert_array_equal(shown(mosaic), tiles)
    assert mosaic.cells.active == 0
    assert (after.y != before.y).mean() > 0.5
    mosaic.update_settings(settings)
    assert (mosaic.process(frame).y == before_y).all()


def test_a_tint_follows_a_drift(photos: Gallery) -> None:
    """The light fades by half a level a frame: tiles stay, their brightness goes along."""
    mosaic = Mosaic(photos, MosaicSettings(**SMALL, tint=1.0, calm=1.0))
    first = None
    for n in range(30):
        picture = np.full((96, 160, 3), 140 - n // 2, np.uint8)
        frame = Frame.from_bgr(picture)
        out = mosaic.process(frame)
        first = shown(mosaic) if first is None else first
        np.testing.assert_array_equal(shown(mosaic), first)
        off = cell_means(out.y, 12, 20) - cell_means(frame.y, 12, 20)
        assert np.abs(off).max() < 2.5 + 1.5


def test_only_cells_that_drift_are_composed(gallery: Gallery) -> None:
    settings = MosaicSettings(tile_px=32, scale=4, overlay=0.0, tint=1.0, calm=1.0)
    mosaic = Mosaic(gallery, settings)
    picture = np.full((64, 96, 3), 120, np.uint8)
    before = mosaic.process(Frame.from_bgr(picture))
    copy = before.y.copy()
    picture[16:24, 40:48] += 5
    after = mosaic.process(Frame.from_bgr(picture))
    assert (mosaic.cells.active, mosaic.cells.touched) == (0, 1)
    other = (after.y != copy).reshape(8, 32, 12, 32).any(axis=(1, 3))
    assert np.argwhere(other).tolist() == [[2, 5]]


def test_another_overlay_needs_no_other_tiles(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tint: without one, the cache scales them for the overlay."""
    settings = MosaicSettings(**SMALL)
    mosaic, frame = Mosaic(gallery, settings), Frame.from_bgr(still())
    mosaic.process(frame)
    monkeypatch.setattr(gallery, "tiles", None)  # reading them fails
    for options in ({"overlay": 0.3}, {"tint": 1.0}, {"overlay_luma": True}, {"calm": 1.0}):
        mosaic.update_settings(replace(mosaic.settings, **options))
        mosaic.process(frame)
    with pytest.raises(TypeError):
        mosaic.update_settings(replace(mosaic.settings, tint=0.0))


@pytest.mark.parametrize("match", ["layout", "clusters"])
def test_a_cache_for_some_of_the_tiles(
    gallery: Gallery, match: Literal["layout", "clusters"]
) -> None:
    """Memory does not grow with the gallery, and the pictures are the same."""
    settings = MosaicSettings(tile_px=64, size=(320, 192), match=match)
    pictures = moving_pictures(12, cut=6)
    shown = []
    for cache_bytes in (2**29, 20 * 64 * 64 * 3 // 2, 40 * 64 * 64 * 3 // 2):
        mosaic = Mosaic(gallery, settings, cache_bytes=cache_bytes)
        shown.append([mosaic.apply(picture) for picture in pictures])
    for other in shown[1:]:
        np.testing.assert_array_equal(shown[0], other)


# ---- the overlay's lightness ------------------------------------------------------------------


def test_an_overlay_of_lightness_keeps_the_colours_of_the_photos(gallery: Gallery) -> None:
    frame = Frame.from_bgr(still())
    settings = MosaicSettings(**{**SMALL, "overlay": 0.5}, tint=0.0)
    whole = Mosaic(gallery, settings).process(frame)
    luma = Mosaic(gallery, replace(settings, overlay_luma=True)).process(frame)
    none = Mosaic(gallery, replace(settings, overlay=0.0)).process(frame)
    np.testing.assert_array_equal(luma.y, whole.y)
    np.testing.assert_array_equal(luma.u, none.u)
    np.testing.assert_array_equal(luma.v, none.v)
    assert (whole.u != none.u).mean() > 0.5


# ---- the index and the books ------------------------------------------------------------------


@pytest.mark.slow
@given(st.integers(1, 60), st.booleans(), st.integers(0, 2**32 - 1))
def test_every_variant_is_in_one_cluster(
    tmp_path_factory: pytest.TempPathFactory, count: int, mirror: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tiles = synthetic_tiles(count, 8, seed=seed)
    if seed % 4 == 0:
        tiles[:] = tiles[0]  # nothing to tell them apart by
    numbers = np.unique(rng.integers(0, count, count), return_inverse=True)[1].astype(np.int32)
    path = tmp_path_factory.mktemp("index") / "x.gallery"
    gallery = write_tiles(
        path, tiles, np.zeros(count, np.int32), mirror=mirror, photos=rng.permutation(numbers)
    )
    index = layout_index(gallery)
    variants = [2 * tile + flip for tile in range(count) for flip in range(1 + mirror)]
    assert sorted(index.variant.tolist()) == variants
    assert (index.start[0], index.start[-1]) == (0, len(variants))
    assert (np.diff(index.start) > 0).all()
    clusters = np.searchsorted(index.start, index.photo_members, side="right") - 1
    np.testing.assert_array_equal(index.member_cluster, clusters)
    np.testing.assert_array_equal(
        index.member_slot - index.slots[clusters], index.photo_members - index.start[clusters]
    )
    np.testing.assert_array_equal(index.photo, gallery.source_photo[index.variant // 2])
    for number in range(len(index.photo_start) - 1):
        members = index.photo_members[index.photo_start[number] : index.photo_start[number + 1]]
        assert sorted(members.tolist()) == np.flatnonzero(index.photo == number).tolist()


def test_the_index_is_made_once_and_the_same_each_time(gallery: Gallery) -> None:
    assert layout_index(gallery) is layout_index(gallery)
    assert gallery.path is not None
    made, again = layout_index(gallery), layout_index(Gallery.open(gallery.path))
    parts = zip((*made, *made.groups), (*again, *again.groups), strict=True)
    for one, other in parts:
        if one is made.groups:
            continue
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(0, 2))
def test_the_books_are_right(few: Callable[..., Gallery], seed: int, max_uses: int) -> None:
    """After any sequence of matches the uses are what is counted anew."""
    rng = np.random.default_rng(seed)
    rows, columns = 4, 6
    settings = MosaicSettings(tint=0.5, variety=0.5, min_distance=1, max_uses=max_uses)
    grid = Grid(rows, columns, 32, 32, columns * 32, rows * 32)
    matcher = LayoutMatcher(few(7), grid, settings)
    index, state = matcher.index, np.zeros((rows, columns), np.uint8)
    for number in range(6):
        picture = rng.integers(0, 256, (rows * 8, columns * 8, 3), np.uint8)
        matcher.observe(picture, state, state)
        count = rows * columns if number == 0 else int(rng.integers(1, rows * columns + 1))
        cells = np.sort(rng.choice(rows * columns, count, replace=False)).astype(np.int32)
        matcher.describe(cells)
        matcher.match(cells, active=int(rng.integers(count, rows * columns + 1)))
        books = matcher.assignment
        used = index.photo[books.place]
        uses = np.bincount(used, minlength=len(books.uses))
        np.testing.assert_array_equal(books.uses, uses)
        of_clusters = [
            uses[index.photo[begin:end]].sum()
            for begin, end in zip(index.start[:-1], index.start[1:], strict=True)
        ]
        np.testing.assert_array_equal(books.cluster_priced, of_clusters)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("look", "least"), [({}, 0.93), ({"tint": 0.0}, 0.65), ({"tint": 1.0, "variety": 0.0}, 0.85)]
)
def test_recall(photos: Gallery, look: dict[str, Any], least: float) -> None:
    """Nine of ten cells get a tile within 5 % of the cheapest of all; without a tint fewer."""
    from bench.quality.metrics import recall
    from bench.quality.recall import layout_costs

    frame = Frame.from_bgr(still((480, 270)))
    mosaic = Mosaic(photos, MosaicSettings(tile_px=16, scale=1, **look))
    mosaic.process(frame)
    costs = layout_costs(mosaic, frame)
    assert len(costs.chosen) == mosaic.cells.total
    assert (costs.chosen >= costs.best - 1e-3).all()
    assert recall(costs.chosen, costs.best) > least


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["large_gallery", "unhurried_cells", "unhurried_slots"])
@pytest.mark.parametrize("variety", [0.0, 0.4])
def test_a_short_search_keeps_the_rules(photos: Gallery, limit: str, variety: float) -> None:
    """In a large gallery, and in a hurry: also where many cells want the same few tiles."""
    settings = MosaicSettings(**SMALL, variety=variety)
    zero: dict[str, Any] = {limit: 0}
    thorough = Mosaic(photos, settings, matcher=partial(RefiningMatcher, **zero))
    short = Mosaic(photos, settings, matcher=partial(LayoutMatcher, **zero))
    for picture in (still((640, 384)), np.zeros((384, 640, 3), np.uint8)):
        frame = Frame.from_bgr(picture)
        for mosaic in (thorough, short):
            mosaic.process(frame)
            assert nearest_repeat(photo(mosaic)) > 3


def test_recall_of_a_short_search(photos: Gallery) -> None:
    from bench.quality.metrics import recall
    from bench.quality.recall import layout_costs

    frame = Frame.from_bgr(still((480, 270)))
    made = []
    for cells, slots in ((0, 10**9), (1000, 0), (1000, 10**6), (1000, 10**9)):
        matcher = partial(LayoutMatcher, unhurried_cells=cells, unhurried_slots=slots)
        mosaic = Mosaic(photos, MosaicSettings(tile_px=16, scale=1), matcher=matcher)
        mosaic.process(frame)
        made.append(layout_costs(mosaic, frame))
    costs, without_slots, some, unhurried = made
    assert (without_slots.chosen == costs.chosen).all()
    # The last cells only are hurried.
    means = [it.chosen.mean() for it in (unhurried, some, costs)]
    assert means[0] < means[1] < means[2]
    assert 0.2 < recall(costs.chosen, costs.best) < 0.93  # it is shorter
    assert costs.chosen.mean() < 1.5 * costs.best.mean()
