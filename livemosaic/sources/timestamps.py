"""Presentation times that a sink can rely on: always there, always increasing."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["Clock"]

# A step back by less is a badly ordered frame, by more a new beginning (joined recordings).
_RESTART_S = 1


class Clock:
    """Repairs presentation times one after the other.

    Good times pass unchanged. A missing one follows the last at the nominal rate; one that does
    not increase becomes the next tick; after a jump back by more than a second everything is
    shifted so that it goes on where it was.

    Parameters
    ----------
    time_base : seconds per tick
    rate : nominal frames/s
    """

    def __init__(self, time_base: Fraction, *, rate: Fraction) -> None:
        self._step = 1 / (rate * time_base)  # ticks per frame, exact
        self._restart = _RESTART_S / time_base
        self._last: int | None = None
        self._anchor = Fraction(0)  # where made-up times count from
        self._made_up = 0
        self._shift = 0

    def __call__(self, pts: int | None) -> int:
        """The time to use for a frame whose decoder says `pts`, in ticks."""
        if pts is None:
            pts = round(self._anchor + self._made_up * self._step)
            self._made_up += 1
        else:
            pts += self._shift
            if self._last is not None and self._last - pts > self._restart:
                ahead = self._last + max(1, round(self._step)) - pts
                self._shift += ahead
                pts += ahead
            # The sum is kept exact: rounding each step would drift.
            self._anchor, self._made_up = Fraction(pts), 1
        if self._last is not None:
            pts = max(pts, self._last + 1)
        self._last = pts
        return pts
