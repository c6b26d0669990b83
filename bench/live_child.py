"""A live pipeline in a process of its own, measured from inside once a second.

It does the same as `livemosaic run INPUT OUTPUTS`, and has the output `blocking`, which takes two
seconds for each frame. It prints one JSON object: the report, and measurements of each second.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

import cv2

from livemosaic.control.state import Control, LiveState
from livemosaic.media.frame import Frame, TrackPacket
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.pipeline import Pipeline, Progress, output_info
from livemosaic.sinks import FileOptions, Sink, open_sink
from livemosaic.sources import open_source

BLOCKED_S = 2.0


class BlockingSink(Sink):
    """Like a window that is being moved: takes one frame, then none for two seconds."""

    name = "blocking"
    latest_only = True

    def write(self, item: Frame | TrackPacket) -> None:
        time.sleep(BLOCKED_S)


def resident_mb() -> float:
    """Memory of this process now, in MB; 0 where /proc does not say."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0.0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def private_mb() -> float:
    """The part of it that is the process's own, not mapped from files; 0 where /proc does not
    say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon:"))


def descriptors() -> int:
    """Open files of this process."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("outputs", nargs="+")
    parser.add_argument("--duration", type=float, required=True)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--scale", type=float)
    parser.add_argument("--gallery", default="photos")
    parser.add_argument("--reconnect")
    args = parser.parse_args()

    cv2.setNumThreads(1)
    source = open_source(args.input, reconnect=args.reconnect)
    info = source.info
    settings = MosaicSettings(tile_px=args.tile, scale=args.scale, for_screen=True)
    mosaic = Mosaic(args.gallery, settings)
    grid = mosaic.plan(info.width, info.height)
    mosaic.update_settings(settings.for_grid(grid))
    mosaic.warm_up(info.width, info.height, info.colour)
    control = Control(LiveState(mosaic.settings))
    output = output_info(info, grid)
    sinks: list[Sink] = [
        BlockingSink()
        if name == "blocking"
        else open_sink(name, output, options=FileOptions(overwrite=True))
        for name in args.outputs
    ]
    pipeline = Pipeline(
        source, mosaic, sinks, realtime=True, duration_s=args.duration, control=control
    )
    series: list[dict[str, float]] = []
    began_s, began_cpu_s = time.monotonic(), time.process_time()

    def watch(progress: Progress) -> None:
        now = time.monotonic() - began_s
        if now < len(series) + 1:
            return
        live_stats = pipeline.live_stats()
        series.append(
            {
                "at_s": round(now, 2),
                "fps": round(live_stats.fps_out, 2),
                "p50_ms": round(live_stats.latency_ms_p50, 2),
                "p95_ms": round(live_stats.latency_ms_p95, 2),
                "rss_mb": round(resident_mb(), 1),
                "private_mb": round(private_mb(), 1),
                "threads": threading.active_count(),
                "descriptors": descriptors(),
                "cpu_s": round(time.process_time() - began_cpu_s, 3),
                "no_picture": bool(live_stats.source),
            }
        )

    pipeline.run(on_tick=watch)
    sys.stdout.write(json.dumps({"report": pipeline.report(), "series": series}) + "\n")
    sys.stdout.flush()
    if pipeline.stuck:  # in the blocking sink
        os._exit(0)


if __name__ == "__main__":
    main()
