"""The options of a gallery: how it is made of photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..option import Size, check, option
from ..tile_size import TILE, TileSize, checked, sides

RECIPE_VERSION = 4  # goes up when the same recipe makes another gallery of the same images

Fit = Literal["crop", "stretch"]
Focus = Literal["faces", "centre"]

# Tiles of 64 pixels serve mosaics of 8 to 64 pixels per cell, and 5,000 of them take 60 MB. Nothing
# can be recognised in tiles of fewer than 8; the counts in a histogram overflow above 255.
TILE_PX, MIN_TILE_PX, MAX_TILE_PX = 64, 8, 255

CLUSTERS, DROP_PERCENTILE = 500, 35.0  # as the reference notebook (vishnu-chand/videoMosaic)

MAX_FRAMES_OF_VIDEOS = 1000

SHARDS = ".shards"  # ends the name of the folder of a gallery's shards, see shards.py

MAX_CROPS = 5  # the centre and four quadrants

# A small set of photos covers few colours, and crops cover more. A large one needs no crops.
CROPS_BELOW_PHOTOS = 2000


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a gallery is made of photos, checked; `livemosaic gallery build --help` explains it.

    Raises
    ------
    OptionError : an option does not take its value
    """

    # fmt: off
    tile_px: TileSize = option(TILE_PX, """side of a square tile in pixels, or width and height of
        others, from 1:2 to 2:1""", name="tile", low=MIN_TILE_PX, high=MAX_TILE_PX, kind=TILE,
        group="gallery")
    fit: Fit = option("crop", """the largest part of each photo that has the tile's shape: that with
        its faces, else in the middle, of an upright photo nearer to the top; or the whole photo,
        distorted""", group="gallery")
    crops: int | None = option(None, f"""number of crops of half the size of each photo, in addition
        to the whole: the centre, then the quadrants (default: of fewer than {CROPS_BELOW_PHOTOS:,}
        photos those crops whose colour no whole photo has)""", low=0, high=MAX_CROPS,
        group="gallery")
    clusters: int = option(CLUSTERS, """highest number of clusters of tiles with similar
        colours""", low=1, group="gallery")
    drop_percentile: float = option(DROP_PERCENTILE, """percentage of the clusters, the smallest
        ones, that are not used by the match by clusters""", low=0, high=100, metavar="P",
        group="gallery")
    seed: int = option(0, "seed of all random choices", low=0, high=2**63 - 1,
        group="gallery")
    no_mirror: bool = option(False, "never show the tiles mirrored (letters, signs)",
        group="gallery")
    frames_of_videos: int = option(0, """number of frames of each video that become photos, too,
        spread over the video""", low=0, high=MAX_FRAMES_OF_VIDEOS, group="gallery")
    focus: Focus = option("faces", """what a tile keeps of a photo that is not square: the faces in
        it, or the centre""", group="gallery")
    # fmt: on

    def __post_init__(self) -> None:
        check(self)
        tile = checked("tile_px", self.tile_px, low=MIN_TILE_PX, high=MAX_TILE_PX)
        object.__setattr__(self, "tile_px", tile)

    @property
    def tile(self) -> Size:
        """Width and height of a tile in pixels."""
        return sides(self.tile_px)

    @property
    def mirror(self) -> bool:
        """May the tiles be shown mirrored?"""
        return not self.no_mirror

    def for_photos(self, count: int) -> Recipe:
        """The recipe to cut so many photos by. Unless a number of crops was asked for, `AddedCrops`
        chooses from them."""
        if self.crops is not None:
            return self
        return replace(self, crops=MAX_CROPS if count < CROPS_BELOW_PHOTOS else 0)

    def chooses_crops(self, count: int) -> bool:
        """Whether only some of the crops of so many photos are used."""
        return self.crops is None and bool(self.for_photos(count).crops)
