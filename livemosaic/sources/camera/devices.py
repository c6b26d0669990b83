"""The list of cameras, and finding one in it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from ...errors import RefusedError, SourceError

# How names of virtual cameras begin on systems that do not mark them.
_VIRTUAL_NAMES = ("virtual", "obs", "unity video capture")

_FIXES = {
    "linux": "plug one in; `sudo dmesg` says whether the kernel sees it",
    "darwin": "plug one in, and allow your terminal to use it in System Settings > Privacy & "
    "Security > Camera",
    "win32": "plug one in, and allow desktop apps to use it in Settings > Privacy > Camera",
}


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera."""

    name: str  # for people
    path: str  # /dev/videoN, or the system's identifier
    number: int  # OpenCV's, in `opencv_backend()`; the N of /dev/videoN on Linux
    virtual: bool = False  # another program sends its pictures
    place: str = ""  # the plug, or another constant of a plugged-in camera

    @property
    def spec(self) -> str:
        """The input that names this camera."""
        return self.path if self.path.startswith("/dev/") else f"webcam:{self.number}"


def opencv_backend() -> int:
    """OpenCV's interface to this system's cameras."""
    import cv2

    if sys.platform == "linux":
        return cv2.CAP_V4L2
    # Media Foundation takes many seconds to open a camera, DirectShow none.
    return cv2.CAP_DSHOW if sys.platform == "win32" else cv2.CAP_AVFOUNDATION


def list_cameras() -> list[Camera]:
    """All cameras; virtual ones come last. Opens none for capture."""
    found = _linux() if sys.platform == "linux" else _elsewhere()
    return sorted(found, key=lambda camera: camera.virtual)


def find_camera(spec: str) -> Camera:
    """Find a camera.

    Parameters
    ----------
    spec : `webcam` for the first that is not virtual; `webcam:N`, `webcam:/dev/videoN`,
        `/dev/videoN`; or `webcam:NAME` with a part of its name, in any case

    Raises
    ------
    SourceError
        there is no such camera, or several; the message lists all cameras
    """
    name = spec.removeprefix("webcam").removeprefix(":")
    cameras = list_cameras()
    if not name:
        matches = [camera for camera in cameras if not camera.virtual][:1]
    elif name.startswith("/dev/"):
        return _by_path(name, spec, cameras)
    elif re.fullmatch(r"\d+", name):
        matches = [camera for camera in cameras if camera.number == int(name)]
    else:
        exact = [camera for camera in cameras if camera.name.lower() == name.lower()]
        matches = exact or [c for c in cameras if name.lower() in c.name.lower()]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RefusedError(f"{spec}: several cameras fit; name one of {_listing(matches)}")
    raise _no_such(spec, cameras)


def twins(known: Camera) -> set[str]:
    """The places of other cameras with the same name."""
    return {c.place for c in list_cameras() if c.name == known.name and c.place != known.place}


def find_again(known: Camera, spec: str, *, twins: set[str]) -> Camera:
    """Find a camera again, which may have another path now, or another plug than its twins had."""
    same = [camera for camera in list_cameras() if camera.name == known.name]
    matches = [camera for camera in same if camera.place not in twins]
    if matches:
        # One camera may have two devices with pictures, with the same name and place.
        return min(matches, key=lambda c: (c.place != known.place, c.path != known.path))
    raise SourceError(f"{spec}: {known.name} is not there; plug it in again")


def _by_path(path: str, spec: str, cameras: list[Camera]) -> Camera:
    if sys.platform != "linux":
        raise _no_such(spec, cameras)
    from ...media.v4l2 import video_device

    device = video_device(path)
    for camera in cameras:
        if device is not None and camera.path == device.path:
            return camera
    if device is None:
        raise _no_such(spec, cameras)
    if device.virtual:
        raise SourceError(
            f"{spec}: a virtual camera without a sender; start its sender first, or name one of "
            f"{_listing(cameras)}"
        )
    raise SourceError(
        f"{spec}: it has no pictures (it is a camera's second device, or no camera); "
        f"name one of {_listing(cameras)}"
    )


def _no_such(spec: str, cameras: list[Camera]) -> SourceError:
    if not cameras:
        return SourceError(f"{spec}: there is no camera; {no_camera_fix()}")
    problem = "there is no such camera" if spec != "webcam" else "all cameras are virtual"
    return SourceError(f"{spec}: {problem}; name one of {_listing(cameras)}")


def no_camera_fix() -> str:
    """The advice for this system when it has no camera."""
    return _FIXES.get(sys.platform, "plug one in")


def _listing(cameras: list[Camera]) -> str:
    return ", ".join(f"{c.spec} ({c.name})" for c in cameras) or "none (there is no camera)"


def _linux() -> list[Camera]:
    from ...media.v4l2 import video_devices

    return [
        Camera(device.name, device.path, device.number, device.virtual, device.bus or device.path)
        for device in video_devices()
        if device.capture
    ]


def _elsewhere() -> list[Camera]:
    from cv2_enumerate_cameras import enumerate_cameras

    return [
        Camera(
            found.name,
            str(found.path or found.index),
            found.index,
            found.name.lower().startswith(_VIRTUAL_NAMES) or "virtual" in found.name.lower(),
            str(found.path or found.index),
        )
        for found in enumerate_cameras(opencv_backend())
    ]
