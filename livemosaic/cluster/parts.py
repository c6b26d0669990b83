"""The folder of a film's parts, which is beside the output until the film is whole."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import UsageError
from ..sinks.atomic_file import sink_errors

if sys.platform != "win32":
    import fcntl

_ENDING = ".parts"


def parts_folder(output: Path) -> Path:
    """The folder for an output."""
    return output.with_name(f"{output.name}{_ENDING}")


@contextlib.contextmanager
def own_parts(folder: Path, name: str) -> Iterator[None]:
    """Make the folder of the parts, and keep other runs out of it."""
    with sink_errors(str(folder)):
        folder.mkdir(exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if sys.platform != "win32":
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{name}: another run makes it; wait for its end") from None
            except OSError:  # a disk without locks
                pass
        yield
    finally:
        os.close(lock)
        if not any(it.name != "lock" for it in _entries(folder)):
            remove_parts(folder)


def _entries(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []


def remove_parts(folder: Path) -> None:
    """Remove the folder of the parts; what else is in it stays."""
    for path in _entries(folder):
        if path.name == "lock" or path.name.startswith(
            ("plan-", "tracks-", "segment-", "gallery-", ".")
        ):
            with contextlib.suppress(OSError):
                path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
