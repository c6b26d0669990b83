"""What a gallery lacks: the error of its mosaics, the part that its photos cause, and a cure.

The error is the one that the match by layout lowers: the distance of the cells' 4x4 points to those
of their tiles, in CIELAB, after the tint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .argument import path_text
from .errors import SourceError
from .gallery.gallery import Gallery
from .gallery.layout_codes import encode, weights
from .gallery.layout_features import cell_points, points_to_lab
from .gallery.layout_index import LayoutIndex, layout_index
from .gallery.photo_paths import VIDEO_EXTENSIONS
from .gallery.video_frames import frames_of, read_photo_file
from .jit import F32, U8
from .media.colour import ycbcr_to_bgr
from .media.image_reader import BadImage, ImageReader, flatten
from .media.picture import to_frame
from .mosaic.analysis import analysis_picture
from .mosaic.mosaic import Mosaic

# The included clip, for which a gallery is judged if there is no other.
CLIP = Path(__file__).parent / "demo" / "bigbuckbunny.mp4"

# Frames of a video, spread over it, and cells of them, which are compared with all tiles.
_FRAMES, _CELLS = 8, 2000
_BATCH = 16_384  # tiles at once

# Colours and photos that are named, and the least share of the photos' error of one.
_NAMED, _LEAST = 5, 0.01

# Bounds in CIELAB: below this chroma a colour is grey; the hues of the others, in degrees.
_GREY_CHROMA = 9.0
_GREYS = ((20, "black"), (45, "dark grey"), (70, "grey"), (90, "light grey"), (101, "white"))
_HUES = (
    *((10, "pink"), (50, "red"), (82, "orange"), (112, "yellow"), (170, "green")),
    *((225, "turquoise"), (310, "blue"), (335, "purple"), (361, "pink")),
)
_DARK, _LIGHT = 35, 72
_DARKER = {"orange": (60, "brown"), "yellow": (65, "olive")}  # below a lightness
# Halves of a photo that differ by less, in CIELAB, have one name.
_ALIKE = 12.0


@dataclass(frozen=True, slots=True)
class NamedColour:
    """A colour: its name in words, as #rrggbb, and its share of the error of the photos."""

    name: str
    colour: str
    share: float


@dataclass(frozen=True, slots=True)
class HelpfulPhoto:
    """A photo that would help: its look in words, its 4x4 colours as #rrggbb, row by row, and by
    how much it would lower the error of the photos, after those before it, 0..1."""

    look: str
    points: tuple[str, ...]
    gain: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a gallery lacks.

    Attributes
    ----------
    input : for which it was judged
    error : of the mosaic, the root mean square of the cells' distances (CIELAB, after the tint)
    photos_error : the same with the nearest tile for each cell, however often it is shown: the
        part that only other photos can lower. The rest comes from showing photos rarely and apart
    photos_share : of the squared error
    lacking : colours that the photos lack, those of the largest share first
    helpful : photos that would help, the most helpful one first
    """

    input: str
    error: float
    photos_error: float
    photos_share: float
    lacking: tuple[NamedColour, ...]
    helpful: tuple[HelpfulPhoto, ...]


def diagnose_gallery(gallery: Gallery, input: str | Path = CLIP) -> Diagnosis:
    """Find out what a gallery lacks for the default mosaic of an input.

    Parameters
    ----------
    gallery : the gallery
    input : a picture, or a video, of which eight frames are looked at; by default the included clip

    Raises
    ------
    SourceError : the input cannot be read

    Examples
    --------
    >>> from livemosaic import diagnose_gallery, open_gallery
    >>> found = diagnose_gallery(open_gallery("photos"))    # doctest: +SKIP
    >>> found.lacking[0].name, found.helpful[0].look        # doctest: +SKIP
    ('light blue', 'light blue above green')
    """
    path = path_text("input", input, "a picture or a video")
    mosaic = Mosaic(gallery)
    weight = weights(mosaic.settings.tint)
    cells: list[U8] = []
    shown: list[F32] = []
    for picture in _pictures(path):
        mosaic.apply(picture)
        index = layout_index(mosaic.cut_gallery)  # with the tiles that it shows
        points = _points(mosaic, picture)
        variants = 2 * mosaic.tile_ids.reshape(-1) + mosaic.flips.reshape(-1)
        codes, _ = encode(points_to_lab(points))
        places = index.place[variants]
        own = index.all_codes[places]
        costs = (weight * (own - codes) ** 2).sum(axis=1) + index.residual[places]
        cells.append(points)
        shown.append(costs.astype(np.float32))
    all_cells, costs = np.concatenate(cells), np.concatenate(shown)
    some = slice(None, None, -(-len(all_cells) // _CELLS))
    points, costs = all_cells[some], costs[some]
    codes, residual = encode(points_to_lab(points))
    best, lowest = _nearest(index, codes, weight)
    error, photos_error = float(costs.mean()), float(lowest.mean())
    apart = weight[:3] * (index.all_codes[best, :3] - codes[:, :3]) ** 2
    return Diagnosis(
        input=path,
        error=error**0.5,
        photos_error=photos_error**0.5,
        photos_share=min(photos_error / error, 1.0) if error else 0.0,
        lacking=_lacking(points, apart.sum(axis=1), lowest),
        helpful=_helpful(points, codes, residual, lowest, weight),
    )


def diagnosis_lines(found: Diagnosis) -> list[str]:
    """A diagnosis as lines for people."""
    name = "the included clip" if found.input == str(CLIP) else found.input
    lines = [
        f"judged for  {name}",
        f"error       {found.error:.1f} (CIELAB, after the tint); {found.photos_share:.0%} of its "
        "square comes from the photos, the rest from showing each rarely",
    ]
    colours = [f"{it.name} ({it.colour}) {it.share:.0%}" for it in found.lacking]
    lines.append(f"lacks       {', '.join(colours) or 'no colour'}")
    for photo in found.helpful:
        lines.append(f"would help  a photo that is {photo.look}: {photo.gain:.0%} less error")
    return lines


def _pictures(path: str) -> Iterator[U8]:
    """The picture of a file, or some of a video."""
    is_video = Path(path).suffix.lower() in VIDEO_EXTENSIONS
    names, unreadable = frames_of([path], _FRAMES) if is_video else ([path], [])
    try:
        for _, reason in unreadable:
            raise BadImage(reason)
        for name in names:
            yield flatten(ImageReader(read_photo_file(name)).read())
    except BadImage as reason:
        raise SourceError(f"{path}: cannot be read: {reason}; name a picture or a video") from None


def _points(mosaic: Mosaic, picture: U8) -> U8:
    """The 4x4 points of a picture's cells, uint8 (n, 4, 4, 3) BGR."""
    frame, grid = to_frame(picture), mosaic.grid
    bgr = ycbcr_to_bgr(analysis_picture(frame, grid), frame.colour)
    return cell_points(bgr, grid.rows, grid.columns)


def _nearest(index: LayoutIndex, codes: F32, weight: F32) -> tuple[NDArray[np.int64], F32]:
    """The place of the cheapest variant for each cell, and its cost."""
    scale = np.sqrt(weight)
    cells = codes * scale
    lengths = np.square(cells).sum(axis=1)
    best, lowest = np.zeros(len(cells), np.int64), np.full(len(cells), np.inf, np.float32)
    all_codes = index.all_codes
    for begin in range(0, len(all_codes), _BATCH):
        tiles = all_codes[begin : begin + _BATCH] * scale
        own = np.square(tiles).sum(axis=1) + index.residual[begin : begin + _BATCH]
        costs = own - 2 * (cells @ tiles.T) + lengths[:, None]
        place = costs.argmin(axis=1)
        cost = np.maximum(costs[np.arange(len(cells)), place], 0)
        lower = cost < lowest
        best[lower], lowest[lower] = place[lower] + begin, cost[lower]
    return best, lowest


def _lacking(points: U8, apart: F32, lowest: F32) -> tuple[NamedColour, ...]:
    """The colours of the cells to whose means the nearest tiles are far."""
    means = points.reshape(len(points), -1, 3).mean(axis=1)
    names = np.array([colour_name(mean) for mean in means])
    total = float(lowest.sum())
    found = []
    for name in np.unique(names):
        chosen = names == name
        share = float(apart[chosen].sum()) / total if total else 0.0
        if share >= _LEAST:
            mean = np.average(means[chosen], axis=0, weights=apart[chosen])
            found.append(NamedColour(str(name), _hex(mean), share))
    return tuple(sorted(found, key=lambda it: -it.share)[:_NAMED])


def _helpful(
    points: U8, codes: F32, residual: F32, lowest: F32, weight: F32
) -> tuple[HelpfulPhoto, ...]:
    """Which cells would be the best photos themselves: one after the other, the greatest gain."""
    scaled = codes * np.sqrt(weight)
    lengths = np.square(scaled).sum(axis=1)
    costs = lengths[:, None] + (lengths + residual) - 2 * scaled @ scaled.T  # of column in row
    left, total, found = lowest.copy(), float(lowest.sum()), []
    for _ in range(_NAMED):
        gains = np.maximum(left[:, None] - costs, 0).sum(axis=0)
        chosen = int(gains.argmax())
        gain = float(gains[chosen]) / total if total else 0.0
        if gain < _LEAST:
            break
        colours = tuple(_hex(colour) for colour in points[chosen].reshape(-1, 3))
        found.append(HelpfulPhoto(_look(points[chosen]), colours, gain))
        left = np.minimum(left, np.maximum(costs[:, chosen], 0))
    return tuple(found)


def _look(points: U8) -> str:
    """A photo of 4x4 colours in words, such as `light blue above green`."""
    halves = {
        "above": (points[:2], points[2:]),
        "beside": (points[:, :2], points[:, 2:]),
    }
    names, apart = {}, {}
    for word, pair in halves.items():
        first, second = (half.reshape(-1, 3).mean(axis=0) for half in pair)
        names[word] = colour_name(first), colour_name(second)
        apart[word] = float(np.linalg.norm(_lab(first) - _lab(second)))
    word = max(apart, key=lambda it: apart[it])
    one, other = names[word]
    if apart[word] < _ALIKE or one == other:
        return f"{colour_name(points.reshape(-1, 3).mean(axis=0))} all over"
    return f"{one} {word} {other}"


def colour_name(bgr: NDArray[Any]) -> str:
    """A colour, (3,) B'G'R' of 0..255, in words."""
    lightness, a, b = _lab(bgr)
    chroma = float(np.hypot(a, b))
    if chroma < _GREY_CHROMA:
        return next(name for end, name in _GREYS if lightness < end)
    degrees = float(np.degrees(np.arctan2(b, a))) % 360
    hue = next(name for end, name in _HUES if degrees < end)
    below, darker = _DARKER.get(hue, (0, hue))
    if lightness < below:
        hue = darker
    prefix = "dark " if lightness < _DARK else "light " if lightness > _LIGHT else ""
    return prefix + hue


def _lab(bgr: NDArray[Any]) -> F32:
    pixel = np.asarray(bgr, np.float32).reshape(1, 1, 3) / np.float32(255)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_BGR2Lab), np.float32).reshape(3)


def _hex(bgr: NDArray[Any]) -> str:
    blue, green, red = (round(float(v)) for v in bgr)
    return f"#{red:02x}{green:02x}{blue:02x}"
