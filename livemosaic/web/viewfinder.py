"""The newest picture, and its JPEG while there are viewers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import cv2

from ..errors import UsageError
from ..media.frame import Frame, TrackPacket, even
from ..media.scale import bgr_of_size
from ..sinks.base import Sink

MIN_WIDTH, MAX_WIDTH = 16, 4096  # of a JPEG that a viewer asks for


class Over(Exception):
    """There are no more pictures."""


class Shape(NamedTuple):
    """A wanted JPEG."""

    width: int | None  # at most; None: that of the picture
    quality: int  # 1..100


class Viewfinder(Sink):
    """Keeps the newest picture, and encodes it only for those who ask. Several share a JPEG.

    `write` and `close` are called on the sink's thread, `newer` and `encoded` on that of the loop.
    `on_end` is called when the sink ends.
    """

    name = "control page"
    latest_only = True

    def __init__(self, pixel_aspect: Fraction, on_end: Callable[[], None]) -> None:
        self._aspect, self._on_end = pixel_aspect, on_end
        self._lock = threading.Lock()
        self._frame: Frame | None = None
        self._number = 0  # of the newest picture
        self._is_over = False
        self._waiting: list[asyncio.Future[None]] = []
        self._encoder = ThreadPoolExecutor(1, "livemosaic preview")
        self._coding: dict[tuple[int, Shape], asyncio.Future[bytes]] = {}

    # ---- the sink ------------------------------------------------------------------------

    def write(self, item: Frame | TrackPacket) -> None:
        if not isinstance(item, Frame):
            return
        with self._lock:
            self._frame = replace(item, original=None)  # which would stay in memory
            self._number += 1
        self._wake()

    def close(self) -> None:
        self.discard()

    def discard(self) -> None:
        self._is_over = True
        self._wake()
        self._on_end()
        self._encoder.shutdown(wait=False, cancel_futures=True)

    def _wake(self) -> None:
        """Let those look who wait for a picture."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                future.get_loop().call_soon_threadsafe(_finish, future)

    # ---- viewers -------------------------------------------------------------------------

    async def newer(self, number: int) -> int:
        """Wait for a picture after that of a number; return its number. `Over` at the end."""
        while True:
            with self._lock:
                if self._is_over:
                    raise Over
                if self._number > number:
                    return self._number
                future = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
            await future

    async def encoded(self, shape: Shape) -> bytes:
        """The newest picture as JPEG. `UsageError` before the first one."""
        with self._lock:
            frame, key = self._frame, (self._number, shape)
        if frame is None:
            raise UsageError("there is no picture yet; try again in a moment")
        if key not in self._coding:
            loop = asyncio.get_running_loop()
            self._coding = {old: it for old, it in self._coding.items() if old[0] == key[0]}
            job = loop.run_in_executor(self._encoder, _jpeg, frame, shape, self._aspect)
            self._coding[key] = job
        del frame
        # A viewer that leaves must not take the picture from the others.
        return await asyncio.shield(self._coding[key])


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _jpeg(frame: Frame, shape: Shape, aspect: Fraction) -> bytes:
    """A picture as JPEG, in the shape that a viewer sees."""
    frame = frame.over_grey()
    full = (even(frame.width * aspect), frame.height)
    width = full[0] if shape.width is None else min(full[0], even(shape.width))
    height = even(full[1] * width / full[0])
    # The mean of all samples takes seven times as long, and shows from half the width down.
    mode = cv2.INTER_AREA if 2 * width < frame.width else cv2.INTER_LINEAR
    bgr = bgr_of_size(frame, width, height, interpolation=mode)
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, shape.quality])
    return coded.tobytes()
