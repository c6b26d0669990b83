"""Which cameras there are, by name."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from ...errors import RefusedError, SourceError

__all__ = [
    "Camera",
    "find_again",
    "find_camera",
    "list_cameras",
    "no_camera_cure",
    "opencv_backend",
]

# Names of virtual cameras on systems that do not mark them.
_VIRTUAL_NAMES = ("virtual", "obs", "unity video capture")

_NONE_HERE = {
    "linux": "plug one in; `sudo dmesg` says whether the kernel sees it",
    "darwin": "plug one in, and allow your terminal to use it in System Settings > Privacy & "
    "Security > Camera",
    "win32": "plug one in, and allow desktop apps to use it in Settings > Privacy > Camera",
}


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that can be captured from.

    Attributes
    ----------
    name : for people
    path : /dev/videoN, or what else the system calls it
    number : what OpenCV calls it in `opencv_backend()`; the N of /dev/videoN on Linux
    virtual : another program sends its pictures
    place : where it is plugged in, or another thing that stays while it does
    """

    name: str
    path: str
    number: int
    virtual: bool = False
    place: str = ""

    @property
    def spec(self) -> str:
        """What to type for it."""
        return self.path if self.path.startswith("/dev/") else f"webcam:{self.number}"


def opencv_backend() -> int:
    """The interface of this system that OpenCV captures from."""
    import cv2

    if sys.platform == "linux":
        return cv2.CAP_V4L2
    # Media Foundation takes many seconds to open a camera; DirectShow does it at once.
    return cv2.CAP_DSHOW if sys.platform == "win32" else cv2.CAP_AVFOUNDATION


def list_cameras() -> list[Camera]:
    """All cameras, none of them opened for capture. Virtual ones are marked and come last."""
    found = _linux() if sys.platform == "linux" else _elsewhere()
    return sorted(found, key=lambda camera: camera.virtual)


def find_camera(spec: str) -> Camera:
    """The camera that `spec` names.

    Parameters
    ----------
    spec : `webcam` for the first that is not virtual; `webcam:N`, `webcam:/dev/videoN`,
        `/dev/videoN`; or `webcam:NAME` with a part of one camera's name, in any case

    Raises
    ------
    SourceError
        there is none, or several; the message lists them
    """
    wanted = spec.removeprefix("webcam").removeprefix(":")
    cameras = list_cameras()
    if not wanted:
        fitting = [camera for camera in cameras if not camera.virtual][:1]
    elif wanted.startswith("/dev/"):
        return _by_path(wanted, spec, cameras)
    elif re.fullmatch(r"\d+", wanted):
        fitting = [camera for camera in cameras if camera.number == int(wanted)]
    else:
        exact = [camera for camera in cameras if camera.name.lower() == wanted.lower()]
        fitting = exact or [c for c in cameras if wanted.lower() in c.name.lower()]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RefusedError(f"{spec}: several cameras fit; name one of {_listing(fitting)}")
    raise _no_such(spec, cameras)


def twins(known: Camera) -> set[str]:
    """The places of other cameras that have the same name."""
    return {c.place for c in list_cameras() if c.name == known.name and c.place != known.place}


def find_again(known: Camera, spec: str, *, twins: set[str]) -> Camera:
    """The camera that `spec` meant before, which may have another path now, or be plugged in
    elsewhere, where none of its twins was.

    Raises
    ------
    SourceError
        it is not there
    """
    same = [camera for camera in list_cameras() if camera.name == known.name]
    fitting = [camera for camera in same if camera.place not in twins]
    if fitting:
        # A camera may have two devices that give pictures, of one name and at one place.
        return min(fitting, key=lambda c: (c.place != known.place, c.path != known.path))
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
            f"{spec}: it is a virtual camera that nobody sends to; start its sender first, or name "
            f"one of {_listing(cameras)}"
        )
    raise SourceError(
        f"{spec}: it gives no pictures (it is a camera's second device, or no camera); "
        f"name one of {_listing(cameras)}"
    )


def _no_such(spec: str, cameras: list[Camera]) -> SourceError:
    if not cameras:
        return SourceError(f"{spec}: there is no camera; {no_camera_cure()}")
    what = "there is no such camera" if spec != "webcam" else "there is no camera but virtual ones"
    return SourceError(f"{spec}: {what}; name one of {_listing(cameras)}")


def no_camera_cure() -> str:
    """What to do on this system when no camera is found."""
    return _NONE_HERE.get(sys.platform, "plug one in")


def _listing(cameras: list[Camera]) -> str:
    return ", ".join(f"{c.spec} ({c.name})" for c in cameras) or "none, as there is no camera"


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
