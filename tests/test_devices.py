"""The subcommand `devices`; real ones are in test_real_devices.py."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from livemosaic.cli.commands import devices
from livemosaic.errors import RefusedError
from livemosaic.media import v4l2
from livemosaic.media.v4l2 import Mode, VideoDevice
from livemosaic.sinks import virtual_camera_devices
from livemosaic.sources import screen
from livemosaic.sources.camera import devices as camera_devices
from livemosaic.sources.camera.devices import Camera
from livemosaic.sources.screen import Place, Screen
from tests.program import Program

FRONT = Camera("Integrated Camera", "/dev/video0", 0)
SCREENS = [
    Screen(1, "DELL U2720Q", Place(2560, 1440, 1920, 0), primary=True),
    Screen(2, "", Place(1920, 1080, 0, 0), primary=False),
]
OBS = Camera("OBS Virtual Camera", "/dev/video11", 11, virtual=True)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[Camera]:
    cameras = [FRONT, OBS]
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(devices, "list_cameras", lambda: cameras)
    monkeypatch.setattr(camera_devices, "list_cameras", lambda: cameras)
    monkeypatch.setattr(screen, "list_screens", lambda: SCREENS)
    monkeypatch.setattr(
        virtual_camera_devices,
        "virtual_cameras",
        lambda: [
            VideoDevice("/dev/video10", "livemosaic", output=True, virtual=True),
            VideoDevice(
                "/dev/video11", "OBS Virtual Camera", True, False, True, "YU12:1280x720@30"
            ),
        ],
    )
    modes = [Mode(1280, 720, Fraction(30), "MJPG"), Mode(640, 480, Fraction(15, 2), "YUYV")]
    monkeypatch.setattr(v4l2, "capture_modes", lambda path: modes if path == FRONT.path else [])
    return cameras


def test_text(machine: list[Camera], program: Program) -> None:
    outcome = program("devices")
    assert outcome.code == 0
    assert outcome.out == (
        "cameras:\n"
        "  /dev/video0           Integrated Camera\n"
        "                        1280x720@30, 640x480@7.5\n"
        "  /dev/video11          OBS Virtual Camera  (virtual)\n"
        "screens:\n"
        "  screen:1              DELL U2720Q 2560x1440+1920+0  (main)\n"
        "  screen:2              1920x1080+0+0\n"
        "virtual cameras:\n"
        "  vcam:/dev/video10     livemosaic\n"
        "  vcam:/dev/video11     OBS Virtual Camera  (in use)\n"
    )


def test_json(machine: list[Camera], program: Program) -> None:
    outcome = program("devices", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out) == {
        "cameras": [
            {
                "name": "Integrated Camera",
                "path": "/dev/video0",
                "input": "/dev/video0",
                "virtual": False,
                "modes": [
                    {"width": 1280, "height": 720, "fps": 30.0, "format": "MJPG"},
                    {"width": 640, "height": 480, "fps": 7.5, "format": "YUYV"},
                ],
            },
            {
                "name": "OBS Virtual Camera",
                "path": "/dev/video11",
                "input": "/dev/video11",
                "virtual": True,
                "modes": [],
            },
        ],
        "screens": [
            {
                "name": "DELL U2720Q",
                "input": "screen:1",
                "width": 2560,
                "height": 1440,
                "left": 1920,
                "top": 0,
                "primary": True,
            },
            {
                "name": "",
                "input": "screen:2",
                "width": 1920,
                "height": 1080,
                "left": 0,
                "top": 0,
                "primary": False,
            },
        ],
        "virtual_cameras": [
            {
                "name": "livemosaic",
                "path": "/dev/video10",
                "output": "vcam:/dev/video10",
                "busy": False,
            },
            {
                "name": "OBS Virtual Camera",
                "path": "/dev/video11",
                "output": "vcam:/dev/video11",
                "busy": True,
            },
        ],
    }


def test_none(machine: list[Camera], monkeypatch: pytest.MonkeyPatch, program: Program) -> None:
    machine.clear()
    monkeypatch.setattr(virtual_camera_devices, "virtual_cameras", list)

    def no_display() -> None:
        raise RefusedError("screen: there is no display; start one")

    monkeypatch.setattr(screen, "list_screens", no_display)
    out = program("devices").out
    assert "cameras:\n  none; plug one in" in out
    assert "screens:\n  none; there is no display; start one\n" in out
    assert "virtual cameras:\n  none; make one: sudo " in out


def test_elsewhere(machine: list[Camera], monkeypatch: pytest.MonkeyPatch) -> None:
    """There a virtual camera is found among the cameras, and named for pyvirtualcam."""
    machine[:] = [Camera("FaceTime HD", "0x14", 0), Camera("OBS Virtual Camera", "x", 1, True)]
    monkeypatch.setattr("sys.platform", "win32")
    found = devices.devices()
    assert [c["input"] for c in found["cameras"]] == ["webcam:0", "webcam:1"]
    assert [v["output"] for v in found["virtual_cameras"]] == ["vcam:OBS Virtual Camera"]
