"""Looks at some frames of a stream for people: what was found holds for the frames between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from ..jit import U8
from ..media.frame import Frame
from ..vision.person import is_other_scene
from .governor import STEPS
from .queues import LatestQueue

P = TypeVar("P")
T = TypeVar("T")

Spawn = Callable[[str, Callable[[], None]], None]


class Looks(Generic[P, T]):
    """Looks at a stream.

    Live, a thread looks, and the newest result counts: no picture waits for it. In a file, the
    times of frames decide which are looked at, and the first of a scene is, so that the results are
    always the same.

    Parameters
    ----------
    spawn : starts a thread for a live stream, as spawn(name, work); None for a file
    name : of the thread
    make : makes, on the thread that will use it, the function that looks. It gets a picture and
        whether it is of another scene than the last; a result that has not changed is the same
        object

    Attributes
    ----------
    looks_per_s : how often to look
    """

    def __init__(
        self, spawn: Spawn | None, name: str, make: Callable[[], Callable[[P, bool], T]]
    ) -> None:
        self._spawn, self._name, self._make = spawn, name, make
        self._pictures: LatestQueue[tuple[int, P]] = LatestQueue()
        self._look: Callable[[P, bool], T] | None = None
        self._found: tuple[int, T] | None = None  # the last look's scene, and its result
        self._used: tuple[int, T] | None = None  # what was found when the last picture was made
        self._scene = 0
        self._before: U8 | None = None  # the last picture, see `coarse`
        self._turn = 0  # of the last look
        self._is_watching = False
        self.looks_per_s = STEPS[0].looks_per_s

    @property
    def is_used(self) -> bool:
        """Whether the last picture was shown to `take`."""
        return self._before is not None

    @property
    def has_news(self) -> bool:
        """Whether the result has changed since the last picture, which may be shown for long."""
        return self.is_used and self._found is not self._used

    def take(self, frame: Frame, luma: U8, picture: Callable[[], P]) -> T | None:
        """What was found in the scene of a frame; None before the first look at it.

        `luma` is of `coarse`; `picture` makes what is looked at.
        """
        time_s = frame.time_s if self._spawn is None else frame.captured_s
        turn, before = int(time_s * self.looks_per_s), self._before
        self._before = luma
        is_new = before is None or is_other_scene(before, luma)
        self._scene += is_new
        if is_new or turn != self._turn:
            self._turn = turn
            self._show(picture())
        self._used = found = self._found
        return found[1] if found is not None and found[0] == self._scene else None

    def forget(self) -> None:
        """The next frame is of another scene."""
        self._before = None

    def close(self) -> None:
        self._pictures.finish()

    def _show(self, picture: P) -> None:
        if self._spawn is None:
            self._look = self._look or self._make()
            self._see(self._look, self._scene, picture)
            return
        if not self._is_watching:
            self._is_watching = True
            self._spawn(self._name, self._watch)
        self._pictures.put((self._scene, picture))

    def _watch(self) -> None:
        try:
            look = self._make()
            for scene, picture in self._pictures:
                self._see(look, scene, picture)
        except Exception:
            self._found = None  # an old result would show people who have moved
            raise

    def _see(self, look: Callable[[P, bool], T], scene: int, picture: P) -> None:
        last_scene, last = self._found or (None, None)
        found = look(picture, scene != last_scene)
        if scene != last_scene or found is not last:
            self._found = scene, found
