"""From the PATHs of a command line to image files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import GalleryError

# Of image files in folders.
EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib"),
        *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".hif"),
    )
)


def find_photos(paths: Iterable[str | Path]) -> list[str]:
    """List image files: absolute, each once, sorted by name.

    A folder is searched with its subfolders (without links to folders and hidden names) for the
    extensions of images. A file that is named, or that a glob finds, is used whatever its name. An
    existing path is never read as a glob.

    Raises
    ------
    GalleryError : a path that does not exist, a glob without a match, or no image at all
    """
    found: set[str] = set()
    names = [os.fspath(path) for path in paths]
    for path in names:
        if not os.path.lexists(path):
            path = os.path.expanduser(path)
        if os.path.lexists(path):
            matches = [path]
        else:
            matches = glob.glob(path, recursive=True) if glob.has_magic(path) else []
            if not matches:
                raise GalleryError(
                    f"no photos at {path!r}: there is no such file or folder; check the name"
                )
        for match in map(os.path.abspath, matches):
            found.update(photos_in(match) if os.path.isdir(match) else [match])
    if not found:
        where = ", ".join(map(repr, names)) or "nothing"
        raise GalleryError(
            f"no photos in {where}: a folder needs JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC "
            "files; name another folder, a file or a glob"
        )
    return sorted(found)


def photos_in(folder: str) -> Iterator[str]:
    """Image files in a folder and its subfolders, by their extension, in no particular order."""

    def refuse(error: OSError) -> None:
        raise GalleryError(
            f"folder {error.filename!r} cannot be read: {error.strerror}; check its permissions"
        )

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                yield os.path.join(parent, name)
