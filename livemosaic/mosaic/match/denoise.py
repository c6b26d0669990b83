"""Temporal noise reduction of the points that cells are matched by.

Each point is the mean of the last frames, until its cell moves by more than noise can move it; then
the mean begins again with the newest frame. So nothing that differs by more than the noise lags.
The picture itself, its tint and its overlay are not touched.

The noise is measured, not assumed: in the difference of two frames, noise is as strong between
neighbouring points as between distant ones, while motion is smooth. A clean clip has hardly any,
and then the points are the newest frame's.
"""

from __future__ import annotations

import numpy as np

from ...gallery.layout_features import POINTS
from ...jit import F32, I32, kernel

# Less noise than this (CIELAB, squared) changes hardly a tile, and is left alone.
_MIN_NOISE = 4.0

# A cell has moved if the means of its quarters are so far from those before, in lightness or in
# colour: the mean of their squared distances is so many times the noise. Noise alone makes a
# quarter of it, half if colour has a low resolution, and in one cell of a thousand so much.
_MOVED = np.array([2.0, 3.25], np.float32)

# So much of the energy of motion, at most, looks like noise (a pan over grass).
_LEAK = 0.5

# The mean is of about so many frames.
_FRAMES = np.float32(8)

# The noise is measured in so many cells.
_SAMPLES = 128


def _patterns() -> tuple[F32, I32]:
    """The high frequencies of 16 points, (12, 16), each of length 1, and the channel of each.

    Colour often has half of the resolution of lightness, and no noise in the highest frequency.
    """
    pairs = np.array([[1, 1, -1, -1], [1, -1, -1, 1]])
    colour = [np.outer(a, b).reshape(-1) / POINTS for a in pairs for b in pairs]
    lightness = np.zeros((4, POINTS, POINTS))
    for block, (row, column) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2))):
        lightness[block, row : row + 2, column : column + 2] = [[0.5, -0.5], [-0.5, 0.5]]
    found = [*lightness.reshape(4, -1), *colour, *colour]
    return np.array(found, np.float32), np.repeat(np.arange(3, dtype=np.int32), 4)


_PATTERNS, _CHANNELS = _patterns()


@kernel
def _differences(
    lab: F32, before: F32, step: int, patterns: F32, channels: I32, energies: F32
) -> None:
    """The energy of the difference of two frames, float32 (4, m), of each step-th cell: lightness
    and colour in all frequencies, and in the high ones, where white noise has as much."""
    for i in range(np.uintp(energies.shape[1])):
        cell = np.uintp(i * np.uintp(step))
        for k in range(np.uintp(4)):
            energies[k, i] = 0
        for channel in range(np.uintp(3)):
            for p in range(np.uintp(lab.shape[1])):
                away = lab[cell, p, channel] - before[cell, p, channel]
                energies[0 if channel == 0 else 1, i] += away * away / np.float32(lab.shape[1])
        for k in range(np.uintp(patterns.shape[0])):
            of, total = np.uintp(channels[k]), np.float32(0)
            for p in range(np.uintp(patterns.shape[1])):
                total += patterns[k, p] * (lab[cell, p, of] - before[cell, p, of])
            energies[2 if of == 0 else 3, i] += total * total / np.float32(4)


@kernel
def _average(lab: F32, mean: F32, count: F32, limits: F32, longest: np.float32) -> None:
    """Add a frame to the means, or begin with it where a cell has moved."""
    one, two, side, unit = np.uintp(1), np.uintp(2), np.uintp(POINTS), np.float32(1)
    for i in range(np.uintp(lab.shape[0])):
        lightness = colour = np.float32(0)
        for quarter in range(np.uintp(4)):
            first = (quarter // two) * np.uintp(2 * POINTS) + (quarter % two) * two
            for channel in range(np.uintp(3)):
                away = np.float32(0)
                for point in (first, first + one, first + side, first + side + one):
                    away += lab[i, point, channel] - mean[i, point, channel]
                if channel == 0:
                    lightness += away * away
                else:
                    colour += away * away
        n = count[i]
        # The squared sums of four points are 16 times those of means, and there are four.
        times = np.float32(64) * (unit + unit / max(n, unit))
        if n == 0 or lightness > times * limits[0] or colour > times * limits[1]:
            n = np.float32(0)
        count[i] = min(n + unit, longest)
        share = unit / count[i]
        for p in range(np.uintp(lab.shape[1])):
            for channel in range(np.uintp(3)):
                mean[i, p, channel] += share * (lab[i, p, channel] - mean[i, p, channel])


class Denoiser:
    """Per-stream state: the means, and the noise.

    Attributes
    ----------
    noise : the mean square of what noise adds to a cell's points (CIELAB, sum of the channels); 0
        for little
    frames : float32 (cells,), how many frames the points are a mean of; 0 without noise
    """

    def __init__(self, cells: int) -> None:
        self._step = max(1, cells // _SAMPLES)
        self._energies = np.empty((4, -(-cells // self._step)), np.float32)
        self._before: F32 | None = None
        self._mean = np.zeros((cells, POINTS * POINTS, 3), np.float32)
        self.frames = np.zeros(cells, np.float32)
        self.noise = 0.0
        self._noise: F32 | None = None  # of lightness and colour

    def update(self, lab: F32) -> F32:
        """The points to match by, float32 (cells, 16, 3), of a frame's; the next call overwrites
        them."""
        before, self._before = self._before, lab
        if before is None:
            self._mean[:], self.frames[:] = lab, 1
            return lab
        _differences(lab, before, self._step, _PATTERNS, _CHANNELS, self._energies)
        if self._energies.any():  # a frame may be repeated
            # Noise is in most cells, unlike a thing with sharp edges that moves. Two frames have
            # twice the noise of one.
            energy, high = np.median(self._energies, axis=1).reshape(2, 2) / 2
            found = np.maximum(high - _LEAK * np.maximum(energy - high, 0), 0)
            self._noise = found if self._noise is None else (self._noise + found) / 2
            whole = float(self._noise.sum())
            self.noise = whole if whole >= _MIN_NOISE else 0.0
        if self._noise is None or not self.noise:
            self.frames[:] = 0
            return lab
        _average(lab, self._mean, self.frames, _MOVED * self._noise, _FRAMES)
        return self._mean
