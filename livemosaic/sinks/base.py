"""The base of all sinks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from fractions import Fraction

    from ..media.frame import Frame, TrackPacket

__all__ = ["Sink", "Window"]


class Sink(ABC):
    """A place that frames go to. A subclass needs `write` only.

    The constructor opens the sink. One thread makes all calls but `discard`. Errors are
    `SinkError`. Exactly one of `close` and `abort` ends a sink, or `discard` when its thread is
    stuck. `with sink:` closes it, or aborts it after an exception.

    Attributes
    ----------
    name : for messages and reports, without credentials
    latest_only : True if only the newest frame counts, as in a window; False if every frame does,
        as in a file
    rate : constant frames/s that the sink needs, by repeated frames if necessary; None if it takes
        frames as they come
    dropped : frames that had no place in the result
    repeated : how often the sink itself has repeated a frame
    """

    name: str = "sink"
    latest_only: bool = False
    rate: Fraction | None = None
    dropped: int = 0
    repeated: int = 0

    @abstractmethod
    def write(self, item: Frame | TrackPacket) -> None:
        """Take a frame, or a packet of another track. The frame's arrays are not read later."""

    def close(self) -> None:  # noqa: B027 (not every sink has something to finish)
        """Finish: write what is pending, and give the result its name."""

    def abort(self) -> None:
        """Give up, and leave nothing behind. Never raises."""
        self.discard()

    def discard(self) -> None:  # noqa: B027 (or something to remove)
        """Remove what was written, on any thread, even during another call. Never raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()


class Window(Sink):
    """A sink that lives on the main thread, where windows and their events are.

    The thread that runs the pipeline calls `write` and `pump` in turns.
    """

    latest_only = True

    @abstractmethod
    def pump(self) -> None:
        """Process keys and clicks; called at least 30 times a second."""
