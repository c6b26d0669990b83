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
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..errors import GalleryError
from ..jit import write_error
from ..unfinished import add_unfinished
from .file_format import FORMAT_VERSION, SUFFIX, Gallery
from .recipe import Recipe

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

    Galleries of the same stem and another key are out of date and are removed. When two processes
    do this at once, each builds its own file and renames it when it is complete; the last one
    stays. `name` is for people.
    """
    folder = cache_folder()
    path = folder / f"{stem}-{key}{SUFFIX}"
    if path.exists():
        with contextlib.suppress(GalleryError):
            return Gallery.open(path, name=name)
    build(path)
    for old in folder.glob(f"{stem}-*{SUFFIX}"):
        if old != path:
            with contextlib.suppress(OSError):  # in use, on Windows
                old.unlink()
    return Gallery.open(path, name=name)


def folder_gallery(
    folder: Path,
    recipe: Recipe | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Gallery:
    """The gallery of a folder of photos, built again when a photo was added, removed or changed.

    Each recipe has a gallery of its own.
    """
    from .build import build_gallery
    from .photo_paths import find_photos

    root = os.path.abspath(folder)
    state = hashlib.sha256(f"{FORMAT_VERSION}\n".encode())
    for photo in find_photos([root]):
        with contextlib.suppress(OSError):  # removed since; the build will not find it either
            status = os.stat(photo)
            entry = f"{os.path.relpath(photo, root)}\0{status.st_size}\0{status.st_mtime_ns}\n"
            state.update(entry.encode("utf-8", "surrogateescape"))
    recipe = recipe or Recipe()
    place = f"{root}\0{recipe}".encode("utf-8", "surrogateescape")
    stem = f"folder-{hashlib.sha256(place).hexdigest()[:12]}"

    def build(path: Path) -> None:
        _logger.info("building a gallery of the photos in %r, once until they change", str(folder))
        options = asdict(recipe)
        mirror = not options.pop("no_mirror")
        report = build_gallery([root], path, mirror=mirror, progress=progress, **options)
        if report.unreadable:
            message = "%d of the photos in %r cannot be read (the first, %r: %s)"
            _logger.warning(message, len(report.unreadable), str(folder), *report.unreadable[0])

    key, name = state.hexdigest()[:16], os.path.basename(root)
    return cached_gallery(stem, key, build, name=name)
