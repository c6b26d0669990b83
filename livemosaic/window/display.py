"""Checks that a window can be opened.

Without a display, OpenCV's Qt raises no error: it ends the process (`abort`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from pathlib import Path

import cv2

from ..blocking import start_call
from ..errors import SinkError

_TIMEOUT_S = 5.0  # libxcb would wait for minutes for a network that does not answer

_ELSEWHERE = "use another output, such as a file, or null"

# Qt repeats on standard error that it has no fonts and no Wayland. Fatal messages remain.
_QT_RULES = "*.debug=false;*.info=false;*.warning=false"


def check_display(
    *, timeout_s: float = _TIMEOUT_S, elsewhere: str = _ELSEWHERE
) -> tuple[int, int] | None:
    """Make sure that OpenCV can open a window; `SinkError` if not, with `elsewhere` as a way out.

    Returns
    -------
    width and height of the screen in pixels (all monitors together), None if unknown
    """
    if sys.platform in ("win32", "darwin"):
        return None
    plugins = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    bundled = plugins.is_dir()  # the wheel's own Qt, which supports X11 only
    if not os.environ.get("DISPLAY"):
        if not os.environ.get("WAYLAND_DISPLAY"):
            raise SinkError(
                "window: there is no display (DISPLAY is not set); "
                f"start livemosaic in a desktop session, or by ssh -X, or {elsewhere}"
            )
        if bundled:
            raise SinkError(
                "window: this OpenCV needs X11, and DISPLAY is not set; "
                f"install and start Xwayland, or {elsewhere}"
            )
        return None
    if bundled:
        # A desktop may ask all its Qt programs for Wayland.
        os.environ["QT_QPA_PLATFORM"] = "xcb"
        os.environ.setdefault("QT_LOGGING_RULES", _QT_RULES)
        for plugin in plugins.glob("libqxcb.*"):
            _load(plugin, elsewhere)
    return _screen_size(timeout_s, elsewhere)


def _load(library: Path, elsewhere: str) -> None:
    """Load a library before Qt does: Qt ends the process if one is missing."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        missing = str(error).partition(":")[0]
        raise SinkError(
            f"window: OpenCV's windows need {missing}, which is not installed; "
            "install it (Debian, Ubuntu: apt install libx11-6 libxcb1 libgl1 libxkbcommon0), "
            f"or {elsewhere}"
        ) from None


class _Screens(ctypes.Structure):
    """xcb_screen_iterator_t."""

    _fields_ = (("data", ctypes.c_void_p), ("rem", ctypes.c_int), ("index", ctypes.c_int))


def _screen_size(timeout_s: float, elsewhere: str) -> tuple[int, int] | None:
    """Connect to the display with the library that Qt uses, and ask for the screen's size."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return None  # another OpenCV, such as the distribution's, which raises its own error
    xcb.xcb_connect.restype = xcb.xcb_get_setup.restype = ctypes.c_void_p
    xcb.xcb_setup_roots_iterator.restype = _Screens

    def ask() -> tuple[int, int] | None:
        link = ctypes.c_void_p(xcb.xcb_connect(None, None))
        failed = xcb.xcb_connection_has_error(link)
        size = None
        if not failed:
            screens = xcb.xcb_setup_roots_iterator(ctypes.c_void_p(xcb.xcb_get_setup(link)))
            # In xcb_screen_t, five numbers of 32 bits come before width and height.
            size = struct.unpack_from("HH", ctypes.string_at(screens.data, 24), offset=20)
        xcb.xcb_disconnect(link)
        return size

    with contextlib.suppress(TimeoutError):
        size = start_call(ask, name="display").result(timeout_s)
        if size is not None:
            return size
    raise SinkError(
        f"window: the display {os.environ['DISPLAY']!r} does not answer; check DISPLAY, and "
        f"whether it admits this user (XAUTHORITY), or {elsewhere}"
    )
