"""Shards: a gallery's photos in parts, each read by any machine and kept as a file.

A shard's file is named by what it is made of: the photos' paths, sizes and times, the recipe, and
livemosaic's code and models. A build that was interrupted, or is repeated, finds those it has; of
changed photos it makes only their shards again.
"""

from __future__ import annotations

import hashlib
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..jit import source_digest
from ..vision.model import vision_digest
from .batches import file_cut, in_groups, read_all
from .recipe import Recipe
from .shard_file import can_be_used, is_whole, new_shard_file
from .video_frames import photo_stamp, video_of

# A shard has about so many photos, or bytes of photos, from a quarter to twice as many: work of
# seconds to a minute for one processor. A frame of a video is as much work as many small photos.
PHOTOS, _BYTES, _FRAMES = 1024, 2**29, 64
_LEAST, _MOST = 0.25, 2.0

# A process that makes a shard reads photos with so many threads: one waits for files.
_THREADS = 2
# On network folders a new file may appear with some delay.
WAITS_S = (0.0, 1.0, 5.0, 30.0)


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


def make_shard(shard: Shard, tell: Callable[[int], None]) -> str:
    """Read the photos of a shard, unless its file is there and whole; the name of the file.

    A worker calls it. Photos may have changed since the build began, so that the name is another.
    `tell` is called with the number of photos read so far.
    """
    path, done = shard.file(), 0
    if not (is_whole(path) and can_be_used(path, shard.groups())):
        cut = file_cut(shard.recipe)
        groups = list(shard.groups())
        with new_shard_file(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about damaged files: they are reported
            batches = read_all(groups, cut, photo_stamp, shard.recipe.tile, _THREADS)
            for group, batch in zip(groups, batches, strict=True):
                file.write_batch(batch, group)
                done += len(group)
                tell(done)
    return path.name
