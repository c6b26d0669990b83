"""The mouse pointer over this program's windows. OpenCV cannot hide it; on X11 its server can."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any

_CURSOR = 1 << 14  # XCB_CW_CURSOR
_REPLY = 32  # bytes; lists and values follow
_CARDINAL = 6  # XCB_ATOM_CARDINAL


def show_pointer(shown: bool) -> None:
    """Show or hide the pointer over all windows of this process; does nothing but on X11."""
    if sys.platform in ("win32", "darwin") or not os.environ.get("DISPLAY"):
        return
    try:
        xcb, libc = ctypes.CDLL("libxcb.so.1"), ctypes.CDLL(None)
    except OSError:
        return
    for name in ("connect", "get_setup", "intern_atom_reply", "query_tree_reply"):
        getattr(xcb, f"xcb_{name}").restype = ctypes.c_void_p
    xcb.xcb_get_property_reply.restype = xcb.xcb_setup_roots_iterator.restype = ctypes.c_void_p
    link = ctypes.c_void_p(xcb.xcb_connect(None, None))
    try:
        if not xcb.xcb_connection_has_error(link):
            _Pointer(xcb, libc, link).show(shown)
    finally:
        xcb.xcb_disconnect(link)


class _Pointer:
    """Requests to a server of X11, by libxcb."""

    def __init__(self, xcb: Any, libc: Any, link: ctypes.c_void_p) -> None:
        self._xcb, self._libc, self._link = xcb, libc, link
        # The first field of the first screen is its root window.
        first = xcb.xcb_setup_roots_iterator(ctypes.c_void_p(xcb.xcb_get_setup(link)))
        self._root = ctypes.cast(first, ctypes.POINTER(ctypes.c_uint32))[0]

    def show(self, shown: bool) -> None:
        cursor = 0 if shown else self._empty_cursor()  # 0: that of the window behind
        atom = self._atom(b"_NET_WM_PID")
        for window in self._windows(self._root):
            if self._number(window, atom) == os.getpid():
                values = (ctypes.c_uint32 * 1)(cursor)
                self._xcb.xcb_change_window_attributes(self._link, window, _CURSOR, values)
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
