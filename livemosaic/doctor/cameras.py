"""Checks of cameras and virtual cameras."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from .result import CheckResult, told

__all__ = ["cameras", "virtual_cameras"]

MODULE = Path("/sys/module/v4l2loopback")

_JOIN_VIDEO = "sudo usermod -aG video $USER, then log out and in again"


def cameras() -> CheckResult:
    """Which cameras there are, and whether this user may use them; none is opened for capture."""
    from ..sources.camera.devices import list_cameras, no_camera_cure

    found = [camera for camera in list_cameras() if not camera.virtual]
    details = {"cameras": [{"name": c.name, "path": c.path, "input": c.spec} for c in found]}
    if not found:
        return CheckResult("cameras", "warning", "there is no camera", no_camera_cure(), details)
    closed = [c.path for c in found if os.path.exists(c.path) and not _open_to_us(c.path)]
    if closed:
        text = f"you may not use {', '.join(closed)}"
        return CheckResult("cameras", "warning", text, _JOIN_VIDEO, details)
    text = ", ".join(f"{camera.name} ({camera.spec})" for camera in found)
    return CheckResult("cameras", "good", text, details=details)


def virtual_cameras(*, module: Path = MODULE) -> CheckResult:
    """Which virtual cameras there are, whether one can be sent to, and how well others see it.

    Parameters
    ----------
    module : what Linux says of v4l2loopback
    """
    from ..errors import SinkError
    from ..sinks.virtual_camera_devices import RELOAD, choose_device, how_to_make_one

    facts = _module(module) if sys.platform == "linux" else None
    listed = _listed()
    details: dict[str, Any] = {"virtual_cameras": listed, "module": facts}

    def warning(text: str, cure: str) -> CheckResult:
        return CheckResult("virtual_cameras", "warning", text, cure, details)

    # Not imported: nothing but the sink may be bound to its licence.
    if importlib.util.find_spec("pyvirtualcam") is None:
        return warning(
            "the package pyvirtualcam is missing", f"{sys.executable} -m pip install pyvirtualcam"
        )
    if not listed:
        loaded = facts is not None and facts["loaded"]
        text = "v4l2loopback is loaded, and has no device" if loaded else "there is none"
        return warning(text, RELOAD if loaded else how_to_make_one().removeprefix("make one: "))
    if sys.platform == "linux":
        try:
            choose_device(None)
        except SinkError as error:
            text, cure = told(error)
            return warning(text.removeprefix("vcam: "), cure)
    text = ", ".join(f"{of['name']} ({of['output']})" for of in listed)
    if facts is not None and facts["loaded"]:
        text += f"; v4l2loopback {facts['version'] or '0.12 or older'}"
        if facts["exclusive_caps"] is False:
            return warning(f"{text}: without exclusive_caps browsers do not list it", RELOAD)
        if facts["second_sender_fault"]:
            text += " (other programs may be refused after a first one has sent: its issue 470)"
    return CheckResult("virtual_cameras", "good", text, details=details)


def _listed() -> list[dict[str, str]]:
    from ..sinks.virtual_camera_devices import virtual_cameras as of_linux
    from ..sources.camera.devices import list_cameras

    if sys.platform == "linux":
        return [{"name": c.name, "path": c.path, "output": f"vcam:{c.path}"} for c in of_linux()]
    return [
        {"name": c.name, "path": c.path, "output": f"vcam:{c.name}"}
        for c in list_cameras()
        if c.virtual
    ]


def _module(folder: Path) -> dict[str, Any]:
    """What Linux says of v4l2loopback.

    `exclusive_caps` is that of the first device, None where it is not told: with it a camera that
    nobody sends to is none, which is what browsers want. `second_sender_fault`: the version is one
    of those that forget with it to accept another sender after the first (upstream issue 470).
    `version` is None for these, up to 0.12: they do not say it.
    """
    version = _read(folder / "version") or None
    caps = _read(folder / "parameters" / "exclusive_caps")
    exclusive = caps[0] in "Y1" if caps else None
    return {
        "loaded": folder.is_dir(),
        "version": version,
        "exclusive_caps": exclusive,
        "second_sender_fault": bool(exclusive) and version is None,
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _open_to_us(path: str) -> bool:
    return os.access(path, os.R_OK | os.W_OK)
