"""Conversions between Y'CbCr and R'G'B': matrices and ranges.

From decoder to encoder, pictures stay in the input's own Y'CbCr (I420). RGB appears in two places
only: the analysis of a frame (at cell resolution) and the photos of a gallery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, shown

U8 = NDArray[np.uint8]
Planes = tuple[U8, U8, U8]  # y, u and v of I420
AnyPlanes = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # the same of any depth

Matrix = Literal["bt601", "bt709", "bt2020"]

# Luma weights (Kr, Kb) of ITU-R BT.601-7, BT.709-6 and BT.2020-2 (non-constant luminance).
_WEIGHTS: dict[str, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}

# Code points of ISO/IEC 23091-2 (H.273).
UNSPECIFIED = 2
BT709 = 1  # primaries, transfer and matrix
HDR_PRIMARIES = 9  # BT.2020, which HDR has where they are not specified
HDR_TRANSFERS = {16: "PQ", 17: "SMPTE ST 428", 18: "HLG"}
# Photos are sRGB: a picture with one of these is of another kind.
WIDE_TRANSFERS = {8: "linear light", **HDR_TRANSFERS}
WIDE_PRIMARIES = {9: "BT.2020", 10: "CIE XYZ", 11: "DCI-P3", 12: "Display P3"}


def wide_name(primaries: int, transfer: int) -> str:
    """The name of a transfer or of primaries if BT.709 has less; empty otherwise."""
    return WIDE_TRANSFERS.get(transfer, "") or WIDE_PRIMARIES.get(primaries, "")


@dataclass(frozen=True, slots=True)
class Colour:
    """The colour space of a stream.

    Attributes
    ----------
    matrix : of the samples; guessed from the picture's size where the input does not specify it
    full_range : True when luma spans 0..255, False when it spans 16..235
    tags : (primaries, transfer, matrix, range), FFmpeg's integers as in the input, for the output;
        `UNSPECIFIED` (range: 0) where the input has none
    """

    matrix: Matrix = "bt709"
    full_range: bool = False
    tags: tuple[int, int, int, int] = (UNSPECIFIED, UNSPECIFIED, UNSPECIFIED, 0)

    def __post_init__(self) -> None:
        if self.matrix not in tuple(_WEIGHTS):
            raise UsageError(f"matrix {shown(self.matrix)}: must be one of {', '.join(_WEIGHTS)}")


def _forward(colour: Colour) -> NDArray[np.float64]:
    """The affine 3x4 matrix from (B, G, R) in 0..255 to (Y, Cb, Cr) in 0..255."""
    kr, kb = _WEIGHTS[colour.matrix]
    kg = 1.0 - kr - kb
    y = np.array([kb, kg, kr])
    cb = (np.array([1.0, 0.0, 0.0]) - y) / (2 * (1 - kb))
    cr = (np.array([0.0, 0.0, 1.0]) - y) / (2 * (1 - kr))
    if colour.full_range:
        scale_y, scale_c, offset = 1.0, 1.0, 0.0
    else:
        scale_y, scale_c, offset = 219 / 255, 224 / 255, 16.0
    rows = np.stack([y * scale_y, cb * scale_c, cr * scale_c])
    return np.hstack([rows, [[offset], [128.0], [128.0]]])


def _backward(colour: Colour) -> NDArray[np.float64]:
    """The affine 3x4 inverse of `_forward`."""
    forward = _forward(colour)
    inverse = np.linalg.inv(forward[:, :3])
    return np.hstack([inverse, -inverse @ forward[:, 3:]])


def conversion(source: Colour, target: Colour) -> NDArray[np.float64]:
    """The affine 3x4 matrix from the (Y, Cb, Cr) of one colour to those of another, in 0..255."""
    forward = _forward(target)
    matrix = forward[:, :3] @ _backward(source)
    matrix[:, 3] += forward[:, 3]
    return matrix


def bgr_to_ycbcr(bgr: U8, colour: Colour) -> U8:
    """Convert (h, w, 3) BGR to (h, w, 3) Y, Cb, Cr at full resolution."""
    return _u8(cv2.transform(bgr, _forward(colour)))


def ycbcr_to_bgr(ycbcr: U8, colour: Colour) -> U8:
    """Convert (h, w, 3) Y, Cb, Cr to (h, w, 3) BGR."""
    return _u8(cv2.transform(ycbcr, _backward(colour)))


def bgr_to_i420(bgr: U8, colour: Colour) -> Planes:
    """Convert (h, w, 3) BGR to planes: y (h, w), u and v (ceil(h/2), ceil(w/2))."""
    y, u, v = cv2.split(bgr_to_ycbcr(bgr, colour))
    return _u8(y), halved(u), halved(v)


def halved(plane: Any) -> Any:
    """A plane (h, w) at half the size: (ceil(h/2), ceil(w/2))."""
    height, width = plane.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    if (width | height) & 1:
        plane = cv2.copyMakeBorder(plane, 0, height & 1, 0, width & 1, cv2.BORDER_REPLICATE)
    # INTER_AREA by exactly two is the mean of four samples.
    return np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), plane.dtype)


def over_grey(planes: Planes, alpha: U8, *, full_range: bool) -> Planes:
    """The planes of I420 over an even grey of 128; `alpha` is uint8 (h, w), 255 for opaque."""
    levels = (128 if full_range else round(16 + 128 * 219 / 255), 128, 128)
    half = halved(alpha)
    y, u, v = (
        _u8(np.rint(level + (plane - np.float32(level)) * (weight / np.float32(255))))
        for plane, weight, level in zip(planes, (alpha, half, half), levels, strict=True)
    )
    return y, u, v


def i420_to_bgr(y: U8, u: U8, v: U8, colour: Colour) -> U8:
    """Convert the planes that `bgr_to_i420` returns to (h, w, 3) BGR; interpolates chroma."""
    height, width = y.shape
    full = (u.shape[1] * 2, u.shape[0] * 2)
    u, v = (
        _u8(cv2.resize(p, full, interpolation=cv2.INTER_LINEAR))[:height, :width] for p in (u, v)
    )
    return ycbcr_to_bgr(_u8(cv2.merge([y, u, v])), colour)


def _u8(array: Any) -> U8:
    """Narrow the union of array types that OpenCV's stubs declare."""
    return np.asarray(array, dtype=np.uint8)
