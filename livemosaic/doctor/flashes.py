"""When a light changes, and in which picture each change is seen first.

No window, no camera and no clock: times are passed in, in seconds of `time.monotonic()`.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..jit import F32

# WCAG 2.3.1 allows three flashes within a second. A flash is two changes, and the window shows each
# once more: this is at most two and a half.
_PAUSE_S = (0.4, 0.7)
# While the light is searched for, its changes are even slower, and slower each time: a picture that
# comes late must have come within this share of the time.
_FIRST_HOLD_S, _LONGER_S, _SETTLING = 0.8, 0.25, 0.6
_HALVES = 4  # so often it must be seen that the picture follows the light
_LOST_S = 3.0  # a change that is not seen within this time is lost
_MAX_LOST = 0.1  # of the changes

# A part of the picture belongs to the light if it becomes so many levels brighter each time, and
# this multiple of its noise. The sum of all parts must be clearer: it is compared with the middle.
_MIN_LEVELS, _MIN_PART, _MIN_SUM = 12.0, 4.0, 8.0


class NotSeen(Exception):
    """The light is not in the pictures, or was lost too often."""


@dataclass
class _Half:
    """The time from one change of the light to the next."""

    bright: bool
    settled_s: float  # pictures that are shown later can be trusted
    pictures: list[F32] = field(default_factory=list)


class FlashMeter:
    """Measures how long it takes until a change of a light is seen.

    The caller changes the light at `due_s` and calls `changed`, calls `look` with each picture when
    it is shown, and `check` often. The next change is only due when the one before was seen, after
    a pause of random length: so changes meet all phases of a camera, and are never mixed up.

    Where the light is in the picture, and how bright it is there, is found out first, and again
    after a change that was lost. A change is seen in the first picture that is more than halfway
    between dark and bright.

    Parameters
    ----------
    changes : how many to measure
    find_s : how long to search for the light, all searches together

    Attributes
    ----------
    bright : whether the light is on
    due_s : when the light changes next
    latencies_s : of each change, until the picture was shown
    since_capture_s : of the same pictures, from their capture
    lost : changes that were not seen
    """

    def __init__(self, *, changes: int, find_s: float, pause: random.Random | None = None) -> None:
        self.changes = changes
        self.bright = False
        self.latencies_s: list[float] = []
        self.since_capture_s: list[float] = []
        self.lost = 0
        self._find_s, self._random = find_s, pause or random.Random()
        self._weights: F32 | None = None  # None: the light has to be found
        self._search(math.inf)

    def start(self, at_s: float) -> None:
        """Let the light change for the first time at this time."""
        self._search(at_s)

    @property
    def found(self) -> bool:
        """Whether it is known where the light is in the picture."""
        return self._weights is not None

    @property
    def finished(self) -> bool:
        return len(self.latencies_s) >= self.changes

    def changed(self, now_s: float) -> None:
        """The light has changed."""
        self.bright = not self.bright
        if self._weights is not None:
            self._learn()
            self._awaited, self._last_s, self.due_s = True, now_s, math.inf
            return
        if len(self._halves) == _HALVES and self._find(self._halves):
            self._find_s -= now_s - self._began_s
            self._awaited, self._last_s = False, now_s  # how late pictures are is not known yet
            self._pause(now_s)
            return
        self._halves.append(_Half(self.bright, now_s + _SETTLING * self._hold_s))
        self.due_s = now_s + self._hold_s
        self._hold_s += _LONGER_S

    def look(self, picture: F32, now_s: float, *, captured_s: float) -> None:
        """A picture is shown: float32 (height, width), always of one size."""
        if self._weights is None:
            if self._halves and now_s >= self._halves[-1].settled_s:
                self._halves[-1].pictures.append(picture)
            return
        level = float((self._weights * picture).sum())
        is_bright = level > (self._levels[False] + self._levels[True]) / 2
        if is_bright != self.bright:
            if not self._awaited:  # something flickers, or a change is late
                self._pause(now_s)
        elif self._awaited:
            self.latencies_s.append(now_s - self._last_s)
            self.since_capture_s.append(now_s - captured_s)
            self._awaited, self._last_s = False, now_s
            self._pause(now_s)
        else:
            self._calm.append(level)

    def check(self, now_s: float) -> None:
        """Search again after a lost change; `NotSeen` if that takes too long or is too often."""
        if self._weights is None:
            if now_s - self._began_s > self._find_s:
                raise NotSeen
        elif now_s - self._last_s > _LOST_S:
            self.lost += 1
            if self.lost > max(1, _MAX_LOST * self.changes):
                raise NotSeen
            self._search(now_s)

    # ---- where the light is ------------------------------------------------------------------

    def _search(self, now_s: float) -> None:
        self._weights, self._began_s, self._hold_s = None, now_s, _FIRST_HOLD_S
        self._halves: deque[_Half] = deque(maxlen=_HALVES)
        self.due_s = now_s

    def _find(self, halves: Sequence[_Half]) -> bool:
        """Look for the parts that were brighter each time that the light was on."""
        if not all(half.pictures for half in halves):
            return False
        pictures = [np.stack(half.pictures) for half in halves]
        means = [it.mean(axis=0) for it in pictures]
        signs = [1 if half.bright else -1 for half in halves]
        step = np.minimum.reduce(
            [s * (b - a) for a, b, s in zip(means, means[1:], signs[1:], strict=False)]
        )
        noise = np.sqrt(np.mean([it.var(axis=0) for it in pictures], axis=0))
        weights = np.where(step > np.maximum(_MIN_LEVELS, _MIN_PART * noise), step, 0)
        if not weights.any():
            return False
        weights = (weights / weights.sum()).astype(np.float32)
        levels = [(weights * it).sum(axis=(1, 2)) for it in pictures]
        both: dict[bool, float] = {}
        for on in (False, True):
            of_this = [it for it, half in zip(levels, halves, strict=True) if half.bright == on]
            both[on] = float(np.mean(np.concatenate(of_this)))
        if both[True] - both[False] < _MIN_SUM * max(float(it.std()) for it in levels):
            return False
        self._weights, self._levels = weights, both
        return True

    def _learn(self) -> None:
        """Follow a camera that adapts to the light: how bright it was before this change."""
        calm = self._calm[len(self._calm) // 2 :]
        if calm:
            before = not self.bright
            self._levels[before] += (float(np.mean(calm)) - self._levels[before]) / 2

    def _pause(self, now_s: float) -> None:
        self.due_s = now_s + self._random.uniform(*_PAUSE_S)
        self._calm: list[float] = []
