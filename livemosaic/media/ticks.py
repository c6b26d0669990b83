"""Whole numbers for times: which frame belongs to which tick of a rate or of a time base."""

from __future__ import annotations

import math
from fractions import Fraction

__all__ = ["Ticks"]

_HALF = Fraction(1, 2)


class Ticks:
    """Gives each frame the tick that is nearest to its time, and no tick to two.

    Parameters
    ----------
    rate : ticks per second

    Attributes
    ----------
    dropped : how many frames found their tick taken, or one behind it
    """

    def __init__(self, rate: Fraction) -> None:
        self._rate = rate
        self._free: int | None = None  # the first that is not taken
        self.dropped = 0

    def take(self, time_s: Fraction) -> range | None:
        """The ticks that were passed over since the last frame, and the frame's own at the end;
        None when that is taken."""
        # Halves always go up: to the nearest even number, of frames at twice the rate now two and
        # now none would be in the middle between two that are taken.
        tick = math.floor(time_s * self._rate + _HALF)
        free = tick if self._free is None else self._free
        if tick < free:
            self.dropped += 1
            return None
        self._free = tick + 1
        return range(free, tick + 1)
