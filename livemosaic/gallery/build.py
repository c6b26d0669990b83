"""Photos in, a gallery out: read by all cores, written as a stream."""

from __future__ import annotations

import io
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError, UsageError
from ..media.frame import check_bgr
from ..media.image_reader import BadImage, read_image_file
from .clusters import CLUSTERS, DROP_PERCENTILE, cluster_tiles, group_tiles
from .file_format import OPTIONS, GalleryWriter, new_gallery_file
from .histogram import HISTOGRAM_SIZE, tile_histograms
from .layout_features import tile_points
from .photo_paths import find_photos
from .tiles import TILE_PX, Crop, Fit, Recipe, Regions, photo_regions, picture_regions, scale_tiles

__all__ = ["BuildReport", "Progress", "build_gallery", "images_gallery", "write_gallery"]

U8 = NDArray[np.uint8]
Progress = Callable[[int, int], None]  # photos done, photos in all; called by the building thread
Cut = Callable[[str], Regions]  # the regions of a photo, by its name; raises BadImage

# Photos per task: large enough that a task's overhead is small beside 0.2 ms a photo, small enough
# that the progress bar moves and Ctrl-C works when photos take 50 ms.
BATCH = 32

# A worker scales photos of a batch together, but keeps no more than this unscaled: a picture of the
# largest size takes 800 MB.
UNSCALED_BYTES = 2**22

# While one thread waits for a file or for the GIL, another has its core. With photos in memory, two
# cores read as many with two threads as with three; four are slower.
EXTRA_WORKERS = 1


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The result of a build.

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
    """The tiles that a worker made of some photos."""

    read: list[str]
    photos: list[int]  # of each tile, into `read`
    crops: list[Crop]
    tiles: U8
    features: NDArray[np.float32]
    points: U8
    texture: U8
    unreadable: list[tuple[str, str]]


class _Written(NamedTuple):
    photos: int
    tiles: int
    unreadable: tuple[tuple[str, str], ...]
    clusters: int
    kept: int
    bytes: int


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
    """Make a gallery file of photos.

    The same photos and options give the same bytes, whatever the number of workers. Files that
    cannot be read are reported and skipped. Any exception, Ctrl-C too, leaves no file. The tiles
    are in the order of the photos' paths.

    Parameters
    ----------
    paths : folders (with their subfolders), files and globs
    output : the file to write; an existing one is replaced when the new one is complete
    tile_px : side of a tile in pixels, 8..255
    fit : `crop` takes the largest square in the middle of a photo, `stretch` distorts the whole
    clusters, drop_percentile : see `livemosaic.gallery.clusters`
    seed : of all randomness, 0..2^63 - 1
    crops : in addition to each whole photo, this many crops of half its size (0..5; the centre,
        then the quadrants), unless they would have to be enlarged by more than a third. None: 5 for
        fewer than 2,000 photos, else 0
    mirror : may the tiles be shown mirrored?
    progress : called as progress(done, total), in photos
    workers : threads that read photos, by default one more than cores

    Raises
    ------
    UsageError : an option out of its range
    GalleryError : no photo found, none readable, or the file cannot be written

    Examples
    --------
    >>> from livemosaic.gallery import build_gallery, open_gallery
    >>> report = build_gallery(["~/Pictures"], "my.gallery")    # doctest: +SKIP
    >>> report.tiles, report.unreadable                         # doctest: +SKIP
    (2460, ())
    >>> gallery = open_gallery("my.gallery")                    # doctest: +SKIP
    """
    began = time.perf_counter()
    recipe = Recipe(tile_px, fit, crops, clusters, drop_percentile, seed, mirror)
    photos = find_photos(paths)
    recipe = recipe.for_photos(len(photos))

    def cut(path: str) -> Regions:
        return photo_regions(read_image_file(path), recipe)

    with new_gallery_file(output) as writer:
        written = write_gallery(writer, photos, cut, recipe, progress=progress, workers=workers)
    return BuildReport(Path(output), *written, time.perf_counter() - began)


def images_gallery(images: Iterable[U8 | str | Path], recipe: Recipe) -> bytes:
    """The bytes of a gallery file of images, see `Gallery.from_images`."""
    arrays: dict[str, U8] = {}
    names: list[str] = []
    for number, image in enumerate(images):
        if isinstance(image, (str, Path)):
            names.append(os.path.abspath(os.path.expanduser(image)))
            continue
        names.append(f"images[{number}]")
        try:
            check_bgr(image)
        except UsageError as error:
            raise UsageError(f"{names[-1]}: {error}") from None
        arrays[names[-1]] = image
    recipe = recipe.for_photos(len(names))

    def cut(name: str) -> Regions:
        if name not in arrays:
            return photo_regions(read_image_file(name), recipe)
        array = arrays[name]
        return picture_regions(array, (array.shape[1], array.shape[0]), recipe)

    if not names:
        raise UsageError("images: the list is empty; give at least one array or path")
    file = io.BytesIO()
    written = write_gallery(GalleryWriter(file), names, cut, recipe, root="")
    for name, reason in written.unreadable:
        raise GalleryError(f"{name}: cannot be read: {reason}; leave it out, or save it again")
    return file.getvalue()


def write_gallery(
    writer: GalleryWriter,
    names: Sequence[str],
    cut: Cut,
    recipe: Recipe,
    *,
    root: str | None = None,
    labels: NDArray[np.int32] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> _Written:
    """Write the gallery of some photos.

    Parameters
    ----------
    writer : of the file
    names : of the photos
    cut : the regions of the photo of a name; called by several threads; raises `BadImage`
    root : the folder that the names belong to; by default the one that all of them lie in
    labels : int32 (n,), the cluster of each tile; by default they are computed

    Raises
    ------
    GalleryError : none of the photos can be read
    """
    features = np.empty((len(names) * (1 + (recipe.crops or 0)), HISTOGRAM_SIZE), np.float32)
    points: list[U8] = []
    texture: list[U8] = []
    crops: list[Crop] = []
    photo_of_tile: list[int] = []
    used: list[str] = []
    unreadable: list[tuple[str, str]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about damaged files: they are reported
        for batch in _read_all(names, cut, recipe.tile_px, workers or _cores() + EXTRA_WORKERS):
            writer.append(batch.tiles)
            features[len(crops) : len(crops) + len(batch.tiles)] = batch.features
            points.append(batch.points)
            texture.append(batch.texture)
            crops += batch.crops
            photo_of_tile += [len(used) + i for i in batch.photos]
            used += batch.read
            unreadable += batch.unreadable
            if progress:
                progress(len(used) + len(unreadable), len(names))
    unreadable.sort()
    if not used:
        name, reason = unreadable[0]
        raise GalleryError(
            f"none of {len(names)} files can be read (the first, {name!r}: {reason}); "
            "name other photos"
        )
    features = features[: len(crops)]
    if labels is None:
        labels = cluster_tiles(features, clusters=recipe.clusters, seed=recipe.seed)
    source_photo = np.array(photo_of_tile, np.int32)
    groups = group_tiles(
        features, labels, source_photo, drop_percentile=recipe.drop_percentile, seed=recipe.seed
    )
    if root is None:
        root = _common_folder(used)
        start = len(os.path.join(root, ""))
        used = [path[start:] for path in used]
    arrays = {
        "features": features,
        "points": np.concatenate(points),
        "texture": np.concatenate(texture),
        "source_photo": source_photo,
        "source_crop": np.array(crops, np.int32),
        **groups._asdict(),
    }
    options = {name: getattr(recipe, name) for name in OPTIONS}
    size = writer.finish(arrays, photos=used, root=root, mirror=recipe.mirror, options=options)
    kept = int(groups.kept.sum())
    return _Written(len(used), len(crops), tuple(unreadable), len(groups.kept), kept, size)


def _read_all(names: Sequence[str], cut: Cut, tile_px: int, workers: int) -> Iterator[_Batch]:
    """Batches in the order of `names`; only a bounded number of them is in memory."""
    pending: deque[Future[_Batch]] = deque()
    pool = ThreadPoolExecutor(workers, "gallery")
    try:
        for start in range(0, len(names), BATCH):
            pending.append(pool.submit(_read_batch, names[start : start + BATCH], cut, tile_px))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_batch(names: Sequence[str], cut: Cut, tile_px: int) -> _Batch:
    read: list[str] = []
    photos: list[int] = []
    crops: list[Crop] = []
    unreadable: list[tuple[str, str]] = []
    tiles = [np.empty((0, tile_px, tile_px, 3), np.uint8)]
    regions: list[U8] = []
    unscaled = 0
    for name in names:
        try:
            parts, places = cut(name)
        except BadImage as reason:
            unreadable.append((name, str(reason)))
            continue
        photos += [len(read)] * len(parts)
        read.append(name)
        crops += places
        regions += parts
        picture = parts[0].base  # that all of them are views of
        unscaled += picture.nbytes if picture is not None else 0
        if unscaled > UNSCALED_BYTES:
            tiles.append(scale_tiles(regions, tile_px))
            regions, unscaled = [], 0
    tiles.append(scale_tiles(regions, tile_px))
    stack = np.concatenate(tiles)
    return _Batch(
        read, photos, crops, stack, tile_histograms(stack), *tile_points(stack), unreadable
    )


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
