"""The picture of a window, as pixels."""

from __future__ import annotations

import weakref
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.media.colour import Colour
from livemosaic.media.frame import Frame
from livemosaic.media.text import Panel
from livemosaic.window.canvas import Canvas

U8 = NDArray[np.uint8]

# Of the four quarters: red, green, blue, white, in BGR.
COLOURS = np.array([(40, 40, 200), (40, 180, 40), (200, 60, 40), (225, 225, 225)], np.uint8)


def quarters(width: int, height: int) -> U8:
    return np.asarray(
        cv2.resize(COLOURS.reshape(2, 2, 3), (width, height), interpolation=cv2.INTER_NEAREST)
    )


def picture_box(canvas: Canvas) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is not black."""
    return cv2.boundingRect(canvas.pixels.max(axis=2))  # type: ignore[return-value]


def box_panel(width: int, height: int, colour: int) -> Panel:
    pixels = np.full((height, width, 3), colour, np.uint8)
    return Panel(np.full_like(pixels, 255), pixels)


@pytest.mark.parametrize("colour", [Colour("bt601"), Colour("bt709", full_range=True)])
@pytest.mark.parametrize(
    ("source", "window", "box"),
    [
        ((640, 360), (640, 360), (0, 0, 640, 360)),
        ((640, 360), (320, 180), (0, 0, 320, 180)),
        ((640, 360), (150, 400), (0, 158, 150, 84)),
        ((640, 360), (800, 200), (222, 0, 356, 200)),
        ((641, 359), (1283, 719), (0, 0, 1283, 719)),
        ((640, 360), (8, 1), (3, 0, 2, 1)),
    ],
)
def test_a_picture_is_fitted_with_bars(
    source: tuple[int, int],
    window: tuple[int, int],
    box: tuple[int, int, int, int],
    colour: Colour,
) -> None:
    canvas = Canvas(*window, aspect=Fraction(source[0], source[1]))
    assert canvas.draw(Frame.from_bgr(quarters(*source), colour=colour))
    assert (canvas.width, canvas.height) == window
    assert picture_box(canvas) == pytest.approx(box, abs=1)
    left, top, width, height = box
    if height < 4:
        return
    for number, expected in enumerate(COLOURS):
        x, y = (
            left + width * (1 + 2 * (number % 2)) // 4,
            top + height * (1 + 2 * (number // 2)) // 4,
        )
        np.testing.assert_allclose(canvas.pixels[y, x], expected, atol=4)


def test_detail_is_averaged_and_not_skipped() -> None:
    """A picture of single dark and light pixels is grey when it is smaller."""
    board = np.indices((360, 640)).sum(axis=0) % 2 * 200
    canvas = Canvas(160, 90, aspect=Fraction(16, 9))
    canvas.draw(Frame.from_bgr(np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)))
    np.testing.assert_allclose(canvas.pixels, 100, atol=6)


# ---- the same picture again --------------------------------------------------------------


def test_the_same_picture_is_not_drawn_again() -> None:
    canvas = Canvas(64, 36, aspect=Fraction(16, 9))
    frame = Frame.from_bgr(quarters(64, 36))
    assert canvas.draw(frame)
    assert not canvas.draw(frame)
    # Still pictures are handed on as new arrays in the same memory.
    assert not canvas.draw(replace(frame, y=frame.y[:], u=frame.u[:], v=frame.v[:], pts=1))
    assert canvas.draw(replace(frame, y=frame.y.copy()))


def test_memory_that_is_used_again_is_another_picture() -> None:
    """A mosaic paints into the memory of a picture that nothing refers to."""
    canvas = Canvas(64, 36, aspect=Fraction(16, 9))
    memory = bytearray(64 * 36)
    _, u, v = (np.full(s, 128, np.uint8) for s in ((36, 64), (18, 32), (18, 32)))
    for value in (50, 200):
        y = np.frombuffer(memory, np.uint8).reshape(36, 64)
        y[:] = value
        assert canvas.draw(Frame(y, u, v, Colour(full_range=True)))
        np.testing.assert_allclose(canvas.pixels, value, atol=1)
        del y


def test_the_frame_is_not_kept() -> None:
    canvas = Canvas(64, 36, aspect=Fraction(16, 9))
    frame = Frame.from_bgr(quarters(64, 36))
    planes = [weakref.ref(plane) for plane in (frame.y, frame.u, frame.v)]
    canvas.draw(frame)
    del frame
    assert [plane() for plane in planes] == [None] * 3


# ---- panels ------------------------------------------------------------------------------


def test_panels_come_off_without_a_trace() -> None:
    canvas = Canvas(128, 72, aspect=Fraction(16, 9))
    canvas.draw(Frame.from_bgr(quarters(128, 72)))
    before = canvas.pixels.copy()
    for left, top in ((5, 5), (20, 10), (-4, 60), (120, 70), (500, 500)):
        canvas.cover(box_panel(30, 12, 99), left, top)
    assert (canvas.pixels != before).any()
    canvas.uncover()
    np.testing.assert_array_equal(canvas.pixels, before)
    canvas.uncover()
    np.testing.assert_array_equal(canvas.pixels, before)


def test_a_new_picture_replaces_what_was_over_the_old() -> None:
    canvas = Canvas(128, 128, aspect=Fraction(16, 9))
    canvas.draw(Frame.from_bgr(quarters(128, 72)))
    canvas.cover(box_panel(100, 100, 99), 5, 5)
    canvas.draw(Frame.from_bgr(np.full((72, 128, 3), 200, np.uint8)))
    np.testing.assert_allclose(canvas.pixels[28:100], 200, atol=2)
    assert canvas.pixels[:28].max() == canvas.pixels[100:].max() == 0


def test_another_size_keeps_the_picture_and_drops_panels() -> None:
    canvas = Canvas(128, 72, aspect=Fraction(16, 9))
    canvas.draw(Frame.from_bgr(quarters(128, 72)))
    canvas.cover(box_panel(100, 60, 99), 5, 5)
    other = canvas.resized(300, 300)
    assert picture_box(other) == pytest.approx((0, 65, 300, 169), abs=1)
    np.testing.assert_allclose(other.pixels[100, 70], COLOURS[0], atol=4)
    np.testing.assert_allclose(other.pixels[200, 230], COLOURS[3], atol=4)


def test_the_original_goes_into_the_corner_of_the_picture() -> None:
    canvas = Canvas(400, 400, aspect=Fraction(16, 9))
    canvas.draw(Frame.from_bgr(np.full((90, 160, 3), 30, np.uint8)))
    before = canvas.pixels.copy()
    canvas.cover_corner(canvas.corner(Frame.from_bgr(quarters(320, 180))), margin=10)
    left, top, width, height = cv2.boundingRect(
        (canvas.pixels != before).max(axis=2).astype(np.uint8)
    )
    assert (width, height) == (100, 56)
    assert left + width == 400 - 10
    assert top + height == pytest.approx(400 - 87 - 10, abs=1)
    np.testing.assert_allclose(canvas.pixels[top + 14, left + 25], COLOURS[0], atol=4)
    np.testing.assert_allclose(canvas.pixels[top + 42, left + 75], COLOURS[3], atol=4)
