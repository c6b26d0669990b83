"""Unfinished files: nobody can guess or plant them, and a killed run leaves none for ever."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from livemosaic.errors import SinkError
from livemosaic.gallery import Gallery
from livemosaic.gallery.report import contact_sheet_html
from livemosaic.media.atomic_write import (
    Part,
    atomic_write,
    final_path,
    recover_recordings,
    remove_remains,
)
from livemosaic.sinks import FileOptions, parse_output
from tests.conftest import ROOT

from .program import SMALL, Program, clip, left, needs_jit, spawn

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has other links, locks and limits"
)


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_write(path) as file:
        file.write(b"new")
        assert len(left(tmp_path)) == 1
        assert not path.exists()
    assert path.read_bytes() == b"new"
    with pytest.raises(KeyboardInterrupt), atomic_write(path):
        raise KeyboardInterrupt
    assert (left(tmp_path), path.read_bytes()) == (["a.txt"], b"new")
    for bad in (tmp_path / "none" / "a", "a\0b"):
        with pytest.raises(OSError, match=r"zero|No such"), atomic_write(bad):
            pass


def test_what_can_be_made_again_leaves_no_copy(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(IsADirectoryError), atomic_write(tmp_path / "a.shard"):
            (tmp_path / "a.shard").mkdir(exist_ok=True)
        assert left(tmp_path) == ["a.shard"]


def test_names_cannot_be_guessed(tmp_path: Path) -> None:
    parts = [Part(tmp_path / "a") for _ in range(50)]
    tokens = {part.path.name.split(".")[-2] for part in parts}
    assert len(tokens) == 50
    assert all(len(token) == 16 for token in tokens)
    for part in parts:
        part.remove()
    assert left(tmp_path) == []


@posix
@pytest.mark.parametrize("planted", ["link", "dangling", "file", "folder"])
def test_what_others_planted_is_not_opened(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if its name had been guessed."""
    mine, name = tmp_path / "mine", tmp_path / f".a.{'0' * 16}.part"
    mine.write_text("precious")
    if planted == "folder":
        name.mkdir()
        (name / "x").symlink_to(mine)
    elif planted == "file":
        name.hardlink_to(mine)
    else:
        name.symlink_to(mine if planted == "link" else tmp_path / "new")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    monkeypatch.setattr("livemosaic.media.atomic_write.remove_remains", lambda *_: [])
    for folder in (False, True):
        with pytest.raises(FileExistsError):
            Part(tmp_path / "a", folder=folder)
    monkeypatch.undo()
    Part(tmp_path / "a").remove()  # what looks like remains does no harm when it is removed
    assert mine.read_text() == "precious"
    assert not (tmp_path / "new").exists()


@posix
def test_links_of_another_user_are_not_followed(
    tmp_path: Path, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder for all, they could lead to any file of this user's."""
    mine, own = tmp_path / "mine.png", tmp_path / "own.png"
    mine.write_text("precious")
    own.symlink_to(mine)
    links = [tmp_path / f"link{ending}" for ending in (".png", ".mp4", ".html", ".gallery", ".jpg")]
    for link in links[:-1]:
        link.symlink_to(mine)
    links[-1].symlink_to(links[0])  # one of this user's own that leads to one of another
    assert final_path(own) == final_path(mine) == mine.resolve()
    if os.geteuid() == 0:
        for link in links[:-1]:
            os.lchown(link, 12345, 12345)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 12345)
    for link in links:
        with pytest.raises(PermissionError, match="another user"), atomic_write(link):
            pass
    for link in (links[0], links[1], links[-1]):
        with pytest.raises(SinkError, match="another user"):
            parse_output(str(link))
    with pytest.raises(ValueError, match="another user"):
        contact_sheet_html(gallery, links[2])
    assert mine.read_text() == "precious"


@posix
def test_a_pipe_of_another_user_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "o.mkv"
    os.mkfifo(pipe)
    assert parse_output(str(pipe)).location == str(pipe)
    if os.geteuid() == 0:
        os.chown(pipe, 12345, 12345)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(SinkError, match=r"o\.mkv.*another user"):
        parse_output(str(pipe))
    assert parse_output("/dev/null", FileOptions(format="matroska")).location == "/dev/null"


@posix
def test_remains_are_removed_when_no_process_has_them(tmp_path: Path) -> None:
    final = tmp_path / "a.mp4"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from livemosaic.media.atomic_write import Part\n"
        f"parts = [Part(Path({str(final)!r}), folder=folder) for folder in (False, True)]\n"
        "print(flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    process.stdout.readline()
    before = left(tmp_path)
    assert len(before) == 2
    (tmp_path / before[1] / "x").touch() if (tmp_path / before[1]).is_dir() else None
    part = Part(final)
    assert part.remains == []
    assert set(before) < set(left(tmp_path))
    part.remove()
    process.kill()
    process.communicate(timeout=60)
    (tmp_path / ".b.mp4.0123456789abcdef.part").touch()  # of another output
    (tmp_path / ".a.mp4.old.part").touch()  # of another program
    part = Part(final)
    assert sorted(part.remains) == before
    part.remove()
    assert left(tmp_path) == [".a.mp4.old.part", ".b.mp4.0123456789abcdef.part"]
    assert remove_remains(tmp_path) == [".b.mp4.0123456789abcdef.part"]


@posix
def test_remains_on_a_network_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS makes a lock of a file's bytes of it, which needs a file that is open for writing."""
    import fcntl

    locked: list[bool] = []

    def lock(file: int) -> None:
        is_file = stat.S_ISREG(os.fstat(file).st_mode)
        if is_file and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        locked.append(is_file)

    monkeypatch.setattr("livemosaic.media.atomic_write.lock_file", lock)
    (tmp_path / ".a.shard.0123456789abcdef.part").touch()
    (tmp_path / ".frames.0123456789abcdef.part").mkdir()
    (tmp_path / ".b.0123456789abcdef.recording.mkv").write_bytes(b"1")
    assert len(remove_remains(tmp_path)) == 2
    assert recover_recordings(tmp_path) == [tmp_path / "b-recovered.mkv"]
    assert sorted(locked) == [False, True, True]
    assert left(tmp_path) == ["b-recovered.mkv"]


@pytest.mark.slow
@needs_jit
@posix
@pytest.mark.parametrize("name", ["o.mkv", "o_%04d.png"])
def test_a_killed_run(name: str, tmp_path: Path, program: Program, gallery: Gallery) -> None:
    words = [clip(tmp_path / "a.mp4"), tmp_path / name, "--gallery", gallery.path, *SMALL]
    endless = ["pattern:64x48@25", *words[1:], "--realtime"]
    process = spawn("run", *endless)
    deadline = time.monotonic() + 60
    while len(left(tmp_path)) == 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    remains = [n for n in left(tmp_path) if n.startswith(".")]
    assert len(remains) == 1
    # Another run of the same output leaves alone what this one has.
    assert program("run", *words).code == 0
    assert remains[0] in left(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    outcome = program("run", *words, "-y")
    assert outcome.code == 0
    # Of a live input, which cannot be repeated.
    kept = {"o.mkv": "o-recovered.mkv", "o_%04d.png": "o_%04d-recovered"}[name]
    assert f"{tmp_path / kept}: a recording that a killed run left" in outcome.err
    assert kept in left(tmp_path)
    assert not [n for n in left(tmp_path) if n.startswith(".")]


@posix
def test_files_in_a_folder_whose_name_was_taken(tmp_path: Path) -> None:
    """In a folder without the sticky bit, others can rename it and put a link in its place."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "x").write_text("precious")
    part = Part(tmp_path / "a", folder=True)
    part.path.rename(tmp_path / "away")
    part.path.symlink_to(mine)
    for text in (b"first", b"second"):
        with part.open_new("x") as file:
            file.write(text)
    assert (mine / "x").read_text() == "precious"
    assert (tmp_path / "away" / "x").read_bytes() == b"second"
    part.remove()
    assert (mine / "x").read_text() == "precious"
    assert not part.path.is_symlink()


@posix
def test_an_empty_folder_is_removed_while_too_many_files_are_open(tmp_path: Path) -> None:
    import resource

    part = Part(tmp_path / "a_%d.png", folder=True)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        part.remove()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert list(tmp_path.iterdir()) == []
