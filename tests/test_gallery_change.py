"""Photos leave a gallery file, and changed ones are read again."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from livemosaic.errors import GalleryError
from livemosaic.gallery import Gallery, build_gallery, refresh_gallery, remove_photos

from .gallery_files import encode, heic, photo, write_photos
from .program import Program, clip, without_privileges


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(Path("photos/a"), 12, width=120, height=160)
    write_photos(Path("photos/b"), 12, extension=".png")
    Path("photos/b/x.heic").write_bytes(heic(photo(50)))


def build(**options: object) -> Gallery:
    build_gallery(["photos"], "x.gallery", tile_px=16, **options)  # type: ignore[arg-type]
    return Gallery.open("x.gallery")


def names(gallery: Gallery) -> list[str]:
    return [os.path.relpath(path, "photos") for path in gallery.sources.photos()]


def tiles_by_photo(gallery: Gallery) -> dict[tuple[str, tuple[int, ...]], bytes]:
    return {(source.path, source.crop): gallery.tiles[i].tobytes()
            for i, source in enumerate(gallery.sources)}  # fmt: skip


@pytest.mark.parametrize("crops", [0, 3])
def test_removed_as_if_never_built(crops: int) -> None:
    """With a number of crops the file is that of a build without these photos."""
    build(crops=crops)
    report = remove_photos("x.gallery", ["photos/a/0003.jpg", "photos/b"])
    assert (report.gallery.photos, len(report.removed), report.changed) == (11, 14, ())
    shutil.rmtree("photos/b")
    os.unlink("photos/a/0003.jpg")
    build_gallery(["photos"], "y.gallery", tile_px=16, crops=crops)
    assert Path("x.gallery").read_bytes() == Path("y.gallery").read_bytes()


def test_removed_photos_need_not_be_there() -> None:
    before = build()
    shutil.rmtree("photos")
    report = remove_photos("x.gallery", "photos/a/*1.jpg")
    assert [os.path.basename(path) for path in report.removed] == ["0001.jpg", "0011.jpg"]
    after = Gallery.open("x.gallery")
    assert set(names(before)) - set(names(after)) == {"a/0001.jpg", "a/0011.jpg"}
    assert tiles_by_photo(after).items() <= tiles_by_photo(before).items()
    assert np.count_nonzero(~after.added_crops) == 23
    assert after.options == before.options


def test_frames_of_videos_are_removed() -> None:
    clip(Path("photos/c.mp4"))
    build(frames_of_videos=3)
    assert len(remove_photos("x.gallery", "photos/c.mp4").removed) == 3
    assert len(Gallery.open("x.gallery").sources.photos()) == 25


@pytest.mark.parametrize("paths", [["none.jpg"], ["photos/a/0001.jpg", "z*"], ["photos/a/0"]])
def test_paths_of_no_photo_change_nothing(paths: list[str]) -> None:
    build()
    before = Path("x.gallery").read_bytes()
    with pytest.raises(GalleryError, match=paths[-1].replace("*", ".")):
        remove_photos("x.gallery", paths)
    with pytest.raises(GalleryError, match="would be left"):
        remove_photos("x.gallery", "photos")
    assert Path("x.gallery").read_bytes() == before


def test_refresh() -> None:
    before = build(crops=0)
    os.unlink("photos/a/0000.jpg")
    Path("photos/a/0001.jpg").write_bytes(encode(photo(77), ".jpg"))
    # Another photo of the same size, with the old time: the time differs in nanoseconds only.
    path = Path("photos/b/x.heic")
    path.write_bytes(heic(photo(78)))
    Path("photos/b/0002.png").write_bytes(b"no image")
    report = refresh_gallery("x.gallery")
    assert [os.path.basename(path) for path in report.removed] == ["0000.jpg"]
    changed = {"0001.jpg", "0002.png", "x.heic"}
    assert {os.path.basename(path) for path in report.changed} == changed
    assert [os.path.basename(path) for path, _ in report.gallery.unreadable] == ["0002.png"]
    after = Gallery.open("x.gallery")
    same = tiles_by_photo(after).items() & tiles_by_photo(before).items()
    assert (len(after), len(same)) == (23, 21)
    os.unlink("photos/b/0002.png")
    build_gallery(["photos"], "y.gallery", tile_px=16, crops=0)
    assert Path("x.gallery").read_bytes() == Path("y.gallery").read_bytes()
    again = refresh_gallery("x.gallery")
    assert (again.removed, again.changed, again.gallery.photos) == ((), (), 23)


def test_lettering_stays_unmirrored() -> None:
    before = build()
    lettering = before.source_photo[~before.mirrors]
    assert not len(lettering)
    build(mirror=False)
    remove_photos("x.gallery", "photos/a/0000.jpg")
    assert not Gallery.open("x.gallery").mirrors.any()


def test_a_missing_folder_may_be_a_drive() -> None:
    build()
    before = Path("x.gallery").read_bytes()
    os.rename("photos/b", "elsewhere")
    with pytest.raises(GalleryError, match=r"folder .*b.* is gone; .*missing_folders=True"):
        refresh_gallery("x.gallery")
    assert Path("x.gallery").read_bytes() == before
    assert len(refresh_gallery("x.gallery", missing_folders=True).removed) == 13


def test_an_empty_folder_may_be_where_a_drive_was() -> None:
    build()
    before = Path("x.gallery").read_bytes()
    os.rename("photos/b", "elsewhere")
    os.mkdir("photos/b")
    with pytest.raises(GalleryError, match=r"folder .*b.* is empty; .*missing_folders=True"):
        refresh_gallery("x.gallery")
    assert Path("x.gallery").read_bytes() == before
    Path("photos/b/other.txt").touch()  # it is there, so its photos were deleted
    assert len(refresh_gallery("x.gallery").removed) == 13


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_photos_of_a_folder_that_cannot_be_read_are_not_gone() -> None:
    build()
    before = Path("x.gallery").read_bytes()
    os.chmod("photos/b", 0)
    try:
        outcome = without_privileges("gallery", "refresh", "x.gallery")
    finally:
        os.chmod("photos/b", 0o700)
    assert outcome.code == 1
    assert re.search(r"folder .*b.* cannot be read: Permission .*-y to leave out", outcome.err)
    assert Path("x.gallery").read_bytes() == before


def test_the_command_line_shows_its_flag(program: Program) -> None:
    build()
    os.rename("photos/b", "elsewhere")
    outcome = program("gallery", "refresh", "x.gallery")
    assert outcome.code == 1
    assert "mount its drive, or add -y to leave out its photos" in outcome.err


def test_commands(program: Program) -> None:
    build()
    outcome = program("gallery", "remove", "x.gallery", "photos/a/0001.jpg")
    assert (outcome.code, outcome.out) == (0, "")
    assert "removed: 1 file" in outcome.err
    assert "tiles of 24 photos" in outcome.err
    os.unlink("photos/a/0002.jpg")
    os.utime("photos/a/0003.jpg", ns=(1, 1))
    outcome = program("gallery", "refresh", "x.gallery")
    assert outcome.code == 0
    assert "gone: 1 file" in outcome.err
    assert "changed: 1 file" in outcome.err
    outcome = program("gallery", "refresh", "x.gallery")
    assert "no photo has changed" in outcome.err
    assert program("gallery", "refresh", "x.gallery", "--quiet").err == ""
