"""Brings a mosaic up to date with its live gallery, on the side."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..mosaic.mosaic import Mosaic, ReadyGallery

if TYPE_CHECKING:
    from ..gallery.live import LiveGallery

# The mosaic's thread and the one that prepares compete for the GIL and for memory: between two
# preparations, so many times as long as one takes.
_PAUSE = 4.0


class GalleryFollower:
    """Prepares each new snapshot of a live gallery while the picture goes on.

    Several changes that come while one is prepared are one change afterwards.
    """

    def __init__(
        self,
        mosaic: Mosaic,
        live: LiveGallery,
        spawn: Callable[[str, Callable[[], None], Callable[[], None]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.live, self._mosaic, self._spawn, self._clock = live, mosaic, spawn, clock
        self._ready: deque[ReadyGallery] = deque(maxlen=1)
        self._busy = False
        self._not_before_s = 0.0
        self.changes = 0  # snapshots that were taken

    def take_ready(self) -> ReadyGallery | None:
        """The state of the gallery to use now; None for the one in use. Starts to prepare the next
        one if there is any."""
        if self._ready:
            self.changes += 1
            return self._ready.pop()
        latest = self.live.snapshot
        # It does not follow another gallery, which the user has chosen meanwhile.
        if (
            latest is not self._mosaic.gallery
            and not self._busy
            and self._clock() >= self._not_before_s
            and latest.follows(self._mosaic.gallery)
        ):
            self._busy = True
            self._spawn("gallery", self._prepare, self._end)
        return None

    def _prepare(self) -> None:
        began_s = self._clock()
        self._ready.append(self._mosaic.prepare_gallery(self.live.snapshot))
        ended_s = self._clock()
        self._not_before_s = ended_s + _PAUSE * (ended_s - began_s)
        self._end()

    def _end(self) -> None:
        self._busy = False

    @property
    def summary(self) -> str:
        """How many photos there are, and how many joined and left, if any."""
        live = self.live
        parts = [f"{len(live):,}"]
        parts += [f"+{live.added:,}"] if live.added else []
        parts += [f"-{live.removed:,}"] if live.removed else []
        return " ".join(parts)

    def report(self) -> dict[str, Any]:
        """For `--json`."""
        live = self.live
        return {
            "photos": len(live),
            "added": live.added,
            "removed": live.removed,
            "changes": self.changes,
        }
