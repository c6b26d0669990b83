"""The arrays of an index: tiles and their mirror images in clusters of similar layouts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..jit import F32, I16, I32, U8, U16, Bools, kernel
from .cluster_groups import MOST_CLUSTERS
from .file_format import INDEX_VERSION
from .kmeans import kmeans
from .layout_codes import COEFFICIENTS, DETAIL_SHARE, encode, expected_detail, weights
from .layout_features import points_to_lab
from .levels import COARSE, FINE, LANES, blocks, quantize

# Variants per cluster. With more, a search in a cluster takes longer; with fewer, there are more
# clusters to compare. The best number is near the square root of the number of variants.
_MIN_CLUSTER, _MAX_CLUSTER = 16, 256

# The clusters are made for this tint, but serve every tint. Those of a very large gallery are made
# for the default one, and their variants are alike in what no cell changes, too: the residual, and
# the expected detail. With a million tiles the nearest 16 clusters then have the best tile of most
# cells; else it costs 5 % less than what they have, in the median.
CLUSTERS_TINT, _LARGE_TINT = 0.5, 0.8
LARGE = MOST_CLUSTERS * _MAX_CLUSTER  # variants

# How many variants are described at once, at 0.4 KB each.
VARIANTS_TOGETHER = 16_384

# How the index of a gallery file is made.
INDEX_KIND = {
    "version": INDEX_VERSION,
    "coefficients": [COARSE, FINE],
    "lanes": LANES,
    "cluster": [_MIN_CLUSTER, _MAX_CLUSTER],
    "tint": [CLUSTERS_TINT, _LARGE_TINT],
    "detail": DETAIL_SHARE,
}


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


def arrays_in_memory(
    points: U8, photo: I32, mirrors: Bools, tiles: I32, large: int = LARGE
) -> dict[str, NDArray[Any]]:
    """The same of the tiles of some numbers, in memory, without `index_` in the names; `large` is
    another number of variants for tests."""
    variant, start = _in_clusters(points, _variants(mirrors, tiles), large)
    places, count = len(variant), int(cluster_slots(start)[-1])
    arrays: dict[str, NDArray[Any]] = {
        "codes": np.empty((places, COEFFICIENTS), np.float32),
        "residual": np.empty(places, np.float32),
        "coarse": np.empty(count * COARSE, np.int16),
        "fine": np.empty(count * FINE, np.int16),
        "details": np.empty(count, np.uint16),
    }
    filled = dict.fromkeys(_OF_RUNS, 0)
    means = []
    for run in _runs(points, variant, start):
        means.append(run.pop("means"))
        for name, part in run.items():
            begin, filled[name] = filled[name], filled[name] + len(part)
            arrays[name][begin : filled[name]] = part
    members = _members(photo[variant // 2])
    clusters = {"variant": variant, "start": start, "photo_members": members}
    return arrays | clusters | {"centres": _centres(means)}


def _in_clusters(points: U8, variant: I32, large: int = LARGE) -> tuple[I32, I32]:
    """The variants in the order of their clusters, and where each begins, and the end."""
    is_large = len(variant) > large
    scale = np.sqrt(weights(_LARGE_TINT if is_large else CLUSTERS_TINT)[:COARSE])
    weighted = np.empty((len(variant), COARSE + is_large), np.float32)
    for begin in range(0, len(variant), VARIANTS_TOGETHER):
        part = slice(begin, begin + VARIANTS_TOGETHER)
        codes, residual = _encode_variants(points, variant[part])
        weighted[part, :COARSE] = codes[:, :COARSE] * scale
        if is_large:
            detail = np.square(codes[:, COARSE:]).sum(axis=1)
            weighted[part, COARSE] = np.sqrt(residual + np.float32(DETAIL_SHARE) * detail)
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
        _expect(codes, place_slots(begins, slots), details)
        yield {
            "codes": codes,
            "residual": residual,
            "coarse": coarse,
            "fine": blocks(np.ascontiguousarray(codes[:, COARSE:]), begins)[0],
            "details": details,
            "means": _means_of(codes, begins)[:, :COARSE],
        }
        first = last


@kernel
def _expect(codes: F32, slot: I32, details: U16) -> None:
    """The expected detail of each variant, in its slot."""
    for t in range(codes.shape[0]):
        details[slot[t]] = quantize(expected_detail(codes[t]))


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


def _means_of(codes: F32, start: I32) -> F32:
    """The mean codes of each cluster."""
    sums = np.add.reduceat(codes, start[:-1], axis=0, dtype=np.float64)
    return np.asarray(sums / np.diff(start)[:, None], np.float32)


def ends_of(counts: NDArray[Any]) -> I32:
    """Where each of some runs begins, from their lengths; and the end."""
    return np.cumsum(np.concatenate([[0], counts]), dtype=np.int32)


def cluster_slots(start: I32) -> I32:
    """The first slot of each cluster, and the end."""
    return ends_of(-(-np.diff(start) // LANES) * LANES)


def place_slots(start: I32, slots: I32) -> I32:
    """The slot of each place."""
    first = np.repeat(slots[:-1] - start[:-1], np.diff(start))
    return np.asarray(first + np.arange(start[-1], dtype=np.int32), np.int32)
