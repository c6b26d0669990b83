"""Analysis: a frame with so few pixels in each cell that it is quick to compare and to match."""

from __future__ import annotations

import cv2
import numpy as np

from ..jit import U8
from ..media.frame import Frame
from .grid import ANALYSIS_PX, Grid


def analysis_picture(frame: Frame, grid: Grid, px: int = ANALYSIS_PX) -> U8:
    """A frame at 8x8 pixels (px) per cell, uint8 (rows * 8, columns * 8, 3) Y'CbCr, contiguous.

    Cells that stick out of the picture are filled by repeating its edge.
    """
    full = (grid.columns * px, grid.rows * px)
    width = min(full[0], max(1, round(grid.width * px / grid.tile_width)))
    height = min(full[1], max(1, round(grid.height * px / grid.tile_height)))
    planes = []
    for plane in (frame.y, frame.u, frame.v):
        shrink = plane.shape[0] >= height and plane.shape[1] >= width
        mode = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        planes.append(cv2.resize(plane, (width, height), interpolation=mode))
    merged = cv2.merge(planes)
    if (width, height) != full:
        below, right = full[1] - height, full[0] - width
        merged = cv2.copyMakeBorder(merged, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(merged, np.uint8)
