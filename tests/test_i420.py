"""Pictures of another size or shape than the first one's, and of wide colours."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from livemosaic.media.ffmpeg import av, picture_filter
from livemosaic.sources import i420
from livemosaic.sources.i420 import Converter, fit


def bright(width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture of Y = 200, Cb = 90, Cr = 160."""
    half = ((height + 1) // 2, (width + 1) // 2)
    return (
        np.full((height, width), 200, np.uint8),
        np.full(half, 90, np.uint8),
        np.full(half, 160, np.uint8),
    )


@pytest.mark.parametrize(
    ("given", "into", "aspect", "box"),
    [
        ((80, 48), (160, 96), 1, (0, 0, 160, 96)),  # the same shape
        ((320, 192), (160, 96), 1, (0, 0, 160, 96)),
        ((100, 100), (160, 80), 1, (40, 0, 80, 80)),  # bars at the sides
        ((200, 100), (80, 80), 1, (0, 20, 80, 40)),  # above and below
        ((100, 100), (160, 80), 2, (0, 0, 160, 80)),  # wide pixels
        ((1000, 2), (64, 64), 1, (0, 30, 64, 2)),  # never nothing
        ((33, 17), (17, 33), 1, (0, 12, 17, 8)),  # odd sizes
    ],
)
@pytest.mark.parametrize("full_range", [False, True])
def test_fit(
    given: tuple[int, int],
    into: tuple[int, int],
    aspect: int,
    box: tuple[int, int, int, int],
    full_range: bool,
) -> None:
    y, u, v = fit(bright(*given), into, full_range=full_range, aspect=Fraction(aspect))
    left, top, width, height = box
    wanted = np.full(into[::-1], 0 if full_range else 16)
    wanted[top : top + height, left : left + width] = 200
    assert (y == wanted).all()
    for plane, colour in ((u, 90), (v, 160)):
        wanted = np.full(((into[1] + 1) // 2, (into[0] + 1) // 2), 128)
        wanted[top // 2 : top // 2 + (height + 1) // 2, left // 2 :][:, : (width + 1) // 2] = colour
        assert (plane == wanted).all()


@pytest.mark.slow
def test_the_tables_of_wide_colours_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes seconds: for opaque pictures with alpha, one; where some are transparent, two."""
    made: list[object] = []

    def make(*arguments: Any) -> Any:
        made.append(arguments)
        return picture_filter(*arguments)

    monkeypatch.setattr(i420, "picture_filter", make)

    def picture(alpha: int) -> av.VideoFrame:
        planes = np.full((4, 48, 64), 500, np.uint16)
        planes[3] = alpha
        frame = av.VideoFrame(64, 48, "yuva444p10le")
        for plane, samples in zip(frame.planes, planes, strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint16).reshape(48, -1)
            rows[:, :64] = samples
        frame.color_primaries, frame.color_trc, frame.colorspace = 12, 1, 9
        return frame

    converter = Converter(picture(1023))
    for alpha, tables in ((1023, 1), (1023, 1), (300, 2), (1023, 2), (300, 2)):
        converter(picture(alpha))
        assert len(made) == tables


@pytest.mark.parametrize("name", ["yuv440p", "yuv410p", "yuv444p16le", "yuva444p10le"])
def test_ycgco_of_any_pixel_format(name: str) -> None:
    """A colour in YCgCo, of which FFmpeg's filter takes few formats."""
    expected = Converter(_ycgco("yuv444p"))(_ycgco("yuv444p"))
    frame = _ycgco(name)
    for plane, wanted in zip(Converter(frame)(frame), expected, strict=True):
        assert np.abs(plane.astype(int) - wanted[0, 0]).max() <= 1


def _ycgco(name: str) -> av.VideoFrame:
    frame = av.VideoFrame(64, 48, name)
    for plane, part, level in zip(
        frame.planes, frame.format.components, (120, 100, 150, 255), strict=False
    ):
        kind = np.uint8 if part.bits == 8 else np.uint16
        top = 255 << (part.bits - 8)
        value = top | ((1 << (part.bits - 8)) - 1) if level == 255 else level << (part.bits - 8)
        np.frombuffer(memoryview(plane), kind)[:] = value
    frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = 1, 1, 8, 1
    return frame
