"""Folders that are watched: photos that appear, change or go while a mosaic runs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import Gallery, LiveGallery, OptionError, Pipeline
from livemosaic.gallery import Recipe, build_gallery
from livemosaic.gallery.batches import Cut, file_cut
from livemosaic.gallery.folder_reader import (
    FolderReader,
    Joined,
    Left,
    News,
    Reading,
    Unreadable,
    kept_file,
    next_look_s,
)
from livemosaic.gallery.folder_tree import FolderTree
from livemosaic.gallery.tiles import Tiles
from livemosaic.gallery.watch import FolderWatcher, check_folders, receive, send

from . import fakes
from .gallery_files import encode, heic, oriented, photo, write_photos
from .program import Program, spawn

pytestmark = pytest.mark.alone

RECIPE = Recipe(16, crops=0)
wait_until = partial(fakes.wait_until, timeout_s=60)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Folder:
    """A folder and its reader; `news` is what two looks find, a settling time apart."""

    def __init__(self, path: Path, recipe: Recipe = RECIPE, **options: Any) -> None:
        path.mkdir(exist_ok=True)
        self.path, self.clock = path, Clock()
        self.reader = FolderReader(str(path), recipe, clock=self.clock, **options)

    def write(self, name: str, data: bytes) -> Path:
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_bytes(data)
        return self.path / name

    def look(self, *, after_s: float = 0.2) -> list[News]:
        self.clock.now_s += after_s
        return list(self.reader.look())

    def news(self) -> list[News]:
        return self.look() + self.look()


def joined(news: list[News]) -> list[str]:
    return [
        os.path.basename(name) for it in news if isinstance(it, Joined) for name in it.batch.names
    ]


def left(news: list[News]) -> list[str]:
    return [os.path.basename(name) for it in news if isinstance(it, Left) for name in it.paths]


def unreadable(news: list[News]) -> list[str]:
    return [os.path.basename(it.path) for it in news if isinstance(it, Unreadable)]


def read(news: list[News]) -> list[str]:
    return [os.path.basename(it.path) for it in news if isinstance(it, Reading) and it.path]


def stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "party")


def test_photos_of_every_kind(folder: Folder) -> None:
    """As `gallery build` takes them: by their extension, upright, also in subfolders."""
    folder.write("a.jpg", encode(photo(1), ".jpg"))
    folder.write("b.HEIC", heic(photo(2)))
    folder.write("sub/c.png", encode(photo(3), ".png"))
    folder.write("turned.jpg", oriented(photo(4), ".jpg", 6))
    folder.write(".hidden.jpg", encode(photo(5), ".jpg"))
    folder.write("notes.txt", b"text")
    folder.write("@eaDir/thumb.jpg", encode(photo(6), ".jpg"))
    folder.write(".waiting/guest.jpg", encode(photo(7), ".jpg"))
    found = folder.news()
    assert sorted(joined(found)) == ["a.jpg", "b.HEIC", "c.png", "turned.jpg"]
    assert folder.look() == []
    build_gallery(folder.path, folder.path.parent / "x.gallery", tile_px=16, crops=0)
    built = Gallery.open(folder.path.parent / "x.gallery")
    tiles = {built.sources[i].path: built.tiles[i] for i in range(len(built))}
    for it in found:
        if isinstance(it, Joined):
            np.testing.assert_array_equal(it.batch.arrays["tiles"][0], tiles[it.batch.names[0]])


def test_leaving_does_not_wait_for_a_photo_that_is_read(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine, reading one may take many seconds."""
    read_on = threading.Event()
    paths = [folder.write(name, encode(photo(1), ".jpg")) for name in ("a.jpg", "b.jpg")]
    os.utime(paths[0], (1, 1))  # the first one to be read

    def slowly(recipe: Recipe) -> Cut:
        def cut(path: str) -> tuple[Tiles, bool]:
            assert path == str(paths[0]) or read_on.wait(60)
            return file_cut(recipe)(path)

        return cut

    monkeypatch.setattr("livemosaic.gallery.folder_reader.file_cut", slowly)
    assert folder.look() == []
    news: list[News] = []
    folder.clock.now_s += 0.2
    for it in folder.reader.look():
        news.append(it)
        if joined(news) and paths[0].exists():
            paths[0].unlink()
        if left(news):
            read_on.set()
    kinds = [type(it) for it in news if not isinstance(it, Reading)]
    assert kinds == [Joined, Left, Joined]
    assert (joined(news), left(news)) == (["a.jpg", "b.jpg"], ["a.jpg"])
    assert folder.news() == []


def test_a_copy_is_read_when_it_is_whole(folder: Folder) -> None:
    data = encode(photo(1, width=800, height=600), ".jpg")
    path = folder.write("a.jpg", data[:2000])
    assert folder.look() == []
    for size in (5000, 9000, len(data) - 1000):
        path.write_bytes(data[:size])
        assert joined(folder.look()) == []
    path.write_bytes(data)
    assert joined(folder.look()) == []  # not settled
    assert joined(folder.look()) == ["a.jpg"]


@pytest.mark.parametrize("kind", ["jpg", "png", "heic"])
def test_a_copy_that_pauses(folder: Folder, kind: str) -> None:
    """It looks settled, cannot be read, and is given some time."""
    picture = photo(1, width=400, height=300)
    data = heic(picture) if kind == "heic" else encode(picture, f".{kind}")
    path = folder.write(f"a.{kind}", data[: len(data) // 2])
    assert joined(folder.news()) == unreadable(folder.look(after_s=2)) == []
    path.write_bytes(data)
    assert joined(folder.news()) == [path.name]


def test_a_damaged_file_is_reported_once(folder: Folder) -> None:
    path = folder.write("a.jpg", b"no photo")
    assert unreadable(folder.news()) == []
    assert unreadable(folder.look(after_s=6)) == ["a.jpg"]
    assert unreadable(folder.look(after_s=6)) == []
    path.write_bytes(encode(photo(1), ".jpg"))
    assert joined(folder.news()) == ["a.jpg"]


def test_changes_and_removals(folder: Folder) -> None:
    path = folder.write("a.jpg", encode(photo(1), ".jpg"))
    other = folder.write("b.jpg", encode(photo(2), ".jpg"))
    assert sorted(joined(folder.news())) == ["a.jpg", "b.jpg"]
    path.write_bytes(encode(photo(3), ".jpg"))
    assert joined(folder.news()) == ["a.jpg"]
    other.rename(folder.path / "c.jpg")
    found = folder.news()
    assert (left(found), joined(found)) == (["b.jpg"], ["c.jpg"])
    path.unlink()
    assert left(folder.look()) == ["a.jpg"]


def test_a_folder_that_is_away_keeps_its_photos(folder: Folder) -> None:
    """Its drive may come back. It is reported once."""
    folder.write("a.jpg", encode(photo(1), ".jpg"))
    folder.news()
    for _ in range(2):
        folder.path.rename(folder.path.parent / "away")
        assert unreadable(folder.look()) == ["party"]
        assert folder.news() == []
        (folder.path.parent / "away").rename(folder.path)
        assert folder.news() == []
    folder.write("b.jpg", encode(photo(2), ".jpg"))
    assert joined(folder.news()) == ["b.jpg"]


def test_a_drive_that_is_unmounted_leaves_an_empty_folder(tmp_path: Path) -> None:
    """On the device of the folder around it."""
    folder, device = tmp_path / "stick", [1]
    (folder / "sub").mkdir(parents=True)
    path = folder / "sub" / "a.jpg"
    path.touch()
    before = os.stat(folder)

    def stat(name: str) -> os.stat_result:
        values = list(os.stat(name))
        values[2] = device[0]
        return os.stat_result(values, {"st_mtime_ns": os.stat(name).st_mtime_ns})

    tree = FolderTree(str(folder), stat=stat)
    assert tree.look().files == [str(path)]
    for is_there in (False, True, False):
        device[0] = 1 if is_there else 2
        if is_there:
            (tmp_path / "away").rename(folder / "sub")
        else:
            (folder / "sub").rename(tmp_path / "away")
        changes = tree.look()
        assert (changes.files, changes.gone) == ([], [])
        assert len(changes.away) == (not is_there)
        assert set(tree.photos) == {str(path)}
    assert before.st_ino == os.stat(folder).st_ino


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="everything can be read")
def test_a_subfolder_that_cannot_be_read_keeps_its_photos(folder: Folder) -> None:
    path = folder.write("sub/a.jpg", encode(photo(1), ".jpg"))
    folder.news()
    path.parent.chmod(0)
    try:
        assert folder.news() == []
    finally:
        path.parent.chmod(0o700)


def test_in_the_order_in_which_they_came(folder: Folder) -> None:
    for number, name in enumerate(["z.jpg", "b.jpg", "m.jpg"]):
        folder.write(name, encode(photo(number), ".jpg"))
        folder.look(after_s=0.05)
    assert joined(folder.look()) == ["z.jpg", "b.jpg", "m.jpg"]


def test_kept_for_the_next_start(tmp_path: Path) -> None:
    """What is as it was is not read again."""
    folder = Folder(tmp_path / "party", Recipe(16))
    write_photos(folder.path, 6, width=200, height=200)
    first = folder.news()
    assert list(folder.reader.save()) == []
    assert not kept_file(str(folder.path)).exists()
    folder.clock.now_s += 3
    assert list(folder.reader.save()) == []
    kept = Gallery.open(kept_file(str(folder.path)))
    assert kept_file(str(folder.path)) == tmp_path / "party.watched.gallery"
    assert len(kept.sources.photos()) == len(joined(first)) == 6
    (folder.path / "0000.jpg").unlink()
    (folder.path / "0001.jpg").write_bytes(encode(photo(50), ".jpg"))
    folder.write("new.jpg", encode(photo(51), ".jpg"))
    again = Folder(tmp_path / "party", Recipe(16))
    assert len(joined(list(again.reader.begin()))) == 4
    assert sorted(joined(again.news())) == ["0001.jpg", "new.jpg"]
    assert list(again.reader.save(now=True)) == []
    names = Gallery.open(kept_file(str(folder.path))).sources.photos()
    assert [os.path.basename(name) for name in names] == [
        *(f"000{number}.jpg" for number in range(1, 6)), "new.jpg",
    ]  # fmt: skip
    other = Folder(tmp_path / "party", Recipe(24))
    assert list(other.reader.begin()) == []


def test_photos_that_look_the_same_do_not_join_again(tmp_path: Path) -> None:
    """File systems of the network and of drives change times, and so do programs."""
    folder = Folder(tmp_path / "party")
    path = folder.write("a.jpg", encode(photo(1), ".jpg"))
    assert joined(folder.news()) == ["a.jpg"]
    for saved in (False, True):
        if saved:
            assert list(folder.reader.save(now=True)) == []
        os.utime(path, (1e9 + saved, 1e9 + saved))
        found = folder.news()
        assert (joined(found), read(found)) == ([], ["a.jpg"])
    assert list(folder.reader.save(now=True)) == []
    again = Folder(tmp_path / "party")
    assert joined(list(again.reader.begin())) == ["a.jpg"]
    assert again.news() == []


def test_what_the_gallery_has_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "party"
    write_photos(path, 2)
    known = {str(it): stamp(it) for it in path.iterdir()}
    folder = Folder(path, known=known)
    assert list(folder.reader.begin()) == folder.news() == []
    (path / "0000.jpg").unlink()
    (path / "0001.jpg").write_bytes(encode(photo(9), ".jpg"))
    found = folder.news()
    assert (left(found), joined(found)) == (["0000.jpg"], ["0001.jpg"])


def test_what_left_while_a_process_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "party"
    write_photos(path, 1)
    names = [str(path / name) for name in ("0000.jpg", "gone.jpg")]
    folder = Folder(path, joined=[*names, str(tmp_path / "other" / "a.jpg")])
    assert left(list(folder.reader.begin())) == ["gone.jpg"]


def test_a_gallery_file_that_cannot_be_written_is_tried_again(folder: Folder) -> None:
    """Such as on a full disk. It is reported once."""
    folder.write("a.jpg", encode(photo(1), ".jpg"))
    folder.news()
    file = kept_file(str(folder.path))
    file.mkdir()
    folder.clock.now_s += 3
    assert unreadable(list(folder.reader.save())) == ["party.watched.gallery"]
    for _ in range(2):
        folder.clock.now_s += 61
        assert list(folder.reader.save()) == []
    file.rmdir()
    folder.clock.now_s += 3
    assert list(folder.reader.save()) == []
    assert not file.exists()  # not at each look
    folder.clock.now_s += 61
    assert list(folder.reader.save()) == []
    assert len(Gallery.open(file).sources.photos()) == 1


def test_a_gallery_file_that_cannot_be_replaced(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one of another user. It has no copies with numbers, and is reported once."""

    def replace(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    folder.write("a.jpg", encode(photo(1), ".jpg"))
    folder.news()
    assert list(folder.reader.save(now=True)) == []
    monkeypatch.setattr(os, "replace", replace)
    for number, reported in enumerate((["party.watched.gallery"], [], [])):
        folder.write(f"{number}.jpg", encode(photo(number), ".jpg"))
        folder.news()
        assert unreadable(list(folder.reader.save(now=True))) == reported
    assert sorted(os.listdir(folder.path.parent)) == ["party", "party.watched.gallery"]


def test_a_folder_without_a_place_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a drive: its file is in the user's cache folder."""
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    file = kept_file(str(tmp_path / "party"))
    assert file.parent == tmp_path / "cache"
    assert file != kept_file(str(tmp_path / "other"))


def test_a_photo_that_becomes_unreadable_is_not_kept(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "party")
    folder.write("b.jpg", encode(photo(2), ".jpg"))
    path = folder.write("a.jpg", encode(photo(1), ".jpg"))
    folder.news()
    assert list(folder.reader.save(now=True)) == []
    path.write_bytes(b"none")
    folder.news()
    assert unreadable(folder.look(after_s=6)) == ["a.jpg"]
    (folder.path / "b.jpg").touch()
    folder.news()
    assert list(folder.reader.save(now=True)) == []
    names = Gallery.open(kept_file(str(folder.path))).sources.photos()
    assert [os.path.basename(name) for name in names] == ["b.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_of_all_kinds(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "party\n\udcff")
    names = ["a\nb.jpg", "\udcff.jpg", "'\"$(x).jpg", "#t=1.0.jpg"]
    for number, name in enumerate(names):
        folder.write(name, encode(photo(number), ".jpg"))
    assert sorted(joined(folder.news())) == sorted(names)
    assert list(folder.reader.save(now=True)) == []
    again = Folder(folder.path)
    assert sorted(joined(list(again.reader.begin()))) == sorted(names)


@pytest.mark.skipif(os.name == "nt", reason="needs rights")
def test_links(folder: Folder) -> None:
    """Those to photos count; those to folders, in circles or to nothing do not."""
    folder.write("sub/a.jpg", encode(photo(1), ".jpg"))
    (folder.path / "link.jpg").symlink_to(folder.path / "sub" / "a.jpg")
    (folder.path / "circle").symlink_to(folder.path)
    (folder.path / "loop.jpg").symlink_to("loop.jpg")
    assert sorted(joined(folder.news())) == ["a.jpg", "link.jpg"]
    assert unreadable(folder.look(after_s=6)) == ["loop.jpg"]


def test_a_file_that_grows_for_ever_is_not_read(folder: Folder) -> None:
    path = folder.write("a.jpg", encode(photo(1), ".jpg")[:100])
    for _ in range(20):
        with path.open("ab") as file:
            file.write(bytes(1000))
        assert folder.look() == []


def test_most_looks_are_at_folders_alone(tmp_path: Path) -> None:
    """In a folder of 20,000 photos, a look at each file takes longer than a second allows."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").touch()
    tree, looked = FolderTree(str(tmp_path)), partial(_files, at_files=False)
    assert looked(tree) == ["a.jpg"]
    (tmp_path / "sub" / "b.jpg").write_bytes(b"b")
    assert looked(tree) == ["b.jpg"]
    for path in (tmp_path, tmp_path / "sub"):
        os.utime(path, (1e9, 1e9))  # no change since
    assert looked(tree) == []
    (tmp_path / "a.jpg").write_bytes(b"a")
    os.utime(tmp_path, (1e9, 1e9))
    assert looked(tree) == []
    assert looked(tree, [str(tmp_path / "a.jpg")]) == ["a.jpg"]
    (tmp_path / "a.jpg").write_bytes(b"aa")
    assert _files(tree) == ["a.jpg"]
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "new").replace(tmp_path / "sub" / "b.jpg")
    assert looked(tree) == ["b.jpg"]
    shutil.rmtree(tmp_path / "sub")
    assert [os.path.basename(path) for path in tree.look(at_files=False).gone] == ["b.jpg"]
    assert set(tree.photos) == {str(tmp_path / "a.jpg")}


def _files(tree: FolderTree, unsettled: Sequence[str] = (), *, at_files: bool = True) -> list[str]:
    changes = tree.look(unsettled, at_files=at_files)
    return [os.path.basename(path) for path in changes.files]


def test_what_was_there_at_the_start_is_old(tmp_path: Path) -> None:
    """For the spotlight; not if the process starts again after a crash."""
    for name, skip in (("a", None), ("b", {"crashed.jpg": (1, 1)})):
        folder = Folder(tmp_path / name, skip=skip)
        old = folder.write("old.png", encode(photo(1), ".png"))
        list(folder.reader.begin())
        (first,) = (it for it in folder.news() if isinstance(it, Joined))
        assert list(first.old) == ([str(old)] if skip is None else [])
        folder.write("new.png", encode(photo(2), ".png"))
        (second,) = (it for it in folder.news() if isinstance(it, Joined))
        assert second.batch.names
        assert not second.old


def test_a_file_that_is_no_gallery_is_not_replaced(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "party")
    folder.write("a.jpg", encode(photo(1), ".jpg"))
    kept_file(str(folder.path)).write_bytes(b"precious")
    assert list(folder.reader.begin()) == []
    assert joined(folder.news()) == ["a.jpg"]
    assert unreadable(list(folder.reader.save(now=True))) == ["party.watched.gallery"]
    assert kept_file(str(folder.path)).read_bytes() == b"precious"


def test_the_last_photo_leaves_no_file(folder: Folder) -> None:
    path = folder.write("a.jpg", encode(photo(1), ".jpg"))
    folder.news()
    assert list(folder.reader.save(now=True)) == []
    path.unlink()
    folder.look()
    assert list(folder.reader.save(now=True)) == []
    assert not kept_file(str(folder.path)).exists()


def test_photos_that_crashed_are_skipped(tmp_path: Path) -> None:
    """Until they are saved again."""
    path = tmp_path / "party" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(encode(photo(1), ".jpg"))
    folder = Folder(path.parent, skip={str(path): stamp(path)})
    folder.write("b.jpg", encode(photo(2), ".jpg"))
    found = folder.news()
    assert joined(found) == read(found) == ["b.jpg"]
    path.write_bytes(encode(photo(3), ".jpg"))
    assert joined(folder.news()) == ["a.jpg"]


def test_many_photos_are_read_by_an_idle_thread(folder: Folder) -> None:
    """And join together."""
    for number in range(20):
        folder.write(f"{number:02}.jpg", encode(photo(number), ".jpg"))
    found = folder.news()
    assert joined(found) == read(found)
    assert len(joined(found)) == 20
    assert sum(isinstance(it, Joined) for it in found) == 1


def test_a_large_folder_is_looked_through_more_rarely() -> None:
    assert next_look_s(0.0001) == next_look_s(0.01) == pytest.approx(0.1)
    assert next_look_s(1) == pytest.approx(9)


def test_news_between_processes(tmp_path: Path, folder: Folder) -> None:
    folder.write("ä\udcff.jpg", encode(photo(1), ".jpg"))
    news = [*folder.news(), Left(["a", "ü"]), Unreadable("a", "b")]
    with (tmp_path / "pipe").open("wb") as file:
        for it in news:
            send(it, file)
    with (tmp_path / "pipe").open("rb") as file:
        for it in news:
            found = receive(file)
            if isinstance(it, Joined):
                assert isinstance(found, Joined)
                assert found.batch[:3] == it.batch[:3]
                for ours, theirs in zip(found.batch[3:], it.batch[3:], strict=True):
                    assert ours.keys() == theirs.keys()
                    for name in ours:
                        np.testing.assert_array_equal(ours[name], theirs[name])
            else:
                assert found == it
        assert receive(file) is None


# ---- the process -----------------------------------------------------------------------------


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[LiveGallery, FolderWatcher, Path, list[str]]]:
    path = tmp_path / "party"
    path.mkdir()
    base = Gallery.from_images([photo(seed) for seed in range(10)], tile=16, crops=0)
    live, said = LiveGallery(base), list[str]()
    watcher = FolderWatcher(live, [str(path)])
    watcher.start(said.append, said.append)
    yield live, watcher, path, said
    watcher.close()


@pytest.mark.slow
def test_a_live_gallery_follows(
    watched: tuple[LiveGallery, FolderWatcher, Path, list[str]],
) -> None:
    live, watcher, path, said = watched
    write_photos(path, 3)
    wait_until(lambda: len(live.photos()) == 13)
    (path / "0001.jpg").unlink()
    (path / "bad.png").write_bytes(b"none")
    wait_until(lambda: len(live.photos()) == 12)
    wait_until(lambda: any("bad.png: " in text for text in said))
    wait_until(lambda: any("leaves" in text for text in said))
    assert (live.added, live.removed) == (3, 1)
    watcher.close()
    watcher.close()
    assert len(Gallery.open(kept_file(str(path))).sources.photos()) == 2


# Crashes while it reads one photo, as a decoder does on a defect of its own; says how much of the
# processor's time other photos may take.
_CRASHES_ON_BAD = """import os, resource, signal, sys
def at(event, args):
    if event == "open" and str(args[0]).endswith("bad.jpg"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if event == "open" and str(args[0]).endswith("0000.jpg"):
        with os.fdopen(os.open(sys.path[0] + "/limit", os.O_CREAT | os.O_WRONLY), "w") as file:
            file.write(str(resource.getrlimit(resource.RLIMIT_CPU)[0]))
sys.addaudithook(at)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_decoder_that_crashes_costs_one_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others join before and after, and it is skipped until it is saved again."""
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "sitecustomize.py").write_text(_CRASHES_ON_BAD)
    monkeypatch.syspath_prepend(tmp_path / "hooks")
    path = tmp_path / "party"
    write_photos(path, 3)
    shutil.copy(path / "0001.jpg", path / "bad.jpg")
    live = LiveGallery(Gallery.from_images([photo(99)], tile=16, crops=0))
    watcher, said = FolderWatcher(live, [str(path)]), list[str]()
    watcher.start(said.append, said.append)
    try:
        wait_until(lambda: any("bad.jpg: cannot be read: its decoder" in text for text in said))
        wait_until(lambda: len(live) == 4)
        write_photos(path, 5)
        wait_until(lambda: len(live) == 6)
        assert str(path / "bad.jpg") not in live
        (path / "0000.jpg").unlink()
        wait_until(lambda: len(live) == 5)
        (path / "bad.jpg").write_bytes(encode(photo(50), ".jpg"))
        wait_until(lambda: sum("bad.jpg: cannot be read" in text for text in said) == 2)
    finally:
        watcher.close()
    assert 0 < int((tmp_path / "hooks" / "limit").read_text()) < 1000


def run_instead_of_python(monkeypatch: pytest.MonkeyPatch, path: Path, script: str) -> None:
    """Make watchers start a shell script at a path that does not exist yet."""
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


# Crashes while it reads a photo; the one after it waits for its end.
_CRASHES = """read -r order
[ -e "$0.ran" ] && exec cat
touch "$0.ran"
echo '{"kind": "Reading", "values": ["a.jpg"]}'
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_it_ends_while_a_crashed_process_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_instead_of_python(monkeypatch, tmp_path / "crashes", _CRASHES)
    live = LiveGallery(Gallery.from_images([photo(1)], tile=16, crops=0))
    watcher = FolderWatcher(live, [str(tmp_path)])
    closing, said = threading.Thread(target=watcher.close), list[str]()
    start, started = subprocess.Popen, list["subprocess.Popen[bytes]"]()

    def noted(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*words, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)

    def warn(text: str) -> None:
        said.append(text)
        watcher.end()
        closing.start()

    watcher.start(said.append, warn)
    wait_until(lambda: closing.ident is not None and not closing.is_alive())
    assert "a.jpg: cannot be read: its decoder has crashed" in said[0]
    assert all(it.poll() is not None for it in started)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("news", ["no JSON", '{"kind": "none"}', '{"kind": "Left", "values": [3]}'])
def test_an_error_of_the_watch_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, news: str
) -> None:
    """The run goes on."""
    script = f"read -r order\necho '{news}'\nexec sleep 100\n"
    run_instead_of_python(monkeypatch, tmp_path / "strange", script)
    live = LiveGallery(Gallery.from_images([photo(1)], tile=16, crops=0))
    watcher, said = FolderWatcher(live, [str(tmp_path)]), list[str]()
    watcher.start(said.append, said.append)
    wait_until(lambda: any(word in "".join(said) for word in ("watching has ended", "cannot join")))
    watcher.close(saves=False)


@pytest.mark.slow
def test_a_photo_that_cannot_join(
    watched: tuple[LiveGallery, FolderWatcher, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others can."""
    live, _, path, said = watched
    add = live.add_batch
    monkeypatch.setattr(live, "add_batch", fakes.failing(MemoryError()))
    write_photos(path, 1)
    wait_until(lambda: any("0000.jpg: cannot join: not enough memory" in text for text in said))
    monkeypatch.setattr(live, "add_batch", add)
    write_photos(path, 2)
    wait_until(lambda: len(live) == 11)


@pytest.mark.slow
def test_the_last_photos_leave_when_others_join(tmp_path: Path) -> None:
    path = tmp_path / "party"
    write_photos(path, 2)
    build_gallery(path, tmp_path / "x.gallery", tile_px=16, crops=0)
    live = LiveGallery(Gallery.open(tmp_path / "x.gallery"))
    watcher, said = FolderWatcher(live, [str(path)]), list[str]()
    watcher.start(said.append, said.append)
    try:
        write_photos(path, 3)
        wait_until(lambda: len(live) == 3)
        for name in ("0000.jpg", "0001.jpg", "0002.jpg"):
            (path / name).unlink()
        wait_until(lambda: any("no photo would be left" in text for text in said))
        (path / "new.jpg").write_bytes(encode(photo(7), ".jpg"))
        wait_until(lambda: list(live.photos()) == [str(path / "new.jpg")])
    finally:
        watcher.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_outputs_do_not_wait_for_the_gallery_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written until they are finished, or longer."""
    script = f"""cat > /dev/null
until [ -e {tmp_path}/finished ]; do sleep 0.01; done
touch {tmp_path}/saved
"""
    run_instead_of_python(monkeypatch, tmp_path / "saves", script)
    live = LiveGallery(Gallery.from_images([photo(1)], tile=16, crops=0))

    class Output(fakes.FakeSink):
        def close(self) -> None:
            super().close()
            (tmp_path / "finished").touch()

    sink = Output()
    watcher = FolderWatcher(live, [str(tmp_path)])
    source = fakes.FakeSource([fakes.frame(0)])
    assert Pipeline(source, fakes.FakeMosaic(), [sink], watcher=watcher).run()
    assert (tmp_path / "saved").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_run_that_is_cancelled_does_not_wait_for_the_gallery_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_instead_of_python(monkeypatch, tmp_path / "saves", "exec sleep 100\n")
    live = LiveGallery(Gallery.from_images([photo(1)], tile=16, crops=0))
    sink = fakes.FakeSink(latest_only=True)
    items: list[Any] = [fakes.frame(0), fakes.until(lambda: sink.items)]
    watcher = FolderWatcher(live, [str(tmp_path)])
    pipeline = Pipeline(
        fakes.FakeSource(items), fakes.FakeMosaic(), [sink], realtime=True, watcher=watcher
    )
    items.append(pipeline.cancel)
    assert not pipeline.run()
    assert not pipeline.stuck


def test_a_gallery_of_the_same_folder(tmp_path: Path) -> None:
    """Its photos are not there twice."""
    write_photos(tmp_path / "party", 4)
    build_gallery(tmp_path / "party", tmp_path / "x.gallery", tile_px=16, crops=0)
    live = LiveGallery(Gallery.open(tmp_path / "x.gallery"))
    watcher = FolderWatcher(live, [str(tmp_path / "party")])
    said: list[str] = []
    watcher.start(said.append, said.append)
    try:
        write_photos(tmp_path / "party", 5)
        wait_until(lambda: len(live.photos()) == 5)
    finally:
        watcher.close()
    assert len(live.snapshot.photos()) == 5


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "none"):
        with pytest.raises(OptionError, match="watch") as caught:
            check_folders([str(tmp_path / name)])
        assert caught.value.option == "watch"
    assert check_folders([str(tmp_path)]) == [str(tmp_path)]


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_folders_in_folders_are_watched_once(tmp_path: Path) -> None:
    """Unless a watch of the outer one does not see them."""
    outer = tmp_path / "party"
    for name in ("sub/deep", ".waiting"):
        (outer / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(outer)
    (tmp_path / "partyx").mkdir()

    def checked(*names: str) -> list[str]:
        found = check_folders([str(tmp_path / name) for name in names])
        return [os.path.relpath(path, tmp_path) for path in found]

    assert checked("party", "party") == ["party"]
    assert checked("party", "party/sub/deep/", "link") == ["party"]
    assert checked("party/sub/deep", "partyx", "party") == ["partyx", "party"]
    assert checked("party", "party/.waiting") == ["party", "party/.waiting"]


SMALL = ("--tile", "16", "--scale", "1", "--gallery", "emoji")


@pytest.mark.slow
def test_a_run(tmp_path: Path) -> None:
    write_photos(tmp_path / "party", 2)
    words = ("run", "pattern:160x120@25", "null", *SMALL, "--watch", "party", "--watch", "more")
    (tmp_path / "more").mkdir()
    process = spawn(*words, "--duration", "60", "--json", cwd=tmp_path)
    kept = tmp_path / "party.watched.gallery"
    wait_until(kept.exists, timeout_s=100)
    shutil.copy(tmp_path / "party" / "0001.jpg", tmp_path / "more" / "x.jpg")
    wait_until((tmp_path / "more.watched.gallery").exists, timeout_s=100)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    report = json.loads(out)["gallery"]
    assert (report["added"], report["removed"]) == (3, 0)
    assert report["changes"] >= 1
    assert b"join" in err


def test_runs_that_are_not_live(tmp_path: Path, program: Program) -> None:
    (tmp_path / "party").mkdir()
    cv2.imwrite(str(tmp_path / "a.png"), photo(1))
    words = ("run", tmp_path / "a.png", tmp_path / "o.png", *SMALL, "--watch", tmp_path / "party")
    outcome = program(*words)
    assert outcome.code == 0
    assert "--watch has no effect" in outcome.err
    outcome = program(*words[:-1], tmp_path / "none", "-y")
    assert outcome.code == 2
    assert "--watch" in outcome.err
