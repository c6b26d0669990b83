"""A poster that is made while a live mosaic goes on: latency and drops without and with it, its
time and its memory.

    python bench/poster.py CLIP [--photos 300] [--megapixels 12] [--seconds 60] [--turns 3]

CLIP is a film of 720p; it is played as if it were live. The photos are files of that size, made at
first. Runs without and with posters take turns; in those with, a poster begins as soon as the one
before is there.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from livemosaic.control.state import Control, LiveState
from livemosaic.gallery import Gallery, build_gallery
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.pipeline import Pipeline, output_info
from livemosaic.sinks import open_sink
from livemosaic.sources import open_source

SETTINGS = MosaicSettings(for_screen=True)


def write_photos(folder: Path, count: int, megapixels: float) -> None:
    folder.mkdir()
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    for number in range(count):
        rng = np.random.default_rng(number)
        base = rng.normal(128, 55, 3) + rng.normal(0, 40, (30, 40, 3))
        small = np.clip(base, 0, 255).astype(np.uint8)
        size = (height * 4 // 3, height)
        photo = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.jpg"), photo)


def run(clip: str, gallery: Gallery, seconds: float, folder: Path, *, posters: bool) -> None:
    source = open_source(clip)
    info = source.info
    mosaic = Mosaic(gallery, SETTINGS)
    grid = mosaic.plan(info.width, info.height)
    mosaic.update_settings(SETTINGS.for_grid(grid))
    mosaic.warm_up(info.width, info.height, info.colour)
    control = Control(LiveState(mosaic.settings))
    names = (folder / f"poster-{number}.jpg" for number in range(1000))
    pipeline = Pipeline(
        source, mosaic, [open_sink("null", output_info(info, grid))], realtime=True,
        duration_s=seconds, control=control, name_poster=lambda: next(names),
    )  # fmt: skip
    ended, took = threading.Event(), []

    def press() -> None:
        ended.wait(2)
        while posters and not ended.is_set():
            began = time.monotonic()
            control.request_poster()
            while control.live_stats().poster or (control.poster_requested and not ended.is_set()):
                time.sleep(0.05)  # also after the end: the run waits for a poster
            if not control.poster_requested:
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=press)
    thread.start()
    threading.Timer(seconds, ended.set).start()
    pipeline.run()
    ended.set()
    thread.join()
    report = pipeline.report()
    steps = report["governor"]["highest"] or "full quality"
    print(f"{'with' if posters else 'without'} posters: latency ms {report['latency_ms']},")
    print(f"  dropped {report['dropped']} {report['drops']}, {steps}")
    print(f"  main process {report['peak_rss_mb']:.0f} MB at most")
    if posters:
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        sizes = [f"{path.stat().st_size / 1e6:.0f}" for path in folder.iterdir()]
        print(f"  {len(took)} posters in {[round(it, 1) for it in took]} s, {peak:.0f} MB at most")
        print(f"  files of {sizes} MB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder / "photos", args.photos, args.megapixels)
        build_gallery([str(folder / "photos")], folder / "g.gallery")
        gallery = Gallery.open(folder / "g.gallery")
        for turn in range(2 * args.turns):
            place = folder / str(turn)
            place.mkdir()
            run(args.clip, gallery, args.seconds, place, posters=turn % 2 == 1)


if __name__ == "__main__":
    main()
