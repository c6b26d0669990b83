"""The items of a stream: frames, packets of other tracks, and the stream's description."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from numbers import Integral, Rational
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..argument import positive, take, whole
from ..errors import UsageError
from .colour import U8, Colour, bgr_to_i420, i420_to_bgr, over_grey
from .deep import U16, DeepInfo, DeepPlanes

T = TypeVar("T")

# At this width, even a face that fills the picture is only a few pixels.
_PIXELATED_COLUMNS = 16


def check_bgr(picture: object) -> U8:
    """The picture; `UsageError` for anything but uint8 (height, width, 3), such as None of
    cv2.imread."""
    if not isinstance(picture, np.ndarray):
        raise UsageError(
            f"a picture is a NumPy array or a Pillow image, not {type(picture).__name__}"
            + (": cv2.imread gives None for a file that it cannot read" if picture is None else "")
        )
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise UsageError(
            "a picture is uint8 (height, width, 3), BGR; convert what is "
            f"{picture.dtype} {picture.shape}"
        )
    return picture


def check_plane(name: str, plane: object, shape: tuple[int, ...]) -> None:
    """Raise `UsageError` for a plane that code in C could not read."""
    if not (
        isinstance(plane, np.ndarray)
        and plane.dtype == np.uint8
        and plane.ndim == 2
        and plane.size
        and plane.shape == shape
        and (plane.strides[1] == 1 or plane.shape[1] == 1)
    ):
        kind = type(plane).__name__
        if isinstance(plane, np.ndarray):
            kind = f"{plane.dtype} {plane.shape}"
        raise UsageError(
            f"{name}: it is {kind}; a plane is uint8 (rows, columns){f' {shape}' * (name != 'y')} "
            "with adjacent samples, see Frame"
        )


class DeepPicture(NamedTuple):
    """A picture in 10 bits: uint16 planes of 4:2:0, 0..1023, as those of a `Frame`."""

    y: U16
    u: U16
    v: U16
    colour: Colour

    @property
    def planes(self) -> DeepPlanes:
        return self.y, self.u, self.v

    def changed(self, change: Callable[[Any], Any]) -> DeepPicture:
        """The picture after a change of each plane."""
        y, u, v = (np.asarray(change(plane), np.uint16) for plane in self.planes)
        return self._replace(y=y, u=u, v=v)


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """One picture in I420 (8 bit, 4:2:0, planar).

    A frame is a lease of memory. The mosaic paints its next picture into the arrays of an earlier
    one as soon as nothing refers to that one: not the frame, nor a view of its arrays. As long as
    something does, the mosaic takes more memory (22 MB at 5120x2880) and copies what changed since.
    So a thread must not hold a frame while it waits for the next one. The variable of a `for` loop
    holds it, also inside a generator; `for_each`, `map` and a function that returns do not. A frame
    may be kept for as long as it is needed: the mosaic never writes into one that is in use.

    Attributes
    ----------
    y : uint8 (height, width); rows may be padded (any row stride), samples of a row are adjacent
    u, v : uint8 (ceil(height / 2), ceil(width / 2)), Cb and Cr, as `y`
    colour : what the samples mean
    pts : presentation time in units of `time_base`; a source replaces missing times
    duration : in units of `time_base`, 0 when unknown
    captured_s : `time.monotonic()` of the capture, or of the arrival; latency counts from here
    decoding_s : from `captured_s` until a live source yielded it: decoding, and the wait for
        pictures that are sent earlier and shown later; 0 for files
    original : the input frame of a mosaic; None for a frame of a source
    alpha : uint8 (height, width), 255 for opaque, 0 for transparent; None for a picture that is
        opaque, as all are without the option `alpha`
    deep : the same picture in 10 bits, where a sink keeps these

    Raises
    ------
    UsageError : a plane has another type, layout or size
    """

    y: U8
    u: U8
    v: U8
    colour: Colour = field(default_factory=Colour)
    pts: int = 0
    time_base: Fraction = Fraction(1, 25)
    duration: int = 0
    captured_s: float = 0.0
    decoding_s: float = 0.0
    original: Frame | None = None
    alpha: U8 | None = None
    deep: DeepPicture | None = None

    def __post_init__(self) -> None:
        check_plane("y", self.y, getattr(self.y, "shape", ()))
        half = ((self.height + 1) // 2, (self.width + 1) // 2)
        check_plane("u", self.u, half)
        check_plane("v", self.v, half)
        if self.alpha is not None:
            check_plane("alpha", self.alpha, self.y.shape)
        take("colour", self.colour, Colour, "a Colour")
        take("pts", self.pts, Integral, "a whole number")
        take("time_base", self.time_base, Rational, "a Fraction")
        take("deep", self.deep, DeepPicture | None, "a DeepPicture")

    def __repr__(self) -> str:
        return f"<Frame {self.width}x{self.height} at {self.time_s:.3f} s>"

    @property
    def width(self) -> int:
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        return int(self.y.shape[0])

    @property
    def time_s(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    @classmethod
    def from_bgr(cls, bgr: NDArray[Any], *, colour: Colour | None = None, **fields: Any) -> Frame:
        """Make a frame of a uint8 (height, width, 3) BGR picture.

        Raises
        ------
        UsageError : `bgr` is anything else, such as the None of `cv2.imread` without a file
        """
        colour = Colour() if colour is None else colour
        take("colour", colour, Colour, "a Colour")
        y, u, v = bgr_to_i420(check_bgr(bgr), colour)
        return cls(y, u, v, colour, **fields)

    def to_bgr(self) -> U8:
        """The picture as uint8 (height, width, 3) BGR."""
        return i420_to_bgr(self.y, self.u, self.v, self.colour)

    def to_rgb(self) -> U8:
        """The picture as uint8 (height, width, 3) RGB, as Pillow and Matplotlib take it."""
        return np.asarray(cv2.cvtColor(self.to_bgr(), cv2.COLOR_BGR2RGB), np.uint8)

    def strips(self, rows: int) -> Iterator[U8]:
        """The picture as BGR strips of an even number of rows, from the top; the last has the rest.

        A whole picture of 20,000x13,334 pixels would take 800 MB, and twice as much meanwhile.
        """
        for top in range(0, self.height, rows):
            bottom = min(top + rows, self.height)
            # Interpolating chroma needs the rows above and below.
            first, end = max(top // 2 - 1, 0), (bottom + 1) // 2 + 1
            strip = i420_to_bgr(
                self.y[2 * first : 2 * end], self.u[first:end], self.v[first:end], self.colour
            )
            yield strip[top - 2 * first : bottom - 2 * first]

    def with_picture(self, y: U8, u: U8, v: U8, *, deep: DeepPicture | None = None) -> Frame:
        """A picture made of this one, with the same times, colour and transparent parts."""
        alpha = self.alpha
        if alpha is not None and alpha.shape != y.shape:
            smaller = alpha.shape[0] > y.shape[0]
            mode = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            alpha = np.asarray(cv2.resize(alpha, y.shape[::-1], interpolation=mode), np.uint8)
        return replace(self, y=y, u=u, v=v, original=self, alpha=alpha, deep=deep)

    def over_grey(self) -> Frame:
        """The picture without transparent parts: these become an even grey."""
        if self.alpha is None:
            return self
        full_range = self.colour.full_range
        y, u, v = over_grey((self.y, self.u, self.v), self.alpha, full_range=full_range)
        return replace(self, y=y, u=u, v=v, alpha=None)

    def with_times_of(self, other: Frame) -> Frame:
        """This picture at another frame's time."""
        return replace(
            self,
            pts=other.pts,
            time_base=other.time_base,
            duration=other.duration,
            captured_s=other.captured_s,
            decoding_s=other.decoding_s,
        )

    def mirrored(self) -> Frame:
        """The mirror image, left to right."""
        y, u, v = (np.asarray(cv2.flip(plane, 1), np.uint8) for plane in (self.y, self.u, self.v))
        alpha = None if self.alpha is None else np.asarray(cv2.flip(self.alpha, 1), np.uint8)
        deep = None if self.deep is None else self.deep.changed(lambda it: cv2.flip(it, 1))
        return replace(self, y=y, u=u, v=v, alpha=alpha, deep=deep)

    def pixelated(self) -> Frame:
        """The picture at a width of 16 pixels, enlarged, so that no person can be recognised."""
        height, width = self.y.shape
        coarse = (_PIXELATED_COLUMNS, max(1, round(_PIXELATED_COLUMNS * height / width)))

        def pixelate(plane: U8) -> U8:
            # INTER_AREA takes the mean of all samples.
            few = cv2.resize(plane, coarse, interpolation=cv2.INTER_AREA)
            size = (plane.shape[1], plane.shape[0])
            return np.asarray(cv2.resize(few, size, interpolation=cv2.INTER_LINEAR), plane.dtype)

        y, u, v = pixelate(self.y), pixelate(self.u), pixelate(self.v)
        alpha = None if self.alpha is None else pixelate(self.alpha)  # an outline shows a person
        deep = None if self.deep is None else self.deep.changed(pixelate)
        return replace(self, y=y, u=u, v=v, alpha=alpha, deep=deep)


class TrackPacket(NamedTuple):
    """A coded packet of a track that passes unchanged (audio, subtitles, ...)."""

    track: int  # index into `StreamInfo.tracks`
    packet: Any  # av.Packet, in the times of the frames
    hidden: bool = False  # decoders need it, but it is not played: it is before the first sound


class Card(NamedTuple):
    """A still picture with a text, in place of the pictures of a source."""

    text: str  # lines for viewers; the first is the title
    frame: Frame  # a dark one, of the size, colour and time of a picture


class StatusEvent(NamedTuple):
    """The status of a live source that has no frames for a while."""

    text: str  # for people, such as "reconnecting"
    card: Card | None = None  # None: the last picture stays


Item = Frame | TrackPacket | StatusEvent


class Chapter(NamedTuple):
    """A chapter mark; `start` and `end` in units of `time_base`."""

    start: int
    end: int
    time_base: Fraction
    metadata: Mapping[str, str]

    def earlier(self, seconds: Fraction) -> Chapter:
        """The same, moved towards 0 and cut off there."""
        ticks = round(seconds / self.time_base)
        return self._replace(start=max(0, self.start - ticks), end=max(0, self.end - ticks))


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The description of a stream, which a source yields and a sink is opened for.

    Attributes
    ----------
    width, height : of the frames, in pixels, after rotation
    rate : nominal frames/s
    peak_rate : frames/s where frames are closest together; None for a constant rate
    time_base : of the frames' pts
    colour : of the frames
    alpha : True if the frames have `alpha`
    deep : of the frames' `deep`; None if they have none
    live : True for devices and streams, which cannot wait: late frames are dropped
    still : True for a single picture
    frames : expected number, for progress only; None when unknown
    duration_s : None when unknown
    sample_aspect_ratio : of a pixel, 1 for square
    tracks : `av` streams, templates for sinks, in the order of `TrackPacket.track`
    chapters, metadata : of the container
    video_metadata : of the video track, without what the program applied (rotation)

    Raises
    ------
    UsageError : a size, rate or time base is not above 0, or of another type
    """

    width: int
    height: int
    rate: Fraction = Fraction(25)
    peak_rate: Fraction | None = None
    time_base: Fraction = Fraction(1, 25)
    colour: Colour = field(default_factory=Colour)
    alpha: bool = False
    deep: DeepInfo | None = None
    live: bool = False
    still: bool = False
    frames: int | None = None
    duration_s: float | None = None
    sample_aspect_ratio: Fraction = Fraction(1)
    tracks: tuple[Any, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    video_metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for side in ("width", "height"):
            whole(side, getattr(self, side), 1)
        for name in ("rate", "peak_rate", "time_base", "sample_aspect_ratio"):
            if name != "peak_rate" or self.peak_rate is not None:
                object.__setattr__(self, name, positive(name, getattr(self, name)))
        take("colour", self.colour, Colour, "a Colour")


def even(value: float | Fraction) -> int:
    """The nearest width or height that 4:2:0 video can have."""
    return max(2, round(value / 2) * 2)


def for_each(items: Iterable[T], work: Callable[[T], object]) -> None:
    """Call `work` with each item, and hold none while waiting for the next: see `Frame`."""
    for _ in map(work, items):
        pass
