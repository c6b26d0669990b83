"""Conversion of BGR pictures, as devices and screens give them, to I420 planes."""

from __future__ import annotations

import cv2
import numpy as np

from ..media.colour import U8, UNSPECIFIED, Colour, Planes
from ..media.ffmpeg import LIMITED, MATRIX_CODES

# The default of V4L2 and of the USB video class for uncompressed pictures of any size. Outputs are
# tagged with it, because players would guess BT.709 from 1280x720 upwards.
BT601 = Colour("bt601", False, (UNSPECIFIED, UNSPECIFIED, MATRIX_CODES["bt601"], LIMITED))


def bgr_planes(picture: U8) -> Planes:
    """The planes y (h, w), u and v (ceil(h/2), ceil(w/2)) in `BT601` of (h, w, 3) BGR or
    (h, w, 4) BGRA, whose alpha is ignored."""
    height, width, channels = picture.shape
    if (width | height) & 1:
        picture = np.asarray(
            cv2.copyMakeBorder(picture, 0, height & 1, 0, width & 1, cv2.BORDER_REPLICATE), np.uint8
        )
    rows, columns = picture.shape[:2]
    # OpenCV's own conversion (BT.601, limited range) is ten times as fast as one by a matrix.
    code = cv2.COLOR_BGRA2YUV_I420 if channels == 4 else cv2.COLOR_BGR2YUV_I420
    planes = np.asarray(cv2.cvtColor(picture, code), np.uint8).reshape(-1)
    u, v = planes[rows * columns :].reshape(2, rows // 2, columns // 2)
    return planes[: rows * columns].reshape(rows, columns)[:height, :width], u, v
