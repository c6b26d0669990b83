"""A virtual camera, which programs for video calls show as a webcam.

The only module that imports pyvirtualcam, which is GPL-2.0. livemosaic is MIT.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError
from ..media.colour import Colour, conversion
from ..media.frame import Frame, StreamInfo, TrackPacket
from ..media.scale import letterbox, scaled
from .base import Destination, FileOptions, RunContext, Sink
from .virtual_camera_devices import choose_device, refusal

__all__ = ["VirtualCameraSink", "parse_output"]

U8 = NDArray[np.uint8]

DEFAULT_SIZE = (1280, 720)  # what calls expect, at
DEFAULT_RATE = Fraction(30)  # frames/s

# What calls take a camera's samples for, at any size: V4L2's default for what says nothing.
_CAMERA = Colour("bt601", full_range=False)
_BLACK = (16, 128, 128)

# Nobody sees that much distortion, but everybody a bar of four pixels: 848x480 is meant as 16:9.
_SAME_ASPECT = 0.01

_CHANGE_OFFSET = 128.0  # so that the change of luma by chroma, +-33 at most, fits into a byte


@dataclass(frozen=True, kw_only=True)
class VirtualCameraDestination(Destination):
    """`vcam` or `vcam:DEVICE`."""

    def open(self, info: StreamInfo, context: RunContext) -> VirtualCameraSink:
        return VirtualCameraSink(
            self.name, rate=context.rate, pixel_aspect=info.sample_aspect_ratio
        )


def parse_output(spec: str, options: FileOptions) -> VirtualCameraDestination:
    return VirtualCameraDestination(
        name=spec, options=options, location=spec, is_display=True, for_screen=True
    )


class VirtualCameraSink(Sink):
    """Sends each frame as it is written; the pace is its caller's.

    Frames are fitted into the camera's picture, with black bars where the aspect differs, and
    converted to BT.601 of limited range if they are not.

    Parameters
    ----------
    target : `vcam` or `vcam:DEVICE`
    size : width and height of the camera's picture, both even
    rate : frames/s that it has to be given
    pixel_aspect : width by height of a frame's pixels; those of a camera are square

    Attributes
    ----------
    device : as the system calls it
    size : what the driver agreed to
    buffer : uint8, the I420 picture that is sent

    Raises
    ------
    SinkError
        there is no such virtual camera, or it cannot be used; the message says what to do
    """

    latest_only = True

    def __init__(
        self,
        target: str = "vcam",
        *,
        size: tuple[int, int] = DEFAULT_SIZE,
        rate: Fraction | None = None,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        self.name = target
        self.rate = rate or DEFAULT_RATE
        self.frames_written = 0
        self._pixel_aspect = pixel_aspect
        self._camera: Any = None
        self._drawn: U8 | None = None  # luma of the picture that is in the buffer
        self._shape: tuple[int, int] | None = None
        device = choose_device(target.removeprefix("vcam").removeprefix(":") or None)
        self._camera = _open(device, size, self.rate)
        self.device: str = self._camera.device
        agreed = _agreed(self.device)
        if agreed is not None and agreed != size:
            # A program that watches holds the driver to the size that it was opened with.
            self.abort()
            self._camera = _open(device, agreed, self.rate)
            size = agreed
        self.size = size
        width, height = size
        self.buffer = np.empty(width * height * 3 // 2, np.uint8)
        chroma = self.buffer[width * height :].reshape(2, height // 2, width // 2)
        self._planes = (self.buffer[: width * height].reshape(height, width), *chroma)

    def write(self, item: Frame | TrackPacket) -> None:
        """Send one picture at once."""
        if not isinstance(item, Frame):
            return
        if item.y is not self._drawn:  # a picture that is repeated is a frame of its own
            self._draw(item)
            self._drawn = item.y
        try:
            self._camera.send(self.buffer)
        except (RuntimeError, OSError) as error:
            raise SinkError(
                f"{self.name}: {self.device} takes no pictures any more ({error}); start again"
            ) from error
        self.frames_written += 1

    def close(self) -> None:
        """Release the device."""
        self.abort()

    def abort(self) -> None:
        """Release the device. Never raises."""
        camera, self._camera, self._drawn = self._camera, None, None
        if camera is None:
            return
        with contextlib.suppress(Exception):
            camera.close()
        if sys.platform == "linux":
            from ..media.v4l2 import allow_output_again, video_device

            device = video_device(self.device)
            if device is not None and device.virtual and not device.output:
                allow_output_again(self.device)

    def _draw(self, frame: Frame) -> None:
        """Put a frame into the buffer."""
        left, top, width, height = self._place(frame)
        if self._shape != (width, height):
            self._shape = width, height
            for plane, black in zip(self._planes, _BLACK, strict=True):
                plane[:] = black
        y, u, v = (
            plane[top // f : (top + height) // f, left // f : (left + width) // f]
            for plane, f in zip(self._planes, (1, 2, 2), strict=True)
        )
        for target, plane in zip((y, u, v), (frame.y, frame.u, frame.v), strict=True):
            target[:] = scaled(plane, target.shape[1], target.shape[0])
        if (frame.colour.matrix, frame.colour.full_range) != ("bt601", False):
            _convert(y, u, v, frame.colour)

    def _place(self, frame: Frame) -> tuple[int, int, int, int]:
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


def _agreed(device: str) -> tuple[int, int] | None:
    """The size that the driver has set, where it tells; pyvirtualcam does not look."""
    if sys.platform != "linux":
        return None
    from ..media.v4l2 import video_device

    found = video_device(device)
    # "YU12:1280x720@30"
    fourcc, _, mode = (found.format if found else "").partition(":")
    width, _, height = mode.partition("@")[0].partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        return None
    if fourcc != "YU12":
        raise SinkError(
            f"vcam: {device} is held to the pixel format {fourcc} by a program that watches it; "
            "close that program, start livemosaic, and open it again"
        )
    return int(width), int(height)


def _convert(y: U8, u: U8, v: U8, colour: Colour) -> None:
    """Turn the samples into a camera's, in place."""
    matrix = conversion(colour, _CAMERA)
    if colour.matrix == _CAMERA.matrix:
        for plane, row, column in ((y, 0, 0), (u, 1, 1), (v, 2, 2)):
            cv2.convertScaleAbs(
                plane, dst=plane, alpha=float(matrix[row, column]), beta=float(matrix[row, 3])
            )
        return
    # New chroma depends on chroma only. Luma gets a change by chroma besides, which is made at
    # chroma's resolution and spread. Three sums of two cost an eighth of one matrix product.
    change, new_u, new_v = (
        cv2.addWeighted(u, float(row[1]), v, float(row[2]), float(row[3] + offset))
        for row, offset in zip(matrix, (_CHANGE_OFFSET, 0, 0), strict=True)
    )
    u[:], v[:] = new_u, new_v
    spread = cv2.resize(change, (y.shape[1], y.shape[0]), interpolation=cv2.INTER_LINEAR)
    cv2.addWeighted(y, float(matrix[0, 0]), spread, 1.0, -_CHANGE_OFFSET, dst=y)
