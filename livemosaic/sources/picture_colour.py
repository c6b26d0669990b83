"""What the samples of a decoded picture mean, and the colour that they are converted to."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any

import numpy as np

from ..media.colour import BT709, UNSPECIFIED, WIDE_PRIMARIES, Colour, Matrix, wide_name
from ..media.deep import DeepInfo
from ..media.ffmpeg import FULL, LIMITED, MATRICES, MATRIX_CODES, av, guess_matrix

# Codes of ISO/IEC 23091-2.
YCGCO = 8
_RGB = 0  # a matrix of R'G'B' samples
# Two matrices that follow from the primaries.
_OF_PRIMARIES = (12, 13)
_PRIMARIES: dict[int, Matrix] = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020"}
# Matrices that cannot be converted, and are not near one that can.
_STRANGE = {11: "Y'D'zD'x", 14: "ICtCp", 15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro"}

GREY = ("gray", "mono", "ya8", "ya16")
_RGB_LIKE = ("bayer", "xyz")


def is_rgb(format: Any) -> bool:
    return bool(format.is_rgb or format.has_palette or format.name.startswith(_RGB_LIKE))


@cache
def has_alpha(name: str) -> bool:
    """Whether pictures of a pixel format may be transparent."""
    format = av.VideoFormat(name, 16, 16)
    return bool(format.has_palette or any(part.is_alpha for part in format.components))


def is_full(frame: av.VideoFrame, full_grey: bool) -> bool:
    """Whether a picture of Y'CbCr or grey samples is known to have full range."""
    name, range_ = frame.format.name, int(frame.color_range)
    untagged_grey = name.startswith(GREY) and range_ == 0 and full_grey
    return range_ == FULL or name.startswith("yuvj") or untagged_grey


def wide(frame: av.VideoFrame) -> str:
    """The name of a picture's transfer or primaries if BT.709 has less; empty otherwise."""
    return wide_name(int(frame.color_primaries), int(frame.color_trc))


def matrix_of(frame: av.VideoFrame) -> Matrix | None:
    """The matrix of a picture, or the nearest to it; None where it is not specified."""
    code = int(frame.colorspace)
    if code in _OF_PRIMARIES:
        return _PRIMARIES.get(int(frame.color_primaries))
    if code in _STRANGE and int(frame.color_primaries) in WIDE_PRIMARIES:
        return "bt2020"
    return MATRICES.get(code)


def strange_matrix(frame: av.VideoFrame) -> str:
    """The name of a picture's matrix if it cannot be converted; empty otherwise."""
    return _STRANGE.get(int(frame.colorspace), "")


def colour_of(frame: av.VideoFrame, full_grey: bool, *, as_it_is: bool = False) -> Colour:
    """The colour of `frame` after the conversion to I420; `as_it_is` keeps HDR and wide colours."""
    if wide(frame) and not as_it_is:
        return Colour("bt709", False, (BT709, BT709, BT709, LIMITED))
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    code, range_ = int(frame.colorspace), int(frame.color_range)
    matrix = matrix_of(frame) or guess_matrix(frame.width, frame.height)
    if is_rgb(frame.format):
        # No player can guess the matrix of the conversion, so the output is tagged.
        return Colour(matrix, False, (primaries, transfer, MATRIX_CODES[matrix], LIMITED))
    if code == _RGB:
        code = UNSPECIFIED
    elif code == YCGCO or code in _STRANGE:
        code = MATRIX_CODES[matrix]
    if is_full(frame, full_grey):
        range_ = FULL
    return Colour(matrix, range_ == FULL, (primaries, transfer, code, range_))


def deep_info(frame: av.VideoFrame, full_grey: bool) -> DeepInfo:
    """What a picture is in 10 bits, and the mastering data of HDR10 in it."""
    side: Any = {}
    with contextlib.suppress(ValueError):  # PyAV does not know all kinds of side data
        side = frame.side_data
    mastering = light = None
    if (data := side.get("MASTERING_DISPLAY_METADATA")) is not None:
        numbers = np.frombuffer(bytes(data), np.int32)
        parts, (has_primaries, has_luminance) = numbers[:20].reshape(-1, 2), numbers[20:22]
        if has_primaries and has_luminance and parts[:, 1].all():
            red, green, blue, white, (low, high) = np.split(parts[:, 0] / parts[:, 1], [2, 4, 6, 8])
            mastering = tuple(map(float, (*green, *blue, *red, *white, high, low)))
    if (data := side.get("CONTENT_LIGHT_LEVEL")) is not None:
        light = tuple(np.frombuffer(bytes(data), np.uint32)[:2].tolist())
    return DeepInfo(colour_of(frame, full_grey, as_it_is=True), mastering, light)


@cache
def is_deep(name: str) -> bool:
    """Whether a pixel format of colour pictures has more than 8 bits."""
    bits = [part.bits for part in av.VideoFormat(name, 16, 16).components]
    return len(bits) >= 3 and max(bits) > 8
