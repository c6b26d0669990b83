"""The folder of a film's parts, which is beside the output until the film is whole."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Container, Iterator
from pathlib import Path

from ..errors import SinkError, UsageError
from ..media.atomic_write import remove_remains
from ..media.file_lock import take_lock
from ..sinks.atomic_file import sink_errors
from ..unfinished import add_new_folder, add_unfinished, forget_unfinished

_ENDING = ".parts"
_LOCK = "lock"
_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
# Nothing else is removed: the folder may be older than the film.
_PARTS = re.compile(r"(plan|tracks)-[0-9a-f]{16}|segment-[0-9]{5,}-[0-9a-f]{16}|gallery-[0-9]+")


def parts_folder(output: Path) -> Path:
    """The folder for an output."""
    return output.with_name(f"{output.name}{_ENDING}")


def check_parts(folder: Path) -> None:
    """Raise `SinkError` if the folder of the parts cannot be made, as far as its name says: there
    is a file or a dead link, or the output's name is too long."""
    with sink_errors(str(folder)), contextlib.suppress(FileNotFoundError):
        folder.lstat()
        if not folder.is_dir():
            raise SinkError(
                f"{folder}: it is in the way of the folder for the film's parts; move it, or name "
                "another output"
            )


@contextlib.contextmanager
def own_parts(folder: Path, name: str) -> Iterator[None]:
    """Make the folder of the parts, and keep other runs out of it. At the end, or by
    `remove_unfinished`, it goes if it has no plan and no segment.

    `UsageError` if another run has it; `name` is that of the output.
    """
    lock, path = _locked(folder, name), folder / _LOCK
    add_new_folder(folder)
    if not os.fstat(lock).st_size:  # else it is of another program
        add_unfinished(path)
    try:
        yield
    finally:
        forget_unfinished(folder)
        forget_unfinished(path)
        if sys.platform == "win32":  # there, an open file cannot be removed
            os.close(lock)
        parts = filter(_is_part, _entries(folder))
        if not any(it.name.startswith(("plan-", "segment-")) for it in parts):
            remove_parts(folder)
        if sys.platform != "win32":  # else another run could have it by now
            os.close(lock)


def remove_late(path: Path) -> None:
    """Remove a part that a worker has made after the end of its run, and the folder with it, if the
    run has removed what was in there."""
    if not (path.parent / _LOCK).exists():
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()


def _locked(folder: Path, name: str) -> int:
    """A locked file in the folder, which is made."""
    path = folder / _LOCK
    while True:
        with sink_errors(str(folder)):
            folder.mkdir(exist_ok=True)
            try:
                lock = os.open(path, _OPEN, 0o666)
            except FileNotFoundError:  # the run before has removed the folder just now
                continue
        if not take_lock(lock):
            os.close(lock)
            raise UsageError(f"{name}: another run makes it; wait for its end")
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(lock), os.lstat(path)):
                return lock
        os.close(lock)  # that run has removed the file


def _is_part(path: Path) -> bool:
    return _PARTS.fullmatch(path.name) is not None


def _entries(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []


def remove_others(folder: Path, *, but: Container[str]) -> list[Path]:
    """Remove all parts but those with these names; return which segments were removed."""
    removed = []
    for path in _entries(folder):
        if _is_part(path) and path.name not in but:
            with contextlib.suppress(OSError):
                path.unlink()
                if path.name.startswith("segment-"):
                    removed.append(folder.absolute() / path.name)
    return removed


def remove_parts(folder: Path) -> None:
    """Remove the folder of the parts; what else is in it stays."""
    remove_remains(folder)
    for path in _entries(folder):
        with contextlib.suppress(OSError):
            # Another program's file with this name is not empty.
            if _is_part(path) or (path.name == _LOCK and not path.stat().st_size):
                path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
