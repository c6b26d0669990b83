"""A real browser without a screen: Chromium, by its DevTools protocol or for one document."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

BROWSERS = ("chromium", "google-chrome", "chromium-browser")

DESK, PHONE = (1440, 900), (390, 844)  # screens in CSS pixels

_START_S, _WAIT_S = 60, 20


class Tab:
    """One page."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._number = connection, 0
        self.problems: list[str] = []  # errors and warnings on the console
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol; its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._connection.send(json.dumps(message))
        while (answer := self._receive(_WAIT_S)).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self, timeout: float) -> dict[str, Any]:
        item: dict[str, Any] = json.loads(self._connection.recv(timeout=timeout))
        parameters = item.get("params", {})
        if item.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"]))
        if item.get("method") == "Runtime.consoleAPICalled":
            self.problems.append(f"{parameters['type']}: {parameters['args']}")
        if item.get("method") == "Log.entryAdded":
            self.problems.append(str(parameters["entry"]))
        return item

    def show(
        self, url: str, *, size: tuple[int, int], phone: bool = False, dark: bool = False
    ) -> None:
        """Open an address on a screen of a size in CSS pixels."""
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 2 if phone else 1}
        self.call("Emulation.setDeviceMetricsOverride", mobile=phone, **screen)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.bringToFront")
        self.call("Page.navigate", url=url)

    def run(self, code: str) -> Any:
        """The value of an expression of JavaScript; a promise is awaited."""
        done = self._evaluated(code)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def _evaluated(self, code: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.call(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True,
            userGesture=True,
        )  # fmt: skip
        return answer

    def wait_for(self, code: str, *, timeout_s: float = _WAIT_S) -> Any:
        """Wait until an expression is true; its value. It may throw while the page is not ready."""
        deadline = time.monotonic() + timeout_s
        while True:
            done = self._evaluated(code)
            result = done["result"]  # or the error that was thrown
            if "exceptionDetails" in done:
                assert result.get("className") in ("TypeError", "ReferenceError"), done
            elif result.get("value"):
                return result["value"]
            assert time.monotonic() < deadline, f"it never happens: {code}: {done}"
            time.sleep(0.05)

    def press(self, key: str, code: int) -> None:
        """Press a key, such as "ArrowRight"."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def type(self, text: str) -> None:
        """Press a key that makes a text, such as the Enter key."""
        key = {"key": "Enter", "windowsVirtualKeyCode": 13} if text == "\r" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, text=text, **key)

    def choose(self, input: str, *files: Path) -> None:
        """Give files to the chooser of an `input` element, by its selector."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({input!r})")
        element, names = found["result"]["objectId"], list(map(str, files))
        self.call("DOM.setFileInputFiles", objectId=element, files=names)

    def connect(self, *, online: bool) -> None:
        """Take the network away, or give it back."""
        self.call("Network.enable")
        rates = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.call("Network.emulateNetworkConditions", offline=not online, **rates)

    def screenshot(self, *, full: bool = False) -> bytes:
        """What is shown, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=full)
        return base64.b64decode(shot["data"])

    def names(self) -> list[tuple[str, str]]:
        """Role and accessible name of everything that can be operated."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        found = []
        for node in nodes:
            properties = {it["name"]: it["value"].get("value") for it in node.get("properties", ())}
            if not node["ignored"] and properties.get("focusable"):
                name = str(node.get("name", {}).get("value", ""))
                found.append((str(node["role"]["value"]), name))
        return found


class Browser:
    """A browser of its own, with an empty profile."""

    def __init__(self, port: int) -> None:
        self._port = port

    @contextmanager
    def tab(self) -> Iterator[Tab]:
        address = f"http://127.0.0.1:{self._port}/json/new?about:blank"
        with urllib.request.urlopen(
            urllib.request.Request(address, method="PUT"), timeout=_WAIT_S
        ) as answer:
            target = json.load(answer)
        address = target["webSocketDebuggerUrl"]
        with connect(address, max_size=None, compression=None) as connection:
            tab = Tab(connection)
            yield tab
            tab.call("Page.close")


def document_of(page: Path) -> str:
    """The document of a local page after its scripts have run; skips the test without a browser."""
    command = [
        *(_find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *("--virtual-time-budget=5000", "--no-first-run"),
        *(f"--user-data-dir={page.parent}/profile", page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode("utf-8")


def _find_browser() -> str:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed; see scripts/test")
    return program


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser; skips the test where there is none."""
    program = _find_browser()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
        quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update")
        process = subprocess.Popen(
            [program, *options, *quiet, f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            yield Browser(_port(process))
        finally:
            process.terminate()
            process.wait(_WAIT_S)
            assert process.stderr is not None
            process.stderr.close()


def _port(process: subprocess.Popen[str]) -> int:
    """The port of a browser's DevTools, which it prints."""
    assert process.stderr is not None
    seen: list[str] = []
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and (line := process.stderr.readline()):
        seen.append(line)
        if match := re.search(r"ws://127\.0\.0\.1:(\d+)/", line):
            return int(match[1])
    raise AssertionError(f"the browser did not start: {''.join(seen)}")
