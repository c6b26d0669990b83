"""The base class of all sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Self

from ..argument import positive, take, whole

if TYPE_CHECKING:
    from ..media.frame import Item, StreamInfo  # brings NumPy

EARLY_S = 5.0  # before a part of a file it is read, see `Source.skip_to`

CaptureMode = tuple[int, int, Fraction]  # width, height, frames/s
DEFAULT_CAPTURE: CaptureMode = (1280, 720, Fraction(30))  # what video calls expect


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The options of `open_source`; each kind of source reads those that concern it."""

    rate: Fraction | None = None
    threads: int = 0
    reconnect: str | int | None = None
    capture: CaptureMode = DEFAULT_CAPTURE
    alpha: bool = False
    keep_depth: bool = False
    keep_hdr: bool = False
    on_demand: bool = False

    def __post_init__(self) -> None:
        if self.rate is not None:
            positive("rate", self.rate)
        whole("threads", self.threads, 0)
        take("capture", self.capture, tuple, "width, height and frames/s")


class Source(ABC):
    """A source of frames. A subclass needs a name, an info and `__iter__`.

    The constructor opens the source and decodes the first frame, so that no output is created for
    an input without a picture. A source is iterated once, by one thread at a time. It yields all
    its frames, and the packets of its other tracks in the container's order. A live source yields a
    `StatusEvent` when no frame will come for a while. Errors are `SourceError`.

    Attributes
    ----------
    name : as the user wrote it, without credentials
    info : what its frames are like
    """

    name: str
    info: StreamInfo

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'name', '')!r}>"

    @property
    def bad_frames(self) -> int:
        """Frames (or packets) that could not be decoded so far."""
        return 0

    @property
    def dropped(self) -> int:
        """Frames that a live source dropped so far, because decoding did not keep up."""
        return 0

    @property
    def reconnects(self) -> int:
        """How often a live source has come back so far."""
        return 0

    @abstractmethod
    def __iter__(self) -> Iterator[Item]: ...

    def skip_to(
        self, time_s: Fraction, items: Iterator[Item], *, early_s: float = EARLY_S
    ) -> Iterator[Item]:
        """Go on from a frame at or before a time, if that is quicker than to read all up to there.

        `items` is the iteration, of which the first frame was taken; returns the one to go on with.
        It begins `early_s` before the time or earlier: a subtitle of that time may begin so early.
        """
        return items

    def interrupt(self) -> None:  # noqa: B027
        """End the iteration soon, even while it waits; from any thread, several times.

        Sources that never wait, such as files, need not do anything.
        """

    def close(self) -> None:  # noqa: B027
        """Release the file or device; may be called twice.

        Another thread than the iterating one calls this only after the iteration has ended.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
