"""Photos of guests: who may send them, what is kept, what the host decides, and the limits."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from livemosaic import web
from livemosaic.errors import OptionError, UsageError
from livemosaic.gallery.photo_paths import find_photos
from livemosaic.web import guard
from livemosaic.web.photos import limits, routes
from livemosaic.web.photos.guest_folder import ID, GuestFolder

from ..clips import picture
from ..program import left
from .conftest import WAIT_S, Site, decoded, served, until

pytestmark = pytest.mark.alone

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shared_party(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path]]:
    """A page with guests for all tests: it starts in half a second."""
    folder = tmp_path_factory.mktemp("party") / "guests"
    with served(folder) as site:
        yield site, folder


@pytest.fixture
def party(shared_party: tuple[Site, Path]) -> Site:
    return shared_party[0]


@pytest.fixture
def folder(shared_party: tuple[Site, Path]) -> Path:
    return shared_party[1]


@pytest.fixture
def guest(party: Site) -> Iterator[httpx.Client]:
    """A guest of its own for each test, because each may send some photos only."""
    with party.guest(f"guest-{next(_numbers):03}") as opened:
        yield opened


@pytest.fixture
def host(party: Site) -> Iterator[httpx.Client]:
    with party.client() as opened:
        opened.post("/api/photos/approve-all")
        yield opened


def photo(
    number: int | None = None,
    *,
    size: tuple[int, int] = (160, 120),
    kind: str = "JPEG",
    **options: Any,
) -> bytes:
    """An image file with random patches, unlike those of other numbers; by default a new one."""
    number = 10_000 + next(_numbers) if number is None else number
    patches = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    if kind == "HEIF":
        register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC).save(file, kind, **options)
    return file.getvalue()


def send(client: httpx.Client, *photos: bytes, name: str = "a.jpg", **options: Any) -> Any:
    """Upload photos; the answer for each, or the refusal of all."""
    files = [("photo", (name, data)) for data in photos]
    return client.post("/api/photos", files=files, **options).json()


def photos_in(folder: Path) -> list[str]:
    """The photos that a gallery of the folder has."""
    return find_photos([folder]).photos


def file_of(folder: Path, answer: Any) -> Path:
    """The file of a photo that waits."""
    path: Path = folder / ".guests" / f"{answer['id']}.jpg"
    return path


def test_a_photo_waits_until_it_is_approved(
    folder: Path, guest: httpx.Client, host: httpx.Client
) -> None:
    (answer, other) = send(guest, photo(), photo())
    host.post(f"/api/photos/{other['id']}/approve")
    assert answer["state"] == "waiting"
    id = answer["id"]
    assert guest.get(f"/api/photos/{id}").json()["state"] == "waiting"
    assert host.get("/api/stats").json()["waiting"] == 1
    assert [it["id"] for it in host.get("/api/photos?state=waiting").json()] == [id]
    assert decoded(host.get(f"/api/photos/{id}/picture").content).shape == (120, 160, 3)
    assert str(folder / f"{id}.jpg") not in photos_in(folder)
    assert host.post(f"/api/photos/{id}/approve").json() == {"id": id, "state": "approved"}
    assert str(folder / f"{id}.jpg") in photos_in(folder)
    assert guest.get(f"/api/photos/{id}").json()["state"] == "approved"
    assert host.get("/api/stats").json()["waiting"] == 0


def test_a_decision_is_as_the_document_says(guest: httpx.Client, host: httpx.Client) -> None:
    schema = host.get("/openapi.json").json()["components"]["schemas"]["Decision"]
    id = send(guest, photo())[0]["id"]
    for verb in ("approve", "reject"):
        answer = host.post(f"/api/photos/{id}/{verb}").json()
        assert set(answer) == set(schema["required"]) == set(schema["properties"])


def test_photos_are_listed_by_states_and_age(guest: httpx.Client, host: httpx.Client) -> None:
    ids = [send(guest, photo())[0]["id"] for _ in range(4)]
    host.post(f"/api/photos/{ids[0]}/approve")
    host.post(f"/api/photos/{ids[2]}/reject")

    def listed(query: str) -> list[str]:
        return [it["id"] for it in host.get(f"/api/photos?{query}").json()]

    newest = listed("")
    assert [it for it in newest if it in ids] == ids[::-1]
    assert listed("order=oldest") == newest[::-1]
    assert listed("order=oldest&limit=2") == newest[:-3:-1]
    assert listed("state=waiting&order=oldest") == [ids[1], ids[3]]
    assert listed("state=approved&state=rejected") == [it for it in newest if it not in ids[1::2]]
    for query in ("order=best", "state=waiting&state=best"):
        assert host.get(f"/api/photos?{query}").status_code == 400


def test_a_rejected_photo_is_deleted(folder: Path, guest: httpx.Client, host: httpx.Client) -> None:
    data = photo()
    ids = [answer["id"] for answer in send(guest, data, photo())]
    host.post(f"/api/photos/{ids[0]}/approve")
    for id in ids:
        assert host.post(f"/api/photos/{id}/reject").json()["state"] == "rejected"
        assert guest.get(f"/api/photos/{id}").json()["state"] == "rejected"
        assert host.post(f"/api/photos/{id}/approve").status_code == 409
        assert host.get(f"/api/photos/{id}/picture").status_code == 404
        (rest,) = folder.rglob(f"{id}*")
        assert rest.stat().st_size < 300
    assert send(guest, data) == [{"id": ids[0], "state": "rejected", "duplicate": True}]


def test_all_are_approved(folder: Path, guest: httpx.Client, host: httpx.Client) -> None:
    ids = [answer["id"] for answer in send(guest, photo(), photo(), photo())]
    assert host.post("/api/photos/approve-all").json() == {"approved": 3}
    assert {str(folder / f"{id}.jpg") for id in ids} <= set(photos_in(folder))


def test_automatic_approval(tmp_path: Path) -> None:
    with served(tmp_path, auto_approve=True) as site, site.guest() as guest:
        (answer,) = send(guest, photo())
    assert answer["state"] == "approved"
    assert photos_in(tmp_path) == [str(tmp_path / f"{answer['id']}.jpg")]


def test_a_new_start_finds_all_as_it_was(tmp_path: Path) -> None:
    sent = [photo(), photo(), photo(), photo()]
    with served(tmp_path) as site, site.guest() as guest, site.client() as host:
        ids = [answer["id"] for answer in send(guest, *sent)]
        host.post(f"/api/photos/{ids[1]}/approve")
        host.post(f"/api/photos/{ids[2]}/reject")
        host.post(f"/api/photos/{ids[3]}/approve")
    (tmp_path / f"{ids[3]}.jpg").unlink()
    with served(tmp_path) as site, site.guest() as guest, site.client() as host:
        states = {it["id"]: it["state"] for it in host.get("/api/photos").json()}
        again = send(guest, *sent)
    expected = ["waiting", "approved", "rejected", "rejected"]
    assert states == dict(zip(ids, expected, strict=True))
    assert [(it["id"], it["state"]) for it in again] == list(zip(ids, expected, strict=True))


def test_a_photo_that_the_host_deletes(
    folder: Path, guest: httpx.Client, host: httpx.Client
) -> None:
    (answer,) = send(guest, photo())
    host.post("/api/photos/approve-all")
    (folder / f"{answer['id']}.jpg").unlink()
    assert guest.get(f"/api/photos/{answer['id']}").json()["state"] == "rejected"


# ---- what is written --------------------------------------------------------------------------


def test_a_photo_is_upright_smaller_and_without_metadata(folder: Path, guest: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "secret"  # a quarter turn; a description
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 0.0)  # where it was taken
    data = photo(1, size=(2400, 1800), exif=exif, comment=b"secret")
    assert b"secret" in data
    (answer,) = send(guest, data)
    written = file_of(folder, answer).read_bytes()
    with Image.open(io.BytesIO(written)) as opened:
        assert opened.size == (1536, 2048)
        assert not opened.getexif()
        assert set(opened.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"}
    assert b"secret" not in written
    plain = decoded(photo(1, size=(2400, 1800)))
    upright = cv2.resize(cv2.rotate(plain, cv2.ROTATE_90_CLOCKWISE), (1536, 2048))
    assert np.abs(decoded(written).astype(int) - upright).mean() < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF"])
def test_kinds(kind: str, folder: Path, guest: httpx.Client) -> None:
    number = next(_numbers)
    (answer,) = send(guest, photo(number, kind=kind), name="a.txt")
    assert answer.get("state") == "waiting", answer
    written = decoded(file_of(folder, answer).read_bytes())
    # GIF has 256 colours.
    assert np.abs(written.astype(int) - decoded(photo(number))).mean() < 8


HOSTILE = {
    "nothing": b"",
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "a page": b"<!doctype html><script>alert(1)</script>",
    "a program": b"MZ" + bytes(500),
    "TIFF": photo(kind="TIFF"),
    "BMP": photo(kind="BMP"),
    "a begun JPEG": b"\xff\xd8\xff\xe0",
    "half a JPEG": photo()[:1500],
    "half a PNG": photo(kind="PNG")[:5000],
    "half a HEIC": photo(kind="HEIF")[:-400],
    "one pixel": photo(size=(1, 1)),
    "noise after the beginning of a HEIC": photo(kind="HEIF")[:40] + b"\xa5" * 4000,
}


def bomb(width: int, height: int) -> bytes:
    """A PNG of very many pixels in few bytes."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG", compress_level=9)
    return file.getvalue()


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_photos(kind: str, folder: Path, guest: httpx.Client) -> None:
    before = sorted(folder.rglob("*"))
    (answer,) = send(guest, HOSTILE[kind])
    assert answer["error"]
    assert sorted(folder.rglob("*")) == before


def test_too_many_pixels(folder: Path, guest: httpx.Client) -> None:
    (answer, good) = send(guest, bomb(10_000, 10_000), photo())
    assert "10000 x 10000 pixels" in answer["error"]
    assert good["state"] == "waiting"


def test_a_page_that_is_a_photo_too(folder: Path, guest: httpx.Client) -> None:
    """Nothing of what follows a photo is kept."""
    (answer,) = send(guest, photo() + b"<script>alert(1)</script><?php secret ?>")
    assert b"script" not in file_of(folder, answer).read_bytes()


NAMES = ("../../evil.jpg", "/etc/passwd", "<img src=x onerror=alert(1)>.jpg", "a\0b", "ü" * 300)


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str, folder: Path, guest: httpx.Client, host: httpx.Client) -> None:
    (answer,) = send(guest, photo(), name=name)
    assert answer["state"] == "waiting"
    listed = host.get("/api/photos").text
    assert not any(part in listed for part in ("evil", "passwd", "img", "ü"))
    assert left(folder.parent) == ["guests"]
    assert all(ID.fullmatch(path.stem) for path in folder.rglob("*.*") if path.is_file())


# ---- one photo, sent twice --------------------------------------------------------------------


def test_a_photo_that_a_messenger_made_smaller(guest: httpx.Client) -> None:
    data = photo(size=(3000, 2000), quality=95)
    with Image.open(io.BytesIO(data)) as opened:
        file = io.BytesIO()
        opened.resize((1280, 853)).save(file, "JPEG", quality=50)
    first, second, other = send(guest, data, file.getvalue(), photo(9, size=(3000, 2000)))
    assert second == {**first, "duplicate": True}
    assert other["id"] != first["id"]


def test_two_photos_of_a_burst(guest: httpx.Client) -> None:
    """Only a hand has moved."""
    pixels = cv2.cvtColor(picture(1200, 800), cv2.COLOR_BGR2RGB)
    files = []
    for left_px in (500, 520):
        moved = pixels.copy()
        moved[300:400, left_px : left_px + 80] = (220, 180, 160)
        file = io.BytesIO()
        Image.fromarray(moved).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    first, second = send(guest, *files)
    assert first["id"] != second["id"]


# ---- limits -----------------------------------------------------------------------------------


def test_a_photo_of_too_many_bytes(guest: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PHOTO", 100_000)
    big, good = send(guest, b"\xff\xd8" + bytes(200_000), photo())
    assert "MB" in big["error"]
    assert good["state"] == "waiting"


def test_a_request_of_too_many_bytes(party: Site) -> None:
    """By its head: it is refused before anything is read."""
    head = (
        f"POST /api/photos?token={party.listener.guest_token} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {limits.MAX_REQUEST + 1}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", party.listener.port), timeout=WAIT_S) as sent:
        sent.sendall(head.encode())
        assert sent.recv(100).startswith(b"HTTP/1.1 413 ")


def test_other_requests_stay_small(guest: httpx.Client, host: httpx.Client, site: Site) -> None:
    long = {"photo": ("a.jpg", bytes(100_000))}
    assert host.post("/api/photos/approve-all", files=long).status_code == 413
    with site.client() as other:  # without guests
        assert other.post("/api/photos", files=long).status_code == 413
        assert other.post("/api/photos", files={"photo": b"a"}).status_code == 404
        assert other.get("/api/photos").json() == []


def test_too_many_photos_of_a_guest(party: Site, guest: httpx.Client) -> None:
    for _ in range(4):
        send(guest, *[b"a"] * 5)
    answer = guest.post("/api/photos", files={"photo": b"a"})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    with party.guest("guest-of-their-own") as other:  # of the same address
        assert "state" in send(other, photo())[0]


def test_too_many_photos_while_one_waits_for_its_turn(
    guest: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told when to come again, as before its turn."""

    def take(*_: object) -> None:
        raise limits.Refused("there are too many photos", retry_s=7)

    monkeypatch.setattr(limits.Quota, "take", take)
    answer = guest.post("/api/photos", files={"photo": photo()})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


def test_too_many_in_one_request(guest: httpx.Client) -> None:
    answers = send(guest, *[b"a"] * (limits.MAX_FILES + 1))
    assert len(answers) == limits.MAX_FILES + 1
    assert "over 20" in answers[-1]["error"]


def test_a_full_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PHOTOS", 1)
    with served(tmp_path) as site, site.guest() as guest:
        first, second = send(guest, photo(), photo())
        answer = guest.post("/api/photos", files={"photo": photo()})
    assert (set(first), set(second)) == ({"id", "state"}, {"error"})
    assert (answer.status_code, "many" in answer.json()["error"]) == (409, True)


def test_a_full_disk(guest: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEEP_FREE", 10**18)
    assert "disk" in send(guest, photo())["error"]


def test_a_disk_that_is_away(tmp_path: Path) -> None:
    """Guests get the reason; with the disk, all photos are back."""
    folder, away = tmp_path / "guests", tmp_path / "away"
    with served(folder) as site, site.guest() as guest, site.client() as host:
        (own,) = send(guest, photo())
        folder.rename(away)
        refused = guest.post("/api/photos", files={"photo": photo()})
        assert (refused.status_code, "ask the host" in refused.json()["error"]) == (409, True)
        assert guest.get(f"/api/photos/{own['id']}").json()["state"] == "waiting"
        assert host.post(f"/api/photos/{own['id']}/approve").status_code == 409
        away.rename(folder)
        assert host.post("/api/photos/approve-all").json() == {"approved": 1}


class _FullDisk(io.BytesIO):
    """A file whose last bytes find no room, neither when it is closed."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        super().close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_gets_full(
    party: Site, guest: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GuestFolder, "new_file", lambda _: _FullDisk())
    (answer,) = send(guest, photo())
    assert os.strerror(errno.ENOSPC) in answer["error"]


FORM = "multipart/form-data; boundary=x"
FIELD = b"--x\r\nContent-Disposition: form-data; name=%b\r\n\r\nabc"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"abc", FORM, 400),
        (FIELD % b"photo", FORM, 400),  # without an end
        (FIELD % b"other" + b"\r\n--x--\r\n", FORM, 400),
        (b"--x\r\nA: " + b"b" * 10_000 + FIELD[3:] % b"photo" + b"\r\n--x--\r\n", FORM, 400),
        (b"--x\r\n\r\n\r\n" * 200, FORM, 400),
        (b"abc", f"multipart/form-data; boundary={'x' * 100}", 415),
        (b"abc", "multipart/form-data", 415),
        (b"{}", "application/json", 415),
    ],
)
def test_bad_forms(content: bytes, kind: str, status: int, guest: httpx.Client) -> None:
    answer = guest.post("/api/photos", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, "error" in answer.json()) == (status, True)


HEAD = (
    b"POST /api/photos?token=%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
)


def begun(party: Site, address: str = "127.0.0.1") -> socket.socket:
    """An upload from an address, whose rest does not come."""
    where, source = ("127.0.0.1", party.listener.port), (address, 0)
    opened = socket.create_connection(where, timeout=WAIT_S, source_address=source)
    opened.sendall(HEAD % party.listener.guest_token.encode() + FIELD % b"photo")
    return opened


def test_a_slow_upload(party: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """All waiting together is limited, also if something comes again and again."""
    monkeypatch.setattr(guard, "MAX_REQUEST_S", 0.5)
    with begun(party) as opened:
        with contextlib.suppress(OSError):
            for _ in range(20):
                opened.sendall(b"a")
                time.sleep(0.05)
        assert opened.recv(100).startswith(b"HTTP/1.1 408 ")


def test_uploads_that_hang_or_break_off(
    party: Site, folder: Path, guest: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "SLOT_S", 0.2)
    before = sorted(folder.rglob("*"))
    with contextlib.ExitStack() as hanging:
        for _ in range(limits.MAX_UPLOADS):
            hanging.enter_context(begun(party))

        def refused() -> bool:
            answer = guest.post("/api/photos", files={"photo": b"a"})
            return answer.status_code == 429 and "uploads" in answer.json()["error"]

        until(refused)
    assert sorted(folder.rglob("*")) == before
    until(lambda: guest.post("/api/photos", files={"photo": b"a"}).status_code == 200)


def test_many_phones_leave_room_for_the_host(
    party: Site, guest: httpx.Client, host: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_FOR_GUESTS", 5)
    with contextlib.ExitStack() as phones:
        for _ in range(5):
            where = "127.0.0.1", party.listener.port
            phones.enter_context(socket.create_connection(where, timeout=WAIT_S))
        until(lambda: guest.get("/upload").status_code == 503)
        answer = guest.get("/upload")
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("5", "close")
        assert host.get("/api/stats").status_code == 200
    until(lambda: guest.get("/upload").status_code == 200)


@pytest.mark.skipif(sys.platform != "linux", reason="it has one address of its own only")
def test_slow_uploads_from_one_address_leave_turns(
    party: Site, guest: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "SLOT_S", 0.5)
    with contextlib.ExitStack() as hanging:
        opened = [hanging.enter_context(begun(party, "127.0.0.2")) for _ in range(16)]
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 429 ")
        assert guest.post("/api/photos", files={"photo": photo()}).status_code == 200


@pytest.mark.slow
def test_phones_at_once(tmp_path: Path) -> None:
    """20 phones with 10 photos each, behind one address."""
    ready = threading.Barrier(20)

    with served(tmp_path) as site, site.client() as host:

        def phone(number: int) -> list[Any]:
            with site.guest(f"phone-{number:03}") as client:
                ready.wait()
                return [send(client, photo(1000 + 10 * number + i))[0] for i in range(10)]

        with ThreadPoolExecutor(20) as pool:
            answers = [answer for its in pool.map(phone, range(20)) for answer in its]
        assert host.post("/api/photos/approve-all").json() == {"approved": 200}
    assert {answer["state"] for answer in answers} == {"waiting"}
    assert len({answer["id"] for answer in answers}) == 200
    assert len(photos_in(tmp_path)) == 200


# ---- who may do what --------------------------------------------------------------------------


def test_the_upload_page(party: Site, guest: httpx.Client, client: httpx.Client) -> None:
    answer = guest.get("/upload")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert party.control.guests_url == party.listener.guest_url
    assert client.get("/upload").status_code == 404  # of a run without guests


ONLY_HOSTS = [
    *(("GET", path) for path in ("/", "/api/settings", "/api/stats", "/api/photos")),
    *(("GET", path) for path in ("/snapshot.jpg", "/stream.mjpg", "/openapi.json")),
    ("GET", "/api/photos/abc"),
    *(("POST", f"/api/actions/{name}") for name in ("privacy", "record", "quit")),
    *(("POST", "/api/photos/approve-all"), ("PATCH", "/api/settings"), ("DELETE", "/api/photos")),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ONLY_HOSTS)
def test_guests_can_only_upload(method: str, path: str, guest: httpx.Client) -> None:
    answer = guest.request(method, path)
    assert answer.status_code == 403
    assert "guests" in answer.text


def test_guests_decide_nothing(guest: httpx.Client, host: httpx.Client) -> None:
    (answer,) = send(guest, photo())
    for end in ("approve", "reject", "picture", "approve/", "../approve-all", "%2e%2e/approve-all"):
        path = f"/api/photos/{answer['id']}/{end}"
        assert guest.post(path).status_code == 403
        assert guest.get(path).status_code == 403
    assert host.get("/api/stats").json()["waiting"] == 1


def test_the_feed_is_not_for_guests(party: Site) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    address = f"{party.base.replace('http', 'ws')}/feed?token={party.listener.guest_token}"
    with pytest.raises(InvalidStatus) as caught, connect(address):
        pass
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("token", ["", "wrong", "x" * 22])
def test_uploads_want_a_token(token: str, party: Site, folder: Path) -> None:
    before = left(folder / ".guests")
    with party.client(headers={}) as client:
        params = {"token": token}
        answer = client.post("/api/photos", params=params, files={"photo": photo()})
        assert answer.status_code == 401
        assert client.get("/upload", params=params).status_code == 401
    assert left(folder / ".guests") == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_foreign_uploads(
    headers: dict[str, str], status: int, guest: httpx.Client, folder: Path
) -> None:
    before = left(folder / ".guests")
    answer = guest.post("/api/photos", headers=headers, files={"photo": photo()})
    assert answer.status_code == status
    assert left(folder / ".guests") == before


def test_a_token_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEMOSAIC_GUEST_TOKEN", "guests-of-the-party")
    listener = web.listen("0", guests=True)
    listener.close()
    assert listener.guest_url.endswith("/upload?token=guests-of-the-party")
    monkeypatch.setenv("LIVEMOSAIC_WEB_TOKEN", "guests-of-the-party")
    with pytest.raises(UsageError, match="LIVEMOSAIC_GUEST_TOKEN"):
        web.listen("0", guests=True)


def test_without_guests_there_is_no_token_of_theirs() -> None:
    listener = web.listen("0")
    listener.close()
    assert (listener.guest_token, listener.guest_url) == ("", "")


# ---- the folder -------------------------------------------------------------------------------


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".guests").symlink_to(tmp_path)
    for name in ("file", "no/such", "linked"):
        with pytest.raises(OptionError) as caught:
            web.open_guests(str(tmp_path / name))
        assert caught.value.option == "guests"
