"""Unfinished files and helper processes: an end in the middle must not leave them behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .priority import FLAGS

# Sets, because changing or copying one is a single step: a signal handler may come between any two
# steps of the main thread, and must not wait for a lock.
_unfinished: set[Path] = set()
_folders: set[Path] = set()
_completed: set[str] = set()
_helpers: set[subprocess.Popen[Any]] = set()


def add_unfinished(path: Path) -> None:
    """Note a file or folder, before it is made."""
    _unfinished.add(path)


def add_new_folder(path: Path) -> None:
    """Note a folder, before it is made, that goes if it is empty: others may have files in it."""
    _folders.add(path)


def forget_unfinished(path: Path) -> None:
    """The file or folder has been moved or removed, or is to stay."""
    _unfinished.discard(path)
    _folders.discard(path)


def start_helper(
    module: str, *, gives_way: bool = False, in_session: bool = False
) -> subprocess.Popen[bytes]:
    """Start a module in a process that does not outlive this one, with pipes to and from it.

    It does not get the signals of the terminal: this process ends it.

    Parameters
    ----------
    gives_way : to this process; the module calls `lower_priority`
    in_session : it stays in the session of this process, as one that gives way. Linux shares
        processors among sessions first, and a priority, such as that of `nice`, counts within one
    """
    own_group = (gives_way or in_session) and sys.platform != "win32"
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # An empty entry of this process is the current folder, one of the variable is none.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        start_new_session=not own_group,
        process_group=0 if own_group else None,
        # The same on Windows, without a window.
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0) | (FLAGS if gives_way else 0),
    )
    _helpers.add(process)
    return process


def end_helper(process: subprocess.Popen[bytes]) -> None:
    """End a process of `start_helper`, unless it has ended, and close its pipes. May be called
    twice. Never raises."""
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()
    _helpers.discard(process)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError, ValueError):
            assert pipe is not None
            pipe.close()


def remove_unfinished() -> None:
    """Remove every noted file and folder, end every noted process. Never raises; safe in a signal
    handler."""
    for process in list(_helpers):
        with contextlib.suppress(OSError):
            process.kill()
    for path in list(_unfinished):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.unlink()
    for path in list(_folders):
        with contextlib.suppress(OSError):
            path.rmdir()


@contextlib.contextmanager
def completing(final: str | Path) -> Iterator[None]:
    """For the block that gives a file its final name: it counts as complete from here on."""
    path = os.path.realpath(final)
    _completed.add(path)
    try:
        yield
    except BaseException:
        _completed.discard(path)
        raise


def is_complete(final: str | Path) -> bool:
    """Whether this process has completed a file, or is giving it its name."""
    return os.path.realpath(final) in _completed
