"""From what a person typed to what FFmpeg opens."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from ..errors import SourceError
from ..media import is_url, public_name, source_error

__all__ = ["Location", "locate"]

_NUMBER = re.compile(r"%0?(\d*)d")
STANDARD_INPUT = "fd:"  # FFmpeg's protocol for an open descriptor
DEFAULT_RATE = Fraction(25)  # of pictures that carry no times; FFmpeg's own choice


@dataclass(frozen=True, slots=True)
class Location:
    """What to give to `av.open`.

    Attributes
    ----------
    name : as shown to a person
    url, format, options : for FFmpeg; `format` None when it is to find out
    sequence : True for a numbered row of pictures
    """

    name: str
    url: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    sequence: bool = False


def locate(spec: str, *, rate: Fraction | None = None) -> Location:
    """Find the input that `spec` names, or say in a `SourceError` why there is none.

    Parameters
    ----------
    spec : a path, a numbered sequence such as `img_%04d.png`, an address, or `-`
    rate : frames/s of a sequence, 25 by default
    """
    if spec == "-":
        if sys.stdin is not None and sys.stdin.isatty():
            raise SourceError("standard input: it is the keyboard; pipe a video into it")
        # By descriptor, so that reading needs no Python and a redirected file can be sought in.
        return Location("standard input", STANDARD_INPUT, options={"fd": "0"})
    if is_url(spec):
        return Location(public_name(spec), spec)
    path = Path(spec)
    if _NUMBER.search(path.name) and not path.exists():
        return _sequence(path, rate or DEFAULT_RATE)
    _check_file(path)
    return Location(spec, _local(path))


def _check_file(path: Path) -> None:
    """Tell apart what FFmpeg would lump together, or answer with a blank."""
    try:
        if path.is_dir():
            raise SourceError(f"{path}: it is a folder; name a video in it")
        with path.open("rb"):
            size = os.stat(path).st_size
    except SourceError:
        raise
    except OSError as error:
        raise source_error(str(path), error) from error
    if size == 0 and path.is_file():
        raise SourceError(f"{path}: the file is empty; copy or record it again")


def _sequence(pattern: Path, rate: Fraction) -> Location:
    number = _NUMBER.search(pattern.name)
    assert number is not None
    head, tail = pattern.name[: number.start()], pattern.name[number.end() :]
    digits = rf"\d{{{number[1]},}}" if number[1] else r"\d+"
    wanted = re.compile(re.escape(head) + f"({digits})" + re.escape(tail))
    try:
        found = [int(m[1]) for p in pattern.parent.iterdir() if (m := wanted.fullmatch(p.name))]
    except OSError as error:
        raise source_error(str(pattern), error) from error
    if not found:
        raise SourceError(
            f"{pattern}: no picture has such a name; the first could be "
            f"{pattern.name % 1}, check the number of digits"
        )
    # FFmpeg itself looks for a first number of 0 to 4 only.
    options = {"framerate": str(rate), "start_number": str(min(found))}
    return Location(str(pattern), _local(pattern), "image2", options, sequence=True)


def _local(path: Path) -> str:
    """The path, made unmistakable: "a:b.mp4" would be read as protocol "a"."""
    text = str(path)
    return f"file:{text}" if ":" in text else text
