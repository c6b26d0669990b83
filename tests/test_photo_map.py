"""The page that says which photo each cell is."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic.errors import SinkError, printable
from livemosaic.gallery import build_gallery, open_gallery
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.frame import Frame, StreamInfo, TrackPacket
from livemosaic.mosaic.area import Area
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.sinks import FileOptions, Sink
from livemosaic.sinks.base import RunContext
from livemosaic.sinks.photo_map import PICTURE_PIXELS, SHEET_PIXELS, map_page, parse_map

from .browser import document_of
from .clips import picture
from .conftest import U8
from .gallery_files import encode, photo
from .program import SMALL, Program, clip, left, needs_jit

pytestmark = needs_jit

# Names that end a script, an attribute, a line; and one that is not UTF-8.
ODD = (
    "</script><b>.jpg",
    "\"'&`${x}.jpg",
    "<!--\n@DATA@.jpg",
    "\udcff\udcfe.jpg",
    "ü \u2028.jpg",
)


def read(page: bytes) -> dict[str, Any]:
    """The data of a page."""
    text = page.decode("utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def images(page: bytes) -> list[U8]:
    """The sheet and the picture, in the page's order."""
    coded = re.findall(rb"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    arrays = [np.frombuffer(base64.b64decode(code), np.uint8) for code in coded]
    return [np.asarray(cv2.imdecode(array, cv2.IMREAD_COLOR), np.uint8) for array in arrays]


def page_of(
    mosaic: Mosaic, bgr: U8, *, title: str = "a.png", paths: bool = False
) -> tuple[bytes, Frame]:
    out = mosaic.process(Frame.from_bgr(bgr))
    grid = mosaic.plan(bgr.shape[1], bgr.shape[0])
    cells = (mosaic.tile_ids, mosaic.flips)
    return map_page(out, grid, mosaic.gallery, cells, title=title, paths=paths), out


def test_every_cell_says_its_photo(gallery: Gallery) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=2, overlay=0))
    # 98x75 becomes 196x150: the last column and row are cut.
    page, out = page_of(mosaic, np.asarray(picture(98, 75), np.uint8))
    data = read(page)
    assert (data["rows"], data["columns"]) == (10, 13)
    assert (data["tile_width"], data["tile_height"]) == (16, 16)
    assert (data["width"], data["height"]) == (196, 150)
    cells = np.frombuffer(base64.b64decode(data["cells"]), "<u4").reshape(10, 13)
    tiles = np.array(data["tiles"]).reshape(-1, 5)
    paths = [data["folders"][folder] + name for name, folder, *_ in data["photos"]]
    for row, column in np.ndindex(10, 13):
        source = gallery.sources[int(mosaic.tile_ids[row, column])]
        photo, *crop = tiles[cells[row, column] // 2]
        assert (paths[photo], tuple(crop)) == source
        assert bool(cells[row, column] & 1) == mosaic.flips[row, column]
    used = np.bincount(tiles[cells.reshape(-1) // 2, 0], minlength=len(paths))
    assert [count for _, _, count, *_ in data["photos"]] == used.tolist()
    assert used.tolist() == sorted(used.tolist(), reverse=True)
    sheet, shown = images(page)
    assert shown.shape == (150, 196, 3)
    assert cv2.PSNR(shown, out.to_bgr()) > 25
    # The photos stand in the sheet in their order.
    across = data["sheet"]["columns"]
    assert data["sheet"]["count"] == len(paths)
    px = sheet.shape[1] // across
    for place, path in enumerate(paths):
        top, left_ = place // across * px, place % across * px
        mean = sheet[top : top + px, left_ : left_ + px].mean(axis=(0, 1))
        tile = gallery.tiles[int(Path(path).stem)]
        assert np.abs(mean - tile.mean(axis=(0, 1))).max() < 12


@pytest.mark.parametrize("columns", [0, 1, 6])
def test_outside_of_an_area_are_no_photos(gallery: Gallery, columns: int) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=1))
    frame, mask = Frame.from_bgr(picture(96, 80)), np.zeros((5, 6), np.uint8)
    mask[:, :columns] = 255
    out = mosaic.process(frame, area=Area(mask, frame))
    seen, cells = mosaic.seen, (mosaic.tile_ids, mosaic.flips)
    assert seen.tolist() == [[column < columns for column in range(6)]] * 5
    data = read(map_page(out, mosaic.grid, gallery, cells, seen=seen, title="a"))
    packed = np.frombuffer(base64.b64decode(data["cells"]), "<u4").reshape(5, 6)
    assert ((packed == 0xFFFFFFFF) == ~seen).all()
    shown = {gallery.sources[tile].path for tile in cells[0][seen].tolist()}
    assert {data["folders"][folder] + name for name, folder, *_ in data["photos"]} == shown
    assert sum(count for _, _, count, *_ in data["photos"]) == data["seen"] == 5 * columns
    mosaic.process(frame)
    assert mosaic.seen.all()


@pytest.fixture
def odd_gallery(tmp_path: Path) -> Gallery:
    """Five photos with odd names."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, name in enumerate(ODD):
        (folder / name.replace("/", "∕")).write_bytes(encode(photo(i, width=80, height=80), ".jpg"))
    build_gallery([str(folder)], tmp_path / "g.gallery", clusters=2, drop_percentile=0)
    return Gallery.open(tmp_path / "g.gallery")


def test_odd_names(tmp_path: Path, odd_gallery: Gallery) -> None:
    mosaic = Mosaic(odd_gallery, MosaicSettings(tile_px=16, scale=2))
    page, _ = page_of(mosaic, np.asarray(picture(), np.uint8), title="</title><script>x\udcff")
    assert {name for name, *_ in read(page)["photos"]} <= {
        printable(path.name) for path in (tmp_path / "photos").iterdir()
    }
    text = page.decode("utf-8")
    assert text.count("<script") == text.count("</script>") == 2
    assert "<title>Map of &lt;/title&gt;&lt;script&gt;x\\xff</title>" in text
    assert re.findall("@[A-Z]+@", text.replace("@DATA@.jpg", "")) == []


def test_no_folders_unless_asked(tmp_path: Path, odd_gallery: Gallery) -> None:
    mosaic = Mosaic(odd_gallery, MosaicSettings(tile_px=16, scale=2))
    bgr = np.asarray(picture(), np.uint8)
    page, _ = page_of(mosaic, bgr)
    assert read(page)["folders"] == [""]
    assert str(tmp_path) not in page.decode("utf-8")
    page, _ = page_of(mosaic, bgr, paths=True)
    assert read(page)["folders"] == [f"{tmp_path / 'photos'}{os.sep}"]


def test_nothing_is_loaded(gallery: Gallery) -> None:
    """It works without a network, and cannot send anything."""
    page, _ = page_of(Mosaic(gallery, MosaicSettings(tile_px=16)), np.zeros((48, 64, 3), np.uint8))
    text = page.decode()
    assert "default-src 'none'" in text
    assert "http" not in text.replace("http-equiv", "")
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text)


@pytest.mark.slow
def test_its_size_is_bounded(tmp_path: Path) -> None:
    """Too many photos for the sheet: those used most are in it; and the picture is reduced."""
    from livemosaic.mosaic.grid import Grid

    from .conftest import write_tiles

    rng = np.random.default_rng(1)
    tiles = rng.integers(0, 256, (15_000, 4, 4, 3), np.uint8)
    gallery = write_tiles(tmp_path / "g.gallery", tiles, np.zeros(15_000, np.int32))
    grid = Grid(400, 800, 4, 4, 3200, 1600)
    ids = rng.integers(0, 15_000, (400, 800)).astype(np.int32)
    ids[:200] = np.arange(200)[:, None]
    flips = np.zeros((400, 800), np.bool_)
    frame = Frame.from_bgr(np.full((1600, 3200, 3), 90, np.uint8))
    page = map_page(frame, grid, gallery, (ids, flips), title="a")
    data = read(page)
    sheet, shown = images(page)
    assert shown.shape[0] * shown.shape[1] <= 1.01 * PICTURE_PIXELS
    assert sheet.shape[0] * sheet.shape[1] <= 1.02 * SHEET_PIXELS
    assert 10_000 < data["sheet"]["count"] < len(data["photos"]) == 15_000
    first = {name for name, *_ in data["photos"][:200]}
    assert first == {f"{n}.png" for n in range(200)}
    assert len(page) < 12e6


@pytest.mark.slow
def test_credits_of_the_included_photos(tmp_path: Path) -> None:
    emoji = open_gallery("emoji")
    page, _ = page_of(Mosaic(emoji, MosaicSettings(tile_px=16)), np.zeros((48, 64, 3), np.uint8))
    assert "SIL Open Font License" in read(page)["credit"]
    assert "SIL OPEN FONT LICENSE Version 1.1" in page.decode()


# The actions of a person, and the texts that the page shows then.
_ACTS = """
<script>
addEventListener("load", () => {
const observed = [], picture = document.getElementById("picture");
const says = () => [...document.querySelectorAll("aside dd")].map(e => e.textContent);
const at = (kind, x, y) => picture.dispatchEvent(new PointerEvent(kind, { pointerType: "mouse",
  clientX: picture.getBoundingClientRect().left + x * picture.clientWidth,
  clientY: picture.getBoundingClientRect().top + y * picture.clientHeight }));
const press = key => picture.dispatchEvent(new KeyboardEvent("keydown", { key }));
at("pointermove", .01, .01); observed.push(says());
at("pointermove", .99, .99); observed.push(says());
at("click", .99, .99); at("pointermove", .01, .01); observed.push(says());
press("ArrowLeft"); press("ArrowUp"); press("ArrowDown"); press("ArrowDown"); observed.push(says());
document.querySelector("#zoom [data-by='2']").click(); observed.push(picture.style.width);
document.querySelector("#list button").click();
observed.push(document.querySelectorAll("#list button.on").length);
const box = document.getElementById("filter");
box.value = "script"; box.dispatchEvent(new Event("input"));
observed.push([...document.querySelectorAll("#list button")].map(e => e.title));
document.title = JSON.stringify(observed);
});
</script>
"""


def in_browser(page: bytes, acts: str, folder: Path) -> Any:
    """What a script in the page has put into its title."""
    page = re.sub(b"'sha256-[^']+'", b"'unsafe-inline'", page)  # for this test's own script
    (folder / "map.html").write_bytes(page + acts.encode())
    title = re.search("<title>(.*?)</title>", document_of(folder / "map.html"), re.S)
    assert title is not None
    return json.loads(html.unescape(title[1]))


@pytest.mark.slow
def test_in_a_browser(tmp_path: Path, odd_gallery: Gallery) -> None:
    mosaic = Mosaic(odd_gallery, MosaicSettings(tile_px=16, scale=2, max_uses=70))
    page, _ = page_of(mosaic, np.asarray(picture(98, 75), np.uint8), paths=True)
    observed = in_browser(page, _ACTS, tmp_path)
    first, last, held, moved, zoomed, marked, found = observed

    def expected(row: int, column: int) -> list[str]:
        tile, mirrored = int(mosaic.tile_ids[row, column]), bool(mosaic.flips[row, column])
        path, (x, y, w, h) = odd_gallery.sources[tile]
        photos = odd_gallery.source_photo
        uses = int(np.count_nonzero(photos[mosaic.tile_ids] == photos[tile]))
        shown = f"{w} × {h} pixels of it, {x} from its left and {y} from its top"
        shown += ", mirrored" * mirrored
        times = "once" if uses == 1 else f"{uses} times"
        return [printable(path), shown, f"row {row + 1}, column {column + 1}", times]

    assert first == expected(0, 0)
    assert last == held == expected(9, 12)
    assert moved == expected(9, 11)
    assert (zoomed, marked) == ("200%", 1)
    assert [Path(path).name for path in found] == [ODD[0].replace("/", "∕")]


@pytest.mark.slow
def test_outside_of_an_area_in_a_browser(tmp_path: Path, gallery: Gallery) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=1))
    frame, mask = Frame.from_bgr(picture(96, 80)), np.zeros((5, 6), np.uint8)
    mask[:, :3] = 255
    out = mosaic.process(frame, area=Area(mask, frame))
    cells = mosaic.tile_ids, mosaic.flips
    page = map_page(out, mosaic.grid, gallery, cells, seen=mosaic.seen, title="a")
    acts = """<script>
    addEventListener("load", () => {
      const says = cell => (look(cell), document.querySelector("aside dd").textContent);
      document.title = JSON.stringify(
        [says(5), says(2), says(4), document.getElementById("view").style.visibility]);
    });
    </script>"""
    there = Path(gallery.sources[int(mosaic.tile_ids[0, 2])].path).name
    none = "none: outside of the area"
    assert in_browser(page, acts, tmp_path) == [none, there, none, "hidden"]


# ---- the file ------------------------------------------------------------------------------


def sink_of(tmp_path: Path, mosaic: Mosaic) -> tuple[Sink, Frame]:
    bgr = np.asarray(picture(), np.uint8)
    out = mosaic.process(Frame.from_bgr(bgr))
    destination = parse_map(str(tmp_path / "m.html"), FileOptions(source_name="a"))
    info = StreamInfo(out.width, out.height, still=True)
    sink = destination.open(info, RunContext(mosaic=mosaic))
    return sink, out


def test_it_appears_when_it_is_whole(tmp_path: Path, gallery: Gallery) -> None:
    sink, out = sink_of(tmp_path, Mosaic(gallery, MosaicSettings(tile_px=16)))
    sink.write(TrackPacket(0, None))
    sink.write(out)
    assert not (tmp_path / "m.html").exists()
    sink.close()
    assert left(tmp_path) == ["m.html"]
    assert read((tmp_path / "m.html").read_bytes())["tile_width"] == 16


@pytest.mark.parametrize("way", ["abort", "discard", "close"])
def test_nothing_is_left(tmp_path: Path, gallery: Gallery, way: str) -> None:
    sink, out = sink_of(tmp_path, Mosaic(gallery, MosaicSettings(tile_px=16)))
    if way == "close":
        with pytest.raises(SinkError, match=r"m\.html"):
            sink.close()
    else:
        sink.write(out)
        getattr(sink, way)()
    assert left(tmp_path) == []


# ---- the command line ----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with p.png and a.mp4."""
    cv2.imwrite(str(tmp_path / "p.png"), picture(64, 48))
    clip(tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run(folder: Path, program: Program, gallery: Gallery) -> None:
    words = ["p.png", "out.png", "--map", "map.html", *SMALL, "--gallery", gallery.path]
    done = program("run", *words, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["outputs"] == ["out.png", "map.html"]
    page = (folder / "map.html").read_bytes()
    assert "<title>Map of p.png</title>" in page.decode()
    assert images(page)[1].shape == (96, 128, 3)
    again = program("run", *words)
    assert again.code == 2
    assert "already" in again.err
    assert program("run", *words, "-y").code == 0
    assert left(folder) == ["a.mp4", "map.html", "out.png", "p.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("a.mp4 out.mp4 --map map.html", "--map map.html: a map is of one picture"),
        ("p.png out.png --map map.png", "--map map.png: it is a page"),
        ("p.png out.png --map none/map.html", "the folder .*none does not exist"),
        ("p.png out.png --map .", "it is a folder"),
        ("a.mp4 out.mp4 --map", "--map: expected one argument"),
    ],
)
def test_mistakes(words: str, says: str, folder: Path, program: Program, gallery: Gallery) -> None:
    done = program("run", *words.split(), *SMALL, "--gallery", gallery.path)
    assert done.code in (1, 2)
    assert re.search(says, done.err)
    assert len(done.lines) == 1
    assert left(folder) == ["a.mp4", "p.png"]
