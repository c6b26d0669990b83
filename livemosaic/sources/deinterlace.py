"""Deinterlacing."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from ..media.ffmpeg import av, filtered, fraction, picture_filter


class Deinterlacer:
    """Makes one whole picture of each interlaced one (Weston's three-field filter, "bwdif").

    Pictures pass unchanged until the first interlaced one. From then on all go through the filter,
    which is one picture late and does not change progressive ones. Call `flush` at the end.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = time_base
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Yield the pictures that are ready once `frame` is in."""
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is not None and shape != self._shape:
            yield from self.flush()
        if self._graph is None:
            if not frame.interlaced_frame:
                yield frame
                return
            bwdif = "bwdif", "mode=send_frame:deint=interlaced"
            self._graph, self._shape = picture_filter(frame, self._time_base, bwdif), shape
        yield from self._ready(self._graph, frame)

    def flush(self) -> Iterator[av.VideoFrame]:
        """Yield the picture that is still inside."""
        graph, self._graph = self._graph, None
        if graph is not None:
            yield from self._ready(graph, None)

    def _ready(
        self, graph: av.filter.Graph, pushed: av.VideoFrame | None
    ) -> Iterator[av.VideoFrame]:
        for frame in filtered(graph, pushed):
            # The filter counts in halves of a tick.
            time_base = fraction(frame.time_base)
            if frame.pts is not None and time_base is not None:
                ratio = time_base / self._time_base
                frame.pts = round(frame.pts * ratio)
                frame.duration = round(frame.duration * ratio)
                frame.time_base = self._time_base
            yield frame
