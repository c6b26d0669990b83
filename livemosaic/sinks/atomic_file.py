"""Files that appear under their names when they are complete, and the checks before them."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import OVERWRITE, LivemosaicError, SinkError, UsageError
from ..media.atomic_write import Part, final_path, recover_recordings
from ..media.ffmpeg import av, sink_error
from ..media.paths import numbered_files
from ..media.urls import local_path
from .base import Destination

_logger = logging.getLogger("livemosaic")


@contextlib.contextmanager
def sink_errors(name: str) -> Iterator[None]:
    """Turn errors of PyAV and of the system into `SinkError`."""
    try:
        yield
    except LivemosaicError:
        raise
    except (av.error.FFmpegError, OSError) as error:
        raise sink_error(name, error) from error


def refuse_folder(path: str, *, example: str) -> None:
    """Raise `SinkError` if the path is a folder; `example` is a file in it."""
    if os.path.isdir(path):
        raise SinkError(f"{path}: it is a folder; name a file in it, such as {path}/{example}")


def resolved(path: str) -> str:
    """The path to write, see `final_path`; `SinkError` if there is none."""
    try:
        return str(final_path(path))
    except FileNotFoundError:
        raise SinkError(
            f"{path}: the current folder does not exist any more; change to another one"
        ) from None
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}; name another output") from None


def check_path(destination: Destination, *, numbered: bool = False) -> None:
    """Refuse a file, or a numbered sequence, that cannot be written or must not; see
    `Destination.check`."""
    name, path, options = destination.name, Path(destination.location), destination.options
    if options.source_name is not None and _is_same(path, local_path(options.source_name)):
        raise UsageError(f"{name}: input and output are the same; name another output")
    if not path.parent.is_dir():
        raise SinkError(f"{name}: the folder {path.parent} does not exist; make it first")
    with sink_errors(name):  # for example, the name is too long
        existing = numbered_files(path).values() if numbered else [path] * path.exists()
    if existing and not options.overwrite:
        raise UsageError(f"{next(iter(existing))}: it exists already; {OVERWRITE} to replace it")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SinkError(f"{name}: the folder {path.parent} cannot be written to; choose another")


def _is_same(path: Path, source: str) -> bool:
    try:
        return os.path.samefile(path, source)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(source)


def report_recordings(folder: Path) -> None:
    """Say where recordings are that killed runs left, see `recover_recordings`."""
    for path in recover_recordings(folder):
        _logger.warning(
            "%s: a recording that a killed run left; it is whole up to its last seconds", path
        )


class AtomicFile(Part):
    """The hidden place of a destination's file, or of a folder for its files.

    `SinkError` if it cannot be made.
    """

    def __init__(
        self, destination: Destination, *, folder: bool = False, recording: bool = False
    ) -> None:
        self._destination, self._final = destination, Path(destination.location)
        with sink_errors(destination.name):
            super().__init__(self._final, folder=folder, recording=recording)
        for name in self.remains:
            _logger.info("%s: removed %s, which a killed run left", destination.name, name)
        report_recordings(self._final.parent)

    def commit(self, *names: str) -> None:
        """Give the file its final name, or files of the folder theirs beside it.

        `SinkError` if the disk refuses, and nothing is left, or only what cannot be removed; or if
        a file cannot get its name. It stays under another one, and the message says which.
        """
        problem = ""
        self.close()
        try:
            with sink_errors(self._destination.name):
                for name in names or (None,):
                    final = self._final if name is None else self._final.with_name(name)
                    overwrite = self._destination.options.overwrite
                    answer = self.place(final, name=name, overwrite=overwrite)
                    problem = problem or answer
        except SinkError as error:
            problem = str(error)
        self.remove()
        if problem and os.path.lexists(self.path):  # a folder that is read-only by now
            problem += f"; the result is {self.path}"
        if problem:
            hint = f"; {OVERWRITE} to replace such files" if "another program" in problem else ""
            raise SinkError(f"{problem}{hint}")
