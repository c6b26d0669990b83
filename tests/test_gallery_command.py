"""The subcommand `gallery`, its statistics and its contact sheets."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from livemosaic.cli.commands.gallery import add_parser, run
from livemosaic.cli.signals import Interrupts
from livemosaic.errors import GalleryError, OptionError, UsageError
from livemosaic.gallery import Gallery, build_gallery
from livemosaic.gallery.report import contact_sheet_html, contact_sheet_png, gallery_info

from .gallery_files import write_photos


def gallery(*words: object) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return run(parser.parse_args(["gallery", *map(str, words)]), Interrupts())


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "pictures", 40)
    return tmp_path / "pictures"


@pytest.fixture
def built(photos: Path) -> Path:
    build_gallery([photos], "x.gallery", tile_px=16)
    return Path("x.gallery")


def test_build(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "bad.jpg").touch()
    assert gallery("build", photos, "-o", "x.gallery", "--tile", 16, "--crops", 1) == 0
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "could not be read: 1 file"
    assert lines[1].endswith("bad.jpg: the file is empty")
    assert re.fullmatch(
        r"x\.gallery: 80 tiles of 40 photos in \d+ of \d+ clusters, .* MB, .* s", lines[2]
    )
    opened = Gallery.open("x.gallery")
    assert (opened.tile_px, len(opened), opened.mirror) == (16, 80, True)


def test_options_reach_the_gallery(photos: Path) -> None:
    words = "--tile 8 --fit stretch --clusters 4 --drop-percentile 0 --seed 3 --crops 0"
    assert gallery("build", photos, "-o", "x.gallery", *words.split(), "--no-mirror") == 0
    opened = Gallery.open("x.gallery")
    assert opened.options == {
        "fit": "stretch", "clusters": 4, "drop_percentile": 0.0, "seed": 3, "crops": 0,
        "frames_of_videos": 0,
        "focus": "faces",
    }  # fmt: skip
    assert opened.mirror is False
    assert opened.sources[0].crop == (0, 0, 96, 72)


def test_quiet(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery("build", photos, "-o", "x.gallery", "--quiet", "--tile", 16)
    assert capsys.readouterr() == ("", "")


def test_many_bad_files_are_counted(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(25):
        (photos / f"bad{i:02d}.png").touch()
    gallery("build", photos, "-o", "x.gallery", "--tile", 16)
    err = capsys.readouterr().err
    assert "could not be read: 25 files" in err
    assert err.count("the file is empty") == 20
    assert "... and 5 more; -v lists them" in err


def test_existing_output(photos: Path, built: Path) -> None:
    before = built.read_bytes()
    with pytest.raises(UsageError, match=r"x\.gallery.*-y"):
        gallery("build", photos, "-o", built)
    assert built.read_bytes() == before
    gallery("build", photos, "-o", built, "-y", "--tile", 20)
    assert Gallery.open(built).tile_px == 20
    for damaged in (b"", before[:100]):  # still nothing but a gallery
        built.write_bytes(damaged)
        gallery("build", photos, "-o", built, "-y", "--tile", 16)
        assert len(Gallery.open(built)) > 40


@pytest.mark.parametrize("name", ["pictures/0000.jpg", "clip.mp4", "x.gallery", "link.gallery"])
def test_what_is_no_gallery_is_not_replaced(photos: Path, name: str) -> None:
    path = Path(name)
    if path.suffix != ".jpg":
        path.write_text("precious")
    if name.startswith("link"):
        path.unlink()
        path.symlink_to(photos / "0000.jpg")
    before = path.read_bytes()
    for words in ([], ["-y"]):
        with pytest.raises(UsageError, match="is not a gallery, so it is not replaced"):
            gallery("build", photos, "-o", path, *words)
        with pytest.raises(UsageError, match="is not a gallery, so it is not replaced"):
            build_gallery([photos], path)
    assert path.read_bytes() == before
    with pytest.raises(GalleryError) as caught:
        gallery("add", path, photos)
    assert "-o my.gallery" in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no such devices")
def test_a_device_is_not_replaced(photos: Path) -> None:
    os.mkfifo("pipe.gallery")
    for path in ("pipe.gallery", "/dev/null"):
        with pytest.raises(UsageError, match="is not a gallery"):
            gallery("build", photos, "-o", path, "-y")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(GalleryError, match="not a file"):  # and does not wait for a writer
        Gallery.open("pipe.gallery")


@pytest.mark.parametrize("output", ["none/x.gallery", "pictures"])
def test_output_that_cannot_be_written(photos: Path, tmp_path: Path, output: str) -> None:
    with pytest.raises(GalleryError, match="cannot write gallery"):
        gallery("build", photos, "-o", output, "-y")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures"]


def test_bad_options(photos: Path) -> None:
    with pytest.raises(OptionError, match=r"tile_px .*3"):
        gallery("build", photos, "-o", "x.gallery", "--tile", 3)
    assert not Path("x.gallery").exists()


@pytest.mark.parametrize("seed", [-1, 2**63, 10**90])
def test_a_seed_that_is_none(seed: int, photos: Path) -> None:
    with pytest.raises(OptionError, match=f"seed .* from 0 to {2**63 - 1}"):
        gallery("build", photos, "-o", "x.gallery", "--tile", 16, "--seed", seed)
    assert not Path("x.gallery").exists()


def test_the_largest_seed(photos: Path) -> None:
    gallery("build", photos, "-o", "x.gallery", "--tile", 16, "--seed", 2**63 - 1)
    assert Gallery.open("x.gallery").options["seed"] == 2**63 - 1


def test_progress_bar_on_a_terminal(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    gallery("build", photos, "-o", "x.gallery", "--tile", 16)
    assert "photos/s" in capsys.readouterr().err


def test_info(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gallery("info", built, "--json") == 0
    out, err = capsys.readouterr()
    info = json.loads(out)
    assert err == ""
    opened = Gallery.open(built)
    assert info["photos"] == 40
    assert info["tiles"] == len(opened)
    assert info["clusters"] == info["clusters_kept"] + info["clusters_dropped"]
    assert info["population"]["kept"]["max"] == np.diff(opened.members_start).max()
    assert 0 < info["colour_coverage"] < 1
    assert info["bytes"] == built.stat().st_size
    gallery("info", built)
    out, err = capsys.readouterr()
    assert err == ""
    assert "from 40 photos\nmirrored    all photos may be mirrored\n" in out


def test_coverage_counts_kept_clusters_only(tmp_path: Path, photos: Path) -> None:
    build_gallery([photos], "all.gallery", tile_px=16, drop_percentile=0)
    build_gallery([photos], "few.gallery", tile_px=16, drop_percentile=100)
    every, few = (gallery_info(Gallery.open(f"{name}.gallery")) for name in ("all", "few"))
    assert every["population"]["dropped"] is None
    assert every["clusters_dropped"] == 0
    assert few["colour_coverage"] < every["colour_coverage"]
    fullest = Gallery.open("all.gallery").features.argmax(1)
    assert every["colour_coverage"] == len(set(fullest.tolist())) / 125


def test_html_sheet(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gallery("show", built) == 0
    assert "x.html" in capsys.readouterr().err
    page = Path("x.html").read_text("utf-8")
    opened = Gallery.open(built)
    assert page.count("<figure>") == len(opened.kept)
    large = sum(count > 12 for count in np.diff(opened.members_start))
    assert page.count(" tiles, 12 shown<") == large
    assert page.count("only --match clusters leaves them out") == 2  # and in the statistics
    assert page.count("data:image/jpeg;base64,") == len(opened.kept)
    assert f"Kept: {opened.kept.sum()} clusters" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "prefers-color-scheme: dark" in page
    with pytest.raises(UsageError, match="exists already"):
        gallery("show", built)
    gallery("show", built, "-y", "-o", "x.html")


def test_png_sheet(built: Path) -> None:
    gallery("show", built, "-o", "x.png")
    sheet = np.asarray(cv2.imread("x.png"))
    assert sheet.shape[1] > 1000
    assert sheet.std() > 10


def test_sheets_of_one_cluster(photos: Path) -> None:
    build_gallery([photos], "one.gallery", tile_px=16, clusters=1)
    opened = Gallery.open("one.gallery")
    contact_sheet_html(opened, "one.html")
    contact_sheet_png(opened, "one.png")
    assert "Dropped: 0 clusters" in Path("one.html").read_text()


def test_sheet_that_cannot_be_written(built: Path) -> None:
    with pytest.raises(GalleryError, match=r"cannot write 'none/x\.png'"):
        gallery("show", built, "-o", "none/x.png")
    with pytest.raises(UsageError, match=r"x\.pdf"):
        gallery("show", built, "-o", "x.pdf")


def test_add(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_photos(tmp_path / "new", 5, extension=".png")
    before = Gallery.open(built)
    assert gallery("add", built, "new") == 0
    after = Gallery.open(built)
    assert len(after.sources.photos()) == 45
    assert after.tile_px == before.tile_px
    assert after.options == before.options
    assert "45 photos" in capsys.readouterr().err
    # The same as one build of everything.
    build_gallery(["pictures", "new"], "y.gallery", tile_px=16)
    assert Path("y.gallery").read_bytes() == built.read_bytes()


def test_add_a_gallery(built: Path, tmp_path: Path) -> None:
    """Only photos can be added."""
    write_photos(tmp_path / "new", 2)
    data = built.read_bytes()
    with pytest.raises(GalleryError, match=r"'x\.gallery' is a gallery"):
        gallery("add", built, "new", built)
    assert built.read_bytes() == data


def test_a_sheet_does_not_replace_a_photo(tmp_path: Path) -> None:
    write_photos(tmp_path / "few", 3, extension=".png")
    build_gallery(["few"], "x.gallery", tile_px=16)
    photo = tmp_path / "few" / "0001.png"
    (tmp_path / "link.png").symlink_to(photo)
    data = photo.read_bytes()
    for name in (photo, "link.png"):
        with pytest.raises(UsageError, match="a photo of the gallery"):
            gallery("show", "x.gallery", "-y", "-o", name)
    assert photo.read_bytes() == data


def test_add_when_photos_are_gone(
    built: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "new", 2)
    (photos / "0003.jpg").unlink()
    data = built.read_bytes()
    with pytest.raises(GalleryError, match=r"1 of 40 photos .*0003\.jpg.*-y"):
        gallery("add", built, "new")
    assert built.read_bytes() == data
    gallery("add", built, "new", "-y")
    assert len(Gallery.open(built).sources.photos()) == 41
    assert "gone: 1 file" in capsys.readouterr().err


def test_add_to_a_builtin_gallery(photos: Path) -> None:
    with pytest.raises(UsageError, match="'photos'"):
        gallery("add", "photos", photos)


@pytest.mark.parametrize("verb", ["info", "show", "add"])
def test_no_such_gallery(photos: Path, verb: str) -> None:
    more = [photos] if verb == "add" else []
    with pytest.raises(GalleryError, match="bird"):
        gallery(verb, "bird", *more)
