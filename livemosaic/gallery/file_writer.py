"""Writes gallery files as streams: the tiles of a large gallery are never in memory together."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError, UsageError, fix_of_writing, words_of
from ..media.atomic_write import atomic_write
from .checksums import RunningChecksums, rows_together
from .file_format import (
    ARRAYS,
    INDEX,
    OPTIONAL,
    OPTIONS,
    PICTURES,
    START,
    SUFFIX,
    SUM,
    is_gallery_file,
    prefix_of,
)
from .recipe import Recipe
from .rows import SpooledRows
from .sources import Stamp

_ALIGN = 64  # a cache line, and the widest SIMD word


class GalleryWriter:
    """Writes a gallery file as a stream: tiles as they come, then the rest by `finish`."""

    def __init__(self, file: IO[bytes], *, folder: str | None = None) -> None:
        """`folder` is for a temporary file, by default the system's."""
        self._file, self._folder = file, folder
        self._checksums = RunningChecksums()
        self._arrays: dict[str, dict[str, Any]] = {}
        self._tiles = 0
        self._uncut: SpooledRows | None = None  # what comes after the last tile
        file.write(bytes(START))
        self._offset = START

    def append(self, tiles: NDArray[np.uint8]) -> None:
        """Add uint8 (m, height, width, 3) BGR tiles, of one size in all calls."""
        if not self._arrays:
            self._begin("tiles", ARRAYS["tiles"][0], tiles.shape[1:])
        self._tiles += len(tiles)
        self._add(tiles)

    def append_uncut(self, photos: NDArray[np.uint8]) -> None:
        """Add uncut photos, as large as tiles."""
        if len(photos):
            if self._uncut is None:
                self._uncut = SpooledRows(OPTIONAL["uncut"][0], photos.shape[1:], self._folder)
            self._uncut.append(photos)

    def close(self) -> None:
        """Free what was kept for `finish`."""
        if self._uncut is not None:
            self._uncut.close()

    def finish(
        self,
        arrays: Mapping[str, NDArray[Any] | SpooledRows],
        *,
        photos: Iterable[str],
        root: str,
        recipe: Recipe,
        lettering: Sequence[int] = (),
        stamps: Sequence[Stamp] | NDArray[np.int64] = (),
        index: bool = True,
    ) -> int:
        """Write everything but the tiles; return the size of the file in bytes.

        Parameters
        ----------
        arrays : all of `ARRAYS` but tiles, photo_start and photo_path; of `OPTIONAL`, those for
            tiles of other shapes but uncut
        photos : paths relative to `root`, in the order of source_photo's numbers
        lettering : the numbers of those that are never mirrored
        stamps : of each photo, or none
        index : write the search index, too
        """
        self._end(self._tiles)
        if self._uncut is not None:
            self._write("uncut", self._uncut.blocks())
        start, path = array("q", [0]), bytearray()
        for photo in photos:
            path += photo.encode("utf-8", "surrogateescape")
            start.append(len(path))
        table: dict[str, NDArray[Any]] = {
            "photo_start": np.frombuffer(start, np.int64),
            "photo_path": np.frombuffer(path, np.uint8),
        }
        known = np.asarray(stamps, np.int64)
        if known.any():
            table["photo_stamp"] = known
        for name, rows in (dict(arrays) | table).items():
            if name in ARRAYS or len(rows):
                self._write(name, rows.blocks() if isinstance(rows, SpooledRows) else [rows])
        header = {
            "root": root, "mirror": recipe.mirror, "lettering": list(lettering),
            "options": {name: getattr(recipe, name) for name in OPTIONS},
        }  # fmt: skip
        if index:
            from .layout_arrays import INDEX_KIND, index_arrays

            header["index"] = INDEX_KIND
            mirrors = np.full(len(start) - 1, recipe.mirror)
            mirrors[list(lettering)] = False
            shown = np.asarray(arrays["source_photo"][:], np.int32)
            for name, parts in index_arrays(arrays["points"][:], shown, mirrors[shown]):
                self._write(name, parts)
        sums = np.array(self._checksums.sums, SUM).tobytes()
        # ASCII escapes carry bytes of file names that are not UTF-8.
        text = json.dumps(header | {"arrays": self._arrays}, sort_keys=True).encode()
        self._file.write(sums + text)
        offset = self._offset + len(sums)
        self._file.seek(0)
        self._file.write(prefix_of(sums, text, offset))
        return offset + len(text)

    def _write(self, name: str, parts: Iterable[NDArray[Any]]) -> None:
        """Write an array, of parts one after another."""
        dtype, count = (ARRAYS | OPTIONAL | INDEX)[name][0], 0
        for number, part in enumerate(parts):
            rows = np.ascontiguousarray(part, dtype)
            if not number:
                self._begin(name, dtype, rows.shape[1:])
            self._add(rows)
            count += len(rows)
        self._end(count)

    def _begin(self, name: str, dtype: str, row: tuple[int, ...]) -> None:
        padding = bytes(-self._offset % _ALIGN)
        self._file.write(padding)
        self._offset += len(padding)
        row_bytes = math.prod(row) * np.dtype(dtype).itemsize
        together = rows_together(row_bytes, pictures=name in PICTURES)
        self._checksums.begin(together * row_bytes)
        self._arrays[name] = {
            "dtype": dtype, "shape": [0, *row], "offset": self._offset,
            "rows": together, "checksums": len(self._checksums.sums),
        }  # fmt: skip

    def _add(self, rows: NDArray[Any]) -> None:
        """Write some rows of the array that was begun."""
        data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        self._file.write(data)
        self._checksums.add(data)
        self._offset += len(data)

    def _end(self, count: int) -> None:
        """The array that was begun has so many rows, and no more."""
        self._checksums.end()
        list(self._arrays.values())[-1]["shape"][0] = count


def refuse_gallery(path: str | Path) -> None:
    """Raise `GalleryError` for a gallery file among photos."""
    is_gallery = False
    with contextlib.suppress(OSError):  # the build reports it
        is_gallery = is_gallery_file(os.path.expanduser(path))
    if is_gallery:
        raise GalleryError(
            f"{str(path)!r} is a gallery, and only photos can be added; leave it out, or use both "
            f"in a mosaic: --gallery NAME{SUFFIX} --gallery {path}"
        )


def refuse_to_replace(path: str | Path) -> None:
    """Raise `UsageError` if there is something at a path that is neither a gallery nor empty."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if os.path.exists(path) and not is_gallery_file(path):
            if os.path.isfile(path) and not os.path.getsize(path):
                return
            raise UsageError(
                f"{path}: it exists and is not a gallery, so it is not replaced; choose another "
                f"name, such as my{SUFFIX}"
            )
    except OSError as error:
        raise GalleryError(
            f"cannot write gallery {str(path)!r}: {words_of(error)}; choose another place"
        ) from None


@contextlib.contextmanager
def new_gallery_file(path: str | Path, *, beside: bool = False) -> Iterator[GalleryWriter]:
    """Write a gallery file, which appears under its name when it is whole; else nothing is left,
    or a file `beside` it, see `atomic_write`.

    `UsageError` if there is another file, such as a photo.
    """
    path = Path(path)
    refuse_to_replace(path)
    try:
        with atomic_write(path, beside=beside) as file:
            made = GalleryWriter(file, folder=str(path.parent))
            with contextlib.closing(made) as writer:
                yield writer
                refuse_to_replace(path)  # it may have come meanwhile
    except OSError as error:
        raise GalleryError(
            f"cannot write gallery {str(path)!r}: {words_of(error)}; "
            f"{fix_of_writing(error, 'choose another place')}"
        ) from None
