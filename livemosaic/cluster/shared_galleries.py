"""The galleries of a film, where each of its workers finds them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..control.options import RunOptions
from ..gallery import BUILTIN, is_of_photos, open_gallery
from ..media.atomic_write import atomic_write
from ..sinks.atomic_file import sink_errors
from ..unfinished import add_unfinished
from .refusals import refused
from .requirements import file_digest

if TYPE_CHECKING:
    from ..gallery import Gallery, GallerySpec


class SharedGalleries(NamedTuple):
    """The galleries of a film.

    Attributes
    ----------
    names : what workers open: built-in galleries and paths
    digests : of each
    """

    names: tuple[str, ...]
    digests: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        """Those that are no built-in ones."""
        return [Path(name) for name in self.names if name not in BUILTIN]


def share_galleries(
    spec: GallerySpec,
    options: RunOptions,
    folder: Path,
    *,
    on_photos: Callable[[int, int], None] | None = None,
) -> tuple[SharedGalleries, GallerySpec]:
    """The galleries, and what this process opens. Those of photos are made now; workers take their
    files, from the folder of the film's parts."""
    gallery = open_gallery(spec, recipe=options.recipe, progress=on_photos)
    names = tuple(_name_of(part, options) for part in gallery.parts)
    digests = tuple(part.digest for part in gallery.parts)
    if not is_of_photos(spec):
        return SharedGalleries(names, digests), gallery
    names = tuple(_shared(name, folder / f"gallery-{n}") for n, name in enumerate(names))
    return SharedGalleries(names, digests), spec


def _name_of(gallery: Gallery, options: RunOptions) -> str:
    """A built-in gallery's name, or the path of a gallery."""
    if gallery.path is None:
        problem = "a gallery in memory is only in this process; name a gallery file"
        raise refused(options, problem)
    name = gallery.name
    if name in BUILTIN and open_gallery(name).path == gallery.path:
        return name
    return str(gallery.path.absolute())


def _shared(name: str, path: Path) -> str:
    """The path of a gallery among the parts: other machines have it there, too, and there it stays
    when the photos change and another run builds the gallery anew."""
    if name in BUILTIN:
        return name
    own, shared = Path(os.path.realpath(name)), path.absolute()
    with sink_errors(str(shared)):
        if not _is_there(shared, own):
            add_unfinished(shared)  # until the film is made
            _link_or_copy(own, shared)
    return str(shared)


def _is_there(shared: Path, own: Path) -> bool:
    """Whether an earlier run has left the gallery. A copy may be damaged since."""
    if not shared.exists():
        return False
    return shared.samefile(own) or file_digest(shared) == file_digest(own)


def _link_or_copy(source: Path, target: Path) -> None:
    if sys.platform != "win32":  # there, no name of a mapped file can be removed
        with contextlib.suppress(OSError):  # on another disk, for example
            target.unlink(missing_ok=True)
            os.link(source, target)
            return
    with atomic_write(target) as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)
