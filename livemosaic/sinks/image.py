"""Image files: a single picture, or a numbered sequence."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError, SinkError, UsageError, problem_of
from ..media.frame import Frame, StreamInfo, TrackPacket
from ..media.paths import is_numbered, numbered_name
from ..media.urls import is_url
from .atomic_file import AtomicFile, check_path, refuse_folder, resolved, sink_errors
from .base import ENCODER_OPTIONS, Destination, FileOptions, RunContext, Sink, one_thread
from .image_strips import encode_strips

_MAX_WEBP = 16_383  # pixels of width or height

_logger = logging.getLogger("livemosaic")


@dataclass(frozen=True, kw_only=True)
class ImageDestination(Destination):
    """`out.png`, or `out_%04d.png` for a numbered sequence."""

    @property
    def is_numbered(self) -> bool:
        return is_numbered(Path(self.location))

    def check(self) -> None:
        for option in ENCODER_OPTIONS:
            value = getattr(self.options, option)
            if value is not None:
                raise OptionError(option, value, f"{self.name}: pictures have no {option}")
        check_path(self, numbered=self.is_numbered)

    def check_stream(self, info: StreamInfo) -> None:
        if not info.still and not self.is_numbered:
            path = Path(self.name)
            raise UsageError(
                f"{self.name}: a video does not fit into one picture; "
                f"write {path.with_stem(f'{path.stem}_%04d')} for all of them"
            )

        if (
            Path(self.location).suffix.lower() == ".webp"
            and max(info.width, info.height) > _MAX_WEBP
        ):
            raise UsageError(f"{self.name}: WebP holds {_MAX_WEBP} pixels a side; write .png")

    def open(self, info: StreamInfo, context: RunContext) -> ImageSink:
        self.warn_of_shape(info)
        return ImageSink(self, live=info.live)

    def warn_of_shape(self, info: StreamInfo) -> None:
        """Warn if the pixels are not square."""
        if info.sample_aspect_ratio != 1:
            # PNG and JPEG can store it, but FFmpeg reads both the wrong way round.
            _logger.warning(
                "%s: the pixels are not square, which pictures cannot store: show them at %dx%d",
                self.name,
                round(info.width * info.sample_aspect_ratio),
                info.height,
            )


def parse_output(spec: str, options: FileOptions) -> ImageDestination | None:
    if is_url(spec):
        return None
    refuse_folder(spec, example="out.png")
    return ImageDestination(name=spec, options=options, location=resolved(spec))


class ImageSink(Sink):
    """Writes a picture, or several with numbers from 1.

    A hidden folder beside their place holds the pictures until all are complete. Those of a live
    input cannot be made again, so the pictures before a full disk are kept.
    """

    def __init__(self, destination: Destination, *, live: bool = False) -> None:
        self.name, self._path, self._live = destination.name, Path(destination.location), live
        self._folder = AtomicFile(destination, folder=True, recording=live)
        self._names: list[str] = []

    @one_thread
    def write(self, item: Frame | TrackPacket) -> None:
        """Write a picture; there is no place for other tracks."""
        if isinstance(item, Frame):
            name = numbered_name(self._path, len(self._names) + 1)
            with self._kept_on_error():
                self._add(name, encode_strips(self._path.suffix.lower(), item))

    def _add(self, name: str, parts: Iterable[bytes]) -> None:
        with sink_errors(self.name), self._folder.open_new(name) as file:
            file.writelines(parts)
        self._names.append(name)

    @contextlib.contextmanager
    def _kept_on_error(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._live or not self._names:
                raise
            self._folder.commit(*self._names)
            problem = problem_of(error, name=self.name)
            raise SinkError(
                f"{problem}; the {len(self._names)} pictures before are kept"
            ) from error

    @one_thread
    def close(self) -> None:
        """Move all files to their place."""
        if not self._names:
            self.abort()
            raise SinkError(f"{self.name}: no frames received; nothing was written")
        self._folder.commit(*self._names)

    def discard(self) -> None:
        self._folder.remove()
