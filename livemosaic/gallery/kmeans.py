"""k-means by levels: parts of a set of points, of points that are near each other.

Halving at medians is simpler, but every cut goes through the middle, where the plain tiles are, so
that each part has a few of them: the search then finds the cheapest tile half as often.
"""

from __future__ import annotations

import math

import numpy as np

from ..jit import F32, I32, kernel

# More parts than this are made in two levels: the time to find a point's nearest centre is then
# twice the square root of their number.
_MAX_CENTRES = 160
# Points that each centre learns from, and how often: more makes no better parts.
_SAMPLE, _ROUNDS = 32, 6
# Parts larger than so many times the wanted size are divided again.
_TOO_LARGE = 3


@kernel
def _nearest(points: F32, members: I32, centres_t: F32, labels: I32) -> None:
    """The nearest centre of some points, the first of equals."""
    k = np.uintp(centres_t.shape[1])
    away = np.empty(k, np.float32)
    for i in range(np.uintp(members.shape[0])):
        point = points[members[i]]
        away[:] = np.float32(0)
        for d in range(np.uintp(points.shape[1])):
            value = point[d]
            for c in range(k):
                apart = centres_t[d, c] - value
                away[c] += apart * apart
        labels[i] = np.argmin(away)


@kernel
def _means(points: F32, members: I32, labels: I32, centres_t: F32) -> None:
    """Move centres to the means of their points; one without any stays."""
    dimensions, k = centres_t.shape
    sums, counts = np.zeros((k, dimensions), np.float64), np.zeros(k, np.int64)
    for i in range(members.shape[0]):
        counts[labels[i]] += 1
        for d in range(dimensions):
            sums[labels[i], d] += points[members[i], d]
    for c in range(k):
        if counts[c] > 0:
            for d in range(dimensions):
                centres_t[d, c] = np.float32(sums[c, d] / counts[c])


def kmeans(points: F32, size: int) -> tuple[I32, I32]:
    """Divide points, float32 (n, d), C-contiguous, n >= 1, into parts of about `size` points.

    Returns
    -------
    start : int32 (parts + 1,), of each part, and the end
    order : int32 (n,), the numbers of the points, part by part; ascending within a part
    """
    parts: list[I32] = []
    todo = [np.arange(len(points), dtype=np.int32)]
    while todo:
        members = todo.pop()
        count = round(len(members) / size)
        if count <= 1:
            parts.append(members)
            continue
        found = _divide(points, members, count)
        if len(found) == 1:  # equal points
            found = np.array_split(members, count)
        by_levels = count > _MAX_CENTRES
        for part in found:
            if by_levels or len(part) > _TOO_LARGE * size:
                todo.append(part)
            else:
                parts.append(part)
    sizes = [len(part) for part in parts]
    return np.cumsum([0, *sizes], dtype=np.int32), np.concatenate(parts)


def _divide(points: F32, members: I32, count: int) -> list[I32]:
    """At most `count` parts of some points, none empty."""
    k = math.isqrt(count) if count > _MAX_CENTRES else count
    sample = np.ascontiguousarray(members[:: max(1, len(members) // (k * _SAMPLE))])
    centres_t = np.ascontiguousarray(points[sample[np.arange(k) * len(sample) // k]].T)
    labels = np.empty(len(sample), np.int32)
    for _ in range(_ROUNDS):
        _nearest(points, sample, centres_t, labels)
        _means(points, sample, labels, centres_t)
    labels = np.empty(len(members), np.int32)
    _nearest(points, members, centres_t, labels)
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(1, k))
    return [part for part in np.split(members[order], ends) if len(part)]
