"""Linux's video devices: a list of them, their abilities, and the programs that have them open.

OpenCV captures pictures, and pyvirtualcam sends them; this only asks the kernel. The numbers are
from its <linux/videodev2.h>.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

SYSFS = Path("/sys/class/video4linux")

_OPEN_FLAGS = os.O_RDWR
if sys.platform != "win32":
    _OPEN_FLAGS |= os.O_NONBLOCK | os.O_CLOEXEC

_QUERYCAP = 0x80685600  # VIDIOC_QUERYCAP
_CAPABILITY = struct.Struct("16s32s32s3I12x")  # struct v4l2_capability
_STREAMON = 0x40045612  # VIDIOC_STREAMON
_OUTPUT = struct.pack("i", 2)  # V4L2_BUF_TYPE_VIDEO_OUTPUT

# VIDIOC_ENUM_FMT, VIDIOC_ENUM_FRAMESIZES, VIDIOC_ENUM_FRAMEINTERVALS, and their structs. The last
# values before the padding are those of discrete kinds, or the smallest of those in steps.
_ENUM_FMT, _FORMAT = 0xC0405602, struct.Struct("3I32s4s4x12x")
_ENUM_SIZES, _SIZE = 0xC02C564A, struct.Struct("2I I2I 16x8x")
_ENUM_INTERVALS, _INTERVAL = 0xC034564B, struct.Struct("4I I2I 16x8x")
_CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
_DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE
_MAX_LISTED = 64  # of each kind; no camera has more, and a broken driver may never end

# VIDIOC_SUBSCRIBE_EVENT and VIDIOC_DQEVENT, with struct v4l2_event_subscription and v4l2_event. The
# event is V4L2_EVENT_PRI_CLIENT_USAGE of v4l2loopback: how many programs read. The first one comes
# at once.
_SUBSCRIBE_EVENT, _SUBSCRIPTION = 0x4020565A, struct.Struct("3I20x")
_DEQUEUE_EVENT, _EVENT = 0x80885659, struct.Struct("I4xI124x")
_CLIENT_USAGE, _SEND_INITIAL = 0x08000000 + 0x08E00000 + 1, 1

_CAPTURES = 0x1 | 0x1000  # V4L2_CAP_VIDEO_CAPTURE, ..._MPLANE
_OUTPUTS = 0x2  # V4L2_CAP_VIDEO_OUTPUT
_CODES = 0x4000 | 0x8000  # memory to memory: a codec or scaler, no camera
_HAS_OWN = 0x80000000  # the answer has the node's own capabilities, too

_LOOPBACK = "v4l2 loopback"


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """One /dev/videoN."""

    path: str
    name: str  # of the driver, for people
    # It can send pictures now. False for a virtual camera without a sender whose driver hides such
    # cameras (`exclusive_caps=1`).
    capture: bool = False
    output: bool = False  # it can receive pictures now
    virtual: bool = False  # made by v4l2loopback
    format: str = ""  # of a virtual camera, as "YU12:1280x720@30"; empty when it is not open
    bus: str = ""  # its plug, as "usb-0000:00:14.0-2"; empty when unknown

    @property
    def number(self) -> int:
        return int(self.path.removeprefix("/dev/video"))


def video_devices(*, sysfs: Path = SYSFS) -> list[VideoDevice]:
    """All video devices, by number. Never raises."""
    try:
        names = [name for name in os.listdir(sysfs) if re.fullmatch(r"video\d+", name)]
    except OSError:
        return []
    return sorted((_device(name, sysfs=sysfs) for name in names), key=lambda it: it.number)


def video_device(path: str, *, sysfs: Path = SYSFS) -> VideoDevice | None:
    """The device at `path`, which may be a link (/dev/v4l/by-id/...); None if there is none."""
    name = os.path.basename(os.path.realpath(path))
    return _device(name, sysfs=sysfs) if (sysfs / name).exists() else None


def _device(name: str, *, sysfs: Path) -> VideoDevice:
    path, folder = f"/dev/{name}", sysfs / name
    label = _read(folder / "name") or name
    # Only v4l2loopback has this attribute; all users can read it.
    virtual = (folder / "max_openers").exists()
    format = _read(folder / "format") if virtual else ""
    try:
        driver, bus, able = _capabilities(path)
    except OSError:
        # This user may not open it, or not now. The second node of a camera is for metadata.
        first = _read(folder / "index") in ("", "0")
        return VideoDevice(path, label, first and not virtual, virtual, virtual, format)
    captures = bool(able & _CAPTURES) and not able & _CODES
    outputs = bool(able & _OUTPUTS) and not able & _CODES
    virtual = virtual or driver == _LOOPBACK
    return VideoDevice(path, label, captures, outputs, virtual, format, bus)


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """Open a device without waiting, and yield its descriptor."""
    descriptor = os.open(path, _OPEN_FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ioctl(descriptor: int, request: int, argument: bytes | bytearray) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.ioctl(descriptor, request, argument)


def _capabilities(path: str) -> tuple[str, str, int]:
    """The driver's name, the bus, and the capability bits."""
    answer = bytearray(_CAPABILITY.size)
    with opened(path) as descriptor:
        _ioctl(descriptor, _QUERYCAP, answer)
    *texts, _, whole, own = _CAPABILITY.unpack(answer)
    driver, _, bus = (text.partition(b"\0")[0].decode(errors="replace") for text in texts)
    return driver, bus, own if whole & _HAS_OWN else whole


class Mode(NamedTuple):
    """A size of a camera, its highest rate, and the pixel format at that rate."""

    width: int
    height: int
    rate: Fraction
    fourcc: str


def capture_modes(path: str) -> list[Mode]:
    """A camera's sizes, largest first, each at its highest rate; empty if unknown. Never raises."""
    best: dict[tuple[int, int], Mode] = {}
    with contextlib.suppress(OSError), opened(path) as descriptor:
        for mode in _modes(descriptor):
            size = mode.width, mode.height
            if size not in best or mode.rate > best[size].rate:
                best[size] = mode
    return sorted(best.values(), reverse=True)


def _modes(descriptor: int) -> Iterator[Mode]:
    ask = partial(_enumerate, descriptor)
    for *_, code in ask(_ENUM_FMT, _FORMAT, _CAPTURE, 0, b"", b""):
        number = int.from_bytes(code, "little")
        for _, _, kind, width, height in ask(_ENUM_SIZES, _SIZE, number, 0, 0, 0):
            if kind != _DISCRETE:
                break
            size = (width, height)
            for *_, above, below in ask(_ENUM_INTERVALS, _INTERVAL, number, *size, 0, 0, 0):
                if above:
                    yield Mode(*size, Fraction(below, above), code.decode(errors="replace"))


def _enumerate(descriptor: int, request: int, layout: struct.Struct, *values: Any) -> Iterator[Any]:
    """The answers to a request with an index that counts up until the driver refuses."""
    for index in range(_MAX_LISTED):
        answer = bytearray(layout.pack(index, *values))
        try:
            _ioctl(descriptor, request, answer)
        except OSError:
            return
        yield layout.unpack(answer)


def allow_output_again(path: str) -> None:
    """Make v4l2loopback accept a sender again after one has closed. Never raises.

    Version 0.12 with exclusive_caps=1 does not, if the sender used write(), as pyvirtualcam does
    (upstream issue 470). STREAMON makes its caller the sender, and the caller's close restores what
    the first close should have restored. Do not call this while a program sends.
    """
    with contextlib.suppress(OSError), opened(path) as descriptor:
        _ioctl(descriptor, _STREAMON, _OUTPUT)


def subscribe_readers(path: str) -> int:
    """Open a virtual camera only for the number of its readers; a descriptor for `readers_of`.

    `OSError` if the driver does not tell: v4l2loopback 0.13 is the first version that does.
    """
    descriptor = os.open(path, _OPEN_FLAGS)
    try:
        _ioctl(descriptor, _SUBSCRIBE_EVENT, _SUBSCRIPTION.pack(_CLIENT_USAGE, 0, _SEND_INITIAL))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def readers_of(descriptor: int) -> int | None:
    """How many programs read the virtual camera; None if that is as before."""
    count = None
    event = bytearray(_EVENT.size)
    with contextlib.suppress(OSError):  # until there are no more
        while True:
            _ioctl(descriptor, _DEQUEUE_EVENT, event)
            kind, number = _EVENT.unpack(event)
            count = number if kind == _CLIENT_USAGE else count
    return count


def own_descriptors(path: str) -> int:
    """How often this process has `path` open."""
    return _links("self").count(os.path.realpath(path))


def holders(path: str) -> list[str]:
    """Other programs with `path` open, as "name (process 123)"; only root sees all users'."""
    wanted = os.path.realpath(path)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        if wanted in _links(process.name):
            found.append(f"{_read(process / 'comm') or '?'} (process {process.name})")
    return sorted(found)


def _links(process: str) -> list[str]:
    """What a process has open, as far as this user may know."""
    found = []
    with contextlib.suppress(OSError):
        for entry in Path("/proc", process, "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found.append(os.readlink(entry))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
