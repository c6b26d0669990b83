"""Rows of an array that come one after the other, and may be too many for memory."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# In memory; the rest is in a temporary file.
MAX_IN_MEMORY = 2**22  # bytes

_AT_ONCE = 2**22  # bytes that `blocks` reads


class SpooledRows:
    """An array that grows, in a temporary file if it is large; it goes when it is closed.

    Parameters
    ----------
    dtype, row : of the array, and the shape of one of its rows
    folder : for the temporary file, by default the system's
    """

    def __init__(self, dtype: str, row: tuple[int, ...], folder: str | None = None) -> None:
        self.dtype, self.row = np.dtype(dtype), row
        self._bytes = self.dtype.itemsize * int(np.prod(row, dtype=int))  # of a row
        self._count = 0
        self._file: IO[bytes] = SpooledTemporaryFile(MAX_IN_MEMORY, dir=folder)  # noqa: SIM115

    def append(self, rows: NDArray[Any]) -> None:
        self._file.seek(self._count * self._bytes)
        self._file.write(np.ascontiguousarray(rows, self.dtype).data)
        self._count += len(rows)

    def __len__(self) -> int:
        return self._count

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._count, *self.row)

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Rows that follow each other, or those with some numbers."""
        if isinstance(rows, slice):
            first, last, _ = rows.indices(self._count)
            return self._read(first, max(first, last))
        made = np.empty((len(rows), *self.row), self.dtype)
        for place, number in enumerate(rows.tolist()):
            made[place] = self._read(number, number + 1)[0]
        return made

    def _read(self, first: int, last: int) -> NDArray[Any]:
        made = np.empty((last - first, *self.row), self.dtype)
        if len(made):
            self._file.seek(first * self._bytes)
            self._file.readinto(made.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        return made

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, some at a time."""
        step = max(1, _AT_ONCE // max(1, self._bytes))
        for first in range(0, self._count, step):
            yield self[first : first + step]

    def close(self) -> None:
        self._file.close()
