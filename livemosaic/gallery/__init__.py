"""The photos that a mosaic is made of: galleries of tiles, with their features and clusters.

>>> from livemosaic.gallery import build_gallery, open_gallery
>>> gallery = open_gallery()                              # doctest: +SKIP
>>> report = build_gallery(["~/Pictures"], "my.gallery")  # doctest: +SKIP
>>> gallery = open_gallery("my.gallery")                  # doctest: +SKIP
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import GalleryError

if TYPE_CHECKING:
    from .build import Progress, build_gallery
    from .builtin import BUILTIN
    from .file_format import Gallery
    from .recipe import Recipe

# Imported when first used: `livemosaic --help` needs no NumPy, and a mosaic no builder.
_LAZY = {
    "build_gallery": "build",
    "Gallery": "file_format",
    "BUILTIN": "builtin",
    "Recipe": "recipe",
}

__all__ = ["BUILTIN", "Gallery", "Recipe", "build_gallery", "open_gallery"]


def open_gallery(
    spec: str | Path = "photos",
    *,
    progress: Progress | None = None,
    recipe: Recipe | None = None,
) -> Gallery:
    """Open a gallery by its name or path.

    Parameters
    ----------
    spec : `photos` or `emoji` (built-in; unpacked in the user's cache folder at their first use), a
        gallery file, or a folder of photos (built in the cache folder, and again when its photos
        change). Write `./photos` for a file or folder with the name of a built-in gallery
    progress : called as progress(done, total) while a folder's photos are read
    recipe : how the gallery of a folder is made, such as Recipe(crops=0, no_mirror=True)

    Raises
    ------
    GalleryError : the gallery does not exist, or cannot be used

    Examples
    --------
    >>> from livemosaic import open_gallery
    >>> open_gallery("photos")
    <Gallery 'photos': 5514 tiles of 64 px>
    """
    from .builtin import BUILTIN, open_builtin
    from .file_format import Gallery

    if spec in BUILTIN:
        return open_builtin(str(spec))
    path = Path(os.path.expanduser(spec))
    if is_folder(spec):
        from .cache import folder_gallery

        return folder_gallery(path, recipe, progress=progress)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise GalleryError(
            f"no gallery {str(spec)!r}: it is neither built-in ({', '.join(BUILTIN)}) nor a file "
            "or folder; check the name, or build it with: livemosaic gallery build PHOTOS... "
            f"-o {spec}"
        ) from None
    except (OSError, ValueError):
        pass  # opening it reports the problem
    return Gallery.open(path)


def is_folder(spec: str | Path) -> bool:
    """Whether the gallery of that name is built of a folder's photos."""
    from .builtin import BUILTIN

    return spec not in BUILTIN and os.path.isdir(os.path.expanduser(spec))


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
