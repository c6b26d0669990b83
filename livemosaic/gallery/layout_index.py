"""The index: a gallery's tiles in clusters of similar layouts, so that a search sees few tiles.

The coefficients of a tile are the low frequencies of the cosine transform of its 4x4 points in
CIELAB. The transform is orthonormal: distances between coefficients are distances between points,
except for the residual, the part in the frequencies that are left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..jit import F32, I16, I32, U8, U16, Bools, kernel, kernel_part
from .cluster_groups import Groups, group_clusters
from .file_format import Gallery
from .joined import JoinedGallery
from .kmeans import kmeans
from .layout_features import POINTS, points_to_lab
from .levels import COARSE, FINE, LANES, blocks, quantize, to_levels
from .snapshot import GallerySnapshot

# How many coefficients lightness and each of the two colour axes have, lowest frequencies first.
# Colour has fewer, because from afar the eye sees detail in lightness only. The coarse coefficients
# are those that choose clusters.
_LIGHTNESS, _COLOUR = 16, 6
_COARSE_LIGHTNESS, _COARSE_COLOUR = 10, 3
COEFFICIENTS = _LIGHTNESS + 2 * _COLOUR
assert (COARSE, FINE) == (_COARSE_LIGHTNESS + 2 * _COARSE_COLOUR, COEFFICIENTS - COARSE)

# A coarse estimate adds this share of the fine coefficients' squares, as their expected difference.
# Without it an estimate would never exceed the cost, but would rule out far fewer clusters.
_DETAIL_SHARE = 0.6

# The mean's weight is the share of its difference that the tint leaves, but at least this much: a
# photo that needs little tint keeps its own colours.
_MIN_MEAN_WEIGHT = 0.2

# Variants per cluster. With more, a search in a cluster takes longer; with fewer, there are more
# clusters to compare. The best number is near the square root of the number of variants.
_MIN_CLUSTER, _MAX_CLUSTER = 16, 256

# The clusters are made for this tint, but serve every tint.
_CLUSTERS_TINT = 0.5

# The clusters are made again when a live gallery has so many times the variants that they were made
# of, or so many times fewer: a search of clusters that have grown takes longer.
_MUCH = 1.5

# How many variants are described at once, at 0.4 KB each.
VARIANTS_TOGETHER = 16_384

# How the index of a gallery file is made. The version changes with anything that changes one.
INDEX_KIND = {
    "version": 1,
    "coefficients": [COARSE, FINE],
    "lanes": LANES,
    "cluster": [_MIN_CLUSTER, _MAX_CLUSTER],
    "tint": _CLUSTERS_TINT,
    "detail": _DETAIL_SHARE,
}


class LayoutIndex(NamedTuple):
    """Variants (tiles and their mirror images) by cluster, as arrays and numbers for kernels.

    The variants of a cluster have adjacent places and slots. The slots of each cluster are a
    multiple of `LANES`; those behind the last variant are empty.
    """

    codes: F32  # (n, 28), coefficients
    residual: F32  # (n,), the sum of squares that the coefficients leave out
    texture: F32  # (n,), see `livemosaic.gallery.layout_features.tile_points`
    variant: I32  # (n,), tile number * 2, + 1 if mirrored
    place: I32  # (2 * tiles,), the place of each variant, -1 for none
    photo: I32  # (n,)
    start: I32  # (k + 1,), the first place of each cluster, and the end
    clustered: int  # how many variants there were when the clusters were made
    slots: I32  # (k + 1,), the first slot of each cluster, and the end
    max_slots: int  # of the largest cluster
    coarse: I16  # coefficients, see `levels.blocks`
    fine: I16
    details: U16  # (slots,), the expected detail
    centres: I16  # coarse coefficients of the clusters' means, as if they were one cluster
    groups: Groups  # of clusters
    cluster_share: F32  # (k,), 1 / variants
    photo_start: I32  # (photos + 1,), of each photo in `photo_members`, and the end
    photo_members: I32  # (n,), the places of a photo's variants
    member_cluster: I32  # (n,), in the order of `photo_members`
    member_slot: I32  # likewise


@functools.cache
def _basis() -> tuple[F32, I32]:
    """Cosine transforms of 16 points, (28, 16), and the channel of each, (28,).

    The three means come first, then the other coarse ones.
    """
    place = np.arange(POINTS)
    wave = np.cos(np.pi / POINTS * (place + 0.5) * place[:, None]) * np.sqrt(2 / POINTS)
    wave[0] /= np.sqrt(2)
    order = sorted(np.ndindex(POINTS, POINTS), key=lambda uv: (sum(uv), max(uv), uv))
    # Divided by 4, so that squared distances are means over the points.
    full = np.stack([np.outer(wave[u], wave[v]).reshape(-1) for u, v in order]) / POINTS
    coarse, kept = (_COARSE_LIGHTNESS, *[_COARSE_COLOUR] * 2), (_LIGHTNESS, *[_COLOUR] * 2)
    chosen = [
        (place, channel)
        for begins, ends in (((0,) * 3, (1,) * 3), ((1,) * 3, coarse), (coarse, kept))
        for channel in range(3)
        for place in range(begins[channel], ends[channel])
    ]
    rows, channels = zip(*chosen, strict=True)
    return full[list(rows)].astype(np.float32), np.array(channels, np.int32)


@kernel
def _encode(lab: F32, basis: F32, channels: I32, codes: F32, residual: F32) -> None:
    size = np.uintp(lab.shape[1])
    for i in range(np.uintp(lab.shape[0])):
        left = np.float32(0)
        for p in range(size):
            for channel in range(np.uintp(3)):
                left += lab[i, p, channel] * lab[i, p, channel] / np.float32(size)
        for k in range(np.uintp(codes.shape[1])):
            of = np.uintp(channels[k])
            total = np.float32(0)
            for p in range(size):
                total += basis[k, p] * lab[i, p, of]
            codes[i, k] = total
            left -= total * total
        residual[i] = max(left, np.float32(0))


def encode(lab: F32) -> tuple[F32, F32]:
    """Coefficients, float32 (n, 28), of points, float32 (n, 16, 3) CIELAB; and the sums of squares
    that they leave out, float32 (n,)."""
    codes = np.empty((len(lab), COEFFICIENTS), np.float32)
    residual = np.empty(len(lab), np.float32)
    _encode(lab, *_basis(), codes, residual)
    return codes, residual


@kernel_part
def expected_detail(code: F32) -> np.float32:
    """The expected difference of the fine coefficients, of a tile or a cell."""
    detail = np.float32(0)
    for k in range(COARSE, COEFFICIENTS):
        detail += code[k] * code[k]
    return np.float32(np.float32(_DETAIL_SHARE) * detail)


@kernel
def _expect(codes: F32, slot: I32, details: U16) -> None:
    """The expected detail of each variant, in its slot."""
    for t in range(codes.shape[0]):
        details[slot[t]] = quantize(expected_detail(codes[t]))


def weights(tint: float) -> F32:
    """The weights of the coefficients' squares, float32 (28,): those of the mean by the tint."""
    made = np.ones(COEFFICIENTS, np.float32)
    made[:3] = max(1 - tint, _MIN_MEAN_WEIGHT) ** 2
    return made


def layout_index(gallery: Gallery) -> LayoutIndex:
    """The index of a gallery: its file's, 0.2 s for a million tiles, or made once, 2 s for 300,000.

    That of a live gallery is made of the one before, as long as its clusters are good, and that of
    a joined one of those of its parts.

    Raises
    ------
    GalleryError : that of the file is damaged
    """
    if gallery not in _indices:
        before = _index_before(gallery)
        made = _stored_index(gallery) if before is None else _updated(before, gallery)
        _indices[gallery] = new_index(gallery) if made is None else made
    return _indices[gallery]


_indices: WeakKeyDictionary[Gallery, LayoutIndex] = WeakKeyDictionary()


def _index_before(gallery: Gallery) -> LayoutIndex | None:
    """The latest index of an earlier state of a live gallery, or that of the parts of a joined
    one."""
    if isinstance(gallery, JoinedGallery):
        return _side_by_side(gallery)
    if not isinstance(gallery, GallerySnapshot):
        return None
    known = [it for it in list(_indices.items()) if gallery.follows(it[0])]
    if not known and gallery.base.stored_index is not None:
        return layout_index(gallery.base)
    return max(known, key=lambda it: len(it[1].place))[1] if known else None


def _updated(before: LayoutIndex, gallery: Gallery) -> LayoutIndex | None:
    """An index with the tiles that have joined since, each in the nearest cluster, and without
    those that have left; None if so many have that other clusters are better.

    A change is in few clusters. The others are copied in long runs, as most of the time is for the
    memory of 600,000 variants.
    """
    known = len(before.place) // 2
    gone = np.flatnonzero(gallery.gone[:known])
    left = before.place[np.concatenate([2 * gone, 2 * gone + 1])]
    left = np.sort(left[left >= 0])
    if not len(left) and known == len(gallery):
        return before
    tiles = np.arange(known, len(gallery), dtype=np.int32)
    new = _variants(gallery.mirrors, tiles[~gallery.gone[tiles]])
    count = len(before.variant) - len(left) + len(new)
    if not before.clustered / _MUCH <= count <= before.clustered * _MUCH:
        return None
    new_codes, new_residual = _encode_variants(gallery.points, new)
    labels = _nearest_clusters(before, new_codes)
    clusters, old_sizes = len(before.start) - 1, np.diff(before.start)
    left_labels = np.searchsorted(before.start, left, side="right") - 1
    added = np.bincount(labels, minlength=clusters)
    sizes = old_sizes - np.bincount(left_labels, minlength=clusters) + added
    changed = np.union1d(labels, left_labels).tolist()
    stay: Bools = np.ones(len(before.variant), np.bool_)
    stay[left] = False

    parts: list[tuple[bool, slice | NDArray[Any]]] = []  # of the old rows, or of the new ones
    end = 0
    for cluster in changed:
        first, last = before.start[cluster : cluster + 2].tolist()
        kept = first + np.flatnonzero(stay[first:last])
        parts += [(True, slice(end, first)), (True, kept)]
        parts.append((False, np.flatnonzero(labels == cluster)))
        end = last
    parts.append((True, slice(end, None)))

    filled = sizes > 0
    begins = np.cumsum([0, *sizes], dtype=np.int32)
    slot_begins = np.cumsum([0, *(-(-sizes // LANES) * LANES)], dtype=np.int32)
    made = _one_piece(count, int(slot_begins[-1]))
    tile = new // 2
    new_rows = {
        "codes": new_codes,
        "residual": new_residual,
        "variant": new,
        "photo": gallery.source_photo[tile].astype(np.int32),
        "texture": gallery.texture[tile].astype(np.float32),
    }
    for name, rows in new_rows.items():
        old = getattr(before, name)
        np.concatenate([(old if is_old else rows)[it] for is_old, it in parts], out=made[name])
    variant, codes, photo = made["variant"], made["codes"], made["photo"]

    # Per cluster: the means, and the blocks of slots.
    means = before.centres.reshape(COARSE, -1)[:, :clusters].copy()
    runs: dict[str, list[NDArray[Any]]] = {"coarse": [], "fine": [], "details": []}
    end = 0
    for cluster in [*changed, clusters]:
        run = slice(before.slots[end], before.slots[cluster])
        runs["coarse"].append(before.coarse[run.start * COARSE : run.stop * COARSE])
        runs["fine"].append(before.fine[run.start * FINE : run.stop * FINE])
        runs["details"].append(before.details[run])
        end = cluster + 1
        if cluster == clusters or not sizes[cluster]:
            continue
        own = codes[begins[cluster] : begins[cluster + 1]]
        one = np.array([0, len(own)], np.int32)
        means[:, cluster] = to_levels(_means_of(own, one)[0, :COARSE])
        runs["coarse"].append(blocks(np.ascontiguousarray(own[:, :COARSE]), one)[0])
        runs["fine"].append(blocks(np.ascontiguousarray(own[:, COARSE:]), one)[0])
        details = np.zeros(slot_begins[cluster + 1] - slot_begins[cluster], np.uint16)
        _expect(own, np.arange(len(own), dtype=np.int32), details)
        runs["details"].append(details)
    for name, pieces in runs.items():
        np.concatenate(pieces, out=made[name])
    centres = np.zeros((COARSE, -(-np.count_nonzero(filled) // LANES) * LANES), np.int16)
    centres[:, : np.count_nonzero(filled)] = means[:, filled]

    # Per photo. The old places keep their order, and new tiles are of new photos.
    place = _places_of(variant, gallery)
    moved = np.cumsum(stay, dtype=np.int32) - 1
    moved += np.repeat((np.cumsum(added) - added).astype(np.int32), old_sizes)
    moved[left] = -1
    members = moved[before.photo_members]
    came = place[new]
    came = came[np.lexsort((came, photo[came]))]
    members = np.concatenate([members[members >= 0], came])
    counts = np.bincount(photo, minlength=int(gallery.source_photo.max()) + 1)
    return _with_clusters(
        **made,
        place=place,
        start=np.append(begins[:-1][filled], begins[-1:]),
        clustered=before.clustered,
        slots=np.append(slot_begins[:-1][filled], slot_begins[-1:]),
        centres=centres.reshape(-1),
        photo_start=_ends(counts),
        photo_members=members,
    )


def _side_by_side(gallery: JoinedGallery) -> LayoutIndex:
    """An index with the clusters of all parts of a gallery, and of their tiles all."""
    # Those that are not kept would be there twice.
    parts = [_indices.get(part) or _stored_index(part) or new_index(part) for part in gallery.shown]
    made = _one_piece(sum(len(it.variant) for it in parts), sum(int(it.slots[-1]) for it in parts))
    for name, rows in made.items():
        np.concatenate([getattr(it, name) for it in parts], out=rows)
    ends = {"place": 0, "tile": 0, "photo": 0, "slot": 0}
    place, start, slots, photo_start, photo_members = (list[I32]() for _ in range(5))
    for part, it in zip(gallery.shown, parts, strict=True):
        first, end = ends["place"], ends["place"] + len(it.variant)
        made["variant"][first:end] += 2 * ends["tile"]
        made["photo"][first:end] += ends["photo"]
        place.append(np.where(it.place >= 0, it.place + first, -1))
        start.append(it.start[:-1] + first)
        slots.append(it.slots[:-1] + ends["slot"])
        photos = part.sources.photo_count  # the last ones may have no tile
        its_photos = np.pad(it.photo_start, (0, photos + 1 - len(it.photo_start)), mode="edge")
        photo_start.append(its_photos[:-1] + first)
        photo_members.append(it.photo_members + first)
        ends["place"] = end
        ends["tile"] += len(part)
        ends["photo"] += photos
        ends["slot"] += int(it.slots[-1])
    centres = np.hstack([it.centres.reshape(COARSE, -1)[:, : len(it.start) - 1] for it in parts])
    rounded = np.zeros((COARSE, -(-centres.shape[1] // LANES) * LANES), np.int16)
    rounded[:, : centres.shape[1]] = centres
    return _with_clusters(
        **made,
        place=np.concatenate(place).astype(np.int32),
        start=np.append(np.concatenate(start), ends["place"]).astype(np.int32),
        clustered=sum(it.clustered for it in parts),
        slots=np.append(np.concatenate(slots), ends["slot"]).astype(np.int32),
        centres=rounded.reshape(-1),
        photo_start=np.append(np.concatenate(photo_start), ends["place"]).astype(np.int32),
        photo_members=np.concatenate(photo_members),
    )


def _shapes(places: int, slots: int) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shape and type of the large arrays of an index."""
    return {
        "codes": ((places, COEFFICIENTS), np.float32),
        **dict.fromkeys(("residual", "texture"), ((places,), np.float32)),
        **dict.fromkeys(("variant", "photo"), ((places,), np.int32)),
        "coarse": ((slots * COARSE,), np.int16),
        "fine": ((slots * FINE,), np.int16),
        "details": ((slots,), np.uint16),
    }


def _one_piece(places: int, slots: int) -> dict[str, NDArray[Any]]:
    """The large arrays of an index, without content, as parts of one. The memory of a large array
    goes back to the system; of some megabytes that come and go, the allocator keeps more and
    more."""
    shapes = _shapes(places, slots)
    sizes = {name: math.prod(shape) * np.dtype(it).itemsize for name, (shape, it) in shapes.items()}
    whole, end = np.empty(sum(sizes.values()), np.uint8), 0
    parts = {}
    for name, (shape, dtype) in shapes.items():
        begin, end = end, end + sizes[name]
        parts[name] = whole[begin:end].view(dtype).reshape(shape)
    return parts


def _nearest_clusters(index: LayoutIndex, codes: F32) -> I32:
    """The clusters whose means are nearest to some variants."""
    clusters = len(index.start) - 1
    centres = index.centres.reshape(COARSE, -1)[:, :clusters]
    scale = np.sqrt(weights(_CLUSTERS_TINT)[:COARSE])[:, None]
    nearest = np.empty(len(codes), np.int32)
    for number, levels in enumerate(to_levels(codes[:, :COARSE])):
        away = (centres - levels[:, None]) * scale
        nearest[number] = np.square(away).sum(axis=0).argmin()
    return nearest


def new_index(gallery: Gallery) -> LayoutIndex:
    """An index that is made of the tiles alone."""
    tiles = np.flatnonzero(~gallery.gone).astype(np.int32)
    variant, start = _in_clusters(gallery.points, _variants(gallery.mirrors, tiles))
    shapes = _shapes(len(variant), int(_slots(start)[-1]))
    arrays = {name: np.empty(*shapes[name]) for name in _OF_RUNS}
    ends = dict.fromkeys(_OF_RUNS, 0)
    means = []
    for run in _runs(gallery.points, variant, start):
        means.append(run.pop("means"))
        for name, part in run.items():
            begin, ends[name] = ends[name], ends[name] + len(part)
            arrays[name][begin : ends[name]] = part
    photo = gallery.source_photo[variant // 2]
    return _completed(gallery, start, _members(photo), _centres(means), variant=variant, **arrays)


def index_arrays(
    points: U8, photo: I32, mirrors: Bools
) -> Iterator[tuple[str, Iterable[NDArray[Any]]]]:
    """The arrays of a gallery file, see `file_format.INDEX`: the name and the parts of each.

    `points`, uint8 (n, 4, 4, 3), `photo`, int32 (n,), and `mirrors`, bool (n,), are those of the
    tiles. The large arrays are made one after another, as all take more memory than the tiles' own
    features.
    """
    variants = _variants(mirrors, np.arange(len(points), dtype=np.int32))
    variant, start = _in_clusters(points, variants)
    yield "index_variant", [variant]
    yield "index_start", [start]
    for name in _OF_RUNS:
        yield f"index_{name}", (run[name] for run in _runs(points, variant, start))
    yield "index_centres", [_centres([run["means"] for run in _runs(points, variant, start)])]
    yield "index_photo_members", [_members(photo[variant // 2])]


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
    start, members, centres = (arrays.pop(it) for it in ("start", "photo_members", "centres"))
    return _completed(gallery, start, members, centres, **arrays)


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
    slots, clusters = int(_slots(start)[-1]), -(-(len(start) - 1) // LANES) * LANES
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
    if not (members.min() >= 0 and members.max() < n):
        return "photo_members is out of range"
    # By photo, and ascending: so each is there once.
    photo = gallery.source_photo[variant[members] // 2].astype(np.int64)
    if (np.diff(photo * n + members) <= 0).any():
        return "photo_members is out of order"
    return ""


def _in_clusters(points: U8, variant: I32) -> tuple[I32, I32]:
    """The variants in the order of their clusters, and where each begins, and the end."""
    scale = np.sqrt(weights(_CLUSTERS_TINT)[:COARSE])
    weighted = np.empty((len(variant), COARSE), np.float32)
    for begin in range(0, len(variant), VARIANTS_TOGETHER):
        part = slice(begin, begin + VARIANTS_TOGETHER)
        weighted[part] = _encode_variants(points, variant[part])[0][:, :COARSE] * scale
    size = int(np.clip(np.sqrt(len(variant)), _MIN_CLUSTER, _MAX_CLUSTER))
    start, order = kmeans(weighted, size)
    return variant[order], start


# What `_runs` makes of each variant or slot.
_OF_RUNS = ("codes", "residual", "coarse", "fine", "details")


def _runs(points: U8, variant: I32, start: I32) -> Iterator[dict[str, NDArray[Any]]]:
    """The arrays of variants in the order of their clusters, of some clusters at a time; and the
    means of these."""
    first, clusters = 0, len(start) - 1
    while first < clusters:
        last = int(np.searchsorted(start, start[first] + VARIANTS_TOGETHER, side="right")) - 1
        last = max(first + 1, last)
        begins = start[first : last + 1] - start[first]
        codes, residual = _encode_variants(points, variant[start[first] : start[last]])
        coarse, slots = blocks(np.ascontiguousarray(codes[:, :COARSE]), begins)
        details = np.zeros(slots[-1], np.uint16)
        _expect(codes, _slots_of(begins, slots), details)
        yield {
            "codes": codes,
            "residual": residual,
            "coarse": coarse,
            "fine": blocks(np.ascontiguousarray(codes[:, COARSE:]), begins)[0],
            "details": details,
            "means": _means_of(codes, begins)[:, :COARSE],
        }
        first = last


def _centres(means: Sequence[F32]) -> I16:
    """The clusters' means as a block."""
    all_means = np.concatenate(means)
    return blocks(all_means, np.array([0, len(all_means)], np.int32))[0]


def _variants(mirrors: Bools, tiles: I32) -> I32:
    """The variants of some tiles: the tiles as they are, then those that may be mirrored."""
    return np.concatenate([tiles * 2, tiles[mirrors[tiles]] * 2 + 1])


def _encode_variants(points: U8, variant: I32) -> tuple[F32, F32]:
    """The coefficients of variants, and their residuals."""
    codes = np.empty((len(variant), COEFFICIENTS), np.float32)
    residual = np.empty(len(variant), np.float32)
    for begin in range(0, len(variant), VARIANTS_TOGETHER):
        part = slice(begin, begin + VARIANTS_TOGETHER)
        some = np.array(points[variant[part] // 2])
        mirrored = variant[part] % 2 == 1
        some[mirrored] = some[mirrored, :, ::-1]
        codes[part], residual[part] = encode(points_to_lab(some))
    return codes, residual


def _members(photo: I32) -> I32:
    """The places of each photo's variants, from the photo at each place."""
    return np.argsort(photo, kind="stable").astype(np.int32)


def _completed(
    gallery: Gallery, start: I32, members: I32, centres: I16, **arrays: Any
) -> LayoutIndex:
    """The index of all variants with the arrays that follow from the others."""
    variant = arrays["variant"]
    photo = gallery.source_photo[variant // 2].astype(np.int32)
    counts = np.bincount(photo, minlength=int(gallery.source_photo.max()) + 1)
    return _with_clusters(
        **arrays,
        photo=photo,
        texture=gallery.texture[variant // 2].astype(np.float32),
        place=_places_of(variant, gallery),
        start=start,
        clustered=len(variant),
        slots=_slots(start),
        centres=centres,
        photo_start=_ends(counts),
        photo_members=members,
    )


def _with_clusters(
    *, start: I32, slots: I32, centres: I16, photo_members: I32, **arrays: Any
) -> LayoutIndex:
    """An index with what follows from its clusters and photos."""
    sizes = np.diff(start)
    scale = np.sqrt(weights(_CLUSTERS_TINT)[:COARSE])
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
        member_slot=_slots_of(start, slots)[photo_members],
        **arrays,
    )


def _places_of(variant: I32, gallery: Gallery) -> I32:
    """The place of each variant of the gallery."""
    place = np.full(2 * len(gallery), -1, np.int32)
    place[variant] = np.arange(len(variant), dtype=np.int32)
    return place


def _ends(counts: NDArray[Any]) -> I32:
    """Where each of some runs begins, from their lengths; and the end."""
    return np.cumsum(np.concatenate([[0], counts]), dtype=np.int32)


def _slots(start: I32) -> I32:
    """The first slot of each cluster, and the end."""
    return _ends(-(-np.diff(start) // LANES) * LANES)


def _slots_of(start: I32, slots: I32) -> I32:
    """The slot of each place."""
    first = np.repeat(slots[:-1] - start[:-1], np.diff(start))
    return np.asarray(first + np.arange(start[-1], dtype=np.int32), np.int32)


def _means_of(codes: F32, start: I32) -> F32:
    """The mean codes of each cluster."""
    sums = np.add.reduceat(codes, start[:-1], axis=0, dtype=np.float64)
    return np.asarray(sums / np.diff(start)[:, None], np.float32)
