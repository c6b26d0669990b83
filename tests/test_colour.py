"""Y'CbCr and back: the standards' own numbers, rounding, sizes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livemosaic.media.colour import (
    Colour,
    Matrix,
    bgr_to_i420,
    bgr_to_ycbcr,
    i420_to_bgr,
    ycbcr_to_bgr,
)

MATRICES: tuple[Matrix, ...] = ("bt601", "bt709", "bt2020")
COLOURS = [Colour(matrix, full_range) for matrix, full_range in product(MATRICES, (False, True))]
every_colour = pytest.mark.parametrize("colour", COLOURS, ids=str)


@pytest.mark.parametrize(
    ("colour", "bgr", "ycbcr"),
    [
        # 100 % colour bars, code values of the Recommendations.
        (Colour("bt601"), (255, 255, 255), (235, 128, 128)),
        (Colour("bt601"), (0, 0, 0), (16, 128, 128)),
        (Colour("bt601"), (0, 255, 255), (210, 16, 146)),
        (Colour("bt601"), (0, 0, 255), (81, 90, 240)),
        (Colour("bt601"), (255, 0, 0), (41, 240, 110)),
        (Colour("bt709"), (0, 255, 255), (219, 16, 138)),
        (Colour("bt709"), (0, 0, 255), (63, 102, 240)),
        (Colour("bt709"), (255, 0, 0), (32, 240, 118)),
        (Colour("bt709", full_range=True), (0, 0, 255), (54, 99, 255)),
        # JFIF
        (Colour("bt601", full_range=True), (0, 0, 255), (76, 85, 255)),
        (Colour("bt601", full_range=True), (0, 255, 0), (150, 44, 21)),
    ],
)
def test_known_values(
    colour: Colour, bgr: tuple[int, int, int], ycbcr: tuple[int, int, int]
) -> None:
    made = bgr_to_ycbcr(np.array([[bgr]], np.uint8), colour)[0, 0]
    np.testing.assert_array_equal(made, ycbcr)


@every_colour
def test_there_and_back_is_within_two_levels(colour: Colour) -> None:
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    back = ycbcr_to_bgr(bgr_to_ycbcr(cube, colour), colour)
    # Limited range has 219 levels for 255; blue and red are made of luma and one chroma each.
    assert np.abs(back.astype(int) - cube).max() <= (2 if not colour.full_range else 1) + 1


@every_colour
def test_greys_have_no_colour(colour: Colour) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    ycbcr = bgr_to_ycbcr(grey, colour)
    assert (ycbcr[..., 1:] == 128).all()
    assert (np.diff(ycbcr[..., 0].ravel().astype(int)) >= 0).all()


@every_colour
@given(st.integers(1, 33), st.integers(1, 33))
def test_any_size(colour: Colour, width: int, height: int) -> None:
    y, u, v = bgr_to_i420(np.full((height, width, 3), (40, 90, 200), np.uint8), colour)
    assert y.shape == (height, width)
    assert u.shape == v.shape == ((height + 1) // 2, (width + 1) // 2)
    bgr = i420_to_bgr(y, u, v, colour)
    assert bgr.shape == (height, width, 3)
    assert np.abs(bgr.astype(int) - (40, 90, 200)).max() <= 3


def test_chroma_is_the_mean_of_four() -> None:
    bgr = np.zeros((2, 2, 3), np.uint8)
    bgr[0, 0] = 255, 0, 0
    full = bgr_to_ycbcr(bgr, Colour()).astype(int)
    _, u, v = bgr_to_i420(bgr, Colour())
    assert abs(u[0, 0] - full[..., 1].mean()) <= 0.5
    assert abs(v[0, 0] - full[..., 2].mean()) <= 0.5


def test_opencv_agrees_about_bt601() -> None:
    """OpenCV knows one matrix, limited BT.601, which is a check from outside."""
    import cv2

    rng = np.random.default_rng(0)
    bgr = rng.integers(0, 256, (32, 32, 3), np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    planes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    y, u, v = bgr_to_i420(bgr, Colour("bt601"))
    assert np.abs(planes[:64].astype(int) - y).max() <= 1
    chroma = planes[64:].reshape(2, 32, 32).astype(int)
    assert np.abs(chroma - np.stack([u, v])).max() <= 1
