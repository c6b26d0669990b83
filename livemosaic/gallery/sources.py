"""The photos that tiles show: a table of their paths, and the number and the part of each tile."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray


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

    def names(self) -> list[bytes]:
        """The same as bytes, in a third of the time."""
        raw, root = self._bytes.tobytes(), self.root.encode("utf-8", "surrogateescape")
        return [os.path.join(root, raw[begin:end]) for begin, end in pairwise(self._start.tolist())]

    def path(self, photo: int) -> str:
        """The path of a photo by its number."""
        raw = self._bytes[self._start[photo] : self._start[photo + 1]].tobytes()
        return os.path.join(self.root, raw.decode("utf-8", "surrogateescape"))
