"""The photos that a mosaic is made of: galleries of tiles, with their features and clusters.

>>> from livemosaic.gallery import build_gallery, open_gallery
>>> gallery = open_gallery()                              # doctest: +SKIP
>>> report = build_gallery(["~/Pictures"], "my.gallery")  # doctest: +SKIP
>>> gallery = open_gallery("my.gallery")                  # doctest: +SKIP
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ..argument import path_text, take
from ..errors import GalleryError, OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from .build import Progress, build_gallery
    from .builtin import BUILTIN
    from .change import refresh_gallery, remove_photos
    from .gallery import Gallery
    from .live import LiveGallery
    from .recipe import Recipe

    # What stands for a gallery: an open one, a name or path, or pictures.
    GallerySpec = Gallery | str | Path | Sequence[Gallery | str | Path | NDArray[Any] | Image]

# Imported when first used: `livemosaic --help` needs no NumPy, and a mosaic no builder.
_LAZY = {
    "build_gallery": "build",
    "Gallery": "gallery",
    "LiveGallery": "live",
    "BUILTIN": "builtin",
    "Recipe": "recipe",
    "refresh_gallery": "change",
    "remove_photos": "change",
}

__all__ = [
    "BUILTIN",
    "Gallery",
    "LiveGallery",
    "Recipe",
    "build_gallery",
    "open_gallery",
    "refresh_gallery",
    "remove_photos",
]


def open_gallery(
    spec: GallerySpec = "photos",
    *,
    progress: Progress | None = None,
    recipe: Recipe | None = None,
    rgb: bool = False,
) -> Gallery:
    """Open a gallery by its name or path, or make one of photos.

    Parameters
    ----------
    spec : `photos` or `emoji` (built-in; unpacked in the user's cache folder at their first use), a
        gallery file, or photos: a folder, an image file, a glob, or a list of such (built in the
        cache folder, and again when the photos change). Write `./photos` for a file or folder with
        the name of a built-in gallery. Or a list of pictures, see `Gallery.from_images`, or a
        `Gallery`, which is returned. In a list, each of `photos`, `emoji`, a gallery file and a
        `Gallery` is a gallery, and all else makes one; together they are joined
    progress : called as progress(done, total) while photos are read
    recipe : how a gallery of photos is made, such as Recipe(crops=0, no_mirror=True)
    rgb : arrays in a list are RGB; by default BGR

    Raises
    ------
    GalleryError : the gallery does not exist, or cannot be used
    UsageError : an argument makes no sense, a picture of the list is none, or a gallery is
        given twice

    Examples
    --------
    >>> from livemosaic import open_gallery
    >>> open_gallery("photos")
    <Gallery 'photos': 5514 tiles of 64 px>
    >>> open_gallery(["photos", "emoji"])
    <Gallery 'photos, emoji': 10730 tiles of 64 px>
    """
    from .builtin import BUILTIN, open_builtin
    from .file_format import how_to_build
    from .gallery import Gallery
    from .recipe import Recipe

    if isinstance(spec, Gallery):
        return spec
    _check_spec(spec)
    take("recipe", recipe, Recipe | None, "a Recipe")
    take("progress", progress, Callable | None, "a function")
    if not isinstance(spec, str | Path):
        specs = _parts_of(spec)
        if len(specs) > 1:
            return _join(
                [open_gallery(it, progress=progress, recipe=recipe, rgb=rgb) for it in specs]
            )
        if len(spec) == 1 and isinstance(spec[0], Gallery | str | Path):
            return open_gallery(spec[0], progress=progress, recipe=recipe)
    if is_of_photos(spec):
        paths: Sequence[Any] = [spec] if isinstance(spec, str | Path) else spec
        if not _are_paths(paths):
            from .build import images_gallery

            return Gallery(images_gallery(paths, recipe or Recipe(), rgb=rgb), name="images")
        from .cache import photos_gallery

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


def is_of_photos(spec: GallerySpec) -> bool:
    """Whether a gallery, or a part of it, is built of photos: of a folder, an image, a glob, or
    several of them; or of pictures."""
    from .builtin import BUILTIN
    from .gallery import Gallery

    if isinstance(spec, Gallery):
        return False
    _check_spec(spec)
    if not isinstance(spec, str | Path):
        if len(spec) == 1 and _are_paths(spec):
            return is_of_photos(spec[0])
        return not len(spec) or not all(map(_is_gallery, spec))
    path = os.path.expanduser(spec)
    if spec in BUILTIN:
        return False
    if not os.path.isfile(path):
        return os.path.isdir(path) or (glob.has_magic(path) and not os.path.lexists(path))
    from ..media.image_reader import HEAD_BYTES, image_kind
    from .photo_paths import VIDEO_EXTENSIONS

    if os.path.splitext(path)[1].lower() in VIDEO_EXTENSIONS:
        return True
    try:
        with open(path, "rb") as file:
            return image_kind(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False


def _parts_of(items: Sequence[Any]) -> list[Any]:
    """The galleries of a list, and what makes one together as one, where its first item is."""
    parts: list[Any] = []
    rest: list[Any] = []
    for item in items:
        if _is_gallery(item):
            parts.append(item)
        else:
            if not rest:
                parts.append(rest)
            rest.append(item)
    return parts


def _is_gallery(item: object) -> bool:
    """Whether an item of a list is a gallery of its own, be it missing or damaged: other paths, and
    pictures, make one together."""
    from .builtin import BUILTIN
    from .file_format import SUFFIX, is_gallery_file
    from .gallery import Gallery

    if not isinstance(item, str | Path):
        return isinstance(item, Gallery)
    path = os.path.expanduser(item)
    try:
        is_file = is_gallery_file(path)
    except (OSError, ValueError):  # opening it reports the problem
        is_file = False
    named = path.endswith(SUFFIX) and not glob.has_magic(path) and not is_of_photos(path)
    return item in BUILTIN or is_file or named


def _join(galleries: Sequence[Gallery]) -> Gallery:
    """Several galleries as one; `OptionError` if one is given twice."""
    from .cut import join_galleries

    known: list[Gallery] = []
    for gallery in (part for it in galleries for part in it.parts):
        if any(gallery is it or (it.path and it.path == gallery.path) for it in known):
            raise OptionError("gallery", gallery.name, "it is given twice; leave one out")
        known.append(gallery)
    return join_galleries(known)


def _check_spec(spec: object) -> None:
    """Raise `UsageError` for what cannot stand for a gallery."""
    words = "a gallery's name, a path, or a list of paths or pictures"
    if isinstance(spec, str | Path):
        path_text("gallery", spec, words)
    elif isinstance(spec, bytes | Mapping) or not hasattr(spec, "__getitem__"):
        take("gallery", spec, (), words)


def _are_paths(items: Sequence[object]) -> TypeGuard[Sequence[str | Path]]:
    return len(items) > 0 and all(isinstance(item, str | Path) for item in items)


if not TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        if name in _LAZY:
            return getattr(import_module(f".{_LAZY[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
