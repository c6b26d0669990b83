"""Open galleries, each in a process of its own: until it is open, and to the first picture.

Times are of a file that the system has in its memory, medians of some runs; the memory is the
process's own, without what is mapped from files.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench.common import ROOT, median, run

from .results import add_sizes, galleries, save

# The first picture is noise, so that its cells need thousands of tiles.
CHILD = """
import json, sys, time
began = time.perf_counter()
import cv2
import numpy as np
from bench.live_child import private_mb
from livemosaic.gallery import open_gallery
from livemosaic.media.frame import Frame
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
cv2.setNumThreads(1)
imported = time.perf_counter()
gallery = open_gallery(sys.argv[1])
opened = time.perf_counter()
small = np.random.default_rng(0).integers(0, 256, (45, 80, 3), np.uint8)
frame = Frame.from_bgr(cv2.resize(small, (1280, 720)))
mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=1.0, for_screen=True))
mosaic.warm_up(frame.width, frame.height, frame.colour)
mosaic.process(frame)
shown = time.perf_counter()
print(json.dumps({
    "open_s": opened - imported, "first_picture_s": shown - began, "private_mb": private_mb()
}))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sizes(parser)
    parser.add_argument("--repeat", type=int, default=3)


def main(args: argparse.Namespace) -> None:
    rows = []
    for tiles, path in galleries(args).items():
        runs = [once(path) for _ in range(args.repeat)]
        row = {name: round(median([it[name] for it in runs]), 3) for name in runs[0]}
        rows.append({"tiles": tiles, **row})
    save(args.work, "open", rows)


def once(path: Path) -> dict[str, float]:
    """Seconds and megabytes of one process."""
    command = [sys.executable, "-c", CHILD, str(path)]
    made: dict[str, float] = json.loads(run(command, env={"PYTHONPATH": str(ROOT)}).output)
    return made
