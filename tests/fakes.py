"""Stand-ins at the pipeline's seams, stepped by handshakes: no test sleeps to wait for a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from livemosaic.media.frame import Frame, StreamInfo, TrackPacket
from livemosaic.mosaic.grid import Grid, plan_grid
from livemosaic.mosaic.layers import CellCounts
from livemosaic.mosaic.mosaic import Mosaic
from livemosaic.mosaic.settings import MosaicSettings
from livemosaic.sinks.base import Sink
from livemosaic.sources import Source

T = TypeVar("T")

TIMEOUT_S = 10.0
RATE = Fraction(25)
SIZE = (64, 48)


def frame(number: int, *, rate: Fraction = RATE, duration: int = 1) -> Frame:
    """A grey picture of number `number`."""
    width, height = SIZE
    y = np.full((height, width), number % 256, np.uint8)
    u, v = np.full((2, height // 2, width // 2), 128, np.uint8)
    return Frame(y, u, v, pts=number, time_base=1 / rate, duration=duration)


def packet(
    pts: int | None,
    *,
    time_base: Fraction = RATE**-1,
    track: int = 0,
    duration: int = 0,
    kind: str = "audio",
) -> TrackPacket:
    """A packet of another track; what it holds is its time."""
    stream = SimpleNamespace(type=kind)
    return TrackPacket(
        track,
        SimpleNamespace(pts=pts, dts=pts, time_base=time_base, duration=duration, stream=stream),
    )


def times(items: Iterable[Any]) -> list[float]:
    """The presentation times of the frames among `items`, in seconds."""
    return [item.time_s for item in items if isinstance(item, Frame)]


class Gate:
    """A place where one thread waits until another lets it through."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        """Wait here; on the thread under test."""
        self._reached.set()
        assert self._opened.wait(TIMEOUT_S), "no thread opened the gate"

    def reached(self) -> None:
        """Wait until a thread waits here."""
        assert self._reached.wait(TIMEOUT_S), "no thread came to the gate"

    def open(self) -> None:
        self._opened.set()


_changed = threading.Condition()


def notify() -> None:
    """Let `wait_until` check its condition now."""
    with _changed:
        _changed.notify_all()


def wait_until(condition: Callable[[], T], *, timeout_s: float = TIMEOUT_S) -> T:
    """Wait until a condition is true; return its value."""
    deadline_s = time.monotonic() + timeout_s
    with _changed:
        while not (value := condition()):
            assert time.monotonic() < deadline_s, "it does not become true"
            _changed.wait(0.01)  # what is no fake does not notify
    return value


def until(condition: Callable[[], object]) -> Callable[[], object]:
    """A function, such as an item of a `FakeSource`, that waits until a condition is true."""
    return partial(wait_until, condition)


class FakeSource(Source):
    """Gives `items`; an exception among them is raised, anything callable called."""

    name = "fake source"
    bad_frames = 0

    def __init__(self, items: Iterable[Any], *, frames: int | None = None) -> None:
        self.items = items
        self.info = StreamInfo(*SIZE, rate=RATE, time_base=1 / RATE, frames=frames)
        self.closed = 0
        self.interrupted = 0

    def __iter__(self) -> Iterator[Frame | TrackPacket]:
        for item in self.items:
            if isinstance(item, BaseException):
                raise item
            if callable(item):
                item()
            else:
                yield item

    def interrupt(self) -> None:
        self.interrupted += 1

    def close(self) -> None:
        self.closed += 1


class FakeMosaic(Mosaic):
    """Gives a picture of its own for each frame; its gallery has nothing.

    Parameters
    ----------
    fail_at : number of a frame that fails
    on_warm_up : called for `warm_up_kernels`
    """

    def __init__(
        self,
        *,
        fail_at: int | None = None,
        on_warm_up: Callable[[MosaicSettings], None] = lambda settings: None,
    ) -> None:
        self._fail_at, self._on_warm_up = fail_at, on_warm_up
        self.cells = CellCounts(total=4, active=2, touched=1, changed=1)
        self.settings = MosaicSettings()
        self.gallery: Any = object()
        self.galleries: list[object] = []
        self.on_stage: Callable[[str], None] = lambda name: None

    def plan(self, width: int, height: int) -> Grid:
        return plan_grid(width, height, MosaicSettings(scale=1, tile_px=16))

    def warm_up_gallery(self, gallery: object) -> None: ...

    def warm_up_kernels(self, settings: MosaicSettings, *frame: object) -> None:
        self._on_warm_up(settings)

    def update_settings(
        self, settings: MosaicSettings, *, gallery: object = None, ready: object = None
    ) -> None:
        self.settings = settings
        self.galleries.append(gallery)

    def forget(self) -> None: ...

    def process(self, frame: Any, **options: Any) -> Any:
        if frame.pts == self._fail_at:
            raise MosaicError
        for name in ("activity", "features", "match", "compose"):
            self.on_stage(name)
        return frame.with_picture(frame.y.copy(), frame.u, frame.v)


class MosaicError(Exception):
    """The fake mosaic fails."""


class FakeSink(Sink):
    """Keeps its items.

    Parameters
    ----------
    on_write : called with each item before it is taken
    on_close, on_abort : called before the sink counts as closed or aborted
    """

    def __init__(
        self,
        name: str = "fake sink",
        *,
        on_write: Callable[[Any], None] = lambda item: None,
        on_close: Callable[[], None] = lambda: None,
        on_abort: Callable[[], None] = lambda: None,
        keep: bool = True,
        latest_only: bool = False,
        rate: Fraction | None = None,
    ) -> None:
        self.name = name
        self.latest_only, self.rate = latest_only, rate
        self.items: list[Any] = []
        self.ends: list[str] = []
        self.on_write, self._on_close, self._on_abort = on_write, on_close, on_abort
        self._keep = keep

    def write(self, item: Frame | TrackPacket) -> None:
        self.on_write(item)
        if self._keep:
            self.items.append(item)
        notify()

    def close(self) -> None:
        self._on_close()
        self.ends.append("closed")
        notify()

    def abort(self) -> None:
        self._on_abort()
        self.ends.append("aborted")
        notify()

    def discard(self) -> None:
        self.ends.append("discarded")


def failing(error: BaseException, *, at: int = 0) -> Callable[..., None]:
    """A function that raises `error` at its call number `at`."""
    calls = iter(range(10**9))

    def fail(*_: Any, **__: Any) -> None:
        if next(calls) == at:
            raise error

    return fail


def pipeline_threads() -> list[str]:
    """The threads of pipelines that are alive."""
    return [t.name for t in threading.enumerate() if t.name.startswith("livemosaic ")]
