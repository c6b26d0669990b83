"""Scales planes, and fits a picture into a target with black bars."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .colour import U8, i420_to_bgr
from .frame import Frame, even


def letterbox(
    width: int, height: int, into: tuple[int, int], *, aspect: Fraction = Fraction(1)
) -> tuple[int, int, int, int]:
    """Place a picture in the middle of a target, as large as possible.

    Parameters
    ----------
    width, height : of the picture
    into : width and height of the target
    aspect : width by height of the picture's pixels; the target's are square

    Returns
    -------
    left, top, width, height : in pixels of the target. They are even, so that chroma lies where
        luma does; only the width or height of the whole target may be odd
    """
    scale = min(into[0] / (width * aspect), Fraction(into[1], height))
    w, h = (
        whole if length * scale > whole - 1 else even(length * scale)
        for whole, length in ((into[0], width * aspect), (into[1], height))
    )
    return (into[0] - w) // 4 * 2, (into[1] - h) // 4 * 2, w, h


def fill(
    planes: Sequence[NDArray[Any]], out: Sequence[NDArray[Any]], box: tuple[int, int, int, int]
) -> list[NDArray[Any]]:
    """Scale I420 planes into a box (left, top, width, height) of `out`; return the filled parts."""
    left, top, width, height = box
    parts = []
    for plane, target, f in zip(planes, out, (1, 2, 2), strict=True):
        x, y, w, h = left // f, top // f, -(-width // f), -(-height // f)
        parts.append(target[y : y + h, x : x + w])
        parts[-1][:] = scaled(plane, w, h)
    return parts


def bgr_of_size(frame: Frame, width: int, height: int, *, interpolation: int) -> U8:
    """A frame's picture in another, even size, uint8 (height, width, 3) BGR.

    The planes are scaled: they are half as many samples as the finished picture.
    """
    full, half = (width, height), (width // 2, height // 2)
    y, u, v = (
        plane
        if plane.shape[::-1] == size
        else np.asarray(cv2.resize(plane, size, interpolation=interpolation), np.uint8)
        for plane, size in ((frame.y, full), (frame.u, half), (frame.v, half))
    )
    return i420_to_bgr(y, u, v, frame.colour)


def cover(bgr: U8, width: int, height: int) -> U8:
    """Give a picture another size and shape; what has no place in it is cut off."""
    scale = max(width / bgr.shape[1], height / bgr.shape[0])
    high = min(bgr.shape[0], round(height / scale))
    wide = min(bgr.shape[1], round(width / scale))
    top, left = (bgr.shape[0] - high) // 2, (bgr.shape[1] - wide) // 2
    part = bgr[top : top + high, left : left + wide]
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (width, height), interpolation=mode), np.uint8)


def scaled(plane: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Give a plane another size: average by halves, which is quick, and interpolate the rest."""
    while plane.shape[1] >= 2 * width and plane.shape[0] >= 2 * height:
        half = (plane.shape[1] // 2, plane.shape[0] // 2)
        plane = np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), plane.dtype)
    if plane.shape != (height, width):
        mode = cv2.INTER_LINEAR
        plane = np.asarray(cv2.resize(plane, (width, height), interpolation=mode), plane.dtype)
    return plane
