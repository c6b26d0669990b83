"""Checksums of an array, block by block, so that a part of a large file can be verified alone."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..jit import Bools

ReadBlocks = Callable[[Sequence[int]], Sequence[bytes]]

# A block of small rows, such as those of features, has about so many bytes.
_BLOCK_BYTES = 2**16


def rows_together(row_bytes: int, *, pictures: bool) -> int:
    """How many rows of an array make a block. A picture is one, as it is read alone."""
    return 1 if pictures else max(1, _BLOCK_BYTES // max(1, row_bytes))


class RunningChecksums:
    """The checksums (CRC-32) of arrays that are written part by part, one after another."""

    def __init__(self) -> None:
        self.sums = array("I")
        self._block_bytes = self._left = 0
        self._sum = 0

    def begin(self, block_bytes: int) -> None:
        """Another array follows, whose blocks have so many bytes; the last one may have fewer."""
        self._block_bytes = self._left = block_bytes

    def add(self, data: memoryview) -> None:
        """The next bytes of the array."""
        at = 0
        while at < len(data):
            part = data[at : at + self._left]
            self._sum = zlib.crc32(part, self._sum)
            at, self._left = at + len(part), self._left - len(part)
            if not self._left:
                self.end()

    def end(self) -> None:
        """The array has no more bytes."""
        if self._left < self._block_bytes:
            self.sums.append(self._sum)
            self._sum, self._left = 0, self._block_bytes


class Blocks:
    """The blocks of an array, `together` rows each, and the checksum of each, uint32."""

    def __init__(self, rows: NDArray[Any], sums: NDArray[np.uint32], together: int) -> None:
        self._data, self._sums = rows.reshape(-1).view(np.uint8).data, sums
        self._bytes = together * (rows.nbytes // max(1, len(rows)))  # of a block

    def __len__(self) -> int:
        return len(self._sums)

    def are_whole(self, numbers: NDArray[np.integer[Any]]) -> bool:
        """Whether some blocks have their checksums."""
        data, size = self._data, self._bytes
        at = (numbers.astype(np.int64) * size).tolist()
        return self.are_sums_of((data[begin : begin + size] for begin in at), numbers)

    def are_sums_of(
        self, blocks: Iterable[bytes | memoryview], numbers: NDArray[np.integer[Any]]
    ) -> bool:
        """Whether the checksums of some numbers are those of these blocks."""
        return bool(list(map(zlib.crc32, blocks)) == self._sums[numbers].tolist())

    def is_whole(self) -> bool:
        """Whether all blocks have their checksums."""
        return self.are_whole(np.arange(len(self)))


class CheckedRows:
    """An array of a mapped file, each block of which is verified when it is first read.

    It is indexed as an array. Whatever else is done with it reads all of it. Any thread may.

    Parameters
    ----------
    rows : the array
    blocks : of `together` rows each
    damaged : makes the error for a block that does not have its checksum
    read : reads blocks from the file itself, from their numbers; only for blocks of one row
    """

    def __init__(
        self,
        rows: NDArray[Any],
        blocks: Blocks,
        together: int,
        damaged: Callable[[], Exception],
        read: ReadBlocks | None = None,
    ) -> None:
        self.shape, self.dtype, self.ndim = rows.shape, rows.dtype, rows.ndim
        self._rows, self._blocks, self._together = rows, blocks, together
        self._damaged, self._read = damaged, read
        self._known: Bools = np.zeros(len(blocks), np.bool_)  # which blocks are whole

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: Any) -> Any:
        if self._read is not None:
            if isinstance(which, int | np.integer):
                return self._read_rows(np.array([which]), self._read)[0]
            if _are_numbers(which):
                return self._read_rows(which, self._read)
        self._verify(which[0] if isinstance(which, tuple) and which else which)
        return self._rows[which]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._verified(), dtype, copy=copy)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verified(), name)

    def _read_rows(self, which: NDArray[Any], read: ReadBlocks) -> NDArray[Any]:
        """Some rows, a copy. The system would map 15 pages around each mapped one, and unmap them
        again, which takes twice as long as to read and verify it; and it would end the process
        (SIGBUS) for one that it cannot read."""
        numbers = np.where(which < 0, which + len(self), which)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"there are {len(self)} rows")
        blocks = read(numbers.tolist())
        new = np.flatnonzero(~self._known[numbers])
        if not self._blocks.are_sums_of([blocks[it] for it in new.tolist()], numbers[new]):
            raise self._damaged()
        self._known[numbers] = True
        made = np.frombuffer(bytearray().join(blocks), self.dtype)
        return made.reshape(len(numbers), *self.shape[1:])

    def _verified(self) -> NDArray[Any]:
        """The array, after reading all of it."""
        self._verify(slice(None))
        return self._rows

    def _verify(self, which: Any) -> None:
        """Verify the blocks of some rows: of a number, a slice, numbers or truth values."""
        if isinstance(which, slice):
            numbers = np.arange(*which.indices(len(self)))
        elif which is None or which is Ellipsis:
            numbers = np.arange(len(self))
        else:
            numbers = np.asarray(which)
            if numbers.dtype == np.bool_:
                numbers = np.flatnonzero(numbers)
        blocks = np.where(numbers < 0, numbers + len(self), numbers) // self._together
        new = np.unique(blocks[~self._known[blocks]])
        if not self._blocks.are_whole(new):
            raise self._damaged()
        self._known[new] = True


def _are_numbers(which: Any) -> bool:
    """Whether rows are chosen by an array of their numbers."""
    return isinstance(which, np.ndarray) and which.ndim == 1 and which.dtype.kind in "iu"
