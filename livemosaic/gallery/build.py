"""Photos in, a gallery file out: read by all cores, written as a stream."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError, UsageError
from .clusters import CLUSTERS, DROP_PERCENTILE, cluster_tiles, group_tiles
from .decode import (
    MAX_CROPS,
    BadImage,
    Crop,
    Fit,
    Recipe,
    photo_regions,
    read_photo,
    scale_tiles,
    silent_opencv,
)
from .file_format import TILE_PX_MAX, GalleryWriter
from .histogram import HISTOGRAM_SIZE, tile_histograms
from .layout_features import tile_points
from .photo_paths import find_photos

__all__ = ["TILE_PX", "BuildReport", "Progress", "build_gallery", "write_gallery"]

Progress = Callable[[int, int], None]  # photos done, photos in all; called by the building thread

# Tiles of 64 pixels serve mosaics of 8 to 64 pixels per cell, and 5,000 of them are 60 MB.
TILE_PX = 64
TILE_PX_MIN = 8  # below nothing can be recognised

SEED_MAX = 2**63 - 1  # as of a mosaic

# A small set of photos covers few colours, and crops cover more; a large one needs no crops, which
# would only make it larger. Six tiles of each of 2,000 photos are 150 MB.
CROPS_BELOW_PHOTOS = 2000

# Photos per task: large enough that handing over costs nothing beside 0.2 ms a photo, small enough
# that the bar moves and Ctrl-C is heard when photos take 50 ms.
BATCH = 32

# Photos of a batch are scaled together, but no more than this is kept unscaled by a worker: a
# picture of the largest size takes 800 MB.
HELD_BYTES = 2**22

# While one thread waits for a file or for the GIL, another has its core. With photos in memory, two
# cores read as many with two threads as with three; four are slower.
EXTRA_WORKERS = 1


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes
    ----------
    path : of the gallery
    photos, tiles : how many were used, and made
    unreadable : (path, reason) of each file that could not be used, by path
    clusters, kept : how many were found, and are large enough to be used
    bytes : size of the file
    seconds : in all
    """

    path: Path
    photos: int
    tiles: int
    unreadable: tuple[tuple[str, str], ...]
    clusters: int
    kept: int
    bytes: int
    seconds: float


class _Batch(NamedTuple):
    """What a worker made of some photos."""

    read: list[str]
    photos: list[int]  # of each tile, into `read`
    crops: list[Crop]
    tiles: NDArray[np.uint8]
    features: NDArray[np.float32]
    points: NDArray[np.uint8]
    texture: NDArray[np.uint8]
    unreadable: list[tuple[str, str]]


def build_gallery(
    paths: Iterable[str | Path],
    output: str | Path,
    *,
    tile_px: int = TILE_PX,
    fit: Fit = "crop",
    clusters: int = CLUSTERS,
    drop_percentile: float = DROP_PERCENTILE,
    seed: int = 0,
    crops: int | None = None,
    mirror: bool = True,
    progress: Progress | None = None,
    workers: int | None = None,
) -> BuildReport:
    """Make a gallery of photos.

    The same photos and options give the same bytes, whatever the number of workers. What cannot be
    read is reported and passed over. Any exception, Ctrl-C too, leaves no file. The tiles come in
    the order of the photos' paths.

    Parameters
    ----------
    paths : folders (with their folders), files and globs
    output : the file to write; one that exists is replaced when the new one is whole
    tile_px : side of a tile in pixels, 8..255
    fit : `crop` takes the largest square in the middle of a photo, `stretch` distorts the whole
    clusters, drop_percentile : see `livemosaic.gallery.clusters`
    seed : of all randomness, 0..2^63 - 1
    crops : besides each whole photo, this many crops of half its size (0..5; the centre, then the
        quadrants), unless they would have to be enlarged by more than a third. None: 5 for fewer
        than 2,000 photos, else 0
    mirror : may the tiles be shown mirrored?
    progress : called as progress(done, total), in photos
    workers : threads that read photos, by default one more than cores

    Raises
    ------
    UsageError : an option out of its range
    GalleryError : no photo found, none readable, or the file cannot be written
    """
    began = time.perf_counter()
    _check_options(tile_px, fit, clusters, drop_percentile, seed, crops)
    photos = find_photos(paths)
    if crops is None:
        crops = MAX_CROPS if len(photos) < CROPS_BELOW_PHOTOS else 0
    recipe = Recipe(tile_px, fit, crops)

    features = np.empty((len(photos) * (1 + crops), HISTOGRAM_SIZE), np.float32)
    layouts: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    numbers: list[int] = []  # of each tile, into `used`
    used: list[str] = []
    crop_list: list[Crop] = []
    unreadable: list[tuple[str, str]] = []
    with GalleryWriter(output) as writer, silent_opencv():
        for batch in _read_all(photos, recipe, workers or _cores() + EXTRA_WORKERS):
            features[len(numbers) : len(numbers) + len(batch.tiles)] = batch.features
            layouts.append((batch.points, batch.texture))
            numbers += [len(used) + i for i in batch.photos]
            used += batch.read
            unreadable += batch.unreadable
            crop_list += batch.crops
            writer.append(batch.tiles)
            if progress:
                progress(len(used) + len(unreadable), len(photos))
        if not used:
            name, reason = unreadable[0]
            raise GalleryError(
                f"none of {len(photos)} files can be read (the first, {name!r}: {reason}); "
                "name some photos"
            )
        features = features[: len(numbers)]
        labels = cluster_tiles(features, clusters=clusters, seed=seed)
        options = {
            "fit": fit, "crops": crops, "clusters": clusters,
            "drop_percentile": drop_percentile, "seed": seed,
        }  # fmt: skip
        root = _common_folder(used)
        above = len(os.path.join(root, ""))  # characters that all paths share
        size, found, kept = write_gallery(
            writer, features, layouts, labels, crop_list, np.array(numbers, np.int32),
            [path[above:] for path in used],
            root=root, mirror=mirror, options=options,
        )  # fmt: skip
    return BuildReport(
        Path(output), len(used), len(numbers), tuple(sorted(unreadable)), found, kept, size,
        time.perf_counter() - began,
    )  # fmt: skip


def write_gallery(
    writer: GalleryWriter,
    features: NDArray[np.float32],
    layouts: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    labels: NDArray[np.int32],
    crops: Sequence[Crop],
    source_photo: NDArray[np.int32],
    photos: Sequence[str],
    *,
    root: str,
    mirror: bool,
    options: dict[str, Any],
) -> tuple[int, int, int]:
    """Group the tiles by their labels and finish a file that has its tiles already.

    `layouts` is what `tile_points` says of the tiles, in parts.

    Returns
    -------
    bytes written, number of clusters, number of clusters kept
    """
    groups = group_tiles(
        features, labels, source_photo,
        drop_percentile=options["drop_percentile"], seed=options["seed"],
    )  # fmt: skip
    arrays = {
        "features": features,
        "points": np.concatenate([points for points, _ in layouts]),
        "texture": np.concatenate([texture for _, texture in layouts]),
        "source_photo": source_photo,
        "source_crop": np.array(crops, np.int32),
        **groups._asdict(),
    }
    size = writer.finish(arrays, photos=photos, root=root, mirror=mirror, options=options)
    return size, len(groups.kept), int(groups.kept.sum())


def _read_all(photos: Sequence[str], recipe: Recipe, workers: int) -> Iterator[_Batch]:
    """Batches in the order of `photos`; a bounded number of them is in memory."""
    starts = iter(range(0, len(photos), BATCH))
    pending: deque[Future[_Batch]] = deque()
    pool = ThreadPoolExecutor(workers, "gallery")
    try:
        for start in starts:
            pending.append(pool.submit(_read_batch, photos[start : start + BATCH], recipe))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_batch(paths: Sequence[str], recipe: Recipe) -> _Batch:
    read: list[str] = []
    photos: list[int] = []
    crops: list[Crop] = []
    unreadable: list[tuple[str, str]] = []
    tiles = [np.empty((0, recipe.tile_px, recipe.tile_px, 3), np.uint8)]
    regions: list[NDArray[np.uint8]] = []
    held = 0
    for path in paths:
        try:
            parts, places = photo_regions(read_photo(path), recipe)
        except BadImage as reason:
            unreadable.append((path, str(reason)))
            continue
        photos += [len(read)] * len(parts)
        read.append(path)
        crops += places
        regions += parts
        picture = parts[0].base  # that all of them are views of
        held += picture.nbytes if picture is not None else 0
        if held > HELD_BYTES:
            tiles.append(scale_tiles(regions, recipe.tile_px))
            regions, held = [], 0
    tiles.append(scale_tiles(regions, recipe.tile_px))
    stack = np.concatenate(tiles)
    return _Batch(
        read, photos, crops, stack, tile_histograms(stack), *tile_points(stack), unreadable
    )


def _check_options(
    tile_px: int, fit: str, clusters: int, drop_percentile: float, seed: int, crops: int | None
) -> None:
    if not TILE_PX_MIN <= tile_px <= TILE_PX_MAX:
        raise UsageError(f"a tile of {tile_px} px: choose {TILE_PX_MIN} to {TILE_PX_MAX}")
    if fit not in ("crop", "stretch"):
        raise UsageError(f"fit {fit!r}: choose crop or stretch")
    if clusters < 1:
        raise UsageError(f"{clusters} clusters: choose 1 or more")
    if not 0 <= drop_percentile <= 100:
        raise UsageError(f"drop percentile {drop_percentile:g}: choose 0 (none) to 100")
    if not 0 <= seed <= SEED_MAX:
        raise UsageError(f"seed {seed}: choose 0 to {SEED_MAX}")
    if crops is not None and not 0 <= crops <= MAX_CROPS:
        raise UsageError(f"{crops} crops per photo: choose 0 to {MAX_CROPS}")


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths are in; empty if they lie on several drives of Windows."""
    folders = {os.path.dirname(path) for path in paths}
    if len({os.path.splitdrive(folder)[0] for folder in folders}) > 1:
        return ""
    return os.path.commonpath(folders)


def _cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
