"""Closed by default: token, host, origin, headers, time, and what the log must not have."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from livemosaic import web
from livemosaic.errors import SinkError, UsageError
from livemosaic.listening import own_address
from livemosaic.web import guard, server

from .conftest import WAIT_S, Site, served, until, wait_for_the_end

PATHS = (
    "/",
    "/api/settings",
    "/api/stats",
    "/snapshot.jpg",
    "/stream.mjpg",
    "/openapi.json",
    "/no",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "wrong", "é", "a" * 22, "x" * 20_000])
def test_a_wrong_token_is_refused(path: str, token: str, site: Site) -> None:
    with site.client(headers={}) as client:
        answers = [client.get(path, params={"token": token} if token else None)]
        if token and token.isascii():
            answers.append(client.get(path, headers={"Authorization": f"Bearer {token}"}))
    for answer in answers:
        assert answer.status_code == 401
        assert site.listener.token not in answer.text


def test_nothing_happens_without_the_token(site: Site) -> None:
    before = site.control.state
    with site.client(headers={}) as client:
        assert client.patch("/api/settings", json={"tint": 0}).status_code == 401
        for name in ("privacy", "record", "snapshot", "quit"):
            assert client.post(f"/api/actions/{name}").status_code == 401
    assert site.control.state is before
    assert not site.control.snapshot_requested


@pytest.mark.parametrize("token", ["", "?token=", "?token=wrong"])
def test_the_feed_wants_the_token(token: str, site: Site) -> None:
    address = f"{site.base.replace('http', 'ws')}/feed{token}"
    with pytest.raises(InvalidStatus) as caught, connect(address):
        pass
    assert caught.value.response.status_code == 403


def test_the_token_in_the_address_or_in_a_header(site: Site) -> None:
    token = site.listener.token
    with site.client(headers={}) as client:
        assert client.get(f"/api/stats?token={token}").status_code == 200
        headers = {"Authorization": f"bearer {token}"}
        assert client.get("/api/stats?token=wrong", headers=headers).status_code == 200


def test_an_address_with_very_many_fields(site: Site) -> None:
    with site.client(headers={}) as client:
        answer = client.get(f"/api/stats?{'a=1&' * 1000}token={site.listener.token}")
    assert answer.status_code == 401
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("evil.example", 421), ("evil.example:80", 421), ("localhost.evil.example", 421)),
        *(("", 421), ("127.0.0.1.evil.example", 421), ("localhost", 200), ("localhost:1", 200)),
        *(("127.0.0.1", 200), ("[::1]:8080", 200), ("192.168.1.5:8080", 200)),
    ],
)
def test_hosts(host: str, status: int, client: httpx.Client) -> None:
    assert client.get("/api/stats", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1", "file://"]
)
def test_foreign_origins(origin: str, site: Site, client: httpx.Client) -> None:
    before = site.control.state
    headers = {"Origin": origin}
    assert client.patch("/api/settings", json={"tint": 0}, headers=headers).status_code == 403
    assert client.post("/api/actions/privacy", headers=headers).status_code == 403
    assert site.control.state is before
    with pytest.raises(InvalidStatus) as caught, site.feed(origin=origin):
        pass
    assert caught.value.response.status_code == 403


def test_the_own_origin(site: Site, client: httpx.Client) -> None:
    assert client.get("/api/stats", headers={"Origin": site.base}).status_code == 200
    with site.feed(origin=site.base) as feed:
        feed.recv()


def test_a_foreign_host_of_the_feed(site: Site) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        site.feed(additional_headers={"Host": "evil.example"}),
    ):
        pass
    assert caught.value.response.status_code in (400, 403)


@pytest.mark.parametrize("path", PATHS)
def test_headers(path: str, site: Site, client: httpx.Client) -> None:
    site.show()
    with client.stream("GET", path) as answer:
        headers = answer.headers
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")
    assert ("style-src 'unsafe-inline'" in policy) == path.endswith("jpg")
    assert "access-control-allow-origin" not in headers
    assert "set-cookie" not in headers
    assert "server" not in headers


def test_the_page_has_no_secret_and_no_foreign_address(site: Site, client: httpx.Client) -> None:
    page = client.get("/").text
    assert site.listener.token not in page
    assert page.count("http://") == page.count("http://www.w3.org/2000/svg")
    assert page.count("ws://") == page.count("ws://${location.host}")
    assert "https://" not in page
    assert "//cdn" not in page


def test_the_token_is_in_no_log(
    site: Site, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the client's own
    logging.getLogger("websockets.client").setLevel(logging.WARNING)
    token = site.listener.token
    with caplog.at_level(logging.DEBUG):
        for path in ("/api/stats", "/no", "/snapshot.jpg?width=0"):
            client.get(path, params={"token": token})
        with site.feed() as feed:
            feed.recv()
            feed.send("nonsense")
        with socket.create_connection((site.listener.host, site.listener.port)) as raw:
            raw.sendall(f"GET /?token={token} HTTP/9.9\r\n\r\n".encode())
            raw.recv(1000)
    assert token not in caplog.text


def test_an_internal_error_is_one_line(
    site: Site,
    client: httpx.Client,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(site.control, "request_snapshot", lambda: 1 // 0)
    answer = client.post("/api/actions/snapshot")
    assert answer.status_code == 500
    assert answer.json()["error"].startswith("internal error: ZeroDivisionError")
    assert client.get("/api/stats").status_code == 200
    assert not [it for it in caplog.records if it.levelno >= logging.WARNING]


def test_a_header_that_is_there_twice(site: Site) -> None:
    token = site.listener.token
    headers = [
        ("Origin", site.base),
        ("Origin", "http://evil.example"),
        ("Authorization", f"Bearer {token}"),
    ]
    with httpx.Client(base_url=site.base) as client:
        assert client.get("/api/stats", headers=headers).status_code == 400


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: ", b"POST /x HTTP/1.1\r\n"])
def test_a_request_that_never_ends(
    sent: bytes, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.2)
    with socket.create_connection((site.listener.host, site.listener.port), timeout=10) as raw:
        raw.sendall(sent)
        assert raw.recv(1000) == b""  # the server closes it


def test_a_body_that_never_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.2)
    head = (
        f"PATCH /api/settings?token={site.listener.token} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with socket.create_connection((site.listener.host, site.listener.port), timeout=10) as raw:
        raw.sendall(head.encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_the_number_of_connections_is_limited(own_site: Site) -> None:
    where = own_site.listener.host, own_site.listener.port
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(socket.create_connection(where, timeout=10))
        with own_site.client() as client:
            until(lambda: client.get("/api/stats").status_code == 503)
    with own_site.client() as client:
        until(lambda: client.get("/api/stats").status_code == 200)


def test_more_connections_are_closed_at_once(
    own_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes one of the files that the system lets this program open."""
    monkeypatch.setattr(server, "MAX_OPEN", 10)
    where = own_site.listener.host, own_site.listener.port
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(where)) for _ in range(30)]
        for one in opened:
            one.setblocking(False)
        until(lambda: sum(map(_is_closed, opened)) == 20)


def _is_closed(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_one_address_does_not_take_all_connections() -> None:
    host = own_address(socket.AF_INET)
    if host.startswith("127."):
        pytest.skip("this computer has no network")
    with served(address="0.0.0.0:0") as site, contextlib.ExitStack() as stack:
        where = host, site.listener.port
        opened = [stack.enter_context(socket.create_connection(where)) for _ in range(80)]
        for one in opened:
            one.setblocking(False)
        until(lambda: sum(map(_is_closed, opened)) == 16)
        stack.enter_context(socket.create_connection(("127.0.0.1", site.listener.port)))
        headers = {"Authorization": f"Bearer {site.listener.token}"}
        address = f"http://127.0.0.1:{site.listener.port}/api/stats"
        assert httpx.get(address, headers=headers, timeout=WAIT_S).status_code == 200


def test_a_large_message_of_a_page(site: Site) -> None:
    with site.feed() as feed:
        feed.send("x" * 10_000)
        wait_for_the_end(feed)


# ---- the address -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("0", "127.0.0.1"),
        (":0", "127.0.0.1"),
        ("localhost:0", "localhost"),
        ("127.0.0.1:0", "127.0.0.1"),
    ],
)
def test_loopback_unless_told(address: str, host: str) -> None:
    listener = web.listen(address)
    try:
        assert listener.socket.getsockname()[0] in ("127.0.0.1", "::1")
        assert listener.url == f"http://{host}:{listener.port}/?token={listener.token}"
        assert listener.port > 0
        assert len(listener.token) >= 20
    finally:
        listener.close()


def test_the_address_for_a_phone() -> None:
    listener = web.listen("0.0.0.0:0")
    try:
        assert listener.socket.getsockname()[0] == "0.0.0.0"
        assert listener.host != "0.0.0.0"
        with socket.create_connection((listener.host, listener.port), timeout=10):
            pass
    finally:
        listener.close()


def test_each_run_has_its_own_token(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = web.listen("0"), web.listen("0")
    try:
        assert first.token != second.token
    finally:
        first.close()
        second.close()
    monkeypatch.setenv("LIVEMOSAIC_WEB_TOKEN", "my-own-token-12345")
    third = web.listen("0")
    third.close()
    assert third.token == "my-own-token-12345"


@pytest.mark.parametrize("token", ["short", "has a space in it.", "umlaut-äöü-0123456789"])
def test_a_token_that_can_be_guessed(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEMOSAIC_WEB_TOKEN", token)
    with pytest.raises(UsageError, match="LIVEMOSAIC_WEB_TOKEN"):
        web.listen("0")


def test_a_port_that_is_taken(site: Site) -> None:
    with pytest.raises(SinkError, match="another program uses this port"):
        web.listen(str(site.listener.port))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.7"])
def test_a_host_that_is_not_here(host: str) -> None:
    with pytest.raises(SinkError, match="name an address of this computer"):
        web.listen(f"{host}:0")


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "starlette.py").write_text("raise ImportError(name='starlette')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "starlette"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        SinkError, match=r"starlette is missing; .* -m pip install 'livemosaic\[web\]'"
    ):
        web.listen("0")


def test_the_port_is_free_after_the_end(own_site: Site) -> None:
    own_site.page.close()
    listener = until(lambda: web.listen(str(own_site.listener.port)))
    listener.close()
