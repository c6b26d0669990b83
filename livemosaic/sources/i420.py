"""Conversion of decoded pictures to upright I420 planes of one size."""

from __future__ import annotations

import contextlib
import logging
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from ..media.colour import U8, UNSPECIFIED, Colour, Planes
from ..media.ffmpeg import FULL, LIMITED, MATRICES, MATRIX_CODES, SWS_MATRICES, av, guess_matrix
from ..media.scale import fill, letterbox

_logger = logging.getLogger("livemosaic")

_RGB_MATRIX = 0  # the matrix code of R'G'B' samples, wrong after the conversion
_GREY = ("gray", "mono", "ya8", "ya16")
_RGB_LIKE = ("bayer", "xyz")


class Converter:
    """Converts decoded pictures to planes: 8 bit, 4:2:0, upright, of the first picture's size.

    Pictures of another size are fitted into the first size, with black bars. The first picture's
    matrix and range stay if it is Y'CbCr or grey; R'G'B' becomes limited range in the usual matrix
    for its size. Later pictures are converted to that range. The planes of a picture that is 8-bit
    4:2:0 in that range are views of the decoder's memory, which they keep alive. Do not write to
    them: the decoder may still predict from them.

    `full_grey` says that untagged grey has full range, as in JPEG and lossless codecs (PNG, FFV1,
    ...). In other codecs it has limited range, as their standards say.
    """

    def __init__(self, first: av.VideoFrame, *, full_grey: bool = False) -> None:
        # One reformatter for all frames: it sets up its scaler again only for another format.
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._size = (first.width, first.height)
        self._full_grey = full_grey
        self._warned = False
        self.transposed, self._mirror_x, self._mirror_y = _orientation(first)
        self.colour = _colour(first, full_grey)
        self._range = FULL if self.colour.full_range else LIMITED

    def __call__(self, frame: av.VideoFrame) -> Planes:
        """The planes y (h, w), u and v (ceil(h/2), ceil(w/2)) of `frame`."""
        planes = self._convert(frame)
        if (frame.width, frame.height) != self._size:
            if not self._warned:
                self._warned = True
                _logger.warning("the picture changes its size: fitted into %dx%d", *self._size)
            planes = fit(planes, self._size, full_range=self.colour.full_range)
        if not (self.transposed or self._mirror_x or self._mirror_y):
            return planes
        y, u, v = map(self._turn, planes)
        return y, u, v

    def _convert(self, frame: av.VideoFrame) -> Planes:
        name = frame.format.name
        rgb = _is_rgb(frame.format)
        # A later picture without a tag has the first one's range.
        full = rgb or _is_full(frame, self._full_grey)
        range_in = FULL if full else int(frame.color_range) or self._range
        same = range_in == self._range
        if same and name in ("yuv420p", "yuvj420p"):
            return _views(frame)
        if same and name in ("yuv422p", "yuvj422p"):
            # JPEG of webcams: the scaler takes 25 times as long.
            y, u, v = _views(frame)
            half = (u.shape[1], (y.shape[0] + 1) // 2)
            return y, _shrink(u, half), _shrink(v, half)
        matrix = SWS_MATRICES[self.colour.matrix] if rgb else None
        if name.startswith(_GREY):
            if name != "gray":
                frame = self._reformat(frame, "gray", range_in, matrix)
            y = _view(frame.planes[0])
            if not same:  # the scaler ignores the ranges of grey
                y = _in_range(y, full=self.colour.full_range)
            chroma = np.full(((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2), 128, np.uint8)
            return y, chroma, chroma
        return _views(self._reformat(frame, "yuv420p", range_in, matrix))

    def _reformat(
        self, frame: av.VideoFrame, format: str, range_in: int, matrix: int | None
    ) -> av.VideoFrame:
        flags = av.video.reformatter.Interpolation
        return self._reformatter.reformat(
            frame,
            format=format,
            dst_colorspace=matrix,
            src_color_range=range_in,
            dst_color_range=self._range,
            # Without the last two flags colour bars are wrong by up to three levels.
            interpolation=flags.BILINEAR | flags.ACCURATE_RND | flags.FULL_CHR_H_INP,
            threads=1,  # the mosaic and the encoder need the other cores
        )

    def _turn(self, plane: U8) -> U8:
        turned: Any = cv2.transpose(plane) if self.transposed else plane
        if self._mirror_x or self._mirror_y:
            # OpenCV's code: 1 left to right, 0 top to bottom, -1 both
            code = -1 if self._mirror_x and self._mirror_y else int(self._mirror_x)
            turned = cv2.flip(turned, code)
        return np.asarray(turned, dtype=np.uint8)


def fit(
    planes: Planes, size: tuple[int, int], *, full_range: bool, aspect: Fraction = Fraction(1)
) -> Planes:
    """Scale planes into `size` (width, height), with black bars where the aspect differs.

    `aspect` is the width of a pixel by that of a pixel in the result.
    """
    height, width = planes[0].shape
    out = (
        np.full((size[1], size[0]), 0 if full_range else 16, np.uint8),
        *np.full((2, (size[1] + 1) // 2, (size[0] + 1) // 2), 128, np.uint8),
    )
    fill(planes, out, letterbox(width, height, size, aspect=aspect))
    return out


def _shrink(plane: U8, size: tuple[int, int]) -> U8:
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _in_range(y: U8, *, full: bool) -> U8:
    """Luma samples of the other range."""
    codes = np.arange(256)
    table = (codes - 16) * 255 / 219 if full else 16 + codes * 219 / 255
    return np.asarray(cv2.LUT(y, np.clip(np.rint(table), 0, 255).astype(np.uint8)), np.uint8)


def _is_rgb(format: Any) -> bool:
    return bool(format.is_rgb or format.has_palette or format.name.startswith(_RGB_LIKE))


def _is_full(frame: av.VideoFrame, full_grey: bool) -> bool:
    """Whether a picture of Y'CbCr or grey samples is known to have full range."""
    name, range_ = frame.format.name, int(frame.color_range)
    untagged_grey = name.startswith(_GREY) and range_ == 0 and full_grey
    return range_ == FULL or name.startswith("yuvj") or untagged_grey


def _colour(frame: av.VideoFrame, full_grey: bool) -> Colour:
    """The colour of `frame` after the conversion to I420."""
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    code, range_ = int(frame.colorspace), int(frame.color_range)
    matrix = MATRICES.get(code) or guess_matrix(frame.width, frame.height)
    if _is_rgb(frame.format):
        # No player can guess the matrix of the conversion, so the output is tagged.
        return Colour(matrix, False, (primaries, transfer, MATRIX_CODES[matrix], LIMITED))
    if code == _RGB_MATRIX:
        code = UNSPECIFIED
    if _is_full(frame, full_grey):
        range_ = FULL
    return Colour(matrix, range_ == FULL, (primaries, transfer, code, range_))


def _orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """The steps that make `frame` upright: (transpose, then mirror left to right, top to bottom).

    The display matrix maps a stored point (x, y) to (a x + c y, b x + d y). In files of cameras it
    is one of the eight symmetries of a rectangle.
    """
    data: Any = None
    # PyAV 18 frees the name of a PNG's colour profile twice once its side data is read: a crash.
    if not (_is_rgb(frame.format) or frame.format.name.startswith(_GREY)):
        # It knows not all kinds of side data, and then gives none (EXIF, in a camera's JPEG).
        with contextlib.suppress(ValueError):
            data = frame.side_data
    if data is None:  # the angle is known still, only mirroring is not
        angle = round(frame.rotation / 90) % 4
        return angle % 2 == 1, angle in (2, 3), angle in (1, 2)
    matrix = data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _views(frame: av.VideoFrame) -> Planes:
    y, u, v = map(_view, frame.planes[:3])
    return y, u, v


def _view(plane: Any) -> U8:
    """The samples of a plane without a copy; rows have the decoder's padding."""
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, abs(plane.line_size))
    view = rows[:, : plane.width]
    # A negative line size means bottom row first: rare, and not all kernels can walk backwards.
    return np.ascontiguousarray(view[::-1]) if plane.line_size < 0 else view
