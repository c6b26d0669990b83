"""A contact sheet: the same frame by all contenders, small, and a part of it at full size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .clips import CELL_PX

__all__ = ["contact_sheet"]

U8 = NDArray[np.uint8]

THUMB = (320, 180)
PART = (10 * CELL_PX, 8 * CELL_PX)
LABEL_PX = 26
GAP_PX = 6
ACROSS = 4
PAPER, INK = 255, (40, 40, 40)


def contact_sheet(clips: Sequence[Sequence[tuple[str, U8]]]) -> U8:
    """Panels with a label, four beside each other; each clip starts a new row.

    Parameters
    ----------
    clips : for each clip its (label, picture), uint8 BGR, all of one size and at least PART
    """
    rows = []
    for panels in clips:
        made = [_panel(*panel) for panel in panels]
        made += [np.full_like(made[0], PAPER)] * (-len(made) % ACROSS)
        rows += [np.hstack(made[i : i + ACROSS]) for i in range(0, len(made), ACROSS)]
    return np.vstack(rows)


def _panel(label: str, picture: U8) -> U8:
    """A label, the whole picture small, and the cells in its middle as they are."""
    height, width = picture.shape[:2]
    left, top = (
        (whole - part) // 2 // CELL_PX * CELL_PX
        for whole, part in zip((width, height), PART, strict=True)
    )
    strip = np.full((LABEL_PX, THUMB[0], 3), PAPER, np.uint8)
    cv2.putText(strip, label, (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    thumb = np.asarray(cv2.resize(picture, THUMB, interpolation=cv2.INTER_AREA), np.uint8)
    part = picture[top : top + PART[1], left : left + PART[0]]
    gap = np.full((GAP_PX, THUMB[0], 3), PAPER, np.uint8)
    panel = np.vstack([strip, thumb, gap, part, gap])
    side = np.full((len(panel), GAP_PX, 3), PAPER, np.uint8)
    return np.hstack([panel, side])
