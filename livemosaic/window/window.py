"""The window on this computer's screen, by OpenCV: picture, statistics and keys."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Iterator
from fractions import Fraction

import cv2

from ..control.state import Control
from ..errors import SinkError
from ..media.frame import Frame, StreamInfo, TrackPacket
from ..media.text import Panel
from ..sinks.base import Window
from ..unfinished import remove_unfinished
from . import hud
from .awake import Awake
from .canvas import Canvas
from .display import check_display
from .exit_guard import ExitGuard
from .keys import Keyboard, View
from .monitor import monitor
from .pointer import HiddenPointer

_logger = logging.getLogger("livemosaic")

# The window's first size: at most this width, because the cost of showing a picture grows with its
# area, and this share of the screen; not so small that the statistics are unreadable.
_MAX_WIDTH, _MIN_WIDTH = 1280, 640
_SCREEN_SHARE = 0.85
# Half of a picture is sharp and cheap to make; it is used when it fills this share of the maximum.
_ENOUGH_SHARE = 0.75

_STATS_S = 1 / 3  # statistics that change more often are unreadable
_MESSAGE_S = 3.0

TITLE = "livemosaic"  # of the window

_MAX_KEYS = 16  # in one call; more could delay the picture

_STARTING, _HINT = "starting", "press ? for keys"

_SMALL = (480, 80)  # the window while other outputs go on without it


class WindowSink(Window):
    """Shows the latest picture. Opened, used and closed on the main thread.

    The picture keeps its aspect in a window of any size, between black bars. Keys change `control`,
    whose messages and statistics are shown. Closing the window calls `control.quit`; but while
    other outputs go on, a small window without a picture takes its place. In full screen the screen
    saver is off. `display` is the number of a monitor. Raises `SinkError` where no window can be
    opened, `OptionError` if there is no such monitor.
    """

    name = "window"

    def __init__(self, info: StreamInfo, *, control: Control, display: int | None = None) -> None:
        self.view = View(info.width, info.height)
        self._keyboard = Keyboard(control, self.view)
        self._control = control
        self._is_small = False
        aspect = info.width * info.sample_aspect_ratio / info.height
        screen = check_display()
        place = None if display is None else monitor(display)
        if place is not None:
            screen = place.width, place.height
        size = first_size(round(info.height * aspect), aspect, screen)
        self._open = self._full_screen = False
        self._awake, self._pointer = Awake(), HiddenPointer()
        self._canvas = Canvas(*size, aspect=aspect)
        self._corner: Panel | None = None
        self._message = self._resting = _STARTING  # the latter when there is no other
        self._message_until_s = math.inf
        self._gauges: tuple[hud.Gauge, ...] = ()
        self._badges: tuple[str, ...] = ()
        self._stats_s = -math.inf
        self._shown: object = None
        self._exit_guard = ExitGuard(self._lost)
        try:
            open_window(TITLE, size)
            self._open = True
            if place is not None:
                left, top = (place.width - size[0]) // 2, (place.height - size[1]) // 2
                cv2.moveWindow(TITLE, place.left + left, place.top + top)
            self._refresh(changed=True)
        except BaseException:
            self.close()
            raise

    def write(self, item: Frame | TrackPacket) -> None:
        """Show a frame; does nothing once the window is closed."""
        if not isinstance(item, Frame) or not self._is_open() or self._is_small:
            return
        if self._resting == _STARTING:
            self._resting = ""
            self._show_message(_HINT)
        changed = self._resize() | self._canvas.draw(item)
        original = item.original  # a card has none
        if self._wants_corner:
            self._corner = None if original is None else self._canvas.corner(original)
        self._update_texts()
        self._refresh(changed=changed)

    def pump(self) -> None:
        """Process keys and the close button, and draw what has changed."""
        for _ in range(_MAX_KEYS):
            if not self._is_open():
                return
            if (code := cv2.waitKeyEx(1)) == -1:  # one key for each call
                break
            self._press(code)
        if self._is_open():
            self._follow_state()
            self._update_texts()
            self._refresh(changed=self._resize())

    def close(self) -> None:
        """Close the window."""
        if self._open:
            self._open = False
            close_window(TITLE)
        self._pointer.stop()
        self._awake.stop()
        self._exit_guard.remove()

    def abort(self) -> None:
        self.close()

    # ---- the window ----------------------------------------------------------------------

    def _is_open(self) -> bool:
        """Whether the window is open; once the user has closed it, the pipeline has to end."""
        if self._open:
            self._open = is_visible(TITLE)
            if not self._open:
                self._closed()
        return self._open

    def _closed(self) -> None:
        """The user has closed the window: end the run, or go on in a small window."""
        lasting = self._control.lasting
        if self._is_small or not lasting or self._control.state.on_close == "end":
            self._control.quit()
            return
        open_window(TITLE, _SMALL)
        self._open = self._is_small = True
        self._set_full_screen(False)
        self._canvas = Canvas(*_SMALL, aspect=Fraction(*_SMALL))
        self._message = self._resting = f"{lasting} goes on; close again to end"
        self._message_until_s = math.inf
        self._refresh(changed=True)

    def _lost(self) -> None:
        """The display has gone; the process ends after this."""
        self._open = False
        display = os.environ.get("DISPLAY", "")
        error = SinkError(f"window: the display {display!r} has closed the connection")
        if self.on_lost is not None:
            self.on_lost(error)
        else:
            _logger.error("%s", error)
        remove_unfinished()

    def _resize(self) -> bool:
        """Follow the window's size; returns whether it has changed."""
        width, height = cv2.getWindowImageRect(TITLE)[2:]
        if min(width, height) < 1 or (width, height) == (self._canvas.width, self._canvas.height):
            return False
        self._canvas = self._canvas.resized(width, height)
        return True

    def _press(self, code: int) -> None:
        """Run a key's action."""
        if message := self._keyboard.take(code):
            self._show_message(message)
        self._follow_state()
        self._stats_s = -math.inf  # show the key's effect at once

    def _follow_state(self) -> None:
        """Enter or leave the full screen as the control's state says."""
        wanted = self._control.state.fullscreen and not self._is_small
        if wanted != self._full_screen:
            self._set_full_screen(wanted)

    def _set_full_screen(self, on: bool) -> None:
        self._full_screen = on
        mode = cv2.WINDOW_FULLSCREEN if on else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(TITLE, cv2.WND_PROP_FULLSCREEN, mode)
        for it in (self._pointer, self._awake):
            (it.start if on else it.stop)()

    def _refresh(self, *, changed: bool) -> None:
        """Show the picture with all panels, if either has changed."""
        if not self._wants_corner:
            self._corner = None
        texts = (self._gauges, self._badges, self._message, self.view.help)
        panels = (self._corner, *texts, self._qr_address)
        if not changed and panels == self._shown:
            return
        self._shown = panels
        self._canvas.uncover()
        if self._corner is not None:
            self._canvas.cover_corner(self._corner, margin=self._margin)
        for placed in self._arrange():
            self._canvas.cover(*placed)
        cv2.imshow(TITLE, self._canvas.pixels)

    # ---- panels over the picture ---------------------------------------------------------

    def _show_message(self, text: str) -> None:
        self._message, self._message_until_s = text, time.monotonic() + _MESSAGE_S

    def _update_texts(self) -> None:
        """Fetch messages and statistics."""
        now_s = time.monotonic()
        if message := self._control.take_message():
            self._show_message(message)
        if now_s >= self._message_until_s:
            self._message, self._message_until_s = self._resting, math.inf
        if now_s - self._stats_s >= _STATS_S:
            self._stats_s = now_s
            stats = self._control.live_stats()
            state = self._control.state
            self._gauges = hud.gauges(stats) if state.figures and not self._is_small else ()
            self._badges = hud.badges(state, stats) if not self._is_small else ()

    @property
    def _wants_corner(self) -> bool:
        return self.view.original and not self._control.state.privacy and not self._is_small

    @property
    def _qr_address(self) -> str:
        """The address of the QR code that is shown; empty for none."""
        wanted = self._control.state.qr and not self._is_small
        return self._control.guests_url if wanted else ""

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
        if self._gauges:
            panel = hud.stats_panel(self._gauges, px=px)
            yield panel, margin, margin
            if panel.width > width / 2:
                top += panel.height + margin // 2
        for badge in self._badges:
            panel = hud.message_panel(badge, px=px, width=width // 2)
            yield panel, width - margin - panel.width, top
            top += panel.height + margin // 2
        if self._qr_address:
            panel = hud.qr_panel(self._qr_address, height=height)
            yield panel, margin, height - margin - panel.height
        if self.view.help and not self._is_small:
            panel = hud.help_panel(px=px, height=height - 2 * margin)
            yield panel, (width - panel.width) // 2, (height - panel.height) // 2
        if self._message:
            panel = hud.message_panel(self._message, px=px, width=width - 2 * margin)
            yield panel, (width - panel.width) // 2, height - 2 * margin - panel.height


def open_window(title: str, size: tuple[int, int]) -> None:
    """Open a window; `SinkError` if this OpenCV cannot."""
    try:
        # OpenCV's own KEEPRATIO leaves light grey beside the picture.
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL
        cv2.namedWindow(title, flags)
    except cv2.error:
        raise SinkError(
            "window: this OpenCV has no windows; pip uninstall opencv-python-headless, then "
            "pip install --force-reinstall opencv-python"
        ) from None
    cv2.resizeWindow(title, *size)


def close_window(title: str) -> None:
    """Close a window."""
    with contextlib.suppress(cv2.error):  # the user has closed it in the meantime
        cv2.destroyWindow(title)
        cv2.waitKey(1)  # GTK and macOS close it with the next events


def is_visible(title: str) -> bool:
    """Whether a window is open."""
    try:
        return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # OpenCV has no window left
        return False


def first_size(width: int, aspect: Fraction, screen: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height of a window when it opens, in pixels.

    `width` and `aspect` are of the picture as a viewer sees it. `screen` is None if unknown.
    """
    max_width = _MAX_WIDTH
    if screen is not None:
        fitting = min(Fraction(screen[0]), screen[1] * aspect)
        max_width = min(max_width, int(fitting * _SCREEN_SHARE))
    if width > max_width:
        while width > max_width:
            width = -(-width // 2)
        width = width if width >= _ENOUGH_SHARE * max_width else max_width
    elif width < _MIN_WIDTH:
        width *= max(1, min(-(-_MIN_WIDTH // width), max_width // width))
    return max(2, width), max(2, round(width / aspect))
