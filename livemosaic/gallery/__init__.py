"""The gallery: the photos that a mosaic is made of, with their features and clusters.

from livemosaic.gallery import build_gallery, open_gallery

gallery = open_gallery()                      # the embedded photos
build_gallery(["~/Pictures"], "my.gallery")   # see livemosaic.gallery.build
gallery = open_gallery("my.gallery")
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import GalleryError

if TYPE_CHECKING:
    from .build import BuildReport, Progress, build_gallery
    from .builtin import BUILTIN
    from .file_format import Gallery, Source

# Imported when they are asked for: `livemosaic --help` needs no NumPy, and a mosaic no builder.
_HOMES = {
    "BuildReport": "build",
    "build_gallery": "build",
    "Gallery": "file_format",
    "Source": "file_format",
    "BUILTIN": "builtin",
}

__all__ = ["BUILTIN", "BuildReport", "Gallery", "Source", "build_gallery", "open_gallery"]


def open_gallery(spec: str | Path = "photos", *, progress: Progress | None = None) -> Gallery:
    """Open whatever names a gallery.

    Parameters
    ----------
    spec : `photos` or `emoji` (embedded; built in the user's cache folder at their first use), a
        gallery file, or a folder of photos (built in the cache folder, and again when its photos
        change). A file or folder that is called `photos` is meant by `./photos`
    progress : called as progress(done, total) while a folder's photos are read

    Raises
    ------
    GalleryError : there is no such thing, or it cannot be used
    """
    from .builtin import BUILTIN, open_builtin
    from .file_format import Gallery

    if spec in BUILTIN:
        return open_builtin(str(spec))
    path = Path(os.path.expanduser(spec))
    if os.path.isdir(path):
        from .cache import folder_gallery

        return folder_gallery(path, progress=progress)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise GalleryError(
            f"no gallery {str(spec)!r}: it is neither embedded ({', '.join(BUILTIN)}) nor a file "
            "or folder; check the name, or build it with: livemosaic gallery build PHOTOS... "
            f"-o {spec}"
        ) from None
    except (OSError, ValueError):
        pass  # opening it says what is wrong
    return Gallery.open(path)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
