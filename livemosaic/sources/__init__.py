"""Where frames come from. Importing this package is cheap; a source is imported when asked for."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Source
    from .still import LoopedStill

__all__ = ["LoopedStill", "open_source"]


def open_source(
    spec: str,
    *,
    rate: Fraction | None = None,
    threads: int = 0,
    reconnect: str | int | None = None,
    capture: tuple[int, int, Fraction] | None = None,
) -> Source:
    """Open what `spec` names.

    Parameters
    ----------
    spec : a path, a numbered sequence (`img_%04d.png`), an address, `-` for standard input, a
        camera (`webcam`, `webcam:NAME`, `/dev/video0`), or a test picture (`pattern:1280x720@30`)
    rate : frames/s of a numbered sequence, 25 by default
    threads : of the decoder, 0 for as many as there are processors
    reconnect : how often to try again when a live input is lost: "never", "always", or so many
        times in a row. None: an error at the start is one, later it is tried always
    capture : width, height and frames/s asked of a webcam, 1280x720 at 30 by default

    Raises
    ------
    SourceError
        when it cannot be opened, or has no picture
    UsageError
        when `spec` makes no sense
    """
    if spec == "pattern" or spec.startswith(("pattern:", "pattern@")):
        from .pattern import PatternSource

        return PatternSource(spec)
    if "://" in spec:
        from .network.protocols import find_protocol
        from .network.stream import FiniteError, stream_opener
        from .reconnect import Reconnecting

        address = find_protocol(spec)
        if address is not None:
            with contextlib.suppress(FiniteError):  # a file: nothing may be lost of it
                opener = stream_opener(address, threads=threads)
                return Reconnecting(opener, name=address.name, reconnect=reconnect)
    from .camera.devices import is_camera

    if is_camera(spec):
        from .camera.webcam import DEFAULT_CAPTURE, webcam_opener
        from .reconnect import Reconnecting

        camera = webcam_opener(spec, capture=capture or DEFAULT_CAPTURE)
        return Reconnecting(camera, name=spec, reconnect=reconnect)
    from .file import FileSource

    return FileSource(spec, rate=rate, threads=threads)


def __getattr__(name: str) -> Any:
    if name == "LoopedStill":
        from .still import LoopedStill

        return LoopedStill
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
