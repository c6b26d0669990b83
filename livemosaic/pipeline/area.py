"""The area of each frame: where the person is, and what is shown outside of the mosaic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..control.state import OUTSIDE_WORDS, LiveState, colour_of
from ..jit import F32
from ..media.colour import U8, Colour, bgr_to_i420
from ..media.deep import DeepColours
from ..media.frame import DeepPicture, Frame
from ..media.image_reader import BadImage, read_picture
from ..media.scale import cover
from ..mosaic.area import Area
from ..mosaic.blend import widen_rows
from ..vision.person import WIDTH, PersonFinder, coarse, refined, shrunk, shrunk_luma
from .looks import Looks, Spawn

_Picture = tuple[U8, Colour]  # Y'CbCr in the size of the mask

# What is blurred has so many pixels, and is mixed over so many.
_BLURRED_SIZE, _BLUR_SIGMA = (128, 72), 4.0
_PARTS = (1, 2, 2)  # of a picture's width that are a sample in each plane


def warm_up_area(width: int) -> None:
    """Load the kernels that enlarge the mask, and a blurred picture, to a width: a live stream must
    not wait for them. `Mosaic.warm_up` loads the others."""
    for few in (WIDTH, _BLURRED_SIZE[0]):
        widen_rows(np.zeros((2, few), np.uint8), width)
    for few in (WIDTH, _BLURRED_SIZE[0] // 2):
        widen_rows(np.zeros((2, few), np.uint8), width // 2)


class AreaFinder:
    """Finds the area of each frame of a stream; see `Looks` for when.

    Until the first look at a scene, the mosaic is everywhere.

    Parameters
    ----------
    spawn : starts a thread for a live stream, as spawn(name, work); None for a file
    warn : reports a picture for `outside` that cannot be read
    read : pictures that `outside` may name, BGR by name, which need not be read; each is removed
        when it is used

    Attributes
    ----------
    looks : for the person; a person moves little between two, and the mask follows the edges of
        each frame
    share : of the last picture that is mosaic
    """

    def __init__(
        self,
        spawn: Spawn | None,
        warn: Callable[[object], None],
        read: dict[str, U8] | None = None,
    ) -> None:
        self._outside = Outside(spawn, warn, {} if read is None else read)
        self.looks: Looks[_Picture, F32] = Looks(spawn, "area", _person_finder)
        self.share = 1.0

    @property
    def has_news(self) -> bool:
        """Whether the mask, or what is outside, has changed since the last picture, which may be
        shown for long."""
        return self.looks.is_used and (self.looks.has_news or self._outside.has_news)

    def area_of(self, frame: Frame, state: LiveState, size: tuple[int, int]) -> Area | None:
        """The area of a frame; None for everywhere. `size` is the width and height of the output.

        Privacy mode hides everybody, also outside of the area.
        """
        self.share = 1.0
        if state.area == "everything" or state.privacy:
            self.looks.forget()
            return None
        luma = shrunk_luma(frame)

        # A mask is of the picture as it came, so that one from before `mirror` is right after it.
        def came(picture: Any) -> Any:
            return cv2.flip(picture, 1) if state.mirror else picture

        found = self.looks.take(
            frame, coarse(came(luma)), lambda: (came(shrunk(frame, luma)), frame.colour)
        )
        if found is None:
            return None
        mask = refined(came(found), luma)
        if state.area == "background":
            mask = 255 - mask
        outside = self._outside.picture(state.outside, frame, mask, size)
        if outside is None:
            return None
        self.share = float(mask.mean()) / 255
        return Area(mask, outside)

    def close(self) -> None:
        self.looks.close()


def _person_finder() -> Callable[[_Picture, bool], F32]:
    finder = PersonFinder()
    return lambda picture, is_new: finder.look(*picture, is_new=is_new)


class _Wanted(NamedTuple):
    """What a picture is made for."""

    outside: str
    size: tuple[int, int]
    colour: Colour
    deep_colour: Colour | None


class Outside:
    """Makes the picture that is shown outside of the mosaic, as the option `outside` says.

    Live, a thread reads a picture file. Until then what was there before is shown.

    Attributes
    ----------
    has_news : whether a file has been read since the last picture
    """

    def __init__(
        self, spawn: Spawn | None, warn: Callable[[object], None], read: dict[str, U8]
    ) -> None:
        self._spawn, self._warn, self._unreadable = spawn, warn, ""
        self._known = read
        self._kept: tuple[_Wanted, Frame] | None = None
        self._plain = ""  # "original" or "blur", if the last picture was that
        self._reading: _Wanted | None = None
        self.has_news = False

    def picture(self, outside: str, frame: Frame, mask: U8, size: tuple[int, int]) -> Frame | None:
        """The picture for a frame; `mask` is that of the mosaic. None if there is none yet."""
        self.has_news = False
        if outside in OUTSIDE_WORDS:
            self._kept, self._unreadable = None, ""  # another file may have that name next time
            self._reading, self._plain = None, outside
        elif outside == self._unreadable:
            return frame
        else:
            deep_colour = None if frame.deep is None else frame.deep.colour
            wanted = _Wanted(outside, size, frame.colour, deep_colour)
            self._prepare(wanted)
            kept = self._kept
            if outside == self._unreadable:
                return frame
            if kept is not None and kept[0][2:] == wanted[2:]:  # of any size
                self._plain = ""
                return kept[1]
        if self._plain == "blur":
            return _blurred(frame, mask)
        return frame if self._plain else None

    def _prepare(self, wanted: _Wanted) -> None:
        if self._kept is not None and self._kept[0] == wanted:
            return
        if self._spawn is None or wanted.outside.startswith("#"):
            self._make(wanted)
        elif self._reading != wanted:
            self._reading = wanted
            self._spawn("outside", partial(self._read, wanted))

    def _read(self, wanted: _Wanted) -> None:
        self._make(wanted)
        if self._reading == wanted:  # else it reads another one by now
            self._reading = None
        self.has_news = True

    def _make(self, wanted: _Wanted) -> None:
        outside, size, colour, deep_colour = wanted
        try:
            if outside.startswith("#"):
                bgr = np.full((2, 2, 3), colour_of(outside)[::-1], np.uint8)
            else:
                known = self._known.pop(outside, None)
                bgr = cover(read_picture(outside) if known is None else known, *size)
        except BadImage as error:
            self._unreadable = outside
            self._warn(f"{outside}: cannot be read: {error}; name a picture")
            return
        self._kept = wanted, _frame_of(bgr, colour, deep_colour)


def _frame_of(bgr: U8, colour: Colour, deep_colour: Colour | None) -> Frame:
    deep = None
    if deep_colour is not None:
        y, u, v = np.moveaxis(DeepColours(deep_colour)(bgr), 2, 0)
        deep = DeepPicture(y, u[::2, ::2], v[::2, ::2], deep_colour).changed(np.ascontiguousarray)
    return Frame(*bgr_to_i420(bgr, colour), colour, deep=deep)


def _blurred(frame: Frame, mask: U8) -> Frame:
    """A blurred frame, of few pixels, without what is under the mosaic."""
    weight = 255 - cv2.resize(mask, _BLURRED_SIZE, interpolation=cv2.INTER_AREA)

    def blur(plane: Any, part: int) -> Any:
        width, height = (side // part for side in _BLURRED_SIZE)
        sigma = _BLUR_SIGMA / part
        few = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        # A little weight for all, so that there is a colour everywhere.
        share = cv2.resize(weight, (width, height)).astype(np.float32) / 255 + np.float32(1e-3)
        mean = cv2.GaussianBlur(few * share, (0, 0), sigma) / cv2.GaussianBlur(share, (0, 0), sigma)
        return np.round(mean).astype(plane.dtype)

    y, u, v = map(blur, (frame.y, frame.u, frame.v), _PARTS)
    deep = frame.deep
    if deep is not None:
        deep_y, deep_u, deep_v = map(blur, deep.planes, _PARTS)
        deep = deep._replace(y=deep_y, u=deep_u, v=deep_v)
    return Frame(y, u, v, frame.colour, deep=deep)
