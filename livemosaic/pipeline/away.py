"""The picture that privacy mode shows instead of the camera's."""

from __future__ import annotations

from ..media.colour import U8, Colour, bgr_to_i420
from ..media.frame import Frame
from ..media.scale import fill, letterbox


class AwayPicture:
    """A picture, uint8 (height, width, 3) BGR, in frames of any size: whole, between black bars."""

    def __init__(self, bgr: U8) -> None:
        self._bgr = bgr
        self._key: tuple[int, int, Colour] | None = None  # of the frame that was made last

    def in_place_of(self, frame: Frame) -> Frame:
        """The picture in a frame's size and colour, at its times."""
        key = (frame.width, frame.height, frame.colour)
        if key != self._key:
            self._frame = _fitted(self._bgr, frame)
            self._key = key
        return self._frame.with_times_of(frame)


def _fitted(bgr: U8, frame: Frame) -> Frame:
    height, width = bgr.shape[:2]
    box = letterbox(width, height, (frame.width, frame.height))
    y, u, v = frame.y.copy(), frame.u.copy(), frame.v.copy()
    y[:], u[:], v[:] = (0 if frame.colour.full_range else 16), 128, 128
    fill(bgr_to_i420(bgr, frame.colour), (y, u, v), box)
    return Frame(y, u, v, frame.colour)
