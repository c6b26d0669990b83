"""A file that is made under a hidden name beside its own, which it takes when it is whole."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
from pathlib import Path

from ..errors import SinkError
from ..media.ffmpeg import sink_error
from .destination import Destination

__all__ = ["AtomicFile"]

_SHOWN = 40  # characters of the name, which with the rest must not be longer than 255 bytes


class AtomicFile:
    """Where a file grows, or a folder of files.

    Parameters
    ----------
    target : of a file, or pictures. A link is followed, so that the file it leads to is replaced,
        not the link

    Attributes
    ----------
    path : the hidden place; nothing is there yet
    final : where the result is to be
    """

    def __init__(self, target: Destination) -> None:
        self.final = Path(os.path.realpath(target.url))
        # Not the process's number: in a container that is always the same, and what a run left
        # that was killed would be in the way.
        start = self.final.name[:_SHOWN]
        self.path = self.final.with_name(f".{start}.{secrets.token_hex(4)}.part")
        self._name, self._overwrite = target.name, target.overwrite

    def keep(self) -> None:
        """Give the file its name.

        Raises
        ------
        SinkError : the disk says no, and nothing is left; or there is a file of that name, which
            was not there at first and is not to be replaced: the result got another one, which is
            said
        """
        self._move([(self.path, self.final)])

    def keep_all(self, names: list[str]) -> None:
        """Give files of the folder their names beside it; raises as `keep` does."""
        self._move([(self.path / name, self.final.with_name(name)) for name in names])

    def discard(self) -> None:
        """Remove what is there; from any thread. Never raises."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _move(self, files: list[tuple[Path, Path]]) -> None:
        told = []
        try:
            for part, final in files:
                if self._overwrite:
                    os.replace(part, final)
                elif not _move_to_free(part, final):
                    others = (final.with_stem(f"{final.stem}-{n}") for n in itertools.count(2))
                    other = next(path for path in others if _move_to_free(part, path))
                    told.append(
                        f"{final}: another program has made it meanwhile; the result is {other}"
                    )
        except OSError as error:
            raise sink_error(self._name, error) from error
        finally:
            self.discard()
        if told:
            raise SinkError(f"{told[0]}; add -y to replace such files")


def _move_to_free(part: Path, path: Path) -> bool:
    """Give a file another name, if no file has it."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # a disk without links: something may come between
        if os.path.lexists(path):
            return False
        os.rename(part, path)
        return True
    part.unlink()
    return True
