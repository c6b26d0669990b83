"""The source, and what is done to the times of its frames on their way to the mosaic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

from ..errors import SourceError
from ..media.frame import Frame, Item
from ..media.frame_rate import FrameRate
from ..sources.base import Source
from ..sources.rate import limited, paced
from .queues import FrameQueue
from .stats import Recent, Times

__all__ = ["SourceReader"]


# A picture that was captured so long before the reading began shows what is over. That can be the
# case in the first second only.
_STALE_S, _STARTING_S = 0.05, 1.0


class SourceReader:
    """Reads a source to its end, on a thread of its own.

    Parameters
    ----------
    source : open
    queue : what the mosaic takes its frames from
    rate : frames/s to be made of the input's, None to keep its own times
    duration_s : stop after so many seconds of the input
    realtime : pace the input as if it were live
    stopping : set when the reading is to end
    fail : told of an error that came after the first frame, and ends the input

    Attributes
    ----------
    frames : how many came
    times : of reading and decoding a frame; live, from its capture on
    recent : when the last ones came
    """

    def __init__(
        self,
        source: Source,
        queue: FrameQueue[Item],
        *,
        rate: Fraction | None,
        duration_s: float | None,
        realtime: bool,
        stopping: threading.Event,
        fail: Callable[[SourceError], None],
    ) -> None:
        self._source, self._queue, self._fail = source, queue, fail
        self._rate = None if rate is None else FrameRate(rate)
        self._duration_s, self._realtime, self._stopping = duration_s, realtime, stopping
        self.frames = 0
        self._stale = 0
        self.times, self.recent = Times(), Recent()

    @property
    def dropped(self) -> int:
        """Frames that were left out for the rate, or because the mosaic was busy."""
        return self._queue.dropped + (self._rate.dropped if self._rate is not None else 0)

    @property
    def dropped_by_source(self) -> int:
        """Frames that came too late to be worth anything."""
        return self._source.dropped + self._stale

    @property
    def repeated(self) -> int:
        """Frames that were given out again for the rate."""
        return self._rate.repeated if self._rate is not None else 0

    def read(self) -> None:
        """Read to the end, and hand over."""
        items = self._fresh() if self._source.info.live else self._timed()
        if self._duration_s is not None:
            items = limited(items, self._duration_s)
        if self._realtime:
            items = paced(items, wait=self._stopping.wait)
        items = self._counted(items)
        if self._rate is not None:
            items = self._rate.newest(items, nominal_rate=self._source.info.rate)
        try:
            for item in items:
                if self._stopping.is_set():
                    break
                self._queue.put(item)
                del item
        except SourceError as error:
            if not self.frames:
                raise
            self._fail(error)  # what has come is worth keeping
        self._queue.finish()

    def _timed(self) -> Iterator[Item]:
        """The source's items; how long each frame took."""
        began = time.monotonic()
        for item in self._source:
            if isinstance(item, Frame):
                self.times.add(time.monotonic() - began)
            yield item
            del item
            began = time.monotonic()

    def _fresh(self) -> Iterator[Item]:
        """A live source's items; what waited in it while everything else was opened is left out."""
        began = time.monotonic()
        for item in self._source:
            if isinstance(item, Frame):
                now = time.monotonic()
                if item.captured_s < began - _STALE_S and now < began + _STARTING_S:
                    self._stale += 1
                    continue
                item = replace(item, decoding_s=now - item.captured_s)
                self.times.add(item.decoding_s)
            yield item
            del item

    def _counted(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Frame):
                self.frames += 1
                self.recent.add()
            yield item
            del item
