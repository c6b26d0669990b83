"""From the bytes of an image file to tiles.

One photo gives one tile, or several: the whole picture, and crops of half its size, because parts
of a photo have purer colours than the whole of it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .headers import BadImage, Header, read_header

__all__ = [
    "GROUND",
    "MAX_CROPS",
    "BadImage",
    "Crop",
    "Fit",
    "Recipe",
    "compose",
    "decode",
    "photo_tiles",
    "read_photo",
    "scale_tile",
    "silent_opencv",
]

U8 = NDArray[np.uint8]
Crop = tuple[int, int, int, int]
Fit = Literal["crop", "stretch"]

# What shows through transparency: the middle of the scale, so it pulls a match to neither end.
GROUND = 128

MAX_CROPS = 5  # the centre and four quadrants

# A crop that would have to be enlarged more than this is blurred, and not taken.
MAX_ENLARGEMENT = 4 / 3

# Read whole into memory, by every worker at once. No photo of MAX_PIXELS is larger when compressed.
MAX_BYTES = 2**30


# Opening a pipe would wait for a writer for ever without O_NONBLOCK. Windows has only O_BINARY.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How tiles are made of a photo.

    Attributes
    ----------
    tile_px : side of a tile in pixels
    fit : `crop` takes the largest square in the middle, `stretch` the whole picture, distorted
    crops : how many crops of half the size besides the whole, 0..5: the centre, then the quadrants
    ground : grey level 0..255 behind transparent pixels
    """

    tile_px: int
    fit: Fit = "crop"
    crops: int = 0
    ground: int = GROUND


def read_photo(path: str, recipe: Recipe) -> tuple[list[U8], list[Crop]]:
    """Tiles of an image file, and what each shows; as `photo_tiles`.

    Raises
    ------
    BadImage : with the reason, whatever is wrong with the file
    """
    try:
        # Not open(): it makes five calls into the system besides, each of which gives up the GIL
        # and has to win it back from the other workers.
        file = os.open(path, _OPEN_FLAGS)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise BadImage("not a regular file")
            if status.st_size > MAX_BYTES:
                raise BadImage(f"too large: {status.st_size:,} bytes")
            data = os.read(file, status.st_size)
            # A network may deliver in parts.
            while len(data) < status.st_size and (more := os.read(file, status.st_size)):
                data += more
        finally:
            os.close(file)
    except OSError as error:
        raise BadImage(error.strerror or str(error)) from None
    return photo_tiles(data, recipe)


def photo_tiles(data: bytes, recipe: Recipe) -> tuple[list[U8], list[Crop]]:
    """Make tiles of the bytes of an image file.

    Returns
    -------
    tiles : each uint8 (tile_px, tile_px, 3) BGR
    crops : for each the (left, top, width, height) that it shows, in pixels of the upright original

    Raises
    ------
    BadImage : with the reason
    """
    header = read_header(data)
    picture, (width, height) = decode(
        data, header, at_least=recipe.tile_px * (2 if recipe.crops else 1), ground=recipe.ground
    )
    crops = _crops(width, height, recipe)
    return [_tile(picture, crop, width, height, recipe.tile_px) for crop in crops], crops


def decode(
    data: bytes, header: Header, *, at_least: int, ground: int = GROUND
) -> tuple[U8, tuple[int, int]]:
    """Decode an image upright, as small as it can be had cheaply.

    A JPEG is decoded at 1/2, 1/4 or 1/8 (fewer coefficients per block: 4,100 instead of 1,166
    photos of 178x218 a second) as long as its shorter side keeps `at_least` pixels.

    Returns
    -------
    picture : uint8 (h, w, 3) BGR, upright
    size : (width, height) of the upright original
    """
    flags, scale = cv2.IMREAD_UNCHANGED, 1
    if header.kind == "JPEG":
        # A scaled size is rounded up, but a region of it must have the pixels: round down here.
        flags = cv2.IMREAD_COLOR
        for reduced, by in (
            (cv2.IMREAD_REDUCED_COLOR_8, 8),
            (cv2.IMREAD_REDUCED_COLOR_4, 4),
            (cv2.IMREAD_REDUCED_COLOR_2, 2),
        ):
            if min(header.width, header.height) // by >= at_least:
                flags, scale = reduced, by
                break
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError):
        picture = None
    if picture is None:
        raise BadImage(
            f"damaged {header.kind}, or of a kind that OpenCV {cv2.__version__} does not read"
        )
    picture = _turn(compose(picture, ground), header.orientation)
    height, width = picture.shape[:2]
    if scale > 1:
        sizes = (header.width, header.height)
        width, height = sizes if header.orientation < 5 else sizes[::-1]
    return picture, (width, height)


def compose(picture: Any, ground: int) -> Any:
    """Any picture that OpenCV decodes, as uint8 (h, w, 3) BGR over a grey ground (0..255)."""
    if picture.dtype == np.uint16:
        picture = cv2.convertScaleAbs(picture, alpha=1 / 257)
    elif picture.dtype != np.uint8:
        raise BadImage(f"its samples are {picture.dtype}; 8 and 16 bit are read")
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    if picture.shape[2] == 3:
        return picture
    # Composed before any scaling: what lies under transparent pixels is often garbage, and an
    # average would let it bleed out.
    alpha, bgr = cv2.extractChannel(picture, 3), cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)
    if alpha.min() == 255:
        return bgr
    behind = cv2.convertScaleAbs(cv2.bitwise_not(alpha), alpha=ground / 255)
    above = cv2.multiply(bgr, cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), scale=1 / 255)
    return cv2.add(above, cv2.cvtColor(behind, cv2.COLOR_GRAY2BGR))


def _turn(picture: Any, orientation: int) -> Any:
    """Make a picture upright; the eight cases of Exif's orientation tag."""
    if orientation >= 5:
        picture = cv2.transpose(picture)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return picture if flip is None else cv2.flip(picture, flip)


def _crops(width: int, height: int, recipe: Recipe) -> list[Crop]:
    """The regions to take of an upright picture of this size."""
    if recipe.fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        whole = (left, top, side, side)
    else:
        whole = (0, 0, width, height)
    left, top, w, h = whole
    half_w, half_h = w // 2, h // 2
    crops = [whole]
    if min(half_w, half_h) * MAX_ENLARGEMENT >= recipe.tile_px:
        right, bottom = left + w - half_w, top + h - half_h
        places = (
            (left + (w - half_w) // 2, top + (h - half_h) // 2),
            (left, top),
            (right, top),
            (left, bottom),
            (right, bottom),
        )
        crops += [(x, y, half_w, half_h) for x, y in places[: recipe.crops]]
    return crops


def _tile(picture: U8, crop: Crop, width: int, height: int, tile_px: int) -> U8:
    """One region, given in pixels of the (width, height) original, as a tile."""
    rows, columns = picture.shape[:2]
    left, top, w, h = crop
    x, y = left * columns // width, top * rows // height
    x_end = max(x + 1, round((left + w) * columns / width))
    y_end = max(y + 1, round((top + h) * rows / height))
    return scale_tile(picture[y:y_end, x:x_end], tile_px)


def scale_tile(region: U8, tile_px: int) -> U8:
    """Scale a (h, w, 3) picture to (tile_px, tile_px, 3)."""
    # INTER_AREA averages what it shrinks; what it enlarges it would leave in blocks.
    shrinks = min(region.shape[:2]) >= tile_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(region, (tile_px, tile_px), interpolation=how), np.uint8)


@contextlib.contextmanager
def silent_opencv() -> Iterator[None]:
    """Keep OpenCV from writing about damaged files to standard error: we list them ourselves."""
    logs: Any = cv2.utils.logging
    before = logs.setLogLevel(logs.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logs.setLogLevel(before)
