"""A sink that only counts: for tests and for measuring everything but the encoder."""

from __future__ import annotations

from fractions import Fraction

from ..media.frame import Frame, TrackPacket

__all__ = ["NullSink"]


class NullSink:
    """Takes everything and keeps nothing.

    Attributes
    ----------
    frames_written, packets_written : how many were given
    """

    def __init__(self) -> None:
        self.name = "null"
        self.live = False
        self.rate: Fraction | None = None
        self.frames_written = 0
        self.packets_written = 0

    def write(self, item: Frame | TrackPacket) -> None:
        """Count one item."""
        if isinstance(item, Frame):
            self.frames_written += 1
        else:
            self.packets_written += 1

    def close(self) -> None:
        """Nothing to finish."""

    def abort(self) -> None:
        """Nothing to remove."""

    def discard(self) -> None:
        """Nothing to remove."""
