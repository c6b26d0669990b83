"""The webcam on a fake camera; real ones are in test_real_devices.py."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice, pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livemosaic.errors import RefusedError, SourceError
from livemosaic.media.colour import Colour, bgr_to_i420
from livemosaic.media.ffmpeg import av
from livemosaic.media.frame import Frame
from livemosaic.sources import open_source
from livemosaic.sources.camera import devices
from livemosaic.sources.camera.capture import Capture, CaptureGone
from livemosaic.sources.camera.devices import Camera, find_camera
from livemosaic.sources.camera.pixel_formats import Pixels
from livemosaic.sources.camera.webcam import WebcamSource, webcam_opener
from livemosaic.sources.reconnect import ReconnectingSource
from tests.conftest import moving_pictures

U8 = NDArray[np.uint8]

FRONT = Camera("Integrated Camera", "/dev/video0", 0, place="usb-1")
USB = Camera("USB Camera: HD", "/dev/video2", 2, place="usb-2")
OBS = Camera("OBS Virtual Camera", "/dev/video10", 10, virtual=True)


class FakeCapture(Capture):
    """Gives the pictures it was made of; an exception among them is raised, False is no picture,
    None a damaged one, anything callable is called before the next."""

    fourcc = "BGR3"
    rate = Fraction(30)

    def __init__(self, items: list[Any], *, size: tuple[int, int] = (64, 48)) -> None:
        self.size = size
        self.closed = 0
        self.stamps: Iterator[float] = iter(lambda: 0.0, 1.0)
        self._items = iter(items)
        self._picture: U8 | None = None

    def wait(self, timeout_s: float) -> bool:
        item = next(self._items, False)
        if callable(item):
            item()
            item = next(self._items, False)
        if isinstance(item, BaseException):
            raise item
        self._picture = item if not isinstance(item, bool) else None
        return item is not False

    def read(self) -> U8 | None:
        return self._picture

    def stamp_s(self) -> float:
        return next(self.stamps)

    def close(self) -> None:
        self.closed += 1


Opener = Callable[..., WebcamSource]
MODE = (64, 48, Fraction(30))


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> list[Camera]:
    found = [FRONT, USB, OBS]
    monkeypatch.setattr(devices, "list_cameras", lambda: found)
    return found


@pytest.fixture
def opened(cameras: list[Camera]) -> Opener:
    """A function that opens a webcam on a fake."""

    def open_it(fake: FakeCapture, **options: Any) -> WebcamSource:
        options = {"capture": MODE, "open_capture": lambda camera, **asked: fake, **options}
        return WebcamSource("webcam", **options)

    return open_it


def pictures(count: int) -> list[Any]:
    return list(moving_pictures(count, size=(64, 48)))


def test_frames_are_as_the_info_says(opened: Opener) -> None:
    fake = FakeCapture(pictures(5))
    source = opened(fake)
    info = source.info
    assert info.live
    assert (info.width, info.height, info.rate) == MODE
    assert info.colour.matrix == "bt601"
    found = list(islice(source, 5))
    assert [f.y.shape for f in found] == [(48, 64)] * 5
    assert all(f.u.shape == f.v.shape == (24, 32) for f in found)
    assert {f.colour for f in found} == {info.colour}
    assert {f.time_base for f in found} == {info.time_base}
    assert all(a.pts < b.pts for a, b in pairwise(found))
    source.close()
    source.close()
    assert fake.closed >= 1


def test_iterating_again_goes_on(opened: Opener) -> None:
    source = opened(FakeCapture(pictures(6)))
    assert [len(list(islice(source, 3))) for _ in range(2)] == [3, 3]


def test_times_are_the_drivers(opened: Opener) -> None:
    """Where its clock is ours; else those of arrival."""
    fake = FakeCapture(pictures(6))
    fake.stamps = iter([999.94, 999.95, 1000.05, 5.0, 1.7e9, 0.0])
    found = list(islice(opened(fake, clock=lambda: 1000.0), 6))
    assert [f.captured_s for f in found] == [999.94, 999.95, 1000, 1000, 1000, 1000]
    assert [f.pts for f in found] == [0, 900, 5400, 5401, 5402, 5403]


def test_what_waited_since_the_opening_is_skipped(opened: Opener) -> None:
    """Galleries take their time to open, and drivers keep pictures meanwhile."""
    clock = Clock()
    fake = FakeCapture(pictures(8))
    fake.stamps = iter([99.99, 100.02, 100.05, 101.94, 101.97])
    source = opened(fake, clock=clock)
    clock.now_s = 102.0
    frames = iter(source)
    first, second = next(frames), next(frames)
    assert [first.captured_s, second.captured_s] == [101.94, 101.97]
    assert [first.pts, second.pts] == [0, 2700]


def test_what_was_got_is_said(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "livemosaic")
    fake = FakeCapture(pictures(1))
    opened(fake)
    assert caplog.messages == ["webcam: Integrated Camera, 64x48 at 30 frames/s"]
    fake = FakeCapture(pictures(1))
    fake.rate = Fraction(25, 2)
    assert opened(fake).info.rate == Fraction(25, 2)
    assert caplog.messages[-1] == (
        "webcam: Integrated Camera, 64x48 at 12.5 frames/s (asked for 64x48 at 30 frames/s)"
    )


def test_unknown_rate_is_the_asked_one(opened: Opener) -> None:
    fake = FakeCapture(pictures(1))
    fake.rate = Fraction(0)
    assert opened(fake).info.rate == 30


def test_damaged_pictures_are_counted(opened: Opener) -> None:
    first, second, third = pictures(3)
    source = opened(FakeCapture([None, first, None, None, second, third]))
    assert len(list(islice(source, 3))) == 3
    assert source.bad_frames == 3


def test_gone(opened: Opener) -> None:
    source = opened(FakeCapture([*pictures(2), CaptureGone()]))
    frames = iter(source)
    next(frames), next(frames)
    with pytest.raises(SourceError, match=r"webcam: the camera has gone; plug it in again"):
        next(frames)


def test_gone_before_the_first_picture_closes(opened: Opener) -> None:
    fake = FakeCapture([CaptureGone()])
    with pytest.raises(SourceError, match="has gone"):
        opened(fake)
    assert fake.closed == 1


class Clock:
    """Time that passes only during waits for a picture."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def tick(self) -> None:
        self.now_s += 0.1


def test_no_picture_for_two_seconds(opened: Opener) -> None:
    clock = Clock()
    fake = FakeCapture([*pictures(1), *[step for _ in range(99) for step in (clock.tick, False)]])
    frames = iter(opened(fake, clock=clock))
    next(frames)
    with pytest.raises(SourceError, match="no frame came from it for 2 s"):
        next(frames)
    assert 102 < clock.now_s < 102.5


def test_cameras_may_wake_up_slowly(opened: Opener) -> None:
    clock = Clock()
    waiting = [step for _ in range(40) for step in (clock.tick, False)]
    source = opened(FakeCapture([*waiting, *pictures(1)]), clock=clock)
    assert clock.now_s > 103.9
    source.close()
    with pytest.raises(SourceError, match="for 5 s"):
        opened(FakeCapture(waiting * 2), clock=clock)


def test_interrupt_ends_the_waiting(opened: Opener) -> None:
    source: WebcamSource
    fake = FakeCapture([*pictures(2), lambda: source.interrupt(), False, *pictures(9)])
    source = opened(fake)
    assert len(list(source)) == 2
    assert list(source) == []


def recorded_opener(spec: str) -> tuple[list[Camera], Callable[[], WebcamSource]]:
    """The cameras that it has opened, and an opener on fakes."""
    opened: list[Camera] = []

    def open_it(camera: Camera, **asked: Any) -> FakeCapture:
        opened.append(camera)
        return FakeCapture([*pictures(2), CaptureGone()])

    return opened, webcam_opener(spec, capture=MODE, open_capture=open_it)


def test_the_same_camera_again_and_no_other(cameras: list[Camera]) -> None:
    opened, opener = recorded_opener("webcam")
    opener()
    cameras.remove(FRONT)  # "webcam" would be the other one now
    with pytest.raises(SourceError, match="webcam: Integrated Camera is not there; plug it in"):
        opener()
    moved = Camera(FRONT.name, "/dev/video4", 4, place="usb-4")
    cameras.append(moved)
    opener()
    assert opened == [FRONT, moved]
    cameras.append(FRONT)
    opener()
    assert opened[-1] == moved  # which it was last


def test_not_its_twin(cameras: list[Camera]) -> None:
    cameras.append(Camera(FRONT.name, "/dev/video4", 4, place="usb-5"))
    opened, opener = recorded_opener("webcam:0")
    opener()
    cameras.remove(FRONT)
    with pytest.raises(SourceError, match="is not there"):
        opener()
    # Both were plugged in anew, and each has the other's path.
    cameras[-1] = Camera(FRONT.name, "/dev/video0", 0, place="usb-5")
    back = Camera(FRONT.name, "/dev/video4", 4, place="usb-1")
    cameras.append(back)
    opener()
    assert opened == [FRONT, back]


def test_unplugged_and_back_is_a_reconnect(cameras: list[Camera]) -> None:
    fakes = iter([FakeCapture([*pictures(2), CaptureGone()]), FakeCapture(pictures(3))])
    opener = webcam_opener("webcam", capture=MODE, open_capture=lambda *_, **__: next(fakes))
    source = ReconnectingSource(opener, name="webcam")
    items = list(islice(source, 6))
    source.close()
    assert [type(item).__name__ for item in items] == ["Frame"] * 2 + ["StatusEvent"] + [
        "Frame"
    ] * 3
    assert source.reconnects == 1
    times = [item.time_s for item in items if isinstance(item, Frame)]
    assert all(a < b for a, b in pairwise(times))


# ---- which camera ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("webcam", FRONT),
        ("webcam:0", FRONT),
        ("webcam:2", USB),
        ("webcam:usb", USB),
        ("webcam:INTEGRATED camera", FRONT),
        ("webcam:virtual", OBS),
        ("webcam:10", OBS),
    ],
)
def test_find_camera(cameras: list[Camera], spec: str, found: Camera) -> None:
    assert find_camera(spec) == found


def test_the_whole_name_wins(cameras: list[Camera]) -> None:
    cameras.append(Camera("USB Camera", "/dev/video4", 4))
    assert find_camera("webcam:usb camera").number == 4


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("webcam:1", ["webcam:1: there is no such camera", "/dev/video2 (USB Camera: HD)"]),
        ("webcam:front", ["there is no such camera; name one of /dev/video0 (Integrated Camera)"]),
        ("webcam:camera", ["several cameras fit", "/dev/video0", "/dev/video2", "/dev/video10"]),
        ("/dev/video98", ["/dev/video98: there is no such camera"]),
        ("webcam:/dev/video98", ["/dev/video98: there is no such camera"]),
    ],
)
def test_no_such_camera(cameras: list[Camera], spec: str, words: list[str]) -> None:
    with pytest.raises(SourceError) as error:
        open_source(spec)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_no_camera_at_all(
    monkeypatch: pytest.MonkeyPatch, cameras: list[Camera], system: str
) -> None:
    cameras[:] = [OBS]
    with pytest.raises(SourceError, match="all cameras are virtual; name one of /dev/video10"):
        find_camera("webcam")
    cameras.clear()
    monkeypatch.setattr("sys.platform", system)
    words = {"linux": "dmesg", "darwin": "System Settings", "win32": "Settings > Privacy"}
    with pytest.raises(SourceError, match=f"there is no camera; plug one in.*{words[system]}"):
        find_camera("webcam")


@pytest.mark.parametrize("spec", ["webcams.mp4", "my/webcam", "/dev/null", "video0", "webcam.mp4"])
def test_what_is_no_camera(spec: str) -> None:
    with pytest.raises(SourceError, match=spec) as error:
        open_source(spec)
    assert "camera" not in str(error.value)


def test_names_to_type() -> None:
    assert FRONT.spec == "/dev/video0"
    assert Camera("FaceTime HD", "0x1420000005ac8600", 1).spec == "webcam:1"


# ---- how it is opened --------------------------------------------------------------------


class FakeVideo:
    """Stands for `cv2.VideoCapture` on V4L2: modes are a rate by format and size."""

    def __init__(
        self, modes: dict[str, dict[tuple[int, int], float]], *, default: str, opens: bool = True
    ) -> None:
        self.modes, self._opens = modes, opens
        self.values: dict[int, float] = {}
        self.released = 0
        self.asked: list[str] = []
        self._default = default
        self.format, self._size, self._wish = default, [640, 480], 0.0

    def open(self, path: str, backend: int) -> bool:
        assert (path, backend) == ("/dev/video0", cv2.CAP_V4L2)
        return self._opens

    def set(self, what: int, value: float) -> bool:
        if what == cv2.CAP_PROP_FOURCC:
            wanted = int(value).to_bytes(4, "little").decode()
            self.asked.append(wanted)
            # As OpenCV: what is not there becomes another, and that is a success.
            self.format = wanted if wanted in self.modes else self._default
        elif what in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT):
            self._size[what - cv2.CAP_PROP_FRAME_WIDTH] = int(value)
        elif what == cv2.CAP_PROP_FPS:
            self._wish = value
        else:
            self.values[what] = value
        return True

    def _mode(self) -> tuple[tuple[int, int], float]:
        sizes = self.modes.get(self.format, {(640, 480): 30.0})
        size = min(sizes, key=lambda s: abs(s[0] - self._size[0]) + abs(s[1] - self._size[1]))
        return size, min(self._wish or 1000, sizes[size])

    def get(self, what: int) -> float:
        if what == cv2.CAP_PROP_FOURCC:
            return int.from_bytes(self.format.encode(), "little")
        (width, height), rate = self._mode()
        return {3: width, 4: height, 5: rate}[what]

    def release(self) -> None:
        self.released += 1


def open_video(video: FakeVideo) -> Capture:
    return Capture(FRONT, spec="webcam", size=(1280, 720), rate=Fraction(30), video=video)


@pytest.mark.parametrize(
    ("modes", "got"),
    [
        # As most cameras are: uncompressed is slow at large sizes.
        (
            {"YUYV": {(1280, 720): 10, (640, 480): 30}, "MJPG": {(1280, 720): 30}},
            ("MJPG", (1280, 720), 30),
        ),
        ({"YUYV": {(1280, 720): 30}, "MJPG": {(1280, 720): 30}}, ("YUYV", (1280, 720), 30)),
        ({"YUYV": {(640, 480): 30}, "MJPG": {(1280, 720): 15}}, ("MJPG", (1280, 720), 15)),
        ({"YUYV": {(1280, 720): 12.5}}, ("YUYV", (1280, 720), 12.5)),
        ({"YUYV": {(1280, 720): 29.97}, "MJPG": {(1280, 720): 60}}, ("YUYV", (1280, 720), 29.97)),
        ({"NV12": {(1280, 720): 30}}, ("NV12", (1280, 720), 30)),
        ({"MJPG": {(640, 480): 30}}, ("MJPG", (640, 480), 30)),
        ({}, ("BGR3", (640, 480), 30)),
    ],
)
def test_the_mode_that_is_chosen(modes: Any, got: tuple[str, tuple[int, int], float]) -> None:
    video = FakeVideo(modes, default="BGR3")
    opened = open_video(video)
    fourcc, size, rate = got
    assert (opened.fourcc, opened.size) == (fourcc, size)
    assert float(opened.rate) == pytest.approx(rate)
    assert video.format == fourcc
    assert video.values[cv2.CAP_PROP_CONVERT_RGB] == (fourcc == "BGR3")
    assert video.values[cv2.CAP_PROP_BUFFERSIZE] == 3
    if "YUYV" in modes and fourcc == "YUYV" and rate > 20:
        assert video.asked == ["YUYV"]  # good enough: no more is tried


def test_no_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RefusedError, match=r"webcam: .*/dev/video0.*usermod -aG"):
        open_video(FakeVideo({}, default="BGR3", opens=False))


# ---- pixel formats -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def bgr() -> U8:
    picture = moving_pictures(1, size=(96, 64))[0]
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 2), np.uint8)


def packed(planes: tuple[U8, U8, U8], fourcc: str) -> U8:
    """Planes as a camera gives them."""
    y, u, v = planes
    if fourcc in ("YUYV", "UYVY"):
        u, v = (np.repeat(p, 2, axis=0) for p in (u, v))
        order = (y[:, ::2], u, y[:, 1::2], v) if fourcc == "YUYV" else (u, y[:, ::2], v, y[:, 1::2])
        return np.stack(order, axis=-1).reshape(*y.shape, 2)
    if fourcc in ("NV12", "NV21"):
        chroma = np.stack((u, v) if fourcc == "NV12" else (v, u), axis=-1)
        return np.vstack([y, chroma.reshape(-1, y.shape[1])])
    first, second = (u, v) if fourcc == "YU12" else (v, u)
    return np.concatenate([p.reshape(-1) for p in (y, first, second)]).reshape(-1, y.shape[1])


@pytest.mark.parametrize("fourcc", ["YUYV", "UYVY", "NV12", "NV21", "YU12", "YV12"])
def test_uncompressed_is_exact(bgr: U8, fourcc: str) -> None:
    planes = bgr_to_i420(bgr, Colour("bt601"))
    raw = packed(planes, fourcc)
    pixels = Pixels(fourcc, (96, 64))
    for _ in range(2):
        found = pixels(raw)
        assert found is not None
        for got, wanted in zip(found, planes, strict=True):
            assert (got == wanted).all()
    raw[:] = 0  # planes of their own, or of that very picture: never of the next
    assert (pixels.colour.matrix, pixels.colour.full_range) == ("bt601", False)


def test_grey() -> None:
    raw = np.arange(96 * 64, dtype=np.uint8).reshape(64, 96)
    found = Pixels("GREY", (96, 64))(raw)
    assert found is not None
    assert (found[0] == raw).all()
    assert {int(v) for p in found[1:] for v in np.unique(p)} == {128}


@pytest.mark.parametrize("size", [(96, 64), (95, 63)])
def test_bgr(bgr: U8, size: tuple[int, int]) -> None:
    picture = np.ascontiguousarray(bgr[: size[1], : size[0]])
    found = Pixels("BGR3", size)(picture)
    assert found is not None
    wanted = bgr_to_i420(picture, Colour("bt601"))
    assert [p.shape for p in found] == [p.shape for p in wanted]
    assert np.abs(found[0].astype(int) - wanted[0]).max() <= 1
    # OpenCV's own takes the chroma of one sample in four.
    back = Frame(*found, Colour("bt601")).to_bgr()
    assert cv2.PSNR(back, picture) > 30


@pytest.mark.parametrize("format", ["yuvj422p", "yuvj420p", "yuvj444p"])
def test_mjpeg(bgr: U8, format: str) -> None:
    code = encoded(bgr, format)
    pixels = Pixels("MJPG", (96, 64))
    pixels(code)
    found = pixels(code)
    assert found is not None
    assert (pixels.colour.matrix, pixels.colour.full_range) == ("bt601", True)
    back = Frame(*found, pixels.colour).to_bgr()
    assert cv2.PSNR(back, bgr) > 32


def test_damaged_mjpeg_is_none_and_quiet(bgr: U8, capfd: pytest.CaptureFixture[str]) -> None:
    code = encoded(bgr, "yuvj422p")
    pixels = Pixels("MJPG", (96, 64))
    assert pixels(np.zeros(500, np.uint8)) is None
    assert pixels(code[:40]) is None
    assert pixels(code) is not None
    assert capfd.readouterr() == ("", "")


def encoded(bgr: U8, format: str) -> U8:
    """One JPEG, as cameras make them."""
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    height, width = bgr.shape[:2]
    encoder.width, encoder.height, encoder.pix_fmt = width, height, format
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"qmin": "2", "qmax": "2"}
    frame = av.VideoFrame.from_ndarray(bgr, format="bgr24").reformat(
        format=format, dst_colorspace="ITU601", dst_color_range="JPEG"
    )
    frame.pts = 0
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    return np.frombuffer(bytes(packets[0]), np.uint8)
