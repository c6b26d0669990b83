"""Image files: a single picture, or a numbered sequence."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import SinkError, UsageError
from ..media.ffmpeg import sink_error
from ..media.frame import Frame, StreamInfo, TrackPacket
from ..media.urls import is_url
from .atomic_file import AtomicFile
from .base import Sink
from .destination import Destination, FileOptions, RunContext
from .image_strips import encode_strips
from .output_paths import NUMBER, check_path, refuse_folder

__all__ = ["ImageSink", "parse_output"]

_logger = logging.getLogger("livemosaic")


@dataclass(frozen=True, kw_only=True)
class ImageDestination(Destination):
    """`out.png`, or `out_%04d.png` for a numbered sequence."""

    @property
    def is_numbered(self) -> bool:
        return NUMBER.search(Path(self.location).name) is not None

    def check(self) -> None:
        options = self.options
        if options.codec is not None or options.preset is not None or options.crf is not None:
            raise UsageError(
                f"{self.name}: pictures take no --codec, --preset or --crf; leave it out"
            )
        check_path(self.name, self.location, options, numbered=self.is_numbered)

    def check_stream(self, info: StreamInfo) -> None:
        if not self.is_numbered and not info.still:
            path = Path(self.name)
            raise UsageError(
                f"{self.name}: a video does not fit into one picture; "
                f"write {path.with_name(path.stem + '_%04d' + path.suffix)} for all of them"
            )

    def open(self, info: StreamInfo, context: RunContext) -> ImageSink:
        if self.is_numbered and info.sample_aspect_ratio != 1:
            # PNG and JPEG have a place for it, but FFmpeg reads both the wrong way round.
            _logger.warning(
                "%s: the pixels are not square, and pictures cannot say so: show them at %dx%d",
                self.name,
                round(info.width * info.sample_aspect_ratio),
                info.height,
            )
        return ImageSink(self)


def parse_output(spec: str, options: FileOptions) -> ImageDestination | None:
    if is_url(spec):
        return None
    refuse_folder(spec, example="out.png")
    return ImageDestination(name=spec, options=options, location=os.path.realpath(spec))


class ImageSink(Sink):
    """Writes a picture, or several with numbers from 1.

    The pictures are written to a hidden folder beside their place, and appear when all are there.

    Raises
    ------
    SinkError
        the disk refuses
    """

    def __init__(self, destination: ImageDestination) -> None:
        self.name = destination.name
        self.frames_written = 0
        self.bytes_written = 0
        self._folder = AtomicFile(
            destination.location, name=self.name, overwrite=destination.options.overwrite
        )
        self._is_numbered = destination.is_numbered
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
        if self._is_numbered:
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
        self._folder.commit(*self._names)

    def discard(self) -> None:
        """Remove what was written; from any thread. Never raises."""
        self._folder.discard()
