"""The photos that tiles show: a table of their paths, and the number and the part of each tile."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

_TOGETHER = 4096  # paths that are read at once


class Source(NamedTuple):
    """The photo that a tile shows, and the part of it: left, top, width, height in pixels."""

    path: str
    crop: tuple[int, int, int, int]


# The size and the time in ns of a photo's file: another one means that the photo has changed.
Stamp = tuple[int, int]
NO_STAMP: Stamp = (0, 0)


class Sources(Sequence[Source]):
    """The source of each tile, stored as a table of paths and int32 numbers.

    Attributes
    ----------
    root : the folder that the paths belong to
    crops : int32 (n, 4), the part of the photo that each shows
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], root: str) -> None:
        self.root = root
        self._photo: NDArray[np.int32] = arrays["source_photo"]
        self.crops: NDArray[np.int32] = arrays["source_crop"]
        self._start, self._bytes = arrays["photo_start"], arrays["photo_path"]

    def __len__(self) -> int:
        return len(self._photo)

    @overload
    def __getitem__(self, tile: int) -> Source: ...
    @overload
    def __getitem__(self, tile: slice) -> list[Source]: ...
    def __getitem__(self, tile: int | slice) -> Source | list[Source]:
        if isinstance(tile, slice):
            return [self[i] for i in range(*tile.indices(len(self)))]
        left, top, width, height = self.crops[tile].tolist()
        return Source(self.path(int(self._photo[tile])), (left, top, width, height))

    def with_crops(self, crops: NDArray[np.int32]) -> Sources:
        """The same photos with other parts of them, int32 (n, 4)."""
        made = copy.copy(self)
        made.crops = crops
        return made

    @property
    def photo_count(self) -> int:
        """The number of photos."""
        return len(self._start) - 1

    def photos(self) -> list[str]:
        """Paths of all photos, each once."""
        return [self.path(photo) for photo in range(self.photo_count)]

    def names(self) -> Iterator[bytes]:
        """The same as bytes, in a third of the time."""
        root = self.root.encode("utf-8", "surrogateescape")
        return (os.path.join(root, stored) for stored in self._stored())

    def _stored(self) -> Iterator[bytes]:
        """The paths as they are stored."""
        for first in range(0, self.photo_count, _TOGETHER):
            begin, *ends = self._start[first : first + _TOGETHER + 1].tolist()
            raw = self._bytes[begin : ends[-1]].tobytes()
            for start, end in pairwise((begin, *ends)):
                yield raw[start - begin : end - begin]

    def _as_stored(self, path: str) -> set[bytes]:
        """How a path, or the beginning of one, may be stored: relative to the root, or whole."""
        relative = path.removeprefix(os.path.join(self.root, ""))
        with contextlib.suppress(UnicodeEncodeError):  # no file has such a name
            return {it.encode("utf-8", "surrogateescape") for it in (path, relative)}
        return set()

    @cached_property
    def _by_hash(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The hashes of the stored paths, ascending, and the number of each photo: 12 bytes for
        each, where a table of the paths has 130."""
        hashes = np.fromiter(map(hash, self._stored()), np.int64, self.photo_count)
        photos = np.argsort(hashes)
        return hashes[photos], photos.astype(np.int32)

    def find(self, path: str) -> list[int]:
        """The numbers of the photos with a path, ascending: one at most, but of joined galleries
        several. The first call reads all paths."""
        hashes, photos = self._by_hash
        found = set()
        for key in map(hash, self._as_stored(path)):
            begin, end = np.searchsorted(hashes, key), np.searchsorted(hashes, key, "right")
            found |= {it for it in photos[begin:end].tolist() if self.path(it) == path}
        return sorted(found)

    def starting(self, prefixes: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        """The paths that begin with one of some texts, and the numbers of their photos."""
        root = os.path.join(self.root, "")
        texts = ("" if root.startswith(it) else it for it in prefixes)
        stored = tuple(key for text in texts for key in self._as_stored(text))
        for number, raw in enumerate(self._stored()):
            if raw.startswith(stored) and (path := self.path(number)).startswith(prefixes):
                yield path, number

    def path(self, photo: int) -> str:
        """The path of a photo by its number."""
        raw = self._bytes[self._start[photo] : self._start[photo + 1]].tobytes()
        return os.path.join(self.root, raw.decode("utf-8", "surrogateescape"))
