"""Recognises a photo that comes again, also after a messenger has made it smaller.

A digest of the file would miss that, and the usual hashes of 64 bits take two photos of a burst for
one. A fingerprint is the shape of the photo and its 64 x 64 grey values. Coding a photo again
changes each of them by 4 levels at most; of two frames of a webcam, a third of a second apart, some
differ by 7 or more even if the person sits still.

Of a rejected photo only a coarse fingerprint is kept, in which no person can be recognised.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ...media.colour import U8

_SIDE, _COARSE_SIDE = 64, 16
_SHAPE = np.dtype("<i2")  # of the shape: the logarithm of width/height
_BYTES, _COARSE_BYTES = (_SHAPE.itemsize + side * side for side in (_SIDE, _COARSE_SIDE))
LENGTHS = (_BYTES, _COARSE_BYTES)

# The largest differences between fingerprints of one photo: of a grey value, and of the shape,
# which rounded sides change.
_MOST_LEVELS = {_BYTES: 6, _COARSE_BYTES: 2}
_SHAPE_STEPS, _MOST_STEPS = 1000, 30


def fingerprint_of(pixels: U8) -> bytes:
    """The fingerprint of uint8 (h, w, 3) BGR pixels."""
    height, width = pixels.shape[:2]
    shape = np.array(np.log2(width / height) * _SHAPE_STEPS).round().astype(_SHAPE)
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return shape.tobytes() + bytes(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))


def coarse(fingerprint: bytes) -> bytes:
    """The coarse fingerprint; itself if it is one, or empty."""
    if len(fingerprint) != _BYTES:
        return fingerprint
    shape, grey = fingerprint[: _SHAPE.itemsize], fingerprint[_SHAPE.itemsize :]
    blocks = np.frombuffer(grey, np.uint8).reshape(
        _COARSE_SIDE, -1, _COARSE_SIDE, _SIDE // _COARSE_SIDE
    )
    return shape + bytes(blocks.mean(axis=(1, 3)).round().astype(np.uint8))


def first_same(fingerprint: bytes, others: Sequence[bytes]) -> int | None:
    """The place of the first of `others` that is of the same photo; fine ones come before."""
    for own in (fingerprint, coarse(fingerprint)):
        places = [place for place, other in enumerate(others) if len(other) == len(own)]
        if not places:
            continue
        table = np.frombuffer(b"".join(others[place] for place in places), np.uint8)
        table = table.reshape(len(places), len(own))
        row = np.frombuffer(own, np.uint8)
        apart = np.maximum(table, row) - np.minimum(table, row)
        shapes, shape = (
            np.ascontiguousarray(it[..., : _SHAPE.itemsize]).view(_SHAPE).astype(int)[..., 0]
            for it in (table, row)
        )
        near = apart[:, _SHAPE.itemsize :].max(axis=1) <= _MOST_LEVELS[len(own)]
        same = near & (np.abs(shapes - shape) <= _MOST_STEPS)
        if same.any():
            return places[int(same.argmax())]
    return None
