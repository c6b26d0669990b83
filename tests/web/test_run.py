"""`livemosaic run --web`: its line, its end, and what it costs a run without it."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from tests.clips import picture
from tests.conftest import ROOT
from tests.program import ENVIRONMENT, SMALL, Program, Run, clip, left, needs_jit

from .conftest import WAIT_S, recorded, until

LIVE = ("run", "pattern:64x48@25", "null", *SMALL, "--no-config")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def client_of(run: Run) -> httpx.Client:
    """A client of a run that has printed its address."""
    match = run.wait_for(rb"(?m)^control page: (http://127\.0\.0\.1:\d+)/\?token=([\w-]{20,})$")
    base, token = match[1].decode(), match[2].decode()
    return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=WAIT_S)


@needs_jit
def test_a_run_is_changed_and_ended(folder: Path) -> None:
    run = Run(*LIVE, "--json", "--web", "0")
    with client_of(run) as client:
        until(lambda: client.get("/api/stats").json()["fps_out"])
        assert client.get("/").status_code == 200
        plain = until(lambda: client.get("/snapshot.jpg").content)
        client.patch("/api/settings", json={"overlay": 1.0, "tile": 32})
        until(lambda: client.get("/snapshot.jpg").content != plain)
        assert client.get("/api/stats").json()["outputs"][0]["name"] == "null"
        client.post("/api/actions/snapshot")
        until(lambda: [name for name in left(folder) if name.endswith(".png")])
        assert client.post("/api/actions/snap").status_code == 202
        until(lambda: (client.get("/api/stats").json()["gallery"] or {}).get("changes"))
        client.post("/api/actions/record")
        until(lambda: recorded(client))
        client.post("/api/actions/record")
        until(lambda: [name for name in left(folder) if name.endswith(".mkv")])
        client.post("/api/actions/quit")
    outcome = run.end()
    assert outcome.code == 0, outcome.err
    assert '"outputs": ["null"]' in outcome.out
    assert "token" not in outcome.out
    assert outcome.err.count("token") == 1


def photo(kind: str, *, turned: bool = False) -> bytes:
    """An image file, unlike those of other kinds."""
    register_heif_opener()
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    file, pixels = io.BytesIO(), picture(400, 300)
    pixels = pixels[::-1] if kind == "HEIF" else pixels
    Image.fromarray(pixels[:, ::-1] if turned else pixels).save(file, kind, exif=exif)
    return file.getvalue()


BEGUN = (
    b"POST /api/photos HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
    b"--x\r\nContent-Disposition: form-data; name=photo\r\n\r\n"
)


def open_files(run: Run, folder: Path) -> list[str]:
    """What a run has opened in a folder; elsewhere than on Linux, nothing says it."""
    if sys.platform != "linux":
        return ["?"]
    links = Path(f"/proc/{run.process.pid}/fd").iterdir()
    return [path for path in map(os.readlink, links) if path.startswith(str(folder))]


@needs_jit
def test_photos_of_guests_join(folder: Path) -> None:
    """Nothing is left of an upload but the photos and what recognises them."""
    run = Run(*LIVE, "--json", "--web", "0", "--guests", "party", "--auto-approve")
    token = run.wait_for(rb"(?m)^guests: http://127\.0\.0\.1:\d+/upload\?token=([\w-]{20,})$")[1]
    with client_of(run) as client:
        until(lambda: client.get("/api/stats").json()["fps_out"])
        photos = (photo("JPEG"), photo("JPEG", turned=True), photo("HEIF"), b"no photo")
        answers = client.post(
            "/api/photos",
            files=[("photo", ("a.jpg", data)) for data in photos],
            headers={"Authorization": f"Bearer {token.decode()}"},
        ).json()
        assert [answer.get("state") for answer in answers] == [*["approved"] * 3, None], answers
        until(lambda: client.get("/api/stats").json()["gallery"]["added"] == 3)
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as begun:
            begun.sendall(BEGUN % token + photos[0])  # an upload is under way
            until(lambda: open_files(run, folder / "party"))
            run.interrupt(signal.SIGINT)
            outcome = run.end()
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert "guests: phones cannot reach this address" in outcome.err
    assert sorted(left(folder)) == ["party", "party.watched.gallery"]
    names = [path.name for path in (folder / "party").rglob("*") if path.is_file()]
    ids = {answer["id"] for answer in answers[:3]}
    assert set(names) == {f"{id}{end}" for id in ids for end in (".jpg", ".known")}


@needs_jit
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(kind: signal.Signals, folder: Path) -> None:
    run = Run(*LIVE, "--web", "0")
    with client_of(run) as client:
        until(lambda: client.get("/api/stats").json()["fps_out"])
        with client.stream("GET", "/stream.mjpg") as answer:
            next(answer.iter_raw())
            run.interrupt(kind)
            outcome = run.end()
    assert outcome.code == 130
    assert "Traceback" not in outcome.err


@needs_jit
def test_a_file_ends_by_itself(folder: Path) -> None:
    clip(folder / "a.mp4")
    run = Run("run", "a.mp4", "b.mp4", *SMALL, "--no-config", "--web", "0")
    outcome = run.end()
    assert outcome.code == 0, outcome.err
    assert "control page: http" in outcome.err
    assert left(folder) == ["a.mp4", "b.mp4"]


def test_no_address_without_a_page(folder: Path, program: Program) -> None:
    clip(folder / "a.mp4")
    outcome = program("run", "a.mp4", "null", *SMALL, "--web", "0", "--quiet")
    assert (outcome.code, outcome.err) == (0, "")


def test_nothing_of_it_or_of_osc_is_imported_without_the_option(folder: Path) -> None:
    clip(folder / "a.mp4")
    code = (
        "import sys, livemosaic.cli.app as app\n"
        f"assert app.main(['run', 'a.mp4', 'null', '--quiet', *{SMALL!r}]) == 0\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "own = ('livemosaic.web.', 'livemosaic.control.osc', 'livemosaic.listening')\n"
        "print(*[name for name in sys.modules if name.startswith(own)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, cwd=folder, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    names, own = done.stdout.split("\n")[:2]
    assert not {"starlette", "uvicorn", "websockets", "asyncio", "h11"} & set(names.split())
    assert own == ""


def test_the_pages_are_in_the_package() -> None:
    files = {"frame.html", "control.html", "upload.html"}
    files |= {f"{it}.{kind}" for it in ("common", "control", "upload") for kind in ("css", "js")}
    assert files <= set(left(ROOT / "livemosaic" / "web" / "page"))
