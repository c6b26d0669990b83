"""Galleries in shards: the same bytes however they were read, and what is read stays read."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest

from livemosaic.cluster.galleries import shard_makers
from livemosaic.cluster.requirements import Requirements, token_in
from livemosaic.errors import GalleryError
from livemosaic.gallery import build_gallery, video_frames
from livemosaic.gallery import shard_folder as shard_folder_module
from livemosaic.gallery import shards as shards_module
from livemosaic.gallery.recipe import Recipe
from livemosaic.gallery.shard_folder import ShardFolder
from livemosaic.gallery.shards import (
    Shard,
    ShardMakers,
    cut_into_shards,
    make_shard,
    stamps_of,
)
from livemosaic.media.atomic_write import Part, atomic_write
from livemosaic.media.folder_in_use import FolderInUse
from livemosaic.media.image_reader import BadImage, read_image_file
from livemosaic.unfinished import remove_unfinished
from livemosaic.vision import model

from .gallery_files import write_photos
from .program import ENVIRONMENT, finish, left, put_in_the_way, spawn

STAMP = (1000, 5)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "PHOTOS", 12)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_photos(folder, 40)
    write_photos(folder / "more", 30, extension=".png", width=50, height=90)
    (folder / "0005.jpg").write_text("no photo")
    (folder / "more" / "empty.png").touch()
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "x.gallery"


def cut(names: Sequence[str]) -> list[tuple[str, ...]]:
    stamps = np.array([STAMP] * len(names), np.int64)
    return [tuple(names[some]) for some in cut_into_shards(names, stamps)]


def test_a_photo_more_changes_its_shard_only() -> None:
    names = [f"/photos/{number:05}.jpg" for number in range(2000)]
    before = cut(names)
    assert [name for shard in before for name in shard] == names
    assert min(map(len, before[:-1])) >= 3
    assert max(map(len, before)) <= 24
    assert 80 < len(before) < 320
    for place in (0, 777, 1999):
        fewer = cut([*names[:place], *names[place + 1 :]])
        assert len(set(fewer) - set(before)) <= 3
        more = cut(sorted([*names, f"{names[place]}a"]))
        assert len(set(more) - set(before)) <= 3


def test_large_photos_make_shards_of_few() -> None:
    names = [f"/photos/{number:05}.jpg" for number in range(100)]
    stamps = np.array([(2**28, 0)] * 100, np.int64)
    assert max(some.stop - some.start for some in cut_into_shards(names, stamps)) <= 4


def here(shards: Sequence[Shard], note: Callable[[int], None]) -> Iterator[tuple[int, str]]:
    """Makes shards in this process, the last first."""
    for number in reversed(range(len(shards))):
        yield number, make_shard(shards[number], note)


OPTIONS: list[dict[str, Any]] = [
    {"tile_px": 16},
    {"tile_px": 12, "crops": 2, "clusters": 9, "seed": 3},
    {"tile_px": (12, 8), "fit": "stretch", "mirror": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=("added crops", "crops", "stretch"))
def test_the_same_bytes(
    photos: Path, output: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as one_shard:
        one_shard.setattr(shards_module, "PHOTOS", 10_000)
        whole = build_gallery(photos, output, **options)
        expected = output.read_bytes()
    ways: list[dict[str, Any]] = [{}, {"workers": 1}, {"makers": ShardMakers(here)}]
    for way in ways:
        output.unlink()
        report = build_gallery(photos, output, **options, **way)
        assert output.read_bytes() == expected
        assert report.unreadable == whole.unreadable
        assert len(report.unreadable) == 2
        assert left(output.parent) == ["photos", "x.gallery"]  # no shards


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_the_same_bytes_with_workers_that_are_killed(photos: Path, output: Path) -> None:
    build_gallery(photos, output, tile_px=16)
    expected = output.read_bytes()
    output.unlink()
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        assert total == 71
        if done and not any(seen):
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
        seen.append(done)

    with shard_makers(None, [photos], output, workers=2) as makers:
        build_gallery(
            photos, output, tile_px=16, makers=replace(makers, least=0), progress=progress
        )
    assert seen == sorted(seen)
    assert seen[-1] == 71
    assert output.read_bytes() == expected


# ---- what stays ------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, int]:
    """The shards in a folder, and when each was made."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.shard")}


def stopping_at(number: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done >= number:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("makers", [None, ShardMakers(here)], ids=("threads", "makers"))
def test_an_interrupted_build_goes_on(
    photos: Path, output: Path, makers: ShardMakers | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_gallery(photos, output, tile_px=16)
    expected = output.read_bytes()
    output.unlink()
    with pytest.raises(KeyboardInterrupt):
        build_gallery(photos, output, tile_px=16, makers=makers, progress=stopping_at(40))
    kept = output.with_name("x.gallery.shards")
    assert not output.exists()
    assert left(kept) == sorted(files(kept))  # no unfinished file
    read: list[str] = []

    def count(shards: Sequence[Shard], note: Callable[[int], None]) -> Iterator[tuple[int, str]]:
        read.extend(name for shard in shards for name in shard.names)
        return here(shards, note)

    build_gallery(photos, output, tile_px=16, makers=ShardMakers(count))
    assert output.read_bytes() == expected
    assert 0 < len(read) < 60
    assert not kept.exists()


def test_nothing_stays_before_a_shard_is_whole(photos: Path, output: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_gallery(photos, output, tile_px=16, crops=0, progress=stopping_at(0))
    assert left(output.parent) == ["photos"]


@pytest.mark.parametrize("is_new", [True, False])
def test_a_folder_without_shards_goes(photos: Path, output: Path, is_new: bool) -> None:
    """Also that of a build which was killed, and with what workers left that were killed."""
    folder = output.with_name("x.gallery.shards")

    def progress(done: int, total: int) -> None:
        (folder / ".0.shard.0123456789abcdef.part").touch()
        raise KeyboardInterrupt

    if not is_new:
        folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        build_gallery(photos, output, tile_px=16, crops=0, progress=progress)
    assert left(output.parent) == ["photos"]


def test_the_folder_goes_before_the_workers_do(
    photos: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their common folder has a file as long as they are there."""

    class Engine:
        def run(self, function: Any, tasks: Sequence[Any], **_: Any) -> Iterator[tuple[int, Any]]:
            for number, task in enumerate(tasks):
                yield number, function(task)

    @contextmanager
    def open_engine(_: Any, *, requirements: Requirements, **__: Any) -> Iterator[Engine]:
        with token_in(requirements.shared):
            yield Engine()

    monkeypatch.setattr("livemosaic.cluster.galleries.open_engine", open_engine)
    with pytest.raises(KeyboardInterrupt):
        build_gallery(photos, output, tile_px=16, progress=stopping_at(40))
    with shard_makers("tcp://127.0.0.1:1", [photos], output) as makers:
        build_gallery(photos, output, tile_px=16, makers=makers)
    assert left(output.parent) == ["photos", "x.gallery"]


@pytest.mark.parametrize("chosen", [True, False])
def test_a_folder_goes_after_the_workers_that_fail(
    chosen: bool, photos: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of Dask's workers have unfinished files in it until they end."""
    folder = output.with_name("kept" if chosen else "x.gallery.shards")

    @contextmanager
    def open_engine(_: Any, **__: Any) -> Iterator[Any]:
        with ExitStack() as stack:

            def run(*_: Any, **__: Any) -> NoReturn:
                stack.callback(Part(folder / "1.shard").remove)
                raise GalleryError("the disk is full")

            yield SimpleNamespace(run=run)

    monkeypatch.setattr("livemosaic.cluster.galleries.open_engine", open_engine)
    shards = folder if chosen else None
    with (
        pytest.raises(GalleryError, match="full"),
        shard_makers("local:2", [photos], output, shards=shards) as makers,
    ):
        build_gallery(photos, output, tile_px=16, makers=makers, shards=shards)
    assert left(output.parent) == ["photos"]


def test_changed_photos_make_only_their_shards_again(
    photos: Path, output: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    build_gallery(photos, output, tile_px=16, shards=kept)
    (kept / "notes.txt").write_text("mine")
    before = files(kept)
    assert len(before) >= 3
    os.utime(photos / "0020.jpg", (1, 1))
    build_gallery(photos, output, tile_px=16, shards=kept, clusters=3, seed=2)  # of the same tiles
    after = files(kept)
    assert len(after) == len(before)
    assert len(before.items() & after.items()) == len(before) - 1
    shutil.copy(photos / "0020.jpg", photos / "0020a.jpg")
    (photos / "more" / "0003.png").unlink()
    build_gallery(photos, output, tile_px=16, shards=kept)
    assert len(files(kept).items() & after.items()) >= len(after) - 6
    assert (kept / "notes.txt").exists()
    expected = output.read_bytes()
    build_gallery(photos, output, tile_px=16)
    assert output.read_bytes() == expected
    # Other tiles are other shards, and there is no room for both.
    last = files(kept)
    build_gallery(photos, output, tile_px=12, shards=kept)
    assert not files(kept).keys() & last.keys()
    assert len(files(kept)) == len(last)


def test_galleries_share_a_folder(
    photos: Path, output: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "livemosaic")
    kept, other = tmp_path / "kept", tmp_path / "other.gallery"
    build_gallery(photos, output, tile_px=16, shards=kept)
    first = files(kept).keys()
    with pytest.raises(KeyboardInterrupt):
        build_gallery(photos, other, tile_px=12, shards=kept, progress=stopping_at(40))
    begun = files(kept).keys() - first
    assert begun
    build_gallery(photos, output, tile_px=16, shards=kept)
    assert files(kept).keys() == first | begun
    caplog.clear()
    build_gallery(photos, other, tile_px=12, shards=kept)
    assert f"{len(begun)} of {len(first)} shards are there already" in caplog.messages
    build_gallery(photos, output, tile_px=24, shards=kept)
    assert not files(kept).keys() & first  # it has others now
    assert files(kept).keys() > begun
    lists = sorted(kept.glob("*.used"))
    assert {path.read_text().splitlines()[0] for path in lists} == {str(output), str(other)}
    for path in lists:
        path.unlink()
    build_gallery(photos, output, tile_px=16, shards=kept)
    assert files(kept).keys() == first


def test_a_new_folder_without_a_shard_goes(photos: Path, output: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> Iterator[tuple[int, str]]:
        assert left(tmp_path / "kept")  # what it would hold
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_gallery(photos, output, shards=tmp_path / "kept", makers=ShardMakers(stop))
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("makers", [None, ShardMakers(here)], ids=("threads", "makers"))
def test_damaged_shards_are_made_again(
    photos: Path, output: Path, tmp_path: Path, makers: ShardMakers | None
) -> None:
    kept = tmp_path / "kept"
    build_gallery(photos, output, tile_px=16, shards=kept)
    expected = output.read_bytes()
    altered, cut_off, empty = sorted(kept.glob("*.shard"))[:3]
    data = bytearray(altered.read_bytes())
    data[len(data) // 2] ^= 1
    altered.write_bytes(data)
    cut_off.write_bytes(cut_off.read_bytes()[:-100])
    empty.write_bytes(b"")
    build_gallery(photos, output, tile_px=16, shards=kept, makers=makers)
    assert output.read_bytes() == expected
    assert min(path.stat().st_size for path in kept.glob("*.shard")) > 100


@pytest.mark.parametrize(
    "cluster", [None, pytest.param("local:1", marks=pytest.mark.slow)], ids=["processes", "dask"]
)
def test_workers_make_a_damaged_shard_after_the_others(
    cluster: str | None, photos: Path, output: Path, tmp_path: Path
) -> None:
    """It is found when one shard of many is made."""
    kept, recipe = tmp_path / "kept", Recipe(tile_px=16)
    build_gallery(photos, output, tile_px=16, shards=kept)
    expected = output.read_bytes()
    names = sorted(map(str, photos.rglob("*.*g")))
    shards = ShardFolder(kept, keep_for=None).shards(names, stamps_of(names), recipe)
    assert len(shards) >= 3
    for number, (_, file) in enumerate(shards):
        if number == 1:
            os.truncate(kept / file, 1000)
        else:
            (kept / file).unlink()
    seen: list[int] = []
    with shard_makers(
        cluster, [photos], output, workers=None if cluster else 1, shards=kept
    ) as makers:
        build_gallery(
            photos,
            output,
            tile_px=16,
            shards=kept,
            makers=replace(makers, least=0),
            progress=lambda done, _: seen.append(done),
        )
    assert output.read_bytes() == expected
    assert seen == sorted(seen)
    assert seen[-1] == len(names)


@pytest.mark.parametrize("makers", [None, ShardMakers(here)], ids=("threads", "makers"))
def test_a_photo_that_can_be_read_again(
    photos: Path, output: Path, tmp_path: Path, makers: ShardMakers | None
) -> None:
    """Its size and time are the same, as after `chmod`, or when its drive is mounted again."""
    kept, missing = tmp_path / "kept", photos / "0020.jpg"

    def denied(path: str) -> bytes:
        if path == str(missing):
            raise BadImage(os.strerror(errno.EACCES))
        return read_image_file(path)

    build_gallery(photos, output, tile_px=16)
    expected = output.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_frames, "read_image_file", denied)
        report = build_gallery(photos, output, tile_px=16, shards=kept)
    assert str(missing) in dict(report.unreadable)
    before = files(kept)
    report = build_gallery(photos, output, tile_px=16, shards=kept, makers=makers)
    assert len(report.unreadable) == 2
    assert output.read_bytes() == expected
    assert len(files(kept).items() - before.items()) == 1


def test_another_build_keeps_its_shards(photos: Path, output: Path, tmp_path: Path) -> None:
    """Two programs build the same gallery: the first one that is done leaves those of the other."""
    with pytest.raises(KeyboardInterrupt):
        build_gallery(photos, output, tile_px=16, progress=stopping_at(40))
    kept = output.with_name("x.gallery.shards")
    with FolderInUse(kept):
        build_gallery(photos, output, tile_px=16)
        assert files(kept)
    build_gallery(photos, output, tile_px=16)
    assert left(output.parent) == ["photos", "x.gallery"]


def test_shards_of_more_photos_do_not_stay(photos: Path, output: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_gallery(photos, output, tile_px=16, progress=stopping_at(40))
    build_gallery(photos / "0001.jpg", output, tile_px=16)
    assert left(output.parent) == ["photos", "x.gallery"]


VERSIONS = """
from livemosaic.gallery.recipe import Recipe
from livemosaic.gallery.shards import Shard
for name in ("photo.jpg", "film.mp4#t=1.000"):
    print(Shard([name], Recipe(), 1, "").file().name)
"""


def test_what_makes_tiles_decides() -> None:
    """FFmpeg decodes frames of videos only."""

    def files(change: str) -> list[str]:
        words = (sys.executable, "-c", change + VERSIONS)
        done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, timeout=60, check=True)
        return done.stdout.decode().split()

    photo, frame = files("")
    assert [photo, frame] == files("")
    for change in (
        "import pillow_heif; pillow_heif.__version__ = '0.1'\n",
        "import pillow_heif; pillow_heif.libheif_version = lambda: '0.1'\n",
        "import livemosaic.gallery.shards as it; it.np.__version__ = '0.1'\n",
        "import livemosaic.vision.model as it; it.vision_digest = lambda: 'faces'\n",
    ):
        assert {photo, frame}.isdisjoint(files(change))
    for change in ("__version__", "ffmpeg_version_info"):
        others = files(f"import livemosaic.media.ffmpeg as it; it.av.{change} = '0.1'\n")
        assert others[0] == photo
        assert others[1] != frame


def test_the_code_and_the_models_that_find_faces_decide(tmp_path: Path) -> None:
    vision = Path(shutil.copytree(model.FOLDER.parent, tmp_path / "vision"))
    before = model.vision_digest()
    assert model.vision_digest(vision) == before
    for changed in ("faces.py", "models/face_detection_short_range.tflite"):
        content = (vision / changed).read_bytes()
        (vision / changed).write_bytes(content[:-1] + b"#")
        assert model.vision_digest(vision) != before
        (vision / changed).write_bytes(content)
    code = (vision / "faces.py").read_bytes()
    (vision / "faces.py").write_bytes(code.replace(b"\n", b"\r\n"))  # as Git on Windows does
    (vision / "models" / "notes.txt").write_text("not a source")
    assert model.vision_digest(vision) == before


# ---- errors ----------------------------------------------------------------------------------


def test_nothing_stays_of_files_that_are_no_photos(tmp_path: Path, output: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(50):
        (folder / f"{number}.jpg").write_text("no photo")
    with pytest.raises(GalleryError, match="none of 50 files"):
        build_gallery(folder, output)
    assert left(tmp_path) == ["photos"]


def test_no_room_for_shards(photos: Path, output: Path, tmp_path: Path) -> None:
    for bad in (tmp_path / "file" / "x", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(GalleryError, match="--shards"):
            build_gallery(photos, output, shards=bad)
        assert not output.exists()


def test_a_full_disk_and_a_folder_that_is_deleted_meanwhile(
    photos: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to do is not the same."""

    def delete(*_: int) -> None:
        shutil.rmtree(output.with_name("x.gallery.shards"), ignore_errors=True)

    with pytest.raises(GalleryError, match=r"; give the same command again$"):
        build_gallery(photos, output, tile_px=16, crops=0, progress=delete)
    assert left(output.parent) == ["photos"]

    def full(*_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "full")

    for module, other in (("shard_file", "folder.*--shards"), ("file_writer", "place$")):
        with monkeypatch.context() as patch:
            patch.setattr(f"livemosaic.gallery.{module}.atomic_write", full)
            with pytest.raises(GalleryError, match=f"; make room, or choose another {other}"):
                build_gallery(photos, output, tile_px=16)


@pytest.mark.parametrize("kind", ["file", "dead link", "long name"])
def test_a_folder_that_cannot_be_made(photos: Path, tmp_path: Path, kind: str) -> None:
    output = tmp_path / ("a" * 244 + ".gallery" if kind == "long name" else "x.gallery")
    folder = tmp_path / f"{output.name}.shards"
    put_in_the_way(folder, kind)
    before = left(tmp_path)
    with (
        shard_makers(None, [photos], output, workers=1) as makers,
        pytest.raises(GalleryError, match=r"\.gallery\.shards'.*--shards"),
    ):
        build_gallery(photos, output, makers=replace(makers, least=0))
    remove_unfinished()
    assert left(tmp_path) == before
    build_gallery(photos, output, shards=tmp_path / "kept", tile_px=16)
    assert left(tmp_path) == sorted([*before, "kept", output.name])


@pytest.mark.parametrize("with_others", [True, False])
def test_an_interrupted_build_leaves_the_shards_of_another(
    with_others: bool, tmp_path: Path
) -> None:
    """They use one folder, which the build has made that is interrupted before its first shard."""
    path = tmp_path / "x.gallery.shards"
    with ShardFolder(path, keep_for=None), contextlib.suppress(OSError), atomic_write(path / "own"):
        if with_others:
            (path / "other.shard").touch()
        remove_unfinished()
        assert left(tmp_path) == ([path.name] if with_others else [])
        assert [*files(path)] == (["other.shard"] if with_others else [])


def test_a_worker_that_does_not_find_a_photo(photos: Path, output: Path) -> None:
    def elsewhere(
        shards: Sequence[Shard], note: Callable[[int], None]
    ) -> Iterator[tuple[int, str]]:
        photos.rename(photos.with_name("away"))
        made = list(here(shards, note))
        photos.with_name("away").rename(photos)
        yield from made

    with pytest.raises(GalleryError, match=r"0000\.jpg: .*same path"):
        build_gallery(photos, output, makers=ShardMakers(elsewhere))
    assert not output.exists()
    # Then its folder is mounted.
    assert len(build_gallery(photos, output, makers=ShardMakers(here)).unreadable) == 2


def test_a_folder_that_is_not_shared(
    photos: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_folder_module, "WAITS_S", (0.0, 0.0))

    def elsewhere(
        shards: Sequence[Shard], note: Callable[[int], None]
    ) -> Iterator[tuple[int, str]]:
        for made in here(shards, note):
            (tmp_path / "x.gallery.shards" / made[1]).unlink()
            yield made

    with pytest.raises(GalleryError, match=r"x\.gallery\.shards.*--shards"):
        build_gallery(photos, output, makers=ShardMakers(elsewhere))


# ---- the command ---------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Photos of several shards, as the program makes them: files with much behind the picture."""
    folder = tmp_path / "many"
    write_photos(folder, 100)
    for path in folder.iterdir():
        os.truncate(path, 2**25)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("kind", ["SIGINT", "SIGKILL"])
def test_a_command_that_ends_early_goes_on(many: Path, tmp_path: Path, kind: str) -> None:
    def build() -> subprocess.Popen[bytes]:
        return spawn("gallery", "build", many, "-o", tmp_path / "x.gallery", "--tile", "8")

    kept = tmp_path / "x.gallery.shards"
    running = build()
    deadline = time.monotonic() + 120
    while not files(kept):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.002)
    running.send_signal(getattr(signal, kind))
    outcome = finish(running, timeout=120)
    assert files(kept)
    assert not (tmp_path / "x.gallery").exists()
    if kind == "SIGINT":
        assert outcome.code == 130
        assert re.search("same command again.*x.gallery.shards", outcome.lines[-1])
    outcome = finish(build(), timeout=120)
    assert outcome.code == 0, outcome.err
    assert not kept.exists()
    assert "100 photos" in outcome.lines[-1]
