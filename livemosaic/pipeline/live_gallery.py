"""The live galleries of a run: brings the mosaic up to date with the one in use, on the side."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..gallery.gallery import Gallery
from ..mosaic.mosaic import Mosaic
from ..mosaic.ready_gallery import ReadyGallery
from ..option import Texts

if TYPE_CHECKING:
    from ..gallery.live import LiveGallery
    from ..gallery.snapshot import GallerySnapshot

# The mosaic's thread and the one that prepares compete for the GIL and for memory: between two
# preparations, so many times as long as one takes, but no longer than a photo may wait.
_PAUSE, _MOST_PAUSE_S = 4.0, 0.5


class GalleryFollower:
    """Prepares each new snapshot of the live gallery in use while the picture goes on.

    Several changes that come while one is prepared are one change afterwards. A gallery becomes
    live when a photo joins it; when the user returns to it after another one, the photo is there.

    Parameters
    ----------
    live : of which the mosaic's gallery is a snapshot; None if it is not live
    name : of the mosaic's gallery, as the control's state has it

    Attributes
    ----------
    changes : snapshots that were taken
    """

    def __init__(
        self,
        mosaic: Mosaic,
        live: LiveGallery | None,
        spawn: Callable[[str, Callable[[], None], Callable[[], None]], None],
        *,
        name: Texts = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mosaic, self._spawn, self._clock = mosaic, spawn, clock
        self._in_use = name, mosaic.gallery  # always together, as other threads read them
        self._lives: dict[Texts, LiveGallery] = {} if live is None else {name: live}
        self._ready: deque[tuple[GallerySnapshot, ReadyGallery]] = deque(maxlen=1)
        self._busy = False
        self._not_before_s = 0.0
        self.changes = 0

    @property
    def name(self) -> Texts:
        """The name of the gallery in use."""
        return self._in_use[0]

    @property
    def live(self) -> LiveGallery | None:
        """The gallery in use, if it is live."""
        return self._lives.get(self.name)

    def snapshot(self, name: Texts) -> Gallery | None:
        """The gallery of a name as it is now, if it is live."""
        live = self._lives.get(name)
        return None if live is None else live.snapshot

    def use(self, name: Texts, gallery: Gallery) -> None:
        """The mosaic uses another gallery."""
        self._in_use = name, gallery

    def join(self, add: Callable[[LiveGallery], object]) -> None:
        """Let `add` add a photo to the gallery in use, which is live from then on. One thread at a
        time may call it."""
        from ..gallery.live import LiveGallery

        name, gallery = self._in_use
        live = self._lives.get(name)
        if live is None:
            live = LiveGallery(gallery)
        add(live)
        self._lives[name] = live

    def leave(self, path: str) -> None:
        """Remove a photo from all galleries that it has joined; `GalleryError`."""
        for live in list(self._lives.values()):
            live.remove([path])

    def take_ready(self) -> ReadyGallery | None:
        """The state of the gallery to use now; None for the one in use. Starts to prepare the next
        one if there is any."""
        live = self.live
        if live is None:
            return None
        now, latest = self._mosaic.gallery, live.snapshot
        if self._ready:
            snapshot, ready = self._ready.pop()
            if snapshot.follows(now):  # else the user has chosen another gallery meanwhile
                self.changes += 1
                return ready
        if (
            latest is not now
            and not self._busy
            and self._clock() >= self._not_before_s
            and latest.follows(now)
        ):
            self._busy = True
            self._spawn("gallery", partial(self._prepare, live), self._end)
        return None

    def _prepare(self, live: LiveGallery) -> None:
        began_s, latest = self._clock(), live.snapshot
        self._not_before_s = began_s + _MOST_PAUSE_S  # also if it fails
        self._ready.append((latest, self._mosaic.prepare_gallery(latest)))
        ended_s = self._clock()
        self._not_before_s = ended_s + min(_PAUSE * (ended_s - began_s), _MOST_PAUSE_S)
        self._end()

    def _end(self) -> None:
        self._busy = False

    @property
    def summary(self) -> str:
        """How many photos there are, and how many joined and left, if any; empty for a gallery that
        is not live."""
        live = self.live
        if live is None:
            return ""
        parts = [f"{len(live):,}"]
        parts += [f"+{live.added:,}"] if live.added else []
        parts += [f"-{live.removed:,}"] if live.removed else []
        return " ".join(parts)

    def report(self) -> dict[str, Any] | None:
        """For `--json`: the gallery in use, or the first one that photos have joined, if any."""
        live = self.live or next(iter(self._lives.values()), None)
        if live is None:
            return None
        return {
            "photos": len(live),
            "added": live.added,
            "removed": live.removed,
            "changes": self.changes,
        }
