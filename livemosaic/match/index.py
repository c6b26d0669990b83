"""The tiles of a gallery, ordered so that those of a like layout are found without looking at all.

Tiles are described by coefficients: the cosine transform of their 4x4 points in CIELAB, of which
the low frequencies are kept. The transform is orthonormal, so that distances between coefficients
are distances between points (but for what was left out, see `bias`).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..gallery.store import Gallery
from ..kernels import kernel
from ..layout import POINTS, points_to_lab

__all__ = ["COEFFICIENTS", "LayoutIndex", "encode", "layout_index"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# Coefficients that are kept of lightness, and of each of the two colour axes, lowest frequencies
# first: from afar the eye sees detail in lightness only. They hold 97 % of what there is.
_LIGHTNESS, _COLOUR = 10, 3
COEFFICIENTS = _LIGHTNESS + 2 * _COLOUR

# A tile's mean counts for as much as tint leaves of its difference; and a little even where tint
# leaves nothing, because a photo that is tinted less keeps its own colours.
_LEAST_MEAN_WEIGHT = 0.2

# Tiles per cluster at most: few enough that looking at all of them is quick, and enough that there
# are not too many clusters to look at. Best near the square root of the number of tiles.
_MIN_CLUSTER, _MAX_CLUSTER = 16, 256


class LayoutIndex(NamedTuple):
    """Variants (tiles, and their mirror images) by cluster. For kernels: arrays only.

    codes_t : float32 (16, n), coefficients; variants of a cluster side by side
    bias : float32 (n,), what is left out of the coefficients, squared
    texture : float32 (n,), see `livemosaic.layout.tile_points`
    variant : int32 (n,), tile number * 2, + 1 if mirrored
    photo : int32 (n,), which photo it is of
    start : int32 (k + 1,), cluster c is start[c] to start[c + 1]
    cluster : int32 (n,), which cluster it is in
    centres_t : float32 (16, k)
    photo_start, photo_members : int32 (photos + 1,), (n,): where the variants of a photo are
    """

    codes_t: F32
    bias: F32
    texture: F32
    variant: I32
    photo: I32
    start: I32
    cluster: I32
    centres_t: F32
    photo_start: I32
    photo_members: I32


@functools.cache
def _basis() -> tuple[F32, F32]:
    """Cosine transforms of 16 points: for lightness (10, 16) and for a colour axis (3, 16)."""
    place = np.arange(POINTS)
    wave = np.cos(np.pi / POINTS * (place + 0.5) * place[:, None]) * np.sqrt(2 / POINTS)
    wave[0] /= np.sqrt(2)
    order = sorted(np.ndindex(POINTS, POINTS), key=lambda uv: (sum(uv), max(uv), uv))
    # Divided by 4, so that squared distances are means over the points, not sums.
    full = np.stack([np.outer(wave[u], wave[v]).reshape(-1) for u, v in order]) / POINTS
    return full[:_LIGHTNESS].astype(np.float32), full[:_COLOUR].astype(np.float32)


@kernel
def _encode(lab: F32, lightness: F32, colour: F32, mean_weight: np.float32, codes: F32) -> None:
    for i in range(np.uintp(lab.shape[0])):
        at = np.uintp(0)
        for channel in range(np.uintp(3)):
            basis = lightness if channel == 0 else colour
            for k in range(np.uintp(basis.shape[0])):
                total = np.float32(0)
                for p in range(np.uintp(lab.shape[1])):
                    total += basis[k, p] * lab[i, p, channel]
                codes[i, at] = total * mean_weight if k == 0 else total
                at += np.uintp(1)


def encode(lab: F32, *, tint: float) -> F32:
    """Coefficients of points, float32 (n, 16).

    Parameters
    ----------
    lab : float32 (n, 16, 3) CIELAB
    tint : 0..1, how much of the mean will be that of the cell anyway
    """
    codes = np.empty((len(lab), COEFFICIENTS), np.float32)
    _encode(lab, *_basis(), np.float32(max(1 - tint, _LEAST_MEAN_WEIGHT)), codes)
    return codes


def layout_index(gallery: Gallery, *, tint: float) -> LayoutIndex:
    """Order the tiles of a gallery for a tint."""
    points, texture = gallery.points, gallery.texture
    variant = np.arange(len(points), dtype=np.int32) * 2
    if gallery.mirror:
        points = np.concatenate([points, points[:, :, ::-1]])
        variant = np.concatenate([variant, variant + 1])
    lab = points_to_lab(np.ascontiguousarray(points))
    codes = encode(lab, tint=tint)
    # What the coefficients do not hold; it is the same for every tint but for the mean's part.
    whole = np.square(lab).sum(axis=2).mean(axis=1)
    bias = np.maximum(whole - np.square(encode(lab, tint=0)).sum(axis=1), 0)

    start, order = _split(codes)
    codes, variant = codes[order], variant[order]
    photo = gallery.source_photo[variant // 2].astype(np.int32)
    sizes = np.diff(start)
    centres = np.add.reduceat(codes, start[:-1], axis=0, dtype=np.float64) / sizes[:, None]
    members = np.argsort(photo, kind="stable").astype(np.int32)
    photo_start = np.searchsorted(photo[members], np.arange(photo.max() + 2))
    return LayoutIndex(
        np.ascontiguousarray(codes.T),
        bias[order].astype(np.float32),
        texture[variant // 2].astype(np.float32),
        variant,
        photo,
        start.astype(np.int32),
        np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        np.ascontiguousarray(centres.T.astype(np.float32)),
        photo_start.astype(np.int32),
        members,
    )


def _split(codes: F32) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Halve at the median of the widest coefficient, again and again: clusters of about one size.

    Returns
    -------
    start : of each cluster, and the end
    order : the numbers of `codes`, cluster by cluster
    """
    most = int(np.clip(np.sqrt(len(codes)), _MIN_CLUSTER, _MAX_CLUSTER))
    order = np.arange(len(codes))
    bounds = [0, len(codes)]
    todo = [(0, len(codes))]
    while todo:
        begin, end = todo.pop()
        if end - begin <= most:
            continue
        part = order[begin:end]
        axis = int(np.argmax(np.var(codes[part], axis=0)))
        middle = len(part) // 2
        order[begin:end] = part[np.argpartition(codes[part, axis], middle)]
        bounds.append(begin + middle)
        todo += [(begin, begin + middle), (begin + middle, end)]
    return np.sort(np.array(bounds)), order
