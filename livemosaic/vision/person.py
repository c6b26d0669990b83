"""The mask of the person in front of a camera.

MediaPipe's model for selfies (see models/CREDITS.md) finds people within about 2 m. It runs in
OpenCV, in 6 ms.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..jit import F32, U8, Bools
from ..media.colour import Colour, ycbcr_to_bgr
from ..media.frame import Frame
from ..media.scale import scaled
from .model import read_model

_MODEL = "selfie_segmentation_landscape.tflite"
WIDTH, HEIGHT = 256, 144  # of the mask, whatever shape the picture has

# A sample has moved if the mean luma around it differs by more levels: more than the noise of a
# camera.
_MOVED_LEVELS = 10
# The edge of the mask may move with what is beside it.
_BESIDE = np.ones((7, 7), np.uint8)
# What moves only within the person, so far from the edge of the mask, does not change the mask:
# a mouth, a hand. It is not more than this share of the picture.
_SURE, _AROUND, _LITTLE = np.float32(0.9), np.ones((9, 9), np.uint8), 0.02
# Where nothing has moved, smaller changes of the mask are noise of the model, and larger ones are
# adopted by and by.
_NOISE, _SHARE = np.float32(0.1), np.float32(0.25)
_LOOKS = 3  # then what is still different is noise, too

# Another scene: so much of the picture differs by more levels, at so few samples that what one
# person does is not much of it.
_SCENE_SIZE, _SCENE_SHARE, _SCENE_LEVELS = (32, 18), 0.4, 16

# The guided filter (He, Sun, Tang 2013): the radius of its windows in samples, and how much luma
# has to vary in one, in levels, to be an edge.
_RADIUS, _EDGE_LEVELS = 2, 4.0
# Below and above, a filtered mask is 0 and 1: the filter makes it softer than the model.
_LOW, _HIGH = 0.25, 0.75


def shrunk_luma(frame: Frame) -> U8:
    """The luma of a frame in the size of the mask: uint8 (144, 256)."""
    return _shrunk(frame.y)


def shrunk(frame: Frame, luma: U8 | None = None) -> U8:
    """A frame in the size of the mask: uint8 (144, 256, 3) Y'CbCr. `luma` is of `shrunk_luma`."""
    luma = shrunk_luma(frame) if luma is None else luma
    return np.asarray(cv2.merge([luma, _shrunk(frame.u), _shrunk(frame.v)]), np.uint8)


def _shrunk(plane: U8) -> U8:
    return np.asarray(scaled(plane, WIDTH, HEIGHT), np.uint8)


class PersonFinder:
    """Looks for the person in pictures of a stream, see `shrunk`."""

    def __init__(self) -> None:
        self._net = read_model(_MODEL)
        self._luma: U8 | None = None  # of the last look
        self._mask = np.zeros((HEIGHT, WIDTH), np.float32)
        self._inside = np.zeros((HEIGHT, WIDTH), np.bool_)  # well within the person
        self._looks = 0  # since the last move that matters

    def look(self, ycbcr: U8, colour: Colour, *, is_new: bool = False) -> F32:
        """The mask: float32 (144, 256), 1 where the person is.

        It follows at once what moves, and is steady elsewhere. If nothing has changed, it is the
        array of the last look. In another scene, nothing of the last look counts (`is_new`).
        """
        if is_new:
            self._luma = None
        luma = np.asarray(cv2.blur(ycbcr[..., 0], (3, 3)), np.uint8)
        moved = self._moved(luma)
        if (moved & ~self._inside).any() or moved.mean() > _LITTLE:
            self._looks = 0
        elif self._looks >= _LOOKS:
            return self._mask
        self._looks += 1
        self._luma = luma
        change = self.find(ycbcr_to_bgr(ycbcr, colour)) - self._mask
        share = np.where(np.abs(change) > _NOISE, _SHARE, np.float32(0))
        if not share.any():
            self._looks = _LOOKS
        share[moved] = 1
        if share.any():
            self._mask = self._mask + share * change
            sure = (self._mask > _SURE).astype(np.uint8)
            self._inside = np.asarray(cv2.erode(sure, _AROUND), np.bool_)
        return self._mask

    def _moved(self, luma: U8) -> Bools:
        if self._luma is None:
            return np.ones(luma.shape, np.bool_)
        far = (cv2.absdiff(luma, self._luma) > _MOVED_LEVELS).astype(np.uint8)
        return np.asarray(cv2.dilate(far, _BESIDE), np.bool_)

    def find(self, bgr: U8) -> F32:
        """The model's mask for a picture, uint8 (144, 256, 3) BGR, whatever came before."""
        self._net.setInput(cv2.dnn.blobFromImage(bgr, 1 / 255, swapRB=True))
        return np.asarray(self._net.forward()[0, 0], np.float32)


def coarse(luma: U8) -> U8:
    """Luma at so few samples that scenes can be told apart."""
    return np.asarray(cv2.resize(luma, _SCENE_SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def is_other_scene(one: U8, other: U8) -> bool:
    """Whether two pictures, see `coarse`, are of different scenes."""
    return bool((cv2.absdiff(one, other) > _SCENE_LEVELS).mean() > _SCENE_SHARE)


def refined(mask: F32, shrunk_luma: U8) -> U8:
    """A mask of this picture, or one a little earlier, at its edges: uint8 (144, 256), 0..255."""
    size = (2 * _RADIUS + 1, 2 * _RADIUS + 1)
    luma = shrunk_luma.astype(np.float32)
    mean, mean_mask = cv2.blur(luma, size), cv2.blur(mask, size)
    variance = cv2.blur(luma * luma, size) - mean * mean
    covariance = cv2.blur(luma * mask, size) - mean * mean_mask
    slope = covariance / (variance + _EDGE_LEVELS**2)
    shift = cv2.blur(mean_mask - slope * mean, size)
    fitted = cv2.blur(slope, size) * luma + shift
    levels = (fitted - _LOW) * (255 / (_HIGH - _LOW))
    return np.asarray(np.clip(levels, 0, 255), np.uint8)
