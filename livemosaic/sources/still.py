"""A still picture for live sinks: it stays until the program is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count

from ..media.frame import Frame
from .base import Source

# Often enough to show a changed setting at once; an unchanged picture costs next to nothing.
_RATE = Fraction(15)


class LoopedStill(Source):
    """Repeats the picture of a source without end, as a live source; closes that source, too."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name
        self.info = replace(
            source.info, rate=_RATE, time_base=1 / _RATE, live=True, still=False, frames=None
        )
        self._interrupted = threading.Event()

    @property
    def bad_frames(self) -> int:
        return self._source.bad_frames

    def __iter__(self) -> Iterator[Frame]:
        picture = next((item for item in self._source if isinstance(item, Frame)), None)
        if picture is None:
            return
        for number in count():
            now = time.monotonic()
            yield replace(picture, pts=number, time_base=1 / _RATE, duration=1, captured_s=now)
            if self._interrupted.wait(float(1 / _RATE)):
                return

    def interrupt(self) -> None:
        self._interrupted.set()

    def close(self) -> None:
        self._source.close()
