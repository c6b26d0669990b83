"""Outputs: every kind of sink, and `parse_output`, which finds the right one."""

from __future__ import annotations

import re
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..argument import path_text, positive, take
from ..media.urls import local_path, lower_scheme
from .base import Destination, FileOptions, RunContext, Sink, Window

if TYPE_CHECKING:
    from ..media.frame import StreamInfo

__all__ = [
    "Destination",
    "FileOptions",
    "Kind",
    "Sink",
    "Window",
    "open_sink",
    "output_examples",
    "parse_output",
    "register",
]


class Kind(NamedTuple):
    """A kind of sink."""

    outputs: str  # a regular expression for the outputs that it may be
    module: str  # in this package, or its full name
    examples: dict[str, str]  # for the help and the documentation


# Every kind of sink. The modules are tried in this order. Each has a function
#
#     parse_output(spec: str, options: FileOptions) -> Destination | None
#
# that returns None to leave the output to the next kind. Only modules that are tried are imported.
# fmt: off
_KINDS = [
    Kind(r"null", ".null", {"nothing (to measure)": "null"}),
    Kind(r"vcam(:.*)?", ".virtual_camera", {"virtual camera": "vcam vcam:/dev/video11"}),
    Kind(r"(?i:.*\.(png|webp|jpe?g))", ".image",
         {"picture file": "out.png .jpg .webp", "numbered pictures": "out_%04d.png"}),
    Kind(r".*", ".file", {"video file": "out.mp4 .mkv .mov .webm .avi .gif",
                          "stream": "rtmp://server/live/key rtsp://... udp://... tcp://... "
                                    "http://server/out.ts",
                          "standard output": "-"}),
]
# fmt: on


def register(kind: Kind) -> None:
    """Add a kind of sink of another package. It is tried first."""
    _KINDS.insert(0, kind)


def output_examples() -> dict[str, str]:
    """Names of all outputs, each with examples."""
    return {name: text for kind in _KINDS[::-1] for name, text in kind.examples.items()}


def parse_output(spec: str | Path, options: FileOptions | None = None) -> Destination:
    """Find out what an output is. Nothing is opened or created.

    `UsageError` if `spec` is not valid, `SinkError` if it is a folder.
    """
    path = lower_scheme(local_path(path_text("output", spec)))
    take("options", options, FileOptions | None, "FileOptions")
    for kind in _KINDS:
        if re.fullmatch(kind.outputs, path, re.DOTALL):
            parse = import_module(kind.module, __name__).parse_output
            destination: Destination | None = parse(path, options or FileOptions())
            if destination is not None:
                return destination
    raise AssertionError("the last kind takes every output")


def open_sink(
    spec: str | Path,
    info: StreamInfo,
    *,
    options: FileOptions | None = None,
    rate: Fraction | None = None,
) -> Sink:
    """Open an output.

    Parameters
    ----------
    spec : a path, an address, `-` for standard output, a virtual camera (`vcam`,
        `vcam:/dev/video10`), or `null`
    info : of the frames that will be written
    rate : frames/s of a virtual camera, 30 by default

    Raises
    ------
    UsageError
        when `spec` and `options` are not valid together, or the output cannot take such frames
    SinkError
        when the output cannot be created
    """
    from ..media.frame import StreamInfo

    destination = parse_output(spec, options)
    take("info", info, StreamInfo, "a StreamInfo")
    if rate is not None:
        positive("rate", rate)
    destination.check()
    destination.check_stream(info)
    return destination.open(info, RunContext(rate=rate))
