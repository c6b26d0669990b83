"""The file of a shard: the batches of its photos, and a digest that proves it whole.

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
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError, fix_of_writing, words_of
from ..media.atomic_write import atomic_write
from .batches import Batch
from .file_format import ARRAYS, OPTIONAL
from .video_frames import video_of

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


class ShardWriter:
    """Writes a shard's file, with its digest at the end."""

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


def is_whole(path: Path) -> bool:
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


def can_be_used(path: Path, groups: Iterable[Sequence[str]]) -> bool:
    """Whether a shard's file has all photos that can be read now; of a damaged one, anything."""
    try:
        with path.open("rb") as file:
            file.read(len(_MAGIC))
            for group in groups:
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


def read_shard(path: Path, groups: Iterable[Sequence[str]]) -> Iterator[Batch]:
    """The batches of a shard's file, which is whole."""
    with path.open("rb") as file:
        file.read(len(_MAGIC))
        for group in groups:
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
def new_shard_file(path: Path) -> Iterator[ShardWriter]:
    """Write a shard's file, which appears when it is whole."""
    try:
        with atomic_write(path) as file:
            hashed = ShardWriter(file)
            yield hashed
            hashed.end()
    except OSError as error:
        other = "choose another folder, which all machines share, with --shards"
        raise GalleryError(
            f"cannot write a part of the gallery in {str(path.parent)!r} on "
            f"{socket.gethostname()}: {words_of(error)}; {fix_of_writing(error, other)}"
        ) from None
