"""A gallery that changes while a mosaic uses it."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from livemosaic import (
    Gallery,
    GalleryError,
    LiveGallery,
    Mosaic,
    MosaicSettings,
    Pipeline,
    UsageError,
    open_gallery,
    open_sink,
    open_source,
    output_info,
)
from livemosaic.gallery.batches import read_batch
from livemosaic.gallery.build import images_cut
from livemosaic.gallery.file_writer import new_gallery_file
from livemosaic.gallery.layout_index import LayoutIndex, layout_index, new_index
from livemosaic.gallery.levels import COARSE, blocks, to_levels
from livemosaic.gallery.recipe import Recipe
from livemosaic.gallery.snapshot import GallerySnapshot
from livemosaic.gallery.video_frames import photo_stamp
from livemosaic.jit import U8
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.ready_gallery import ReadyGallery
from livemosaic.pipeline.live_gallery import GalleryFollower

from .fakes import wait_until
from .gallery_files import photo

SETTINGS = MosaicSettings(tile_px=16, scale=1.0)


def gallery(count: int = 60, *, first: int = 0, crops: int | None = 0) -> Gallery:
    photos = [photo(seed) for seed in range(first, first + count)]
    return Gallery.from_images(photos, tile=16, crops=crops)


def scene(seed: int = 0) -> U8:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)


def contents(index: LayoutIndex) -> dict[int, tuple[int, bytes]]:
    """The photo and the codes of each variant that is still there."""
    rows = zip(index.variant.tolist(), index.photo.tolist(), index.all_codes, strict=True)
    return {
        variant: (photo, codes.tobytes())
        for variant, photo, codes in rows
        if index.place[variant] >= 0
    }


def test_a_snapshot_never_changes() -> None:
    live = LiveGallery(gallery())
    first = live.snapshot
    before = {name: np.array(getattr(first, name)) for name in
              ("tiles", "features", "points", "texture", "labels", "members", "members_start",
               "source_photo", "mirrors", "added_crops", "gone")}  # fmt: skip
    live.add([photo(seed) for seed in range(100, 140)])
    live.remove([first.sources[0].path])
    assert (len(first), len(live.snapshot)) == (60, 100)
    for name, array in before.items():
        np.testing.assert_array_equal(np.array(getattr(first, name)), array)
    with pytest.raises(ValueError, match="read-only"):
        live.snapshot.texture[0] = 0
    with pytest.raises(TypeError, match="assignment"):
        live.snapshot.points[0] = 0


def test_added_photos_are_as_if_built() -> None:
    """The tiles and their features; clusters differ."""
    live = LiveGallery(gallery(40))
    live.add([photo(seed) for seed in range(40, 60)])
    now, built = live.snapshot, gallery(60)
    for name in ("tiles", "features", "points", "texture", "source_photo", "mirrors"):
        np.testing.assert_array_equal(np.array(getattr(now, name)), getattr(built, name))
    assert [it.crop for it in now.sources] == [it.crop for it in built.sources]
    assert now.sources[59].path == "images[59]"
    assert len(live.photos()) == len(now.photos()) == len(live) == 60


def test_rows_are_those_of_an_array() -> None:
    live = LiveGallery(gallery(10))
    live.add([photo(seed) for seed in range(10, 15)])
    tiles = live.snapshot.tiles
    whole = np.array(tiles)
    assert tiles.shape == whole.shape
    for rows in (0, 9, 10, -1, slice(2, 5), slice(8, 13), slice(None), slice(None, None, 4)):
        np.testing.assert_array_equal(tiles[rows], whole[rows])
    numbers = np.array([14, 0, 9, 10, 3])
    np.testing.assert_array_equal(tiles[numbers], whole[numbers])
    np.testing.assert_array_equal(tiles[12, 2:5, 1:3], whole[12, 2:5, 1:3])


@pytest.mark.parametrize("shape", [(40, 40), (40, 90)], ids=["square", "uncut"])
def test_photos_that_were_replaced_take_no_memory(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a still that is saved again each second."""
    monkeypatch.setattr("livemosaic.gallery.snapshot.LEAST_SPARE", 64)
    rng = np.random.default_rng(0)
    live = LiveGallery(gallery())
    pictures = rng.integers(0, 256, (50, *shape, 3), np.uint8)
    names = [f"/x/{number}.jpg" for number in range(len(pictures))]

    def replace(shift: int) -> GallerySnapshot:
        called, cut = images_cut([*np.roll(pictures, shift, axis=0)], live.recipe)
        by_name = dict(zip(names, called, strict=True))
        live.add_batch(
            read_batch(names, lambda it: cut(by_name[it]), lambda _: (1, 2), live.recipe.tile)
        )
        return live.snapshot

    early = replace(0)
    before = [np.array(rows) for rows in (early.tiles, early.features, early.uncut)]
    row = sum(array[0].nbytes for array in before if len(array))
    tracemalloc.start()
    try:
        for shift in range(1, 41):
            latest = replace(shift)
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 0.5 * row * 40 * len(names)
    for array, rows in zip(before, (early.tiles, early.features, early.uncut), strict=True):
        np.testing.assert_array_equal(np.array(rows), array)
    live = LiveGallery(gallery())
    expected = replace(40)
    there = np.flatnonzero(~latest.gone)
    assert len(there) == len(expected) == 60 + len(names)
    np.testing.assert_array_equal(latest.tiles[there], np.array(expected.tiles))
    np.testing.assert_array_equal(latest.features[there], np.array(expected.features))
    shown = np.isin(latest.uncut_photo, latest.source_photo[there])
    np.testing.assert_array_equal(latest.uncut[shown], np.array(expected.uncut))
    assert len(np.array(latest.tiles)) == len(latest.tiles) == 60 + 41 * len(names)


def test_removed_photos_are_in_no_cluster() -> None:
    live = LiveGallery(gallery(30))
    names = [live.snapshot.sources[number].path for number in (3, 7)]
    live.remove([*names, "of no photo"])
    now = live.snapshot
    assert np.flatnonzero(now.gone).tolist() == [3, 7]
    assert sorted(now.members.tolist()) == [n for n in range(30) if n not in (3, 7)]
    assert now.members_start[-1] == 28
    for cluster in range(len(now.kept)):
        assert (now.labels[now.tiles_of(cluster)] == cluster).all()
    assert not set(names) & live.photos().keys()
    assert names[0] not in live
    with pytest.raises(GalleryError, match="no photo would be left"):
        live.remove(live.photos())


def test_a_photo_of_the_same_path_is_replaced(tmp_path: Path) -> None:
    live = LiveGallery(gallery(20))
    path = tmp_path / "a.png"
    for seed in (200, 201):
        cv2.imwrite(str(path), photo(seed))
        assert live.add(path) == ()
    now = live.snapshot
    assert (len(now), len(now.photos())) == (22, 21)
    assert np.flatnonzero(now.gone).tolist() == [20]
    assert live.stamp(str(path)) == live.photos()[str(path)]
    assert live.stamp("none") is None
    assert live.photos()[str(path)] == (path.stat().st_size, path.stat().st_mtime_ns)
    path.write_bytes(b"none")
    ((name, reason),) = live.add([path])
    assert (name, len(live.snapshot)) == (str(path), 22)
    assert reason


def test_photos_in_the_order_in_which_they_joined(tmp_path: Path) -> None:
    live, began_s = LiveGallery(gallery(5)), time.time()
    names = [str(tmp_path / f"{name}.png") for name in "abc"]
    for name in names:
        cv2.imwrite(name, photo(7))
    live.add(names)
    live.add(names[0])
    live.remove([names[1], "images[0]"])
    found = live.added_photos()
    assert [(it.path, it.number) for it in found] == [(names[2], 7), (names[0], 8)]
    assert all(live.number(it.path) == it.number for it in found)
    assert began_s <= found[0].added_s <= found[1].added_s <= time.time()
    assert set(live.stamps_in([str(tmp_path)])) == {names[0], names[2]}
    assert live.stamps_in([f"{tmp_path}/a"]) == {}


def test_when_photos_joined(tmp_path: Path) -> None:
    """Those that were in a folder before have the time of their file."""
    live = LiveGallery(gallery(5))
    names = [str(tmp_path / f"{name}.png") for name in "ab"]
    for name in names:
        cv2.imwrite(name, photo(7))
        os.utime(name, (1e9, 1e9))
    _, cut = images_cut(names, live.recipe)
    batch = read_batch(names, cut, photo_stamp, live.recipe.tile)
    live.add_batch(batch, old=names[:1])
    old, new = live.added_photos()
    assert (old.added_s, list(live.new)) == (1e9, [new.number])
    assert new.added_s > 1e9


# ---- the paths of the photos that it began with --------------------------------------------------


def of_paths(file: Path, paths: Sequence[str], root: str) -> Gallery:
    """A gallery of photos of which at most ten have a tile."""
    tiles = min(len(paths), 10)
    numbers = np.arange(tiles)
    arrays = {
        "features": np.zeros((tiles, 125)), "points": np.zeros((tiles, 4, 4, 3)),
        "texture": np.zeros(tiles), "centres": np.zeros((1, 125)), "labels": np.zeros(tiles),
        "kept": [True], "members_start": [0, tiles], "members": numbers,
        "source_photo": numbers, "source_crop": np.zeros((tiles, 4)),
    }  # fmt: skip
    stamps = [(number + 1, 10**9) for number in range(len(paths))]
    with new_gallery_file(file) as writer:
        writer.append(np.zeros((tiles, 8, 8, 3), np.uint8))
        made = {name: np.asarray(rows) for name, rows in arrays.items()}
        recipe = Recipe(8, crops=0)
        writer.finish(made, photos=paths, root=root, recipe=recipe, stamps=stamps, index=False)
    return Gallery.open(file)


PATHS = ["a.jpg", "party/b.jpg", "party/c.jpg", "party 2/d.jpg", "part", "party/x/\udcff.jpg", ""]


@pytest.mark.parametrize("root", ["/photos", "/", "/photos/party", "photos", ""])
def test_where_photos_are(tmp_path: Path, root: str) -> None:
    """As a search of all paths finds them; in a joined gallery, too."""
    stored = [*PATHS, "/photos/party/whole.jpg", "/photos2/whole.jpg"]
    one = of_paths(tmp_path / "one.gallery", stored, root)
    other = of_paths(tmp_path / "other.gallery", ["b.jpg", "e.jpg"], "/photos/party")
    for sources in (one.sources, open_gallery([other, one]).sources):
        paths = sources.photos()
        for path in {*paths, *stored, "none", "/photos/none", "\ud800"}:
            assert sources.find(path) == [it for it, its in enumerate(paths) if its == path]
        for prefixes in (
            ("",), ("/",), ("/photos/",), ("/photos/party/",), ("/photos/party/x/", "/none/"),
            ("photos/party/",), ("party/",), ("\ud800",), (),
        ):  # fmt: skip
            expected = [(its, it) for it, its in enumerate(paths) if its.startswith(prefixes)]
            assert list(sources.starting(prefixes)) == expected


def test_photos_of_the_gallery_in_a_watched_folder(tmp_path: Path) -> None:
    """They are known, change and leave as others do."""
    root, base = str(tmp_path), of_paths(tmp_path / "x.gallery", PATHS[:4], str(tmp_path))
    a, b, c, d = (os.path.join(root, it) for it in PATHS[:4])
    live = LiveGallery(base)
    party, above = os.path.join(root, "party"), os.path.dirname(root)
    assert live.stamps_in([party]) == {b: (2, 10**9), c: (3, 10**9)}
    assert live.stamps_in([party, above]).keys() == live.photos().keys() == {a, b, c, d}
    assert live.stamps_in([]) == {}
    os.mkdir(party)
    cv2.imwrite(b, photo(1))
    assert live.add([b]) == ()
    assert (len(live), live.added, live.number(b)) == (4, 0, 4)
    assert np.flatnonzero(live.snapshot.gone).tolist() == [1]
    stamp = (os.stat(b).st_size, os.stat(b).st_mtime_ns)
    assert live.stamp(b) == live.stamps_in([party])[b] == live.photos()[b] == stamp
    live.remove([b, c, "none"])
    assert (len(live), live.removed, b in live, c in live) == (2, 2, False, False)
    assert live.stamps_in([party]) == {}
    assert live.photos().keys() == {a, d}
    assert (live.number(c), live.stamp(b)) == (None, None)
    live.remove([b, c])
    assert live.removed == 2
    live.add([b])
    assert (len(live), live.added) == (3, 1)
    live.remove([a, b])
    with pytest.raises(GalleryError, match="no photo would be left"):
        live.remove([d])


def test_the_paths_of_a_large_gallery_take_little_memory(tmp_path: Path) -> None:
    count = 200_000
    paths = [f"folder {number // 1000}/photo of a summer {number}.jpg" for number in range(count)]
    base = of_paths(tmp_path / "x.gallery", paths, "/photos")
    tracemalloc.start()
    try:
        live = LiveGallery(base)
        assert live.number("/photos/folder 7/photo of a summer 7123.jpg") == 7123
        assert len(live.stamps_in(["/photos/folder 9"])) == 1000
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(live) == count
    assert kept < 16 * count
    assert most < 40 * count


def test_photos_of_the_shape_of_the_tiles() -> None:
    """None is kept uncut, as those of the gallery are."""
    live = LiveGallery(gallery(3))
    assert len(live.snapshot.uncut) == 3
    live.add([photo(9, width=72, height=72)])
    assert (len(live), len(live.snapshot.uncut)) == (4, 3)


def test_no_two_images_have_one_name(tmp_path: Path) -> None:
    """Not even after a file that could not be read, which has no number of a photo."""
    live = LiveGallery(gallery(20))
    (tmp_path / "none.png").write_text("none")
    assert live.add([tmp_path / "none.png", scene(100)])
    live.add([scene(101)])
    assert len(live) == len(live.snapshot.photos()) == 22


def test_a_path_that_is_there_twice_is_one_photo(tmp_path: Path) -> None:
    live = LiveGallery(gallery(20))
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, scene(100))
    live.add([path, path])
    assert (len(live), live.added) == (21, 1)
    live.remove([path])
    assert len(live.snapshot.photos()) == 20


def test_crops_of_colours_that_are_missing() -> None:
    """As in a build: only where no whole photo has their colour."""
    grey = [np.full((64, 64, 3), level, np.uint8) for level in (90, 120, 150)]
    live = LiveGallery(Gallery.from_images(grey, tile=16))
    colourful = np.full((200, 200, 3), 120, np.uint8)
    colourful[:100, :100], colourful[100:, 100:] = (40, 160, 40), (200, 90, 30)
    live.add([colourful])
    assert np.count_nonzero(live.snapshot.added_crops[3:]) >= 2
    again = len(live.snapshot)
    live.add([colourful])
    assert len(live.snapshot) == again + 1
    assert not live.snapshot.added_crops[-1]


@pytest.mark.parametrize(
    ("limits", "stays"),
    [({}, True), ({"most_anew": 11}, True), ({"most_anew": 5, "most_added": 20}, False)],
    ids=["anew", "settled", "in one piece"],
)
def test_the_index_has_what_a_new_one_has(limits: dict[str, int], stays: bool) -> None:
    """All variants with the same codes, in clusters of what is near."""
    live = LiveGallery(gallery(60))
    base = used = live.snapshot  # an index lasts as long as its gallery
    clustered = layout_index(used).clustered
    rng = np.random.default_rng(0)
    for step in range(8):
        live.add([photo(seed) for seed in range(100 + 4 * step, 104 + 4 * step)])
        live.remove(rng.choice(sorted(live.photos()), 2, replace=False).tolist())
        assert used is not live.snapshot
        now, new = layout_index(live.snapshot, **limits), new_index(live.snapshot)
        used = live.snapshot
        assert now.clustered == clustered  # made of the one before
        assert contents(now) == contents(new)
        if stays or not step:
            assert now.codes is layout_index(base).codes  # no copy
        assert (np.diff(now.start) > 0).all()
        there = now.place[now.variant] >= 0
        np.testing.assert_array_equal(now.place[now.variant[there]], np.flatnonzero(there))
        assert np.count_nonzero(now.place >= 0) == np.count_nonzero(there) == new.clustered
        assert sorted(now.photo_members.tolist()) == np.flatnonzero(there).tolist()
        for number in range(len(now.photo_start) - 1):
            members = now.photo_members[now.photo_start[number] : now.photo_start[number + 1]]
            assert (now.photo[members] == number).all()
        for arrays, columns in (
            ((now.coarse, now.added_coarse), slice(COARSE)),
            ((now.fine, now.added_fine), slice(COARSE, None)),
        ):
            whole, slots = blocks(np.ascontiguousarray(now.all_codes[:, columns]), now.start)
            np.testing.assert_array_equal(np.concatenate(arrays), whole)
            np.testing.assert_array_equal(now.slots, slots)
        clusters = np.repeat(np.arange(len(now.start) - 1), np.diff(now.start))
        np.testing.assert_array_equal(now.member_cluster, clusters[now.photo_members])
        levels = now.centres.reshape(COARSE, -1)[:, : len(now.start) - 1].T
        for cluster, centre in enumerate(levels):
            mean = now.all_codes[clusters == cluster, :COARSE].mean(axis=0, dtype=np.float64)
            np.testing.assert_allclose(centre, to_levels(mean), atol=1)
    assert (now.codes is layout_index(base).codes) == stays


def test_the_index_after_most_photos_have_left() -> None:
    """Its clusters are made anew once; photos that join are not taken for others, also if the last
    crop of the gallery has left, but not the last photo."""
    rng = np.random.default_rng(0)
    quarters = [
        np.kron(rng.integers(0, 256, (2, 2, 3)), np.ones((32, 32, 1))).astype(np.uint8)
        for _ in range(30)
    ]
    begun = Gallery.from_images([*quarters, *[np.full((64, 64, 3), 90, np.uint8)] * 3], tile=16)
    assert begun.source_photo[-1] == 29
    live, names = LiveGallery(begun), begun.sources.photos()
    before = layout_index(begun)
    live.remove([*names[:15], names[29]])
    used = live.snapshot
    clustered = layout_index(used).clustered
    assert clustered < before.clustered
    for step in range(2):
        if step:
            live.add([photo(1), photo(2)])
        else:
            live.remove([names[15]])
        now, new = layout_index(live.snapshot), new_index(live.snapshot)
        used = live.snapshot
        assert now.clustered == clustered  # not made anew again
        assert contents(now) == contents(new)
        np.testing.assert_array_equal(np.diff(now.photo_start), np.diff(new.photo_start))
        photos = np.repeat(np.arange(len(now.photo_start) - 1), np.diff(now.photo_start))
        np.testing.assert_array_equal(now.photo[now.photo_members], photos)
    assert used is live.snapshot


def test_cells_keep_their_tiles() -> None:
    live = LiveGallery(gallery(80))
    mosaic = Mosaic(live.snapshot, SETTINGS)
    picture = mosaic.process(scene())
    ids, flips = mosaic.tile_ids, mosaic.flips
    live.add([photo(seed) for seed in range(300, 340)])
    mosaic.update_settings(mosaic.settings, gallery=live.snapshot)
    np.testing.assert_array_equal(mosaic.process(scene()), picture)
    np.testing.assert_array_equal(mosaic.tile_ids, ids)
    np.testing.assert_array_equal(mosaic.flips, flips)
    matcher = mosaic.matcher
    assert isinstance(matcher, LayoutMatcher)
    variants = matcher.index.variant[matcher.assignment.place]
    np.testing.assert_array_equal(variants, (2 * ids + flips).reshape(-1))
    uses = np.bincount(matcher.index.photo[matcher.assignment.place], minlength=120)
    np.testing.assert_array_equal(uses, matcher.assignment.uses)
    mosaic.process(scene(1))
    assert (mosaic.tile_ids >= 80).any()


@pytest.mark.parametrize("options", [{}, {"fine": "detail"}, {"match": "clusters"}], ids=str)
def test_a_gallery_that_becomes_live(options: dict[str, object]) -> None:
    """A mosaic that began with a few photos, all of which are shown, takes more."""
    plain = gallery(3)
    mosaic = Mosaic(plain, SETTINGS.changed(**options))
    mosaic.process(scene())
    live = LiveGallery(plain)
    for step in range(4):
        live.add([photo(seed) for seed in range(900 + 4 * step, 904 + 4 * step)])
        mosaic.update_settings(mosaic.settings, gallery=live.snapshot)
        mosaic.process(scene(step))
    shown = np.unique(np.concatenate([layer.tile_ids for layer in mosaic.layers], axis=None))
    assert np.count_nonzero(shown >= 0) > 6


@pytest.mark.parametrize("options", [{}, {"match": "clusters"}], ids=str)
def test_tiles_that_have_left_are_shown_no_more(options: dict[str, object]) -> None:
    """Also in a picture that stands still."""
    live = LiveGallery(gallery(80))
    mosaic = Mosaic(live.snapshot, SETTINGS.changed(**options))
    mosaic.process(scene())
    before = mosaic.tile_ids
    gone = np.unique(before)[:20]
    live.remove([live.snapshot.sources[int(number)].path for number in gone])
    mosaic.update_settings(mosaic.settings, gallery=live.snapshot)
    mosaic.process(scene())
    after = mosaic.tile_ids
    assert not np.isin(after, gone).any()
    kept = ~np.isin(before, gone)
    np.testing.assert_array_equal(after[kept], before[kept])


@pytest.mark.parametrize("options", [{"match": "clusters"}, {"fine": "detail"}], ids=str)
def test_tiles_that_have_left_come_first(options: dict[str, object]) -> None:
    """Where few cells are matched in a frame, and others have changed."""
    live = LiveGallery(gallery(80))
    mosaic = Mosaic(live.snapshot, SETTINGS.changed(**options))
    mosaic.process(scene())
    shown = mosaic.tile_ids[mosaic.tile_ids >= 0]
    live.remove([live.snapshot.sources[int(np.bincount(shown).argmax())].path])
    mosaic.update_settings(mosaic.settings, gallery=live.snapshot)
    mosaic.process(scene(1), max_cells=mosaic.cells.total // 4)
    for layer in mosaic.layers:
        assert not live.snapshot.gone[layer.tile_ids[layer.tile_ids >= 0]].any()


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"match": "clusters"}, {"min_uses": 1}, {"tile_px": (24, 16)}, {"tint": 0.0}],
    ids=str,
)
def test_a_stream_goes_on(options: dict[str, object], prepared: bool) -> None:
    """Every way of matching, prepared on the side or not; also for settings that change meanwhile,
    and for many states at once."""
    live = LiveGallery(gallery(80))
    settings = SETTINGS.changed(**options)
    mosaic = Mosaic(live.snapshot, settings)
    rng = np.random.default_rng(0)
    for step in range(6):
        mosaic.process(scene(step // 2))
        before = mosaic.tile_ids
        for _ in range(1 + step % 2):
            live.add([photo(int(seed)) for seed in rng.integers(400, 10_000, 9)])
            live.remove(rng.choice(sorted(live.photos()), 3, replace=False).tolist())
        now = live.snapshot
        ready = mosaic.prepare_gallery(now) if prepared else None
        changed = settings.changed(calm=0.1 * step) if step % 3 else settings
        mosaic.update_settings(changed, gallery=now, ready=ready)
        mosaic.process(scene(step // 2))
        after = mosaic.tile_ids
        assert not now.gone[after].any()
        assert (before == after)[~now.gone[before]].mean() > 0.7
    assert (mosaic.tile_ids >= 80).any()


def test_chosen_as_well_as_with_a_new_index() -> None:
    """The cost of what is chosen, with the same photos in both."""
    live = LiveGallery(gallery(300))
    used = live.snapshot
    clustered = layout_index(used).clustered
    for step in range(6):
        live.add([photo(seed) for seed in range(1000 + 20 * step, 1020 + 20 * step)])
        layout_index(live.snapshot)
        used = live.snapshot
    assert layout_index(used).clustered == clustered
    costs = []
    for source in (live.snapshot, gallery_of(live.snapshot)):
        mosaic, total = Mosaic(source, SETTINGS), 0.0
        for seed in range(6):
            total += cost(mosaic, scene(seed))
            assert isinstance(mosaic.matcher, LayoutMatcher)
        costs.append(total)
    assert costs[0] <= 1.01 * costs[1]


def gallery_of(snapshot: GallerySnapshot) -> Gallery:
    """A gallery with the same photos that was made at once."""
    seeds = [*range(300), *range(1000, 1120)]
    made = Gallery.from_images([photo(seed) for seed in seeds], tile=16, crops=0)
    np.testing.assert_array_equal(np.array(snapshot.tiles), made.tiles)
    return made


def cost(mosaic: Mosaic, picture: U8) -> float:
    """The error of a mosaic from afar, squared."""
    size = (40, 30)
    shown = cv2.resize(mosaic.apply(picture), size, interpolation=cv2.INTER_AREA)
    wanted = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return float(np.square(shown.astype(float) - wanted).sum())


def test_a_matcher_of_ones_own_starts_again() -> None:
    """It may know nothing of galleries that change."""

    class Own(LayoutMatcher):
        def take_over(self, before: object) -> bool:
            return False

    live = LiveGallery(gallery(40))
    mosaic = Mosaic(live.snapshot, SETTINGS, matcher=Own)
    mosaic.process(scene())
    live.add([photo(500)])
    mosaic.update_settings(mosaic.settings, gallery=live.snapshot)
    mosaic.process(scene())
    assert mosaic.matcher.gallery is live.snapshot


def test_what_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="gallery"):
        LiveGallery("photos")  # type: ignore[arg-type]
    live = LiveGallery(gallery(5))
    with pytest.raises(UsageError, match="snapshot"):
        LiveGallery(live.snapshot)
    with pytest.raises(UsageError, match=r"images\[5\]"):
        live.add([np.zeros(3, np.uint8)])


def test_a_pipeline_follows() -> None:
    """Photos join and leave while it runs; the report counts them."""
    source = open_source("pattern:320x240@25")
    live = LiveGallery(gallery(80))
    mosaic = Mosaic(live.snapshot, SETTINGS)
    grid = mosaic.plan(320, 240)
    mosaic.update_settings(SETTINGS.for_grid(grid))
    sink = open_sink("null", output_info(source.info, grid))
    pipeline = Pipeline(source, mosaic, [sink], duration_s=60, realtime=True, live_gallery=live)
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    try:
        for step in range(3):
            live.add([photo(700 + step)])
            live.remove([next(iter(live.photos()))])
            wanted = live.snapshot
            wait_until(partial(is_used, mosaic, wanted), timeout_s=30)
    finally:
        pipeline.stop()
        thread.join()
    report = pipeline.report()["gallery"]
    assert pipeline.live_stats().photos == "80 +3 -3"
    assert pipeline.live_stats().gallery == report
    assert {**report, "changes": 0} == {"photos": 80, "added": 3, "removed": 3, "changes": 0}
    assert report["changes"] >= 3


def is_used(mosaic: Mosaic, wanted: Gallery) -> bool:
    return mosaic.gallery is wanted


def test_many_changes_are_prepared_as_one() -> None:
    """One preparation at a time, with pauses. Another gallery is not followed, nor replaced by what
    was prepared before."""
    live = LiveGallery(gallery(40))
    mosaic = Mosaic(live.snapshot, SETTINGS)
    mosaic.process(scene())
    waiting: list[Callable[[], None]] = []
    now_s = [0.0]
    follower = GalleryFollower(
        mosaic, live, lambda name, work, end: waiting.append(work), clock=lambda: now_s[0]
    )
    assert follower.take_ready() is None
    assert not waiting
    live.add([photo(800)])
    for _ in range(3):
        assert follower.take_ready() is None
    assert len(waiting) == 1
    live.add([photo(801)])
    waiting.pop()()
    ready = follower.take_ready()
    assert ready is not None
    assert ready.gallery is live.snapshot
    mosaic.update_settings(mosaic.settings, ready=ready)
    live.add([photo(802)])
    now_s[0] += 60
    assert follower.take_ready() is None
    waiting.pop()()
    mosaic.update_settings(mosaic.settings, gallery=gallery(20))
    now_s[0] += 60
    assert follower.take_ready() is None
    assert not waiting


@pytest.mark.parametrize("fails", [False, True])
def test_a_photo_does_not_wait_long_for_a_preparation_before(fails: bool) -> None:
    """Neither for one that took long, as where kernels are compiled, nor for one that failed; that
    is not tried again in each frame."""
    now_s = [0.0]

    class Slow(Mosaic):
        def prepare_gallery(self, gallery: Gallery) -> ReadyGallery:
            if fails:
                raise MemoryError
            now_s[0] += 30
            return super().prepare_gallery(gallery)

    live = LiveGallery(gallery(40))
    mosaic = Slow(live.snapshot, SETTINGS)
    mosaic.process(scene())
    waiting: list[tuple[Callable[[], None], Callable[[], None]]] = []
    follower = GalleryFollower(
        mosaic, live, lambda name, *works: waiting.append(works), clock=lambda: now_s[0]
    )
    live.add([photo(800)])
    follower.take_ready()
    work, give_up = waiting.pop()
    if fails:
        with pytest.raises(MemoryError):
            work()
        give_up()
    else:
        work()
        mosaic.update_settings(mosaic.settings, ready=follower.take_ready())
        live.add([photo(801)])
    follower.take_ready()
    assert not waiting
    now_s[0] += 1
    follower.take_ready()
    assert len(waiting) == 1


def test_a_gallery_becomes_live_in_use() -> None:
    """Its photos are there again after another gallery, which has photos of its own."""
    plain, other = gallery(40), gallery(20)
    mosaic = Mosaic(plain, SETTINGS)
    mosaic.process(scene())
    waiting: list[Callable[[], None]] = []
    follower = GalleryFollower(
        mosaic, None, lambda name, work, end: waiting.append(work), name="one", clock=lambda: 0.0
    )
    assert follower.take_ready() is None
    assert follower.live is None
    assert follower.report() is None
    assert follower.summary == ""
    follower.join(lambda live: live.add([photo(800)]))
    live = follower.live
    assert live is not None
    assert follower.take_ready() is None
    waiting.pop()()
    ready = follower.take_ready()
    assert ready is not None
    mosaic.update_settings(mosaic.settings, ready=ready)
    assert (follower.summary, follower.changes) == ("41 +1", 1)
    follower.use("two", other)
    mosaic.update_settings(mosaic.settings, gallery=other)
    assert follower.live is None
    assert follower.snapshot("two") is None
    assert follower.take_ready() is None
    for _ in range(2):
        follower.join(lambda live: live.add([photo(801)]))
    assert follower.summary == "22 +2"
    assert follower.snapshot("one") is live.snapshot
    assert len(live) == 41
