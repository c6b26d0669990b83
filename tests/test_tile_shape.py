"""Tiles that are not square: sizes, grids, keys, and photos of the same shape."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import (
    Gallery,
    LiveGallery,
    Mosaic,
    MosaicSettings,
    OptionError,
    open_gallery,
)
from livemosaic.control.state import Control, LiveState
from livemosaic.gallery import build_gallery, remove_photos
from livemosaic.gallery.cut import cut_gallery
from livemosaic.gallery.recipe import Recipe
from livemosaic.gallery.report import gallery_info, info_lines
from livemosaic.media.frame import Frame
from livemosaic.mosaic.grid import Grid, plan_grid
from livemosaic.sinks.photo_map import map_page
from livemosaic.tile_size import TileSize, enlarged, shape
from livemosaic.window.keys import View, press, tile_sizes

from .conftest import ROOT, U8
from .gallery_files import photo_of_person, write_pngs
from .program import Program
from .test_photo_map import read


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (32, 32), ((32, 32), 32), ((48, 32), (48, 32)), ([18, 32], (18, 32)),
        (np.array([24, 48]), (24, 48)), (np.int64(8), 8), (None, None),
    ],
)  # fmt: skip
def test_sizes(given: Any, read: TileSize | None) -> None:
    settings = MosaicSettings(tile_px=given)
    assert settings.tile_px == read
    assert hash(settings) == hash(MosaicSettings(tile_px=read))


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ((90, 30), "84x42"), ((30, 90), "42x84"), ((33, 21), "32x20"), ((48, 22), "48x24"),
        ((2, 4), "4x4"), ((4, 600), "206x412"), ((600, 600 - 2), "512x512"),
        ((10**9, 1), "412x206"),
    ],
)  # fmt: skip
def test_a_shape_that_is_not_allowed(given: tuple[int, int], nearest: str) -> None:
    """The error names the nearest one that is."""
    with pytest.raises(OptionError, match=f"tile_px .*; the nearest is {nearest}$"):
        MosaicSettings(tile_px=given)
    allowed = tuple(map(int, nearest.split("x")))
    MosaicSettings(tile_px=(allowed[0], allowed[1]))


@pytest.mark.parametrize("given", [(0, 4), (4,), "48x32", (3.5, 4), (4, 4, 4), True, 1.5, {}])
def test_no_size(given: Any) -> None:
    with pytest.raises(OptionError, match="tile_px"):
        MosaicSettings(tile_px=given)
    with pytest.raises(OptionError, match="tile_px"):
        Recipe(tile_px=given)


def test_sizes_of_a_gallery() -> None:
    """They may be odd."""
    assert Recipe(tile_px=(45, 31)).tile == (45, 31)
    with pytest.raises(OptionError, match=r"the nearest is 244x122$"):
        Recipe(tile_px=(400, 100))


def test_grid() -> None:
    settings = MosaicSettings(tile_px=(48, 32))
    grid = plan_grid(640, 360, replace(settings, size=(640, 360)))
    assert grid == Grid(12, 14, 48, 32, 640, 360)
    assert (grid.canvas_width, grid.canvas_height, grid.tile_px) == (672, 384, (48, 32))
    assert plan_grid(1, 1, MosaicSettings().for_grid(grid)) == grid
    by_columns = plan_grid(320, 180, replace(settings, columns=20))
    assert (by_columns.columns, by_columns.width, by_columns.height) == (20, 960, 540)


@pytest.mark.parametrize(
    ("tile", "times", "larger"),
    [(32, 2, 64), (300, 2, 512), ((48, 32), 2, (96, 64)), ((300, 200), 2, (300, 200))],
)
def test_larger_tiles_have_the_same_shape(tile: TileSize, times: int, larger: TileSize) -> None:
    """The governor's are."""
    assert enlarged(tile, times, 512) == larger


@pytest.mark.parametrize("tile", [(48, 32), (18, 32), (32, 18), (50, 34), (16, 32)])
def test_keys_keep_the_shape(tile: tuple[int, int]) -> None:
    size = (1280, 720)
    control, view = Control(LiveState(MosaicSettings(tile_px=tile, size=size))), View(*size)
    areas = []
    for key, end in (("]", "largest"), ("[", "smallest"), ("]", "largest")):
        while end not in (message := press(key, control, view)):
            now = control.state.settings.tile_px
            assert isinstance(now, tuple)
            assert shape(now) == shape(tile)
            assert f"tiles of {now[0]}x{now[1]} pixels" == message
            areas.append(now[0] * now[1])
    sizes = tile_sizes(*size, tile)
    assert len(sizes) <= 20
    assert len(set(areas)) == len(sizes)


# ---- photos -----------------------------------------------------------------------------------


def scenes(count: int, width: int, height: int) -> list[U8]:
    """Photos that differ in what is where, the edges too."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (4, 6, 3), np.uint8)
        made.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return [np.asarray(picture, np.uint8) for picture in made]


def sheet(photos: list[U8], tile: tuple[int, int], columns: int) -> U8:
    """A picture of photos side by side, each as large as a tile."""
    small = [cv2.resize(photo, tile, interpolation=cv2.INTER_AREA) for photo in photos]
    rows = [np.hstack(small[n : n + columns]) for n in range(0, len(small), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


PLAIN: dict[str, Any] = {"tint": 0.0, "overlay": 0.0, "variety": 0.0, "min_distance": 0, "scale": 1}


def psnr(one: U8, other: U8) -> float:
    """Of lightness: colour has half of the resolution."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (one, other)]
    return float(cv2.PSNR(grey[0], grey[1]))


@pytest.mark.parametrize("tile", [(48, 32), (32, 48), (32, 18)])
def test_photos_of_the_shape_of_their_cells(tile: tuple[int, int]) -> None:
    """They are matched by all of them, and shown whole."""
    photos = scenes(24, 10 * tile[0], 10 * tile[1])
    gallery = Gallery.from_images(photos, tile=tile, crops=0, mirror=False, focus="centre")
    assert gallery.tile_px == tile
    assert {source.crop for source in gallery.sources} == {(0, 0, 10 * tile[0], 10 * tile[1])}
    picture = sheet(photos, tile, 6)
    mosaic = Mosaic(gallery, tile=tile, **PLAIN)
    made = mosaic.apply(picture)
    assert mosaic.cut_gallery is gallery
    np.testing.assert_array_equal(mosaic.tile_ids.ravel(), np.arange(24))
    assert psnr(made, picture) > 38


@pytest.mark.parametrize(
    ("of_gallery", "tile"), [(64, (48, 32)), (64, (16, 32)), ((96, 64), 32), ((80, 40), (24, 48))]
)
def test_a_gallery_of_another_shape(of_gallery: TileSize, tile: TileSize) -> None:
    """Its tiles are cut, and nothing is distorted: a disc stays one."""
    disc = np.full((300, 300, 3), 40, np.uint8)
    cv2.circle(disc, (150, 150), 30, (255, 255, 255), -1, cv2.LINE_AA)
    gallery = Gallery.from_images([disc], tile=of_gallery, crops=0, mirror=False)
    mosaic = Mosaic(gallery, tile=tile, **PLAIN)
    made = mosaic.apply(np.zeros((96, 96, 3), np.uint8))
    grid, cut = mosaic.grid, mosaic.cut_gallery
    assert shape(tile) != shape(gallery.tile_px)
    ((_, _, width, height),) = (source.crop for source in cut.sources)
    assert abs(width / height - grid.tile_width / grid.tile_height) < 0.02
    seen = made[: grid.tile_height, : grid.tile_width, 1] > 147
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert abs(len(rows) - len(columns)) <= 2
    assert abs(len(columns) - 60 / width * grid.tile_width) <= 2
    assert cut_gallery(gallery, tile) is cut
    assert (len(cut), cut.name) == (1, gallery.name)
    assert np.asarray(cut.tiles).shape == (1, cut.tile_height, cut.tile_width, 3)
    np.testing.assert_array_equal(cut.tiles[0], cut.tiles[:][0])


def test_cut_tiles_do_not_mix() -> None:
    """They are scaled together, as fast as square ones."""
    from livemosaic.media.colour import Colour
    from livemosaic.mosaic.tile_cache import TileCache

    cut = cut_gallery(open_gallery("photos"), (3, 2))
    options: dict[str, Any] = {"tile": (48, 32), "colour": Colour("bt709"), "overlay": (0.0, 0.0)}
    together, alone = TileCache(cut, **options), TileCache(cut, **options)
    ids = np.arange(0, 5000, 100, dtype=np.int32)
    for number, slot in enumerate(together.slots(ids)):
        (other,) = alone.slots(ids[number : number + 1])
        apart = np.abs(together.y[slot].astype(int) - alone.y[other])
        assert apart.max() <= 1


def test_tiles_cut_for_points() -> None:
    """The matcher compares cells with the part that is shown."""
    from livemosaic.gallery.layout_features import tile_points

    photos = open_gallery("photos")
    cut = cut_gallery(photos, (2, 1))
    ids = np.arange(0, len(photos), 50)
    points, texture = tile_points(cut.tiles[ids])
    np.testing.assert_array_equal(cut.points[ids], points)
    np.testing.assert_array_equal(cut.texture[ids], texture)
    assert not (cut.points[ids] == photos.points[ids]).all()


def test_full_size(tmp_path: Path) -> None:
    """On a poster the part that is shown is read from the photo again."""
    photos = scenes(2, 900, 900)
    noise = np.random.default_rng(0).integers(0, 40, (900, 900, 3), np.uint8)
    names = write_pngs(tmp_path, [cv2.add(photo // 2, noise) for photo in photos])
    gallery = Gallery.from_images(names, crops=0, mirror=False)
    mosaic = Mosaic(gallery, tile=(300, 200), full_size=True, **PLAIN)
    made = mosaic.apply(np.zeros((200, 300, 3), np.uint8))
    tile = int(mosaic.tile_ids[0, 0])
    left, top, width, height = mosaic.cut_gallery.sources[tile].crop
    assert (width, height) == (900, 600)
    photo = np.asarray(cv2.imread(names[tile]))[top : top + height, left : left + width]
    right = cv2.resize(photo, (300, 200), interpolation=cv2.INTER_AREA)
    assert psnr(made, np.asarray(right, np.uint8)) > 35


# ---- galleries that keep what tiles of other shapes need ----------------------------------------


def test_photos_of_another_shape_than_their_gallery() -> None:
    """They are shown whole in cells of their shape, from a gallery of square tiles."""
    photos = scenes(24, 480, 320)
    gallery = Gallery.from_images(photos, crops=0, mirror=False, focus="centre")
    assert gallery.tile_px == 64
    assert {source.crop for source in gallery.sources} == {(80, 0, 320, 320)}
    picture = sheet(photos, (48, 32), 6)
    mosaic = Mosaic(gallery, tile=(48, 32), **PLAIN)
    made = mosaic.apply(picture)
    assert {source.crop for source in mosaic.cut_gallery.sources} == {(0, 0, 480, 320)}
    np.testing.assert_array_equal(mosaic.tile_ids.ravel(), np.arange(24))
    assert psnr(made, picture) > 38


@pytest.mark.parametrize(
    ("size", "tile", "uncut", "shown"),
    [
        ((600, 400), 64, (0, 0, 600, 400), (0, 20, 600, 300)),
        ((400, 600), 64, (0, 0, 400, 600), (0, 80, 400, 200)),
        ((1600, 200), 64, (600, 0, 400, 200), (600, 0, 400, 200)),
        ((600, 400), (96, 64), None, (0, 20, 600, 300)),
        ((600, 600), 64, None, (0, 60, 600, 300)),
        ((600, 590), 64, None, (5, 59, 590, 295)),  # hardly cut
    ],
)
def test_what_a_gallery_keeps(
    size: tuple[int, int],
    tile: TileSize,
    uncut: tuple[int, ...] | None,
    shown: tuple[int, ...],
) -> None:
    """And what tiles of 2:1 show of it."""
    (photo,) = scenes(1, *size)
    gallery = Gallery.from_images([photo], tile=tile, crops=0)
    assert gallery.uncut_photo.tolist() == ([] if uncut is None else [0])
    assert gallery.uncut_crop.tolist() == ([] if uncut is None else [list(uncut)])
    assert gallery_info(gallery)["uncut"] == len(gallery.uncut) == (uncut is not None)
    assert any("tiles of any shape" in line for line in info_lines(gallery_info(gallery))) == (
        uncut is not None
    )
    cut = cut_gallery(gallery, (64, 32))
    left, top, width, height = cut.sources[0].crop
    assert np.abs(np.subtract((left, top, width, height), shown)).max() <= 1
    part = cv2.resize(photo[top : top + height, left : left + width], (64, 32))
    tile_shown = cv2.resize(cut.tiles[0], (64, 32))
    assert psnr(np.asarray(tile_shown, np.uint8), np.asarray(part, np.uint8)) > 25


def test_stretched_tiles_are_not_distorted_in_cells_of_another_shape() -> None:
    disc = np.full((300, 600, 3), 40, np.uint8)
    cv2.circle(disc, (300, 150), 60, (255, 255, 255), -1, cv2.LINE_AA)
    gallery = Gallery.from_images([disc], fit="stretch", crops=0)
    assert not len(gallery.uncut)
    cut = cut_gallery(gallery, (3, 2))
    assert cut.sources[0].crop == (75, 0, 450, 300)
    seen = cut.tiles[0][:, :, 1] > 147
    across, down = seen.any(axis=0).sum(), seen.any(axis=1).sum()
    assert abs(int(across) - int(down)) <= 2


@pytest.mark.parametrize("top", [0, 380])
def test_a_head_is_not_cut(top: int) -> None:
    """Wherever it is: the gallery knows it."""
    photo = photo_of_person(600, 800, 100, top, 400)
    for tile in (64, (64, 96), (32, 48)):
        gallery = Gallery.from_images([photo], tile=tile)
        ((number, _, above, _, height),) = gallery.heads.tolist()
        assert number == 0
        _, y, _, h = cut_gallery(gallery, (3, 2)).sources[0].crop
        assert h == 400
        assert y <= above
        assert above + height <= y + h
    blind = Gallery.from_images([photo], focus="centre")
    assert not len(blind.heads)
    _, y, _, h = cut_gallery(blind, (3, 2)).sources[0].crop
    assert not y <= above <= above + height <= y + h


def test_a_file_keeps_it(tmp_path: Path) -> None:
    """Also when photos are removed from it, whose numbers others then have."""
    sizes = ((300, 200), (200, 200), (200, 340))
    names = write_pngs(tmp_path, [scenes(1, *size)[0] for size in sizes])
    build_gallery([tmp_path], path := tmp_path / "x.gallery", crops=0, clusters=2)
    assert Gallery.open(path).uncut_photo.tolist() == [0, 2]
    remove_photos(path, [names[0]])
    left = Gallery.open(path)
    assert left.uncut_photo.tolist() == [1]
    assert left.uncut_crop.tolist() == [[0, 0, 200, 340]]
    build_gallery(names[1:], other := tmp_path / "y.gallery", crops=0, clusters=2)
    assert path.read_bytes() == other.read_bytes()


def test_more_than_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = scenes(5, 90, 60)
    few = Gallery.from_images(photos, crops=0)
    monkeypatch.setattr("livemosaic.gallery.rows.MAX_IN_MEMORY", 1)
    np.testing.assert_array_equal(Gallery.from_images(photos, crops=0).uncut, few.uncut)


def test_the_included_photos_keep_none() -> None:
    """They are square."""
    assert not len(open_gallery("photos").uncut)


def test_a_map(tmp_path: Path) -> None:
    """It shows photos in their shape, and the part that a tile shows."""
    gallery = Gallery.from_images(write_pngs(tmp_path, scenes(3, 480, 320)), crops=0)
    mosaic = Mosaic(gallery, tile=(32, 16), **PLAIN)
    frame = mosaic.process(Frame.from_bgr(scenes(1, 128, 64)[0]))
    cells, cut = (mosaic.tile_ids, mosaic.flips), mosaic.cut_gallery
    data = read(map_page(frame, mosaic.grid, gallery, cells, cut=cut, title="a"))
    assert (data["tile_width"], data["tile_height"]) == (32, 16)
    assert {tuple(photo[3:]) for photo in data["photos"]} == {(0, 0, 480, 320)}
    tiles = np.reshape(data["tiles"], (-1, 5))
    assert {tuple(tile) for tile in tiles[:, 3:].tolist()} == {(480, 240)}


# ---- runs ---------------------------------------------------------------------------------------


def test_a_run(program: Program, tmp_path: Path) -> None:
    """A folder's gallery serves every shape."""
    folder = tmp_path / "photos"
    write_pngs(folder, scenes(6, 180, 120))
    cv2.imwrite(str(tmp_path / "in.png"), sheet(scenes(6, 180, 120), (48, 32), 3))
    options = ["--gallery", folder, "--overlay", "0", "--scale", "1"]
    for tile, grid in (("48x32", [48, 32]), ("32x48", [32, 48]), ("16X16", 16), ("18", 18)):
        done = program("run", tmp_path / "in.png", tmp_path / "out.png", "-y", "--tile", tile,
                       "--json", *options)  # fmt: skip
        assert done.code == 0, done.err
        assert json.loads(done.out)["grid"]["tile_px"] == grid
        out = cv2.imread(str(tmp_path / "out.png"))
        assert out is not None
        assert out.shape == (64, 144, 3)


@pytest.mark.slow
def test_as_good_as_squares() -> None:
    """Tiles of 3:2 follow a picture as well as square ones of the same area, and the search finds
    the cheapest as often."""
    from bench.quality.metrics import recall
    from bench.quality.recall import layout_costs

    capture = cv2.VideoCapture(str(ROOT / "livemosaic/demo/bigbuckbunny.mp4"))
    bgr = np.asarray(capture.read()[1], np.uint8)
    wanted, values = cv2.resize(bgr, (160, 90), interpolation=cv2.INTER_AREA), []
    for tile in (34, (42, 28)):
        mosaic = Mosaic(tile=tile, size=(1280, 720))
        frame = Frame.from_bgr(bgr)
        made = cv2.resize(mosaic.process(frame).to_bgr(), (160, 90), interpolation=cv2.INTER_AREA)
        costs = layout_costs(mosaic, frame)
        assert (costs.chosen >= costs.best - 1e-3).all()
        assert recall(costs.chosen, costs.best) > 0.9
        values.append(cv2.PSNR(made, wanted))
    assert values[1] > values[0] - 0.3


def test_a_live_gallery() -> None:
    """A photo that joins is cut for tiles of another shape; the others are not cut again."""
    first = open_gallery("photos")
    live = LiveGallery(first)
    before = cut_gallery(first, (3, 2))
    mosaic = Mosaic(first, tile=34, size=(640, 360), **{**PLAIN, "scale": None})
    mosaic.process(np.zeros((360, 640, 3), np.uint8))  # an index of the squares
    photo = cv2.resize(
        np.array([[[0, 0, 255], [255, 255, 255], [0, 255, 0]]], np.uint8), (480, 320)
    )
    live.add([np.asarray(photo, np.uint8)])
    cut = cut_gallery(live.snapshot, (3, 2))
    np.testing.assert_array_equal(cut.points[: len(first)], before.points)
    number = len(first)
    assert cut.sources[number].crop == (0, 0, 480, 320)
    assert cut.tiles[number].shape == (43, 64, 3)
    mosaic.update_settings(mosaic.settings.changed(tile=(48, 32)), gallery=live.snapshot)
    picture = np.full((360, 640, 3), 90, np.uint8)
    picture[:32, :48] = cv2.resize(photo, (48, 32), interpolation=cv2.INTER_AREA)
    made = mosaic.process(picture)
    assert mosaic.cut_gallery is cut
    assert mosaic.tile_ids[0, 0] == number
    assert psnr(made[:32, :48], picture[:32, :48]) > 30
