"""Checks of cameras and virtual cameras."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .result import CheckResult, problem_and_fix


def _may_use(path: str) -> bool:
    return not os.path.exists(path) or os.access(path, os.R_OK | os.W_OK)


def cameras(*, may_use: Callable[[str], bool] = _may_use) -> CheckResult:
    """Check which cameras there are, and whether this user may use them. None is opened."""
    from ..sources.camera.devices import list_cameras, no_camera_fix

    found = [camera for camera in list_cameras() if not camera.virtual]
    details = {"cameras": [{"name": c.name, "path": c.path, "input": c.spec} for c in found]}
    if not found:
        return CheckResult("cameras", "warning", "no camera found", no_camera_fix(), details)
    if refused := [camera.path for camera in found if not may_use(camera.path)]:
        text = f"no permission to use {', '.join(refused)}"
        fix = "sudo usermod -aG video $USER, then log out and in again"
        return CheckResult("cameras", "warning", text, fix, details)
    text = ", ".join(f"{camera.name} ({camera.spec})" for camera in found)
    return CheckResult("cameras", "good", text, details=details)


def virtual_cameras(*, module: Path = Path("/sys/module/v4l2loopback")) -> CheckResult:
    """Check which virtual cameras there are, and whether one accepts frames.

    `module` is the folder where Linux describes v4l2loopback.
    """
    from ..errors import SinkError
    from ..sinks.virtual_camera_devices import RELOAD, choose_device, how_to_make_one

    loopback = _loopback(module) if sys.platform == "linux" else None
    listed = list_virtual_cameras()
    details: dict[str, Any] = {"virtual_cameras": listed, "module": loopback}

    def warning(text: str, fix: str) -> CheckResult:
        return CheckResult("virtual_cameras", "warning", text, fix, details)

    # Only the sink imports pyvirtualcam: its licence, the GPL, must not bind anything else.
    if importlib.util.find_spec("pyvirtualcam") is None:
        install = f"{sys.executable} -m pip install pyvirtualcam"
        return warning("the package pyvirtualcam is missing", install)
    if not listed and loopback is not None and loopback["loaded"]:
        return warning("v4l2loopback is loaded but has no device", RELOAD)
    if not listed:
        return warning("no virtual camera found", how_to_make_one().removeprefix("make one: "))
    if sys.platform == "linux":
        try:
            choose_device(None)
        except SinkError as error:
            problem, fix = problem_and_fix(error)
            return warning(problem.removeprefix("vcam: "), fix)
    text = ", ".join(f"{camera['name']} ({camera['output']})" for camera in listed)
    if loopback is not None and loopback["loaded"]:
        text += f"; v4l2loopback {loopback['version'] or '0.12 or older'}"
        if loopback["exclusive_caps"] is False:
            return warning(f"{text}: browsers do not list it without exclusive_caps", RELOAD)
        if loopback["second_sender_fault"]:
            text += " (its issue 470: after one program has sent frames, it may refuse others)"
    return CheckResult("virtual_cameras", "good", text, details=details)


def list_virtual_cameras() -> list[dict[str, Any]]:
    """List the virtual cameras: `name`, `path`, `output` (what to type) and `busy` of each.

    `busy` says whether a program sends frames to it, and is None where the system does not say.
    """
    if sys.platform == "linux":
        from ..sinks.virtual_camera_devices import virtual_cameras

        return [
            {
                "name": device.name,
                "path": device.path,
                "output": f"vcam:{device.path}",
                "busy": not device.output and device.format != "",
            }
            for device in virtual_cameras()
        ]
    from ..sources.camera.devices import list_cameras

    return [
        {"name": camera.name, "path": camera.path, "output": f"vcam:{camera.name}", "busy": None}
        for camera in list_cameras()
        if camera.virtual
    ]


def _loopback(folder: Path) -> dict[str, Any]:
    """The facts that Linux gives about v4l2loopback.

    `exclusive_caps` is the first device's parameter, None if unknown. With it a device is a camera
    only while a program sends frames to it, as browsers expect. `version` is None up to 0.12, which
    does not tell it. With `exclusive_caps` these versions may refuse a second sender
    (`second_sender_fault`, upstream issue 470).
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
