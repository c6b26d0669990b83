"""Names, tags and galleries of strangers control neither a terminal nor a page."""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import livemosaic
from livemosaic.cli.commands.devices import run as devices
from livemosaic.errors import LivemosaicError, SourceError, printable
from livemosaic.gallery import Gallery
from livemosaic.gallery.report import contact_sheet_html, contact_sheet_png
from livemosaic.media.frame import Frame
from livemosaic.media.text import text_width
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.sinks.photo_map import map_page

from .browser import document_of
from .clips import picture
from .conftest import write_tiles
from .gallery_files import encode, photo
from .program import SMALL, Outcome, Program, clip

# Sets the title, clears the screen, 8-bit CSI, a new line, and turns the text around.
EVIL = "\x1b]0;pwned\x07\x1b[2J\x9b31m\n\r\x7f\u202egpj"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def clean(outcome: Outcome) -> Outcome:
    """An outcome that shows nothing that a terminal obeys."""
    assert not CONTROL.search(outcome.err), ascii(outcome.err)
    assert not CONTROL.search(outcome.out), ascii(outcome.out)
    return outcome


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(tmp_path / "cache"))
    clip(tmp_path / "a.mp4")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 🐦‍⬛ \\x", "plain ü 🐦‍⬛ \\x"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x9b \u202e \u2028", "\\x9b \\u202e \\u2028"),
        ("\udcff", "\\xff"),
        (3, "3"),
        (f"{'x' * 40}://me:word@h", f"{'x' * 40}://h"),
        ("a." * 200_000, "a." * 200_000),  # not in hours
    ],
    ids=range(8),
)
def test_printable(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_exceptions() -> None:
    for kind in (LivemosaicError, SourceError):
        assert str(kind(f"{EVIL}: bad")) == printable(f"{EVIL}: bad")
    with pytest.raises(SourceError) as caught:
        livemosaic.render(f"{EVIL}.mp4", "null")
    assert not CONTROL.search(str(caught.value))


@pytest.mark.parametrize(
    "words",
    [
        ("run", f"{EVIL}.mp4", "o.mp4"),
        ("run", "a.mp4", f"{EVIL}/o.mp4"),
        ("run", "a.mp4", f"o{EVIL}"),
        ("run", "a.mp4", "o.mp4", "--gallery", EVIL),
        ("run", "a.mp4", "o.mp4", "--config", EVIL),
        ("run", "a.mp4", "o.mp4", "--codec", EVIL),
        ("run", "a.mp4", "o.mp4", "--tint", EVIL),
        ("run", "a.mp4", "o.mp4", f"--x{EVIL}"),
        ("run", f"http://127.0.0.1:9/{EVIL}", "o.mp4"),
        ("run", f"rtsp://127.0.0.1:9/{EVIL}", "o.mp4"),
        ("gallery", "build", EVIL, "-o", "g.gallery"),
        ("gallery", "info", EVIL),
        ("gallery", "show", "photos", "-o", f"{EVIL}.html/x.html"),
        (EVIL,),
    ],
    ids=ascii,
)
def test_errors(words: tuple[str, ...], folder: Path, program: Program) -> None:
    outcome = clean(program(*words))
    assert outcome.code in (1, 2)
    assert len([line for line in outcome.lines if ", once" not in line]) == 1


@pytest.mark.parametrize(
    "text",
    ['[run]\n"tint\\u001b[2J" = 1\n', '["\\u001b[2J"]\nx=1\n', '[run]\ngallery = "\\u001b[2J"\n'],
)
def test_settings_files(text: str, folder: Path, program: Program) -> None:
    (folder / "c.toml").write_text(text)
    outcome = clean(program("run", "a.mp4", "o.mp4", "--config", "c.toml", "--no-config"))
    assert outcome.code in (1, 2)
    assert "\\x1b[2J" in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("progress", ["never", "always"])
def test_names_of_a_run(progress: str, folder: Path, program: Program, gallery: Gallery) -> None:
    """Input, output, map, JSON and the bar; the files themselves keep their names."""
    name = f"in{EVIL}.png".replace("\x9b", "")
    (folder / name).write_bytes(encode(np.asarray(picture()), ".png"))
    words = ["run", name, f"out{EVIL}.png", "--map", f"map{EVIL}.html", "--json"]
    assert gallery.path is not None
    own = shutil.copy(gallery.path, folder / f"g{EVIL}.gallery")
    outcome = program(*words, *SMALL, "--gallery", own, "--progress", progress)
    assert outcome.code == 0
    assert (folder / f"out{EVIL}.png").is_file()
    assert json.loads(outcome.out)["outputs"][0] == f"out{EVIL}.png"
    page = (folder / f"map{EVIL}.html").read_text("utf-8")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", page)
    if progress == "never":  # a bar moves the cursor
        clean(outcome)
    else:
        assert "\x1b]0;" not in outcome.err
        assert "\x1b[2J" not in outcome.err


def test_unreadable_photos(folder: Path, program: Program) -> None:
    photos = folder / "photos"
    photos.mkdir()
    (photos / "good.jpg").write_bytes(encode(photo(0), ".jpg"))
    (photos / f"bad{EVIL}.jpg").write_text("no photo")
    words = ["gallery", "build", photos, "-o", "g.gallery", "--tile", "16", "--clusters", "1"]
    outcome = clean(program(*words))
    assert outcome.code == 0
    assert printable(f"bad{EVIL}.jpg") in outcome.err
    outcome = clean(program("run", "a.mp4", "o.mp4", *SMALL, "--gallery", photos, "-v"))
    assert outcome.code == 0
    assert "\\x1b[2J" in outcome.err


def test_a_traceback(folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(EVIL)

    monkeypatch.setattr("livemosaic.gallery.build.build_gallery", fail)
    outcome = clean(program("gallery", "build", "a.mp4", "-o", "x.gallery", "-v"))
    assert outcome.code == 1
    assert "Traceback" in outcome.err


def test_names_of_devices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = {"name": EVIL, "path": "/dev/video0", "input": "webcam", "virtual": False, "modes": []}
    screen = {"name": EVIL, "input": "screen:1", "primary": True}
    screen |= {"width": 64, "height": 48, "left": 0, "top": 0}
    monkeypatch.setattr(
        "livemosaic.cli.commands.devices.devices",
        lambda: {"cameras": [camera], "screens": [screen], "virtual_cameras": []},
    )
    for as_json in (False, True):
        devices(argparse.Namespace(json=as_json))
        out = capsys.readouterr().out
        assert not CONTROL.search(out)
        if as_json:
            assert json.loads(out)["cameras"][0]["name"] == EVIL


def test_text_on_pictures() -> None:
    assert text_width(EVIL, 20) == text_width(printable(EVIL), 20)


# ---- a stranger's gallery ----------------------------------------------------------------


@pytest.fixture
def forged(tmp_path: Path) -> Gallery:
    """A gallery whose root and paths are not those of any photo."""
    tiles = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    path = tmp_path / f"g{EVIL}<img src=x onerror=alert(1)>.gallery".replace("/", "")
    return write_tiles(path, tiles, np.zeros(8, np.int32))


def test_its_sheets(forged: Gallery, tmp_path: Path) -> None:
    contact_sheet_html(forged, tmp_path / "s.html")
    contact_sheet_png(forged, tmp_path / "s.png")
    page = (tmp_path / "s.html").read_text("utf-8")
    assert not CONTROL.search(page)
    assert "<img src=x" not in page
    assert html.escape("<img src=x onerror=alert(1)>") in page
    assert str(tmp_path) not in page  # the sheet may be given away
    assert cv2.imread(str(tmp_path / "s.png")) is not None


def test_its_statistics(forged: Gallery, folder: Path, program: Program) -> None:
    outcome = clean(program("gallery", "info", forged.path))
    assert "\\x1b" in outcome.out
    outcome = clean(program("gallery", "info", forged.path, "--json"))
    assert json.loads(outcome.out)["name"] == forged.name
    outcome = clean(program("gallery", "add", forged.path, "a.mp4"))
    assert outcome.code == 1


# ---- in a browser ------------------------------------------------------------------------

_ATTACK = "document.title='pwned'"
# Markup that would run if a page took it for its own.
HOSTILE = (
    f"<script>{_ATTACK}</script>.jpg",
    f"</script><script>{_ATTACK}</script>.jpg",
    f"<img src=x onerror={_ATTACK}>.jpg",
    f"\"'><svg onload={_ATTACK}>.jpg",
    f"</title></pre><iframe srcdoc=<script>parent.{_ATTACK}</script>>.jpg",
    f"<a href=javascript:{_ATTACK} autofocus onfocus={_ATTACK}>.jpg",
    "@DATA@ @CREDITS@ $info ${sections} {{7*7}}.jpg",
    f"{EVIL}.jpg",
)


@pytest.fixture
def hostile(tmp_path: Path) -> Gallery:
    """A forged gallery: its root, its paths and its name are markup."""
    tiles = np.random.default_rng(0).integers(0, 256, (len(HOSTILE), 16, 16, 3), np.uint8)
    name = HOSTILE[0].replace("/", "∕").removesuffix(".jpg")
    path = tmp_path / f"{name}.gallery"
    write_tiles(path, tiles, np.zeros(len(HOSTILE), np.int32), names=HOSTILE, root=HOSTILE[1])
    return Gallery.open(path)


@pytest.mark.slow
@pytest.mark.parametrize("paths", [False, True])
def test_nothing_runs_on_a_map(
    paths: bool, hostile: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credits = ("".join(HOSTILE), "".join(HOSTILE))
    monkeypatch.setattr("livemosaic.sinks.photo_map.builtin_credit", lambda _: credits)
    mosaic = Mosaic(hostile, MosaicSettings(tile_px=16, scale=2))
    bgr = np.asarray(picture(), np.uint8)
    out = mosaic.process(Frame.from_bgr(bgr))
    grid = mosaic.plan(bgr.shape[1], bgr.shape[0])
    every = np.resize(np.arange(len(HOSTILE), dtype=np.int32), mosaic.tile_ids.shape)
    page = map_page(out, grid, hostile, (every, mosaic.flips), title="".join(HOSTILE), paths=paths)
    (tmp_path / "map.html").write_bytes(page)
    dom = document_of(tmp_path / "map.html")
    assert "<title>Map of " in dom
    assert dom.count("<button") > len(HOSTILE)  # its own script has run
    assert not re.search(r"<(svg|iframe|a) ", dom)
    assert dom.count("<img ") == 1


@pytest.mark.slow
def test_nothing_runs_on_a_sheet(hostile: Gallery, tmp_path: Path) -> None:
    contact_sheet_html(hostile, tmp_path / "sheet.html")
    dom = document_of(tmp_path / "sheet.html")
    assert "<title>Gallery &lt;script&gt;" in dom
    assert not re.search(r"<(script|svg|iframe|a)\b", dom)
