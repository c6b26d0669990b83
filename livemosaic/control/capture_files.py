"""Snapshots and recordings: files in the current folder, named by the time."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..media.frame import Frame, StreamInfo
    from ..sinks import FileOptions, Sink


class CaptureFiles:
    """Makes snapshots and recordings. Safe from any thread."""

    def __init__(self, info: StreamInfo, options: FileOptions) -> None:
        # A recording begins in the middle: at time 0, and without chapters. What was seen in the
        # window cannot be repeated, so it is kept as if it were of a live input.
        self._info = dataclasses.replace(info, chapters=(), live=True)
        self._options = dataclasses.replace(options, zeroed=True)
        self._lock = threading.Lock()
        self._names: set[str] = set()  # of files that may not exist yet

    def save_picture(self, frame: Frame) -> str:
        """Write a snapshot; return its name."""
        from ..media.frame import StreamInfo
        from ..sinks import open_sink

        name = self._name("png")
        info = StreamInfo(frame.width, frame.height, colour=frame.colour, still=True)
        with open_sink(name, info) as sink:
            sink.write(frame)
        return name

    def open_recording(self) -> Sink:
        """Open a new file for the pictures from now on."""
        from ..sinks import open_sink

        return open_sink(self._name("mkv"), self._info, options=self._options)

    def _name(self, suffix: str) -> str:
        stem = time.strftime("livemosaic-%Y%m%d-%H%M%S")
        with self._lock:
            name, number = f"{stem}.{suffix}", 1
            while name in self._names or os.path.exists(name):
                number += 1
                name = f"{stem}-{number}.{suffix}"
            self._names.add(name)
        return name
