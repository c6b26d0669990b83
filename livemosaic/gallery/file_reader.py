"""Reads gallery files, and verifies them: at once, or a large one as its parts are read."""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError, words_of
from .checksums import Blocks, CheckedRows
from .file_format import (
    ARRAYS,
    DAMAGED,
    INDEX,
    LARGE,
    OPTIONAL,
    PICTURES,
    SUM,
    Refuse,
    check_arrays,
    check_header,
    how_to_build,
    read_prefix,
)

MAX_READ = 2**28  # bytes; a larger file is mapped, and verified as it is read
_VERIFIED = 4096  # blocks between two reports of progress


@contextlib.contextmanager
def file_bytes(
    path: Path, *, mapped: bool | None
) -> Iterator[tuple[mmap.mmap | bytes, int | None]]:
    """The bytes of a file, and its descriptor if they are `mapped`; by default those of a large
    one are. `GalleryError` if it cannot be read."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            mapped = size > MAX_READ if mapped is None else mapped
            if mapped and size:  # an empty file cannot be mapped
                yield mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), file.fileno()
            else:
                yield file.read(), None
    except OSError as error:
        raise GalleryError(
            f"cannot open gallery {str(path)!r}: {words_of(error)}; check its name and "
            f"permissions, or {how_to_build(path)}"
        ) from None


def _refusal(path: Path, problem: str, *, again: bool = True, fix: str = "") -> GalleryError:
    fix = fix if again and fix else how_to_build(path, again=again)
    return GalleryError(f"cannot use gallery {str(path)!r}: {problem}; {fix}")


class StoredIndex:
    """The search index of a gallery file. `layout_arrays.py` makes it.

    Attributes
    ----------
    kind : how it was made: its version and parameters
    refuse : the error for an index that cannot be used, from the problem
    """

    def __init__(
        self,
        kind: Mapping[str, Any],
        entries: Mapping[str, Any],
        sums: NDArray[np.uint32],
        load: Callable[[], tuple[bytearray | mmap.mmap, int]],
        refuse: Refuse,
    ) -> None:
        self.kind, self.refuse = kind, refuse
        self._entries, self._sums, self._load = entries, sums, load

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of `INDEX`, verified. Kernels are compiled for arrays that may be written:
        what is written does not reach the file.

        Raises
        ------
        GalleryError : they are damaged
        """
        data, first = self._load()
        found = {}
        for name, (dtype, _) in INDEX.items():
            try:
                rows = _array(memoryview(data), self._entries[name], dtype, first=first)
            except ValueError as error:
                raise self.refuse(f"its header is not valid ({error})") from None
            blocks, _ = _blocks(rows, self._entries[name], self._sums)
            if not blocks.is_whole():
                raise self.refuse(DAMAGED)
            found[name] = rows
        return found


class _Reader:
    """Reads blocks of one size of an open file, for any number of threads at once. Not on
    Windows."""

    def __init__(self, file: int, begin: int, size: int, refuse: Refuse) -> None:
        self._file, self._begin, self._size, self._refuse = os.dup(file), begin, size, refuse
        weakref.finalize(self, os.close, self._file)

    def __call__(self, numbers: Sequence[int]) -> list[bytes]:
        """The blocks of some numbers; `GalleryError` if they cannot be read."""
        if sys.platform == "win32":
            raise NotImplementedError  # it has no `pread`
        file, begin, size, pread = self._file, self._begin, self._size, os.pread
        try:
            if sys.platform == "linux":  # the disk reads all of them at once
                for number in numbers:
                    os.posix_fadvise(file, begin + number * size, size, os.POSIX_FADV_WILLNEED)
            blocks = [pread(file, size, begin + number * size) for number in numbers]
        except OSError as error:
            raise self._refuse(words_of(error)) from None
        if any(len(it) < size for it in blocks):
            raise self._refuse("it is cut off")
        return blocks


class FileContent:
    """What is in a gallery file.

    Attributes
    ----------
    arrays : of `ARRAYS` and `OPTIONAL`
    header : see `file_format`
    digest : SHA-256, another one for any other content
    """

    def __init__(
        self, data: mmap.mmap | bytes, path: Path, *, fix: str = "", file: int | None = None
    ) -> None:
        """Errors name the `path`; `fix` is what to do if the file is damaged. `file` is its
        descriptor if it is mapped."""
        self._refuse = refuse = partial(_refusal, path, fix=fix)
        if not len(data):
            raise refuse("it is empty")
        self._data = data
        self._view = view = memoryview(data)
        prefix = read_prefix(view, refuse)
        self.digest = prefix.digest
        # A forged file has a good checksum. Its indices must still not make compiled code read
        # outside the arrays.
        try:
            self.header = header = json.loads(bytes(view[prefix.offset :]))
            entries = header["arrays"]
            there = [*ARRAYS, *(name for name in OPTIONAL if name in entries)]
            dtypes = ARRAYS | OPTIONAL
            self.arrays = {name: _array(view, entries[name], dtypes[name][0]) for name in there}
            self._sums = np.frombuffer(view, SUM, prefix.sums, prefix.begin)
            self._check_blocks(file, by_block=prefix.by_block)
            check_arrays(self.arrays)
            check_header(header, photos=len(self.arrays["photo_start"]) - 1)
        except GalleryError:
            raise
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
            raise refuse(f"its header is not valid ({error})") from None

    def _check_blocks(self, file: int | None, *, by_block: bool) -> None:
        """Verify the arrays, or let the large ones of a large file be verified as they are read."""
        self._all: dict[str, Blocks] = {}
        self._pages = [
            self._pages_of(self.header["arrays"][name]) for name in LARGE if name in self.arrays
        ]
        if not by_block:
            return
        is_large = len(self._view) > MAX_READ
        for name, entry in self.header["arrays"].items():
            rows = self.arrays.get(name)
            if rows is None:
                rows = _array(self._view, entry, str(entry["dtype"]))
            blocks, together = _blocks(rows, entry, self._sums)
            self._all[name] = blocks
            if is_large and name in LARGE:
                damaged = partial(self._refuse, DAMAGED)
                read = None
                by_one = name in PICTURES and together == 1 and len(rows)
                if by_one and file is not None and sys.platform != "win32":
                    read = _Reader(file, int(entry["offset"]), rows[0].nbytes, self._refuse)
                checked = CheckedRows(rows, blocks, together, damaged, read)
                self.arrays[name] = cast(NDArray[Any], checked)
            elif not (is_large and name in INDEX) and not blocks.is_whole():
                raise self._refuse(DAMAGED)

    def verify(self, progress: Callable[[int, int], None] | None) -> None:
        """Verify all blocks."""
        done, total = 0, sum(map(len, self._all.values()))
        for blocks in self._all.values():
            for begin in range(0, len(blocks), _VERIFIED):
                some = np.arange(begin, min(begin + _VERIFIED, len(blocks)))
                if not blocks.are_whole(some):
                    raise self._refuse(DAMAGED)
                done += len(some)
                self.release()
                if progress is not None:
                    progress(done, total)

    def _pages_of(self, entry: Mapping[str, Any]) -> tuple[int, int]:
        """The first byte and the length of the whole pages of an array."""
        begin = int(entry["offset"])
        length = int(np.prod(entry["shape"], dtype=object)) * np.dtype(entry["dtype"]).itemsize
        first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
        return first, max(0, (begin + length) // mmap.PAGESIZE * mmap.PAGESIZE - first)

    def release(self) -> None:
        """Release the memory of the large arrays."""
        if sys.platform != "win32" and isinstance(self._data, mmap.mmap):
            for first, length in self._pages:
                if length:
                    self._data.madvise(mmap.MADV_DONTNEED, first, length)

    def stored_index(self, file: int | None) -> StoredIndex | None:
        """The search index, mapped from a file or to be copied."""
        kind = self.header.get("index")
        if kind is None or not INDEX.keys() <= self._all.keys():
            return None
        entries = {name: self.header["arrays"][name] for name in INDEX}
        view, begin = self._view, min(int(it["offset"]) for it in entries.values())
        if file is None:
            return StoredIndex(
                kind, entries, self._sums, lambda: (bytearray(view[begin:]), begin), self._refuse
            )
        begin -= begin % mmap.ALLOCATIONGRANULARITY
        size = len(view) - begin
        data = mmap.mmap(file, size, access=mmap.ACCESS_COPY, offset=begin)
        return StoredIndex(kind, entries, self._sums, lambda: (data, begin), self._refuse)


def _array(
    view: memoryview, entry: Mapping[str, Any], dtype: str, *, first: int = 0
) -> NDArray[Any]:
    """An array of a file of which there is the part that begins at its byte `first`."""
    shape = tuple(int(v) for v in entry["shape"])
    if entry["dtype"] != dtype or min(shape) < 0:
        raise ValueError(f"an array is {entry['dtype']} {shape}")
    count = int(np.prod(shape, dtype=object))
    return np.frombuffer(view, dtype, count, int(entry["offset"]) - first).reshape(shape)


def _blocks(
    rows: NDArray[Any], entry: Mapping[str, Any], sums: NDArray[np.uint32]
) -> tuple[Blocks, int]:
    """The blocks of an array, and how many rows each has."""
    together, first = int(entry["rows"]), int(entry["checksums"])
    end = first + -(-len(rows) // together) if together > 0 else -1
    if not 0 <= first <= end <= len(sums):
        raise ValueError("checksums are missing")
    return Blocks(rows, sums[first:end], together), together
