"""Live network streams: RTSP, RTMP, HTTP, UDP, TCP, SRT."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ...errors import LivemosaicError, RefusedError, SourceError
from ...media.ffmpeg import av, fraction, open_container, reason
from ...media.frame import Frame, TrackPacket
from ..base import Source, SourceOptions
from ..decoder import VideoDecoder
from ..reconnect import ReconnectingSource
from .packet_queue import Arrival, PacketQueue
from .protocols import Address, find_protocol

__all__ = ["FiniteError", "StreamSource", "open_input", "stream_opener"]

_logger = logging.getLogger("livemosaic")

# For a server to answer and describe itself. Proxies that fetch a stream when it is asked for take
# some seconds.
_OPEN_S = 10.0
# To come back: a host that is switched on hears nothing of attempts that it missed, and TCP repeats
# its own after 1, 3 and 7 s.
_AGAIN_S = 4.0
# For the first picture after that: cameras send a key picture every 1 to 10 s.
_FIRST_S = 20.0
# Without a picture for so long, a stream is taken for stalled: noticed within 3 s. Slow cameras get
# a multiple of the time between their pictures.
_STALL_S, _STALL_INTERVALS = 2.5, 4
_INTERVALS = 8  # of the last pictures
# FFmpeg's own time-out ends a receiver that decoding has given up; slower cameras are none.
_READ_S = 10.0
# Streams that come as files of up to 10 s each, all pictures of one at once.
_SEGMENTED = {"hls", "dash"}
_SEGMENT_STALL_S = 30.0
# A segment that came late moves what follows; by less, the buffers of the outputs even it out.
_PACE_S = 1.0
# Pictures this much late are decoded without those that no other is predicted from.
_LATE_S = 0.15
# Some readers do not mark key pictures. Decoders find their own beginning, less well.
_KEYLESS_S = 12.0
# How long `close` waits for the connection to be closed. A receiver that is stuck closes it later.
_CLOSE_S = 0.3

# What will be the same the next time.
_FINAL = (
    av.error.ProtocolNotFoundError,
    av.error.DemuxerNotFoundError,
    av.error.HTTPUnauthorizedError,
    av.error.HTTPForbiddenError,
    av.error.HTTPNotFoundError,
)


class FiniteError(Exception):
    """It is a file: `FileSource` reads it without losing anything."""


class StreamSource(Source):
    """The newest pictures of a network stream, and the packets of its other tracks.

    One thread receives and the one that iterates decodes, so that FFmpeg's own buffers stay empty.
    What comes faster than it is decoded is let go, see `PacketQueue`. Times begin at 0 with the
    first frame, which is a key picture; frames are stamped with the time at which they arrived.
    `info.tracks` are copies, which outlive the connection.

    Parameters
    ----------
    address : where it comes from
    threads : of the decoder, 0 for as many as there are processors
    open_s : seconds for the server to answer

    Raises
    ------
    SourceError
        when there is no picture; `RefusedError` when that will not change
    FiniteError
        when the address is one of a file
    """

    def __init__(self, address: Address, *, threads: int = 0, open_s: float = _OPEN_S) -> None:
        self.name = address.name
        self._address, self._threads, self._open_s = address, threads, open_s
        self._opened = threading.Event()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._backlog = PacketQueue()
        self._video: VideoDecoder | None = None
        self._tracks: tuple[Any, ...] = ()
        self._segmented = False
        self._ready: deque[Frame | TrackPacket] = deque()
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
        """Pictures that were let go because decoding did not keep up."""
        return self._backlog.dropped

    def __iter__(self) -> Iterator[Frame | TrackPacket]:
        start_s: float | None = None  # what the clock says at the stream's time 0
        for item in self._all():
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
        """End the iteration at once, from any thread."""
        self._stopped.set()
        self._backlog.close()

    def close(self) -> None:
        """End the connection. May be called twice."""
        self.interrupt()
        self._receiver.join(_CLOSE_S)

    # ---- opening -------------------------------------------------------------------------

    def _begin(self) -> None:
        # The receiver's own time-outs come first, unless a name server keeps it waiting.
        if not self._opened.wait(2 * self._open_s + 1):
            raise SourceError(_cannot(self.name, TimeoutError()))
        if self._error is not None:
            raise self._error
        assert self._video is not None
        self._items = self._decode(self._video)
        first = self._first_frame()
        self._origin = first.pts * first.time_base
        described = self._video.describe(first, tracks=self._tracks, live=True)
        self.info = replace(described, chapters=())

    def _first_frame(self) -> Frame:
        for item in self._items:
            self._ready.append(item)
            if isinstance(item, Frame):
                return item
        raise SourceError(
            f"{self.name}: it ended before its first picture; check that it is sending"
        )

    # ---- receiving -----------------------------------------------------------------------

    def _receive(self) -> None:
        """Receive until nobody wants any more; on its own thread, which may get stuck."""
        error: BaseException | None = None
        began_s = time.monotonic()
        try:
            read_s = _SEGMENT_STALL_S if self._address.maybe_file else _READ_S
            with contextlib.closing(
                open_container(
                    self._address.url,
                    options=self._address.options,
                    timeout=(self._open_s, read_s),
                )
            ) as container:
                self._take(container)
        except (LivemosaicError, FiniteError) as refused:
            error = refused
        except (av.error.FFmpegError, OSError, ValueError) as failed:
            kind = RefusedError if isinstance(failed, _FINAL) else SourceError
            if not self._opened.is_set() and time.monotonic() - began_s >= self._open_s:
                failed = TimeoutError()  # readers take what they got until then for damage
            # FFmpeg's errors name the address with the password in it: they are not the cause.
            error = kind(_cannot(self.name, failed))
        except BaseException as unexpected:
            error = unexpected
        self._error = error
        self._opened.set()
        self._backlog.finish(error)

    def _take(self, container: Any) -> None:
        if self._address.maybe_file and _is_finite(container):
            raise FiniteError
        video = VideoDecoder(container, name=self.name, threads=self._threads, live=True)
        self._segmented = self._backlog.waits = container.format.name in _SEGMENTED
        templates = _templates(container, name=self.name)
        self._tracks = tuple(templates.values())
        numbers = {index: number for number, index in enumerate(templates)}
        self._video = video
        self._opened.set()
        beside = [stream for stream in container.streams if stream.index in templates]
        for packet in container.demux(video.stream, *beside):
            if packet.size == 0:
                continue  # PyAV's request to flush
            track = numbers.get(packet.stream_index)
            if track is not None:
                # What outlives the container must not refer to it.
                packet.stream = self._tracks[track]
            key = track is None and packet.is_keyframe
            if not self._backlog.put(Arrival(packet, track, time.monotonic(), key)):
                return

    # ---- decoding ------------------------------------------------------------------------

    def _all(self) -> Iterator[Frame | TrackPacket]:
        """Everything, in times that begin at the first frame."""
        while self._ready:
            yield from self._zeroed(self._ready.popleft())
        for item in self._items:
            yield from self._zeroed(item)

    def _zeroed(self, item: Frame | TrackPacket) -> Iterator[Frame | TrackPacket]:
        if isinstance(item, Frame):
            yield replace(item, pts=item.pts - round(self._origin / item.time_base))
            return
        packet = item.packet
        shift = round(self._origin / (fraction(packet.time_base) or 1))
        if packet.pts is not None and packet.dts is not None and packet.dts >= shift:
            packet.pts -= shift
            packet.dts -= shift
            yield item  # what belongs before the first picture is left out

    def _decode(self, video: VideoDecoder) -> Iterator[Frame | TrackPacket]:
        last_s, limit_s = time.monotonic(), _FIRST_S
        began_s: float | None = None
        intervals_s: deque[float] = deque(maxlen=_INTERVALS)
        decoding = hurrying = False
        while (arrival := self._next(last_s, limit_s)) is not None:
            if arrival.track is not None:
                yield TrackPacket(arrival.track, arrival.packet)
                continue
            now = arrival.at_s
            if decoding:
                intervals_s.append(now - last_s)
                if video.timed or len(intervals_s) == _INTERVALS:
                    limit_s = self._limit_s(max(intervals_s))
            last_s = now
            if began_s is None:
                began_s = now
            if not decoding and not arrival.key and now - began_s < _KEYLESS_S:
                continue  # it would be a picture full of holes
            if not decoding:
                decoding = True
                # Without times the rate is made up, and what was probed comes all at once.
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
        """How long the next picture may take when the last ones took up to `interval_s`."""
        if self._segmented:
            return _SEGMENT_STALL_S
        return max(_STALL_S, _STALL_INTERVALS * interval_s)

    def _next(self, last_s: float, limit_s: float) -> Arrival | None:
        """The next packet, unless pictures have stayed away for too long."""
        # By times of arrival: it is no stall when nobody has looked for a while.
        try:
            arrival = self._backlog.get(max(0.0, last_s + limit_s - time.monotonic()))
        except TimeoutError:
            arrival = None
            if self._stopped.is_set():
                return None
        else:
            if arrival is None or arrival.track is None or arrival.at_s - last_s < limit_s:
                return arrival
        raise SourceError(
            f"{self.name}: no picture came for {limit_s:.1f} s; check the camera and the network"
        )


def open_input(spec: str, options: SourceOptions) -> Source | None:
    """Open a stream; None for the address of a file, of which nothing may be lost."""
    address = find_protocol(spec)
    if address is None:
        return None
    opener = stream_opener(address, threads=options.threads)
    try:
        return ReconnectingSource(opener, name=address.name, reconnect=options.reconnect)
    except FiniteError:
        return None


def _is_finite(container: Any) -> bool:
    """Whether there is a file behind the address, as far as its reader knows."""
    name = container.format.name
    # A stream's duration is not known, or is given as 0 (FLV).
    if container.duration or name.endswith(("_pipe", "image2")):
        return True
    # A size is that of a file, but for playlists, and for cameras that make one up.
    return name not in _SEGMENTED and name != "mpjpeg" and container.size > 0


def stream_opener(address: Address, *, threads: int = 0) -> Callable[[], StreamSource]:
    """What opens a stream: with patience at first, and sooner for another attempt later."""
    patience_s = itertools.chain([_OPEN_S], itertools.repeat(_AGAIN_S))
    has_been = False

    def open_it() -> StreamSource:
        nonlocal has_been
        try:
            source = StreamSource(address, threads=threads, open_s=next(patience_s))
        except FiniteError:
            if not has_been:
                raise
            # A camera's proxy may say so that the camera is away.
            raise SourceError(
                f"{address.name}: a file comes from there now, and no stream; check the camera"
            ) from None
        has_been = True
        return source

    return open_it


def _templates(container: Any, *, name: str) -> dict[int, Any]:
    """Copies of the tracks beside the picture, by their number in the container.

    PyAV copies all parameters of a stream only into a stream of an output, so there is one, to
    nowhere.
    """
    nowhere = open_container(io.BytesIO(), "w", format="null")
    copies: dict[int, Any] = {}
    for stream in container.streams:
        if stream.type not in ("audio", "subtitle") or stream.codec_context is None:
            continue
        try:
            copy = nowhere.add_stream_from_template(stream, opaque=True)
        except (av.error.FFmpegError, ValueError) as error:
            _logger.warning("%s: its %s is left out: %s", name, stream.type, reason(error))
            continue
        copy.time_base = stream.time_base
        copy.metadata.update(stream.metadata)
        copy.disposition = int(stream.disposition)
        copies[stream.index] = copy
    return copies


def _cannot(name: str, error: BaseException) -> str:
    """One line on why the stream cannot be read."""
    if isinstance(error, (av.error.InvalidDataError, EOFError)):
        why = "what comes from there is no video; check the address"
    elif getattr(error, "errno", None) == errno.EIO:
        why = "there is no such host, or the connection broke; check the address and the network"
    else:
        why = reason(error)
    return f"{name}: cannot be read: {why}"
