"""Photos in, a gallery out: read by all cores, written as a stream."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..argument import items, path_text, take, whole
from ..errors import GalleryError, UsageError
from ..jit import I32, U8
from ..media.picture import to_array
from ..tile_size import TileSize
from .added_crops import AddedCrops, Arrays
from .batches import Batch, Cut, cut_data, cut_picture, file_cut, in_groups, read_all, read_batch
from .clusters import cluster_tiles, group_tiles
from .file_writer import GalleryWriter, new_gallery_file, refuse_to_replace
from .photo_paths import find_photos
from .recipe import CLUSTERS, DROP_PERCENTILE, TILE_PX, Fit, Focus, Recipe
from .rows import SpooledRows
from .shard_folder import ShardFolder, joined, shard_folder
from .shards import ShardMakers, stamps_of
from .sources import Stamp
from .tiles import Tiles
from .video_frames import frames_of, photo_stamp

if TYPE_CHECKING:
    from PIL.Image import Image

Progress = Callable[[int, int], None]  # photos done, photos in all; called by the building thread


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
    videos, links : in the folders, links to other folders, which were left out
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
    links: tuple[str, ...] = ()

    def left_out(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """What was left out on purpose: a sentence, and the paths that it is about."""
        frames = "; --frames-of-videos 10 takes frames as photos"
        for one, several, paths, advice in (
            ("a video", "videos", self.videos, frames),
            ("a system folder", "system folders", self.system_folders, ""),
            ("a link to a folder", "links to folders", self.links, "; name it to use its photos"),
        ):
            if len(paths) == 1:
                yield f"{one} is left out: {paths[0]}{advice}", ()
            elif paths:
                yield f"{len(paths)} {several} are left out, such as {paths[0]}{advice}", paths


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
    makers: ShardMakers | None = None,
    shards: str | Path | None = None,
) -> BuildReport:
    """Make a gallery file of photos.

    The same photos and options give the same bytes, by any number of threads, processes and
    machines. Files and folders that cannot be read are reported and skipped. The tiles are in the
    order of the photos' paths; with crops=None the crops follow.

    Of many photos, some thousand or half a gigabyte, each part that has been read is kept in a file
    of its own, a shard. Any exception, Ctrl-C too, leaves no gallery, but the shards that are
    complete: the same call goes on with them.

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
    makers : other processes and machines that read them, see
        `livemosaic.cluster.galleries.shard_makers`
    shards : the folder of the shards. It stays, and the next build with it reads only the shards
        whose photos changed; several galleries may share it. By default one beside the
        output, with `.shards` after its name, that goes when the gallery is complete

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
    if shards is not None:
        path_text("shards", shards, "a path")
    return build_photos(
        paths,
        output,
        recipe,
        progress=progress,
        workers=workers,
        makers=makers,
        shards=shards,
        beside=True,
    )


def build_photos(
    paths: Sequence[str | Path],
    output: str | Path,
    recipe: Recipe,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
    makers: ShardMakers | None = None,
    shards: str | Path | None = None,
    beside: bool = False,
) -> BuildReport:
    """The same by a recipe; `beside` as of `atomic_write`."""
    refuse_to_replace(output)
    videos = recipe.frames_of_videos
    found = find_photos(paths, videos=videos > 0)
    frames, bad_videos = frames_of(found.videos if videos else (), videos)
    photos = sorted({*found.photos, *frames})
    if not photos:
        raise _nothing_readable(bad_videos)
    keep_for = None if shards is None else str(output)
    keeper = ShardFolder(shard_folder(output, shards), keep_for=keep_for)
    parts = keeper.shards(photos, stamps_of(photos), recipe)
    if makers is not None and len(parts) < makers.least:
        makers = None
    needs_none = len(parts) == 1 and makers is None and shards is None
    with new_gallery_file(output, beside=beside) as writer, contextlib.ExitStack() as stack:
        if needs_none:
            cut = file_cut(recipe.for_photos(len(photos)))
            batches = read_all(in_groups(photos), cut, photo_stamp, recipe.tile, workers)
        else:
            stack.enter_context(keeper)
            if makers is None:
                batches = keeper.read_here(parts, workers)
            else:
                batches = keeper.read_made(parts, makers.make, progress)
                progress = None
            if recipe.chooses_crops(len(photos)):
                batches = joined(batches)
            # Closed before the folder, which it may have an unfinished file in.
            stack.enter_context(contextlib.closing(batches))
        report = write_batches(
            writer,
            batches,
            len(photos),
            recipe,
            path=Path(output),
            when_empty=keeper.discard,
            progress=progress,
        )
    keeper.finish()
    return replace(
        report,
        unreadable=tuple(sorted([*found.unreadable, *bad_videos, *report.unreadable])),
        system_folders=tuple(found.system_folders),
        videos=() if videos else tuple(found.videos),
        links=tuple(found.links),
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
        report = write_gallery(writer, names, cut, recipe, root="", index=False)
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
        return cut_picture(array, (array.shape[1], array.shape[0]), cutting)

    return names, cut


def warm_up(recipe: Recipe) -> None:
    """Load what the tiles of photos are made with, so that the first photo takes as long as others:
    0.1 s, and up to 3 s where kernels have to be compiled."""
    side = 4 * max(recipe.tile)
    noise = np.random.default_rng(0).integers(0, 256, (side, 2 * side, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    cutting = recipe.for_photos(1)
    read_batch([""], lambda _: cut_data(data, cutting), lambda _: (0, 0), recipe.tile)


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
    index: bool = True,
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
    index : write the search index, too; not for a file that is used once, or for its tiles alone
    """
    batches = read_all(in_groups(names), cut, stamp, recipe.tile, workers)
    return write_batches(
        writer,
        batches,
        len(names),
        recipe,
        path=path,
        root=root,
        labels=labels,
        index=index,
        progress=progress,
    )


def write_batches(
    writer: GalleryWriter,
    batches: Iterable[Batch],
    count: int,
    recipe: Recipe,
    *,
    path: Path = Path(),
    root: str | None = None,
    labels: I32 | None = None,
    index: bool = True,
    when_empty: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> BuildReport:
    """Write the gallery of batches of `count` photos; the other parameters are `write_gallery`'s.

    `when_empty` is called if no photo could be read, before the error.

    Of each tile only some numbers are in memory, of each photo its path.
    """
    began = time.perf_counter()
    added = AddedCrops() if recipe.chooses_crops(count) else None
    used: list[str] = []
    unreadable: list[tuple[str, str]] = []
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about damaged files: they are reported
        folder = None if path == Path() else str(path.parent)
        of_tiles, of_photos = _Kept(stack, folder), _Kept(stack, folder)
        for batch in batches:
            read, stamps, bad, arrays, uncut = batch.counted_from(len(used))
            writer.append_uncut(uncut.pop("uncut"))
            of_photos.append(uncut | {"stamps": np.array(stamps, np.int64).reshape(-1, 2)})
            if added is not None:
                arrays = added.take(arrays)
            writer.append(arrays.pop("tiles"))
            of_tiles.append(arrays)
            used += read
            unreadable += bad
            if progress:
                progress(len(used) + len(unreadable), count)
        unreadable.sort()
        if not used:
            when_empty()
            raise _nothing_readable(unreadable)
        for arrays in added.chosen() if added is not None else ():
            writer.append(arrays.pop("tiles"))
            of_tiles.append(arrays)
        features, photos = of_tiles.arrays["features"], of_tiles.arrays["source_photo"][:]
        if labels is None:
            labels = cluster_tiles(features, clusters=recipe.clusters, seed=recipe.seed)
        lettering = np.unique(photos[of_tiles.arrays.pop("lettering")[:]]).tolist()
        drop = recipe.drop_percentile
        groups = group_tiles(features, labels, photos, drop_percentile=drop, seed=recipe.seed)
        tiles = len(features)
        start = 0
        if root is None:
            root = _common_folder(used)
            start = len(os.path.join(root, ""))
        known = of_photos.arrays.pop("stamps")[:]
        size = writer.finish(
            of_tiles.arrays | groups._asdict() | of_photos.arrays,
            photos=(name[start:] for name in used),
            root=root,
            recipe=recipe,
            lettering=lettering,
            stamps=known,
            index=index,
        )
    return BuildReport(
        path=path,
        photos=len(used),
        tiles=tiles,
        unreadable=tuple(unreadable),
        clusters=len(groups.kept),
        kept=int(groups.kept.sum()),
        bytes=size,
        seconds=time.perf_counter() - began,
    )


class _Kept:
    """Arrays of a gallery, batch by batch; in temporary files beside it if they are large."""

    def __init__(self, stack: contextlib.ExitStack, folder: str | None) -> None:
        self.arrays: dict[str, SpooledRows] = {}
        self._stack, self._folder = stack, folder

    def append(self, arrays: Arrays) -> None:
        for name, array in arrays.items():
            if name not in self.arrays:
                rows = SpooledRows(array.dtype.str, array.shape[1:], self._folder)
                self.arrays[name] = self._stack.enter_context(contextlib.closing(rows))
            self.arrays[name].append(array)


def _nothing_readable(unreadable: Sequence[tuple[str, str]]) -> GalleryError:
    name, reason = unreadable[0]
    return GalleryError(
        f"none of {len(unreadable)} files can be read (the first, {name!r}: {reason}); "
        "name other photos"
    )


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths are in; empty if they lie on several drives of Windows."""
    folders = {os.path.dirname(path) for path in paths}
    if len({os.path.splitdrive(folder)[0] for folder in folders}) > 1:
        return ""
    return os.path.commonpath(folders)
