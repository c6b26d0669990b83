"""The photos in a folder and its subfolders, which are looked through again and again.

A folder has another time when files come, go or are renamed. So most looks ask for the times of the
folders alone, however many photos these have; a look at each file finds those that were changed in
place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import words_of
from .photo_paths import list_folder
from .sources import Stamp
from .video_frames import photo_stamp

# The time of a folder may be that of a change before, if it was listed so soon after: clocks of
# file systems are as coarse as this.
_COARSE_NS = 2 * 10**9


class _Folder(NamedTuple):
    device: int
    time_ns: int  # of its last change
    is_sure: bool  # whether a later change has another time
    photos: dict[str, int]  # see `photo_paths.Listing`
    folders: list[str]

    def is_as(self, device: int, time_ns: int) -> bool:
        """Whether nothing has come, gone or been renamed, if it has this time now."""
        return self.is_sure and (self.device, self.time_ns) == (device, time_ns)


@dataclass(slots=True)
class Changes:
    """What has changed since the look before.

    Attributes
    ----------
    files : photos that are new, or have another stamp
    gone : photos that are not there any more
    away : (path, reason) of folders that cannot be listed, and could before
    """

    files: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    away: list[tuple[str, str]] = field(default_factory=list)


class FolderTree:
    """The photos of a folder.

    Photos in a folder that cannot be listed stay, be it the whole folder: its drive may come back.

    Attributes
    ----------
    photos : the stamp of each, by its absolute path
    """

    def __init__(self, root: str, *, stat: Callable[[str], os.stat_result] = os.stat) -> None:
        self._root, self._stat = root, stat
        self._folders: dict[str, _Folder] = {}
        self._away: set[str] = set()
        self.photos: dict[str, Stamp] = {}

    def look(self, unsettled: Iterable[str] = (), *, at_files: bool = True) -> Changes:
        """Look for changes: of the folders, and of `unsettled` photos; with `at_files`, of all."""
        changes, away = Changes(), set[str]()
        before, self._folders = self._folders, {}
        todo = [self._root]
        while todo:
            path = todo.pop()
            known = before.get(path)
            try:
                found = self._list(path, known, changes, at_files=at_files)
            except OSError as error:
                if isinstance(error, FileNotFoundError) and os.path.isdir(self._root):
                    continue
                away.add(path)
                if path not in self._away:
                    changes.away.append((path, words_of(error)))
                inside = os.path.join(path, "")
                self._folders |= {
                    it: folder
                    for it, folder in before.items()
                    if it == path or it.startswith(inside)
                }
                continue
            self._folders[path] = found
            todo += found.folders
        self._away = away
        for path in before.keys() - self._folders.keys():
            changes.gone += before[path].photos
        for photo in changes.gone:
            del self.photos[photo]
        if not at_files:
            for photo in unsettled:
                if photo in self.photos:
                    self._look_at(photo, changes)
        return changes

    def _list(
        self, path: str, known: _Folder | None, changes: Changes, *, at_files: bool
    ) -> _Folder:
        """A folder as it is now; the changes of its photos are noted."""
        status = self._stat(path)
        device, time_ns = status.st_dev, status.st_mtime_ns
        if known is not None and not at_files and known.is_as(device, time_ns):
            return known
        is_sure = abs(time.time_ns() - time_ns) > _COARSE_NS
        listing = list_folder(path)
        is_empty = not listing.photos and not listing.folders
        if known is not None and known.device != device and is_empty:
            raise OSError("its drive is gone")  # and the folder is where it was
        photos = {} if known is None else known.photos
        changes.gone += photos.keys() - listing.photos.keys()
        for photo, inode in listing.photos.items():
            if at_files or photos.get(photo) != inode:
                self._look_at(photo, changes)
        return _Folder(device, time_ns, is_sure, listing.photos, listing.folders)

    def _look_at(self, photo: str, changes: Changes) -> None:
        stamp = photo_stamp(photo)
        if self.photos.get(photo) != stamp:
            self.photos[photo] = stamp
            changes.files.append(photo)
