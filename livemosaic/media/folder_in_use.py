"""Which processes use a folder, so that none removes what another one needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Self

from .file_lock import take_lock


class FolderInUse:
    """A folder that is there, while this process uses it; others may at the same time.

    Windows and some network folders have no such locks: there every process counts as alone.
    """

    def __init__(self, path: Path) -> None:
        """Wait for a process that is alone to end; `OSError` if there is no folder any more."""
        self._file = -1
        if sys.platform != "win32":
            self._file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                take_lock(self._file, shared=True, wait=True)
                if not os.path.samestat(os.fstat(self._file), path.stat()):
                    raise FileNotFoundError(path)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_alone(self) -> bool:
        """Whether no other process uses it, and none begins to until this one is closed.

        It may be removed then; after False it does not count as in use by this process any more.
        """
        return sys.platform == "win32" or take_lock(self._file)

    def close(self) -> None:
        """The folder is not used any more. May be called twice."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
