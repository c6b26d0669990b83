"""The area of the mosaic: where it is, what is shown elsewhere, and the person who decides it."""

from __future__ import annotations

import json
import time
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from livemosaic import mosaic_frames, render
from livemosaic.control.state import Control, LiveState
from livemosaic.errors import OptionError, UsageError
from livemosaic.gallery.gallery import Gallery
from livemosaic.media.colour import Colour
from livemosaic.media.deep import TOP
from livemosaic.media.frame import DeepPicture, Frame
from livemosaic.mosaic.area import Area
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.mosaic.waiting import HiddenCells
from livemosaic.pipeline import Pipeline
from livemosaic.pipeline.area import AreaFinder, warm_up_area
from livemosaic.pipeline.governor import STEPS
from livemosaic.vision.person import PersonFinder, refined, shrunk

from . import clips, fakes
from .conftest import U8
from .gallery_files import PERSON, photo_of_person
from .program import Program, left, needs_jit

SETTINGS = MosaicSettings(tile_px=16, scale=1)


def _mask(value: int, *, left: int | None = None) -> U8:
    """One value everywhere, or another one in the left half."""
    mask = np.full((144, 256), value, np.uint8)
    if left is not None:
        mask[:, :128] = left
    return mask


def _person(*, size: tuple[int, int] = (320, 180)) -> Frame:
    """A person in the middle of a grey picture."""
    width, height = size
    picture = photo_of_person(width, height, (width - height) // 2, 0, height)
    return Frame.from_bgr(picture, colour=Colour("bt601"))


def _moved(frame: Frame, pixels: int) -> Frame:
    """The frame, moved to the right; what leaves it comes in at the left."""
    y = np.roll(frame.y, pixels, 1)
    u, v = (np.roll(plane, pixels // 2, 1) for plane in (frame.u, frame.v))
    return Frame(y, u, v, frame.colour)


def _fail(message: object) -> None:
    pytest.fail(str(message))


# ---- the mosaic ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(160, 96), (150, 94)])  # whole cells, and cells that stick out
def test_all_nothing_and_a_half(gallery: Gallery, size: tuple[int, int]) -> None:
    frame = clips.frames(1, size=size)[0]
    whole = Mosaic(gallery, SETTINGS).process(frame).to_bgr()

    def picture(mask: U8) -> U8:
        return Mosaic(gallery, SETTINGS).process(frame, area=Area(mask, frame)).to_bgr()

    np.testing.assert_array_equal(picture(_mask(255)), whole)
    np.testing.assert_array_equal(picture(_mask(0)), frame.to_bgr())
    half, width = picture(_mask(0, left=255)), size[0]
    np.testing.assert_array_equal(half[:, : width // 2 - 4], whole[:, : width // 2 - 4])
    np.testing.assert_array_equal(half[:, width // 2 + 4 :], frame.to_bgr()[:, width // 2 + 4 :])
    luma = Mosaic(gallery, SETTINGS).process(frame).y.astype(int)
    mixed = Mosaic(gallery, SETTINGS).process(frame, area=Area(_mask(128), frame)).y
    assert np.abs(mixed - (luma + frame.y) // 2).max() <= 2


def test_cells_that_were_hidden_show_what_is_there_now(gallery: Gallery) -> None:
    frames = clips.frames(9)
    mosaic = Mosaic(gallery, SETTINGS)
    mosaic.process(frames[0])
    for frame in frames[1:8]:
        mosaic.process(frame, area=Area(_mask(0), frame))
        assert mosaic.cells.active == 0
    picture = mosaic.process(frames[8]).to_bgr()
    assert mosaic.cells.active > 0
    best = Mosaic(gallery, SETTINGS).process(frames[8]).to_bgr()
    few = [cv2.resize(it, (10, 6), interpolation=cv2.INTER_AREA) for it in (picture, best)]
    assert np.abs(few[0].astype(int) - few[1]).max() < 20
    again = mosaic.process(frames[8]).to_bgr()
    np.testing.assert_array_equal(picture, again)


def test_a_picture_in_an_area_is_not_written_again(gallery: Gallery) -> None:
    mosaic, frames = Mosaic(gallery, SETTINGS), clips.frames(4)
    first = mosaic.process(frames[0], area=Area(_mask(0, left=255), frames[0]))
    before = first.y.copy()
    for frame in frames[1:]:
        mosaic.process(frame, area=Area(_mask(0, left=255), frame))
    np.testing.assert_array_equal(first.y, before)
    assert not first.y.flags.writeable


def test_an_area_beside_an_array(gallery: Gallery) -> None:
    photo = np.full((96, 160, 3), (200, 90, 40), np.uint8)
    area = Area(_mask(255, left=0), Frame.from_bgr(photo))
    picture = Mosaic(gallery, SETTINGS).process(photo, area=area)
    assert np.abs(picture[:, :70].astype(int) - photo[:, :70]).max() < 4
    assert np.abs(picture[:, 90:].astype(int) - photo[:, 90:]).max() > 20


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((9, 16), np.float32),
        np.ones((9, 16), np.bool_),
        np.ones((9, 16, 3), np.uint8),
        np.ones((0, 16), np.uint8),
        np.ones((9, 16), np.uint8)[:, ::-1],
        [[0, 255]],
        None,
    ],
)
def test_a_mask_that_is_none(mask: Any) -> None:
    with pytest.raises(UsageError, match="mask: it is"):
        Area(mask, _person())


@pytest.mark.parametrize("outside", [None, np.zeros((9, 16, 3), np.uint8), "blur"])
def test_outside_is_a_frame(outside: Any) -> None:
    with pytest.raises(UsageError, match="outside: give a Frame"):
        Area(_mask(0), outside)


@pytest.mark.parametrize("deep", [False, True])
def test_outside_has_the_colour_of_the_frame(gallery: Gallery, deep: bool) -> None:
    frame = outside = _person()
    if deep:
        y, u, v = (it.astype(np.uint16) * 4 for it in (frame.y, frame.u, frame.v))
        frame = replace(frame, deep=DeepPicture(y, u, v, frame.colour))
    else:
        outside = replace(frame, colour=Colour("bt709"))
    with pytest.raises(UsageError, match="colour"):
        Mosaic(gallery, SETTINGS).process(frame, area=Area(_mask(0), outside))


@pytest.mark.parametrize("size", [(160, 96), (246, 138), (1278, 718)])
def test_nothing_is_seen_of_the_cells_that_wait(gallery: Gallery, size: tuple[int, int]) -> None:
    white, black = (
        Frame.from_bgr(np.full((size[1], size[0], 3), level, np.uint8)) for level in (255, 0)
    )
    mosaic = Mosaic(gallery, SETTINGS.changed(overlay=1.0))
    mosaic.process(white)
    grid = mosaic.grid
    for edge in range(100, 140, 3):  # at many places in a cell
        mask = _mask(0)
        mask[edge // 2 :, edge:] = 255
        area = Area(mask, black)
        seen = np.ones(grid.cells, np.bool_)
        HiddenCells(grid).hold_back(area, np.ones(grid.cells, np.int32), seen)
        shown = mosaic.process(white, area=area).y != black.y
        cells = np.repeat(np.repeat(seen.reshape(grid.rows, -1), 16, 0), 16, 1)
        assert not (shown & ~cells[: size[1], : size[0]]).any(), edge
        assert seen.mean() < 0.55


def test_pictures_that_were_lent_leave_little_memory(gallery: Gallery) -> None:
    mosaic, frames = Mosaic(gallery, SETTINGS), clips.frames(2, size=(640, 480))
    area = Area(_mask(128), frames[0])
    mosaic.process(frames[0], area=area)
    tracemalloc.start()
    lent = [mosaic.process(frames[0], area=area) for _ in range(20)]
    del lent
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 4 * 640 * 480 * 1.5


def test_a_picture_in_10_bits(gallery: Gallery) -> None:
    frame = clips.frames(1)[0]
    planes = [
        np.full(it.shape, n, np.uint16) for it, n in ((frame.y, TOP), (frame.u, 7), (frame.v, 9))
    ]
    deep = DeepPicture(*planes, frame.colour)  # type: ignore[call-arg, arg-type]
    frame = Frame(frame.y, frame.u, frame.v, frame.colour, deep=deep)
    shown = Mosaic(gallery, SETTINGS).process(frame, area=Area(_mask(255, left=0), frame)).deep
    whole = Mosaic(gallery, SETTINGS).process(frame).deep
    assert shown is not None
    assert whole is not None
    for mixed, mosaic, original in zip(shown.planes, whole.planes, planes, strict=True):
        middle = mixed.shape[1] // 2
        np.testing.assert_array_equal(mixed[:, : middle - 4], original[:, : middle - 4])
        np.testing.assert_array_equal(mixed[:, middle + 4 :], mosaic[:, middle + 4 :])


# ---- the person --------------------------------------------------------------------------------


def _found(frame: Frame, finder: PersonFinder | None = None) -> U8:
    ycbcr = shrunk(frame)
    return refined((finder or PersonFinder()).look(ycbcr, frame.colour), ycbcr[..., 0])


def test_the_person_is_found() -> None:
    mask = _found(_person())
    assert mask[40, 120] > 250  # the face
    assert mask[110, 110] > 250  # the suit
    assert mask[:, :50].max() < 10
    assert mask[:, 220:].max() < 60


def test_nobody_is_there() -> None:
    bars = Frame.from_bgr(clips.picture(320, 180), colour=Colour("bt601"))
    assert _found(bars).mean() < 2
    assert _found(Frame.from_bgr(np.full((180, 320, 3), 128, np.uint8))).max() == 0


def test_the_mask_is_steady_under_noise_and_follows_at_once() -> None:
    finder, person = PersonFinder(), _person()
    rng, masks = np.random.default_rng(0), []
    for _ in range(12):
        noise = rng.normal(0, 4, person.y.shape)
        y = np.clip(person.y + noise, 16, 235).astype(np.uint8)
        frame = Frame(y, person.u, person.v, person.colour)
        masks.append(finder.look(shrunk(frame), frame.colour))
    size, mode = (32, 18), cv2.INTER_AREA
    cells = [cv2.resize(mask, size, interpolation=mode) for mask in masks[4:]]
    assert max(np.abs(cell - cells[0]).max() for cell in cells) < 0.2  # no cell changes its side
    moved = _moved(person, 40)
    new = finder.look(shrunk(moved), person.colour)
    alone = PersonFinder().look(shrunk(moved), person.colour)
    assert np.abs(new - alone).mean() < 0.01


def test_nothing_moves_so_that_nothing_is_looked_at() -> None:
    finder, frame = PersonFinder(), _person()
    ycbcr = shrunk(frame)
    masks = [finder.look(ycbcr, frame.colour) for _ in range(4)]
    assert masks[2] is masks[3]


def test_what_moves_well_within_the_person_is_not_looked_at() -> None:
    """A mouth, but not a shape that could be seen through."""
    finder, person = PersonFinder(), _person()
    for _ in range(4):
        mask = finder.look(shrunk(person), person.colour)
    talks, leaves = person.y.copy(), person.y.copy()
    talks[62:68, 142:150] ^= 63
    assert finder.look(shrunk(replace(person, y=talks)), person.colour) is mask
    leaves[30:100, 120:180] = 90
    assert finder.look(shrunk(replace(person, y=leaves)), person.colour) is not mask


def test_a_person_who_filled_the_picture_leaves() -> None:
    finder, person = PersonFinder(), _person(size=(640, 360))
    suit = replace(  # nothing but the person
        person, y=person.y[250:350, 230:330], u=person.u[125:175, 115:165],
        v=person.v[125:175, 115:165],
    )  # fmt: skip
    for _ in range(4):
        before = finder.look(shrunk(suit), suit.colour)
    grey = np.full((144, 256, 3), 128, np.uint8)
    for _ in range(4):
        after = finder.look(grey, suit.colour)
    assert after.mean() < min(0.05, before.mean())


# ---- the area of a frame -------------------------------------------------------------------------


def _area(frame: Frame, finder: AreaFinder | None = None, **state: Any) -> Area | None:
    finder = finder or AreaFinder(None, _fail)
    return finder.area_of(frame, LiveState(**state), (320, 180))


def test_background_and_person_are_opposites() -> None:
    frame = _person()
    person, background = (_area(frame, area=area) for area in ("person", "background"))
    assert person is not None
    assert background is not None
    np.testing.assert_array_equal(person.mask, 255 - background.mask)
    assert _area(frame) is None


@pytest.mark.parametrize("area", ["everything", "background", "person"])
def test_privacy_mode_hides_everybody(area: str) -> None:
    assert _area(_person(), area=area, privacy=True) is None


@pytest.mark.parametrize("deep", [False, True])
def test_outside(tmp_path: Path, deep: bool) -> None:
    frame = _person()
    if deep:
        planes = [it.astype(np.uint16) * 4 for it in (frame.y, frame.u, frame.v)]
        picture = DeepPicture(*planes, frame.colour)  # type: ignore[call-arg, arg-type]
        frame = Frame(frame.y, frame.u, frame.v, frame.colour, deep=picture)

    def outside(what: str) -> Frame:
        area = _area(frame, area="person", outside=what)
        assert area is not None
        assert (area.outside.deep is not None) == deep
        return area.outside

    assert outside("original") is frame
    np.testing.assert_allclose(outside("#20a060").to_bgr()[0, 0], (0x60, 0xA0, 0x20), atol=3)
    blurred = outside("blur")
    few = cv2.resize(frame.to_bgr(), (blurred.width, blurred.height), interpolation=cv2.INTER_AREA)
    assert np.abs(blurred.to_bgr()[:, :20].astype(int) - few[:, :20]).max() < 12
    plain = cv2.GaussianBlur(few, (0, 0), 4)  # the red suit shines through
    red = [int(it[35:60, 38:48, 2].mean()) for it in (few, plain, blurred.to_bgr())]
    assert red[2] < red[1]
    half = np.zeros((50, 100, 3), np.uint8)
    half[:, 50:] = 255
    cv2.imwrite(str(tmp_path / "half.png"), half)
    shown = outside(str(tmp_path / "half.png"))
    assert (shown.width, shown.height) == (320, 180)
    assert (shown.to_bgr()[:, :150].max(), shown.to_bgr()[:, 170:].min()) == (0, 255)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (40, 1), (1, 40), (3, 2)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    frame = Frame.from_bgr(np.full((size[1], size[0], 3), 90, np.uint8))
    for what in ("original", "blur", "#20a060"):
        area = _area(frame, area="person", outside=what)
        assert area is not None
        assert area.outside.y.size


def test_a_picture_that_cannot_be_read_is_reported_once() -> None:
    said: list[object] = []
    finder, frame = AreaFinder(None, said.append), _person()
    for _ in range(3):
        area = _area(frame, finder, area="person", outside="nothere.png")
        assert area is not None
        assert area.outside is frame
    assert len(said) == 1
    assert "nothere.png" in str(said[0])


def test_a_picture_that_was_read_before() -> None:
    """It is used once, and not kept."""
    read = {"start.png": np.full((9, 9, 3), 200, np.uint8)}
    said: list[object] = []
    finder, frame = AreaFinder(None, said.append, read), _person()
    for _ in range(2):
        area = _area(frame, finder, area="person", outside="start.png")
        assert area is not None
        assert area.outside.to_bgr().mean() == pytest.approx(200, abs=2)
    assert read == {}
    assert said == []


def test_the_mosaic_is_everywhere_until_the_person_was_looked_for() -> None:
    threads: list[Any] = []
    finder = AreaFinder(lambda name, work: threads.append(work), _fail)
    frame = _person()
    assert _area(frame, finder, area="person") is None
    finder.close()
    threads[0]()  # looks, and ends
    assert _area(frame, finder, area="person") is not None
    assert len(threads) == 1


def test_a_busy_machine_looks_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    person, looks = _person(), list[U8]()

    def look(self: PersonFinder, ycbcr: U8, colour: Colour, *, is_new: bool) -> Any:
        looks.append(ycbcr)
        return np.zeros((144, 256), np.float32)

    monkeypatch.setattr(PersonFinder, "look", look)
    finder = AreaFinder(None, _fail)
    counts: list[int] = []
    for step in STEPS[:4]:
        finder.looks.looks_per_s = step.looks_per_s
        looks.clear()
        for number in range(60):
            _mask_of(_moved(person, 2 * (number % 2)), finder, 10 * len(counts) + number / 30)
        counts.append(len(looks))
    assert counts == [20, 10, 10, 6]


def test_the_governor_tells_of_the_mask_only_with_an_area() -> None:
    for step in STEPS:
        assert step.words(has_area=False) == step.description
        assert ("masks/s" in step.words(has_area=True)) == (step != STEPS[0])


def test_live_a_picture_is_read_aside(tmp_path: Path) -> None:
    """Until it is there, the mosaic is everywhere, or what was shown before stays."""
    threads: dict[str, list[Any]] = {"area": [], "outside": []}
    finder = AreaFinder(lambda name, work: threads[name].append(work), _fail)
    frame, files = _person(), [str(tmp_path / f"{level}.png") for level in (0, 128, 255)]
    for level, file in zip((0, 128, 255), files, strict=True):
        cv2.imwrite(file, np.full((9, 9, 3), level, np.uint8))

    def level_of(outside: str) -> float | None:
        area = _area(frame, finder, area="person", outside=outside)
        return None if area is None else float(area.outside.to_bgr().mean())

    assert level_of(files[0]) is None
    finder.close()
    threads["area"].pop()()
    assert level_of(files[0]) is None  # a mask, and no picture yet: the frame itself is not shown
    assert len(threads["outside"]) == 1
    threads["outside"].pop()()
    assert finder.has_news
    assert level_of(files[0]) == pytest.approx(0, abs=2)
    assert not finder.has_news
    assert level_of(files[1]) == level_of(files[2]) == pytest.approx(0, abs=2)
    second, third = threads["outside"]
    third()
    assert level_of(files[2]) == pytest.approx(255, abs=2)
    second()  # the slower one comes too late
    level_of(files[2])
    threads["outside"].pop()()
    assert level_of(files[2]) == pytest.approx(255, abs=2)
    own = level_of("original")
    assert level_of(files[1]) == own
    threads["outside"].pop()()
    assert level_of(files[1]) == pytest.approx(128, abs=2)


def test_the_kernels_of_the_first_mask_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask is 256 samples wide; each width of a plane has a kernel of its own."""
    widened = list[tuple[int, int]]()

    def widen(plane: U8, width: int) -> U8:
        widened.append((plane.shape[1], width))
        return plane

    monkeypatch.setattr("livemosaic.pipeline.area.widen_rows", widen)
    warm_up_area(1280)
    assert set(widened) == {(256, 1280), (256, 640), (128, 1280), (64, 640)}


def _mask_of(frame: Frame, finder: AreaFinder, time_s: float = 0.0, **state: Any) -> U8:
    frame = replace(frame, pts=round(time_s * 1000), time_base=Fraction(1, 1000))
    area = _area(frame, finder, area="person", **state)
    assert area is not None
    return area.mask


def _dark() -> Frame:
    """Another scene, without a person."""
    return Frame.from_bgr(np.full((180, 320, 3), 20, np.uint8), colour=Colour("bt601"))


def test_the_mask_of_a_scene_is_not_shown_over_the_next_one() -> None:
    finder, person, dark = AreaFinder(None, _fail), _person(), _dark()
    first = _mask_of(person, finder)
    assert first.mean() > 30
    assert _mask_of(dark, finder, 0.02).max() == 0  # a cut between two looks
    np.testing.assert_array_equal(_mask_of(person, finder, 0.04), first)
    # Nothing of it is left where both scenes are as dark.
    black = Frame.from_bgr(np.zeros((180, 320, 3), np.uint8), colour=Colour("bt601"))
    assert _mask_of(black, finder, 0.06).max() == 0


def test_a_fade_is_no_cut() -> None:
    """Live, the mosaic would be everywhere for a moment."""
    threads: list[Any] = []
    finder, person = AreaFinder(lambda name, work: threads.append(work), _fail), _person()
    assert _area(person, finder, area="person") is None
    finder.close()
    threads[0]()
    for darker in range(10, 100, 10):  # within a tenth of a second
        y = np.maximum(person.y, 16 + darker) - np.uint8(darker)
        faded = replace(person, y=y, captured_s=darker / 1000)
        assert _area(faded, finder, area="person") is not None


@pytest.mark.parametrize("between", [{"area": "everything"}, {"privacy": True}])
def test_the_mask_from_before_a_pause_is_not_shown_after_it(between: dict[str, Any]) -> None:
    finder, person = AreaFinder(None, _fail), _person()
    _mask_of(person, finder)
    moved = _moved(person, 80)
    assert _area(moved, finder, **{"area": "person", **between}) is None
    alone = _mask_of(moved, AreaFinder(None, _fail))
    np.testing.assert_array_equal(_mask_of(moved, finder, 0.02), alone)


def test_the_mask_of_the_mirror_image_is_there_at_once() -> None:
    finder, person = AreaFinder(None, _fail), _moved(_person(), 60)
    mask = _mask_of(person, finder)
    mirrored = _mask_of(person.mirrored(), finder, 0.02, mirror=True)
    assert np.abs(mirrored[:, ::-1].astype(int) - mask).max() <= 1


def test_a_live_mask_that_follows_nobody_any_more_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[Any] = []
    finder = AreaFinder(lambda name, work: threads.append(work), _fail)
    person = _person()
    assert _area(person, finder, area="person") is None
    look = PersonFinder.look
    looks: list[None] = []

    def fails_later(self: PersonFinder, *args: Any, **options: Any) -> Any:
        looks.append(None)
        if len(looks) == 1:
            assert _area(replace(person, captured_s=7.0), finder, area="person") is None
            finder.close()
            return look(self, *args, **options)
        raise cv2.error("out of memory")

    monkeypatch.setattr(PersonFinder, "look", fails_later)
    with pytest.raises(cv2.error):
        threads[0]()
    assert len(looks) == 2
    assert _area(replace(person, captured_s=7.0), finder, area="person") is None


def test_a_picture_that_can_be_read_again(tmp_path: Path) -> None:
    said: list[object] = []
    finder, frame, file = AreaFinder(None, said.append), _person(), tmp_path / "a.png"

    def outside(what: str) -> Frame:
        area = _area(frame, finder, area="person", outside=what)
        assert area is not None
        return area.outside

    assert outside(str(file)) is frame
    assert len(said) == 1
    for level in (0, 255):
        assert outside("original") is frame
        cv2.imwrite(str(file), np.full((9, 9, 3), level, np.uint8))
        assert outside(str(file)).to_bgr().mean() == pytest.approx(level, abs=2)
    assert len(said) == 1


@pytest.mark.parametrize("value", ["#12345", "#12345g", "", "#1234567"])
def test_a_colour_that_is_none(value: str) -> None:
    with pytest.raises(OptionError, match="outside"):
        Control().change(outside=value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"area": "nobody"},
        {"outside": "#12"},
        {"outside": 5},
        {"mirror": "yes"},
        {"gallery": 5},
        {"max_latency_s": -1.0},
    ],
)
def test_a_state_that_is_none(wrong: dict[str, Any]) -> None:
    """As `Control.change` would refuse it."""
    (name,) = wrong
    for made in (LiveState, Control().change):
        with pytest.raises(OptionError, match=name):
            made(**wrong)


def test_pictures_by_their_paths(tmp_path: Path, gallery: Gallery) -> None:
    file = tmp_path / "green.png"
    cv2.imwrite(str(file), np.full((9, 16, 3), (0, 255, 0), np.uint8))
    assert LiveState(outside=file).outside == str(file)  # type: ignore[arg-type]
    choices: list[dict[str, Any]] = [
        {"area": "person", "outside": file},
        {"privacy": True, "away": file},
    ]
    for options in choices:
        out = tmp_path / "out.png"
        render(PERSON, out, gallery=gallery, tile=8, scale=0.5, overwrite=True, **options)
        picture = cv2.imread(str(out))
        assert picture is not None
        red = picture[:9, :9, 2]  # a corner of the background
        assert red.mean() < 200


def test_frames_one_by_one(gallery: Gallery) -> None:
    photo = photo_of_person(240, 240, 0, 0, 240)
    settings: dict[str, Any] = {"tile": 8, "scale": 1, "area": "person", "outside": "#000000"}
    for source in ([photo, photo], PERSON):
        picture = next(mosaic_frames(source, gallery, **settings)).to_bgr()
        assert picture[:20, :20].max() < 4
        height, width = picture.shape[:2]
        face = picture[height // 4 : height // 3, width * 2 // 5 : width // 2]
        assert face.max() > 60
    with pytest.raises(OptionError, match="nothere"):
        mosaic_frames([photo], gallery, area="person", outside="nothere.png")
    with pytest.raises(TypeError, match="privacy"):  # better than a face that is shown
        mosaic_frames([photo], gallery, privacy=True)


# ---- the program ---------------------------------------------------------------------------------


@needs_jit
def test_a_film_has_the_same_pictures_every_time(
    tmp_path: Path, gallery: Gallery, program: Program
) -> None:
    person = _person()
    frames = [replace(_moved(person, 2 * n), pts=n, duration=1) for n in range(8)]
    clips.make(tmp_path / "in.mkv", frames)
    words = ("--gallery", gallery.path, "--tile", "16", "--scale", "1", "--area", "background")
    for name in ("a.mkv", "b.mkv"):
        done = program("run", tmp_path / "in.mkv", tmp_path / name, *words, "--codec", "ffv1")
        assert done.code == 0, done.err
    assert (tmp_path / "a.mkv").stat().st_size == (tmp_path / "b.mkv").stat().st_size
    done = program("run", tmp_path / "in.mkv", tmp_path / "c.png", *words, "--preview", "0")
    assert done.code == 0, done.err
    picture, original = cv2.imread(str(tmp_path / "c.png")), frames[0].to_bgr()
    assert picture is not None
    assert np.abs(picture[30:50, 145:155].astype(int) - original[30:50, 145:155]).mean() < 8
    assert np.abs(picture[:, :50].astype(int) - original[:, :50]).mean() > 8


@needs_jit
def test_live(tmp_path: Path, gallery: Gallery, program: Program) -> None:
    clips.make(tmp_path / "in.mkv", [replace(_person(), pts=n, duration=1) for n in range(50)])
    words = ("--gallery", gallery.path, "--tile", "16", "--scale", "1", "--area", "person")
    done = program("run", tmp_path / "in.mkv", "null", "--realtime", "--json", *words)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["area"]["mosaic_mean"] < 0.95
    assert report["stages_ms"]["area"]["p50"] > 0


@pytest.mark.parametrize("freeze", [False, True])
def test_a_picture_that_stays_gets_its_mask(gallery: Gallery, freeze: bool) -> None:
    """The first frame is shown before the person was looked for, and none follows."""
    settings = MosaicSettings(tile_px=16, size=(320, 180))
    control = Control(LiveState(settings, area="person", outside="#000000", freeze=freeze))
    sink = fakes.FakeSink(latest_only=True)
    is_masked = fakes.until(lambda: sink.items and sink.items[-1].y[:, 0].max() == 16)
    first, pause = replace(_person(), time_base=1 / fakes.RATE), lambda: time.sleep(0.02)
    items: list[Any] = [first, is_masked]
    if freeze:  # the next ones are not shown
        later = (replace(first, pts=n, captured_s=n * 0.04) for n in range(1, 60))
        items = [first, *(it for frame in later for it in (pause, frame)), is_masked]
    source = fakes.FakeSource(items)
    source.info = replace(source.info, width=320, height=180)
    mosaic = Mosaic(gallery, settings)
    Pipeline(source, mosaic, [sink], realtime=True, control=control).run()
    assert len(sink.items) < 12  # painted again only until the mask is steady


def test_a_picture_that_stays_gets_what_is_outside(tmp_path: Path, gallery: Gallery) -> None:
    """A file for `outside` is read aside, while no frame comes."""
    cv2.imwrite(str(tmp_path / "white.png"), np.full((90, 160, 3), 255, np.uint8))
    settings = MosaicSettings(tile_px=16, size=(320, 180))
    control = Control(LiveState(settings, area="person", outside="#000000"))
    sink = fakes.FakeSink(latest_only=True)

    def until_it_rests_at(level: int) -> Any:
        return fakes.until(lambda: sink.items and sink.items[-1].y[:, 0].max() == level)

    def change() -> None:
        control.change(outside=str(tmp_path / "white.png"))

    first = replace(_person(), time_base=1 / fakes.RATE)
    source = fakes.FakeSource([first, until_it_rests_at(16), change, until_it_rests_at(235)])
    source.info = replace(source.info, width=320, height=180)
    Pipeline(source, Mosaic(gallery, settings), [sink], realtime=True, control=control).run()


@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_its_thread_ends_with_the_pipeline(gallery: Gallery, how: str) -> None:
    control = Control(LiveState(MosaicSettings(tile_px=8, size=fakes.SIZE), area="person"))
    sink = fakes.FakeSink(latest_only=True)
    items: list[Any] = [fakes.frame(0), fakes.until(lambda: sink.items)]
    source = fakes.FakeSource(items)
    pipeline = Pipeline(
        source, Mosaic(gallery, control.state.settings), [sink], realtime=True, control=control
    )
    items.append(getattr(pipeline, how))
    assert pipeline.run() == (how == "stop")
    assert not pipeline.stuck
    assert "livemosaic area" not in fakes.pipeline_threads()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--area", "person", "--outside", "nothere.png"), 2, "--outside nothere.png: cannot be"),
        (("--area", "person", "--outside", "green"), 2, "such as #20a060, or a picture file"),
        (("--area", "person", "--outside", "blu"), 2, "did you mean blur?"),
        (("--area", "person", "--outside", "#12"), 2, "--outside #12: must be"),
        (("--area", "face"), 2, "choose from"),
    ],
)
def test_wrong_words(
    words: tuple[str, ...], code: int, message: str, tmp_path: Path, program: Program
) -> None:
    done = program("run", "pattern:64x48@25", tmp_path / "o.mkv", "--duration", "0.2", *words)
    assert done.code == code
    assert message in done.err
    assert left(tmp_path) == []
