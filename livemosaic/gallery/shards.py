"""Shards: a gallery's photos in parts, each read by any machine and kept as a file.

A shard's file is named by what it is made of: the photos' paths, sizes and times, the recipe, and
livemosaic's code and models. A build that was interrupted, or is repeated, finds those it has; of
changed photos it makes only their shards again.

| part of a shard's file | content                                                              |
|------------------------|----------------------------------------------------------------------|
| start                  | magic                                                                |
| of each batch          | length of its head (u32), the head (JSON), then the arrays of        |
|                        | `_ARRAYS`, little endian, in C order                                 |
| end                    | a head of no length, SHA-256 of all before                           |
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import socket
import time
import warnings
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import IO, Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import GalleryError, words_of
from ..jit import source_digest
from ..media.atomic_write import atomic_write, remove_remains
from ..media.folder_in_use import FolderInUse
from ..unfinished import add_new_folder, forget_unfinished
from ..vision.model import vision_digest
from .batches import BATCH, Batch, file_cut, in_groups, read_all
from .file_format import ARRAYS, OPTIONAL
from .recipe import SHARDS, Recipe
from .video_frames import photo_exists, photo_stamp, video_of

# A shard has about so many photos, or bytes of photos, from a quarter to twice as many: work of
# seconds to a minute for one processor. A frame of a video is as much work as many small photos.
PHOTOS, _BYTES, _FRAMES = 1024, 2**29, 64
_LEAST, _MOST = 0.25, 2.0

# A process that makes a shard reads photos with so many threads: one waits for files.
_THREADS = 2
# On network folders a new file may appear with some delay.
WAITS_S = (0.0, 1.0, 5.0, 30.0)

_FILE = re.compile(r"[0-9a-f]{40}\.shard")
_MAGIC = b"\x93LMS\r\n\x1a\n"
_DIGEST = hashlib.sha256().digest_size
_READ = 2**20  # bytes at once
# For these a photo may be readable later, although its size and time are the same.
_SYSTEM_REASONS = frozenset(map(os.strerror, errno.errorcode))

# Their dtypes, in the order of the file.
_ARRAYS = {
    name: (ARRAYS | OPTIONAL)[name][0]
    for name in ("tiles", "features", "points", "texture", "source_photo", "source_crop")
} | {"lettering": "|b1"}
_UNCUT = {name: OPTIONAL[name][0] for name in ("uncut", "uncut_photo", "uncut_crop", "heads")}


@dataclass(frozen=True, slots=True)
class Shard:
    """Some photos of a gallery, in the order of their paths.

    Attributes
    ----------
    names : of the photos
    recipe : how their tiles are cut, see `Recipe.for_photos`
    together : how many make a batch
    folder : for the file
    """

    names: Sequence[str]
    recipe: Recipe
    together: int
    folder: str

    def __str__(self) -> str:
        return f"the {len(self.names)} photos from {self.names[0]!r} on"

    def file(self, stamps: NDArray[np.int64] | None = None) -> Path:
        """Its file, by the stamps of the photos, int64 (n, 2); by default those of now."""
        if stamps is None:
            stamps = stamps_of(self.names)
        # What makes no other tiles is left out.
        recipe = replace(self.recipe, clusters=1, drop_percentile=0.0, seed=0, frames_of_videos=0)
        frames = any(video_of(name) is not None for name in self.names)
        digest = hashlib.sha256(f"{_versions(frames=frames)} {recipe} {self.together}\n".encode())
        digest.update("\0".join(self.names).encode("utf-8", "surrogateescape"))
        digest.update(np.ascontiguousarray(stamps, "<i8").data)
        return Path(self.folder, f"{digest.hexdigest()[:40]}.shard")

    def groups(self) -> Iterator[Sequence[str]]:
        """Its photos, batch by batch."""
        return in_groups(self.names, self.together)


# Makes shards by `make_shard`: yields the number of each that is done, in any order, and the name
# of its file. Calls a function with the number of photos read in those that are not done.
MakeShards = Callable[[Sequence[Shard], Callable[[int], None]], Iterator[tuple[int, str]]]


@dataclass(frozen=True, slots=True)
class ShardMakers:
    """What makes shards elsewhere.

    Attributes
    ----------
    make : see `MakeShards`
    least : with fewer shards, threads of this process read the photos
    """

    make: MakeShards
    least: int = 0


@cache
def _versions(*, frames: bool) -> str:
    """What makes other tiles of the same photos, or frames of videos."""
    import PIL
    import pillow_heif

    known = [__version__, source_digest(), vision_digest()]  # faces decide what crops show
    known += [cv2.__version__, np.__version__, PIL.__version__]
    known += [pillow_heif.__version__, pillow_heif.libheif_version()]
    if frames:
        from ..media.ffmpeg import av

        known += [av.__version__, av.ffmpeg_version_info]
    return " ".join(known)


def stamps_of(names: Sequence[str]) -> NDArray[np.int64]:
    """The stamps of photos, int64 (n, 2)."""
    stamps = np.empty((len(names), 2), np.int64)
    for number, name in enumerate(names):
        stamps[number] = photo_stamp(name)
    return stamps


def cut_into_shards(names: Sequence[str], stamps: NDArray[np.int64]) -> list[slice]:
    """Cut photos into shards, by their sorted names and their stamps.

    Each photo decides by its own name and size whether a shard ends with it, so that one more or
    less changes its own shard, and leaves the others as they are.
    """
    shards, first, full = [], 0, 0.0
    for number, (name, size) in enumerate(zip(names, stamps[:, 0].tolist(), strict=True)):
        is_frame = video_of(name) is not None
        share = 1 / _FRAMES if is_frame else 1 / PHOTOS + size / _BYTES
        full += share
        chance = zlib.crc32(name.encode("utf-8", "surrogateescape")) / 2**32
        if full >= _MOST or (full >= _LEAST and chance < share):
            shards.append(slice(first, number + 1))
            first, full = number + 1, 0.0
    if first < len(names):
        shards.append(slice(first, len(names)))
    return shards


# ---- the file ----------------------------------------------------------------------------


class _Hashed:
    """A file that is written with its digest at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.write(_MAGIC)

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._hash.update(data)

    def write_batch(self, batch: Batch, group: Sequence[str]) -> None:
        """Write the batch of a group of photos, whose names the shard knows."""
        bad = dict(batch.unreadable)
        arrays = batch.arrays | batch.uncut
        head = {
            "unreadable": [[place, bad[name]] for place, name in enumerate(group) if name in bad],
            "stamps": batch.stamps,
            "shapes": [arrays[name].shape for name in _ARRAYS | _UNCUT],
        }
        data = json.dumps(head).encode()
        self.write(len(data).to_bytes(4, "little"))
        self.write(data)
        for name, dtype in (_ARRAYS | _UNCUT).items():
            if arrays[name].size:  # others have no memory to view
                self.write(np.ascontiguousarray(arrays[name], dtype).reshape(-1).view("|u1").data)

    def end(self) -> None:
        self.write(bytes(4))
        self._file.write(self._hash.digest())


def _is_whole(path: Path) -> bool:
    """Whether a shard's file is there, and as it was written."""
    try:
        with path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size - _DIGEST
            digest = hashlib.sha256()
            while left > 0 and (data := file.read(min(_READ, left))):
                digest.update(data)
                left -= len(data)
            return left == 0 and file.read() == digest.digest()
    except OSError:
        return False


def _can_be_used(path: Path, shard: Shard) -> bool:
    """Whether a shard's file has all photos that can be read now; of a damaged one, anything."""
    try:
        with path.open("rb") as file:
            file.read(len(_MAGIC))
            for group in shard.groups():
                head = json.loads(file.read(int.from_bytes(file.read(4), "little")))
                for place, reason in head["unreadable"]:
                    if reason in _SYSTEM_REASONS and _can_be_read(group[place]):
                        return False
                for dtype, shape in zip((_ARRAYS | _UNCUT).values(), head["shapes"], strict=True):
                    file.seek(np.dtype(dtype).itemsize * math.prod(shape), os.SEEK_CUR)
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        pass
    return True


def _can_be_read(name: str) -> bool:
    try:
        with open(video_of(name) or name, "rb") as file:
            file.read(1)
    except OSError:
        return False
    return True


def _read(path: Path, shard: Shard) -> Iterator[Batch]:
    """The batches of a shard's file, which is whole."""
    with path.open("rb") as file:
        file.read(len(_MAGIC))
        for group in shard.groups():
            head = json.loads(file.read(int.from_bytes(file.read(4), "little")))
            arrays: dict[str, NDArray[Any]] = {}
            for (name, dtype), shape in zip(
                (_ARRAYS | _UNCUT).items(), head["shapes"], strict=True
            ):
                arrays[name] = np.empty(shape, dtype)
                if arrays[name].size:
                    file.readinto(arrays[name].reshape(-1).view("|u1").data)
            bad = {group[place]: reason for place, reason in head["unreadable"]}
            yield Batch(
                [name for name in group if name not in bad],
                [(size, time_ns) for size, time_ns in head["stamps"]],
                list(bad.items()),
                {name: arrays[name] for name in _ARRAYS},
                {name: arrays[name] for name in _UNCUT},
            )


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[_Hashed]:
    """Write a shard's file, which appears when it is whole."""
    try:
        with atomic_write(path) as file:
            hashed = _Hashed(file)
            yield hashed
            hashed.end()
    except OSError as error:
        raise GalleryError(
            f"cannot write a part of the gallery in {str(path.parent)!r} on "
            f"{socket.gethostname()}: {words_of(error)}; make room, or choose another folder, "
            "which all machines share, with --shards"
        ) from None


def make_shard(shard: Shard, tell: Callable[[int], None]) -> str:
    """Read the photos of a shard, unless its file is there and whole; the name of the file.

    A worker calls it. Photos may have changed since the build began, so that the name is another.
    `tell` is called with the number of photos read so far.
    """
    path, done = shard.file(), 0
    if not (_is_whole(path) and _can_be_used(path, shard)):
        cut = file_cut(shard.recipe)
        groups = list(shard.groups())
        with _new_file(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about damaged files: they are reported
            batches = read_all(groups, cut, photo_stamp, shard.recipe.tile, _THREADS)
            for group, batch in zip(groups, batches, strict=True):
                file.write_batch(batch, group)
                done += len(group)
                tell(done)
    return path.name


# ---- all of them -------------------------------------------------------------------------


def shard_folder(output: str | Path, shards: str | Path | None) -> Path:
    """The folder of a gallery's shards: the one that was chosen, or one beside the gallery."""
    return Path(
        os.path.abspath(os.path.expanduser(f"{output}{SHARDS}" if shards is None else shards))
    )


class ShardFolder:
    """The folder of a gallery's shards, while it is built.

    Parameters
    ----------
    path : the folder, which is made if it is not there
    keep : keep it when the gallery is whole, with the shards of that gallery and no others
    """

    def __init__(self, path: Path, *, keep: bool) -> None:
        self.path, self._keep = path, keep
        self._may_go = not keep  # when it is empty
        self._is_useless = False
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
            if self._may_go and not self._there() and self._in_use.is_alone():
                self._remove()
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
            if not in_use.is_alone():
                return
            for name in self._there() - (self._used if self._keep else set()):
                with contextlib.suppress(OSError):
                    (self.path / name).unlink()
            if not self._keep:
                self._remove()

    def _remove(self) -> None:
        """Remove the folder, with what killed workers left, unless something else is in it."""
        remove_remains(self.path)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _usable(self, shards: Sequence[tuple[Shard, str]]) -> set[str]:
        """The files of shards that are there, and need not be made again, unless damaged."""
        there = self._there()
        return {
            file
            for shard, file in shards
            if file in there and _can_be_used(self.path / file, shard)
        }

    def _there(self) -> set[str]:
        # A list of the folder: on network folders a name that was missing once may stay so.
        try:
            return set(filter(_FILE.fullmatch, os.listdir(self.path)))
        except OSError:
            return set()

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
            elif _is_whole(path):
                yield from _read(path, shard)
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
        with _new_file(path) as file:
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
        files = {number: file for number, (_, file) in enumerate(shards) if file in there}
        missing = [number for number in range(len(shards)) if number not in files]
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
        for number, (shard, _) in enumerate(shards):
            while number not in files:
                which, file = next(results)
                files[missing[which]] = file
                left -= 1
                if not left:
                    next(results, None)  # the makers end
                done += len(tasks[which].names)
                note(0)
                self._note_new()
            yield from self._read_made(shard, files.pop(number), make_shards)

    def _read_made(self, shard: Shard, file: str, make_shards: MakeShards) -> Iterator[Batch]:
        for wait_s in WAITS_S:
            if _is_whole(self.path / file):
                self._used.add(file)
                for batch in _read(self.path / file, shard):
                    _check_seen(batch)
                    yield batch
                return
            time.sleep(wait_s)
            file = next(result for _, result in make_shards([shard], lambda _: None))
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
