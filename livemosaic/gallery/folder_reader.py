"""Reads the photos of folders as they appear, change and go; the work of `watch_process`.

The folders are looked through again and again, as the settings files are: events of the system
(inotify) never come from network folders and mounts of containers, run out for large trees, and say
nothing of whether a copy is whole. It takes a tenth of one processor's idle time at most.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import LivemosaicError
from .build import Batch, file_cut, read_batch, write_gallery
from .change import cut_of, recipe_of, stamps_of
from .file_format import SUFFIX, Gallery, Stamp, is_gallery_file, new_gallery_file
from .photo_paths import FoundPhotos, search
from .recipe import Recipe
from .tiles import Tiles
from .video_frames import photo_stamp

# Between two looks, at least, and at least so many times as long as a look takes.
_POLL_S, _POLL_SHARE = 0.1, 9.0
# A file that has not changed for so long is whole; one that cannot be read even then may be a copy
# that waits, and is given this time.
_SETTLED_S, _GIVEN_UP_S = 0.15, 5.0
# Photos are read for so long before the next look.
_READS_S = 0.3
# The gallery file is written when nothing has changed for so long, and after so long at the latest.
_SAVE_IDLE_S, _SAVE_LATEST_S = 2.0, 60.0


class Joined(NamedTuple):
    """Photos that have appeared or changed."""

    batch: Batch


class Left(NamedTuple):
    """Photos that have gone."""

    paths: list[str]


class Unreadable(NamedTuple):
    """A file that cannot be read, or the gallery file that cannot be written."""

    path: str
    reason: str


class Reading(NamedTuple):
    """The photo that is read now, the cause if the process ends; empty afterwards."""

    path: str


News = Joined | Left | Unreadable | Reading


@dataclass(slots=True)
class _Seen:
    stamp: Stamp
    since_s: float  # when it was first seen with this stamp
    reason: str = ""  # why it could not be read


def kept_file(folder: str) -> Path:
    """The gallery file that keeps the photos of a watched folder, beside it."""
    path = Path(os.path.abspath(folder))
    return path.with_name(f"{path.name or 'root'}.watched{SUFFIX}")


class FolderReader:
    """The photos of one folder.

    Parameters
    ----------
    folder : an absolute path
    recipe : how tiles are made
    skip : photos that crashed the process
    """

    def __init__(
        self,
        folder: str,
        recipe: Recipe,
        *,
        skip: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._recipe, self._skip, self._clock = folder, recipe, skip, clock
        self._cut = file_cut(recipe.for_photos(1))
        self._known: dict[str, Stamp] = {}
        self._seen: dict[str, _Seen] = {}
        self._fresh: dict[str, tuple[Tiles, bool]] = {}  # read, and not in the file yet
        self._file = kept_file(folder)
        self._kept: Gallery | None = None
        self._changed_s: float | None = None  # first and last change since the file was written
        self._latest_s = 0.0
        self.look_s = 0.0  # how long the last look took, without reading

    def begin(self) -> Iterator[News]:
        """The photos that the gallery file has, and that are as they were."""
        with contextlib.suppress(LivemosaicError):
            kept = Gallery.open(self._file) if self._file.exists() else None
            if kept is not None and recipe_of(kept) == self._recipe:
                self._kept = kept
        if self._kept is None:
            return
        stamps = stamps_of(self._kept)
        same = {name: stamp for name, stamp in stamps.items() if photo_stamp(name) == stamp}
        if len(same) < len(stamps):
            self._note_change()
        if same:
            self._known, tile = same, self._recipe.tile
            yield Joined(read_batch(list(same), cut_of(self._kept), same.__getitem__, tile))

    def look(self) -> Iterator[News]:
        """What has become of the photos since the last look."""
        now_s = self._clock()
        found = FoundPhotos()
        if not os.path.isdir(self._folder):  # its drive may come back
            return
        search(self._folder, found)
        stamps = {path: photo_stamp(path) for path in found.photos if path not in self._skip}
        unreadable = tuple(os.path.join(path, "") for path, _ in found.unreadable)
        gone = [
            path for path in self._known if path not in stamps and not path.startswith(unreadable)
        ]
        if gone and os.path.isdir(self._folder):
            for path in gone:
                del self._known[path]
                self._fresh.pop(path, None)
            self._note_change()
            yield Left(gone)
        self._seen = {path: seen for path, seen in self._seen.items() if path in stamps}
        for path, stamp in stamps.items():
            if self._known.get(path) == stamp:
                self._seen.pop(path, None)
                continue
            seen = self._seen.get(path)
            if seen is None or seen.stamp != stamp:
                self._seen[path] = _Seen(stamp, now_s)
        self.look_s = self._clock() - now_s
        yield from self._read_settled(now_s)

    def _read_settled(self, now_s: float) -> Iterator[News]:
        """Read what is whole, in the order in which it came."""
        settled = [it for it in self._seen.items() if now_s - it[1].since_s >= _SETTLED_S]
        for path, seen in sorted(settled, key=lambda it: (it[1].since_s, it[1].stamp[1])):
            if seen.reason:
                if now_s - seen.since_s >= _GIVEN_UP_S:
                    self._known[path] = seen.stamp  # until it changes
                    yield Unreadable(path, seen.reason)
                continue
            yield Reading(path)
            stamps, tile = {path: seen.stamp}, self._recipe.tile
            batch = read_batch([path], self._remembering_cut, stamps.__getitem__, tile)
            if photo_stamp(path) == seen.stamp:  # else it is changing
                for _, reason in batch.unreadable:
                    seen.reason = reason
                if batch.names:
                    self._known[path] = seen.stamp
                    self._note_change()
                    yield Joined(batch)
            yield Reading("")
            if self._clock() - now_s >= _READS_S:
                return

    def _remembering_cut(self, path: str) -> tuple[Tiles, bool]:
        self._fresh[path] = made = self._cut(path)
        return made

    def _note_change(self) -> None:
        self._latest_s = self._clock()
        if self._changed_s is None:
            self._changed_s = self._latest_s

    def save(self, *, now: bool = False) -> Iterator[News]:
        """Write the gallery file if it is time, or now if anything has changed."""
        if self._changed_s is None:
            return
        now_s = self._clock()
        is_time = (
            now_s - self._latest_s >= _SAVE_IDLE_S or now_s - self._changed_s >= _SAVE_LATEST_S
        )
        if not now and not is_time:
            return
        self._changed_s = None
        kept = set() if self._kept is None else set(self._kept.sources.photos())
        names = sorted(self._known.keys() & (kept | self._fresh.keys()))
        try:
            if not names:
                if self._kept is not None and is_gallery_file(self._file):
                    self._file.unlink()
                return
            cut = cut_of(self._kept) if self._kept is not None else self._cut
            with new_gallery_file(self._file) as writer:
                write_gallery(
                    writer,
                    names,
                    lambda name: self._fresh[name] if name in self._fresh else cut(name),
                    self._recipe,
                    stamp=self._known.__getitem__,
                    workers=1,
                )
            self._kept = Gallery.open(self._file)
            self._fresh.clear()
        except (LivemosaicError, OSError) as error:
            yield Unreadable(str(self._file), str(error))


def next_look_s(took_s: float) -> float:
    """The time until the next look, after one that took so long."""
    return max(_POLL_S, _POLL_SHARE * took_s)
