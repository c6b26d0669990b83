"""Repaired presentation times: never missing, always increasing."""

from __future__ import annotations

from fractions import Fraction

# A shorter step back is a frame in the wrong order, a longer one a new recording in the same file.
_RESTART_S = 1
# So many steps in a row, each shorter than at any rate, are no times: a recorder's clock stood
# still, or another program made the same times different.
_STILL_STEPS, _STILL_S = 3, Fraction(1, 4000)


class TimestampRepair:
    """Repairs presentation times, in ticks, one after the other.

    Good times pass unchanged. A missing time follows the last one at the nominal rate. A time that
    does not increase becomes the next tick. While the clock stands still, times advance at the
    nominal rate. After a jump back by more than a second, all times are shifted, so that they
    continue.

    `arrival` says that the times are those of arrival.

    Attributes
    ----------
    stood_still : whether the clock did
    """

    def __init__(self, time_base: Fraction, *, rate: Fraction, arrival: bool = False) -> None:
        self._step = 1 / (rate * time_base)  # ticks per frame, exact
        self._restart = _RESTART_S / time_base
        self._last: int | None = None
        self._anchor = Fraction(0)  # missing times count from here
        self._missing = 0
        self._shift = 0
        self._given: int | None = None
        self._still = 0  # short steps in a row
        # Frames may arrive at one time: a network is no clock.
        self._max_still = -1 if arrival else _STILL_S / time_base
        self.stood_still = False

    def __call__(self, pts: int | None) -> int:
        given, self._given = self._given, pts
        short = pts is not None and given is not None and 0 <= pts - given <= self._max_still
        self._still = self._still + 1 if short else 0
        if pts is None or self._still >= _STILL_STEPS:
            self.stood_still |= pts is not None
            # From the anchor: adding up rounded steps would drift.
            pts = round(self._anchor + self._missing * self._step)
            self._missing += 1
        else:
            pts += self._shift
            if self._last is not None and self._last - pts > self._restart:
                ahead = self._last + max(1, round(self._step)) - pts
                self._shift += ahead
                pts += ahead
            if short:
                self._missing += 1
            else:
                self._anchor, self._missing = Fraction(pts), 1
        if self._last is not None:
            pts = max(pts, self._last + 1)
        self._last = pts
        return pts
