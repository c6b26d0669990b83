"""The built-in galleries: small images in the package, built at their first use.

The package holds `data/photos.zip` and `data/emoji.zip`: the images, their credits, and the cluster
of each tile, so that the first use needs no scikit-learn (1.2 s) and the clusters are the same on
every machine. scripts/make_photos.py and scripts/make_emoji.py make them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import logging
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import GalleryError, words_of
from ..media.image_reader import ImageReader, flatten
from .cache import cached_gallery
from .file_format import FORMAT_VERSION, INDEX_VERSION
from .file_writer import new_gallery_file
from .gallery import Gallery
from .recipe import RECIPE_VERSION, Recipe
from .tiles import Tiles, photo_tiles, scale_tiles

LABELS = "labels.npy"  # int16, the cluster of each tile
CREDITS = "CREDITS.md"

# Lower than the reference's 35, which suits 200,000 photos. Here that would drop every cluster of
# fewer than 8 tiles, and with them a quarter of the colours. At 10 the smallest has 4 tiles, 8 with
# their mirror images.
DROP_PERCENTILE = 10.0

# An emoji covers half of its tile, so its background decides where the tile fits: the same picture
# serves dark, middle and light cells. Grey, so that the colour is the emoji's own.
EMOJI_BACKGROUNDS = (10, 128, 245)

# Without its surroundings an emoji is the tile's only colour: the middle, this share of the side.
EMOJI_ZOOM = 0.66


class BuiltinGallery(NamedTuple):
    """A gallery in the package, for people, and how it is made."""

    name: str
    content: str
    licence: str
    recipe: Recipe

    @property
    def file(self) -> Path:
        return Path(__file__).parent / "data" / f"{self.name}.zip"

    @property
    def credits(self) -> Path:
        return self.file.with_name(f"{self.name}-{CREDITS}")


BUILTIN = {
    "photos": BuiltinGallery(
        "photos",
        "919 photos",
        "CC BY 2.0, by one of the photographers named below",
        Recipe(crops=5, drop_percentile=DROP_PERCENTILE, focus="centre"),
    ),
    "emoji": BuiltinGallery(
        "emoji",
        "1,304 emoji",
        "Noto Color Emoji, SIL Open Font License 1.1",
        # Mirrored letters, clocks and signs would be wrong.
        Recipe(crops=3, drop_percentile=DROP_PERCENTILE, no_mirror=True, focus="centre"),
    ),
}


def open_builtin(name: str) -> Gallery:
    """Open a built-in gallery. Its first use on a machine builds it in the cache folder (1 s)."""
    chosen = BUILTIN[name]
    try:
        data = chosen.file.read_bytes()
    except OSError as error:
        raise _damaged(name, words_of(error)) from None
    version = f"{FORMAT_VERSION} {INDEX_VERSION} {RECIPE_VERSION} {chosen!r} ".encode()
    key = hashlib.sha256(version + data).hexdigest()[:16]

    def build(path: Path) -> None:
        logging.getLogger("livemosaic").info(
            "unpacking the built-in gallery %r (%s), once on this machine", name, chosen.content
        )
        with _whole_archive(name, data) as archive:
            _build(chosen, archive, path)

    return cached_gallery(name, key, build, name=name)


def _whole_archive(name: str, data: bytes) -> zipfile.ZipFile:
    """Open a built-in gallery's images; `GalleryError` if they are damaged."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        damaged = archive.testzip()
        archive.getinfo(LABELS)
    except Exception as error:  # whatever damaged bytes make of Python's own code
        raise _damaged(name, str(error)) from None
    if damaged is not None:
        raise _damaged(name, damaged)
    return archive


def _damaged(name: str, what: str) -> GalleryError:
    return GalleryError(
        f"the built-in gallery {name!r} is damaged ({what}); install livemosaic again"
    )


def builtin_image(path: str) -> bytes | None:
    """The bytes of an image of a built-in gallery by its path there; None if there is none."""
    chosen, name = _gallery_of(path), os.path.basename(path)
    if chosen is not None:
        with contextlib.suppress(KeyError):
            return _archive(chosen.file).read(name)
    return None


def builtin_credit(path: str) -> tuple[str, str] | None:
    """Licence and credits of an image of a built-in gallery; None if it is of none."""
    chosen = _gallery_of(path)
    return chosen and (chosen.licence, chosen.credits.read_text(encoding="utf-8"))


def _gallery_of(path: str) -> BuiltinGallery | None:
    folder = os.path.dirname(path)
    return next((chosen for chosen in BUILTIN.values() if folder == chosen.file.name), None)


@functools.lru_cache(maxsize=1)
def _archive(path: Path) -> zipfile.ZipFile:
    # Its table of contents takes longer to read than an image.
    return zipfile.ZipFile(io.BytesIO(path.read_bytes()))


def image_tiles(chosen: BuiltinGallery, data: bytes) -> Tiles:
    """Make the tiles of an image of a built-in gallery."""
    if chosen.name != "emoji":
        return photo_tiles(data, chosen.recipe)
    pixels = ImageReader(data).read()
    side = pixels.shape[0]
    inner = round(side * EMOJI_ZOOM) // 2 * 2
    edge = (side - inner) // 2
    regions = [flatten(pixels, background) for background in EMOJI_BACKGROUNDS]
    regions.append(regions[1][edge : edge + inner, edge : edge + inner])
    crops = [(0, 0, side, side)] * 3 + [(edge, edge, inner, inner)]
    return Tiles(scale_tiles(regions, chosen.recipe.tile), crops)


def _build(chosen: BuiltinGallery, archive: zipfile.ZipFile, path: Path) -> None:
    from .build import write_gallery  # Numba, 0.4 s: not needed once it is built

    labels = np.load(io.BytesIO(archive.read(LABELS)), allow_pickle=False).astype(np.int32)
    names = sorted(set(archive.namelist()) - {LABELS, CREDITS})
    with new_gallery_file(path) as writer:
        write_gallery(
            writer,
            names,
            lambda name: (image_tiles(chosen, archive.read(name)), False),
            chosen.recipe,
            root=chosen.file.name,
            labels=labels,
        )
