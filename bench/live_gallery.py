"""A gallery that grows while a live mosaic goes on: latency, drops, memory, and how good the index
stays.

    python bench/live_gallery.py CLIP [--tiles 20000] [--seconds 60] [--every 1.0] [--still]
    python bench/live_gallery.py CLIP --gallery photos --gallery large.gallery

CLIP is a film of 720p; it is played as if it were live, again and again. The gallery has tiles of
smooth random colours, or is that of --gallery, or several. A photo is added every second, and one
is removed every three seconds. --still adds none, for comparison.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import machine
from live_child import resident_mb

from livemosaic.control.state import Control, LiveState
from livemosaic.gallery import Gallery, LiveGallery, Recipe, open_gallery
from livemosaic.gallery.build import write_gallery
from livemosaic.gallery.file_writer import GalleryWriter
from livemosaic.gallery.layout_codes import encode
from livemosaic.gallery.layout_features import cell_points, points_to_lab
from livemosaic.gallery.layout_index import layout_index, new_index
from livemosaic.gallery.tiles import Tiles
from livemosaic.gallery.watch import FolderWatcher
from livemosaic.jit import U8
from livemosaic.media.colour import ycbcr_to_bgr
from livemosaic.media.frame import Frame
from livemosaic.media.picture import to_frame
from livemosaic.mosaic.analysis import analysis_picture
from livemosaic.mosaic.match.layout import LayoutMatcher
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.pipeline import Pipeline, output_info
from livemosaic.sinks import open_sink
from livemosaic.sources import open_source

TILE_PX = 16
SETTINGS = MosaicSettings(tile_px=TILE_PX, scale=1.0, for_screen=True)


def smooth(seed: int, side: int) -> U8:
    rng = np.random.default_rng(seed)
    base = rng.normal(128, 55, 3) + rng.normal(0, 30, (4, 4, 3))
    small = np.clip(base, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def gallery_of(tiles: int) -> Gallery:
    file, recipe = io.BytesIO(), Recipe(TILE_PX, crops=0)
    crop = [(0, 0, TILE_PX, TILE_PX)]
    write_gallery(
        GalleryWriter(file),
        [str(number) for number in range(tiles)],
        lambda name: (Tiles(smooth(int(name), TILE_PX)[None], crop), False),
        recipe,
        root="",
        labels=np.zeros(tiles, np.int32),
    )
    return Gallery(file.getvalue(), name="bench")


def mean_cost(mosaic: Mosaic, pictures: list[Frame]) -> float:
    """What is chosen costs: the squared distance to the cells, and the penalties of the photos."""
    costs = []
    for picture in pictures:
        mosaic.forget()
        mosaic.process(picture)
        matcher = mosaic.matcher
        assert isinstance(matcher, LayoutMatcher)
        index, rules, now = matcher.index, matcher.rules, matcher.assignment
        bgr = ycbcr_to_bgr(analysis_picture(picture, mosaic.grid), picture.colour)
        points = cell_points(bgr, mosaic.grid.rows, mosaic.grid.columns)
        codes, _ = encode(points_to_lab(points))
        away = (rules.weights * (index.all_codes[now.place] - codes) ** 2).sum(axis=1)
        uses = rules.use_penalty * now.uses[index.photo[now.place]]
        costs.append(float((away + rules.penalties[now.place] + uses).mean()))
    return float(np.mean(costs))


def repeated(clip: str, folder: str, seconds: float) -> str:
    """A film that lasts so long: the clip again and again, not encoded anew."""
    path = str(Path(folder) / "film.mkv")
    command = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", clip, "-an", "-c", "copy"]
    subprocess.run([*command, "-t", str(seconds + 10), path], check=True)
    return path


def tell(report: dict[str, Any], memory: list[float]) -> None:
    """The figures of a run, with the memory at its beginning, in its middle and at its end."""
    latency = {name: round(ms, 1) for name, ms in report["latency_ms"].items()}
    print("latency ms", latency, "of", report["frames_in"], "frames;", end=" ")
    print("dropped", report["dropped"], report["drops"])
    print("gallery", report["gallery"], "governor", report["governor"]["highest"])
    # Not before all parts have their memory.
    places = [min(len(memory) - 1, 15), len(memory) // 2, len(memory) - 1]
    print(
        "memory MB", ", ".join(f"{memory[at]:.0f}" for at in places), f"(highest {max(memory):.0f})"
    )


def live_film(
    clip: str,
    gallery: LiveGallery | Gallery,
    seconds: float,
    watcher: FolderWatcher | None = None,
) -> Pipeline:
    """A film as if it were live, made of a gallery that changes, or may change."""
    source = open_source(clip)
    info = source.info
    live = gallery if isinstance(gallery, LiveGallery) else None
    mosaic = Mosaic(gallery if live is None else live.snapshot, SETTINGS)
    grid = mosaic.plan(info.width, info.height)
    mosaic.update_settings(SETTINGS.for_grid(grid))
    mosaic.warm_up(info.width, info.height, info.colour)
    sink = open_sink("null", output_info(info, grid))
    return Pipeline(
        source, mosaic, [sink], realtime=True, duration_s=seconds,
        control=Control(LiveState(mosaic.settings)), live_gallery=live, watcher=watcher,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--gallery", action="append")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--still", action="store_true")
    args = parser.parse_args()

    cv2.setNumThreads(1)
    print(machine())
    gallery = open_gallery(args.gallery) if args.gallery else gallery_of(args.tiles)
    live = LiveGallery(gallery)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = live_film(repeated(args.clip, folder, args.seconds), live, args.seconds)
        ended, memory = threading.Event(), [resident_mb()]
        live.add([smooth(10**8, 200)])  # compiled before it begins

        def change() -> None:
            number = 0
            while not ended.wait(args.every):
                number += 1
                memory.append(resident_mb())
                if not args.still:
                    live.add([smooth(10**7 + number, 200)])
                    if number % 3 == 0:
                        live.remove([gallery.sources.path(number)])

        thread = threading.Thread(target=change)
        thread.start()
        pipeline.run()
        ended.set()
        thread.join()
    print(
        f"{len(gallery)} tiles, {args.seconds} s, {'no photo' if args.still else 'photos'} joining"
    )
    tell(pipeline.report(), memory)

    frames = []
    with open_source(args.clip) as again:
        for item in again:
            if isinstance(item, Frame):
                frames.append(to_frame(item.to_bgr()))
            if len(frames) == 60:
                break
    pictures = frames[::20]
    now = layout_index(live.snapshot)
    costs = []
    for index in (now, new_index(live.snapshot)):
        made = Mosaic(
            live.snapshot, SETTINGS,
            matcher=lambda *its, index=index: LayoutMatcher(*its, index=index),
        )  # fmt: skip
        costs.append(mean_cost(made, pictures))
    print(f"cost {costs[0]:.2f}, with an index made anew {costs[1]:.2f}: {costs[0] / costs[1]:.4f}")


if __name__ == "__main__":
    main()
