"""Galleries of folders, files and globs: what is found, what is left out, and what is said."""

from __future__ import annotations

import errno
import json
import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import livemosaic
from livemosaic.errors import GalleryError
from livemosaic.gallery import Gallery, build_gallery, is_of_photos, open_gallery, video_frames
from livemosaic.gallery.full_size import full_size_tiles
from livemosaic.gallery.photo_paths import find_photos
from livemosaic.gallery.recipe import Recipe
from livemosaic.gallery.video_frames import read_photo_file
from livemosaic.media.colour import Colour
from livemosaic.media.frame import Frame
from livemosaic.media.image_reader import BadImage, read_image_file

from .clips import make
from .conftest import ROOT
from .gallery_files import write_photos
from .program import SMALL, Program, clip, needs_jit, without_privileges

SYSTEM = (
    "$RECYCLE.BIN/S-1-5/a.jpg", "#recycle/b.jpg", "d/@eaDir/c.jpg/SYNOPHOTO_THUMB_XL.jpg",
    ".Trash-1000/files/d.jpg", ".thumbnails/e.jpg", "d/Thumbnails/f.jpg", "lost+found/g.jpg",
    "System Volume Information/h.jpg", "d/@Recycle/i.jpg", "RECYCLER/j.jpg", ".@__thumb/k.jpg",
    "My Photos.photoslibrary/resources/derivatives/l.jpg", "Old.photolibrary/Previews/m.jpg",
    "Catalog Previews.lrdata/1/n.jpg", "Music.musiclibrary/Artwork/o.jpg",
)  # fmt: skip
OWN = (
    "a.jpg", "d/b.JPG", "My Photos.photoslibrary/originals/0/c.heic",
    "Old.photolibrary/Masters/2011/d.jpg", "recycling/e.jpg",
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with three photos in `pics`; its cache is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(tmp_path / "cache"))
    write_photos(tmp_path / "pics", 3)
    return tmp_path


def touch(folder: Path, *names: str) -> None:
    """Make empty files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_system_folders_are_left_out(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    touch(disk, *SYSTEM, *OWN)
    found = find_photos([disk])
    assert [Path(path).relative_to(disk).as_posix() for path in found.photos] == sorted(OWN)
    assert len(found.system_folders) == len(SYSTEM)
    # One that is named is meant, also by a glob; one that a glob finds is not.
    assert len(find_photos([disk / "#recycle"]).photos) == 1
    assert len(find_photos([disk / "My Photos.photoslibrary/resources/derivatives"]).photos) == 1
    assert len(find_photos([f"{disk}/d/@eaDir/**/*.jpg"]).photos) == 1
    by_glob = find_photos([f"{disk}/**/*.jpg"])
    assert {Path(path).name for path in by_glob.photos} == {"a.jpg", "d.jpg", "e.jpg"}
    assert any(path.endswith("@eaDir") for path in by_glob.system_folders)
    touch(tmp_path, "bin/#recycle/a.jpg")
    with pytest.raises(GalleryError, match=r"#recycle.*left out; name it"):
        find_photos([tmp_path / "bin"])


def test_links_to_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "mine/a.jpg", "other/b.jpg", "other/c.jpg")
    (tmp_path / "mine" / "one").symlink_to("../other")
    (tmp_path / "mine" / "two").symlink_to("../other")
    (tmp_path / "mine" / "file.jpg").symlink_to("../other/b.jpg")
    found = find_photos([tmp_path / "mine"])
    assert [Path(path).name for path in found.photos] == ["a.jpg", "file.jpg"]
    assert [Path(path).name for path in found.links] == ["one", "two"]
    (tmp_path / "mine" / "a.jpg").unlink()
    (tmp_path / "mine" / "file.jpg").unlink()
    with pytest.raises(GalleryError, match=r"mine/one' is a link to a folder.*; name it"):
        find_photos([tmp_path / "mine"])
    assert len(find_photos([tmp_path / "mine" / "one"]).photos) == 2


def test_links_to_folders_are_told(folder: Path, program: Program) -> None:
    (folder / "pics" / "one").symlink_to("..")
    outcome = program("gallery", "build", "pics", "-o", "x.gallery", "--tile", "16")
    assert "a link to a folder is left out: " in outcome.err
    (folder / "pics" / "two").symlink_to("..")
    outcome = program("gallery", "build", "pics", "-o", "x.gallery", "--tile", "16", "-y")
    assert "2 links to folders are left out, such as " in outcome.err


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("**", 6), ("**/*.jpg", 5), ("pics/**/*.jpg", 4), ("p*/**", 4), ("**/sub/**/d.jpg", 1)],
)
def test_a_glob_follows_no_loops(pattern: str, count: int, folder: Path) -> None:
    sub = folder / "pics" / "sub"
    touch(folder, "pics/sub/d.jpg", "e.jpg", "plain", ".hidden/f.jpg", "pics/.hidden/g.jpg")
    (sub / "back").symlink_to("..")
    (folder / "pics" / "self").symlink_to(".")
    (folder / "again").symlink_to("pics")
    found = find_photos([pattern]).photos
    assert len(found) == count
    assert find_photos([str(folder / pattern)]).photos == found


def test_videos_are_told(folder: Path, program: Program) -> None:
    touch(folder / "pics", "a.MOV", "d/b.mp4")
    assert [Path(path).name for path in find_photos(["pics"]).videos] == ["a.MOV", "b.mp4"]
    outcome = program("gallery", "build", "pics", "-o", "x.gallery", "--tile", "16")
    assert "2 videos are left out, such as " in outcome.err
    assert "b.mp4" not in outcome.err
    outcome = program("gallery", "build", "pics", "-o", "x.gallery", "--tile", "16", "-y", "-v")
    assert "b.mp4" in outcome.err
    with pytest.raises(GalleryError, match=r"no photos .*1 video; add --frames-of-videos"):
        find_photos(["pics/d"])


# ---- what cannot be read -----------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.slow
@needs_jit
@pytest.mark.parametrize("how", ["build", "run", "glob", "two"])
def test_a_folder_that_cannot_be_read(how: str, folder: Path) -> None:
    # On any disk of Linux, `lost+found` is one.
    locked = folder / "pics" / ("lost+found" if how == "run" else "private")
    touch(locked, "x.jpg")
    clip(folder / "in.mp4")
    words: dict[str, list[str | Path]] = {
        "build": ["gallery", "build", "pics", "-o", "g.gallery"],
        "run": ["run", "in.mp4", "out.mp4", *SMALL, "--gallery", "pics"],
        "glob": ["gallery", "build", "pi*", "-o", "g.gallery"],
        "two": ["gallery", "build", "pics", locked, "-o", "g.gallery"],
    }
    locked.chmod(0)
    try:
        outcome = without_privileges(*words[how])
    finally:
        locked.chmod(0o700)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count(f"pics/{locked.name}") == 1
    assert "Permission denied" in outcome.err
    if how == "run":
        assert "warning: " in outcome.err
    else:
        assert len(Gallery.open("g.gallery").sources.photos()) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.slow
@needs_jit
def test_a_file_that_cannot_be_read(folder: Path) -> None:
    write_photos(folder, 1)
    locked = (folder / "0000.jpg").rename(folder / "private.jpg")
    clip(folder / "in.mp4")
    locked.chmod(0)
    words = ["run", "in.mp4", "out.mp4", *SMALL, "--gallery", "pics", "--gallery", locked]
    outcome = without_privileges(*words)
    assert outcome.code == 0, outcome.err
    assert "private.jpg" in outcome.err
    assert "Permission denied" in outcome.err


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize("name", ["private/x.jpg", "private/*.jpg"])
def test_a_name_in_a_folder_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    """It is not said to be wrong."""
    touch(tmp_path / "private", "x.jpg")
    (tmp_path / "private").chmod(0)
    try:
        outcome = without_privileges("gallery", "build", tmp_path / name, "-o", tmp_path / "x")
    finally:
        (tmp_path / "private").chmod(0o700)
    assert outcome.code == 1
    assert re.search(r"private/.\.jpg.*Permission denied; check", outcome.err)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.slow
def test_nothing_can_be_read(folder: Path) -> None:
    (folder / "pics").chmod(0)
    try:
        outcome = without_privileges("gallery", "build", "pics", "-o", "g.gallery")
    finally:
        (folder / "pics").chmod(0o700)
    assert outcome.code == 1
    assert len(outcome.lines) == 1
    assert "no photos in 'pics': folder" in outcome.err
    assert "Permission denied" in outcome.err


def test_a_folder_that_fails_in_the_middle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that is damaged; root has no other way here."""
    touch(folder / "pics", "bad/x.jpg", "@eaDir/x.jpg", "#recycle/x.jpg")
    scan = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith(("bad", "@eaDir", "#recycle")):
            raise OSError(5, "Input/output error", path)
        return scan(path)

    monkeypatch.setattr("os.scandir", scandir)
    report = build_gallery(["pics"], "g.gallery", tile_px=16, clusters=1)
    assert report.photos == 3
    bad = [str(folder / "pics" / name) for name in ("#recycle", "@eaDir", "bad")]
    assert report.unreadable == tuple((path, "Input/output error") for path in bad)
    assert report.system_folders == ()


def test_all_that_cannot_be_read_is_listed_when_asked(folder: Path, program: Program) -> None:
    touch(folder / "pics", *(f"bad{n:02d}.jpg" for n in range(25)))
    clip(folder / "in.mp4")
    for number, words in enumerate(
        (
            ["gallery", "build", "pics", "-o", "g.gallery", "-y", "--tile", "16"],
            ["run", "in.mp4", "out.mp4", "-y", *SMALL, "--gallery", "pics"],
        )
    ):
        outcome = program(*words)
        assert outcome.code == 0
        assert "-v lists them" in outcome.err
        assert "25 files" in outcome.err
        for path in (folder / "cache").glob("folder-*"):
            path.unlink()
        outcome = program(*words, "-v")
        assert outcome.err.count("the file is empty") == 25 + number


# ---- several folders, files and globs ----------------------------------------------------


def photos_of(gallery: Gallery) -> set[str]:
    return {Path(path).name for path in gallery.sources.photos()}


def test_a_gallery_of_several(folder: Path) -> None:
    write_photos(folder / "more", 5, extension=".png")
    every = {f"000{n}.jpg" for n in range(3)} | {f"000{n}.png" for n in range(5)}
    assert photos_of(open_gallery(["pics", Path("more")])) == every
    assert photos_of(open_gallery(["pics", "more/*[01].png"])) == every - {
        f"000{n}.png" for n in (2, 3, 4)
    }
    one = open_gallery("pics/*.jpg")
    assert photos_of(one) == {f"000{n}.jpg" for n in range(3)}
    assert photos_of(open_gallery("pics/0001.jpg")) == {"0001.jpg"}
    assert open_gallery(["pics/*.jpg"]).path == one.path  # kept
    assert open_gallery(["pics", "more"]).path != open_gallery(["more"]).path
    write_photos(folder / "pics", 4)
    assert len(photos_of(open_gallery("pics/*.jpg"))) == 4
    with pytest.raises(GalleryError, match="no photos at 'nowhere'"):
        open_gallery(["pics", "nowhere"])


def test_what_a_gallery_is_made_of(folder: Path) -> None:
    (folder / "named.txt").write_bytes((folder / "pics" / "0000.jpg").read_bytes())
    (folder / "text.jpg").write_text("hello")
    touch(folder, "odd[1].gallery")
    for name, expected in {
        "photos": False, "pics": True, "./pics/*.jpg": True, "named.txt": True, "text.jpg": False,
        "nowhere": False, "odd[1].gallery": False,
    }.items():  # fmt: skip
        assert is_of_photos(name) is expected, name
    assert is_of_photos(["a", "b"])


def test_a_photo_is_no_broken_gallery(folder: Path, program: Program) -> None:
    """The advice of before led to writing over it."""
    before = (folder / "pics" / "0000.jpg").read_bytes()
    outcome = program("gallery", "info", "pics/0000.jpg", "--json")
    assert json.loads(outcome.out)["photos"] == 1
    (folder / "text.jpg").write_text("hello")
    outcome = program("gallery", "info", "text.jpg")
    assert outcome.code == 1
    assert "-o my.gallery" in outcome.err
    assert (folder / "pics" / "0000.jpg").read_bytes() == before


@needs_jit
def test_several_of_a_run(folder: Path, program: Program) -> None:
    """On the command line, in the settings file, and in Python."""
    write_photos(folder / "more", 5, extension=".png")
    clip(folder / "in.mp4")
    run = ["run", "in.mp4", "-y", "out.mp4", *SMALL]
    outcome = program(*run, "--gallery", "pics", "--gallery", "more/*.png")
    assert outcome.code == 0, outcome.err
    assert "building a gallery of the photos in 'pics, *.png'" in outcome.err
    (folder / "c.toml").write_text('[run]\ngallery = ["pics", "more/*.png"]\n')
    outcome = program(*run, "--config", "c.toml", "--no-config")
    assert outcome.code == 0, outcome.err
    assert "building" not in outcome.err  # kept
    livemosaic.render(
        "in.mp4", "out.mp4", gallery=["pics", "more/*.png"], overwrite=True, scale=2, tile=16
    )
    assert len(list((folder / "cache").glob("folder-*"))) == 1
    for wrong in ("[]", "[1]", '""', '["pics", ""]'):
        (folder / "c.toml").write_text(f"[run]\ngallery = {wrong}\n")
        outcome = program(*run, "--config", "c.toml", "--no-config")
        assert outcome.code == 2
        assert "must be text, or a list of texts" in outcome.err


def test_a_photo_that_becomes_readable(folder: Path) -> None:
    """Its size and time are the same, as after `chmod`."""
    missing = str(folder / "pics" / "0001.jpg")

    def denied(path: str) -> bytes:
        if path == missing:
            raise BadImage(os.strerror(errno.EACCES))
        return read_image_file(path)

    access = os.access
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_frames, "read_image_file", denied)
        patch.setattr(os, "access", lambda path, mode: path != missing and access(path, mode))
        first = open_gallery("pics")
        assert open_gallery("pics").path == first.path  # kept
    assert "0001.jpg" not in photos_of(first)
    assert photos_of(open_gallery("pics")) == photos_of(first) | {"0001.jpg"}


def test_remains_in_the_cache_are_removed(folder: Path) -> None:
    open_gallery("pics")
    left = folder / "cache" / f".folder-old.gallery.{'0' * 16}.part"
    left.write_bytes(bytes(1000))
    write_photos(folder / "pics", 4)
    open_gallery("pics")
    assert not left.exists()


# ---- frames of videos --------------------------------------------------------------------


def colours(path: Path, count: int = 50, **options: Any) -> Path:
    """A video at 25 frames/s whose red rises by 5 levels per frame."""
    frames = [
        Frame.from_bgr(
            np.full((48, 64, 3), (40, 90, 5 * n), np.uint8), colour=Colour("bt601"), pts=n
        )
        for n in range(count)
    ]
    return make(path, frames, tags=(1, 1, 5, 1), **options)


def reds(gallery: Gallery) -> list[float]:
    """The red of each tile, in the order of the videos' times."""
    names = [source.path for source in gallery.sources]
    order = sorted(range(len(names)), key=lambda n: float(names[n].rpartition("=")[2]))
    return [float(gallery.tiles[n, ..., 2].mean()) for n in order]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.avi", "a.webm"])
def test_frames_of_videos(name: str, folder: Path) -> None:
    codec = "libvpx-vp9" if name == "a.webm" else "libx264"
    colours(folder / name, codec=codec)
    report = build_gallery(["."], "g.gallery", tile_px=16, crops=0)
    assert (report.photos, report.videos) == (3, (str(folder / name),))
    report = build_gallery([name], "g.gallery", tile_px=16, crops=0, frames_of_videos=5)
    assert (report.photos, report.unreadable, report.videos) == (5, (), ())
    gallery = Gallery.open("g.gallery")
    # In the middle of each fifth of 2 s: the frames 5, 15, ...
    assert np.abs(np.array(reds(gallery)) - [25, 75, 125, 175, 225]).max() <= 6
    assert gallery.sources.photos()[0] == f"{folder / name}#t=0.180"
    larger = full_size_tiles(gallery, np.arange(5), (40, 40))
    assert sorted(larger) == list(range(5))
    assert larger[0].shape == (40, 40, 3)


@pytest.mark.slow  # FFmpeg makes a table of colours, which takes seconds
@pytest.mark.parametrize(("name", "levels"), [("pq", 3), ("hlg", 4.5), ("wide", 3)])
def test_frames_of_hdr_videos(name: str, levels: float, folder: Path) -> None:
    """They look like those of the film that the HDR videos were made of."""
    tiles = []
    for film in ("sdr", name):
        path = ROOT / "tests" / "corpus" / "05-hdr" / f"{film}.mkv"
        build_gallery([path], f"{film}.gallery", tile_px=48, crops=0, frames_of_videos=3)
        gallery = Gallery.open(f"{film}.gallery")
        names = [source.path for source in gallery.sources]
        tiles.append(gallery.tiles[sorted(range(3), key=names.__getitem__)].astype(int))
    assert np.abs(tiles[0] - tiles[1]).mean() < levels


def test_frames_of_odd_videos(folder: Path) -> None:
    """Turned, of oblong pixels, of one frame, of fewer frames than asked for, and broken."""
    (folder / "v").mkdir()
    colours(folder / "v" / "turned.mp4", rotation=90)
    colours(folder / "v" / "oblong.mkv", aspect=Fraction(2))
    colours(folder / "v" / "one.mp4", 1)
    colours(folder / "v" / "few.mp4", 3)
    (folder / "v" / "broken.mp4").write_bytes(b"no video" * 100)
    (folder / "v" / "empty.mov").touch()
    report = build_gallery(["v"], "g.gallery", tile_px=16, crops=0, frames_of_videos=4)
    assert report.photos == 4 + 4 + 1 + 3
    assert [Path(path).name for path, _ in report.unreadable] == ["broken.mp4", "empty.mov"]
    gallery = open_gallery("v", recipe=Recipe(frames_of_videos=4, fit="stretch", crops=0))
    size = {Path(path.split("#")[0]).name: crop[2:] for path, crop in gallery.sources}
    assert size["turned.mp4"] == (48, 64)
    assert size["oblong.mkv"] == (128, 48)
    with pytest.raises(GalleryError, match="none of 1 files can be read"):
        build_gallery(["v/broken.mp4"], "g.gallery", frames_of_videos=2)


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/x.mp4#t=1.0", "webcam#t=1.0", "-#t=1.0"])
def test_a_strangers_gallery_opens_files_only(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livemosaic.sources.open_source", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(BadImage, match="No such file"):
        read_photo_file(name)


@pytest.mark.parametrize("digits", [2, 14, 400])
def test_a_frame_behind_the_end_of_its_video(digits: int, folder: Path) -> None:
    colours(folder / "a.mp4")
    with pytest.raises(BadImage, match="the video ends before this frame"):
        read_photo_file(f"a.mp4#t={'9' * digits}.0")


@needs_jit
def test_frames_of_a_run(folder: Path, program: Program) -> None:
    colours(folder / "pics" / "a.mp4")
    run = ["run", "pics/a.mp4", "-y", "out.mp4", *SMALL, "--gallery", "pics"]
    outcome = program(*run)
    assert "a video is left out: " in outcome.err
    assert "--frames-of-videos" in outcome.err
    outcome = program(*run, "--frames-of-videos", "5")
    assert outcome.code == 0
    assert "left out" not in outcome.err
    outcome = program("gallery", "build", "pics", "-o", "g.gallery", "--frames-of-videos", "5")
    assert outcome.code == 0
    write_photos(folder / "more", 2, extension=".png")
    colours(folder / "more" / "b.mp4")
    outcome = program("gallery", "add", "g.gallery", "more")
    assert outcome.code == 0, outcome.err
    photos = Gallery.open("g.gallery").sources.photos()
    assert len(photos) == 3 + 5 + 2 + 5
    (folder / "pics" / "a.mp4").unlink()
    outcome = program("gallery", "add", "g.gallery", "more")
    assert outcome.code == 1
    assert "5 of 15 photos" in outcome.err
