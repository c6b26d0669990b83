"""The palette: clusters of the colours of a stream's cells.

Incremental mini-batch k-means (Sculley, "Web-scale k-means clustering", 2010), with the update of
scikit-learn's `MiniBatchKMeans.partial_fit`, which a test compares it with. scikit-learn itself
would take most of the time until the first frame to import. And as histograms of cells are sparse
(3 to 10 of 125 values are not zero), a kernel is ten times as fast as a dense product, and its
result does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...gallery.histogram import HISTOGRAM_SIZE
from ...jit import F64, I32, U16, kernel

# A histogram with a smaller cosine to its nearest centre has practically no colour in common with
# it. Such histograms replace the least used centres: otherwise a small thing of a new colour would
# get tiles of any colour until the next scene change.
_NOVEL_COSINE = 0.25
# Of one frame at most so many, so that a busy frame does not wipe the palette.
_MAX_NOVEL = 8


@kernel
def _nearest(
    counts: U16, scale: float, centres_t: F64, norms: F64, labels: I32, distances: F64
) -> None:
    """Label each histogram, uint16 (n, 125), with its nearest centre and its squared distance.

    `scale` makes a row of counts sum to 1. The centres are columns (125, k), as LLVM vectorises
    adding multiples of rows; `norms` (k,) are their squared lengths.
    """
    k = np.uintp(centres_t.shape[1])
    score = np.empty(k, np.float64)
    for i in range(np.uintp(counts.shape[0])):
        score[:] = norms
        own = 0.0
        for b in range(np.uintp(HISTOGRAM_SIZE)):
            if counts[i, b] != 0:
                x = counts[i, b] * scale
                own += x * x
                twice = 2.0 * x
                for j in range(k):
                    score[j] -= twice * centres_t[b, j]
        best = np.argmin(score)
        labels[i] = best
        distances[i] = max(score[best] + own, 0.0)


@kernel
def _accumulate(
    counts: U16, scale: float, labels: I32, sums: F64, members: NDArray[np.int64]
) -> None:
    """Add up the normalised histograms of each label: sums (k, 125) and members (k,)."""
    for i in range(np.uintp(counts.shape[0])):
        label = np.uintp(labels[i])
        for b in range(np.uintp(HISTOGRAM_SIZE)):
            if counts[i, b] != 0:
                sums[label, b] += counts[i, b] * scale
        members[label] += 1


@kernel
def _lower_distances(counts_t: U16, lengths: I32, scale: float, row: int, distances: F64) -> None:
    """Lower each histogram's squared distance to that of the number `row` where this is nearer.

    In whole numbers: exact, and vectorised; and only in the few bins that are not 0 in `row`. For
    `counts_t` and `lengths`, see `_transposed`.
    """
    n = np.uintp(counts_t.shape[1])
    products = np.zeros(n, np.int32)
    for b in range(np.uintp(HISTOGRAM_SIZE)):
        weight = np.int32(counts_t[b, row])
        if weight != 0:
            for i in range(n):
                products[i] += np.int32(np.int32(counts_t[b, i]) * weight)
    for i in range(n):
        squared = np.int32(lengths[i] + lengths[row] - np.int32(2) * products[i])
        distances[i] = min(distances[i], squared * scale * scale)


class Palette:
    """Up to `size` cluster centres that follow the histograms of a stream, of `pixels` each."""

    def __init__(self, size: int, rng: np.random.Generator, *, pixels: int) -> None:
        self.centres: F64 = np.zeros((size, HISTOGRAM_SIZE))  # sum to 1; zero where not used yet
        self.weights = np.zeros(size, np.int64)  # the number of histograms in each centre
        self._rng = rng  # chooses the first centres
        self._scale = 1.0 / pixels

    def reset(self, counts: U16) -> None:
        """Start again from the histograms of a frame, uint16 (n, 125), n >= 1.

        By k-means++ (Arthur and Vassilvitskii, 2007): each next centre with a probability
        proportional to its squared distance to the centres before.
        """
        self.centres[:] = 0.0
        self.weights[:] = 0
        distances = np.full(len(counts), np.inf)
        counts_t, lengths = _transposed(counts)
        row = int(self._rng.integers(len(counts)))
        for i in range(min(len(self.centres), len(counts))):
            self.centres[i] = counts[row] * self._scale
            _lower_distances(counts_t, lengths, self._scale, row, distances)
            cumulated = np.cumsum(distances)
            if cumulated[-1] <= 0.0:
                break  # fewer different histograms than centres
            row = int(np.searchsorted(cumulated, self._rng.random() * cumulated[-1], side="right"))
            row = min(row, len(counts) - 1)

    def learn(self, counts: U16) -> None:
        """Move the centres towards the histograms of a frame, uint16 (n, 125)."""
        labels, distances = self._nearest(counts)
        # Not in the frame of the first centres, of which none is less used than another.
        if self.weights.any() and self._replace_unlike(counts, labels, distances):
            labels, _ = self._nearest(counts)
        sums = np.zeros_like(self.centres)
        members = np.zeros(len(self.centres), np.int64)
        _accumulate(counts, self._scale, labels, sums, members)
        seen = members > 0
        weights = self.weights + members
        moved = self.centres[seen] * self.weights[seen, None] + sums[seen]
        self.centres[seen] = moved / weights[seen, None]
        self.weights = weights

    def labels(self, counts: U16) -> I32:
        """The nearest centre of each histogram, int32 (n,)."""
        return self._nearest(counts)[0]

    def _nearest(self, counts: U16) -> tuple[I32, F64]:
        labels, distances = np.empty(len(counts), np.int32), np.empty(len(counts))
        norms = np.square(self.centres).sum(axis=1)
        # Unused centres must not be chosen: zero is near to everything.
        norms[~self.centres.any(axis=1)] = np.inf
        centres_t = np.ascontiguousarray(self.centres.T)
        _nearest(counts, self._scale, centres_t, norms, labels, distances)
        return labels, distances

    def _replace_unlike(self, counts: U16, labels: I32, distances: F64) -> bool:
        """Give histograms that are like no centre a centre each, worst first; False for none."""
        # d^2 = |x|^2 + |c|^2 - 2 x.c gives the cosine.
        x = counts * self._scale
        own = np.einsum("ib,ib->i", x, x)
        centre = np.square(self.centres).sum(axis=1)[labels]
        cosines = (own + centre - distances) / (2.0 * np.sqrt(own * centre))
        unlike = np.flatnonzero(cosines < _NOVEL_COSINE)
        remaining = distances[unlike]
        counts_t, lengths = _transposed(counts[unlike])
        least_used = np.argsort(self.weights, kind="stable")
        for free in least_used[: min(_MAX_NOVEL, len(unlike))]:
            worst = int(np.argmax(remaining))
            row = unlike[worst]
            if remaining[worst] <= own[row] * _NOVEL_COSINE:
                break  # a centre that was just added is like it
            self.centres[free] = x[row]
            self.weights[free] = 0
            _lower_distances(counts_t, lengths, self._scale, worst, remaining)
        return len(unlike) > 0


def _transposed(counts: U16) -> tuple[U16, I32]:
    """Histograms, uint16 (n, 125), as columns; and their squared lengths, int32 (n,)."""
    counts_t = np.ascontiguousarray(counts.T)
    return counts_t, np.asarray(np.einsum("bi,bi->i", counts_t, counts_t, dtype=np.int32))
