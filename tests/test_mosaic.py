"""The filter as a whole: purity, memory, sizes, colour, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest

from livemosaic.errors import GalleryError, OptionError, UsageError
from livemosaic.gallery.gallery import Gallery
from livemosaic.jit import I32, Bools
from livemosaic.media.colour import Colour, bgr_to_i420
from livemosaic.media.frame import Frame
from livemosaic.mosaic.grid import Grid
from livemosaic.mosaic.match import MATCHERS, matcher_class
from livemosaic.mosaic.match.base import Matcher
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from tests.conftest import JIT, ROOT, U8, moving_pictures, write_tiles
from tests.program import needs_jit

_MATRICES: tuple[Literal["bt601", "bt709"], ...] = ("bt601", "bt709")
COLOURS = [Colour(matrix, full_range) for matrix, full_range in product(_MATRICES, (False, True))]

# The superimposed original may be out of date by so many levels of the output...
STALE = 8
# ... and is rounded twice.
ROUNDING = 2


LOOKS: dict[str, dict[str, Any]] = {
    "layout": {},
    "clusters": {"match": "clusters", "tint": 0.0, "overlay": 0.5},
}


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The default look and the published algorithm's: what holds for any mosaic holds for both."""
    return LOOKS[request.param]


def frames(pictures: Iterable[U8], *, colour: Colour | None = None) -> list[Frame]:
    return [Frame.from_bgr(p, colour=colour, pts=n) for n, p in enumerate(pictures)]


def noise(width: int, height: int, seed: int) -> U8:
    shape = (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def digest(frame: Frame) -> str:
    sha = hashlib.sha256()
    for plane in (frame.y, frame.u, frame.v):
        sha.update(plane.tobytes())
    return sha.hexdigest()


def apart(a: Frame, b: Frame) -> int:
    """The largest difference of any sample."""
    planes = ((a.y, b.y), (a.u, b.u), (a.v, b.v))
    return max(int(np.abs(p.astype(int) - q).max()) for p, q in planes)


@pytest.fixture(scope="module")
def plain_gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """One grey tile: everything else in the picture is the original over it."""
    path = tmp_path_factory.mktemp("mosaic") / "plain.gallery"
    return write_tiles(path, np.full((1, 8, 8, 3), 110, np.uint8), np.zeros(1, np.int32))


# ---- purity ---------------------------------------------------------------------------------


def test_same_seed_same_bytes(gallery: Gallery, look: dict[str, Any]) -> None:
    pictures = frames(moving_pictures(8, cut=5))
    settings = MosaicSettings(tile_px=16, scale=2, seed=3, **look)
    one, other = Mosaic(gallery, settings), Mosaic(gallery, settings)
    assert [digest(one.process(f)) for f in pictures] == [
        digest(other.process(f)) for f in pictures
    ]


def test_another_seed_other_bytes(gallery: Gallery) -> None:
    """Of the match by clusters; that by layout draws nothing at random."""
    frame = frames(moving_pictures(1))[0]
    seeds = [
        digest(
            Mosaic(gallery, MosaicSettings(scale=1, seed=seed, match=match, tint=0)).process(frame)
        )
        for match in ("clusters", "layout")
        for seed in (3, 4)
    ]
    assert seeds[0] != seeds[1]
    assert seeds[2] == seeds[3]


@needs_jit
def test_a_new_size_starts_again(gallery: Gallery, look: dict[str, Any]) -> None:
    """Frames of another size or colour begin a new stream, the same as with a new filter."""
    settings = MosaicSettings(tile_px=16, scale=2, **look)
    small, large = frames(moving_pictures(3)), frames(moving_pictures(3, size=(400, 208)))
    other_colour = frames(moving_pictures(3), colour=Colour("bt601", full_range=True))
    mosaic = Mosaic(gallery, settings)
    for stream in (small, large, other_colour, small):
        fresh = Mosaic(gallery, settings)
        for frame in stream:
            assert digest(mosaic.process(frame)) == digest(fresh.process(frame))


def test_first_frame_has_every_cell(gallery: Gallery, look: dict[str, Any]) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, **look))
    mosaic.process(frames(moving_pictures(1))[0])
    cells = mosaic.cells
    assert cells.total == cells.active == mosaic.tile_ids.size
    # There was no tile before that could have changed.
    assert cells.touched == cells.changed == 0
    assert (mosaic.tile_ids >= 0).all()


def test_still_frames_share_their_arrays(gallery: Gallery, look: dict[str, Any]) -> None:
    frame = frames(moving_pictures(1))[0]
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, **look))
    first = mosaic.process(frame)
    for _ in range(3):
        again = mosaic.process(frame)
        assert (mosaic.cells.active, mosaic.cells.touched, mosaic.cells.changed) == (0, 0, 0)
        for a, b in ((first.y, again.y), (first.u, again.u), (first.v, again.v)):
            assert a.shape == b.shape
            assert np.shares_memory(a, b)


def test_times_and_colour_are_kept(gallery: Gallery, look: dict[str, Any]) -> None:
    colour = Colour("bt601", tags=(5, 6, 5, 1))
    frame = Frame.from_bgr(
        moving_pictures(1)[0],
        colour=colour,
        pts=1234,
        time_base=Fraction(1, 90000),
        duration=3600,
        captured_s=5.5,
    )
    out = Mosaic(gallery, MosaicSettings(scale=1, **look)).process(frame)
    for name in ("pts", "time_base", "duration", "captured_s", "colour"):
        assert getattr(out, name) == getattr(frame, name)


def test_input_is_not_written(gallery: Gallery, look: dict[str, Any]) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, **look))
    for frame in frames(moving_pictures(3)):
        before = digest(frame)
        for plane in (frame.y, frame.u, frame.v):
            plane.flags.writeable = False
        mosaic.process(frame)
        assert digest(frame) == before


def test_padded_rows(gallery: Gallery, look: dict[str, Any]) -> None:
    """Decoders hand out planes with a stride."""
    settings = MosaicSettings(tile_px=16, scale=2, **look)
    plain, padded = Mosaic(gallery, settings), Mosaic(gallery, settings)
    for frame in frames(moving_pictures(3, cut=2)):
        wide = [np.pad(p, ((0, 0), (0, 24)))[:, : p.shape[1]] for p in (frame.y, frame.u, frame.v)]
        assert not wide[0].flags.c_contiguous
        assert digest(plain.process(frame)) == digest(padded.process(frame.with_picture(*wide)))


def test_stages_are_reported(gallery: Gallery, look: dict[str, Any]) -> None:
    stages: list[str] = []
    mosaic = Mosaic(gallery, MosaicSettings(scale=1, **look))
    mosaic.on_stage = stages.append
    frame = frames(moving_pictures(1))[0]
    for _ in range(2):
        stages.clear()
        mosaic.process(frame)
        assert stages == ["activity", "features", "match", "compose"]


# ---- memory ---------------------------------------------------------------------------------

HOLDS: dict[str, Callable[[int], int]] = {  # how many of the newest pictures are kept, by frame
    "none": lambda n: 0,
    "one": lambda n: 1,
    "three": lambda n: 3,
    "all": lambda n: 1000,
    "now and then": lambda n: n * 7 % 5,
}


@needs_jit
def test_held_pictures_never_change(gallery: Gallery, look: dict[str, Any]) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, **look))
    held = []
    for frame in frames(moving_pictures(30, cut=17)):
        out = mosaic.process(frame)
        held.append((out, [p.copy() for p in (out.y, out.u, out.v)]))
    for out, copies in held:
        for plane, copy in zip((out.y, out.u, out.v), copies, strict=True):
            np.testing.assert_array_equal(plane, copy)


@needs_jit
def test_holding_does_not_change_the_pictures(gallery: Gallery, look: dict[str, Any]) -> None:
    pictures = frames(moving_pictures(24, size=(200, 120), cut=13))
    runs: dict[str, list[str]] = {}
    for name, keep in HOLDS.items():
        mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, **look))
        held: list[Frame] = []
        runs[name] = []
        for n, frame in enumerate(pictures):
            out = mosaic.process(frame)
            runs[name].append(digest(out))
            held.append(out)
            del out
            held = held[max(0, len(held) - keep(n)) :]
    for name, digests in runs.items():
        assert digests == runs["none"], name


@needs_jit
def test_memory_is_bounded(gallery: Gallery, look: dict[str, Any]) -> None:
    """The next pictures use the memory of pictures that are not referenced any more."""
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, **look))
    places = set()
    for frame in frames(moving_pictures(30)):
        places.add(mosaic.process(frame).y.__array_interface__["data"][0])
    assert len(places) <= 2


# ---- nothing left behind --------------------------------------------------------------------


def assert_up_to_date(
    gallery: Gallery, pictures: Iterable[U8], *, limit: int = STALE + ROUNDING
) -> None:
    """After each frame, the picture is what a new filter makes of that frame, but for `limit`."""
    settings = MosaicSettings(tile_px=32, scale=4)
    mosaic = Mosaic(gallery, settings)
    for n, frame in enumerate(frames(pictures)):
        fresh = Mosaic(gallery, settings).process(frame)
        assert apart(mosaic.process(frame), fresh) <= limit, f"frame {n}"


def ground(*, size: tuple[int, int] = (96, 64)) -> U8:
    coarse = np.random.default_rng(2).uniform(60, 160, (3, 4, 3)).astype(np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


@needs_jit
@pytest.mark.parametrize("contrast", [5, 9, 15, 90])
def test_a_thin_line_leaves_no_ghost(plain_gallery: Gallery, contrast: int) -> None:
    """It moves by a pixel per frame, over the borders of cells, then it is gone."""
    still = ground()
    pictures = [still]
    for x in range(10, 60):
        picture = still.copy()
        picture[:, x] += np.uint8(contrast)
        pictures.append(picture)
    assert_up_to_date(plain_gallery, [*pictures, still, still])


@needs_jit
@pytest.mark.parametrize("edge", range(28, 38))
def test_a_thing_at_a_border_of_cells(plain_gallery: Gallery, edge: int) -> None:
    """The original is interpolated: what is in one cell is seen in the first pixels of the next."""
    still = ground()
    bright = still.copy()
    bright[:, edge : edge + 6] = 250
    assert_up_to_date(plain_gallery, [still, bright, bright, still, still])


@needs_jit
def test_a_cell_that_was_composed_beside_a_thing_that_left(plain_gallery: Gallery) -> None:
    """The left cell is composed for a reason of its own while the thing stands right of it."""
    still = ground()
    bright, both = still.copy(), still.copy()
    bright[:, 32:36] = both[:, 32:36] = 250
    both[20:22, 26:28] = 20
    assert_up_to_date(plain_gallery, [still, both, bright, still, still])


@needs_jit
def test_slow_fades_stay_within_bounds(plain_gallery: Gallery) -> None:
    """Each cell fades at its own speed, so that they are composed at different times.

    What is interpolated between two cells may be out of date by a little more than each of them.
    """
    speed = np.random.default_rng(0).uniform(0, 2, (8, 12)).repeat(8, axis=0).repeat(8, axis=1)
    pictures = [
        np.clip(40 + n * speed[..., None] * (1, 1, 1), 0, 255).astype(np.uint8) for n in range(40)
    ]
    assert_up_to_date(plain_gallery, pictures, limit=2 * STALE)


def test_tiles_stay_where_nothing_moves(gallery: Gallery, look: dict[str, Any]) -> None:
    """The cells that a block moves over change; all others keep tile and mirroring."""
    still = ground(size=(160, 96))
    moved = still.copy()
    moved[16:48, 40:72] = (0, 0, 250)
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=32, scale=4, **look))
    for_still, for_moved = frames([still, moved])
    mosaic.process(for_still)
    ids, flips = mosaic.tile_ids, mosaic.flips
    mosaic.process(for_moved)
    assert mosaic.cells.active == 16
    outside = np.ones(ids.shape, bool)
    outside[2:6, 5:9] = False
    np.testing.assert_array_equal(mosaic.tile_ids[outside], ids[outside])
    np.testing.assert_array_equal(mosaic.flips[outside], flips[outside])


# ---- colour and overlay ---------------------------------------------------------------------


def card(width: int = 320, height: int = 192) -> U8:
    """Colour bars above a grey ramp."""
    picture = np.empty((height, width, 3), np.uint8)
    bars = np.array(list(product((0, 255), repeat=3)), np.uint8)
    picture[: height // 2] = bars[np.arange(width) * 8 // width]
    picture[height // 2 :] = np.linspace(0, 255, width).round()[None, :, None]
    return picture


@needs_jit
@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize("tile_px", [16, 32, 20])
def test_overlay_of_one_is_the_original(gallery: Gallery, colour: Colour, tile_px: int) -> None:
    frame = Frame.from_bgr(card(), colour=colour)
    out = Mosaic(gallery, MosaicSettings(tile_px=tile_px, scale=1, overlay=1)).process(frame)
    assert apart(out, frame) <= 1
    assert out.colour == colour


@needs_jit
@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize("scale", [2, 4, 1.5, 0.5])
def test_overlay_of_one_is_the_original_resized(
    gallery: Gallery, colour: Colour, scale: float
) -> None:
    """Where the picture is flat or a ramp; at the edges of bars two ways of resizing differ."""
    frame = Frame.from_bgr(card(), colour=colour)
    out = Mosaic(gallery, MosaicSettings(tile_px=32, scale=scale, overlay=1)).process(frame)
    size = (round(320 * scale), round(192 * scale))
    resized = np.asarray(cv2.resize(card(), size, interpolation=cv2.INTER_NEAREST), np.uint8)
    wanted = bgr_to_i420(resized, colour)
    for plane, right in zip((out.y, out.u, out.v), wanted, strict=True):
        assert plane.shape == right.shape
        off = np.abs(plane.astype(int) - right)
        height, width = off.shape
        ramp = off[height // 2 + 4 :]
        assert ramp.max() <= 2
        middle = np.arange(8) * width // 8 + width // 16
        assert off[2 : height // 2 - 4, middle].max() <= 2


@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize("match", ["layout", "clusters"])
def test_overlay_of_zero_is_only_tiles(
    gallery: Gallery, colour: Colour, match: Literal["layout", "clusters"]
) -> None:
    """Without a tint too, they are as they are."""
    frame = Frame.from_bgr(moving_pictures(1, size=(80, 48))[0], colour=colour)
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=32, scale=4, overlay=0, match=match, tint=0))
    out = mosaic.process(frame)
    for (row, column), tile in np.ndenumerate(mosaic.tile_ids):
        picture = gallery.tiles[tile]
        if mosaic.flips[row, column]:
            picture = picture[:, ::-1]
        y, u, v = bgr_to_i420(np.ascontiguousarray(picture), colour)
        for plane, right, px in ((out.y, y, 32), (out.u, u, 16), (out.v, v, 16)):
            cell = plane[row * px : (row + 1) * px, column * px : (column + 1) * px]
            assert np.abs(cell.astype(int) - right).max() <= 1


def test_matches_colours(tmp_path: Path) -> None:
    """Without overlay, and with tiles of one colour each, a picture's colours are found again."""
    levels = np.array(list(product((20, 128, 235), repeat=3)), np.uint8)
    tiles = np.broadcast_to(levels[:, None, None], (27, 8, 8, 3))
    gallery = write_tiles(tmp_path / "flat.gallery", tiles, np.arange(27, dtype=np.int32))
    picture = np.repeat(np.repeat(levels.reshape(3, 9, 3), 32, axis=0), 32, axis=1)
    out = Mosaic(gallery, MosaicSettings(tile_px=32, scale=1, overlay=0)).apply(picture)
    inner = out.reshape(3, 32, 9, 32, 3)[:, 8:24, :, 8:24].astype(int)
    assert np.abs(inner - levels.reshape(3, 1, 9, 1, 3)).max() <= 3


# ---- sizes ----------------------------------------------------------------------------------


@needs_jit
@pytest.mark.parametrize(
    "size", [(2, 2), (16, 16), (1, 1), (3, 5), (2, 64), (64, 2), (33, 17), (319, 191), (321, 193)]
)
@pytest.mark.parametrize("tile_px", [8, 32, 50])
def test_any_input_size(gallery: Gallery, size: tuple[int, int], tile_px: int) -> None:
    pictures = (
        moving_pictures(3, size=size, cut=2)
        if min(size) > 4
        else [np.full((size[1], size[0], 3), level, np.uint8) for level in (0, 200, 90)]
    )
    settings = MosaicSettings(tile_px=tile_px, size=(300, 166))
    mosaic = Mosaic(gallery, settings)
    for frame in frames(pictures):
        out = mosaic.process(frame)
        assert out.y.shape == (166, 300)
        assert out.u.shape == out.v.shape == (83, 150)


@needs_jit
@pytest.mark.parametrize("scale", [0.3, 1, 2.7, 4])
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_any_scale(
    gallery: Gallery, look: dict[str, Any], size: tuple[int, int], scale: float
) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=scale, **look))
    grid = mosaic.plan(*size)
    for frame in frames(moving_pictures(3, size=size)):
        out = mosaic.process(frame)
        assert (out.width, out.height) == (grid.width, grid.height)
        assert mosaic.tile_ids.shape == (grid.rows, grid.columns)


def test_the_reference_stretches_to_whole_tiles(plain_gallery: Gallery) -> None:
    settings = MosaicSettings(tile_px=32, scale=4, round_up=True, overlay=1)
    bgr = card(100, 60)
    out = Mosaic(plain_gallery, settings).apply(bgr)
    assert out.shape == (256, 416, 3)
    # The last column of the input is at the last column of the output, not beyond or before it.
    assert np.abs(out[200, [2, -3]].astype(int) - bgr[50, [0, -1]]).max() <= 8


def test_tiles_that_stick_out_are_cut(gallery: Gallery) -> None:
    """The picture's right and lower edge are at the output's, whatever the tiles do."""
    frame = Frame.from_bgr(card(320, 192))
    settings = MosaicSettings(tile_px=50, size=(320, 192), overlay=1)
    assert apart(Mosaic(gallery, settings).process(frame), frame) <= 1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_one_colour(gallery: Gallery, look: dict[str, Any], level: int) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, **look))
    outs = [mosaic.process(f) for f in frames([np.full((96, 160, 3), level, np.uint8)] * 2)]
    assert digest(outs[0]) == digest(outs[1])


def test_apply_takes_and_gives_bgr(gallery: Gallery, look: dict[str, Any]) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, **look))
    bgr = moving_pictures(1)[0]
    out = mosaic.apply(bgr)
    height, width, _ = bgr.shape
    assert out.shape == (2 * height, 2 * width, 3)
    assert out.dtype == np.uint8
    # Half of it is the original.
    wanted = cv2.resize(bgr, (2 * width, 2 * height))
    assert np.abs(out.mean(axis=(0, 1)) - wanted.mean(axis=(0, 1))).max() < 40


# ---- settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("overlay", 1.1), ("overlay", -0.1), ("overlay", float("nan")), ("overlay", "0.5"),
        ("activity", 256), ("palette", 0), ("seed", -1), ("seed", 2.5), ("seed", True),
        ("match", "layouts"), ("tile_px", 16.0), ("columns", "80"), ("min_distance", 2.5),
        ("scale", float("inf")), ("size", "640x480"), ("size", (640, 480.5)), ("overlay_luma", 1),
    ],
)  # fmt: skip
def test_settings_are_checked(option: str, value: object) -> None:
    with pytest.raises(OptionError) as caught:
        MosaicSettings(**{option: value})  # type: ignore[arg-type]
    assert (caught.value.option, caught.value.value) == (option, value)


def test_a_match_that_has_no_thorough_way() -> None:
    with pytest.raises(UsageError, match="thorough"):
        MosaicSettings(thorough=True, match="clusters")


def test_gallery_by_name_and_by_path(gallery: Gallery) -> None:
    assert gallery.path is not None
    mosaic = Mosaic(gallery.path)
    np.testing.assert_array_equal(mosaic.gallery.tiles, gallery.tiles)
    with pytest.raises(GalleryError, match="no gallery"):
        Mosaic("no-such-gallery")
    with pytest.raises(GalleryError, match="no gallery"):
        Mosaic("~nosuchuser/x")


# ---- the same on every number of threads ----------------------------------------------------

_RUN = """
import hashlib, sys
import cv2, numpy as np
from livemosaic import Frame, Mosaic, MosaicSettings
cv2.setNumThreads(int(sys.argv[2]))
mosaic = Mosaic(sys.argv[1], MosaicSettings(tile_px=16, scale=4, **eval(sys.argv[3])))
rng = np.random.default_rng(0)
coarse = rng.uniform(0, 255, (12, 20, 3)).astype(np.float32)
picture = cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_CUBIC).clip(0, 255)
sha = hashlib.sha256()
for n in range(6):
    now = picture[::-1].copy() if n > 3 else picture.copy()
    now[40 + 20 * n : 140 + 20 * n, 100:300] = 255 - now[40 + 20 * n : 140 + 20 * n, 100:300]
    out = mosaic.process(Frame.from_bgr(now.astype(np.uint8)))
    for plane in (out.y, out.u, out.v):
        sha.update(np.ascontiguousarray(plane))
print(sha.hexdigest())
"""


@needs_jit
@pytest.mark.slow
def test_any_number_of_threads(gallery: Gallery, tmp_path: Path, look: dict[str, Any]) -> None:
    digests = set()
    for threads in ("1", "2", "5"):
        count = dict.fromkeys(
            ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
            threads,
        )
        done = subprocess.run(
            [sys.executable, "-c", _RUN, str(gallery.path), threads, repr(look)],
            env={**os.environ, **count, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


def test_pictures_follow_the_input(gallery: Gallery, look: dict[str, Any]) -> None:
    """A new picture for each change, none for the rest."""
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, **look))
    a, b = moving_pictures(1, seed=1)[0], moving_pictures(1, seed=2)[0]
    digests = [digest(mosaic.process(f)) for f in frames([a, a, b, b, a])]
    assert [x == y for x, y in pairwise(digests)] == [True, False, True, False]


@pytest.mark.parametrize("match", ["layout", "clusters"])
def test_at_most_so_many_cells_are_matched_the_most_changed_first(
    gallery: Gallery, match: Literal["layout", "clusters"]
) -> None:
    # With a tint a dark photo may do for a bright cell, so that nothing shows what was matched.
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=8, scale=1, overlay=0.0, match=match, tint=0))
    dark = np.zeros((32, 64, 3), np.uint8)
    mosaic.process(Frame.from_bgr(dark), max_cells=1)  # the first frame needs a tile in every cell
    assert (mosaic.tile_ids >= 0).all()
    before = mosaic.tile_ids.copy()

    lit = dark.copy()
    lit[0:8] = 255  # a whole row of 8 cells
    lit[16:22] = 255  # three quarters of another
    frame = Frame.from_bgr(lit)
    mosaic.process(frame, max_cells=8)
    assert (mosaic.cells.active, mosaic.cells.deferred) == (16, 8)
    assert (mosaic.tile_ids[0] != before[0]).all()
    assert (mosaic.tile_ids[1:] == before[1:]).all()

    mosaic.process(frame, max_cells=5)  # nothing changes any more, yet nothing is forgotten
    assert (mosaic.cells.active, mosaic.cells.deferred) == (8, 3)
    mosaic.process(frame, max_cells=5)
    assert (mosaic.cells.active, mosaic.cells.deferred) == (3, 0)
    assert (mosaic.tile_ids[2] != before[2]).all()
    assert (mosaic.tile_ids[[1, 3]] == before[[1, 3]]).all()


def test_without_a_limit_in_its_way_a_limit_changes_nothing(
    gallery: Gallery, look: dict[str, Any]
) -> None:
    frames = [Frame.from_bgr(noise(64, 32, seed)) for seed in range(4)]
    settings = MosaicSettings(tile_px=8, scale=1, **look)
    free, limited = Mosaic(gallery, settings), Mosaic(gallery, settings)
    for frame in frames:
        a, b = free.process(frame), limited.process(frame, max_cells=32)
        assert (a.y == b.y).all()


@pytest.mark.parametrize("overlay", [0.0, 0.3, 1.0])
def test_another_overlay_keeps_the_tiles_and_looks_as_if_it_had_always_been(
    gallery: Gallery, overlay: float, look: dict[str, Any]
) -> None:
    frame = Frame.from_bgr(noise(64, 32, 1))
    settings = MosaicSettings(tile_px=8, scale=1, **{**look, "overlay": 0.5})
    mosaic = Mosaic(gallery, settings)
    mosaic.process(frame)
    tiles = mosaic.tile_ids
    mosaic.update_settings(replace(settings, overlay=overlay))
    changed = mosaic.process(frame)
    assert (mosaic.tile_ids == tiles).all()
    assert mosaic.cells.active == 0
    expected = Mosaic(gallery, replace(settings, overlay=overlay)).process(frame)
    assert apart(changed, expected) == 0


def test_another_tile_size_starts_anew_in_the_same_output(
    gallery: Gallery, look: dict[str, Any]
) -> None:
    frame = Frame.from_bgr(noise(64, 32, 1))
    settings = MosaicSettings(tile_px=8, size=(64, 32), **look)
    mosaic = Mosaic(gallery, settings)
    mosaic.process(frame)
    mosaic.update_settings(replace(settings, tile_px=16))
    picture = mosaic.process(frame)
    assert mosaic.tile_ids.shape == (2, 4)
    assert picture.y.shape == (32, 64)
    assert (picture.y == Mosaic(gallery, mosaic.settings).process(frame).y).all()


def test_tiles_are_ready_after_a_warm_up(
    gallery: Gallery, look: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the stream is the same as without."""
    frames = [Frame.from_bgr(noise(64, 32, seed)) for seed in (1, 2)]
    settings = MosaicSettings(tile_px=8, size=(64, 32), **look)
    cold, warm = Mosaic(gallery, settings), Mosaic(gallery, settings)
    warm.warm_up(64, 32, frames[0].colour)
    pictures = [cold.process(frame) for frame in frames]
    with monkeypatch.context() as patch:
        patch.setattr(gallery, "tiles", None)  # reading them fails
        for frame, picture in zip(frames, pictures, strict=True):
            again = warm.process(frame)
            assert (again.y == picture.y).all()
            assert (again.u == picture.u).all()
    warm.warm_up(64, 32, frames[0].colour)  # leaves the stream as it is
    assert (warm.tile_ids == cold.tile_ids).all()


def test_a_warm_up_for_a_single_picture(gallery: Gallery) -> None:
    """It has few cells, and room for as many tiles only."""
    frame = Frame.from_bgr(noise(64, 32, 1))
    settings = MosaicSettings(tile_px=8, size=(64, 32), thorough=True)
    assert len(gallery.tiles) > 32
    cold, warm = Mosaic(gallery, settings), Mosaic(gallery, settings)
    warm.warm_up(64, 32, frame.colour)
    calls: list[tuple[int, int]] = []
    warm.on_progress = lambda done, total: calls.append((done, total))
    assert (warm.process(frame).y == cold.process(frame).y).all()
    assert calls


def test_a_stream_that_could_not_start(gallery: Gallery) -> None:
    failures = iter([True, True, False])

    def make(*arguments: Any) -> Matcher:
        if next(failures):
            raise MemoryError
        return LayoutMatcher(*arguments)

    frame = Frame.from_bgr(noise(64, 32, 1))
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=8, size=(64, 32)), matcher=make)
    for _ in range(2):
        with pytest.raises(MemoryError):
            mosaic.process(frame)
    assert mosaic.process(frame).width == 64


@needs_jit
@pytest.mark.slow
def test_a_warm_up_takes_no_more_memory_than_a_frame(gallery: Gallery) -> None:
    """Cells of many pixels of the input: a picture of four of them has 10240x10240."""
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=256, scale=0.05))
    tracemalloc.start()
    try:
        mosaic.warm_up(320, 180, Colour())
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()


class OneTile(Matcher):
    """A way of one's own: the tile of the cell's brightness, of a gallery sorted by it."""

    def match(self, cells: I32, *, active: int) -> tuple[I32, Bools]:
        rows, columns = self.grid.rows, self.grid.columns
        light = self.bgr.reshape(rows, 8, columns, 8, 3).mean(axis=(1, 3, 4)).reshape(-1)
        ids = light[cells] * len(self.gallery) / 256
        return ids.astype(np.int32), np.zeros(len(cells), np.bool_)


def test_a_matcher_of_ones_own(gallery: Gallery) -> None:
    """Only `match` has to be written: active cells are matched, the others keep their tiles."""
    settings = MosaicSettings(tile_px=8, scale=1, tint=0.0, overlay=0.0)
    mosaic = Mosaic(gallery, settings, matcher=OneTile)
    mosaic.warm_up(64, 32, Colour())
    picture = np.full((32, 64, 3), 64, np.uint8)
    mosaic.process(Frame.from_bgr(picture))
    assert isinstance(mosaic.matcher, OneTile)
    before = mosaic.tile_ids
    assert abs(before / len(gallery) - 0.25).max() < 0.02
    picture[:, 32:] = 192
    mosaic.process(Frame.from_bgr(picture))
    assert mosaic.cells.active == mosaic.cells.changed == 16
    np.testing.assert_array_equal(mosaic.tile_ids[:, :4], before[:, :4])
    assert abs(mosaic.tile_ids[:, 4:] / len(gallery) - 0.75).max() < 0.02
    mosaic.update_settings(replace(settings, tint=0.5))
    mosaic.process(Frame.from_bgr(picture))
    assert mosaic.matcher.settings.tint == 0.5
    assert mosaic.cells.changed == 0


def test_every_name_has_a_matcher(gallery: Gallery) -> None:
    for name in MATCHERS:
        settings = MosaicSettings(match=name)
        made = matcher_class(settings)(gallery, Grid(2, 3, 8, 8, 24, 16), settings)
        assert isinstance(made, Matcher)


@pytest.mark.parametrize("match", ["layout", "clusters"])
@pytest.mark.parametrize("stage", ["activity", "features", "match", "compose"])
@pytest.mark.parametrize("at", [0, 1])
def test_a_frame_that_fails_in_the_middle(
    gallery: Gallery, match: Literal["layout", "clusters"], stage: str, at: int
) -> None:
    """As Ctrl-C does in a notebook: what some parts know of it and others do not is forgotten."""

    def fail(name: str) -> None:
        if name == stage:
            raise KeyboardInterrupt

    settings = MosaicSettings(tile_px=8, size=(64, 32), match=match)
    mosaic = Mosaic(gallery, settings)
    frames = [Frame.from_bgr(noise(64, 32, seed)) for seed in range(2)]
    for frame in frames[:at]:
        mosaic.process(frame)
    mosaic.on_stage = fail
    with pytest.raises(KeyboardInterrupt):
        mosaic.process(frames[1])
    mosaic.on_stage = lambda name: None
    made, expected = mosaic.process(frames[1]), Mosaic(gallery, settings).process(frames[1])
    np.testing.assert_array_equal(made.y, expected.y)
    np.testing.assert_array_equal(made.u, expected.u)
    assert mosaic.tile_ids.min() >= 0


def test_settings_that_fail_in_the_middle(gallery: Gallery) -> None:
    """As by Ctrl-C: some parts know them and others do not, so that another stream starts."""

    class Fails(OneTile):
        def update_settings(self, settings: MosaicSettings) -> None:
            raise KeyboardInterrupt

    mosaic = Mosaic(gallery, MosaicSettings(tile_px=8, size=(64, 32)), matcher=Fails)
    frame = Frame.from_bgr(noise(64, 32, 1))
    mosaic.process(frame)
    assert mosaic.continues
    with pytest.raises(KeyboardInterrupt):
        mosaic.change(tint=0.1)
    assert not mosaic.continues
    expected = Mosaic(gallery, mosaic.settings, matcher=OneTile).process(frame)
    np.testing.assert_array_equal(mosaic.process(frame).y, expected.y)


@pytest.mark.parametrize("size", [(64, 32), (60, 28)])
def test_drawing_on_a_picture_does_not_change_later_ones(
    gallery: Gallery, size: tuple[int, int]
) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=8, size=size))
    frame = Frame.from_bgr(noise(64, 32, 1))
    for _ in range(2):  # of which the second is the first again
        made = mosaic.process(frame)
        for plane in (made.y, made.u, made.v):
            with pytest.raises(ValueError, match="read-only"):
                plane[:2] = 0
    before = made.y[:28, :60].copy()
    del made, plane
    changed = noise(64, 32, 1)
    changed[:16] = noise(64, 16, 2)
    after = mosaic.process(Frame.from_bgr(changed))  # on the same canvas
    assert (after.y[:16, :60] != before[:16]).mean() > 0.5
    np.testing.assert_array_equal(after.y[16:28, :60], before[16:])


_WARM = """
import sys
from dataclasses import replace
import numpy as np
from numba.core import event
from livemosaic.media.colour import Colour
from livemosaic.media.frame import Frame
from livemosaic import Mosaic, MosaicSettings

width, height, settings = eval(sys.argv[2])
mosaic = Mosaic(sys.argv[1], settings)
mosaic.warm_up(width, height, Colour())
picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
# Numba takes this lock whenever it compiles or loads something.
with event.install_recorder("numba:compiler_lock") as recorder:
    held = [mosaic.process(Frame.from_bgr(picture))]
    for part in (height // 2, height // 4):
        picture[:part] ^= 255
        held.append(mosaic.process(Frame.from_bgr(picture)))
    # As the governor does when frames are late.
    settings = settings.for_grid(mosaic.plan(width, height))
    mosaic.update_settings(replace(settings, tile_px=2 * settings.tile_px))
    for part in (height // 2, height // 4):
        picture[:part] ^= 255
        held.append(mosaic.process(Frame.from_bgr(picture)))
assert not recorder.buffer, recorder.buffer
"""


@pytest.mark.slow
@pytest.mark.skipif(not JIT, reason="there is nothing to load")
@pytest.mark.parametrize(
    "case",
    [
        "160, 90, MosaicSettings(scale=4, tile_px=32, round_up=True)",
        "160, 90, MosaicSettings(scale=4, tile_px=16, match='clusters', tint=0.0)",
        "160, 90, MosaicSettings(scale=4, tile_px=32, match='clusters', tint=0.5)",
        "160, 90, MosaicSettings(scale=4, tile_px=16, tint=0.0, overlay=0.0)",
        "160, 90, MosaicSettings(scale=2, tile_px=32, overlay_luma=True, calm=0.9)",
        "150, 100, MosaicSettings(columns=20)",
        "64, 48, MosaicSettings(scale=0.5, tile_px=8)",
        "32, 32, MosaicSettings(scale=8, tile_px=4)",
    ],
)
def test_a_warm_mosaic_loads_no_more_kernels(gallery: Gallery, case: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WARM, str(gallery.path), case],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
