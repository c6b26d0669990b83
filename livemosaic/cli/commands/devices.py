"""The verb `devices` of the command line: cameras, virtual cameras, and what to type for each."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ...sinks.virtual_camera_devices import how_to_make_one, virtual_cameras
from ...sources.camera.devices import Camera, list_cameras, no_camera_cure
from ..console import print_json, print_text

__all__ = ["add_parser", "devices", "run"]


def add_parser(subparsers: Any, **settings: Any) -> None:
    """Add the verb to the result of `ArgumentParser.add_subparsers`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "devices",
        help="list the cameras and virtual cameras",
        description="Lists the cameras and virtual cameras of this machine, and what to type.",
        **settings,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Do what the parsed arguments ask for; the exit code."""
    found = devices()
    if args.json:
        print_json(found)
    else:
        print_text(_text(found))
    return 0


def devices() -> dict[str, list[dict[str, Any]]]:
    """What there is, as `devices --json` prints it.

    `cameras` have `name`, `path`, `input` (what to type), `virtual`, and `modes`: `width`,
    `height`, the highest `fps` and its pixel `format`, largest first, empty where the system does
    not tell. `virtual_cameras` have `name`, `path`, `output` (what to type), and `busy`: True while
    somebody sends to it, None where the system does not tell.
    """
    cameras = list_cameras()
    if sys.platform == "linux":
        virtual: list[dict[str, Any]] = [
            {
                "name": device.name,
                "path": device.path,
                "output": f"vcam:{device.path}",
                "busy": not device.output and device.format != "",
            }
            for device in virtual_cameras()
        ]
    else:
        virtual = [
            {"name": c.name, "path": c.path, "output": f"vcam:{c.name}", "busy": None}
            for c in cameras
            if c.virtual
        ]
    return {"cameras": [_camera(camera) for camera in cameras], "virtual_cameras": virtual}


def _camera(camera: Camera) -> dict[str, Any]:
    modes: list[dict[str, Any]] = []
    if sys.platform == "linux":
        from ...media.v4l2 import capture_modes

        modes = [
            {
                "width": m.width,
                "height": m.height,
                "fps": round(float(m.rate), 2),
                "format": m.fourcc,
            }
            for m in capture_modes(camera.path)
        ]
    return {
        "name": camera.name,
        "path": camera.path,
        "input": camera.spec,
        "virtual": camera.virtual,
        "modes": modes,
    }


def _text(found: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["cameras:"]
    for camera in found["cameras"]:
        kind = "  (virtual)" if camera["virtual"] else ""
        lines.append(f"  {camera['input']:<20}  {camera['name']}{kind}")
        modes = ", ".join(f"{m['width']}x{m['height']}@{m['fps']:g}" for m in camera["modes"])
        if modes:
            lines.append(f"  {'':<20}  {modes}")
    if not found["cameras"]:
        lines.append(f"  none; {no_camera_cure()}")
    lines.append("virtual cameras:")
    for camera in found["virtual_cameras"]:
        busy = "  (in use)" if camera["busy"] else ""
        lines.append(f"  {camera['output']:<20}  {camera['name']}{busy}")
    if not found["virtual_cameras"]:
        lines.append(f"  none; {how_to_make_one()}")
    return "\n".join(lines) + "\n"
