"""From a photo to tiles: which parts of the photo, and at which size.

One photo gives one tile, or several: the whole picture and crops of half its size, because parts of
a photo have purer colours than the whole of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from ..jit import I32, U8
from ..media.image_reader import BACKGROUND, BadImage, ImageReader, flatten
from ..option import Size
from ..tile_size import MAX_RATIO
from .recipe import Recipe

if TYPE_CHECKING:
    from ..vision.faces import Face

Crop = tuple[int, int, int, int]  # left, top, width, height, in pixels of the upright photo


class Uncut(NamedTuple):
    """A photo of another shape than its tiles, for tiles of any shape."""

    pixels: U8  # (height, width, 3) BGR, as large as a tile, and therefore distorted
    crop: Crop  # all of the photo, or of a panorama as much as the widest tiles show


class Tiles(NamedTuple):
    """The tiles of a photo, and what tiles of another shape need."""

    pixels: U8  # (n, height, width, 3) BGR
    crops: list[Crop]  # which part of the photo each shows
    uncut: Uncut | None = None
    heads: Sequence[Crop] = ()  # that are not to be cut


# Of what is cut off above and below a tile, this share is above it.
_ABOVE = 0.2

# Faces are looked for in photos of so many pixels on the shorter side.
_SMALLEST = 64

Margins = tuple[float, float, float]  # beside, above and below a face, as shares of its sides
HEAD: Margins = (0.3, 0.6, 0.3)

# A photo of which a tile shows nearly all is not kept uncut.
_HARDLY_CUT = 1.05

# Crops that would have to be enlarged more than this are blurred, and not used.
MAX_ENLARGEMENT = 4 / 3


def photo_tiles(data: bytes, recipe: Recipe) -> Tiles:
    """Make the tiles of an image file, or raise `BadImage`."""
    return picture_tiles(*read_photo(data, recipe), recipe)


def read_photo(data: bytes, recipe: Recipe, *, at_least: int = 0) -> tuple[U8, tuple[int, int]]:
    """Decode an image file at the size that its tiles need, or at least `at_least` pixels on the
    shorter side; and the size of the original (width, height). Raise `BadImage`."""
    reader = ImageReader(data)
    whole = largest_part((0, 0, *reader.size), recipe.tile)
    needed = _shorter_side(reader.size, whole, recipe.tile) * (2 if recipe.crops else 1)
    return flatten(reader.read(at_least=max(needed, at_least))), reader.size


def picture_tiles(picture: U8, size: tuple[int, int], recipe: Recipe) -> Tiles:
    """Make the tiles of a decoded photo, whose original had `size` (width, height)."""
    heads = _faces(picture, size, recipe)
    crops = _crops(*size, recipe, heads)
    whole, shown = _widest(size, heads), crops[0]
    keeps = recipe.fit == "crop" and whole[2] * whole[3] > _HARDLY_CUT * shown[2] * shown[3]
    parts = [*crops, whole] if keeps else crops
    pixels = scale_tiles([region(picture, part, size) for part in parts], recipe.tile)
    uncut = Uncut(pixels[-1], whole) if keeps else None
    return Tiles(pixels[: len(crops)], crops, uncut, heads)


def _widest(size: Size, heads: Sequence[Crop]) -> Crop:
    """All of a photo that a tile can show."""
    whole, (width, height) = (0, 0, *size), size
    if width > MAX_RATIO * height:
        return largest_part(whole, (MAX_RATIO, 1), heads)
    return largest_part(whole, (1, MAX_RATIO), heads) if height > MAX_RATIO * width else whole


def photo_parts(
    data: bytes, crops: Sequence[Crop], tile: Size, *, backgrounds: Sequence[int] = (BACKGROUND,)
) -> list[U8]:
    """Scale some parts of an image file to tiles of `tile` (width, height): (n, height, width, 3)
    BGR for each background, a grey level behind transparent pixels. Raise `BadImage` also when a
    crop is not inside the picture."""
    reader = ImageReader(data)
    width, height = reader.size
    if any(x + w > width or y + h > height for x, y, w, h in crops):
        raise BadImage("smaller than it was")
    pixels = reader.read(at_least=max(_shorter_side(reader.size, crop, tile) for crop in crops))
    pictures = (flatten(pixels, background) for background in backgrounds)
    return [
        scale_tiles([region(picture, crop, reader.size) for crop in crops], tile)
        for picture in pictures
    ]


def _shorter_side(size: Size, crop: Crop, tile: Size) -> int:
    """Pixels on the shorter side of a photo of `size` of which no side of a crop is enlarged."""
    return max(-(-min(size) * side // of) for side, of in zip(tile, crop[2:], strict=True))


def _faces(picture: U8, size: tuple[int, int], recipe: Recipe) -> list[Crop]:
    """The heads in a photo, in pixels of the original, if its tiles could cut them."""
    is_whole = recipe.fit == "stretch" or largest_part((0, 0, *size), recipe.tile)[2:] == size
    if recipe.focus == "centre" or (is_whole and not recipe.crops):
        return []
    if min(picture.shape[:2]) < _SMALLEST:
        return []
    from ..vision.faces import faces_in

    rows, columns = picture.shape[:2]
    across, down = size[0] / columns, size[1] / rows
    heads = []
    for face in faces_in(picture):
        x, y, width, height = around(face, (columns, rows), HEAD)
        part = (x * across, y * down, width * across, height * down)
        heads.append((int(part[0]), int(part[1]), int(part[2]), int(part[3])))
    return heads


def around(face: Face, size: Size, margins: Margins) -> tuple[float, float, float, float]:
    """Left, top, width and height of a face with margins, as far as they are in the picture."""
    left, top, width, height = face
    beside, above, below = margins
    x, x_end = max(0.0, left - beside * width), min(left + (1 + beside) * width, size[0])
    y, y_end = max(0.0, top - above * height), min(top + (1 + below) * height, size[1])
    return x, y, x_end - x, y_end - y


def _begin(length: int, part: int, usual: int, heads: Sequence[tuple[int, int, int]]) -> int:
    """Where a part of a side begins, so that it has as many whole heads as possible, then as much
    as possible of the others: each begins and ends somewhere on it, and has a weight. The nearest
    to the usual place; in the middle of a head that is longer than the part."""
    places = {usual}
    for begin, end, _ in heads:
        middle = (begin + end - part) // 2
        ends = (begin, end - part) if end - begin <= part else (middle,)
        places |= {min(max(0, place), length - part) for place in ends}

    def kept(place: int) -> tuple[int, float, int]:
        whole, partly = 0, 0.0
        for begin, end, weight in heads:
            seen = min(end, place + part) - max(begin, place)
            if seen == end - begin:
                whole += weight
            elif seen > 0:
                partly += weight * seen / (end - begin)
        return whole, partly, -abs(place - usual)

    return max(places, key=kept)


def _is_cut(head: Crop, crop: Crop) -> bool:
    """Whether a crop has a part of a head only."""
    (x, y, w, h), (left, top, width, height) = head, crop
    apart = x >= left + width or x + w <= left or y >= top + height or y + h <= top
    inside = x >= left and y >= top and x + w <= left + width and y + h <= top + height
    return not (apart or inside)


def largest_part(of: Sequence[int], wanted: Size, heads: Sequence[Crop] = ()) -> Crop:
    """The largest part of a crop that has a shape: in the middle, of an upright crop near the top,
    where heads are; and so that heads in the photo stay whole."""
    left, top, width, height = of
    across, down = wanted
    w = max(1, min(width, height * across // down))
    h = max(1, min(height, width * down // across))
    x, y = (width - w) // 2, int((height - h) * _ABOVE)
    if heads:
        across_it = [(x - left, x - left + wide, wide * high) for x, _, wide, high in heads]
        down_it = [(y - top, y - top + high, wide * high) for _, y, wide, high in heads]
        x, y = _begin(width, w, x, across_it), _begin(height, h, y, down_it)
    return left + x, top + y, w, h


def heads_by_photo(rows: I32) -> dict[int, list[Crop]]:
    """The heads of each photo, by its number, from the `heads` of a gallery."""
    heads: dict[int, list[Crop]] = {}
    for photo, left, top, width, height in rows.tolist():
        heads.setdefault(photo, []).append((left, top, width, height))
    return heads


def _crops(width: int, height: int, recipe: Recipe, heads: Sequence[Crop]) -> list[Crop]:
    whole = (0, 0, width, height)
    if recipe.fit == "crop":
        whole = largest_part(whole, recipe.tile, heads)
    crops, (left, top, w, h) = [whole], whole
    half_w, half_h = w // 2, h // 2
    across, down = recipe.tile
    if half_w * MAX_ENLARGEMENT >= across and half_h * MAX_ENLARGEMENT >= down:
        right, bottom = left + w - half_w, top + h - half_h
        centre = (left + (w - half_w) // 2, top + (h - half_h) // 2)
        places = (centre, (left, top), (right, top), (left, bottom), (right, bottom))
        parts = [(x, y, half_w, half_h) for x, y in places[: recipe.crops]]
        crops += [part for part in parts if not any(_is_cut(head, part) for head in heads)]
    return crops


def region(picture: U8, crop: Crop, size: tuple[int, int]) -> U8:
    """A crop of a picture that may have been decoded smaller than its original's `size`."""
    rows, columns = picture.shape[:2]
    (width, height), (left, top, w, h) = size, crop
    x, y = left * columns // width, top * rows // height
    x_end = max(x + 1, round((left + w) * columns / width))
    y_end = max(y + 1, round((top + h) * rows / height))
    return picture[y:y_end, x:x_end]


def scale_tiles(regions: Sequence[U8], tile: Size) -> U8:
    """Scale n pictures (h, w, 3) to tiles of `tile` (width, height): (n, height, width, 3)."""
    from .resize import shrink  # Numba, 0.4 s

    width, height = tile
    tiles = np.empty((len(regions), height, width, 3), np.uint8)
    for region, out in zip(regions, tiles, strict=True):
        if region.shape[0] >= height and region.shape[1] >= width:
            shrink(region, out)
        else:  # at least one side is enlarged, and a mean of areas would leave it in blocks
            cv2.resize(region, tile, out, interpolation=cv2.INTER_LINEAR)
    return tiles
