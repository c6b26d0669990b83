"""Files that appear whole under their final names, or not at all.

Every file and folder that this program makes for a user begins as a `Part`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..unfinished import add_unfinished, completing, forget_unfinished

if sys.platform != "win32":
    import fcntl

_NAME_LENGTH = 40  # of the final name, so that the hidden one has at most 255 bytes
_TOKEN_BYTES = 8
_REMAINS = re.compile(rf"(?s)\..*\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.part")
_RECORDING = re.compile(rf"(?s)\.(.*)\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.recording(\.[^.]+)?")
_MAX_LINKS = 40  # one after the other, as Linux follows them

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_LOOK = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_NONE = -1


class Part:
    """An unfinished file or folder: new, hidden, and locked while this process has it.

    It is in the folder of the final path, because a rename is atomic only within one file system.
    Its name cannot be guessed, and it is created exclusively: links and files that others put into
    that folder are never opened. Parts of the same path that a killed run left are removed first
    (on Windows, files only).

    Attributes
    ----------
    path : its own path
    remains : names of the parts that were removed
    recovered : paths of the recordings that killed runs left, see `recover_recordings`

    Raises
    ------
    OSError : it cannot be created
    """

    def __init__(self, final: Path, *, folder: bool = False, recording: bool = False) -> None:
        prefix = f".{final.name[:_NAME_LENGTH]}."
        self.remains = remove_remains(final.parent, prefix)
        self.recovered = recover_recordings(final.parent)
        ending = ".part"
        if recording:  # it plays at any moment
            prefix = f".{final.stem[:_NAME_LENGTH]}."
            ending = f".recording{final.suffix[:_NAME_LENGTH]}"
        while True:
            self.path = final.with_name(f"{prefix}{secrets.token_hex(_TOKEN_BYTES)}{ending}")
            add_unfinished(self.path)
            if folder:
                self.path.mkdir(mode=0o700)
                try:
                    self._file = _NONE if sys.platform == "win32" else os.open(self.path, _LOOK)
                except OSError:  # too many open files, for example
                    self.path.rmdir()
                    raise
            else:
                self._file = os.open(self.path, _NEW, 0o666)
            if _lock(self._file, self.path):
                return
            self.unlock()

    def open(self) -> BinaryIO:
        """The file, to be written. The part stays locked when it is closed."""
        return os.fdopen(os.dup(self._file), "wb")

    def open_new(self, name: str) -> BinaryIO:
        """A new file in the folder, to be written, in place of one that has the name."""
        path: str | Path = self.path / name
        folder: dict[str, int] = {}
        if self._file != _NONE:  # this folder, whatever came to its place since
            path, folder = name, {"dir_fd": self._file}
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path, **folder)
        return os.fdopen(os.open(path, _NEW, 0o666, **folder), "wb")

    @property
    def ffmpeg_name(self) -> Path:
        """A path by which FFmpeg opens this file, whatever came to its place since."""
        name = Path(f"/dev/fd/{self._file}")
        return name if self._file != _NONE and name.exists() else self.path

    def move(self, final: Path) -> None:
        """Give a finished file its name, in place of a file that has it."""
        self.close()
        with completing(final):
            os.replace(self.path, final)
        self.unlock()

    def close(self) -> None:
        """Close it to be moved or removed; on Windows an open file cannot be."""
        if sys.platform == "win32":
            self.unlock()

    def remove(self) -> None:
        """Remove what is still there. Never raises."""
        self.close()
        with contextlib.suppress(OSError):
            _remove(self.path)
        self.unlock()

    def unlock(self) -> None:
        """Let other runs remove it. May be called twice, from any thread."""
        forget_unfinished(self.path)
        file, self._file = self._file, _NONE
        if file != _NONE:
            os.close(file)


def remove_remains(folder: Path, prefix: str = ".") -> list[str]:
    """Remove parts whose names begin so and that no process has; return their names."""
    removed = []
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(prefix) and _REMAINS.fullmatch(name):
                with contextlib.suppress(OSError):
                    _remove_unlocked(folder / name)
                    removed.append(name)
    return removed


def recover_recordings(folder: Path) -> list[Path]:
    """Give recordings of a live input that killed runs left a visible name; return their paths.

    A live input cannot be repeated, so they are kept: `a.mp4` as `a-recovered.mp4`.
    """
    recovered = []
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if (match := _RECORDING.fullmatch(name)) is not None:
                stem, ending = match[1], match[2] or ""
                with contextlib.suppress(OSError):
                    with _unlocked(folder / name):
                        path = free_path(folder / f"{stem}-recovered{ending}")
                        os.rename(folder / name, path)
                    recovered.append(path)
    return recovered


def free_path(path: Path) -> Path:
    """The path, or the first with a number from 2 that no file has."""
    others = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(it for it in itertools.chain([path], others) if not os.path.lexists(it))


def _remove_unlocked(path: Path) -> None:
    """Remove a part; `OSError` if a process has it."""
    with _unlocked(path):
        if sys.platform == "win32":
            path.unlink()  # fails while it is open, and for folders
        else:
            _remove(path)


@contextlib.contextmanager
def _unlocked(path: Path) -> Iterator[None]:
    """For a block that moves or removes a part; `OSError` if a process has it."""
    if sys.platform == "win32":
        yield  # the system refuses while it is open
    else:
        file = os.open(path, _LOOK)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(file)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _lock(file: int, path: Path) -> bool:
    """Lock a new part; False if another run took it for remains meanwhile."""
    if sys.platform != "win32":  # there, an open file cannot be removed
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a disk without locks, where no run can remove remains
            return True
        try:
            return os.path.samestat(os.fstat(file), os.lstat(path))
        except FileNotFoundError:
            return False
    return True


def final_path(path: str | Path) -> Path:
    """The path to write: of a link, the file that it leads to.

    `PermissionError` for a link or a pipe of another user. In a folder for all, a link could lead
    to any file of this user's, and a pipe gives that user all that is written.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a name has no zero bytes")
    link = Path(path)
    for _ in range(_MAX_LINKS):
        if not link.is_symlink():
            break
        if _is_foreign(link.lstat()):
            raise PermissionError(errno.EPERM, "it is a link that another user has made")
        link = link.parent / os.readlink(link)
    final = Path(os.path.realpath(path))
    # Only root makes devices.
    if final.is_fifo() and _is_foreign(final.stat()):
        raise PermissionError(errno.EPERM, "it is a pipe that another user has made")
    return final


def _is_foreign(status: os.stat_result) -> bool:
    return hasattr(os, "geteuid") and status.st_uid not in (0, os.geteuid())


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a hidden file that replaces `path` when the block ends, or is removed if it raises.

    If `path` is a link, the file that it leads to is replaced, not the link. After an `OSError`
    nothing is left.
    """
    final = final_path(path)
    part = Part(final)
    try:
        with part.open() as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.move(final)
    except BaseException:
        part.remove()
        raise
