"""Text on pictures: one face, sizes in pixels, and boxes that are readable on any picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["LINE", "Panel", "Sheet", "fitted", "text_width"]

U8 = NDArray[np.uint8]

# OpenCV 5 draws a TrueType face that it has inside, OpenCV 4 strokes. The scale makes capitals of
# both about 0.7 as high as the size says, as in print.
_TRUETYPE = int(cv2.__version__.partition(".")[0]) >= 5
_FACE = cv2.FONT_HERSHEY_SIMPLEX if _TRUETYPE else cv2.FONT_HERSHEY_DUPLEX
_SCALE_PER_PX = 1 / 28 if _TRUETYPE else 1 / 31

LINE = 1.5  # from one line to the next, in sizes of the text
_BASELINE = 1.1  # from the top of a line to the foot of its letters, in the same

# A box: this much of the picture shines through, so that it is seen that there is more, and a dark
# grey is added, so that the box stands out from black too.
_THROUGH = 0.18
_GREY = 24


def text_width(text: str, px: int) -> int:
    """Width in pixels of one line of text of size `px`."""
    return int(cv2.getTextSize(_plain(text), _FACE, px * _SCALE_PER_PX, 1)[0][0])


def fitted(text: str, px: int, width: int) -> str:
    """The text, with dots for its middle if it is wider than `width` pixels."""
    if text_width(text, px) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"
        if text_width(shorter, px) <= width:
            return shorter
    return ""


def _plain(text: str) -> str:
    """What the face can draw: OpenCV 4's strokes are ASCII."""
    return text if _TRUETYPE else text.encode("ascii", "replace").decode()


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture to lay over another.

    Attributes
    ----------
    keep : uint8 (height, width, 3), how much of what is below stays, 255 is all
    ink : uint8 (height, width, 3) BGR, added to it
    """

    keep: U8
    ink: U8

    @property
    def width(self) -> int:
        return int(self.ink.shape[1])

    @property
    def height(self) -> int:
        return int(self.ink.shape[0])

    def paint(self, canvas: U8, left: int, top: int) -> None:
        """Lay it over uint8 (h, w, 3) BGR `canvas`, in place; what sticks out is cut."""
        x, y = max(left, 0), max(top, 0)
        below = canvas[y : max(top + self.height, 0), x : max(left + self.width, 0)]
        if not below.size:
            return
        height, width = below.shape[:2]
        rows, columns = slice(y - top, y - top + height), slice(x - left, x - left + width)
        mixed = cv2.multiply(below, self.keep[rows, columns], scale=1 / 255)
        below[:] = cv2.add(mixed, self.ink[rows, columns])


class Sheet:
    """A panel in the making: a dark translucent box with round corners to draw on.

    Parameters
    ----------
    width, height : in pixels
    radius : of the corners
    """

    def __init__(self, width: int, height: int, *, radius: int = 0) -> None:
        self._ink: U8 = np.zeros((height, width, 3), np.uint8)
        self._mask: U8 = np.zeros((height, width), np.uint8)
        self._box = _rounded(width, height, radius)

    def text(
        self, text: str, left: int, top: int, *, px: int, colour: tuple[int, int, int]
    ) -> None:
        """Draw one line of size `px`, `colour` in BGR; `left` and `top` of its line box."""
        foot = (left, top + round(_BASELINE * px))
        for plane, value in ((self._ink, colour), (self._mask, 255)):
            cv2.putText(plane, _plain(text), foot, _FACE, px * _SCALE_PER_PX, value, 1, cv2.LINE_AA)

    def bar(
        self, left: int, top: int, width: int, height: int, *, colour: tuple[int, int, int]
    ) -> None:
        """Draw a filled rectangle."""
        for plane, value in ((self._ink, colour), (self._mask, 255)):
            plane[max(top, 0) : top + height, max(left, 0) : left + width] = value

    def dot(self, x: int, y: int, radius: int, *, colour: tuple[int, int, int]) -> None:
        """Draw a filled circle around a point."""
        for plane, value in ((self._ink, colour), (self._mask, 255)):
            cv2.circle(plane, (x, y), radius, value, cv2.FILLED, cv2.LINE_AA)

    def panel(self) -> Panel:
        """What was drawn, on the box."""
        box = self._box[:, :, None].astype(np.float32) / 255
        clear = 1 - self._mask[:, :, None].astype(np.float32) / 255
        keep = clear * (box * _THROUGH + (1 - box)) * 255
        ink = np.minimum(self._ink + clear * box * _GREY, 255)
        return Panel(
            np.broadcast_to(keep, ink.shape).round().astype(np.uint8),
            ink.round().astype(np.uint8),
        )


def _rounded(width: int, height: int, radius: int) -> U8:
    """A box with round corners as uint8 (height, width), 255 inside."""
    radius = min(radius, width // 2, height // 2)
    box = np.full((height, width), 255, np.uint8)
    if radius > 0:
        # One corner, four times as large so that its edge is smooth when it is shrunk.
        corner = np.zeros((4 * radius, 4 * radius), np.uint8)
        cv2.circle(corner, (4 * radius, 4 * radius), 4 * radius, 255, cv2.FILLED)
        quarter = cv2.resize(corner, (radius, radius), interpolation=cv2.INTER_AREA)
        box[:radius, :radius] = quarter
        box[:radius, -radius:] = quarter[:, ::-1]
        box[-radius:, :radius] = quarter[::-1]
        box[-radius:, -radius:] = quarter[::-1, ::-1]
    return box
