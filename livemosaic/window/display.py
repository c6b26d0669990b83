"""Whether a window can be opened, asked before it is tried.

Where there is no display OpenCV's Qt does not raise an error: it ends the process (`abort`).
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from pathlib import Path
from typing import Any

import cv2

from ..errors import SinkError

__all__ = ["check_display"]

# A display that is asked for over a network that swallows everything would be waited for for
# minutes.
_ANSWER_S = 5.0

_ELSEWHERE = "use another output, such as a file, or null"

# Qt says the same again and again on standard error: that it brings no fonts, that it has no
# Wayland. What is fatal is still said.
_QT_RULES = "*.debug=false;*.info=false;*.warning=false"


def check_display() -> tuple[int, int] | None:
    """Make sure that OpenCV can open a window.

    Returns
    -------
    Width and height of the screen in pixels (all monitors together), None where nobody says

    Raises
    ------
    SinkError : there is no display, it does not answer, or OpenCV cannot use it
    """
    if sys.platform in ("win32", "darwin"):
        return None
    plugins = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    bundled = plugins.is_dir()  # the wheel's own Qt: it speaks X11 only
    if not os.environ.get("DISPLAY"):
        if not os.environ.get("WAYLAND_DISPLAY"):
            raise SinkError(
                "window: there is no display (DISPLAY is not set); "
                f"start it in a desktop session, or by ssh -X, or {_ELSEWHERE}"
            )
        if bundled:
            raise SinkError(
                "window: this OpenCV shows windows by X11, and DISPLAY is not set; "
                f"install and start Xwayland, or {_ELSEWHERE}"
            )
        return None
    if bundled:
        # A desktop may ask all its Qt programs for Wayland.
        os.environ["QT_QPA_PLATFORM"] = "xcb"
        os.environ.setdefault("QT_LOGGING_RULES", _QT_RULES)
        for plugin in plugins.glob("libqxcb.*"):
            _load(plugin)
    return _ask_x11()


def _load(library: Path) -> None:
    """Load what Qt will load, because it ends the process when a library is missing."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        missing = str(error).partition(":")[0]
        raise SinkError(
            f"window: OpenCV's windows need {missing}, which this system does not have; "
            "install it (Debian, Ubuntu: apt install libx11-6 libxcb1 libgl1 libxkbcommon0), "
            f"or {_ELSEWHERE}"
        ) from None


class _Screen(ctypes.Structure):
    """The beginning of xcb_screen_t."""

    _fields_ = (
        ("root", ctypes.c_uint32),
        ("colormap", ctypes.c_uint32),
        ("white", ctypes.c_uint32),
        ("black", ctypes.c_uint32),
        ("masks", ctypes.c_uint32),
        ("width", ctypes.c_uint16),
        ("height", ctypes.c_uint16),
    )


class _Screens(ctypes.Structure):
    """xcb_screen_iterator_t."""

    _fields_ = (
        ("data", ctypes.POINTER(_Screen)),
        ("rem", ctypes.c_int),
        ("index", ctypes.c_int),
    )


def _ask_x11() -> tuple[int, int] | None:
    """Connect to the display as Qt will, with the same library, and leave again."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return None  # an OpenCV of another kind, such as the distribution's: it says itself
    xcb.xcb_connect.restype = xcb.xcb_get_setup.restype = ctypes.c_void_p
    xcb.xcb_setup_roots_iterator.restype = _Screens
    answers: list[tuple[int, tuple[int, int] | None]] = []

    def ask() -> None:
        link = ctypes.c_void_p(xcb.xcb_connect(None, None))
        problem = int(xcb.xcb_connection_has_error(link))
        answers.append((problem, None if problem else _size(xcb, link)))
        xcb.xcb_disconnect(link)

    # Named as all threads of the program, so that its end does not wait for this one.
    asking = threading.Thread(target=ask, name="livemosaic display", daemon=True)
    asking.start()
    asking.join(_ANSWER_S)
    if not answers or answers[0][0]:
        raise SinkError(
            f"window: the display {os.environ['DISPLAY']!r} does not answer; check DISPLAY, and "
            f"that it lets this user in (XAUTHORITY), or {_ELSEWHERE}"
        )
    return answers[0][1]


def _size(xcb: Any, link: ctypes.c_void_p) -> tuple[int, int]:
    screens = xcb.xcb_setup_roots_iterator(ctypes.c_void_p(xcb.xcb_get_setup(link)))
    screen = screens.data.contents
    return int(screen.width), int(screen.height)
