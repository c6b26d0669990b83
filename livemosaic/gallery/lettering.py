"""Lettering in photos, which must not be shown mirrored.

No recognition of text: at least four small shapes side by side, of one height and on one line, of
thin strokes that are darker or lighter than what is around them. This finds most printed signs,
banners and screenshots, and once in a while a fence. Single letters, handwriting, and lettering
that is very small, very large or clearly tilted remain unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ..jit import I32, U8

SIDE = 256  # the shorter side of the picture that is searched, in pixels
_MIN_SIDE = 64  # in fewer pixels no lettering can be read

_STROKE = 11  # strokes are thinner, in pixels
# Levels between strokes and surroundings: letters that touch at the one may not at the other.
_CONTRASTS = 40, 80
_MAX_PIXELS_16 = 2**17  # they have fewer than 2^16 shapes
_LETTERS = 4  # side by side at least
_MAX_SHAPES = 1500  # that are compared with each other; a page of text has fewer
_PART = 2 * SIDE  # of the longer side, if there are more shapes; parts overlap by half


def has_lettering(picture: U8) -> bool:
    """Whether a picture, uint8 (height, width, 3) BGR, seems to have lettering."""
    shorter = min(picture.shape[:2])
    if shorter < _MIN_SIDE:
        return False
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    if shorter > SIDE:
        share = SIDE / shorter
        grey = cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    around = np.ones((_STROKE, _STROKE), np.uint8)
    for mode in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
        contrast = cv2.morphologyEx(grey, mode, around)
        for least in _CONTRASTS:
            strokes = (contrast > least).astype(np.uint8)
            # Labels of 16 bits take a third of the time.
            kind = cv2.CV_16U if strokes.size < _MAX_PIXELS_16 else cv2.CV_32S
            _, _, shapes, _ = cv2.connectedComponentsWithStats(strokes, ltype=kind)
            letters = _letters(np.asarray(shapes[1:], np.int32))  # without the background
            if any(map(_has_row, _parts(letters, *grey.shape))):
                return True
    return False


def _parts(letters: I32, height: int, width: int) -> Iterator[I32]:
    """Letters that are compared with each other: of a panorama with many, those of each part."""
    longer = max(height, width)
    if len(letters) <= _MAX_SHAPES or longer <= _PART:
        yield letters[:_MAX_SHAPES]
        return
    begins = letters[:, 0 if width == longer else 1]
    for begin in range(0, longer - SIDE, SIDE):
        yield letters[(begins >= begin) & (begins < begin + _PART)][:_MAX_SHAPES]


def _letters(shapes: I32) -> I32:
    """Those of connected shapes (left, top, width, height, area) that may be letters."""
    _, _, width, height, area = shapes.T
    fill = area / (width * height)
    good = (height >= 6) & (height <= 60) & (width <= 1.5 * height) & (width >= 2)
    return np.asarray(shapes[good & (fill > 0.15) & (fill < 0.9)], np.int32)


def _has_row(letters: I32) -> bool:
    """Whether enough letters stand side by side, of one height and on one line."""
    left, top, width, height, _ = letters.T.astype(np.float32)
    bottom, gap = top + height, left[:, None] - (left + width)  # [i, j]: from j's right to i's left
    tall, low = np.maximum(height[:, None], height), np.minimum(height[:, None], height)
    follows = (left[:, None] > left) & (gap >= -0.2 * low) & (gap <= 0.9 * tall)
    follows &= (tall <= 1.6 * low) & (np.abs(bottom[:, None] - bottom) <= 0.2 * tall)
    ends_row = np.ones(len(left), np.bool_)  # of one letter, then two, three, ...
    for _ in range(_LETTERS - 1):
        ends_row = (follows & ends_row).any(axis=1)
    return bool(ends_row.any())
