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
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from ..errors import words_of
from ..unfinished import add_unfinished, completing, forget_unfinished
from .file_lock import lock_file, take_lock

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

    Raises
    ------
    OSError : it cannot be created
    """

    def __init__(self, final: Path, *, folder: bool = False, recording: bool = False) -> None:
        self._folder = _NONE  # that it is in, whatever name that folder gets
        prefix = _prefix(final)
        self.remains = remove_remains(final.parent, prefix)
        ending = ".part"
        if recording:  # it plays at any moment
            prefix = f".{final.stem[:_NAME_LENGTH]}."
            ending = ".recording" if folder else f".recording{final.suffix[:_NAME_LENGTH]}"
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
                self._folder = _open_folder(final.parent)
                return
            self.unlock()

    def open(self) -> BinaryIO:
        """The file, to be written. The part stays locked when it is closed."""
        return os.fdopen(os.dup(self._file), "wb")

    def open_unbuffered(self) -> FileIO:
        """The file, to be read and written without a buffer."""
        return os.fdopen(os.dup(self._file), "r+b", buffering=0)

    def open_new(self, name: str) -> BinaryIO:
        """A new file in the folder, to be written, in place of one that has the name."""
        path: str | Path = self.path / name
        folder: dict[str, int] = {}
        if self._file != _NONE:  # this folder, whatever came to its place since
            path, folder = name, {"dir_fd": self._file}
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path, **folder)
        return os.fdopen(os.open(path, _NEW, 0o666, **folder), "wb")

    def place(
        self,
        final: Path,
        *,
        name: str | None = None,
        overwrite: bool = True,
        beside: bool = True,
    ) -> str:
        """Give the finished file its name, or a file of the folder; close it first.

        If that is impossible, it gets another name beside the final one, and the result of the call
        says why, and where the file is. If its folder has been renamed, the file gets its name
        there. `OSError` if it cannot get any name, or is not to be put `beside` a file that cannot
        be replaced.
        """
        folder = self._find()
        asked, final = final, folder / final.name
        source = self.path if name is None else self.path / name
        problem = "" if final == asked else f"{asked.parent}: this folder was renamed meanwhile"
        try:
            if overwrite:
                try:
                    os.replace(source, final)
                except FileNotFoundError:
                    raise
                except OSError as error:
                    if not beside or not os.path.lexists(final):  # another name would not help
                        raise
                    is_folder = os.path.isdir(final)
                    why = "a folder has this name" if is_folder else words_of(error)
                    problem, final = f"{asked}: {why}", _move_beside(source, final)
            elif not _move_if_free(source, final):
                problem = f"{asked}: another program has made it"
                final = _move_beside(source, final)
        except FileNotFoundError:
            raise OSError(
                errno.ESTALE, "its folder, or the unfinished file in it, was deleted meanwhile"
            ) from None
        return problem and f"{problem}; the result is {final}"

    def _find(self) -> Path:
        """The folder that it is in, which may have another name now."""
        folder = self.path.parent
        if self._folder != _NONE:
            with contextlib.suppress(OSError):
                if os.path.lexists(self.path):
                    return folder
                folder = _path_of(self._folder)
                self.path = folder / self.path.name
        return folder

    def close(self) -> None:
        """Close it to be moved or removed; on Windows an open file cannot be."""
        if sys.platform == "win32":
            self.unlock()

    def remove(self) -> None:
        """Remove what is still there, from any thread. Never raises."""
        self.close()
        with contextlib.suppress(OSError):
            self._find()
            _remove(self.path)
        self.unlock()

    def unlock(self) -> None:
        """Let other runs remove it. May be called twice, from any thread."""
        forget_unfinished(self.path)
        file, self._file = self._file, _NONE
        folder, self._folder = self._folder, _NONE
        for it in (file, folder):
            if it != _NONE:
                os.close(it)


def _open_folder(path: Path) -> int:
    """A number by which the system finds a folder under any name, if it can."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            return os.open(path, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    return _NONE


def _path_of(folder: int) -> Path:
    """The path that a folder has now."""
    if sys.platform == "darwin":
        raw = fcntl.fcntl(folder, fcntl.F_GETPATH, bytes(1024))
        return Path(os.fsdecode(raw.rstrip(b"\0")))
    return Path(os.readlink(f"/proc/self/fd/{folder}"))


def _move_beside(source: Path, final: Path) -> Path:
    """Move a file to the final path with a number from 2; return its path."""
    return next(path for path in _beside(final) if _move_if_free(source, path))


def _beside(path: Path) -> Iterator[Path]:
    """The path with a number, from 2."""
    return (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))


def free_path(path: Path) -> Path:
    """The path, or it with a number from 2, where there is no file yet."""
    paths = itertools.chain([path], _beside(path))
    return next(path for path in paths if not os.path.lexists(path))


def _move_if_free(source: Path, path: Path) -> bool:
    """Move a file to a path, if there is no file."""
    try:
        os.link(source, path)
    except FileExistsError:
        return False
    except OSError:  # a disk without links, where another program may come between
        if os.path.lexists(path):
            return False
        os.rename(source, path)
        return True
    source.unlink()
    return True


def _prefix(final: Path) -> str:
    """How the names of a file's parts begin."""
    return f".{final.name[:_NAME_LENGTH]}."


def remove_remains_of(final: Path) -> None:
    """Remove parts of a file that a killed process left."""
    remove_remains(final.parent, _prefix(final))


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

    A live input cannot be repeated, so they are kept: `a.mp4` as `a-recovered.mp4`. On Windows, the
    folders of numbered pictures stay as they are.
    """
    recovered = []
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if (match := _RECORDING.fullmatch(name)) is not None:
                stem, ending = match[1], match[2] or ""
                with contextlib.suppress(OSError):
                    with _unlocked(folder / name):
                        if _is_empty(folder / name):  # killed before the first picture
                            _remove(folder / name)
                            continue
                        wanted = folder / f"{stem}-recovered{ending}"
                        path = free_path(wanted)
                        os.rename(folder / name, path)  # Windows refuses it while it is open
                    recovered.append(path)
    return recovered


def _remove_unlocked(path: Path) -> None:
    """Remove a part; `OSError` if a process has it."""
    with _unlocked(path):
        if sys.platform == "win32":
            path.unlink()  # fails while it is open, and for folders
        else:
            _remove(path)


@contextlib.contextmanager
def _unlocked(path: Path) -> Iterator[None]:
    """For a block that renames or removes a part; `OSError` if a process has it."""
    if sys.platform == "win32":
        if path.is_dir():
            raise IsADirectoryError  # nothing says whether a process has it
        yield
    else:
        file = _open_to_lock(path)
        try:
            lock_file(file)
            yield
        finally:
            os.close(file)


def _open_to_lock(path: Path) -> int:
    """Open a part. Network folders (NFS) lock no file that is open for reading only."""
    try:
        return os.open(path, _LOOK | os.O_RDWR)
    except (IsADirectoryError, PermissionError):  # a file of another user may be removed, too
        return os.open(path, _LOOK)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        try:
            path.rmdir()  # opens nothing, so that too many open files do not matter
        except OSError:
            shutil.rmtree(path)
    else:
        path.unlink()


def _is_empty(path: Path) -> bool:
    return not (any(path.iterdir()) if path.is_dir() else path.stat().st_size)


def _lock(file: int, path: Path) -> bool:
    """Lock a new part; False if another run took it for remains meanwhile."""
    if sys.platform != "win32":  # there, an open file cannot be removed
        if not take_lock(file):
            return False
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
    else:
        raise OSError(errno.ELOOP, "the link leads to itself")
    final = Path(os.path.realpath(path))
    # Only root makes devices.
    if final.is_fifo() and _is_foreign(final.stat()):
        raise PermissionError(errno.EPERM, "it is a pipe that another user has made")
    return final


def _is_foreign(status: os.stat_result) -> bool:
    return hasattr(os, "geteuid") and status.st_uid not in (0, os.geteuid())


@contextlib.contextmanager
def atomic_write(path: str | Path, *, beside: bool = False) -> Iterator[BinaryIO]:
    """Open a hidden file that replaces `path` when the block ends, or is removed if it raises.

    If `path` is a link, the file that it leads to is replaced, not the link. After an `OSError`
    nothing is left, unless the message names another path, see `Part.place`. Results of a user are
    put `beside` a file that cannot be replaced. Files that the program makes again for itself are
    not, as there would be one more after each attempt.
    """
    final = final_path(path)
    part = Part(final)
    try:
        with part.open() as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.close()
        with completing(final):
            if problem := part.place(final, beside=beside):
                raise OSError(errno.EEXIST, problem)
        part.unlock()
    except BaseException:
        part.remove()
        raise
