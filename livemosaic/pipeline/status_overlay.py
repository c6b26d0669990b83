"""The status overlay: a text in the middle of the picture, for every output."""

from __future__ import annotations

import functools
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.frame import Frame, even
from ..media.text import LINE, Panel, PanelCanvas, text_width

__all__ = ["with_status_overlay"]

U8 = NDArray[np.uint8]

# Size of the text: a share of the picture's height that is readable from a chair, and a minimum.
_PX_PER_HEIGHT = 1 / 22
_MIN_PX = 6
_WHITE = (255, 255, 255)
_NEUTRAL = 128  # chroma of greys


def with_status_overlay(frame: Frame, text: str) -> Frame:
    """A copy of a frame with one line of text on a dark panel in its middle.

    Times and the frame's own arrays stay. A long text is written smaller; one that would not be
    readable is left out.
    """
    panel = _panel(text, frame.width, frame.height)
    # On even pixels, as chroma has half the resolution.
    left = max(0, (frame.width - panel.width) // 4 * 2)
    top = max(0, (frame.height - panel.height) // 4 * 2)
    alpha, grey = panel.alpha[:, :, 0], panel.colour[:, :, 0]
    black, white = (0, 255) if frame.colour.full_range else (16, 235)
    luma = np.multiply(grey, (white - black) / 255, dtype=np.float32) + np.float32(black)
    half = (panel.width // 2, panel.height // 2)
    alpha_half = np.asarray(cv2.resize(alpha, half, interpolation=cv2.INTER_AREA), np.uint8)
    return replace(
        frame,
        y=_blended(frame.y, left, top, alpha, luma, black=black),
        u=_blended(frame.u, left // 2, top // 2, alpha_half, _NEUTRAL, black=_NEUTRAL),
        v=_blended(frame.v, left // 2, top // 2, alpha_half, _NEUTRAL, black=_NEUTRAL),
    )


def _blended(
    plane: U8, left: int, top: int, alpha: U8, value: NDArray[np.float32] | int, *, black: int
) -> U8:
    """A copy of a plane with `value` laid over a part of it."""
    plane = plane.copy()
    part = plane[top : top + alpha.shape[0], left : left + alpha.shape[1]]
    rows, columns = part.shape
    below = 1 - alpha[:rows, :columns].astype(np.float32) / 255
    over = value[:rows, :columns] if isinstance(value, np.ndarray) else value
    part[:] = np.clip((part - np.float32(black)) * below + over, 0, 255).round()
    return plane


@functools.lru_cache(maxsize=8)  # the same panel is on every frame until the source is back
def _panel(text: str, width: int, height: int) -> Panel:
    """The panel for a picture of a size, of even width and height."""
    px = max(round(min(height, width * 9 / 16) * _PX_PER_HEIGHT), _MIN_PX)
    while px > _MIN_PX and text_width(text, px) + 3 * px > width:
        px -= 1
    text_px = text_width(text, px)
    if text_px + px > width or LINE * px > height:
        text, text_px = "", 0
    canvas_width = even(min(width, text_px + 3 * px))
    canvas_height = even(min(height, LINE * px + 1.6 * px))
    canvas = PanelCanvas(canvas_width, canvas_height, radius=px // 2)
    left, top = (canvas_width - text_px) // 2, round((canvas_height - LINE * px) / 2)
    canvas.text(text, left, top, px=px, colour=_WHITE)
    return canvas.panel()
