"""No screen saver while a picture fills the screen: on X11, and by the desktop."""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import subprocess
import sys

import pytest

from livemosaic.window.awake import Awake

from .program import ENVIRONMENT
from .screen import Screen, open_screen, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs X11 and D-Bus")


class _Info(ctypes.Structure):
    """XScreenSaverInfo of X11/extensions/scrnsaver.h."""

    _fields_ = (
        ("window", ctypes.c_ulong),
        ("state", ctypes.c_int),
        ("kind", ctypes.c_int),
        *((name, ctypes.c_ulong) for name in ("til_or_since_ms", "idle_ms", "event_mask")),
    )


def idle_s(screen: Screen) -> float:
    """Seconds since the last key, after which the server would start a screen saver."""
    library = ctypes.util.find_library("Xss")
    if library is None:
        pytest.skip("not installed: libxss1; see scripts/test")
    x11, saver = ctypes.CDLL("libX11.so.6"), ctypes.CDLL(library)
    x11.XOpenDisplay.restype = x11.XDefaultRootWindow.restype = ctypes.c_void_p
    display, info = ctypes.c_void_p(x11.XOpenDisplay(screen.name.encode())), _Info()
    root = ctypes.c_void_p(x11.XDefaultRootWindow(display))
    assert saver.XScreenSaverQueryInfo(display, root, ctypes.byref(info))
    x11.XCloseDisplay(display)
    return float(info.idle_ms) / 1000


def test_a_server_of_x11_is_never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    awake = Awake(reset_s=0.01)
    with open_screen() as screen:
        monkeypatch.setenv("DISPLAY", screen.name)
        until(lambda: idle_s(screen) > 0.5 or None, what="an idle server")
        awake.start()
        until(lambda: idle_s(screen) < 0.1 or None, what="a server that is not idle")
        awake.stop()
        until(lambda: idle_s(screen) > 0.5 or None, what="an idle server again")


# A desktop that writes down what it is asked, on a bus of its own.
_DESKTOP = """
import threading
from jeepney import DBusAddress, HeaderFields, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection
from livemosaic.window.awake import Awake

NAME = "org.freedesktop.ScreenSaver"
asked, changed = [], threading.Condition()

def serve():
    while True:
        message = desktop.receive()
        if message.header.message_type != MessageType.method_call:
            continue
        member = message.header.fields[HeaderFields.member]
        with changed:
            asked.append((member, *message.body))
            changed.notify_all()
        answers = {"Inhibit": ("u", (7,)), "UnInhibit": (None, ())}
        if member in answers:
            desktop.send(new_method_return(message, *answers[member]))
        else:
            desktop.send(new_error(message, "org.freedesktop.DBus.Error.UnknownMethod"))

def await_call(member):
    with changed:
        assert changed.wait_for(lambda: any(it[0] == member for it in asked), 60), asked

desktop = open_dbus_connection()
desktop.send_and_get_reply(message_bus.RequestName(NAME))
threading.Thread(target=serve, daemon=True).start()
awake = Awake()
awake.start()
await_call("Inhibit")
assert not any(it[0] == "UnInhibit" for it in asked)
awake.stop()
await_call("UnInhibit")
print([it for it in asked if "Inhibit" in it[0]])
"""


def test_the_desktop_is_asked() -> None:
    """Once, and told again at the end."""
    if shutil.which("dbus-run-session") is None:
        pytest.skip("not installed: dbus; see scripts/test")
    environment = {
        name: value
        for name, value in ENVIRONMENT.items()
        if name not in ("DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
    }
    done = subprocess.run(
        ["dbus-run-session", "--", sys.executable, "-c", _DESKTOP],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[('Inhibit', ")
    assert done.stdout.endswith("('UnInhibit', 7)]\n")
