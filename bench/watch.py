"""A watched folder: how soon a photo is in the gallery, and what 500 at once cost the picture.

    python bench/watch.py CLIP [--photos 500] [--seconds 60]

CLIP is a film of 720p; it is played as if it were live. The photos have 12 megapixels. --photos 0
adds none, for comparison.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
from live_gallery import live_film

from livemosaic import LiveGallery, open_gallery
from livemosaic.gallery.watch import FolderWatcher

DISTINCT, COPIES = 8, 20


def write_photos(folder: Path) -> None:
    folder.mkdir()
    for number in range(DISTINCT):
        rng = np.random.default_rng(number)
        small = rng.integers(0, 256, (60, 80, 3), np.uint8)
        large = cv2.resize(small, (4000, 3000), interpolation=cv2.INTER_CUBIC)
        noise = rng.integers(0, 24, large.shape, np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.add(large, noise))


def delays(live: LiveGallery, photos: Path, folder: Path) -> list[float]:
    """The time from the end of each copy to its photo in the snapshot."""
    found = []
    for number in range(COPIES):
        path = folder / f"copy{number}.jpg"
        path.write_bytes((photos / f"{number % DISTINCT}.jpg").read_bytes())
        began_s = time.monotonic()
        while str(path) not in live:
            time.sleep(0.002)
        found.append(time.monotonic() - began_s)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()

    cv2.setNumThreads(1)
    place = Path(tempfile.mkdtemp(prefix="watch-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    photos, folder = place / "photos", place / "party"
    write_photos(photos)
    folder.mkdir()
    live = LiveGallery(open_gallery("photos"))
    watcher = FolderWatcher(live, [str(folder)])
    pipeline = live_film(args.clip, live, args.seconds, watcher)

    def add() -> None:
        time.sleep(3)
        for number in range(args.photos):
            os.link(photos / f"{number % DISTINCT}.jpg", folder / f"{number:03}.jpg")

    thread = threading.Thread(target=add)
    thread.start()
    pipeline.run()
    thread.join()
    report = pipeline.report()
    print(f"{args.photos} photos, {report['frames_in']} frames, {report['dropped']} dropped")
    print("latency ms", report["latency_ms"], "gallery", report["gallery"])

    for path in folder.iterdir():
        path.unlink()
    live = LiveGallery(open_gallery("photos"))
    watcher = FolderWatcher(live, [str(folder)])
    watcher.start(lambda text: None, print)
    try:
        found = delays(live, photos, folder)
    finally:
        watcher.close()
    print(f"copy to snapshot s: median {statistics.median(found):.2f}, highest {max(found):.2f}")


if __name__ == "__main__":
    main()
