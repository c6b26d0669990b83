"""Text on pictures: one typeface, sizes in pixels, and panels that are readable on any picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import printable
from .colour import U8

# OpenCV 5 draws a TrueType face of its own, OpenCV 4 strokes. The scale makes the capitals of both
# about 0.7 times as high as the size, as in print.
_TRUETYPE = int(cv2.__version__.partition(".")[0]) >= 5
_FACE = cv2.FONT_HERSHEY_SIMPLEX if _TRUETYPE else cv2.FONT_HERSHEY_DUPLEX
_SCALE_PER_PX = 1 / 28 if _TRUETYPE else 1 / 31

LINE = 1.5  # from one line to the next, in sizes of the text
_BASELINE = 1.1  # from the top of a line to its baseline, in the same unit

# A panel's background lets some of the picture through, to show that there is more, and adds a dark
# grey, to be visible on black.
_ALPHA = 0.82
_GREY = 24


def text_width(text: str, px: int) -> int:
    """Width in pixels of one line of text of size `px`."""
    return int(cv2.getTextSize(_plain(text), _FACE, px * _SCALE_PER_PX, 1)[0][0])


def fitted(text: str, px: int, width: int) -> str:
    """The text; dots replace its middle where it is wider than `width` pixels."""
    if text_width(text, px) <= width:
        return text
    for length in range(len(text) - 1, 1, -1):
        shortened = f"{text[: length // 2]}...{text[len(text) - (length - length // 2) :]}"
        if text_width(shortened, px) <= width:
            return shortened
    return ""


def _plain(text: str) -> str:
    """The text as the typeface can draw it: OpenCV 4's strokes are ASCII."""
    text = printable(text)
    return text if _TRUETYPE else text.encode("ascii", "replace").decode()


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """A picture to lay over another; both arrays are (height, width, 3)."""

    alpha: U8  # opacity of each colour channel, 255 hides what is below
    colour: U8  # BGR, multiplied by `alpha` already

    @property
    def width(self) -> int:
        return int(self.colour.shape[1])

    @property
    def height(self) -> int:
        return int(self.colour.shape[0])

    def paint(self, picture: U8, left: int, top: int) -> None:
        """Lay the panel over uint8 (h, w, 3) BGR `picture` in place; parts outside are cut off."""
        x, y = max(left, 0), max(top, 0)
        below = picture[y : max(top + self.height, 0), x : max(left + self.width, 0)]
        if not below.size:
            return
        height, width = below.shape[:2]
        part = np.s_[y - top : y - top + height, x - left : x - left + width]
        mixed = cv2.multiply(below, cv2.bitwise_not(self.alpha[part]), scale=1 / 255)
        below[:] = cv2.add(mixed, self.colour[part])


class PanelCanvas:
    """Draws a panel: text and shapes on a dark translucent box with round corners, in pixels."""

    def __init__(self, width: int, height: int, *, radius: int = 0) -> None:
        self._colour: U8 = np.zeros((height, width, 3), np.uint8)
        self._mask: U8 = np.zeros((height, width), np.uint8)
        self._background = _rounded(width, height, radius)

    def text(
        self, text: str, left: int, top: int, *, px: int, colour: tuple[int, int, int]
    ) -> None:
        """Draw one line of size `px`, `colour` in BGR; `left` and `top` of its line box."""
        origin = (left, top + round(_BASELINE * px))
        for plane, value in ((self._colour, colour), (self._mask, 255)):
            cv2.putText(
                plane, _plain(text), origin, _FACE, px * _SCALE_PER_PX, value, 1, cv2.LINE_AA
            )

    def bar(
        self, left: int, top: int, width: int, height: int, *, colour: tuple[int, int, int]
    ) -> None:
        """Draw a filled rectangle."""
        for plane, value in ((self._colour, colour), (self._mask, 255)):
            plane[max(top, 0) : top + height, max(left, 0) : left + width] = value

    def dot(self, x: int, y: int, radius: int, *, colour: tuple[int, int, int]) -> None:
        """Draw a filled circle around a point."""
        for plane, value in ((self._colour, colour), (self._mask, 255)):
            cv2.circle(plane, (x, y), radius, value, cv2.FILLED, cv2.LINE_AA)

    def panel(self) -> Panel:
        """The panel as drawn so far."""
        mask = self._mask[:, :, None].astype(np.float32)
        background = self._background[:, :, None] / np.float32(255) * (1 - mask / 255)
        alpha = mask + background * 255 * _ALPHA
        colour = np.minimum(self._colour + background * _GREY, 255)
        return Panel(
            np.broadcast_to(alpha, colour.shape).round().astype(np.uint8),
            colour.round().astype(np.uint8),
        )


def _rounded(width: int, height: int, radius: int) -> U8:
    """A box with round corners as uint8 (height, width), 255 inside."""
    radius = min(radius, (width - 1) // 2, (height - 1) // 2)
    right, bottom = width - 1 - radius, height - 1 - radius
    box = np.zeros((height, width), np.uint8)
    box[:, radius : right + 1] = box[radius : bottom + 1] = 255
    for x, y in ((radius, radius), (right, radius), (radius, bottom), (right, bottom)):
        cv2.circle(box, (x, y), radius, 255, cv2.FILLED, cv2.LINE_AA)
    return box
