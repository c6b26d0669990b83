"""The mosaic worker: filters frames as the control's state says, and passes packets on."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..control.state import Control, LiveState
from ..errors import GalleryError, problem_of
from ..gallery.gallery import Gallery
from ..jit import U8
from ..media.frame import Card, Frame, Item, StatusEvent, TrackPacket
from ..mosaic.area import Area
from ..mosaic.layers import CellCounts
from ..mosaic.mosaic import Mosaic
from ..mosaic.ready_gallery import ReadyGallery
from ..mosaic.settings import MAX_TILE_PX, MosaicSettings
from ..option import Texts
from ..tile_size import enlarged
from .area import AreaFinder
from .away import AwayPicture
from .faces import FacesFinder
from .governor import Governor, Step
from .live_gallery import GalleryFollower
from .photo_booth import PhotoBooth
from .photo_places import PhotoPlaces
from .poster import Moment, PosterMaker
from .queues import Closed, Ended, FrameQueue
from .sink_writer import FanOut
from .spotlight import SpotlightGalleries
from .stats import Durations
from .status_overlay import card_picture, with_status_overlay
from .threads import ThreadGroup
from .warmup import WarmUp

if TYPE_CHECKING:
    from ..gallery.live import LiveGallery
    from ..gallery.watch import FolderWatcher
    from ..mosaic.grid import Grid
    from ..mosaic.spotlight import Spotlight
    from ..vision.faces import Face

_logger = logging.getLogger("livemosaic")

STAGES = ("area", "activity", "features", "match", "compose")
CELL_COUNTS = ("active", "touched", "changed")

# While no live frame comes, a changed state (privacy mode, too) is shown within this time.
_REPAINT_S = 0.1

_REPAINT_TIME_BASE = Fraction(1, 1_000_000)


class MosaicWorker:
    """Filters items on a thread of its own, and hands the results to all sink writers.

    The governor is None where nothing is live. See `Pipeline` for the other parameters.
    """

    def __init__(
        self,
        mosaic: Mosaic,
        incoming: FrameQueue[Item],
        fan_out: FanOut,
        threads: ThreadGroup,
        *,
        control: Control,
        governor: Governor | None = None,
        open_gallery: Callable[[Texts], Gallery] | None = None,
        save_picture: Callable[[Frame], str] | None = None,
        name_poster: Callable[[], Path] | None = None,
        away: AwayPicture | None = None,
        outside: dict[str, U8] | None = None,
        live_gallery: LiveGallery | None = None,
        watcher: FolderWatcher | None = None,
        aspect: Fraction = Fraction(1),
    ) -> None:
        self._mosaic, self._incoming, self._fan_out = mosaic, incoming, fan_out
        self._threads, self._control, self.governor = threads, control, governor
        self._open_gallery, self._save_picture = open_gallery, save_picture
        self._away, self._watcher = away, watcher
        self.poster: PosterMaker | None = None
        if name_poster is not None:
            self.poster = PosterMaker(name_poster, control, aspect=aspect)
        self._state = control.state
        spawn = None if governor is None else self._spawn_aside
        self._area = AreaFinder(spawn, control.warn, outside)
        self._faces = FacesFinder(spawn)
        self._warm_up = WarmUp(mosaic, self._state.settings, self._spawn_aside)
        self.follower = GalleryFollower(
            mosaic, live_gallery, self._spawn_aside, name=self._state.gallery
        )
        self.places = PhotoPlaces(self.follower)
        self.booth = PhotoBooth(
            control,
            self.follower,
            partial(self._spawn_aside, awaited=watcher is not None),
            folder=None if watcher is None else watcher.folders[0],
            aspect=aspect,
        )
        self.spotlight = SpotlightGalleries(self.follower, self._spawn_aside)
        self._opened: deque[tuple[Texts, Gallery]] = deque(maxlen=1)  # ready to be used
        self._last_input: Frame | None = None
        self._repainted_at: Fraction | None = None  # presentation time of a repainted picture
        self.cells = CellCounts()  # of the last frame
        self.cell_shares = dict.fromkeys(CELL_COUNTS, 0.0)  # sums over all frames
        self.mosaic_shares = 0.0  # of the pictures, summed over all frames
        self.split_shares = 0.0  # of the grid's cells, likewise
        self.frames = 0
        self.dropped_by_governor = 0  # with the frames that are older than a repainted one
        self.status = ""  # of the source while it has no picture
        self._shows_card = False
        self.phase = ""  # of a single picture's long work, such as "matching 40%"
        self.durations = {name: Durations() for name in STAGES}
        self._stage_began_s = self._stage_began_cpu_s = self._match_cpu_s = 0.0
        mosaic.on_stage = self._on_stage
        mosaic.on_progress = self._on_progress
        self._damaged: set[str] = set()  # galleries, as their errors tell
        if governor is not None:  # a party goes on
            mosaic.on_damage = self._tell_damage
        if self._state.privacy:
            self._update_settings()

    def run(self) -> None:
        """Filter items until the input ends."""
        timeout_s = _REPAINT_S if self.governor is not None else None
        if self._watcher is not None:
            self._watcher.start(self._control.inform, self._control.warn)
        try:
            while True:
                self._pass_on(self._incoming.take(timeout_s))
        except Ended:
            pass
        except Closed:
            raise
        except Exception as error:
            if not self.frames:
                raise
            # The outputs are finished with the pictures so far: they may be recordings.
            self._threads.record_error(error)
            self._threads.stop_requested = True
        finally:
            self._area.close()
            self._faces.looks.close()
            if self._watcher is not None:
                self._watcher.end()
        self._last_input = None
        self._fan_out.finish()
        if self.poster is not None:
            self.poster.announce()

    def take_photo(self) -> None:
        """Take a photo of the newest frame, see `Control.snap`. Safe from any thread."""
        frame = self._last_input
        tile = 1 if frame is None else self._mosaic.plan(frame.width, frame.height).tile_px
        self.booth.take(frame, tile, status=self.status)

    def _pass_on(self, item: Item | None) -> None:
        """Filter an item, or repaint; hold no picture after that: see `Frame`."""
        result = self._filter(item) if item is not None else self._repaint()
        if result is not None:
            self._fan_out.put(result)

    def _filter(self, item: Item) -> Frame | TrackPacket | None:
        """The result of an item; None when there is nothing to show."""
        if isinstance(item, TrackPacket):
            return item
        if isinstance(item, StatusEvent):
            self.status = item.text
            self._apply_control()
            self._shows_card = item.card is not None
            if item.card is not None:
                return self._picture_of(item.card)
            return None if self._last_input is None else self._repainted(self._last_input)
        self.status = ""
        if self._is_refused(item):
            self.dropped_by_governor += 1
            return None
        changed = self._apply_control() or self._shows_card
        self._shows_card = False
        if self._state.freeze and self._last_input is not None:
            # A live picture is painted again only for a reason. A file keeps all its frames, or it
            # would get shorter.
            reason = changed or self.cells.deferred or self._is_due
            if self.governor is not None and not reason:
                return None
            item = self._last_input.with_times_of(item)
        self._last_input = item
        return self._mosaic_of(item)

    def _is_refused(self, frame: Frame) -> bool:
        """Whether to drop a frame: by the governor, or because a repainted picture is newer."""
        if self.governor is not None:
            self.governor.may_drop = not self._fan_out.needs_every_frame
            if not self.governor.accepts(frame.captured_s):
                return True
        if self._repainted_at is not None:
            if frame.pts * frame.time_base <= self._repainted_at:
                return True
            self._repainted_at = None
        return False

    @property
    def _is_due(self) -> bool:
        """Whether the last picture is to be painted again, although the state stays."""
        control = self._control
        asked = control.snapshot_requested or control.poster_requested or self.places.is_asked
        turns = self.spotlight.is_due and not self._state.privacy
        return asked or turns or self._area.has_news or self._faces.looks.has_news

    def _repaint(self) -> Frame | None:
        """The last picture in the current state, while no frame comes; None if nothing changed."""
        last = self._last_input
        if self._shows_card:  # not the camera's last picture
            self._apply_control()
            if self._control.take_snapshot_request():
                self._control.inform(f"no snapshot: {self.status}")
            if self._control.take_poster_request():
                self._control.inform(f"no poster: {self.status}")
            return None
        if last is None or not (self._apply_control() or self._is_due):
            return None
        # Between two frames, at half of the time that has passed: the next frame comes after it.
        picture = self._repainted(last, share=1.0 if self.status else 0.5)
        self._repainted_at = picture.pts * picture.time_base
        return picture

    def _repainted(self, last: Frame, *, share: float = 1.0) -> Frame:
        """The last frame's picture at a share of the time since then, with the source's status."""
        picture = self._mosaic_of(_later(last, time.monotonic(), share))
        return with_status_overlay(picture, self.status) if self.status else picture

    def _picture_of(self, card: Card) -> Frame:
        """A card in the output's size. It is no mosaic, and counts nowhere."""
        grid = self._mosaic.plan(card.frame.width, card.frame.height)
        self._area.looks.forget()
        self._faces.looks.forget()
        self.spotlight.pause()
        picture = card_picture(card.text, (grid.width, grid.height), card.frame.colour)
        return picture.with_times_of(card.frame)

    def _mosaic_of(self, frame: Frame) -> Frame:
        frame = frame.mirrored() if self._state.mirror else frame
        if self._state.privacy:
            frame = self._away.in_place_of(frame) if self._away is not None else frame.pixelated()
        governor = self.governor
        began_s = self._stage_began_s = time.monotonic()
        # Kernels work on this thread only.
        began_cpu_s = self._stage_began_cpu_s = time.thread_time()
        grid = self._mosaic.plan(frame.width, frame.height)
        area = self._area.area_of(frame, self._state, (grid.width, grid.height))
        faces = self._faces.faces_in(frame, self._state)
        spotlights = self._spotlights(frame, grid, faces)
        if area is not None or self._faces.looks.is_used:
            self._on_stage("area")
        picture = self._mosaic.process(
            frame,
            max_cells=governor.max_cells(self.cells.total) if governor is not None else None,
            area=area,
            faces=faces,
            spotlights=spotlights,
        )
        if self._control.take_snapshot_request():
            self._snapshot(picture)
        if self._control.take_poster_request():
            self._make_poster(frame, area)
        self.places.take(self._mosaic, spotlights)
        cells = self.cells = self._mosaic.cells
        self.frames += 1
        self.mosaic_shares += self._area.share
        self.split_shares += cells.split_share
        for name in CELL_COUNTS:
            self.cell_shares[name] += cells.share(name)
        if governor is not None:
            matched = cells.active - cells.deferred
            governor.observe_match(matched, self._match_cpu_s, deferred=cells.deferred)
            self._govern(governor, began_s, time.thread_time() - began_cpu_s)
        return picture

    def _spotlights(self, frame: Frame, grid: Grid, faces: list[Face]) -> Sequence[Spotlight]:
        """The photos in the spotlight in the next frame."""
        if self._state.privacy:
            self.spotlight.pause()
            return ()
        across, down = grid.width / frame.width, grid.height / frame.height
        shown = [face.scaled(across, down) for face in faces]
        return self.spotlight.next(self._mosaic, grid, self._state.spotlight, shown)

    def governed_by(self, step: Step) -> str:
        """A step of the governor in words, which tell also of the area if there is one."""
        return step.words(has_area=self._area.looks.is_used)

    def _govern(self, governor: Governor, began_s: float, cpu_s: float) -> None:
        now_s = time.monotonic()
        delivered = self._fan_out.quickest_delivery()
        if governor.observe(
            now_s,
            latency_s=delivered.latency_s,
            decoding_s=delivered.decoding_s,
            delivery_s=delivered.work_s,
            work_s=now_s - began_s,
            cpu_s=cpu_s,
        ):
            _logger.debug("governor: %s", self.governed_by(governor.step) or "full quality")
            self._area.looks.looks_per_s = governor.step.looks_per_s
            self._faces.look_less_often(governor.step)
            self._update_settings()

    # ---- the control's state ---------------------------------------------------------------

    def _apply_control(self) -> bool:
        """Adopt the control's state; returns whether that changes the picture."""
        before, self._state = self._state, self._control.state
        gallery: Gallery | None = None
        ready: ReadyGallery | None = None
        if self._opened:
            name, gallery = self._opened.pop()
            self.follower.use(name, gallery)
        else:
            ready = self.follower.take_ready()
            if ready is None and self._state is before and not self._warm_up.take_finished():
                return False
        if self._state.gallery != before.gallery:
            self._load_gallery(self._state.gallery)
        if self.governor is not None and self._state.max_latency_s is not None:
            self.governor.max_latency_s = self._state.max_latency_s
        self._update_settings(gallery, ready)
        if self._state.privacy != before.privacy:
            self._mosaic.forget()  # tiles that were matched to the hidden picture must not stay
        return True

    def _update_settings(
        self, gallery: Gallery | None = None, ready: ReadyGallery | None = None
    ) -> None:
        self._mosaic.update_settings(self._effective(self._state), gallery=gallery, ready=ready)

    def _effective(self, state: LiveState) -> MosaicSettings:
        """The state's settings, reduced by warm-up, governor and privacy mode."""
        settings = self._warm_up.available(state.settings, self._last_input)
        if self.governor is not None and settings.tile_px is not None:
            larger = enlarged(settings.tile_px, self.governor.step.tile_factor, MAX_TILE_PX)
            settings = replace(settings, tile_px=larger)
        hides = state.privacy and self._away is None
        return replace(settings, overlay=0.0) if hides else settings

    def _load_gallery(self, name: Texts) -> None:
        """Open a gallery on a thread of its own: it takes from 0.1 s to minutes."""
        open_gallery, control, follower = self._open_gallery, self._control, self.follower
        if open_gallery is None or name == follower.name:
            return

        def load() -> None:
            gallery = follower.snapshot(name) or open_gallery(name)
            self._mosaic.warm_up_gallery(gallery)
            if control.state.gallery == name:  # still the latest choice
                self._opened.append((name, gallery))

        def give_up() -> None:
            if control.state.gallery == name:  # allow the same choice again
                control.change(gallery=follower.name)

        self._spawn_aside("gallery", load, give_up)

    def _snapshot(self, picture: Frame) -> None:
        """Write a picture on a thread of its own: PNG takes 50 ms and more."""
        save_picture, control = self._save_picture, self._control
        if save_picture is None:
            return

        self._spawn_aside(
            "snapshot", lambda: control.inform(f"saved {save_picture(picture)}"), awaited=True
        )

    def _make_poster(self, frame: Frame, area: Area | None) -> None:
        """Make a poster of the picture of this frame, on a thread of its own."""
        poster = self.poster
        if poster is None or poster.progress:
            return
        moment = Moment.of(self._mosaic, frame, area)
        poster.begin()

        def make() -> None:
            poster.make(moment)
            poster.end()

        self._spawn_aside("poster", make, poster.end, awaited=True)

    def _spawn_aside(
        self,
        name: str,
        work: Callable[[], None],
        give_up: Callable[[], None] = lambda: None,
        *,
        awaited: bool = False,
    ) -> None:
        """Work on a thread of its own; an error is reported, and ends nothing else. `give_up` is
        called after it, also if there is no thread."""

        def report(error: Exception) -> None:
            give_up()
            _logger.debug("%s", name, exc_info=error)
            self._control.warn(problem_of(error))

        def guarded() -> None:
            try:
                work()
            except Exception as error:
                report(error)

        try:
            self._threads.spawn(name, guarded, awaited=awaited)
        except RuntimeError as error:  # the system starts no more threads
            report(error)

    def _on_stage(self, name: str) -> None:
        now_s, cpu_s = time.monotonic(), time.thread_time()
        self.durations[name].add(now_s - self._stage_began_s)
        if name == "match":
            self._match_cpu_s = cpu_s - self._stage_began_cpu_s
        self._stage_began_s, self._stage_began_cpu_s = now_s, cpu_s
        if self._mosaic.settings.thorough:
            self.phase = {"match": "painting", "compose": "writing"}.get(name, "matching")

    def _tell_damage(self, error: GalleryError) -> None:
        """Say once of each gallery that photos of it are damaged."""
        if str(error) not in self._damaged:
            self._damaged.add(str(error))
            self._control.warn(f"damaged photos are blurred: {error}")

    def _on_progress(self, done: int, total: int) -> None:
        self.phase = f"matching {done / total:.0%}"


def _later(frame: Frame, now_s: float, share: float) -> Frame:
    """The frame as if it had been captured now, at a share of the time since its capture.

    In microseconds: the source's time base may have no tick between two frames.
    """
    passed_s = Fraction(max(0.0, share * (now_s - frame.captured_s)))
    pts = math.floor((frame.pts * frame.time_base + passed_s) / _REPAINT_TIME_BASE) + 1
    frame = replace(frame, pts=pts, time_base=_REPAINT_TIME_BASE, duration=0)
    return replace(frame, captured_s=now_s, decoding_s=0.0)
