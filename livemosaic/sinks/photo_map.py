"""A page (HTML) that names the photo in each cell of a picture: `--map`.

It is one file, needs no network, and has a limited size: the picture (6 megapixels), the photos (12
megapixels together; of too many, the ones used most), four bytes per cell, and a line per photo and
tile.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, printable
from ..gallery.builtin import builtin_credit
from ..gallery.full_size import full_size_tiles
from ..gallery.gallery import Gallery
from ..media.colour import U8
from ..media.frame import Frame, StreamInfo, TrackPacket, even
from ..media.scale import bgr_of_size
from ..media.urls import local_path
from ..mosaic.grid import Grid
from ..mosaic.layer import CellTiles, repeated
from ..mosaic.mosaic import Mosaic
from .atomic_file import check_path, refuse_folder, resolved
from .base import Destination, FileOptions, RunContext
from .image import ImageSink

Cells = tuple[NDArray[np.int32], NDArray[np.bool_]]

PICTURE_PIXELS, SHEET_PIXELS = 6_000_000, 12_000_000
# Sides of a photo on the page: multiples of JPEG's blocks, or the next photo would shine through.
_SIDES = (112, 96, 80, 64, 48, 32)
_QUALITY = 82
_NO_TILE = 0xFFFFFFFF  # in a cell that is not seen


@dataclass(frozen=True, kw_only=True)
class PhotoMapDestination(Destination):
    """The file of `--map`; with `paths` it shows the photos' folders."""

    paths: bool = False

    def check(self) -> None:
        check_path(self)

    def check_stream(self, info: StreamInfo) -> None:
        if not info.still:
            raise OptionError(
                "map",
                self.name,
                f"a map is of one picture that goes to files; {self.options.source_name} is a "
                "video or is shown live, so leave it out",
            )

    def open(self, info: StreamInfo, context: RunContext) -> PhotoMapSink:
        assert context.mosaic is not None
        return PhotoMapSink(self, context.mosaic, paths=self.paths)


def parse_map(spec: str, options: FileOptions, *, paths: bool = False) -> PhotoMapDestination:
    """Parse the path of a map, as `parse_output` parses an output."""
    path = local_path(spec)
    refuse_folder(path, example="map.html")
    if not path.lower().endswith((".html", ".htm")):
        raise OptionError("map", path, "it is a page; give it a name such as map.html")
    return PhotoMapDestination(
        name=path, options=options, location=resolved(path), compact=True, paths=paths
    )


class PhotoMapSink(ImageSink):
    """Writes the page for the picture that the mosaic has just made."""

    def __init__(self, destination: Destination, mosaic: Mosaic, *, paths: bool) -> None:
        super().__init__(destination)
        self._mosaic, self._paths = mosaic, paths
        self._title = Path(destination.options.source_name or "").name

    def write(self, item: Frame | TrackPacket) -> None:
        if isinstance(item, Frame):
            mosaic = self._mosaic
            cells, spans = finest_cells(mosaic.layers)
            times = len(cells[0]) // mosaic.grid.rows
            page = map_page(
                item,
                mosaic.layers[-1].grid,
                mosaic.gallery,
                cells,
                cut=mosaic.cut_gallery,
                seen=repeated(mosaic.seen, times),
                spans=spans,
                title=self._title,
                paths=self._paths,
            )
            self._add(self._path.name, [page])


def finest_cells(layers: Sequence[CellTiles]) -> tuple[Cells, NDArray[np.uint8]]:
    """The tiles in cells of several sizes as if all were of the smallest; and how many of those
    are a side of the cell that is shown, uint8 (rows, columns)."""
    grid = layers[-1].grid
    ids, flips = np.empty((grid.rows, grid.columns), np.int32), np.zeros_like(layers[-1].flips)
    spans = np.empty(ids.shape, np.uint8)
    for layer in layers:
        span = grid.rows // layer.grid.rows
        its, turned, shown = (
            repeated(it, span) for it in (layer.tile_ids, layer.flips, layer.tile_ids >= 0)
        )
        ids[shown], flips[shown], spans[shown] = its[shown], turned[shown], span
    return (ids, flips), spans


def map_page(
    frame: Frame,
    grid: Grid,
    gallery: Gallery,
    cells: Cells,
    *,
    cut: Gallery | None = None,
    seen: NDArray[np.bool_] | None = None,
    spans: NDArray[np.uint8] | None = None,
    title: str,
    paths: bool = False,
) -> bytes:
    """The page of a mosaic, HTML in UTF-8.

    `cells` are tile numbers, int32 (rows, columns), and which are mirrored, bool (rows, columns).
    `cut` is the gallery with tiles of the grid's shape. `seen`, bool (rows, columns), are the cells
    that are not outside of the area; None for all. `spans` are those of `finest_cells`; None for
    cells of one size. Without `paths`, the page has no folder of the photos, and can be given away.
    """
    ids, flips = cells
    seen = np.ones(ids.shape, np.bool_) if seen is None else seen
    tiles, places = np.unique(ids[seen], return_inverse=True)
    numbers, of_tile = np.unique(gallery.source_photo[tiles], return_inverse=True)
    spans = np.ones(ids.shape, np.uint8) if spans is None else spans
    shares = 1.0 / spans[seen].astype(np.float64) ** 2  # of a cell
    counts = np.rint(np.bincount(of_tile[places], shares, len(numbers))).astype(np.int64)
    order = np.argsort(-counts, kind="stable")  # most used first
    rank = np.argsort(order)
    # Of the tiles of a photo, the first shows all of it.
    photo_numbers, first_tiles = np.unique(gallery.source_photo, return_index=True)
    wholes = first_tiles[np.searchsorted(photo_numbers, numbers[order])]
    uncut = {}
    if cut not in (None, gallery):  # the tiles may show more of a photo than those of the gallery
        uncut = {photo: place for place, photo in enumerate(gallery.uncut_photo.tolist())}
    sheet, across, shown = _sheet(gallery, wholes, uncut)
    folders: dict[str, int] = {}
    photos = []
    for place, whole in zip(order.tolist(), wholes.tolist(), strict=True):
        folder, name = os.path.split(printable(gallery.sources[whole].path))
        shown_folder = os.path.join(folder, "") if paths else ""
        number = folders.setdefault(shown_folder, len(folders))
        at = uncut.get(int(gallery.source_photo[whole]))
        part = gallery.sources[whole].crop if at is None else gallery.uncut_crop[at].tolist()
        photos.append([name, number, int(counts[place]), *part])
    found = (builtin_credit(part.sources[0].path) for part in gallery.parts)
    credited = [it for it in found if it is not None]
    licence = "; ".join(licence for licence, _ in credited)
    credits = "\n\n".join(credits for _, credits in credited)
    packed = np.full(ids.shape, _NO_TILE, "<u4")
    packed[seen] = places * 2 + flips[seen]
    data = {
        "gallery": printable(gallery.name),
        "seen": round(shares.sum()),
        "spans": b64encode(spans.tobytes()).decode() if spans.max() > 1 else "",
        **asdict(grid),
        "folders": list(folders),
        "photos": photos,
        "tiles": [
            value
            for tile, photo in zip(tiles.tolist(), rank[of_tile].tolist(), strict=True)
            for value in (photo, *(cut or gallery).sources[tile].crop)
        ],
        "cells": b64encode(packed.tobytes()).decode(),
        "sheet": {"columns": across, "count": shown},
        "credit": licence,
    }
    page = Path(__file__).with_name("photo_map.html").read_text(encoding="utf-8")
    own_script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    digest = hashlib.sha256(own_script.encode("utf-8")).digest()
    words = {
        # The browser runs no other script, whatever a name may hold.
        "SCRIPT": f"sha256-{b64encode(digest).decode()}",
        "TITLE": html.escape(f"Map of {printable(title)}"),
        "SHEET": f".thumb {{ background-image: url({_jpeg_url(sheet)}); }}",
        "PICTURE": _jpeg_url(_reduced(frame)),
        "CREDITS": html.escape(credits),
        # JSON that cannot end the script.
        "DATA": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return re.sub("@([A-Z]+)@", lambda match: words[match[1]], page).encode("utf-8")


def _sheet(
    gallery: Gallery, tiles: NDArray[np.int64], uncut: Mapping[int, int]
) -> tuple[U8, int, int]:
    """Tiles side by side, those of `uncut` photos as they are at these places; their number in a
    row, and their number. All are square here, and the page stretches them."""
    px = next((px for px in _SIDES if px * px * len(tiles) <= SHEET_PIXELS), _SIDES[-1])
    tiles = tiles[: SHEET_PIXELS // (px * px)]
    across = math.isqrt(max(len(tiles) - 1, 0)) + 1
    rows = max(1, -(-len(tiles) // across))
    sheet = np.full((rows, px, across, px, 3), 128, np.uint8)
    sharp = full_size_tiles(gallery, tiles, (px, px)) if px > gallery.tile_width else {}
    for place, tile in enumerate(tiles.tolist()):
        at = uncut.get(int(gallery.source_photo[tile]))
        picture = sharp.get(tile) if at is None else None
        if picture is None:
            mode = cv2.INTER_AREA if px < gallery.tile_width else cv2.INTER_CUBIC
            stored = gallery.tiles[tile] if at is None else gallery.uncut[at]
            picture = cv2.resize(stored, (px, px), interpolation=mode)
        sheet[place // across, :, place % across] = picture
    return sheet.reshape(rows * px, across * px, 3), across, len(tiles)


def _reduced(frame: Frame) -> U8:
    """A picture that is not too large for a page, uint8 (h, w, 3) BGR."""
    scale = min(1.0, math.sqrt(PICTURE_PIXELS / (frame.width * frame.height)))
    width, height = even(frame.width * scale), even(frame.height * scale)
    return bgr_of_size(frame, width, height, interpolation=cv2.INTER_AREA)


def _jpeg_url(picture: U8) -> str:
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return f"data:image/jpeg;base64,{b64encode(encoded.tobytes()).decode()}"
