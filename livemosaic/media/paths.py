"""Paths of files and of numbered sequences, as FFmpeg reads them."""

from __future__ import annotations

import re
from pathlib import Path

HEIF_ENDINGS = ("avif", "heic", "heif", "hif")  # pictures that FFmpeg cannot open in every case

_NUMBER = re.compile(r"%0?(\d*)d")


def ending(path: str) -> str:
    """The ending of a path, lower case, without the dot."""
    return Path(path).suffix.lower().removeprefix(".")


def ffmpeg_path(path: Path) -> str:
    """The path for FFmpeg, which would take the "a" of "a:b.mp4" for a protocol."""
    return f"file:{path}" if ":" in str(path) else str(path)


def is_numbered(path: Path) -> bool:
    """Whether the file's name is a pattern such as img_%04d.png."""
    return _NUMBER.search(path.name) is not None


def is_sequence(path: Path) -> bool:
    """Whether an input is a numbered sequence, not a file that is named like a pattern."""
    return is_numbered(path) and not path.exists()


def numbered_name(pattern: Path, number: int) -> str:
    """The name of a file of a numbered sequence. FFmpeg fills %4d with zeros, too."""
    return _NUMBER.sub(lambda match: f"{number:0{match[1]}d}", pattern.name, count=1)


def numbered_files(pattern: Path) -> dict[int, Path]:
    """The existing files of a numbered sequence, by number; `OSError` if there is no folder."""
    before, _, after = _NUMBER.split(pattern.name, maxsplit=1)
    wanted = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    found = {}
    for path in pattern.parent.iterdir():
        match = wanted.fullmatch(path.name)
        if match and path.name == numbered_name(pattern, int(match[1])):
            found[int(match[1])] = path
    return dict(sorted(found.items()))
