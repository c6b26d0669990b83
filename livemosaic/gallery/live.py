"""A gallery that changes while mosaics use it: photos join and leave.

A mosaic sees one snapshot of it at a time.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..argument import take
from ..errors import GalleryError, UsageError
from ..jit import U8
from .added_crops import Arrays, mean_colours, new_colours, show_wholes
from .batches import Batch, read_batch
from .build import images_cut, warm_up
from .change import recipe_of
from .gallery import Gallery
from .layout_index import warm_up_index
from .recipe import CROPS_BELOW_PHOTOS, Recipe
from .snapshot import GalleryRows, GallerySnapshot, Rows
from .sources import Stamp
from .video_frames import photo_stamp

if TYPE_CHECKING:
    from PIL.Image import Image


class AddedPhoto(NamedTuple):
    """A photo that has joined a live gallery.

    Attributes
    ----------
    path : of its file
    number : in all snapshots, see `Gallery.source_photo`; goes up with each photo that joins
    added_s : when it joined, as `time.time()`; of one that was in its folder before, the time of
        the file
    """

    path: str
    number: int
    added_s: float


class LiveGallery:
    """A gallery to which photos are added, and from which they are removed, while it is in use.

    Any thread may call it. Its file stays as it is.

    Parameters
    ----------
    gallery : the gallery to begin with
    recipe : how tiles are made of photos; by default as those of the gallery. The size of the tiles
        is always the gallery's

    Attributes
    ----------
    snapshot : the gallery now, a `Gallery` that never changes
    recipe : in use
    added, removed : photos that joined, and left, so far
    new : numbers of new photos, in the order in which they came, until a spotlight takes them

    Examples
    --------
    >>> from livemosaic import LiveGallery, Mosaic, open_gallery
    >>> live = LiveGallery(open_gallery("photos"))
    >>> mosaic = Mosaic(live.snapshot)
    >>> live.add(["guest.jpg"])                                  # doctest: +SKIP
    >>> mosaic.update_settings(mosaic.settings, gallery=live.snapshot)
    """

    def __init__(self, gallery: Gallery, *, recipe: Recipe | None = None) -> None:
        take("gallery", gallery, Gallery, "a Gallery")
        take("recipe", recipe, Recipe | None, "a Recipe")
        if isinstance(gallery, GallerySnapshot):
            raise UsageError("gallery: it is the snapshot of a live gallery; use a copy's file")
        self.recipe = replace(recipe or recipe_of(gallery), tile_px=gallery.tile_px)
        self._base, self._lock = gallery, threading.Lock()
        self._state = GalleryRows(gallery)
        self._gone = Rows(gallery.gone)
        self._has_left = False  # since pictures of those that are gone were dropped
        self._means: Rows | None = None  # the mean colour of each tile, once they are needed
        self._added: dict[str, AddedPhoto] = {}  # in the order in which they joined
        self._numbers: dict[str, int] = {}  # of the photos that joined
        # Which of the photos that it began with are in it. Their paths stay in the file: few of a
        # million are ever asked for.
        self._stays = np.ones(gallery.sources.photo_count, np.bool_)
        self._stays[gallery.source_photo[gallery.gone]] = False
        self._inside: dict[tuple[str, ...], list[tuple[str, int]]] = {}  # of those, in folders
        self._next_number = itertools.count(gallery.sources.photo_count)  # of an array or image
        self.added = self.removed = 0
        self.new: deque[int] = deque()
        self._take_snapshot(0)

    def __contains__(self, name: str) -> bool:
        """Whether a photo is in it, by its path."""
        return self.number(name) is not None

    def __len__(self) -> int:
        """The number of photos in it."""
        return self._count

    def number(self, name: str) -> int | None:
        """The number of a photo in all snapshots; None if the photo is not in it."""
        with self._lock:
            return self._number(name)

    def _number(self, name: str) -> int | None:
        if name in self._numbers:
            return self._numbers[name]
        return next((it for it in self._base.sources.find(name) if self._stays[it]), None)

    def stamp(self, name: str) -> Stamp | None:
        """The size and time of a photo's file when it was read; None if the photo is not in it."""
        with self._lock:
            number = self._number(name)
            if number is None:
                return None
            size, time_ns = self._state.stamps.view[number].tolist()
            return size, time_ns

    def photos(self) -> dict[str, Stamp]:
        """The paths of all photos in it, and the size and time of the file of each."""
        return self._stamps(list(self._base.sources.starting(("",))), ("",))

    def stamps_in(self, folders: Sequence[str]) -> dict[str, Stamp]:
        """The stamps of the photos in some folders, by absolute paths."""
        inside = tuple(os.path.join(folder, "") for folder in folders)
        if inside not in self._inside:  # for each call a million paths would be read
            self._inside[inside] = list(self._base.sources.starting(inside))
        return self._stamps(self._inside[inside], inside)

    def _stamps(
        self, began_with: Sequence[tuple[str, int]], inside: tuple[str, ...]
    ) -> dict[str, Stamp]:
        """The stamps of those photos that it began with that are still in it, and of those that
        joined inside."""
        with self._lock:
            numbers = {name: number for name, number in began_with if self._stays[number]}
            joined = self._numbers.items()
            numbers |= {name: number for name, number in joined if name.startswith(inside)}
            stamps = self._state.stamps.view[list(numbers.values())].tolist()
        return {name: (size, ns) for name, (size, ns) in zip(numbers, stamps, strict=True)}

    def added_photos(self) -> list[AddedPhoto]:
        """The photos that have joined and not left, in the order in which they joined; one that
        changed has joined again."""
        with self._lock:
            return list(self._added.values())

    def add(
        self, images: str | Path | Iterable[NDArray[Any] | Image | str | Path]
    ) -> tuple[tuple[str, str], ...]:
        """Add photos; one that is there already, by its path, is replaced.

        Parameters
        ----------
        images : uint8 (height, width, 3) BGR arrays, Pillow images, and paths of image files; or
            one path. `photos` calls an array or image by its number

        Returns
        -------
        (path, reason) of each file that cannot be read

        Raises
        ------
        UsageError : an image is none of these
        """
        names, cut = images_cut(images, self.recipe, numbers=self._next_number)
        once = list(dict.fromkeys(names))
        batch = read_batch(once, cut, photo_stamp, self.recipe.tile)
        self.add_batch(batch)
        return tuple(batch.unreadable)

    def warm_up(self) -> None:
        """Load what photos that join need, so that the first one takes as long as others."""
        warm_up(self.recipe)
        warm_up_index(self.snapshot)
        self.number("")  # reads all paths

    def add_file(self, path: str, picture: U8) -> None:
        """Add the photo of a file that was just written, BGR, without reading it again."""
        (name,), cut = images_cut([picture], self.recipe)
        self.add_batch(read_batch([path], lambda _: cut(name), photo_stamp, self.recipe.tile))

    def add_batch(self, batch: Batch, *, old: Collection[str] = ()) -> None:
        """Add photos that were read by `read_batch` with the recipe of this gallery; the `old` ones
        are not new."""
        if not batch.names:
            return
        with self._lock:
            state, first = self._state, len(self._state.stamps.view)
            if self._has_left:
                # Those of earlier changes: cells show those of this one until they are matched.
                state.drop(self._gone.view, list(self._numbers.values()))
                self._has_left = False
            names, stamps, _, arrays, uncut = batch.counted_from(first)
            is_whole = show_wholes(arrays)
            added_crops = np.zeros(len(is_whole), np.bool_)
            if self.recipe.crops is None:
                chosen = is_whole | self._new_colours(arrays, ~is_whole)
                arrays = {name: array[chosen] for name, array in arrays.items()}
                added_crops = ~is_whole[chosen]
            mirrors = self.recipe.mirror & ~arrays["lettering"]
            labels = _nearest(arrays["features"], self._base.centres)
            state.add_photos(names, stamps)
            state.add_tiles(arrays, labels, mirrors, added_crops)
            state.add_uncut(uncut)
            if self._means is not None:
                self._means.append(mean_colours(arrays["points"]))
            self._gone.append(np.zeros(len(labels), np.bool_))
            known = [self._number(name) for name in names]
            replaced = [number for number in known if number is not None]
            self._forget(replaced)
            self.added += len(names) - len(replaced)
            now_s = time.time()
            for number, (name, (_, time_ns)) in enumerate(zip(names, stamps, strict=True), first):
                self._numbers[name] = number
                self._added.pop(name, None)
                added_s = time_ns / 1e9 if name in old else now_s
                self._added[name] = AddedPhoto(name, number, added_s)
            self._take_snapshot(self.snapshot.version + 1)
            self.new.extend(number for number, name in enumerate(names, first) if name not in old)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove photos by their paths; others are left out of account.

        Raises
        ------
        GalleryError : no photo would be left
        """
        with self._lock:
            known = {path: self._number(path) for path in paths}
            chosen = {path: number for path, number in known.items() if number is not None}
            if len(chosen) == len(self):
                raise GalleryError("no photo would be left in the gallery; add others before")
            if chosen:
                self._forget(list(chosen.values()))
                for path in chosen:
                    self._numbers.pop(path, None)
                    self._added.pop(path, None)
                self.removed += len(chosen)
                self._take_snapshot(self.snapshot.version + 1)

    def _forget(self, photos: Sequence[int]) -> None:
        if photos:
            gone = np.isin(self._state.source_photo.view, photos)
            self._gone = Rows(self._gone.view | gone)  # earlier snapshots keep theirs
            self._has_left = True
            self._stays[[it for it in photos if it < len(self._stays)]] = False

    def _take_snapshot(self, version: int) -> None:
        self._count = int(np.count_nonzero(self._stays)) + len(self._numbers)
        self.snapshot = GallerySnapshot(self._base, version, self._gone.view, self._state)

    def _new_colours(self, arrays: Arrays, crops: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which crops have colours that the gallery lacks; of many photos, none."""
        chosen = np.zeros(len(crops), np.bool_)
        if crops.any() and len(self) < CROPS_BELOW_PHOTOS:
            if self._means is None:
                self._means = Rows(mean_colours(np.array(self.snapshot.points)))
            known = [self._means.view[~self._gone.view], mean_colours(arrays["points"][~crops])]
            chosen[crops] = new_colours(arrays["points"][crops], np.concatenate(known))
        return chosen


def _nearest(features: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int32]:
    """The nearest cluster of each tile."""
    lengths = np.square(centres).sum(axis=1)
    # Not a matrix product: a threaded BLAS stalls on a busy machine.
    away = [lengths - 2 * np.einsum("kb,b->k", centres, row) for row in features]
    return np.array([row.argmin() for row in away], np.int32)
