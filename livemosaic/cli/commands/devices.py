"""The subcommand `devices`: lists cameras, screens and virtual cameras; what to type for each."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from ...doctor.cameras import list_virtual_cameras
from ...errors import SourceError
from ...sinks.virtual_camera_devices import how_to_make_one
from ...sources.camera.devices import Camera, list_cameras, no_camera_fix
from ..console import print_json, print_lines


def add_parser(subcommands: Any, **settings: Any) -> None:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "devices",
        help="list the cameras, screens and virtual cameras",
        description="Lists the cameras, screens and virtual cameras of this machine, and what to "
        "type for each.",
        **settings,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    found = devices()
    if args.json:
        print_json(found)
    else:
        print_lines(_lines(found))
    return 0


def devices() -> dict[str, list[dict[str, Any]]]:
    """Return the object that `devices --json` prints.

    `cameras` have `name`, `path`, `input` (what to type), `virtual`, and `modes`: `width`,
    `height`, the highest `fps` and its pixel `format`, largest first, empty if unknown.
    `screens` have `name`, `input`, `width`, `height`, `left`, `top`, and `primary` for the main
    one; there are none where this program cannot see them. `virtual_cameras` are those of
    `list_virtual_cameras`.
    """
    return {
        "cameras": [_camera(camera) for camera in list_cameras()],
        "screens": _screens()[0],
        "virtual_cameras": list_virtual_cameras(),
    }


def _camera(camera: Camera) -> dict[str, Any]:
    modes: list[dict[str, Any]] = []
    if sys.platform == "linux":
        from ...media.v4l2 import capture_modes

        for mode in capture_modes(camera.path):
            fps = round(float(mode.rate), 2)
            size = {"width": mode.width, "height": mode.height}
            modes.append({**size, "fps": fps, "format": mode.fourcc})
    names = {"name": camera.name, "path": camera.path, "input": camera.spec}
    return {**names, "virtual": camera.virtual, "modes": modes}


def _screens() -> tuple[list[dict[str, Any]], str]:
    """The screens; if there are none, the problem and what to do."""
    from ...sources.screen import list_screens

    try:
        found = list_screens()
    except SourceError as error:
        return [], str(error).partition(": ")[2]
    return [
        {"name": it.name, "input": it.spec, **asdict(it.place), "primary": it.primary}
        for it in found
    ], ""


def _lines(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = ["cameras:"]
    for camera in found["cameras"]:
        kind = "  (virtual)" if camera["virtual"] else ""
        lines.append(f"  {camera['input']:<20}  {camera['name']}{kind}")
        modes = ", ".join(f"{m['width']}x{m['height']}@{m['fps']:g}" for m in camera["modes"])
        if modes:
            lines.append(f"  {'':<20}  {modes}")
    if not found["cameras"]:
        lines.append(f"  none; {no_camera_fix()}")
    lines.append("screens:")
    for screen in found["screens"]:
        main = "  (main)" if screen["primary"] else ""
        size = f"{screen['width']}x{screen['height']}+{screen['left']}+{screen['top']}"
        name = f"{screen['name']} {size}".strip()
        lines.append(f"  {screen['input']:<20}  {name}{main}")
    if not found["screens"]:
        lines.append(f"  none; {_screens()[1]}")
    lines.append("virtual cameras:")
    for camera in found["virtual_cameras"]:
        busy = "  (in use)" if camera["busy"] else ""
        lines.append(f"  {camera['output']:<20}  {camera['name']}{busy}")
    if not found["virtual_cameras"]:
        lines.append(f"  none; {how_to_make_one()}")
    return lines
