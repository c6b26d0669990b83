"""The mouse pointer over this program's windows. OpenCV cannot hide it; on X11 its server can.

A pointer that a window itself has set does not last: Qt sets its own whenever the mouse enters the
window, such as when that appears. So an invisible window without a pointer covers it. Keys and the
mouse still reach the window below.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any

_CURSOR = 1 << 14  # XCB_CW_CURSOR
_INPUT_ONLY = 2  # XCB_WINDOW_CLASS_INPUT_ONLY
_SIDE = 16_384  # pixels; no screen is larger, and twice as much would be too much for a server
_REPLY = 32  # bytes; lists and values follow
_CARDINAL = 6  # XCB_ATOM_CARDINAL


class HiddenPointer:
    """No pointer over all windows that this process has at `start`, until `stop`.

    Does nothing but on X11.
    """

    def __init__(self) -> None:
        self._server: _Server | None = None

    def start(self) -> None:
        if self._server is not None or sys.platform in ("win32", "darwin"):
            return
        if not os.environ.get("DISPLAY"):
            return
        try:
            server = _Server(ctypes.CDLL("libxcb.so.1"), ctypes.CDLL(None))
        except OSError:
            return
        server.cover_windows()
        self._server = server

    def stop(self) -> None:
        if self._server is not None:
            self._server.disconnect()  # what covers the windows goes with the connection
            self._server = None


class _Server:
    """Requests to a server of X11, by libxcb. `OSError` if it does not answer."""

    def __init__(self, xcb: Any, libc: Any) -> None:
        for name in ("connect", "get_setup", "intern_atom_reply", "query_tree_reply"):
            getattr(xcb, f"xcb_{name}").restype = ctypes.c_void_p
        xcb.xcb_get_property_reply.restype = xcb.xcb_setup_roots_iterator.restype = ctypes.c_void_p
        self._xcb, self._libc = xcb, libc
        self._link = link = ctypes.c_void_p(xcb.xcb_connect(None, None))
        if xcb.xcb_connection_has_error(link):
            self.disconnect()
            raise ConnectionError("the display does not answer")
        # The first field of the first screen is its root window.
        first = xcb.xcb_setup_roots_iterator(ctypes.c_void_p(xcb.xcb_get_setup(link)))
        self._root = ctypes.cast(first, ctypes.POINTER(ctypes.c_uint32))[0]

    def disconnect(self) -> None:
        self._xcb.xcb_disconnect(self._link)

    def cover_windows(self) -> None:
        xcb, link = self._xcb, self._link
        values = (ctypes.c_uint32 * 1)(self._empty_cursor())
        atom = self._atom(b"_NET_WM_PID")
        for window in self._windows(self._root):
            if self._number(window, atom) == os.getpid():
                cover = xcb.xcb_generate_id(link)
                place = (0, 0, _SIDE, _SIDE, 0)  # without a border
                xcb.xcb_create_window(
                    link, 0, cover, window, *place, _INPUT_ONLY, 0, _CURSOR, values
                )
                xcb.xcb_map_window(link, cover)
        # A request with an answer: all those before it are done then.
        self._atom(b"_NET_WM_PID")

    def _empty_cursor(self) -> int:
        xcb, link = self._xcb, self._link
        pixmap, context, cursor = (xcb.xcb_generate_id(link) for _ in range(3))
        xcb.xcb_create_pixmap(link, 1, pixmap, self._root, 1, 1)
        xcb.xcb_create_gc(link, context, pixmap, 0, None)  # whose colour is 0: not opaque
        xcb.xcb_poly_fill_rectangle(link, pixmap, context, 1, (ctypes.c_int16 * 4)(0, 0, 1, 1))
        xcb.xcb_create_cursor(link, cursor, pixmap, pixmap, 0, 0, 0, 0, 0, 0, 0, 0)
        return int(cursor)

    def _atom(self, name: bytes) -> int:
        cookie = self._xcb.xcb_intern_atom(self._link, 0, len(name), name)
        reply = self._reply("intern_atom", cookie)
        return int.from_bytes(reply[8:12], sys.byteorder)

    def _windows(self, window: int) -> Iterator[int]:
        yield window
        reply = self._reply("query_tree", self._xcb.xcb_query_tree(self._link, window))
        for at in range(_REPLY, len(reply), 4):
            yield from self._windows(int.from_bytes(reply[at : at + 4], sys.byteorder))

    def _number(self, window: int, atom: int) -> int | None:
        """A property of a window that is a number."""
        cookie = self._xcb.xcb_get_property(self._link, 0, window, atom, _CARDINAL, 0, 1)
        reply = self._reply("get_property", cookie)
        return int.from_bytes(reply[_REPLY : _REPLY + 4], sys.byteorder) if reply[_REPLY:] else None

    def _reply(self, name: str, cookie: int) -> bytes:
        """The answer to a request; empty if there is none, such as for a window that has gone."""
        answer = getattr(self._xcb, f"xcb_{name}_reply")(self._link, cookie, None)
        if not answer:
            return b""
        more = int.from_bytes(ctypes.string_at(answer + 4, 4), sys.byteorder)
        data = ctypes.string_at(answer, _REPLY + 4 * more)
        self._libc.free(ctypes.c_void_p(answer))
        return data
