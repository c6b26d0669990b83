"""Make galleries of any size: crops of real photos first, then synthetic ones.

The crops of WALLPAPERS are as bench/crops.py makes them; without it, those of the included photos.
They come in a random order, each tile as a photo of its own. A synthetic tile is two crops mixed,
turned, and with other colours. The same photos and options give the same bytes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.crops import U8, crops_of, pictures_in
from livemosaic.gallery import Recipe, open_gallery
from livemosaic.gallery.clusters import cluster_tiles, group_tiles
from livemosaic.gallery.file_writer import new_gallery_file
from livemosaic.gallery.histogram import HISTOGRAM_SIZE, tile_histograms
from livemosaic.gallery.layout_features import tile_points

from .results import SIZES, add_sizes, gallery_path

PX, LEAST_DEVIATION = 32, 10.0
BATCH = 1000  # tiles in memory at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sizes(parser)
    parser.add_argument(
        "--photos", type=Path, metavar="WALLPAPERS", help="a folder of large photos"
    )


def main(args: argparse.Namespace) -> None:
    args.work.mkdir(parents=True, exist_ok=True)
    crops = real_crops(args.work / "crops.bin", args.photos, most=max(*SIZES, *args.tiles))
    for tiles in args.tiles:
        began = time.perf_counter()
        path = gallery_path(args.work, tiles, args.per_photo)
        make_gallery(path, crops, tiles, args.per_photo)
        real, took = min(tiles, len(crops)), time.perf_counter() - began
        print(f"{path}: {tiles} tiles, {real} of them of real photos, in {took:.0f} s", flush=True)


def real_crops(path: Path, photos: Path | None, *, most: int) -> U8:
    """The crops of real photos, (n, 32, 32, 3), mapped from a file, which is made once."""
    if not path.exists():
        pictures = open_gallery("photos").tiles if photos is None else pictures_in(photos)
        crops = chain.from_iterable(crops_of(it, PX, LEAST_DEVIATION) for it in pictures)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            for crop in islice(crops, most):
                file.write(crop.tobytes())
        os.replace(part, path)
    return np.memmap(path, np.uint8, "r").reshape(-1, PX, PX, 3)


def tiles_of(crops: U8, count: int) -> Iterator[U8]:
    """So many tiles, (m, 32, 32, 3) each, of the same numbers whatever the count."""
    order = np.random.default_rng(0).permutation(len(crops))
    for begin in range(0, count, BATCH):
        end = min(begin + BATCH, count)
        real = np.asarray(crops[order[begin:end]])
        yield np.concatenate([real, synthetic(crops, begin)[len(real) : end - begin]])


def synthetic(crops: U8, first: int) -> U8:
    """A batch of tiles, those from number `first` on."""
    if first + BATCH <= len(crops):
        return np.empty((0, PX, PX, 3), np.uint8)
    rng = np.random.default_rng([1, first])
    one, other = (crops[rng.integers(len(crops), size=BATCH)] for _ in range(2))
    other = other.transpose(0, 2, 1, 3)[:, ::-1]
    shape = (BATCH, 1, 1, 1)
    share = rng.uniform(0.6, 1, shape).astype(np.float32)
    mixed = share * one + (1 - share) * other
    mixed = mixed * rng.uniform(0.75, 1.3, (BATCH, 1, 1, 3)).astype(np.float32)
    mixed = mixed + rng.normal(0, 25, (BATCH, 1, 1, 3)).astype(np.float32)
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def make_gallery(path: Path, crops: U8, count: int, per_photo: int = 1) -> None:
    """Write a gallery. In memory are a batch of tiles, and some 200 bytes for each tile."""
    points, texture = np.empty((count, 4, 4, 3), np.uint8), np.empty(count, np.uint8)
    with tempfile.NamedTemporaryFile(dir=path.parent) as spool, new_gallery_file(path) as writer:
        features = np.memmap(spool, np.float32, "w+", shape=(count, HISTOGRAM_SIZE))
        for number, tiles in enumerate(tiles_of(crops, count)):
            part = slice(number * BATCH, number * BATCH + len(tiles))
            writer.append(tiles)
            features[part] = tile_histograms(tiles)
            points[part], texture[part] = tile_points(tiles)
        photo = np.arange(count, dtype=np.int32) // per_photo
        photos = int(photo[-1]) + 1
        groups = group_tiles(features, cluster_tiles(features), photo)
        arrays: dict[str, NDArray[Any]] = {
            "features": features,
            "points": points,
            "texture": texture,
            "source_photo": photo,
            "source_crop": np.tile(np.array([0, 0, PX, PX], np.int32), (count, 1)),
        }
        names = [f"{number:07}.jpg" for number in range(photos)]
        recipe = Recipe(PX, crops=0)
        writer.finish(arrays | groups._asdict(), photos=names, root="", recipe=recipe)
