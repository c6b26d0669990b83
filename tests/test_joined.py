"""Several galleries at once."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import Gallery, GalleryError, LiveGallery, Mosaic, MosaicSettings, open_gallery
from livemosaic.errors import OptionError
from livemosaic.gallery import build_gallery, is_of_photos
from livemosaic.gallery.cut import cut_gallery
from livemosaic.gallery.full_size import full_size_tiles
from livemosaic.gallery.layout_codes import encode
from livemosaic.gallery.layout_features import cell_points, points_to_lab
from livemosaic.gallery.layout_index import layout_index, new_index
from livemosaic.gallery.part import write_part
from livemosaic.jit import U8
from livemosaic.media.colour import ycbcr_to_bgr
from livemosaic.media.picture import to_frame
from livemosaic.mosaic.analysis import analysis_picture
from livemosaic.mosaic.match.layout import LayoutMatcher

from .gallery_files import photo, write_photos
from .program import SMALL, Program, clip, needs_jit

SETTINGS = MosaicSettings(tile_px=16, scale=1.0)


def gallery(first: int, count: int, *, tile: int | tuple[int, int] = 16) -> Gallery:
    photos = [photo(seed) for seed in range(first, first + count)]
    return Gallery.from_images(photos, tile=tile, crops=0, name=f"from {first}")


def scene(seed: int = 0) -> U8:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photos in `pics` and `more`, and a gallery file of each."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "pics", 6)
    write_photos(tmp_path / "more", 9, extension=".png")
    build_gallery(["pics"], "pics.gallery", tile_px=16, crops=0)
    build_gallery(["more"], "more.gallery", tile_px=16, crops=0)
    return tmp_path


# ---- the rows -----------------------------------------------------------------------------------


def test_it_is_as_one_of_all_photos() -> None:
    parts = [gallery(0, 30), gallery(30, 20), gallery(50, 10)]
    joined, whole = open_gallery(parts), gallery(0, 60)
    assert (joined.name, len(joined), joined.tile_px) == ("from 0, from 30, from 50", 60, 16)
    assert joined.parts == tuple(parts)
    for name in ("tiles", "features", "points", "texture", "source_photo", "mirrors", "uncut",
                 "uncut_photo", "uncut_crop", "heads", "gone", "added_crops"):  # fmt: skip
        np.testing.assert_array_equal(np.array(getattr(joined, name)), getattr(whole, name))
    assert [it.crop for it in joined.sources] == [it.crop for it in whole.sources]
    assert joined.sources[35].path == parts[1].sources[5].path
    assert joined.bytes == sum(part.bytes for part in parts)
    assert (np.diff(np.diff(joined.members_start)) <= 0).all()  # the largest first
    for cluster in range(len(joined.kept)):
        assert (joined.labels[joined.tiles_of(cluster)] == cluster).all()
    assert sorted(joined.members.tolist()) == list(range(60))
    with pytest.raises(ValueError, match="read-only"):
        joined.texture[0] = 0


def test_rows_are_those_of_an_array() -> None:
    tiles = open_gallery([gallery(0, 7), gallery(7, 1), gallery(8, 5)]).tiles
    whole = np.array(tiles)
    assert (tiles.shape, tiles.ndim, tiles.dtype) == (whole.shape, whole.ndim, whole.dtype)
    for rows in (
        0, 6, 7, 8, 12, -1, -13, slice(2, 5), slice(5, 9), slice(None), slice(None, None, 4),
        slice(8, None), slice(13, 13), slice(5, 2), slice(None, None, -1), slice(6, 2, -1),
    ):  # fmt: skip
        np.testing.assert_array_equal(tiles[rows], whole[rows])
    for numbers in ([12, 0, 7, 6, 8], [], [[1, 7], [8, 12]], [-1, 3]):
        chosen = np.array(numbers, np.int32)
        np.testing.assert_array_equal(tiles[chosen], whole[chosen])
    np.testing.assert_array_equal(tiles[whole[:, 0, 0, 0] > 99], whole[whole[:, 0, 0, 0] > 99])
    np.testing.assert_array_equal(tiles[9, 2:5, 1:3], whole[9, 2:5, 1:3])


def test_its_index_has_what_a_new_one_has() -> None:
    joined = open_gallery([gallery(0, 80), gallery(80, 40), gallery(120, 3)])
    now, new = layout_index(joined), new_index(joined)
    for index in (now, new):
        np.testing.assert_array_equal(index.place[index.variant], np.arange(len(index.variant)))
        for number in range(123):
            members = index.photo_members[index.photo_start[number] :][:2]
            assert (index.photo[members] == number).all()
    order = [np.argsort(index.variant) for index in (now, new)]
    for name in ("variant", "all_codes", "residual", "texture", "photo"):
        rows = [getattr(index, name)[its] for index, its in zip((now, new), order, strict=True)]
        np.testing.assert_array_equal(*rows)
    assert len(now.start) > len(new.start) > 1  # not ordered again
    assert len(now.codes) == 160  # those of the first stay where they are


def test_tiles_of_other_sizes_are_scaled() -> None:
    small, large = gallery(0, 20, tile=16), gallery(20, 20, tile=32)
    joined = open_gallery([small, large])
    assert joined.tile_px == 32
    assert joined.uncut.shape == (40, 32, 32, 3)
    np.testing.assert_array_equal(joined.tiles[20:], large.tiles)
    apart = joined.tiles[3].astype(int) - gallery(0, 20, tile=32).tiles[3]
    assert np.abs(apart).mean() < 8
    assert joined.tiles[[[1, 39]]].shape == (1, 2, 32, 32, 3)


@pytest.mark.parametrize("tile", [(32, 16), (16, 24), 16])
def test_tiles_of_another_shape(tile: int | tuple[int, int]) -> None:
    """Those of each gallery are cut from its own, as if it was alone."""
    parts = [gallery(0, 20), gallery(20, 10, tile=(48, 32)), gallery(30, 5)]
    cut = cut_gallery(open_gallery(parts), tile)
    alone = [cut_gallery(part, tile) for part in parts]
    begins = (0, 20, 30)
    for begin, its in zip(begins, alone, strict=True):
        rows = slice(begin, begin + len(its))
        np.testing.assert_array_equal(cut.points[rows], its.points)
        np.testing.assert_array_equal(cut.texture[rows], its.texture)
        assert [it.crop for it in cut.sources[rows]] == [it.crop for it in its.sources]
    assert cut_gallery(open_gallery(parts), 1).tile_px == 32
    mosaic = Mosaic(open_gallery(parts), tile_px=tile, scale=1.0)
    mosaic.apply(scene())
    assert len(np.unique(np.searchsorted(begins, mosaic.tile_ids, side="right"))) == 3


# ---- a photo in several galleries ---------------------------------------------------------------


def test_a_photo_of_two_galleries_counts_once(folder: Path) -> None:
    build_gallery(["more/000[0-3].png", "pics/0001.jpg"], "some.gallery", tile_px=16, crops=0)
    joined = open_gallery(["pics.gallery", "more.gallery", "some.gallery"])
    assert (len(joined), np.flatnonzero(joined.gone).tolist()) == (20, [15, 16, 17, 18, 19])
    assert not set(joined.members.tolist()) & {15, 16, 17, 18, 19}
    index = layout_index(joined)
    assert set((index.variant[index.photo_members] // 2).tolist()) == set(range(15))
    assert np.flatnonzero(index.place.reshape(-1, 2)[:, 0] < 0).tolist() == [15, 16, 17, 18, 19]
    mosaic = Mosaic(joined, SETTINGS)
    mosaic.apply(scene())
    assert mosaic.tile_ids.max() < 15
    live = LiveGallery(joined)
    assert len(live) == len(live.photos()) == 15
    assert live.number(str(folder / "pics" / "0001.jpg")) == 1
    live.add([folder / "more" / "0000.png"])  # it is the same photo
    assert (len(live), live.added) == (15, 0)


# ---- as good as one gallery ---------------------------------------------------------------------


def costs(gallery: Gallery) -> list[float]:
    """What the tiles of some pictures cost, without penalties."""
    mosaic, found = Mosaic(gallery, SETTINGS), []
    for seed in range(6):
        picture = to_frame(scene(seed), rgb=False)
        mosaic.apply(picture)
        matcher = mosaic.matcher
        assert isinstance(matcher, LayoutMatcher)
        rules, index, grid = matcher.rules, matcher.index, mosaic.grid
        place = index.place[2 * mosaic.tile_ids + mosaic.flips].reshape(-1)
        bgr = ycbcr_to_bgr(analysis_picture(picture, grid), picture.colour)
        codes, _ = encode(points_to_lab(cell_points(bgr, grid.rows, grid.columns)))
        away = (rules.weights * (index.all_codes[place] - codes) ** 2).sum(axis=1)
        found += (away + index.residual[place]).tolist()
    return found


@pytest.mark.parametrize("parts", [(300, 300), (560, 40), (200, 200, 200)], ids=str)
def test_it_is_as_good_as_one_of_all_photos(parts: tuple[int, ...]) -> None:
    begins = np.cumsum([0, *parts])
    joined = [gallery(int(begin), count) for begin, count in zip(begins, parts, strict=False)]
    of_all, of_parts = costs(gallery(0, 600)), costs(open_gallery(joined))
    assert np.median(of_parts) <= 1.02 * np.median(of_all)
    assert np.mean(of_parts) <= 1.02 * np.mean(of_all)


# ---- what a list means --------------------------------------------------------------------------


def test_what_a_list_means(folder: Path) -> None:
    """Each gallery is one, and photos make one together, where the first of them is."""
    joined = open_gallery(["pics", "more.gallery", Path("more/0000.png"), gallery(0, 5)])
    assert [part.name for part in joined.parts] == ["pics, 0000.png", "more", "from 0"]
    assert [len(part.sources.photos()) for part in joined.parts] == [7, 9, 5]
    assert (joined.sources.photo_count, len(joined.sources.photos())) == (21, 21)
    assert open_gallery(["more.gallery"]).name == "more"
    assert open_gallery(["pics", "more"]).parts[0].sources.photo_count == 15
    with_pictures = open_gallery([gallery(0, 5), photo(1), photo(2)])
    assert [len(part) for part in with_pictures.parts] == [5, 2]
    again = open_gallery([joined, "pics.gallery"])  # of which all photos are there
    assert [part.name for part in again.parts] == ["pics, 0000.png", "more", "from 0", "pics"]
    assert again.gone[-6:].all()
    specs: tuple[tuple[list[Any], bool], ...] = (
        (["pics", "more.gallery"], True), (["pics.gallery", "more.gallery"], False),
        (["photos", "emoji"], False), ([gallery(0, 3), photo(1)], True),
    )  # fmt: skip
    for spec, expected in specs:
        assert is_of_photos(spec) is expected


def test_what_cannot_be_joined(folder: Path) -> None:
    Path("empty.gallery").touch()
    Path("damaged.gallery").write_bytes(Path("pics.gallery").read_bytes()[:-9])
    one = gallery(0, 3)
    for twice in (["pics.gallery", "./pics.gallery"], [one, one], ["pics", "pics.gallery"] * 2):
        with pytest.raises(OptionError, match="it is given twice"):
            open_gallery(twice)
    for name, problem in (
        ("none.gallery", "no gallery 'none.gallery'"), ("empty.gallery", "it is empty"),
        ("damaged.gallery", "it is cut off"), ("none", "no gallery 'none'"),
    ):  # fmt: skip
        with pytest.raises(GalleryError, match=problem):
            open_gallery(["pics.gallery", name])


# ---- what is made of it -------------------------------------------------------------------------


def test_the_photos_of_the_right_gallery(folder: Path) -> None:
    """In what posters get, and in full size."""
    joined = open_gallery(["pics.gallery", "more.gallery"])
    file = io.BytesIO()
    chosen = np.array([2, 14, 7], np.int32)
    (ids,) = write_part(joined, [chosen], file)
    part = Gallery(file.getvalue(), name="part")
    for number, tile in zip(ids.tolist(), chosen.tolist(), strict=True):
        assert part.sources[number] == joined.sources[tile]
        np.testing.assert_array_equal(part.tiles[number], joined.tiles[tile])
    paths = [joined.sources[tile].path for tile in chosen.tolist()]
    assert paths[0] == str(folder / "pics" / "0002.jpg")
    assert paths[1:] == [str(folder / "more" / f"000{n}.png") for n in (8, 1)]
    assert set(full_size_tiles(joined, chosen, (32, 32))) == set(chosen.tolist())


@pytest.mark.parametrize("tile", [16, (24, 16)])
def test_photos_join_and_leave(folder: Path, tile: int | tuple[int, int]) -> None:
    joined = open_gallery([gallery(0, 40), "pics.gallery", gallery(40, 20, tile=32)])
    live = LiveGallery(joined)
    mosaic = Mosaic(live.snapshot, tile_px=tile, scale=1.0)
    mosaic.process(scene())
    live.add([photo(seed) for seed in range(100, 160)])
    live.remove([joined.sources[41].path, joined.sources[3].path])
    mosaic.update_settings(mosaic.settings, gallery=live.snapshot)
    for seed in range(3):
        mosaic.process(scene(seed))
        assert not live.snapshot.gone[mosaic.tile_ids].any()
    assert (mosaic.tile_ids >= 66).any()
    cut = mosaic.cut_gallery
    assert len(cut) == len(cut.tiles) == len(cut.points) == len(cut.sources) == 126
    assert cut.tiles[[0, 45, 60, 125]].shape[1:3] == (cut.tile_height, cut.tile_width)
    assert live.snapshot.sources[45].path == str(folder / "pics" / "0005.jpg")


@needs_jit
def test_on_the_command_line(folder: Path, program: Program) -> None:
    """A run, its map, the settings file, and statistics."""
    cv2.imwrite("in.png", scene())
    run = ["run", "in.png", "-y", "out.png", *SMALL, "--map", "map.html"]
    several = ["--gallery", "pics.gallery", "--gallery", "more", "--gallery", "emoji"]
    outcome = program(*run, *several)
    assert outcome.code == 0, outcome.err
    page = Path("map.html").read_text(encoding="utf-8")
    named = set(re.findall(r'"(\w+\.(?:jpg|png))"', page))
    assert {"0001.jpg", "0001.png"} <= named
    assert re.search(r'"\d{5}\.webp"', page)
    assert "Noto Color Emoji" in page
    made = Path("out.png").read_bytes()
    Path("c.toml").write_text('[run]\ngallery = ["pics.gallery", "more", "emoji"]\n')
    outcome = program(*run, "--config", "c.toml", "--no-config")
    assert outcome.code == 0, outcome.err
    assert Path("out.png").read_bytes() == made
    outcome = program("gallery", "info", "pics.gallery", "pics.gallery")
    assert outcome.code == 2
    assert "error: gallery pics: it is given twice" in outcome.err
    outcome = program("gallery", "info", "pics.gallery", "more.gallery", "emoji", "--json")
    info = json.loads(outcome.out)
    assert (info["photos"], info["repeated"]) == (15 + 1304, 0)
    assert [(it["name"], it["photos"]) for it in info["galleries"][:2]] == [
        ("pics", 6),
        ("more", 9),
    ]
    assert info["galleries"][0]["path"] == "pics.gallery"
    outcome = program("gallery", "info", "more.gallery", "emoji")
    assert "except those of emoji" in outcome.out
    once = json.loads(program("gallery", "info", "pics.gallery", "--json").out)
    twice = json.loads(program("gallery", "info", "pics.gallery", "pics", "--json").out)
    assert twice["repeated"] == twice["photos"] == 6
    same = ("tiles", "uncut", "clusters", "clusters_kept", "clusters_dropped", "population")
    assert {key: twice[key] for key in same} == {key: once[key] for key in same}
    for sheet in ("sheet.html", "sheet.png"):
        outcome = program("gallery", "show", "pics.gallery", "pics", "-o", sheet)
        assert outcome.code == 0, outcome.err
    outcome = program("gallery", "show", "pics.gallery", "more.gallery", "-y", "-o", "sheet.png")
    assert outcome.code == 0, outcome.err


@needs_jit
def test_a_film(folder: Path, program: Program) -> None:
    clip(folder / "in.mp4")
    several = ["--gallery", "pics.gallery", "--gallery", "more.gallery"]
    outcome = program("run", "in.mp4", "out.mp4", *SMALL, *several, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["frames_out"] == 10
