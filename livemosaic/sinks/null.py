"""The sink that only counts: for tests, and to measure everything but an encoder."""

from __future__ import annotations

from dataclasses import dataclass

from ..media.frame import Frame, StreamInfo, TrackPacket
from .base import Sink
from .destination import Destination, FileOptions, RunContext

__all__ = ["NullSink", "parse_output"]


@dataclass(frozen=True, kw_only=True)
class NullDestination(Destination):
    """`null`."""

    def open(self, info: StreamInfo, context: RunContext) -> NullSink:
        return NullSink()


def parse_output(spec: str, options: FileOptions) -> NullDestination:
    return NullDestination(name=spec, options=options)


class NullSink(Sink):
    """Takes everything and keeps nothing.

    Attributes
    ----------
    frames_written, packets_written : how many items were written
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
