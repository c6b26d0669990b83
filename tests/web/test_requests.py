"""Settings, statistics, actions, pictures and the OpenAPI document, by a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from livemosaic import Gallery, LiveGallery
from livemosaic.control.live_values import LIVE_VALUES, change_values, live_values, offered
from livemosaic.control.state import LIVE_OPTIONS, Control, LiveState
from livemosaic.errors import UsageError
from livemosaic.media.frame import Frame
from livemosaic.media.qr_code import qr_svg
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.web.app import Application
from livemosaic.web.photos.catalogue import Catalogue

from ..gallery_files import encode, photo
from .conftest import WAIT_S, Site, decoded, until

# ---- settings ----------------------------------------------------------------------------


def test_every_live_option_is_there(client: httpx.Client) -> None:
    values = client.get("/api/settings").json()
    assert set(values) == {known.name for known in LIVE_OPTIONS.values()} | {"profile"}
    assert (values["tint"], values["tile"], values["columns"]) == (0.8, 16, 8)
    assert (values["gallery"], values["mirror"], values["outside"]) == ("photos", False, "original")


def test_a_name_that_is_no_utf_8_comes_back_as_it_was(own_site: Site) -> None:
    """As of a photo or a gallery on the disk of another system."""
    gallery = os.fsdecode(b"\xff.npz")
    own_site.control.galleries = ("photos", gallery)
    with own_site.client() as client:
        assert client.get("/openapi.json").status_code == 200
        content = json.dumps({"gallery": gallery})
        headers = {"Content-Type": "application/json"}
        client.patch("/api/settings", content=content, headers=headers)
        assert client.get("/api/settings").json()["gallery"] == gallery
        assert client.patch("/api/settings", json={"gallery": "other"}).status_code == 400


def test_options_change_together(site: Site, client: httpx.Client) -> None:
    answer = client.patch(
        "/api/settings", json={"overlay": 0.4, "mirror": True, "match": "clusters"}
    )
    assert answer.status_code == 200
    assert answer.json()["overlay"] == 0.4
    state = site.control.state
    assert (state.settings.overlay, state.settings.match, state.mirror) == (0.4, "clusters", True)


@pytest.mark.parametrize("name", sorted(LIVE_VALUES))
def test_every_value_can_be_given_back(name: str, client: httpx.Client) -> None:
    value = client.get("/api/settings").json()[name]
    answer = client.patch("/api/settings", json={name: value})
    assert (answer.status_code, answer.json()[name]) == (200, value)


@pytest.mark.parametrize("change", [{"tile": 32}, {"columns": 4}])
def test_the_size_stays_when_tiles_change(change: Any, site: Site, client: httpx.Client) -> None:
    values = client.patch("/api/settings", json=change).json()
    assert (values["tile"], values["columns"]) == (32, 4)
    assert site.control.state.settings == MosaicSettings(tile_px=32, size=(128, 96))


def test_tiles_that_are_not_square(site: Site, client: httpx.Client) -> None:
    values = client.patch("/api/settings", json={"tile": "32x24"}).json()
    assert (values["tile"], values["columns"]) == ("32x24", 4)
    assert site.control.state.settings.tile_px == (32, 24)
    assert client.patch("/api/settings", json={"tile": "32x8"}).status_code == 400
    assert client.patch("/api/settings", json={"tile": "32"}).json()["tile"] == 32


def test_a_profile_is_a_set_of_values(site: Site, client: httpx.Client) -> None:
    values = client.patch("/api/settings", json={"profile": "photos-first"}).json()
    assert (values["profile"], values["tint"]) == ("photos-first", 0.5)
    values = client.patch("/api/settings", json={"profile": "default", "tint": 0.1}).json()
    assert (values["profile"], values["tint"], site.control.profile) == ("default", 0.1, "default")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("overlay", 1.5), ("overlay", "0.5"), ("overlay", None), ("overlay", True)),
        *(("mirror", 1), ("mirror", "yes"), ("match", "nonsense"), ("match", ["layout"])),
        *(("tile", 3), ("columns", 0), ("columns", 1.5), ("seed", -1), ("max_latency_s", 0)),
        *(("gallery", "/etc"), ("gallery", ["photos", "/"]), ("gallery", {}), ("profile", "no")),
        *(("outside", "/etc/passwd"), ("outside", "#12"), ("outside", None), ("area", "")),
        *(("palette", 10**400), ("recording", "true")),
    ],
)
def test_a_wrong_value_changes_nothing(
    name: str, value: object, site: Site, client: httpx.Client
) -> None:
    before = site.control.state
    answer = client.patch("/api/settings", json={"freeze": True, name: value})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{name}")
    assert site.control.state is before


@pytest.mark.parametrize("name", ["size", "tile_px", "input", "colums", "__class__", ""])
def test_other_names_are_refused(name: str, site: Site, client: httpx.Client) -> None:
    before = site.control.state
    answer = client.patch("/api/settings", json={"tint": 0.1, name: 1})
    assert (answer.status_code, site.control.state) == (400, before)
    assert name in answer.json()["error"]


def test_a_near_name_is_suggested(client: httpx.Client) -> None:
    answer = client.patch("/api/settings", json={"colums": 3})
    assert "did you mean columns?" in answer.json()["error"]


def test_only_files_of_the_start_can_be_named(site: Site) -> None:
    """A path would let a guest look into every folder."""
    settings = MosaicSettings(tile_px=16, size=(128, 96))
    mine = ("/home/me/a", "/home/me/b")
    state = LiveState(settings, mine, outside="/home/me/beach.jpg")
    control = Control(state, galleries=(mine, "photos"))
    assert offered(control, "gallery") == (list(mine), "photos")
    assert offered(control, "outside") == ("original", "blur", "/home/me/beach.jpg")
    change_values(control, {"gallery": "photos", "outside": "#102030"})
    change_values(control, {"gallery": list(mine), "outside": "/home/me/beach.jpg"})
    assert control.state == state
    assert live_values(control)["gallery"] == list(mine)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *((b"", 400), (b"{", 400), (b"[1]", 400), (b"null", 400), (b'{"tint": NaN}', 400)),
        *((b"\xff\xfe", 400), (b"[" * 60_000, 400), (b'{"seed": ' + b"1" * 5000 + b"}", 400)),
        (b" " * 70_000, 413),
    ],
)
def test_a_body_that_is_none(body: bytes, status: int, client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.patch("/api/settings", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_body_without_a_length_is_limited(client: httpx.Client) -> None:
    parts = (b" " * 10_000 for _ in range(20))
    headers = {"Content-Type": "application/json"}
    assert client.patch("/api/settings", content=parts, headers=headers).status_code == 413


def test_a_body_of_another_type(client: httpx.Client) -> None:
    answer = client.patch("/api/settings", content=b'{"tint": 0}')
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/api/settings", 405),
        ("GET", "/api/actions/quit", 405),
        ("POST", "/api/actions/explode", 404),
        ("DELETE", "/", 405),
        ("GET", "/../etc/passwd", 404),
    ],
)
def test_other_requests(method: str, path: str, status: int, client: httpx.Client) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]


# ---- statistics and actions --------------------------------------------------------------


def test_statistics(client: httpx.Client) -> None:
    stats = client.get("/api/stats").json()
    assert stats == {
        "input": "webcam",
        "input_status": "",
        "fps_in": 30.0,
        "fps_out": 29.5,
        "latency_ms": {"p50": 10.0, "p95": 20.0, "p99": 30.0},
        "dropped": 3,
        "active_share": 0.25,
        "split_share": 0.125,
        "gallery": {"photos": 933, "added": 14, "removed": 0, "changes": 3},
        "spotlight": {"done": 12, "shown": 2, "waiting": 0},
        "stages_ms": {"match": 1.5},
        "governor": {"step": "larger tiles", "share": 0.5},
        "recording": "",
        "waiting": 0,
        "outputs": [
            {"name": "window", "state": "running", "frames": 90, "dropped": 3, "codec": None}
        ],
    }


def test_actions(site: Site, client: httpx.Client) -> None:
    ended: list[bool] = []
    site.control.on_quit = lambda: ended.append(True)
    assert client.post("/api/actions/privacy").json() == {"privacy": True}
    assert client.post("/api/actions/privacy").json() == {"privacy": False}
    assert client.post("/api/actions/record").json() == {"recording": True}
    assert site.control.state.recording
    assert client.post("/api/actions/freeze").json() == {"freeze": True}
    assert client.post("/api/actions/snapshot").status_code == 202
    assert site.control.take_snapshot_request()
    assert not ended
    assert client.post("/api/actions/quit").status_code == 202
    assert ended == [True]


def test_an_action_that_is_not_possible(
    site: Site, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo in privacy mode, for example; the reason is that of the control."""
    reasons = ["snap: not now; later"]

    def snap() -> None:
        if reasons:
            raise UsageError(reasons.pop())

    monkeypatch.setattr(site.control, "on_snap", snap)
    answer = client.post("/api/actions/snap")
    assert (answer.status_code, answer.json()) == (409, {"error": "snap: not now; later"})
    answer = client.post("/api/actions/snap")
    assert (answer.status_code, answer.json()) == (202, {"snap": True})


# ---- pictures ----------------------------------------------------------------------------


def test_before_the_first_picture(own_site: Site) -> None:
    with own_site.client() as client:
        answer = client.get("/snapshot.jpg")
    assert (answer.status_code, "no picture" in answer.json()["error"]) == (503, True)


def test_a_picture(site: Site, client: httpx.Client) -> None:
    site.show()
    answer = client.get("/snapshot.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert decoded(answer.content).shape == (96, 128, 3)
    assert decoded(client.get("/snapshot.jpg?width=64").content).shape == (48, 64, 3)
    assert decoded(client.get("/snapshot.jpg?width=4096").content).shape == (96, 128, 3)


def test_a_picture_is_right(site: Site, client: httpx.Client) -> None:
    bgr = np.full((96, 128, 3), (200, 90, 40), np.uint8)
    site.page.write(Frame.from_bgr(bgr))
    for path in ("/snapshot.jpg", "/snapshot.jpg?width=50"):
        assert np.abs(decoded(client.get(path).content).astype(int) - bgr[0, 0]).max() <= 4


@pytest.mark.parametrize(
    "width", ["15", "4097", "-64", "64.5", "", "9" * 5000, f"000000064{'0' * 5000}", "６４"]
)
def test_a_wrong_width(width: str, site: Site, client: httpx.Client) -> None:
    site.show()
    assert client.get("/snapshot.jpg", params={"width": width}).status_code == 400


def test_a_stream(site: Site, client: httpx.Client) -> None:
    site.show(0)
    data = b""
    with client.stream("GET", "/stream.mjpg?width=64") as answer:
        kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
        assert kind == "multipart/x-mixed-replace"
        for number, chunk in enumerate(answer.iter_raw(), 1):
            data += chunk
            if data.count(b"--" + boundary.encode()) == 3 and data.endswith(b"\r\n"):
                break
            site.show(number)
    parts = data.split(b"--" + boundary.encode() + b"\r\n")[1:]
    for part in parts[:2]:
        head, _, picture = part.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(picture) - 2}".encode() in head
        assert decoded(picture).shape == (48, 64, 3)


def counted_encodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets an item for each picture that is encoded from now on."""
    coded: list[str] = []
    encode = cv2.imencode

    def count(ending: str, *given: Any) -> Any:
        coded.append(ending)
        return encode(ending, *given)

    monkeypatch.setattr(cv2, "imencode", count)
    return coded


def test_the_number_of_streams_is_limited(own_site: Site) -> None:
    own_site.show()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(own_site.client(limits=httpx.Limits(max_connections=None)))
        streams = []  # one that is forgotten is closed
        for _ in range(16):
            answer = stack.enter_context(client.stream("GET", "/stream.mjpg"))
            streams.append(answer.iter_raw())
            next(streams[-1])
        refused = client.get("/stream.mjpg")
        assert (refused.status_code, client.get("/api/stats").status_code) == (503, 200)


def test_a_stream_counts_before_it_begins(own_site: Site) -> None:
    """Its receiver may be slow; then others must see it all the same."""
    app = Application(
        own_site.control, own_site.page, own_site.listener, Catalogue(), lambda: 1
    ).asgi
    token = own_site.listener.token
    scope = {
        **{"type": "http", "asgi": {"spec_version": "2.4"}, "method": "GET", "root_path": ""},
        **{"path": "/stream.mjpg", "query_string": b"token=" + token.encode()},
        "headers": [(b"host", b"127.0.0.1")],
    }

    async def answered() -> list[int]:
        codes: list[int] = []

        async def receive() -> Any:
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                codes.append(message["status"])
                if message["status"] == 200:
                    await asyncio.Event().wait()

        async def ask(count: int) -> None:
            tasks = [asyncio.ensure_future(app(scope, receive, send)) for _ in range(count)]
            until_s = time.monotonic() + WAIT_S
            before = len(codes)
            while len(codes) < before + count and time.monotonic() < until_s:
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        await ask(20)
        await ask(1)  # the others have gone
        return codes

    codes = asyncio.run(answered())
    assert sorted(codes[:20]) == [200] * 16 + [503] * 4
    assert codes[20:] == [200]


def test_nothing_is_encoded_without_viewers(
    site: Site, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = counted_encodings(monkeypatch)
    for number in range(20):
        site.show(number)
    client.get("/api/stats")
    assert coded == []
    answers: list[bytes] = []

    def look() -> None:
        with site.client() as other:
            answers.append(other.get("/snapshot.jpg").content)

    viewers = [threading.Thread(target=look) for _ in range(5)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    assert len(set(answers)) == len(coded) == 1  # several share a picture


def test_a_viewer_that_leaves_stops_the_encoding(
    site: Site, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = counted_encodings(monkeypatch)
    site.show()
    with client.stream("GET", "/stream.mjpg") as answer:
        next(answer.iter_raw())

    def is_quiet() -> bool:
        before = len(coded)
        for number in range(5):
            site.show(number)
            time.sleep(0.02)
        return len(coded) == before

    until(is_quiet)


# ---- guests ------------------------------------------------------------------------------


def test_the_code_of_the_guests_address(site: Site, client: httpx.Client) -> None:
    answer = client.get("/guests.svg")
    assert (answer.status_code, "--guests" in answer.json()["error"]) == (404, True)
    site.control.guests_url = "http://192.0.2.1/upload?token=0123456789abcdef"
    answer = client.get("/guests.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.content == qr_svg(site.control.guests_url)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


# ---- the OpenAPI document ----------------------------------------------------------------


def test_the_document_is_made_from_the_table(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    options = document["components"]["schemas"]["Settings"]["properties"]
    assert set(options) == set(client.get("/api/settings").json())
    for known in LIVE_OPTIONS.values():
        schema = options[known.name]
        assert schema["description"] == known.help
        assert schema.get("minimum") == known.low
        assert schema.get("maximum") == known.high
        if known.choices:
            assert schema["enum"] == list(known.choices)
    assert options["tint"]["type"] == "number"
    assert options["tile"]["multipleOf"] == 2
    assert options["gallery"]["enum"] == ["photos", "emoji"]


def test_the_document_has_every_request(site: Site, client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {path for path in paths if not path.startswith(("/api/actions/", "/api/photos"))} == {
        *("/api/settings", "/api/stats", "/snapshot.jpg", "/stream.mjpg")
    }
    site.control.guests_url = "http://192.0.2.1/upload?token=0123456789abcdef"
    paths = client.get("/openapi.json").json()["paths"]
    assert "/guests.svg" in paths
    for path, operations in paths.items():
        for method in operations:
            if path not in ("/stream.mjpg", "/api/actions/quit"):
                answer = client.request(method, path, json={})
                documented = operations[method]["responses"]
                codes = {str(answer.status_code), "4XX" if answer.is_client_error else ""}
                assert codes & set(documented), (method, path)
                assert not answer.is_server_error or path == "/snapshot.jpg"


def test_photos_of_watched_folders(tmp_path: Path) -> None:
    """By the time when they joined; those of other folders are not listed."""
    live = LiveGallery(Gallery.from_images([photo(1)], tile=16, crops=0))
    names = [tmp_path / name for name in ("party/b.jpg", "party/a.jpg", "other/c.jpg")]
    began_s = time.time()
    for number, name in enumerate(names):
        name.parent.mkdir(exist_ok=True)
        name.write_bytes(encode(photo(number), ".jpg"))
        os.utime(name, (1e9 + 9 - number, 1e9 + 9 - number))
        live.add(name)
    catalogue = Catalogue(live, [str(tmp_path / "party")])
    try:
        found = catalogue.photos()
    finally:
        catalogue.close()
    assert [photo.name for photo in found] == ["a.jpg", "b.jpg"]
    assert all(photo.added_s >= began_s for photo in found)
