"""Posters: the picture of one moment in 10,000 pixels and more, while the run goes on."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic.control.state import Control, LiveState, LiveStats
from livemosaic.errors import SinkError, UsageError
from livemosaic.gallery import LiveGallery, build_gallery
from livemosaic.gallery.gallery import Gallery
from livemosaic.gallery.part import write_part
from livemosaic.media.frame import Card, Frame, StatusEvent
from livemosaic.mosaic.area import Area
from livemosaic.mosaic.grid import Grid, plan_grid
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.pipeline import Pipeline, poster
from livemosaic.pipeline.poster import Moment, PosterMaker, poster_grid
from livemosaic.unfinished import start_helper

from .clips import picture
from .conftest import U8
from .fakes import FakeMosaic, FakeSink, frame, until, wait_until
from .gallery_files import encode, photo
from .program import ENVIRONMENT, left, needs_jit
from .test_photo_map import read
from .test_pipeline_live import LiveSource, flow

pytestmark = [needs_jit, pytest.mark.timeout(120)]

# A picture that is so flat that its poster takes 2 s, not 10.
_FLAT = (400, 24)


@pytest.fixture(autouse=True)
def important(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for idle processors."""
    start = start_helper

    def start_important(module: str, **options: Any) -> Any:
        assert module == "livemosaic.pipeline.poster_process"
        return start("tests.poster_process", **options)

    monkeypatch.setattr(poster, "start_helper", start_important)


def test_the_lowest_priority() -> None:
    code = "import os; from livemosaic.priority import *; lower_priority(); print(os.nice(0))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("19\n", "")


def _frame(number: int = 0, size: tuple[int, int] = _FLAT) -> Frame:
    return Frame.from_bgr(picture(*size, number=number))


@pytest.mark.parametrize(
    ("size", "tile", "expected"),
    [
        ((1280, 720), 24, (14_080, 7_920)),
        ((1920, 1080), 40, (15_360, 8_640)),
        ((720, 1280), 24, (7_920, 14_080)),
        ((3840, 2160), 32, (15_360, 8_640)),
        ((6_800, 3_000), 32, (13_600, 6_000)),
        ((9_000, 3_000), 32, (18_000, 6_000)),
        ((12_000, 3_000), 32, (12_000, 3_000)),
        ((24_000, 3_000), 32, (24_000, 3_000)),  # it is what it is
        ((1280, 720), 160, (3_840, 2_160)),  # tiles of 480 pixels: no more than 512
    ],
)
def test_sizes(size: tuple[int, int], tile: int, expected: tuple[int, int]) -> None:
    width, height = size
    grid = Grid(-(-height // tile), -(-width // tile), tile, tile, width, height)
    large = poster_grid(grid)
    assert (large.width, large.height) == expected
    assert (large.rows, large.columns) == (grid.rows, grid.columns)
    assert large.tile_width / grid.tile_width == large.width / grid.width


def test_a_part_of_a_gallery(tmp_path: Path) -> None:
    """Of all kinds: crops, uncut photos, heads, and photos that have joined and left."""
    for number in range(12):
        (tmp_path / f"{number}.jpg").write_bytes(
            encode(photo(number, width=300, height=200), ".jpg")
        )
    build_gallery([str(tmp_path)], tmp_path / "g.gallery", clusters=2, crops=3)
    live = LiveGallery(Gallery.open(tmp_path / "g.gallery"))
    live.add([photo(40), photo(41)])
    live.remove([str(tmp_path / "2.jpg")])
    gallery = live.snapshot
    chosen = np.array([[17, -1, 3], [len(gallery) - 1, 17, 20]], np.int32)
    file = BytesIO()
    (ids,) = write_part(gallery, [chosen], file)
    part = Gallery(file.getvalue(), name=gallery.name)
    assert (ids < 0).tolist() == (chosen < 0).tolist()
    for tile, number in zip(chosen[chosen >= 0].tolist(), ids[ids >= 0].tolist(), strict=True):
        assert np.array_equal(part.tiles[number], gallery.tiles[tile])
        assert part.sources[number] == gallery.sources[tile]
        assert part.mirrors[number] == gallery.mirrors[tile]
        photos = part.source_photo[number], gallery.source_photo[tile]
        stamps = part.stamps[photos[0]].tolist(), gallery.stamps[photos[1]].tolist()
        assert stamps[0] == stamps[1]
        uncut = [
            its.uncut[np.flatnonzero(its.uncut_photo == its_photo)]
            for its, its_photo in zip((part, gallery), photos, strict=True)
        ]
        assert len(uncut[0]) == 1
        assert np.array_equal(uncut[0], uncut[1])
    # The first tile of each photo is there, which shows the whole of it; and no others.
    firsts = [int(np.argmax(part.source_photo == number)) for number in set(part.source_photo)]
    assert len(part) <= len(set(firsts) | set(ids[ids >= 0].tolist()))


@pytest.mark.parametrize("fine", ["none", "detail"])
@pytest.mark.parametrize("match", ["layout", "clusters"])
@pytest.mark.parametrize("tile", [8, (16, 8)])
def test_the_same_tiles_give_the_same_picture(
    gallery: Gallery, fine: str, match: str, tile: Any
) -> None:
    settings = MosaicSettings(tile_px=tile, scale=1, fine=fine, match=match)
    rng = np.random.default_rng(0)
    noise = cv2.resize(rng.integers(0, 256, (24, 32, 3), np.uint8), (128, 96))
    one, other = Mosaic(gallery, settings), Mosaic(gallery, settings)
    frame = Frame.from_bgr(np.asarray(noise, np.uint8))
    mask = np.zeros((6, 8), np.uint8)
    mask[:, 3:] = 255
    area = Area(mask, _frame(size=(64, 48)))
    picture = one.process(frame, area=area)
    assert fine == "none" or one.cells.split
    again = other.paint(frame, one.layers, area=area)
    for plane, same in zip(
        (picture.y, picture.u, picture.v), (again.y, again.u, again.v), strict=True
    ):
        assert np.array_equal(plane, same)
    assert np.array_equal(one.seen, other.seen)
    for its, ours in zip(one.layers, other.layers, strict=True):
        assert np.array_equal(its.tile_ids, ours.tile_ids)


def test_other_cells_are_refused(gallery: Gallery) -> None:
    one = Mosaic(gallery, MosaicSettings(tile_px=8, scale=1))
    one.process(_frame())
    other = Mosaic(gallery, MosaicSettings(tile_px=16, scale=1))
    with pytest.raises(UsageError, match="layers"):
        other.paint(_frame(), one.layers)


def sharp_photos(folder: Path, count: int) -> Path:
    """Photos with lines that a tile of 64 pixels cannot hold."""
    folder.mkdir()
    for number in range(count):
        image = photo(number, width=600, height=600)
        image[:, ::6] //= 2
        (folder / f"{number}.png").write_bytes(encode(image, ".png"))
    return folder


def detail(image: U8) -> float:
    return float(np.abs(np.diff(image.astype(int), axis=1)).mean())


def test_a_poster(tmp_path: Path) -> None:
    """Its cells are those of the wall, its tiles the photos themselves."""
    gallery = Gallery.from_images(sorted(sharp_photos(tmp_path / "in", 30).iterdir()), crops=0)
    live = LiveGallery(gallery)
    live.add([photo(77)])  # without a file, as a guest's whose file has gone
    settings = MosaicSettings(tile_px=8, scale=1, tint=0.3, overlay=0.1)
    mosaic = Mosaic(live.snapshot, settings)
    seen = mosaic.process(_frame())
    control, folder = Control(), tmp_path / "out"
    folder.mkdir()
    told: list[str] = []
    control.listen(told.append)
    maker = PosterMaker(lambda: folder / "poster-1.jpg", control)
    maker.make(Moment.of(mosaic, _frame(), None))
    assert left(folder) == ["poster-1.html", "poster-1.jpg"]
    assert told == ["making poster-1.jpg, 14000x840 pixels", "saved poster-1.jpg and poster-1.html"]
    assert maker.made == ["poster-1.jpg"]
    large = np.asarray(cv2.imread(str(folder / "poster-1.jpg")), np.uint8)
    assert large.shape == (840, 14_000, 3)
    small = cv2.resize(large, _FLAT, interpolation=cv2.INTER_AREA)
    assert cv2.PSNR(np.asarray(small), seen.to_bgr()) > 24
    blurred = cv2.resize(large[:, :2000], (500, 210), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(blurred, (2000, 840), interpolation=cv2.INTER_CUBIC)
    assert detail(large[:, :2000]) > 2 * detail(np.asarray(blurred, np.uint8))
    data = read((folder / "poster-1.html").read_bytes())
    cells = np.frombuffer(base64.b64decode(data["cells"]), "<u4").reshape(3, 50)
    tiles = np.array(data["tiles"]).reshape(-1, 5)
    names = [name for name, *_ in data["photos"]]
    for row, column in np.ndindex(3, 50):
        source = live.snapshot.sources[int(mosaic.tile_ids[row, column])]
        assert names[tiles[cells[row, column] // 2][0]] == os.path.basename(source.path)
        assert bool(cells[row, column] & 1) == mosaic.flips[row, column]


def test_a_poster_is_given_up(tmp_path: Path, gallery: Gallery) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=8, scale=1))
    mosaic.process(_frame())
    maker = PosterMaker(lambda: tmp_path / "poster.jpg", Control())
    maker.begin()
    thread = threading.Thread(target=maker.make, args=(Moment.of(mosaic, _frame(), None),))
    thread.start()
    wait_until(lambda: left(tmp_path))
    maker.cancel()
    thread.join()
    assert not left(tmp_path)
    assert not maker.made


def test_pixels_that_are_not_square(
    tmp_path: Path, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=8, scale=1))
    mosaic.process(_frame())
    folder = tmp_path / "no"  # so that none is made
    maker = PosterMaker(lambda: folder / "poster.jpg", Control(), aspect=Fraction(16, 11))
    with pytest.raises(SinkError, match=r"poster\.jpg"):
        maker.make(Moment.of(mosaic, _frame(), None))
    assert "poster.jpg: the pixels are not square" in caplog.text
    assert "show them at 20364x840" in caplog.text


def test_a_folder_that_is_gone(tmp_path: Path, gallery: Gallery) -> None:
    mosaic = Mosaic(gallery, MosaicSettings(tile_px=8, scale=1))
    mosaic.process(_frame())
    maker = PosterMaker(lambda: tmp_path / "no" / "poster.jpg", Control())
    with pytest.raises(SinkError, match=r"poster\.jpg"):
        maker.make(Moment.of(mosaic, _frame(), None))


def test_a_second_one_is_refused() -> None:
    control = Control()
    control.live_stats = lambda: LiveStats(poster="40%")
    with pytest.raises(UsageError, match="40%"):
        control.request_poster()
    assert not control.poster_requested


def _flow(*steps: Any) -> Any:
    """As `flow`, of flat frames."""
    return (replace(_frame(), pts=it.pts, time_base=it.time_base) for it in flow(*steps))


def test_while_the_run_goes_on(
    tmp_path: Path, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    """A second one is refused; one at the end is waited for."""
    caplog.set_level("INFO", "livemosaic")
    control, sink = Control(_live_state()), FakeSink(latest_only=True)
    before: list[int] = []

    def press() -> None:
        before.append(len(sink.items))
        control.request_poster()
        with pytest.raises(UsageError, match="poster: one is at 0%"):  # before the next picture
            control.request_poster()

    def press_again() -> None:
        with pytest.raises(UsageError, match="poster: one is at "):
            control.request_poster()

    source = LiveSource(
        _flow(
            (press, lambda: control.live_stats().poster),
            (press_again, lambda: len(sink.items) > before[0] + 5),
        )
    )
    source.info = replace(source.info, width=_FLAT[0], height=_FLAT[1])
    mosaic = Mosaic(gallery, control.state.settings)
    pipeline = Pipeline(
        source, mosaic, [sink], control=control, name_poster=lambda: tmp_path / "poster.jpg"
    )
    assert pipeline.run()
    assert left(tmp_path) == ["poster.html", "poster.jpg"]
    assert caplog.messages[0].startswith("making poster.jpg, 14000x840 pixels")
    assert caplog.messages[-1] == "saved poster.jpg and poster.html"
    assert any(it.startswith("waiting for poster.jpg, which is at ") for it in caplog.messages)
    assert pipeline.completed[-1] == "poster.jpg"
    assert pipeline.report()["posters"] == ["poster.jpg"]
    assert not pipeline.stuck


def test_a_run_that_is_cancelled_leaves_nothing(tmp_path: Path, gallery: Gallery) -> None:
    control, sink = Control(_live_state()), FakeSink(latest_only=True)
    cancel: Callable[[], None]
    source = LiveSource(
        _flow(
            (control.request_poster, lambda: left(tmp_path)),
            (lambda: cancel(), lambda: False),
        )
    )
    source.info = replace(source.info, width=_FLAT[0], height=_FLAT[1])
    mosaic = Mosaic(gallery, control.state.settings)
    pipeline = Pipeline(
        source, mosaic, [sink], control=control, name_poster=lambda: tmp_path / "poster.jpg"
    )
    cancel = pipeline.cancel
    assert not pipeline.run()
    wait_until(lambda: not left(tmp_path))


def test_no_picture_no_poster() -> None:
    """While a source has none, a request is answered; before the first one it waits for that."""
    control, sink = Control(), FakeSink(latest_only=True)
    told: list[str] = []
    control.listen(told.append)
    card = StatusEvent(
        "reconnecting", Card("reconnecting", replace(frame(1), captured_s=time.monotonic()))
    )
    items = [
        card,
        until(lambda: sink.items),
        control.request_poster,
        until(lambda: not control.poster_requested),
    ]
    assert Pipeline(LiveSource(items), FakeMosaic(), [sink], control=control).run()
    assert "no poster: reconnecting" in told


def _live_state() -> LiveState:
    settings = MosaicSettings(tile_px=8, scale=1)
    return LiveState(settings.for_grid(plan_grid(*_FLAT, settings)))
