"""The faces in a photo.

MediaPipe's face detector of short range (see models/CREDITS.md), in OpenCV: 2 ms for each look at
128x128 pixels. It finds faces of a fifth of a picture's width. A photo is looked at in parts, too,
so that faces of a tenth of its width are found.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..jit import F32, U8
from ..media.frame import check_bgr
from .model import read_model

_MODEL = "face_detection_short_range.tflite"
_SIDE = 128  # of the model's picture
# The model has two anchors in each of 16x16 cells, and six in each of 8x8.
_ANCHORS = ((16, 2), (8, 6))
_LEAST = 0.75  # of the probability
_SAME = 0.3  # faces that overlap so much, as a share of both together, are one

# A photo of more pixels is looked at in 3x3 parts of half its sides, which overlap. Of a panorama
# there are more parts, which are no longer than its shorter side.
_PARTS_FROM = 256


class Face(NamedTuple):
    """A face, in pixels of the photo: from the brows to the chin."""

    left: float
    top: float
    width: float
    height: float

    def scaled(self, across: float, down: float) -> Face:
        """The face in a picture that is so many times as wide, and as high."""
        return Face(self.left * across, self.top * down, self.width * across, self.height * down)


Window = tuple[int, int, int, int]  # left, top, width and height of what is looked at at once


def windows(width: int, height: int) -> list[Window]:
    """The whole picture; if that is large, its parts after it, for small faces."""
    found = [(0, 0, width, height)]
    if min(width, height) >= _PARTS_FROM:
        w, h = min(width // 2, height), min(height // 2, width)
        found += [(x, y, w, h) for y in _begins(height, h) for x in _begins(width, w)]
    return found


class FaceFinder:
    """Finds faces. Each thread needs its own, see `faces_in`."""

    def __init__(self) -> None:
        # OpenCV 5's default engine leaves one of the outputs out; OpenCV 4 has only this one.
        engine = [cv2.dnn.ENGINE_CLASSIC] if hasattr(cv2.dnn, "ENGINE_CLASSIC") else []
        self._net = read_model(_MODEL, *engine)
        self._centres = _anchor_centres()

    def __call__(self, bgr: U8, looked_at: Sequence[Window]) -> list[Face]:
        """The faces in some windows of uint8 (h, w, 3) BGR, the most certain first."""
        found: list[tuple[float, Face]] = []
        for left, top, w, h in looked_at:
            for certain, face in self._look(bgr[top : top + h, left : left + w]):
                found.append((certain, face._replace(left=face.left + left, top=face.top + top)))
        faces: list[Face] = []
        for _, face in sorted(found, reverse=True):
            if all(overlap(face, other) < _SAME for other in faces):
                faces.append(face)
        return faces

    def _look(self, bgr: U8) -> list[tuple[float, Face]]:
        height, width = bgr.shape[:2]
        side = max(width, height)
        left, top = (side - width) // 2, (side - height) // 2
        scale = _SIDE / side
        few = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(bgr, few, interpolation=cv2.INTER_AREA)
        square = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        x, y = round(left * scale), round(top * scale)
        part = small[: _SIDE - y, : _SIDE - x]
        square[y : y + part.shape[0], x : x + part.shape[1]] = part
        self._net.setInput(cv2.dnn.blobFromImage(square, 1 / 127.5, mean=(127.5,) * 3, swapRB=True))
        logits, boxes = self._net.forward(["classificators", "regressors"])
        certain = 1 / (1 + np.exp(-np.clip(logits.reshape(-1), -50, 50)))
        faces = []
        for i in np.flatnonzero(certain >= _LEAST):
            middle, size = boxes[0, i, :2] / _SIDE + self._centres[i], boxes[0, i, 2:4] / _SIDE
            corner = (middle - size / 2) * side - (left, top)
            faces.append((float(certain[i]), Face(*map(float, (*corner, *(size * side))))))
        return faces


_local = threading.local()


def faces_in(bgr: NDArray[Any]) -> list[Face]:
    """The faces in a photo, the most certain first; on any thread.

    Faces of at least a tenth of the photo's width are found.

    Parameters
    ----------
    bgr : uint8 (height, width, 3) BGR

    Returns
    -------
    left, top, width and height of each, from brows to chin, in pixels of the photo

    Raises
    ------
    UsageError : it is no such picture
    """
    photo = check_bgr(bgr)
    if not hasattr(_local, "finder"):
        _local.finder = FaceFinder()
    faces: list[Face] = _local.finder(photo, windows(photo.shape[1], photo.shape[0]))
    return faces


def _anchor_centres() -> F32:
    centres: list[tuple[float, float]] = []
    for cells, count in _ANCHORS:
        for y in range(cells):
            for x in range(cells):
                centres += [((x + 0.5) / cells, (y + 0.5) / cells)] * count
    return np.asarray(centres, np.float32)


def _begins(length: int, part: int) -> list[int]:
    """Where parts of a side begin that overlap by about half."""
    steps = round(2 * (length - part) / part)
    return [step * (length - part) // steps for step in range(steps + 1)]


def overlap(one: Face, other: Face) -> float:
    """The area that two faces share, relative to that of both together."""
    across = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    down = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    shared = max(0.0, across) * max(0.0, down)
    return shared / (one.width * one.height + other.width * other.height - shared)
