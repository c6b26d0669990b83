"""A webcam."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

from ...errors import SourceError
from ...media.frame import Frame, StreamInfo
from ..base import DEFAULT_CAPTURE, CaptureMode, Source, SourceOptions
from ..on_demand import OnDemandSource
from ..reconnect import ReconnectingSource
from .capture import BUFFERS, Capture, CaptureGone
from .devices import Camera, find_again, find_camera, twins
from .pixel_formats import Pixels

_logger = logging.getLogger("livemosaic")

_TIME_BASE = Fraction(1, 90_000)  # the tick of RTP and MPEG, finer than any camera's

_START_S = 5.0  # limit for the first picture; cameras take up to 3 s to wake up
_GONE_S = 2.0  # limit for the next one; in the dark, cameras slow down to 5 frames/s, not to 0.5
_FRESH_S = 0.1  # maximum age of the first picture
_POLL_S = 0.1  # `interrupt` ends a wait within this time

# A driver's time stamp of the clock of `time.monotonic`, as nearly always on Linux, is a little in
# the past. It may be some ms in the future if the driver guesses the beginning of the exposure.
_PAST_S, _FUTURE_S = 2.0, 0.1


class WebcamSource(Source):
    """The frames of a camera; endless.

    Parameters
    ----------
    spec : see `find_camera`
    capture : to ask for; the camera's nearest mode is used and logged
    camera : to open; None: found by `spec`
    """

    bad_frames = 0

    def __init__(
        self,
        spec: str = "webcam",
        *,
        capture: CaptureMode = DEFAULT_CAPTURE,
        camera: Camera | None = None,
        open_capture: Callable[..., Capture] = Capture,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = spec
        self._clock = clock
        self._interrupted = threading.Event()
        camera = camera or find_camera(spec)
        width, height, rate = capture
        self._capture = open_capture(camera, spec=spec, size=(width, height), rate=rate)
        try:
            self._pixels = Pixels(self._capture.fourcc, self._capture.size)
            self._start_s: float | None = None
            self._pts = -1
            first = self._next(_START_S)
            assert first is not None  # `interrupt` cannot be called yet
        except BaseException:
            self.close()
            raise
        self._first: Frame | None = first
        actual_rate = self._capture.rate or rate
        self.info = StreamInfo(
            first.width,
            first.height,
            rate=actual_rate,
            time_base=_TIME_BASE,
            colour=first.colour,
            live=True,
        )
        mode = (first.width, first.height, actual_rate)
        asked = "" if mode == capture else f" (asked for {_mode_text(capture)})"
        _logger.info("%s: %s, %s%s", spec, camera.name, _mode_text(mode), asked)

    def __iter__(self) -> Iterator[Frame]:
        frame, self._first = self._current_first(), None
        while frame is not None:
            yield frame
            frame = self._next(_GONE_S)

    def _current_first(self) -> Frame | None:
        """The first current picture, without those that waited in the driver since the opening."""
        began_s = self._clock()
        frame = self._first or self._next(_GONE_S)
        for _ in range(BUFFERS):
            if frame is None or frame.captured_s > began_s - _FRESH_S:
                break
            self._start_s, self._pts = None, -1  # times begin at the yielded picture
            frame = self._next(_GONE_S)
        return frame

    def interrupt(self) -> None:
        """End the iteration within a tenth of a second."""
        self._interrupted.set()

    def close(self) -> None:
        self._capture.close()

    def _next(self, limit_s: float) -> Frame | None:
        """The next picture; None when interrupted."""
        deadline_s = self._clock() + limit_s
        while not self._interrupted.is_set():
            try:
                ready = self._capture.wait(_POLL_S)
            except CaptureGone:
                raise SourceError(
                    f"{self.name}: the camera has gone; plug it in again, or check its cable"
                ) from None
            if ready:
                frame = self._frame()
                if frame is not None:
                    return frame
                self.bad_frames += 1
            if self._clock() > deadline_s:
                raise SourceError(
                    f"{self.name}: no frame came from it for {limit_s:g} s; unplug the camera "
                    "and plug it in again"
                )
        return None

    def _frame(self) -> Frame | None:
        raw = self._capture.read()
        now_s = self._clock()
        planes = self._pixels(raw) if raw is not None else None
        if planes is None:
            return None
        stamp_s = self._capture.stamp_s()
        known = -_FUTURE_S < now_s - stamp_s < _PAST_S
        captured_s = min(stamp_s, now_s) if known else now_s
        if self._start_s is None:
            self._start_s = captured_s
        # Two pictures must not have the same time, even if the driver says so.
        self._pts = max(self._pts + 1, round((captured_s - self._start_s) / _TIME_BASE))
        return Frame(
            *planes, self._pixels.colour, pts=self._pts, time_base=_TIME_BASE, captured_s=captured_s
        )


def open_input(spec: str, options: SourceOptions) -> Source:
    opener = webcam_opener(spec, capture=options.capture)
    if options.on_demand:
        return OnDemandSource(opener, name=spec, reconnect=options.reconnect)
    return ReconnectingSource(opener, name=spec, reconnect=options.reconnect)


def webcam_opener(
    spec: str, *, capture: CaptureMode, open_capture: Callable[..., Capture] = Capture
) -> Callable[[], WebcamSource]:
    """A function that opens a webcam, and later the same one again, but never another one.

    The camera may come back with another number, and `webcam` may mean another camera by then.
    """
    known: Camera | None = None
    others: set[str] = set()

    def open_it() -> WebcamSource:
        nonlocal known, others
        camera = find_camera(spec) if known is None else find_again(known, spec, twins=others)
        source = WebcamSource(spec, capture=capture, camera=camera, open_capture=open_capture)
        known, others = camera, twins(camera)
        return source

    return open_it


def _mode_text(mode: CaptureMode) -> str:
    return f"{mode[0]}x{mode[1]} at {float(mode[2]):g} frames/s"
