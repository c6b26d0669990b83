"""The two galleries that come with the package, kept as small images and built at their first use.

The package holds `data/photos.zip` and `data/emoji.zip`: the images, their credits, and the cluster
of each tile, so that the first use needs no scikit-learn (1.2 s) and everybody's clusters are the
same. scripts/make_photos.py and scripts/make_emoji.py make them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .cache import cached_gallery
from .decode import Crop, Recipe, compose, photo_tiles, scale_tiles
from .file_format import FORMAT_VERSION, Gallery, GalleryWriter

__all__ = [
    "BUILTIN",
    "EmbeddedSet",
    "builtin_credit",
    "builtin_image",
    "open_builtin",
    "tiles_of_set",
]

U8 = NDArray[np.uint8]

DATA = Path(__file__).parent / "data"
LABELS = "labels.npy"  # int16, the cluster of each tile
CREDITS = "CREDITS.md"

RECIPE_VERSION = 1  # goes up when `tiles_of_set` makes other tiles of the same images


class EmbeddedSet(NamedTuple):
    """What is peculiar to one embedded gallery.

    drop_percentile : lower than the reference's 35, which suits 200,000 photos. Here that would
        drop every cluster of fewer than 8 tiles, and with them a quarter of the colours. At 10 the
        smallest has 4 tiles, 8 with their mirror images
    """

    name: str
    what: str
    licence: str
    mirror: bool
    tile_px: int = 64
    clusters: int = 500
    drop_percentile: float = 10.0
    seed: int = 0

    @property
    def file(self) -> Path:
        return DATA / f"{self.name}.zip"


BUILTIN = {
    "photos": EmbeddedSet(
        "photos", "919 photos", "CC BY 2.0, by one of the photographers named below", mirror=True
    ),
    # Letters, clocks and signs among them: mirrored they would be wrong.
    "emoji": EmbeddedSet(
        "emoji", "1,304 emoji", "Noto Color Emoji, SIL Open Font License 1.1", mirror=False
    ),
}

# An emoji covers half of its tile, so what is behind it decides where the tile fits: the same
# picture serves dark, middle and light cells. Neutral, so the colour is the emoji's own.
EMOJI_GROUNDS = (10, 128, 245)

# Without its surroundings an emoji is the tile's only colour: the middle, this share of the side.
EMOJI_ZOOM = 0.66


def open_builtin(name: str) -> Gallery:
    """Open an embedded gallery; its first use on a machine builds it in the cache folder (1 s)."""
    chosen = BUILTIN[name]
    data = chosen.file.read_bytes()
    recipe = f"{FORMAT_VERSION} {RECIPE_VERSION} {chosen!r} ".encode()
    key = hashlib.sha256(recipe + data).hexdigest()[:16]

    def build(path: Path) -> None:
        logging.getLogger("livemosaic").info(
            "unpacking the embedded gallery %r (%s), once on this machine", name, chosen.what
        )
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _build(chosen, archive, path)

    return cached_gallery(name, key, build, name=name)


def builtin_image(path: str) -> bytes | None:
    """The bytes of an image of an embedded gallery by its path there; None if there is none."""
    chosen, name = _set_of(path), os.path.basename(path)
    if chosen is not None:
        with contextlib.suppress(KeyError):
            return _archive(chosen.file).read(name)
    return None


def builtin_credit(path: str) -> tuple[str, str] | None:
    """Licence and credits of an image of an embedded gallery; None if it is of none."""
    chosen = _set_of(path)
    if chosen is None:
        return None
    credits = chosen.file.with_name(f"{chosen.name}-{CREDITS}").read_text(encoding="utf-8")
    return chosen.licence, credits


def _set_of(path: str) -> EmbeddedSet | None:
    folder = os.path.dirname(path)
    return next((s for s in BUILTIN.values() if folder == s.file.name), None)


@functools.lru_cache(maxsize=1)
def _archive(path: Path) -> zipfile.ZipFile:
    # Its table of contents takes longer to read than an image.
    return zipfile.ZipFile(io.BytesIO(path.read_bytes()))


def tiles_of_set(
    chosen: EmbeddedSet, archive: zipfile.ZipFile
) -> Iterator[tuple[str, U8, list[Crop]]]:
    """For each image of an embedded set: its name, its tiles, and what each shows of it."""
    make = _emoji_tiles if chosen.name == "emoji" else _photo_tiles
    for name in sorted(archive.namelist()):
        if name not in (LABELS, CREDITS):
            yield name, *make(archive.read(name), chosen.tile_px)


def _photo_tiles(data: bytes, tile_px: int) -> tuple[U8, list[Crop]]:
    return photo_tiles(data, Recipe(tile_px, crops=5))


def _emoji_tiles(data: bytes, tile_px: int) -> tuple[U8, list[Crop]]:
    picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    side = picture.shape[0]
    inner = round(side * EMOJI_ZOOM) // 2 * 2
    edge = (side - inner) // 2
    shown = [(picture, ground, (0, 0, side, side)) for ground in EMOJI_GROUNDS]
    middle = picture[edge : edge + inner, edge : edge + inner]
    shown.append((middle, EMOJI_GROUNDS[1], (edge, edge, inner, inner)))
    regions = [compose(region, ground) for region, ground, _ in shown]
    return scale_tiles(regions, tile_px), [crop for _, _, crop in shown]


def _build(chosen: EmbeddedSet, archive: zipfile.ZipFile, path: Path) -> None:
    """Write the gallery of an embedded set."""
    from .build import write_gallery
    from .histogram import tile_histograms  # Numba, 0.4 s: not needed once it is built
    from .layout_features import tile_points

    labels = np.load(io.BytesIO(archive.read(LABELS)), allow_pickle=False).astype(np.int32)
    names: list[str] = []
    crops: list[Crop] = []
    photos: list[int] = []
    features = []
    layouts = []
    with GalleryWriter(path) as writer:
        for name, tiles, regions in tiles_of_set(chosen, archive):
            photos += [len(names)] * len(tiles)
            names.append(name)
            crops += regions
            writer.append(tiles)
            features.append(tile_histograms(tiles))
            layouts.append(tile_points(tiles))
        options = {
            "fit": "crop", "crops": len(crops) // len(names) - 1, "clusters": chosen.clusters,
            "drop_percentile": chosen.drop_percentile, "seed": chosen.seed,
        }  # fmt: skip
        write_gallery(
            writer, np.concatenate(features), layouts, labels, crops, np.array(photos, np.int32),
            names, root=chosen.file.name, mirror=chosen.mirror, options=options,
        )  # fmt: skip
