"""From the bytes of an image file to tiles.

One photo gives one tile, or several: the whole picture, and crops of half its size, because parts
of a photo have purer colours than the whole of it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .image_headers import BadImage, Header, read_header

__all__ = [
    "GROUND",
    "MAX_CROPS",
    "BadImage",
    "Crop",
    "Fit",
    "Recipe",
    "compose",
    "decode",
    "photo_parts",
    "photo_regions",
    "photo_tiles",
    "read_photo",
    "scale_tiles",
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


def read_photo(path: str) -> bytes:
    """The bytes of an image file.

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
    return data


def photo_tiles(data: bytes, recipe: Recipe) -> tuple[U8, list[Crop]]:
    """Make tiles of the bytes of an image file.

    Returns
    -------
    tiles : uint8 (n, tile_px, tile_px, 3) BGR
    crops : for each the (left, top, width, height) that it shows, in pixels of the upright original

    Raises
    ------
    BadImage : with the reason
    """
    regions, crops = photo_regions(data, recipe)
    return scale_tiles(regions, recipe.tile_px), crops


def photo_regions(data: bytes, recipe: Recipe) -> tuple[list[U8], list[Crop]]:
    """What `photo_tiles` makes tiles of, not yet scaled: views of one picture, and the crops."""
    header = read_header(data)
    picture, (width, height) = decode(
        data, header, at_least=recipe.tile_px * (2 if recipe.crops else 1), ground=recipe.ground
    )
    crops = _crops(width, height, recipe)
    return [_region(picture, crop, width, height) for crop in crops], crops


def photo_parts(data: bytes, crops: Sequence[Crop], tile_px: int, *, ground: int = GROUND) -> U8:
    """Parts of a photo that was looked at before.

    Parameters
    ----------
    data : the bytes of an image file
    crops : (left, top, width, height) in pixels of the upright original
    tile_px : side of the result in pixels
    ground : grey level 0..255 behind transparent pixels

    Returns
    -------
    uint8 (n, tile_px, tile_px, 3) BGR

    Raises
    ------
    BadImage : with the reason; also when a crop is not inside the picture
    """
    header = read_header(data)
    smallest = min(min(crop[2:]) for crop in crops)
    at_least = -(-min(header.width, header.height) * tile_px // smallest)
    picture, (width, height) = decode(data, header, at_least=at_least, ground=ground)
    if any(x + w > width or y + h > height for x, y, w, h in crops):
        raise BadImage("smaller than it was")
    return scale_tiles([_region(picture, crop, width, height) for crop in crops], tile_px)


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
    if header.kind != "JPEG":  # which is BGR by its flags
        picture = compose(picture, ground)
    if header.orientation > 1:
        picture = _turn(picture, header.orientation)
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


def _region(picture: U8, crop: Crop, width: int, height: int) -> U8:
    """The part of a picture that a crop, given in pixels of the (width, height) original, means."""
    rows, columns = picture.shape[:2]
    left, top, w, h = crop
    x, y = left * columns // width, top * rows // height
    x_end = max(x + 1, round((left + w) * columns / width))
    y_end = max(y + 1, round((top + h) * rows / height))
    return picture[y:y_end, x:x_end]


def scale_tiles(regions: Sequence[U8], tile_px: int) -> U8:
    """Scale n pictures (h, w, 3) to (n, tile_px, tile_px, 3), those of one shape together."""
    from .resize import shrink  # Numba, 0.4 s

    tiles = np.empty((len(regions), tile_px, tile_px, 3), np.uint8)
    alike: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, region in enumerate(regions):
        alike[region.shape].append(i)
    for shape, numbers in alike.items():
        if min(shape[:2]) >= tile_px:
            tiles[numbers] = shrink(np.stack([regions[i] for i in numbers]), tile_px)
        else:  # at least one side is enlarged, and a mean of areas would leave it in blocks
            for i in numbers:
                cv2.resize(regions[i], (tile_px, tile_px), tiles[i], interpolation=cv2.INTER_LINEAR)
    return tiles


@contextlib.contextmanager
def silent_opencv() -> Iterator[None]:
    """Keep OpenCV from writing about damaged files to standard error: we list them ourselves."""
    logs: Any = cv2.utils.logging
    before = logs.setLogLevel(logs.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logs.setLogLevel(before)
