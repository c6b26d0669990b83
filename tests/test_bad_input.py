"""Damaged galleries, missing permissions, full disks, closed pipes and internal errors.

Each ends with one line that names the thing, the right exit code, and no new file. Wrong command
lines and inputs are in tests/test_messages.py, with the exact text of each message.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from livemosaic.gallery.gallery import Gallery

from .clips import picture
from .program import (
    COMMAND,
    ENVIRONMENT,
    SMALL,
    Outcome,
    Program,
    clip,
    finish,
    left,
    needs_jit,
    pictures,
    spawn,
    without_privileges,
)

FAILED, USAGE = 1, 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with videos, and an empty folder `o` for outputs."""
    (tmp_path / "o").mkdir()
    clip(tmp_path / "a.mp4")
    clip(tmp_path / "long.mkv", 60)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])  # its index is at the end
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("option", ["--gallery", "--config", "--map", "--away", "--size"])
def test_a_password_in_the_wrong_place_is_not_shown(option: str) -> None:
    outcome = finish(spawn("run", "pattern:64x64", "null", option, "http://me:SECRET@h/x.page"))
    assert outcome.code in (FAILED, USAGE)
    assert "h/x.page" in outcome.err
    assert "SECRET" not in outcome.err


def one_line(outcome: Outcome, code: int, *names: str) -> None:
    """The run failed with one line, which names the things; tests/test_messages.py has its text."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    # The first test that needs the kernels also gets the message that they are compiled.
    lines = [line for line in outcome.lines if "compiling for this processor" not in line]
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("livemosaic: error: ")
    assert all(name in lines[0] for name in names), outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no folder in use")
def test_a_current_folder_that_is_gone(folder: Path, program: Program) -> None:
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    (folder / "gone").rmdir()
    for subcommand in ("run", folder / "a.mp4", "x.mp4"), ("demo", "x.mp4"):
        one_line(program(*subcommand), FAILED, "the current folder")
    os.chdir(folder)


def test_an_existing_output_is_replaced_only_with_y(folder: Path, program: Program) -> None:
    (folder / "o" / "x.mp4").write_text("mine")
    for target in ("o/x.mp4", f"file://{folder}/o/x.mp4"):
        one_line(program("run", "a.mp4", target), USAGE, "x.mp4", "-y")
    one_line(program("demo", "o/x.mp4"), USAGE, "x.mp4", "-y")
    assert (folder / "o" / "x.mp4").read_text() == "mine"
    assert left(folder / "o") == ["x.mp4"]


@pytest.mark.parametrize(
    "words",
    [
        *(("run", "", "null"), ("run", "a.mp4", ""), ("run", "a.mp4", "--quiet", "")),
        *(("run", "a.mp4", "null", "--gallery", ""), ("demo", ""), ("gallery", "info", "")),
        *(("gallery", "build", "", "-o", "g.gallery"), ("gallery", "build", ".", "-o", "")),
        *(("gallery", "show", "photos", "-o", ""), ("gallery", "add", "", "a.jpg")),
    ],
)
def test_an_empty_argument_is_not_this_folder(
    words: tuple[str, ...], folder: Path, program: Program
) -> None:
    before = left(folder)
    one_line(program(*words), USAGE, "empty")
    assert left(folder) == before


@pytest.mark.parametrize("option", ["--cluster", "--tint", "--max-latency"])
def test_an_empty_value_names_its_option(option: str, program: Program) -> None:
    one_line(program("run", "a.mp4", "null", option, ""), USAGE, f"argument {option}: it is empty")


@pytest.mark.parametrize("words", [("p1.png", "p2.png", "o.png"), ("p1.png", "p2.png")])
def test_photos_of_a_pattern_without_quotes_are_not_replaced(
    words: tuple[str, ...], folder: Path, program: Program
) -> None:
    """A shell has made them of `o.png --gallery p*.png` or `--gallery p*.png o.png`."""
    for name in ("p1.png", "p2.png"):
        cv2.imwrite(name, picture(64, 48))
    data = (folder / "p2.png").read_bytes()
    outputs = ["o.png"] if "o.png" not in words else []
    outcome = program("run", "p1.png", "-y", *outputs, "--gallery", *words)
    one_line(outcome, USAGE, "p2.png", "--gallery '*.png'")
    assert (folder / "p2.png").read_bytes() == data


def test_a_path_and_its_address_are_one_output(folder: Path, program: Program) -> None:
    one_line(program("run", "a.mp4", "o/x.mp4", f"file://{folder}/o/x.mp4"), USAGE, "x.mp4")
    assert left(folder / "o") == []


@pytest.mark.parametrize("how", ["itself", "symlink", "hardlink", "address", "both addresses"])
def test_the_input_is_no_output(how: str, folder: Path, program: Program) -> None:
    source, target = folder / "o" / "x.mp4", folder / "o" / "y.mp4"
    shutil.copy("a.mp4", source)
    before = source.read_bytes()
    words: list[Any] = [source, target]
    if how == "itself":
        target = words[1] = source
    elif how.endswith(("address", "addresses")):
        target, words = (
            source,
            [source if how == "address" else f"file:{source}", f"file://{source}"],
        )
    elif how == "symlink":
        target.symlink_to(source)
    else:
        os.link(source, target)
    one_line(program("run", *words, "-y"), USAGE, Path(target).name)
    assert source.read_bytes() == before
    assert left(folder / "o") == sorted({"x.mp4", target.name})


# ---- galleries ---------------------------------------------------------------------------


def altered(gallery: Gallery, change: Callable[[bytearray], Any]) -> Path:
    assert gallery.path is not None
    data = bytearray(gallery.path.read_bytes())
    change(data)
    path = Path("bad.gallery")
    path.write_bytes(data)
    return path


DAMAGES: list[tuple[str, Callable[[bytearray], Any]]] = [
    ("a byte", lambda data: data.__setitem__(len(data) // 2, data[len(data) // 2] ^ 1)),
    ("the last byte", lambda data: data.__setitem__(-1, data[-1] ^ 1)),
    ("the end", lambda data: data.__delitem__(slice(-100, None))),
    ("all", lambda data: data.clear()),
    ("the first byte", lambda data: data.__setitem__(0, 0)),
]


@pytest.mark.parametrize(("what", "damage"), DAMAGES, ids=[what for what, _ in DAMAGES])
def test_a_damaged_gallery(
    what: str, damage: Callable[[bytearray], Any], folder: Path, program: Program, gallery: Gallery
) -> None:
    path = altered(gallery, damage)
    outcome = program("run", "a.mp4", "o/x.mp4", "--gallery", path)
    one_line(outcome, FAILED, "bad.gallery", "livemosaic gallery build")
    assert left(folder / "o") == []


@pytest.mark.parametrize("files", [(), ("a.jpg", "b.png")], ids=["none", "of zero bytes"])
def test_a_folder_without_photos(files: tuple[str, ...], folder: Path, program: Program) -> None:
    (folder / "photos").mkdir()
    for name in files:
        (folder / "photos" / name).touch()
    outcome = program("run", "a.mp4", "o/x.mp4", "--gallery", folder / "photos")
    assert outcome.code == FAILED
    assert [line for line in outcome.lines if "error: " in line] == outcome.lines[-1:]
    assert len(outcome.lines) <= 2  # it may say that it begins to build
    assert "photos" in outcome.lines[-1]
    assert left(folder / "o") == []


# ---- permissions and disks ---------------------------------------------------------------


posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")


@pytest.mark.slow
@posix
@pytest.mark.parametrize("what", ["input", "target", "pictures", "gallery"])
def test_permissions(what: str, folder: Path, gallery: Gallery) -> None:
    assert gallery.path is not None
    source, target, chosen = Path("a.mp4"), "o/x.mp4", Path(shutil.copy(gallery.path, "g.gallery"))
    refused = {"input": source, "gallery": chosen}.get(what, folder / "o")
    if what == "pictures":
        target = "o/x_%03d.png"
    refused.chmod(stat.S_IRUSR | stat.S_IXUSR if refused.is_dir() else 0)
    try:
        outcome = without_privileges("run", source, target, "--gallery", chosen)
    finally:
        refused.chmod(stat.S_IRWXU)
    one_line(outcome, FAILED, refused.name)
    assert left(folder / "o") == []


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True, timeout=60).returncode
    ):
        pytest.skip("this user cannot mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], timeout=60, check=True)


@pytest.mark.slow
@needs_jit
@pytest.mark.parametrize("name", ["x.mp4", "x.mkv", "x_%03d.png"])
def test_a_full_disk(
    name: str, folder: Path, full_disk: Path, program: Program, gallery: Gallery
) -> None:
    options = ["--scale", "8", "--tile", "16", "--gallery", gallery.path]
    one_line(program("run", "long.mkv", full_disk / name, *options), FAILED, name, "disk is full")
    assert left(full_disk) == []


@pytest.mark.parametrize("name", ["x.html", "x.png"])
def test_a_sheet_on_a_full_disk(
    name: str, full_disk: Path, program: Program, gallery: Gallery
) -> None:
    (full_disk / name).write_text("mine")
    (full_disk / "other").write_bytes(bytes(56 * 1024))  # some of the sheet fits, not all
    outcome = program("gallery", "show", gallery.path, "-y", "-o", full_disk / name)
    one_line(outcome, FAILED, name, "space")
    assert left(full_disk) == sorted([name, "other"])
    assert (full_disk / name).read_text() == "mine"


@needs_jit
def test_one_of_two_outputs_fails(
    folder: Path, full_disk: Path, program: Program, gallery: Gallery
) -> None:
    """The other one is finished; the failed one leaves nothing."""
    words = ["run", "long.mkv", "o/x.mkv", full_disk / "y_%03d.png", "--scale", "8"]
    outcome = program(*words, "--gallery", gallery.path)
    assert outcome.code == FAILED
    warning, kept, error = outcome.lines[-3:]
    assert re.search(r"warning: .*y_%03d\.png: .*disk is full", warning)
    assert "o/x.mkv" in kept
    assert re.search(r"error: .*y_%03d\.png: .*disk is full", error)
    assert (left(folder / "o"), left(full_disk)) == (["x.mkv"], [])
    assert len(pictures(folder / "o" / "x.mkv")) == len(pictures(folder / "long.mkv"))


# ---- standard input and output -----------------------------------------------------------


@pytest.mark.slow
@needs_jit
def test_standard_output_whose_reader_goes_away(folder: Path, gallery: Gallery) -> None:
    process = spawn("run", "pattern:64x48@25", "-", "--gallery", gallery.path, *SMALL)
    assert process.stdout is not None
    process.stdout.read(100)
    process.stdout.close()
    process.stdout = None
    one_line(finish(process), FAILED, "standard output", "reader")


@pytest.mark.slow
@needs_jit
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["-"], ["null", "--json", "--quiet"]])
def test_standard_output_on_a_full_disk(words: list[str], folder: Path, gallery: Gallery) -> None:
    with open("/dev/full", "wb") as full:
        process = spawn("run", "a.mp4", *words, "--gallery", gallery.path, *SMALL, stdout=full)
        one_line(finish(process), FAILED, "standard output")


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", b"hello\n" * 1000, b"half"], ids=["empty", "text", "half"])
def test_standard_input(data: bytes, folder: Path) -> None:
    if data == b"half":
        data = Path("cut.mp4").read_bytes()
    process = spawn("run", "-", "o/x.mp4", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(data)
    one_line(finish(process), FAILED, "standard input")
    assert left(folder / "o") == []


@pytest.mark.slow
@posix
@needs_jit
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_standard_file(closed: int, folder: Path, gallery: Gallery) -> None:
    """The first file that is opened gets its number: livemosaic must not print into it."""
    words = ["run", "a.mp4", "o/x.mp4", "--gallery", str(gallery.path), *SMALL]
    shell = f'exec "$@" {closed}>&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *COMMAND, *words],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert left(folder / "o") == ["x.mp4"]


@pytest.mark.slow
@posix
def test_json_for_a_closed_standard_output(folder: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "run", "a.mp4", "null", "--json"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    one_line(Outcome(done.returncode, done.stdout, done.stderr), USAGE, "standard output")


# ---- the program's own mistakes ----------------------------------------------------------


def opencv_without_memory() -> cv2.error:
    error = cv2.error("Failed to allocate 4800000000 bytes")
    error.code = cv2.Error.StsNoMem
    return error


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ZeroDivisionError("one\ntwo"), "internal error: ZeroDivisionError: one two; run with -v"),
        (MemoryError(), "not enough memory"),
        (opencv_without_memory(), "not enough memory"),
        (RuntimeError("can't start new thread"), "no more threads"),
    ],
)
def test_no_traceback_unless_asked(
    error: Exception,
    name: str,
    folder: Path,
    program: Program,
    gallery: Gallery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("livemosaic.mosaic.mosaic.Mosaic.process", fail)
    words = ["run", "a.mp4", "o/x.mp4", "--gallery", gallery.path, *SMALL]
    one_line(program(*words), FAILED, name)
    if isinstance(error, ZeroDivisionError):
        assert "Traceback" in program(*words, "-v").err
    assert left(folder / "o") == []
