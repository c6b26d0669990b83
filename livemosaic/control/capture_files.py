"""Snapshots and recordings: files that are made while it runs, here, named by the time."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..media.frame import Frame, StreamInfo
    from ..sinks import FileOptions
    from ..sinks.base import Sink

__all__ = ["CaptureFiles"]


class CaptureFiles:
    """Makes snapshots and recordings; from any thread.

    Parameters
    ----------
    output : what the pictures are like
    options : of recordings
    """

    def __init__(self, output: StreamInfo, options: FileOptions) -> None:
        self._output, self._options = output, options
        self._lock = threading.Lock()
        self._given: set[str] = set()  # names, of files that may not be there yet

    def save_picture(self, frame: Frame) -> str:
        """Write a picture; its name."""
        from ..media.frame import StreamInfo
        from ..sinks import open_sink

        name = self._name("png")
        info = StreamInfo(frame.width, frame.height, colour=frame.colour, still=True)
        with open_sink(name, info) as sink:
            sink.write(frame)
        return name

    def open_recording(self) -> Sink:
        """A file for what comes from now on."""
        from ..sinks import open_sink

        # It begins in the middle: no chapters, and not so long as what came before.
        options = dataclasses.replace(self._options, zeroed=True)
        output = dataclasses.replace(self._output, chapters=())
        return open_sink(self._name("mkv"), output, options=options)

    def _name(self, suffix: str) -> str:
        """A new file's name."""
        stem = time.strftime("livemosaic-%Y%m%d-%H%M%S")
        with self._lock:
            name, number = f"{stem}.{suffix}", 1
            while name in self._given or os.path.exists(name):
                number += 1
                name = f"{stem}-{number}.{suffix}"
            self._given.add(name)
        return name
