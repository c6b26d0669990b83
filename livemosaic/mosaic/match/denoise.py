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
from numpy.typing import NDArray

from ...gallery.layout_features import POINTS
from ...jit import F32, kernel

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


# The high frequencies of colour, (16, 4): both halves of a side have opposite signs.
_HALVES = np.array([[1, 1, -1, -1], [1, -1, -1, 1]])
_SIGNS = np.stack([np.outer(a, b).reshape(-1) for a in _HALVES for b in _HALVES], axis=1)
_SIGNS = (_SIGNS / POINTS).astype(np.float32)


@kernel
def _differences(lab: F32, before: F32, signs: F32, energies: F32) -> None:
    """The energy of the difference of two frames, float32 (4, m), of m cells: lightness and colour
    in all frequencies, and in the high ones, where white noise has as much.

    The points are float32 (m, 48). Colour often has half of the resolution of lightness, and no
    noise in the highest frequency.
    """
    one, two, three, side = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(POINTS)
    half, quarter, share = np.float32(0.5), np.float32(0.25), np.float32(1 / POINTS**2)
    away = np.empty(3 * POINTS * POINTS, np.float32)
    for i in range(np.uintp(lab.shape[0])):
        for j in range(np.uintp(away.shape[0])):
            away[j] = lab[i, j] - before[i, j]
        lightness = colour = high_lightness = high_colour = np.float32(0)
        for p in range(side * side):
            it = away[three * p]
            lightness += it * it
        for block in range(np.uintp(4)):  # of 2x2 points: across the diagonals
            at = three * (block // two * two * side + block % two * two)
            below = at + three * side
            total = half * away[at] - half * away[at + three]
            total = total - half * away[below] + half * away[below + three]
            high_lightness += total * total * quarter
        for channel in range(one, three):
            a = b = c = d = np.float32(0)
            for p in range(side * side):
                it = away[three * p + channel]
                colour += it * it
                a += signs[p, 0] * it
                b += signs[p, 1] * it
                c += signs[p, 2] * it
                d += signs[p, 3] * it
            for total in (a, b, c, d):
                high_colour += total * total * quarter
        energies[0, i], energies[1, i] = lightness * share, colour * share
        energies[2, i], energies[3, i] = high_lightness, high_colour


@kernel
def _average(lab: F32, mean: F32, count: F32, limits: F32, longest: np.float32) -> None:
    """Add a frame's points, float32 (cells, 48), to the means, or begin with it where a cell has
    moved."""
    two, three, unit = np.uintp(2), np.uintp(3), np.float32(1)
    below = np.uintp(3 * POINTS)
    for i in range(np.uintp(lab.shape[0])):
        lightness = colour = np.float32(0)
        for quarter in range(np.uintp(4)):
            first = three * ((quarter // two) * np.uintp(2 * POINTS) + (quarter % two) * two)
            for channel in range(three):
                away = np.float32(0)
                at = first + channel
                for point in (at, at + three, at + below, at + below + three):
                    away += lab[i, point] - mean[i, point]
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
        for j in range(np.uintp(lab.shape[1])):
            mean[i, j] += share * (lab[i, j] - mean[i, j])


class Denoiser:
    """Per-stream state: the means, and the noise.

    Attributes
    ----------
    noise : the mean square of what noise adds to a cell's points (CIELAB, sum of the channels); 0
        for little
    frames : float32 (cells,), how many frames the points are a mean of; 0 without noise
    samples : the cells where noise is measured
    """

    def __init__(self, cells: int) -> None:
        self.samples = np.arange(0, cells, max(1, cells // _SAMPLES))
        self._energies = np.empty((4, len(self.samples)), np.float32)
        self._before: F32 | None = None  # the last frame's points, where noise is measured
        self._mean = np.zeros((cells, POINTS * POINTS, 3), np.float32)
        self.frames = np.zeros(cells, np.float32)
        self.noise = 0.0
        self._noise: F32 | None = None  # of lightness and colour

    def update(self, lab: F32, some: NDArray[np.intp] | None = None) -> F32:
        """The points to match by, float32 (cells, 16, 3), of a frame's; the next call overwrites
        them. Or those of `some` cells, ascending numbers, the samples among them; the others begin
        anew."""
        points = lab.reshape(len(lab), -1)
        at = self.samples if some is None else np.searchsorted(some, self.samples)
        before, self._before = self._before, points[at]
        chosen = slice(None) if some is None else some
        if before is None:
            self._mean[chosen], self.frames[chosen] = lab, 1
            return lab
        energies = self._energies
        _differences(self._before, before, _SIGNS, energies)
        if energies.any():  # a frame may be repeated
            # Noise is in most cells, unlike a thing with sharp edges that moves. Two frames have
            # twice the noise of one.
            energies.sort()
            count = energies.shape[1]
            medians = (energies[:, (count - 1) // 2] + energies[:, count // 2]) / 2
            energy, high = medians.reshape(2, 2) / 2
            found = np.maximum(high - _LEAK * np.maximum(energy - high, 0), 0)
            self._noise = found if self._noise is None else (self._noise + found) / 2
            whole = float(self._noise.sum())
            self.noise = whole if whole >= _MIN_NOISE else 0.0
        if self._noise is None or not self.noise:
            self.frames[:] = 0
            return lab
        mean, frames = self._mean[chosen], self.frames[chosen]
        _average(points, mean.reshape(points.shape), frames, _MOVED * self._noise, _FRAMES)
        if some is not None:
            self.frames[:] = 0
            self._mean[some], self.frames[some] = mean, frames
        return mean
