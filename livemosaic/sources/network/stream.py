"""Live network streams: RTSP, RTMP, HTTP, UDP, TCP, SRT."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

from ...errors import LivemosaicError, RefusedError, SourceError
from ...media.ffmpeg import add_copy, av, demux, open_container, reason, shift_packet
from ...media.frame import Frame, TrackPacket
from ...media.paths import HEIF_ENDINGS, ending
from ...media.urls import split_url
from ..base import Source, SourceOptions
from ..decoder import SEGMENTED, VideoDecoder
from ..reconnect import ReconnectingSource
from .packet_queue import Arrival, PacketQueue
from .protocols import Address, find_protocol
from .web_page import page_problem

_logger = logging.getLogger("livemosaic")

# Limit for a server's answer and description. Proxies that fetch a stream on demand take seconds.
_OPEN_S = 10.0
# The same for a reconnect. A host that has just been switched on has missed earlier attempts, and
# TCP repeats its own only after 1, 3 and 7 s.
_REOPEN_S = 4.0
# Limit for the first frame after that: cameras send a key frame every 1 to 10 s.
_FIRST_S = 20.0
# A stream without a frame for this time is stalled. Slow cameras get a multiple of the time
# between their frames.
_STALL_S, _STALL_INTERVALS = 2.5, 4
_INTERVALS = 8  # of the last frames
# The same for a stream in files (of up to 10 s): all frames of a file come at once.
_SEGMENT_STALL_S = 30.0
# FFmpeg's own limit, which ends a receiver that the decoding thread has left.
_READ_S = 10.0
# A segment that is later than this delays all frames after it; outputs can even out less.
_PACE_S = 1.0
# When frames are later than this, those that no other is predicted from are not decoded.
_LATE_S = 0.15
# Some demuxers do not mark key frames. After this time the decoder has to find one itself.
_KEYLESS_S = 12.0
# `close` waits this long for the connection's end. A receiver that is stuck ends it later.
_CLOSE_S = 0.3

_SLOW = "it did not answer in time, or sends too slowly; check the address and the network"

# Errors that a retry would meet again.
_FINAL = (
    av.error.ProtocolNotFoundError,
    av.error.DemuxerNotFoundError,
    av.error.HTTPUnauthorizedError,
    av.error.HTTPForbiddenError,
    av.error.HTTPNotFoundError,
)


class FiniteError(Exception):
    """The address is a file's: `FileSource` reads it without dropping frames.

    Attributes
    ----------
    maybe_picture : false if its demuxer is only for videos
    """

    def __init__(self, *, maybe_picture: bool) -> None:
        self.maybe_picture = maybe_picture


class StreamSource(Source):
    """The latest frames of a network stream, and the packets of its other tracks.

    One thread receives, and the iterating thread decodes, so that FFmpeg's own buffers stay empty.
    `PacketQueue` drops frames when decoding is slower. Times begin at 0 with the first frame,
    which is a key frame. The capture time of a frame is that of its arrival. `info.tracks` are
    copies, which outlive the connection.

    Parameters
    ----------
    open_s : limit for the server's answer
    stall_s : without a frame for this time, the stream is stalled

    Raises
    ------
    SourceError
        when there is no frame; `RefusedError` if a retry is useless
    FiniteError
        when the address is a file's
    """

    def __init__(
        self,
        address: Address,
        *,
        threads: int = 0,
        open_s: float = _OPEN_S,
        stall_s: float = _STALL_S,
    ) -> None:
        self.name = address.name
        self._address, self._threads = address, threads
        self._open_s, self._stall_s = open_s, stall_s
        self._opened = threading.Event()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._queue = PacketQueue()
        self._video: VideoDecoder | None = None
        self._tracks: tuple[Any, ...] = ()
        self._segmented = False
        self._receiver = threading.Thread(
            target=self._receive, name=f"livemosaic receive {self.name}", daemon=True
        )
        self._receiver.start()
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def bad_frames(self) -> int:
        return self._video.bad_frames if self._video is not None else 0

    @property
    def dropped(self) -> int:
        return self._queue.dropped

    def __iter__(self) -> Iterator[Frame | TrackPacket]:
        start_s: float | None = None  # the clock at the stream's time 0
        for item in self._items:
            if self._segmented and isinstance(item, Frame):
                now = time.monotonic()
                early = 0.0 if start_s is None else start_s + item.time_s - now
                if start_s is None or not -_PACE_S < early < _SEGMENT_STALL_S:
                    start_s, early = now - item.time_s, 0.0
                self._stopped.wait(max(0.0, early))
                item = replace(item, captured_s=time.monotonic())
            if self._stopped.is_set():
                return
            yield item

    def interrupt(self) -> None:
        self._stopped.set()
        self._queue.close()

    def close(self) -> None:
        self.interrupt()
        self._receiver.join(_CLOSE_S)

    # ---- opening -------------------------------------------------------------------------

    def _begin(self) -> None:
        # The receiver's own limits are shorter, unless it waits for a name server.
        if not self._opened.wait(2 * self._open_s + 1):
            raise SourceError(_cannot(self.name, TimeoutError()))
        if self._error is not None:
            raise self._error
        assert self._video is not None
        items = self._decode(self._video)
        ahead: list[Frame | TrackPacket] = []  # read before the iteration
        for item in items:
            ahead.append(item)
            if isinstance(item, Frame):
                break
        else:
            raise SourceError(
                f"{self.name}: it ended before its first frame; check that it is sending"
            )
        self._origin = item.pts * item.time_base
        zeroed: Iterator[Frame | TrackPacket | None] = map(self._zeroed, chain(ahead, items))
        self._items: Iterator[Frame | TrackPacket] = filter(None, zeroed)
        described = self._video.describe(item, tracks=self._tracks, live=True)
        self.info = replace(described, chapters=())

    # ---- receiving -----------------------------------------------------------------------

    def _receive(self) -> None:
        """Receive until the end or `close`, on a thread of its own, which may get stuck."""
        error: BaseException | None = None
        began_s = time.monotonic()
        try:
            read_s = _SEGMENT_STALL_S if self._address.maybe_file else _READ_S
            with open_container(
                self._address.url, options=self._address.options, timeout=(self._open_s, read_s)
            ) as container:
                self._take(container)
        except (LivemosaicError, FiniteError) as refused:
            error = refused
        except (av.error.FFmpegError, OSError, ValueError) as failed:
            kind = RefusedError if isinstance(failed, _FINAL) else SourceError
            if not self._opened.is_set() and time.monotonic() - began_s >= self._open_s:
                failed = TimeoutError(_SLOW)  # demuxers report an incomplete answer as damage
            # Without `from failed`: FFmpeg's errors contain the address with its password.
            error = kind(_cannot(self.name, failed))
            if self._address.maybe_file and isinstance(failed, av.error.InvalidDataError):
                problem = None if self._opened.is_set() else page_problem(self._address.url)
                error = RefusedError(f"{self.name}: {problem}") if problem else error
        except BaseException as unexpected:
            error = unexpected
        self._error = error
        self._opened.set()
        self._queue.finish(error)

    def _take(self, container: Any) -> None:
        if self._address.maybe_file and _is_finite(container):
            raise FiniteError(maybe_picture=_maybe_picture(container))
        video = VideoDecoder(container, name=self.name, threads=self._threads, live=True)
        self._segmented = self._queue.waits = container.format.name in SEGMENTED
        templates = _templates(container, name=self.name)
        self._tracks = tuple(templates.values())
        numbers = {index: number for number, index in enumerate(templates)}
        self._video = video
        self._opened.set()
        others = [stream for stream in container.streams if stream.index in templates]
        for packet in demux(container, (video.stream, *others)):
            if packet.size == 0:
                continue  # PyAV's request to flush
            track = numbers.get(packet.stream_index)
            if track is not None:
                # The packet may outlive the container, so it must not refer to it.
                packet.stream = self._tracks[track]
            key = track is None and packet.is_keyframe
            if not self._queue.put(Arrival(packet, track, time.monotonic(), key)):
                return

    # ---- decoding ------------------------------------------------------------------------

    def _zeroed(self, item: Frame | TrackPacket) -> Frame | TrackPacket | None:
        """The item in times that begin at the first frame; None for a packet before that."""
        if isinstance(item, Frame):
            return replace(item, pts=item.pts - round(self._origin / item.time_base))
        packet = shift_packet(item.packet, -self._origin)
        if packet.pts is None or packet.dts is None or packet.dts < 0:
            return None
        return item

    def _decode(self, video: VideoDecoder) -> Iterator[Frame | TrackPacket]:
        last_s, limit_s = time.monotonic(), _FIRST_S
        began_s: float | None = None
        intervals_s: deque[float] = deque(maxlen=_INTERVALS)
        decoding = hurrying = False
        while (arrival := self._next(last_s, limit_s)) is not None:
            if arrival.track is not None:
                yield TrackPacket(arrival.track, arrival.packet, arrival.packet.is_discard)
                continue
            now = arrival.at_s
            if decoding:
                intervals_s.append(now - last_s)
                if video.timed or len(intervals_s) == _INTERVALS:
                    limit_s = self._limit_s(max(intervals_s))
            last_s = now
            began_s = now if began_s is None else began_s
            if not decoding and not arrival.key and now - began_s < _KEYLESS_S:
                continue  # a frame without its key frame would be damaged
            if not decoding:
                decoding = True
                # Without times the rate is invented, and the probed frames come all at once.
                limit_s = self._limit_s(float(1 / video.rate)) if video.timed else _READ_S
            if arrival.after_gap:
                video.restart()
            late = not self._segmented and time.monotonic() - now > _LATE_S
            if late != hurrying:
                hurrying = late
                video.skip(unused=late)
            yield from video.decode(arrival.packet, arrived_s=now)
        if not self._stopped.is_set():
            yield from video.flush()

    def _limit_s(self, interval_s: float) -> float:
        """The limit for the next frame if the last ones took up to `interval_s`."""
        if self._segmented:
            return _SEGMENT_STALL_S
        return max(self._stall_s, _STALL_INTERVALS * interval_s)

    def _next(self, last_s: float, limit_s: float) -> Arrival | None:
        """The next packet. Raises `SourceError` if no frame came for too long."""
        # By times of arrival, because a pause of this thread is no stall.
        try:
            arrival = self._queue.get(max(0.0, last_s + limit_s - time.monotonic()))
        except TimeoutError:
            if self._stopped.is_set():
                return None
        else:
            if arrival is None or arrival.track is None or arrival.at_s - last_s < limit_s:
                return arrival
        raise SourceError(
            f"{self.name}: no frame came for {limit_s:.1f} s; check the camera and the network"
        )


def open_input(spec: str, options: SourceOptions) -> Source | None:
    """Open a stream; None for the address of a file, of which nothing may be lost."""
    address = find_protocol(spec)
    if address is None or (address.maybe_file and ending(split_url(spec).path) in HEIF_ENDINGS):
        return None
    opener = stream_opener(lambda: address, threads=options.threads)
    try:
        return ReconnectingSource(opener, name=address.name, reconnect=options.reconnect)
    except FiniteError as found:
        from .. import file

        return file.open_input(spec, options, maybe_picture=found.maybe_picture)


def _maybe_picture(container: Any) -> bool:
    """Whether a file may be a picture. HEIC and AVIF have the demuxer of MP4."""
    if not container.duration or container.metadata.get("major_brand") == "avis":
        return True
    return bool(container.format.name.endswith(("_pipe", "image2", "gif", "apng")))


def _is_finite(container: Any) -> bool:
    """Whether the address is a file's, as far as its demuxer knows."""
    name = container.format.name
    # A stream's duration is unknown, or 0 (FLV).
    if container.duration or name.endswith(("_pipe", "image2")):
        return True
    # Only files have a size, except for playlists, and for cameras that invent one.
    return name not in SEGMENTED and name != "mpjpeg" and container.size > 0


def stream_opener(
    find_address: Callable[[], Address], *, threads: int = 0
) -> Callable[[], StreamSource]:
    """A function that opens a stream, and waits longer for it the first time."""
    limits_s = chain([_OPEN_S], repeat(_REOPEN_S))
    was_open = False

    def open_it() -> StreamSource:
        nonlocal was_open
        address = find_address()
        try:
            source = StreamSource(address, threads=threads, open_s=next(limits_s))
        except FiniteError:
            if not was_open:
                raise
            # A camera's proxy may send a picture in the camera's place.
            raise SourceError(
                f"{address.name}: it is a file now, and no stream; check the camera"
            ) from None
        was_open = True
        return source

    return open_it


def _templates(container: Any, *, name: str) -> dict[int, Any]:
    """Copies of the other tracks, by their index in the container.

    PyAV copies all parameters of a stream only into an output, so this makes one without a target.
    """
    output = open_container(io.BytesIO(), "w", format="null")
    copies: dict[int, Any] = {}
    for stream in container.streams:
        if stream.type not in ("audio", "subtitle"):
            continue
        try:
            copy = add_copy(output, stream)
        except (av.error.FFmpegError, ValueError) as error:
            _logger.warning("%s: its %s is left out: %s", name, stream.type, reason(error))
            continue
        copy.time_base = stream.time_base
        copy.metadata.update(stream.metadata)
        copy.disposition = int(stream.disposition)
        copies[stream.index] = copy
    return copies


def _cannot(name: str, error: BaseException) -> str:
    """The message for a stream that cannot be read."""
    if isinstance(error, (av.error.InvalidDataError, EOFError)):
        problem = "it is not a video; check the address"
    elif isinstance(error, TimeoutError) and error.args == (_SLOW,):
        problem = _SLOW
    else:
        problem = reason(error, name)
    return f"{name}: cannot be read: {problem}"
