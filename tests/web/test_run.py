"""`livemosaic run --web`: its line, its end, and what it costs a run without it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.program import ENVIRONMENT, SMALL, Program, Run, clip, left, needs_jit

from .conftest import WAIT_S, until

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
        client.post("/api/actions/record")
        until(lambda: client.get("/api/stats").json()["recording"])
        client.post("/api/actions/record")
        until(lambda: [name for name in left(folder) if name.endswith(".mkv")])
        client.post("/api/actions/quit")
    outcome = run.end()
    assert outcome.code == 0, outcome.err
    assert '"outputs": ["null"]' in outcome.out
    assert "token" not in outcome.out
    assert outcome.err.count("token") == 1


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
    files = {"frame.html", "control.html"}
    files |= {f"{name}.{kind}" for name in ("common", "control") for kind in ("css", "js")}
    assert files <= set(left(ROOT / "livemosaic" / "web" / "page"))
