"""The interface that every way of matching has."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Matcher"]

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]


class Matcher(Protocol):
    """Chooses tiles for the cells of one stream, frame by frame."""

    def update_settings(self, *, tint: float, calm: float) -> None:
        """Go by another tint and calm from the next frame on, both 0..1."""

    def observe(self, bgr: U8, state: U8, active_pixels: U8) -> I32:
        """Take in a frame.

        Parameters
        ----------
        bgr : uint8 (rows * 8, columns * 8, 3) BGR, at the analysis resolution
        state, active_pixels : uint8 (rows, columns), what `Activity` made of the frame

        Returns
        -------
        int32 (rows * columns,), how much each cell wants to be matched again; 0: not at all
        """

    def describe(self, cells: I32) -> None:
        """Work out what matching has to know of some cells of that frame.

        Parameters
        ----------
        cells : int32 (n,), ascending numbers, n >= 1
        """

    def match(self, cells: I32, *, active: int) -> tuple[I32, NDArray[np.bool_]]:
        """Choose tiles for the cells that were described.

        Parameters
        ----------
        cells : the same
        active : how many cells want to be matched, if only some are

        Returns
        -------
        ids : int32 (n,), tile numbers
        flips : bool (n,), which are mirrored
        """
