"""All checks against real devices; runs in the machine, prints one JSON object.

The assertions are in tests/test_real_devices.py: here things are only done and written down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import cv2

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from bench.on_demand import (
    START_S,
    Program,
    driver_version,
    is_card,
    read_until,
    reader,
    visit,
)
from livemosaic import pipeline, session  # noqa: F401  (for `copied`)
from livemosaic.__main__ import main
from livemosaic.cli import app  # noqa: F401
from livemosaic.cli.commands.devices import devices
from livemosaic.doctor.cameras import cameras, virtual_cameras
from livemosaic.errors import LivemosaicError, SinkError, SourceError
from livemosaic.media import v4l2
from livemosaic.media.frame import Frame, StatusEvent, StreamInfo
from livemosaic.sinks import open_sink
from livemosaic.sinks.virtual_camera import VirtualCameraSink
from livemosaic.sources import open_source
from livemosaic.sources.camera.webcam import WebcamSource

CAMERA, LOOPBACK = "/dev/video0", "/dev/video10"
VIVID = Path("/sys/bus/platform/drivers/vivid")
QUICK = (640, 360, Fraction(30))
NOBODY = 65534  # the user

cv2.setNumThreads(1)  # `copied` would lack the threads

results: dict[str, Any] = {}
messages: list[str] = []


class _Kept(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        messages.append(record.getMessage())


logging.getLogger("livemosaic").addHandler(_Kept())
logging.getLogger("livemosaic").setLevel(logging.INFO)


def check(function: Callable[[], Any]) -> Callable[[], Any]:
    """Run a check and keep what it returns, or what went wrong."""
    begun_s = time.monotonic()
    try:
        result = function()
    except Exception as error:
        result = {"failed": f"{type(error).__name__}: {error}"}
    results[function.__name__] = result
    results.setdefault("seconds", {})[function.__name__] = round(time.monotonic() - begun_s, 1)
    return function


def refused(call: Callable[[], Any]) -> str:
    """The message with which an opening is refused; empty when it is not."""
    try:
        opened = call()
    except SourceError as error:
        return f"SourceError: {error}"
    except SinkError as error:
        return f"SinkError: {error}"
    opened.close()
    return ""


def in_child(call: Callable[[], Any], *, user: int | None = None) -> Any:
    """The result of a function called in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if user is not None:
                os.setgroups([])
                os.setuid(user)
            os.write(writing, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text)


def ffmpeg(device: str, *options: str) -> subprocess.Popen[str]:
    """Another program that reads a device."""
    return subprocess.Popen(
        ["ffmpeg", "-nostdin", "-loglevel", "quiet", "-f", "v4l2", "-i", device, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )


def has_ended(process: subprocess.Popen[str]) -> bool:
    return process.poll() is not None


def read_back(count: int, filter: str = "null") -> subprocess.Popen[str]:
    """Another program that reads the virtual camera, and prints a digest for each picture."""
    return ffmpeg(LOOPBACK, "-frames:v", str(count), "-vf", filter, "-f", "framemd5", "-")


def digests(reader: subprocess.Popen[str]) -> list[str]:
    out, _ = reader.communicate(timeout=60)
    return frame_digests(out)


def frame_digests(text: str) -> list[str]:
    """Of FFmpeg's framemd5."""
    return [line.rpartition(",")[2].strip() for line in text.splitlines() if line[:1] == "0"]


def send(source: Any, sink: VirtualCameraSink, sent: set[str], until: Callable[[], bool]) -> int:
    """From the camera to the virtual camera until something is true; how many frames."""
    count = 0
    for frame in source:
        sink.write(frame)
        sent.add(hashlib.md5(sink.buffer.tobytes()).hexdigest())
        count += 1
        if until() or count > 3000:
            break
    return count


def through(capture: tuple[int, int, Fraction], frames: int) -> dict[str, Any]:
    source = WebcamSource("webcam", capture=capture)
    sink = VirtualCameraSink("vcam", size=capture[:2])
    sent: set[str] = set()
    send(source, sink, sent, until=iter([False, False, True]).__next__)  # a format to be found
    reader = read_back(frames)
    count = send(source, sink, sent, until=lambda: reader.poll() is not None)
    received = digests(reader)
    source.close()
    sink.close()
    return {
        "size": [source.info.width, source.info.height],
        "rate": float(source.info.rate),
        "frames": count,
        "bad": source.bad_frames,
        "received": len(received),
        "different": len(set(received)),
        "equal": sum(digest in sent for digest in received),
    }


def picture() -> Any:
    return next(iter(open_source("pattern:640x360@30")))


def torn(tear: Callable[[], Any]) -> dict[str, Any]:
    """The items of a webcam whose device goes away in mid-stream."""
    source = WebcamSource("webcam", capture=QUICK)
    thread = threading.Timer(0.5, tear)
    count, last_s, error = 0, 0.0, ""
    thread.start()
    try:
        for _ in source:
            count, last_s = count + 1, time.monotonic()
            if count > 3000:
                break
    except LivemosaicError as found:
        error = f"{type(found).__name__}: {found}"
    noticed_s = time.monotonic() - last_s
    thread.join()
    source.close()
    again = refused(lambda: open_source("webcam", capture=QUICK)) if error else "?"
    return {"frames": count, "error": error, "noticed_s": noticed_s, "again": again}


@check
def listing() -> Any:
    return devices()


@check
def small() -> Any:
    return through((640, 480, Fraction(30)), 25)


@check
def large() -> Any:
    return through((1280, 720, Fraction(30)), 12)


@check
def stamps() -> Any:
    """Frames are stamped at capture, and their times are those of the stamps."""
    with_source = WebcamSource("webcam", capture=QUICK)
    frames = [
        (frame.captured_s, frame.time_s, time.monotonic())
        for frame in itertools.islice(with_source, 40)
    ]
    with_source.close()
    first = frames[0]
    return {
        "ages": [now - captured for captured, _, now in frames],
        "drift": max(abs((c - first[0]) - (t - first[1])) for c, t, _ in frames),
        "steps": [b[1] - a[1] for a, b in itertools.pairwise(frames)],
    }


@check
def reader_restarts() -> Any:
    """The virtual camera's reader comes and goes while it is sent to."""
    source, sink = WebcamSource("webcam", capture=QUICK), VirtualCameraSink("vcam", size=(640, 360))
    sent: set[str] = set()
    send(source, sink, sent, until=iter([False, False, True]).__next__)
    equal = []
    for _ in range(2):
        reader = read_back(15)
        send(source, sink, sent, until=partial(has_ended, reader))
        equal.append(sum(digest in sent for digest in digests(reader)))
    killed = read_back(10_000)
    send(source, sink, sent, until=iter(itertools.chain([False] * 30, [True])).__next__)
    killed.kill()
    killed.communicate(timeout=10)
    after = send(source, sink, sent, until=iter(itertools.chain([False] * 9, [True])).__next__)
    source.close()
    sink.close()
    return {"equal": equal, "after": after}


@check
def sender_restarts() -> Any:
    """Senders come and go: alone, after one that closed without our care, and while watched."""
    import pyvirtualcam

    sizes = []
    for width in (640, 1280):
        sink = VirtualCameraSink("vcam", size=(width, width * 9 // 16))
        sink.write(picture())
        sizes.append([*sink.size])
        sink.close()
    other = pyvirtualcam.Camera(640, 360, 30, fmt=pyvirtualcam.PixelFormat.I420, device=LOOPBACK)
    other.send(sink.buffer[: 640 * 540])
    other.close()
    stale = v4l2.video_device(LOOPBACK).output  # type: ignore[union-attr]
    sink = VirtualCameraSink("vcam", size=(640, 360))
    sink.write(picture())
    watcher = ffmpeg(LOOPBACK, "-f", "null", "-")
    deadline_s = time.monotonic() + 30
    while not v4l2.holders(LOOPBACK) and time.monotonic() < deadline_s:
        sink.write(picture())
        time.sleep(0.03)  # the pace of a camera
    sink.close()
    watched = VirtualCameraSink("vcam", size=(1280, 720))
    watched.write(picture())
    agreed = [*watched.size]
    watched.close()
    watcher.kill()
    watcher.communicate(timeout=10)
    return {"sizes": sizes, "stale": stale, "agreed": agreed}


@check
def disconnected() -> Any:
    return torn(
        lambda: subprocess.run(["v4l2-ctl", "-d", CAMERA, "-c", "disconnect=1"], check=True)
    )


@check
def unplugged() -> Any:
    result = torn(lambda: (VIVID / "unbind").write_text("vivid.0"))
    result["absent"] = refused(lambda: open_source("webcam", capture=QUICK))
    result["listed"] = len(devices()["cameras"])
    (VIVID / "bind").write_text("vivid.0")
    result["back"] = refused(lambda: open_source("webcam", capture=QUICK))
    return result


@check
def plugged_in_again() -> Any:
    """As it is opened for the program: it comes back by itself."""
    source = open_source("webcam", capture=QUICK)
    items: list[str] = []
    times: list[float] = []
    bound_s = 0.0
    for item in source:
        items.append(type(item).__name__)
        if isinstance(item, Frame):
            times.append(item.time_s)
        if len(items) == 5:
            (VIVID / "unbind").write_text("vivid.0")
        if isinstance(item, StatusEvent):
            (VIVID / "bind").write_text("vivid.0")
            bound_s = time.monotonic()
        elif bound_s and items[-5:] == ["Frame"] * 5:
            break
    back_s = time.monotonic() - bound_s
    paths = [camera["path"] for camera in devices()["cameras"]]
    source.close()
    for action in ("unbind", "bind"):  # gets its first number back
        (VIVID / action).write_text("vivid.0")
    return {
        "paths": paths,
        "items": items,
        "reconnects": source.reconnects,
        "back_s": back_s,
        "growing": all(a < b for a, b in itertools.pairwise(times)),
    }


@check
def interrupted() -> Any:
    source = WebcamSource("webcam", capture=QUICK)
    asked: list[float] = []

    def interrupt() -> None:
        asked.append(time.monotonic())
        source.interrupt()

    timer = threading.Timer(0.3, interrupt)
    timer.start()
    count = sum(1 for _ in source)
    took_s = time.monotonic() - asked[0]
    source.close()
    return {"frames": count, "took_s": took_s}


def copied(words: list[str], **options: Any) -> subprocess.Popen[str]:
    """Start the program as a copy of this process: imports take long in the machine."""

    def run() -> None:
        sys.argv = [word for word in words if word not in (sys.executable, "-m")]
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # as in a new program; Popen waits for that
        try:
            os._exit(main())
        finally:
            os._exit(1)

    return subprocess.Popen(words, preexec_fn=run, **options)


def started(
    capture: str,
    size: str,
    film: Path,
    start: Callable[..., subprocess.Popen[str]] = copied,
) -> subprocess.Popen[str]:
    """`livemosaic run webcam vcam FILM`, once it sends."""
    # Large tiles, because the machine's processor is slow.
    words = [sys.executable, "-m", "livemosaic", "run", "webcam", "vcam", str(film), "--json"]
    words += ["--tile", "40"]
    program = start(
        [*words, "--capture", capture, "--size", size, "--codec", "ffv1"],
        cwd=Path(__file__).parent.parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline_s = time.monotonic() + START_S
    while not v4l2.video_device(LOOPBACK).format and program.poll() is None:  # type: ignore[union-attr]
        if time.monotonic() > deadline_s:
            program.kill()  # or the checks to come find its devices in use
            raise TimeoutError("it does not send")
        time.sleep(0.2)
    return program


def ended(program: subprocess.Popen[str], film: Path, read: list[str]) -> dict[str, Any]:
    """The outcome after Ctrl-C, and which pictures that were read are in the film."""
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=100)
    decoder = subprocess.run(
        ["ffmpeg", "-nostdin", "-loglevel", "quiet", "-i", film, "-f", "framemd5", "-"],
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
    )
    filmed = frame_digests(decoder.stdout)
    return {
        "read": len(read),
        "different": len(set(read)),
        "filmed": sum(digest in filmed for digest in read),
        "code": program.returncode,
        "report": json.loads(out or "{}"),
        "messages": err.splitlines(),
        "released": v4l2.video_device(LOOPBACK).output,  # type: ignore[union-attr]
    }


def moving(read: Callable[[int], Any]) -> list[str]:
    """The pictures until the picture has changed: that takes seconds on a slow machine."""
    seen: list[str] = []
    while len(set(seen)) < 2 and len(seen) < 900:
        seen += digests(read(20))
    return seen


@check
def program_large() -> Any:
    film = Path("/tmp/large.mkv")
    program = started("1280x720@30", "1280x720", film, subprocess.Popen)
    return ended(program, film, moving(read_back))


@check
def program_small() -> Any:
    """The same with another shape; and the webcam is unplugged and comes back meanwhile."""
    film = Path("/tmp/small.mkv")
    program = started("640x480@30", "960x720", film)
    read = moving(lambda count: read_back(count, "crop=960:720:160:0"))
    (VIVID / "unbind").write_text("vivid.0")
    away = digests(read_back(20))  # it keeps its rate
    (VIVID / "bind").write_text("vivid.0")
    back = digests(read_back(40))
    return {"away": len(away), "back": len(back), **ended(program, film, read)}


ON_DEMAND = ["--tile", "40", "--capture", "640x360@30", "--size", "640x360"]


@contextlib.contextmanager
def filming() -> Iterator[None]:
    """Another program has the webcam."""
    user = ffmpeg(CAMERA, "-f", "rawvideo", "-")
    assert isinstance(user.stdout, io.TextIOWrapper)
    assert len(user.stdout.buffer.read(1)) == 1  # a picture: it has it
    try:
        yield
    finally:
        user.kill()
        user.communicate(timeout=10)


def is_open_within(program: Program, seconds: float) -> bool:
    """Whether the program opens the webcam in that time."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        if program.has_open(CAMERA):
            return True
        time.sleep(0.01)
    return False


@check
def on_demand() -> Any:
    """The webcam is on only while the virtual camera is read."""
    program = Program("webcam", *ON_DEMAND, start=copied)
    program.wait_until_waiting()
    found: dict[str, Any] = {"unread": is_open_within(program, 2)}
    began_s = time.monotonic()
    with v4l2.opened(LOOPBACK):  # to list it
        time.sleep(0.03)
    found["listed_s"] = time.monotonic() - began_s
    found["short"] = is_open_within(program, 1)
    program.wait_until(lambda: not program.has_open(CAMERA))
    found["visits"] = [visit(program, 0.3) for _ in range(20)]

    with reader(LOOPBACK) as first:
        read_until(first, lambda it: not is_card(it))
        with reader(LOOPBACK) as second:
            found["second reads"] = second.isOpened()
        time.sleep(2.5)
        found["one of two"] = program.has_open(CAMERA)

    program.wait_until(lambda: not program.has_open(CAMERA))
    killed = ffmpeg(LOOPBACK, "-f", "null", "-")
    program.wait_until(lambda: program.has_open(CAMERA))
    killed.kill()
    killed.communicate(timeout=10)
    began_s = time.monotonic()
    found["killed"] = program.wait_until(lambda: not program.has_open(CAMERA)) - began_s

    with filming():
        unlucky = cv2.VideoCapture(LOOPBACK, cv2.CAP_V4L2)
        until_s = time.monotonic() + 3
        cards: list[bool] = []
        while time.monotonic() < until_s:
            cards.append(is_card(unlucky.read()[1]))
        found["busy"] = all(cards)
    began_s = time.monotonic()
    found["free"] = read_until(unlucky, lambda it: not is_card(it)) - began_s
    unlucky.release()
    program.wait_until(lambda: not program.has_open(CAMERA))
    return {**found, **program.end(), "driver": driver_version()}


@check
def on_demand_of_several() -> Any:
    """One of two virtual cameras, without exclusive_caps, that is open before the start."""
    unload, load = ["rmmod", "v4l2loopback"], ["modprobe", "v4l2loopback"]
    several = ["video_nr=10,11", "card_label=livemosaic,second", "exclusive_caps=0,0"]
    one = ["video_nr=10", "card_label=livemosaic", "exclusive_caps=1"]
    subprocess.run(unload, check=True)
    subprocess.run([*load, *several], check=True)
    found: dict[str, Any] = {}
    with v4l2.opened("/dev/video11"):  # no reader of the first
        descriptor = os.open(LOOPBACK, os.O_RDWR)
        early = subprocess.Popen(["sleep", "1000"], stdin=descriptor)
        os.close(descriptor)
        program = Program("webcam", *ON_DEMAND, start=copied)
        program.wait_until(program.sends, START_S)
        found["early"] = is_open_within(program, 3)
        early.kill()
        early.wait()
        program.wait_until_waiting()
        found["visits"] = [visit(program, 0.3) for _ in range(3)]
        found |= program.end()
    subprocess.run(unload, check=True)
    subprocess.run([*load, *one], check=True)
    return found


@check
def camera_refusals() -> Any:
    with filming():
        busy = refused(lambda: open_source("webcam", capture=QUICK))
    return {
        "busy": busy,
        "number": refused(lambda: open_source("webcam:7")),
        "name": refused(lambda: open_source("webcam:front")),
        "path": refused(lambda: open_source("/dev/video7")),
        "no sender": refused(lambda: open_source(LOOPBACK)),
        "by name": refused(lambda: open_source("webcam:VIVID", capture=QUICK)),
        "permission": in_child(lambda: refused(lambda: open_source("webcam")), user=NOBODY),
    }


@check
def doctor() -> Any:
    """The checks of cameras without any, without permission, and with a sender."""

    def ask() -> Any:
        return [dataclasses.asdict(result) for result in (cameras(), virtual_cameras())]

    found = {"idle": ask(), "stranger": in_child(ask, user=NOBODY)}
    sender = VirtualCameraSink("vcam")
    sender.write(picture())
    found["sending"] = in_child(ask)
    sender.close()
    found["after"] = ask()
    return found


@check
def vcam_refusals() -> Any:
    def open_it(target: str) -> str:
        return refused(lambda: open_sink(target, StreamInfo(640, 360)))

    found = {
        "number": open_it("vcam:7"),
        "name": open_it("vcam:zoom"),
        "path": open_it("vcam:/dev/video7"),
        "webcam": open_it("vcam:/dev/video0"),
        "by name": open_it("vcam:LIVE"),
        "permission": in_child(lambda: open_it("vcam"), user=NOBODY),
    }
    sender = VirtualCameraSink("vcam")
    sender.write(picture())
    found["busy"] = in_child(lambda: open_it("vcam"))
    found["listed busy"] = devices()["virtual_cameras"][0]["busy"]
    begun_s = time.monotonic()
    found["still sender"] = refused(lambda: open_source(f"webcam:{LOOPBACK}"))
    found["still sender, seconds"] = time.monotonic() - begun_s
    sender.close()
    subprocess.run(["rmmod", "v4l2loopback"], check=True)
    found["absent"] = open_it("vcam")
    return found


if __name__ == "__main__":
    results["messages"] = messages
    sys.stdout.write(json.dumps(results) + "\n")
