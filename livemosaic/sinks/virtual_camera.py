"""A virtual camera, which programs for video calls show as a webcam.

The only module that imports pyvirtualcam, which is GPL-2.0. livemosaic is MIT.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from ..errors import SinkError
from ..media.colour import U8, Colour, conversion
from ..media.frame import Frame, StreamInfo, TrackPacket
from ..media.scale import fill, letterbox
from .base import Destination, FileOptions, RunContext, Sink, one_thread
from .virtual_camera_devices import (
    choose_device,
    device_label,
    device_size,
    refusal,
    release_device,
)
from .virtual_camera_readers import Readers

_log = logging.getLogger("livemosaic")

_SIZE, _RATE = (1280, 720), Fraction(30)  # frames/s; what programs for calls expect

# V4L2's default for untagged samples: programs for calls use it at any size.
_CAMERA = Colour("bt601", full_range=False)
_BLACK = (16, 128, 128)

_SHORT_ABSENCE_S = 1.0  # of readers

# Viewers do not notice a distortion of 1 %, but they notice a bar of four pixels: 848x480 counts as
# 16:9.
_SAME_ASPECT = 0.01

_CHANGE_OFFSET = 128.0  # so that the change of luma by chroma, +-33 at most, fits into a byte


@dataclass(frozen=True, kw_only=True)
class VirtualCameraDestination(Destination):
    """`vcam` or `vcam:DEVICE`."""

    is_display: bool = True
    for_screen: bool = True
    tells_readers: bool = sys.platform == "linux"

    def open(self, info: StreamInfo, context: RunContext) -> VirtualCameraSink:
        return VirtualCameraSink(
            self.name, rate=context.rate, pixel_aspect=info.sample_aspect_ratio
        )


def parse_output(spec: str, options: FileOptions) -> VirtualCameraDestination:
    return VirtualCameraDestination(name=spec, options=options, location=spec)


class VirtualCameraSink(Sink):
    """Sends each frame when it is written, fitted into the camera's picture.

    Black bars fill the rest of the picture. Samples are converted to limited-range BT.601.
    `SinkError` if there is no such virtual camera, or it cannot be used.

    Parameters
    ----------
    name : `vcam` or `vcam:DEVICE`
    size : of the camera's picture, width and height, both even
    pixel_aspect : width by height of a frame's pixels; a camera's pixels are square
    """

    latest_only = True

    def __init__(
        self,
        name: str = "vcam",
        *,
        size: tuple[int, int] = _SIZE,
        rate: Fraction | None = None,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        self.name = name
        self.rate: Fraction = rate or _RATE
        self._pixel_aspect = pixel_aspect
        self._drawn: U8 | None = None  # luma of the frame in the buffer
        self._box: tuple[int, int, int, int] | None = None  # of that frame
        self._readers: Readers | None = None
        self._absence = (math.inf, -math.inf)  # when there was no reader, `time.monotonic()`
        self._was_unread = False
        self._left_out = 0  # repeated pictures in a row that were not sent, as there is no reader
        device = choose_device(name.removeprefix("vcam").removeprefix(":") or None)
        self._camera = _open(device, size, self.rate)
        self.device: str = self._camera.device  # the system's name
        self._label, self._is_up = device_label(self.device), False
        agreed = device_size(self.device) or size
        if agreed != size:
            # The driver keeps the size that a watching program opened it with.
            self.abort()
            self._camera = _open(device, agreed, self.rate)
        self.size = width, height = agreed
        self.buffer = np.empty(width * height * 3 // 2, np.uint8)  # the I420 picture that is sent
        chroma = self.buffer[width * height :].reshape(2, height // 2, width // 2)
        self._planes = (self.buffer[: width * height].reshape(height, width), *chroma)

    def watch_readers(self) -> Callable[[], bool] | None:
        """`SinkError` if the driver does not tell."""
        if sys.platform != "linux":
            return None
        self._readers = self._readers or Readers(self.device)
        return self._readers.are_there

    @one_thread
    def write(self, item: Frame | TrackPacket) -> None:
        """Send a frame; a camera has no other tracks."""
        if not isinstance(item, Frame):
            return
        is_unread = self._is_unread()
        if item.original is not None and (is_unread or self._is_old(item)):
            # The driver gives the next reader the last picture: it must not be one of the webcam.
            if self._drawn is None:
                return
            self._blacken()
            self._drawn = self._box = None
        elif item.y is not self._drawn:  # a repeated picture has the same arrays
            self._draw(item)
            self._drawn = item.y
        elif is_unread:
            # Once a second is enough, for a reader that the driver does not tell of.
            self._left_out += 1
            if self._left_out < self.rate:
                return
        self._left_out = 0
        try:
            self._camera.send(self.buffer)
        except (RuntimeError, OSError) as error:
            raise SinkError(
                f"{self.name}: {self.device} takes no pictures any more ({error}); start again"
            ) from error
        if not self._is_up:
            self._is_up = True
            _log.info('%s is up: choose the camera "%s" in the call', self.name, self._label)

    @one_thread
    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        camera, self._camera, self._drawn = self._camera, None, None
        if self._readers is not None:
            self._readers.close()
        if camera is not None:
            with contextlib.suppress(Exception):
                camera.close()
            release_device(self.device)

    def _draw(self, frame: Frame) -> None:
        box = self._fit(frame)
        if box != self._box:
            self._box = box
            self._blacken()
        y, u, v = fill((frame.y, frame.u, frame.v), self._planes, box)
        if (frame.colour.matrix, frame.colour.full_range) != ("bt601", False):
            _convert(y, u, v, frame.colour)

    def _is_unread(self) -> bool:
        """Whether it is known that there is no reader; notes since when."""
        if self._readers is None or self._readers.are_there():
            self._was_unread = False
            return False
        now_s = time.monotonic()
        self._absence = (self._absence[0] if self._was_unread else now_s), now_s
        self._was_unread = True
        return True

    def _is_old(self, picture: Frame) -> bool:
        """Whether a picture is from before an absence of all readers, and was made late.

        After a short one, a picture may go on, as a frozen one does.
        """
        gone_s, back_s = self._absence
        return back_s - gone_s > _SHORT_ABSENCE_S and picture.captured_s <= back_s

    def _blacken(self) -> None:
        for plane, black in zip(self._planes, _BLACK, strict=True):
            plane[:] = black

    def _fit(self, frame: Frame) -> tuple[int, int, int, int]:
        """Left, top, width and height of a frame in the camera's picture."""
        width, height = self.size
        ratio = frame.width * self._pixel_aspect * height / (frame.height * width)
        if abs(1 / ratio - 1) < _SAME_ASPECT:
            return 0, 0, width, height
        return letterbox(frame.width, frame.height, self.size, aspect=self._pixel_aspect)


def _open(device: str | None, size: tuple[int, int], rate: Fraction) -> Any:
    try:
        import pyvirtualcam
    except ImportError as error:
        raise SinkError(
            f"vcam: the package pyvirtualcam cannot be imported ({error}); install it beside "
            f"livemosaic: {sys.executable} -m pip install pyvirtualcam"
        ) from error
    try:
        return pyvirtualcam.Camera(
            *size, float(rate), fmt=pyvirtualcam.PixelFormat.I420, device=device
        )
    except RuntimeError as error:
        raise refusal(device, error) from error


def _convert(y: U8, u: U8, v: U8, colour: Colour) -> None:
    """Convert samples to those of a camera, in place."""
    matrix = conversion(colour, _CAMERA)
    if colour.matrix == _CAMERA.matrix:
        for n, plane in enumerate((y, u, v)):
            scale, offset = float(matrix[n, n]), float(matrix[n, 3])
            cv2.convertScaleAbs(plane, dst=plane, alpha=scale, beta=offset)
        return
    # New chroma depends on chroma only. Luma changes by chroma, too: that change is computed at the
    # resolution of chroma and enlarged. Three sums of two cost an eighth of one matrix product.
    change, u[:], v[:] = (
        cv2.addWeighted(u, float(row[1]), v, float(row[2]), float(row[3] + offset))
        for row, offset in zip(matrix, (_CHANGE_OFFSET, 0, 0), strict=True)
    )
    enlarged = cv2.resize(change, (y.shape[1], y.shape[0]), interpolation=cv2.INTER_LINEAR)
    cv2.addWeighted(y, float(matrix[0, 0]), enlarged, 1.0, -_CHANGE_OFFSET, dst=y)
