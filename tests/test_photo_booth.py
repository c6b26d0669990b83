"""Photos of those in front of the camera that join the gallery while the picture goes on."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import Gallery, LiveGallery, Mosaic, MosaicSettings, Pipeline, UsageError
from livemosaic.control.state import Control, LiveState
from livemosaic.errors import GalleryError
from livemosaic.gallery.portrait import portrait
from livemosaic.gallery.snapshot import GallerySnapshot
from livemosaic.gallery.tiles import Crop
from livemosaic.gallery.watch import FolderWatcher
from livemosaic.jit import U8
from livemosaic.media.frame import Frame, StatusEvent, StreamInfo
from livemosaic.pipeline.live_gallery import GalleryFollower
from livemosaic.pipeline.photo_booth import PhotoBooth
from livemosaic.tile_size import TileSize
from livemosaic.vision.faces import Face

from . import fakes
from .conftest import ROOT
from .gallery_files import photo

pytestmark = pytest.mark.alone

PERSON = ROOT / "tests/corpus/person/astronaut.jpg"
SIZE = (640, 360)
wait_until = partial(fakes.wait_until, timeout_s=60)


def read(path: Path) -> U8:
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.asarray(picture, np.uint8)


def seen(left: int = 200, *, count: int = 1, apart: int = 260, side: int = 320) -> U8:
    """People in front of a green wall; their faces are a third of `side`."""
    picture = np.full((SIZE[1], SIZE[0], 3), (40, 160, 40), np.uint8)
    person = cv2.resize(read(PERSON), (side, side), interpolation=cv2.INTER_AREA)
    for number in range(count):
        x = left + number * apart
        picture[-side:, x : x + side] = person[:, : SIZE[0] - x]
    return picture


def around(face: Face) -> tuple[float, float, float, float]:
    """The least that is kept around a face."""
    left, top, width, height = face
    return left - 0.4 * width, top - 0.5 * height, left + 1.4 * width, top + 1.6 * height


def has(crop: Crop, face: Face) -> bool:
    left, top, right, bottom = around(face)
    x, y, width, height = crop
    return x <= left and y <= top and x + width >= right and y + height >= bottom


@pytest.mark.parametrize("wanted", [(1, 1), (3, 4), (2, 1)])
@pytest.mark.parametrize(
    ("faces", "kept"),
    [
        ([Face(300, 150, 60, 60)], [0]),
        ([Face(200, 120, 60, 60), Face(300, 130, 50, 50)], [0, 1]),
        ([Face(300, 150, 80, 80), Face(100, 100, 30, 30)], [0]),  # in the background
    ],
)
def test_head_and_shoulders(faces: list[Face], kept: list[int], wanted: tuple[int, int]) -> None:
    crop = portrait(faces, SIZE, wanted)
    x, y, width, height = crop
    assert [number for number, face in enumerate(faces) if has(crop, face)] == kept
    assert x >= 0
    assert y >= 0
    assert x + width <= SIZE[0]
    assert y + height <= SIZE[1]
    assert x % 2 == y % 2 == 0
    assert abs(width * wanted[1] - height * wanted[0]) <= 2 * max(wanted)
    if len(faces) == 1:
        assert height < 4 * faces[0].height or wanted[0] > wanted[1]


@pytest.mark.parametrize(
    "face", [Face(0, 0, 60, 60), Face(580, 300, 60, 60), Face(10, 20, 20, 20)], ids=str
)
def test_a_face_at_the_edge(face: Face) -> None:
    x, y, width, height = portrait([face], SIZE, (1, 1))
    assert 0 <= x <= face.left
    assert 0 <= y <= face.top
    assert face.left + face.width <= x + width <= SIZE[0]
    assert face.top + face.height <= y + height <= SIZE[1]


def test_a_group_that_is_wider_than_a_square() -> None:
    """The largest square, with as many heads as possible."""
    faces = [Face(left, 100, 50, 50) for left in (20, 420, 540)]
    x, _, width, height = portrait(faces, SIZE, (1, 1))
    assert (width, height) == (360, 360)
    assert x <= 420 - 15
    assert x + width >= 590 + 15 - 1  # it begins at an even column


def test_a_face_that_fills_the_picture() -> None:
    x, y, width, height = portrait([Face(100, 0, 360, 360)], SIZE, (1, 1))
    assert (y, width, height) == (0, 360, 360)
    assert 60 <= x <= 140


def test_no_face() -> None:
    assert portrait([], SIZE, (1, 1)) == (140, 0, 360, 360)


# ---- the booth -------------------------------------------------------------------------------


class Booth:
    """A booth whose work is done at once, or when `waiting` is called."""

    def __init__(self, *, at_once: bool = True, folder: Path | None = None, **options: Any) -> None:
        self.control = Control()
        gallery = Gallery.from_images([photo(seed) for seed in range(20)], tile=32, crops=0)
        mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=1))
        self.waiting: list[Callable[[], None]] = []
        self.follower = GalleryFollower(mosaic, None, lambda name, work, end: work(), name="photos")
        self._at_once = at_once
        self.booth = PhotoBooth(
            self.control,
            self.follower,
            self._spawn,
            folder=None if folder is None else str(folder),
            **options,
        )

    def _spawn(self, name: str, work: Callable[[], None], give_up: Callable[[], None]) -> None:
        if self._at_once:
            work()
        else:
            self.waiting.append(work)

    def take(self, picture: U8, tile: TileSize = 16, **options: Any) -> U8:
        """The tile that is made of a picture."""
        self.booth.take(Frame.from_bgr(picture), tile, **options)
        return self.tile()

    def tile(self, number: int = -1) -> U8:
        live = self.follower.live
        assert live is not None
        return np.asarray(live.snapshot.tiles[number])


def shows_face(tile: U8) -> bool:
    """Whether a tile is of the colours of a face, and not of the wall around the person."""
    height, width = tile.shape[:2]
    middle = tile[height // 4 : height // 2, width // 3 : 2 * width // 3].reshape(-1, 3)
    blue, green, red = middle.mean(axis=0)
    return bool(red > green + 20 and red > blue + 20)


def test_a_photo_joins_a_gallery_that_is_not_live() -> None:
    booth = Booth()
    assert shows_face(booth.take(seen()))
    assert booth.follower.summary == "21 +1"
    assert booth.control.take_message() == "your photo joins"


def test_without_a_face_the_middle_joins() -> None:
    booth = Booth()
    picture = seen(side=2)
    picture[:, 240:400] = (200, 40, 40)
    tile = booth.take(picture)
    assert np.abs(tile[16, 16].astype(int) - (200, 40, 40)).max() < 12
    assert np.abs(tile[16, 1].astype(int) - (40, 160, 40)).max() < 12
    assert "no face" in booth.control.take_message()


def test_it_is_mirrored_as_the_picture() -> None:
    booth = Booth()
    plain = booth.take(seen(300)).astype(int)
    booth.control.change(mirror=True)
    mirrored = booth.take(seen(300)).astype(int)
    assert np.abs(mirrored[:, ::-1] - plain).mean() < 3
    assert np.abs(mirrored - plain).mean() > 10


def test_tiles_of_another_shape_have_all_of_it() -> None:
    booth = Booth()
    booth.take(seen(), (16, 24))
    live = booth.follower.live
    assert live is not None
    assert len(live.snapshot.uncut) == 21
    _, _, width, height = live.snapshot.uncut_crop[-1].tolist()
    assert abs(height - 1.5 * width) <= 2


def test_pixels_that_are_not_square() -> None:
    """The photo is as the picture is seen."""
    squeezed = cv2.resize(seen(), (320, 360), interpolation=cv2.INTER_AREA)
    plain, wide = Booth(), Booth(aspect=Fraction(2))
    tile = wide.take(np.asarray(squeezed, np.uint8))
    assert np.abs(tile.astype(int) - plain.take(seen())).mean() < 12


def test_a_transparent_picture_becomes_grey() -> None:
    booth = Booth()
    frame = Frame.from_bgr(seen(), alpha=np.zeros((360, 640), np.uint8))
    booth.booth.take(frame, 16)
    assert np.abs(booth.tile().astype(int) - 128).max() <= 2


@pytest.mark.parametrize(
    ("fields", "frame", "status", "words"),
    [
        ({"privacy": True}, seen(), "", "privacy"),
        ({"freeze": True}, seen(), "", "frozen"),
        ({}, None, "", "no picture"),
        ({}, seen(), "reconnecting", "no picture.*reconnecting"),
    ],
)
def test_what_is_not_seen_is_not_taken(
    fields: dict[str, bool], frame: U8 | None, status: str, words: str
) -> None:
    booth = Booth()
    booth.control.change(**fields)
    with pytest.raises(UsageError, match=f"snap: .*{words}"):
        booth.booth.take(None if frame is None else Frame.from_bgr(frame), 16, status=status)
    assert booth.follower.live is None


def test_privacy_mode_that_is_turned_on_meanwhile() -> None:
    booth = Booth(at_once=False)
    booth.booth.take(Frame.from_bgr(seen()), 16)
    booth.control.change(privacy=True)
    with pytest.raises(UsageError, match="privacy"):
        booth.waiting.pop()()
    live = booth.follower.live
    assert live is None or live.added == 0


def test_one_at_a_time() -> None:
    booth = Booth(at_once=False)
    frame = Frame.from_bgr(seen())
    booth.booth.take(frame, 16)
    for _ in range(50):
        with pytest.raises(UsageError, match="being taken"):
            booth.booth.take(frame, 16)
    (work,) = booth.waiting
    work()
    booth.booth.take(frame, 16)
    booth.waiting.pop()()
    live = booth.follower.live
    assert live is not None
    assert live.added == 2


def test_a_photo_that_is_removed() -> None:
    booth = Booth()
    for _ in range(2):
        booth.take(seen())
    live = booth.follower.live
    assert live is not None
    first, second = booth.booth.snaps()
    booth.booth.remove(first.id)
    assert booth.booth.snaps() == [second]
    assert (first.path in live, second.path in live) == (False, True)
    assert first.jpeg.startswith(b"\xff\xd8")
    booth.booth.remove(second.path)  # as of a file, in all galleries
    assert live.removed == 2


def test_the_last_photo_stays_in_the_list() -> None:
    booth = Booth()
    booth.take(seen())
    live = booth.follower.live
    assert live is not None
    (snap,) = booth.booth.snaps()
    live.remove(set(live.photos()) - {snap.path})
    with pytest.raises(GalleryError):
        booth.booth.remove(snap.id)
    assert booth.booth.snaps() == [snap]
    live.add([photo(50)])
    booth.booth.remove(snap.id)
    assert booth.booth.snaps() == []


def test_a_file_in_the_folder(tmp_path: Path) -> None:
    """Its tile is not made again by those who watch the folder."""
    booth = Booth(folder=tmp_path)
    for _ in range(3):
        booth.take(seen())
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert all(re.fullmatch(r"snap-\d{8}-\d{6}(-\d)?\.jpg", file.name) for file in files)
    assert files[0].name in booth.control.take_message() or len(files) == 3
    height, width = read(files[0]).shape[:2]
    assert abs(height - width) <= 2
    assert height > 150
    live = booth.follower.live
    assert live is not None
    for file in files:
        assert live.stamp(str(file)) == (file.stat().st_size, file.stat().st_mtime_ns)


@pytest.mark.parametrize("name", ["gone", "file"])
def test_a_folder_that_cannot_be_written(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    booth = Booth(folder=tmp_path / name)
    assert shows_face(booth.take(seen()))
    assert f"{name}: your photo cannot be written" in caplog.text
    assert "this run" in booth.control.take_message()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---- in a run --------------------------------------------------------------------------------


class Camera(fakes.FakeSource):
    """A person who moves a little, at 25 frames/s until the end; `show` is a status instead."""

    def __init__(self) -> None:
        super().__init__(())
        self.info = StreamInfo(*SIZE, rate=Fraction(25), live=True)
        self.show: StatusEvent | None = None
        self._pictures = [Frame.from_bgr(seen(180 + 5 * number)) for number in range(4)]
        self._ended = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        for number in itertools.count():
            if self._ended.wait(0.04):
                return
            picture = self._pictures[number % 4]
            yield self.show or replace(picture, pts=number, captured_s=time.monotonic())

    def interrupt(self) -> None:
        self._ended.set()


class Party:
    """A live run with a person in front of the camera."""

    def __init__(self, *watched: Path, **options: Any) -> None:
        self.camera = Camera()
        gallery = Gallery.from_images([photo(seed) for seed in range(40)], tile=32, crops=0)
        live = watcher = None
        if watched:
            live = LiveGallery(gallery)
            watcher = FolderWatcher(live, [str(folder) for folder in watched])
            gallery = live.snapshot
        self.mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=1).changed(**options))
        grid = self.mosaic.plan(*SIZE)
        self.mosaic.update_settings(self.mosaic.settings.for_grid(grid))
        self.control = Control(LiveState(self.mosaic.settings))
        self.other = Gallery.from_images([photo(seed) for seed in range(90, 99)], tile=32, crops=0)
        self.pipeline = Pipeline(
            self.camera,
            self.mosaic,
            [fakes.FakeSink(latest_only=True, keep=False)],
            control=self.control,
            open_gallery=lambda name: self.other,
            live_gallery=live,
            watcher=watcher,
        )
        self._thread = threading.Thread(target=self.pipeline.run)

    def __enter__(self) -> Party:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipeline.stop()
        self._thread.join()

    def photos(self) -> int:
        """The number of photos of faces in the gallery that the mosaic uses."""
        gallery = self.mosaic.gallery
        own = len(gallery.base) if isinstance(gallery, GallerySnapshot) else len(gallery)
        tiles = np.array(gallery.tiles)[own:][~gallery.gone[own:]]
        return sum(map(shows_face, tiles))

    def has(self, count: int) -> Callable[[], bool]:
        return lambda: self.photos() == count

    def snap(self) -> None:
        """Take a photo as soon as there is a picture, and no other is being taken."""

        def taken() -> bool:
            try:
                self.control.snap()
            except UsageError:
                return False
            return True

        wait_until(taken)


def test_a_photo_is_a_tile_of_a_run() -> None:
    """It survives other galleries and tiles, which have photos of their own."""
    with Party() as party:
        assert party.photos() == 0
        for count in (1, 2, 3):
            party.snap()
            wait_until(party.has(count))
        party.control.change(gallery="emoji")
        wait_until(lambda: party.mosaic.gallery is party.other)
        party.snap()
        wait_until(party.has(1))
        party.control.change(gallery="photos", tile_px=(16, 24))
        wait_until(party.has(3))
        party.snap()
        wait_until(party.has(4))
        assert party.pipeline.live_stats().photos == "44 +4"
    assert party.pipeline.report()["gallery"]["added"] == 4


def test_a_run_that_hides_its_picture() -> None:
    with Party() as party:
        party.snap()
        wait_until(party.has(1))
        party.control.change(privacy=True)
        with pytest.raises(UsageError, match="privacy"):
            party.control.snap()
        party.control.change(privacy=False)
        party.camera.show = StatusEvent("reconnecting")
        wait_until(lambda: party.pipeline.live_stats().source)
        with pytest.raises(UsageError, match="reconnecting"):
            party.control.snap()
        party.camera.show = None
        party.snap()
        wait_until(party.has(2))
    with pytest.raises(UsageError, match="no picture"):
        party.control.snap()


@pytest.mark.slow
def test_a_photo_in_a_watched_folder(tmp_path: Path) -> None:
    """It is one photo, in this run and the next, until its file goes."""
    folder, other = tmp_path / "party", tmp_path / "more"
    folder.mkdir()
    other.mkdir()
    with Party(folder, other) as party:
        party.snap()
        wait_until(party.has(1))
        (file,) = folder.iterdir()
        # What comes later is read later: the folder's reader has seen the photo.
        cv2.imwrite(str(folder / "other.png"), seen(side=2))
        wait_until(lambda: party.pipeline.live_stats().photos == "42 +2")
        assert list(other.iterdir()) == []
    with Party(folder, other) as party:
        wait_until(party.has(1))
        file.unlink()
        wait_until(party.has(0))
