"""Where machine code is kept, and that nothing depends on its being kept."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from livemosaic import jit as kernels
from tests.conftest import JIT, ROOT

_NO_FOLDER = "x" * 300  # no file system takes such a name, whoever asks


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty places of all kinds; a package whose folder cannot be written, not even by root."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "jit.py").touch()
    (tmp_path / "package" / "__pycache__").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "package" / "jit.py"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "user" / name)
    return tmp_path


def test_the_first_place_that_can_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"kernels-{kernels._sources()}"
    user = home / "user" / "livemosaic" / name
    assert kernels._cache_folder() == user
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(home / "mine"))
    assert kernels._cache_folder() == home / "mine" / name
    for refused in (home / "package" / "__pycache__" / "mine", home / _NO_FOLDER):
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(refused))
        assert kernels._cache_folder() == user
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    (home / "package" / "__pycache__").unlink()
    old = home / "package" / "__pycache__" / "kernels-old"
    old.mkdir(parents=True)
    assert kernels._cache_folder() == home / "package" / "__pycache__" / name
    assert not old.exists()


@pytest.mark.parametrize("place", [_NO_FOLDER, "package/__pycache__"])
def test_a_temporary_folder_where_there_is_no_other(
    home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: home / place / name)
    folder = kernels._cache_folder()
    assert folder.parent == home / "temporary"
    assert folder.is_dir()
    assert kernels._cache_folder() == folder  # the next run finds it


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="others share no folder for temporary files")
@pytest.mark.parametrize("trap", ["open", "another's", "link", "file"])
def test_a_temporary_folder_that_another_user_can_write(
    home: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    folder = kernels._temporary_folder("kernels-0")
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
    other = kernels._temporary_folder("kernels-0")
    assert other.name != folder.name
    assert other.parent == home / "temporary"
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    assert not list((home / "theirs").glob("*")) if trap == "link" else True


def test_no_place_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: home / _NO_FOLDER / name)
    monkeypatch.setattr(tempfile, "tempdir", str(home / _NO_FOLDER))
    assert not kernels._cache_folder().exists()


# ---- keeping ----------------------------------------------------------------------------------

needs_jit = pytest.mark.skipif(not JIT, reason="plain Python is not kept")


def double(number: int) -> int:
    return 2 * number


@needs_jit
def test_machine_code_that_cannot_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core.caching import IndexDataCacheFile

    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kernels, "KERNELS", tmp_path)
    monkeypatch.setattr(IndexDataCacheFile, "save", refuse)
    assert kernels.kernel(double)(4) == 8
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@needs_jit
def test_a_kernel_that_has_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core.caching import CacheImpl

    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert kernels.kernel(double)(4) == 8


@needs_jit
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"no pickle"])
def test_damaged_machine_code_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, content: bytes
) -> None:
    monkeypatch.setattr(kernels, "KERNELS", tmp_path)
    assert kernels.kernel(double)(4) == 8
    (damaged,) = tmp_path.rglob(f"*.{ending}")
    damaged.write_bytes(content)
    for hits in (0, 1):
        again: Any = kernels.kernel(double)
        assert again(4) == 8
        assert sum(again.stats.cache_hits.values()) == hits


_NO_RIGHTS = """
import os, sys
from pathlib import Path
import platformdirs.unix
from livemosaic import jit as kernels

os.setgroups([])
os.setgid(65534)
os.setuid(65534)  # what is imported from now on may be out of reach
kernels.__file__ = sys.argv[1]
print(kernels._cache_folder())
"""


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root becomes a user without rights"
)
def test_a_user_without_a_home(tmp_path: Path) -> None:
    """The package belongs to another user, and so does HOME, which cannot even be looked into."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir(mode=0o700)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "jit.py").touch()
    temporary.mkdir()
    temporary.chmod(0o1777)
    done = subprocess.run(
        [sys.executable, "-c", _NO_RIGHTS, str(tmp_path / "package" / "jit.py")],
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
