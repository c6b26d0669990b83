"""Photos to gallery: finding, clusters, determinism, what cannot be read, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import Mosaic, MosaicSettings
from livemosaic.errors import GalleryError, OptionError, UsageError
from livemosaic.gallery import Gallery, build_gallery
from livemosaic.gallery.clusters import Clusters, cluster_tiles, group_tiles
from livemosaic.gallery.histogram import tile_histograms
from livemosaic.gallery.photo_paths import find_photos
from livemosaic.gallery.recipe import Recipe

from .gallery_files import encode, photo, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 60)
    write_photos(folder / "more", 40, extension=".png", width=50, height=90)
    return folder


def names(paths: list[str]) -> list[str]:
    return [os.path.basename(path) for path in paths]


def test_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.jpg", "d/c.heic", "d/.trash/x.jpg", "raw"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert names(find_photos([tmp_path]).photos) == ["a.png", "b.JPG", "c.heic"]
    # A named file is used, whatever its name, and no file twice.
    assert names(find_photos([tmp_path / "raw", tmp_path / "b.JPG", tmp_path]).photos) == [
        "a.png", "b.JPG", "c.heic", "raw",
    ]  # fmt: skip
    assert names(find_photos([f"{tmp_path}/*.[jJ]*"]).photos) == ["b.JPG"]
    assert names(find_photos([f"{tmp_path}/**/*.heic"]).photos) == ["c.heic"]
    (tmp_path / "[1]").mkdir()
    (tmp_path / "[1]" / "odd.jpg").touch()
    assert names(find_photos([tmp_path / "[1]"]).photos) == ["odd.jpg"]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert names(find_photos(["~/a.png", "~/*.JPG"]).photos) == ["a.png", "b.JPG"]


@pytest.mark.parametrize("path", ["gone", "gone/*.jpg", "empty"])
def test_finding_nothing(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(GalleryError, match=f"no photos .*{path[:4]}"):
        find_photos([tmp_path / path])
    with pytest.raises(GalleryError, match="no photos"):
        build_gallery([tmp_path / path], tmp_path / "x.gallery")
    assert not (tmp_path / "x.gallery").exists()


def test_build(photos: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = build_gallery(
        [photos], tmp_path / "x.gallery", tile_px=16, crops=2, progress=lambda *a: seen.append(a)
    )
    gallery = Gallery.open(tmp_path / "x.gallery")
    assert (report.photos, report.tiles, report.unreadable) == (100, 300, ())
    assert report.bytes == gallery.bytes
    assert (report.clusters, report.kept) == (len(gallery.kept), gallery.kept.sum())
    assert seen[-1] == (100, 100)
    assert seen == sorted(seen)
    assert gallery.mirror
    assert gallery.tiles.shape == (300, 16, 16, 3)
    np.testing.assert_array_equal(gallery.features, tile_histograms(gallery.tiles))
    # Sorted by path: 0000.jpg ..., then more/0000.png ...
    assert gallery.sources[0] == (str(photos / "0000.jpg"), (12, 0, 72, 72))
    assert gallery.sources[1] == (str(photos / "0000.jpg"), (30, 18, 36, 36))
    assert gallery.sources[180] == (str(photos / "more" / "0000.png"), (0, 8, 50, 50))
    # A picture of this photo, not of another one.
    expected = photo(0)[:, 12:84].mean((0, 1))
    assert np.abs(gallery.tiles[0].mean((0, 1)) - expected).max() < 4


def test_crops_by_the_number_of_photos() -> None:
    assert Recipe().for_photos(1999).crops == 5
    assert Recipe().for_photos(2000).crops == 0
    assert Recipe(crops=2).for_photos(2000).crops == 2


def test_same_photos_same_bytes(photos: Path, tmp_path: Path) -> None:
    data: list[bytes] = []
    for i, workers in enumerate((1, 2, 5, None)):
        path = tmp_path / f"{i}.gallery"
        build_gallery([photos], path, tile_px=16, workers=workers, clusters=20)
        data.append(path.read_bytes())
    assert data[1:] == data[:1] * 3
    build_gallery([photos], path, tile_px=16, clusters=20, seed=1)
    assert path.read_bytes() != data[0]


def test_what_cannot_be_read_is_listed(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad"
    write_photos(bad, 3)
    (bad / "empty.jpg").touch()
    (bad / "text.png").write_text("hello")
    (bad / "cut.jpg").write_bytes(encode(photo(1), ".jpg")[:-99])
    (bad / "link.jpg").symlink_to("nowhere")
    (bad / "broken.tif").write_bytes(encode(photo(1), ".tif")[:-200])
    report = build_gallery([bad], tmp_path / "x.gallery", tile_px=16)
    assert report.photos == 3
    reasons = {os.path.basename(path): reason for path, reason in report.unreadable}
    assert "empty" in reasons["empty.jpg"]
    assert "known kind" in reasons["text.png"]
    assert "cut off JPEG" in reasons["cut.jpg"]
    assert reasons["link.jpg"] == "No such file or directory"
    assert sorted(reasons) == ["broken.tif", "cut.jpg", "empty.jpg", "link.jpg", "text.png"]
    assert len(Gallery.open(tmp_path / "x.gallery").sources.photos()) == 3
    assert capfd.readouterr().err == ""


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(GalleryError, match=r"none of 1 files can be read .*the file is empty"):
        build_gallery([tmp_path], tmp_path / "x.gallery")
    assert [path.name for path in tmp_path.iterdir()] == ["empty.jpg"]


@pytest.mark.parametrize(
    "options",
    [
        {"tile_px": 7}, {"tile_px": 256}, {"fit": "squeeze"}, {"clusters": 0},
        {"drop_percentile": -1}, {"drop_percentile": 101}, {"crops": 6}, {"crops": -1},
        {"seed": -1},
    ],
)  # fmt: skip
def test_options_out_of_range(photos: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as error:
        build_gallery([photos], tmp_path / "x.gallery", **options)
    assert error.value.option in options


def test_an_interruption_leaves_the_old_gallery(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.gallery"
    build_gallery([photos], path, tile_px=20)
    before = path.read_bytes()

    def interrupt(done: int, total: int) -> None:
        assert done < total
        raise KeyboardInterrupt

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        build_gallery([photos], path, tile_px=16, progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["x.gallery"]
    assert path.read_bytes() == before
    assert threading.active_count() == threads


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c(photos: Path, tmp_path: Path) -> None:
    script = (
        "import signal, time\n"
        "from livemosaic.gallery import build_gallery\n"
        # A shell's background jobs, and what they start, are born deaf to it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def progress(done, total):\n"
        "    print(done, flush=True)\n"
        # A signal just before a sleep does not end it.
        "    for _ in range(600):\n"
        "        time.sleep(0.1)\n"
        f"build_gallery([{str(photos)!r}], {str(tmp_path / 'x.gallery')!r}, tile_px=16,\n"
        "    progress=progress)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "32\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert "KeyboardInterrupt" in errors
    assert not list(tmp_path.iterdir())


# ---- in memory ---------------------------------------------------------------------------


def test_from_images_as_from_a_folder(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.glob("more/*.png"))
    build_gallery(paths, tmp_path / "x.gallery", tile_px=16, clusters=4, seed=2, mirror=False)
    expected = Gallery.open(tmp_path / "x.gallery")
    arrays = [np.asarray(cv2.imread(str(path)), np.uint8) for path in paths]
    options: dict[str, Any] = {"tile": 16, "clusters": 4, "seed": 2, "mirror": False}
    for images in (paths, list(map(str, paths)), arrays, iter(arrays)):
        made = Gallery.from_images(images, **options)
        for name in ("tiles", "features", "points", "texture", "labels", "centres", "members"):
            np.testing.assert_array_equal(getattr(made, name), getattr(expected, name))
        assert (made.options, made.mirror) == (expected.options, False)
        assert [s.crop for s in made.sources] == [s.crop for s in expected.sources]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "x.gallery"]


def test_a_gallery_in_memory(photos: Path) -> None:
    gallery = Gallery.from_images([photo(1), photos / "0000.jpg"], tile=16, crops=0, name="two")
    assert (gallery.name, gallery.path, len(gallery)) == ("two", None, 2)
    assert not gallery.tiles.flags.writeable
    assert [s.path for s in gallery.sources] == ["images[0]", str(photos / "0000.jpg")]
    gallery.release()
    assert np.abs(gallery.tiles[0].mean((0, 1)) - photo(1)[:, 12:84].mean((0, 1))).max() < 2
    mosaic = Mosaic(gallery, MosaicSettings(scale=1, tile_px=16))
    assert mosaic.apply(photo(3, width=96, height=64)).shape == (64, 96, 3)


def test_errors_name_the_image(photos: Path, tmp_path: Path) -> None:
    for bad in (None, 3, np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3))):
        with pytest.raises(UsageError, match=r"images\[1\]: "):
            Gallery.from_images([photo(1), bad])  # type: ignore[list-item]
    (tmp_path / "bad.png").write_text("text")
    for name in ("bad.png", "gone.png"):
        with pytest.raises(GalleryError, match=name):
            Gallery.from_images([photos / "0000.jpg", tmp_path / name])
    with pytest.raises(UsageError, match="images"):
        Gallery.from_images([])
    with pytest.raises(UsageError, match="tile"):
        Gallery.from_images([photo(1)], tile=7)


# ---- clusters ----------------------------------------------------------------------------


def test_number_of_clusters() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((400, 125)).astype(np.float32)
    features /= features.sum(axis=1, keepdims=True)
    assert cluster_tiles(features).max() < 50  # one for each 8
    assert len(np.unique(cluster_tiles(features))) > 40
    assert cluster_tiles(features, clusters=7).max() == 6
    assert cluster_tiles(features[:15]).max() == 0
    assert cluster_tiles(np.repeat(features[:20], 20, axis=0)).max() <= 1  # 20 distinct
    np.testing.assert_array_equal(cluster_tiles(features, seed=3), cluster_tiles(features, seed=3))
    assert (cluster_tiles(features, seed=3) != cluster_tiles(features, seed=4)).any()


def test_clusters_are_of_like_colours() -> None:
    tiles = np.zeros((300, 8, 8, 3), np.uint8)
    truth = np.arange(300) % 3
    rng = np.random.default_rng(0)
    tiles[..., :] = np.eye(3, dtype=np.uint8)[truth][:, None, None] * 200
    tiles += rng.integers(0, 50, tiles.shape, np.uint8)
    labels = cluster_tiles(tile_histograms(tiles), clusters=3)
    assert len({(a, b) for a, b in zip(labels.tolist(), truth.tolist(), strict=True)}) == 3


def test_a_sample_of_a_large_set() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((1000, 125)).astype(np.float32)
    labels = cluster_tiles(features, clusters=10, max_sample=300)
    assert len(np.unique(labels)) > 5
    assert (labels != cluster_tiles(features, clusters=10)).any()


def groups(population: list[int], **options: Any) -> Clusters:
    labels = np.repeat(np.arange(len(population)) * 2, population).astype(np.int32)
    features = np.eye(125, dtype=np.float32)[labels % 125]
    photos = np.arange(len(labels), dtype=np.int32)
    return group_tiles(features, labels, photos, **options)


def test_small_clusters_are_dropped() -> None:
    found = groups([1, 5, 2, 9, 7, 3, 8, 6, 4, 10])
    assert np.diff(found.members_start).tolist() == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert found.kept.tolist() == [True] * 6 + [False] * 4  # 35 % of the way from 1 to 10 is 4.15
    assert groups([1, 2, 3, 4], drop_percentile=0).kept.all()
    assert groups([1, 2, 3, 4], drop_percentile=100).kept.tolist() == [True, False, False, False]
    assert groups([5, 5, 5, 1]).kept.tolist() == [True, True, True, False]
    assert groups([3, 3]).kept.all()
    assert groups([1]).kept.all()
    # Empty ones (the odd labels) are gone, centres are means, members fit the labels.
    assert found.centres.shape == (10, 125)
    assert found.centres[0, 18] == 1
    for cluster in range(10):
        mine = found.members[found.members_start[cluster] : found.members_start[cluster + 1]]
        assert set(mine.tolist()) == set(np.flatnonzero(found.labels == cluster).tolist())


def test_rotation_keeps_tiles_of_a_photo_apart() -> None:
    labels = np.zeros(60, np.int32)
    photos = (np.arange(60) // 6).astype(np.int32)
    members = group_tiles(np.ones((60, 125), np.float32), labels, photos, seed=5).members
    assert sorted(members.tolist()) == list(range(60))
    for start in range(0, 60, 10):  # each photo once before any comes again
        assert sorted(photos[members[start : start + 10]].tolist()) == list(range(10))
    again = group_tiles(np.ones((60, 125), np.float32), labels, photos, seed=6).members
    assert (members != again).any()
