"""The coefficients of layouts, and how they are weighed.

The coefficients of a tile are the low frequencies of the cosine transform of its 4x4 points in
CIELAB. The transform is orthonormal: distances between coefficients are distances between points,
except for the residual, the part in the frequencies that are left out.
"""

from __future__ import annotations

import functools

import numpy as np

from ..jit import F32, I32, kernel, kernel_part
from .layout_features import POINTS
from .levels import COARSE, FINE

# How many coefficients lightness and each of the two colour axes have, lowest frequencies first.
# Colour has fewer, because from afar the eye sees detail in lightness only. The coarse coefficients
# are those that choose clusters.
_LIGHTNESS, _COLOUR = 16, 6
_COARSE_LIGHTNESS, _COARSE_COLOUR = 10, 3
COEFFICIENTS = _LIGHTNESS + 2 * _COLOUR
assert (COARSE, FINE) == (_COARSE_LIGHTNESS + 2 * _COARSE_COLOUR, COEFFICIENTS - COARSE)

# A coarse estimate adds this share of the fine coefficients' squares, as their expected difference.
# Without it an estimate would never exceed the cost, but would rule out far fewer clusters.
DETAIL_SHARE = 0.6

# The mean's weight is the share of its difference that the tint leaves, but at least this much: a
# photo that needs little tint keeps its own colours.
_MIN_MEAN_WEIGHT = 0.2


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
    return np.float32(np.float32(DETAIL_SHARE) * detail)


def weights(tint: float) -> F32:
    """The weights of the coefficients' squares, float32 (28,): those of the mean by the tint."""
    made = np.ones(COEFFICIENTS, np.float32)
    made[:3] = max(1 - tint, _MIN_MEAN_WEIGHT) ** 2
    return made
