"""Network streams other than RTSP: HTTP, UDP, TCP, HLS; and what is a file behind an address."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic.errors import RefusedError, SourceError, UsageError
from livemosaic.media.frame import Frame, StatusEvent, TrackPacket
from livemosaic.media.urls import public_name
from livemosaic.sinks import parse_output
from livemosaic.sources import open_source
from livemosaic.sources.input_paths import resolve_input
from livemosaic.sources.network.protocols import find_protocol
from livemosaic.sources.network.stream import StreamSource
from tests import clips
from tests.streams import (
    TIMEOUT_S,
    Watch,
    files_of,
    free_port,
    half_of,
    http_server,
    receiver_threads,
    running,
)

pytestmark = pytest.mark.alone

ZERO_LATENCY = {"g": "10", "tune": "zerolatency", "preset": "ultrafast"}


def need_ffmpeg() -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")


# ---- HTTP --------------------------------------------------------------------------------


def mjpeg(sizes: Iterator[tuple[int, int]], *, interval_s: float = 0.04) -> Callable[[Any], None]:
    """Answers as an IP camera does: JPEG pictures for as long as anybody wants them."""

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for number, size in enumerate(sizes):
            data = cv2.imencode(".jpg", clips.picture(*size, number=number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            handler.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(interval_s)  # a camera's rate; no test waits for this thread

    return answer


@pytest.mark.slow
def test_mjpeg_has_the_times_of_its_coming() -> None:
    with http_server(mjpeg(itertools.repeat((160, 96)), interval_s=0.1)) as url:
        source = open_source(f"{url}/video.mjpg")
        assert source.info.live
        assert source.info.colour.full_range
        with Watch(source) as watch:
            watch.next(Frame, 12)
        frames = watch.frames[5:]  # what came while it was opened came at once
        for a, b in pairwise(frames):
            assert b.time_s - a.time_s == pytest.approx(b.captured_s - a.captured_s, abs=0.001)
        assert frames[-1].time_s - frames[0].time_s > 0.05 * len(frames)


@pytest.mark.slow
def test_mjpeg_that_changes_its_size(caplog: pytest.LogCaptureFixture) -> None:
    sizes = itertools.chain(itertools.repeat((160, 96), 10), itertools.repeat((96, 160)))
    with http_server(mjpeg(sizes)) as url, Watch(open_source(url)) as watch:
        watch.next(Frame, 25)
    assert {f.y.shape for f in watch.frames} == {(96, 160)}
    assert (watch.frames[-1].y[:, :40] == 0).all()  # full range
    messages = [r.getMessage() for r in caplog.records]
    assert messages == [f"{url}: the picture changes its size: fitted into 160x96"]


@pytest.mark.slow
def test_slow_camera_is_no_stall() -> None:
    """How long a picture may take is known from the ones before."""
    with http_server(mjpeg(itertools.repeat((160, 96)), interval_s=0.2)) as url:
        address = find_protocol(url)
        assert address is not None
        with Watch(StreamSource(address, stall_s=0.05)) as watch:
            watch.next(Frame, 15)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "picture.png"])
def test_file_behind_an_address_is_whole(tmp_path: Path, name: str) -> None:
    if name.endswith("png"):
        cv2.imwrite(str(tmp_path / name), clips.picture())
    else:
        clips.make(tmp_path / name, clips.frames(40), options=ZERO_LATENCY)
    answers = []

    def answer(handler: Any) -> None:
        answers.append(handler.path)
        files_of(tmp_path)(handler)

    with http_server(answer) as url:
        source = open_source(f"{url}/{name}?token=secret")
        assert not source.info.live
        assert source.name == f"{url}/{name}?token=***"
        frames = [item for item in source if isinstance(item, Frame)]
        source.close()
    assert len(frames) == (1 if name.endswith("png") else 40)
    if name == "clip.mkv":  # read in order: one more connection than this would be to look again
        assert len(answers) == 2


def test_file_behind_a_connection_that_breaks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The frames so far, and then an error, because it is not the end of the file."""
    path = clips.make(tmp_path / "c.mkv", clips.frames(100), options=ZERO_LATENCY)
    with http_server(half_of(path)) as url:
        source = open_source(f"{url}/c.mkv")
        got: list[bool] = []
        with pytest.raises(SourceError, match=f"^{url}/c.mkv: .*before its end: .*connection"):
            got.extend(isinstance(item, Frame) for item in source)
        source.close()
    assert 30 < sum(got) < 70
    assert not caplog.records


@pytest.mark.slow
def test_a_picture_in_its_place_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """As a camera's proxy gives it while the camera is away."""
    answers = iter(
        [
            mjpeg(itertools.repeat((160, 96), 20)),
            picture_alone,
            mjpeg(itertools.repeat((160, 96))),
        ]
    )
    with http_server(lambda handler: next(answers)(handler)) as url:
        source = open_source(f"{url}/video.mjpg")
        with Watch(source) as watch:
            watch.next(StatusEvent)
            watch.next(Frame, 3)
        assert source.reconnects == 1


def picture_alone(handler: Any) -> None:
    """Answer with one JPEG."""
    data = cv2.imencode(".jpg", clips.picture(160, 96))[1].tobytes()
    handler.send_response(200)
    handler.send_header("Content-Type", "image/jpeg")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.mark.parametrize(
    ("status", "kind", "why"),
    [
        (401, RefusedError, "authentication failed"),
        (403, RefusedError, "forbids it"),
        (404, RefusedError, "nothing under that path"),
        (500, SourceError, "Server returned 5XX"),
        (200, SourceError, "not a video"),
    ],
)
def test_http_refusals(status: int, kind: type[SourceError], why: str) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"hello")

    with http_server(answer) as url:
        address = url.replace("//", "//me:secret@") + "/x?password=secret"
        with pytest.raises(SourceError, match=why) as caught:
            open_source(address)
    assert caught.type is kind
    assert str(caught.value).startswith(f"{url}/x?password=***: ")


@pytest.mark.slow
def test_hls_is_shown_at_its_own_pace(tmp_path: Path) -> None:
    need_ffmpeg()
    clip = clips.make(tmp_path / "clip.mp4", clips.frames(250), options=ZERO_LATENCY)
    out = tmp_path / "hls"
    out.mkdir()
    hls = ("-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "5")
    with (
        running("ffmpeg", "-re", "-stream_loop", "-1", "-i", clip, *hls, out / "live.m3u8"),
        http_server(files_of(out)) as url,
    ):
        # Not ready before its first segments are.
        source = open_source(f"{url}/live.m3u8", reconnect="always") if _there(out) else None
        assert source is not None
        assert source.info.live
        with Watch(source) as watch:
            watch.next(Frame, 40)
    # The pictures of a segment come together, and are yielded at their times.
    frames = watch.frames
    for frame in frames[1:]:
        due = frames[0].captured_s + frame.time_s
        assert frame.captured_s >= due - 0.005
    assert increasing_by(frames) == pytest.approx(0.04, abs=0.001)


def increasing_by(frames: list[Frame]) -> float:
    return (frames[-1].time_s - frames[0].time_s) / (len(frames) - 1)


def _there(folder: Path) -> bool:
    """Wait for the playlist's second segment."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if len(list(folder.glob("*.ts"))) > 2 and list(folder.glob("*.m3u8")):
            return True
        time.sleep(0.05)  # another program's files: there is nothing to wait on
    return False


# ---- TCP and UDP -------------------------------------------------------------------------


@contextlib.contextmanager
def tcp_sender(*parts: bytes, hold: bool = True) -> Iterator[str]:
    """Sends bytes to each who connects; then says nothing more, or hangs up."""
    done = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)

    def serve() -> None:
        connections = []
        while not done.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    connection.sendall(part)
            if hold:
                connections.append(connection)
            else:
                connection.close()
        for connection in connections:
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    finally:
        done.set()
        thread.join(TIMEOUT_S)
        server.close()


def ts(path: Path, count: int = 30, *, size: tuple[int, int] = (160, 96), **more: Any) -> bytes:
    options = ZERO_LATENCY
    clips.make(path, clips.frames(count, size=size), options=options, format="mpegts", **more)
    return path.read_bytes()


def test_mpegts_that_changes_its_size(tmp_path: Path) -> None:
    parts = ts(tmp_path / "a.ts"), ts(tmp_path / "b.ts", size=(96, 96))
    with tcp_sender(*parts) as url, Watch(open_source(url)) as watch:
        # The parser holds the last one back until it sees what follows.
        watch.next(Frame, 55)
    assert {f.y.shape for f in watch.frames} == {(96, 160)}
    assert all(a.pts < b.pts for a, b in pairwise(watch.frames))
    last = watch.frames[-1]
    assert (last.y[:, :32] == 16).all()
    assert not (last.y[:, 32:128] == 16).all()


def test_joining_in_the_middle_shows_nothing_broken(tmp_path: Path) -> None:
    """The first picture is the first key frame that comes, not one full of holes."""
    sent = clips.frames(30)
    options = {"g": "10", "keyint_min": "10", "sc_threshold": "0", "bf": "0", "qp": "0"}
    path = tmp_path / "a.ts"
    clips.make(path, sent, options=options, format="mpegts")
    data = path.read_bytes()
    start = len(data) // 8 // 188 * 188  # behind the first key frame
    tables = data[: 3 * 188]
    with tcp_sender(tables, data[start:]) as url, Watch(open_source(url)) as watch:
        watch.next(Frame, 15)
    # Exact, as the coding is: nothing was predicted from what is missing.
    assert (watch.frames[0].y == sent[10].y).all()
    assert (watch.frames[5].y == sent[15].y).all()


def test_sound_before_the_first_picture_is_left_out(tmp_path: Path) -> None:
    data = ts(tmp_path / "a.ts", 50, sound=["aac"])
    with tcp_sender(data) as url, Watch(open_source(url)) as watch:
        watch.next(Frame, 45)
    assert watch.packets
    assert all(packet.packet.dts >= 0 for packet in watch.packets)
    assert watch.frames[0].pts == 0


@pytest.mark.slow
def test_stream_that_ends_is_opened_again(tmp_path: Path) -> None:
    with tcp_sender(ts(tmp_path / "a.ts"), hold=False) as url:
        source = open_source(url)
        with Watch(source) as watch:
            watch.next(StatusEvent, 2)
            watch.next(Frame, 3)
    assert source.reconnects >= 2
    assert len(watch.frames) >= 60  # nothing of what had come was lost
    assert all(a.pts < b.pts for a, b in pairwise(watch.frames))


def test_a_track_that_begins_midway_ends_no_stream(tmp_path: Path) -> None:
    first = ts(tmp_path / "a.ts", sound=["aac"])
    parts = first, ts(tmp_path / "b.ts", sound=["aac", "mp2"]), first
    with tcp_sender(*parts, hold=False) as url:
        with Watch(open_source(url, reconnect="always")) as watch:
            watch.next(Frame, 85)
            watch.next(StatusEvent)
            watch.next(Frame, 10)
        assert watch.error is None


def test_what_sends_no_picture(tmp_path: Path) -> None:
    with tcp_sender(b"\x47" + b"\0" * 10_000, hold=False) as url, pytest.raises(SourceError):
        open_source(url)
    silent = tmp_path / "a.ts"
    clips.make(silent, clips.frames(2), options=ZERO_LATENCY, sound=["aac"], format="mpegts")
    with tcp_sender(silent.read_bytes()[: 188 * 2], hold=False) as url, pytest.raises(SourceError):
        open_source(url)


@pytest.mark.slow
def test_udp(tmp_path: Path) -> None:
    need_ffmpeg()
    clip = clips.make(tmp_path / "clip.mp4", clips.frames(250), options=ZERO_LATENCY)
    url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    send = ("-re", "-stream_loop", "-1", "-i", clip, "-c", "copy", "-f", "mpegts")
    with running("ffmpeg", *send, f"{url}?pkt_size=1316") as sender:
        source = open_source(url, reconnect="always")
        with Watch(source) as watch:
            watch.next(Frame, 20)
            sender.kill()
            watch.next(StatusEvent)
            with running("ffmpeg", *send, f"{url}?pkt_size=1316"):
                watch.next(Frame, 5)
    assert source.reconnects == 1
    assert all(a.pts < b.pts for a, b in pairwise(watch.frames))


@pytest.mark.parametrize("name", ["x.mp4", "x.ts"])
def test_an_address_that_leads_to_itself(name: str) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(302)
        handler.send_header("Location", handler.path)
        handler.end_headers()

    with http_server(answer) as url, pytest.raises(SourceError, match="redirects in a circle"):
        open_source(f"{url}/{name}")


def test_a_server_that_sends_a_byte_now_and_then() -> None:
    done = threading.Event()

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not done.wait(0.02):
            handler.wfile.write(b"\x47")

    with http_server(answer) as url:
        address = find_protocol(f"{url}/x.ts")
        assert address is not None
        with pytest.raises(SourceError, match="or sends too slowly"):
            StreamSource(address, open_s=0.3)
        done.set()


def test_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = find_protocol(f"rtsp://me:secret@127.0.0.1:{silent.getsockname()[1]}/cam")
        assert address is not None
        with pytest.raises(SourceError, match=r"^rtsp://127.*: it did not answer in time"):
            StreamSource(address, open_s=0.3)
    assert not receiver_threads(address.name)


@pytest.mark.slow
def test_decoder_that_is_too_slow_skips_and_stays_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream at 100 pictures per second, of which a decoder manages 20."""
    from livemosaic.sources.decoder import VideoDecoder

    need_ffmpeg()
    decode = VideoDecoder.decode

    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(0.05)  # the decoder's work
        return decode(*args, **options)

    monkeypatch.setattr(VideoDecoder, "decode", slow)
    clip = clips.make(
        tmp_path / "clip.mp4",
        clips.frames(500),
        options=ZERO_LATENCY,
        rate=100,
        time_base=Fraction(1, 100),
    )
    url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    send = ("-re", "-i", clip, "-c", "copy", "-f", "mpegts", f"{url}?pkt_size=1316")
    with running("ffmpeg", *send):
        source = open_source(url, reconnect="always")
        with Watch(source) as watch:
            watch.next(Frame, 50)
    delays = [at - item.captured_s for at, item in watch.items if isinstance(item, Frame)]
    assert source.dropped > 20
    assert max(delays[-25:]) < 1.5  # of 2.5 s of pictures that came while 50 were decoded
    assert source.bad_frames == 0


# ---- names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:p@ss@cam/live", "rtsp://cam/live"),
        ("rtsp://me@cam:554/", "rtsp://cam:554/"),
        (
            "http://cam/v.mjpg?user=me&password=x&fps=5",
            "http://cam/v.mjpg?user=***&password=***&fps=5",
        ),
        ("http://cam/v?TOKEN=x#here", "http://cam/v?TOKEN=***#***"),
        ("http://cam/v?access_token=x;apikey=y", "http://cam/v?access_token=***;apikey=***"),
        ("srt://host:9000?passphrase=x&mode=caller", "srt://host:9000?passphrase=***&mode=caller"),
        ("rtmp://live.example/app/key-123", "rtmp://live.example/app/***"),
        ("rtmps://live.example:443/app/key?x=1", "rtmps://live.example:443/app/***?x=***"),
        ("rtmp://host/SECRET", "rtmp://host/***"),
        ("http://host/a@b.mp4", "http://host/a@b.mp4"),
        ("http://host:80/a@b.mp4", "http://host:80/a@b.mp4"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("http://me:x@[::1/a", "http://***"),
        ("rtsp://me:s3cr/x@cam/live", "rtsp://cam/live"),
        ("rtsp://me:s#cr@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://me:s?c@r@cam/live", "rtsp://cam/live"),
        (" rtsp://me:x@cam/", "rtsp://cam/"),
        ("rtsp:/me:x@cam/", "rtsp:/cam/"),
        (
            "rtsp://cam/user=me_password=a_b_channel=1_stream=0.sdp",
            "rtsp://cam/user=***_password=***_channel=1_stream=0.sdp",
        ),
        ("rtsp://cam/user=me&password=a_b&channel=1", "rtsp://cam/user=***&password=***&channel=1"),
        ("http://cam/s?loginuse=me&loginpas=1", "http://cam/s?loginuse=***&loginpas=***"),
        ("http://cam/s?jwt=x&pw=y&rate=5", "http://cam/s?jwt=***&pw=***&rate=5"),
        ("http://h/a.m3u8?hdnts=x&code=y&z", "http://h/a.m3u8?hdnts=***&code=***&***"),
        ("https://h/a8f3c9d2e4b5f6a7b8c9/a.m3u8", "https://h/***/a.m3u8"),
        ("https://h/x1b2-c3d4-e5f6-a7b8", "https://h/***"),
        ("rtsp://cam/h264Preview_01_main", "rtsp://cam/h264Preview_01_main"),
        ("http://h/My%20film_20240612_153000.mp4", "http://h/My%20film_20240612_153000.mp4"),
        ("rtsp://me:SECRET", "rtsp://***"),
        ("rtsp:me:SECRET@h/x", "rtsp:h/x"),
        ("rtsp://me%3ASECRET@h/x", "rtsp://h/x"),
        ("file://me:SECRET@h", "file://h"),
        ("cache:http://me:SECRET@h/x", "cache:http://h/x"),
        ("cache:rtsp:me:SECRET@h/x", "cache:rtsp:h/x"),
        ("concat:http://me:SECRET@a/x|http://me:SECRET@b/y", "concat:***"),
        ("subfile,,start,0,end,0,,:http://me:SECRET@h/x", "***"),
        ("[f=mpegts]udp://me:SECRET@h:1|rtmp://h/SECRET", "***"),
        ("a:b.mp4", "a:b.mp4"),
        ("./http: x.mp4", "./http: x.mp4"),
        pytest.param("a." * 200_000, "a." * 200_000, id="long"),  # not in hours
    ],
)
def test_public_names(address: str, shown: str) -> None:
    assert public_name(address) == shown


def test_no_secret_is_in_the_traceback_of_a_file_at_an_address() -> None:
    url = f"http://me:SECRET@127.0.0.1:{free_port()}/x.mp4?token=SECRET"
    with pytest.raises(SourceError, match="nothing answers") as caught:
        resolve_input(url).open()
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtmps", "srt"])
@pytest.mark.parametrize(
    "form",
    [
        *("{0}://{1}@h", "{0}:/me:{1}@h/x", "{0}://me:{1}", "{0}:me:{1}@h", "{0}://h:{1}/x"),
        *("{0}://h/x?{1}", "{0}://h/x?a={1}", "{0}://h/x?fps={1}", "{0}://h/x#{1}"),
        *("{0}://h/x/user=me&a={1}", "{0}://h/user=me_a={1}_channel=1.sdp", "{0}://h/{1}/x"),
        *("cache:{0}://me:{1}@h/x", "async:{0}:me:{1}@h", "concat:{0}://a|{0}://h/x?a={1}"),
        *("[f=mpegts]{0}://h/x?a={1}|b", "a {0}://me:{1}@h", " {0}://me:{1}@h"),
    ],
)
def test_no_secret_is_in_a_public_name(form: str, scheme: str) -> None:
    assert "SeCrEt" not in public_name(form.format(scheme, "9SeCrEt99SeCrEt8"))


@pytest.mark.parametrize(
    "secret", ["s/SeCrEt", "s?SeCrEt", "s#SeCrEt", "s:SeCrEt", "@SeCrEt@", "\n"]
)
def test_no_odd_password_is_in_a_public_name(secret: str) -> None:
    shown = public_name(f"rtsp://me:{secret}@h/x")
    assert shown == "rtsp://h/x"


def test_a_protocol_in_capitals(tmp_path: Path) -> None:
    clip = clips.make(tmp_path / "clip.mp4", clips.frames(5))
    with http_server(files_of(tmp_path)) as base:
        url = f"HTTP{base.removeprefix('http')}/{clip.name}"
        with open_source(url, reconnect="never") as source:
            assert sum(isinstance(item, Frame) for item in source) == 5
    assert parse_output("RTMP://h/live/key").location == "rtmp://h/live/key"


@pytest.mark.parametrize("text", ["www.youtube.com/watch?v=abc", "vimeo.com/1"])
def test_an_address_without_its_protocol(text: str) -> None:
    with pytest.raises(SourceError, match="no such file; if it is an address, write https://"):
        open_source(text)


@pytest.mark.parametrize("text", ["a.mp4/b.mp4", "folder/a.mp4", "a.mp4", "./a.b/c.mp4"])
def test_a_file_that_is_no_address(text: str) -> None:
    with pytest.raises(SourceError, match="no such file; check the spelling"):
        open_source(text)


def test_addresses() -> None:
    assert find_protocol("file:///a.mp4") is None
    assert find_protocol("ftp://host/a.mp4") is None
    plain, only_udp = find_protocol("rtsp://cam/x"), find_protocol("rtspu://cam/x")
    assert plain is not None
    assert only_udp is not None
    assert only_udp.url == plain.url == "rtsp://cam/x"
    assert only_udp.options["rtsp_transport"] == "udp"
    assert only_udp.name == "rtspu://cam/x"


@pytest.mark.parametrize("address", ["srt://127.0.0.1:9", "xyz://host/a"])
def test_protocol_that_this_ffmpeg_lacks(address: str) -> None:
    with pytest.raises(SourceError, match="protocol"):
        open_source(address, reconnect="always")


def test_reconnect_is_checked() -> None:
    with pytest.raises(UsageError, match=r"reconnect.*often"):
        open_source("rtsp://127.0.0.1:1/cam", reconnect="often")


def test_host_that_does_not_exist() -> None:
    with pytest.raises(SourceError, match="host"):
        open_source("rtsp://me:secret@nowhere.invalid/cam")


def test_tracks_outlive_the_connection(tmp_path: Path) -> None:
    data = ts(tmp_path / "a.ts", 40, sound=["aac"])
    with tcp_sender(data, hold=False) as url:
        source = open_source(url, reconnect="never")
        items = list(source)
        source.close()
    (track,) = source.info.tracks
    packets = [item.packet for item in items if isinstance(item, TrackPacket)]
    assert (track.type, track.codec_context.sample_rate) == ("audio", 48000)
    assert packets
    for packet in packets:
        assert packet.stream is track
    assert np.isfinite([float(p.pts * p.time_base) for p in packets]).all()
