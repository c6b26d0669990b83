"""One moment of a gallery that changes: a `Gallery` that never does.

Tiles and photos keep their numbers in all later snapshots; those that have left are `gone`. New
rows go behind the end of arrays with room to spare, of which an older snapshot sees the beginning
only: a snapshot is made in a moment, whatever the size of the gallery. The pictures of added tiles
that have left take no memory for long, as of a file that is written again each second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..jit import I32, Bools
from .gallery import Gallery
from .sources import Sources, Stamp
from .stacked import StackedGallery, StackedRows, StackedSources

# Room to spare in an array that grows, as a share of its rows, and at least so many.
_SPARE, LEAST_SPARE = 0.5, 1024


class Rows:
    """An array that grows at its end."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows, self._count = rows, len(rows)

    def append(self, rows: NDArray[Any]) -> None:
        if not len(rows):  # the array may still be the file's, which cannot be written
            return
        end = self._count + len(rows)
        if end > len(self._rows):
            room = max(end + LEAST_SPARE, int(end * (1 + _SPARE)))
            before = self.view
            self._rows = np.empty((room, *before.shape[1:]), before.dtype)
            self._rows[: len(before)] = before
        self._rows[self._count : end] = rows
        self._count = end

    @property
    def view(self) -> NDArray[Any]:
        """The rows so far, read-only."""
        view = self._rows[: self._count]
        view.flags.writeable = False
        return view


class DroppingRows:
    """An array that grows at its end, and gives back the memory of rows that nothing shows."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._kept, self._place = Rows(rows), Rows(np.arange(len(rows), dtype=np.int32))

    def append(self, rows: NDArray[Any]) -> None:
        first = len(self._kept.view)
        self._kept.append(rows)
        self._place.append(np.arange(first, first + len(rows), dtype=np.int32))

    def drop(self, gone: Bools) -> None:
        """Drop the rows that are gone if they are the most; earlier views keep theirs."""
        kept, place = self._kept.view, self._place.view
        stays = np.flatnonzero((place >= 0) & ~gone)
        if len(kept) >= 2 * len(stays) + LEAST_SPARE:
            self._kept = Rows(kept[place[stays]])
            place = np.full(len(place), -1, np.int32)
            place[stays] = np.arange(len(stays))
            self._place = Rows(place)

    @property
    def view(self) -> KeptRows:
        """The rows so far, read-only."""
        return KeptRows(self._kept.view, self._place.view)


class KeptRows:
    """Rows of which some were dropped, as if these were zeros. `place` is that of each row in the
    `kept` ones, int32; -1 without one."""

    def __init__(self, kept: NDArray[Any], place: NDArray[np.int32]) -> None:
        self._kept, self._place = kept, place
        self.dtype, self.shape = kept.dtype, (len(place), *kept.shape[1:])

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, which: Any) -> NDArray[Any]:
        place = self._place[which]
        if (
            isinstance(which, slice)
            and len(place)
            and place[0] >= 0
            and (np.diff(place) == 1).all()
        ):
            return self._kept[place[0] : place[-1] + 1]
        if (place >= 0).all():
            return np.asarray(self._kept[place])
        rows = np.zeros((*place.shape, *self.shape[1:]), self.dtype)
        rows[place >= 0] = self._kept[place[place >= 0]]
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=bool(copy))


class GallerySnapshot(StackedGallery):
    """A live gallery at one moment. See `Gallery`; made by `LiveGallery.snapshot`.

    Attributes
    ----------
    base : the gallery that it began as; its tiles come first
    version : goes up with each change
    """

    def __init__(
        self, base: Gallery, version: int, gone: NDArray[np.bool_], rows: GalleryRows
    ) -> None:
        self.base, self.version = base, version
        self.name, self.path, self.bytes = base.name, base.path, base.bytes
        self.digest, self.stored_index = base.digest, None  # which has no photo that joined
        self.mirror, self.options = base.mirror, base.options
        self.tile_width, self.tile_height = base.tile_width, base.tile_height
        # As arrays for those who choose rows of them: an array would be a copy of the file.
        self.tiles = cast(NDArray[np.uint8], StackedRows(base.tiles, rows.tiles.view))
        self.features = cast(NDArray[np.float32], StackedRows(base.features, rows.features.view))
        self.uncut = cast(NDArray[np.uint8], StackedRows(base.uncut, rows.uncut.view))
        self.uncut_photo, self.uncut_crop = rows.uncut_photo.view, rows.uncut_crop.view
        self.heads = rows.heads.view
        self.points = cast(NDArray[np.uint8], StackedRows(base.points, rows.points.view))
        self.texture = rows.texture.view
        self.centres = base.centres
        self.labels = rows.labels.view
        self.source_photo = rows.source_photo.view
        self.mirrors = rows.mirrors.view
        self.added_crops = rows.added_crops.view
        self.stamps = rows.stamps.view
        self.gone = gone
        added = Sources(rows.sources(), rows.root)
        self.sources = StackedSources([base.sources, added], self.source_photo)

    def _in_clusters(self) -> tuple[I32, Bools]:
        new = np.arange(len(self.base), len(self), dtype=np.int32)
        return np.concatenate([self.base.members, new]), self.base.kept

    def release(self) -> None:
        """Release the memory of the parts of the file that were read so far."""
        self.base.release()

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Verify the file."""
        self.base.verify(progress)

    def follows(self, other: Gallery) -> bool:
        """Whether this is a later state of the same gallery."""
        if isinstance(other, GallerySnapshot):
            same = other.base is self.base and other.tile_px == self.tile_px
            return same and other.version < self.version
        return other is self.base

    def photos(self) -> list[int]:
        """The numbers of the photos that have not left, ascending."""
        numbers: list[int] = np.unique(self.source_photo[~self.gone]).tolist()
        return numbers


class GalleryRows:
    """The arrays that grow."""

    def __init__(self, base: Gallery) -> None:
        self.tiles = DroppingRows(np.empty((0, *base.tiles.shape[1:]), np.uint8))
        self.features = DroppingRows(np.empty((0, *base.features.shape[1:]), np.float32))
        self.uncut = DroppingRows(np.empty((0, *base.uncut.shape[1:]), np.uint8))
        self.uncut_photo, self.uncut_crop = Rows(base.uncut_photo), Rows(base.uncut_crop)
        self.heads = Rows(base.heads)
        self.points = Rows(np.empty((0, *base.points.shape[1:]), np.uint8))
        self.texture = Rows(base.texture)
        self.labels, self.source_photo = Rows(base.labels), Rows(base.source_photo)
        self.mirrors, self.added_crops = Rows(base.mirrors), Rows(base.added_crops)
        self.stamps = Rows(base.stamps)
        # Those of the added photos: the others stay where they are.
        self.root = base.sources.root
        self._photo = Rows(np.empty(0, np.int32))
        self._crop = Rows(np.empty((0, 4), np.int32))
        self._start, self._path = Rows(np.zeros(1, np.int64)), Rows(np.empty(0, np.uint8))
        self._base_photos = base.sources.photo_count

    def sources(self) -> dict[str, NDArray[Any]]:
        return {
            "source_photo": self._photo.view,
            "source_crop": self._crop.view,
            "photo_start": self._start.view,
            "photo_path": self._path.view,
        }

    def add_photos(self, names: Sequence[str], stamps: Sequence[Stamp]) -> None:
        raw = [name.encode("utf-8", "surrogateescape") for name in names]
        ends = int(self._start.view[-1]) + np.cumsum([len(it) for it in raw])
        self._start.append(ends)
        self._path.append(np.frombuffer(b"".join(raw), np.uint8))
        self.stamps.append(np.array(stamps, np.int64).reshape(-1, 2))

    def drop(self, gone: Bools, photos: Sequence[int]) -> None:
        """Give back the memory of tiles that are `gone`, and of uncut photos but those of some
        numbers, if it is much; earlier snapshots keep theirs."""
        for rows in (self.tiles, self.features):
            rows.drop(gone[len(gone) - len(rows.view) :])
        uncut_photo = self.uncut_photo.view
        added = uncut_photo[len(uncut_photo) - len(self.uncut.view) :]
        self.uncut.drop(~np.isin(added, photos))

    def add_uncut(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name in ("uncut", "uncut_photo", "uncut_crop", "heads"):
            getattr(self, name).append(arrays[name])

    def add_tiles(
        self,
        arrays: Mapping[str, NDArray[Any]],
        labels: NDArray[np.int32],
        mirrors: NDArray[np.bool_],
        added_crops: NDArray[np.bool_],
    ) -> None:
        for name in ("tiles", "features", "points", "texture", "source_photo"):
            getattr(self, name).append(arrays[name])
        self._photo.append(arrays["source_photo"] - self._base_photos)
        self._crop.append(arrays["source_crop"])
        self.labels.append(labels)
        self.mirrors.append(mirrors)
        self.added_crops.append(added_crops)
