"""What is wanted while it runs: changed by keys and the settings file, read by the pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..mosaic.settings import MosaicSettings

__all__ = ["Control", "LiveState", "LiveStats"]


@dataclass(frozen=True, slots=True)
class LiveState:
    """How the picture should be from the next frame on.

    Attributes
    ----------
    settings : of the mosaic; what sets the output's size is taken at the start only
    gallery : one of `Control.galleries`
    mirror : the picture is turned left to right, as in a looking-glass
    frozen : the last picture stays
    privacy : only tiles, of the picture as it is 16 pixels wide, so that nobody can be recognised
    recording : into a file that is made for it
    max_latency_s : the promise of a live source; None: that of the start
    """

    settings: MosaicSettings = field(default_factory=MosaicSettings)
    gallery: str = "photos"
    mirror: bool = False
    frozen: bool = False
    privacy: bool = False
    recording: bool = False
    max_latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class LiveStats:
    """How a running pipeline does, over the last seconds.

    Attributes
    ----------
    fps_in, fps_out : frames/s that were captured, and that were handed off
    latency_ms_p50, latency_ms_p95 : from capture to hand-off
    dropped : frames that were left out since the start
    active_share : of the cells in the last frame, 0..1
    stages_ms : median of each stage
    governor : what is done to keep the latency promise; empty when nothing has to be
    source : what the source says while it has no picture; empty when it has
    recording : the file that is written, empty if none is
    """

    fps_in: float = 0.0
    fps_out: float = 0.0
    latency_ms_p50: float = 0.0
    latency_ms_p95: float = 0.0
    dropped: int = 0
    active_share: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)
    governor: str = ""
    source: str = ""
    recording: str = ""


class Control:
    """The wanted state, and requests that are done once. Safe from any thread.

    Parameters
    ----------
    wanted : at the start
    galleries : names to choose from, as `open_gallery` takes them

    Attributes
    ----------
    on_quit : called once when the person wants to leave; set by the pipeline
    live_stats : tells how the pipeline does; set by it
    """

    def __init__(
        self, wanted: LiveState | None = None, *, galleries: Sequence[str] = ("photos", "emoji")
    ) -> None:
        self._state = wanted or LiveState()
        self._lock = threading.Lock()
        self._snapshots = 0
        self._message = ""
        self.galleries = tuple(galleries)
        self.on_quit: Callable[[], None] = _nothing
        self.live_stats: Callable[[], LiveStats] = LiveStats

    @property
    def state(self) -> LiveState:
        """What is wanted now: an immutable value."""
        return self._state

    def change(self, **fields: Any) -> None:
        """Change some fields of `wanted`, or of its `settings`, together.

        Raises
        ------
        UsageError : a value out of its bounds; nothing is changed then
        """
        with self._lock:
            own = {name: value for name, value in fields.items() if name in LiveState.__slots__}
            rest = {name: value for name, value in fields.items() if name not in own}
            if rest:
                own["settings"] = replace(own.get("settings", self._state.settings), **rest)
            self._state = replace(self._state, **own)

    def ask_snapshot(self) -> None:
        """Ask for the next picture as a file."""
        with self._lock:
            self._snapshots += 1

    @property
    def snapshot_is_asked(self) -> bool:
        """Whether `take_snapshot` will say yes."""
        return self._snapshots > 0

    def take_snapshot(self) -> bool:
        """Whether a snapshot was asked for since the last call."""
        with self._lock:
            asked, self._snapshots = self._snapshots > 0, 0
        return asked

    def say(self, text: str) -> None:
        """Something to show to the person in the HUD for a moment, an error of theirs too."""
        with self._lock:
            self._message = text

    def take_message(self) -> str:
        """What was said since the last call; empty if nothing was."""
        with self._lock:
            text, self._message = self._message, ""
        return text

    def quit(self) -> None:
        """The person wants to leave."""
        self.on_quit()


def _nothing() -> None:
    """Nobody runs a pipeline yet."""
