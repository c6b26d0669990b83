"""Pages of video sites: yt-dlp with an extractor of the tests' own, and videos on this machine.

No test asks a site of the internet.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.cookiejar import Cookie
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yt_dlp
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.networking.exceptions import RequestError
from yt_dlp.utils import ExtractorError, RegexNotFoundError, UnsupportedError, UserNotLive

from livemosaic.errors import RefusedError, SourceError
from livemosaic.media.frame import Frame, StatusEvent
from livemosaic.sources import SourceOptions, open_source
from livemosaic.sources.network import sites, web_page
from livemosaic.sources.network.sites import Site, open_site
from livemosaic.sources.network.web_page import may_be_site

from . import clips
from .conftest import ROOT
from .program import SMALL, Run, finish, left, needs_jit, pictures, spawn
from .screen import until
from .streams import TIMEOUT_S, Watch, files_of, http_server, running

pytestmark = pytest.mark.alone

PAGE = "https://video.example/abc?key=s3cret"
NAME = "https://video.example/abc?key=***"

Extract = Callable[[Any, str], Any]


class FakeIE(InfoExtractor):  # type: ignore[misc]
    """The site `video.example`, with a function for what its pages say."""

    _VALID_URL = r"https://video\.example/(?P<id>\w+)"

    def __init__(self, extract: Extract) -> None:
        super().__init__()
        self.says = extract
        self.downloader: Any = None

    def set_downloader(self, downloader: Any) -> None:
        super().set_downloader(downloader)
        self.downloader = downloader

    def _real_extract(self, url: str) -> Any:
        return self.says(self, url)


def set_cookie(ie: FakeIE) -> None:
    """A cookie of this machine, as the page of a site sets one."""
    where: Any = {"domain": "127.0.0.1", "domain_specified": True, "domain_initial_dot": False}
    where |= {"port": None, "port_specified": False, "path": "/", "path_specified": True}
    other: Any = {"version": 0, "secure": False, "expires": None, "discard": False}
    other |= {"comment": None, "comment_url": None, "rest": {}}
    ie.cookiejar.set_cookie(Cookie(name="session", value="c00kie", **where, **other))


def download(ie: FakeIE, address: str) -> Any:
    """Ask a server, with the errors of yt-dlp's extractors."""
    try:
        return ie.downloader.urlopen(address)
    except RequestError as error:
        raise ExtractorError("Unable to download webpage", cause=error) from error


def site(extract: Extract, **options: Any) -> Site:
    return Site(PAGE, extractors=[FakeIE(extract)], **options)


def video(url: str, **fields: Any) -> dict[str, Any]:
    """What an extractor says of a video with one address."""
    return {"id": "abc", "title": "A film", "url": url, "ext": "mp4", **fields}


def sent(handler: BaseHTTPRequestHandler, data: bytes, kind: str = "video/mp4") -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.fixture
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """yt-dlp writes nothing to the terminal."""
    capfd.readouterr()
    yield
    assert capfd.readouterr() == ("", "")


# ---- what is read ------------------------------------------------------------------------


@pytest.mark.usefixtures("silent")
def test_a_file_with_sound_headers_and_a_cookie(tmp_path: Path) -> None:
    clip = clips.make(tmp_path / "clip.mp4", clips.frames(20), sound=["aac"])
    asked: list[dict[str, str]] = []

    def answer(handler: Any) -> None:
        asked.append({name.lower(): value for name, value in handler.headers.items()})
        if "Range" in handler.headers and handler.headers["Range"] != "bytes=0-":
            handler.send_error(416)
        else:
            sent(handler, clip.read_bytes())

    def extract(ie: Any, url: str) -> Any:
        set_cookie(ie)
        headers = {
            "Referer": "https://video.example/",
            "User-Agent": "Browser/1",
            "X-Odd": "a\r\nb",
            "X-End": "a\0b",
        }
        return video(f"{base}/clip.mp4?sig=s3cret", http_headers=headers)

    with (
        http_server(answer) as base,
        open_site(site(extract), SourceOptions()) as source,
    ):
        assert source.name == NAME
        assert not source.info.live
        assert [track.type for track in source.info.tracks] == ["audio"]
        items = list(source)
    assert sum(isinstance(item, Frame) for item in items) == 20
    assert len(items) > 20  # and the sound
    for headers in asked:
        assert headers["referer"] == "https://video.example/"
        assert headers["user-agent"] == "Browser/1"
        assert headers["cookie"] == "session=c00kie"
        assert not {"x-odd", "x-end"} & headers.keys()


FORMATS: dict[str, dict[str, Any]] = {
    "story": {"protocol": "mhtml", "vcodec": "none", "acodec": "none", "height": 90},
    "sound": {"vcodec": "none", "acodec": "mp4a"},
    "low": {"height": 360, "vcodec": "avc1", "acodec": "mp4a"},
    "hls": {"height": 720, "vcodec": "avc1", "acodec": "mp4a", "protocol": "m3u8_native"},
    "dash": {"height": 1080, "vcodec": "avc1", "acodec": "mp4a", "protocol": "http_dash_segments"},
    "picture": {"height": 1080, "vcodec": "avc1", "acodec": "none"},
    "large": {"height": 2160, "vcodec": "avc1", "acodec": "mp4a"},
    "large_picture": {"height": 2160, "vcodec": "avc1", "acodec": "none"},
    "unknown": {},
}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ("story sound low hls dash picture large", "hls"),
        ("sound low picture", "low"),
        ("sound picture large_picture", "picture"),  # without sound
        ("sound large_picture", "large_picture"),
        ("sound large picture large_picture", "large"),
        ("unknown", "unknown"),
        ("story sound", None),
        ("dash", None),
    ],
)
@pytest.mark.usefixtures("silent")
def test_which_address_is_chosen(
    names: str, chosen: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    formats = [
        {"format_id": name, "url": f"https://cdn.example/{name}", "ext": "mp4", **FORMATS[name]}
        for name in names.split()
    ]
    found = site(lambda ie, url: {"id": "abc", "title": "A film", "formats": formats})
    if chosen is None:
        with pytest.raises(RefusedError, match="no picture that can be read; choose"):
            found.find()
        return
    assert found.find().url == f"https://cdn.example/{chosen}"
    no_sound = "picture and sound apart: no sound" in caplog.text
    assert no_sound == ("picture" in chosen)
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("url", ["udp://239.1.1.1:5", "tcp://127.0.0.1:9?listen", "file:///a.mp4"])
@pytest.mark.usefixtures("silent")
def test_a_protocol_that_the_page_does_not_admit(url: str) -> None:
    scheme = url.partition(":")[0]
    with pytest.raises(RefusedError, match=f"sends it by {scheme}, which cannot be read"):
        site(lambda ie, page: video(url, protocol="https")).find()


@pytest.mark.usefixtures("silent")
def test_an_address_cannot_contain_a_request() -> None:
    url = "http://127.0.0.1:9/\r\nDELETE /"
    with pytest.raises(RefusedError, match="no picture that can be read"):
        site(lambda ie, page: video(url)).find()


@pytest.mark.usefixtures("silent")
def test_a_long_title_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        site(lambda ie, page: video("https://cdn.example/xyz", title="\x1b[2J" * 9999)).find()
    assert len(caplog.text) < 500


@pytest.mark.usefixtures("silent")
def test_a_list_of_one_video() -> None:
    listed = [{"_type": "url", "url": "https://video.example/xyz", "ie_key": "Fake"}]

    def extract(ie: Any, url: str) -> Any:
        if url == PAGE:
            return {"_type": "playlist", "id": "p", "entries": listed}
        return video("https://cdn.example/xyz")

    assert site(extract).find().url == "https://cdn.example/xyz"
    listed *= 2
    with pytest.raises(RefusedError, match="it is a list of videos; name the page of one"):
        site(extract).find()
    listed.clear()
    with pytest.raises(RefusedError, match="it is an empty list; name"):
        site(extract).find()


@pytest.mark.slow
@pytest.mark.usefixtures("silent")
def test_a_live_playlist(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    options = {"g": "10", "tune": "zerolatency", "preset": "ultrafast"}
    clip = clips.make(tmp_path / "clip.mp4", clips.frames(250), options=options, sound=["aac"])
    out = tmp_path / "hls"
    out.mkdir()
    hls = ("-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "5")
    cookies: list[str] = []

    def answer(handler: Any) -> None:
        cookies.append(handler.headers["Cookie"])
        files_of(out)(handler)

    def extract(ie: Any, url: str) -> Any:
        set_cookie(ie)
        return video(f"{base}/live.m3u8", protocol="m3u8_native", is_live=True)

    with (
        running("ffmpeg", "-re", "-stream_loop", "-1", "-i", clip, *hls, out / "live.m3u8"),
        http_server(answer) as base,
    ):
        deadline = time.monotonic() + TIMEOUT_S
        while not (out / "live2.ts").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        source = open_site(site(extract), SourceOptions(reconnect="always"))
        assert source.info.live
        assert [track.type for track in source.info.tracks] == ["audio"]
        with Watch(source) as watch:
            watch.next(Frame, 30)
    assert set(cookies) == {"session=c00kie"}  # of the segments, too


def test_a_reconnect_asks_the_site_again() -> None:
    """Its addresses are valid for a while only."""
    tokens = count()
    asked: list[str] = []

    def answer(handler: Any) -> None:
        asked.append(handler.path)
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for number in range(15):
            data = clips_jpeg(number)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            handler.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(0.02)

    def extract(ie: Any, url: str) -> Any:
        return video(f"{base}/live?token={next(tokens)}", is_live=True)

    with http_server(answer) as base:
        source = open_site(site(extract), SourceOptions())
        with Watch(source) as watch:
            watch.next(StatusEvent)
            watch.next(Frame, 5)
            assert source.reconnects >= 1
    assert asked[:2] == ["/live?token=0", "/live?token=1"]


def clips_jpeg(number: int) -> bytes:
    import cv2

    return cv2.imencode(".jpg", clips.picture(160, 96, number=number))[1].tobytes()


# ---- what is not -------------------------------------------------------------------------


def private(ie: Any, url: str) -> Any:
    raise ExtractorError(
        "Private video. Sign in if you've been granted access to this video. Use --cookies for "
        "this. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ  for how to",
        expected=True,
    )


def with_address(ie: Any, url: str) -> Any:
    raise ExtractorError("Blocked at https://cdn.example/x?token=s3cret", expected=True)


def geo_block(ie: Any, url: str) -> Any:
    ie.raise_geo_restricted(countries=["DE"])


def not_live(ie: Any, url: str) -> Any:
    raise UserNotLive(video_id="abc")


def unsupported(ie: Any, url: str) -> Any:
    raise UnsupportedError(url)


def changed(ie: Any, url: str) -> Any:
    raise RegexNotFoundError("Unable to extract player")


def broken(ie: Any, url: str) -> Any:
    return dict[str, Any]()["player"]


def network_down(ie: Any, url: str) -> Any:
    download(ie, "http://127.0.0.1:9/x?s3cret")


def drm(ie: Any, url: str) -> Any:
    ie.report_drm("abc")


def nothing(ie: Any, url: str) -> Any:
    return {"id": "abc", "title": "", "formats": []}


@pytest.mark.parametrize(
    ("extract", "kind", "message"),
    [
        (
            private,
            RefusedError,
            "the site says: Private video. Sign in if you've been granted access to this video; "
            "choose a public video",
        ),
        (
            with_address,
            RefusedError,
            "the site says: Blocked at https://cdn.example/x?token=***; choose a public video",
        ),
        (
            geo_block,
            RefusedError,
            "the site does not show it in your country; choose another one",
        ),
        (not_live, SourceError, "it is not live now; try again when it is"),
        (unsupported, RefusedError, "yt-dlp finds no video there; check the address"),
        (
            changed,
            RefusedError,
            "yt-dlp cannot read this page; update it, for the site may have changed: "
            "pip install -U yt-dlp",
        ),
        (
            broken,
            RefusedError,
            "yt-dlp cannot read this page; update it, for the site may have changed: "
            "pip install -U yt-dlp",
        ),
        (network_down, SourceError, "the site cannot be reached; check the network"),
        (
            drm,
            RefusedError,
            "the site says: This video is DRM protected; choose a public video",
        ),
    ],
)
@pytest.mark.usefixtures("silent")
def test_errors(extract: Extract, kind: type, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        site(extract).find()
    assert type(caught.value) is kind
    assert str(caught.value) == f"{NAME}: {message}"
    assert "s3cret" not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (404, RefusedError, "the site has no such video; check the address"),
        (403, RefusedError, "the site refuses it; choose a public video"),
        (429, SourceError, "the site answers 429; try again later"),
        (503, SourceError, "the site answers 503; try again later"),
    ],
)
@pytest.mark.usefixtures("silent")
def test_errors_of_http(status: int, kind: type, message: str) -> None:
    with http_server(lambda handler: handler.send_error(status)) as base:
        with pytest.raises(SourceError) as caught:
            site(lambda ie, url: download(ie, f"{base}/x")).find()
        assert (type(caught.value), str(caught.value)) == (kind, f"{NAME}: {message}")


@pytest.mark.usefixtures("silent")
def test_nothing_on_the_page() -> None:
    with pytest.raises(RefusedError, match="; "):
        site(nothing).find()


@pytest.mark.usefixtures("silent")
def test_a_site_that_does_not_answer_in_time() -> None:
    go_on = threading.Event()

    def extract(ie: Any, url: str) -> Any:
        go_on.wait(TIMEOUT_S)
        return video("https://cdn.example/x")

    began_s = time.monotonic()
    with pytest.raises(SourceError, match=r"did not answer within 0.3 s; check the network"):
        site(extract, limit_s=0.3).find()
    assert time.monotonic() - began_s < 5
    go_on.set()


def test_an_error_at_the_start_is_final_or_tried_again() -> None:
    """As for other live inputs, by `reconnect`."""
    tries = count()

    def extract(ie: Any, url: str) -> Any:
        if next(tries) < 1:
            raise UserNotLive(video_id="abc")
        return private(ie, url)

    with pytest.raises(SourceError, match="not live"):
        open_site(site(extract), SourceOptions())
    tries = count()
    with pytest.raises(RefusedError, match="Private"):
        open_site(site(extract), SourceOptions(reconnect="always"))


# ---- which addresses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://www.youtube.com/watch?v=BaW_jenozKc", True),
        ("https://vimeo.com/76979871", True),
        ("https://www.twitch.tv/somebody", True),
        ("https://example.org/clip", False),  # only the generic extractor would try it
        ("https://www.youtube.de.example.org/watch?v=BaW_jenozKc", False),
    ],
)
@pytest.mark.usefixtures("silent")
def test_known_sites(url: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*address: Any) -> None:
        raise AssertionError("it asks the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert Site(url).is_known() == known
    assert (sites.open_input("https://example.org/clip", SourceOptions()) is None) or known


@pytest.mark.parametrize(
    ("url", "maybe"),
    [
        ("https://www.youtube.com/watch?v=x", True),
        ("HTTPS://VIMEO.COM/1", True),
        ("http://video.example./film", True),
        ("https://cdn.example/a/film.MP4?x=1", False),
        ("https://cdn.example/live.m3u8", False),
        ("http://192.168.1.7/stream", False),
        ("http://[fe80::1]:8080/video", False),
        ("http://localhost:8000/page", False),
        ("http://camera/live", False),
        ("http://camera.local/live", False),
        ("http://me:secret@camera.example/live", False),
    ],
)
def test_addresses_that_may_be_pages(url: str, maybe: bool) -> None:
    assert may_be_site(url) == maybe


PAGE_TEXT = b"<!DOCTYPE html><html><body>" + b"<p>Watch this!</p>\n" * 300 + b"</body></html>"


@pytest.mark.parametrize("installed", [True, False])
def test_web_pages(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where yt-dlp does not know a page, or is missing."""
    monkeypatch.setattr(web_page, "has_ytdlp", lambda: installed)
    with http_server(lambda handler: sent(handler, PAGE_TEXT, "text/html; charset=utf-8")) as url:
        with pytest.raises(RefusedError, match="a web page and no video; name the") as caught:
            open_source(f"{url}/watch?v=1", reconnect="always")
        assert ('pip install "livemosaic[sites]"' in str(caught.value)) != installed


@pytest.mark.parametrize("kind", ["video/mp4", "application/json"])
def test_what_is_no_page(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_page, "has_ytdlp", lambda: False)
    with (
        http_server(lambda handler: sent(handler, b"hello\n" * 500, kind)) as url,
        pytest.raises(SourceError, match="it is not a video; check the address"),
    ):
        open_source(f"{url}/clip.mp4")


def test_without_ytdlp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "has_ytdlp", lambda: False)
    assert sites.open_input("https://www.youtube.com/watch?v=x", SourceOptions()) is None


# ---- whole runs --------------------------------------------------------------------------

# Plugins of yt-dlp are found on Python's path.
PLUGIN = """
import os, time
from yt_dlp.extractor.common import InfoExtractor


class FakeIE(InfoExtractor):
    _VALID_URL = r"https://video\\.example/(?P<id>\\w+)"

    def _real_extract(self, url):
        self.report_warning("a warning")
        self.to_screen("a message")
        if "FAKE_ASKED" in os.environ:
            open(os.environ["FAKE_ASKED"], "w").close()
            time.sleep(60)
        if "FAKE_VIDEO" not in os.environ:
            self.raise_login_required("This video is private")
        return {"id": "abc", "title": "A \\x1b[31mfilm", "url": os.environ["FAKE_VIDEO"]}
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    plugin = tmp_path / "path" / "yt_dlp_plugins" / "extractor" / "fake.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(PLUGIN)
    return {"PYTHONPATH": f"{ROOT}:{tmp_path / 'path'}"}


@needs_jit
@pytest.mark.slow
def test_a_run(tmp_path: Path, environment: dict[str, str]) -> None:
    clip = clips.make(tmp_path / "clip.mp4", clips.frames(10, size=(64, 48)), sound=["aac"])
    out = tmp_path / "out.mkv"
    with http_server(files_of(clip.parent)) as base:
        video = {"FAKE_VIDEO": f"{base}/clip.mp4?key=s3cret"}
        outcome = finish(spawn("run", PAGE, out, *SMALL, env={**environment, **video}))
    assert outcome.code == 0, outcome.err
    assert len(pictures(out)) == 10
    assert [kind for kind, *_ in clips.streams(out)] == ["video", "audio"]
    assert outcome.out == ""
    assert f"{NAME}: A \\x1b[31mfilm, Fake" in outcome.err
    assert all(line.startswith("livemosaic: ") for line in outcome.lines), outcome.err
    assert "s3cret" not in outcome.err
    assert "a warning" not in outcome.err


@pytest.mark.slow
def test_a_private_video(tmp_path: Path, environment: dict[str, str]) -> None:
    outcome = finish(spawn("run", PAGE, tmp_path / "o.mkv", env=environment, cwd=tmp_path))
    assert outcome.code == 1
    assert outcome.lines == [
        f"livemosaic: error: {NAME}: the site says: This video is private; choose a public video"
    ]
    assert left(tmp_path) == ["path"]


@pytest.mark.slow
def test_ctrl_c_while_the_site_is_asked(tmp_path: Path, environment: dict[str, str]) -> None:
    asked = tmp_path / "asked"
    run = Run("run", PAGE, "o.mkv", env={**environment, "FAKE_ASKED": str(asked)}, cwd=tmp_path)
    until(lambda: asked.exists() or None, what="the question")
    pressed_s = run.interrupt()
    outcome = run.end()
    assert outcome.code == 130
    assert time.monotonic() - pressed_s < 5
    assert "Traceback" not in outcome.err


def test_the_version_has_what_is_used() -> None:
    """Its public interface: see `sites.py`."""
    assert callable(yt_dlp.YoutubeDL.extract_info)
    assert callable(yt_dlp.extractor.gen_extractor_classes)
