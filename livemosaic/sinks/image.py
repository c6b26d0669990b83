"""Single image files: PNG and JPEG."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import SinkError, UsageError
from ..media.ffmpeg import sink_error
from ..media.frame import Frame, StreamInfo, TrackPacket
from .atomic_file import AtomicFile
from .base import Sink
from .destination import NUMBER, Destination
from .image_strips import encode_strips

__all__ = ["ImageSink"]

_logger = logging.getLogger("livemosaic")


class ImageSink(Sink):
    """One picture, or a numbered sequence from 1 for a name such as `out_%04d.png`.

    The pictures are written to a hidden folder beside their place, and appear when all are there.

    Raises
    ------
    UsageError
        when a moving input is to become a single picture
    SinkError
        when the disk says no
    """

    def __init__(self, target: Destination, info: StreamInfo) -> None:
        self.name = target.name
        self.frames_written = 0
        self.bytes_written = 0
        if target.kind == "picture" and not info.still:
            path = Path(target.url)
            raise UsageError(
                f"{target.name}: a video does not fit into one picture; "
                f"write {path.with_name(path.stem + '_%04d' + path.suffix)} for all of them"
            )
        if target.kind == "pictures" and info.sample_aspect_ratio != 1:
            # PNG and JPEG have a place for it, but FFmpeg reads both the wrong way round.
            _logger.warning(
                "%s: the pixels are not square, and pictures cannot say so: show them at %dx%d",
                target.name,
                round(info.width * info.sample_aspect_ratio),
                info.height,
            )
        self._folder = AtomicFile(target)
        self._numbered = target.kind == "pictures"
        self._names: list[str] = []
        try:
            self._folder.path.mkdir()
        except OSError as error:
            raise sink_error(self.name, error) from error

    def write(self, item: Frame | TrackPacket) -> None:
        """Write one picture; other tracks have no place in pictures."""
        if isinstance(item, TrackPacket):
            return
        self.frames_written += 1
        name = self._folder.final.name
        if self._numbered:
            name = NUMBER.sub(lambda match: match[0] % self.frames_written, name, count=1)
        try:
            with (self._folder.path / name).open("wb") as file:
                for data in encode_strips(self._folder.final.suffix.lower(), item):
                    file.write(data)
                    self.bytes_written += len(data)
        except OSError as error:
            raise sink_error(self.name, error) from error
        self._names.append(name)

    def close(self) -> None:
        """Move all pictures to their place."""
        if not self._names:
            self.abort()
            raise SinkError(f"{self.name}: not one frame came, so that nothing is written")
        self._folder.keep_all(self._names)

    def discard(self) -> None:
        """Remove what was written; from any thread. Never raises."""
        self._folder.discard()
