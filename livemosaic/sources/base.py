"""The interface that every source has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..frame import Frame, StreamInfo, TrackPacket

__all__ = ["Source"]


class Source(Protocol):
    """Somewhere that frames come from.

    A source is opened by its constructor, which has decoded the first frame when it returns, so
    that nothing is created for an input that has no picture. Iterating it once gives every frame,
    and the packets of the other tracks where the container has them, in the container's order.
    Errors are `SourceError`.
    """

    @property
    def name(self) -> str:
        """What the person called it, without credentials."""

    @property
    def info(self) -> StreamInfo: ...

    @property
    def bad_frames(self) -> int:
        """Frames (or packets) that could not be decoded so far."""

    def __iter__(self) -> Iterator[Frame | TrackPacket]: ...

    def close(self) -> None:
        """Release the file or device. May be called twice, and from another thread than the
        iterating one only after that has ended."""
