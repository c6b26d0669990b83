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
from pathlib import Path

from ..errors import GalleryError
from .file_format import FORMAT_VERSION, SUFFIX, Gallery

__all__ = ["CACHE_VARIABLE", "cache_folder", "cached_gallery", "folder_gallery"]

CACHE_VARIABLE = "LIVEMOSAIC_CACHE"

log = logging.getLogger("livemosaic")


def cache_folder() -> Path:
    """The folder for built galleries, made if need be.

    `LIVEMOSAIC_CACHE` names it, else the system's place for a user's caches. If nothing can be
    written there: a temporary one that goes with the process, and a warning.
    """
    import platformdirs

    chosen = os.environ.get(CACHE_VARIABLE)
    folder = Path(chosen) if chosen else platformdirs.user_cache_path("livemosaic")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # os.access does not know about read-only mounts on every system: try.
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        return _temporary_folder(str(folder), error.strerror or str(error))


@functools.cache
def _temporary_folder(wanted: str, reason: str) -> Path:
    log.warning(
        "nothing can be kept in the cache folder %r (%s): galleries are built again each time; "
        "set %s to a folder that can be written",
        wanted, reason, CACHE_VARIABLE,
    )  # fmt: skip
    folder = tempfile.mkdtemp(prefix="livemosaic-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def cached_gallery(
    stem: str, key: str, build: Callable[[Path], object], *, name: str | None = None
) -> Gallery:
    """Open `<cache>/<stem>-<key>.gallery`, after building it if it is missing or damaged.

    Galleries of the same stem and another key are out of date and are removed. Two processes may
    do all this at once: each builds its own file and puts it in place whole; the last one stays.

    Parameters
    ----------
    stem : what the gallery is of
    key : changes whenever the gallery has to be built again
    build : writes the gallery to the path it is given
    name : of the gallery, for people
    """
    folder = cache_folder()
    path = folder / f"{stem}-{key}{SUFFIX}"
    if path.exists():
        with contextlib.suppress(GalleryError):
            return Gallery.open(path, name=name or stem)
    build(path)
    for old in folder.glob(f"{stem}-*{SUFFIX}"):
        if old != path:
            with contextlib.suppress(OSError):  # in use, on Windows
                old.unlink()
    return Gallery.open(path, name=name or stem)


def folder_gallery(folder: Path, *, progress: Callable[[int, int], None] | None = None) -> Gallery:
    """The gallery of a folder of photos, built again when any photo came, went or changed.

    Raises
    ------
    GalleryError : no photo in it can be read
    """
    from .build import build_gallery
    from .photo_paths import find_photos

    root = os.path.abspath(folder)
    state = hashlib.sha256(f"{FORMAT_VERSION}\n".encode())
    for photo in find_photos([root]):
        with contextlib.suppress(OSError):  # gone since; the build will not find it either
            status = os.stat(photo)
            entry = f"{os.path.relpath(photo, root)}\0{status.st_size}\0{status.st_mtime_ns}\n"
            state.update(entry.encode("utf-8", "surrogateescape"))
    place = hashlib.sha256(root.encode("utf-8", "surrogateescape")).hexdigest()[:12]

    def build(path: Path) -> None:
        log.info("building a gallery of the photos in %r, once until they change", str(folder))
        report = build_gallery([root], path, progress=progress)
        if report.unreadable:
            name, reason = report.unreadable[0]
            log.warning(
                "%d of the photos in %r cannot be read (the first, %r: %s)",
                len(report.unreadable), str(folder), name, reason,
            )  # fmt: skip

    return cached_gallery(
        f"folder-{place}", state.hexdigest()[:16], build, name=os.path.basename(root)
    )
