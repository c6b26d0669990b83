"""A real webcam and a real virtual camera, in a virtual machine (see tests/v4l2-vm).

One boot does all checks (tests/v4l2-vm/checks.py); here their results are judged. No speed is: the
machine's processor is emulated.

Environment
-----------
LIVEMOSAIC_VM : `qemu` (default), `uml` where `tests/v4l2-vm/setup --uml` was run, or `none` to skip
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.program import COMMAND, ENVIRONMENT

VM = Path(__file__).parent / "v4l2-vm"
ENGINE = os.environ.get("LIVEMOSAIC_VM", "qemu")
QEMU = "qemu-system-x86_64"

pytestmark = [pytest.mark.timeout(2000), pytest.mark.slow, pytest.mark.alone]


def _skip_unless_possible() -> None:
    if ENGINE == "none":
        pytest.skip("LIVEMOSAIC_VM=none")
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("the virtual machine is for Linux on x86-64")
    if shutil.which("apt-get") is not None and os.geteuid() == 0:
        options = ["--uml"] if ENGINE == "uml" else []
        # Nothing to do if it was built before; half a minute else, or 7 minutes for uml.
        subprocess.run([VM / "setup", *options], capture_output=True, timeout=800)
    cache = Path(os.environ.get("V4L2VM_CACHE") or Path.home() / ".cache" / "v4l2-vm") / ENGINE
    if not (cache / "stamp").exists() or (ENGINE == "qemu" and shutil.which(QEMU) is None):
        pytest.skip(f"no virtual machine: run {VM}/setup as root on Debian 12")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of all checks, and what was written to standard error (`stderr`)."""
    _skip_unless_possible()
    # The kernels and the gallery are made out here, where it takes seconds and not minutes, for a
    # processor that the machine's emulated one can follow.
    kernels = tmp_path_factory.mktemp("kernels")
    environment = {
        **ENVIRONMENT,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CACHE_DIR": str(kernels),
    }
    words = ["run", "pattern:640x360@30", "null", "--realtime", "--duration", "0.5", "--quiet"]
    subprocess.run([*COMMAND, *words], env=environment, timeout=300, check=True)
    options = ["--engine", ENGINE, "--timeout", "1500", "--env", "LIVEMOSAIC_CACHE"]
    done = subprocess.run(
        [VM / "run", *options, "--rw", kernels, "--", sys.executable, VM / "checks.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1600,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    results["stderr"] = [line for line in done.stderr.splitlines() if line[:5] != "run: "]
    return results


def test_nothing_failed(machine: dict[str, Any]) -> None:
    failed = {
        name: result["failed"]
        for name, result in machine.items()
        if isinstance(result, dict) and "failed" in result
    }
    assert failed == {}


def test_opencv_and_ffmpeg_print_nothing(machine: dict[str, Any]) -> None:
    assert machine["stderr"] == []


def test_devices_are_listed_by_name(machine: dict[str, Any]) -> None:
    listing = machine["listing"]
    (camera,) = listing["cameras"]
    assert camera["name"] == "vivid-000-vid-cap"
    assert camera["input"] == camera["path"] == "/dev/video0"
    assert not camera["virtual"]
    assert {"width": 1280, "height": 720, "fps": 12.5, "format": "YUYV"} in camera["modes"]
    (virtual,) = listing["virtual_cameras"]
    assert virtual == {
        "name": "livemosaic",
        "path": "/dev/video10",
        "output": "vcam:/dev/video10",
        "busy": False,
    }


@pytest.mark.parametrize(
    ("check", "size", "rate", "count"),
    [("small", [640, 480], 25, 25), ("large", [1280, 720], 12.5, 12)],
)
def test_webcam_to_virtual_camera(
    machine: dict[str, Any], check: str, size: list[int], rate: float, count: int
) -> None:
    """Another program reads the sent pictures, bit for bit."""
    result = machine[check]
    assert result["size"] == size
    assert result["rate"] == rate
    assert result["bad"] == 0
    assert result["received"] == count
    # The driver may give a picture that is just being written.
    assert result["equal"] >= 0.8 * count
    assert result["different"] >= 0.5 * count


def test_asked_and_got_are_logged(machine: dict[str, Any]) -> None:
    messages = machine["messages"]
    assert (
        "webcam: vivid-000-vid-cap, 1280x720 at 12.5 frames/s (asked for 1280x720 at 30 frames/s)"
        in messages
    )
    assert "webcam: vivid-000-vid-cap, 640x360 at 30 frames/s" in messages


def test_frames_are_stamped_at_capture(machine: dict[str, Any]) -> None:
    stamps = machine["stamps"]
    assert min(stamps["ages"]) >= 0
    assert sorted(stamps["ages"])[20] < 0.2  # half of them: no queue in between
    assert stamps["drift"] < 0.001
    assert min(stamps["steps"]) > 0


def test_reader_comes_and_goes(machine: dict[str, Any]) -> None:
    result = machine["reader_restarts"]
    assert min(result["equal"]) >= 12  # of 15
    assert result["after"] == 10


def test_sender_comes_and_goes(machine: dict[str, Any]) -> None:
    """Also with Debian's v4l2loopback, which refuses a second one of others."""
    result = machine["sender_restarts"]
    assert result["sizes"] == [[640, 360], [1280, 720]]
    assert result["stale"] is False  # the fault is there, or this test shows nothing
    assert result["agreed"] == [640, 360]


@pytest.mark.parametrize("check", ["disconnected", "unplugged"])
def test_webcam_goes_in_mid_stream(machine: dict[str, Any], check: str) -> None:
    result = machine[check]
    assert result["frames"] > 2
    assert result["error"] == (
        "SourceError: webcam: the camera has gone; plug it in again, or check its cable"
    )
    assert result["noticed_s"] < 3


def test_webcam_comes_back(machine: dict[str, Any]) -> None:
    assert machine["disconnected"]["again"] == ""
    result = machine["unplugged"]
    assert "there is no camera; plug one in" in result["absent"]
    assert result["listed"] == 0
    assert result["back"] == ""


def test_webcam_plugged_in_again_is_a_reconnect(machine: dict[str, Any]) -> None:
    result = machine["plugged_in_again"]
    assert result["paths"] == ["/dev/video1"]  # the first number is in use while the device is open
    assert result["items"].count("StatusEvent") == 1
    assert result["reconnects"] == 1
    assert result["growing"]
    assert result["back_s"] < 10


def test_interrupt_wakes(machine: dict[str, Any]) -> None:
    assert machine["interrupted"]["took_s"] < 1


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("busy", ["in use by ffmpeg (process", "close that"]),
        ("number", ["webcam:7", "no such camera", "/dev/video0 (vivid-000-vid-cap)"]),
        ("name", ["webcam:front", "no such camera", "/dev/video0 (vivid-000-vid-cap)"]),
        ("path", ["/dev/video7", "no such camera"]),
        ("no sender", ["virtual camera without a sender"]),
        ("permission", ["/dev/video0", "sudo usermod -aG video $USER"]),
    ],
)
def test_camera_refusals(machine: dict[str, Any], case: str, words: list[str]) -> None:
    message = machine["camera_refusals"][case]
    assert message.startswith("SourceError: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("number", ["vcam:7", "no such virtual camera", "vcam:/dev/video10 (livemosaic)"]),
        ("name", ["vcam:zoom", "no such virtual camera"]),
        ("path", ["vcam:/dev/video7", "no such virtual camera"]),
        ("webcam", ["vivid-000-vid-cap is no virtual camera"]),
        ("permission", ["/dev/video10", "sudo usermod -aG video $USER"]),
        ("busy", ["/dev/video10 (livemosaic) is in use by ", "close that"]),
        ("absent", ["no virtual camera", "sudo modprobe v4l2loopback video_nr=10"]),
    ],
)
def test_virtual_camera_refusals(machine: dict[str, Any], case: str, words: list[str]) -> None:
    message = machine["vcam_refusals"][case]
    assert message.startswith("SinkError: ")
    for word in words:
        assert word in message


def test_devices_by_part_of_their_name(machine: dict[str, Any]) -> None:
    assert machine["camera_refusals"]["by name"] == ""
    assert machine["vcam_refusals"]["by name"] == ""
    assert machine["vcam_refusals"]["listed busy"] is True


def test_sender_that_stands_still_is_noticed(machine: dict[str, Any]) -> None:
    result = machine["vcam_refusals"]
    assert result["still sender"].startswith("SourceError: ")
    assert result["still sender, seconds"] < 10


def test_the_webcam_is_on_only_while_it_is_watched(machine: dict[str, Any]) -> None:
    result = machine["on_demand"]
    assert not result["unread"]  # what sends is no reader
    assert not result["short"] or result["listed_s"] > 0.05  # the machine may stand still
    assert len(result["visits"]) == 20
    assert all(card for *_, card in result["visits"])  # never the last picture of the one before
    assert max(released_s for _, released_s, _ in result["visits"]) < 10  # on a slow machine
    assert result["second reads"] is (not result["driver"])  # from 0.13 on, one at a time reads
    assert result["one of two"]
    assert result["killed"] < 10
    assert result["busy"]
    assert result["free"] < 20
    assert result["code"] == 130
    assert result["ended_s"] < 10  # by Ctrl-C while the webcam is closed
    report = result["report"]
    assert report["on_demand"]["status"] == "waiting for a reader"
    assert report["on_demand"]["starts"] >= 23
    assert report["reconnects"] == 0
    assert any("in use by ffmpeg" in line for line in result["messages"])


def test_the_readers_of_one_of_several_virtual_cameras(machine: dict[str, Any]) -> None:
    result = machine["on_demand_of_several"]
    assert result["early"] is (not machine["on_demand"]["driver"])
    assert len(result["visits"]) == 3
    assert result["code"] == 130


@pytest.mark.parametrize("check", ["program_small", "program_large"])
def test_the_whole_program(machine: dict[str, Any], check: str) -> None:
    """`livemosaic run webcam vcam FILM`: what another program reads is what is in the film."""
    result = machine[check]
    report = result["report"]
    assert result["code"] == 130, result["messages"]  # by Ctrl-C
    assert result["read"] >= 20
    assert result["filmed"] >= 0.8 * result["read"]
    assert result["different"] > 1
    assert report["input"] == "webcam"
    assert report["outputs"][0] == "vcam"
    assert result["released"]


def test_the_program_outlives_its_webcam(machine: dict[str, Any]) -> None:
    result = machine["program_small"]
    assert (result["away"], result["back"]) == (20, 40)
    assert result["report"]["reconnects"] == 1
    assert result["report"]["repeated"] > 0
    assert any("the camera has gone" in line for line in result["messages"])
    assert any("webcam: back after" in line for line in result["messages"])


def test_doctor(machine: dict[str, Any]) -> None:
    found = machine["doctor"]
    camera, virtual = found["idle"]
    assert (camera["state"], camera["text"]) == ("good", "vivid-000-vid-cap (/dev/video0)")
    assert virtual["state"] == "good"
    assert virtual["text"].startswith("livemosaic (vcam:/dev/video10); v4l2loopback 0.12 or older")
    assert "issue 470" in virtual["text"]
    assert found["after"] == found["idle"]  # it does not stand in its own way
    for result, path in zip(found["stranger"], ("/dev/video0", "/dev/video10"), strict=True):
        assert result["state"] == "warning"
        assert path in result["text"]
        assert "sudo usermod -aG video $USER" in result["fix"]
    camera, virtual = found["sending"]
    assert camera["state"] == "good"
    assert virtual["text"].startswith("/dev/video10 (livemosaic) is in use by python")
    assert "sudo modprobe" in virtual["fix"]
