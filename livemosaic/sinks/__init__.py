"""Outputs: every kind of sink, and `parse_output`, which finds the right one."""

from __future__ import annotations

import re
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING

from ..media.urls import local_path
from .base import Destination, FileOptions, RunContext, Sink, Window

if TYPE_CHECKING:
    from ..media.frame import StreamInfo

__all__ = ["Destination", "FileOptions", "Sink", "Window", "open_sink", "parse_output", "register"]

# Every kind of sink: the outputs that it may be, and its module. The modules are tried in this
# order. Each has a function
#
#     parse_output(spec: str, options: FileOptions) -> Destination | None
#
# that returns None to leave the output to the next kind. Only modules that are tried are imported.
_KINDS = [
    (r"null", ".null"),
    (r"vcam(:.*)?", ".virtual_camera"),
    (r"(?i:.*\.(png|jpe?g))", ".image"),
    (r".*", ".file"),
]


def register(outputs: str, module: str) -> None:
    """Add a kind of sink of another package. It is tried first.

    `outputs` is a regular expression for all of the output, `module` the full name of a module with
    a `parse_output`.
    """
    _KINDS.insert(0, (outputs, module))


def parse_output(spec: str, options: FileOptions | None = None) -> Destination:
    """Find out what an output is. Nothing is opened or created.

    `UsageError` if `spec` is not valid, `SinkError` if it is a folder.
    """
    path = local_path(spec)
    for outputs, module in _KINDS:
        if re.fullmatch(outputs, path, re.DOTALL):
            parse = import_module(module, __name__).parse_output
            destination: Destination | None = parse(path, options or FileOptions())
            if destination is not None:
                return destination
    raise AssertionError("the last kind takes every output")


def open_sink(
    spec: str,
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
    destination = parse_output(spec, options)
    destination.check()
    destination.check_stream(info)
    return destination.open(info, RunContext(rate=rate))
