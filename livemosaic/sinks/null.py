"""A sink that only counts: for tests and for measuring everything but the encoder."""

from __future__ import annotations

from ..media.frame import Frame, TrackPacket
from .base import Sink

__all__ = ["NullSink"]


class NullSink(Sink):
    """Takes everything and keeps nothing.

    Attributes
    ----------
    frames_written, packets_written : how many were given
    """

    name = "null"

    def __init__(self) -> None:
        self.frames_written = 0
        self.packets_written = 0

    def write(self, item: Frame | TrackPacket) -> None:
        """Count one item."""
        if isinstance(item, Frame):
            self.frames_written += 1
        else:
            self.packets_written += 1
