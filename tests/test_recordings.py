"""Recordings of a live input: what was written plays, whatever ends the run."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemosaic.errors import SinkError
from livemosaic.media.atomic_write import Part, atomic_write
from livemosaic.media.frame import Frame, StreamInfo
from livemosaic.sinks import FileOptions, open_sink
from livemosaic.sinks.encoder import VideoEncoder
from livemosaic.sinks.tracks import Tracks

from .program import ENVIRONMENT, left, video_times

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of files")
_NOISE = np.random.default_rng(0).integers(0, 255, (96, 64), np.uint8)


def _frame(number: int) -> Frame:
    y = np.roll(_NOISE[:64], number * 7, axis=0)
    u = v = np.ascontiguousarray(_NOISE[64:, :32])
    return Frame(y, u, v, pts=number, time_base=Fraction(1, 25))


def write(path: Path, *, live: bool = True, count: int = 200, close: bool = True) -> None:
    """Write a noisy video."""
    sink = open_sink(str(path), StreamInfo(64, 64, live=live))
    try:
        for number in range(count):
            sink.write(_frame(number))
        if close:
            sink.close()
    except SinkError:
        sink.abort()  # as the pipeline does
        raise


@contextmanager
def no_file_larger_than(count: int) -> Iterator[None]:
    """A write beyond so many bytes fails, as on a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class _BadSeek(FileIO):
    """A file whose n-th seek fails."""

    def __init__(self, file: FileIO, number: int) -> None:
        super().__init__(os.dup(file.fileno()), "r+b")
        file.close()
        self.left = number

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.EIO, "bad sector")
        return super().seek(offset, whence)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm", "ts", "avi"])
def test_a_seek_that_fails_damages_no_file(
    ending: str, live: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{ending}"
    count = 20 if live else 200  # more than FFmpeg's buffer, in which no seek can fail
    opened: list[_BadSeek] = []
    open_unbuffered = Part.open_unbuffered

    def open_bad(part: Part) -> FileIO:
        opened.append(_BadSeek(open_unbuffered(part), len(opened) + 1))
        return opened[-1]

    monkeypatch.setattr(Part, "open_unbuffered", open_bad)
    for _ in range(100):
        try:
            write(path, live=live, count=count)
        except SinkError:
            assert live or left(tmp_path) == []
        else:
            assert len(video_times(path)) == count
            if opened[-1].left > 0:  # all seeks have been tried
                break
        if left(tmp_path):
            assert len(video_times(path)) >= count - 6  # the last quarter of a second
            path.unlink()
    assert len(opened) > 1 or ending == "ts"


@posix
@pytest.mark.slow
@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm", "ts", "avi"])
def test_a_full_disk_ends_a_recording(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"whole.{ending}"
    write(path)
    size, count = path.stat().st_size, len(video_times(path))
    assert count >= 199
    path.unlink()
    # The last limits concern what is written at the end only.
    for limit in (size // 2, size - 5000, size - 1000, size - 10):
        path = tmp_path / f"{limit}.{ending}"
        with pytest.raises(SinkError, match="the recording ends there"), no_file_larger_than(limit):
            write(path)
        assert left(tmp_path) == [path.name]
        times = video_times(path)
        assert times[-1] > 8 * limit / size - 2
        path.unlink()
    with pytest.raises(SinkError), no_file_larger_than(size // 2):
        write(tmp_path / f"a.{ending}", live=False)
    assert left(tmp_path) == []  # a file can be made again


def test_the_encoder_of_a_recording_keeps_few_pictures(tmp_path: Path) -> None:
    """A slow machine encodes a few pictures a second, and those inside are lost by SIGKILL."""
    sink = open_sink(str(tmp_path / "a.mkv"), StreamInfo(64, 64, live=True))
    for number in range(100):
        sink.write(_frame(number))
    (name,) = left(tmp_path)
    fragment = 25 // 4
    assert len(video_times(tmp_path / name)) >= 100 - fragment - 6
    sink.close()
    assert len(video_times(tmp_path / "a.mkv")) == 100


@posix
def test_numbered_pictures_of_a_live_input_stay_when_the_disk_is_full(tmp_path: Path) -> None:
    for live in (True, False):
        sink = open_sink(str(tmp_path / "a_%d.png"), StreamInfo(64, 64, live=live))
        for number in range(3):
            sink.write(_frame(number))
        kept = "; the 3 pictures before are kept" if live else ""
        with pytest.raises(SinkError, match=f"{kept}$"), no_file_larger_than(1000):
            sink.write(_frame(3))
        sink.abort()
        # Those of a film can be made again.
        assert left(tmp_path) == ["a_1.png", "a_2.png", "a_3.png"] * live
        for name in left(tmp_path):
            (tmp_path / name).unlink()


_KILLED = """
import os, sys
from pathlib import Path
from livemosaic.media.frame import StreamInfo
from livemosaic.sinks import open_sink
from tests.test_recordings import _frame, write
folder = Path(sys.argv[1])
write(folder / "a.mp4", close=False)
write(folder / "c.mkv", close=False)
sink = open_sink(str(folder / "a_%d.png"), StreamInfo(64, 64, live=True))
for number in range(3):
    sink.write(_frame(number))
os._exit(9)
"""


@posix
def test_the_next_run_names_what_a_killed_run_left(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _KILLED, str(tmp_path)]
    assert subprocess.run(words, env=ENVIRONMENT, timeout=60).returncode == 9
    assert [name.startswith(".") for name in left(tmp_path)] == [True] * 3
    write(tmp_path / "b.mkv", count=5)  # any output in the folder
    recovered = ["a-recovered.mp4", "a_%d-recovered", "b.mkv", "c-recovered.mkv"]
    assert left(tmp_path) == recovered
    for name in ("a-recovered.mp4", "c-recovered.mkv"):
        assert video_times(tmp_path / name)[-1] > 6
    assert left(tmp_path / "a_%d-recovered") == ["a_1.png", "a_2.png", "a_3.png"]


@posix
def test_a_run_that_was_killed_before_its_first_picture_left_nothing(tmp_path: Path) -> None:
    (tmp_path / ".a.0123456789abcdef.recording.mkv").touch()
    (tmp_path / ".a_%d.0123456789abcdef.recording").mkdir()
    write(tmp_path / "b.mkv", count=5)
    assert left(tmp_path) == ["b.mkv"]


def test_what_a_killed_run_left_is_not_named_without_a_message(tmp_path: Path) -> None:
    name = ".a.0123456789abcdef.recording.mkv"
    (tmp_path / name).touch()
    with atomic_write(tmp_path / "a.gallery"):
        pass
    assert name in left(tmp_path)


def test_a_part_that_was_removed_opens_no_other_file(tmp_path: Path) -> None:
    part = Part(tmp_path / "a")
    part.remove()  # as of a thread that is stuck, and goes on later
    # The other file gets the number.
    with (tmp_path / "other").open("wb"), pytest.raises(OSError, match="descriptor"):
        part.open_unbuffered()


def test_a_pause_is_not_filled_any_more_when_the_run_ends(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "a.y4m"), StreamInfo(64, 64))
    for number in (0, 1, 3):
        sink.write(_frame(number))
    sink.hurry()
    for number in (4, 24, 400, 401):  # the second one waited in a queue, as of a slow camera
        sink.write(_frame(number))
    sink.close()
    assert len(video_times(tmp_path / "a.y4m")) == 25


@pytest.mark.parametrize("when", ["begin", "end"])
def test_an_unexpected_error_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Tracks, "__init__" if when == "begin" else "flush", fail)
    with pytest.raises(RuntimeError), open_sink(tmp_path / "a.mp4", StreamInfo(64, 64)) as sink:
        sink.write(_frame(0))
    assert left(tmp_path) == []


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_an_unexpected_error_ends_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """What a killed run would leave is not removed after an error."""
    sink = open_sink(tmp_path / f"a.{ending}", StreamInfo(64, 64, live=True))
    for number in range(60):
        sink.write(_frame(number))

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("unexpected")

    with monkeypatch.context() as patched:
        patched.setattr(VideoEncoder, "encode", fail)
        with pytest.raises(SinkError, match=r"a\..*unexpected; the recording ends there"):
            sink.write(_frame(60))
    sink.abort()
    assert left(tmp_path) == [f"a.{ending}"]
    assert len(video_times(tmp_path / f"a.{ending}")) == 60


def test_an_unexpected_error_ends_a_live_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = open_sink(tmp_path / "a%d.png", StreamInfo(64, 64, live=True))
    for number in range(3):
        sink.write(_frame(number))

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("livemosaic.sinks.image.encode_strips", fail)
    with pytest.raises(SinkError, match=r"a%d.*not enough memory; the 3 pictures before are kept"):
        sink.write(_frame(3))
    sink.abort()
    assert left(tmp_path) == ["a1.png", "a2.png", "a3.png"]


# ---- names that are taken, and folders that go ---------------------------------------------


def _begin(kind: str, path: Path) -> tuple[Path, Any]:
    """Begin a result; its path, and the call that finishes it."""
    if kind == "gallery":
        final = path / "a.gallery"
        writing = atomic_write(final, beside=True)
        writing.__enter__().write(b"tiles")
        return final, lambda: writing.__exit__(None, None, None)
    name = {"live": "a.mp4", "file": "a.mkv", "still": "a.png", "numbered": "a%d.png"}[kind]
    info = StreamInfo(64, 64, live=kind == "live", still=kind == "still")
    sink = open_sink(str(path / name), info, options=FileOptions(overwrite=True))
    sink.write(_frame(0))
    return path / name.replace("%d", "1"), sink.close


_KINDS = ["live", "file", "still", "numbered", "gallery"]


@posix
@pytest.mark.parametrize("kind", _KINDS)
def test_the_name_is_taken_meanwhile(kind: str, tmp_path: Path) -> None:
    final, finish = _begin(kind, tmp_path)
    final.mkdir()
    other = final.with_stem(f"{final.stem}-2")
    with pytest.raises(OSError, match=rf"a folder has this name; the result is {other}"):
        finish()
    assert left(tmp_path) == sorted([final.name, other.name])
    assert other.stat().st_size
    assert left(final) == []


@posix
@pytest.mark.parametrize("kind", _KINDS)
def test_the_folder_is_renamed_meanwhile(kind: str, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    final, finish = _begin(kind, before)
    before.rename(after)
    before.mkdir()  # another one
    with pytest.raises(OSError, match=rf"renamed meanwhile; the result is {after / final.name}"):
        finish()
    assert (left(before), left(after)) == ([], [final.name])
    assert (after / final.name).stat().st_size


@posix
@pytest.mark.parametrize("kind", _KINDS)
def test_the_folder_is_deleted_meanwhile(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    _, finish = _begin(kind, folder)
    shutil.rmtree(folder)
    with pytest.raises(OSError, match=r"was deleted meanwhile"):
        finish()
    assert left(tmp_path) == []


@posix
@pytest.mark.parametrize("kind", _KINDS)
def test_the_file_of_that_name_cannot_be_replaced(kind: str, tmp_path: Path) -> None:
    final, finish = _begin(kind, tmp_path)
    final.write_bytes(b"precious")
    if subprocess.run(["chattr", "+i", final], capture_output=True, timeout=60).returncode:
        pytest.skip("this disk has no immutable files")
    try:
        with pytest.raises(OSError, match=r"not permitted; the result is .*-2"):
            finish()
        assert final.read_bytes() == b"precious"
        assert final.with_stem(f"{final.stem}-2").stat().st_size
    finally:
        subprocess.run(["chattr", "-i", final], timeout=60, check=True)


@posix
@pytest.mark.parametrize("kind", [kind for kind in _KINDS if kind != "gallery"])
def test_a_folder_that_is_read_only_by_now(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    _, finish = _begin(kind, folder)
    if subprocess.run(["chattr", "+i", folder], capture_output=True, timeout=60).returncode:
        pytest.skip("this disk has no immutable folders")
    try:
        with pytest.raises(OSError, match=r"; the result is .*/f/\.a") as caught:
            finish()
    finally:
        subprocess.run(["chattr", "-i", folder], timeout=60, check=True)
    assert [str(caught.value).endswith(name) for name in left(folder)] == [True]
    write(folder / "b.mkv", count=5)  # the next run
    assert ("a-recovered.mp4" in left(folder)) == (kind == "live")
