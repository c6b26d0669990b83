"""Paths that outputs are written to, and what can be wrong with one before that."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from ..errors import SinkError, UsageError
from ..media.ffmpeg import sink_error
from ..media.urls import local_path
from .destination import FileOptions

__all__ = ["NUMBER", "check_path", "ending", "refuse_folder"]

NUMBER = re.compile(r"%0?\d*d")  # in the name of a numbered sequence


def ending(path: str) -> str:
    """The ending of a path, lower case, without the dot."""
    return Path(path).suffix.lower().removeprefix(".")


def refuse_folder(path: str, *, example: str) -> None:
    """Raise `SinkError` if the path is a folder; `example` is a file in it."""
    if os.path.isdir(path):
        raise SinkError(f"{path}: it is a folder; name a file in it, such as {path}/{example}")


def check_path(name: str, path: str, options: FileOptions, *, numbered: bool = False) -> None:
    """Refuse a file that cannot be written there, or must not.

    Parameters
    ----------
    name : as the user named it
    path : links are followed, so that the file that a link leads to is replaced, not the link
    numbered : the path is a pattern such as o_%04d.png

    Raises
    ------
    UsageError
        the file is the input; it exists, and `options.overwrite` is False
    SinkError
        the folder is missing, or cannot be written to
    """
    file = Path(path)
    if options.source_name is not None and _is_same(path, local_path(options.source_name)):
        raise UsageError(f"{name}: input and output are the same; name another output")
    try:
        existing = _numbered_files(file) if numbered else [file] * file.exists()
    except OSError as error:  # the name is too long
        raise sink_error(name, error) from error
    if existing and not options.overwrite:
        raise UsageError(f"{existing[0]}: it exists already; add -y to replace it")
    if not file.parent.is_dir():
        raise SinkError(f"{name}: the folder {file.parent} does not exist; make it first")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise SinkError(f"{name}: the folder {file.parent} cannot be written to; choose another")


def _numbered_files(pattern: Path) -> list[Path]:
    """The existing files with the names that `pattern` gives."""
    number = NUMBER.search(pattern.name)
    assert number is not None
    before, after = pattern.name[: number.start()], pattern.name[number.end() :]
    found = []
    for path in pattern.parent.glob(f"{glob.escape(before)}*{glob.escape(after)}"):
        digits = path.name[len(before) : len(path.name) - len(after)]
        if digits.strip().isdecimal() and number[0] % int(digits) == digits:
            found.append(path)
    return found


def _is_same(path: str, source: str) -> bool:
    try:
        return os.path.samefile(path, source)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(source)
