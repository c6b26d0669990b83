"""From a photo to tiles: which parts of the photo, and at which size.

One photo gives one tile, or several: the whole picture and crops of half its size, because parts of
a photo have purer colours than the whole of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..media.image_reader import BACKGROUND, BadImage, ImageReader, flatten
from .clusters import CLUSTERS, DROP_PERCENTILE
from .file_format import TILE_PX_MAX

__all__ = [
    "MAX_CROPS",
    "Crop",
    "Fit",
    "Recipe",
    "Regions",
    "photo_parts",
    "photo_regions",
    "picture_regions",
    "scale_tiles",
]

U8 = NDArray[np.uint8]
Crop = tuple[int, int, int, int]  # left, top, width, height, in pixels of the upright photo
Regions = tuple[list[U8], list[Crop]]  # parts of a photo, and where they are
Fit = Literal["crop", "stretch"]

# Tiles of 64 pixels serve mosaics of 8 to 64 pixels per cell, and 5,000 of them take 60 MB.
TILE_PX = 64
TILE_PX_MIN = 8  # nothing can be recognised in smaller ones

SEED_MAX = 2**63 - 1  # the same as for a mosaic

MAX_CROPS = 5  # the centre and four quadrants

# A small set of photos covers few colours, and crops cover more. A large one needs no crops, which
# would only make it larger: six tiles of each of 2,000 photos take 150 MB.
CROPS_BELOW_PHOTOS = 2000

# Crops that would have to be enlarged more than this are blurred, and not used.
MAX_ENLARGEMENT = 4 / 3


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a gallery is made of photos.

    Attributes
    ----------
    tile_px : side of a tile in pixels, 8..255
    fit : `crop` takes the largest square in the middle, `stretch` distorts the whole photo
    crops : how many crops of half the size, in addition to the whole, 0..5: the centre, then the
        quadrants. None: see `for_photos`
    clusters, drop_percentile : see `livemosaic.gallery.clusters`
    seed : of all randomness, 0..2^63 - 1
    mirror : may the tiles be shown mirrored?

    Raises
    ------
    UsageError : a value out of its range
    """

    tile_px: int = TILE_PX
    fit: Fit = "crop"
    crops: int | None = None
    clusters: int = CLUSTERS
    drop_percentile: float = DROP_PERCENTILE
    seed: int = 0
    mirror: bool = True

    def __post_init__(self) -> None:
        if not TILE_PX_MIN <= self.tile_px <= TILE_PX_MAX:
            raise UsageError(f"a tile of {self.tile_px} px: choose {TILE_PX_MIN} to {TILE_PX_MAX}")
        if self.fit not in ("crop", "stretch"):
            raise UsageError(f"fit {self.fit!r}: choose crop or stretch")
        if self.crops is not None and not 0 <= self.crops <= MAX_CROPS:
            raise UsageError(f"{self.crops} crops per photo: choose 0 to {MAX_CROPS}")
        if self.clusters < 1:
            raise UsageError(f"{self.clusters} clusters: choose 1 or more")
        if not 0 <= self.drop_percentile <= 100:
            raise UsageError(f"drop percentile {self.drop_percentile:g}: choose 0 (none) to 100")
        if not 0 <= self.seed <= SEED_MAX:
            raise UsageError(f"seed {self.seed}: choose 0 to {SEED_MAX}")

    def for_photos(self, count: int) -> Recipe:
        """The recipe for so many photos: 5 crops of each of fewer than 2,000 photos, else none."""
        if self.crops is not None:
            return self
        return replace(self, crops=MAX_CROPS if count < CROPS_BELOW_PHOTOS else 0)


def photo_regions(data: bytes, recipe: Recipe) -> Regions:
    """The parts of an image file that become tiles, not yet scaled.

    Returns
    -------
    regions : uint8 (h, w, 3) BGR, views of one picture
    crops : which part of the photo each region shows

    Raises
    ------
    BadImage : with the reason
    """
    reader = ImageReader(data)
    picture = flatten(reader.read(at_least=recipe.tile_px * (2 if recipe.crops else 1)))
    return picture_regions(picture, reader.size, recipe)


def picture_regions(picture: U8, size: tuple[int, int], recipe: Recipe) -> Regions:
    """The same of a decoded photo, whose original had `size` (width, height)."""
    crops = _crops(*size, recipe)
    return [_region(picture, crop, size) for crop in crops], crops


def photo_parts(
    data: bytes, crops: Sequence[Crop], tile_px: int, *, backgrounds: Sequence[int] = (BACKGROUND,)
) -> list[U8]:
    """Scale some parts of an image file, whose sizes are known.

    Parameters
    ----------
    data : the bytes of the file
    crops : the parts
    tile_px : side of the result in pixels
    backgrounds : grey levels 0..255 behind transparent pixels

    Returns
    -------
    for each background, uint8 (n, tile_px, tile_px, 3) BGR

    Raises
    ------
    BadImage : with the reason; also when a crop is not inside the picture
    """
    reader = ImageReader(data)
    width, height = reader.size
    if any(x + w > width or y + h > height for x, y, w, h in crops):
        raise BadImage("smaller than it was")
    smallest = min(min(crop[2:]) for crop in crops)
    pixels = reader.read(at_least=-(-min(width, height) * tile_px // smallest))
    pictures = (flatten(pixels, background) for background in backgrounds)
    return [
        scale_tiles([_region(picture, crop, reader.size) for crop in crops], tile_px)
        for picture in pictures
    ]


def _crops(width: int, height: int, recipe: Recipe) -> list[Crop]:
    left, top, w, h = 0, 0, width, height
    if recipe.fit == "crop":
        w = h = min(width, height)
        left, top = (width - w) // 2, (height - h) // 2
    crops = [(left, top, w, h)]
    half_w, half_h = w // 2, h // 2
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


def _region(picture: U8, crop: Crop, size: tuple[int, int]) -> U8:
    """A crop of a picture that may have been decoded smaller than its original's `size`."""
    rows, columns = picture.shape[:2]
    (width, height), (left, top, w, h) = size, crop
    x, y = left * columns // width, top * rows // height
    x_end = max(x + 1, round((left + w) * columns / width))
    y_end = max(y + 1, round((top + h) * rows / height))
    return picture[y:y_end, x:x_end]


def scale_tiles(regions: Sequence[U8], tile_px: int) -> U8:
    """Scale n pictures (h, w, 3) to (n, tile_px, tile_px, 3), those of one shape together."""
    from .resize import shrink  # Numba, 0.4 s

    tiles = np.empty((len(regions), tile_px, tile_px, 3), np.uint8)
    same_shape: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, region in enumerate(regions):
        same_shape[region.shape].append(i)
    for shape, numbers in same_shape.items():
        if min(shape[:2]) >= tile_px:
            tiles[numbers] = shrink(np.stack([regions[i] for i in numbers]), tile_px)
        else:  # at least one side is enlarged, and a mean of areas would leave it in blocks
            for i in numbers:
                cv2.resize(regions[i], (tile_px, tile_px), tiles[i], interpolation=cv2.INTER_LINEAR)
    return tiles
