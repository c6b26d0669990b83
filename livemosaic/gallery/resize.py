"""Pictures made smaller, each pixel the mean of the area it covers: many of one shape in one call.

OpenCV's INTER_AREA gives the same (but for the rounding of a few pixels), in 2 to 6 times the time,
and one call per picture is one more wait for Python's lock per photo.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from ..jit import kernel

__all__ = ["shrink"]


def shrink(pictures: NDArray[np.uint8], px: int) -> NDArray[np.uint8]:
    """Scale uint8 (n, h, w, 3), neither h nor w below `px`, to (n, px, px, 3)."""
    n, height, width = pictures.shape[:3]
    out = np.empty((n, px, px, 3), np.uint8)
    lines = np.ascontiguousarray(pictures).reshape(n, height, width * 3)
    _shrink(lines, *_shares(height, px), *_shares(width, px), out)
    return out


@functools.lru_cache(64)
def _shares(size: int, px: int) -> tuple[NDArray[np.uintp], NDArray[np.float32]]:
    """Which pixels of a line of `size` go into each of `px`, and how much of each.

    Returns
    -------
    first : uintp (px,), the first pixel
    shares : float32 (px, k), of it and those after it, all inside the line; each row sums to 1
    """
    k = min(-(-size // px) + 1, size)
    place = np.arange(px)[:, None]
    first = np.minimum(place * size // px, size - k)
    pixel = first + np.arange(k)
    # In units of 1 / (size * px), where all edges are whole numbers.
    overlap = np.minimum((place + 1) * size, (pixel + 1) * px) - np.maximum(
        place * size, pixel * px
    )
    return first[:, 0].astype(np.uintp), (overlap.clip(0) / size).astype(np.float32)


@kernel
def _shrink(
    lines: NDArray[np.uint8],
    top: NDArray[np.uintp],
    heights: NDArray[np.float32],
    left: NDArray[np.uintp],
    widths: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    """Rows first, because their pixels lie side by side and are added as vectors; then columns."""
    px, width = np.uintp(out.shape[1]), np.uintp(lines.shape[2])
    rows, columns = np.uintp(heights.shape[1]), np.uintp(widths.shape[1])
    mean = np.empty(width, np.float32)
    for i in range(np.uintp(out.shape[0])):
        for y in range(px):
            mean[:] = np.float32(0.5)  # the conversion to uint8 rounds down
            for k in range(rows):
                share = heights[y, k]
                line = lines[i, top[y] + k]
                for x in range(width):
                    mean[x] += share * np.float32(line[x])
            for x in range(px):
                at = left[x] * np.uintp(3)
                blue = green = red = np.float32(0)
                for k in range(columns):
                    share = widths[x, k]
                    blue += share * mean[at]
                    green += share * mean[at + np.uintp(1)]
                    red += share * mean[at + np.uintp(2)]
                    at += np.uintp(3)
                out[i, y, x, 0] = np.uint8(blue)
                out[i, y, x, 1] = np.uint8(green)
                out[i, y, x, 2] = np.uint8(red)
