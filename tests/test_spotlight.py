"""Photos that join are surely shown: in the spotlight, one after another."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import (
    Area,
    Control,
    Frame,
    Gallery,
    LiveGallery,
    LiveState,
    Mosaic,
    MosaicSettings,
    Pipeline,
    Spotlight,
    UsageError,
)
from livemosaic.gallery.layout_features import cell_lab, points_to_lab
from livemosaic.gallery.watch import FolderWatcher
from livemosaic.jit import U8
from livemosaic.media.colour import bgr_to_i420
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.spotlight import Rect
from livemosaic.pipeline.spotlight import SpotlightTurns
from livemosaic.vision.faces import Face

from . import fakes
from .gallery_files import photo
from .test_live_gallery import gallery, scene

pytestmark = pytest.mark.alone

wait_until = partial(fakes.wait_until, timeout_s=60)

SETTINGS = MosaicSettings(tile_px=16, scale=1.0)
MAGENTA = np.full((48, 48, 3), (255, 0, 255), np.uint8)


def frame(seed: int = 0) -> Frame:
    return Frame.from_bgr(scene(seed))


def planes(picture: Frame) -> tuple[U8, U8, U8]:
    return picture.y, picture.u, picture.v


# ---- in a picture ---------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [16, (24, 16)], ids=str)
def test_drawn_over_the_mosaic(tile: Any) -> None:
    """As if each picture was made anew, and the photos were drawn over it; in any order of coming,
    changing and going, also over each other, while earlier pictures are still in use."""
    settings = SETTINGS.changed(tile_px=tile)
    mosaic, plain = (Mosaic(gallery(), settings) for _ in range(2))
    rng = np.random.default_rng(0)
    lent: list[Frame] = []
    shown: list[Spotlight] = []
    for step in range(40):
        picture = frame(step // 10)
        grid = mosaic.plan(picture.width, picture.height)
        if rng.random() < 0.6:
            cell, number = int(rng.integers(grid.cells)), int(rng.integers(60))
            size, share = 1 + 4 * rng.random() ** 2, float(rng.choice([1.0, rng.random()]))
            shown = [it for it in shown if it.cell != cell]
            shown.append(Spotlight(number, cell, photo(step, width=120), size, share))
        if len(shown) > 4 or rng.random() < 0.2:
            shown = shown[1:]
        made = mosaic.process(picture, spotlights=shown)
        hidden = [Spotlight(it.tile, it.cell, it.picture, 1.0, 0.0) for it in shown]
        wanted = [plane.copy() for plane in planes(plain.process(picture, spotlights=hidden))]
        whole = [np.zeros((grid.canvas_height // by, grid.canvas_width // by), np.uint8)
                 for by in (1, 2, 2)]  # fmt: skip
        for plane, out in zip(wanted, whole, strict=True):
            out[: plane.shape[0], : plane.shape[1]] = plane
        for it in shown:
            left, top, width, height = Rect(grid, it).box
            smaller = it.picture.shape[1] >= width and it.picture.shape[0] >= height
            mode = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
            drawn = cv2.resize(it.picture, (width, height), interpolation=mode)
            for out, own, by in zip(
                whole, bgr_to_i420(np.asarray(drawn, np.uint8), picture.colour), (1, 2, 2),
                strict=True,
            ):  # fmt: skip
                part = out[top // by : (top + height) // by, left // by : (left + width) // by]
                part[:] = cv2.addWeighted(own, it.share, part, 1 - it.share, 0)
        for plane, out in zip(planes(made), whole, strict=True):
            np.testing.assert_array_equal(plane, out[: plane.shape[0], : plane.shape[1]])
        lent = [*lent[-3:], made]


def test_without_any_nothing_differs() -> None:
    """Nor after the last one, where the cell's tile was matched again."""
    mosaic, other = Mosaic(gallery(), SETTINGS), Mosaic(gallery(), SETTINGS)
    for step in range(6):
        again = other.process(frame(step), spotlights=[])
        for a, b in zip(planes(mosaic.process(frame(step))), planes(again), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "options", [{}, {"match": "clusters"}, {"fine": "detail"}, {"fine": "faces"}, {"min_uses": 1}],
    ids=str,
)  # fmt: skip
def test_the_cell_keeps_the_tile(options: dict[str, Any]) -> None:
    """While scenes are cut and photos join and leave; it is never split, and is counted."""
    live = LiveGallery(gallery(80))
    mosaic = Mosaic(live.snapshot, SETTINGS.changed(**options))
    mosaic.process(frame())
    cells = [37, 150]
    faces = [(0.0, 0.0, 320.0, 240.0)] if options.get("fine") == "faces" else []
    for step in range(8):
        spotlights = [Spotlight(7, cell, photo(7), 1.0, 0.5) for cell in cells]
        mosaic.process(frame(step // 2), spotlights=spotlights, faces=faces)
        assert (mosaic.tile_ids.flat[cells] == 7).all()
        assert not mosaic.flips.flat[cells].any()
        matcher = mosaic.matcher
        if isinstance(matcher, LayoutMatcher):
            now = matcher.assignment
            shown = now.place[now.place >= 0]
            uses = np.bincount(matcher.index.photo[shown], minlength=len(now.uses))
            np.testing.assert_array_equal(uses, now.uses)
        live.add([photo(500 + step)])
        if step:
            live.remove([live.snapshot.sources[70 + step].path])
        mosaic.update_settings(mosaic.settings, gallery=live.snapshot)
    for step in range(8, 12):
        mosaic.process(frame(step))
    assert (mosaic.tile_ids.flat[cells] != 7).any()


def test_an_area_covers_it() -> None:
    mosaic = Mosaic(gallery(), SETTINGS)
    outside = Frame.from_bgr(np.zeros((240, 320, 3), np.uint8))
    mask = np.full((240, 320), 255, np.uint8)
    mask[:, 160:] = 0
    cell = 5 * 20 + 9  # its right side is at the border
    made = mosaic.process(
        frame(), area=Area(mask, outside), spotlights=[Spotlight(1, cell, MAGENTA, 3.0)]
    )
    magenta = is_magenta(made.to_bgr())
    assert magenta[80:96, 136:158].all()
    assert not magenta[:, 162:].any()


def test_in_a_picture_of_one_cell() -> None:
    mosaic = Mosaic(gallery(), MosaicSettings(tile_px=64, size=(64, 64)))
    made = mosaic.process(frame(), spotlights=[Spotlight(1, 0, MAGENTA, 3.0)])
    assert is_magenta(made.to_bgr()).all()


def test_in_ten_bits() -> None:
    """A film of 10 bits that is played at its pace."""
    from livemosaic.media.deep import DeepColours
    from livemosaic.media.frame import DeepPicture

    picture = frame()
    y, u, v = (plane.astype(np.uint16) * np.uint16(4) for plane in planes(picture))
    deep = DeepPicture(y, u, v, picture.colour)
    picture = picture.with_picture(*planes(picture), deep=deep)
    made = Mosaic(gallery(), SETTINGS).process(picture, spotlights=[Spotlight(1, 42, MAGENTA, 3.0)])
    assert made.deep is not None
    top, left, _ = 32 - 16, 32 - 16, None
    own = DeepColours(picture.colour)(MAGENTA)[0, 0]
    assert (made.deep.y[top : top + 48, left : left + 48] == own[0]).all()
    assert (made.deep.u[top // 2 : top // 2 + 24, left // 2 : left // 2 + 24] == own[1]).all()


def test_what_makes_no_sense() -> None:
    mosaic = Mosaic(gallery(), SETTINGS)
    for wrong in (
        [Spotlight(1, 300, MAGENTA)],
        [Spotlight(60, 0, MAGENTA)],
        [Spotlight(-1, 0, MAGENTA)],
        [1],
        1,
    ):
        with pytest.raises(UsageError, match="spotlight"):
            mosaic.process(frame(), spotlights=wrong)  # type: ignore[arg-type]


def test_the_distances_are_those_of_the_match() -> None:
    """The cell that a photo shows has the distance 0."""
    mosaic = Mosaic(gallery(), SETTINGS)
    assert not mosaic.continues
    tile = np.array(mosaic.gallery.tiles[11])
    picture = scene()
    picture[64:80, 96:112] = tile
    mosaic.process(picture)
    assert mosaic.continues
    far = mosaic.distances(11, tint=0.0)
    assert far.argmin() == 4 * 20 + 6
    assert far.min() < 1
    lab = cell_lab(
        np.asarray(cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA)), 15, 20
    )
    away = points_to_lab(np.array(mosaic.gallery.points[[12]])) - lab
    away -= 0.3 * away.mean(axis=1, keepdims=True)
    plain = np.square(away).sum(axis=2).mean(axis=1).reshape(15, 20)
    np.testing.assert_allclose(mosaic.distances(12, tint=0.3), plain, rtol=0.05, atol=3)


def is_magenta(bgr: U8) -> np.ndarray:
    blue, green, red = (bgr[:, :, channel].astype(int) for channel in range(3))
    return np.asarray((blue > 180) & (red > 180) & (green < 90))


# ---- whose turn it is -----------------------------------------------------------------------


class Wall:
    """A mosaic of a live gallery and its spotlights, frame by frame at ten frames a second."""

    def __init__(self, live: LiveGallery, settings: MosaicSettings = SETTINGS) -> None:
        self.now_s, self.live, self.log = 0.0, live, list[tuple[float, list[Spotlight]]]()
        self.mosaic = Mosaic(live.snapshot, settings)
        self.turns = SpotlightTurns(live, lambda name, work, end: work(), clock=lambda: self.now_s)
        self.mosaic.process(frame())

    def step(
        self,
        seconds: float = 2.0,
        *,
        area: Area | None = None,
        seed: int = 0,
        faces: Sequence[Face] = (),
    ) -> list[Spotlight]:
        self.now_s += 0.1
        if self.live.snapshot is not self.mosaic.gallery:
            self.mosaic.update_settings(self.mosaic.settings, gallery=self.live.snapshot)
        picture = frame(seed)
        grid = self.mosaic.plan(picture.width, picture.height)
        spotlights = list(self.turns.next(self.mosaic, grid, seconds, faces))
        self.mosaic.process(picture, spotlights=spotlights, area=area)
        self.log.append((self.now_s, spotlights))
        return spotlights

    def times(self, *, share: float = 0.65) -> dict[int, list[float]]:
        """When each tile was in the spotlight, with so much of its own colours."""
        found: dict[int, list[float]] = {}
        for at_s, spotlights in self.log:
            for it in spotlights:
                if it.share >= share:
                    found.setdefault(it.tile, []).append(at_s)
        return found


@pytest.mark.slow
def test_five_hundred_at_once() -> None:
    """Each has its seconds and its large second, in the order in which they came; the picture is
    still a mosaic."""
    live = LiveGallery(gallery(60))
    wall = Wall(live)
    live.add([photo(1000 + number) for number in range(500)])
    while wall.turns.is_due or wall.turns.waiting:
        wall.step(seed=int(wall.now_s) // 10)
        assert wall.now_s < 300
    times = wall.times()
    assert list(times) == list(range(60, 560))
    for its in times.values():
        assert its[-1] - its[0] >= 2.0 - 0.11
        assert max(b - a for a, b in itertools.pairwise(its)) < 0.11  # without a gap
    cells: dict[int, set[int]] = {}
    for _, spotlights in wall.log:
        assert sum(it.size**2 for it in spotlights) <= 0.06 * 300 + 1e-9
        assert len({it.cell for it in spotlights}) == len(spotlights)
        for it in spotlights:
            cells.setdefault(it.tile, set()).add(it.cell)
    assert {len(its) for its in cells.values()} == {1}
    large = Counter(it.tile for _, its in wall.log for it in its if it.size >= 1.8)
    assert min(large[tile] for tile in times) >= 6
    assert wall.turns.report() == {"done": 500, "shown": 0, "waiting": 0}
    assert wall.turns.next(wall.mosaic, wall.mosaic.grid, 2.0) == ()


@pytest.mark.parametrize("seconds", [5e-324, 0.01])
def test_a_moment(seconds: float) -> None:
    wall = Wall(LiveGallery(gallery(60)))
    wall.live.add([photo(1000), photo(1001)])
    while wall.turns.is_due or wall.turns.waiting:
        wall.step(seconds)
        assert wall.now_s < 5
    assert wall.turns.done == 2


def test_where_all_cells_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo takes the place of finer cells if there are no others."""
    y, x = np.mgrid[:256, :320] // 8
    pattern = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[:, :, None], 3, 2)
    monkeypatch.setattr(f"{__name__}.frame", lambda seed=0: Frame.from_bgr(pattern))
    wall = Wall(LiveGallery(gallery(200)), MosaicSettings(tile_px=32, scale=1, fine="detail"))
    assert (wall.mosaic.tile_ids < 0).all()
    wall.live.add([photo(1000), photo(1001)])
    while wall.turns.is_due or wall.turns.waiting:
        wall.step(0.5)
        assert wall.now_s < 10
    assert wall.turns.done == 2
    wall.step(0.5)
    assert (wall.mosaic.tile_ids < 0).all()


def test_it_fits_and_keeps_its_distance() -> None:
    """The place is the cell whose colours are nearest; the same photo is not beside it."""
    live = LiveGallery(gallery(200))
    wall = Wall(live)
    live.add([scene()[64:112, 96:144]])
    (spotlight,) = wall.step()
    grid, cell = wall.mosaic.grid, spotlight.cell
    far = wall.mosaic.distances(spotlight.tile, tint=0.3 * 0.8)
    assert far.flat[cell] < np.quantile(far, 0.1)
    wall.step()
    distance, ids = wall.mosaic.matcher.distance, wall.mosaic.tile_ids
    assert distance
    row, column = divmod(cell, grid.columns)
    beside = ids[max(row - distance, 0) : row + distance + 1,
                 max(column - distance, 0) : column + distance + 1]  # fmt: skip
    assert np.count_nonzero(beside == spotlight.tile) == 1


def test_it_covers_no_face() -> None:
    """Not even with its large size; where faces are everywhere, it is shown all the same."""
    cells = []
    for faces in ([], [Face(0, 0, 320, 240)], [Face(150.5, 20.5, 70, 80)]):
        wall = Wall(LiveGallery(gallery(60)))
        wall.live.add([scene()[64:112, 96:144]])
        for _ in range(8):
            (spotlight,) = wall.step(faces=faces)
        cells.append(spotlight.cell)
    left, top, width, height = Rect(wall.mosaic.grid, spotlight).box
    assert spotlight.size >= 1.8
    assert left + width <= 150 or left >= 221 or top + height <= 20 or top >= 101
    assert cells[0] == cells[1] != cells[2]


def test_it_becomes_smaller_without_a_jump() -> None:
    live = LiveGallery(gallery(60))
    wall = Wall(live, SETTINGS.changed(tile_px=8))
    live.add([photo(900)])
    sizes = [wall.step(4.0) for _ in range(60)]
    shown = [its[0] for its in sizes if its]
    assert shown[0].size > 1
    assert max(it.size for it in shown) > 3
    after = [it.size for it in shown[3:]]
    assert after == sorted(after, reverse=True)
    assert after[-1] == 1
    assert max(a - b for a, b in itertools.pairwise(after)) < 1.5
    assert shown[-1].share < 0.2
    assert len({it.cell for it in shown}) == 1


def test_photos_that_leave() -> None:
    """In the spotlight, and while they wait."""
    live = LiveGallery(gallery(60))
    wall = Wall(live)
    live.add([photo(1000 + number) for number in range(20)])
    shown = wall.step()
    names = [live.snapshot.sources[tile].path for tile in (shown[0].tile, 70, 79)]
    live.remove(names)
    while wall.turns.is_due:
        wall.step()
    times = wall.times()
    assert list(times) == [60, *(n for n in range(61, 79) if n != 70)]
    assert len(times[60]) == 1


def test_pauses_end_with_the_rest_of_the_time() -> None:
    """In privacy mode, and while another gallery or another grid is in use."""
    live = LiveGallery(gallery(60))
    wall = Wall(live)
    live.add([photo(900)])
    for _ in range(12):
        assert wall.step()
    wall.turns.pause()
    assert not wall.turns.is_due
    wall.now_s += 30
    for _ in range(3):
        assert wall.step()
    other = Mosaic(gallery(20), SETTINGS)
    other.process(frame())
    wall.now_s += 30
    assert wall.turns.next(other, other.grid, 2.0) == ()
    assert wall.step()
    wall.now_s -= 0.1
    wall.mosaic.change(tile_px=24)
    assert not wall.step()  # no cell is known
    assert wall.mosaic.grid.tile_px == 24
    assert wall.step()
    while wall.turns.is_due:
        wall.step()
    ((_, its),) = wall.times().items()
    assert 20 <= len(its) <= 26


def test_photos_that_come_with_other_tiles() -> None:
    """Nothing is known of the next picture's cells then."""
    live = LiveGallery(gallery(60))
    wall = Wall(live)
    live.add([photo(900)])
    wall.mosaic.update_settings(wall.mosaic.settings.changed(tile_px=24), gallery=live.snapshot)
    assert not wall.step()
    (spotlight,) = wall.step()
    assert spotlight.tile == 60


def test_seconds_of_none() -> None:
    live = LiveGallery(gallery(60))
    wall = Wall(live)
    live.add([photo(1000 + number) for number in range(20)])
    assert wall.step()
    assert not wall.step(0.0)
    assert (wall.turns.shown, wall.turns.waiting, wall.turns.is_due) == (0, 0, False)
    live.add([photo(900)])
    wall.now_s += 1
    (spotlight,) = wall.step()
    assert spotlight.tile == 80


def test_it_moves_with_the_area() -> None:
    """A photo whose cell is covered by a person takes another one, and has its seconds there; if
    there is no mosaic at all, it waits."""
    live = LiveGallery(gallery(60))
    wall = Wall(live)
    outside = Frame.from_bgr(np.zeros((240, 320, 3), np.uint8))
    everywhere, nowhere = (np.full((15, 20), level, np.uint8) for level in (255, 0))
    live.add([photo(900)])
    for _ in range(5):
        (first,) = wall.step(area=Area(everywhere, outside))
    covered = everywhere.copy()
    covered.flat[first.cell] = 0
    moved = [wall.step(area=Area(covered, outside))[0] for _ in range(12)]
    assert moved[0].cell == first.cell
    assert moved[-1].cell != first.cell
    for _ in range(10):
        last = wall.step(area=Area(nowhere, outside))
    assert not last
    live.add([photo(901)])
    wall.step(area=Area(nowhere, outside))
    for _ in range(60):
        wall.step(area=Area(everywhere, outside))
    times = wall.times()
    assert list(times) == [60, 61]
    assert len(times[61]) >= 20


def test_a_photo_is_read_again_where_it_is_large(tmp_path: Path) -> None:
    sharp = np.zeros((200, 200, 3), np.uint8)
    sharp[::2] = 255
    path = tmp_path / "sharp.png"
    cv2.imwrite(str(path), sharp)
    live = LiveGallery(gallery(60))
    wall = Wall(live)
    live.add(path)
    assert wall.step()[0].picture.shape[:2] == (32, 32)


def test_in_a_wall_of_one_cell() -> None:
    live = LiveGallery(gallery(60))
    wall = Wall(live, MosaicSettings(tile_px=64, size=(64, 64)))
    live.add([photo(900), photo(901)])
    for _ in range(80):
        assert len(wall.step()) <= 1
    assert list(wall.times()) == [60, 61]


# ---- in a run -------------------------------------------------------------------------------


@contextmanager
def wall_run(
    live: LiveGallery, sink: fakes.FakeSink, watcher: FolderWatcher | None = None, **state: Any
) -> Iterator[Control]:
    """A live run of a grey picture until the end of the block."""
    grey = fakes.frame(100)
    source = fakes.FakeSource(replace(grey, pts=number) for number in itertools.count())
    mosaic = Mosaic(live.snapshot, SETTINGS.changed(tile_px=8))
    settings = mosaic.settings.for_grid(mosaic.plan(*fakes.SIZE))
    mosaic.update_settings(settings)
    control = Control(LiveState(settings, **state))
    pipeline = Pipeline(
        source, mosaic, [sink], duration_s=300, realtime=True, control=control,
        live_gallery=live, watcher=watcher,
    )  # fmt: skip
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    try:
        wait_until(lambda: pipeline.progress.frames_out)
        yield control
    finally:
        pipeline.stop()
        thread.join()


class Seen:
    """How much magenta is in each picture, and when it came."""

    def __init__(self) -> None:
        self.pictures: list[tuple[float, int]] = []
        self.sink = fakes.FakeSink(on_write=self._note, keep=False)

    def _note(self, item: Any) -> None:
        if isinstance(item, Frame):
            count = int(np.count_nonzero(is_magenta(item.to_bgr())))
            self.pictures.append((time.monotonic(), count))

    @property
    def now(self) -> int:
        return self.pictures[-1][1] if self.pictures else 0


def grey_gallery() -> Gallery:
    return Gallery.from_images([photo(seed) // 2 for seed in range(60)], tile=16, crops=0)


@pytest.mark.slow
@pytest.mark.parametrize("freeze", [False, True])
def test_a_photo_of_a_folder_is_in_the_picture(tmp_path: Path, freeze: bool) -> None:
    """Large at first, then smaller; for its seconds; and guests see where. What was there at the
    start is not new."""
    folder, seen = tmp_path / "party", Seen()
    folder.mkdir()
    cv2.imwrite(str(folder / "old.png"), MAGENTA)
    live = LiveGallery(grey_gallery())
    watcher = FolderWatcher(live, [str(folder)])
    with wall_run(live, seen.sink, watcher, freeze=freeze, spotlight=2.0) as control:
        wait_until(lambda: str(folder / "old.png") in live)
        new = folder / "new.png"
        cv2.imwrite(str(new), MAGENTA)
        wait_until(lambda: seen.now > 200)  # pixels of 16x16
        (place, *_) = control.photo_places(new)
        assert place.width > 1 / 8
        assert control.live_stats().spotlight == {"done": 0, "shown": 1, "waiting": 0}
        wait_until(lambda: 0 < seen.now < 100)
        wait_until(lambda: seen.now == 0)
    shown_s = [at_s for at_s, count in seen.pictures if count]
    assert shown_s[-1] - shown_s[0] > 1.5


def test_not_in_privacy_mode() -> None:
    live, seen = LiveGallery(grey_gallery()), Seen()
    with wall_run(live, seen.sink, privacy=True) as control:
        live.add([MAGENTA])
        count = len(seen.pictures)
        wait_until(lambda: len(seen.pictures) > count + 15)
        assert all(count == 0 for _, count in seen.pictures)
        control.change(privacy=False)
        wait_until(lambda: seen.now)
        control.change(privacy=True)
        wait_until(lambda: seen.now == 0)
        control.change(privacy=False)
        wait_until(lambda: seen.now)
        control.change(spotlight=0)
        wait_until(lambda: seen.now == 0)
