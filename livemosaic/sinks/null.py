"""The sink that keeps nothing: to measure everything but an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .base import Destination, FileOptions, RunContext, Sink

if TYPE_CHECKING:
    from ..media.frame import Frame, StreamInfo, TrackPacket


@dataclass(frozen=True, kw_only=True)
class NullDestination(Destination):
    """`null`."""

    def open(self, info: StreamInfo, context: RunContext) -> NullSink:
        return NullSink()


def parse_output(spec: str, options: FileOptions) -> NullDestination:
    return NullDestination(name=spec, options=options)


class NullSink(Sink):
    """Takes everything and keeps nothing."""

    name = "null"
    needs_every_frame = False  # it stands for a display

    def write(self, item: Frame | TrackPacket) -> None:
        pass
