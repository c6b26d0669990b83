"""Reads the photos of folders as they appear, change and go; the work of `watch_process`.

The folders are looked through again and again, as the settings files are: events of the system
(inotify) never come from network folders and mounts of containers, run out for large trees, and say
nothing of whether a copy is whole. It takes a fifth of one processor's idle time at most.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import LivemosaicError
from ..media.image_reader import BadImage
from .batches import Batch, Cut, file_cut, read_batch
from .build import write_gallery
from .cache import cache_folder
from .change import cut_of, recipe_of, stamps_of, without_added_crops
from .file_format import SUFFIX, is_gallery_file
from .file_writer import new_gallery_file
from .folder_tree import Changes, FolderTree
from .gallery import Gallery
from .recipe import Recipe
from .sources import Stamp
from .tiles import Tiles
from .video_frames import photo_stamp

# Between two looks, at least, and at least so many times as long as a look takes. Looks at all
# files are apart from those at the folders alone.
_POLL_S, _POLL_SHARE = 0.1, 9.0
# A file that has not changed for so long is whole; one that cannot be read even then may be a copy
# that waits, and is given this time.
_SETTLED_S, _GIVEN_UP_S = 0.15, 5.0
# Photos are read for so long before the next look, and join together if they were read within this.
_READS_S, _TOGETHER_S = 0.3, 0.1
# With so many photos waiting, their reading gives way to everything else.
_MANY = 8
# The gallery file is written when nothing has changed for so long, and after so long at the latest;
# or after so many bytes of new tiles. A large one is written more rarely, as by `_POLL_SHARE`.
_SAVE_IDLE_S, _SAVE_LATEST_S, _SAVE_BYTES = 2.0, 60.0, 2**28
_KEPT_TOGETHER = 64  # photos of the gallery file that join together


class Joined(NamedTuple):
    """Photos that have appeared or changed."""

    batch: Batch
    old: Collection[str] = ()  # names of those that were there at the start


class Left(NamedTuple):
    """Photos that have gone."""

    paths: list[str]


class Unreadable(NamedTuple):
    """A file or folder that cannot be read, or the gallery file that cannot be written."""

    path: str
    reason: str


class Reading(NamedTuple):
    """The photo that is read now, the cause if the process ends; empty afterwards."""

    path: str
    size: int = 0  # these are its stamp
    time_ns: int = 0


News = Joined | Left | Unreadable | Reading


@dataclass(slots=True)
class _Seen:
    stamp: Stamp
    since_s: float  # when it was first seen with this stamp
    not_before_s: float = 0.0  # when to read it again, after a vain attempt
    reason: str = ""  # why it could not be read


def kept_file(folder: str) -> Path:
    """The gallery file that keeps the photos of a watched folder: beside it, or in the user's cache
    folder if there is no place, as beside a drive."""
    path = Path(os.path.abspath(folder))
    name = f"{path.name or 'root'}.watched{SUFFIX}"
    beside = path.with_name(name)
    if beside.exists() or os.access(path.parent, os.W_OK):
        return beside
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return cache_folder() / f"watched-{digest}{SUFFIX}"


class FolderReader:
    """The photos of one folder.

    Parameters
    ----------
    folder : an absolute path
    recipe : how tiles are made
    known : photos that the gallery has already, and their stamps
    joined : those of them that must leave if they are gone
    skip : photos that crashed the process, and their stamps
    """

    def __init__(
        self,
        folder: str,
        recipe: Recipe,
        *,
        known: Mapping[str, Stamp] | None = None,
        joined: Sequence[str] = (),
        skip: Mapping[str, Stamp] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._recipe, self._clock = folder, recipe, clock
        self._in_gallery, self._joined, self._skip = known or {}, joined, skip or {}
        self._tree = FolderTree(folder)
        self._reader = ThreadPoolExecutor(1, "reader")
        self._gently = ThreadPoolExecutor(1, "gently", initializer=_be_idle)
        self._at_start: Mapping[str, Stamp] = {}  # that are not new
        self._known: dict[str, Stamp] = {}
        self._seen: dict[str, _Seen] = {}
        self._bad: set[str] = set()  # of the known ones, those that cannot be read
        self._fresh: dict[str, tuple[Tiles, bool]] = {}  # read, and not in the file yet
        self._fresh_bytes = 0
        self._file = kept_file(folder)
        self._kept: Gallery | None = None
        self._kept_cut: Cut
        self._kept_names: frozenset[str] = frozenset()
        self._changed_s: float | None = None  # first and last change since the file was written
        self._latest_s = 0.0
        self._save_not_before_s = 0.0
        self._save_problem = ""  # that was reported
        self._files_not_before_s = 0.0  # the next look at all files
        self.look_s = 0.0  # how long the last look at the folders took

    def begin(self) -> Iterator[News]:
        """The photos that the gallery file has, and that are as they were."""
        with contextlib.suppress(LivemosaicError):
            kept = self._open() if self._file.exists() else None
            if kept is not None:
                kept.verify()  # all of it is read now, and nothing is lost with it
            if kept is not None and _alike(recipe_of(kept), self._recipe):
                self._keep(kept)
        changes = list(self._look_at_files(self._clock()))
        if not self._skip:  # else others have come since the start
            self._at_start = dict(self._tree.photos)
        inside = os.path.join(self._folder, "")
        gone = [
            path
            for path in self._joined
            if path.startswith(inside) and path not in self._tree.photos
        ]
        if gone and os.path.isdir(self._folder):
            yield Left(gone)
        if self._kept is not None:
            stamps = stamps_of(self._kept)
            same = {name: it for name, it in stamps.items() if self._tree.photos.get(name) == it}
            if len(same) < len(stamps):
                self._note_change()
            self._known |= same
            names = [name for name, stamp in same.items() if self._in_gallery.get(name) != stamp]
            for start in range(0, len(names), _KEPT_TOGETHER):
                some, tile = names[start : start + _KEPT_TOGETHER], self._recipe.tile
                batch = read_batch(some, self._kept_cut, same.__getitem__, tile)
                yield Joined(batch, old=some)
            for name in same:
                self._seen.pop(name, None)
            self._kept.release()
        yield from changes

    def _open(self) -> Gallery:
        # Windows replaces no mapped file.
        return Gallery.open(self._file, mapped=sys.platform != "win32")

    def _keep(self, gallery: Gallery) -> None:
        self._kept, self._kept_cut = gallery, cut_of(gallery)
        self._kept_names = frozenset(gallery.sources.photos())

    def look(self) -> Iterator[News]:
        """What has become of the photos since the last look."""
        now_s = self._clock()
        if now_s >= self._files_not_before_s:
            yield from self._look_at_files(now_s)
        else:
            yield from self._take(self._tree.look(self._seen, at_files=False), now_s)
            self.look_s = self._clock() - now_s
        yield from self._read_settled(now_s)

    def _look_at_files(self, now_s: float) -> Iterator[News]:
        yield from self._take(self._tree.look(), now_s)
        ended_s = self._clock()
        self._files_not_before_s = ended_s + _POLL_SHARE * (ended_s - now_s)

    def _take(self, changes: Changes, now_s: float) -> Iterator[News]:
        for path, reason in changes.away:
            if path == self._folder:
                reason += "; its photos stay, and it is watched again when it is back"
            yield Unreadable(path, reason)
        gone = [path for path in changes.gone if self._known.pop(path, None) is not None]
        for path in changes.gone:
            self._seen.pop(path, None)
            self._fresh.pop(path, None)
        if gone:
            self._note_change()
            yield Left(gone)
        for path in changes.files:
            stamp, seen = self._tree.photos[path], self._seen.pop(path, None)
            if stamp == self._in_gallery.get(path):
                self._known[path] = stamp
            if stamp not in (self._known.get(path), self._skip.get(path)):
                not_before_s = 0.0 if seen is None else seen.not_before_s
                self._seen[path] = _Seen(stamp, now_s, not_before_s)

    def _read_settled(self, now_s: float) -> Iterator[News]:
        """Read what is whole, in the order in which it came."""
        settled = [it for it in self._seen.items() if now_s - it[1].since_s >= _SETTLED_S]
        settled.sort(key=lambda it: (it[1].since_s, it[1].stamp[1]))
        together: dict[str, tuple[Tiles, bool]] = {}
        since_s, reads = now_s, False
        for path, seen in settled:
            if seen.reason:
                if now_s - seen.since_s >= _GIVEN_UP_S:
                    self._settle(path, seen.stamp)  # until the file changes
                    self._bad.add(path)
                    yield Unreadable(path, seen.reason)
                continue
            if now_s < seen.not_before_s:
                continue
            yield Reading(path, *seen.stamp)
            reads = True
            began_s = self._clock()
            reading = self._read(path, gently=len(settled) >= _MANY)
            # On a busy machine it takes long, and those that are to leave do not wait for it.
            while not wait([reading], _READS_S).done:
                if together:  # first, as they may leave
                    yield self._join(together)
                    together, since_s = {}, self._clock()
                yield from self._take(self._tree.look(at_files=False), self._clock())
            try:
                made = reading.result()
            except BadImage as reason:
                made = None
                if photo_stamp(path) == seen.stamp:
                    seen.reason = str(reason)
            ended_s = self._clock()
            seen.not_before_s = ended_s + _POLL_SHARE * (ended_s - began_s)
            if made is not None and photo_stamp(path) == seen.stamp:  # else it is changing
                if not self._is_same(path, made):
                    together[path] = made
                self._settle(path, seen.stamp)
                self._fresh[path] = made
                self._fresh_bytes += _bytes_of(made[0])
                self._note_change()
            if together and ended_s - since_s >= _TOGETHER_S:
                yield self._join(together)
                together, since_s = {}, ended_s
            if ended_s - now_s >= _READS_S:
                break
        if together:
            yield self._join(together)
        if reads:
            yield Reading("")

    def _read(self, path: str, *, gently: bool) -> Future[tuple[Tiles, bool]]:
        cut = file_cut(self._recipe.for_photos(len(self._tree.photos)))
        return (self._gently if gently else self._reader).submit(cut, path)

    def _is_same(self, path: str, made: tuple[Tiles, bool]) -> bool:
        """Whether a photo that joined looks as before: file systems and programs change times."""
        if path not in self._known:
            return False
        before = self._fresh.get(path)
        if before is None and path in self._kept_names:
            before = self._kept_cut(path)
        return before is not None and np.array_equal(before[0].pixels[0], made[0].pixels[0])

    def _settle(self, path: str, stamp: Stamp) -> None:
        self._known[path] = stamp
        self._bad.discard(path)
        self._seen.pop(path, None)  # it may have gone and come again while it was read

    def _join(self, made: Mapping[str, tuple[Tiles, bool]]) -> Joined:
        tile = self._recipe.tile
        old = [path for path in made if self._at_start.get(path) == self._known[path]]
        return Joined(read_batch(list(made), made.__getitem__, self._known.__getitem__, tile), old)

    def _note_change(self) -> None:
        self._latest_s = self._clock()
        if self._changed_s is None:
            self._changed_s = self._latest_s

    def save(self, *, now: bool = False) -> Iterator[News]:
        """Write the gallery file if it is time, or now if anything has changed. What could not be
        written is tried again later."""
        if self._changed_s is None:
            return
        began_s = self._clock()
        is_time = began_s >= self._save_not_before_s and (
            began_s - self._latest_s >= _SAVE_IDLE_S
            or began_s - self._changed_s >= _SAVE_LATEST_S
            or self._fresh_bytes >= _SAVE_BYTES
        )
        if not now and not is_time:
            return
        try:
            self._write()
        except (LivemosaicError, OSError) as error:
            self._save_not_before_s = self._clock() + _SAVE_LATEST_S
            if str(error) != self._save_problem:
                self._save_problem = str(error)
                yield Unreadable(str(self._file), str(error))
            return
        self._changed_s, self._save_problem = None, ""
        ended_s = self._clock()
        self._save_not_before_s = ended_s + _POLL_SHARE * (ended_s - began_s)

    def _write(self) -> None:
        names = sorted((self._known.keys() & (self._kept_names | self._fresh.keys())) - self._bad)
        if not names:
            if self._kept is not None and is_gallery_file(self._file):
                self._file.unlink()
            self._kept, self._kept_names = None, frozenset()
            return
        fresh = self._fresh
        with new_gallery_file(self._file) as writer:
            write_gallery(
                writer,
                names,
                without_added_crops(
                    lambda name: fresh[name] if name in fresh else self._kept_cut(name),
                    self._recipe,
                    len(names),
                ),
                replace(self._recipe, clusters=1),  # only its tiles are read
                stamp=self._known.__getitem__,
                index=False,
                workers=1,
            )
        self._keep(self._open())
        self._fresh.clear()
        self._fresh_bytes = 0


def next_look_s(took_s: float) -> float:
    """The time until the next look, after one that took so long."""
    return max(_POLL_S, _POLL_SHARE * took_s)


def _alike(kept: Recipe, recipe: Recipe) -> bool:
    """Whether tiles are made in the same way."""
    return replace(kept, clusters=1) == replace(recipe, clusters=1)


def _bytes_of(tiles: Tiles) -> int:
    return tiles.pixels.nbytes + (0 if tiles.uncut is None else tiles.uncut.pixels.nbytes)


def _be_idle() -> None:
    """Let this thread run only while no other wants the processor. On a processor with such a
    thread the system starts others as if nothing ran there, unlike with one of low priority; and
    its files are read as rarely."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
