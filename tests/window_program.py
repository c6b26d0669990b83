"""A program with a window, as the pipeline has one: `python -m tests.window_program WIDTH HEIGHT
[OUTPUT...]`.

After a line on standard input it shows four coloured quarters of that size, and prints one JSON
object per line: `state` and `view` whenever one changes, `snapshot` for each request, and `quit`.
"""

from __future__ import annotations

import dataclasses
import json
import select
import sys
import threading
from collections.abc import Sequence
from typing import Any

# Both wheels, OpenCV's and PyAV's, are in the process, as in the real program.
import livemosaic.media.ffmpeg  # noqa: F401
from livemosaic.control.state import Control, LiveStats
from livemosaic.errors import LivemosaicError
from livemosaic.media.frame import Frame, StreamInfo
from livemosaic.window.window import WindowSink

from .test_canvas import quarters

# The interval of frames; the pipeline pumps at least 30 times a second.
_FRAME_S = 1 / 40


def report(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(width: int, height: int, lasting: Sequence[str] = ()) -> int:
    quit_asked = threading.Event()
    control = Control(lasting=lasting)
    control.on_quit = quit_asked.set
    control.live_stats = lambda: LiveStats(fps_in=30.0, stages_ms={"match": 1.5})
    try:
        window = WindowSink(StreamInfo(width, height), control=control)
    except LivemosaicError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    picture = Frame.from_bgr(quarters(width, height))
    original = Frame.from_bgr(quarters(64, 36)[:, ::-1].copy())
    before = None
    while not select.select([sys.stdin], [], [], _FRAME_S)[0]:
        window.pump()
    while not quit_asked.wait(_FRAME_S):
        # Space stands for a camera that is off: its card has no original.
        there = None if control.state.freeze else original
        window.write(dataclasses.replace(picture, y=picture.y.copy(), original=there))
        window.pump()
        now = (control.state, dataclasses.replace(window.view))
        if now != before:
            before = now
            report(state=dataclasses.asdict(now[0]), view=dataclasses.asdict(now[1]))
        if control.take_snapshot_request():
            report(snapshot=True)
            control.notify("snapshot.png")
    window.write(picture)  # a frame that was on its way
    window.close()
    window.close()
    report(quit=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
