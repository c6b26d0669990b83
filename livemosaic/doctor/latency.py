"""The latency from glass to glass: from a change of the light to its mosaic in the window."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..argument import number, path_text, whole
from ..control.options import resolve
from ..control.state import Control
from ..errors import SinkError, SourceError, UsageError
from ..jit import F32, U8
from ..media.frame import Frame, StreamInfo, TrackPacket
from ..session import open_input, open_pipeline
from ..sinks.base import RunContext
from ..sources import Source, check_input, input_kind
from ..sources.screen import ScreenSource
from ..window import WindowDestination
from ..window.display import check_display
from ..window.hud import message_panel
from ..window.window import TITLE, WindowSink, close_window, is_visible, open_window
from .flashes import FlashMeter, NotSeen

_logger = logging.getLogger("livemosaic")

FLASHES = "livemosaic flashes"  # the title of their window
_SIZE = (480, 270)  # of their window, and of the white square in it
# The square and its mosaic beside it stay below WCAG's 21,824 pixels for what flashes.
_SQUARE = 128
_MOSAIC_SIZE = (640, 360)  # of the window beside it; larger than that, it would hide the square

_GAP, _TEXT_PX = 40, 14

_FIND_S, _CHANGE_S = 5, 0.65  # how long it usually takes to find the square, and for a change

_GRID = (64, 36)  # parts of a picture that are looked at

_NEAR_S = 0.02  # a pipeline serves its window every 15 ms: within them, this module waits


@dataclass(frozen=True, slots=True)
class Latency:
    """The result of `measure_latency`.

    Attributes
    ----------
    input : as it was given, without credentials
    width, height, rate : of its pictures
    latency_ms : from a change to its mosaic in the window: `p50`, `p95` and `max`
    since_capture_ms : the same for the part since the picture was captured
    changes, lost : how many were measured, and how many were not seen within three seconds
    governor : what the governor reduced at the end, empty for nothing
    """

    input: str
    width: int
    height: int
    rate: float
    latency_ms: dict[str, float]
    since_capture_ms: dict[str, float]
    changes: int
    lost: int
    governor: str

    @property
    def microphone_delay_ms(self) -> int:
        """How much later than its sound half of the picture's changes are shown."""
        return round(self.latency_ms["p50"])


def measure_latency(
    input: str | Source = "screen",
    *,
    changes: int = 40,
    notice_s: float = 5.0,
    find_s: float = 30.0,
) -> Latency:
    """Measure the latency of `livemosaic run INPUT window`. Opens two windows, on the main thread.

    One window shows a white square that comes and goes: it flashes at most 1.25 times a second. The
    input sees it, by the screen or with a camera that is pointed at it, and the other window shows
    the mosaic. Both times, of a change and of its mosaic, are taken when the window system has got
    the picture. So everything in between is in the latency: the way to the screen and its light,
    the wait for the next picture, the exposure, capture, mosaic and window. Nothing is subtracted.

    Parameters
    ----------
    input : a live input as `livemosaic run` takes it, or your own live `Source`
    changes : how many to measure, dark to bright and back; each takes about 0.6 s and the latency
    notice_s : for the warning that it will flash, which is logged and shown before
    find_s : how long to search for the square in the input's pictures

    Raises
    ------
    UsageError : the input is not live
    SourceError : the input cannot be opened or read, or does not see the square
    SinkError : no window can be opened, or it was closed
    """
    whole("changes", changes, 2)
    number("notice_s", notice_s, 0)
    number("find_s", find_s, 0)
    words = "an input, or a Source"
    name = input.name if isinstance(input, Source) else path_text("input", input, words)
    options = resolve({}, input=name)
    cv2.setNumThreads(1)  # as `run` does
    meter = FlashMeter(changes=changes, find_s=find_s)
    with contextlib.ExitStack() as undo:
        if isinstance(input, Source):
            undo.callback(input.close)
            source = input
        else:
            check_input(name)
            if input_kind(name) not in ("screen", "file"):  # whose own errors are better
                check_display(elsewhere="run this on a computer that has one")
            source = undo.enter_context(open_input(options))
        if not source.info.live:
            raise UsageError(f"{source.name}: it is not live; name screen, or a webcam")
        destination = _Destination(name="window", meter=meter, source=source, notice_s=notice_s)
        pipeline = open_pipeline(source, [destination], options, undo)
        undo.pop_all()  # the pipeline closes everything from here on
    pipeline.run()
    if not meter.finished:
        raise SinkError(
            f"window: it was closed, or {source.name} ended, before the measurement; run this "
            "again, and leave both windows open"
        )
    return Latency(
        input=source.name,
        width=source.info.width,
        height=source.info.height,
        rate=round(float(source.info.rate), 3),
        latency_ms=_percentiles(meter.latencies_s),
        since_capture_ms=_percentiles(meter.since_capture_s),
        changes=len(meter.latencies_s),
        lost=meter.lost,
        governor=pipeline.report()["governor"]["step"],
    )


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    p50, p95, most = (round(float(np.percentile(seconds, q)) * 1e3, 1) for q in (50, 95, 100))
    return {"p50": p50, "p95": p95, "max": most}


@dataclass(frozen=True, kw_only=True)
class _Destination(WindowDestination):
    """A window beside that of the flashes."""

    meter: FlashMeter
    source: Source
    notice_s: float
    has_keys: bool = False  # so that no recording is looked for in this folder

    def open(self, info: StreamInfo, context: RunContext) -> WindowSink:
        return _Windows(
            info,
            control=context.control or Control(),
            meter=self.meter,
            source=self.source,
            notice_s=self.notice_s,
        )


class _Windows(WindowSink):
    """The window of a run, and the window of the flashes beside it."""

    _display_gone = False

    def __init__(
        self,
        info: StreamInfo,
        *,
        control: Control,
        meter: FlashMeter,
        source: Source,
        notice_s: float,
    ) -> None:
        super().__init__(info, control=control)
        self._meter, self._source = meter, source
        self._item: Frame | None = None  # shown since the last look
        self._begun = self._found = False
        self._pictures = {
            on: _picture(on, "leave this uncovered; q ends it") for on in (False, True)
        }
        try:
            self._begin(notice_s)
        except BaseException:
            self.close()
            raise

    def _begin(self, notice_s: float) -> None:
        """Show both windows, and say that it will flash."""
        cv2.resizeWindow(TITLE, *_MOSAIC_SIZE)
        open_window(FLASHES, _SIZE)
        cv2.imshow(FLASHES, _picture(False, f"flashes begin in {notice_s:g} s; q ends it"))
        cv2.waitKeyEx(1)  # not `pump`: no caller listens yet if a window is closed
        self._place()
        _logger.warning(
            "in %g s a small white square begins to flash, about once a second, for about %.0f s; "
            "if flashes can harm anyone who sees this screen, press Ctrl-C now",
            notice_s,
            _FIND_S + _CHANGE_S * self._meter.changes,
        )
        self._meter.start(time.monotonic() + notice_s)

    def write(self, item: Frame | TrackPacket) -> None:
        super().write(item)
        if isinstance(item, Frame):
            self._item = item

    def pump(self) -> None:
        super().pump()  # the window system gets the picture
        now_s = time.monotonic()
        item, self._item = self._item, None
        if item is not None:
            self._meter.look(_parts(item.y), now_s, captured_s=item.captured_s)
        if self._meter.finished or not is_visible(FLASHES):
            self._control.quit()
            return
        try:
            self._meter.check(now_s)
        except NotSeen:
            raise _not_seen(self._source, self._meter.lost) from None
        if self._meter.due_s - now_s < _NEAR_S:
            self._change()

    def _place(self) -> None:
        """Move both to the corner, where they are visible whatever the screen's scaling."""
        left, top = _corner(self._source)
        cv2.moveWindow(TITLE, left + _SIZE[0] + _GAP, top)
        cv2.moveWindow(FLASHES, left, top)

    def _change(self) -> None:
        """Change the light when it is due. Pictures that come until then do not show it yet."""
        if not self._begun:  # a busy window manager had not shown them before
            self._begun = True
            self._place()
        time.sleep(max(0.0, self._meter.due_s - time.monotonic()))
        cv2.imshow(FLASHES, self._pictures[not self._meter.bright])
        super().pump()
        self._meter.changed(time.monotonic())
        if self._meter.found and not self._found:
            _logger.info("the flashes are seen; measuring %d changes", self._meter.changes)
        self._found = self._meter.found

    def close(self) -> None:
        if not self._display_gone:
            close_window(FLASHES)
        super().close()

    def _lost(self) -> None:
        self._display_gone = True  # another call of OpenCV would end the process before the message
        super()._lost()


def _corner(source: Source) -> tuple[int, int]:
    """Left and top of the screen that is the input; else of the first screen."""
    return (source.place.left, source.place.top) if isinstance(source, ScreenSource) else (0, 0)


def _parts(y: U8) -> F32:
    """The means of the parts of a picture, of 16 pixels each: all would take some milliseconds."""
    some = cv2.resize(y, (4 * _GRID[0], 4 * _GRID[1]), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(some, _GRID, interpolation=cv2.INTER_AREA).astype(np.float32)


def _picture(bright: bool, text: str) -> U8:
    """A black picture with the square, white if bright, and a line of text."""
    width, height = _SIZE
    picture = np.zeros((height, width, 3), np.uint8)
    left, top = (width - _SQUARE) // 2, (height - _SQUARE) // 2
    picture[top : top + _SQUARE, left : left + _SQUARE] = 255 if bright else 0
    panel = message_panel(text, px=_TEXT_PX, width=width)
    panel.paint(picture, (width - panel.width) // 2, height - panel.height - _TEXT_PX)
    return picture


def _not_seen(source: Source, lost: int) -> SourceError:
    if isinstance(source, ScreenSource):
        where, fix = "in its picture", "leave that window uncovered, and on this screen"
    else:
        where = "seen by it"
        fix = "point the camera at the square from about 30 cm, and keep other light away"
    again = f" any more, {lost} flashes were lost" if lost else ""
    return SourceError(
        f"{source.name}: the white square in the window {FLASHES!r} is not {where}{again}; {fix}"
    )
