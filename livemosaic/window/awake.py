"""Keeps the screen on while a picture fills it: no screen saver, no standby."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading

_logger = logging.getLogger("livemosaic")

# X11 turns the screen off after a minute at the earliest in practice, ten minutes by default.
_RESET_S = 20.0
_END_S = 0.5  # the desktop forgets the request in any case when this process ends


class Awake:
    """Keeps the screen on between `start` and `stop`, which waits for half a second at most.

    The desktop is asked (GNOME, KDE and others by D-Bus, Windows, macOS). On X11 the time since the
    last key is set back again and again, too, for displays without a desktop.
    """

    def __init__(self, *, reset_s: float = _RESET_S) -> None:
        self._reset_s = reset_s
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._ended = threading.Event()
            # A daemon: the desktop may not answer.
            self._thread = threading.Thread(
                target=self._run, args=(self._ended,), name="livemosaic awake", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._ended.set()
            self._thread.join(_END_S)
            self._thread = None

    def _run(self, ended: threading.Event) -> None:
        from wakepy import keep

        with keep.presenting(on_fail="pass") as mode:
            if not mode.active and not _on_x11():
                _logger.info("the screen saver cannot be stopped here; turn it off in the settings")
            while True:
                if _on_x11():
                    _reset()
                if ended.wait(self._reset_s):
                    return


def _on_x11() -> bool:
    return sys.platform not in ("win32", "darwin") and bool(os.environ.get("DISPLAY"))


def _reset() -> None:
    """Begin the time until the screen saver anew, as a key does: `xset s reset`."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return
    xcb.xcb_connect.restype = ctypes.c_void_p
    link = ctypes.c_void_p(xcb.xcb_connect(None, None))
    try:
        if not xcb.xcb_connection_has_error(link):
            xcb.xcb_force_screen_saver(link, ctypes.c_uint8(0))
            xcb.xcb_flush(link)
    finally:
        xcb.xcb_disconnect(link)
