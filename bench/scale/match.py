"""The match by layout: its time per cell, and what the chosen tiles cost beside the best ones.

CLIP is scaled to 1280x720, in cells of 16 pixels. Time is the thread's CPU time, in turns with the
galleries: each of them matches some frames, then the next. The cost is that of sampled decisions,
over the cost of the best of all tiles by the same rules (bench/quality/recall.py).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.common import clip
from bench.quality.recall import layout_costs
from livemosaic.gallery import open_gallery
from livemosaic.media.frame import Frame
from livemosaic.mosaic.match.layout import UNHURRIED_CELLS, LayoutMatcher
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.sources import open_source

from .results import Row, add_sizes, galleries, save

SETTINGS = MosaicSettings(tile_px=16, scale=1.0, for_screen=True)
_THOROUGH = partial(LayoutMatcher, hurry=False)  # as for files, and single pictures
SPOTS = 4  # of the clip, where costs are compared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sizes(parser)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--skip", type=int, default=0, help="frames at the beginning of the clip")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument(
        "--compared", type=int, default=200, help="decisions of each kind, 0 for none"
    )


def main(args: argparse.Namespace) -> None:
    cv2.setNumThreads(1)
    frames = frames_of(args.clip, args.frames + args.skip)[args.skip :]
    matches = {tiles: Match(path, frames[0]) for tiles, path in galleries(args).items()}
    for part in np.array_split(np.arange(len(frames)), args.turns):
        for match in matches.values():
            match.time([frames[i] for i in part])
    rows = []
    for tiles, match in matches.items():
        row: Row = {"tiles": tiles, **match.times()}
        if args.compared:
            row |= match.costs(frames, args.compared)
        rows.append(row)
    save(args.work, "match", rows)


def frames_of(path: Path, count: int) -> list[Frame]:
    """The first frames of a clip at 1280x720."""
    with tempfile.TemporaryDirectory() as name:
        made = clip(path, Path(name) / "clip.mp4", filters="scale=1280:720", rate=30)
        items = (item for item in open_source(str(made)) if isinstance(item, Frame))
        return list(islice(items, count))


class Match:
    """The match of a stream with a gallery."""

    def __init__(self, path: Path, frame: Frame) -> None:
        self._gallery = open_gallery(path)
        self._mosaic = Mosaic(self._gallery, SETTINGS)
        self._mosaic.warm_up(frame.width, frame.height, frame.colour)
        self._mosaic.process(frame)
        self._at: dict[str, float] = {}
        self._mosaic.on_stage = self._note
        self._seconds: list[dict[str, float]] = []
        self._cells: list[int] = []
        self._faults: list[int] = []

    def _note(self, stage: str) -> None:
        self._at[stage] = time.thread_time()

    def time(self, frames: list[Frame]) -> None:
        """Go on with some frames."""
        for frame in frames:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            began = time.thread_time()
            self._mosaic.process(frame)
            self._faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
            at = sorted(self._at.items(), key=lambda it: it[1])
            ends = [began] + [end for _, end in at]
            stages = zip(at, ends, strict=False)
            self._seconds.append({stage: end - begin for (stage, end), begin in stages})
            self._cells.append(self._mosaic.cells.active - self._mosaic.cells.deferred)

    def times(self) -> dict[str, Any]:
        """Microseconds of match per cell, of frames that are hurried and of those that are not;
        milliseconds of each stage of a frame, and page faults."""
        cells = np.array(self._cells)
        seconds = np.array([it["match"] for it in self._seconds])
        few = cells <= UNHURRIED_CELLS
        us = {
            name: float(round(seconds[those].sum() / max(cells[those].sum(), 1) * 1e6, 2))
            for name, those in (("match_us", few), ("match_hurried_us", ~few))
        }
        stages = {
            name: float(round(np.mean([it[name] for it in self._seconds]) * 1e3, 3))
            for name in self._seconds[0]
        }
        faults = float(np.mean(self._faults))
        return us | {"cells": float(cells.mean()), "stages_ms": stages, "minor_faults": faults}

    def costs(self, frames: list[Frame], samples: int) -> dict[str, float]:
        """The median of chosen costs over the best ones, and the means: of first pictures in a
        hurry and without any, and of the frame after the hurried one, if that is not hurried."""
        at = np.linspace(0, len(frames) - 2, SPOTS).astype(int)
        mosaics = {
            "hurried": self._mosaic,
            "thorough": Mosaic(self._gallery, SETTINGS, matcher=_THOROUGH),
        }
        of: dict[str, list[tuple[float, float]]] = {}
        for spot in at:
            for name, mosaic in mosaics.items():
                mosaic.forget()
                for number, frame in enumerate(frames[spot : spot + 2]):
                    mosaic.process(frame)
                    kind = name
                    if number:
                        if mosaic.cells.active > UNHURRIED_CELLS or name == "thorough":
                            continue
                        kind = "live"
                    costs = layout_costs(mosaic, frame, samples=samples // SPOTS)
                    pairs = zip(costs.chosen.tolist(), costs.best.tolist(), strict=True)
                    of.setdefault(kind, []).extend(pairs)
        made = {}
        for name, pairs in of.items():
            chosen, best = np.array(pairs).T
            made[f"cost_{name}"] = float(round(np.median(chosen / best), 4))
            made[f"cost_{name}_mean"] = float(round(chosen.sum() / best.sum(), 4))
        return made
