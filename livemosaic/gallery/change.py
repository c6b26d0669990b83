"""Changes of a gallery file: photos leave, and photos that changed are read again.

The tiles of all other photos are taken from the file, so that a change is quick, and these photos
need not be there.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..argument import items, path_text, take, whole
from ..errors import MISSING_FOLDERS, GalleryError, UsageError, words_of
from .batches import Cut, file_cut
from .build import BuildReport, Progress, write_gallery
from .builtin import BUILTIN
from .file_writer import new_gallery_file
from .gallery import Gallery
from .layout_index import has_index
from .recipe import Recipe
from .sources import Stamp
from .tiles import Tiles, Uncut, heads_by_photo
from .video_frames import photo_exists, photo_stamp, video_of


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """The result of a change.

    Attributes
    ----------
    gallery : the report of the new file
    removed : paths of photos that left because they were named or are gone
    changed : paths of photos that were read again
    """

    gallery: BuildReport
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def remove_photos(
    gallery: str | Path,
    paths: str | Path | Iterable[str | Path],
    *,
    progress: Progress | None = None,
) -> ChangeReport:
    """Write a gallery file again without some photos. No photo is read, or deleted.

    Parameters
    ----------
    gallery : the file, which is replaced when the new one is complete
    paths : photos of the gallery, be they there or gone; folders for all photos in them, videos for
        their frames, and globs, whose `*` stands for `/`, too
    progress : called as progress(done, total), in photos

    Raises
    ------
    GalleryError : the gallery cannot be used or written, a path is of none of its photos, or no
        photo would be left
    UsageError : the gallery is a built-in one, or an argument makes no sense

    Examples
    --------
    >>> from livemosaic.gallery import remove_photos
    >>> remove_photos("party.gallery", ["blurred.jpg"]).removed      # doctest: +SKIP
    ('/home/me/party/blurred.jpg',)
    """
    opened = _open(gallery)
    paths = items("paths", paths, "a path, or a list of paths")
    photos = opened.sources.photos()
    removed: set[str] = set()
    for number, path in enumerate(paths):
        found = _photos_at(path_text(f"paths[{number}]", path, "a path"), photos)
        if not found:
            raise GalleryError(
                f"no photo of {str(gallery)!r} is at {str(path)!r}; check the name, or refresh the "
                "gallery to leave out all photos that are gone"
            )
        removed.update(found)
    report = _write(opened, [it for it in photos if it not in removed], (), progress)
    return ChangeReport(report, tuple(sorted(removed)))


def refresh_gallery(
    gallery: str | Path,
    *,
    missing_folders: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
) -> ChangeReport:
    """Read the photos of a gallery file again that changed since, and leave out those that are
    gone; the file stays as it is if there are none, and its search index is the present one.

    A photo has changed if its file has another size or time. All photos are read again if the
    gallery does not know them, because an early version of livemosaic built it.

    Parameters
    ----------
    gallery : the file, which is replaced when the new one is complete
    missing_folders : also leave out photos whose whole folder is gone, or empty, as their drive may
        not be mounted, or cannot be read
    progress : called as progress(done, total), in photos
    workers : threads that read photos, by default one more than cores

    Raises
    ------
    GalleryError : the gallery cannot be used or written, a folder is gone, empty or cannot be read,
        or no photo would be left
    UsageError : the gallery is a built-in one, or an argument makes no sense

    Examples
    --------
    >>> from livemosaic.gallery import refresh_gallery
    >>> report = refresh_gallery("party.gallery")                    # doctest: +SKIP
    >>> len(report.changed), len(report.removed)                     # doctest: +SKIP
    (3, 1)
    """
    opened = _open(gallery)
    take("progress", progress, Callable | None, "a function")
    if workers is not None:
        whole("workers", workers, 1)
    photos = opened.sources.photos()
    gone = [photo for photo in photos if not photo_exists(photo)]
    missing = _missing_folders(gone)
    if missing and not missing_folders:
        folder, how = min(missing.items())
        raise GalleryError(
            f"the folder {folder!r} of photos of {str(gallery)!r} {how}, or {MISSING_FOLDERS} to "
            "leave out its photos"
        )
    changed = [
        photo
        for photo, stamp in stamps_of(opened).items()
        if photo_stamp(photo) != stamp and photo_exists(photo)
    ]
    if not gone and not changed and has_index(opened):
        return ChangeReport(_unchanged(opened))
    left = set(photos) - set(gone)
    report = _write(opened, sorted(left), set(changed), progress, workers)
    return ChangeReport(report, tuple(gone), tuple(changed))


def _missing_folders(gone: Sequence[str]) -> dict[str, str]:
    """The folders of photos that may be there although they cannot be found, and words about each
    folder."""
    folders = {photo: os.path.dirname(photo) or os.curdir for photo in gone}
    missing = {}
    for folder in set(folders.values()):
        if not os.path.isdir(folder):
            missing[folder] = "is gone; mount its drive"
        else:
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                if not any(True for _ in entries):
                    missing[folder] = "is empty; mount its drive"
    for photo, folder in folders.items():
        try:
            os.stat(video_of(photo) or photo)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            missing[folder] = f"cannot be read: {words_of(error)}; check its permissions"
    return missing


def recipe_of(gallery: Gallery) -> Recipe:
    """How a gallery was made."""
    return Recipe(gallery.tile_px, no_mirror=not gallery.mirror, **gallery.options)


def stamps_of(gallery: Gallery) -> dict[str, Stamp]:
    """The stamp of each photo of a gallery."""
    return dict(zip(gallery.sources.photos(), map(tuple, gallery.stamps.tolist()), strict=True))


def cut_of(gallery: Gallery) -> Cut:
    """The tiles of photos as they are in a gallery, by their names, and whether these have
    lettering."""
    order = np.argsort(gallery.source_photo, kind="stable")
    photos = gallery.sources.photos()
    start = np.searchsorted(gallery.source_photo[order], np.arange(len(photos) + 1))
    numbers = {name: number for number, name in enumerate(photos)}
    uncut_at = {number: place for place, number in enumerate(gallery.uncut_photo.tolist())}
    heads = heads_by_photo(gallery.heads)

    def cut(name: str) -> tuple[Tiles, bool]:
        number = numbers[name]
        ids = order[start[number] : start[number + 1]]
        crops = [gallery.sources[i].crop for i in ids.tolist()]
        place, uncut = uncut_at.get(number), None
        if place is not None:
            left, top, width, height = gallery.uncut_crop[place].tolist()
            uncut = Uncut(gallery.uncut[place], (left, top, width, height))
        tiles = Tiles(gallery.tiles[ids], crops, uncut, heads.get(number, ()))
        return tiles, gallery.mirror and not gallery.mirrors[ids].any()

    return cut


def without_added_crops(cut: Cut, recipe: Recipe, count: int) -> Cut:
    """Tiles that were made for fewer photos: a gallery that has become too large for added crops
    cannot tell them from whole photos."""
    if recipe.crops is not None or recipe.for_photos(count).crops:
        return cut

    def whole(name: str) -> tuple[Tiles, bool]:
        tiles, lettering = cut(name)
        return tiles._replace(pixels=tiles.pixels[:1], crops=tiles.crops[:1]), lettering

    return whole


def _open(gallery: str | Path) -> Gallery:
    if gallery in BUILTIN:
        raise UsageError(
            f"{gallery!r} is a built-in gallery, which cannot be changed; build your own with: "
            "livemosaic gallery build PHOTOS... -o my.gallery"
        )
    mapped = False if sys.platform == "win32" else None  # it replaces no mapped file
    return Gallery.open(path_text("gallery", gallery, "a path"), mapped=mapped)


def _photos_at(path: str, photos: Sequence[str]) -> list[str]:
    """The photos that a path of a user stands for."""
    whole = os.path.abspath(os.path.expanduser(path))
    below = os.path.join(whole, "")
    found = [it for it in photos if whole in (it, video_of(it)) or it.startswith(below)]
    if not found and glob.has_magic(path):
        found = fnmatch.filter(photos, whole)
    return found


def _write(
    gallery: Gallery,
    names: Sequence[str],
    changed: Container[str],
    progress: Progress | None,
    workers: int | None = None,
) -> BuildReport:
    """Write a gallery's file again with some of its photos, of which some are read again."""
    if not names:
        raise GalleryError(
            f"no photo of {str(gallery.path)!r} would be left; delete the file instead"
        )
    assert gallery.path is not None
    recipe = recipe_of(gallery)
    fresh = file_cut(recipe.for_photos(len(names)))
    kept = without_added_crops(cut_of(gallery), recipe, len(names))

    def cut(name: str) -> tuple[Tiles, bool]:
        return fresh(name) if name in changed else kept(name)

    stamps = stamps_of(gallery)
    with new_gallery_file(gallery.path) as writer:
        return write_gallery(
            writer,
            names,
            cut,
            recipe,
            path=gallery.path,
            stamp=lambda name: photo_stamp(name) if name in changed else stamps[name],
            progress=progress,
            workers=workers,
        )


def _unchanged(gallery: Gallery) -> BuildReport:
    assert gallery.path is not None
    return BuildReport(
        path=gallery.path,
        photos=len(gallery.sources.photos()),
        tiles=len(gallery),
        unreadable=(),
        clusters=len(gallery.kept),
        kept=int(gallery.kept.sum()),
        bytes=gallery.bytes,
        seconds=0.0,
    )
