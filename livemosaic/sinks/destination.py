"""Outputs as they were named, before anything is opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from ..control.state import Control
    from ..media.frame import StreamInfo
    from ..mosaic.mosaic import Mosaic
    from .base import Sink

__all__ = [
    "ENCODER_OPTIONS",
    "STANDARD_OUTPUT",
    "Destination",
    "FileOptions",
    "RunContext",
    "are_for_screen",
    "distribute_options",
]

STANDARD_OUTPUT = "pipe:1"

ENCODER_OPTIONS = ("codec", "preset", "crf")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How to write an output.

    Attributes
    ----------
    codec, preset, crf : of the video encoder; None: its defaults, see `formats`
    overwrite : an existing file may be replaced
    format : the container for standard output, and for a path without a known ending
    source_name : the input, which must not be the output as well
    threads : of the video encoder, 0: as many as there are processors
    zeroed : the first frame is at time 0, and packets before it are left out
    timeout_s : for a receiver on the network to answer, and to take data
    """

    codec: str | None = None
    preset: str | None = None
    crf: float | None = None
    overwrite: bool = False
    format: str | None = None
    source_name: str | None = None
    threads: int = 0
    zeroed: bool = False
    timeout_s: float = 10


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run that a sink is opened for, for sinks that take part in it.

    Attributes
    ----------
    rate : constant frames/s of the output; None: the input's own times
    mosaic : makes the pictures
    control : changes the run
    """

    rate: Fraction | None = None
    mosaic: Mosaic | None = None
    control: Control | None = None


@dataclass(frozen=True, kw_only=True)
class Destination(ABC):
    """An output: `parse_output` makes it, `check` refuses it early, and `open` creates its sink.

    Attributes
    ----------
    name : for messages, without credentials
    location : a path, address or device, which two outputs must not share; empty if they may
    is_display : shows pictures while the run goes on and keeps none: a window, a virtual camera
    for_screen : without a size, pictures are made for a screen, not as large as for a file
    compact : the same, but only if all other outputs are compact, too
    has_keys : its keys change the run
    encodes : it has a video encoder, or makes recordings; others have no use for `ENCODER_OPTIONS`
    """

    name: str
    options: FileOptions = FileOptions()
    location: str = ""
    is_display: bool = False
    for_screen: bool = False
    compact: bool = False
    has_keys: bool = False
    encodes: bool = False

    def without_options(self, names: Iterable[str]) -> Self:
        """The same without some options."""
        others: dict[str, Any] = dict.fromkeys(names)
        return replace(self, options=replace(self.options, **others))

    def supported_options(self) -> set[str]:
        """Which of `codec`, `preset` and `crf` go with this output, given the others."""
        return set()

    def check(self) -> None:  # noqa: B027
        """Refuse what cannot work, before anything is decoded or created.

        Raises
        ------
        UsageError
            the output and its options do not go together, a file exists, or it is the input
        SinkError
            the folder is missing, or cannot be written to
        """

    def check_stream(self, info: StreamInfo) -> None:  # noqa: B027
        """Raise `UsageError` if the output cannot take such a stream."""

    @abstractmethod
    def open(self, info: StreamInfo, context: RunContext) -> Sink:
        """Create the sink for a stream.

        Raises
        ------
        UsageError
            the encoder refuses its options
        SinkError
            the output cannot be created
        """


def are_for_screen(destinations: Sequence[Destination]) -> bool:
    """Whether pictures without a size are made for a screen.

    A stream as wide as a file takes several times the bits and comes later. So large a GIF is tens
    of megabytes for each second.
    """
    return any(it.for_screen for it in destinations) or all(it.compact for it in destinations)


def distribute_options(destinations: Sequence[Destination]) -> list[Destination]:
    """Leave an encoder option only to the destinations that support it.

    An option that no destination supports stays with all, so that `check` refuses it.
    """
    supported = [destination.supported_options() for destination in destinations]
    shared = set().union(*supported)
    return [
        destination.without_options(shared - own)
        for destination, own in zip(destinations, supported, strict=True)
    ]
