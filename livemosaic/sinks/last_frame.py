"""The last frame of a run, for any sink of pictures: `--preview`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from ..errors import UsageError
from ..media.frame import Frame, StreamInfo, TrackPacket
from .base import Destination, RunContext, Sink


@dataclass(frozen=True, kw_only=True)
class LastFrameDestination(Destination):
    """A destination of pictures that gets the last frame of a video."""

    inner: Destination

    @classmethod
    def of(cls, inner: Destination) -> Self:
        """`UsageError` if the destination is for video."""
        if inner.is_display or inner.encodes:
            raise UsageError(f"{inner.name}: a preview is a picture; name one, such as preview.png")
        name, location = inner.name, inner.location
        return cls(name=name, options=inner.options, location=location, inner=inner)

    def check(self) -> None:
        self.inner.check()

    def check_stream(self, info: StreamInfo) -> None:
        self.inner.check_stream(replace(info, still=True))

    def open(self, info: StreamInfo, context: RunContext) -> LastFrame:
        return LastFrame(self.inner.open(replace(info, still=True), context))


class LastFrame(Sink):
    """Writes the last frame to a sink, when it is closed."""

    def __init__(self, sink: Sink) -> None:
        self.name, self._sink = sink.name, sink
        self._last: Frame | None = None

    def write(self, item: Frame | TrackPacket) -> None:
        if isinstance(item, Frame):
            self.dropped += self._last is not None
            self._last = item

    def close(self) -> None:
        if self._last is not None:
            self._sink.write(self._last)
        self._sink.close()

    def abort(self) -> None:
        self._sink.abort()

    def discard(self) -> None:
        self._sink.discard()
