"""A webcam that is on only while the virtual camera is read: how soon it comes and goes.

    python -m bench.on_demand [--camera webcam] [--visits 20] [--stay 2] [-- OPTIONS OF RUN]

Needs Linux, a webcam, and a virtual camera of v4l2loopback that is free. It starts `livemosaic run
webcam vcam --on-demand`, reads the virtual camera again and again, and prints

    picture     from before a reader opens the virtual camera to its first picture of the webcam
    released    from after the reader has closed it to the moment when the webcam is closed
    cards       how many readers saw a card at first, and not an earlier picture
    waiting     processor time of livemosaic while there is no reader
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from bench.common import ROOT, livemosaic, machine
from livemosaic.media import v4l2
from livemosaic.sources.camera.devices import find_camera

START_S = 400.0  # the first run compiles
LIMIT_S = 30.0  # for anything else
_DARK, _MOST = 60, 0.8  # levels, and a share of the pixels
SETTLED_S = 0.5  # between two visits


class Program:
    """`livemosaic run CAMERA vcam --on-demand`, seen from outside."""

    def __init__(
        self,
        camera: str,
        *options: str,
        start: Callable[..., subprocess.Popen[str]] = subprocess.Popen,
    ) -> None:
        self.camera = find_camera(camera).path
        self.virtual = next(it.path for it in v4l2.video_devices() if it.virtual)
        self.process = start(
            [*livemosaic("run", camera, f"vcam:{self.virtual}"), "--on-demand", "--json", *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def has_open(self, path: str) -> bool:
        """Whether the program has a device open."""
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(entry) == os.path.realpath(path):
                    return True
        return False

    def wait_until(self, condition: Callable[[], object], limit_s: float = LIMIT_S) -> float:
        """Wait, and return the time when it was true; `TimeoutError`."""
        deadline_s = time.monotonic() + limit_s
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise TimeoutError(f"it does not happen: {condition}")
            time.sleep(0.005)
        return time.monotonic()

    def sends(self) -> bool:
        """Whether the virtual camera can be read."""
        device = v4l2.video_device(self.virtual)
        return device is not None and bool(device.format)

    def wait_until_waiting(self) -> None:
        """Wait until it sends, and the camera is closed."""
        self.wait_until(self.sends, START_S)
        time.sleep(SETTLED_S)  # this look at the virtual camera must not count
        self.wait_until(lambda: not self.has_open(self.camera))

    def cpu_s(self) -> float:
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> dict[str, Any]:
        """Press Ctrl-C; the exit code, the seconds until then, the messages and the report."""
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=LIMIT_S)
        return {
            "code": self.process.returncode,
            "ended_s": time.monotonic() - began_s,
            "messages": err.splitlines(),
            "report": json.loads(out or "{}"),
        }


def is_card(picture: Any) -> bool:
    """Whether a picture, BGR, is a card, or black: a dark ground under a few words."""
    return bool(np.mean(picture[::4, ::4].max(axis=2) < _DARK) > _MOST)


@contextlib.contextmanager
def reader(path: str) -> Iterator[Any]:
    """A program that reads a virtual camera."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    video = cv2.VideoCapture(path, cv2.CAP_V4L2)
    try:
        yield video
    finally:
        video.release()


def read_until(video: Any, condition: Callable[[Any], bool], limit_s: float = LIMIT_S) -> float:
    """Read until a picture meets a condition, and return the time; `TimeoutError`."""
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        good, picture = video.read()
        if good and condition(picture):
            return time.monotonic()
    raise TimeoutError("no such picture came")


class Visit(NamedTuple):
    """What a reader met."""

    picture_s: float  # from its coming to the first picture of the webcam
    released_s: float  # from its going to the moment when the webcam is closed
    card: bool  # the first picture was a card


def visit(program: Program, stay_s: float) -> Visit:
    """Read the virtual camera once."""
    time.sleep(SETTLED_S)
    began_s = time.monotonic()
    with reader(program.virtual) as video:
        seen: list[bool] = []

        def is_picture(picture: Any) -> bool:
            seen.append(is_card(picture))
            return not seen[-1]

        picture_s = read_until(video, is_picture) - began_s
        stayed_s = time.monotonic() + stay_s
        read_until(video, lambda _: time.monotonic() > stayed_s, stay_s + LIMIT_S)
    left_s = time.monotonic()
    released_s = program.wait_until(lambda: not program.has_open(program.camera)) - left_s
    return Visit(picture_s, released_s, seen[0])


def spread(values: Sequence[float]) -> str:
    p95 = sorted(values)[max(0, round(0.95 * len(values)) - 1)]
    return (
        f"median {statistics.median(values):.2f} s, p95 {p95:.2f} s, "
        f"{min(values):.2f} to {max(values):.2f} s"
    )


def driver_version() -> str:
    """Of v4l2loopback; empty for those that do not say theirs, up to 0.12."""
    version = Path("/sys/module/v4l2loopback/version")
    return version.read_text().strip() if version.exists() else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--camera", default="webcam")
    parser.add_argument("--visits", type=int, default=20)
    parser.add_argument("--stay", type=float, default=2.0)
    parser.add_argument("options", nargs="*", help="of livemosaic run, after --")
    chosen = parser.parse_args()
    print(machine())
    program = Program(chosen.camera, *chosen.options)
    try:
        program.wait_until_waiting()
        began_s, cpu_s = time.monotonic(), program.cpu_s()
        time.sleep(5)
        busy = (program.cpu_s() - cpu_s) / (time.monotonic() - began_s)
        visits = []
        for _ in range(chosen.visits):
            visits.append(visit(program, chosen.stay))
            print("picture after {:.2f} s, released after {:.2f} s".format(*visits[-1]), flush=True)
    finally:
        result = program.end()
    pictures, releases, cards = zip(*visits, strict=True)
    print(f"v4l2loopback {driver_version() or '0.12 or older'}")
    print(f"picture   {spread(pictures)}")
    print(f"released  {spread(releases)}")
    print(f"cards     {sum(cards)} of {len(cards)} readers saw one first")
    print(f"waiting   {busy:.0%} of a core")
    print("\n".join(line for line in result["messages"] if " on after " in line))
    print(f"on_demand {result['report'].get('on_demand')}, exit {result['code']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
