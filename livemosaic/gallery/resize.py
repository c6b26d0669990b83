"""Pictures made smaller: each pixel is the mean of the area that it covers.

Not OpenCV's INTER_AREA: it takes 4 to 25 times the time, and rounds some values otherwise, so that
the same photos would give other galleries.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from ..jit import F32, U8, kernel


def shrink(picture: U8, out: U8) -> None:
    """Scale uint8 (h, w, 3) into `out`, (height, width, 3); neither side becomes larger."""
    height, width = picture.shape[:2]
    lines = np.ascontiguousarray(picture).reshape(height, width * 3)
    _shrink(lines, *_weights(height, len(out)), *_weights(width, out.shape[1]), out)


@functools.lru_cache(64)
def _weights(size: int, px: int) -> tuple[NDArray[np.uintp], F32]:
    """The weighted pixels of a line of `size` whose sum is each of `px`: the first one, (px,), and
    the weights of it and the next ones, (px, k), all inside the line; each row sums to 1."""
    k = min(-(-size // px) + 1, size)
    place = np.arange(px)[:, None]
    first = np.minimum(place * size // px, size - k)
    pixel = first + np.arange(k)
    # In units of 1 / (size * px), in which all edges are whole numbers.
    begin = np.maximum(place * size, pixel * px)
    overlap = (np.minimum((place + 1) * size, (pixel + 1) * px) - begin).clip(0)
    return first[:, 0].astype(np.uintp), (overlap / size).astype(np.float32)


@kernel
def _shrink(
    lines: U8, top: NDArray[np.uintp], heights: F32, left: NDArray[np.uintp], widths: F32, out: U8
) -> None:
    """Sum rows first, because their pixels are adjacent and are added as vectors; then columns."""
    down, across, width = np.uintp(out.shape[0]), np.uintp(out.shape[1]), np.uintp(lines.shape[1])
    rows, columns = np.uintp(heights.shape[1]), np.uintp(widths.shape[1])
    mean = np.empty(width, np.float32)
    for y in range(down):
        mean[:] = np.float32(0.5)  # the conversion to uint8 rounds down
        for k in range(rows):
            weight = heights[y, k]
            line = lines[top[y] + k]
            for x in range(width):
                mean[x] += weight * np.float32(line[x])
        for x in range(across):
            at = left[x] * np.uintp(3)
            blue = green = red = np.float32(0)
            for k in range(columns):
                weight = widths[x, k]
                blue += weight * mean[at]
                green += weight * mean[at + np.uintp(1)]
                red += weight * mean[at + np.uintp(2)]
                at += np.uintp(3)
            out[y, x, 0] = np.uint8(blue)
            out[y, x, 1] = np.uint8(green)
            out[y, x, 2] = np.uint8(red)
