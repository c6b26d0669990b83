"""Real servers for network streams, and a thread that watches a source."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from livemosaic.media.frame import Frame, Item, StatusEvent, TrackPacket
from livemosaic.sources.base import Source

from .conftest import ROOT

TIMEOUT_S = 20.0  # for anything that happens at all
_SYSTEM_PYTHON = "/usr/bin/python3"  # GStreamer's bindings come with the distribution


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A free port of the loopback address."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_NEEDED = """
import sys, gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
sys.exit(not all(map(Gst.ElementFactory.find, ("qtdemux", "h264parse", "rtph264pay", "aacparse"))))
"""


@functools.cache
def _has_rtsp_server() -> bool:
    try:
        done = subprocess.run(
            [_SYSTEM_PYTHON, "-c", _NEEDED], capture_output=True, timeout=60, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def need_rtsp_server() -> None:
    """Skip the test where GStreamer's RTSP server is not installed."""
    if not _has_rtsp_server():
        pytest.skip("no RTSP server: it is in the packages that scripts/test names")


class RtspServer:
    """`tests/rtsp_server.py` in a process of its own, with the faults of a real one."""

    def __init__(self, *words: Any, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self._process: subprocess.Popen[str] | None = None
        self.start(*words)

    def start(self, *words: Any) -> None:
        """Start it; when this returns it listens."""
        self._process = subprocess.Popen(
            [_SYSTEM_PYTHON, ROOT / "tests" / "rtsp_server.py", str(self.port), *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.wait_for("READY")

    def wait_for(self, text: str) -> None:
        """Wait until it says `text`."""
        assert self._process is not None
        output = self._process.stdout
        assert output is not None
        with watchdog(self._process):
            for line in output:
                if line.strip() == text:
                    return
        pytest.fail(f"the RTSP server did not say {text}")

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(TIMEOUT_S)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def pause(self) -> None:
        """Stop it, its connections open."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


@contextlib.contextmanager
def watchdog(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Kill the process if the block does not end."""
    timer = threading.Timer(TIMEOUT_S, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def running(*words: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs during the block."""
    process = subprocess.Popen(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(TIMEOUT_S)


@contextlib.contextmanager
def http_server(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """An HTTP server on a thread; `answer` is called for each GET. Gives its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            # The reader goes when it likes.
            with contextlib.suppress(ConnectionError):
                answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(TIMEOUT_S)
        server.server_close()


def files_of(folder: Path) -> Callable[[Any], None]:
    """Answers with the files of a folder."""

    def answer(handler: Any) -> None:
        handler.directory = str(folder)
        http.server.SimpleHTTPRequestHandler.do_GET(handler)

    return answer


def half_of(file: Path) -> Callable[[Any], None]:
    """Answers with a file, but the connection breaks in its middle."""
    data = file.read_bytes()

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])

    return answer


class Watch:
    """Iterates a source on a thread, and keeps what it gives; ends it at the end of the block.

    Attributes
    ----------
    items : everything so far, with the time of its coming
    error : what ended the iteration, if anything did
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.items: list[tuple[float, Item]] = []
        self.error: BaseException | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._seen = 0
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.interrupt()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "interrupt() did not end the iteration"
        self.source.close()

    def _run(self) -> None:
        try:
            for item in self.source:
                with self._changed:
                    self.items.append((time.monotonic(), item))
                    self._changed.notify_all()
        except BaseException as error:
            self.error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def next(self, kind: type, count: int = 1) -> float:
        """Wait for `count` more items of a kind; when the last came."""
        for _ in range(count):
            with self._changed:
                assert self._changed.wait_for(lambda: self._find(kind), TIMEOUT_S), (
                    f"no {kind.__name__} came"
                )
                at = self.items[self._seen - 1][0]
        return at

    def _find(self, kind: type) -> bool:
        while self._seen < len(self.items):
            self._seen += 1
            if isinstance(self.items[self._seen - 1][1], kind):
                return True
        if self._ended:
            pytest.fail(f"it ended before a {kind.__name__} came: {self.error!r}")
        return False

    def skip(self) -> None:
        """Forget what has come so far."""
        with self._changed:
            self._seen = len(self.items)

    def ended(self) -> float:
        """Wait for the iteration's end; when it was."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, TIMEOUT_S), "it does not end"
        return time.monotonic()

    @property
    def frames(self) -> list[Frame]:
        return [item for _, item in self.items if isinstance(item, Frame)]

    @property
    def packets(self) -> list[TrackPacket]:
        return [item for _, item in self.items if isinstance(item, TrackPacket)]

    @property
    def notices(self) -> list[StatusEvent]:
        return [item for _, item in self.items if isinstance(item, StatusEvent)]


def receiver_threads(name: str) -> list[str]:
    """The threads of that stream that are alive."""
    return [t.name for t in threading.enumerate() if t.name.endswith(name)]
