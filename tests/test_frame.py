"""Frames as values."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from livemosaic.errors import UsageError
from livemosaic.media.colour import Colour
from livemosaic.media.frame import Frame


def test_from_bgr_and_back() -> None:
    bgr = np.full((12, 20, 3), (10, 120, 230), np.uint8)
    colour = Colour("bt601", full_range=True)
    frame = Frame.from_bgr(bgr, colour=colour, pts=7, time_base=Fraction(1, 30), captured_s=1.5)
    assert (frame.width, frame.height) == (20, 12)
    assert frame.colour is colour
    assert frame.time_s == pytest.approx(7 / 30)
    assert np.abs(frame.to_bgr().astype(int) - bgr).max() <= 1


def test_a_plane_that_is_none_is_named() -> None:
    plane: Any = np.zeros((4, 4), np.uint8)
    with pytest.raises(UsageError, match="u: it is NoneType;"):
        Frame(plane, None, plane)  # type: ignore[arg-type]


def test_odd_sizes() -> None:
    frame = Frame.from_bgr(np.zeros((5, 3, 3), np.uint8))
    assert frame.u.shape == frame.v.shape == (3, 2)
    assert frame.to_bgr().shape == (5, 3, 3)


def test_another_picture_keeps_times_and_colour() -> None:
    frame = Frame.from_bgr(
        np.zeros((4, 4, 3), np.uint8), colour=Colour("bt2020"), pts=3, duration=2, captured_s=9.0
    )
    plane = np.ones((8, 8), np.uint8)
    other = frame.with_picture(plane, plane[:4, :4], plane[:4, :4])
    assert other.y is plane
    for name in ("colour", "pts", "time_base", "duration", "captured_s"):
        assert getattr(other, name) == getattr(frame, name)


def test_frames_do_not_change() -> None:
    frame = Frame.from_bgr(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.pts = 1  # type: ignore[misc]


def test_a_pixelated_picture_has_nothing_fine_in_it() -> None:
    rng = np.random.default_rng(0)
    frame = Frame.from_bgr(rng.integers(0, 256, (90, 161, 3), np.uint8), pts=5)
    pixelated = frame.pixelated()
    assert (pixelated.y.shape, pixelated.u.shape, pixelated.pts) == (
        frame.y.shape,
        frame.u.shape,
        5,
    )
    assert abs(pixelated.y.mean() - frame.y.mean()) < 2
    # It is smooth: 16 pixels across, and straight between them.
    assert np.abs(np.diff(pixelated.y.astype(int), axis=1)).max() <= 6 < np.ptp(pixelated.y)


def test_a_pixelated_picture_has_no_sharp_outline() -> None:
    alpha = np.zeros((96, 160), np.uint8)
    alpha[20:80, 50:90] = 255
    frame = Frame.from_bgr(np.full((96, 160, 3), 90, np.uint8))
    pixelated = dataclasses.replace(frame, alpha=alpha).pixelated().alpha
    assert pixelated is not None
    assert pixelated.shape == alpha.shape
    assert np.abs(np.diff(pixelated.astype(int))).max() < 30


@pytest.mark.parametrize("size", [(2, 2), (16, 300), (7, 5)])
def test_a_small_picture_can_be_pixelated(size: tuple[int, int]) -> None:
    width, height = size
    pixelated = Frame.from_bgr(np.full((height, width, 3), 90, np.uint8)).pixelated()
    assert pixelated.y.shape == (height, width)
    assert np.ptp(pixelated.y) == 0


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (None, "cv2.imread gives None"),
        ([[1, 2, 3]], "not list"),
        (np.zeros((4, 4, 3), np.float32), "what is float32"),
        (np.zeros((4, 4, 3), np.uint16), "what is uint16"),
        (np.zeros((4, 4), np.uint8), r"what is uint8 \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"what is uint8 \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"what is uint8 \(0, 4, 3\)"),
    ],
    ids=str,
)
def test_what_is_no_picture_is_refused(picture: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Frame.from_bgr(picture)
