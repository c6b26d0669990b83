"""A moving test picture that needs no file."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, product

import numpy as np

from ..errors import UsageError
from ..media.colour import U8, Colour, Planes, bgr_to_ycbcr
from ..media.ffmpeg import guess_matrix
from ..media.frame import Frame, StreamInfo
from ..parse import HIGHEST_RATE, LOWEST_RATE, rate
from .base import Source, SourceOptions

_SPEC = re.compile(
    r"pattern(?::(?P<width>\d{1,9})x(?P<height>\d{1,9}))?(?:@(?P<rate>\d+(?:[./]\d+)?))?"
)
_MAX_SIDE = 16384  # pixels; the limit of H.264 encoders and of OpenCV's remapping

# BGR bars of 75 % amplitude, white to black as in SMPTE RP 219: green changes once, red in each
# half, blue from bar to bar.
_BARS = np.array([(b, g, r) for g, r, b in product((191, 0), repeat=3)], np.uint8)
_DISC = np.array([[(40, 120, 255)]], np.uint8)  # orange, unlike all bars
_CROSSING = 120  # frames


class PatternSource(Source):
    """Colour bars over a grey ramp, with a disc crossing them; live and endless.

    Frame n comes at n / rate seconds, as from a camera. It depends on `spec` and n only, so it is
    the same on every machine. `spec` is `pattern`, `pattern:WxH` or `pattern:WxH@FPS`; 1280x720 at
    30 by default.
    """

    def __init__(self, spec: str = "pattern") -> None:
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise UsageError(f"{spec}: not a test picture; write pattern:1280x720@30")
        width, height = int(match["width"] or 1280), int(match["height"] or 720)
        if not (16 <= width <= _MAX_SIDE and 16 <= height <= _MAX_SIDE) or (width | height) & 1:
            raise UsageError(f"{spec}: width and height must be even, and 16 to {_MAX_SIDE}")
        try:
            fps = rate(match["rate"] or "30")
        except (ValueError, ZeroDivisionError):
            raise UsageError(
                f"{spec}: the rate must be from {float(LOWEST_RATE):g} to "
                f"{float(HIGHEST_RATE):g} frames/s"
            ) from None
        self.name = spec
        matrix = guess_matrix(width, height)
        self.info = StreamInfo(
            width, height, rate=fps, time_base=1 / fps, colour=Colour(matrix=matrix), live=True
        )
        self._interrupted = threading.Event()
        self._still = self._draw_still()
        self._disc = bgr_to_ycbcr(_DISC, self.info.colour)[0, 0]

    def __iter__(self) -> Iterator[Frame]:
        began = time.monotonic()
        for number in count():
            frame = self.frame(number)
            if self._interrupted.wait(max(0.0, began + frame.time_s - time.monotonic())):
                return
            yield replace(frame, captured_s=time.monotonic())

    def interrupt(self) -> None:
        self._interrupted.set()

    def frame(self, number: int) -> Frame:
        """The frame `number`, counted from 0."""
        width, height = self.info.width, self.info.height
        y, u, v = (plane.copy() for plane in self._still)
        radius = min(width, height) // 8
        span = width - 2 * radius
        step = number % (2 * _CROSSING)
        x = radius + span * min(step, 2 * _CROSSING - step) // _CROSSING
        for plane, value, factor in zip((y, u, v), self._disc, (1, 2, 2), strict=True):
            _fill_disc(plane, x // factor, height // 2 // factor, radius // factor, value)
        return Frame(
            y, u, v, self.info.colour, pts=number, time_base=self.info.time_base, duration=1
        )

    def _draw_still(self) -> Planes:
        width, height = self.info.width, self.info.height
        row = bgr_to_ycbcr(_BARS[None, np.arange(width) * len(_BARS) // width], self.info.colour)
        y, u, v = (np.repeat(row[:, :, i], height, axis=0) for i in range(3))
        ramp = height * 3 // 4 & ~1
        y[ramp:] = np.linspace(16, 235, width).round().astype(np.uint8)
        u[ramp:] = v[ramp:] = 128
        # A chroma sample is that of its left column, so that the bars' edges stay in place.
        return y, u[::2, ::2], v[::2, ::2]


def open_input(spec: str, options: SourceOptions) -> PatternSource:
    return PatternSource(spec)


def _fill_disc(plane: U8, x: int, y: int, radius: int, value: np.uint8) -> None:
    top, left = y - radius, x - radius
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    box = plane[max(top, 0) : y + radius + 1, max(left, 0) : x + radius + 1]
    inside = rows**2 + columns**2 <= radius**2
    inside = inside[max(-top, 0) :, max(-left, 0) :][: box.shape[0], : box.shape[1]]
    box[inside] = value
