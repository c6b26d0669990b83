"""The time of the match by layout per cell, with galleries of any size.

    python bench/match.py --clip CLIP GALLERY... [--frames 200]

The clip is scaled to 1280x720 (3,600 cells of 16 pixels); every frame is processed. For galleries
that are not too large the choices are compared with a search through all tiles;
`python -m bench.quality` does the same for pictures of 920 cells, which are not hurried.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from common import machine, table
from live import clip
from quality.metrics import recall
from quality.recall import layout_costs

from livemosaic.gallery import open_gallery
from livemosaic.gallery.layout_index import layout_index
from livemosaic.media.frame import Frame
from livemosaic.mosaic.match.layout import UNHURRIED_CELLS
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.sources import open_source

MAX_COMPARED = 20_000  # tiles; a table of all costs takes 60 kB a tile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("galleries", nargs="+")
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=200)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        path = clip(args.clip, Path(name) / "clip.mp4", filters="scale=1280:720", rate=30)
        items = (item for item in open_source(str(path)) if isinstance(item, Frame))
        frames = list(islice(items, args.frames))
    rows = []
    for name in args.galleries:
        gallery = open_gallery(name)
        began_s = time.perf_counter()
        layout_index(gallery)
        index_s = time.perf_counter() - began_s
        mosaic = Mosaic(gallery, MosaicSettings(tile_px=16, scale=1.0, for_screen=True))
        mosaic.warm_up(frames[0].width, frames[0].height, frames[0].colour)
        at: dict[str, float] = {}
        mosaic.on_stage = lambda stage, at=at: at.update({stage: time.perf_counter()})
        seconds, cells = [], []
        for frame in frames:
            mosaic.process(frame)
            seconds.append(at["match"] - at["features"])
            cells.append(mosaic.cells.active)
        few = np.array(cells) <= UNHURRIED_CELLS
        per_cell = [
            f"{np.array(seconds)[those].sum() / max(np.array(cells)[those].sum(), 1) * 1e6:.1f} us"
            for those in (few, ~few)
        ]
        what = f"{name}, {len(gallery):,} tiles: match per cell; hurried; index"
        rows.append((what, f"{'; '.join(per_cell)}; {index_s:.2f} s", ""))
        if len(gallery) > MAX_COMPARED:
            continue
        picture = frames[len(frames) // 2]
        mosaic = Mosaic(gallery, mosaic.settings)
        mosaic.process(picture)
        costs = layout_costs(mosaic, picture)
        within = f"{recall(costs.chosen, costs.best):.0%} of the cells"
        rows.append((f"{name}: within 5 % of the best tile, a first picture", within, ""))
    print(table(rows))


if __name__ == "__main__":
    main()
