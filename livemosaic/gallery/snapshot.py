"""One moment of a gallery that changes: a `Gallery` that never does.

Tiles and photos keep their numbers in all later snapshots; those that have left are `gone`. New
rows go behind the end of arrays with room to spare, of which an older snapshot sees the beginning
only: a snapshot is made in a moment, whatever the size of the gallery.
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
_SPARE, _LEAST_SPARE = 0.5, 1024


class Rows:
    """An array that grows at its end."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows, self._count = rows, len(rows)

    def append(self, rows: NDArray[Any]) -> None:
        if not len(rows):  # the array may still be the file's, which cannot be written
            return
        end = self._count + len(rows)
        if end > len(self._rows):
            room = max(end + _LEAST_SPARE, int(end * (1 + _SPARE)))
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
        self.tiles = Rows(np.empty((0, *base.tiles.shape[1:]), np.uint8))
        self.features = Rows(np.empty((0, *base.features.shape[1:]), np.float32))
        self.uncut = Rows(np.empty((0, *base.uncut.shape[1:]), np.uint8))
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
