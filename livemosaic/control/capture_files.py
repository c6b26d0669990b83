"""Snapshots, recordings and posters: files in the current folder, named by the time."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..media.frame import Frame, StreamInfo
    from ..sinks import FileOptions, Sink


class CaptureFiles:
    """Makes snapshots and recordings, and names posters. Safe from any thread."""

    def __init__(self, info: StreamInfo, options: FileOptions) -> None:
        # A recording begins in the middle: at time 0, and without chapters. What was seen in the
        # window cannot be repeated, so it is kept as if it were of a live input.
        self._info = dataclasses.replace(info, chapters=(), live=True)
        self._options = dataclasses.replace(options, zeroed=True)
        self._lock = threading.Lock()
        self._names: set[str] = set()  # of files that may not exist yet

    def choose_codec(self) -> None:
        """Find the codec that `auto` means for recordings now, so that none waits for it: the
        process remembers it."""
        from ..sinks import parse_output

        parse_output("recordings.mkv", self._options).resolved(self._info)

    def save_picture(self, frame: Frame) -> str:
        """Write a snapshot; return its name."""
        from ..media.frame import StreamInfo
        from ..sinks import open_sink

        name = self._name("png")
        info = StreamInfo(
            frame.width, frame.height, colour=frame.colour, still=True,
            sample_aspect_ratio=self._info.sample_aspect_ratio,
        )  # fmt: skip
        with open_sink(name, info) as sink:
            sink.write(frame)
        return name

    def open_recording(self) -> Sink:
        """Open a new file for the pictures from now on."""
        from ..sinks import open_sink

        return open_sink(self._name("mkv"), self._info, options=self._options)

    def name_poster(self) -> Path:
        """The name of a new poster; that of its map, .html, is free, too."""
        return Path(self._name("jpg", "html", of="poster"))

    def _name(self, *suffixes: str, of: str = "livemosaic") -> str:
        """A free name with the first suffix; with the others it is free, too."""
        stem = first = time.strftime(f"{of}-%Y%m%d-%H%M%S")
        number = 1
        with self._lock:
            while any(map(self._is_taken, names := [f"{stem}.{it}" for it in suffixes])):
                number += 1
                stem = f"{first}-{number}"
            self._names.update(names)
        return names[0]

    def _is_taken(self, name: str) -> bool:
        return name in self._names or os.path.exists(name)
