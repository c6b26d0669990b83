"""Several galleries as one. Each stays where it is; nothing of its tiles is copied."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..jit import F32, I32, U8, Bools
from ..tile_size import shape
from .gallery import Gallery
from .sources import Sources
from .stacked import ScaledRows, StackedGallery, StackedRows, StackedSources


class JoinedGallery(StackedGallery):
    """Several galleries as one. See `Gallery`; made by `livemosaic.gallery.cut.join_galleries`.

    Tiles, photos and clusters have their numbers in the order of the galleries; only the clusters
    are in the order of their sizes. A photo that several galleries have is that of the first one:
    its tiles in the others are `gone`.

    Attributes
    ----------
    shown : the galleries with tiles of one shape
    """

    def __init__(
        self, parts: Sequence[Gallery], shown: Sequence[Gallery], gone: Bools | None = None
    ) -> None:
        self._parts, self.shown = tuple(parts), tuple(shown)
        first = parts[0]
        self.name = ", ".join(part.name for part in parts)
        self.path, self.bytes = None, sum(part.bytes for part in parts)
        self.digest, self.stored_index = "", None  # it is no file
        self.mirror, self.options = any(part.mirror for part in parts), first.options
        # The largest ones, so that none loses anything; of those that are not, the last digit of a
        # side may be rounded.
        wanted = shape(shown[0].tile_px)
        largest = max(shown, key=lambda it: (shape(it.tile_px) == wanted, it.tile_width))
        self.tile_width, self.tile_height = largest.tile_width, largest.tile_height
        self.tiles = self._scaled([it.tiles for it in shown])
        self.uncut = self._scaled([it.uncut for it in shown])
        self.features = cast(F32, StackedRows(*(it.features for it in shown)))
        self.points = cast(U8, StackedRows(*(it.points for it in shown)))
        self.texture = np.concatenate([it.texture for it in shown])
        photos = np.cumsum([0, *(it.sources.photo_count for it in shown)], dtype=np.int32)
        self.source_photo = _counted_on([it.source_photo for it in shown], photos)
        self.sources = StackedSources([it.sources for it in shown], self.source_photo)
        self.uncut_photo = _counted_on([it.uncut_photo for it in shown], photos)
        self.uncut_crop = np.concatenate([it.uncut_crop for it in shown])
        self.heads = np.concatenate([it.heads for it in shown])
        self.heads[:, 0] = _counted_on([it.heads[:, 0] for it in shown], photos)
        self.stamps = np.concatenate([it.stamps for it in shown])
        self.mirrors = np.concatenate([it.mirrors for it in shown])
        self.added_crops = np.concatenate([it.added_crops for it in shown])
        if gone is None:
            gone = np.concatenate([it.gone for it in shown])
            gone |= repeated_photos([it.sources for it in shown])[self.source_photo]
        self.gone = gone
        sizes = np.concatenate([np.diff(it.members_start) for it in shown])
        order = np.argsort(-sizes, kind="stable")
        number = np.empty(len(order), np.int32)
        number[order] = np.arange(len(order))
        clusters = np.cumsum([0, *(len(it.kept) for it in shown)], dtype=np.int32)
        self.labels = number[_counted_on([it.labels for it in shown], clusters)]
        self.centres = np.concatenate([it.centres for it in shown])[order]
        self._all_kept = np.concatenate([it.kept for it in shown])[order]
        for array in vars(self).values():
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    @property
    def parts(self) -> tuple[Gallery, ...]:
        """The galleries as they are."""
        return self._parts

    def _scaled(self, tiles: Sequence[U8]) -> U8:
        size = self.tile_width, self.tile_height
        same = (size[1], size[0], 3)
        rows = [it if it.shape[1:] == same else ScaledRows(it, size) for it in tiles]
        return cast(U8, StackedRows(*rows))

    def _in_clusters(self) -> tuple[I32, Bools]:
        begins = np.cumsum([0, *map(len, self.shown)], dtype=np.int32)
        return _counted_on([it.members for it in self.shown], begins), self._all_kept

    def release(self) -> None:
        """Release the memory of the parts of the files that were read so far."""
        for part in self.parts:
            part.release()

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Verify the files, one after another."""
        for part in self.parts:
            part.verify(progress)

    def of_shape(self, cut: Callable[[Gallery], Gallery]) -> JoinedGallery:
        """The same with tiles of another shape, of which `cut` makes those of each part."""
        return JoinedGallery(self.parts, [cut(part) for part in self.parts], self.gone)


def _counted_on(parts: Sequence[NDArray[np.int32]], begins: NDArray[np.int32]) -> NDArray[np.int32]:
    """Numbers of several galleries as numbers of the joined one."""
    return np.concatenate([part + first for part, first in zip(parts, begins, strict=False)])


def repeated_photos(parts: Sequence[Sources]) -> Bools:
    """Which photos, of all parts, an earlier part has, too: those of the same absolute path."""
    repeated = [np.zeros(part.photo_count, np.bool_) for part in parts]
    for number, part in enumerate(parts):
        before = [it for it in parts[:number] if _may_share(it.root, part.root)]
        if before:
            known = {name for it in before for name in it.names() if os.path.isabs(name)}
            repeated[number][:] = [name in known for name in part.names()]
    return np.concatenate(repeated)


def _may_share(root: str, other: str) -> bool:
    """Whether photos of two folders may be the same files; those of no folder are anywhere."""
    if not root or not other:
        return True
    a, b = os.path.join(root, ""), os.path.join(other, "")
    return a.startswith(b) or b.startswith(a)
