"""The interface that every sink has."""

from __future__ import annotations

from typing import Protocol

from ..frame import Frame, TrackPacket

__all__ = ["Sink"]


class Sink(Protocol):
    """Somewhere that frames go to.

    A sink is opened by its constructor with the `StreamInfo` of what it will be given. All calls
    but `discard` come from one thread. Errors are `SinkError`. Exactly one of `close` and `abort`
    ends it, or `discard` when its thread is stuck.
    """

    @property
    def name(self) -> str:
        """What the person called it, without credentials."""

    def write(self, item: Frame | TrackPacket) -> None:
        """Take one item. When it returns, the frame's arrays are not read any more."""

    def close(self) -> None:
        """Finish: flush what is pending, and make the result appear under its name."""

    def abort(self) -> None:
        """Give up: leave nothing behind under the final name or beside it. Never raises."""

    def discard(self) -> None:
        """Remove what was written so far, from another thread, although this sink is in the middle
        of a call. Never raises."""
