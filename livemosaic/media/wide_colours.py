"""HDR pictures and those with more colours than sRGB, by the code points in their files.

FFmpeg brings them to BT.709, as it does the frames of a video. It is asked once, for a table.
"""

from __future__ import annotations

import functools
import threading
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image, ImageFilter

# By the codes of ISO/IEC 23091-2.
WIDE_TRANSFERS = {8: "linear light", 16: "PQ", 17: "SMPTE ST 428", 18: "HLG"}
WIDE_PRIMARIES = {9: "BT.2020", 10: "CIE XYZ", 11: "DCI-P3", 12: "Display P3"}

_BT2020 = 9
_RGB, _FULL = 0, 2  # FFmpeg's matrix and range
_SRGB, _SRGB_NAME = 13, "iec61966-2-1"
_STEPS = 33  # of each channel in the table

_lock = threading.Lock()


def wide_name(primaries: int, transfer: int) -> str:
    """The name of a transfer or of primaries if BT.709 has less; empty otherwise."""
    return WIDE_TRANSFERS.get(transfer, "") or WIDE_PRIMARIES.get(primaries, "")


def to_bt709(image: Image.Image, primaries: int, transfer: int) -> Image.Image:
    """Convert an RGB or RGBA image of wide colours; alpha stays."""
    if transfer not in WIDE_TRANSFERS:
        transfer = _SRGB  # the transfer stays
    elif primaries not in WIDE_PRIMARIES:
        primaries = _BT2020  # as HDR always has
    with _lock:  # the table takes seconds
        table = _table(primaries, transfer)
    return image.filter(table)


@functools.lru_cache(4)
def _table(primaries: int, transfer: int) -> ImageFilter.Color3DLUT:
    from PIL import ImageFilter

    from .ffmpeg import av, filtered

    levels = np.linspace(0, 65535, _STEPS).round().astype(np.uint16)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    cube = np.stack([red, green, blue], -1).reshape(_STEPS * _STEPS, _STEPS, 3)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(cube), "rgb48le")
    frame.color_primaries, frame.color_trc = primaries, transfer
    frame.colorspace, frame.color_range = _RGB, _FULL
    out = _SRGB_NAME if transfer == _SRGB else "bt709"
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
        ),
        graph.add("scale", f"out_primaries=bt709:out_transfer={out}"),
        graph.add("format", "rgb48le"),
        graph.add("buffersink"),
    ).configure()
    converted = next(filtered(graph, frame)).to_ndarray()
    return ImageFilter.Color3DLUT(_STEPS, (converted.ravel() / 65535).tolist())
