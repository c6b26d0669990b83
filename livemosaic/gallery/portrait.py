"""The part of a picture that is a photo of the people in it: head and shoulders."""

from __future__ import annotations

from collections.abc import Sequence

from ..option import Size
from ..vision.faces import Face
from .tiles import HEAD, Crop, Margins, around, largest_part

_SHOULDERS: Margins = (0.7, 0.7, 0.9)

# A face of less than this share of the largest one's height is of a person in the background.
_IN_FRONT = 0.5


def portrait(faces: Sequence[Face], size: Size, wanted: Size) -> Crop:
    """The part of a picture with head and shoulders of all who are in front.

    If they need more than the picture has, the largest part with as many of them as possible;
    without a face, the largest part in the middle.

    Parameters
    ----------
    faces : in pixels of the picture
    size : of the picture
    wanted : the shape of the part

    Returns
    -------
    left, top, width and height; the first two are even
    """
    tallest = max((face.height for face in faces), default=0.0)
    front = [face for face in faces if face.height >= _IN_FRONT * tallest]
    crop = largest_part((0, 0, *size), wanted, [_whole(around(it, size, HEAD)) for it in front])
    if front:
        parts = [_whole(around(face, size, _SHOULDERS)) for face in front]
        left, top = min(part[0] for part in parts), min(part[1] for part in parts)
        right = max(part[0] + part[2] for part in parts)
        bottom = max(part[1] + part[3] for part in parts)
        times = max((right - left) / wanted[0], (bottom - top) / wanted[1])
        w, h = round(times * wanted[0]), round(times * wanted[1])
        if w < crop[2] and h < crop[3]:
            x = min(max(0, (left + right - w) // 2), size[0] - w)
            y = min(max(0, (top + bottom - h) // 2), size[1] - h)
            crop = x, y, w, h
    left, top, width, height = crop
    return left // 2 * 2, top // 2 * 2, width, height


def _whole(part: tuple[float, float, float, float]) -> Crop:
    left, top, width, height = part
    return round(left), round(top), max(1, round(width)), max(1, round(height))
