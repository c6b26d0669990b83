"""A check of what this machine can hold, by the real pipeline."""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..sources import Source
from .result import CheckResult, State

if TYPE_CHECKING:
    from ..media.frame import Frame, StreamInfo, TrackPacket
    from ..pipeline import Pipeline

__all__ = ["speed"]

_log = logging.getLogger("livemosaic")

_CLIP = Path(__file__).parents[1] / "demo" / "bigbuckbunny.mp4"
# To and fro, 13 % of the cells are active: as before a camera with somebody who moves a lot.
_FIRST, _FRAMES = 20, 24

# Long enough for the governor to find its step (it judges twice a second), of which the first part
# does not count: caches are cold, and the first picture is all new.
_MEASURED_S, _SETTLING_S = 2.0, 0.7
_PROMISE_MS = 100.0  # the default of --max-latency
_HELD = 0.95  # the share of the frames that has to be shown


def speed(width: int, height: int, rate: int) -> CheckResult:
    """Whether mosaics of this size and rate can be made live, and how late they are.

    A clip in a loop, from memory, becomes a mosaic of the same size for a sink that does nothing:
    the camera's own decoding and the window or encoder come on top.
    """
    name = f"speed_{height}p{rate}"
    pipeline, meter, cores = _measure(width, height, rate)
    latencies = sorted(meter.latencies_ms)
    fps = len(latencies) / (_MEASURED_S - _SETTLING_S)
    p50, p95, p99 = (_percentile(latencies, percent) for percent in (50, 95, 99))
    governor = pipeline.report()["governor"]
    step, p95_kept = governor["step"], p95 <= _PROMISE_MS
    held = fps >= _HELD * rate and p95_kept
    verdict = "held" if held else "not held"
    if step:
        verdict += f" {'by' if held else 'even by'} {step}"
    details = {
        "width": width,
        "height": height,
        "rate": rate,
        "held": "no" if not held else "governed" if step else "yes",
        "fps": round(fps, 1),
        "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
        "governor": step,
        "cpu_cores": round(cores, 2),
    }
    text = (
        f"{width}x{height} at {rate} is {verdict}: {fps:.1f} frames/s, latency {p50:.0f} ms "
        f"(p95 {p95:.0f}), {cores:.1f} cores"
    )
    state: State = "good" if held else "warning"
    return CheckResult(name, state, text, "" if held else _less(width, height, rate), details)


def _less(width: int, height: int, rate: int) -> str:
    if rate > 30:
        return f"ask for less: livemosaic run webcam window --size {width}x{height} --fps 30"
    if height > 720:
        return "ask for less: livemosaic run webcam window --size 1280x720 --fps 30"
    return "ask for less: livemosaic run webcam window --size 640x360 --tile 16 --fps 15"


class _Meter:
    """A sink that wants the newest picture only, and looks how old it is."""

    name, live, rate = "null", True, None

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self._began: float | None = None

    def write(self, item: Frame | TrackPacket) -> None:
        now = time.monotonic()
        captured_s = getattr(item, "captured_s", now)
        if self._began is None:
            self._began = captured_s
        if captured_s - self._began >= _SETTLING_S:
            self.latencies_ms.append((now - captured_s) * 1e3)

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def discard(self) -> None: ...


class _Loop(Source):
    """Some frames to and fro for ever, at a pace, as from a camera."""

    def __init__(self, frames: list[Frame], info: StreamInfo) -> None:
        self.name, self.info = "the demo's clip", info
        self._frames = frames + frames[-2:0:-1]
        self._interrupted = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        began = time.monotonic()
        for number in count():
            due = began + float(number / self.info.rate)
            if self._interrupted.wait(max(0.0, due - time.monotonic())):
                return
            yield replace(
                self._frames[number % len(self._frames)],
                pts=number,
                time_base=self.info.time_base,
                duration=1,
                captured_s=time.monotonic(),
            )

    def interrupt(self) -> None:
        self._interrupted.set()


def _measure(width: int, height: int, rate: int) -> tuple[Pipeline, _Meter, float]:
    """Run a pipeline; how many cores it kept busy."""
    import cv2

    from ..gallery import open_gallery
    from ..jit import kernels_are_cached
    from ..media.frame import StreamInfo
    from ..mosaic.mosaic import Mosaic
    from ..mosaic.settings import MosaicSettings
    from ..pipeline import Pipeline

    cv2.setNumThreads(1)  # as `run` does
    frames = _frames(width, height)
    fps = Fraction(rate)
    info = StreamInfo(
        width, height, rate=fps, time_base=1 / fps, colour=frames[0].colour, live=True
    )
    settings = MosaicSettings(size=(width, height), live=True)
    mosaic = Mosaic(open_gallery("photos"), settings)
    mosaic.change(settings.for_grid(mosaic.plan(width, height)))
    if not kernels_are_cached():
        _log.info("compiling for this processor, once: it takes some seconds more")
    mosaic.warm_up(width, height, info.colour)
    meter = _Meter()
    pipeline = Pipeline(
        _Loop(frames, info),
        mosaic,
        [meter],
        duration_s=_MEASURED_S,
        max_latency_s=_PROMISE_MS / 1e3,
    )
    began, worked = time.monotonic(), time.process_time()
    pipeline.run()
    return pipeline, meter, (time.process_time() - worked) / (time.monotonic() - began)


@functools.lru_cache(maxsize=1)  # 75 MB at 1920x1080, and two checks want that
def _frames(width: int, height: int) -> list[Frame]:
    """Frames of the demo's clip at a size."""
    from ..media.frame import Frame
    from ..sources import open_source

    source = open_source(str(_CLIP))
    try:
        pictures = (item for item in source if isinstance(item, Frame))
        chosen = list(islice(pictures, _FIRST, _FIRST + _FRAMES))
    finally:
        source.close()
    return [_scaled(frame, width, height) for frame in chosen]


def _scaled(frame: Frame, width: int, height: int) -> Frame:
    import cv2
    import numpy as np

    if (frame.width, frame.height) == (width, height):
        return frame
    sizes = ((width, height), (width // 2, height // 2), (width // 2, height // 2))
    y, u, v = (
        np.asarray(cv2.resize(plane, size), np.uint8)
        for plane, size in zip((frame.y, frame.u, frame.v), sizes, strict=True)
    )
    return replace(frame, y=y, u=u, v=v)


def _percentile(ascending: list[float], percent: int) -> float:
    """What `percent` of 100 values do not exceed; 0 of none."""
    if not ascending:
        return 0.0
    return round(ascending[math.ceil(percent / 100 * len(ascending)) - 1], 1)
