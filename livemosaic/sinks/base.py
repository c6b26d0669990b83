"""The base classes of all kinds of sinks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

from ..argument import number, take
from ..errors import SinkError
from ..exclusive import exclusive

if TYPE_CHECKING:  # brings NumPy
    from ..control.state import Control
    from ..media.frame import Frame, StreamInfo, TrackPacket
    from ..mosaic.mosaic import Mosaic

one_thread = exclusive("one thread writes to a sink")  # decorates `write` and `close`

ENCODER_OPTIONS = ("codec", "preset", "crf")
STANDARD_OUTPUT = "pipe:1"  # as FFmpeg calls it
AUTO = "auto"  # as a codec: a hardware encoder that works here, else the default


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How to write an output. Each kind of sink reads the options that concern it.

    Attributes
    ----------
    codec, preset, crf : of the video encoder; None: its default, see `formats`; codec `auto`: see
        `Destination.resolved`
    overwrite : replace existing files
    format : container for standard output, and for a path without a known ending
    source_name : the input, which must not be the output
    keep_hdr : keep HDR and wide colours, see `StreamInfo.deep`
    zeroed : the first frame is at time 0; packets before it are left out
    timeout_s : for a receiver on the network to answer, and to take data
    """

    codec: str | None = None
    preset: str | None = None
    crf: float | None = None
    overwrite: bool = False
    format: str | None = None
    source_name: str | None = field(default=None, repr=False)  # it may contain secrets
    zeroed: bool = False
    keep_hdr: bool = False
    timeout_s: float = 10

    def __post_init__(self) -> None:
        for name in ("codec", "preset", "format", "source_name"):
            take(name, getattr(self, name), str | None, "a text")
        if self.crf is not None:
            number("crf", self.crf, 0)
        number("timeout_s", self.timeout_s, 0)


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run that a sink belongs to, for sinks that take part in it."""

    rate: Fraction | None = None  # constant frames/s of the output; None: the times of the input
    mosaic: Mosaic | None = None
    control: Control | None = None
    display: int | None = None  # the monitor for a window, from 1; None: the system's choice


class Sink(ABC):
    """A place that frames go to. A subclass needs `write` only.

    The constructor opens the sink. One thread at a time makes all calls but `hurry` and `discard`;
    sinks of this program refuse others with `UsageError`. Errors are `SinkError`. Exactly one of
    `close` and `abort` ends a sink, or `discard` when its thread is stuck. `with sink:` closes it,
    or aborts it after an exception.

    Attributes
    ----------
    name : for messages and reports, without credentials
    latest_only : True if only the newest frame counts, as in a window; False if every frame does,
        as in a file
    rate : constant frames/s that the sink needs; None if it takes frames as they come
    dropped : frames without a place in the result
    repeated : how often the sink itself has repeated a frame
    codec : FFmpeg's name of the video encoder; None if there is none
    """

    name: str = "sink"
    latest_only: bool = False
    rate: Fraction | None = None
    dropped: int = 0
    repeated: int = 0
    codec: str | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def needs_every_frame(self) -> bool:
        """Whether the governor must drop no frame of a live input, to keep the latency limit."""
        return not self.latest_only

    def watch_readers(self) -> Callable[[], bool] | None:
        """A function that tells whether a program reads the pictures now; None if unknown.

        The function works until the sink ends, on any thread, and says False from then on.
        """
        return None

    @abstractmethod
    def write(self, item: Frame | TrackPacket) -> None:
        """Take a frame, or a packet of another track. The frame's arrays are not read later."""

    def close(self) -> None:  # noqa: B027
        """Finish: write what is pending, and give the result its name."""

    def abort(self) -> None:
        """Give up, and leave nothing behind. Never raises."""
        self.discard()

    def hurry(self) -> None:  # noqa: B027
        """The run ends: fill no long pause, and wait only a moment for another machine.

        On any thread; never raises.
        """

    def discard(self) -> None:  # noqa: B027
        """Remove what was written, on any thread, even during another call. Never raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is None:
            self.close()
        else:
            self.abort()


class Window(Sink):
    """A sink that lives on the main thread, where windows and their events are.

    The thread that runs the pipeline calls `write` and `pump` in turns.

    Attributes
    ----------
    on_lost : called with an error when the window system ends the process, in the middle of another
        call; the process ends when it returns. The pipeline sets it, to finish the other outputs
    """

    latest_only = True
    on_lost: Callable[[SinkError], None] | None = None

    @abstractmethod
    def pump(self) -> None:
        """Process keys and clicks; called at least 30 times a second."""


@dataclass(frozen=True, kw_only=True)
class Destination(ABC):
    """An output before it is opened: what it is, what it accepts, and how to open it."""

    name: str  # for messages, without credentials
    options: FileOptions = FileOptions()
    # A path, address or device that two outputs must not share; it may contain secrets.
    location: str = field(default="", repr=False)
    is_display: bool = False  # shows pictures and keeps none: a window, a virtual camera
    for_screen: bool = False  # without a size, pictures are made for a screen, not for a file
    compact: bool = False  # the same, if all other outputs are compact
    tells_readers: bool = False  # see `Sink.watch_readers`
    has_keys: bool = False  # that change the run
    encodes: bool = False  # uses `ENCODER_OPTIONS`, for itself or for recordings

    @property
    def keeps_depth(self) -> bool:
        """Whether pictures of 10 bits stay so."""
        return False

    @property
    def keeps_hdr(self) -> bool:
        """Whether HDR stays, as `FileOptions.keep_hdr` asks for."""
        return False

    def without_options(self, names: Iterable[str]) -> Self:
        """The same destination without some options."""
        unset: dict[str, Any] = dict.fromkeys(names)
        return replace(self, options=replace(self.options, **unset))

    def supported_options(self) -> set[str]:
        """Which of `codec`, `preset` and `crf` the output supports, given the other two."""
        return set()

    def check(self) -> None:  # noqa: B027
        """Refuse what cannot work, before anything is decoded or created.

        `UsageError` if the output does not support its options, exists or is the input, `SinkError`
        if its folder is missing or cannot be written to.
        """

    def check_stream(self, info: StreamInfo) -> None:  # noqa: B027
        """Raise `UsageError` if the output cannot take such a stream."""

    def resolved(self, info: StreamInfo) -> Self:
        """The same destination with the codec `auto` replaced by what this machine has for `info`,
        which are the frames that will be written. `open` does it, too."""
        return self

    @abstractmethod
    def open(self, info: StreamInfo, context: RunContext) -> Sink:
        """Open the sink; `UsageError` if the encoder refuses its options, `SinkError` if the output
        cannot be created."""


def are_for_screen(destinations: Sequence[Destination]) -> bool:
    """Whether pictures without a size are made for a screen.

    A stream as wide as a file takes several times the bits and comes later. A GIF as wide as a file
    takes tens of megabytes per second.
    """
    return any(it.for_screen for it in destinations) or all(it.compact for it in destinations)


def distribute_options(destinations: Sequence[Destination]) -> list[Destination]:
    """Take encoder options from the destinations that do not support them.

    An option that no destination supports stays with all, and `check` refuses it.
    """
    supported = [destination.supported_options() for destination in destinations]
    shared = set().union(*supported)
    return [
        destination.without_options(shared - own)
        for destination, own in zip(destinations, supported, strict=True)
    ]
