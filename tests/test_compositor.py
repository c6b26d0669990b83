"""Tiles as planes, and who may write to a canvas. Sums and copies are tested in test_kernels.py."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from livemosaic.gallery.gallery import Gallery
from livemosaic.media.colour import Colour, bgr_to_i420, bgr_to_ycbcr
from livemosaic.media.frame import Frame
from livemosaic.mosaic.compositor import Canvas, Compositor, Part
from livemosaic.mosaic.grid import Grid
from livemosaic.mosaic.tile_cache import TileCache
from tests.conftest import TILES
from tests.program import needs_jit

COLOUR = Colour("bt709")


@pytest.mark.parametrize("px", [8, 20, 32, 64])
def test_tiles_are_the_gallery_resized(gallery: Gallery, px: int) -> None:
    store = TileCache(gallery, tile=(px, px), colour=COLOUR, overlay=(0.0, 0.0))
    ids = np.array([3, 49, 3, 20], np.int32)
    slots = store.slots(ids)
    assert slots[0] == slots[2]
    mode = cv2.INTER_AREA if px < 32 else cv2.INTER_CUBIC
    for tile, slot in zip(ids, slots, strict=True):
        expected = cv2.resize(gallery.tiles[tile], (px, px), interpolation=mode)
        y, u, v = bgr_to_i420(np.asarray(expected, np.uint8), COLOUR)
        for plane, right in ((store.y, y), (store.u, u), (store.v, v)):
            assert np.abs(plane[slot].astype(int) - right).max() <= 1


@pytest.mark.parametrize("overlay", [0.0, 0.3])
def test_planes_are_rounded_as_by_opencv(gallery: Gallery, overlay: float) -> None:
    """In the size of the gallery's tiles, which is 32 pixels: every sample is the same."""
    store = TileCache(gallery, tile=(32, 32), colour=COLOUR, overlay=(overlay, overlay))
    slots = store.slots(np.arange(len(gallery), dtype=np.int32))
    scaled = np.floor(np.arange(256) * (1 - overlay) + 1e-9).astype(np.uint8)
    for tile, slot in zip(gallery.tiles, slots, strict=True):
        ycbcr = bgr_to_ycbcr(tile, COLOUR)
        y, u, v = cv2.split(scaled[ycbcr])
        np.testing.assert_array_equal(store.y[slot], y)
        for plane, full in ((store.u, u), (store.v, v)):
            small = cv2.resize(full, (16, 16), interpolation=cv2.INTER_AREA)
            np.testing.assert_array_equal(plane[slot], small)
        np.testing.assert_allclose(store.means[slot], ycbcr.mean(axis=(0, 1)), rtol=1e-6)
        np.testing.assert_allclose(store.deviations[slot], ycbcr[..., 0].std(), rtol=1e-5)


def test_tiles_leave_room_for_the_original(gallery: Gallery) -> None:
    """They are rounded down: tile and original can never sum to more than 255."""
    for overlay in np.linspace(0, 1, 21):
        both = (overlay, overlay)
        store = TileCache(gallery, tile=(8, 8), colour=Colour(full_range=True), overlay=both)
        store.slots(np.arange(len(gallery), dtype=np.int32))
        white = cv2.convertScaleAbs(np.full((1, 1), 255, np.uint8), alpha=overlay)[0, 0]
        assert int(store.y.max()) + int(white) <= 255


def test_many_tiles_at_once(make_gallery: Callable[..., Gallery]) -> None:
    """More than fit into one of OpenCV's pictures."""
    gallery = make_gallery(700)
    together = TileCache(gallery, tile=(48, 48), colour=COLOUR, overlay=(0.3, 0.3))
    slots = together.slots(np.arange(700, dtype=np.int32))
    alone = TileCache(gallery, tile=(48, 48), colour=COLOUR, overlay=(0.3, 0.3))
    (slot,) = alone.slots(np.array([699], np.int32))
    np.testing.assert_array_equal(together.y[slots[699]], alone.y[slot])
    np.testing.assert_array_equal(together.u[slots[699]], alone.u[slot])


@pytest.mark.parametrize("slots", [24, 25, 50])
def test_few_slots_for_many_tiles(gallery: Gallery, slots: int) -> None:
    """With slots for one picture's tiles, or a few more, the pictures are the same."""
    grid = Grid(4, 6, 16, 16, 96, 64)
    rng = np.random.default_rng(2)
    small: dict[str, Any] = {"min_tiles": slots, "max_bytes": 0}
    compositors = [
        Compositor(grid, overlay=(0.2, 0.2), tint=0.5),
        Compositor(grid, overlay=(0.2, 0.2), tint=0.5),
    ]
    caches = [
        TileCache(gallery, tile=(16, 16), colour=COLOUR, overlay=(0.2, 0.2), **limits)
        for limits in ({}, small)
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
        one, two = (
            its.compose(frame, cells, [Part(tiles, cells, ids[cells], flips, means)])
            for its, tiles in zip(compositors, caches, strict=True)
        )
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_oldest_tiles_make_room(gallery: Gallery) -> None:
    options: dict[str, Any] = {"tile": (16, 16), "colour": COLOUR, "overlay": (0.0, 0.0)}
    few = TileCache(gallery, min_tiles=6, max_bytes=0, **options)
    every = TileCache(gallery, **options)

    def fill(*ids: int) -> list[int]:
        wanted = np.array(ids, np.int32)
        slots = few.slots(wanted)
        np.testing.assert_array_equal(few.y[slots], every.y[every.slots(wanted)])
        return [int(slot) for slot in slots]

    zero, one, two, three = fill(0, 1, 2, 3)
    four, five = fill(4, 5)
    assert fill(6, 0, 7) == [one, zero, two]  # not the slot of 0, which is needed
    assert fill(3, 4, 5) == [three, four, five]
    assert fill(8, 9) == [three, four]
    assert fill(0, 6, 7, 5) == [zero, one, two, five]
    with pytest.raises(AssertionError):
        fill(*range(7))


@pytest.mark.parametrize(
    ("min_tiles", "max_bytes", "slots"),
    [(0, 2**29, TILES), (0, 20 * 384, 20), (30, 20 * 384, 30), (30, 40 * 384, 40), (700, 0, TILES)],
)
def test_slots_are_limited(gallery: Gallery, min_tiles: int, max_bytes: int, slots: int) -> None:
    """A tile of 16 pixels has 384 bytes."""
    options: dict[str, Any] = {"tile": (16, 16), "colour": COLOUR, "overlay": (0.0, 0.0)}
    cache = TileCache(gallery, min_tiles=min_tiles, max_bytes=max_bytes, **options)
    assert len(cache.y) == len(cache.u) == len(cache.v) == slots


class Painter(NamedTuple):
    compositor: Compositor
    tiles: TileCache


def compositor(gallery: Gallery, *, pool: list[Canvas] | None = None) -> Painter:
    grid = Grid(2, 3, 16, 16, 48, 32)
    tiles = TileCache(gallery, tile=(16, 16), colour=COLOUR, overlay=(0.5, 0.5))
    return Painter(Compositor(grid, overlay=(0.5, 0.5), pool=pool), tiles)


def compose(tested: Painter, level: int, cells: list[int]) -> tuple[np.ndarray, ...]:
    frame = Frame.from_bgr(np.full((8, 12, 3), level, np.uint8), colour=COLOUR)
    numbers = np.array(cells, np.int32)
    part = Part(tested.tiles, numbers, numbers, np.zeros(len(cells), bool))
    return tested.compositor.compose(frame, numbers, [part])


def test_nothing_changed_shares_memory(gallery: Gallery) -> None:
    tested = compositor(gallery)
    first = compose(tested, 0, list(range(6)))
    second = compose(tested, 0, [])
    for a, b in zip(first, second, strict=True):
        assert np.shares_memory(a, b)


def test_a_held_picture_is_left_alone(gallery: Gallery) -> None:
    tested = compositor(gallery)
    first = compose(tested, 0, list(range(6)))
    copies = [plane.copy() for plane in first]
    second = compose(tested, 255, [2])
    for a, b, copy in zip(first, second, copies, strict=True):
        assert not np.shares_memory(a, b)
        np.testing.assert_array_equal(a, copy)
    assert (second[0][:16, 32:] != first[0][:16, 32:]).any()
    np.testing.assert_array_equal(second[0][:, :32], first[0][:, :32])


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_one_plane_or_a_slice_of_it_holds_the_picture(gallery: Gallery, plane: int) -> None:
    tested = compositor(gallery)
    kept = compose(tested, 0, list(range(6)))[plane][1:, 2:].T
    copy = kept.copy()
    for level in (50, 100, 150):
        compose(tested, level, list(range(6)))
    np.testing.assert_array_equal(kept, copy)


def test_memory_is_used_again(gallery: Gallery) -> None:
    """While one picture at a time is referenced, there are at most two canvases."""
    tested = compositor(gallery)
    places = set()
    held = None
    for level in range(20):
        made = compose(tested, level * 10, list(range(6)) if level == 0 else [level % 6])
        places.add(made[0].__array_interface__["data"][0])
        held = made
        del made
    assert held is not None
    assert len(places) <= 2
    gc.collect()


class LatePool(list[Canvas]):
    """Canvases never come back."""

    def append(self, canvas: Canvas) -> None: ...


def test_a_canvas_that_comes_back_late(gallery: Gallery) -> None:
    """Another thread may have dropped a picture whose canvas is not in the pool yet."""
    prompt, late = compositor(gallery), compositor(gallery, pool=LatePool())
    for level in range(8):
        cells = list(range(6)) if level == 0 else [level % 6, 5]
        for a, b in zip(
            compose(prompt, 30 * level, cells), compose(late, 30 * level, cells), strict=True
        ):
            np.testing.assert_array_equal(a, b)


@needs_jit
def test_memory_that_was_needed_once_is_freed(gallery: Gallery) -> None:
    tested = compositor(gallery)
    size = 48 * 32 * 3 // 2
    everything = list(range(6))
    compose(tested, 0, everything)  # the tiles are in the cache
    tracemalloc.start()
    try:

        def taken() -> float:
            """By the compositor only: threads of other tests take memory, too."""
            own = tracemalloc.Filter(True, "*/mosaic/compositor.py")
            traces = tracemalloc.take_snapshot().filter_traces([own]).traces
            return sum(trace.size for trace in traces) / size

        before = taken()
        held = [compose(tested, level, everything) for level in range(60)]
        assert taken() - before > 59
        del held
        for level in range(250):
            kept = compose(tested, level, everything if level % 2 else [])
        assert taken() - before < 30  # the books about canvases are larger than these few
        newest = kept[0].copy()
        del kept
        np.testing.assert_array_equal(compose(tested, 249, [])[0], newest)
    finally:
        tracemalloc.stop()
