"""Folders that are watched: photos that appear, change or go while a mosaic runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import Gallery, LiveGallery, OptionError, Pipeline
from livemosaic.gallery import Recipe, build_gallery
from livemosaic.gallery.folder_reader import (
    FolderReader,
    Joined,
    Left,
    News,
    Unreadable,
    kept_file,
    next_look_s,
)
from livemosaic.gallery.watch import FolderWatcher, check_folders, receive, send

from . import fakes
from .gallery_files import encode, heic, oriented, photo, write_photos
from .program import Program, spawn

RECIPE = Recipe(16, crops=0)
wait_until = partial(fakes.wait_until, timeout_s=60)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Folder:
    """A folder and its reader; `news` is what two looks find, a settling time apart."""

    def __init__(self, path: Path, recipe: Recipe = RECIPE, **options: frozenset[str]) -> None:
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
    found = folder.news()
    assert sorted(joined(found)) == ["a.jpg", "b.HEIC", "c.png", "turned.jpg"]
    assert folder.look() == []
    build_gallery(folder.path, folder.path.parent / "x.gallery", tile_px=16, crops=0)
    built = Gallery.open(folder.path.parent / "x.gallery")
    tiles = {built.sources[i].path: built.tiles[i] for i in range(len(built))}
    for it in found:
        if isinstance(it, Joined):
            np.testing.assert_array_equal(it.batch.arrays["tiles"][0], tiles[it.batch.names[0]])


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
    """Its drive may come back."""
    folder.write("a.jpg", encode(photo(1), ".jpg"))
    folder.news()
    folder.path.rename(folder.path.parent / "away")
    assert folder.news() == []
    (folder.path.parent / "away").rename(folder.path)
    assert folder.news() == []


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
    folder = Folder(tmp_path / "party", skip=frozenset({str(tmp_path / "party" / "a.jpg")}))
    folder.write("a.jpg", encode(photo(1), ".jpg"))
    folder.write("b.jpg", encode(photo(2), ".jpg"))
    assert joined(folder.news()) == ["b.jpg"]


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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_a_decoder_that_crashes_costs_one_photo(
    watched: tuple[LiveGallery, FolderWatcher, Path, list[str]],
) -> None:
    """The process is killed as a crash would end it, while it reads a photo that takes long."""
    live, _, path, said = watched
    write_photos(path, 1)
    wait_until(lambda: len(live.photos()) == 11)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    ours = [
        int(child)
        for child in children
        if b"watch_process" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert len(ours) == 1
    large = np.random.default_rng(0).integers(0, 256, (6000, 9000, 3), np.uint8)
    cv2.imwrite(str(path.parent / "large.png"), large)
    (path.parent / "large.png").rename(path / "large.png")
    time.sleep(0.6)
    os.kill(ours[0], signal.SIGKILL)
    wait_until(lambda: "crash" in "".join(said))
    text = "".join(said)
    if "large.png: cannot be read: its decoder has crashed" in text:  # else it was not yet read
        write_photos(path, 2)
        wait_until(lambda: len(live.photos()) == 12)


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
        closing.start()
        time.sleep(0.3)

    watcher.start(said.append, warn)
    wait_until(lambda: closing.ident is not None and not closing.is_alive())
    assert "a.jpg: cannot be read: its decoder has crashed" in said[0]
    assert all(it.poll() is not None for it in started)


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
