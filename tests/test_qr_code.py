"""QR codes as pixels, SVG and text: each is read again by another library."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.media.qr_code import QUIET, qr_lines, qr_pixels, qr_svg

from .qr_reader import read_qr

U8 = NDArray[np.uint8]

ADDRESS = "http://192.168.178.123:8080/upload?token=a1B_a1B_a1B_a1B_a1B_xy"


@pytest.mark.parametrize("text", [ADDRESS, "http://[fd00::5]:1/upload?token=0123456789abcdef"])
def test_pixels(text: str) -> None:
    pixels = qr_pixels(text)
    assert read_qr(pixels.repeat(8, axis=0).repeat(8, axis=1)) == text
    edge = pixels.copy()
    edge[QUIET:-QUIET, QUIET:-QUIET] = 255
    assert edge.min() == 255


def test_svg_has_the_same_code_and_no_foreign_address() -> None:
    svg = qr_svg(ADDRESS).decode()
    side = len(qr_pixels(ADDRESS))
    assert f'viewBox="0 0 {side} {side}"' in svg
    assert set(re.findall(r"https?://[^\"]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert "style" not in svg


def test_text_for_a_dark_terminal() -> None:
    """Each character is two modules, of which the light ones are drawn."""
    halves = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}
    lines = qr_lines(ADDRESS)
    rows = [[halves[sign][half] for sign in line] for line in lines for half in (0, 1)]
    pixels = qr_pixels(ADDRESS)
    assert np.array_equal(np.array(rows, np.uint8)[: len(pixels)], pixels)
