"""Network outputs: what arrives, how soon, and what happens when no receiver takes it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemosaic.errors import SinkError, UsageError
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.ffmpeg import av, open_container
from livemosaic.media.frame import Frame, StreamInfo
from livemosaic.sinks import FileOptions, open_sink
from tests import clips
from tests.program import SMALL, Run, left, needs_jit, video_times
from tests.streams import TIMEOUT_S, RtspServer, free_port, need_rtsp_server, watchdog

# The fixed colours of a test picture survive any coding this well.
CLOSE = 12

only_posix = pytest.mark.skipif(sys.platform == "win32", reason="a process sends no Ctrl-C there")


def info(**changes: Any) -> StreamInfo:
    return replace(StreamInfo(160, 96, live=True), **changes)


class Receiver:
    """Takes what comes to a TCP port, on a thread."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(TIMEOUT_S)
        self.url = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self.data = b""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            connection.settimeout(TIMEOUT_S)
            while part := self._part(connection):
                with self._changed:
                    self.data += part
                    self._changed.notify_all()

    def _part(self, connection: socket.socket) -> bytes:
        try:
            return connection.recv(65536)
        except (ConnectionError, TimeoutError):
            return b""

    def wait_for_frames(self, count: int) -> list[Any]:
        """The frames so far, once there are so many; the sender has not closed."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(decoded(self.data)) >= count, TIMEOUT_S)
            return decoded(self.data)

    def close(self) -> None:
        self._thread.join(TIMEOUT_S)
        self._server.close()


def decoded(data: bytes) -> list[Any]:
    """The frames of what may be cut off anywhere."""
    frames: list[Any] = []
    with (
        contextlib.suppress(av.error.FFmpegError),
        open_container(io.BytesIO(data), format="mpegts") as c,
    ):
        frames.extend(c.decode(video=0))
    return frames


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_each_picture_is_sent_at_once(receiver: Receiver, codec: str) -> None:
    clips.need_encoder(codec)
    sink = open_sink(receiver.url, info(), options=FileOptions(codec=codec))
    assert sink.latest_only
    frames = clips.frames(12)
    for frame in frames:
        sink.write(frame)
    got = receiver.wait_for_frames(12)
    for sent, came in zip(frames, got, strict=True):
        assert np.abs(came.to_ndarray(format="bgr24").astype(int) - sent.to_bgr()).mean() < CLOSE
    sink.close()


def test_key_pictures_every_two_seconds(receiver: Receiver) -> None:
    sink = open_sink(receiver.url, info(rate=Fraction(10), time_base=Fraction(1, 10)))
    still = clips.frames(1)[0]
    for n in range(65):
        sink.write(replace(still, pts=n, time_base=Fraction(1, 10)))
    sink.close()
    receiver.close()
    with open_container(io.BytesIO(receiver.data), format="mpegts") as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert [n for n, packet in enumerate(packets) if packet.is_keyframe] == [0, 20, 40, 60]
    assert all(packet.pts == packet.dts for packet in packets)


def test_a_file_is_sent_whole(receiver: Receiver) -> None:
    sink = open_sink(receiver.url, info(live=False))
    assert not sink.latest_only
    for frame in clips.frames(5):
        sink.write(frame)
    sink.close()
    receiver.close()
    assert len(decoded(receiver.data)) == 5


def test_missing_sound_does_not_hold_the_picture_back(tmp_path: Path, receiver: Receiver) -> None:
    clip = clips.make(tmp_path / "a.mp4", sound=["aac"])
    with open_container(str(clip)) as container:
        sink = open_sink(receiver.url, info(tracks=(container.streams.audio[0],)))
        for frame in clips.frames(50):
            sink.write(frame)
        receiver.wait_for_frames(40)
        sink.close()


def test_udp_datagrams_are_whole_packets() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(TIMEOUT_S)
        sink = open_sink(f"udp://127.0.0.1:{receiver.getsockname()[1]}", info())
        for frame in clips.frames(3):
            sink.write(frame)
            datagram = receiver.recv(65536)
            assert len(datagram) % 188 == 0
            assert len(datagram) <= 1316
        sink.close()


def test_udp_without_a_receiver_is_no_error() -> None:
    sink = open_sink(f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}", info())
    for frame in clips.frames(3):
        sink.write(frame)
    sink.close()


def test_rtmp(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    url = f"rtmp://127.0.0.1:{free_port()}/live/key"
    out = tmp_path / "out.flv"
    words = ("ffmpeg", "-v", "quiet", "-listen", "1", "-i", url, "-c", "copy", str(out))
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    with watchdog(server):
        sink = _patient_open(url, server)
        assert sink.name.endswith("/live/***")
        for frame in clips.frames(30):
            sink.write(frame)
        sink.close()
        server.wait(TIMEOUT_S)
    assert len(clips.packet_times(out, "video")) == 30


def _patient_open(url: str, server: subprocess.Popen[bytes]) -> Any:
    """Open it once the server listens, which says nothing about it."""
    while server.poll() is None:
        try:
            return open_sink(url, info())
        except SinkError as error:
            assert "nothing answers" in str(error)  # noqa: PT017  (any other is a failure)
    pytest.fail("the server ended")


def test_rtsp() -> None:
    need_rtsp_server()
    server = RtspServer("--record")
    try:
        url = f"rtsp://127.0.0.1:{server.port}/in"
        sink = open_sink(url, info())
        for number, frame in enumerate(clips.frames(30)):
            # The source was away for a minute: that is not made up for in pictures.
            sink.write(replace(frame, pts=frame.pts + (25 * 60 if number > 20 else 0)))
        # All but the last, whose end only the next would show.
        server.wait_for("FRAMES 29")
        sink.close()
        assert (sink.dropped, sink.repeated) == (0, 0)
        with pytest.raises(SinkError, match="/other"):
            open_sink(url.replace("/in", "/other"), info())
    finally:
        server.kill()


def test_a_picture_between_two_ticks_of_a_slow_source_is_sent() -> None:
    frames, fine = clips.frames(3), Fraction(1, 1000)
    like = replace(info(), rate=Fraction(1), time_base=Fraction(1))
    sink = open_sink("udp://127.0.0.1:9", like)
    for frame, pts in zip(frames, (0, 300, 1000), strict=True):
        sink.write(replace(frame, pts=pts, time_base=fine))
    sink.close()
    assert sink.dropped == 0


# ---- faults ------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["rtmp", "rtsp", "tcp"])
def test_a_port_without_a_listener(scheme: str) -> None:
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(SinkError, match="nothing answers") as caught:
        open_sink(f"{scheme}://me:secret@{host}/live/x.ts", info())
    assert host in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def write_all(sink: Any, frames: Iterable[Frame]) -> None:
    for frame in frames:
        sink.write(frame)


def noise(count: int) -> Iterator[Frame]:
    """Pictures that nothing can make small."""
    rng = np.random.default_rng(0)
    picture = Frame.from_bgr(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8))
    for n in range(count):
        yield replace(picture, pts=n)


SILENT = ("rtmp", "rtmps", "rtsp", "ftp", "https")  # whose opening waits for an answer


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SILENT)
def test_server_that_says_nothing(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/app/key.ts"
        with pytest.raises(SinkError, match="in time") as caught:
            open_sink(url, info(), options=FileOptions(timeout_s=0.3))
        assert caught.value.__cause__ is None
        assert closed(silent)


@pytest.mark.parametrize("scheme", ["rtmp", "icecast", "https"])
def test_server_that_closes_at_once(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Thread(target=lambda: server.accept()[0].close(), daemon=True)
        closing.start()
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/app/key.ts"
        with pytest.raises(SinkError, match="closed the connection"):
            open_sink(url, info(), options=FileOptions(timeout_s=TIMEOUT_S))


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (201, ""),
        (302, "4XX"),
        (401, "authentication failed"),
        (403, "the server forbids it"),
        (413, "4XX"),
        (500, "5XX"),
    ],
)
def test_the_answer_of_an_http_server(status: int, problem: str) -> None:
    """It comes when all is sent, and costs what was sent."""
    got = bytearray()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            while not got.endswith(b"\r\n0\r\n\r\n"):
                got.extend(connection.recv(65536))
            head = f"HTTP/1.1 {status} x\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode())

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        url = f"http://me:pass%20word@127.0.0.1:{server.getsockname()[1]}/a b.ts?key=1"
        sink = open_sink(url, info(), options=FileOptions(timeout_s=TIMEOUT_S))
        write_all(sink, clips.frames(5))
        if problem:
            with pytest.raises(SinkError, match=problem):
                sink.close()
        else:
            sink.close()
    head, _, body = bytes(got).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a%20b.ts?key=1 HTTP/1.1\r\n")
    assert b"Authorization: Basic bWU6cGFzcyB3b3Jk\r\n" in head
    with io.BytesIO(body) as chunks:
        film = b"".join(chunks.read(int(line, 16)) for line in chunks if line.strip())
    with open_container(io.BytesIO(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


def closed(server: socket.socket) -> bool:
    """Wait until the other side has closed its connection."""
    server.settimeout(TIMEOUT_S)
    connection, _ = server.accept()
    with connection:
        read_to_end(connection)
    return True


def read_to_end(connection: socket.socket) -> None:
    """Read until the other side has closed the connection."""
    connection.settimeout(TIMEOUT_S)
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass


def test_a_process_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SinkError, match="udp://127"):
        open_sink("udp://127.0.0.1:9", info())


def test_a_program_in_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interactive Python finds modules there, and so does the process."""
    folders: list[str] = []
    popen: Any = subprocess.Popen

    def start(*words: Any, env: dict[str, str], **options: Any) -> Any:
        folders.extend(env["PYTHONPATH"].split(os.pathsep))
        return popen(*words, env=env, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    open_sink("udp://127.0.0.1:9", info()).abort()
    assert folders[0] == str(Path.cwd())


def test_a_thread_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink("udp://127.0.0.1:9", info())

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", start)
        sink.hurry()
    write_all(sink, clips.frames(3))
    sink.close()


@only_posix
@pytest.mark.parametrize("kind", [signal.SIGSEGV, signal.SIGKILL])
def test_a_process_that_crashes(kind: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    started, popen = [], subprocess.Popen

    def start(*words: Any, **options: Any) -> Any:
        started.append(popen(*words, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    sink = open_sink("udp://127.0.0.1:9", info())
    started[0].send_signal(kind)
    with pytest.raises(SinkError, match="has crashed"):
        write_all(sink, clips.frames(100))
    sink.abort()


@pytest.mark.slow
@only_posix
@pytest.mark.parametrize(
    ("scheme", "kind"),
    [*((scheme, signal.SIGINT) for scheme in SILENT), ("rtsp", signal.SIGTERM)],
)
def test_a_signal_while_a_silent_server_is_opened(
    tmp_path: Path, gallery: Gallery, scheme: str, kind: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/app/key.ts"
        words = ("pattern:64x48@25", tmp_path / "o.mkv", url, "--gallery", gallery.path, *SMALL)
        run = Run("run", *words)
        connection, _ = silent.accept()  # from here on it waits
        with connection:
            run.interrupt(kind)
            outcome = run.end()
            assert outcome.code == 130
            assert outcome.lines[-1] == "livemosaic: interrupted: nothing was written"
            assert left(tmp_path) == []
            read_to_end(connection)


@pytest.mark.slow
@needs_jit
@only_posix
@pytest.mark.parametrize(("scheme", "kind"), [("http", signal.SIGTERM), ("tcp", signal.SIGINT)])
def test_a_signal_while_a_receiver_takes_nothing(
    tmp_path: Path, gallery: Gallery, scheme: str, kind: signal.Signals
) -> None:
    """The file beside it is finished, and one signal is enough."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/app/key.ts"
        film = tmp_path / "o.mkv"
        words = ("pattern:320x240@25", film, url, "--crf", "1", "--gallery", gallery.path)
        run = Run("run", *words, "--tile", "16", "--progress", "always", "--scale", "4")
        connection, _ = server.accept()
        with connection:
            run.wait_for(rb"[5-9]\d frames \[")
            run.interrupt(kind)
            outcome = run.end()
        assert outcome.code == 130, outcome.err
        assert left(tmp_path) == ["o.mkv"]
        assert len(video_times(film)) > 20
        assert "livemosaic: interrupted: " in outcome.err


def test_mp4_cannot_be_sent() -> None:
    with pytest.raises(UsageError, match="a stream cannot hold mp4"):
        open_sink("http://127.0.0.1:9/x.mp4", info())


@pytest.mark.slow
def test_receiver_that_stops_taking() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT_S)
        sink = open_sink(
            f"tcp://127.0.0.1:{server.getsockname()[1]}",
            info(width=640, height=480),
            options=FileOptions(crf=1, preset="ultrafast", timeout_s=0.5),
        )
        connection, _ = server.accept()
        with pytest.raises(SinkError, match="in time"):
            write_all(sink, noise(1000))
        sink.abort()
        connection.close()  # wakes the thread that was left


def test_receiver_that_goes_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT_S)
        sink = open_sink(
            f"tcp://127.0.0.1:{server.getsockname()[1]}",
            info(width=640, height=480),
            options=FileOptions(crf=1, preset="ultrafast"),
        )
        connection, _ = server.accept()
        connection.close()
        with pytest.raises(SinkError, match="tcp://127"):
            write_all(sink, noise(1000))
        sink.abort()
