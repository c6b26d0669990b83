"""The status overlay: a text in the middle of the picture, for every output; and cards."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from ..media.colour import Colour, bgr_to_i420, i420_to_bgr
from ..media.frame import Frame, even
from ..media.text import LINE, Panel, PanelCanvas, text_width

# Size of the text: a share of the picture's height that is readable from a chair, and a minimum.
_PX_PER_HEIGHT = 1 / 22
_MIN_PX = 6
_WHITE, _GREY = (255, 255, 255), (190, 190, 190)
_DARK = (40, 36, 32)  # the ground of a card

_SMALLER = 0.6  # the text of a card below its title
_FILLED = 0.9  # of a card's width, at most


def with_status_overlay(frame: Frame, text: str) -> Frame:
    """A copy of a frame with one line of text on a dark panel in its middle.

    Times and the frame's own arrays stay. A long text is written smaller; one that would not be
    readable is left out.
    """
    panel = _panel(text, frame.width, frame.height)
    # On even pixels, as chroma has half the resolution.
    left = max(0, (frame.width - panel.width) // 4 * 2)
    top = max(0, (frame.height - panel.height) // 4 * 2)
    planes = (frame.y.copy(), frame.u.copy(), frame.v.copy())
    parts = [
        plane[top // n : (top + panel.height) // n, left // n : (left + panel.width) // n]
        for plane, n in zip(planes, (1, 2, 2), strict=True)
    ]
    below = i420_to_bgr(parts[0], parts[1], parts[2], frame.colour)
    panel.paint(below, 0, 0)
    for part, plane in zip(parts, bgr_to_i420(below, frame.colour), strict=True):
        part[:] = plane
    y, u, v = planes
    return replace(frame, y=y, u=u, v=v)


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


@functools.lru_cache(maxsize=4)
def card_picture(text: str, size: tuple[int, int], colour: Colour) -> Frame:
    """A card: lines in the middle of a dark picture of `size`, the first of them as a title.

    The lines are written as large as all of them fit.
    """
    width, height = size
    title, *others = text.split("\n")
    px = round(min(height, width * 9 / 16) * 2 * _PX_PER_HEIGHT)
    while True:
        lines = [(title, px, _WHITE), *((line, round(_SMALLER * px), _GREY) for line in others)]
        widest = max(text_width(line, line_px) for line, line_px, _ in lines)
        if widest <= _FILLED * width or px <= _MIN_PX:
            break
        px -= 1
    canvas = PanelCanvas(width, height)
    top = (height - LINE * sum(line_px for _, line_px, _ in lines)) / 2
    for line, line_px, shade in lines:
        left = (width - text_width(line, line_px)) // 2
        canvas.text(line, left, round(top), px=line_px, colour=shade)
        top += LINE * line_px
    picture = np.full((height, width, 3), _DARK, np.uint8)
    canvas.panel().paint(picture, 0, 0)
    return Frame.from_bgr(picture, colour=colour)
