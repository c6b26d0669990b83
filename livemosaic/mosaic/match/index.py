"""The tiles of a gallery, ordered so that those of a like layout are found without looking at all.

Tiles are described by coefficients: the cosine transform of their 4x4 points in CIELAB, of which
the low frequencies are kept. The transform is orthonormal, so that distances between coefficients
are distances between points (but for what was left out, see `rest`).
"""

from __future__ import annotations

import functools
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ...gallery.file_format import Gallery
from ...gallery.layout_features import POINTS, points_to_lab
from ...jit import kernel, kernel_part
from .coarse import FINE, ROUGH, blocks, roughly
from .kmeans import partition

__all__ = [
    "COEFFICIENTS",
    "LayoutIndex",
    "encode",
    "expected_detail",
    "layout_index",
    "weights",
]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# Coefficients that are kept of lightness, and of each of the two colour axes, lowest frequencies
# first: from afar the eye sees detail in lightness only. With these the best of all tiles is within
# 5 % of the best by all 48 in 98 of 100 cells; with 10 and 3, which are enough to tell clusters
# from each other, in 82.
_LIGHTNESS, _COLOUR = 16, 6
_ROUGH_LIGHTNESS, _ROUGH_COLOUR = 10, 3
COEFFICIENTS = _LIGHTNESS + 2 * _COLOUR
assert (ROUGH, FINE) == (_ROUGH_LIGHTNESS + 2 * _ROUGH_COLOUR, COEFFICIENTS - ROUGH)

# How much of what the rough coefficients leave out is expected to differ. With none of it a rough
# estimate is never above the cost, but rules out half as many clusters.
_DETAIL_SHARE = 0.6

# A tile's mean counts for as much as tint leaves of its difference; and a little even where tint
# leaves nothing, because a photo that is tinted less keeps its own colours.
_LEAST_MEAN_WEIGHT = 0.2

# Variants per cluster: few enough that looking at all of them is quick, and enough that there are
# not too many clusters to look at. Best near the square root of the number of variants.
_MIN_CLUSTER, _MAX_CLUSTER = 16, 256

# The clusters are made for this tint, and serve all: none loses more than a few cells in a hundred.
_CLUSTERS_TINT = 0.5

# Tiles that are described at once, which takes 0.4 KB each.
_BATCH = 16_384


class LayoutIndex(NamedTuple):
    """Variants (tiles, and their mirror images) by cluster. For kernels: arrays and numbers only.

    codes : float32 (n, 28), coefficients
    rest : float32 (n,), the square of what the coefficients leave out
    texture : float32 (n,), see `livemosaic.gallery.layout_features.tile_points`
    variant : int32 (n,), tile number * 2, + 1 if mirrored
    photo : int32 (n,), which photo it is of
    start : int32 (k + 1,), cluster c is start[c] to start[c + 1]
    rough, rooms : rough coefficients, see `rough.blocks`
    largest_room : how many have room in the largest cluster
    fine : the other coefficients, in the same rooms
    details : uint16 (rooms,), what of them is expected to differ, see `rough.roughly`
    centres : rough coefficients of the clusters' means, as if they were one cluster
    cluster_share : float32 (k,), 1 by the number of its variants
    photo_start, photo_members : int32 (photos + 1,), (n,): where the variants of a photo are
    member_cluster, member_room : int32 (n,), in the order of photo_members: which cluster each is
        in, and where in `rough`
    """

    codes: F32
    rest: F32
    texture: F32
    variant: I32
    photo: I32
    start: I32
    rough: NDArray[np.int16]
    rooms: I32
    largest_room: int
    fine: NDArray[np.int16]
    details: NDArray[np.uint16]
    centres: NDArray[np.int16]
    cluster_share: F32
    photo_start: I32
    photo_members: I32
    member_cluster: I32
    member_room: I32


@functools.cache
def _basis() -> tuple[F32, I32]:
    """Cosine transforms of 16 points, (28, 16), and which channel each is for.

    The three means come first, then the other rough ones.
    """
    place = np.arange(POINTS)
    wave = np.cos(np.pi / POINTS * (place + 0.5) * place[:, None]) * np.sqrt(2 / POINTS)
    wave[0] /= np.sqrt(2)
    order = sorted(np.ndindex(POINTS, POINTS), key=lambda uv: (sum(uv), max(uv), uv))
    # Divided by 4, so that squared distances are means over the points, not sums.
    full = np.stack([np.outer(wave[u], wave[v]).reshape(-1) for u, v in order]) / POINTS
    rough, all_kept = (_ROUGH_LIGHTNESS, *[_ROUGH_COLOUR] * 2), (_LIGHTNESS, *[_COLOUR] * 2)
    chosen = [
        (place, channel)
        for begins, ends in (((0,) * 3, (1,) * 3), ((1,) * 3, rough), (rough, all_kept))
        for channel in range(3)
        for place in range(begins[channel], ends[channel])
    ]
    rows, channels = zip(*chosen, strict=True)
    return full[list(rows)].astype(np.float32), np.array(channels, np.int32)


@kernel
def _encode(lab: F32, basis: F32, channels: I32, codes: F32, rest: F32) -> None:
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
        rest[i] = max(left, np.float32(0))


def encode(lab: F32) -> tuple[F32, F32]:
    """Coefficients of points.

    Parameters
    ----------
    lab : float32 (n, 16, 3) CIELAB

    Returns
    -------
    codes : float32 (n, 28)
    rest : float32 (n,), the square of what they leave out
    """
    codes = np.empty((len(lab), COEFFICIENTS), np.float32)
    rest = np.empty(len(lab), np.float32)
    _encode(lab, *_basis(), codes, rest)
    return codes, rest


@kernel_part
def expected_detail(code: F32) -> np.float32:
    """What of the coefficients that are not rough, of a tile or a cell, is expected to differ."""
    detail = np.float32(0)
    for k in range(ROUGH, COEFFICIENTS):
        detail += code[k] * code[k]
    return np.float32(np.float32(_DETAIL_SHARE) * detail)


@kernel
def _expect(codes: F32, room: I32, details: NDArray[np.uint16]) -> None:
    """The expected details of variants, each in its room."""
    for t in range(codes.shape[0]):
        details[room[t]] = roughly(expected_detail(codes[t]))


def weights(tint: float) -> F32:
    """How much the squares of coefficients count, float32 (28,): those of the mean by the tint."""
    chosen = np.ones(COEFFICIENTS, np.float32)
    chosen[:3] = max(1 - tint, _LEAST_MEAN_WEIGHT) ** 2
    return chosen


def layout_index(gallery: Gallery) -> LayoutIndex:
    """Order the tiles of a gallery, once for all who use it: 2 s for 300,000."""
    if gallery not in _indices:
        _indices[gallery] = _index(gallery)
    return _indices[gallery]


_indices: WeakKeyDictionary[Gallery, LayoutIndex] = WeakKeyDictionary()


def _index(gallery: Gallery) -> LayoutIndex:
    tiles = len(gallery.points)
    variant = np.arange(tiles, dtype=np.int32) * 2
    if gallery.mirror:
        variant = np.concatenate([variant, variant + 1])
    codes = np.empty((len(variant), COEFFICIENTS), np.float32)
    rest = np.empty(len(variant), np.float32)
    for begin in range(0, tiles, _BATCH):
        part = slice(begin, min(begin + _BATCH, tiles))
        points = np.asarray(gallery.points[part])
        codes[part], rest[part] = encode(points_to_lab(points))
        if gallery.mirror:
            part = slice(tiles + part.start, tiles + part.stop)
            mirrored = np.ascontiguousarray(points[:, :, ::-1])
            codes[part], rest[part] = encode(points_to_lab(mirrored))

    scaled = codes[:, :ROUGH] * np.sqrt(weights(_CLUSTERS_TINT)[:ROUGH])
    start, order = partition(scaled, _cluster_size(len(codes)))
    codes, variant = codes[order], variant[order]
    photo = gallery.source_photo[variant // 2].astype(np.int32)
    sizes = np.diff(start)
    centres = np.add.reduceat(codes, start[:-1], axis=0, dtype=np.float64) / sizes[:, None]
    members = np.argsort(photo, kind="stable").astype(np.int32)
    photo_start = np.searchsorted(photo[members], np.arange(photo.max() + 2))
    rough, rooms = blocks(np.ascontiguousarray(codes[:, :ROUGH]), start)
    room = np.repeat(rooms[:-1] - start[:-1], sizes) + np.arange(len(variant), dtype=np.int32)
    details = np.zeros(rooms[-1], np.uint16)
    _expect(codes, room, details)
    one_cluster = np.array([0, len(sizes)], np.int32)
    return LayoutIndex(
        codes=codes,
        rest=rest[order],
        texture=gallery.texture[variant // 2].astype(np.float32),
        variant=variant,
        photo=photo,
        start=start,
        rough=rough,
        rooms=rooms,
        largest_room=int(np.diff(rooms).max()),
        fine=blocks(np.ascontiguousarray(codes[:, ROUGH:]), start)[0],
        details=details,
        centres=blocks(centres[:, :ROUGH].astype(np.float32), one_cluster)[0],
        cluster_share=(1 / sizes).astype(np.float32),
        photo_start=photo_start.astype(np.int32),
        photo_members=members,
        member_cluster=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[members],
        member_room=room[members],
    )


def _cluster_size(variants: int) -> int:
    """How many variants a cluster should have."""
    return int(np.clip(np.sqrt(variants), _MIN_CLUSTER, _MAX_CLUSTER))
