"""The mosaic's stage: frames are filtered as is wanted now, everything else passes."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from ..control.state import Control, LiveState
from ..errors import LivemosaicError
from ..gallery.file_format import Gallery
from ..media.frame import Frame, Item, StatusEvent, TrackPacket
from ..mosaic.grid import MAX_TILE_PX
from ..mosaic.mosaic import CellCounts, Mosaic
from ..mosaic.settings import MosaicSettings
from .governor import Governor
from .queues import Ended, FrameQueue
from .sink_writer import SinkWriter
from .stats import Recent, Times
from .status_overlay import with_status_overlay
from .threads import Spawn
from .warmup import WarmUp

__all__ = ["STAGES", "MosaicWorker"]

_logger = logging.getLogger("livemosaic")

STAGES = ("activity", "features", "match", "compose")

# While nothing comes, it is looked so often whether the last picture is wanted otherwise: by a key,
# by the one that hides all, too.
_LOOK_S = 0.1

_TICK_S = Fraction(1, 1_000_000)  # of pictures that are made between frames


class MosaicWorker:
    """Filters what comes, on a thread of its own, and puts it before every writer.

    Parameters
    ----------
    mosaic : the filter
    writers : asked anew for each item; they may come and go
    spawn : runs a function on a thread of that name, besides, see `ThreadGroup.spawn`
    control : what is wanted; None where nobody can change anything
    governor : None where nothing is live
    open_gallery : how a gallery is opened when another is wanted, on a thread of its own
    save_picture : writes a snapshot and says its name

    Attributes
    ----------
    cells : what became of the cells of the last frame
    active_share, touched_share, changed_share : sums over frames
    frames : how many were filtered
    governed : frames that were left out: the governor wanted fewer, or they were on their way while
        the picture before them was made anew
    notice : what the source says while it has no picture
    ended : nothing more will come
    doing : what a single picture's long work has come to
    times, recent : of each stage, over the run and over the last seconds
    """

    def __init__(
        self,
        mosaic: Mosaic,
        writers: Callable[[], Sequence[SinkWriter]],
        spawn: Spawn,
        *,
        control: Control | None = None,
        governor: Governor | None = None,
        open_gallery: Callable[[str], Gallery] | None = None,
        save_picture: Callable[[Frame], str] | None = None,
    ) -> None:
        self._mosaic, self._writers, self._spawn = mosaic, writers, spawn
        self._control, self.governor = control, governor
        self._open_gallery, self._save_picture = open_gallery, save_picture
        self._state = control.state if control is not None else LiveState()
        self._warm_up = WarmUp(mosaic, self._state.settings, spawn)
        self._gallery = self._state.gallery  # the name of the one that is in use
        self._opened: deque[tuple[str, Gallery]] = deque(maxlen=1)  # the last that was wanted
        self._input: Frame | None = None  # the last one
        self._anew_at: Fraction | None = None  # the time of a picture made between frames
        self.cells = CellCounts()
        self.active_share = self.touched_share = self.changed_share = 0.0
        self.frames = 0
        self.governed = 0
        self.notice = ""
        self.ended = False
        self.doing = ""
        self.times = {name: Times() for name in STAGES}
        self.recent = {name: Recent() for name in STAGES}
        self._stage_began = 0.0
        mosaic.on_stage = self._on_stage
        mosaic.on_progress = self._on_progress

    def run(self, incoming: FrameQueue[Item]) -> None:
        """Filter what comes, to its end."""
        can_change = self._control is not None and self.governor is not None
        while True:
            try:
                item = incoming.take(_LOOK_S if can_change else None)
            except Ended:
                break
            out = self._filtered(item) if item is not None else self._anew()
            if out is not None:
                for writer in self._writers():
                    writer.put(out)
            # A picture that nobody holds is painted on in place: let go of it before waiting.
            del item, out
        # First this, then those that there are: who adds one later sees it.
        self.ended = True
        for writer in self._writers():
            writer.queue.finish()

    def _filtered(self, item: Item) -> Frame | TrackPacket | None:
        """What becomes of an item; None for nothing."""
        if isinstance(item, TrackPacket):
            return item
        if isinstance(item, StatusEvent):
            self.notice = item.text
            self._obey()
            return None if self._input is None else self._again(self._input)
        self.notice = ""
        if self.governor is not None and not self.governor.accepts(item.captured_s):
            self.governed += 1
            return None
        if self._anew_at is not None:
            if item.pts * item.time_base <= self._anew_at:  # it was on its way meanwhile
                self.governed += 1
                return None
            self._anew_at = None
        changed = self._obey()
        if self._state.frozen and self._input is not None:
            # Live, shown anew when it will be another, or somebody wants to keep it. A file that is
            # written keeps all its pictures, or the film would be over a moment later.
            anew = changed or self.cells.deferred or self._snapshot_is_asked
            if self.governor is not None and not anew:
                return None
            item = self._input.with_times_of(item)
        if self._control is not None or self.governor is not None:  # it may be needed again
            self._input = item
        return self._mosaic_of(item)

    def _anew(self) -> Frame | None:
        """The last picture as it is wanted now, while nothing comes; None if it is as it was."""
        if self._input is None or not (self._obey() or self._snapshot_is_asked):
            return None
        # While there are frames, in the middle of the time that has passed: the next is behind it.
        picture = self._again(self._input, share=1.0 if self.notice else 0.5)
        self._anew_at = picture.pts * picture.time_base
        return picture

    def _again(self, last: Frame, *, share: float = 1.0) -> Frame:
        """The last frame's picture after a share of the time that has passed since; with what the
        source says, if it does."""
        picture = self._mosaic_of(_later(last, time.monotonic(), share))
        return with_status_overlay(picture, self.notice) if self.notice else picture

    @property
    def _snapshot_is_asked(self) -> bool:
        return self._control is not None and self._control.snapshot_is_asked

    def _mosaic_of(self, frame: Frame) -> Frame:
        mosaic, governor = self._mosaic, self.governor
        frame = frame.pixelated() if self._state.privacy else frame
        frame = frame.mirrored() if self._state.mirror else frame
        began = self._stage_began = time.monotonic()
        picture = mosaic.process(
            frame, max_cells=governor.most(self.cells.total) if governor is not None else None
        )
        if self._control is not None and self._control.take_snapshot():
            self._snapshot(picture)
        cells = self.cells = mosaic.cells
        self.frames += 1
        self.active_share += cells.active / cells.total
        self.touched_share += cells.touched / cells.total
        self.changed_share += cells.changed / cells.total
        if governor is not None:
            now = time.monotonic()
            # What an output of its own accord takes longer is nothing that could be made good.
            latency_s, decoding_s = min(
                (
                    (o.last_latency_s, o.last_decoding_s)
                    for o in self._writers()
                    if o.frames and not o.ended
                ),
                default=(0.0, 0.0),
            )
            if governor.observe(
                now, latency_s=latency_s, decoding_s=decoding_s, work_s=now - began
            ):
                _logger.debug("governor: %s", governor.step.words or "nothing is given up")
                self._apply()
        return picture

    # ---- what is wanted ------------------------------------------------------------------

    def _obey(self) -> bool:
        """Take over what is wanted now; whether the picture will be another for it."""
        if self._control is None:
            return False
        before, self._state = self._state, self._control.state
        gallery: Gallery | None = None
        if self._opened:
            self._gallery, gallery = self._opened.pop()
        elif self._state is before and not self._warm_up.take_ended():
            return False
        if self._state.gallery != before.gallery:
            self._load(self._state.gallery)
        if self.governor is not None and self._state.max_latency_s is not None:
            self.governor.max_latency_s = self._state.max_latency_s
        self._apply(gallery)
        if self._state.privacy != before.privacy:
            self._mosaic.forget()  # photos that were chosen by what is to be hidden would stay
        return True

    def _apply(self, gallery: Gallery | None = None) -> None:
        """Give the mosaic its settings: what is wanted, less what is given up."""
        self._mosaic.change(self._effective(self._state), gallery=gallery)

    def _effective(self, wanted: LiveState) -> MosaicSettings:
        settings = self._warm_up.shown(wanted.settings, self._input)
        if self.governor is not None and settings.tile_px is not None:
            larger = min(settings.tile_px * self.governor.step.larger, MAX_TILE_PX)
            settings = replace(settings, tile_px=larger)
        return replace(settings, overlay=0.0) if wanted.privacy else settings

    def _load(self, name: str) -> None:
        """Open a gallery on a thread of its own: it takes from 0.1 s to minutes."""
        open_gallery, control = self._open_gallery, self._control
        if open_gallery is None or control is None or name == self._gallery:
            return

        def load() -> None:
            try:
                gallery = open_gallery(name)
                self._mosaic.warm_up_gallery(gallery)
            except LivemosaicError as error:
                control.say(str(error))
                _logger.warning("%s", error)
                if control.state.gallery == name:  # it can be asked for again
                    control.change(gallery=self._gallery)
            else:
                if control.state.gallery == name:  # and not yet another one
                    self._opened.append((name, gallery))

        self._spawn("gallery", load)

    def _snapshot(self, picture: Frame) -> None:
        """Write a picture on a thread of its own: PNG takes 50 ms and more."""
        save, control = self._save_picture, self._control
        if save is None or control is None:
            return

        def write() -> None:
            try:
                control.say(f"saved {save(picture)}")
            except LivemosaicError as error:
                control.say(str(error))
                _logger.warning("%s", error)

        self._spawn("snapshot", write, awaited=True)

    def _on_stage(self, name: str) -> None:
        now = time.monotonic()
        took = now - self._stage_began
        self.times[name].add(took)
        self.recent[name].add(took)
        self._stage_began = now
        if self._mosaic.settings.thorough:
            self.doing = {"match": "painting", "compose": "writing"}.get(name, "matching")

    def _on_progress(self, done: int, total: int) -> None:
        self.doing = f"matching {done / total:.0%}"


def _later(frame: Frame, now_s: float, share: float) -> Frame:
    """The frame as if it had been captured now, at a share of the time that has passed since.

    In ticks of its own: in a source's there may be no time between two frames.
    """
    passed_s = Fraction(max(0.0, share * (now_s - frame.captured_s)))
    at = math.floor((frame.pts * frame.time_base + passed_s) / _TICK_S) + 1
    return replace(frame, pts=at, time_base=_TICK_S, duration=0, captured_s=now_s, decoding_s=0.0)
