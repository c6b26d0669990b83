"""A control page of its own for each test, with a real server, and clients that know its token."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from livemosaic import web
from livemosaic.control.state import Control, LiveState, LiveStats, OutputStats
from livemosaic.media.frame import Frame
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.web.listener import Listener
from livemosaic.web.server import ControlPage
from tests.browser import Browser, browser
from tests.clips import picture
from tests.fakes import wait_until

WAIT_S = 20
until = partial(wait_until, timeout_s=WAIT_S)
STATS = LiveStats(
    fps_in=30.0,
    fps_out=29.5,
    latency_ms_p50=10.0,
    latency_ms_p95=20.0,
    latency_ms_p99=30.0,
    dropped=3,
    active_share=0.25,
    split_share=0.125,
    gallery={"photos": 933, "added": 14, "removed": 0, "changes": 3},
    spotlight={"done": 12, "shown": 2, "waiting": 0},
    stages_ms={"match": 1.5},
    governor="larger tiles",
    governor_share=0.5,
    input="webcam",
    outputs=(OutputStats("window", frames=90, dropped=3),),
)


def wait_for_the_end(feed: ClientConnection) -> None:
    """Wait until the server has closed a feed."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            feed.recv(timeout=WAIT_S)


def decoded(data: bytes) -> Any:
    """The pixels of an image file."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def recorded(client: httpx.Client) -> int:
    """The frames of the recording of a run with one output; one without a frame is not kept."""
    outputs = client.get("/api/stats").json()["outputs"]
    return sum(it["frames"] for it in outputs[1:])


class Site(NamedTuple):
    """A control page that is served."""

    listener: Listener
    control: Control
    page: ControlPage

    @property
    def base(self) -> str:
        return f"http://{self.listener.host}:{self.listener.port}"

    def client(self, **options: Any) -> httpx.Client:
        """A client with the token in a header."""
        headers = {"Authorization": f"Bearer {self.listener.token}"}
        return httpx.Client(base_url=self.base, timeout=WAIT_S, **{"headers": headers, **options})

    def guest(self, name: str = "") -> httpx.Client:
        """A client with the token of guests."""
        headers = {"Authorization": f"Bearer {self.listener.guest_token}"}
        return self.client(headers=headers | ({"Livemosaic-Guest": name} if name else {}))

    def feed(self, **options: Any) -> ClientConnection:
        """A connection to the feed."""
        address = f"{self.base.replace('http', 'ws')}/feed?token={self.listener.token}"
        connection: ClientConnection = connect(address, compression=None, max_queue=None, **options)
        return connection

    def show(self, number: int = 0, *, size: tuple[int, int] = (128, 96)) -> None:
        """Give the page a picture."""
        self.page.write(Frame.from_bgr(picture(*size, number=number)))


# As in a run, whose output has a fixed size.
START = LiveState(MosaicSettings(tile_px=16, size=(128, 96)), max_latency_s=0.1)


@contextlib.contextmanager
def served(
    guests: Path | None = None,
    *,
    auto_approve: bool = False,
    address: str = "0",
    profiles: dict[str, Any] | None = None,
) -> Iterator[Site]:
    """A control page at a free port; with the photos of guests in a folder, if there is one."""
    profiles = profiles or {"default": {"tint": 0.8}, "photos-first": {"tint": 0.5}}
    control = Control(START, profiles=profiles, profile="default")
    control.live_stats = lambda: STATS
    listener = web.listen(address, guests=guests is not None)
    folder = None if guests is None else web.open_guests(str(guests))
    catalogue = web.catalogue(None, (), folder, auto_approve=auto_approve)
    page = web.open_page(listener, control, Fraction(1), catalogue)
    try:
        yield Site(listener, control, page)
    finally:
        page.close()


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Site]:
    """A page that starts and ends once: that takes a third of a second."""
    with served() as site:
        yield site


@pytest.fixture
def site(shared_site: Site) -> Site:
    """The same page in the state of its start; it may have pictures."""
    control = shared_site.control
    fields = {name: getattr(START, name) for name in START.__slots__}
    control.change(profile="default")
    control.change(**fields)
    control.take_snapshot_request()
    control.take_message()
    control.guests_url = ""
    return shared_site


@pytest.fixture
def own_site() -> Iterator[Site]:
    """A page for one test, without a picture."""
    with served() as site:
        yield site


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests, because it takes seconds to start; each test has its own tabs."""
    with browser() as opened:
        yield opened


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with site.client() as opened:
        yield opened
