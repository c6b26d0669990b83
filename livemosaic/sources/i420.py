"""Conversion of decoded pictures to upright I420 planes of one size."""

from __future__ import annotations

import contextlib
import logging
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.colour import (
    HDR_PRIMARIES,
    U8,
    UNSPECIFIED,
    AnyPlanes,
    Colour,
    Matrix,
    Planes,
    halved,
    over_grey,
)
from ..media.crop import NO_CROP, Crop
from ..media.deep import STEPS
from ..media.ffmpeg import FULL, LIMITED, MATRIX_CODES, SWS_MATRICES, av, filtered, picture_filter
from ..media.frame import DeepPicture
from ..media.scale import fill, letterbox
from .picture_colour import (
    GREY,
    YCGCO,
    colour_of,
    deep_info,
    has_alpha,
    is_deep,
    is_full,
    is_rgb,
    matrix_of,
    strange_matrix,
    wide,
)

_logger = logging.getLogger("livemosaic")

_FLAGS = av.video.reformatter.Interpolation
# Without the last two flags colour bars are wrong by up to three levels.
_EXACT = _FLAGS.BILINEAR | _FLAGS.ACCURATE_RND | _FLAGS.FULL_CHR_H_INP
# The matrices by the names of FFmpeg's filters.
_MATRIX_NAMES: dict[Matrix, str] = {"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc"}
# The filter must have all of them, though it only changes the matrix.
_BT709_BOTH = "iprimaries=bt709:primaries=bt709:itrc=bt709:trc=bt709"
# The pixel formats of that filter.
_FILTERED = {f"yuv{part}p{bits}" for part in (420, 422, 444) for bits in ("", "10le", "12le")}


class Converter:
    """Converts decoded pictures to planes: 8 bit, 4:2:0, upright, of the first picture's size.

    Pictures of another size are fitted into the first size, with black bars. The first picture's
    matrix and range stay if it is Y'CbCr or grey; R'G'B' becomes limited range in the usual matrix
    for its size, and HDR and other wide colours become BT.709. Later pictures are converted to the
    same, each by its own tags. The planes of a picture that is 8-bit 4:2:0 in that colour are views
    of the decoder's memory, which they keep alive. Do not write to them: the decoder may still
    predict from them.

    Transparent parts become an even grey. With `keep_alpha` they stay, and `alpha` is uint8 (h, w),
    255 for opaque, of the last picture; None where its format has no alpha.

    Pictures of more than 8 bits stay in `deep`, too, with `keep_depth`, and HDR and wide colours
    with `keep_hdr`; `deep_info` describes them.

    `full_grey` says that untagged grey has full range, as in JPEG and lossless codecs (PNG, FFV1,
    ...). In other codecs it has limited range, as their standards say. `name` is for messages.
    """

    def __init__(
        self,
        first: av.VideoFrame,
        *,
        full_grey: bool = False,
        crop: Crop = NO_CROP,
        keep_alpha: bool = False,
        keep_depth: bool = False,
        keep_hdr: bool = False,
        name: str = "the input",
    ) -> None:
        # One reformatter for all frames: it sets up its scaler again only for another format.
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._size, self._crop = (first.width, first.height), crop
        self._fitted = crop.size_of(*self._size)
        self._full_grey, self._name = full_grey, name
        self._reported: set[str] = set()
        self.transposed, self._mirror_x, self._mirror_y = _orientation(first)
        self.colour = colour_of(first, full_grey)
        self._range = FULL if self.colour.full_range else LIMITED
        self._keep_alpha = keep_alpha
        self.alpha: U8 | None = None
        self.deep: DeepPicture | None = None
        keeps = keep_hdr if wide(first) else keep_depth
        transparent = keep_alpha and has_alpha(first.format.name)
        is_kept = keeps and is_deep(first.format.name) and not transparent
        self.deep_info = deep_info(first, full_grey) if is_kept else None
        self._deep_reformatter = av.video.reformatter.VideoReformatter()
        self._graphs: dict[tuple[str, ...], tuple[tuple[object, ...], av.filter.Graph]] = {}

    def __call__(self, frame: av.VideoFrame) -> Planes:
        """The planes y (h, w), u and v (ceil(h/2), ceil(w/2)) of `frame`."""
        self.alpha = None
        transparent = has_alpha(frame.format.name)
        planes = self._transparent(frame) if transparent else self._convert(frame)
        if (frame.width, frame.height) != self._size:
            self._report(
                logging.WARNING, "the picture changes its size: fitted into %dx%d", *self._fitted
            )
        y, u, v = self._placed(planes, full_range=self.colour.full_range)
        if self.deep_info is not None:
            self.deep = self._deep(frame, self.deep_info.colour)
        if self.alpha is not None:
            self.alpha = self._placed((self.alpha, *planes[1:]), full_range=True)[0]
        return y, u, v

    def _deep(self, frame: av.VideoFrame, colour: Colour) -> DeepPicture:
        range_in, matrix = self._tags(frame)
        full_range = colour.full_range
        picture = self._deep_reformatter.reformat(
            frame,
            format="yuv420p10le",
            src_colorspace=SWS_MATRICES[matrix],
            dst_colorspace=SWS_MATRICES[colour.matrix],
            src_color_range=range_in,
            dst_color_range=FULL if full_range else LIMITED,
            interpolation=_EXACT,
            threads=1,
        )
        y, u, v = (
            np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, -1)[:, : plane.width]
            for plane in picture.planes
        )
        y, u, v = self._placed((y, u, v), full_range=full_range)
        return DeepPicture(y, u, v, colour)

    def _placed(self, planes: AnyPlanes, *, full_range: bool) -> AnyPlanes:
        """The planes of a picture in the stream's size, cropped and upright."""
        if planes[0].shape != self._size[::-1]:
            planes = fit(planes, self._fitted, full_range=full_range)
        elif any(self._crop):
            planes = self._crop.of(planes)
        if not (self.transposed or self._mirror_x or self._mirror_y):
            return planes
        y, u, v = map(self._turn, planes)
        return y, u, v

    def _convert(self, frame: av.VideoFrame) -> Planes:
        if int(frame.colorspace) == YCGCO and not is_rgb(frame.format):
            frame = self._without_ycgco(frame)
        name = frame.format.name
        range_in, matrix = self._tags(frame)
        is_wide = wide(frame)
        if is_wide or strange_matrix(frame):
            self._report_colour(frame)
        same_range = range_in == self._range and not is_wide
        same = same_range and matrix == self.colour.matrix
        if same and name in ("yuv420p", "yuvj420p"):
            return _views(frame)
        if same and name in ("yuv422p", "yuvj422p"):
            # JPEG of webcams: the scaler takes 25 times as long.
            y, u, v = _views(frame)
            half = (u.shape[1], (y.shape[0] + 1) // 2)
            return y, _shrink(u, half), _shrink(v, half)
        if name.startswith(GREY) and not is_wide:
            if name != "gray":
                frame = self._reformat(frame, "gray")
            y = _view(frame.planes[0])
            if not same_range:  # the scaler ignores the ranges of grey
                y = _in_range(y, full=self.colour.full_range)
            chroma = np.full(((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2), 128, np.uint8)
            return y, chroma, chroma
        return _views(self._reformat(frame, "yuv420p"))

    def _tags(self, frame: av.VideoFrame) -> tuple[int, Matrix]:
        """The range and the matrix of a picture; without a tag, limited and the stream's."""
        rgb = is_rgb(frame.format)
        full = rgb or is_full(frame, self._full_grey)
        range_ = FULL if full else int(frame.color_range) or LIMITED
        return range_, self.colour.matrix if rgb else matrix_of(frame) or self.colour.matrix

    def _reformat(self, frame: av.VideoFrame, format: str) -> av.VideoFrame:
        """A picture in another format and in the stream's colour."""
        return self._to_bt709(frame, format) if wide(frame) else self._scale(frame, format)

    def _scale(self, frame: av.VideoFrame, format: str) -> av.VideoFrame:
        """A picture in another format and in the stream's matrix and range."""
        range_in, matrix = self._tags(frame)
        return self._reformatter.reformat(
            frame,
            format=format,
            src_colorspace=SWS_MATRICES[matrix],
            dst_colorspace=SWS_MATRICES[self.colour.matrix],
            src_color_range=range_in,
            dst_color_range=self._range,
            interpolation=_EXACT,
            threads=1,  # the mosaic and the encoder need the other cores
        )

    def _to_bt709(self, frame: av.VideoFrame, format: str) -> av.VideoFrame:
        """A picture of HDR or of wide colours in another format and in the stream's colour."""
        range_in, matrix = self._tags(frame)
        if int(frame.color_primaries) == UNSPECIFIED:
            frame.color_primaries = HDR_PRIMARIES
        if not is_rgb(frame.format):
            frame.color_range, frame.colorspace = range_in, MATRIX_CODES[matrix]
        graph = self._graph(
            frame,
            "scale",
            f"out_primaries=bt709:out_transfer=bt709:out_color_matrix={_MATRIX_NAMES[self.colour.matrix]}"
            f":out_range={'pc' if self.colour.full_range else 'tv'}",
            format,
        )
        converted: av.VideoFrame = next(filtered(graph, frame))
        return converted

    def _graph(self, frame: av.VideoFrame, *steps: str) -> av.filter.Graph:
        """A filter graph for pictures like `frame`: a filter, its options, and a pixel format.

        The last one of these is kept: the table of colours that the scaler makes takes seconds.
        """
        tags = frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range
        like = (frame.width, frame.height, frame.format.name, *map(int, tags))
        known = self._graphs.get(steps)
        if known is None or known[0] != like:
            name, options, format = steps
            filters = (name, options), ("format", format)
            known = like, picture_filter(frame, Fraction(frame.time_base or 1), *filters)
            self._graphs[steps] = known
        return known[1]

    def _transparent(self, frame: av.VideoFrame) -> Planes:
        """The planes of a picture with alpha, which goes to `alpha`, or over an even grey."""
        picture = self._scale(frame, "yuva444p")
        alpha = _view(picture.planes[3])
        # Some programs write an alpha of 0 everywhere into pictures that have none.
        if alpha.min() == 255 or not (self._keep_alpha or alpha.any()):
            self.alpha = alpha if self._keep_alpha else None
            return self._convert(frame)
        self._report_colour(frame)
        if wide(frame):
            picture = self._to_bt709(frame, "yuva444p")
        y, u, v, alpha = map(_view, picture.planes)
        # Colours under transparent pixels are anything, and must not reach others by halving.
        hidden = alpha == 0
        u, v = (halved(np.where(hidden, np.uint8(128), plane)) for plane in (u, v))
        planes = over_grey((y, u, v), alpha, full_range=self.colour.full_range)
        if not self._keep_alpha:
            self._report(logging.INFO, "its transparent parts become grey; --alpha keeps them")
            return planes
        self.alpha = alpha
        return np.where(hidden, planes[0], y), u, v

    def _without_ycgco(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A picture in YCgCo, which the scaler does not know, in the stream's matrix."""
        if frame.format.name not in _FILTERED:
            range_, same = self._tags(frame)[0], SWS_MATRICES[self.colour.matrix]
            frame = self._reformatter.reformat(
                frame,
                format="yuv444p10le" if is_deep(frame.format.name) else "yuv444p",
                src_colorspace=same,
                dst_colorspace=same,
                src_color_range=range_,
                dst_color_range=range_,
                interpolation=_EXACT,
                threads=1,
            )
            frame.colorspace, frame.color_range = YCGCO, range_
        options = f"ispace=ycgco:space={_MATRIX_NAMES[self.colour.matrix]}:{_BT709_BOTH}"
        graph = self._graph(frame, "colorspace", options, frame.format.name)
        converted: av.VideoFrame = next(filtered(graph, frame))
        return converted

    # ---- messages ------------------------------------------------------------------------

    def _report(self, level: int, text: str, *values: object) -> None:
        """Report something once."""
        if text not in self._reported:
            self._reported.add(text)
            _logger.log(level, f"%s: {text}", self._name, *values)

    def _report_colour(self, frame: av.VideoFrame) -> None:
        if (is_wide := wide(frame)) and self.deep_info is None:
            self._report(logging.INFO, "its colours (%s) are brought to BT.709", is_wide)
        if strange := strange_matrix(frame):
            self._report(
                logging.WARNING,
                "its matrix %s cannot be converted, and is taken for %s; convert it first",
                strange,
                self._tags(frame)[1],
            )

    def _turn(self, plane: NDArray[Any]) -> NDArray[Any]:
        turned: Any = cv2.transpose(plane) if self.transposed else plane
        if self._mirror_x or self._mirror_y:
            # OpenCV's code: 1 left to right, 0 top to bottom, -1 both
            code = -1 if self._mirror_x and self._mirror_y else int(self._mirror_x)
            turned = cv2.flip(turned, code)
        return np.asarray(turned, dtype=plane.dtype)


def fit(
    planes: AnyPlanes, size: tuple[int, int], *, full_range: bool, aspect: Fraction = Fraction(1)
) -> AnyPlanes:
    """Scale planes into `size` (width, height), with black bars where the aspect differs.

    `aspect` is the width of a pixel by that of a pixel in the result.
    """
    height, width = planes[0].shape
    dtype = planes[0].dtype
    level = STEPS if dtype == np.uint16 else 1  # as samples of 10 bits
    out = (
        np.full((size[1], size[0]), 0 if full_range else 16 * level, dtype),
        *np.full((2, (size[1] + 1) // 2, (size[0] + 1) // 2), 128 * level, dtype),
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


def _orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """The steps that make `frame` upright: (transpose, then mirror left to right, top to bottom).

    The display matrix maps a stored point (x, y) to (a x + c y, b x + d y). In files of cameras it
    is one of the eight symmetries of a rectangle.
    """
    data: Any = None
    # PyAV 18 frees the name of a PNG's colour profile twice once its side data is read: a crash.
    if not (is_rgb(frame.format) or frame.format.name.startswith(GREY)):
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
