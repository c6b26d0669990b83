"""One camera, opened by OpenCV in its own pixel format.

OpenCV and not FFmpeg's devices: those ask the driver for 256 buffers (32 is what it gives, a second
of pictures), cannot give up waiting, and refuse a rate that is not exactly one of the camera's.
"""

from __future__ import annotations

import errno
import os
import sys
from fractions import Fraction
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import RefusedError, SourceError
from .devices import Camera, opencv_backend

__all__ = ["BUFFERS", "Capture", "CaptureGone", "OpenCvCapture", "open_capture"]

U8 = NDArray[np.uint8]

# One that we hold, one that the driver fills, and one for the moment between: with two, a UVC
# camera has nowhere to put the picture that begins while the last one is fetched, and loses it.
BUFFERS = 3

# Uncompressed first: it costs 0.3 ms of processor time per 1280x720 frame, MJPEG 2.5 ms. But USB 2
# carries 1280x720 uncompressed at 10 frames/s only.
_RAW, _COMPRESSED = "YUYV", "MJPG"
_OTHERS = ("NV12", "YU12", "UYVY", "YV12", "NV21", "GREY")

# OpenCV asks for whole frames/s, and drivers say 30 for 29.97: no reason to prefer another format.
_SAME_RATE = 0.9


class CaptureGone(Exception):
    """The camera does not answer any more: it was unplugged, or its driver failed."""


class Capture(Protocol):
    """An open camera.

    Attributes
    ----------
    size : width and height of its pictures
    rate : nominal frames/s; 0 when unknown
    fourcc : the pixel format that `read` gives, as Linux names them; "BGR3" is OpenCV's own
    """

    size: tuple[int, int]
    rate: Fraction
    fourcc: str

    def wait(self, timeout_s: float) -> bool:
        """Whether a picture came in this time. `CaptureGone` when there will be none."""

    def read(self) -> U8 | None:
        """The picture that came, in `fourcc`: an array of its own. None when it is damaged."""

    def stamp_s(self) -> float:
        """When the driver had that picture, seconds of its own clock; 0 when it does not say."""

    def close(self) -> None:
        """Release the camera. May be called twice."""


def open_capture(camera: Camera, *, spec: str, size: tuple[int, int], rate: Fraction) -> Capture:
    """Open a camera at the size and rate that come nearest to those asked for.

    Raises
    ------
    SourceError
        when it cannot be opened; the message says what is in the way
    """
    return OpenCvCapture(camera, spec=spec, size=size, rate=rate)


class OpenCvCapture:
    """A `Capture` by `cv2.VideoCapture`; see `open_capture`."""

    def __init__(self, camera: Camera, *, spec: str, size: tuple[int, int], rate: Fraction) -> None:
        # What goes wrong is said by us, in words.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        # OpenCV reads this once, when it first waits; unless told it would wait for 10 s.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
        self._linux = sys.platform == "linux"
        self._video: Any = cv2.VideoCapture()
        try:
            if self._linux:
                _check_device(camera, spec)
                opened = self._video.open(camera.path, opencv_backend())
            else:
                opened = self._video.open(camera.number, opencv_backend())
            if not opened:
                raise SourceError(f"{spec}: {_why_not_open(camera)}")
            if self._linux:
                self._choose_mode(size, rate)
            else:
                self._ask(size, rate, _COMPRESSED if sys.platform == "win32" else None)
                self.fourcc = "BGR3"
            self.size, self.rate = self._mode()
            if min(self.size) <= 0:
                raise SourceError(f"{spec}: {_why_not_open(camera)}")
        except BaseException:
            self.close()
            raise

    def wait(self, timeout_s: float) -> bool:
        if not self._linux:
            # Only V4L2 can be waited for; here `grab` does.
            if not self._video.grab():
                raise CaptureGone
            return True
        try:
            ready, _ = cv2.VideoCapture.waitAny([self._video], max(1, int(timeout_s * 1e9)))
        except cv2.error:
            raise CaptureGone from None
        return bool(ready)

    def read(self) -> U8 | None:
        good, picture = self._video.retrieve()
        return np.asarray(picture, np.uint8) if good and picture is not None else None

    def stamp_s(self) -> float:
        return float(self._video.get(cv2.CAP_PROP_POS_MSEC)) / 1000 if self._linux else 0.0

    def close(self) -> None:
        self._video.release()

    # ---- what the camera can do ------------------------------------------------------------

    def _choose_mode(self, size: tuple[int, int], rate: Fraction) -> None:
        """Set the format that is nearest to what was asked for, and the cheapest of equals."""
        best: tuple[tuple[float, float], str] | None = None
        for fourcc in (_RAW, _COMPRESSED, *_OTHERS):
            if fourcc in _OTHERS and best is not None:
                break
            if not self._ask(size, rate, fourcc):
                continue
            merit = _merit(self._mode(), size, rate)
            if best is None or merit > best[0]:
                best = merit, fourcc
            if best[0] == (1.0, 1.0):
                break
        self.fourcc = best[1] if best is not None else "BGR3"
        self._ask(size, rate, self.fourcc if best is not None else None)
        self._video.set(cv2.CAP_PROP_BUFFERSIZE, BUFFERS)
        self._video.set(cv2.CAP_PROP_CONVERT_RGB, int(best is None))

    def _ask(self, size: tuple[int, int], rate: Fraction, fourcc: str | None) -> bool:
        """Ask for a mode; whether the camera has that format."""
        video = self._video
        if fourcc is not None:
            code = cv2.VideoWriter.fourcc(*fourcc)
            # Asked for what it has not, OpenCV takes something else and says it did well.
            if int(video.get(cv2.CAP_PROP_FOURCC)) != code and not (
                video.set(cv2.CAP_PROP_FOURCC, code) and self._has(code)
            ):
                return False
        video.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        video.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        video.set(cv2.CAP_PROP_FPS, round(rate))
        return fourcc is None or self._has(code)

    def _has(self, code: int) -> bool:
        return int(self._video.get(cv2.CAP_PROP_FOURCC)) == code

    def _mode(self) -> tuple[tuple[int, int], Fraction]:
        """The size and rate that are set."""
        video = self._video
        size = (
            round(video.get(cv2.CAP_PROP_FRAME_WIDTH)),
            round(video.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        rate = video.get(cv2.CAP_PROP_FPS)
        return size, Fraction(rate).limit_denominator(1001) if 0 < rate <= 1000 else Fraction(0)


def _merit(
    mode: tuple[tuple[int, int], Fraction], size: tuple[int, int], rate: Fraction
) -> tuple[float, float]:
    """How near a mode is to what was asked for, size first; (1.0, 1.0) is all of it."""
    (width, height), got = mode
    asked, given = size[0] * size[1], max(1, width * height)
    speed = float(got / rate) if got else 1.0
    return min(asked / given, given / asked), 1.0 if speed >= _SAME_RATE else speed


def _check_device(camera: Camera, spec: str) -> None:
    """Report the system's reason if a device cannot be opened; OpenCV does not."""
    from ...media.v4l2 import opened

    try:
        with opened(camera.path):
            return
    except PermissionError:
        raise RefusedError(
            f"{spec}: you may not use {camera.path}; add yourself to its group: "
            "sudo usermod -aG video $USER, then log out and in again"
        ) from None
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise SourceError(f"{spec}: {_why_not_open(camera)}") from None
        raise SourceError(
            f"{spec}: {camera.path} cannot be opened ({os.strerror(error.errno or 0)}); "
            "unplug the camera and plug it in again"
        ) from None


def _why_not_open(camera: Camera) -> str:
    what = f"{camera.name} cannot be opened"
    if sys.platform == "darwin":
        return (
            f"{what}; allow your terminal to use the camera in System Settings > Privacy & "
            "Security > Camera"
        )
    if sys.platform != "linux":
        return f"{what}; close other programs that use it (calls, browsers), and try again"
    from ...media.v4l2 import holders

    users = holders(camera.path)
    if users:
        return f"{what}: it is in use by {', '.join(users)}; close that, or choose another camera"
    return (
        f"{what}; another program may be using it: close calls and browsers, or unplug it and plug "
        "it in again"
    )
