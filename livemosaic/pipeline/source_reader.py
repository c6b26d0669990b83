"""The source reader: takes a source's items, adjusts their times, and queues them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import takewhile

from ..errors import SourceError
from ..media.frame import Frame, Item, for_each
from ..media.frame_rate import FrameRate
from ..sources.base import Source
from ..sources.part import limited
from .queues import Closed, FrameQueue
from .stats import Durations
from .threads import ThreadGroup

# In the first second, a live source may deliver pictures that it captured before the reading began.
# Those that are older than this show the past, and are dropped.
_STALE_S, _STARTING_S = 0.05, 1.0

# A longer gap is not filled with pictures of a constant rate: it may be a damaged time.
MAX_GAP_S = 60


class SourceReader:
    """Reads a source to its end, on a thread of its own. See `Pipeline` for the parameters."""

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
        self._has_rate = rate is not None
        self._frame_rate = FrameRate(rate or source.info.rate, max_gap_s=MAX_GAP_S)
        self._duration_s, self._realtime = duration_s, realtime
        self.frames = 0  # that the source gave
        self._stale = 0
        self.durations = Durations()  # of decoding a frame; live, since its capture

    @property
    def dropped(self) -> int:
        """Frames that were left out for the rate, or because the mosaic worker was busy."""
        return self._queue.dropped + self._frame_rate.dropped

    @property
    def dropped_by_source(self) -> int:
        """Frames that the source dropped, and frames from before the reading began."""
        return self._source.dropped + self._stale

    @property
    def repeated(self) -> int:
        """How often a frame was repeated for the rate."""
        return self._frame_rate.repeated

    def run(self) -> None:
        """Queue the source's items until its end."""
        stopping = self._threads.stopping
        self._began_s = time.monotonic()
        # No loops and generators, unless an option needs them: these hold a frame, see `Frame`.
        items = iter(self._source)
        if self._source.info.live:
            items = map(self._captured, filter(self._is_fresh, items))
        else:
            items = iter(partial(self._decoded, items), None)
        if self._duration_s is not None:
            items = limited(items, self._duration_s)
        if self._realtime:
            items = paced(items, wait=stopping.wait)
        items = map(self._counted, items)
        if self._has_rate:
            items = self._frame_rate.newest(items, nominal_rate=self._source.info.rate)
        try:
            for_each(takewhile(lambda _: not stopping.is_set(), items), self._queue.put)
        except Closed:
            raise
        except Exception as error:
            if not self.frames:
                raise
            # The outputs are finished with the frames so far. After a stop the error is expected:
            # Ctrl-C also reaches a sender that was started together with this program.
            if not (self._threads.stop_requested and isinstance(error, SourceError)):
                self._threads.record_error(error)
        self._queue.finish()

    def _decoded(self, items: Iterator[Item]) -> Item | None:
        """The next item of a file; measures a frame's decoding. None at the end."""
        began_s = time.monotonic()
        item = next(items, None)
        if isinstance(item, Frame):
            self.durations.add(time.monotonic() - began_s)
        return item

    def _captured(self, item: Item) -> Item:
        """An item of a live source; measures the time since a frame's capture."""
        if not isinstance(item, Frame):
            return item
        decoding_s = time.monotonic() - item.captured_s
        self.durations.add(decoding_s)
        return replace(item, decoding_s=decoding_s)

    def _is_fresh(self, item: Item) -> bool:
        is_starting = time.monotonic() < self._began_s + _STARTING_S
        oldest_s = self._began_s - _STALE_S
        is_stale = is_starting and isinstance(item, Frame) and item.captured_s < oldest_s
        self._stale += is_stale
        return not is_stale

    def _counted(self, item: Item) -> Item:
        if isinstance(item, Frame):
            self.frames += 1
        return item


def paced(
    items: Iterable[Item],
    *,
    wait: Callable[[float], object],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """Yield frames no earlier than a live source would, with that time as their capture.

    `wait` may return early when the program has to stop.
    """
    start_s: float | None = None  # the clock at the stream's time 0
    for item in items:
        if isinstance(item, Frame):
            now_s = clock()
            if start_s is None:
                start_s = now_s - item.time_s
            # Waits from frame to frame would drift.
            if (early_s := start_s + item.time_s - now_s) > 0:
                wait(early_s)
            item = replace(item, captured_s=clock())
        yield item
