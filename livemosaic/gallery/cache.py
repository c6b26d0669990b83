"""Galleries that are built once and kept in the user's cache folder."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import GalleryError
from ..jit import write_error
from ..media.atomic_write import remove_remains
from ..media.folder_in_use import FolderInUse
from ..unfinished import add_unfinished
from .file_format import FORMAT_VERSION, INDEX_VERSION, SUFFIX
from .gallery import Gallery
from .recipe import RECIPE_VERSION, SHARDS, Recipe

if TYPE_CHECKING:
    from .build import BuildReport

CACHE_VARIABLE = "LIVEMOSAIC_CACHE"

_logger = logging.getLogger("livemosaic")


def cache_folder() -> Path:
    """The folder for built galleries, which is created if it does not exist.

    `LIVEMOSAIC_CACHE` names it; the default is the system's folder for a user's caches. If it
    cannot be written, this warns and returns a temporary one, which is removed with the process.
    """
    import platformdirs

    chosen = os.environ.get(CACHE_VARIABLE)
    folder = Path(chosen) if chosen else platformdirs.user_cache_path("livemosaic")
    reason = write_error(folder)
    return _temporary_folder(str(folder), reason) if reason else folder


@functools.cache
def _temporary_folder(wanted: str, reason: str) -> Path:
    _logger.warning(
        "the cache folder %r cannot be written (%s): galleries are built again each time; set %s "
        "to a folder that can be written",
        wanted,
        reason,
        CACHE_VARIABLE,
    )
    folder = tempfile.mkdtemp(prefix="livemosaic-")
    add_unfinished(Path(folder))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def cached_gallery(stem: str, key: str, build: Callable[[Path], object], *, name: str) -> Gallery:
    """Open `<cache>/<stem>-<key>.gallery`, after building it if it is missing or damaged.

    Galleries of the same stem and another key are out of date and are removed, and so is what
    interrupted builds left. When two processes do this at once, each builds its own file and
    renames it when it is complete; the last one stays. `name` is for people.
    """
    folder = cache_folder()
    path = folder / f"{stem}-{key}{SUFFIX}"
    opened = functools.partial(
        Gallery.open, path, name=name, mapped=True, fix="delete it, and it is built again"
    )
    if path.exists():
        with contextlib.suppress(GalleryError):
            return opened()
        with contextlib.suppress(OSError):  # damaged; another run may be using it
            path.unlink()
    remove_remains(folder)
    build(path)
    for old in folder.glob(f"{stem}-*{SUFFIX}"):
        if old != path:
            with contextlib.suppress(OSError):  # in use, on Windows
                old.unlink()
    for shards in folder.glob(f"{stem}-*{SUFFIX}{SHARDS}"):
        with contextlib.suppress(OSError), FolderInUse(shards) as in_use:
            if in_use.is_alone():
                shutil.rmtree(shards)
    return opened()


def photos_gallery(
    paths: Sequence[str | Path],
    recipe: Recipe | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Gallery:
    """The gallery of folders, image files and globs; built again when a photo was added, removed or
    changed. Each recipe has a gallery of its own."""
    from .build import build_photos
    from .photo_paths import find_photos

    state = hashlib.sha256(f"{FORMAT_VERSION} {INDEX_VERSION} {RECIPE_VERSION}\n".encode())
    recipe = recipe or Recipe()
    found = find_photos(paths, videos=recipe.frames_of_videos > 0)
    for photo in [*found.photos, *(found.videos if recipe.frames_of_videos else ())]:
        with contextlib.suppress(OSError):  # removed since; the build will not find it either
            status = os.stat(photo)
            entry = f"{photo}\0{status.st_size}\0{status.st_mtime_ns}\n"
            state.update(entry.encode("utf-8", "surrogateescape"))
            if not os.access(photo, os.R_OK):  # it may be readable later, with the same time
                state.update(b"unreadable\n")
    roots = [os.path.abspath(os.path.expanduser(path)) for path in paths]
    place = "\0".join([*roots, str(recipe)]).encode("utf-8", "surrogateescape")
    stem = f"folder-{hashlib.sha256(place).hexdigest()[:12]}"
    name = ", ".join(os.path.basename(root) for root in roots)

    def build(path: Path) -> None:
        _logger.info("building a gallery of the photos in %r, once until they change", name)
        _log_report(build_photos(paths, path, recipe, progress=progress))

    return cached_gallery(stem, state.hexdigest()[:16], build, name=name)


def _log_report(report: BuildReport) -> None:
    """Tell what was passed over; -v lists all of it."""
    count = len(report.unreadable)
    if count == 1:
        _logger.warning("%s cannot be read and is passed over: %s", *report.unreadable[0])
    elif count:
        text = "%d files or folders cannot be read and are passed over (-v lists them): %s: %s"
        _logger.warning(text, count, *report.unreadable[0])
        for path, reason in report.unreadable:
            _logger.debug("cannot be read: %s: %s", path, reason)
    for text, paths in report.left_out():
        _logger.info("%s", text)
        for path in paths:
            _logger.debug("left out: %s", path)
