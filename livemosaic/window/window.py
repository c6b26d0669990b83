"""A window on this computer's screen, by OpenCV: picture, figures and keys."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import cv2

from ..control.state import Control
from ..errors import SinkError
from ..media.frame import Frame, StreamInfo, TrackPacket
from ..media.text import Panel
from ..sinks.base import Window
from . import hud
from .canvas import Canvas
from .display import check_display
from .keys import Keyboard, View

__all__ = ["WindowSink"]

# The window at first: no larger than this, because the cost of showing a picture grows with its
# area, nor than this part of the screen; and not so small that the figures cannot be read.
_MAX_WIDTH, _MIN_WIDTH = 1280, 640
_SCREEN_SHARE = 0.85
# Half of a picture is cheap to make and sharp; it is taken when it fills this part of the room.
_ENOUGH_SHARE = 0.75

# How often the figures change: more often they could not be read.
_FIGURES_S = 1 / 3
_MESSAGE_S = 3.0

# Keys that are taken in one call: more could keep the picture waiting.
_MAX_KEYS = 16

_STARTING = "starting"


class WindowSink(Window):
    """Shows the newest picture. Made, used and closed on the main thread.

    The picture keeps its aspect in a window of any size, with black bars. `write` hands it to the
    window, which draws it in the next `pump`.

    Parameters
    ----------
    info : what will be shown
    control : what keys act on, and whose messages are shown; `control.quit` is called when the
        person closes the window
    title : of the window, one of its own for each
    clock : seconds, for what is shown for a while

    Attributes
    ----------
    view : what is shown beside the picture, as keys change it

    Raises
    ------
    SinkError : there is no display, or this OpenCV has no windows
    """

    name = "window"

    def __init__(
        self,
        info: StreamInfo,
        *,
        control: Control,
        title: str = "livemosaic",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.view = View(info.width, info.height)
        self._keyboard = Keyboard(control, self.view, clock=clock)
        self._control, self._title, self._clock = control, title, clock
        aspect = float(info.width * info.sample_aspect_ratio / info.height)
        size = _first_size(round(info.height * aspect), aspect, check_display())
        try:
            # OpenCV's own way of keeping the aspect leaves light grey beside the picture.
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error:
            raise SinkError(
                "window: this OpenCV has no windows; pip uninstall opencv-python-headless, then "
                "pip install --force-reinstall opencv-python"
            ) from None
        cv2.resizeWindow(title, *size)
        self._open = True
        self._full_screen = False
        self._canvas = Canvas(*size, aspect=aspect)
        self._corner: Panel | None = None
        self._message, self._message_until_s = _STARTING, math.inf
        self._report: tuple[hud.Gauge, ...] = ()
        self._badges: tuple[str, ...] = ()
        self._figures_at_s = -math.inf
        self._panels: list[tuple[Panel, int, int]] = []
        self._panels_say: object = None
        self._refresh(changed=True)  # there are no figures yet

    def write(self, item: Frame | TrackPacket) -> None:
        """Show a frame; nothing is done once the window is closed."""
        if not isinstance(item, Frame) or not self._is_open():
            return
        if self._message == _STARTING:
            self._message = ""
        changed = self._resize()
        changed |= self._canvas.draw(item)
        corner = item.original if self._wants_corner else None
        changed |= corner is not None or self._corner is not None
        self._corner = None if corner is None else self._canvas.corner(corner)
        self._look()
        self._refresh(changed=changed)

    def pump(self) -> None:
        """Take the keys and the close button; draw what is due."""
        for _ in range(_MAX_KEYS):
            if not self._is_open():
                return
            code = cv2.waitKeyEx(1)  # one key for each call
            if code == -1:
                break
            self._take(code)
        if self._is_open():
            self._look()
            self._refresh(changed=self._resize())

    def close(self) -> None:
        """Take the window away."""
        if self._open:
            self._open = False
            try:
                cv2.destroyWindow(self._title)
                cv2.waitKey(1)  # GTK and macOS do it with the next events
            except cv2.error:
                pass  # the person was quicker

    def abort(self) -> None:
        """Take the window away."""
        self.close()

    # ---- the window ----------------------------------------------------------------------

    def _is_open(self) -> bool:
        """Whether the window is there; when the person has closed it, they want to leave."""
        if self._open:
            try:
                self._open = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
            except cv2.error:  # the last window of all has gone
                self._open = False
            if not self._open:
                self._control.quit()
        return self._open

    def _resize(self) -> bool:
        """Follow the window's size; returns whether it is another one."""
        width, height = cv2.getWindowImageRect(self._title)[2:]
        if min(width, height) < 1 or (width, height) == (self._canvas.width, self._canvas.height):
            return False
        self._canvas = self._canvas.resized(width, height)
        self._panels_say = None
        return True

    def _take(self, code: int) -> None:
        """Do what a key is for."""
        said = self._keyboard.take(code)
        if said:
            self._say(said)
        if self.view.full_screen != self._full_screen:
            self._full_screen = self.view.full_screen
            mode = cv2.WINDOW_FULLSCREEN if self._full_screen else cv2.WINDOW_NORMAL
            cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)
        self._figures_at_s = -math.inf  # what a key did is seen at once

    def _refresh(self, *, changed: bool) -> None:
        """Draw what is over the picture, and show all of it, if anything is new."""
        says = (self._report, self._badges, self._message, self.view.help)
        if says != self._panels_say:
            self._panels_say, self._panels = says, list(self._arrange())
            changed = True
        if self._corner is not None and not self._wants_corner:
            self._corner = None
            changed = True
        if not changed:
            return
        self._canvas.uncover()
        if self._corner is not None:
            self._canvas.cover_corner(self._corner, margin=self._margin)
        for panel, left, top in self._panels:
            self._canvas.cover(panel, left, top)
        cv2.imshow(self._title, self._canvas.pixels)

    # ---- what is over the picture --------------------------------------------------------

    def _say(self, text: str) -> None:
        self._message, self._message_until_s = text, self._clock() + _MESSAGE_S

    def _look(self) -> None:
        """See what there is to say."""
        now = self._clock()
        said = self._control.take_message()
        if said:
            self._say(said)
        if now >= self._message_until_s:
            self._message, self._message_until_s = "", math.inf
        if now - self._figures_at_s >= _FIGURES_S:
            self._figures_at_s = now
            live_stats = self._control.live_stats()
            self._report = hud.gauges(live_stats) if self.view.hud else ()
            self._badges = hud.badges(self._control.state, live_stats)

    @property
    def _wants_corner(self) -> bool:
        return self.view.original and not self._control.state.privacy

    @property
    def _text_px(self) -> int:
        return hud.text_px(self._canvas.width, self._canvas.height)

    @property
    def _margin(self) -> int:
        return self._text_px * 2 // 3

    def _arrange(self) -> Iterator[tuple[Panel, int, int]]:
        """The panels, with their left and top in the window."""
        width, height = self._canvas.width, self._canvas.height
        px, margin = self._text_px, self._margin
        top = margin
        if self._report:
            panel = hud.figures(self._report, px=px)
            yield panel, margin, margin
            if panel.width > width / 2:
                top += panel.height + margin // 2
        for badge in self._badges:
            panel = hud.message_panel(badge, px=px, width=width // 2)
            yield panel, width - margin - panel.width, top
            top += panel.height + margin // 2
        if self.view.help:
            panel = hud.help_panel(px=px, height=height - 2 * margin)
            yield panel, (width - panel.width) // 2, (height - panel.height) // 2
        if self._message:
            panel = hud.message_panel(self._message, px=px, width=width - 2 * margin)
            yield panel, (width - panel.width) // 2, height - 2 * margin - panel.height


def _first_size(width: int, aspect: float, screen: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height of the window at first, in pixels.

    Parameters
    ----------
    width, aspect : of the picture as it is to be seen
    screen : width and height in pixels, None if unknown
    """
    most = _MAX_WIDTH
    if screen is not None:
        most = min(most, int(min(screen[0], screen[1] * aspect) * _SCREEN_SHARE))
    if width > most:
        while width > most:
            width = -(-width // 2)
        width = width if width >= _ENOUGH_SHARE * most else most
    elif width < _MIN_WIDTH:
        width *= max(1, min(-(-_MIN_WIDTH // width), most // width))
    return max(2, width), max(2, round(width / aspect))
