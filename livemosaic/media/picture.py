"""Pictures of a caller's own program, arrays and Pillow images, to frames and back."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .colour import U8
from .frame import Frame, check_bgr

if TYPE_CHECKING:
    from PIL.Image import Image


def to_array(picture: object, *, rgb: bool = False) -> U8:
    """A picture as uint8 (height, width, 3) BGR.

    Parameters
    ----------
    picture : uint8 (height, width, 3), or a Pillow image, which is turned upright and brought to
        sRGB; transparent pixels become grey
    rgb : the channels of an array are in the order RGB

    Raises
    ------
    UsageError : it is anything else, such as the None of `cv2.imread` without a file
    """
    if not isinstance(picture, np.ndarray) and (image := pillow_image(picture)) is not None:
        return _read(image)
    bgr = check_bgr(picture)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_RGB2BGR), np.uint8) if rgb else bgr


def to_frame(picture: object, *, rgb: bool = False) -> Frame:
    """A picture as a frame; see `to_array`."""
    return Frame.from_bgr(to_array(picture, rgb=rgb))


def from_frame(frame: Frame, like: Image | NDArray[Any], *, rgb: bool = False) -> Image | U8:
    """A frame as a picture of the same kind as another one."""
    if isinstance(like, np.ndarray):
        return frame.to_rgb() if rgb else frame.to_bgr()
    from PIL import Image

    return Image.fromarray(frame.to_rgb())


def _read(image: Image) -> U8:
    """The pixels of a Pillow image, by the one reader of all image files."""
    from PIL.Image import Exif

    from .image_reader import ORIENTATION, BadImage, ImageReader, flatten

    exif, file = Exif(), io.BytesIO()
    try:
        exif[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
        if image.mode != "RGBA" and image.has_transparency_data:
            image = image.convert("RGBA")
        image.save(file, "TIFF", exif=exif)
        return flatten(ImageReader(file.getvalue()).read())
    except (BadImage, OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"a picture of Pillow's: {error}; convert it to RGB") from None


def pillow_image(picture: object) -> Image | None:
    """The picture itself if it is a Pillow image; imports Pillow."""
    from PIL import Image

    return picture if isinstance(picture, Image.Image) else None
