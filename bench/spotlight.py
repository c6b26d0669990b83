"""Photos that come at once: each is in the picture, each for its seconds; and what that costs.

    python bench/spotlight.py CLIP [--photos 500] [--spotlight 5] [--seconds 600] [--memory]

CLIP is a film, which is played as if it were live, at 720p and 30 frames a second, until each photo
had its turn or the seconds are over. The photos have 12 megapixels and come into a watched folder;
with --memory they are small and come without a folder, so that only the spotlight costs.
--photos 0 adds none, for comparison.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import clip, machine
from live_gallery import SETTINGS, repeated, smooth
from watch import DISTINCT, photo

from livemosaic import LiveGallery, Mosaic, open_gallery
from livemosaic.control.state import Control, LiveState
from livemosaic.gallery.watch import FolderWatcher
from livemosaic.pipeline import Pipeline, output_info
from livemosaic.sinks import open_sink
from livemosaic.sources import open_source

BEGIN_S = 3  # without photos
OWN_COLOURS = 0.65  # at least, to count as shown


class Noted(Mosaic):
    """Notes when each photo was in the spotlight."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.times: dict[int, list[float]] = {}
        self.covered: list[float] = []

    def process(self, frame: Any, **options: Any) -> Any:
        picture = super().process(frame, **options)
        shown = options["spotlights"]
        for it in shown:
            if it.share >= OWN_COLOURS:
                self.times.setdefault(it.tile, []).append(time.monotonic())
        if shown:
            self.covered.append(sum(it.size**2 for it in shown) / self.grid.cells)
        return picture


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip", type=Path)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--spotlight", type=float, default=5)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()

    cv2.setNumThreads(1)
    print(machine())
    with tempfile.TemporaryDirectory(prefix="spotlight-") as name:
        place = Path(name)
        folder = place / "party"
        folder.mkdir()
        count = 0 if args.memory else min(DISTINCT, args.photos)
        large = [photo(number, 4000, 3000) for number in range(count)]
        once = clip(args.clip, place / "once.mp4", filters="scale=1280:720", rate=30)
        film = repeated(str(once), name, args.seconds)
        live = LiveGallery(open_gallery("photos"))
        watcher = None if args.memory else FolderWatcher(live, [str(folder)])
        source = open_source(film)
        info = source.info
        mosaic = Noted(live.snapshot, SETTINGS)
        grid = mosaic.plan(info.width, info.height)
        mosaic.update_settings(SETTINGS.for_grid(grid))
        mosaic.warm_up(info.width, info.height, info.colour)
        control = Control(LiveState(mosaic.settings, spotlight=args.spotlight))
        pipeline = Pipeline(
            source, mosaic, [open_sink("null", output_info(info, grid))], realtime=True,
            duration_s=args.seconds, control=control, live_gallery=live, watcher=watcher,
        )  # fmt: skip

        def add() -> None:
            time.sleep(BEGIN_S)
            for number in range(args.photos):
                if args.memory:
                    live.add([smooth(10**7 + number, 200)])
                else:
                    (folder / f"{number:03}.jpg").write_bytes(large[number % DISTINCT])
            while args.photos and pipeline.report()["spotlight"]["done"] < args.photos:
                time.sleep(0.5)
            if args.photos:
                pipeline.stop()

        threading.Thread(target=add, daemon=True).start()
        pipeline.run()
    report = pipeline.report()
    print(f"{args.photos} photos, {report['frames_in']} frames, {report['dropped']} dropped")
    print("latency ms", report["latency_ms"], "governor", report["governor"]["highest"])
    print("stages ms", {stage: it["p50"] for stage, it in report["stages_ms"].items()})
    if mosaic.times:
        lasted = np.array([its[-1] - its[0] for its in mosaic.times.values()])
        gaps = [max(np.diff(its), default=0) for its in mosaic.times.values()]
        began = [its[0] for its in mosaic.times.values()]
        print(f"{len(lasted)} photos shown for {lasted.min():.2f} to {lasted.max():.2f} s each")
        print(
            f"longest gap {max(gaps):.2f} s; in order: {list(mosaic.times) == sorted(mosaic.times)}"
        )
        print(f"the first to the last began in {began[-1] - began[0]:.1f} s")
        print(f"covered at most {max(mosaic.covered):.1%}; {report['spotlight']}")


if __name__ == "__main__":
    main()
