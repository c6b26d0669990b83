"""The photos that a mosaic is made of: galleries of tiles, with their features and clusters.

>>> from livemosaic.gallery import build_gallery, open_gallery
>>> gallery = open_gallery()                              # doctest: +SKIP
>>> report = build_gallery(["~/Pictures"], "my.gallery")  # doctest: +SKIP
>>> gallery = open_gallery("my.gallery")                  # doctest: +SKIP
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
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
    spec: str | Path | Sequence[str | Path] = "photos",
    *,
    progress: Progress | None = None,
    recipe: Recipe | None = None,
) -> Gallery:
    """Open a gallery by its name or path, or make one of photos.

    Parameters
    ----------
    spec : `photos` or `emoji` (built-in; unpacked in the user's cache folder at their first use), a
        gallery file, or photos: a folder, an image file, a glob, or a list of such (built in the
        cache folder, and again when the photos change). Write `./photos` for a file or folder with
        the name of a built-in gallery
    progress : called as progress(done, total) while photos are read
    recipe : how a gallery of photos is made, such as Recipe(crops=0, no_mirror=True)

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
    from .file_format import Gallery, how_to_build

    if not isinstance(spec, str | Path) and len(spec) == 1:
        spec = spec[0]
    if is_of_photos(spec):
        from .cache import photos_gallery

        paths = [spec] if isinstance(spec, str | Path) else spec
        for path in paths:
            _refuse_gallery(path)
        return photos_gallery(paths, recipe, progress=progress)
    assert isinstance(spec, str | Path)
    if spec in BUILTIN:
        return open_builtin(str(spec))
    path = Path(os.path.expanduser(spec))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise GalleryError(
            f"no gallery {str(spec)!r}: it is neither built-in ({', '.join(BUILTIN)}) nor a file "
            f"or folder; check the name, or {how_to_build(spec)}"
        ) from None
    except (OSError, ValueError):
        pass  # opening it reports the problem
    return Gallery.open(path)


def is_of_photos(spec: str | Path | Sequence[str | Path]) -> bool:
    """Whether a gallery is built of photos: of a folder, an image, a glob, or several of them."""
    from ..media.image_reader import HEAD_BYTES, image_kind
    from .builtin import BUILTIN
    from .photo_paths import VIDEO_EXTENSIONS

    if not isinstance(spec, str | Path):
        return len(spec) > 1 or is_of_photos(spec[0])
    path = os.path.expanduser(spec)
    if spec in BUILTIN:
        return False
    if not os.path.isfile(path):
        return os.path.isdir(path) or (glob.has_magic(path) and not os.path.lexists(path))
    if os.path.splitext(path)[1].lower() in VIDEO_EXTENSIONS:
        return True
    try:
        with open(path, "rb") as file:
            return image_kind(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False


def _refuse_gallery(path: str | Path) -> None:
    """Raise `GalleryError` for a gallery among photos."""
    from .builtin import BUILTIN
    from .file_format import is_gallery_file

    if path in BUILTIN or is_gallery_file(os.path.expanduser(path)):
        raise GalleryError(
            f"{str(path)!r} is a gallery, and only photos can be put together; leave it out, or "
            "add photos to a gallery file with: livemosaic gallery add NAME.gallery PHOTOS..."
        )


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
