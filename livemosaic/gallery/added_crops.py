"""Crops for the colours that a set of photos lacks.

A crop cuts heads off, so a photo is used whole where that is possible. But the means of few whole
photos are alike: all of a party are brown. A crop of a colour that no whole photo has is added.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..jit import F32, U8
from .layout_features import points_to_lab

# A crop is added if its mean colour is so far from those of all whole photos and of all crops that
# were added (CIELAB, with less weight on colour). That is about one crop for each photo of a party.
_FAR = 5.0

Arrays = dict[str, NDArray[Any]]


class AddedCrops:
    """Chooses from the crops of all photos, which come batch by batch, and holds those only."""

    def __init__(self) -> None:
        self._whole = self._held_means = np.empty((0, 3), np.float32)
        self._held: list[Arrays] = []

    def take(self, arrays: Arrays) -> Arrays:
        """Take tiles, of each photo the whole first; returns the wholes."""
        is_whole = show_wholes(arrays)
        means = mean_colours(arrays["points"])
        self._whole = np.concatenate([self._whole, means[is_whole]])
        for i in np.flatnonzero(~is_whole):
            if _is_far(means[i], self._whole) and _is_far(means[i], self._held_means):
                self._held_means = np.concatenate([self._held_means, means[i : i + 1]])
                self._held.append({name: a[i : i + 1] for name, a in arrays.items()})
        return {name: array[is_whole] for name, array in arrays.items()}

    def chosen(self) -> list[Arrays]:
        """The crops that were chosen; later photos may have had their colours."""
        held = zip(self._held_means, self._held, strict=True)
        return [arrays for mean, arrays in held if _is_far(mean, self._whole)]


def show_wholes(arrays: Arrays) -> NDArray[np.bool_]:
    """Which tiles show whole photos: of each photo the first."""
    is_whole: NDArray[np.bool_] = np.diff(arrays["source_photo"], prepend=-1) > 0
    return is_whole


def new_colours(crops: U8, known: F32) -> NDArray[np.bool_]:
    """Which of some crops, by their points, have a mean colour that is far from those known, and
    from those of the crops before."""
    chosen = np.zeros(len(crops), np.bool_)
    for number, mean in enumerate(mean_colours(crops)):
        if _is_far(mean, known):
            chosen[number], known = True, np.concatenate([known, mean[None]])
    return chosen


def _is_far(mean: F32, known: F32) -> bool:
    return bool((np.square(known - mean).sum(axis=1) >= _FAR**2).all())


def mean_colours(points: U8) -> F32:
    """The mean colours of tiles by their points, (n, 3) CIELAB with less weight on colour."""
    return np.asarray(points_to_lab(points).mean(axis=1), np.float32)
