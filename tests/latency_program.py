"""Measures the latency of a source that is made up: `python -m tests.latency_program INPUT LATE
CHANGES FIND_S`.

Its pictures come LATE pictures later than those of the input. The input `camera` films the screen.
It prints one JSON object.

`python -m tests.latency_program --command CHANGES WORDS` is the program itself, which measures so
many changes, after a second.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import time
from collections import deque
from collections.abc import Iterator

import cv2
import numpy as np

from livemosaic.__main__ import main as program
from livemosaic.doctor import latency
from livemosaic.doctor.latency import measure_latency
from livemosaic.errors import LivemosaicError
from livemosaic.media.frame import Frame
from livemosaic.sources import Source, open_source


class Late(Source):
    """A source whose pictures come later, and say that they were captured then."""

    def __init__(self, source: Source, late: int) -> None:
        self.name, self.info = source.name, source.info
        self._source, self._late = source, late

    def __iter__(self) -> Iterator[Frame]:
        waiting: deque[Frame] = deque()
        for item in self._source:
            assert isinstance(item, Frame)
            waiting.append(item)
            # By their numbers: one that was dropped counts, too.
            while item.pts - waiting[0].pts >= self._late:
                yield dataclasses.replace(waiting.popleft(), captured_s=time.monotonic())

    def interrupt(self) -> None:
        self._source.interrupt()

    def close(self) -> None:
        self._source.close()


class Camera(Source):
    """A camera in a dark room: it sees both windows small, crooked, blurred and with noise."""

    name = "camera"

    def __init__(self) -> None:
        self._screen = open_source("screen:1100x460+0+0")
        self.info = dataclasses.replace(self._screen.info, width=640, height=360)

    def __iter__(self) -> Iterator[Frame]:
        random = np.random.default_rng(1)
        noise = random.normal(25, 6, (8, 360, 640)).astype(np.float32)
        view = cv2.getRotationMatrix2D((550, 230), 4, 0.55)
        view[:, 2] += (320 - 550, 180 - 230)
        grey = np.full((180, 320), 128, np.uint8)
        for item in self._screen:
            assert isinstance(item, Frame)
            seen = cv2.GaussianBlur(cv2.warpAffine(item.y, view, (640, 360)), (0, 0), 2)
            y = noise[random.integers(8)] + np.float32(0.2) * seen
            y = y.clip(16, 235).astype(np.uint8)
            yield dataclasses.replace(item, y=y, u=grey, v=grey)

    def interrupt(self) -> None:
        self._screen.interrupt()

    def close(self) -> None:
        self._screen.close()


def main(input: str, late: int, changes: int, find_s: float) -> int:
    try:
        source = Camera() if input == "camera" else open_source(input)
        chosen = Late(source, late) if late else source
        found = measure_latency(chosen, changes=changes, notice_s=1, find_s=find_s)
    except LivemosaicError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(json.dumps(dataclasses.asdict(found)) + "\n")
    return 0


def command(changes: int, words: list[str]) -> int:
    latency.measure_latency = functools.partial(measure_latency, changes=changes, notice_s=1)
    sys.argv[1:] = words
    return program()


if __name__ == "__main__":
    if sys.argv[1] == "--command":
        sys.exit(command(int(sys.argv[2]), sys.argv[3:]))
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
