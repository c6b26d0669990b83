"""The interface that every sink has."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol, runtime_checkable

from ..media.frame import Frame, TrackPacket

__all__ = ["Resampler", "Sink", "Window"]


class Sink(Protocol):
    """Somewhere that frames go to.

    A sink is opened by its constructor with the `StreamInfo` of what it will be given. All calls
    but `discard` come from one thread. Errors are `SinkError`. Exactly one of `close` and `abort`
    ends it, or `discard` when its thread is stuck.
    """

    @property
    def name(self) -> str:
        """What the person called it, without credentials."""

    @property
    def live(self) -> bool:
        """True for what somebody watches now, and so wants the newest picture only; False for what
        wants every frame."""

    @property
    def rate(self) -> Fraction | None:
        """Frames/s that it has to be given at a constant pace, by repeating the last one; None for
        what takes frames as they come."""

    def write(self, item: Frame | TrackPacket) -> None:
        """Take one item. When it returns, the frame's arrays are not read any more."""

    def close(self) -> None:
        """Finish: flush what is pending, and make the result appear under its name."""

    def abort(self) -> None:
        """Give up: leave nothing behind under the final name or beside it. Never raises."""

    def discard(self) -> None:
        """Remove what was written so far, from another thread, although this sink is in the middle
        of a call. Never raises."""


@runtime_checkable
class Resampler(Sink, Protocol):
    """A sink that may have to keep a constant rate by itself."""

    @property
    def dropped(self) -> int:
        """Frames that found no place."""

    @property
    def repeated(self) -> int:
        """How often a frame was repeated for one that did not come."""


@runtime_checkable
class Window(Sink, Protocol):
    """A sink that has to live on the main thread, where windows and their events are.

    `write` and `pump` are called in turns by the thread that runs the pipeline.
    """

    def pump(self) -> None:
        """Take the person's keys and clicks; called at least 30 times a second."""
