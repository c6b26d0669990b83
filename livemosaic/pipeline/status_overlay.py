"""A small card with a text in the middle of a picture: what every output shows meanwhile."""

from __future__ import annotations

import functools
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.frame import Frame
from ..media.text import LINE, Panel, Sheet, text_width

__all__ = ["with_status_overlay"]

U8 = NDArray[np.uint8]

# Size of the text: a part of the picture's height, read from a chair's distance, and the least
# that can be made out.
_PX_PER_HEIGHT = 1 / 22
_MIN_PX = 6
_WHITE = (255, 255, 255)
_NEUTRAL = 128  # chroma of greys


def with_status_overlay(frame: Frame, text: str) -> Frame:
    """A copy of a frame with a dark card in its middle that says `text`, in one line.

    The frame's own arrays are not changed; the times stay. A text that is too long for the picture
    is written smaller, and left out where it could not be read.
    """
    card = _card(text, frame.width, frame.height)
    # On even pixels, as chroma has half the resolution.
    left = max(0, (frame.width - card.width) // 4 * 2)
    top = max(0, (frame.height - card.height) // 4 * 2)
    keep, ink = card.keep[:, :, 0], card.ink[:, :, 0]
    low, high = (0, 255) if frame.colour.full_range else (16, 235)
    luma = np.multiply(ink, (high - low) / 255, dtype=np.float32) + np.float32(low)
    half = (card.width // 2, card.height // 2)
    keep_half = np.asarray(cv2.resize(keep, half, interpolation=cv2.INTER_AREA), np.uint8)
    return replace(
        frame,
        y=_mixed(frame.y, left, top, keep, luma, black=low),
        u=_mixed(frame.u, left // 2, top // 2, keep_half, _NEUTRAL, black=_NEUTRAL),
        v=_mixed(frame.v, left // 2, top // 2, keep_half, _NEUTRAL, black=_NEUTRAL),
    )


def _mixed(
    plane: U8, left: int, top: int, keep: U8, value: NDArray[np.float32] | int, *, black: int
) -> U8:
    """A copy of a plane with `value` laid over a part of it."""
    plane = plane.copy()
    part = plane[top : top + keep.shape[0], left : left + keep.shape[1]]
    rows, columns = part.shape
    shown = keep[:rows, :columns].astype(np.float32) / 255
    over = value[:rows, :columns] if isinstance(value, np.ndarray) else value
    part[:] = np.clip((part - np.float32(black)) * shown + over, 0, 255).round()
    return plane


@functools.lru_cache(maxsize=8)  # the same card is on every frame until the source is back
def _card(text: str, width: int, height: int) -> Panel:
    """The card for a picture of a size, of even width and height."""
    px = round(min(height, width * 9 / 16) * _PX_PER_HEIGHT)
    px = max(px, _MIN_PX)
    while px > _MIN_PX and text_width(text, px) + 3 * px > width:
        px -= 1
    text_px = text_width(text, px)
    if text_px + px > width or LINE * px > height:
        text, text_px = "", 0
    box_width = _even(min(width, text_px + 3 * px))
    box_height = _even(min(height, LINE * px + 1.6 * px))
    sheet = Sheet(box_width, box_height, radius=px // 2)
    left, top = (box_width - text_px) // 2, round((box_height - LINE * px) / 2)
    sheet.text(text, left, top, px=px, colour=_WHITE)
    return sheet.panel()


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)
