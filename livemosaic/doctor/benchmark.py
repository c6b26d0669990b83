"""A check of the speed: the real pipeline processes a clip live."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..control.options import MAX_LATENCY_MS
from ..sinks import Sink
from ..sources import Source
from .result import LESS_LOAD, CheckResult, State

if TYPE_CHECKING:
    from ..media.frame import Frame, StreamInfo, TrackPacket

_log = logging.getLogger("livemosaic")

_CLIP = Path(__file__).parents[1] / "demo" / "bigbuckbunny.mp4"
# Forward and backward, 13 % of the cells are active, as with a person who moves a lot.
_FIRST, _FRAMES = 20, 24

# Long enough for the governor, which acts twice a second, to find its step. The first part does not
# count: caches are cold, and the first picture is all new.
_RUN_S, _SETTLING_S = 2.0, 0.7
_SUSTAINED = 0.95  # the share of the frames that must be shown

# A pipeline that is slow by itself has a thread that always works. With less than this many cores
# of processor time, its threads probably had to wait for other programs.
_SLOW_CORES = 0.8


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of a run."""

    fps: float  # frames/s that were shown
    latency_ms: dict[str, float]  # the percentiles `p50`, `p95` and `p99`
    governor: str  # its step at the end, empty for full quality
    cpu_cores: float  # how many were busy


def speed(width: int, height: int, rate: int) -> CheckResult:
    """Check whether mosaics of this size and rate can be made live, and measure their latency.

    A clip in a loop, in memory, becomes a mosaic of the same size for a sink that does nothing. The
    cost of the camera's decoder and of the window or encoder is extra.
    """
    return judge(width, height, rate, measure(width, height, rate))


def judge(width: int, height: int, rate: int, measured: Measurement) -> CheckResult:
    latency = measured.latency_ms
    sustained = measured.fps >= _SUSTAINED * rate and latency["p95"] <= MAX_LATENCY_MS
    waited = not sustained and measured.cpu_cores < _SLOW_CORES
    verdict = "sustained" if sustained else "not sustained"
    if measured.governor:
        verdict += f"{'' if sustained else ', even'} with {measured.governor}"
    if not sustained:
        few = measured.fps < _SUSTAINED * rate
        verdict += " (frames were left out)" if few else " (frames were late)"
    text = (
        f"{width}x{height} at {rate} is {verdict}: {measured.fps:.1f} frames/s, "
        f"latency {latency['p50']:.0f} ms (p95 {latency['p95']:.0f}), "
        f"{measured.cpu_cores:.1f} cores"
    )
    if waited:
        text += "; other programs probably kept the processor busy"
    details = {
        "width": width,
        "height": height,
        "rate": rate,
        "held": "no" if not sustained else "governed" if measured.governor else "yes",
        "fps": round(measured.fps, 1),
        "latency_ms": latency,
        "governor": measured.governor,
        "cpu_cores": round(measured.cpu_cores, 2),
    }
    state: State = "good" if sustained else "warning"
    fix = LESS_LOAD if waited else ""
    return CheckResult(f"speed_{height}p{rate}", state, text, fix, details)


def with_smaller(result: CheckResult, earlier: Sequence[CheckResult]) -> CheckResult:
    """The result of a speed that is too high for this machine, with the advice to use the last of
    the earlier ones that is sustained. Other results stay as they are."""
    if result.details.get("held") != "no" or result.fix:
        return result
    options = "--size 640x360 --tile 16 --fps 15, which was not measured"
    for it in earlier:
        if it.details.get("held") in ("yes", "governed"):
            options = "--size {width}x{height} --fps {rate}".format_map(it.details)
    fix = f"choose a smaller size or rate: livemosaic run webcam window {options}"
    return replace(result, fix=fix)


def measure(
    width: int, height: int, rate: int, *, run_s: float = _RUN_S, settling_s: float = _SETTLING_S
) -> Measurement:
    """Run the pipeline for `run_s` seconds, of which the first `settling_s` do not count."""
    import cv2
    import numpy as np

    from ..gallery import open_gallery
    from ..jit import kernels_are_cached
    from ..media.frame import StreamInfo
    from ..mosaic.mosaic import Mosaic
    from ..mosaic.settings import MosaicSettings
    from ..pipeline import Pipeline

    cv2.setNumThreads(1)  # as `run` does
    frames = _frames(width, height)
    fps = Fraction(rate)
    info = StreamInfo(width, height, fps, time_base=1 / fps, colour=frames[0].colour, live=True)
    settings = MosaicSettings(size=(width, height), for_screen=True)
    mosaic = Mosaic(open_gallery("photos"), settings)
    mosaic.update_settings(settings.for_grid(mosaic.plan(width, height)))
    if not kernels_are_cached():
        _log.info("compiling for this processor, once: this takes some seconds")
    mosaic.warm_up(width, height, info.colour)
    meter = _Meter(settling_s)
    source, limit_s = _Loop(frames, info), MAX_LATENCY_MS / 1e3
    pipeline = Pipeline(source, mosaic, [meter], duration_s=run_s, max_latency_s=limit_s)
    began, worked = time.monotonic(), time.process_time()
    pipeline.run()
    cores = (time.process_time() - worked) / (time.monotonic() - began)
    return Measurement(
        fps=len(meter.latencies_ms) / (run_s - settling_s),
        latency_ms={
            f"p{q}": round(float(np.percentile(meter.latencies_ms or [0.0], q)), 1)
            for q in (50, 95, 99)
        },
        governor=pipeline.report()["governor"]["step"],
        cpu_cores=cores,
    )


class _Meter(Sink):
    """A sink that takes the latest frame only, and measures its age."""

    name, latest_only = "null", True

    def __init__(self, settling_s: float) -> None:
        self.latencies_ms: list[float] = []
        self._settling_s = settling_s
        self._began: float | None = None

    def write(self, item: Frame | TrackPacket) -> None:
        now = time.monotonic()
        captured_s = getattr(item, "captured_s", now)
        if self._began is None:
            self._began = captured_s
        if captured_s - self._began >= self._settling_s:
            self.latencies_ms.append((now - captured_s) * 1e3)


class _Loop(Source):
    """Frames forward and backward without end, at the rate of a camera."""

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


@functools.lru_cache(maxsize=1)  # 75 MB at 1920x1080, for two checks
def _frames(width: int, height: int) -> list[Frame]:
    """Frames of the demo's clip, scaled."""
    from ..media.frame import Frame
    from ..sources import open_source

    with open_source(str(_CLIP)) as source:
        pictures = (item for item in source if isinstance(item, Frame))
        chosen = list(islice(pictures, _FIRST, _FIRST + _FRAMES))
    return [_scaled(frame, width, height) for frame in chosen]


def _scaled(frame: Frame, width: int, height: int) -> Frame:
    from ..media.scale import scaled

    half = (width // 2, height // 2)
    u, v = scaled(frame.u, *half), scaled(frame.v, *half)
    return replace(frame, y=scaled(frame.y, width, height), u=u, v=v)
