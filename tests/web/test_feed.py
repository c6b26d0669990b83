"""The feed of a page: pictures on request, changes of others, messages, statistics."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection

from livemosaic.control.state import LiveStats
from tests.fakes import pipeline_threads

from .conftest import WAIT_S, Site, decoded, until, wait_for_the_end


def text(feed: ClientConnection, kind: str) -> dict[str, Any]:
    """The next text of a type."""
    while True:
        data = feed.recv(timeout=WAIT_S)
        if isinstance(data, str) and (item := json.loads(data))["type"] == kind:
            found: dict[str, Any] = item
            return found


def picture(feed: ClientConnection, width: int) -> Any:
    """Ask for a picture, and wait for it."""
    feed.send(json.dumps({"picture": width}))
    while isinstance(data := feed.recv(timeout=WAIT_S), str):
        pass
    return decoded(data)


def test_a_page_starts_with_everything(site: Site) -> None:
    with site.feed() as feed:
        start = text(feed, "start")
    assert start["values"]["tint"] == 0.8
    assert "palette" in start["unused"]  # which only the other match uses
    assert "fullscreen" not in start["unused"]
    assert start["now"]["input"] == "webcam"
    assert start["columns"][:2] == ["at_s", "fps_in"]


def test_pictures_come_on_request_only(site: Site) -> None:
    site.show(0)
    with site.feed() as feed:
        assert picture(feed, 64).shape == (48, 64, 3)
        for number in range(1, 4):
            site.show(number)
        time.sleep(0.1)
        feed.send(json.dumps({"picture": 9000}))
        shapes = []
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            try:
                data = feed.recv(timeout=0.1)
            except TimeoutError:
                continue
            if isinstance(data, bytes):
                shapes.append(decoded(data).shape)
        assert shapes == [(96, 128, 3)]  # one request, one picture: the newest


def test_a_request_waits_for_the_next_picture(site: Site) -> None:
    site.show(0)
    with site.feed() as feed:
        picture(feed, 64)
        timer = threading.Timer(0.2, lambda: site.show(1))
        timer.start()
        began = time.monotonic()
        picture(feed, 64)
        assert time.monotonic() - began > 0.1
        timer.join()


def test_people_see_the_changes_of_others(site: Site, client: httpx.Client) -> None:
    with site.feed() as first, site.feed() as second:
        for feed in (first, second):
            text(feed, "start")
        client.patch("/api/settings", json={"tint": 0.25, "match": "clusters"})
        for feed in (first, second):
            change = text(feed, "values")
            assert change["values"]["tint"] == 0.25
            assert "clusters" in change["unused"]["calm"]
        site.control.change(mirror=True)  # by a key
        assert text(first, "values")["values"]["mirror"] is True
        site.control.inform("saved a.png")
        assert text(second, "message")["text"] == "saved a.png"
        assert site.control.take_message() == "saved a.png"  # the window gets it, too


def test_states_have_the_number_of_their_changes(site: Site, client: httpx.Client) -> None:
    """A page gets them on two ways, and so knows which is newer."""
    with site.feed() as feed:
        before = text(feed, "start")["changes"]
        answer = client.patch("/api/settings", json={"tint": 0.25, "mirror": True})
        assert text(feed, "values")["changes"] == before + 1
    refused = client.patch("/api/settings", json={"tint": 7})
    assert "Livemosaic-Changes" not in refused.headers
    for its in (answer, client.get("/api/settings")):
        assert its.headers["Livemosaic-Changes"] == str(before + 1)


def test_the_number_of_pages(site: Site) -> None:
    with site.feed() as first:
        assert text(first, "pages")["count"] == 1
        with site.feed():
            assert text(first, "pages")["count"] == 2
        assert text(first, "pages")["count"] == 1


def test_statistics_come_each_second(site: Site) -> None:
    with site.feed() as feed:
        start = text(feed, "start")
        stats = text(feed, "stats")
    line = dict(zip(start["columns"], stats["line"], strict=True))
    assert (line["fps_out"], line["latency_ms_p99"], line["governor_share"]) == (29.5, 30.0, 0.5)
    assert stats["now"]["dropped"] == 3
    with site.feed() as feed:
        assert text(feed, "start")["lines"]  # a page that comes later has the past


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"picture": null}',
        '{"picture": "x"}',
        '{"picture": 1e999}',
        b"\0",
    ],
)
def test_nonsense_closes_the_feed(sent: str | bytes, site: Site, client: httpx.Client) -> None:
    with site.feed() as feed:
        feed.send(sent)
        wait_for_the_end(feed)
    assert client.get("/api/stats").status_code == 200


def test_many_changes_are_few_messages(site: Site) -> None:
    with site.feed() as feed:
        text(feed, "start")
        for number in range(200):
            site.control.change(tint=number / 200)
        until(lambda: text(feed, "values")["values"]["tint"] == 199 / 200)


def test_many_messages_hide_no_change(own_site: Site) -> None:
    """They may all wait, such as for a phone with a weak signal."""
    control, reached, goes_on = own_site.control, threading.Event(), threading.Event()
    with own_site.feed() as feed:
        text(feed, "start")
        stats = control.live_stats()

        def wait() -> LiveStats:  # on the thread of the feed
            reached.set()
            goes_on.wait(WAIT_S)
            return stats

        control.live_stats = wait
        assert reached.wait(WAIT_S)
        control.change(tint=0.25)
        for number in range(100):
            control.notify(str(number))
        goes_on.set()
        items: list[dict[str, Any]] = []
        while not items or items[-1].get("text") != "99":
            items.append(json.loads(feed.recv(timeout=WAIT_S)))
    changes = [item["values"]["tint"] for item in items if item["type"] == "values"]
    assert changes == [0.25]
    assert [item["type"] for item in items].count("message") < 50  # the newest


def test_the_end_closes_everything(own_site: Site) -> None:
    site = own_site
    before = pipeline_threads().count("livemosaic web")
    site.show()
    with site.feed() as feed, site.client() as client:
        text(feed, "start")
        with client.stream("GET", "/stream.mjpg") as answer:
            parts = answer.iter_raw()
            next(parts)
            feed.send(json.dumps({"picture": 64}))
            began = time.monotonic()
            site.page.close()
            wait_for_the_end(feed)
            list(parts)
    assert time.monotonic() - began < 5
    until(lambda: pipeline_threads().count("livemosaic web") == before - 1)


def test_the_number_of_pages_is_limited(own_site: Site) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(own_site.feed())
        feed = stack.enter_context(own_site.feed())
        wait_for_the_end(feed)
        assert feed.close_code == 1013


def test_the_page_says_that_it_has_ended(own_site: Site) -> None:
    """By a defect: the picture goes on."""

    def fail() -> LiveStats:
        raise ValueError("a defect")

    own_site.control.live_stats = fail
    text = "control page: it has ended: a defect; the outputs go on"
    until(lambda: own_site.control.take_message() == text)
