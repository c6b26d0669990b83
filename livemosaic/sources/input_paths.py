"""Paths, numbered sequences and addresses as FFmpeg has to open them."""

from __future__ import annotations

import logging
import os
import re
import stat
import sys
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import SourceError
from ..media.ffmpeg import av, open_container, source_error
from ..media.paths import ffmpeg_path, is_sequence, numbered_files, numbered_name
from ..media.urls import is_url, local_path, public_name

_logger = logging.getLogger("livemosaic")

STANDARD_INPUT = "fd:"  # FFmpeg's protocol for an open descriptor
DEFAULT_RATE = Fraction(25)  # of pictures that carry no times; FFmpeg's own choice
_TIMEOUTS_S = (10.0, 10.0)  # for a server's answer: to open, and to read
_CHUNK = 2**16
_PLAYLISTS = (b"#EXTM3U", b"ffconcat")  # their first bytes
_MAX_PLAYLIST, _MAX_NESTED = 2**20, 20  # bytes; playlists in playlists
# Of HLS: a line, or a quoted attribute of one that begins with #. Of FFmpeg's lists: `file NAME`.
_ENTRY = re.compile(r"""#.*URI="([^"]+)".*|file\s+'?([^']+)'?|([^#].*)""")
# An address without its protocol, as browsers show it.
_AS_IN_BROWSER = re.compile(r"(?i)(?:[a-z\d-]+\.)+[a-z]{2,}/.")


class Pipe:
    """Standard input or a named pipe, which can be looked into before FFmpeg reads it.

    `file` is a path or a descriptor. Opening a named pipe waits for its writer.
    """

    def __init__(self, file: str | int) -> None:
        self._file = open(file, "rb", buffering=0, closefd=isinstance(file, str))  # noqa: SIM115
        self._head = b""
        self.seekable = self._file.seekable()  # a file that standard input is redirected from

    def peek(self, count: int) -> bytes:
        """The first bytes, fewer at the end; waits for them."""
        start = self._file.tell() if self.seekable else 0
        while len(self._head) < count and (more := self._file.read(_CHUNK)):
            self._head += more
        head = self._head[:count]
        if self.seekable:
            self._file.seek(start)
            self._head = b""
        return head

    def read(self, count: int) -> bytes:
        """Up to `count` bytes as soon as there are some, none at the end."""
        if self._head:
            data, self._head = self._head[:count], self._head[count:]
            return data
        return self._file.read(count) or b""

    def read_all(self, limit: int) -> bytes:
        """All bytes up to the end, but not many more than `limit`."""
        data = bytearray()
        while len(data) <= limit and (more := self.read(_CHUNK)):
            data += more
        return bytes(data)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class InputPath:
    """An input for `av.open`."""

    name: str  # for people
    url: str = field(repr=False)  # it may contain secrets
    format: str | None = None  # None to detect it
    options: dict[str, str] = field(default_factory=dict)
    # Files of a numbered sequence, in order; `url` is the first that is not empty.
    pictures: tuple[Path, ...] = ()
    pipe: Pipe | None = None  # see `open_pipe`

    def open_pipe(self) -> InputPath:
        """This path with its pipe opened, if it is one."""
        if self.pictures or is_url(self.url):
            return self
        try:
            if self.url == STANDARD_INPUT:
                return replace(self, pipe=Pipe(0))
            return replace(self, pipe=Pipe(self.name)) if Path(self.name).is_fifo() else self
        except OSError as error:
            raise source_error(self.name, error) from error

    def open(self, format: str | None = None) -> Any:
        """Open the input as a container of PyAV."""
        file: Any = self.url
        options = self.options
        if self.pipe is not None and not self.pipe.seekable:
            file, options = self.pipe, {}
        try:
            timeout = _TIMEOUTS_S if is_url(self.url) else None
            format = format or self.format
            return open_container(file, format=format, options=options, timeout=timeout)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            # FFmpeg's errors contain the address with its password.
            cause = None if is_url(self.url) else error
            raise source_error(self.name, error) from cause


def resolve_input(spec: str, *, rate: Fraction | None = None) -> InputPath:
    """Find an input: a path, a numbered sequence such as `img_%04d.png`, an address, or `-`.

    Raises
    ------
    SourceError
        there is no such input, or it cannot be read
    """
    if spec == "-":
        if sys.stdin is None:
            raise SourceError("standard input: it is closed; pipe a video into it")
        if sys.stdin.isatty():
            raise SourceError("standard input: it is the keyboard; pipe a video into it")
        # With a descriptor, FFmpeg reads without Python, and can seek in a redirected file.
        return InputPath("standard input", STANDARD_INPUT, options={"fd": "0"})
    spec = local_path(spec)
    if is_url(spec):
        return InputPath(public_name(spec), spec)
    path = Path(spec)
    if is_sequence(path):
        return _sequence(path, rate or DEFAULT_RATE)
    _check_file(path)
    return InputPath(spec, ffmpeg_path(path))


def check_input(spec: str) -> None:
    """Raise `SourceError` if the input is a file, or are numbered ones, that cannot be read.

    Nothing is decoded: this comes before the checks of the outputs.
    """
    path = Path(local_path(spec))
    if is_sequence(path):
        _numbered(path)
    else:
        _check_file(path)


def _check_file(path: Path) -> None:
    """Raise `SourceError` for errors that FFmpeg reports badly, or not at all."""
    try:
        about = path.stat()
        if stat.S_ISREG(about.st_mode):
            _refuse_loop(path, (), set())
        elif not os.access(path, os.R_OK):  # opening and closing a pipe would kill its writer
            raise PermissionError
    except OSError as error:
        if isinstance(error, FileNotFoundError) and _AS_IN_BROWSER.match(str(path)):
            problem = "there is no such file; if it is an address, write https:// before it"
            raise SourceError(f"{path}: {problem}") from None
        raise source_error(str(path), error) from error
    if stat.S_ISDIR(about.st_mode):
        raise SourceError(
            f"{path}: it is a folder; name a video or picture in it, or numbered pictures as in "
            f"{path}/%04d.png; photos for the tiles are named by --gallery {path}"
        )
    if stat.S_ISREG(about.st_mode) and about.st_size == 0:
        raise SourceError(f"{path}: the file is empty; copy or record it again")


def _refuse_loop(playlist: Path, above: tuple[Path, ...], done: set[Path]) -> None:
    """Raise `SourceError` if a playlist contains itself, through others or not, or too many.

    FFmpeg would open it again and again, until memory or files run out.
    """
    path = playlist.resolve()
    if path in above or len(above) >= _MAX_NESTED:
        problem = "itself" if path in above else f"over {_MAX_NESTED} playlists, one in the other"
        raise SourceError(f"{above[0]}: the playlist contains {problem}; name a video in it")
    if path in done or not path.is_file():
        return
    done.add(path)
    with path.open("rb") as file:
        data = file.read(len(_PLAYLISTS[-1]))
        if not data.startswith(_PLAYLISTS):
            return  # such as a segment, which may be large
        data += file.read(_MAX_PLAYLIST)
    for line in dict.fromkeys(data.decode(errors="surrogateescape").splitlines()):
        match = _ENTRY.fullmatch(line.strip())
        name = match and next(filter(None, match.groups()))
        if (
            name
            and "\0" not in name
            and not is_url(name)
            and os.access(path.parent / name, os.R_OK)
        ):
            _refuse_loop(path.parent / name, (*above, path), done)


def _numbered(pattern: Path) -> dict[int, Path]:
    """The pictures of a sequence by their numbers; `SourceError` if there are none."""
    try:
        found = numbered_files(pattern)
    except OSError as error:
        raise source_error(str(pattern), error) from error
    if not found:
        raise SourceError(
            f"{pattern}: no picture has such a name; the first could be "
            f"{numbered_name(pattern, 1)}, check the number of digits"
        )
    return found


def _sequence(pattern: Path, rate: Fraction) -> InputPath:
    """All pictures of a sequence: FFmpeg's own reader stops at the first missing number."""
    found = _numbered(pattern)
    first = next((n for n in found if _has_content(found[n])), None)
    if first is None:
        raise SourceError(f"{pattern}: all its pictures are empty; copy or record them again")
    missing = max(found) - min(found) + 1 - len(found)
    if missing:
        hole = next(n for n in range(min(found), max(found)) if n not in found)
        _logger.warning(
            "%s: missing numbers: %d, the first is %d; the video has no gap there",
            pattern,
            missing,
            hole,
        )
    options = {"framerate": str(rate), "pattern_type": "none"}
    pictures = tuple(found.values())
    return InputPath(str(pattern), ffmpeg_path(found[first]), "image2", options, pictures)


def _has_content(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False
