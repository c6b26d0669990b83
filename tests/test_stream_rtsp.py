"""RTSP from a real server, with everything that can happen to one."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livemosaic.errors import RefusedError, SourceError
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import Frame, StatusEvent, TrackPacket
from livemosaic.sinks import FileOptions, open_sink
from livemosaic.sources import open_source
from tests import clips
from tests.streams import (
    TIMEOUT_S,
    RtspServer,
    Watch,
    free_port,
    need_rtsp_server,
    receiver_threads,
)

pytestmark = pytest.mark.alone

# The documented limits, and the time that a busy machine adds.
BACK_S, NOTICED_S, ENDED_S = 2.0, 3.0, 0.5
SLACK_S = 2.0

Serve = Callable[..., RtspServer]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of a camera: a key frame each second, no B-frames."""
    return camera(tmp_path_factory.mktemp("camera") / "clip.mp4")


def camera(path: Path, *, size: tuple[int, int] = (160, 96)) -> Path:
    options = {"g": "25", "tune": "zerolatency", "preset": "ultrafast"}
    return clips.make(path, clips.frames(250, size=size), options=options)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that starts an RTSP server."""
    need_rtsp_server()
    servers: list[RtspServer] = []

    def start(*words: Any, **options: Any) -> RtspServer:
        servers.append(RtspServer(*words, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def increasing(frames: list[Frame]) -> bool:
    return all(a.pts < b.pts for a, b in pairwise(frames))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["rtsp", "rtspu", "rtspt"])
def test_plays(serve: Serve, clip: Path, scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(clip)
    source = open_source(server.url.replace("rtsp", scheme))
    info = source.info
    assert (info.width, info.height, info.rate) == (160, 96, Fraction(25))
    assert info.live
    assert info.duration_s is None
    assert source.name == server.url.replace("rtsp", scheme)
    with Watch(source) as watch:
        watch.next(Frame, 20)
    assert watch.error is None
    steps = [b.time_s - a.time_s for a, b in pairwise(watch.frames)]
    assert watch.frames[0].pts == 0
    assert steps == pytest.approx([0.04] * len(steps), abs=0.001)
    # The capture time is that of arrival, not of reading.
    for at, item in watch.items[5:]:
        assert isinstance(item, Frame)
        assert 0 <= at - item.captured_s < 1.0
    # Whole from the first on.
    for frame in watch.frames[:3]:
        assert np.abs(frame.to_bgr().astype(int) - clips.picture()).mean() < 30
    assert source.bad_frames == 0
    assert not caplog.records
    assert not receiver_threads(source.name)


def test_udp_is_taken_where_there_is_no_tcp(serve: Serve, clip: Path) -> None:
    server = serve(clip, "--transport", "udp")
    with Watch(open_source(server.url)) as watch:
        watch.next(Frame, 5)


@pytest.mark.slow
def test_server_killed_and_restarted(
    serve: Serve, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(clip)
    caplog.set_level(logging.INFO, "livemosaic")
    source = open_source(server.url)
    with Watch(source) as watch:
        watch.next(Frame, 10)
        server.kill()
        noticed = watch.next(StatusEvent)
        before = len(watch.frames)
        killed = watch.frames[-1]
        server.start(clip)
        returned = time.monotonic()
        back = watch.next(Frame)
        watch.next(Frame, 5)
    assert back - returned < BACK_S + SLACK_S
    assert [notice.text for notice in watch.notices] == ["reconnecting"]
    assert source.reconnects == 1
    # Times went on with the clock.
    assert increasing(watch.frames)
    first = watch.frames[before]
    assert first.time_s - killed.time_s == pytest.approx(
        first.captured_s - killed.captured_s, abs=0.01
    )
    assert first.time_s - killed.time_s > noticed - killed.captured_s
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == f"{server.url}: the stream has ended; reconnecting"
    assert messages[1].startswith(f"{server.url}: back after ")


@pytest.mark.slow
def test_stall_is_noticed_and_survived(serve: Serve, clip: Path) -> None:
    server = serve(clip)
    source = open_source(server.url)
    with Watch(source) as watch:
        watch.next(Frame, 10)
        server.pause()
        stopped = time.monotonic()
        noticed = watch.next(StatusEvent)
        assert noticed - stopped < NOTICED_S + SLACK_S
        server.go_on()
        returned = time.monotonic()
        back = watch.next(Frame)
        assert back - returned < BACK_S + SLACK_S
        watch.next(Frame, 5)
    assert source.reconnects == 1
    assert increasing(watch.frames)


@pytest.mark.slow
def test_short_stall_is_none(serve: Serve, clip: Path) -> None:
    server = serve(clip)
    source = open_source(server.url)
    with Watch(source) as watch:
        watch.next(Frame, 10)
        server.pause()
        threading.Timer(0.5, server.go_on).start()
        watch.next(Frame, 15)
    assert source.reconnects == 0
    assert not watch.notices


@pytest.mark.parametrize("reconnect", [None, "never", 0])
def test_absent_at_the_start(reconnect: str | int | None) -> None:
    url = f"rtsp://127.0.0.1:{free_port()}/cam"
    with pytest.raises(SourceError, match="nothing answers there") as caught:
        open_source(url, reconnect=reconnect)
    assert str(caught.value).startswith(f"{url}: cannot be read: ")


@pytest.mark.slow
def test_given_up_after_so_many_attempts(caplog: pytest.LogCaptureFixture) -> None:
    url = f"rtsp://127.0.0.1:{free_port()}/cam"
    with pytest.raises(SourceError, match=r"nothing answers there.* 2 attempts"):
        open_source(url, reconnect=2)
    assert [r.getMessage().rpartition("; ")[2] for r in caplog.records] == ["trying again"]


def test_waits_for_a_server_that_is_not_there_yet(serve: Serve, clip: Path) -> None:
    port = free_port()
    opened: list[Any] = []
    thread = threading.Thread(
        target=lambda: opened.append(
            open_source(f"rtsp://127.0.0.1:{port}/cam", reconnect="always")
        ),
        daemon=True,
    )
    thread.start()
    serve(clip, port=port)
    thread.join(TIMEOUT_S)
    with Watch(opened[0]) as watch:
        watch.next(Frame, 5)
    assert opened[0].reconnects == 0


@pytest.mark.parametrize("reconnect", [None, "always"])
def test_wrong_path_is_final(serve: Serve, clip: Path, reconnect: str | None) -> None:
    server = serve(clip)
    with pytest.raises(RefusedError, match=r"/other: .*nothing under that path"):
        open_source(server.url.replace("/cam", "/other"), reconnect=reconnect)


def test_wrong_password_is_final_and_secret(
    serve: Serve, clip: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve(clip, "--user", "me:right")
    caplog.set_level(logging.DEBUG)
    for who in ("", "me:secret@"):
        with pytest.raises(RefusedError, match="authentication failed") as caught:
            open_source(server.url.replace("//", f"//{who}"), reconnect="always")
        assert caught.value.__cause__ is None  # FFmpeg's own names the whole address
    source = open_source(server.url.replace("//", "//me:right@"))
    with Watch(source) as watch:
        watch.next(Frame, 5)
        server.kill()
        watch.next(StatusEvent)
    messages = "".join(capfd.readouterr()) + caplog.text + str(caught.value) + repr(source.info)
    assert source.name == server.url
    assert "secret" not in messages
    assert "right" not in messages


@pytest.mark.slow
def test_other_size_after_a_restart(
    serve: Serve, clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tall = camera(tmp_path / "tall.mp4", size=(96, 96))
    server = serve(clip)
    with Watch(open_source(server.url)) as watch:
        watch.next(Frame, 5)
        server.kill()
        watch.next(StatusEvent)
        server.start(tall)
        watch.next(Frame, 5)
    assert {frame.y.shape for frame in watch.frames} == {(96, 160)}
    assert {frame.u.shape for frame in watch.frames} == {(48, 80)}
    last = watch.frames[-1]
    assert (last.y[:, :32] == 16).all()
    assert (last.y[:, 128:] == 16).all()
    assert np.abs(last.to_bgr()[48:, 40:120].astype(int) - 127).mean() < 100
    messages = [r.getMessage() for r in caplog.records]
    assert messages[-1].endswith("it came back with pictures of 96x96: fitted into 160x96")


def test_never_ends_with_the_stream(serve: Serve, clip: Path) -> None:
    server = serve(clip)
    with Watch(open_source(server.url, reconnect="never")) as watch:
        watch.next(Frame, 5)
        server.kill()
        watch.ended()
    assert watch.error is None
    assert not watch.notices


@pytest.mark.slow
def test_never_fails_with_a_stall(serve: Serve, clip: Path) -> None:
    server = serve(clip)
    with Watch(open_source(server.url, reconnect="never")) as watch:
        watch.next(Frame, 5)
        server.pause()
        watch.ended()
        server.go_on()
    assert isinstance(watch.error, SourceError)
    assert "no frame came for 2.5 s" in str(watch.error)


def test_given_up_while_away(serve: Serve, clip: Path) -> None:
    server = serve(clip)
    with Watch(open_source(server.url, reconnect=1)) as watch:
        watch.next(Frame, 5)
        server.kill()
        watch.ended()
    assert "1 attempt;" in str(watch.error)


@pytest.mark.slow
def test_sound_is_kept_across_a_reconnect(serve: Serve, tmp_path: Path, real_clip: Path) -> None:
    server = serve(real_clip, "--audio")
    source = open_source(server.url)
    assert [track.type for track in source.info.tracks] == ["audio"]
    path = tmp_path / "out.mkv"
    sink = open_sink(
        str(path), source.info, options=FileOptions(codec="libx264", preset="ultrafast")
    )
    with Watch(source) as watch:
        watch.next(TrackPacket, 30)
        server.kill()
        watch.next(StatusEvent)
        server.start(real_clip, "--audio")
        watch.next(Frame, 10)
        watch.next(TrackPacket, 30)
    for _, item in watch.items:
        if not isinstance(item, StatusEvent):
            sink.write(item)
    sink.close()
    gap_s = max(b.time_s - a.time_s for a, b in pairwise(watch.frames))
    sound = clips.packet_times(path, "audio")
    assert len(sound) == len(watch.packets)
    assert sound[0] == pytest.approx(0, abs=0.1)
    # The gap is there, and it is as long as the picture's.
    assert max(b - a for a, b in pairwise(sound)) == pytest.approx(gap_s, abs=0.3)
    assert sound[-1] == pytest.approx(watch.frames[-1].time_s, abs=1.0)
    with av.open(str(path)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 55 * 1024


# ---- interrupt() -------------------------------------------------------------------------


def check_interrupt(watch: Watch) -> None:
    """It ends the iteration at once; twice is once."""
    asked = time.monotonic()
    watch.source.interrupt()
    watch.source.interrupt()
    assert watch.ended() - asked < ENDED_S + SLACK_S
    assert watch.error is None


def test_interrupt_while_playing(serve: Serve, clip: Path) -> None:
    with Watch(open_source(serve(clip).url)) as watch:
        watch.next(Frame, 3)
        check_interrupt(watch)


def test_interrupt_in_a_stalled_read(serve: Serve, clip: Path) -> None:
    server = serve(clip)
    with Watch(open_source(server.url)) as watch:
        watch.next(Frame, 3)
        server.pause()
        watch.skip()
        check_interrupt(watch)
        server.go_on()


def test_interrupt_between_attempts(serve: Serve, clip: Path) -> None:
    server = serve(clip)
    with Watch(open_source(server.url)) as watch:
        watch.next(Frame, 3)
        server.kill()
        watch.next(StatusEvent)
        check_interrupt(watch)


def test_interrupt_while_opening_again(serve: Serve, clip: Path) -> None:
    """The one who answers now takes the connection and says nothing."""
    server = serve(clip)
    with Watch(open_source(server.url)) as watch:
        watch.next(Frame, 3)
        server.kill()
        with socket.create_server(("127.0.0.1", server.port)) as silent:
            silent.settimeout(TIMEOUT_S)
            connection, _ = silent.accept()
            check_interrupt(watch)
            connection.close()
