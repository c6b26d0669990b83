"""Which files are meant by the PATHs of a command line."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import GalleryError

__all__ = ["find_photos", "photos_in"]

# Looked for in folders. HEIC is among them to be listed with its reason, not passed over.
EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib"),
        *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"),
    )
)


def find_photos(paths: Iterable[str | Path]) -> list[str]:
    """List image files: absolute, each once, sorted by name.

    A folder is searched with all its folders (links to folders are not followed, hidden names are
    passed over) for the extensions of images. A file that is named, or that a glob finds, is taken
    whatever its name. A path that exists is never read as a glob.

    Raises
    ------
    GalleryError : a path that does not exist, a glob without a match, or no image at all
    """
    found: set[str] = set()
    given = [os.fspath(path) for path in paths]
    for path in given:
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
        for match in matches:
            match = os.path.abspath(match)
            found.update(photos_in(match) if os.path.isdir(match) else [match])
    if not found:
        where = ", ".join(repr(path) for path in given) or "nothing"
        raise GalleryError(
            f"no photos in {where}: folders are searched for JPEG, PNG, WebP, BMP, TIFF, GIF and "
            "AVIF files; name a folder, a file or a glob that holds some"
        )
    return sorted(found)


def photos_in(folder: str) -> Iterator[str]:
    """Image files in a folder and its folders, by their extension, in no particular order.

    Raises
    ------
    GalleryError : the folder, or one in it, cannot be read
    """

    def refuse(error: OSError) -> None:
        raise GalleryError(
            f"folder {error.filename!r} cannot be read: {error.strerror}; check its rights"
        )

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                yield os.path.join(parent, name)
