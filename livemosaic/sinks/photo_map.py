"""A page that says which photo each cell of a picture is: `--map`.

One file that needs nothing else and no network. What it holds is bounded: the picture (6
megapixels), the photos (12 megapixels together; when there are too many, those used most), four
bytes per cell, and a line per photo and tile.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError, UsageError
from ..gallery.builtin import builtin_credit
from ..gallery.file_format import Gallery
from ..gallery.full_size import full_size_tiles
from ..media.colour import i420_to_bgr
from ..media.ffmpeg import sink_error
from ..media.frame import Frame, StreamInfo, TrackPacket, even
from ..media.urls import local_path
from ..mosaic.grid import Grid
from ..mosaic.mosaic import Mosaic
from .atomic_file import AtomicFile
from .base import Sink
from .destination import Destination, FileOptions, RunContext
from .output_paths import check_path, refuse_folder

__all__ = ["PhotoMapSink", "parse_map"]

U8 = NDArray[np.uint8]
Cells = tuple[NDArray[np.int32], NDArray[np.bool_]]

_PICTURE_PIXELS, _SHEET_PIXELS = 6_000_000, 12_000_000
# Sides of a photo on the page: multiples of JPEG's blocks, or the next photo would shine through.
_SIDES = (112, 96, 80, 64, 48, 32)
_QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class PhotoMapDestination(Destination):
    """The file of `--map`."""

    def check(self) -> None:
        check_path(self.name, self.location, self.options)

    def check_stream(self, info: StreamInfo) -> None:
        if not info.still:
            raise UsageError(
                f"--map {self.name}: a map is of one picture that goes to files; "
                f"{self.options.source_name} is a video or is shown live, so leave it out"
            )

    def open(self, info: StreamInfo, context: RunContext) -> PhotoMapSink:
        assert context.mosaic is not None
        return PhotoMapSink(self, context.mosaic)


def parse_map(spec: str, options: FileOptions) -> PhotoMapDestination:
    """Parse the file name of a map, as `parse_output` does for an output."""
    path = local_path(spec)
    refuse_folder(path, example="map.html")
    if not path.lower().endswith((".html", ".htm")):
        raise UsageError(f"--map {path}: it is a page; give it a name such as map.html")
    return PhotoMapDestination(
        name=path, options=options, location=os.path.realpath(path), compact=True
    )


class PhotoMapSink(Sink):
    """Writes the page for one picture; it appears under its name when it is complete.

    Parameters
    ----------
    destination : the file, and the input, whose name is the page's title
    mosaic : has made the picture when `write` is called

    Raises
    ------
    SinkError
        the disk refuses
    """

    def __init__(self, destination: PhotoMapDestination, mosaic: Mosaic) -> None:
        self.name = destination.name
        self._mosaic, self._title = mosaic, Path(destination.options.source_name or "").name
        self._part = AtomicFile(
            destination.location, name=self.name, overwrite=destination.options.overwrite
        )
        self._is_written = False
        try:
            self._part.path.touch()
        except OSError as error:
            raise sink_error(self.name, error) from error

    def write(self, item: Frame | TrackPacket) -> None:
        """Write the page for a picture; it has no place for other tracks."""
        if isinstance(item, TrackPacket):
            return
        mosaic = self._mosaic
        page = map_page(
            item,
            mosaic.grid,
            mosaic.gallery,
            (mosaic.tile_ids, mosaic.flips),
            title=self._title,
        )
        try:
            self._part.path.write_bytes(page)
        except OSError as error:
            raise sink_error(self.name, error) from error
        self._is_written = True

    def close(self) -> None:
        """Give the page its name."""
        if not self._is_written:
            self.abort()
            raise SinkError(f"{self.name}: no picture came, so that nothing is written")
        self._part.commit()

    def discard(self) -> None:
        self._part.discard()


def map_page(frame: Frame, grid: Grid, gallery: Gallery, cells: Cells, *, title: str) -> bytes:
    """The page, HTML in UTF-8.

    Parameters
    ----------
    frame : the mosaic
    cells : int32 and bool (rows, columns), tile numbers and which are mirrored
    """
    tiles, places = np.unique(cells[0], return_inverse=True)
    numbers, of_tile = np.unique(gallery.source_photo[tiles], return_inverse=True)
    counts = np.bincount(of_tile[places.reshape(-1)], minlength=len(numbers))
    order = np.argsort(-counts, kind="stable")  # most used first
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    wholes = _whole_tiles(gallery, numbers[order])
    sheet, across, shown = _sheet(gallery, wholes)
    folders: dict[str, int] = {}
    photos = []
    for place, whole in zip(order.tolist(), wholes.tolist(), strict=True):
        folder, name = os.path.split(_readable(gallery.sources[whole].path))
        number = folders.setdefault(os.path.join(folder, ""), len(folders))
        photos.append([name, number, int(counts[place]), *gallery.sources[whole].crop])
    licence, credits = builtin_credit(gallery.sources[0].path) or ("", "")
    data = {
        "gallery": _readable(gallery.name),
        "width": grid.width,
        "height": grid.height,
        "rows": grid.rows,
        "columns": grid.columns,
        "tile_px": grid.tile_px,
        "folders": list(folders),
        "photos": photos,
        "tiles": [
            value
            for tile, photo in zip(tiles.tolist(), rank[of_tile].tolist(), strict=True)
            for value in (photo, *gallery.sources[tile].crop)
        ],
        "cells": _base64((places.reshape(-1) * 2 + cells[1].reshape(-1)).astype("<u4").tobytes()),
        "sheet": {"columns": across, "count": shown},
        "credit": licence,
    }
    words = {
        "TITLE": html.escape(f"Map of {_readable(title)}"),
        "SHEET": f".thumb {{ background-image: url({_jpeg_url(sheet)}); }}",
        "PICTURE": _jpeg_url(_reduced(frame)),
        "CREDITS": html.escape(credits),
        # As JSON in which nothing can end the script.
        "DATA": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    page = Path(__file__).with_name("photo_map.html").read_text(encoding="utf-8")
    return re.sub("@([A-Z]+)@", lambda match: words[match[1]], page).encode("utf-8")


def _readable(name: str) -> str:
    """A file's name, which may hold what is not UTF-8, as text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _whole_tiles(gallery: Gallery, photos: NDArray[np.int32]) -> NDArray[np.int64]:
    """The first tile of each photo: of several, the first shows all of it."""
    numbers, first = np.unique(gallery.source_photo, return_index=True)
    return np.asarray(first[np.searchsorted(numbers, photos)], np.int64)


def _sheet(gallery: Gallery, tiles: NDArray[np.int64]) -> tuple[U8, int, int]:
    """Tiles side by side; how many there are in a row, and how many in all."""
    px = next((px for px in _SIDES if px * px * len(tiles) <= _SHEET_PIXELS), _SIDES[-1])
    tiles = tiles[: _SHEET_PIXELS // (px * px)]
    across = math.isqrt(len(tiles) - 1) + 1
    rows = -(-len(tiles) // across)
    sheet = np.full((rows, px, across, px, 3), 128, np.uint8)
    sharp = full_size_tiles(gallery, tiles, px) if px > gallery.tile_px else {}
    for place, tile in enumerate(tiles.tolist()):
        picture = sharp.get(tile)
        if picture is None:
            mode = cv2.INTER_AREA if px < gallery.tile_px else cv2.INTER_CUBIC
            scaled = cv2.resize(gallery.tiles[tile], (px, px), interpolation=mode)
            picture = np.asarray(scaled, np.uint8)
        sheet[place // across, :, place % across] = picture
    return sheet.reshape(rows * px, across * px, 3), across, len(tiles)


def _reduced(frame: Frame) -> U8:
    """A picture of a size that a page can hold, uint8 (h, w, 3) BGR."""
    scale = min(1.0, math.sqrt(_PICTURE_PIXELS / (frame.width * frame.height)))
    width, height = (even(side * scale) for side in (frame.width, frame.height))
    y, u, v = (
        np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)
        for plane, size in (
            (frame.y, (width, height)),
            (frame.u, (width // 2, height // 2)),
            (frame.v, (width // 2, height // 2)),
        )
    )
    return i420_to_bgr(y, u, v, frame.colour)


def _jpeg_url(picture: U8) -> str:
    coded: Any = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return "data:image/jpeg;base64," + _base64(coded.tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
