"""Finer cells: where cells split in four, and what counts over both sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import LiveGallery, mosaic_frames, open_gallery, render
from livemosaic.control.live_values import change_values, live_values
from livemosaic.control.state import Control, LiveState
from livemosaic.errors import OptionError
from livemosaic.gallery.gallery import Gallery
from livemosaic.jit import I32, Bools
from livemosaic.media.frame import DeepPicture, Frame
from livemosaic.mosaic.area import Area
from livemosaic.mosaic.grid import finer_grids, plan_grid
from livemosaic.mosaic.match.base import Matcher
from livemosaic.mosaic.match.layout import UNHURRIED_CELLS, LayoutMatcher
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings, can_halve
from livemosaic.mosaic.tile_cache import TileCache
from livemosaic.mosaic.waiting import WaitingCells
from livemosaic.pipeline.faces import FaceFollower, FacesFinder
from livemosaic.sinks.photo_map import finest_cells, map_page
from livemosaic.tile_size import sides, tile_size
from livemosaic.window.keys import View, press

from .conftest import ROOT, TILES, U8, synthetic_tiles
from .gallery_files import photo_of_person
from .program import needs_jit
from .test_photo_map import read

PLAIN = MosaicSettings(tile_px=16, scale=1, overlay=0.0, tint=0.0)
FACE = (56.0, 40.0, 40.0, 36.0)  # its head is from 51 to 101, and from 24 to 78


def picture(seed: int, size: tuple[int, int] = (192, 128)) -> U8:
    """Left what photos of the gallery show, in cells of 16 pixels; right what none shows."""
    rng = np.random.default_rng(seed)
    few = rng.integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    found = cv2.resize(few, size, interpolation=cv2.INTER_NEAREST)
    tiles = synthetic_tiles(TILES, 32)[rng.permutation(TILES)]
    rows, columns = size[1] // 16, size[0] // 32
    for number, tile in enumerate(tiles[: rows * columns]):
        row, column = divmod(number, columns)
        part = found[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        part[:] = cv2.resize(tile, (16, 16), interpolation=cv2.INTER_AREA)
    return np.asarray(found, np.uint8)


def shown(mosaic: Mosaic) -> list[tuple[int, int, int, int, int, bool]]:
    """Left, top, width, height, tile and flip of each cell that is shown."""
    cells = []
    for grid, ids, flips in mosaic.layers:
        wide, high = grid.tile_width, grid.tile_height
        for row, column in zip(*np.nonzero(ids >= 0), strict=True):
            place = int(column) * wide, int(row) * high, wide, high
            cells.append((*place, int(ids[row, column]), bool(flips[row, column])))
    return cells


def check(mosaic: Mosaic, made: Frame, *, distance: int | None = None) -> None:
    """Each place shows one cell's tile, no photo is shown twice within the distance, and the
    matcher knows how often each is shown."""
    cells, gallery = shown(mosaic), mosaic.cut_gallery
    covered = np.zeros((mosaic.grid.canvas_height, mosaic.grid.canvas_width), int)
    planes = [np.zeros(covered.shape, np.uint8)]
    for wide, high in {cell[2:4] for cell in cells}:
        tiles = TileCache(gallery, tile=(wide, high), colour=made.colour, overlay=(0.0, 0.0))
        for left, top, *size, tile, flip in cells:
            if tuple(size) == (wide, high):
                pixels = tiles.y[tiles.slots(np.array([tile], np.int32))[0]]
                planes[0][top : top + high, left : left + wide] = pixels[:, :: -1 if flip else 1]
                covered[top : top + high, left : left + wide] += 1
    assert (covered == 1).all()
    np.testing.assert_array_equal(made.y, planes[0][: made.height, : made.width])
    assert mosaic.cells.total == len(cells)
    if isinstance(mosaic.matcher, LayoutMatcher):
        photos = [int(gallery.source_photo[cell[4]]) for cell in cells]
        uses = mosaic.matcher.assignment.uses
        np.testing.assert_array_equal(uses, np.bincount(photos, minlength=len(uses)))
    for number, one in enumerate(cells if distance is not None else ()):
        for other in cells[number + 1 :]:
            if photos[number] == int(gallery.source_photo[other[4]]):
                wide, high = max(one[2], other[2]), max(one[3], other[3])
                apart = max(
                    abs(one[0] // wide - other[0] // wide), abs(one[1] // high - other[1] // high)
                )
                assert apart > (distance or 0), (one, other)


@needs_jit
@pytest.mark.parametrize("fine", ["faces", "detail"])
@pytest.mark.parametrize("tile", [16, (24, 16)])
def test_every_place_shows_one_cell(gallery: Gallery, fine: str, tile: Any) -> None:
    mosaic = Mosaic(gallery, PLAIN.changed(fine=fine, tile=tile, min_distance=1))
    rng = np.random.default_rng(3)
    splits = set()
    for number in range(12):
        at = (float(rng.integers(-40, 180)), float(rng.integers(-40, 120)), 40.0, 44.0)
        turned = picture(number // 2)[:, :: -1 if number % 4 > 1 else 1]
        frame = Frame.from_bgr(np.ascontiguousarray(turned))
        most = [None, 0, 5][number % 3]
        made = mosaic.process(frame, max_cells=most, faces=[at] if number % 4 < 3 else [])
        check(mosaic, made, distance=1)
        splits.add(mosaic.cells.split)
        assert min(mosaic.cells.deferred, mosaic.cells.touched) >= 0
    assert len(splits) > 1


@needs_jit
@pytest.mark.parametrize("tint", [0.0, 0.8])
def test_a_stream_shows_what_a_new_one_would(gallery: Gallery, tint: float) -> None:
    """Where a face comes and goes, nothing of it stays: tint and overlay, too."""
    settings = PLAIN.changed(fine="faces", tint=tint, overlay=0.3)
    frame, stream = Frame.from_bgr(picture(1)), Mosaic(gallery, settings)
    before = stream.process(frame)
    tiles, flips = stream.tile_ids, stream.flips
    assert stream.process(frame, faces=[FACE]).y.tobytes() != before.y.tobytes()
    assert stream.cells.split == 11
    stream.process(frame)
    assert stream.cells.split == 0
    assert stream.cells.total == stream.grid.cells
    again = stream.process(frame)
    same = np.kron(stream.tile_ids == tiles, np.ones((16, 16), bool))
    same &= np.kron(stream.flips == flips, np.ones((16, 16), bool))
    assert same.mean() > 0.9
    differ = (again.y != before.y) & same
    assert not differ.any()


def test_where_cells_split(gallery: Gallery) -> None:
    """In the head: a face with a margin. It joins later than it splits."""
    mosaic = Mosaic(gallery, PLAIN.changed(fine="faces"))
    frame = Frame.from_bgr(picture(0))

    def split(*faces: Sequence[float]) -> Bools:
        mosaic.process(frame, faces=faces)  # type: ignore[arg-type]
        return np.asarray(mosaic.tile_ids < 0)

    expected = np.zeros((8, 12), bool)
    expected[1:5, 4:6] = expected[2:5, 3] = True
    np.testing.assert_array_equal(split(FACE), expected)
    left, *others = FACE
    np.testing.assert_array_equal(split((left + 2, *others)), expected)
    expected[:, 3], expected[1:5, 6] = False, True
    np.testing.assert_array_equal(split((left + 14, *others)), expected)
    assert not split().any()


@needs_jit
def test_details_split() -> None:
    mosaic = Mosaic("photos", PLAIN.changed(fine="detail", tint=0.8))
    few = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    noisy = cv2.resize(few, (192, 128), interpolation=cv2.INTER_NEAREST)
    noisy[:, :96] = 110
    for frame, plain, full in (
        (noisy, np.s_[:, :5], np.s_[:, 6:]),
        (noisy[:, ::-1], np.s_[:, 7:], np.s_[:, :6]),
    ):
        mosaic.process(Frame.from_bgr(np.ascontiguousarray(frame)))
        split = mosaic.tile_ids < 0
        assert split[full].mean() > 0.9
        assert split[plain].mean() < 0.1
        assert mosaic.cells.split == np.count_nonzero(split)


@needs_jit
@pytest.mark.parametrize("fine", ["faces", "detail"])
def test_nothing_changes_by_noise(gallery: Gallery, fine: str) -> None:
    """Camera noise of sigma 4, in a picture that stands still."""
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=24, size=(640, 360), fine=fine))
    clean = cv2.GaussianBlur(picture(2, (640, 360)), (0, 0), 3)
    rng, before = np.random.default_rng(0), None
    for number in range(12):
        noise = rng.normal(0, 4, clean.shape)
        frame = Frame.from_bgr(np.clip(clean + noise, 0, 255).astype(np.uint8))
        mosaic.process(frame, faces=[(300, 100, 90, 90)])
        now = [(layer.tile_ids, layer.flips) for layer in mosaic.layers]
        if number > 2:
            np.testing.assert_equal(now, before)
            assert mosaic.cells.split
        before = now


@needs_jit
@pytest.mark.parametrize("fine", ["faces", "detail"])
def test_fewer_cells_split_when_photos_leave_a_live_gallery(fine: str) -> None:
    live = LiveGallery(Gallery.from_images(list(synthetic_tiles(300, 16))))
    settings = PLAIN.changed(fine=fine, max_uses=1)
    mosaic, splits = Mosaic(live.snapshot, settings), []
    noisy = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    for left in (300, 150, 120, 100):
        live.remove(list(live.photos())[left:])
        mosaic.update_settings(settings, gallery=live.snapshot)
        made = mosaic.process(Frame.from_bgr(noisy), faces=[(16, 24, 160, 96)])
        check(mosaic, made)
        photos = [int(mosaic.cut_gallery.source_photo[cell[4]]) for cell in shown(mosaic)]
        assert len(set(photos)) == len(photos)
        splits.append(mosaic.cells.split)
    assert splits == [68 if fine == "detail" else splits[0], 18, 8, 1]


@needs_jit
@pytest.mark.parametrize("fine", ["faces", "detail"])
@pytest.mark.parametrize(
    ("tile", "size"), [(32, (176, 112)), (32, (180, 130)), ((16, 32), (168, 96))]
)
def test_no_cell_is_outside_of_the_picture(
    gallery: Gallery, fine: str, tile: Any, size: tuple[int, int]
) -> None:
    """A photo in it would count, and the map would name it, although nothing of it is seen."""
    for thorough in (False, True):
        mosaic = Mosaic(gallery, replace(PLAIN.changed(fine=fine, tile=tile), thorough=thorough))
        faces = [(0.0, 0.0, *map(float, size))]
        made = mosaic.process(Frame.from_bgr(picture(1, size)), faces=faces)  # type: ignore[arg-type]
        if not thorough:  # else tiles are of full size
            check(mosaic, made)
        assert mosaic.cells.split > 2
        for left, top, *_ in shown(mosaic):
            assert left < made.width
            assert top < made.height


@needs_jit
def test_shares_of_cells_are_shares() -> None:
    """Split cells are matched, too, and are not in the total."""
    mosaic = Mosaic("photos", PLAIN.changed(fine="detail", tint=0.8))
    noisy = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    mosaic.process(Frame.from_bgr(noisy))
    assert mosaic.cells.active > mosaic.cells.total
    assert mosaic.cells.share("active") == 1


def test_cells_that_wait_for_long() -> None:
    """Their urgency does not overflow: those that became urgent first are matched."""
    waiting = WaitingCells(96)
    all_of_them = np.ones(96, np.bool_)
    urgency = np.ones(96, np.int32)
    urgency[:10] = 10**9  # as of cells whose photo has left a live gallery
    matched: list[int] = []
    for _ in range(10):
        cells = waiting.select(urgency, all_of_them, ~all_of_them, 1)[1]
        matched += cells.tolist()
        urgency[cells] = 0
    assert sorted(matched) == list(range(10))


def test_a_single_picture_splits_twice(gallery: Gallery) -> None:
    settings = MosaicSettings(tile_px=16, scale=1, tint=0.0, overlay=0.0, fine="faces")
    mosaic = Mosaic(gallery, replace(settings, thorough=True))
    frame = Frame.from_bgr(picture(0, (320, 320)))
    check(mosaic, mosaic.apply(frame, faces=[(100, 120, 80, 80)]))
    assert [layer.grid.tile_px for layer in mosaic.layers] == [16, 8, 4]
    assert all((layer.tile_ids >= 0).any() for layer in mosaic.layers)
    check(mosaic, mosaic.process(frame))
    assert mosaic.cells.split == 0


def test_as_many_cells_as_there_are_photos_for(make_gallery: Callable[..., Gallery]) -> None:
    few = make_gallery(count=120)
    photos = int(few.source_photo.max()) + 1
    mosaic = Mosaic(few, PLAIN.changed(fine="detail", max_uses=1, min_distance=0))
    frame = Frame.from_bgr(picture(0, (160, 96)))
    check(mosaic, mosaic.process(frame))
    assert photos - 3 < mosaic.cells.total <= photos
    assert mosaic.matcher.assignment.uses.max() == 1  # type: ignore[attr-defined]


def test_least_uses_count_over_both_sizes(gallery: Gallery) -> None:
    photos = int(gallery.source_photo.max()) + 1
    side = 16 * (int(np.sqrt(photos)) + 2)
    mosaic = Mosaic(gallery, PLAIN.changed(fine="detail", min_uses=1, size=(side, side)))
    frame = Frame.from_bgr(picture(0, (side, side)))
    for _ in range(40):
        made = mosaic.process(frame)
    check(mosaic, made)
    assert mosaic.matcher.assignment.uses.min() == 1  # type: ignore[attr-defined]


class Turns(Matcher):
    """Takes tiles in turn, and knows nothing of finer cells."""

    def match(self, cells: I32, *, active: int) -> tuple[I32, Bools]:
        assert self.bgr.shape[:2] == (8 * self.grid.rows, 8 * self.grid.columns)
        return cells % len(self.gallery), cells % 2 == 1


@pytest.mark.parametrize("fine", ["faces", "detail"])
@pytest.mark.parametrize("matcher", [Turns, None])
def test_other_ways_of_matching(gallery: Gallery, fine: str, matcher: type[Matcher] | None) -> None:
    settings = PLAIN.changed(fine=fine, match="clusters")
    if matcher is None:
        settings = replace(settings, seed=3)
    mosaic = Mosaic(gallery, settings, matcher=matcher)
    for number in range(3):
        made = mosaic.process(Frame.from_bgr(picture(number)), faces=[FACE])
        check(mosaic, made)
        assert mosaic.cells.split


def test_hidden_cells_keep_their_size(gallery: Gallery) -> None:
    """Where nothing of the mosaic is seen, cells neither split nor join; later they do."""
    mosaic = Mosaic(gallery, PLAIN.changed(fine="faces"))
    frame = Frame.from_bgr(picture(0))
    mosaic.process(frame)
    nowhere, everywhere = (Area(np.full((8, 8), level, np.uint8), frame) for level in (0, 255))
    made = mosaic.process(frame, faces=[FACE], area=nowhere)
    assert mosaic.cells.split == 0
    assert made.y.tobytes() == frame.y.tobytes()
    check(mosaic, mosaic.process(frame, faces=[FACE], area=everywhere))
    assert mosaic.cells.split == 11


def test_ten_bits_show_the_same_cells(gallery: Gallery) -> None:
    frame = Frame.from_bgr(picture(0))
    y, u, v = (plane.astype(np.uint16) * 4 for plane in (frame.y, frame.u, frame.v))
    frame = replace(frame, deep=DeepPicture(y, u, v, frame.colour))
    mosaic = Mosaic(gallery, PLAIN.changed(fine="faces", tint=0.5, overlay=0.2))
    for faces in ([], [FACE], []):
        made = mosaic.process(frame, faces=faces)
        assert made.deep is not None
        assert np.abs(made.deep.y / 4 - made.y).mean() < 1.5


def test_grids_of_finer_cells() -> None:
    def sizes(**options: Any) -> list[Any]:
        settings = MosaicSettings(fine="faces").changed(**options)
        return [grid.tile_px for grid in finer_grids(plan_grid(1280, 720, settings), settings)]

    assert sizes() == [32, 16]
    assert sizes(thorough=True) == [32, 16, 8]
    assert sizes(tile=(24, 12), thorough=True) == [(24, 12), (12, 6)]
    assert sizes(fine="none") == [32]
    assert sizes(columns=50) == [52, 26]
    assert len(sizes(tile=8, scale=4)) == 1  # too many cells


@pytest.mark.parametrize("tile", [30, 4, (32, 30)])
def test_tiles_that_have_no_half(tile: Any) -> None:
    with pytest.raises(OptionError, match="multiples of 4, from 8 on; the nearest is"):
        MosaicSettings(fine="detail").changed(tile=tile)


@pytest.mark.parametrize("width", [4, 6, 10, 18, 26, 34, 510, 512])
@pytest.mark.parametrize("ratio", [0.5, 0.75, 1, 1.5, 2])
def test_key_d_with_tiles_of_any_shape(width: int, ratio: float) -> None:
    tile = tile_size(width, 2 * round(width * ratio / 2))
    if not 4 <= min(sides(tile)) <= max(sides(tile)) <= min(512, 2 * min(sides(tile))):
        return
    control = Control(LiveState(MosaicSettings(tile_px=tile)))
    said = press("d", control, View(1280, 720))
    settings = control.state.settings
    assert settings.fine == "faces", said
    for one, other in zip(sides(settings.tile_px or 0), sides(tile), strict=True):
        assert abs(one - other) <= 4


@pytest.mark.parametrize("faces", [[(1, 2, 3)], [(1, 2, 3, np.nan)], 5, [("a", 2, 3, 4)]])
def test_faces_that_are_none(gallery: Gallery, faces: Any) -> None:
    with pytest.raises(OptionError, match="faces"):
        Mosaic(gallery, PLAIN).process(Frame.from_bgr(picture(0)), faces=faces)


def test_the_map_names_the_photo_of_each_cell(gallery: Gallery) -> None:
    mosaic = Mosaic(gallery, PLAIN.changed(fine="faces"))
    made = mosaic.process(Frame.from_bgr(picture(0)), faces=[FACE])
    (ids, flips), spans = finest_cells(mosaic.layers)
    for left, top, wide, high, tile, flip in shown(mosaic):
        part = np.s_[top // 8 : (top + high) // 8, left // 8 : (left + wide) // 8]
        assert (ids[part] == tile).all()
        assert (flips[part] == flip).all()
        assert (spans[part] == wide // 8).all()
    page = map_page(made, mosaic.layers[-1].grid, gallery, (ids, flips), spans=spans, title="a")
    data = read(page)
    assert data["seen"] == mosaic.cells.total
    assert sum(photo[2] for photo in data["photos"]) == mosaic.cells.total


# ---- faces in a stream ---------------------------------------------------------------------------


def person(left: int, *, time_s: float = 0.0, noise: int = 0) -> Frame:
    """A person at a place in a grey picture of 640x360."""
    found = photo_of_person(640, 360, left, 0, 360)
    if noise:
        rng = np.random.default_rng(noise)
        found = np.clip(found + rng.normal(0, 4, found.shape), 0, 255).astype(np.uint8)
    frame = Frame.from_bgr(found)
    return replace(frame, pts=round(1000 * time_s), time_base=Fraction(1, 1000), captured_s=time_s)


BY_FACES = LiveState(MosaicSettings(fine="faces"))


def test_the_face_in_a_file() -> None:
    finder = FacesFinder(None)
    [face] = finder.faces_in(person(100), BY_FACES)
    left, top, width, height = face
    assert 100 + 110 < left < 100 + 180
    assert 30 < top < 70
    assert 50 < width < 100
    assert 50 < height < 100
    mirrored = replace(BY_FACES, mirror=True)
    [other] = finder.faces_in(person(100, time_s=0.01).mirrored(), mirrored)
    assert other == pytest.approx((640 - left - width, top, width, height))
    assert finder.faces_in(person(100), replace(BY_FACES, privacy=True)) == []
    assert finder.faces_in(person(100), LiveState()) == []


def test_the_box_of_a_face_is_steady() -> None:
    finder = FacesFinder(None)
    first = finder.faces_in(person(100), BY_FACES)
    for look in range(1, 8):
        assert finder.faces_in(person(101, time_s=look / 4, noise=look), BY_FACES) == first
    [moved] = finder.faces_in(person(160, time_s=3.0), BY_FACES)
    assert moved.left - first[0].left == pytest.approx(60, abs=12)


def test_a_face_stays_for_a_moment_but_not_in_another_scene() -> None:
    finder = FacesFinder(None)
    found = finder.faces_in(person(100), BY_FACES)
    hidden = person(100, time_s=0.3)
    hidden.y[40:140, 210:310] = 90
    assert finder.faces_in(hidden, BY_FACES) == found
    for look in range(10):
        last = finder.faces_in(replace(hidden, pts=600 + 300 * look), BY_FACES)
    assert last == []
    finder.faces_in(person(100, time_s=5.0), BY_FACES)
    black = replace(Frame.from_bgr(np.zeros((360, 640, 3), np.uint8)), pts=5010)
    assert finder.faces_in(replace(black, time_base=Fraction(1, 1000)), BY_FACES) == []


@pytest.mark.parametrize("looks_per_s", [5, 1])
def test_a_face_stays_for_so_long_however_often_it_is_looked_for(looks_per_s: int) -> None:
    finder = FacesFinder(None)
    finder.looks.looks_per_s = looks_per_s
    assert finder.faces_in(person(100), BY_FACES)
    hidden = person(100)
    hidden.y[40:140, 210:310] = 90
    stays_s = [
        time_s
        for time_s in np.arange(0.1, 4, 0.1)
        if finder.faces_in(replace(hidden, pts=round(1000 * time_s)), BY_FACES)
    ]
    assert 1 <= max(stays_s) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("fine", ["faces", "detail"])
def test_recall_over_both_sizes(fine: str) -> None:
    """Nine of ten cells of each size get a tile within 5 % of the cheapest of all; with details, in
    a frame of a film, so many finer ones that they are matched in a hurry."""
    from bench.quality.metrics import recall
    from bench.quality.recall import costs_by_size

    frame, settings = person(100), MosaicSettings(tile_px=24, scale=1, fine=fine)
    if fine == "detail":
        frame, settings = film_frame(), settings.changed(tile=32)
    sizes = costs_by_size(open_gallery("photos"), settings, [frame], [(192, 108, 160, 144)])
    assert len(sizes) == 2
    assert (len(sizes[1].chosen) > UNHURRIED_CELLS) == (fine == "detail")
    for costs in sizes:
        assert len(costs.chosen) > 100
        assert (costs.chosen >= costs.best - 1e-3).all()
        assert recall(costs.chosen, costs.best) > 0.9


@pytest.mark.slow
def test_a_film_that_becomes_a_file_is_matched_unhurried() -> None:
    """In a frame of a fade all cells want the same few photos: in a hurry many get another one."""
    from bench.quality.metrics import recall
    from bench.quality.recall import costs_by_size

    dark = Frame.from_bgr((film_frame().to_bgr() * 0.15).astype(np.uint8))
    shares = []
    for unhurried in (False, True):
        settings = MosaicSettings(tile_px=32, scale=1, fine="detail", unhurried=unhurried)
        finer = costs_by_size(open_gallery("photos"), settings, [dark])[1]
        assert len(finer.chosen) > UNHURRIED_CELLS
        shares.append(recall(finer.chosen, finer.best))
    assert shares[0] < 0.9 < shares[1], shares


def film_frame() -> Frame:
    """A frame of 1280x720 of the included clip."""
    capture = cv2.VideoCapture(str(ROOT / "livemosaic/demo/bigbuckbunny.mp4"))
    capture.set(cv2.CAP_PROP_POS_MSEC, 1680)
    picture = capture.read()[1]
    assert picture is not None
    return Frame.from_bgr(cv2.resize(picture, (1280, 720), interpolation=cv2.INTER_AREA))


def test_small_faces_are_followed() -> None:
    """They are found where the whole picture shows them too small, and again in each look."""
    follow, photo = FaceFollower(), np.full((360, 640, 3), 90, np.uint8)
    one = cv2.resize(person(100).to_bgr()[:, 100:460], (300, 300), interpolation=cv2.INTER_AREA)
    left, right = (np.s_[30:330, at : at + 300] for at in (10, 330))
    photo[left] = photo[right] = one
    found = follow((photo, 0.0), True)
    assert len(found) == 2
    for look in range(1, 20):
        assert follow((photo, look / 5), False) is found
    photo[left] = 90  # one leaves
    for look in range(20, 28):
        found = follow((photo, look / 5), False)
    assert len(found) == 1
    photo[left] = one  # and comes back
    for look in range(28, 38):
        found = follow((photo, look / 5), False)
    assert len(found) == 2


def test_live_no_picture_waits_for_faces() -> None:
    threads: list[Any] = []
    finder = FacesFinder(lambda name, work: threads.append(work))
    assert finder.faces_in(person(100), BY_FACES) == []
    finder.looks.close()
    threads[0]()  # looks, and ends
    assert finder.looks.has_news
    assert len(finder.faces_in(person(100), BY_FACES)) == 1
    assert not finder.looks.has_news
    assert len(threads) == 1


def test_the_program_and_frames_in_python_find_the_face(tmp_path: Path) -> None:
    clip = tmp_path / "person.png"
    cv2.imwrite(str(clip), person(100).to_bgr())
    look: dict[str, Any] = {"fine": "faces", "tile": 16, "size": (640, 360)}
    report = render(clip, tmp_path / "out.png", **look)
    assert 0.03 < report["cells"]["split_mean"] < 0.4
    [one] = mosaic_frames([person(100)], **look)
    [plain] = mosaic_frames([person(100)], **{**look, "fine": "none"})
    assert (one.y != plain.y).any()


@pytest.mark.parametrize(
    ("before", "change", "tile"),
    [
        ({"columns": 49}, {"fine": "faces"}, 24),  # of 26 pixels before
        ({}, {"fine": "faces", "columns": 49}, 28),
        ({"tile": "30x22"}, {"fine": "detail"}, "32x24"),
        ({"columns": 49}, {"fine": "none"}, 26),
    ],
)
def test_tiles_that_cannot_split_take_another_size(
    before: dict[str, Any], change: dict[str, Any], tile: int | str
) -> None:
    """By the control page, as by the key: the user has named no size."""
    control = Control(LiveState(MosaicSettings(tile_px=24, size=(1280, 720))))
    change_values(control, before)
    change_values(control, change)
    assert live_values(control)["tile"] == tile
    with pytest.raises(OptionError, match="multiples of 4"):
        change_values(control, {"fine": "faces", "tile": 26})


def test_the_key() -> None:
    control = Control(LiveState(MosaicSettings(tile_px=26, size=(640, 360))))
    view = View(640, 360)
    assert "faces" in press("d", control, view)
    assert (control.state.settings.fine, control.state.settings.tile_px) == ("faces", 24)
    press("d", control, view)
    assert control.state.settings.fine == "detail"
    while "largest" not in press("]", control, view):
        assert can_halve(control.state.settings.tile_px)
    press("d", control, view)
    assert control.state.settings.fine == "none"
