"""Pictures in 10 bits: HDR, and films that an encoder of 10 bits keeps as they are.

They go beside the same picture in 8 bits, which the mosaic is matched by and which windows show.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .colour import BT709, U8, Colour, wide_name

U16 = NDArray[np.uint16]
DeepPlanes = tuple[U16, U16, U16]  # y, u and v of 4:2:0

BITS = 10
STEPS = 1 << (BITS - 8)  # of a level of 8 bits
TOP = (1 << BITS) - 1

_SIDE = 256  # of the pictures that are converted at once, always the same: see `DeepColours`


@dataclass(frozen=True, slots=True)
class DeepInfo:
    """What the pictures of a stream are in 10 bits.

    Attributes
    ----------
    colour : of the samples
    mastering : the display that a film was made on: x and y of green, blue, red and white, then the
        highest and lowest cd/m2; None if it is not known
    light : cd/m2 of the brightest pixel and of the brightest picture; None if they are not known
    """

    colour: Colour = field(default_factory=Colour)
    mastering: tuple[float, ...] | None = None
    light: tuple[int, int] | None = None


def is_wide(colour: Colour) -> bool:
    """Whether photos must be converted for a picture of this colour."""
    return bool(wide_name(*colour.tags[:2]))


class DeepColours:
    """Converts colours of photos to 10-bit Y'CbCr; white becomes graphics white, 203 cd/m2, in HDR.

    FFmpeg makes a table for it, which takes seconds for HDR, and again for another picture size.
    """

    def __init__(self, colour: Colour) -> None:
        from .ffmpeg import av

        self._colour = colour
        self._reformatter = av.video.reformatter.VideoReformatter()

    def __call__(self, bgr: U8) -> U16:
        """Convert (h, w, 3) BGR to (h, w, 3) Y, Cb, Cr, 0..1023."""
        from .ffmpeg import EXACT, FULL, LIMITED, SWS_MATRICES, av

        colours = bgr.reshape(-1, 3)
        converted = np.empty(colours.shape, np.uint16)
        part = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        primaries, transfer = self._colour.tags[:2] if is_wide(self._colour) else (None, None)
        for start in range(0, len(colours), _SIDE**2):
            some = colours[start : start + _SIDE**2]
            part.reshape(-1, 3)[: len(some)] = some
            picture = av.VideoFrame.from_ndarray(part, format="bgr24")
            picture.color_primaries = picture.color_trc = BT709
            matrix = SWS_MATRICES[self._colour.matrix]
            planes = self._reformatter.reformat(
                picture,
                format="yuv444p10le",
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=FULL,
                dst_color_range=FULL if self._colour.full_range else LIMITED,
                dst_color_primaries=primaries,
                dst_color_trc=transfer,
                interpolation=EXACT,
                threads=1,
            ).planes
            for channel, plane in enumerate(planes):
                samples = np.frombuffer(memoryview(plane), np.uint16).reshape(_SIDE, -1)[:, :_SIDE]
                converted[start : start + len(some), channel] = samples.reshape(-1)[: len(some)]
        return converted.reshape(bgr.shape)


def eight_bits(plane: U16) -> U8:
    """The samples of a plane in 8 bits, rounded."""
    return np.asarray(np.minimum((plane + STEPS // 2) // STEPS, 255), np.uint8)
