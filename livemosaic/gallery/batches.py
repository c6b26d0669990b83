"""Photos in batches: their tiles, with features, made by several threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..jit import U8
from ..media.image_reader import BadImage
from ..option import Size
from ..processors import usable_cores
from .added_crops import Arrays
from .histogram import tile_histograms
from .layout_features import tile_points
from .lettering import SIDE, has_lettering
from .recipe import Recipe
from .sources import Stamp
from .tiles import Crop, Tiles, Uncut, picture_tiles, read_photo, region
from .video_frames import read_photo_file

# Makes the tiles of a photo, by its name, and says whether it has lettering; raises BadImage.
Cut = Callable[[str], tuple[Tiles, bool]]

# Photos per task: large enough that a task's overhead is small beside 0.2 ms a photo, small enough
# that the progress bar moves and Ctrl-C works when photos take 50 ms.
BATCH = 32

# While one thread waits for a file or for the GIL, another has its core. With photos in memory, two
# cores read as many with two threads as with three; four are slower.
EXTRA_WORKERS = 1


class Batch(NamedTuple):
    """Some photos and their tiles; `read_batch` counts the photos from 0."""

    names: list[str]  # of those read
    stamps: list[Stamp]  # likewise
    unreadable: list[tuple[str, str]]  # name and reason of the others
    arrays: Arrays  # of the gallery file
    uncut: Arrays  # likewise, those for tiles of other shapes

    def counted_from(self, first: int) -> Batch:
        """The same, with numbers of photos from `first` on."""
        arrays, uncut, by = dict(self.arrays), dict(self.uncut), np.int32(first)
        arrays["source_photo"] = arrays["source_photo"] + by
        uncut["uncut_photo"] = uncut["uncut_photo"] + by
        uncut["heads"] = uncut["heads"] + np.array([by, 0, 0, 0, 0], np.int32)
        return self._replace(arrays=arrays, uncut=uncut)


def file_cut(recipe: Recipe) -> Cut:
    """Makes the tiles of photo files by a recipe, which is `for_photos`."""
    return lambda path: cut_data(read_photo_file(path), recipe)


def cut_data(data: bytes, recipe: Recipe) -> tuple[Tiles, bool]:
    """The tiles of an image file, see `Cut`."""
    at_least = SIDE if recipe.mirror else 0  # to find lettering
    return cut_picture(*read_photo(data, recipe, at_least=at_least), recipe)


def cut_picture(picture: U8, size: tuple[int, int], recipe: Recipe) -> tuple[Tiles, bool]:
    """The tiles of a decoded photo, whose original had `size` (width, height); see `Cut`."""
    tiles = picture_tiles(picture, size, recipe)
    return tiles, recipe.mirror and has_lettering(region(picture, tiles.crops[0], size))


def read_all(
    groups: Iterable[Sequence[str]],
    cut: Cut,
    stamp: Callable[[str], Stamp],
    tile: Size,
    workers: int | None,
) -> Generator[Batch, None, None]:
    """A batch of each group of photos, in their order; only a bounded number is in memory."""
    workers = workers or usable_cores() + EXTRA_WORKERS
    pending: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(workers, "gallery")
    try:
        for group in groups:
            pending.append(pool.submit(read_batch, group, cut, stamp, tile))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def in_groups(names: Sequence[str], size: int = BATCH) -> Iterator[Sequence[str]]:
    """Names, some at a time."""
    return (names[start : start + size] for start in range(0, len(names), size))


def read_batch(names: Sequence[str], cut: Cut, stamp: Callable[[str], Stamp], tile: Size) -> Batch:
    """Make the tiles of some photos, and describe them."""
    read: list[str] = []
    stamps: list[Stamp] = []
    unreadable: list[tuple[str, str]] = []
    photos: list[int] = []
    crops: list[Crop] = []
    lettering: list[bool] = []
    heads: list[tuple[int, ...]] = []
    uncut: dict[int, Uncut] = {}  # by the photo
    nothing = np.empty((0, tile[1], tile[0], 3), np.uint8)
    parts = [nothing]
    for name in names:
        before = stamp(name)  # before it is read: a later change is noticed
        try:
            found, letters = cut(name)
        except BadImage as reason:
            unreadable.append((name, str(reason)))
            continue
        photos += [len(read)] * len(found.crops)
        lettering += [letters] * len(found.crops)
        heads += [(len(read), *head) for head in found.heads]
        if found.uncut is not None:
            uncut[len(read)] = found.uncut
        read.append(name)
        stamps.append(before)
        crops += found.crops
        parts.append(found.pixels)
    tiles = np.concatenate(parts)
    points, texture = tile_points(tiles)
    arrays: Arrays = {
        "tiles": tiles,
        "features": tile_histograms(tiles),
        "points": points,
        "texture": texture,
        "source_photo": np.array(photos, np.int32),
        "source_crop": np.array(crops, np.int32).reshape(-1, 4),
        "lettering": np.array(lettering, np.bool_),
    }
    other: Arrays = {
        "uncut": np.concatenate([nothing, *(it.pixels[None] for it in uncut.values())]),
        "uncut_photo": np.array(list(uncut), np.int32),
        "uncut_crop": np.array([it.crop for it in uncut.values()], np.int32).reshape(-1, 4),
        "heads": np.array(heads, np.int32).reshape(-1, 5),
    }
    return Batch(read, stamps, unreadable, arrays, other)
