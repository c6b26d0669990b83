"""Which films cannot be made in segments, found out before anything is made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ..control.options import RunOptions
from ..errors import OptionError
from ..media.frame import StreamInfo
from ..media.urls import local_path
from ..session import open_pipeline
from ..sinks import formats
from ..sinks.base import Destination
from ..sinks.file import FileDestination
from ..sinks.hardware import hardware_of
from ..sources import input_kind
from ..sources.base import Source
from .engine import check_cluster
from .segment import SegmentDestination, SegmentSink, film_info, without_part

if TYPE_CHECKING:
    from ..gallery import GallerySpec

_logger = logging.getLogger("livemosaic")

_OF_ONE_RUN = ("map", "preview", "realtime", "web", "osc")


def refuse(options: RunOptions, destinations: Sequence[Destination]) -> None:
    """Raise `OptionError` for a run that cannot be made in segments."""
    if options.cluster is not None:
        check_cluster(options.cluster)
    for name in _OF_ONE_RUN:
        value = getattr(options, name)
        if value and name in options.explicit:
            problem = "it is for a film that one run makes; leave it out, or do not make segments"
            raise OptionError(name, value, problem)
    if input_kind(local_path(options.input)) != "file" or options.input == "-":
        raise refused(options, "only a video file can be read again from any place; name one")
    if len(destinations) != 1:
        raise refused(options, "it makes one file; name one output")
    (destination,) = destinations
    if not isinstance(destination, FileDestination) or not destination.is_file:
        problem = f"{destination.name} is no video file; name one, such as out.mp4"
        raise refused(options, problem)
    # Before it is opened: where there is no such hardware, its lack would be the error.
    if (codec := destination.options.codec) is not None and hardware_of(codec) is not None:
        raise _refused_codec(options, codec)


def refused(options: RunOptions, problem: str) -> OptionError:
    """The error for a film that cannot be made in segments."""
    if options.cluster is not None:
        return OptionError("cluster", options.cluster, problem)
    return OptionError("resume", True, problem)


def refuse_source(options: RunOptions, source: Source) -> None:
    """Raise `OptionError` for an input that is no film."""
    if source.info.live or source.info.still:
        kind = "live" if source.info.live else "a single picture"
        raise refused(options, f"{source.name} is {kind}; name a video file")


def try_out(
    options: RunOptions,
    destination: FileDestination,
    source: Source,
    gallery: GallerySpec,
    *,
    named: Callable[[str], str],
) -> SegmentSink:
    """Open everything once, as each worker will: so errors come, and warnings, once and now.

    The result is closed.
    """
    sinks: list[SegmentSink] = []
    segment = SegmentDestination.of(destination, None, 0, on_open=sinks.append)
    info = film_info(source.info, options.fps, frames=source.info.frames or 0)
    with ExitStack() as undo:
        described = _Described(source, info)
        open_pipeline(
            described, [segment], without_part(options), undo, gallery=gallery, named=named
        )
    (sink,) = sinks
    _refuse_codec(options, destination, sink)
    return sink


def _refuse_codec(options: RunOptions, destination: FileDestination, sink: SegmentSink) -> None:
    """Raise `OptionError` if segments by this encoder, or in this container, do not join."""
    format, name = destination.format, sink.codec
    if sink.video.fixed_rate or sink.video.is_gif:
        what = format.muxer if sink.video.is_gif or name == format.codec else f"codec {name}"
        problem = f"{what} has no times, at which segments could be joined"
        raise refused(options, f"{problem}; write .mp4 or .mkv by libx264")
    if formats.encoder_defaults(destination.options, sink.encoder).portable is None:
        raise _refused_codec(options, name)
    if destination.options.codec == "auto":
        reason = "hardware differs from machine to machine"
        _logger.info("%s: codec auto takes %s: %s", sink.name, name, reason)


def _refused_codec(options: RunOptions, name: str | None) -> OptionError:
    known = [it for it, encoder in formats.ENCODERS.items() if encoder.portable is not None]
    problem = f"segments by the codec {name} cannot be joined exactly"
    return refused(options, f"{problem}; use {', '.join(known)}")


class _Described(Source):
    """Stands for a source with another description. Nothing reads or closes it."""

    def __init__(self, source: Source, info: StreamInfo) -> None:
        self.name, self.info = source.name, info

    def __iter__(self) -> Iterator[Any]:
        return iter(())
