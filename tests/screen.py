"""A display without a monitor, with a window manager, and a hand at its keyboard."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
T = TypeVar("T")

TIMEOUT_S = 20.0
SIZE = (1400, 900)

_TOOLS = ("Xvfb", "openbox", "xdotool", "wmctrl", "xwd")


def until(find: Callable[[], T | None], *, what: str, timeout_s: float = TIMEOUT_S) -> T:
    """Call `find` until it returns something: other processes send no events."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = find()
        if found is not None:
            return found
    pytest.fail(f"{what}: not within {timeout_s:g} s")


class _CursorImage(ctypes.Structure):
    """XFixesCursorImage of X11/extensions/Xfixes.h."""

    _fields_ = (
        *((name, ctypes.c_short) for name in ("x", "y")),
        *((name, ctypes.c_ushort) for name in ("width", "height", "xhot", "yhot")),
        ("serial", ctypes.c_ulong),
        ("pixels", ctypes.POINTER(ctypes.c_ulong)),
    )


class Screen:
    """The display `name`, SIZE pixels large."""

    def __init__(self, name: str, server: subprocess.Popen[bytes]) -> None:
        self.name, self._server = name, server
        self.environment = {**os.environ, "DISPLAY": name}
        self.variables = {"DISPLAY": name, "WAYLAND_DISPLAY": ""}  # for `spawn`, also in Wayland

    def run(self, *words: str, check: bool = True) -> bytes:
        """The output of a program on this display."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, timeout=TIMEOUT_S, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(words)}: {done.stderr.decode()}")
        return done.stdout

    def kill(self) -> None:
        """End the X server at once, as a crash would."""
        self._server.kill()
        self._server.wait(TIMEOUT_S)

    def shot(self) -> U8:
        """All that is to be seen: uint8 (height, width, 3) BGR."""
        # It queries one window after the other, and fails when one moves or closes in between.
        dump = until(lambda: self.run("xwd", "-root", "-silent", check=False) or None, what="xwd")
        header = np.frombuffer(dump, ">u4", 25)  # XWDFileHeader of X11/XWDFile.h
        start, colours = int(header[0]), int(header[19])
        width, height, bits, row_bytes = (int(header[field]) for field in (4, 5, 11, 12))
        rows = np.frombuffer(dump, np.uint8, height * row_bytes, start + colours * 12)
        pixels = rows.reshape(height, row_bytes)[:, : width * bits // 8]
        return pixels.reshape(height, width, bits // 8)[:, :, :3].copy()

    def see(self, true: Callable[[U8], object], *, what: str) -> U8:
        """Look until `true` of a screenshot; returns that."""

        def find() -> U8 | None:
            shot = self.shot()
            return shot if true(shot) else None

        return until(find, what=what)

    def find(self, title: str) -> str | None:
        """The number of the window with this title, if there is one."""
        lines = self.run("wmctrl", "-l", check=False).decode().splitlines()
        numbers = [line.split()[0] for line in lines if line.endswith(f" {title}")]
        return numbers[0] if numbers else None

    def window(self, title: str) -> str:
        """Wait for a window with this title, and return its number."""
        return until(lambda: self.find(title), what=f"a window {title!r}")

    def see_pointer(self, shown: bool) -> None:
        """Look until the middle of the screen has a mouse pointer, or has none."""
        self.run("xdotool", "mousemove", str(SIZE[0] // 2 + 7), str(SIZE[1] // 2))
        x11, fixes = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXfixes.so.3")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        fixes.XFixesGetCursorImage.restype = ctypes.POINTER(_CursorImage)
        display = ctypes.c_void_p(x11.XOpenDisplay(self.name.encode()))

        def find() -> bool | None:
            image = fixes.XFixesGetCursorImage(display).contents
            opaque = any(image.pixels[: image.width * image.height])
            x11.XFree(ctypes.byref(image))
            return True if opaque == shown else None

        until(find, what=f"pointer shown: {shown}")
        x11.XCloseDisplay(display)

    def press(self, title: str, key: str) -> None:
        """Press a key (of X11: `q`, `Escape`, `plus`) in the window with this title.

        One at a time: of two keys in one round of events, OpenCV returns the second only.
        """
        # Not `key --window`: it presses in one way and lets go in another when the key has closed
        # the window, so that it stays pressed, for the next one.
        self.run("xdotool", "windowactivate", "--sync", self.window(title), "key", key)


@contextmanager
def open_screen() -> Iterator[Screen]:
    """A display of its own; skips the test where a part is missing."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; see scripts/test")
    reading, writing = os.pipe()
    size = f"{SIZE[0]}x{SIZE[1]}x24"
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp", "-noreset"],
        pass_fds=(writing,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    manager = None
    try:
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()  # ends with the server, if that fails
        assert number, "Xvfb does not start"
        screen = Screen(f":{number}", server)
        manager = subprocess.Popen(
            ["openbox"],
            env=screen.environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        until(lambda: screen.run("wmctrl", "-m", check=False) or None, what="a window manager")
        yield screen
    finally:
        for process in (manager, server):
            if process is not None:
                process.terminate()
                process.wait(TIMEOUT_S)
