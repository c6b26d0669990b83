"""Inputs: every kind of source, and `open_source`, which finds the right one."""

from __future__ import annotations

import re
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from ..argument import path_text
from ..errors import OptionError
from ..media.urls import local_path, lower_scheme, public_name
from .base import DEFAULT_CAPTURE, CaptureMode, Source, SourceOptions

__all__ = ["Source", "SourceOptions", "check_input", "input_examples", "input_kind", "open_source"]


class _Kind(NamedTuple):
    inputs: str  # a regular expression for the inputs that it may open
    module: str  # in this package
    examples: dict[str, str]  # for the help and the documentation


# Every kind of source. The modules are tried in this order. Each has a function
#
#     open_input(spec: str, options: SourceOptions) -> Source | None
#
# that returns None to leave the input to the next kind. Only modules that are tried are imported.
# fmt: off
_KINDS = (
    _Kind(r"pattern([:@].*)?", "pattern", {"test picture": "pattern:1280x720@30"}),
    _Kind(r"(?i:https?)://.*", "network.sites",
          {"page of a video site": "https://www.youtube.com/watch?v=..."}),
    _Kind(r"[^/]+://.*", "network.stream",
          {"stream": "rtsp://camera/live rtmp://... http://... udp://..."}),
    _Kind(r"webcam(:.*)?|/dev/(video|v4l/).*", "camera.webcam",
          {"webcam": "webcam webcam:NAME webcam:2 /dev/video2"}),
    _Kind(r"screen(:.*)?", "screen",
          {"screen": "screen screen:2 screen:1280x720+0+0"}),
    _Kind(r".*", "file", {"video or picture file": "in.mp4 photo.jpg",
                          "numbered pictures": "in_%04d.png", "standard input": "-"}),
)
# fmt: on


def input_examples() -> dict[str, str]:
    """Names of all inputs, each with examples."""
    return {name: text for kind in _KINDS[::-1] for name, text in kind.examples.items()}


def input_kind(spec: str) -> str:
    """The kind of an input: the module that is the first to try to open it."""
    return next(kind.module for kind in _KINDS if re.fullmatch(kind.inputs, spec, re.DOTALL))


def check_input(spec: str) -> None:
    """Raise `SourceError` if an input is a file that cannot be read; nothing is opened."""
    if spec != "-" and input_kind(local_path(spec)) == "file":
        from .input_paths import check_input

        check_input(spec)


def open_source(
    spec: str | Path,
    *,
    rate: Fraction | None = None,
    threads: int = 0,
    reconnect: str | int | None = None,
    capture: CaptureMode | None = None,
    alpha: bool = False,
    keep_depth: bool = False,
    keep_hdr: bool = False,
    on_demand: bool = False,
) -> Source:
    """Open an input.

    Parameters
    ----------
    spec : a path, a numbered sequence (`img_%04d.png`), an address, `-` for standard input, a
        camera (`webcam`, `webcam:NAME`, `/dev/video0`), a screen (`screen`, `screen:2`,
        `screen:1280x720+0+0`), or a test picture (`pattern:1280x720@30`)
    rate : frames/s of a numbered sequence, 25 by default
    threads : of the decoder, 0 for as many as there are processors
    reconnect : how often to try again after a live input was lost: "never", "always", or a number
        of attempts in a row. None: an error at the start is final, later ones are tried again
    capture : width, height and frames/s to ask a webcam for, 1280x720 at 30 by default; of a
        screen, only the rate
    alpha : keep transparent parts of a file, see `Frame.alpha`; else they become an even grey
    keep_depth, keep_hdr : keep a file's pictures of 10 bits, or HDR, in `Frame.deep`, too
    on_demand : a webcam is closed while no program reads the virtual camera that the pipeline sends
        to, see `OnDemandSource`; other inputs are refused

    Raises
    ------
    SourceError
        when the input cannot be opened, or has no picture
    UsageError
        when an argument is not valid
    """
    spec = lower_scheme(path_text("spec", spec))
    if on_demand and input_kind(spec) != "camera.webcam":
        problem = f"{public_name(spec)} is no webcam, which could be closed; leave it out"
        raise OptionError("on_demand", on_demand, problem)
    options = SourceOptions(
        rate, threads, reconnect, capture or DEFAULT_CAPTURE, alpha, keep_depth, keep_hdr, on_demand
    )
    for kind in _KINDS:
        if re.fullmatch(kind.inputs, spec, re.DOTALL):
            module = import_module(f".{kind.module}", __name__)
            source: Source | None = module.open_input(spec, options)
            if source is not None:
                return source
    raise AssertionError("the last kind takes every input")
