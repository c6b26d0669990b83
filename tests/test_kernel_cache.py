"""Where machine code is kept, and that no run depends on it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numba
import pytest

from livemosaic import open_gallery
from livemosaic.jit import (
    find_cache_folder,
    kernel,
    processor_digest,
    source_digest,
    temporary_folder,
)
from tests.conftest import JIT, ROOT

_NO_FOLDER = "x" * 300  # no file system takes such a name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty places of all kinds; a package whose folder cannot be written, not even by root."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "jit.py").touch()
    (tmp_path / "package" / "__pycache__").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "user" / name)
    return tmp_path


def test_the_first_place_that_can_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = home / "package"
    name = f"kernels-{source_digest(package)}-{processor_digest()}"
    user = home / "user" / "livemosaic" / name
    assert find_cache_folder(package) == user
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(home / "mine"))
    assert find_cache_folder(package) == home / "mine" / name
    for refused in (package / "__pycache__" / "mine", home / _NO_FOLDER):
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(refused))
        assert find_cache_folder(package) == user
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    (package / "__pycache__").unlink()
    old = package / "__pycache__" / "kernels-old"
    old.mkdir(parents=True)
    assert find_cache_folder(package) == package / "__pycache__" / name
    assert not old.exists()


@pytest.mark.parametrize("setting", ["CPU_NAME", "CPU_FEATURES", "__version__"])
def test_each_processor_has_a_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """Several can share a home: none removes another's."""
    (home / "package" / "__pycache__").unlink()
    folder = find_cache_folder(home / "package")
    where = numba if setting == "__version__" else numba.config
    monkeypatch.setattr(where, setting, "generic", raising=True)
    assert find_cache_folder(home / "package") != folder
    assert folder.exists()


@pytest.mark.parametrize("place", [_NO_FOLDER, "package/__pycache__"])
def test_a_temporary_folder_where_there_is_no_other(
    home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: home / place / name)
    folder = find_cache_folder(home / "package")
    assert folder.parent == home / "temporary"
    assert folder.is_dir()
    assert find_cache_folder(home / "package") == folder  # the next run finds it


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="each user has a folder of his own")
@pytest.mark.parametrize("trap", ["open", "another's", "link", "file"])
def test_a_temporary_folder_that_another_user_can_write(
    home: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    folder = temporary_folder("kernels-0")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert str(os.getuid()) in folder.name
    if trap == "open":
        folder.chmod(0o777)
    elif trap == "another's":
        owner = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: owner)
        folder.rename(folder.with_name(f"livemosaic-{owner}-kernels-0"))
    else:
        folder.rmdir()
        if trap == "link":
            (home / "theirs").mkdir(mode=0o700)
            folder.symlink_to(home / "theirs")
        else:
            folder.touch(mode=0o700)
    other = temporary_folder("kernels-0")
    assert other.name != folder.name
    assert other.parent == home / "temporary"
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    assert not list((home / "theirs").glob("*")) if trap == "link" else True


def test_no_place_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: home / _NO_FOLDER / name)
    monkeypatch.setattr(tempfile, "tempdir", str(home / _NO_FOLDER))
    assert not find_cache_folder(home / "package").exists()


def test_the_folder_is_named_by_the_content_of_all_sources(tmp_path: Path) -> None:
    """A kernel contains constants of other modules and of those below it."""
    other = tmp_path / "mosaic" / "match" / "other.py"
    other.parent.mkdir(parents=True)
    (tmp_path / "jit.py").write_text("ONE = 1\n")
    digests = []
    for text in ("TWO = 2\n", "TWO = 3\n", "TWO = 2\n"):
        other.write_text(text)
        digests.append(source_digest(tmp_path))
    (tmp_path / "notes.txt").write_text("not a source")
    assert digests[0] == digests[2] == source_digest(tmp_path)
    assert digests[0] != digests[1]


# ---- keeping ----------------------------------------------------------------------------------

needs_jit = pytest.mark.skipif(not JIT, reason="plain Python is not kept")


def double(number: int) -> int:
    return 2 * number


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes and the time of each file."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@needs_jit
def test_a_full_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits are for POSIX systems")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    doubled = kernel(double, folder=tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        assert [doubled(4), doubled(5)] == [8, 10]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(tmp_path) == {}
    assert kernel(double, folder=tmp_path)(4) == 8
    assert contents(tmp_path)


@needs_jit
def test_a_kernel_that_has_no_place(tmp_path: Path) -> None:
    """Numba has no folder for a function that is in no file."""
    names: dict[str, Any] = {}
    exec("def triple(number): return 3 * number", names)
    assert kernel(names["triple"], folder=tmp_path)(4) == 12
    assert contents(tmp_path) == {}


@needs_jit
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut off", "zeros", "another file", "a folder"])
def test_damaged_machine_code_is_made_again(
    tmp_path: Path, ending: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "livemosaic")
    assert kernel(double, folder=tmp_path)(4) == 8
    whole = contents(tmp_path)
    (damaged,) = tmp_path.rglob(f"*.{ending}")
    size = damaged.stat().st_size
    if damage == "a folder":
        damaged.unlink()
        damaged.mkdir()
    else:
        damaged.write_bytes(
            {
                "empty": b"",
                "cut off": damaged.read_bytes()[: size // 2],
                "zeros": bytes(size),
                "another file": b"no pickle",
            }[damage]
        )
    again = kernel(double, folder=tmp_path)
    assert [again(4), again(5)] == [8, 10]
    if damage == "a folder":  # nothing can be written, and the run goes on all the same
        return
    assert "is damaged; compiling" in caplog.text
    made = contents(tmp_path)
    assert made.keys() == whole.keys()
    assert kernel(double, folder=tmp_path)(4) == 8
    assert contents(tmp_path) == made  # it was read, not written


@needs_jit
def test_an_error_of_the_kernel_itself(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        kernel(inverse, folder=tmp_path)(0)
    assert contents(tmp_path)


def inverse(number: int) -> float:
    return 1 / number


def test_numba_is_left_as_it_is(tmp_path: Path) -> None:
    """A program that uses livemosaic as a library may have a cache of its own."""
    from numba import config

    before = vars(config)["CACHE_DIR"]
    kernel(double, folder=tmp_path)
    assert vars(config)["CACHE_DIR"] == before


_NO_RIGHTS = """
import os, sys
from pathlib import Path
import numba, platformdirs.unix
from livemosaic import jit

os.setgroups([])
os.setgid(65534)
os.setuid(65534)  # this user may not be able to read what is imported from now on
print(jit.find_cache_folder(Path(sys.argv[1])))
"""


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root becomes a user without rights"
)
def test_a_user_without_a_home(tmp_path: Path) -> None:
    """The package belongs to another user, and so does HOME, which cannot even be read."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir(mode=0o700)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "jit.py").touch()
    temporary.mkdir()
    temporary.chmod(0o1777)
    done = subprocess.run(
        [sys.executable, "-c", _NO_RIGHTS, str(tmp_path / "package")],
        env={
            "HOME": str(home),
            "NUMBA_CACHE_DIR": str(home / "numba"),
            "TMPDIR": str(temporary),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.parent == temporary
    assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (65534, 0o700)


@pytest.mark.slow
@needs_jit
def test_a_live_picture_waits_for_no_kernel() -> None:
    """Whatever its options are, and whichever key is pressed; nor a photo that joins."""
    open_gallery("emoji")  # so that the program opens its file: building it needs kernels, too
    command = [sys.executable, "-m", "tests.kernels_program", "emoji"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
