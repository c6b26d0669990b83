"""Photos of those in front of the camera: how soon each is in the picture's gallery, and what they
cost the picture.

    python bench/snap.py CLIP [--photos 20] [--every 1.5] [--folder]

CLIP is a film with people; it is played as if it were live, again and again. --photos 0 takes none,
for comparison. --folder writes the photos into a watched folder, too.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

from common import machine
from live_child import resident_mb
from live_gallery import live_film, repeated, tell
from watch import tell_times, wait_for

from livemosaic import LiveGallery, UsageError, open_gallery
from livemosaic.gallery.watch import FolderWatcher

BEGINS_S, COMPARED = 4.0, 20  # before the first photo; photos that take as long as none


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("--photos", type=int, default=COMPARED)
    parser.add_argument("--every", type=float, default=1.5)
    parser.add_argument("--folder", action="store_true")
    args = parser.parse_args()
    count = args.photos or COMPARED
    seconds = BEGINS_S + count * (args.every + 1)

    print(machine())
    with tempfile.TemporaryDirectory(prefix="snap-") as place:
        film, gallery = repeated(args.clip, place, seconds), open_gallery("photos")
        if args.folder:
            folder = Path(place) / "party"
            folder.mkdir()
            live = LiveGallery(gallery)
            pipeline = live_film(film, live, seconds, FolderWatcher(live, [str(folder)]))
        else:
            pipeline = live_film(film, gallery, seconds)
        memory, took = [resident_mb()], list[float]()

        def changes() -> int:
            report = pipeline.report()["gallery"]
            return int(report["changes"]) if report else 0

        def take() -> None:
            time.sleep(BEGINS_S)
            for _ in range(count):
                if args.photos:
                    before = changes()
                    try:
                        pipeline.control.snap()
                    except UsageError as error:
                        print(error)
                    took.append(wait_for(lambda before=before: changes() > before, 10))
                time.sleep(args.every)
                memory.append(resident_mb())
            pipeline.stop()

        thread = threading.Thread(target=take)
        thread.start()
        pipeline.run()
        thread.join()
    tell(pipeline.report(), memory)
    if took:
        tell_times("from snap to the picture's gallery,", took)


if __name__ == "__main__":
    main()
