"""Virtual cameras of this system: which there are, and what to do where there is none.

On Linux they are made by the kernel module v4l2loopback, elsewhere by OBS or Unity Capture.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SinkError

if TYPE_CHECKING:
    from ..media.v4l2 import VideoDevice

__all__ = [
    "RELOAD",
    "choose_device",
    "how_to_make_one",
    "refusal",
    "virtual_cameras",
]

_MODPROBE = "sudo modprobe v4l2loopback video_nr=10 card_label=livemosaic exclusive_caps=1"
RELOAD = f"sudo modprobe -r v4l2loopback && {_MODPROBE}"

# By the ID and ID_LIKE of /etc/os-release.
_INSTALL = {
    "debian": "sudo apt install v4l2loopback-dkms linux-headers-$(uname -r)",
    "fedora": "sudo dnf install v4l2loopback (from RPM Fusion)",
    "arch": "sudo pacman -S v4l2loopback-dkms linux-headers",
    "suse": "sudo zypper install v4l2loopback-kmp-default",
}


def virtual_cameras() -> list[VideoDevice]:
    """The virtual cameras that can be listed without opening them; only Linux can."""
    if sys.platform != "linux":
        return []
    from ..media.v4l2 import video_devices

    return [device for device in video_devices() if device.virtual]


def choose_device(device: str | None) -> str | None:
    """Find what `vcam:DEVICE` names, and make it ready; what to give to pyvirtualcam.

    Parameters
    ----------
    device : /dev/videoN, N, or a part of one virtual camera's name; None for the first that nobody
        sends to

    Raises
    ------
    SinkError
        there is none, it is in use, or it may not be used; the message says what to type
    """
    if sys.platform != "linux":
        return device  # pyvirtualcam finds it by its name
    found = virtual_cameras()
    if device is not None:
        return _ready(_named(device, found)).path
    if not found:
        raise SinkError(f"vcam: there is no virtual camera; {how_to_make_one()}")
    errors = []
    for camera in found:
        try:
            return _ready(camera).path
        except SinkError as error:
            errors.append(error)
    raise errors[0]


def _named(device: str, found: list[VideoDevice]) -> VideoDevice:
    from ..media.v4l2 import video_device

    spec = f"vcam:{device}"
    if device.startswith("/"):
        camera = video_device(device)
        if camera is None and os.path.exists(device):
            raise SinkError(f"{spec}: it is no video device; {_choice(found)}")
        if camera is not None and not camera.virtual:
            raise SinkError(f"{spec}: {camera.name} is no virtual camera; {_choice(found)}")
        fitting = [camera] if camera is not None else []
    elif device.isdecimal():
        fitting = [camera for camera in found if camera.number == int(device)]
    else:
        fitting = [camera for camera in found if device.lower() in camera.name.lower()]
    if len(fitting) != 1:
        what = "several virtual cameras fit" if fitting else "there is no such virtual camera"
        raise SinkError(f"{spec}: {what}; {_choice(fitting or found)}")
    return fitting[0]


def _choice(found: list[VideoDevice]) -> str:
    if not found:
        return how_to_make_one()
    return "name one of " + ", ".join(f"vcam:{c.path} ({c.name})" for c in found)


def _ready(camera: VideoDevice) -> VideoDevice:
    """A virtual camera that takes a sender."""
    from ..media.v4l2 import allow_output_again, holders, video_device

    path = camera.path
    if not os.access(path, os.R_OK | os.W_OK):
        raise SinkError(
            f"vcam: you may not use {path}; add yourself to its group: "
            "sudo usermod -aG video $USER, then log out and in again"
        )
    if not camera.output and not camera.format:
        # Nobody has it open, and still it wants no sender: the fault of v4l2loopback 0.12.
        allow_output_again(path)
        camera = video_device(path) or camera
        if not camera.output:
            raise SinkError(
                f"vcam: {path} refuses a sender after another one has closed (a fault of "
                f"v4l2loopback 0.12 with exclusive_caps=1); load it again: {RELOAD}"
            )
    if not camera.output:
        users = holders(path)
        by = f"in use by {', '.join(users)}" if users else "in use by another program"
        raise SinkError(
            f"vcam: {path} ({camera.name}) is {by}; close that, or make a second one: "
            "sudo modprobe -r v4l2loopback && sudo modprobe v4l2loopback video_nr=10,11 "
            "card_label=livemosaic,second exclusive_caps=1,1"
        )
    return camera


def refusal(device: str | None, error: Exception) -> SinkError:
    """What pyvirtualcam's error means, where nothing was found wrong before."""
    name = f"vcam:{device}" if device else "vcam"
    said = " ".join(str(error).split())
    if sys.platform == "linux":
        return SinkError(f"{name}: it cannot be opened ({said}); load it again: {RELOAD}")
    return SinkError(f"{name}: it cannot be opened ({said}); {how_to_make_one()}")


def how_to_make_one() -> str:
    """The commands that make a virtual camera on this system."""
    if sys.platform == "darwin":
        return (
            "install OBS 30 or later from https://obsproject.com, press Start Virtual Camera and "
            "Stop Virtual Camera in it once, and allow its extension in System Settings"
        )
    if sys.platform == "win32":
        return (
            "install OBS from https://obsproject.com (its virtual camera comes with it) or Unity "
            "Capture from https://github.com/schellingb/UnityCapture, and close what uses it"
        )
    if _has_module():
        return f"make one: {_MODPROBE}"
    return f"make one: {_install()} && {_MODPROBE}"


def _has_module() -> bool:
    folder = Path("/lib/modules") / platform.release()
    return any(folder.glob("*/**/v4l2loopback.ko*"))


def _install() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    words = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    for word in words:
        for family, command in _INSTALL.items():
            if family in word:
                return command
    return "install v4l2loopback with your package manager"
