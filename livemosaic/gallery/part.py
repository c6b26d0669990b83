"""A part of a gallery as a gallery file: for another process, which needs no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import GalleryError
from ..jit import U8
from .change import recipe_of
from .damage import stored_tiles
from .file_writer import GalleryWriter
from .gallery import Gallery

Places = NDArray[np.intp]

_AT_ONCE = 64  # tiles; copying one does not let other threads run


def write_part(
    gallery: Gallery, tiles: Sequence[NDArray[np.int32]], file: IO[bytes]
) -> list[NDArray[np.int32]]:
    """Write some tiles of a gallery, with the first one of each of their photos, as a gallery file.

    The photos have the same paths, and whatever else the gallery knows of them, but the tiles are
    of one cluster, without features: the part is for pictures whose tiles are chosen. Damaged
    tiles are blurred, and damaged uncut photos left out.

    Parameters
    ----------
    tiles : lists of numbers, int32, of any shape; below 0 for none

    Returns
    -------
    the same tiles by their numbers in the part
    """
    shown = np.unique(np.concatenate([numbers[numbers >= 0] for numbers in tiles]))
    photos = np.unique(gallery.source_photo[shown])
    numbers, first_tiles = np.unique(gallery.source_photo, return_index=True)
    firsts = first_tiles[np.searchsorted(numbers, photos)]
    kept = np.union1d(shown, firsts)
    uncut = np.flatnonzero(np.isin(gallery.uncut_photo, photos))
    heads = gallery.heads[np.isin(gallery.heads[:, 0], photos)].copy()
    heads[:, 0] = np.searchsorted(photos, heads[:, 0])
    with closing(GalleryWriter(file)) as writer:
        for start in range(0, len(kept), _AT_ONCE):
            some = kept[start : start + _AT_ONCE]
            writer.append(stored_tiles(gallery, some, on_damage=lambda error: None))
        whole = []
        for start in range(0, len(uncut), _AT_ONCE):
            for its, pixels in _whole_uncut(gallery, uncut[start : start + _AT_ONCE]):
                writer.append_uncut(pixels)
                whole.append(its)
        uncut = np.concatenate([uncut[:0], *whole])
        gallery.release()
        features = np.zeros((len(kept), *gallery.features.shape[1:]), np.float32)
        arrays = {
            "features": features,
            "points": gallery.points[kept],
            "texture": gallery.texture[kept],
            "centres": features[:1],
            "labels": np.zeros(len(kept), np.int32),
            "kept": np.ones(1, np.bool_),
            "members_start": np.array([0, len(kept)], np.int32),
            "members": np.arange(len(kept), dtype=np.int32),
            "source_photo": np.searchsorted(photos, gallery.source_photo[kept]),
            "source_crop": gallery.sources.crops[kept],
            "uncut_photo": np.searchsorted(photos, gallery.uncut_photo[uncut]),
            "uncut_crop": gallery.uncut_crop[uncut],
            "heads": heads,
        }
        writer.finish(
            arrays,
            photos=[gallery.sources[int(tile)].path for tile in firsts],
            root="",
            recipe=replace(recipe_of(gallery), crops=0),
            lettering=np.flatnonzero(~gallery.mirrors[firsts]).tolist() if gallery.mirror else [],
            index=False,
            stamps=[(size, time_ns) for size, time_ns in gallery.stamps[photos].tolist()],
        )
    return [np.where(its >= 0, np.searchsorted(kept, its), -1).astype(np.int32) for its in tiles]


def _whole_uncut(gallery: Gallery, places: Places) -> Iterator[tuple[Places, U8]]:
    """Places of uncut photos and their pixels, without those that are damaged."""
    try:
        yield places, gallery.uncut[places]
    except GalleryError:
        if len(places) > 1:
            for place in np.split(places, len(places)):
                yield from _whole_uncut(gallery, place)
