"""The virtual camera on a fake driver; a real one is in test_real_devices.py."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import pyvirtualcam
from numpy.typing import NDArray

from livemosaic.errors import SinkError
from livemosaic.media import v4l2
from livemosaic.media.colour import Colour, i420_to_bgr
from livemosaic.media.frame import Frame, StreamInfo, TrackPacket
from livemosaic.media.scale import fill
from livemosaic.media.v4l2 import VideoDevice
from livemosaic.sinks import open_sink
from livemosaic.sinks import virtual_camera as vcam
from livemosaic.sinks import virtual_camera_devices as loopback
from livemosaic.sinks.virtual_camera import VirtualCameraSink
from livemosaic.sources import open_source
from tests.conftest import moving_pictures

U8 = NDArray[np.uint8]
INFO = StreamInfo(1280, 720)


class FakeBackend:
    """A driver that keeps what it is sent."""

    made: list[FakeBackend]
    refuse = ""

    def __init__(self, **asked: Any) -> None:
        if self.refuse:
            raise RuntimeError(self.refuse)
        self.asked = asked
        self.pictures: list[U8] = []
        self.closed = 0
        self.broken = False
        self.made.append(self)

    def send(self, frame: U8) -> None:
        if self.broken:
            raise RuntimeError("gone")
        self.pictures.append(frame.copy())

    def close(self) -> None:
        self.closed += 1

    def device(self) -> str:
        return self.asked["device"] or "Fake Virtual Camera"

    def native_fourcc(self) -> int | None:
        return None


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> type[FakeBackend]:
    """The only driver that pyvirtualcam knows now."""
    fresh = type("Fresh", (FakeBackend,), {"made": []})
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {})
    pyvirtualcam.register_backend("fake", fresh)
    monkeypatch.setattr(vcam, "choose_device", lambda device: device)
    return fresh


def picture(size: tuple[int, int] = (1280, 720), colour: Colour | None = None) -> Frame:
    bgr = cv2.GaussianBlur(moving_pictures(1, size=size)[0], (0, 0), 3)
    return Frame.from_bgr(np.asarray(bgr, np.uint8), colour=colour or Colour("bt601"))


def shown(buffer: U8, size: tuple[int, int] = (1280, 720)) -> U8:
    """The picture that a call shows, as BGR."""
    width, height = size
    y = buffer[: width * height].reshape(height, width)
    u, v = buffer[width * height :].reshape(2, height // 2, width // 2)
    return i420_to_bgr(y, u, v, Colour("bt601"))


def test_what_calls_expect(backend: type[FakeBackend]) -> None:
    sink = open_sink("vcam", INFO)
    assert sink.latest_only
    assert sink.rate == 30
    (made,) = backend.made
    assert (made.asked["width"], made.asked["height"], made.asked["fps"]) == (1280, 720, 30)
    assert made.asked["device"] is None
    assert made.asked["fourcc"] == pyvirtualcam.camera.encode_fourcc("I420")
    assert open_sink("vcam:X", INFO, rate=Fraction(25)).rate == 25
    assert backend.made[1].asked["device"] == "X"
    assert backend.made[1].asked["fps"] == 25


def test_a_picture_of_its_size_passes_unchanged(backend: type[FakeBackend]) -> None:
    sink = open_sink("vcam", INFO)
    frame = picture()
    sink.write(frame)
    sink.write(TrackPacket(0, None))
    (sent,) = backend.made[0].pictures
    assert sent.tobytes() == b"".join(p.tobytes() for p in (frame.y, frame.u, frame.v))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of readers")
def test_without_a_reader_no_picture_stays(
    backend: type[FakeBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver keeps the last picture for the next reader."""
    reads, now_s = watched(monkeypatch), [100.0]
    monkeypatch.setattr(vcam, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    sink = VirtualCameraSink()
    assert sink.watch_readers() is not None
    sent = backend.made[0].pictures
    reads[0] = True
    seen = picture()

    def shot() -> Frame:
        """A mosaic of what the webcam sees now."""
        now_s[0] += 0.05
        return dataclasses.replace(seen, original=seen, captured_s=now_s[0])

    def is_black(buffer: U8) -> bool:
        return bool(np.ptp(shown(buffer)) == 0)

    before = shot()
    sink.write(before)
    reads[0] = False
    for _ in range(10):
        sink.write(shot())
    assert len(sent) == 2
    assert is_black(sent[1])
    reads[0] = True  # after half a second: the webcam was on, and a frozen picture is still there
    sink.write(before)
    assert (sent[-1] == sent[0]).all()
    reads[0] = False
    for _ in range(40):
        late = shot()
        sink.write(late)
    assert is_black(sent[-1])
    sink.write(picture())  # a card
    assert not is_black(sent[-1])
    reads[0] = True
    sink.write(late)  # that the mosaic took long for
    assert is_black(sent[-1])
    sink.write(shot())
    assert (sent[-1] == sent[0]).all()


def watched(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Make virtual cameras tell whether they are read: what is in the list."""
    reads = [False]
    readers = SimpleNamespace(are_there=lambda: reads[0], close=lambda: None)
    monkeypatch.setattr(vcam, "Readers", lambda device: readers)
    return reads


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of readers")
def test_a_repeated_card_is_seldom_sent_without_a_reader(
    backend: type[FakeBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = watched(monkeypatch)
    sink = VirtualCameraSink()
    watch = sink.watch_readers()
    assert watch is not None
    assert not watch()
    card, sent = picture(), backend.made[0].pictures
    for _ in range(61):
        sink.write(card)
    assert len(sent) == 3  # it needs no processor time, and all the same a reader gets a picture
    sink.write(picture())
    assert len(sent) == 4
    reads[0] = True
    for _ in range(5):
        sink.write(card)
    assert len(sent) == 9


def test_a_repeated_picture_is_sent_again(
    backend: type[FakeBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = VirtualCameraSink()
    drawn: list[Any] = []

    def counting(planes: Any, out: Any, box: Any) -> list[U8]:
        drawn.append(planes[0])
        return fill(planes, out, box)

    monkeypatch.setattr(vcam, "fill", counting)
    first, second = islice(open_source("pattern:640x360@30"), 2)
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    for item in (first, dataclasses.replace(first, pts=1), second, first):
        sink.write(item)
    sent = [p.tobytes() for p in backend.made[0].pictures]
    assert sent[0] == sent[1] == sent[3] != sent[2]
    # A repeated picture costs nothing.
    assert [id(plane) for plane in drawn] == [id(it.y) for it in (first, second, first)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((640, 360), (0, 0, 1280, 720)),
        ((2560, 1440), (0, 0, 1280, 720)),
        ((848, 480), (0, 0, 1280, 720)),  # meant as 16:9
        ((640, 480), (160, 0, 960, 720)),
        ((2560, 1920), (160, 0, 960, 720)),
        ((400, 300), (160, 0, 960, 720)),
        ((1280, 480), (0, 120, 1280, 480)),
        ((360, 640), (438, 0, 404, 720)),
        ((333, 251), (162, 0, 956, 720)),
    ],
)
def test_fitted_with_black_bars(
    backend: type[FakeBackend], size: tuple[int, int], place: tuple[int, int, int, int]
) -> None:
    sink = VirtualCameraSink()
    frame = picture(size)
    sink.write(frame)
    seen = shown(backend.made[0].pictures[0])
    left, top, width, height = place
    inside = seen[top : top + height, left : left + width]
    mode = cv2.INTER_AREA if size[0] > width else cv2.INTER_LINEAR
    wanted = np.asarray(cv2.resize(frame.to_bgr(), (width, height), interpolation=mode), np.uint8)
    assert cv2.PSNR(inside, wanted) > 33
    bars = np.ones(seen.shape[:2], bool)
    bars[top : top + height, left : left + width] = False
    far = cv2.erode(bars.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0  # not beside the picture
    assert seen[far].max(initial=0) == 0


@pytest.mark.parametrize(
    ("pixel", "place"),
    [
        (Fraction(64, 45), (0, 0, 1280, 720)),  # PAL as 16:9
        (Fraction(16, 15), (160, 0, 960, 720)),  # PAL as 4:3
        (Fraction(3), (0, 188, 1280, 342)),
    ],
)
def test_pixels_that_are_not_square(
    backend: type[FakeBackend], pixel: Fraction, place: tuple[int, int, int, int]
) -> None:
    white = Frame.from_bgr(np.full((576, 720, 3), 255, np.uint8))
    info = StreamInfo(720, 576, colour=white.colour, sample_aspect_ratio=pixel)
    sink = open_sink("vcam", info)
    sink.write(white)
    sink.close()
    seen = shown(backend.made[0].pictures[0])[..., 1] > 128
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    assert (columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]) == place


def test_bars_are_black_again(backend: type[FakeBackend]) -> None:
    """After a picture of another shape nothing of it is left."""
    sink = VirtualCameraSink()
    for size in ((640, 360), (640, 480)):
        sink.write(picture(size))
    alone = VirtualCameraSink()
    alone.write(picture((640, 480)))
    assert (backend.made[0].pictures[1] == backend.made[1].pictures[0]).all()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("size", [(1280, 720), (640, 480)])
def test_colours_are_a_cameras(
    backend: type[FakeBackend], matrix: Any, full: bool, size: tuple[int, int]
) -> None:
    bars = next(iter(open_source(f"pattern:{size[0]}x{size[1]}@30")))
    assert isinstance(bars, Frame)
    bgr = bars.to_bgr()
    sink = VirtualCameraSink()
    sink.write(Frame.from_bgr(bgr, colour=Colour(matrix, full)))
    seen = shown(backend.made[0].pictures[0])
    left = (1280 - 720 * size[0] // size[1]) // 2
    seen = seen[:, left : 1280 - left]
    for share in np.arange(8) / 8 + 1 / 16:  # the middle of each bar
        was = bgr[20, int(share * bgr.shape[1])].astype(int)
        got = seen[30, int(share * seen.shape[1])].astype(int)
        assert np.abs(was - got).max() <= 4


def close_and_abort(sink: VirtualCameraSink) -> None:
    sink.close()
    sink.abort()
    sink.close()


def test_released_once_however_it_ends(backend: type[FakeBackend]) -> None:
    endings: list[Callable[[VirtualCameraSink], None]] = [
        VirtualCameraSink.close,
        VirtualCameraSink.abort,
        close_and_abort,
    ]
    for end in endings:
        sink = VirtualCameraSink()
        sink.discard()
        assert backend.made[-1].closed == 0
        end(sink)
        assert backend.made[-1].closed == 1


def test_a_driver_that_fails_is_told(backend: type[FakeBackend]) -> None:
    sink = VirtualCameraSink("vcam:/dev/video10")
    backend.made[0].broken = True
    with pytest.raises(SinkError, match="vcam:/dev/video10: "):
        sink.write(picture())
    sink.abort()


@pytest.mark.parametrize(
    ("system", "words"),
    [("linux", "modprobe -r v4l2loopback"), ("darwin", "obsproject"), ("win32", "UnityCapture")],
)
def test_a_driver_that_refuses(
    backend: type[FakeBackend], monkeypatch: pytest.MonkeyPatch, system: str, words: str
) -> None:
    backend.refuse = "no\nmore"
    monkeypatch.setattr("sys.platform", system)
    with pytest.raises(SinkError, match=rf"^vcam: .*no more\).*{words}"):
        VirtualCameraSink()


def test_no_package(backend: type[FakeBackend], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(SinkError, match="-m pip install pyvirtualcam"):
        VirtualCameraSink()


def test_the_drivers_size_counts(
    backend: type[FakeBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vcam, "device_size", lambda device: (640, 360))
    sink = VirtualCameraSink()
    assert sink.size == (640, 360)
    assert backend.made[0].closed == 1
    assert backend.made[1].asked["width"] == 640
    sink.write(picture((640, 360)))
    assert backend.made[1].pictures[0].size == 640 * 540


# ---- which device ------------------------------------------------------------------------

FREE = VideoDevice("/dev/video10", "livemosaic", output=True, virtual=True)
SECOND = VideoDevice("/dev/video11", "OBS Cam", output=True, virtual=True)
WEBCAM = VideoDevice("/dev/video0", "Integrated Camera", capture=True)


class Machine(SimpleNamespace):
    """The devices of a machine, and who has them open."""

    devices: list[VideoDevice]
    holders: list[str]
    healed: list[str]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    state = Machine(devices=[WEBCAM, FREE, SECOND], holders=[], healed=[])
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(v4l2, "video_devices", lambda: state.devices)
    monkeypatch.setattr(
        v4l2,
        "video_device",
        lambda path: next((d for d in state.devices if d.path == path), None),
    )
    monkeypatch.setattr(v4l2, "holders", lambda path: state.holders)
    monkeypatch.setattr(v4l2, "allow_output_again", state.healed.append)
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    return state


@pytest.mark.parametrize(
    ("device", "path"),
    [
        (None, "/dev/video10"),
        ("/dev/video11", "/dev/video11"),
        ("11", "/dev/video11"),
        ("obs", "/dev/video11"),
    ],
)
def test_choose_device(machine: Machine, device: str | None, path: str) -> None:
    assert loopback.choose_device(device) == path


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("/dev/video7", "no such virtual camera; name one of vcam:/dev/video10 .livemosaic., vcam"),
        ("/dev/null", "/dev/null: it is no video device"),
        ("/dev/video0", "Integrated Camera is no virtual camera"),
        ("0", "no such virtual camera"),
        ("a", "several virtual cameras match; name one of vcam:/dev/video10"),
        ("zoom", "vcam:zoom: there is no such virtual camera"),
    ],
)
def test_no_such_device(machine: Machine, device: str, words: str) -> None:
    with pytest.raises(SinkError, match=words):
        loopback.choose_device(device)


def test_the_first_that_is_free(machine: Machine) -> None:
    busy = dataclasses.replace(FREE, output=False, capture=True, format="YU12:1280x720@30")
    machine.devices[1] = busy
    assert loopback.choose_device(None) == "/dev/video11"
    machine.devices.pop()
    machine.holders = ["zoom (process 7)"]
    with pytest.raises(SinkError, match=r"/dev/video10 \(livemosaic\) .* zoom \(process 7"):
        loopback.choose_device(None)
    machine.holders = []
    with pytest.raises(SinkError, match=r"another program; .*video_nr=10,11"):
        loopback.choose_device(None)
    assert machine.healed == []  # never while a program sends


def test_a_driver_that_forgot_is_healed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.devices[1:] = [dataclasses.replace(FREE, output=False)]

    def heal(path: str) -> None:
        machine.devices[1] = FREE

    with pytest.raises(SinkError, match=r"/dev/video10 .*sudo modprobe -r"):
        loopback.choose_device(None)
    assert machine.healed == ["/dev/video10"]
    monkeypatch.setattr(v4l2, "allow_output_again", heal)
    assert loopback.choose_device(None) == "/dev/video10"


def test_no_rights(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SinkError, match=r"/dev/video10; .*sudo usermod -aG video"):
        loopback.choose_device("10")


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ({"ID": "debian"}, "sudo apt install v4l2loopback-dkms"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "sudo apt install"),
        ({"ID": "fedora"}, "sudo dnf install"),
        ({"ID": "manjaro", "ID_LIKE": "arch"}, "sudo pacman -S"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "sudo zypper install"),
        ({"ID": "nixos"}, "install v4l2loopback with your package manager"),
    ],
)
def test_how_to_make_one_on_linux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: dict[str, str], words: str
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    load = "sudo modprobe v4l2loopback video_nr=10 card_label=livemosaic exclusive_caps=1"
    text = loopback.how_to_make_one(modules=tmp_path)
    assert words in text
    assert text.endswith(f"&& {load}")
    folder = tmp_path / platform.release() / "updates" / "dkms"
    folder.mkdir(parents=True)
    (folder / "v4l2loopback.ko.zst").touch()
    assert loopback.how_to_make_one(modules=tmp_path) == f"make one: {load}"


def test_no_virtual_camera(machine: Machine) -> None:
    machine.devices.clear()
    with pytest.raises(SinkError, match="make one: "):
        loopback.choose_device(None)


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_elsewhere_the_name_is_for_the_driver(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    assert loopback.virtual_cameras() == []
    assert loopback.choose_device(None) is None
    assert loopback.choose_device("Unity Video Capture") == "Unity Video Capture"
    assert "obsproject.com" in loopback.how_to_make_one()


def test_a_format_that_a_program_uses(machine: Machine) -> None:
    machine.devices[1] = dataclasses.replace(FREE, format="YU12:640x480@30")
    assert loopback.device_size("/dev/video10") == (640, 480)
    machine.devices[1] = FREE
    assert loopback.device_size("/dev/video10") is None
    machine.devices[1] = dataclasses.replace(FREE, format="YUYV:640x480@30")
    with pytest.raises(SinkError, match="YUYV"):
        loopback.device_size("/dev/video10")


# ---- what Linux says ---------------------------------------------------------------------


def test_devices_by_sysfs_alone(tmp_path: Path) -> None:
    """Numbers that no machine has: they cannot be opened, as devices of other users cannot."""
    for name, files in {
        "video9001": {"name": "Front\n", "index": "0\n"},
        "video9002": {"name": "Front\n", "index": "1\n"},
        "video9010": {"name": "loop\n", "index": "0\n", "max_openers": "10\n", "format": "\n"},
        "v4l-subdev0": {"name": "sensor\n"},
    }.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    found = v4l2.video_devices(sysfs=tmp_path)
    assert [(d.path, d.name, d.capture, d.virtual) for d in found] == [
        ("/dev/video9001", "Front", True, False),
        ("/dev/video9002", "Front", False, False),
        ("/dev/video9010", "loop", False, True),
    ]
    assert found[2].output
    assert found[2].number == 9010
    assert v4l2.video_device("/dev/video9010", sysfs=tmp_path) == found[2]
    assert v4l2.video_device("/dev/video9011", sysfs=tmp_path) is None
    assert v4l2.video_devices(sysfs=tmp_path / "nothing") == []


def test_nothing_is_raised_for_what_is_no_device(tmp_path: Path) -> None:
    v4l2.allow_output_again(str(tmp_path / "none"))
    v4l2.allow_output_again("/dev/null")
    assert v4l2.capture_modes("/dev/null") == []
    assert v4l2.capture_modes(str(tmp_path)) == []


def test_holders_are_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "held"
    path.touch()
    with path.open() as file, subprocess.Popen(["sleep", "60"], stdin=file) as other:
        assert v4l2.holders(str(path)) == [f"sleep (process {other.pid})"]
        other.kill()
    assert v4l2.holders(str(path)) == []
