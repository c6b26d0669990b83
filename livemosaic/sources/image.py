"""Still pictures that FFmpeg does not show as they are meant.

These are HEIC and AVIF (FFmpeg reads the first tile of a phone's photo only), pictures of another
colour space than sRGB, and mirrored ones. All others are left to FFmpeg, see sources/file.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import RefusedError
from ..media.colour import UNSPECIFIED, Colour
from ..media.ffmpeg import LIMITED, MATRIX_CODES, guess_matrix
from ..media.frame import Frame, StreamInfo
from ..media.image_reader import (
    HEAD_BYTES,
    BadImage,
    ImageReader,
    flatten,
    image_kind,
    read_image_file,
)
from ..media.urls import local_path
from .base import Source, SourceOptions

_MIRRORED = {2, 4, 5, 7}  # orientations of Exif that FFmpeg 8 gets wrong


class ImageSource(Source):
    """One picture, upright and in sRGB, with grey behind transparent pixels.

    Its frame has limited range and the matrix usual for its size, as FileSource's of PNG files.
    """

    def __init__(self, name: str, reader: ImageReader) -> None:
        try:
            picture = flatten(reader.read())
        except BadImage as error:
            raise _refusal(name, error) from None
        self.name = name
        matrix = guess_matrix(*reader.size)
        colour = Colour(matrix, tags=(UNSPECIFIED, UNSPECIFIED, MATRIX_CODES[matrix], LIMITED))
        self._frame = Frame.from_bgr(picture, colour=colour, captured_s=time.monotonic())
        self.info = StreamInfo(*reader.size, colour=colour, still=True, frames=1)

    def __iter__(self) -> Iterator[Frame]:
        yield self._frame


def open_input(spec: str, options: SourceOptions) -> ImageSource | None:
    """Open an image file by its content; None leaves the input to FFmpeg."""
    path = Path(local_path(spec))
    try:
        if spec == "-" or not path.is_file():
            return None
        with path.open("rb") as file:
            kind = image_kind(file.read(HEAD_BYTES))
    except OSError:  # FFmpeg's source reports it
        return None
    if kind is None:
        return None
    only_here = kind in ("HEIC", "AVIF")
    try:
        reader = ImageReader(read_image_file(str(path)))
    except BadImage as error:
        if only_here:
            raise _refusal(spec, error) from None
        return None
    if reader.animated or not (only_here or reader.converts or reader.orientation in _MIRRORED):
        return None
    return ImageSource(spec, reader)


def _refusal(name: str, error: BadImage) -> RefusedError:
    return RefusedError(f"{name}: cannot be read: {error}; copy it again, or save it as JPEG")
