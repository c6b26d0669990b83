"""The folder of a gallery's shards: which are there, and their batches in order."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError, words_of
from ..media.atomic_write import atomic_write, remove_remains
from ..media.folder_in_use import FolderInUse
from ..unfinished import add_new_folder, forget_unfinished
from .batches import BATCH, Batch, file_cut, read_all
from .recipe import SHARDS, Recipe
from .shard_file import can_be_used, is_whole, new_shard_file, read_shard
from .shards import WAITS_S, MakeShards, Shard, cut_into_shards
from .video_frames import photo_exists, photo_stamp

_FILE = re.compile(r"[0-9a-f]{40}\.shard")
_USED = ".used"  # lists of a gallery's shards, in a folder that is kept

_logger = logging.getLogger("livemosaic")


def shard_folder(output: str | Path, shards: str | Path | None) -> Path:
    """The folder of a gallery's shards: the one that was chosen, or one beside the gallery."""
    return Path(
        os.path.abspath(os.path.expanduser(f"{output}{SHARDS}" if shards is None else shards))
    )


def remove_if_empty(folder: Path) -> None:
    """Remove a folder without shards, unless a build uses it, or something else is in it."""
    with contextlib.suppress(OSError), FolderInUse(folder) as in_use:
        if not _shards_in(folder) and in_use.is_alone():
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, with what killed workers left, unless something else is in it."""
    remove_remains(folder)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _shards_in(folder: Path) -> set[str]:
    # A list of the folder: on network folders a name that was missing once may stay so.
    try:
        return set(filter(_FILE.fullmatch, os.listdir(folder)))
    except OSError:
        return set()


class ShardFolder:
    """The folder of a gallery's shards, while it is built.

    Parameters
    ----------
    path : the folder, which is made if it is not there
    keep_for : the gallery's path, to keep the folder when that is whole, with its shards and those
        of other galleries for which the folder is kept
    """

    def __init__(self, path: Path, *, keep_for: str | None) -> None:
        self.path = path
        self._may_go = keep_for is None  # when it is empty
        self._gallery = os.path.abspath(os.path.expanduser(keep_for or ""))
        digest = hashlib.sha256(os.fsencode(self._gallery)).hexdigest()
        self._own_list = None if keep_for is None else path / f"{digest[:16]}{_USED}"
        self._is_useless = False
        self._planned: set[str] = set()
        self._used: set[str] = set()
        self._in_use: FolderInUse | None = None

    def __enter__(self) -> Self:
        try:
            while self._in_use is None:
                self._make()
                with contextlib.suppress(FileNotFoundError):  # another build has removed it
                    self._in_use = FolderInUse(self.path)
        except OSError as error:
            self._note_new()
            is_file = isinstance(error, FileExistsError)
            raise GalleryError(
                f"cannot keep the parts of the gallery in {str(self.path)!r}: "
                f"{'it is no folder' if is_file else words_of(error)}; "
                "choose another folder with --shards"
            ) from None
        remove_remains(self.path)
        with contextlib.suppress(OSError):
            self._list(self._planned)  # for the builds of others, if this one is interrupted
        return self

    def _make(self) -> None:
        """Make the folder, unless there is one."""
        if not os.path.lexists(self.path):
            add_new_folder(self.path)  # until it has a shard
            with contextlib.suppress(FileExistsError):
                self.path.mkdir()
                self._may_go = True
                return
            self._note_new()
        self.path.mkdir(exist_ok=True)  # fails if it is a file

    def __exit__(self, *_: object) -> None:
        self._note_new()
        assert self._in_use is not None
        with self._in_use:
            if self._may_go and not _shards_in(self.path) and self._in_use.is_alone():
                if self._own_list is not None:
                    self._own_list.unlink(missing_ok=True)
                _remove(self.path)
        if self._is_useless:
            self.finish()

    def discard(self) -> None:
        """The gallery has no photo: its shards go at the end of the block."""
        self._is_useless = True

    def _note_new(self) -> None:
        forget_unfinished(self.path)

    def finish(self) -> None:
        """The gallery is whole: remove the shards that are not to be kept, unless another build
        uses the folder."""
        with contextlib.suppress(OSError), FolderInUse(self.path) as in_use:
            self._list(self._used)
            if not in_use.is_alone():
                return
            for name in _shards_in(self.path) - self._listed():
                with contextlib.suppress(OSError):
                    (self.path / name).unlink()
            if self._own_list is None:
                _remove(self.path)

    def _list(self, shards: set[str]) -> None:
        """Write which shards the gallery has, after its path, if they are to be kept."""
        if self._own_list is not None:
            with atomic_write(self._own_list) as file:
                file.write(os.fsencode("\n".join([self._gallery, *sorted(shards), ""])))

    def _listed(self) -> set[str]:
        """The shards of all galleries for which the folder is kept."""
        lists = (path.read_bytes().splitlines() for path in self.path.glob(f"*{_USED}"))
        return {os.fsdecode(line) for lines in lists for line in lines[1:]}

    def _usable(self, shards: Sequence[tuple[Shard, str]]) -> set[str]:
        """The files of shards that are there, and need not be made again, unless damaged."""
        there = _shards_in(self.path)
        usable = {
            file
            for shard, file in shards
            if file in there and can_be_used(self.path / file, shard.groups())
        }
        if usable:
            _logger.info("%d of %d shards are there already", len(usable), len(shards))
        return usable

    def shards(
        self, names: Sequence[str], stamps: NDArray[np.int64], recipe: Recipe
    ) -> list[tuple[Shard, str]]:
        """The shards of a gallery's photos, and the names of their files."""
        together = 1 if recipe.chooses_crops(len(names)) else BATCH
        cutting = recipe.for_photos(len(names))
        made = []
        for some in cut_into_shards(names, stamps):
            shard = Shard(names[some], cutting, together, str(self.path))
            made.append((shard, shard.file(stamps[some]).name))
        self._planned = {file for _, file in made}
        return made

    def read_here(
        self, shards: Sequence[tuple[Shard, str]], workers: int | None
    ) -> Generator[Batch, None, None]:
        """The batches of shards, in their order; those that are missing are made by threads."""
        there = self._usable(shards)
        missing = [shard for shard, file in shards if file not in there]
        groups = (group for shard in missing for group in shard.groups())
        fresh = self._cut(shards[0][0], groups, workers)
        for shard, file in shards:
            path = self.path / file
            if file not in there:
                yield from self._keep_in(path, shard, fresh)
            elif is_whole(path):
                yield from read_shard(path, shard.groups())
            else:
                yield from self._keep_in(path, shard, self._cut(shard, shard.groups(), workers))
            self._used.add(file)

    def _cut(
        self, shard: Shard, groups: Iterable[Sequence[str]], workers: int | None
    ) -> Iterator[Batch]:
        cut, tile = file_cut(shard.recipe), shard.recipe.tile
        return read_all(groups, cut, photo_stamp, tile, workers)

    def _keep_in(self, path: Path, shard: Shard, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Batches of a shard as they come, which are written to its file, too."""
        groups = list(shard.groups())
        with new_shard_file(path) as file:
            for group, batch in zip(groups, islice(batches, len(groups)), strict=True):
                file.write_batch(batch, group)
                yield batch
        self._note_new()

    def read_made(
        self,
        shards: Sequence[tuple[Shard, str]],
        make_shards: MakeShards,
        progress: Callable[[int, int], None] | None,
    ) -> Generator[Batch, None, None]:
        """The batches of shards, in their order; those that are missing are made by workers."""
        there = self._usable(shards)
        files: dict[int, str] = {}  # that workers have made, by the numbers of their shards
        missing = [number for number, (_, file) in enumerate(shards) if file not in there]
        total = sum(len(shard.names) for shard, _ in shards)
        done = total - sum(len(shards[number][0].names) for number in missing)
        tasks = [shards[number][0] for number in missing]
        shown, left = 0, len(tasks)

        def note(read: int) -> None:
            nonlocal shown
            if progress and done + read >= shown:  # what a killed worker has read is read again
                shown = done + read
                progress(shown, total)

        note(0)
        results = make_shards(tasks, note)

        def take(which: int, file: str) -> None:
            nonlocal left, done
            files[missing[which]] = file
            left -= 1
            if not left:
                next(results, None)  # the makers end
            done += len(tasks[which].names)
            note(0)
            self._note_new()

        for number, (shard, file) in enumerate(shards):
            if file not in there:
                while number not in files:
                    take(*next(results))
                file = self._appeared(files.pop(number))
            elif not is_whole(self.path / file):
                for result in results:  # the makers do one list of shards at a time
                    take(*result)
                ((_, file),) = make_shards([shard], lambda _: None)
                file = self._appeared(file)
            self._used.add(file)
            for batch in read_shard(self.path / file, shard.groups()):
                _check_seen(batch)
                yield batch

    def _appeared(self, file: str) -> str:
        """The file that a worker has made, when it is here."""
        for wait_s in WAITS_S:
            time.sleep(wait_s)
            if is_whole(self.path / file):
                return file
        raise GalleryError(
            f"{str(self.path)!r}: what workers write there does not appear here; choose a folder "
            "that all machines share with --shards"
        )


def _check_seen(batch: Batch) -> None:
    """Raise `GalleryError` if a worker did not find a photo that is here."""
    for name, reason in batch.unreadable:
        if reason == os.strerror(errno.ENOENT) and photo_exists(name):
            raise GalleryError(
                f"{name}: a worker did not find this photo; mount its folder at the same path on "
                "all machines"
            )


def joined(batches: Iterator[Batch]) -> Generator[Batch, None, None]:
    """Batches of single photos, put together as if they had been read together."""
    while some := list(islice(batches, BATCH)):
        count, parts = 0, []
        for batch in some:
            parts.append(batch.counted_from(count))
            count += len(batch.names)
        yield Batch(
            [name for part in parts for name in part.names],
            [stamp for part in parts for stamp in part.stamps],
            [bad for part in parts for bad in part.unreadable],
            {name: np.concatenate([p.arrays[name] for p in parts]) for name in parts[0].arrays},
            {name: np.concatenate([p.uncut[name] for p in parts]) for name in parts[0].uncut},
        )
