"""One camera, opened by OpenCV in its own pixel format.

FFmpeg's devices would fill 32 buffers, a second of pictures, could not stop waiting, and refuse a
rate that is not exactly one of the camera's.
"""

from __future__ import annotations

import errno
import os
import sys
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from ...errors import RefusedError, SourceError
from ...media.colour import U8
from .devices import Camera, opencv_backend

# One for this program, one for the driver, and one for the moment between. With two, a UVC camera
# loses the picture that begins while this program fetches the last one.
BUFFERS = 3

# Uncompressed first: decoding MJPEG takes ten times as long. But USB 2 carries 1280x720 at only 10
# uncompressed frames/s.
_RAW, _COMPRESSED = "YUYV", "MJPG"
_OTHERS = ("NV12", "YU12", "UYVY", "YV12", "NV21", "GREY")

# OpenCV asks for whole frames/s, and drivers round, too. Such a difference is no reason for another
# format.
_SAME_RATE = 0.9


class CaptureGone(Exception):
    """The camera no longer answers: it was unplugged, or its driver failed."""


class Capture:
    """A camera, opened by `cv2.VideoCapture` at the nearest size and rate that it has.

    Attributes
    ----------
    size : width and height of the pictures
    rate : nominal frames/s; 0 when unknown
    fourcc : pixel format of `read`, with Linux's name; "BGR3" is OpenCV's own

    Raises
    ------
    SourceError
        when it cannot be opened; `RefusedError` without permission
    """

    def __init__(
        self, camera: Camera, *, spec: str, size: tuple[int, int], rate: Fraction, video: Any = None
    ) -> None:
        # The errors of this program replace OpenCV's log.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        # OpenCV reads this once, at its first wait; the default is 10 s.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
        self._linux = sys.platform == "linux"
        self._video = cv2.VideoCapture() if video is None else video
        try:
            device = camera.path if self._linux else camera.number
            if not self._video.open(device, opencv_backend()):
                raise _refusal(camera, spec)
            if self._linux:
                self._choose_mode(size, rate)
            else:
                self._ask(size, rate, _COMPRESSED if sys.platform == "win32" else None)
                self.fourcc = "BGR3"
            self.size, self.rate = self._mode()
            if min(self.size) <= 0:
                raise _refusal(camera, spec)
        except BaseException:
            self.close()
            raise

    def wait(self, timeout_s: float) -> bool:
        """Whether a picture came in time. Raises `CaptureGone` if none will come."""
        if not self._linux:
            # OpenCV can wait for V4L2 only; elsewhere `grab` waits.
            if not self._video.grab():
                raise CaptureGone
            return True
        try:
            ready, _ = cv2.VideoCapture.waitAny([self._video], max(1, int(timeout_s * 1e9)))
        except cv2.error:
            raise CaptureGone from None
        return bool(ready)

    def read(self) -> U8 | None:
        """The picture after `wait`, in `fourcc`, as an array of its own; None if it is damaged."""
        good, picture = self._video.retrieve()
        return np.asarray(picture, np.uint8) if good and picture is not None else None

    def stamp_s(self) -> float:
        """The time of that picture in seconds of the driver's clock; 0 when unknown."""
        return float(self._video.get(cv2.CAP_PROP_POS_MSEC)) / 1000 if self._linux else 0.0

    def close(self) -> None:
        self._video.release()

    # ---- modes -------------------------------------------------------------------------------

    def _choose_mode(self, size: tuple[int, int], rate: Fraction) -> None:
        """Set the format that allows the nearest size and rate; of equals, the cheapest."""
        best: tuple[tuple[float, float], str] | None = None
        for fourcc in (_RAW, _COMPRESSED, *_OTHERS):
            if fourcc in _OTHERS and best is not None:
                break
            if not self._ask(size, rate, fourcc):
                continue
            score = _score(self._mode(), size, rate)
            if best is None or score > best[0]:
                best = score, fourcc
            if best[0] == (1.0, 1.0):
                break
        self.fourcc = best[1] if best is not None else "BGR3"
        self._ask(size, rate, self.fourcc if best is not None else None)
        self._video.set(cv2.CAP_PROP_BUFFERSIZE, BUFFERS)
        self._video.set(cv2.CAP_PROP_CONVERT_RGB, int(best is None))

    def _ask(self, size: tuple[int, int], rate: Fraction, fourcc: str | None) -> bool:
        """Ask for a mode, and return whether the camera has that format."""
        video = self._video
        if fourcc is not None:
            code = cv2.VideoWriter.fourcc(*fourcc)
            # OpenCV reports success even if it has set another format.
            if not self._has(code) and not (
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
        """The current size and rate."""
        video = self._video
        width, height = video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)
        size, rate = (round(width), round(height)), video.get(cv2.CAP_PROP_FPS)
        return size, Fraction(rate).limit_denominator(1001) if 0 < rate <= 1000 else Fraction(0)


def _score(
    mode: tuple[tuple[int, int], Fraction], size: tuple[int, int], rate: Fraction
) -> tuple[float, float]:
    """How near a mode is to the requested one, size first; (1.0, 1.0) is the best."""
    pixels, requested = max(1, mode[0][0] * mode[0][1]), size[0] * size[1]
    speed = float(mode[1] / rate) if mode[1] else 1.0
    return min(requested / pixels, pixels / requested), 1.0 if speed >= _SAME_RATE else speed


def _refusal(camera: Camera, spec: str) -> SourceError:
    """The error for a camera that cannot be opened; OpenCV does not report the reason."""
    text = f"{spec}: {camera.name} cannot be opened"
    if sys.platform == "darwin":
        return SourceError(
            f"{text}; allow your terminal to use the camera in System Settings > Privacy & "
            "Security > Camera"
        )
    if sys.platform != "linux":
        return SourceError(f"{text}; close other programs that use it (calls, browsers)")
    from ...media.v4l2 import holders, opened

    try:
        with opened(camera.path):
            pass
    except PermissionError:
        return RefusedError(
            f"{spec}: you may not use {camera.path}; add yourself to its group: "
            "sudo usermod -aG video $USER, then log out and in again"
        )
    except OSError as error:
        if error.errno != errno.EBUSY:
            return SourceError(
                f"{spec}: {camera.path} cannot be opened ({os.strerror(error.errno or 0)}); "
                "unplug the camera and plug it in again"
            )
    if users := ", ".join(holders(camera.path)):
        text += f": it is in use by {users}; close that, or choose another camera"
    else:
        text += (
            "; another program may be using it: close calls and browsers, or unplug it and plug "
            "it in again"
        )
    return SourceError(text)
