"""HDR pictures, and those with more colours than sRGB and BT.709, to which they are brought.

FFmpeg converts them, the frames of a video by its filter, image files by a table made with it.
"""

from __future__ import annotations

import functools
import threading
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .colour import HDR_PRIMARIES, HDR_TRANSFERS, UNSPECIFIED, WIDE_TRANSFERS

if TYPE_CHECKING:
    from PIL import Image, ImageFilter

_RGB = 0  # FFmpeg's matrix
_SRGB = 13
_STEPS = 33  # of each channel in the table

_lock = threading.Lock()


def to_bt709(image: Image.Image, primaries: int, transfer: int) -> Image.Image:
    """Convert an RGB or RGBA image of wide colours; alpha stays."""
    if transfer not in WIDE_TRANSFERS:
        transfer = _SRGB  # the transfer stays
    if primaries == UNSPECIFIED:
        primaries = HDR_PRIMARIES
    with _lock:  # the table takes seconds
        table = _table(primaries, transfer)
    return image.filter(table)


@functools.lru_cache(4)
def _table(primaries: int, transfer: int) -> ImageFilter.Color3DLUT:
    from PIL import ImageFilter

    from .ffmpeg import FULL, av, filtered, picture_filter

    levels = np.linspace(0, 65535, _STEPS).round().astype(np.uint16)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    cube = np.stack([red, green, blue], -1).reshape(_STEPS * _STEPS, _STEPS, 3)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(cube), "rgb48le")
    frame.color_primaries, frame.color_trc = primaries, transfer
    frame.colorspace, frame.color_range = _RGB, FULL
    out = "bt709" if transfer in HDR_TRANSFERS else "iec61966-2-1"
    scale = "scale", f"out_primaries=bt709:out_transfer={out}"
    graph = picture_filter(frame, Fraction(1), scale, ("format", "rgb48le"))
    converted = next(filtered(graph, frame)).to_ndarray()
    return ImageFilter.Color3DLUT(_STEPS, (converted.ravel() / 65535).tolist())
