"""The page of guests and the host's part of the control page, in a real browser."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from livemosaic.control.state import Place
from livemosaic.web import guard
from livemosaic.web.photos import limits
from tests.browser import DESK, PHONE, Browser, Tab

from .conftest import Site, served

pytestmark = [pytest.mark.slow, pytest.mark.alone]

TEXTS = "[...document.querySelectorAll('#photos .state')].map((it) => it.textContent)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "party"


@pytest.fixture
def party(folder: Path) -> Iterator[Site]:
    """A page with guests, and a picture of the wall."""
    with served(folder) as site:
        site.show()
        yield site


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    """Makes photo files, each unlike the others."""

    def make(number: int = 0, *, name: str = "", **options: Any) -> Path:
        patches = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        path = tmp_path / (name or f"{number}.jpg")
        Image.fromarray(patches).resize((160, 120)).save(path, "JPEG", **options)
        return path

    return make


@contextlib.contextmanager
def guest(chromium: Browser, site: Site, **screen: Any) -> Iterator[Tab]:
    """A guest's phone; at the end its console has no problem."""
    with chromium.tab() as tab:
        tab.show(site.listener.guest_url, **{"size": PHONE, "phone": True, **screen})
        tab.wait_for("document.querySelector('#files') !== null")
        yield tab
        assert tab.problems == []


@contextlib.contextmanager
def host(chromium: Browser, site: Site, **screen: Any) -> Iterator[Tab]:
    """A host's control page; at the end its console has no problem."""
    with chromium.tab() as tab:
        tab.show(site.listener.url, **{"size": DESK, **screen})
        tab.wait_for("document.querySelector('#guests')?.hidden === false && lines.length > 0")
        yield tab
        assert tab.problems == []


def look_at(tab: Tab) -> None:
    """Chromium loads no pictures of a page that is hidden, and lets its work wait."""
    tab.call("Page.bringToFront")


def says(tab: Tab, *texts: str) -> None:
    """Wait until the photos of a guest, the newest first, have these states."""
    look_at(tab)
    tab.wait_for(f"JSON.stringify({TEXTS}) === JSON.stringify({list(texts)})")


def waits(tab: Tab, count: int) -> None:
    """Wait until a host's page shows so many photos that wait, and takes clicks for them."""
    look_at(tab)
    tab.wait_for(f"waits.size === {count} && [...waits.values()].every(isSettled)")


def send(tab: Tab, *files: Path) -> None:
    """Choose files, and wait until each has an answer."""
    look_at(tab)
    tab.choose("#files", *files)
    tab.wait_for(f"photos.length >= {len(files)} && photos.every((it) => it.id || it.problem)")


def test_from_the_phone_to_the_wall(
    chromium: Browser, party: Site, photo: Callable[..., Path], folder: Path
) -> None:
    with guest(chromium, party) as phone, host(chromium, party) as desk:
        send(phone, photo())
        says(phone, "Waits for the host")
        waits(desk, 1)
        assert desk.run("document.querySelector('#waiting-count').textContent") == "1 waiting"
        assert desk.run("document.title") == "(1) livemosaic"
        desk.wait_for("document.querySelector('#waiting img').naturalWidth > 0")
        desk.run("document.querySelector('#waiting .approve').click()")
        waits(desk, 0)
        says(phone, "Approved: it comes onto the wall")
        assert len(list(folder.glob("*.jpg"))) == 1
        party.control.find_photo = lambda path: [Place(0.1, 0.05, 0.04, 0.06)]
        says(phone, "On the wall now")
        assert phone.run("document.querySelector('.where').textContent") == "top left"
        assert "top left" in phone.run("document.querySelector('.wall').ariaLabel")
        assert "On the wall now" in phone.run("document.querySelector('#said').textContent")
        phone.show(party.listener.guest_url, size=PHONE, phone=True)
        phone.wait_for("document.querySelectorAll('#photos img').length === 1")
        says(phone, "On the wall now")
        party.control.find_photo = lambda path: []
        says(phone, "Was on the wall, and comes back when it fits")
        look_at(desk)
        desk.run("document.querySelector('#latest').open = true")
        desk.wait_for("document.querySelector('#joined img')?.naturalWidth > 0")
        desk.wait_for("[...joined.values()].every(isSettled)")
        desk.run("document.querySelector('#joined .reject').click()")
        desk.wait_for("document.querySelector('#joined').textContent.startsWith('rejected')")
        says(phone, "Not chosen for the wall")
        phone.run("document.querySelector('.away').click()")
        assert phone.run("document.querySelector('#own').hidden")
    assert not list(folder.glob("*.jpg"))


def test_a_photo_is_sent_small_upright_and_without_metadata(
    chromium: Browser, party: Site, photo: Callable[..., Path], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "secret"  # a quarter turn
    path = photo(exif=exif)
    Image.open(path).resize((4000, 3000)).save(path, exif=exif)
    with guest(chromium, party) as phone:
        phone.run("window.sizes = [], window.own = sent, 0")
        phone.run(
            "sent = async (it, body) => (sizes.push(await createImageBitmap(body)), own(it, body))"
        )
        send(phone, path)
        sizes = phone.run("sizes.map((it) => [it.width, it.height])")
    assert sizes == [[1536, 2048]]


def test_refusals_say_why(
    chromium: Browser,
    party: Site,
    photo: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_PHOTO", 1_000_000)
    markup = "<img src=x onerror=alert(1)>"
    no_picture = tmp_path / f"{markup}.jpg"
    no_picture.write_text(markup)
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(1_500_000))
    with guest(chromium, party) as phone:
        send(phone, photo(1), no_picture, photo(1, name="again.jpg"), large)
        texts = phone.run(TEXTS)
        assert phone.run("document.querySelectorAll('.refused .away').length") == 3
        assert phone.run("document.querySelectorAll('#photos img').length") == 2
    for text, words in zip(
        texts, ("1 MB", "already", "It is no photo of a known kind", "host"), strict=True
    ):
        assert words in text


@pytest.mark.parametrize(
    ("size", "phone", "dark"), [(DESK, False, False), (PHONE, True, True)], ids=["desk", "phone"]
)
def test_the_pages_fit(
    size: tuple[int, int],
    phone: bool,
    dark: bool,
    chromium: Browser,
    party: Site,
    photo: Callable[..., Path],
) -> None:
    screen: dict[str, Any] = {"size": size, "phone": phone, "dark": dark}
    with guest(chromium, party, **screen) as own, host(chromium, party, **screen) as page:
        send(own, photo(0), photo(1))
        waits(page, 2)
        names = own.names() + page.names()
        for tab in (own, page):
            look_at(tab)
            assert tab.run("innerWidth") == size[0]
            shot = Image.open(io.BytesIO(tab.screenshot())).convert("L")
            corner = shot.getpixel((3, shot.height - 3))
            assert isinstance(corner, int)
            assert (corner < 80) == dark
        own.run("document.documentElement.style.fontSize = '200%'")
        own.run("add({ state: 'refused', problem: 'x'.repeat(200) })")
        assert own.run("[innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [
            size[0],
            True,
        ]
    assert [role for role, name in names if not name] == []
    spoken = [name.partition(" of ")[0] for _, name in names]
    assert ("Take a photo" in spoken) == phone
    for name in ("Choose photos", "The guests' address", "Copy", "QR code in the window"):
        assert name in spoken
    assert spoken.count("Approve the photo") == spoken.count("Reject the photo") == 2


def test_by_the_keyboard(chromium: Browser, party: Site, photo: Callable[..., Path]) -> None:
    """The next photo's button has the focus when one is decided."""
    with guest(chromium, party, size=DESK, phone=False) as own, host(chromium, party) as desk:
        look_at(own)
        own.press("Tab", 9)
        assert own.run("document.activeElement.id") == "files"
        send(own, *map(photo, range(3)))
        waits(desk, 3)
        desk.run("document.querySelector('#approve-all').focus()")
        desk.press("Tab", 9)
        for count in (2, 1, 0):
            assert desk.run("document.activeElement.textContent") == "Approve"
            desk.type("\r")
            waits(desk, count)
        assert desk.run("document.activeElement.id") == "copy"


def test_hosts_see_each_other(chromium: Browser, party: Site, photo: Callable[..., Path]) -> None:
    """Two approve the same photo; one approves all that it sees."""
    hosts = host(chromium, party), host(chromium, party)
    with guest(chromium, party) as phone, hosts[0] as one, hosts[1] as two:
        look_at(phone)
        send(phone, *map(photo, range(4)))
        for tab in (one, two):
            waits(tab, 4)
            # The second page may hear of the first decision before its own click.
            tab.run("window.approve = document.querySelector('#waiting .approve'), 0")
        for tab in (one, two):
            tab.run("approve.click()")
        for tab in (one, two):
            waits(tab, 3)
            assert tab.run("document.querySelector('#toasts').textContent") == ""
        one.run("document.querySelector('#waiting .reject').click()")
        waits(two, 2)
        two.run("document.querySelector('#approve-all').click()")
        for tab in (one, two):
            waits(tab, 0)
            tab.wait_for("document.querySelectorAll('#joined li').length === 4")
            assert tab.run("document.title") == "livemosaic"


# What a host presses, and again as soon as the list has changed.
AGAIN = (
    "window.again = new MutationObserver(() => press()),"
    "again.observe(document.querySelector({list!r}), {{ childList: true }}),"
    "window.press = () => {press}.click(), press()"
)


def test_a_second_click_decides_no_other_photo(
    chromium: Browser, party: Site, photo: Callable[..., Path]
) -> None:
    """As the next photo moves to the place of one that is decided."""
    with guest(chromium, party) as phone, host(chromium, party) as desk:
        send(phone, photo(0), photo(1))
        waits(desk, 2)
        desk.run(AGAIN.format(list="#waiting", press="document.querySelector('#waiting .approve')"))
        waits(desk, 1)
        states = [it["state"] for it in desk.run("ask('api/photos')")]
        assert states == ["waiting", "approved"]
        desk.run("again.disconnect(), press()")
        waits(desk, 0)


@pytest.mark.parametrize("list", ["#waiting", "#joined"])
def test_a_second_key_decides_no_other_photo(
    list: str, chromium: Browser, party: Site, photo: Callable[..., Path]
) -> None:
    """As another photo gets the keyboard: of the last one, the one before it, which has not
    moved."""
    with guest(chromium, party) as phone, host(chromium, party) as desk:
        send(phone, *map(photo, range(3)))
        waits(desk, 3)
        if list == "#joined":
            desk.run("document.querySelector('#approve-all').click()")
            desk.wait_for("joined.size === 3")
            desk.run("document.querySelector('#latest').open = true")
            look_at(desk)
            desk.wait_for("[...joined.values()].every(isSettled)")
        desk.run(f"[...document.querySelectorAll('{list} .reject')].at(-1).focus()")
        desk.run(AGAIN.format(list=list, press="document.activeElement"))
        desk.wait_for("[...joined.values(), ...waits.values()].every(isSettled) && joined.size > 0")
        states = [it["state"] for it in desk.run("ask('api/photos')")]
        assert states.count("rejected") == 1


def test_all_are_those_that_were_seen(
    chromium: Browser, party: Site, photo: Callable[..., Path]
) -> None:
    """Not one that comes in the moment of the click."""
    with guest(chromium, party) as phone, host(chromium, party) as desk:
        send(phone, photo(0), photo(1))
        waits(desk, 2)
        desk.run(
            "window.more = new MutationObserver(() => {"
            "  more.disconnect(); document.querySelector('#approve-all').click(); }),"
            "more.observe(document.querySelector('#waiting'), { childList: true }), 0"
        )
        send(phone, photo(2))
        waits(desk, 1)
        states = [it["state"] for it in desk.run("ask('api/photos')")]
        assert states == ["waiting", "approved", "approved"]


def test_a_request_that_fails_leaves_later_news(
    chromium: Browser, party: Site, photo: Callable[..., Path]
) -> None:
    with guest(chromium, party) as phone, host(chromium, party) as desk:
        desk.wait_for("!isRefreshing")
        desk.run(
            "window.real = fetch, window.fetch = () => new Promise((_, fail) => {"
            "  window.fetch = real; window.fail = fail; }), refreshPhotos(), 0"
        )
        send(phone, photo())
        desk.wait_for("isStale")
        desk.run("fail(new TypeError('lost'))")
        waits(desk, 1)


def test_pages_of_one_phone_keep_all_its_photos(
    chromium: Browser, party: Site, photo: Callable[..., Path]
) -> None:
    """As a second scan of the QR code opens another page."""
    with guest(chromium, party) as one, guest(chromium, party) as two:
        send(two, photo(0))
        send(one, photo(1))
        one.show(party.listener.guest_url, size=PHONE, phone=True)
        one.wait_for("document.querySelectorAll('#photos li').length === 2")
        one.run("update(photos[1], { state: 'gone' })")
        one.run("document.querySelector('.away').click()")
        assert one.run("[photos.length, remembered().length]") == [1, 1]


def test_an_earlier_answer_does_not_hide_the_end(chromium: Browser, party: Site) -> None:
    with guest(chromium, party) as phone:
        phone.run(
            "window.real = fetch, window.fetch = async (...it) => {"
            "  const answer = await real(...it);"
            "  await new Promise((go) => { window.release = go; }); return answer; }"
        )
        phone.run("window.reached = reach('upload', undefined, { method: 'HEAD' }), 0")
        phone.wait_for("!!window.release")
        phone.run("setOver(), release(), reached")
        assert not phone.run("document.querySelector('#lost').hidden")


def test_many_photos_at_once(
    chromium: Browser, party: Site, photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond the limit of a minute wait for the next one, and the page says so."""
    with guest(chromium, party) as phone, host(chromium, party) as desk:
        look_at(phone)
        count = limits.GUEST_MINUTE
        phone.choose("#files", *map(photo, range(50)))
        phone.wait_for(f"photos.filter((it) => it.state === 'waiting').length === {count}")
        phone.wait_for(f"{TEXTS}.some((it) => it.includes('is sent in'))")
        assert phone.run("photos.length") == 50
        waits(desk, count)
        phone.problems.clear()  # the browser notes the refusal


def test_without_a_connection_the_page_waits(
    chromium: Browser, party: Site, photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with guest(chromium, party) as phone:
        phone.connect(online=False)
        phone.choose("#files", photo())
        phone.wait_for("!document.querySelector('#lost').hidden")
        says(phone, "To be sent")
        phone.connect(online=True)
        says(phone, "Waits for the host")
        phone.wait_for("document.querySelector('#lost').hidden")
        assert all("ERR_INTERNET_DISCONNECTED" in it for it in phone.problems)
        monkeypatch.setattr(guard, "MAX_REQUEST_S", 0.0)  # it breaks off under way
        phone.choose("#files", photo(1))
        phone.wait_for("photos[0].attempts === 1")
        monkeypatch.undo()
        says(phone, "Waits for the host", "Waits for the host")
        phone.problems.clear()


def test_the_end_of_a_run_is_said(chromium: Browser, folder: Path) -> None:
    with chromium.tab() as phone:
        with served(folder) as site:
            phone.show(site.listener.guest_url, size=PHONE, phone=True)
            phone.wait_for("document.querySelector('#files') !== null")
            token = site.listener.guest_token
        phone.run("add({ state: 'waiting', id: '20260101-120000-0123456789abcdef' })")
        phone.wait_for("!document.querySelector('#lost').hidden")
        assert token not in phone.run("document.querySelector('#lost').textContent")


def test_there_are_no_guests_without_the_option(chromium: Browser) -> None:
    with served() as site, chromium.tab() as desk, site.client() as client:
        desk.show(site.listener.url, size=DESK)
        desk.wait_for("document.querySelector('#guests') !== null && lines.length > 0")
        assert desk.run("document.querySelector('#guests').hidden")
        assert desk.problems == []
        assert client.get("/upload").status_code == 404
