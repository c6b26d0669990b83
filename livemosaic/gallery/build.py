"""Photos in, a gallery out: read by all cores, written as a stream."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..argument import items, path_text, take, whole
from ..errors import GalleryError, UsageError
from ..jit import I32, U8
from ..media.image_reader import BadImage
from ..media.picture import to_array
from ..option import Size
from ..processors import usable_cores
from ..tile_size import TileSize
from .added_crops import AddedCrops, Arrays
from .clusters import cluster_tiles, group_tiles
from .file_format import GalleryWriter, Stamp, new_gallery_file, refuse_to_replace
from .histogram import tile_histograms
from .layout_features import tile_points
from .lettering import SIDE, has_lettering
from .photo_paths import find_photos
from .recipe import CLUSTERS, DROP_PERCENTILE, TILE_PX, Fit, Focus, Recipe
from .tiles import Crop, Tiles, Uncut, picture_tiles, read_photo, region
from .video_frames import frames_of, photo_stamp, read_photo_file

if TYPE_CHECKING:
    from PIL.Image import Image

Progress = Callable[[int, int], None]  # photos done, photos in all; called by the building thread
# Makes the tiles of a photo, by its name, and says whether it has lettering; raises BadImage.
Cut = Callable[[str], tuple[Tiles, bool]]

# Photos per task: large enough that a task's overhead is small beside 0.2 ms a photo, small enough
# that the progress bar moves and Ctrl-C works when photos take 50 ms.
BATCH = 32

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
    unreadable : (path, reason) of each file that could not be used, and of each folder that could
        not be listed, by path
    clusters, kept : how many were found, and are large enough to be used
    bytes : size of the file
    seconds : in all
    system_folders : recycle bins, thumbnails and such, which were left out
    videos : in the folders, which were left out
    """

    path: Path
    photos: int
    tiles: int
    unreadable: tuple[tuple[str, str], ...]
    clusters: int
    kept: int
    bytes: int
    seconds: float
    system_folders: tuple[str, ...] = ()
    videos: tuple[str, ...] = ()

    def left_out(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """What was left out on purpose: a sentence, and the paths that it is about."""
        frames = "; --frames-of-videos 10 takes frames as photos"
        for kind, paths, advice in (
            ("video", self.videos, frames),
            ("system folder", self.system_folders, ""),
        ):
            if len(paths) == 1:
                yield f"a {kind} is left out: {paths[0]}{advice}", ()
            elif paths:
                yield f"{len(paths)} {kind}s are left out, such as {paths[0]}{advice}", paths


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


def build_gallery(
    paths: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    tile_px: TileSize = TILE_PX,
    fit: Fit = "crop",
    clusters: int = CLUSTERS,
    drop_percentile: float = DROP_PERCENTILE,
    seed: int = 0,
    crops: int | None = None,
    mirror: bool = True,
    frames_of_videos: int = 0,
    focus: Focus = "faces",
    progress: Progress | None = None,
    workers: int | None = None,
) -> BuildReport:
    """Make a gallery file of photos.

    The same photos and options give the same bytes, whatever the number of workers. Files and
    folders that cannot be read are reported and skipped. Any exception, Ctrl-C too, leaves no file.
    The tiles are in the order of the photos' paths; with crops=None the crops follow.

    Parameters
    ----------
    paths : folders (with their subfolders), files and globs; or one of them
    output : the file to write; an existing gallery is replaced when the new one is complete
    tile_px : side of a tile in pixels, 8..255, or width and height, from 1:2 to 2:1
    fit : `crop` takes the largest part of the tile's shape, in the middle of a photo, of an upright
        one nearer to the top, where heads are; `stretch` distorts the whole
    clusters : highest number of clusters of tiles with similar colours
    drop_percentile : percentage of the clusters, the smallest ones, that are not used, 0..100
    seed : of all random choices, 0..2^63 - 1
    crops : number of crops of half the size of each photo, in addition to the whole, 0..5: the
        centre, then the quadrants, unless they would have to be enlarged by more than a third.
        None: of fewer than 2,000 photos those whose colour no whole photo has, and a mosaic uses
        them only where they fit clearly better, the more so the larger its tiles are
    mirror : may the tiles be shown mirrored? Photos in which lettering is found never are
    frames_of_videos : how many frames of each video become photos, too, spread over the video
    focus : what `crop` keeps: `faces`, as many as possible, or the `centre` whatever is there
    progress : called as progress(done, total), in photos
    workers : threads that read photos, by default one more than cores

    Raises
    ------
    OptionError : an option does not take its value
    UsageError : the output is a file that is no gallery, or an argument makes no sense
    GalleryError : no photo found, none readable, or the file cannot be written

    Examples
    --------
    >>> from livemosaic.gallery import build_gallery, open_gallery
    >>> report = build_gallery(["~/Pictures"], "my.gallery")    # doctest: +SKIP
    >>> report.tiles, report.unreadable                         # doctest: +SKIP
    (2460, ())
    >>> gallery = open_gallery("my.gallery")                    # doctest: +SKIP
    """
    recipe = Recipe(
        tile_px, fit, crops, clusters, drop_percentile, seed, not mirror, frames_of_videos, focus
    )
    paths = items("paths", paths, "a path, or a list of paths")
    paths = [path_text(f"paths[{number}]", path, "a path") for number, path in enumerate(paths)]
    output = path_text("output", output, "a path")
    take("progress", progress, Callable | None, "a function")
    if workers is not None:
        whole("workers", workers, 1)
    refuse_to_replace(output)
    found = find_photos(paths, videos=frames_of_videos > 0)
    frames, bad_videos = frames_of(found.videos if frames_of_videos else (), frames_of_videos)
    photos = sorted({*found.photos, *frames})
    if not photos:
        raise _nothing_readable(bad_videos)
    cut = file_cut(recipe.for_photos(len(photos)))

    with new_gallery_file(output) as writer:
        report = write_gallery(
            writer, photos, cut, recipe, path=Path(output), progress=progress, workers=workers
        )
    return replace(
        report,
        unreadable=tuple(sorted([*found.unreadable, *bad_videos, *report.unreadable])),
        system_folders=tuple(found.system_folders),
        videos=() if frames_of_videos else tuple(found.videos),
    )


def images_gallery(
    images: str | Path | Iterable[NDArray[Any] | Image | str | Path],
    recipe: Recipe,
    *,
    rgb: bool = False,
) -> bytes:
    """The bytes of a gallery file of images, see `Gallery.from_images`."""
    names, cut = images_cut(images, recipe, rgb=rgb)
    if not names:
        raise UsageError("images: the list is empty; give at least one array or path")
    file = io.BytesIO()
    with contextlib.closing(GalleryWriter(file)) as writer:
        report = write_gallery(writer, names, cut, recipe, root="")
    for name, reason in report.unreadable:
        raise GalleryError(f"{name}: cannot be read: {reason}; leave it out, or save it again")
    return file.getvalue()


def images_cut(
    images: str | Path | Iterable[NDArray[Any] | Image | str | Path],
    recipe: Recipe,
    *,
    rgb: bool = False,
    numbers: Iterator[int] | None = None,
) -> tuple[list[str], Cut]:
    """The names of images, see `Gallery.from_images`, and what makes their tiles. An array or
    Pillow image is called by its number, the next of `numbers`, or its place in the list."""
    numbers = itertools.count() if numbers is None else numbers
    arrays: dict[str, U8] = {}
    names: list[str] = []
    for image in items("images", images, "a path, or a list of images"):
        called = f"images[{next(numbers)}]"
        if isinstance(image, str | Path):
            path = path_text(called, image, "a path")
            names.append(os.path.abspath(os.path.expanduser(path)))
            continue
        names.append(called)
        try:
            arrays[called] = to_array(image, rgb=rgb)
        except UsageError as error:
            raise UsageError(f"{called}: {error}") from None
    cutting = recipe.for_photos(len(names))
    cut_file = file_cut(cutting)

    def cut(name: str) -> tuple[Tiles, bool]:
        if name not in arrays:
            return cut_file(name)
        array = arrays[name]
        return _cut(array, (array.shape[1], array.shape[0]), cutting)

    return names, cut


def file_cut(recipe: Recipe) -> Cut:
    """Makes the tiles of photo files by a recipe, which is `for_photos`."""
    return lambda path: _cut_data(read_photo_file(path), recipe)


def _cut_data(data: bytes, recipe: Recipe) -> tuple[Tiles, bool]:
    at_least = SIDE if recipe.mirror else 0  # to find lettering
    return _cut(*read_photo(data, recipe, at_least=at_least), recipe)


def _cut(picture: U8, size: tuple[int, int], recipe: Recipe) -> tuple[Tiles, bool]:
    tiles = picture_tiles(picture, size, recipe)
    return tiles, recipe.mirror and has_lettering(region(picture, tiles.crops[0], size))


def warm_up(recipe: Recipe) -> None:
    """Load what the tiles of photos are made with, so that the first photo takes as long as others:
    0.1 s, and up to 3 s where kernels have to be compiled."""
    side = 4 * max(recipe.tile)
    noise = np.random.default_rng(0).integers(0, 256, (side, 2 * side, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    cutting = recipe.for_photos(1)
    read_batch([""], lambda _: _cut_data(data, cutting), lambda _: (0, 0), recipe.tile)


def write_gallery(
    writer: GalleryWriter,
    names: Sequence[str],
    cut: Cut,
    recipe: Recipe,
    *,
    path: Path = Path(),
    root: str | None = None,
    labels: I32 | None = None,
    stamp: Callable[[str], Stamp] = photo_stamp,
    progress: Progress | None = None,
    workers: int | None = None,
) -> BuildReport:
    """Write the gallery of some photos; several threads call `cut`.

    Parameters
    ----------
    path : for the report
    root : the folder that the names belong to; by default the one that all of them lie in
    labels : the cluster of each tile; by default they are computed
    stamp : gives the stamp of a photo, by its name
    """
    began = time.perf_counter()
    batches: list[Arrays] = []
    chooses = recipe.crops is None and recipe.for_photos(len(names)).crops
    added = AddedCrops() if chooses else None
    uncuts: list[Arrays] = []
    used: list[str] = []
    stamps: list[Stamp] = []
    unreadable: list[tuple[str, str]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about damaged files: they are reported
        for batch in _read_all(names, cut, stamp, recipe.tile, workers):
            read, read_stamps, bad, arrays, uncut = batch.counted_from(len(used))
            writer.append_uncut(uncut.pop("uncut"))
            uncuts.append(uncut)
            if added is not None:
                arrays = added.take(arrays)
            writer.append(arrays.pop("tiles"))
            batches.append(arrays)
            used += read
            stamps += read_stamps
            unreadable += bad
            if progress:
                progress(len(used) + len(unreadable), len(names))
    unreadable.sort()
    if not used:
        raise _nothing_readable(unreadable)
    for arrays in added.chosen() if added is not None else ():
        writer.append(arrays.pop("tiles"))
        batches.append(arrays)
    arrays, uncut = _joined(batches), _joined(uncuts)
    features = arrays["features"]
    if labels is None:
        labels = cluster_tiles(features, clusters=recipe.clusters, seed=recipe.seed)
    photos, drop = arrays["source_photo"], recipe.drop_percentile
    lettering = np.unique(photos[arrays.pop("lettering")]).tolist()
    groups = group_tiles(features, labels, photos, drop_percentile=drop, seed=recipe.seed)
    if root is None:
        root = _common_folder(used)
        start = len(os.path.join(root, ""))
        used = [path[start:] for path in used]
    size = writer.finish(
        arrays | groups._asdict() | uncut,
        photos=used,
        root=root,
        recipe=recipe,
        lettering=lettering,
        stamps=stamps,
    )
    return BuildReport(
        path=path,
        photos=len(used),
        tiles=len(features),
        unreadable=tuple(unreadable),
        clusters=len(groups.kept),
        kept=int(groups.kept.sum()),
        bytes=size,
        seconds=time.perf_counter() - began,
    )


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _nothing_readable(unreadable: Sequence[tuple[str, str]]) -> GalleryError:
    name, reason = unreadable[0]
    return GalleryError(
        f"none of {len(unreadable)} files can be read (the first, {name!r}: {reason}); "
        "name other photos"
    )


def _read_all(
    names: Sequence[str],
    cut: Cut,
    stamp: Callable[[str], Stamp],
    tile: Size,
    workers: int | None,
) -> Iterator[Batch]:
    """Batches in the order of `names`; only a bounded number of them is in memory."""
    workers = workers or usable_cores() + EXTRA_WORKERS
    pending: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(workers, "gallery")
    try:
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]
            pending.append(pool.submit(read_batch, some, cut, stamp, tile))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


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


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths are in; empty if they lie on several drives of Windows."""
    folders = {os.path.dirname(path) for path in paths}
    if len({os.path.splitdrive(folder)[0] for folder in folders}) > 1:
        return ""
    return os.path.commonpath(folders)
