"""Everything that an input, an output, a disk or a person can get wrong.

Each ends with one clear line, the right exit code, and nothing new beside the target.
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
import numpy as np
import pytest

from livemosaic.gallery.file_format import Gallery

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
)

WORLD, USAGE = 1, 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with good and bad inputs, and an empty folder `o` for outputs."""
    (tmp_path / "o").mkdir()
    clip(tmp_path / "a.mp4")
    clip(tmp_path / "long.mkv", 60)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello\n" * 100)
    (tmp_path / "text.txt").write_text("hello\n" * 100)
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])  # its index is at the end
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    cv2.imwrite(str(tmp_path / "p.png"), picture(64, 48))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_line(outcome: Outcome, code: int, says: str) -> None:
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    # Whichever test is the first to need the kernels is told that they are being compiled.
    said = [line for line in outcome.lines if "compiling for this processor" not in line]
    assert len(said) == 1, outcome.err
    assert said[0].startswith("livemosaic: error: ")
    assert re.search(says, said[0]), outcome.err


INPUTS = [
    ("nothere.mp4", "nothere.mp4: .*no such file"),
    ("empty.mp4", "empty.mp4: the file is empty"),
    ("o", "o: it is a folder"),
    ("text.mp4", "text.mp4: not a video"),
    ("text.txt", "text.txt: it is a text file"),
    ("cut.mp4", "cut.mp4: not a video .*cut off"),
    ("noise.mp4", "noise.mp4: not a video"),
    ("q_%04d.png", "q_%04d.png: no picture has such a name"),
    ("http://127.0.0.1:9/x.mp4", "http://127.0.0.1:9/x.mp4: .*nothing answers there"),
]


@pytest.mark.parametrize(("name", "says"), INPUTS, ids=[name for name, _ in INPUTS])
def test_inputs(name: str, says: str, folder: Path, program: Program) -> None:
    one_line(program("run", name, "o/x.mp4"), WORLD, says)
    assert left(folder / "o") == []


def test_an_address_that_is_none(folder: Path, program: Program) -> None:
    outcome = program("run", "rtsp://me:secret@[::1/x", "o/x.mp4")
    one_line(outcome, USAGE, r"rtsp://\[::1/x: not a valid address")


def test_a_pattern_that_makes_no_sense(folder: Path, program: Program) -> None:
    one_line(program("run", "pattern:7x7", "o/x.mp4"), USAGE, "pattern:7x7: ")


OUTPUTS = [
    ("o", WORLD, "o: it is a folder"),
    ("o/none/x.mp4", WORLD, "the folder .*o/none does not exist"),
    ("o/x.xyz", USAGE, r"the ending \.xyz is not known"),
    ("o/x", USAGE, "it has no ending"),
    ("o/x.png", USAGE, "a video does not fit into one picture"),
    ("rtmp://me:secret@[::1/x", USAGE, r"rtmp://\[::1/x: not a valid address"),
    ("rtmp://127.0.0.1:9/x", WORLD, "rtmp://127.0.0.1:9/x: .*nothing answers there"),
]


@pytest.mark.parametrize(("name", "code", "says"), OUTPUTS, ids=[name for name, *_ in OUTPUTS])
def test_outputs(
    name: str, code: int, says: str, folder: Path, program: Program, gallery: Gallery
) -> None:
    one_line(program("run", "a.mp4", name, "--gallery", gallery.path), code, says)
    assert left(folder / "o") == []


WORDS = [
    ("--codec x265", "--codec x265: .*did you mean libx265"),
    ("--codec aac", "--codec aac: .*audio"),
    ("--codec libvpx", "--codec libvpx: .*mp4"),
    ("--codec ffv1 --preset fast", "ffv1"),
    ("--crf 99", "--crf 99: "),
    ("--crf=-1", "--crf -1: "),
    ("--profile nope", "--profile: invalid choice"),
    ("--tile 7", "--tile 7: must be an even number"),
    ("--tile 3", "--tile 3: must be"),
    ("--tile 16 --columns 20 --scale 2", "tile size, columns and output size exclude each other"),
    ("--size 101x99", "--size 101x99: both sides must be even"),
    ("--size 0x0", "--size 0x0|output of 0x0"),
    ("--size 200000x100000", "200000x100000"),
    ("--size=-4x4", "-4x4"),
    ("--scale 2 --size 64x48", "scale and size exclude each other"),
    ("--overlay nan", "--overlay nan: must be a number from 0 to 1"),
    ("--fps 0", "--fps 0: must be"),
    ("--duration 0", "--duration 0: must be"),
    ("--config none.toml", "none.toml: cannot be read"),
    ("--nope", "unknown: --nope; see livemosaic run --help"),
    ("--dur 3", "unknown: --dur 3; see livemosaic run --help"),
    ("--tile", "argument --tile: expected one argument; see livemosaic run --help"),
    ("--progress maybe", "argument --progress: invalid choice"),
]


@pytest.mark.parametrize(("words", "says"), WORDS, ids=[words for words, _ in WORDS])
def test_words(words: str, says: str, folder: Path, program: Program, gallery: Gallery) -> None:
    outcome = program("run", "a.mp4", "o/x.mp4", "--gallery", gallery.path, *words.split())
    one_line(outcome, USAGE, says)
    assert left(folder / "o") == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "required: SUBCOMMAND; see livemosaic --help"),
        ("go", "invalid choice: 'go'"),
        ("run a.mp4", "required: OUTPUT; see livemosaic run --help"),
        ("run -dash.mp4 o/x.mp4", r"-dash\.mp4: .*write \./-dash\.mp4"),
        ("run a.mp4 -dash.mp4 o/x.mp4", r"-dash\.mp4: .*write \./-dash\.mp4"),
        ("run a.mp4 -dash.mp4", r"-dash\.mp4: .*write \./-dash\.mp4"),
        ("run a.mp4 o/x.mp4 --gallery -my.gallery", r"-my\.gallery: .*write \./-my\.gallery"),
        ("run -folder", r"-folder: .*write \./-folder"),
        ("run a.mp4 --overlay -0.5", "required: OUTPUT; see livemosaic run --help"),
        ("run a.mp4 - --json", "both want standard output"),
        ("run a.mp4 o/x.mp4 ./o/x.mp4", "given twice"),
        ("run a.mp4 - -", "given twice"),
        ("run p.png o/x.png --crf 20", "--crf 20: o/x.png"),
        ("demo o/x.mp4 o/y.mp4", "unknown: o/y.mp4; see livemosaic demo --help"),
        ("gallery", "COMMAND; see livemosaic gallery --help"),
    ],
)
def test_sentences(words: str, says: str, folder: Path, program: Program) -> None:
    (folder / "-folder").mkdir()
    one_line(program(*words.split()), USAGE, says)
    assert left(folder / "o") == []


@pytest.mark.skipif(sys.platform == "win32", reason="no folder in use can be removed there")
def test_a_current_folder_that_is_gone(folder: Path, program: Program) -> None:
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    (folder / "gone").rmdir()
    for verb in ("run", folder / "a.mp4", "x.mp4"), ("demo", "x.mp4"):
        one_line(program(*verb), WORLD, "the current folder does not exist any more")
    os.chdir(folder)


def test_an_existing_output_wants_to_be_named(folder: Path, program: Program) -> None:
    (folder / "o" / "x.mp4").write_text("mine")
    one_line(program("run", "a.mp4", "o/x.mp4"), USAGE, "x.mp4: it exists already; add -y")
    address = f"file://{folder}/o/x.mp4"
    one_line(program("run", "a.mp4", address), USAGE, "x.mp4: it exists already; add -y")
    one_line(program("demo", "o/x.mp4"), USAGE, "x.mp4: it exists already; add -y")
    assert (folder / "o" / "x.mp4").read_text() == "mine"
    assert left(folder / "o") == ["x.mp4"]


def test_an_address_of_a_file_is_no_other_output(folder: Path, program: Program) -> None:
    outcome = program("run", "a.mp4", "o/x.mp4", f"file://{folder}/o/x.mp4")
    one_line(outcome, USAGE, "the same output is given twice")


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
    one_line(program("run", *words, "-y"), USAGE, "input and output are the same")
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


GALLERIES: list[tuple[str, Callable[[bytearray], Any], str]] = [
    ("a byte", lambda data: data.__setitem__(len(data) // 2, data[len(data) // 2] ^ 1), "altered"),
    ("the last byte", lambda data: data.__setitem__(-1, data[-1] ^ 1), "altered"),
    ("the end", lambda data: data.__delitem__(slice(-100, None)), "cut off"),
    ("all", lambda data: data.clear(), "it is empty"),
    ("the first byte", lambda data: data.__setitem__(0, 0), "it is not a gallery"),
]


@pytest.mark.parametrize(("what", "change", "says"), GALLERIES, ids=[g[0] for g in GALLERIES])
def test_a_damaged_gallery(
    what: str, change: Any, says: str, folder: Path, program: Program, gallery: Gallery
) -> None:
    path = altered(gallery, change)
    outcome = program("run", "a.mp4", "o/x.mp4", "--gallery", path)
    one_line(outcome, WORLD, f"bad.gallery.*{says}.*build")
    assert left(folder / "o") == []


def test_no_such_gallery(folder: Path, program: Program) -> None:
    outcome = program("run", "a.mp4", "o/x.mp4", "--gallery", "nosuch")
    one_line(outcome, WORLD, "no gallery 'nosuch'")
    assert left(folder / "o") == []


@pytest.mark.parametrize("files", [(), ("a.jpg", "b.png")], ids=["none", "of zero bytes"])
def test_a_folder_without_photos(files: tuple[str, ...], folder: Path, program: Program) -> None:
    (folder / "photos").mkdir()
    for name in files:
        (folder / "photos" / name).touch()
    outcome = program("run", "a.mp4", "o/x.mp4", "--gallery", folder / "photos")
    assert outcome.code == WORLD
    assert [line for line in outcome.lines if "error: " in line] == outcome.lines[-1:]
    assert len(outcome.lines) <= 2  # it may say that it begins to build
    assert "photos" in outcome.lines[-1]
    assert left(folder / "o") == []


# ---- rights and disks --------------------------------------------------------------------


def without_privileges(*words: Any) -> Outcome:
    """Run as somebody to whom the rights of files apply."""
    command = [*COMMAND, *map(str, words)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may do everything, and setpriv is not there to change that")
        drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        if subprocess.run([*drop, "true"], capture_output=True).returncode:
            pytest.skip("root may do everything, and this system does not let it be less")
        command = [*drop, *command]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    return Outcome(done.returncode, done.stdout, done.stderr)


posix = pytest.mark.skipif(sys.platform == "win32", reason="rights are another matter there")


@posix
@pytest.mark.parametrize("what", ["input", "target", "pictures", "gallery"])
def test_rights(what: str, folder: Path, gallery: Gallery) -> None:
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
    one_line(outcome, WORLD, rf"{refused.name}.*([Pp]ermission|cannot be written)")
    assert left(folder / "o") == []


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted by this user here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@needs_jit
@pytest.mark.parametrize("name", ["x.mp4", "x.mkv", "x_%03d.png"])
def test_a_full_disk(
    name: str, folder: Path, full_disk: Path, program: Program, gallery: Gallery
) -> None:
    options = ["--scale", "8", "--tile", "16", "--gallery", gallery.path]
    one_line(
        program("run", "long.mkv", full_disk / name, *options), WORLD, f"{name}: .*disk is full"
    )
    assert left(full_disk) == []


@pytest.mark.parametrize("name", ["x.html", "x.png"])
def test_a_sheet_on_a_full_disk(
    name: str, full_disk: Path, program: Program, gallery: Gallery
) -> None:
    (full_disk / name).write_text("mine")
    (full_disk / "other").write_bytes(bytes(56 * 1024))  # some of the sheet fits, not all
    outcome = program("gallery", "show", gallery.path, "-y", "-o", full_disk / name)
    one_line(outcome, WORLD, f"cannot write '.*{name}': No space left")
    assert left(full_disk) == sorted([name, "other"])
    assert (full_disk / name).read_text() == "mine"


@needs_jit
def test_one_of_two_outputs_fails(
    folder: Path, full_disk: Path, program: Program, gallery: Gallery
) -> None:
    """The other one is finished; nothing is left of this."""
    words = ["run", "long.mkv", "o/x.mkv", full_disk / "y_%03d.png", "--scale", "8"]
    outcome = program(*words, "--gallery", gallery.path)
    assert outcome.code == WORLD
    warning, kept, error = outcome.lines[-3:]
    assert re.search("warning: .*y_%03d.png: .*disk is full.*; the other outputs go on", warning)
    assert "completed: o/x.mkv" in kept
    assert re.search("error: .*y_%03d.png: .*disk is full", error)
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
    one_line(finish(process), WORLD, "standard output: .*the reader has gone away")


@pytest.mark.slow
@needs_jit
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["-"], ["null", "--json", "--quiet"]])
def test_standard_output_on_a_full_disk(words: list[str], folder: Path, gallery: Gallery) -> None:
    with open("/dev/full", "wb") as full:
        process = spawn("run", "a.mp4", *words, "--gallery", gallery.path, *SMALL, stdout=full)
        one_line(finish(process), WORLD, "standard output: .*([Nn]o space|disk is full)")


@pytest.mark.parametrize("data", [b"", b"hello\n" * 1000, b"half"], ids=["empty", "text", "half"])
def test_standard_input(data: bytes, folder: Path) -> None:
    if data == b"half":
        data = Path("cut.mp4").read_bytes()
    process = spawn("run", "-", "o/x.mp4", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(data)
    one_line(finish(process), WORLD, "standard input: (not a video|it is a text file)")
    assert left(folder / "o") == []


@posix
@needs_jit
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_standard_file(closed: int, folder: Path, gallery: Gallery) -> None:
    """The first file that is opened gets its number: nothing may be written into that."""
    words = ["run", "a.mp4", "o/x.mp4", "--gallery", str(gallery.path), *SMALL]
    shell = f'exec "$@" {closed}>&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *COMMAND, *words],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert left(folder / "o") == ["x.mp4"]


@posix
def test_json_for_a_closed_standard_output(folder: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "run", "a.mp4", "null", "--json"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    one_line(Outcome(done.returncode, done.stdout, done.stderr), USAGE, "standard output is closed")


# ---- the program's own mistakes ----------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ZeroDivisionError("one\ntwo"), "internal error: ZeroDivisionError: one two; run with -v"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_no_traceback_unless_asked(
    error: Exception,
    says: str,
    folder: Path,
    program: Program,
    gallery: Gallery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("livemosaic.mosaic.mosaic.Mosaic.process", fail)
    words = ["run", "a.mp4", "o/x.mp4", "--gallery", gallery.path, *SMALL]
    one_line(program(*words), WORLD, says)
    if isinstance(error, ZeroDivisionError):
        assert "Traceback" in program(*words, "-v").err
    assert left(folder / "o") == []
