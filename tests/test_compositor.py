"""Tiles as planes, and who may write to a canvas. Sums and copies are tested in test_kernels.py."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from livemosaic.gallery.file_format import Gallery
from livemosaic.media.colour import Colour, bgr_to_i420
from livemosaic.media.frame import Frame
from livemosaic.mosaic.compositor import Compositor
from livemosaic.mosaic.grid import Grid
from livemosaic.mosaic.tile_cache import TileCache

COLOUR = Colour("bt709")


@pytest.mark.parametrize("px", [8, 20, 32, 64])
def test_tiles_are_the_gallery_resized(gallery: Gallery, px: int) -> None:
    store = TileCache(gallery, tile_px=px, colour=COLOUR, overlay=(0.0, 0.0))
    ids = np.array([3, 99, 3, 500], np.int32)
    places = store.prepare(ids)
    assert places[0] == places[2]
    mode = cv2.INTER_AREA if px < 32 else cv2.INTER_CUBIC
    for tile, place in zip(ids, places, strict=True):
        expected = cv2.resize(gallery.tiles[tile], (px, px), interpolation=mode)
        y, u, v = bgr_to_i420(np.asarray(expected, np.uint8), COLOUR)
        for plane, right in ((store.y, y), (store.u, u), (store.v, v)):
            assert np.abs(plane[place].astype(int) - right).max() <= 1


def test_tiles_leave_room_for_the_original(gallery: Gallery) -> None:
    """They are rounded down: tile and original can never sum to more than 255."""
    for overlay in np.linspace(0, 1, 21):
        both = (overlay, overlay)
        store = TileCache(gallery, tile_px=8, colour=Colour(full_range=True), overlay=both)
        store.prepare(np.arange(len(gallery), dtype=np.int32))
        white = cv2.convertScaleAbs(np.full((1, 1), 255, np.uint8), alpha=overlay)[0, 0]
        assert int(store.y.max()) + int(white) <= 255


def test_many_tiles_at_once(make_gallery: Callable[..., Gallery]) -> None:
    """More than fit into one of OpenCV's pictures."""
    gallery = make_gallery(700)
    together = TileCache(gallery, tile_px=48, colour=COLOUR, overlay=(0.3, 0.3))
    places = together.prepare(np.arange(700, dtype=np.int32))
    alone = TileCache(gallery, tile_px=48, colour=COLOUR, overlay=(0.3, 0.3))
    (place,) = alone.prepare(np.array([699], np.int32))
    np.testing.assert_array_equal(together.y[places[699]], alone.y[place])
    np.testing.assert_array_equal(together.u[places[699]], alone.u[place])


@pytest.mark.parametrize("most", [24, 25, 50])
def test_few_places_for_many_tiles(gallery: Gallery, most: int) -> None:
    """With room for one picture's tiles, or little more, what is painted is the same."""
    grid = Grid(4, 6, 16, 96, 64)
    rng = np.random.default_rng(2)
    composers = [
        Compositor(
            grid,
            TileCache(gallery, tile_px=16, colour=COLOUR, overlay=(0.2, 0.2), most=places),
            overlay=(0.2, 0.2),
            tint=0.5,
        )
        for places in (None, most)
    ]
    picture = rng.integers(0, 256, (32, 48, 3), np.uint8)
    frame = Frame.from_bgr(picture, colour=COLOUR)
    ids = np.zeros(24, np.int32)
    for number in range(40):
        cells = np.flatnonzero(rng.random(24) < (1 if number == 0 else 0.6)).astype(np.int32)
        other = rng.random(len(cells)) < (0.5 if number else 1)  # the others keep their tiles
        ids[cells[other]] = rng.integers(0, len(gallery), np.count_nonzero(other))
        flips = rng.random(len(cells)) < 0.5
        means = rng.uniform(30, 220, (len(cells), 3)).astype(np.float32)
        one, two = (c.compose(frame, cells, ids[cells], flips, means) for c in composers)
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_tiles_that_were_prepared_longest_ago_make_room(gallery: Gallery) -> None:
    few = TileCache(gallery, tile_px=16, colour=COLOUR, overlay=(0.0, 0.0), most=6)
    all_of_them = TileCache(gallery, tile_px=16, colour=COLOUR, overlay=(0.0, 0.0))

    def prepare(*ids: int) -> list[int]:
        wanted = np.array(ids, np.int32)
        places = few.prepare(wanted)
        np.testing.assert_array_equal(few.y[places], all_of_them.y[all_of_them.prepare(wanted)])
        return places.tolist()

    zero, one, two, three = prepare(0, 1, 2, 3)
    four, five = prepare(4, 5)
    assert prepare(6, 0, 7) == [one, zero, two]  # not 0's, which is needed
    assert prepare(3, 4, 5) == [three, four, five]
    assert prepare(8, 9) == [three, four]
    assert prepare(0, 6, 7, 5) == [zero, one, two, five]
    with pytest.raises(AssertionError):
        prepare(*range(7))


def composer(gallery: Gallery) -> Compositor:
    grid = Grid(2, 3, 16, 48, 32)
    tiles = TileCache(gallery, tile_px=16, colour=COLOUR, overlay=(0.5, 0.5))
    return Compositor(grid, tiles, overlay=(0.5, 0.5))


def paint(tested: Compositor, level: int, cells: list[int]) -> tuple[np.ndarray, ...]:
    frame = Frame.from_bgr(np.full((8, 12, 3), level, np.uint8), colour=COLOUR)
    numbers = np.array(cells, np.int32)
    return tested.compose(frame, numbers, numbers, np.zeros(len(cells), bool))


def test_nothing_changed_shares_memory(gallery: Gallery) -> None:
    tested = composer(gallery)
    first = paint(tested, 0, list(range(6)))
    second = paint(tested, 0, [])
    for a, b in zip(first, second, strict=True):
        assert np.shares_memory(a, b)


def test_a_held_picture_is_left_alone(gallery: Gallery) -> None:
    tested = composer(gallery)
    first = paint(tested, 0, list(range(6)))
    copies = [plane.copy() for plane in first]
    second = paint(tested, 255, [2])
    for a, b, copy in zip(first, second, copies, strict=True):
        assert not np.shares_memory(a, b)
        np.testing.assert_array_equal(a, copy)
    assert (second[0][:16, 32:] != first[0][:16, 32:]).any()
    np.testing.assert_array_equal(second[0][:, :32], first[0][:, :32])


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_one_plane_or_a_slice_of_it_holds_the_picture(gallery: Gallery, plane: int) -> None:
    tested = composer(gallery)
    kept = paint(tested, 0, list(range(6)))[plane][1:, 2:].T
    copy = kept.copy()
    for level in (50, 100, 150):
        paint(tested, level, list(range(6)))
    np.testing.assert_array_equal(kept, copy)


def test_memory_is_used_again(gallery: Gallery) -> None:
    """With one picture held at a time there are at most two canvases."""
    tested = composer(gallery)
    places = set()
    held = None
    for level in range(20):
        made = paint(tested, level * 10, list(range(6)) if level == 0 else [level % 6])
        places.add(made[0].__array_interface__["data"][0])
        held = made
        del made
    assert held is not None
    assert len(places) <= 2
    gc.collect()


def test_memory_that_was_needed_once_is_let_go(gallery: Gallery) -> None:
    tested = composer(gallery)
    size = 48 * 32 * 3 // 2
    everything = list(range(6))
    paint(tested, 0, everything)  # the tiles are prepared
    tracemalloc.start()
    try:

        def taken() -> float:
            return tracemalloc.get_traced_memory()[0] / size

        before = taken()
        held = [paint(tested, level, everything) for level in range(60)]
        assert taken() - before > 59
        del held
        for level in range(250):
            kept = paint(tested, level, everything if level % 2 else [])
        assert taken() - before < 30  # the books about canvases are larger than these few
        newest = kept[0].copy()
        del kept
        np.testing.assert_array_equal(paint(tested, 249, [])[0], newest)
    finally:
        tracemalloc.stop()
