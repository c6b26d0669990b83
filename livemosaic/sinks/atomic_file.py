"""Files that appear under their names when they are complete."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
from pathlib import Path

from ..errors import SinkError
from ..media.ffmpeg import sink_error

__all__ = ["AtomicFile"]

_MAX_STEM = 40  # characters of the name in the hidden one, which must not exceed 255 bytes


class AtomicFile:
    """A hidden place for a file, or a folder of files, beside its final one.

    Parameters
    ----------
    final : path of the complete file
    name : for messages
    overwrite : replace a file that is there

    Attributes
    ----------
    path : the hidden place; nothing is there yet
    """

    def __init__(self, final: str, *, name: str, overwrite: bool) -> None:
        self.final = Path(final)
        # A random number, because in a container all runs have the same process number, and the
        # remains of a killed run would be in the way.
        stem = self.final.name[:_MAX_STEM]
        self.path = self.final.with_name(f".{stem}.{secrets.token_hex(4)}.part")
        self._name, self._overwrite = name, overwrite

    def commit(self, *names: str) -> None:
        """Move the file to its final path, or files of the folder beside it.

        Raises
        ------
        SinkError
            the disk refuses, and nothing is left; or another program has made such a file
            meanwhile: it stays, and the message names the result
        """
        moves = [(self.path / name, self.final.with_name(name)) for name in names]
        renamed = ""
        try:
            for part, final in moves or [(self.path, self.final)]:
                path = self._move(part, final)
                if path != final and not renamed:
                    renamed = f"{final}: another program has made it; the result is {path}"
        except OSError as error:
            raise sink_error(self._name, error) from error
        finally:
            self.discard()
        if renamed:
            raise SinkError(f"{renamed}; add -y to replace such files")

    def discard(self) -> None:
        """Remove the hidden place, from any thread. Never raises."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _move(self, part: Path, final: Path) -> Path:
        """Move a file; return its path, which is another one if `final` must not be replaced."""
        if self._overwrite:
            os.replace(part, final)
            return final
        others = (final.with_stem(f"{final.stem}-{n}") for n in itertools.count(2))
        return next(path for path in itertools.chain([final], others) if _move_if_free(part, path))


def _move_if_free(part: Path, path: Path) -> bool:
    """Move a file to a path, if there is no file."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # a disk without links, where another program may come between
        if os.path.lexists(path):
            return False
        os.rename(part, path)
        return True
    part.unlink()
    return True
