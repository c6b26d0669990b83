"""A watched folder: how soon a photo is in the picture, and what many at once cost the picture.

    python bench/watch.py CLIP [--photos 500] [--before 0] [--seconds 300]

CLIP is a film of 720p; it is played as if it were live, again and again, until all photos have
joined. The photos have 12 megapixels. --photos 0 adds none, for comparison. With --before 20000 the
folder has so many small photos when it starts; what they cost is measured apart.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from common import machine
from live_child import resident_mb
from live_gallery import live_film, repeated, tell

from livemosaic import LiveGallery, open_gallery
from livemosaic.gallery import Recipe
from livemosaic.gallery.folder_tree import FolderTree
from livemosaic.gallery.watch import FolderWatcher

DISTINCT, COPIES = 8, 20
BEGINS_S, CALM_S = 3.0, 1.0  # before the photos come, and between two copies


def photo(number: int, width: int, height: int) -> bytes:
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (60, 80, 3), np.uint8)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(0, 24, large.shape, np.uint8)
    return cv2.imencode(".jpg", cv2.add(large, noise))[1].tobytes()


def wait_for(is_true: Callable[[], bool], seconds: float) -> float:
    """How long it took, or the limit."""
    began_s = time.monotonic()
    while not is_true() and time.monotonic() - began_s < seconds:
        time.sleep(0.002)
    return time.monotonic() - began_s


def tell_times(name: str, times: list[float]) -> None:
    print(f"{name} s: median {statistics.median(times):.2f}, highest {max(times):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--before", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300)
    args = parser.parse_args()

    cv2.setNumThreads(1)
    print(machine())
    with tempfile.TemporaryDirectory(prefix="watch-") as place:
        folder = Path(place) / "party"
        folder.mkdir()
        large = [photo(number, 4000, 3000) for number in range(DISTINCT)]
        small = [photo(number, 320, 240) for number in range(DISTINCT)]
        for number in range(args.before):
            (folder / f"small{number}.jpg").write_bytes(small[number % DISTINCT])
        tree = FolderTree(str(folder))
        for at_files in (True, True, False) if args.before else ():
            began_s = time.monotonic()
            tree.look(at_files=at_files)
            took, which = time.monotonic() - began_s, "files" if at_files else "their folder"
            print(f"a look at {which}: {took * 1e3:.1f} ms")

        live = LiveGallery(open_gallery("photos"), recipe=Recipe())  # as `livemosaic run`
        watcher = FolderWatcher(live, [str(folder)])
        film = repeated(args.clip, place, args.seconds)
        pipeline = live_film(film, live, args.seconds, watcher)
        memory = [resident_mb()]
        copied: list[float] = []
        shown: list[float] = []

        def add() -> None:
            time.sleep(BEGINS_S)
            if args.before:
                took = wait_for(lambda: live.added >= args.before, args.seconds)
                print(f"{live.added} photos that were there joined in {took:.1f} s;", end=" ")
                print("latency ms", pipeline.report()["latency_ms"])
            for number in range(args.photos):
                path = Path(place) / "next.jpg"
                path.write_bytes(large[number % DISTINCT])
                path.rename(folder / f"{number:04}.jpg")
            wanted = args.before + args.photos
            took = wait_for(lambda: live.added >= wanted, args.seconds)
            if args.photos:
                print(f"{live.added - args.before} of {args.photos} photos joined, in {took:.1f} s")
                tell(pipeline.report(), memory)
            for number in range(COPIES):
                time.sleep(CALM_S)
                path = folder / f"copy{number}.jpg"
                path.write_bytes(large[number % DISTINCT])
                changes = pipeline.report()["gallery"]["changes"]
                took = wait_for(lambda path=path: str(path) in live, 30)
                copied.append(took)
                is_shown = lambda now=changes: pipeline.report()["gallery"]["changes"] > now  # noqa: E731
                shown.append(took + wait_for(is_shown, 30))
            pipeline.stop()

        def note() -> None:
            while thread.is_alive():
                memory.append(resident_mb())
                time.sleep(1)

        thread = threading.Thread(target=add)
        thread.start()
        threading.Thread(target=note).start()
        pipeline.run()
        thread.join()
    print("in all:")
    tell(pipeline.report(), memory)
    tell_times("from the end of a copy to the gallery,", copied)
    tell_times("from the end of a copy to the picture's gallery,", shown)
    reader = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"the reading process: {reader.ru_utime + reader.ru_stime:.1f} s of processor,", end=" ")
    print(f"{reader.ru_maxrss * 1024 / 1e6:.0f} MB at most")


if __name__ == "__main__":
    main()
