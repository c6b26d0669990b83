"""The source reader: takes a source's items, adjusts their times, and queues them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

from ..errors import SourceError
from ..media.frame import Frame, Item
from ..media.frame_rate import FrameRate
from ..sources.base import Source
from ..sources.rate import limited, paced
from .queues import FrameQueue
from .stats import Durations, RecentDurations
from .threads import ThreadGroup

__all__ = ["SourceReader"]


# In the first second, a live source may deliver pictures that it captured before the reading began.
# Those that are older than this show the past, and are dropped.
_STALE_S, _STARTING_S = 0.05, 1.0


class SourceReader:
    """Reads a source to its end, on a thread of its own.

    Parameters
    ----------
    source : open
    queue : the mosaic worker's input
    threads : of the pipeline
    rate : constant frames/s for the mosaic worker; None: frames keep their own times
    duration_s : stop after so many seconds of the input
    realtime : pace the input as if it were live

    Attributes
    ----------
    frames : how many frames the source gave
    durations : of reading and decoding a frame; live, from its capture
    recent_frames : for the input's current frame rate
    """

    def __init__(
        self,
        source: Source,
        queue: FrameQueue[Item],
        threads: ThreadGroup,
        *,
        rate: Fraction | None,
        duration_s: float | None,
        realtime: bool,
    ) -> None:
        self._source, self._queue, self._threads = source, queue, threads
        self._rate = None if rate is None else FrameRate(rate)
        self._duration_s, self._realtime = duration_s, realtime
        self.frames = 0
        self._stale = 0
        self.durations, self.recent_frames = Durations(), RecentDurations()

    @property
    def dropped(self) -> int:
        """Frames that were left out for the rate, or because the mosaic worker was busy."""
        return self._queue.dropped + (self._rate.dropped if self._rate is not None else 0)

    @property
    def dropped_by_source(self) -> int:
        """Frames that the source dropped, and frames from before the reading began."""
        return self._source.dropped + self._stale

    @property
    def repeated(self) -> int:
        """How often a frame was repeated for the rate."""
        return self._rate.repeated if self._rate is not None else 0

    def run(self) -> None:
        """Queue the source's items until its end."""
        stopping = self._threads.stopping
        items = self._fresh() if self._source.info.live else self._timed()
        if self._duration_s is not None:
            items = limited(items, self._duration_s)
        if self._realtime:
            items = paced(items, wait=stopping.wait)
        items = self._counted(items)
        if self._rate is not None:
            items = self._rate.newest(items, nominal_rate=self._source.info.rate)
        try:
            for item in items:
                if stopping.is_set():
                    break
                self._queue.put(item)
                del item
        except SourceError as error:
            if not self.frames:
                raise
            # The outputs are finished with the frames so far. After a stop the error is expected:
            # Ctrl-C also reaches a sender that was started together with this program.
            if not self._threads.stop_requested:
                self._threads.record_error(error)
        self._queue.finish()

    def _timed(self) -> Iterator[Item]:
        """The items of a file; measures each frame's decoding."""
        began_s = time.monotonic()
        for item in self._source:
            if isinstance(item, Frame):
                self.durations.add(time.monotonic() - began_s)
            yield item
            del item
            began_s = time.monotonic()

    def _fresh(self) -> Iterator[Item]:
        """The items of a live source, without frames from before the reading began."""
        began_s = time.monotonic()
        for item in self._source:
            if isinstance(item, Frame):
                now_s = time.monotonic()
                if item.captured_s < began_s - _STALE_S and now_s < began_s + _STARTING_S:
                    self._stale += 1
                    continue
                item = replace(item, decoding_s=now_s - item.captured_s)
                self.durations.add(item.decoding_s)
            yield item
            del item

    def _counted(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Frame):
                self.frames += 1
                self.recent_frames.add()
            yield item
            del item
