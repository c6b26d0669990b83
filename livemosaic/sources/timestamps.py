"""Repaired presentation times: never missing, always increasing."""

from __future__ import annotations

from fractions import Fraction

# A shorter step back is a frame in the wrong order, a longer one a new recording in the same file.
_RESTART_S = 1


class TimestampRepair:
    """Repairs presentation times, in ticks, one after the other.

    Good times pass unchanged. A missing time follows the last one at the nominal rate. A time that
    does not increase becomes the next tick. After a jump back by more than a second, all times are
    shifted, so that they continue.
    """

    def __init__(self, time_base: Fraction, *, rate: Fraction) -> None:
        self._step = 1 / (rate * time_base)  # ticks per frame, exact
        self._restart = _RESTART_S / time_base
        self._last: int | None = None
        self._anchor = Fraction(0)  # missing times count from here
        self._missing = 0
        self._shift = 0

    def __call__(self, pts: int | None) -> int:
        if pts is None:
            # From the anchor: adding up rounded steps would drift.
            pts = round(self._anchor + self._missing * self._step)
            self._missing += 1
        else:
            pts += self._shift
            if self._last is not None and self._last - pts > self._restart:
                ahead = self._last + max(1, round(self._step)) - pts
                self._shift += ahead
                pts += ahead
            self._anchor, self._missing = Fraction(pts), 1
        if self._last is not None:
            pts = max(pts, self._last + 1)
        self._last = pts
        return pts
