"""Pictures: a single one, an animation, numbered ones, and those that come through a pipe.

The content of a file decides what it is, never its name. Animated GIFs and kinds that `ImageReader`
does not know are left to FFmpeg, see sources/file.py.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain, dropwhile
from math import floor
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RefusedError, SourceError
from ..media.colour import U8, UNSPECIFIED, Colour, Planes
from ..media.ffmpeg import FULL, LIMITED, MATRIX_CODES, av, guess_matrix, source_error
from ..media.frame import Frame, Item, StreamInfo
from ..media.image_reader import (
    HEAD_BYTES,
    MAX_BYTES,
    BadImage,
    DamagedImage,
    ImageReader,
    flatten,
    image_kind,
    read_image_file,
    sizes_of_parts,
)
from ..media.urls import is_url
from ..processors import usable_cores
from .base import EARLY_S, Source, SourceOptions
from .i420 import Converter, fit
from .input_paths import DEFAULT_RATE, InputPath, Pipe

_logger = logging.getLogger("livemosaic")

_MAX_THREADS = 4  # each may hold a photo of 100 megapixels
_WAIT_SHARE = 1 / 4  # of the time that a picture took to come, for its decoding
_MILLISECOND = Fraction(1, 1000)
_MISSING_MS = 100  # browsers' choice for pictures of an animation without a duration

# FFmpeg's demuxers that separate the pictures in a pipe. Other kinds are one picture each.
_DEMUXERS = {"JPEG": "jpeg_pipe", "PNG": "png_pipe", "WebP": "webp_pipe", "BMP": "bmp_pipe"}
_PADDING = 4096  # bytes at most between the parts of a photo
_PNG_HEADERS = 4096  # bytes at the beginning, in which a PNG says that it is an animation

# Kinds of which FFmpeg would show a wrong picture, or none. Of others it may show the part that is
# not damaged.
_NOT_FFMPEG = ("HEIC", "AVIF")

# FFmpeg decodes plain pictures in half the time, and the samples of JPEGs without a conversion.
_CODECS = {"JPEG": "mjpeg", "PNG": "png"}
# Of plain JPEGs: BT.601 in full range.
_JPEG = Colour("bt601", full_range=True, tags=(UNSPECIFIED, UNSPECIFIED, 5, FULL))

_Open = Callable[[], ImageReader]  # or raises BadImage


class _Canvas:
    """Makes frames of pictures in the size and the colour of the first, over grey or with alpha.

    Frames have limited range and the matrix usual for their size. If the first picture is a plain
    JPEG, they have its colour.
    """

    def __init__(self, name: str, first: ImageReader, *, alpha: bool) -> None:
        self._alpha = alpha
        self._name, self._warned = name, set[str]()
        self.size = first.size
        matrix = guess_matrix(*self.size)
        tags = UNSPECIFIED, UNSPECIFIED, MATRIX_CODES[matrix], LIMITED
        plain_jpeg = first.plain and first.kind == "JPEG"
        self.colour = _JPEG if plain_jpeg else Colour(matrix, tags=tags)

    def info(self, **fields: Any) -> StreamInfo:
        return StreamInfo(*self.size, colour=self.colour, alpha=self._alpha, **fields)

    def read(self, reader: ImageReader, **times: Any) -> Frame:
        if reader.profile_is_bad:
            self._warn("%s: its colour profile is damaged: taken for sRGB", self._name)
        if reader.wide:
            text = "%s: its colours (%s) are brought to BT.709"
            self._warn(text, self._name, reader.wide, level=logging.INFO)
        planes = _plain_planes(reader, self.colour) if reader.plain else None
        if planes is None:
            return self.frame(reader.read(), **times)
        return self._fitted(Frame(*planes, self.colour, captured_s=time.monotonic(), **times))

    def frame(self, picture: U8, **times: Any) -> Frame:
        now = time.monotonic()
        picture, alpha = self._separated(picture)
        return self._fitted(
            Frame.from_bgr(picture, colour=self.colour, captured_s=now, alpha=alpha, **times)
        )

    def _fitted(self, frame: Frame) -> Frame:
        alpha = frame.alpha
        if self._alpha and alpha is None:
            alpha = np.full(frame.y.shape, 255, np.uint8)
        if (frame.width, frame.height) == self.size:
            return replace(frame, alpha=alpha)
        self._warn("%s: the picture changes its size: fitted into %dx%d", self._name, *self.size)
        planes = frame.y, frame.u, frame.v
        y, u, v = fit(planes, self.size, full_range=self.colour.full_range)
        if alpha is not None:
            alpha = fit((alpha, *planes[1:]), self.size, full_range=True)[0]
        return replace(frame, y=y, u=u, v=v, alpha=alpha)

    def _separated(self, picture: U8) -> tuple[U8, U8 | None]:
        """The colours and the alpha of a picture, or the picture over grey."""
        if picture.shape[2] == 3:
            return picture, None
        alpha = np.ascontiguousarray(picture[..., 3])
        if self._alpha:
            # Colours under transparent pixels are anything.
            return flatten(np.dstack([picture[..., :3], np.minimum(alpha, 1) * 255])), alpha
        if alpha.min() < 255:
            text = "%s: its transparent parts become grey; --alpha keeps them"
            self._warn(text, self._name, level=logging.INFO)
        return flatten(picture), None

    def _warn(self, text: str, *values: object, level: int = logging.WARNING) -> None:
        if text not in self._warned:
            self._warned.add(text)
            _logger.log(level, text, *values)


def _plain_planes(reader: ImageReader, colour: Colour) -> Planes | None:
    """The samples of a plain picture by FFmpeg; None if it does not decode all, or to another
    colour."""
    try:
        context: Any = av.CodecContext.create(_CODECS[reader.kind], "r")
        frames = [*context.decode(av.Packet(reader.data)), *context.decode(None)]
    except (av.error.FFmpegError, ValueError):
        return None
    if len(frames) != 1 or frames[0].is_corrupt:
        return None
    converter = Converter(frames[0])
    found = converter.colour
    same = (found.matrix, found.full_range) == (colour.matrix, colour.full_range)
    return converter(frames[0]) if same else None


class ImageSource(Source):
    """A frame of each picture, upright and in sRGB. Bad pictures are counted and left out.

    Several threads decode ahead.

    Parameters
    ----------
    pictures : opens each
    count : how many they are; None if they come through a pipe
    still : one alone is a still picture, not a video of one frame
    alpha : keep transparent parts
    close : called by `close`

    Raises
    ------
    BadImage : none of them can be read
    """

    def __init__(
        self,
        name: str,
        pictures: Iterable[_Open],
        *,
        rate: Fraction = DEFAULT_RATE,
        count: int | None = None,
        still: bool = False,
        threads: int = 0,
        alpha: bool = False,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self._close, self._bad, self._alpha = name, close, 0, alpha
        self._threads = threads or min(usable_cores(), _MAX_THREADS)
        self._time_base = 1 / rate
        self._pictures: Iterator[tuple[int, _Open]] = enumerate(pictures)
        self._first = self._first_frame()
        second = next(self._pictures, None) if still else None
        if second is not None:
            self._pictures = chain([second], self._pictures)
        is_still = still and second is None
        self.info = self._canvas.info(
            rate=rate,
            time_base=self._time_base,
            still=is_still,
            frames=1 if is_still else count,
            duration_s=None if is_still or count is None else float(count / rate),
        )

    @property
    def bad_frames(self) -> int:
        return self._bad

    def __iter__(self) -> Iterator[Frame]:
        yield self._first
        del self._first
        pending: deque[Future[Frame | None]] = deque()
        with ThreadPoolExecutor(self._threads, "livemosaic picture") as pool:
            asked_s = time.monotonic()
            for number, open_picture in self._pictures:
                pending.append(pool.submit(self._frame, open_picture, number))
                # Not all at once: the next picture of a pipe may come late. If this one did, it is
                # probably decoded before that.
                wait(pending, _WAIT_SHARE * (time.monotonic() - asked_s))
                while pending and (len(pending) > self._threads or pending[0].done()):
                    yield from self._counted(pending.popleft().result())
                asked_s = time.monotonic()
            while pending:
                yield from self._counted(pending.popleft().result())

    def skip_to(
        self, time_s: Fraction, items: Iterator[Item], *, early_s: float = EARLY_S
    ) -> Iterator[Item]:
        first = floor(time_s / self._time_base)
        self._pictures = dropwhile(lambda it: it[0] < first, self._pictures)
        return items

    def close(self) -> None:
        self._close()

    def _first_frame(self) -> Frame:
        error = BadImage("there is no picture")
        for number, open_picture in self._pictures:
            try:
                reader = open_picture()
                self._canvas = _Canvas(self.name, reader, alpha=self._alpha)
                return self._canvas.read(reader, **self._times(number))
            except BadImage as bad:
                self._bad += 1
                error = bad
        raise error

    def _frame(self, open_picture: _Open, number: int) -> Frame | None:
        try:
            reader = open_picture()
            return self._canvas.read(reader, **self._times(number))
        except BadImage:
            return None

    def _times(self, number: int) -> dict[str, Any]:
        return {"pts": number, "time_base": self._time_base, "duration": 1}

    def _counted(self, frame: Frame | None) -> Iterator[Frame]:
        if frame is None:
            self._bad += 1
        else:
            yield frame


class AnimationSource(Source):
    """The frames of an APNG, an animated WebP or AVIF, played once. `BadImage` without a frame."""

    def __init__(self, name: str, reader: ImageReader, *, alpha: bool = False) -> None:
        self.name = name
        self._reader, self._bad = reader, 0
        self._canvas = _Canvas(name, reader, alpha=alpha)
        self._frames = self._read()
        self._first = next(self._frames, None)
        if self._first is None:
            raise BadImage("there is no picture")
        rate = 1 / (self._first.duration * _MILLISECOND)
        self.info = self._canvas.info(rate=rate, time_base=_MILLISECOND)

    @property
    def bad_frames(self) -> int:
        return self._bad

    def __iter__(self) -> Iterator[Frame]:
        assert self._first is not None
        yield self._first
        del self._first
        yield from self._frames

    def _read(self) -> Iterator[Frame]:
        shown_ms = 0
        frames = self._reader.frames()
        while True:
            try:
                picture, ms = next(frames)
            except StopIteration:
                return
            except BadImage:
                if not shown_ms:
                    raise
                self._bad += 1
                return  # the others are changes of this one
            ms = ms or _MISSING_MS
            times = {"pts": shown_ms, "time_base": _MILLISECOND, "duration": ms}
            yield self._canvas.frame(picture, **times)
            shown_ms += ms


def open_images(path: InputPath, options: SourceOptions) -> Source | None:
    """Open pictures by their content; None leaves the input to FFmpeg."""
    remote = _download(path) if is_url(path.url) else b""
    kind = image_kind(remote or _head(path))
    if kind is None:
        return None
    try:
        if path.pictures:
            return _open_numbered(path, options)
        if path.pipe is not None:
            return _open_pipe(path, path.pipe, kind, options)
        reader = ImageReader(remote or read_image_file(path.name))
        if reader.animated and kind == "GIF":
            return None
        return _open_image(path.name, reader, options)
    except BadImage as error:
        if path.pictures or path.pipe is not None or kind in _NOT_FFMPEG:
            raise RefusedError(
                f"{path.name}: cannot be read: {error}; copy it again, or save it as JPEG"
            ) from None
        if isinstance(error, DamagedImage):  # FFmpeg fills a missing part with green
            text = "%s: %s: only a part of it may be shown; copy it again"
            _logger.warning(text, path.name, error)
        return None


def _download(path: InputPath) -> bytes:
    """The picture at an address; empty if there is something else, or something without an end."""
    try:
        container = path.open("data")  # the bytes as they are
    except SourceError:  # FFmpeg's source reports it
        return b""
    try:
        packets = container.demux()
        data = bytearray(next(packets))
        if not 0 < container.size <= MAX_BYTES or image_kind(bytes(data[:HEAD_BYTES])) is None:
            return b""
        for packet in packets:
            data += bytes(packet)
        return bytes(data)
    except StopIteration:
        return b""
    except (av.error.FFmpegError, OSError) as error:
        raise source_error(path.name, error) from None  # without the address and its password
    finally:
        container.close()


def _head(path: InputPath) -> bytes:
    """The beginning of a file; empty if there is none, which FFmpeg's source reports."""
    if path.pipe is not None:
        return path.pipe.peek(HEAD_BYTES)
    for picture in path.pictures or (Path(path.name),):
        try:
            with picture.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError:
            continue
        if head:
            return head
    return b""


def _open_image(name: str, reader: ImageReader, options: SourceOptions) -> Source:
    if reader.animated:
        return AnimationSource(name, reader, alpha=options.alpha)
    return ImageSource(name, [lambda: reader], count=1, still=True, alpha=options.alpha)


def _open_numbered(path: InputPath, options: SourceOptions) -> Source:
    pictures = (partial(_open_file, str(picture)) for picture in path.pictures)
    count, rate = len(path.pictures), options.rate or DEFAULT_RATE
    return ImageSource(
        path.name,
        pictures,
        rate=rate,
        count=count,
        threads=options.threads,
        alpha=options.alpha,
    )


def _open_file(path: str) -> ImageReader:
    return ImageReader(read_image_file(path))


def _open_pipe(path: InputPath, pipe: Pipe, kind: str, options: SourceOptions) -> Source | None:
    if kind == "GIF":
        return None
    if kind not in _DEMUXERS or _is_animation(pipe, kind):
        data = pipe.read_all(MAX_BYTES)
        pipe.close()
        return _open_image(path.name, ImageReader(data), options)
    container = path.open(_DEMUXERS[kind])
    pictures = (partial(ImageReader, data) for data in _pictures(container))

    def close() -> None:
        container.close()
        pipe.close()

    try:
        return ImageSource(
            path.name,
            pictures,
            still=True,
            threads=options.threads,
            alpha=options.alpha,
            close=close,
        )
    except BaseException:
        close()
        raise


def _is_animation(pipe: Pipe, kind: str) -> bool:
    if kind == "WebP":
        head = pipe.peek(HEAD_BYTES)
        return head[12:16] == b"VP8X" and bool(head[20] & 2)
    return kind == "PNG" and b"acTL" in pipe.peek(_PNG_HEADERS)


def _pictures(container: Any) -> Iterator[bytes]:
    """The files that a demuxer of pictures separates, without the parts that follow a photo."""
    parts: list[int] = []  # the sizes of those still to come
    try:
        for packet in container.demux(video=0):
            data = bytes(packet)
            if parts and 0 <= len(data) - parts[0] <= _PADDING:
                parts.pop(0)
            elif data:
                parts = sizes_of_parts(data)
                yield data
    except (av.error.FFmpegError, OSError) as error:
        _logger.warning("reading failed before the end: %s", error)
