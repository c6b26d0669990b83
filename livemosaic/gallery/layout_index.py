"""The index: a gallery's tiles in clusters of similar layouts, so that a search sees few tiles.

That of a file, or made of the tiles (`layout_arrays.py`), or of those of other galleries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..jit import F32, I16, I32, U8, U16, Bools
from .cluster_groups import Groups, group_clusters
from .gallery import Gallery
from .joined import JoinedGallery
from .layout_arrays import (
    CLUSTERS_TINT,
    INDEX_KIND,
    LARGE,
    arrays_in_memory,
    cluster_slots,
    ends_of,
    place_slots,
)
from .layout_codes import COEFFICIENTS, weights
from .levels import COARSE, FINE, LANES
from .snapshot import GallerySnapshot

# The clusters are made again when a live gallery has so many times the variants that they were made
# of, or so many times fewer.
_MUCH = 1.5

# Variants that joined a live gallery are in clusters of their own, which are made anew with each
# snapshot up to so many, and stay then; the large arrays become one when there are so many of them.
_MOST_ANEW, _MOST_ADDED = 2**14, 2**17


class LayoutIndex(NamedTuple):
    """Variants (tiles and their mirror images) by cluster, as arrays and numbers for kernels.

    The variants of a cluster have adjacent places and slots. The slots of each cluster are a
    multiple of `LANES`; those behind the last variant are empty.
    """

    codes: F32  # (m, 28), coefficients of the first m places
    added_codes: F32  # (n - m, 28), of those behind them
    residual: F32  # (n,), the sum of squares that the coefficients leave out
    texture: F32  # (n,), see `livemosaic.gallery.layout_features.tile_points`
    variant: I32  # (n,), tile number * 2, + 1 if mirrored
    place: I32  # (2 * tiles,), the place of each variant, -1 for none
    photo: I32  # (n,)
    start: I32  # (k + 1,), the first place of each cluster, and the end
    clustered: int  # how many variants there were when the clusters were made
    settled: int  # the first so many places are not put into other clusters in a later snapshot
    slots: I32  # (k + 1,), the first slot of each cluster, and the end
    max_slots: int  # of the largest cluster
    coarse: I16  # coefficients of the first m places' clusters, see `levels.blocks`
    added_coarse: I16
    fine: I16
    added_fine: I16
    details: U16  # (slots,), the expected detail
    centres: I16  # coarse coefficients of the clusters' means, as if they were one cluster
    groups: Groups  # of clusters
    cluster_share: F32  # (k,), 1 / variants
    photo_start: I32  # (photos + 1,), of each photo in `photo_members`, and the end
    photo_members: I32  # (n,), the places of a photo's variants
    member_cluster: I32  # (n,), in the order of `photo_members`
    member_slot: I32  # likewise

    @property
    def all_codes(self) -> F32:
        """The coefficients of all places, float32 (n, 28); a copy if need be."""
        if not len(self.added_codes):
            return self.codes
        return np.concatenate([self.codes, self.added_codes])


def layout_index(
    gallery: Gallery, *, most_anew: int = _MOST_ANEW, most_added: int = _MOST_ADDED
) -> LayoutIndex:
    """The index of a gallery: its file's, 0.2 s for a million tiles, or made once, 2 s for 300,000.

    That of a live gallery is made of the one before, as long as its clusters are good, and that of
    a joined one of those of its parts. The numbers are others for tests.

    Raises
    ------
    GalleryError : that of the file is damaged
    """
    if gallery not in _indices:
        made = None
        if isinstance(gallery, JoinedGallery):
            made = _joined(gallery)
        elif isinstance(gallery, GallerySnapshot):
            before = _settled(_index_before(gallery), most_added)
            made = _updated(before, gallery, most_anew)
        else:
            made = _stored_index(gallery)
        _indices[gallery] = new_index(gallery) if made is None else made
    return _indices[gallery]


_indices: WeakKeyDictionary[Gallery, LayoutIndex] = WeakKeyDictionary()


def _index_before(gallery: GallerySnapshot) -> LayoutIndex:
    """The latest index of an earlier state of a live gallery."""
    known = [it for it in list(_indices.items()) if gallery.follows(it[0])]
    if not known:
        return layout_index(gallery.base)
    return max(known, key=lambda it: _version(it[0]))[1]


def _version(gallery: Gallery) -> int:
    """Of a state of a live gallery; the one that it began as is before all of them."""
    return gallery.version if isinstance(gallery, GallerySnapshot) else -1


def _updated(before: LayoutIndex, gallery: GallerySnapshot, most_anew: int) -> LayoutIndex | None:
    """An index with the tiles that have joined since, in clusters of their own, and without those
    that have left; None if so many have that other clusters are better.

    The tiles that joined since the clusters of all were made are put into clusters anew each time;
    the large arrays of the others stay where they are, in the file if it has them.
    """
    known = int(before.variant.max()) // 2 + 1
    left = np.count_nonzero(gallery.gone[before.variant // 2]) if gallery.gone.any() else 0
    added = _rows_from(gallery, known)
    count = len(before.variant) - left + int((~added.gone).sum() + added.mirrors[~added.gone].sum())
    if not before.clustered / _MUCH <= count <= before.clustered * _MUCH:
        return None
    pieces = [_Piece(before, 0, 0)]
    if not added.gone.all():
        # Those that have left may be crops of photos among those before.
        first = known + int(np.argmin(added.gone))
        new = _new_index(_rows_from(gallery, first))
        pieces.append(_Piece(new, first, int(gallery.source_photo[first])))
    made = _put_together(gallery, pieces)._replace(clustered=before.clustered)
    few = len(made.variant) - len(before.variant) <= most_anew
    return made._replace(settled=len(before.variant)) if few else made


def _settled(index: LayoutIndex, most_added: int) -> LayoutIndex:
    """The part of an index whose clusters stay; in one piece, if much of it was added."""
    end = index.settled
    clusters = int(np.searchsorted(index.start, end))
    photos = int(index.photo[:end].max()) + 1
    members = int(index.photo_start[photos])
    slot = int(index.slots[clusters])
    arrays: dict[str, Any] = {
        name: getattr(index, name)[:end] for name in ("residual", "texture", "variant", "photo")
    }
    first = len(index.codes), len(index.coarse) // COARSE
    added_codes = index.added_codes[: end - first[0]]
    added_coarse = index.added_coarse[: (slot - first[1]) * COARSE]
    added_fine = index.added_fine[: (slot - first[1]) * FINE]
    large: dict[str, Any] = {"codes": index.codes, "coarse": index.coarse, "fine": index.fine}
    if len(added_codes) > most_added:
        large["codes"] = np.concatenate([index.codes, added_codes])
        large["coarse"] = np.concatenate([index.coarse, added_coarse])
        large["fine"] = np.concatenate([index.fine, added_fine])
        added_codes, added_coarse, added_fine = added_codes[:0], added_coarse[:0], added_fine[:0]
    tiles = int(arrays["variant"].max()) // 2 + 1
    return index._replace(
        **arrays,
        **large,
        added_codes=added_codes,
        added_coarse=added_coarse,
        added_fine=added_fine,
        place=index.place[: 2 * tiles],
        start=index.start[: clusters + 1],
        slots=index.slots[: clusters + 1],
        details=index.details[:slot],
        centres=_centres_of(index)[:, :clusters],
        photo_start=index.photo_start[: photos + 1],
        photo_members=index.photo_members[:members],
    )


class _Piece(NamedTuple):
    """An index of a part of a gallery's tiles."""

    part: LayoutIndex
    tile: int  # its first tile in the gallery
    photo: int  # its first photo


def _joined(gallery: JoinedGallery) -> LayoutIndex:
    """An index with the clusters of all parts of a gallery; the large arrays of the largest part
    stay where they are."""
    pieces, tile, photo = [], 0, 0
    for part in gallery.shown:
        # Those that are not kept would be there twice.
        index = _indices.get(part) or _stored_index(part) or new_index(part)
        pieces.append(_Piece(index, tile, photo))
        tile, photo = tile + len(part), photo + part.sources.photo_count
    pieces.sort(key=lambda it: -len(it.part.variant))
    return _put_together(gallery, pieces)


def _put_together(gallery: Gallery, pieces: Sequence[_Piece]) -> LayoutIndex:
    """An index of the clusters of several, side by side, without the tiles that are gone: their
    places stay, but nothing leads there."""
    indices = [it.part for it in pieces]
    first, others = indices[0], indices[1:]
    begins = ends_of(np.array([len(it.variant) for it in indices]))
    place = np.full(2 * len(gallery), -1, np.int32)
    counts = np.zeros(int(gallery.source_photo.max()) + 1, np.int64)
    members: dict[int, I32] = {}
    for (index, tile, photo), begin in zip(pieces, begins.tolist(), strict=False):
        end = 2 * tile + len(index.place)
        place[2 * tile : end] = np.where(index.place >= 0, index.place + np.int32(begin), -1)
        counts[photo : photo + len(index.photo_start) - 1] = np.diff(index.photo_start)
        members[photo] = index.photo_members + np.int32(begin)
    variant = np.concatenate([it.part.variant + np.int32(2 * it.tile) for it in pieces])
    photo_of = np.concatenate([it.part.photo + np.int32(it.photo) for it in pieces])
    all_members = np.concatenate([members[photo] for photo in sorted(members)])
    if gallery.gone.any():
        place.reshape(-1, 2)[gallery.gone] = -1
        there = ~gallery.gone[variant[all_members] // 2]
        counts -= np.bincount(photo_of[all_members[~there]], minlength=len(counts))
        all_members = all_members[there]
    start = _side_by_side([it.start for it in indices])
    return _with_clusters(
        variant=variant,
        photo=photo_of,
        place=place,
        start=start,
        slots=_side_by_side([it.slots for it in indices]),
        clustered=len(variant),
        settled=len(variant),
        centres=_as_block(np.hstack([_centres_of(it) for it in indices])),
        photo_start=ends_of(counts),
        photo_members=all_members,
        residual=np.concatenate([it.residual for it in indices]),
        texture=np.concatenate([it.texture for it in indices]),
        details=np.concatenate([it.details for it in indices]),
        codes=first.codes,
        coarse=first.coarse,
        fine=first.fine,
        added_codes=_added("codes", first, others),
        added_coarse=_added("coarse", first, others),
        added_fine=_added("fine", first, others),
    )


def _added(name: str, first: LayoutIndex, others: Sequence[LayoutIndex]) -> NDArray[Any]:
    """The rows of a large array that follow those of the first index."""
    added = f"added_{name}"
    rows = [getattr(it, part) for it in others for part in (name, added)]
    return np.concatenate([getattr(first, added), *rows])


def _side_by_side(ends: Sequence[I32]) -> I32:
    """Where clusters begin, and the end, of several indices after each other."""
    return ends_of(np.concatenate([np.diff(it) for it in ends]))


def _centres_of(index: LayoutIndex) -> I16:
    """The coefficients of the means of all clusters, (16, k), in levels."""
    return index.centres.reshape(COARSE, -1)[:, : len(index.start) - 1]


def _as_block(centres: I16) -> I16:
    """The same as the kernels read them."""
    made = np.zeros((COARSE, -(-centres.shape[1] // LANES) * LANES), np.int16)
    made[:, : centres.shape[1]] = centres
    return made.reshape(-1)


class _Rows(NamedTuple):
    """What an index is made of; see `Gallery`."""

    points: U8
    texture: U8
    source_photo: I32
    mirrors: Bools
    gone: Bools


def warm_up_index(gallery: Gallery) -> None:
    """Load what the index of photos that join needs, so that the first one takes as long as
    others."""
    _new_index(_rows_from(gallery, int(np.flatnonzero(~gallery.gone)[-1])))


def _rows_from(gallery: Gallery, tile: int) -> _Rows:
    """The rows of a gallery from a tile on, with their photos counted from the first one's."""
    photo = gallery.source_photo[tile:]
    photo = photo - photo[:1] if tile else photo
    points = gallery.points[tile:] if tile else gallery.points
    rows = slice(tile, None)
    return _Rows(points, gallery.texture[rows], photo, gallery.mirrors[rows], gallery.gone[rows])


def new_index(gallery: Gallery, *, large: int = LARGE) -> LayoutIndex:
    """An index that is made of the tiles alone; `large` is another number of variants for tests."""
    return _new_index(_rows_from(gallery, 0), large)


def _new_index(gallery: _Rows, large: int = LARGE) -> LayoutIndex:
    tiles = np.flatnonzero(~gallery.gone).astype(np.int32)
    points, photo = gallery.points, gallery.source_photo
    return _completed(gallery, **arrays_in_memory(points, photo, gallery.mirrors, tiles, large))


def has_index(gallery: Gallery) -> bool:
    """Whether the gallery's file has an index that is made as those of this version."""
    return gallery.stored_index is not None and gallery.stored_index.kind == INDEX_KIND


def _stored_index(gallery: Gallery) -> LayoutIndex | None:
    """The index that the gallery's file has; None if there is none of this kind."""
    stored = gallery.stored_index
    if stored is None or not has_index(gallery):
        return None
    arrays = {name.removeprefix("index_"): array for name, array in stored.arrays().items()}
    problem = _problem(arrays, gallery)
    if problem:
        raise stored.refuse(f"its search index is not valid ({problem})")
    return _completed(gallery, **arrays)


def _problem(arrays: Mapping[str, NDArray[Any]], gallery: Gallery) -> str:
    """Why a forged index would make kernels read outside of arrays; empty if it does not."""
    variant, start, members = arrays["variant"], arrays["start"], arrays["photo_members"]
    n, end = len(variant), 2 * len(gallery)
    if start.ndim != 1 or len(start) < 2 or start[0] != 0 or start[-1] != n:
        return "start is out of range"
    if (np.diff(start) <= 0).any():
        return "start is out of order"
    if variant.ndim != 1 or not (variant.min() >= 0 and variant.max() < end):
        return "variant is out of range"
    seen = np.zeros(end, np.bool_)
    seen[variant] = True
    if np.count_nonzero(seen) != n:
        return "a variant is there twice"
    slots, clusters = int(cluster_slots(start)[-1]), -(-(len(start) - 1) // LANES) * LANES
    shapes = {
        "codes": (n, COEFFICIENTS),
        "residual": (n,),
        "photo_members": (n,),
        "coarse": (slots * COARSE,),
        "fine": (slots * FINE,),
        "details": (slots,),
        "centres": (clusters * COARSE,),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            return f"{name} is {arrays[name].shape}, not {shape}"
    empty = np.ones(slots, np.bool_)
    empty[place_slots(start, cluster_slots(start))] = False
    if arrays["details"][empty].any():  # an empty slot would seem cheap
        return "details has values in empty slots"
    if not np.isfinite(arrays["residual"]).all():  # infinite: the tile has left
        return "residual is out of range"
    if not (members.min() >= 0 and members.max() < n):
        return "photo_members is out of range"
    # By photo, and ascending: so each is there once.
    photo = gallery.source_photo[variant[members] // 2].astype(np.int64)
    if (np.diff(photo * n + members) <= 0).any():
        return "photo_members is out of order"
    return ""


def _completed(gallery: Gallery | _Rows, **arrays: Any) -> LayoutIndex:
    """The index of all variants with the arrays that follow from the others."""
    variant, codes = arrays["variant"], arrays["codes"]
    photo = gallery.source_photo[variant // 2].astype(np.int32)
    counts = np.bincount(photo, minlength=int(gallery.source_photo.max()) + 1)
    return _with_clusters(
        **arrays,
        photo=photo,
        texture=gallery.texture[variant // 2].astype(np.float32),
        place=_places_of(variant, gallery),
        clustered=len(variant),
        settled=len(variant),
        slots=cluster_slots(arrays["start"]),
        photo_start=ends_of(counts),
        added_codes=codes[:0],
        added_coarse=arrays["coarse"][:0],
        added_fine=arrays["fine"][:0],
    )


def _with_clusters(
    *, start: I32, slots: I32, centres: I16, photo_members: I32, **arrays: Any
) -> LayoutIndex:
    """An index with what follows from its clusters and photos."""
    sizes = np.diff(start)
    scale = np.sqrt(weights(CLUSTERS_TINT)[:COARSE])
    cluster = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return LayoutIndex(
        start=start,
        slots=slots,
        centres=centres,
        groups=group_clusters(centres, len(sizes), scale),
        photo_members=photo_members,
        max_slots=int(np.diff(slots).max()),
        cluster_share=(1 / sizes).astype(np.float32),
        member_cluster=cluster[photo_members],
        member_slot=place_slots(start, slots)[photo_members],
        **arrays,
    )


def _places_of(variant: I32, gallery: Gallery | _Rows) -> I32:
    """The place of each variant of the gallery."""
    place = np.full(2 * len(gallery.texture), -1, np.int32)
    place[variant] = np.arange(len(variant), dtype=np.int32)
    return place
