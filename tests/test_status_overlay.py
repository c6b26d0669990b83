"""The text that every output shows while the source is away."""

from __future__ import annotations

import numpy as np
import pytest

from livemosaic.media.colour import Colour
from livemosaic.media.frame import Frame
from livemosaic.pipeline.status_overlay import card_picture, with_status_overlay

SIZES = [(1280, 720), (321, 201), (64, 48), (17, 9), (2000, 11), (9, 2000), (2, 2), (1, 1)]


def grey(width: int, height: int, value: int, **fields: object) -> Frame:
    """A grey frame, its rows padded as decoders pad them."""
    half = ((height + 1) // 2, (width + 1) // 2)
    y = np.full((height, width + 32), value, np.uint8)[:, :width]
    u, v = np.full((2, half[0], half[1] + 16), 90, np.uint8)[:, :, : half[1]]
    return Frame(y, u, v, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_sizes_stay_and_the_frame_is_left_alone(width: int, height: int) -> None:
    frame = grey(width, height, 100)
    for plane in (frame.y, frame.u, frame.v):
        plane.flags.writeable = False
    result = with_status_overlay(frame, "reconnecting")
    for before, after in zip(
        (frame.y, frame.u, frame.v), (result.y, result.u, result.v), strict=True
    ):
        assert after.shape == before.shape
        assert after.dtype == np.uint8
        assert not np.shares_memory(before, after)


def test_times_and_original_stay() -> None:
    original = grey(32, 18, 7)
    frame = grey(640, 360, 100, pts=12, duration=3, captured_s=5.5, original=original)
    result = with_status_overlay(frame, "reconnecting")
    assert (result.pts, result.duration, result.captured_s) == (12, 3, 5.5)
    assert result.original is original


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("value", [16, 128, 235])
def test_it_is_readable_in_the_middle_of_any_picture(value: int, full_range: bool) -> None:
    """Nearly white on nearly black, whatever is below, and nothing changes around it."""
    frame = grey(640, 360, value, colour=Colour(full_range=full_range))
    result = with_status_overlay(frame, "reconnecting")
    rows, columns = np.nonzero(result.y != frame.y)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(180, abs=2)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(320, abs=2)
    assert np.ptp(rows) < 60
    assert np.ptp(columns) < 320
    box = result.y[rows.min() + 3 : rows.max() - 2, columns.min() + 8 : columns.max() - 7]
    black, white = (0, 255) if full_range else (16, 235)
    text = box > black + 0.85 * (white - black)
    assert 0.03 < text.mean() < 0.4
    assert np.median(box) < black + 0.35 * (white - black)
    assert box.max() <= white


def test_colour_fades_under_the_panel() -> None:
    frame = grey(640, 360, 128)
    result = with_status_overlay(frame, "reconnecting")
    assert abs(int(result.u[90, 160]) - 128) < 12 < abs(int(frame.u[90, 160]) - 128)
    np.testing.assert_array_equal(result.u[:60], frame.u[:60])


def test_the_text_is_there() -> None:
    frame = grey(640, 360, 128)
    one, other = (
        with_status_overlay(frame, "reconnecting"),
        with_status_overlay(frame, "no picture yet"),
    )
    assert (one.y != other.y).any()
    np.testing.assert_array_equal(one.y, with_status_overlay(frame, "reconnecting").y)


def test_a_long_text_is_written_smaller() -> None:
    frame = grey(400, 300, 16)
    text = "rtsp://camera.example.org/a/long/path: reconnecting"
    columns = np.nonzero((with_status_overlay(frame, text).y != frame.y).any(axis=0))[0]
    assert 200 < np.ptp(columns) < 400


@pytest.mark.parametrize(
    "size", [(160, 120), (120, 1000), (2000, 64), (1280, 720), (5120, 2880), (2, 2)]
)
@pytest.mark.parametrize("full_range", [False, True])
def test_a_card_fits_its_size(size: tuple[int, int], full_range: bool) -> None:
    colour = Colour("bt601", full_range=full_range)
    card = card_picture(
        "The camera is off\nIt starts when a program shows this picture", size, colour
    )
    assert (card.width, card.height) == size
    assert card.colour == colour
    ground = int(np.median(card.y))
    lit = np.argwhere(card.y > ground + 60)
    assert len(lit) > 0 or size == (2, 2)
    assert len(lit) < 0.15 * card.y.size
    for axis, side in ((0, card.height), (1, card.width)):  # in the middle
        if len(lit):
            first, last = lit[:, axis].min(), side - 1 - lit[:, axis].max()
            assert min(first, last) > 0
            assert abs(int(first) - int(last)) < 0.1 * side
