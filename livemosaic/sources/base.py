"""The interface that every source has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..media.frame import Item, StreamInfo

__all__ = ["Source"]


class Source(Protocol):
    """Somewhere that frames come from.

    A source is opened by its constructor, which has decoded the first frame when it returns, so
    that nothing is created for an input that has no picture. Iterating it once gives every frame,
    and the packets of the other tracks where the container has them, in the container's order. A
    live source says in a `StatusEvent` that its frames stay away for a while. Errors are
    `SourceError`.
    """

    @property
    def name(self) -> str:
        """What the person called it, without credentials."""

    @property
    def info(self) -> StreamInfo: ...

    @property
    def bad_frames(self) -> int:
        """Frames (or packets) that could not be decoded so far."""

    @property
    def dropped(self) -> int:
        """Frames of a live source that were let go because nobody took them in time."""

    @property
    def reconnects(self) -> int:
        """How often a live source went away and came back; 0 for files."""

    def __iter__(self) -> Iterator[Item]: ...

    def interrupt(self) -> None:
        """Make the iteration end soon, from any thread, even while it waits. For files, which do
        not keep anybody waiting, this may do nothing. May be called several times."""

    def close(self) -> None:
        """Release the file or device. May be called twice, and from another thread than the
        iterating one only after that has ended."""
