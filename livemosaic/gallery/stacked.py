"""The rows of several galleries as if they were of one, without a copy."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..jit import I32, U8, Bools
from ..option import Size
from .gallery import Gallery
from .sources import Sources


class StackedRows:
    """The rows of several arrays as if they were one: tiles of mapped files, and of memory."""

    def __init__(self, *parts: Any) -> None:
        self._parts: tuple[NDArray[Any], ...] = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return (len(self), *self._parts[0].shape[1:])

    @property
    def ndim(self) -> int:
        """As of an array."""
        return len(self.shape)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """The same as of an array, for a number, a slice or an array of numbers; a copy if need
        be."""
        if isinstance(rows, tuple):  # a part of one row
            found: NDArray[Any] = self[rows[0]][rows[1:]]
            return found
        if isinstance(rows, slice):
            begin, stop, step = rows.indices(len(self))
            part = self._part(begin)
            first = self._begin(part)
            if begin >= first and stop <= self._ends[part] and step > 0:
                return self._parts[part][begin - first : max(stop - first, 0) : step]
            rows = np.arange(begin, stop, step)
        numbers = np.asarray(rows)
        if numbers.dtype == np.bool_:
            numbers = np.flatnonzero(numbers)
        numbers = np.where(numbers < 0, numbers + len(self), numbers)
        if numbers.ndim == 0:
            number = int(numbers)
            part = self._part(number)
            return np.asarray(self._parts[part][number - self._begin(part)])
        made = np.empty((*numbers.shape, *self.shape[1:]), self.dtype)
        part_of = np.searchsorted(self._ends, numbers, side="right")
        for part in np.unique(part_of).tolist():
            chosen = part_of == part
            made[chosen] = self._parts[part][numbers[chosen] - self._begin(part)]
        return made

    def _part(self, row: int) -> int:
        """The number of the part that has a row, or the last one."""
        return min(int(np.searchsorted(self._ends, row, side="right")), len(self._parts) - 1)

    def _begin(self, part: int) -> int:
        return int(self._ends[part]) - len(self._parts[part])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = np.concatenate([np.asarray(part) for part in self._parts])
        return whole.astype(dtype or self.dtype, copy=False)


class ScaledRows:
    """Pictures of tiles, uint8 (n, h, w, 3), in another size; scaled when they are asked for."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, tiles: U8, size: Size) -> None:
        self._tiles, self._size = tiles, size
        self.shape = (len(tiles), size[1], size[0], 3)

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, which: Any) -> U8:
        chosen = self._tiles[which]
        made = np.empty((*chosen.shape[:-3], *self.shape[1:]), np.uint8)
        height, width = chosen.shape[-3:-1]
        smaller = height >= self._size[1] and width >= self._size[0]
        mode = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        for place in np.ndindex(chosen.shape[:-3]):
            made[place] = cv2.resize(chosen[place], self._size, interpolation=mode)
        return made

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


class StackedSources(Sources):
    """The sources of tiles of several galleries; `photos` are the numbers of the photos, over
    all."""

    def __init__(self, parts: Sequence[Sources], photos: I32) -> None:
        self._parts = parts
        self._begins = [0, *np.cumsum([part.photo_count for part in parts]).tolist()]
        self._photo = photos
        self.root = parts[0].root
        self.crops = StackedRows(*(part.crops for part in parts))  # type: ignore[assignment]

    @property
    def photo_count(self) -> int:
        """The number of photos."""
        return int(self._begins[-1])

    def names(self) -> Iterator[bytes]:
        """See `Sources`."""
        return (name for part in self._parts for name in part.names())

    def find(self, path: str) -> list[int]:
        """See `Sources`."""
        parts = zip(self._begins, self._parts, strict=False)
        return [begin + it for begin, part in parts for it in part.find(path)]

    def starting(self, prefixes: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        """See `Sources`."""
        for begin, part in zip(self._begins, self._parts, strict=False):
            yield from ((path, begin + it) for path, it in part.starting(prefixes))

    def path(self, photo: int) -> str:
        """See `Sources`."""
        part = bisect_right(self._begins, photo) - 1
        return self._parts[part].path(photo - self._begins[part])


class StackedGallery(Gallery):
    """A gallery of the rows of several, of which some tiles may be gone."""

    def _in_clusters(self) -> tuple[I32, Bools]:
        """The tiles cluster by cluster in each of the galleries, those that are gone, too; and
        which clusters are kept."""
        raise NotImplementedError

    @cached_property
    def _clusters(self) -> _Clusters:
        """Made when the match by clusters asks: for 300,000 tiles it takes a frame's time."""
        members, kept = self._in_clusters()
        members = members[~self.gone[members]]
        labels = self.labels[members]
        sizes = np.bincount(labels, minlength=len(kept))
        still_kept = kept & (sizes > 0)
        return _Clusters(
            members[np.argsort(labels, kind="stable")].astype(np.int32),
            np.cumsum([0, *sizes], dtype=np.int32),
            still_kept if still_kept.any() else sizes > 0,
        )

    @property
    def members(self) -> I32:  # type: ignore[override]
        """See `Gallery`."""
        return self._clusters.members

    @property
    def members_start(self) -> I32:  # type: ignore[override]
        """See `Gallery`."""
        return self._clusters.start

    @property
    def kept(self) -> Bools:  # type: ignore[override]
        """See `Gallery`."""
        return self._clusters.kept


class _Clusters(NamedTuple):
    """See the attributes of `Gallery`."""

    members: I32
    start: I32
    kept: Bools
