"""One small pure function per figure; tests/test_bench_quality.py checks each by hand.

Pictures are uint8 (height, width, 3) BGR, sRGB. `photos` is an integer array (rows, columns): which
photo each cell shows. Mirrored copies, brighter copies and crops of a photo are that photo.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "bgr_to_lab",
    "ciede2000",
    "contrast",
    "distinct",
    "nearest_repeat",
    "points",
    "psnr",
    "recall",
    "repeats",
    "share",
    "still_cells",
]

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

POINTS = 4  # per side of a cell: where in it the colour lies

# The band in which a point of a still region stays for the whole clip, in levels of 255. Camera
# noise of sigma 4 leaves 0.5 when 8x8 pixels are averaged: a band of 3.5 in 100 frames. The
# blocks of a webcam's codec add about as much.
STILL_BAND = 6.0


def points(picture: U8, width: int, height: int) -> F32:
    """A picture averaged to width x height points, float32 (height, width, 3) BGR, unrounded."""
    small = cv2.resize(picture.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio in dB, over all samples; infinite for equal arrays."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


# IEC 61966-2-1: linear sRGB to XYZ, and its white (D65, 2 degrees).
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = _TO_XYZ.sum(axis=1)


def bgr_to_lab(bgr: NDArray[Any]) -> F64:
    """CIELAB (D65) of sRGB colours, (..., 3) B, G, R from 0 to 255, to float64 (..., 3)."""
    coded = np.asarray(bgr, np.float64)[..., ::-1] / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    t = linear @ _TO_XYZ.T / _WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(lab1: NDArray[Any], lab2: NDArray[Any]) -> F64:
    """The colour difference CIEDE2000 of (..., 3) CIELAB colours, float64 (...).

    As in Sharma, Wu and Dalal, Color Research and Application 30 (2005) 21-30, with kL = kC = kH
    = 1. Hues are in radians.
    """
    l1, a1, b1 = np.moveaxis(np.asarray(lab1, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(lab2, np.float64), -1, 0)

    stretch = 1.5 - 0.5 * _chroma_weight((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2)
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.arctan2(b1, a1) % (2 * np.pi), np.arctan2(b2, a2) % (2 * np.pi)
    grey = c1 * c2 == 0

    # Hues lie on a circle: their difference is taken the short way, their mean lies on it. Two
    # that are opposite but for rounding count as not more than half a turn apart.
    far = np.abs(h2 - h1) > np.pi + 1e-12
    turn = np.where(far, np.sign(h2 - h1) * 2 * np.pi, 0.0)
    dh = np.where(grey, 0.0, h2 - h1 - turn)
    mean_h = (h1 + h2) / 2
    mean_h = np.where(far, np.where(h1 + h2 < 2 * np.pi, mean_h + np.pi, mean_h - np.pi), mean_h)
    mean_h = np.where(grey, h1 + h2, mean_h)

    dl, dc = l2 - l1, c2 - c1
    dh = 2 * np.sqrt(c1 * c2) * np.sin(dh / 2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(mean_h - np.radians(30))
        + 0.24 * np.cos(2 * mean_h)
        + 0.32 * np.cos(3 * mean_h + np.radians(6))
        - 0.20 * np.cos(4 * mean_h - np.radians(63))
    )
    from_middle = (mean_l - 50) ** 2
    l_term = dl / (1 + 0.015 * from_middle / np.sqrt(20 + from_middle))
    c_term = dc / (1 + 0.045 * mean_c)
    h_term = dh / (1 + 0.015 * mean_c * t)
    blue = np.radians(30) * np.exp(-(((np.degrees(mean_h) - 275) / 25) ** 2))
    rotation = -2 * _chroma_weight(mean_c) * np.sin(2 * blue)
    difference: F64 = np.sqrt(l_term**2 + c_term**2 + h_term**2 + rotation * c_term * h_term)
    return difference


def _chroma_weight(chroma: F64) -> F64:
    """0 for grey to 1 for vivid colours; the formula has it twice."""
    power: F64 = chroma**7
    return np.sqrt(power / (power + 25.0**7))


def still_cells(clip: F32, *, band: float = STILL_BAND) -> Bools:
    """Which cells nothing has happened in since the clip began.

    Parameters
    ----------
    clip : float32 (frames, rows * 4, columns * 4, 3), each frame at 4x4 points per cell
    band : levels within which every channel of every point has stayed since the first frame

    Returns
    -------
    bool (frames, rows, columns)
    """
    spread = np.maximum.accumulate(clip, axis=0) - np.minimum.accumulate(clip, axis=0)
    frames, height, width, _ = clip.shape
    cells = (spread <= band).reshape(frames, height // POINTS, POINTS, width // POINTS, POINTS, 3)
    return np.asarray(cells.all(axis=(2, 4, 5)), np.bool_)


def share(what: Bools, where: Bools) -> float:
    """The share of the cells `where` for which `what` is true; NaN when there is no such cell."""
    number = int(np.count_nonzero(where))
    return float(np.count_nonzero(what & where)) / number if number else math.nan


def distinct(photos: NDArray[Any]) -> int:
    """How many different photos there are."""
    return len(np.unique(photos))


def contrast(luma: U8, cell_px: int) -> float:
    """The mean over cells of the standard deviation of luma within the cell, in levels.

    luma : uint8 (height, width); cells that its edge cuts are left out
    """
    rows, columns = luma.shape[0] // cell_px, luma.shape[1] // cell_px
    cells = luma[: rows * cell_px, : columns * cell_px].astype(np.float32)
    return float(cells.reshape(rows, cell_px, columns, cell_px).std(axis=(1, 3)).mean())


def repeats(photos: NDArray[Any], distance: int) -> float:
    """The share of cells that have the photo of another cell within a Chebyshev distance."""
    again = np.zeros(photos.shape, np.bool_)
    rows, columns = photos.shape
    down, across = min(distance, rows - 1), min(distance, columns - 1)
    for dy in range(down + 1):
        for dx in range(-across, across + 1):
            if (dy, dx) > (0, 0):  # each pair once
                one = slice(0, rows - dy), slice(max(0, -dx), columns - max(0, dx))
                other = slice(dy, rows), slice(max(0, dx), columns - max(0, -dx))
                same = photos[one] == photos[other]
                again[one] |= same
                again[other] |= same
    return float(again.mean())


def nearest_repeat(photos: NDArray[Any]) -> float:
    """The smallest Chebyshev distance of two cells with the same photo; infinite if none has."""
    return next((d for d in range(1, max(photos.shape)) if repeats(photos, d)), math.inf)


def recall(chosen: NDArray[Any], best: NDArray[Any], *, within: float = 0.05) -> float:
    """The share of cells whose tile costs at most 5 % more than the cheapest of all tiles."""
    return float(np.mean(chosen <= best * (1 + within)))
