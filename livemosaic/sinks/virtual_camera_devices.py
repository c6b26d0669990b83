"""The virtual cameras of this system, and how to make one.

On Linux the kernel module v4l2loopback makes them, elsewhere OBS or Unity Capture.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

from ..errors import SinkError
from ..media import v4l2

_LOAD = "sudo modprobe v4l2loopback video_nr=10 card_label=livemosaic exclusive_caps=1"
RELOAD = f"sudo modprobe -r v4l2loopback && {_LOAD}"

# By the ID and ID_LIKE of /etc/os-release.
_INSTALL = {
    "debian": "sudo apt install v4l2loopback-dkms linux-headers-$(uname -r)",
    "fedora": "sudo dnf install v4l2loopback (from RPM Fusion)",
    "arch": "sudo pacman -S v4l2loopback-dkms linux-headers",
    "suse": "sudo zypper install v4l2loopback-kmp-default",
}


def virtual_cameras() -> list[v4l2.VideoDevice]:
    """The virtual cameras that are listed without opening them; empty but on Linux."""
    devices = v4l2.video_devices() if sys.platform == "linux" else []
    return [device for device in devices if device.virtual]


def choose_device(device: str | None) -> str | None:
    """Find the device of `vcam:DEVICE`, and make it ready; return its name for pyvirtualcam.

    `device` is /dev/videoN, N, or a part of one virtual camera's name; None for the first without a
    sender. `SinkError` if there is none, it is in use, or this user has no permission.
    """
    if sys.platform != "linux":
        return device  # pyvirtualcam finds it by its name
    found = virtual_cameras()
    if device is not None:
        return _ready(_named(device, found))
    if not found:
        raise SinkError(f"vcam: there is no virtual camera; {how_to_make_one()}")
    errors = []
    for camera in found:
        try:
            return _ready(camera)
        except SinkError as error:
            errors.append(error)
    raise errors[0]


def _named(device: str, found: list[v4l2.VideoDevice]) -> v4l2.VideoDevice:
    problem = "there is no such virtual camera"
    if device.startswith("/"):
        camera = v4l2.video_device(device)
        matches = [camera] if camera is not None and camera.virtual else []
        if camera is not None:
            problem = f"{camera.name} is no virtual camera"
        elif os.path.exists(device):
            problem = "it is no video device"
    elif device.isdecimal():
        matches = [camera for camera in found if camera.number == int(device)]
    else:
        matches = [camera for camera in found if device.lower() in camera.name.lower()]
    if len(matches) == 1:
        return matches[0]
    if matches:
        problem = "several virtual cameras match"
    names = ", ".join(f"vcam:{camera.path} ({camera.name})" for camera in matches or found)
    fix = f"name one of {names}" if names else how_to_make_one()
    raise SinkError(f"vcam:{device}: {problem}; {fix}")


def _ready(camera: v4l2.VideoDevice) -> str:
    """The path of a virtual camera that accepts a sender."""
    path = camera.path
    if not os.access(path, os.R_OK | os.W_OK):
        raise SinkError(
            f"vcam: you may not use {path}; add yourself to its group: "
            "sudo usermod -aG video $USER, then log out and in again"
        )
    if not camera.output and not camera.format:
        # No program has it open, but it accepts no sender: the fault of v4l2loopback 0.12.
        v4l2.allow_output_again(path)
        camera = v4l2.video_device(path) or camera
        if not camera.output:
            raise SinkError(
                f"vcam: {path} refuses a sender after another one has closed (a fault of "
                f"v4l2loopback 0.12 with exclusive_caps=1); load it again: {RELOAD}"
            )
    if not camera.output:
        users = ", ".join(v4l2.holders(path)) or "another program"
        raise SinkError(
            f"vcam: {path} ({camera.name}) is in use by {users}; close that, or make a second one: "
            "sudo modprobe -r v4l2loopback && sudo modprobe v4l2loopback video_nr=10,11 "
            "card_label=livemosaic,second exclusive_caps=1,1"
        )
    return path


def device_label(device: str) -> str:
    """The name of a virtual camera, as programs for calls list it."""
    found = v4l2.video_device(device) if sys.platform == "linux" else None
    return found.name if found is not None else device


def device_size(device: str) -> tuple[int, int] | None:
    """The size that the driver has set, None if unknown; pyvirtualcam does not check it.

    `SinkError` if the pixel format is another one than pyvirtualcam's.
    """
    if sys.platform != "linux":
        return None
    found = v4l2.video_device(device)
    mode = re.match(r"(.*):(\d+)x(\d+)@", found.format if found else "")  # "YU12:1280x720@30"
    if mode is None:
        return None
    if mode[1] != "YU12":
        raise SinkError(
            f"vcam: a program that watches {device} keeps it at the pixel format {mode[1]}; close "
            "that program, start livemosaic, and open it again"
        )
    return int(mode[2]), int(mode[3])


def release_device(device: str) -> None:
    """Make the driver accept another sender after the last one has closed. Never raises."""
    if sys.platform == "linux":
        found = v4l2.video_device(device)
        if found is not None and found.virtual and not found.output:
            v4l2.allow_output_again(device)


def refusal(device: str | None, error: Exception) -> SinkError:
    """The `SinkError` for an error of pyvirtualcam, when `choose_device` has found no problem."""
    name = f"vcam:{device}" if device else "vcam"
    reason = " ".join(str(error).split())
    fix = f"load it again: {RELOAD}" if sys.platform == "linux" else how_to_make_one()
    return SinkError(f"{name}: it cannot be opened ({reason}); {fix}")


def how_to_make_one(*, modules: Path = Path("/lib/modules")) -> str:
    """The commands that make a virtual camera; `modules` is the folder of Linux's modules."""
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
    if any((modules / platform.release()).glob("*/**/v4l2loopback.ko*")):
        return f"make one: {_LOAD}"
    return f"make one: {_install()} && {_LOAD}"


def _install() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    for word in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        for family, command in _INSTALL.items():
            if family in word:
                return command
    return "install v4l2loopback with your package manager"
