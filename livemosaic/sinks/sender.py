"""Sending to an address, by FFmpeg in a process of its own.

FFmpeg waits without limit for a server that accepts a connection and says nothing. PyAV has no time
limit for outputs, and while it opens or closes one, no other Python code of the process runs: not
even for a signal. A process can be ended at any moment.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple, NoReturn

from ..media.ffmpeg import ffmpeg_error
from ..unfinished import end_helper, start_helper

# Once the run is to end, a server may keep it waiting so long. A signal ends a run in a second.
_HURRIED_S = 0.7
_POLL_S = 0.05
_OPENED = b"opened\n"
_LATE = 1  # its exit code after the limit


class Order(NamedTuple):
    """What to open."""

    url: str
    muxer: str
    options: dict[str, str]
    limit_s: float  # to open it, for each packet, and to close it
    header: bytes | None = None  # Nut, with the tracks; None: the packets are bytes to send


class Parcel(NamedTuple):
    """A packet on its way to the process."""

    data: bytes
    track: int = 0
    pts: int | None = None
    dts: int | None = None
    duration: int = 0
    time_base: Fraction = Fraction(1)
    key: bool = True


class Sender:
    """Sends bytes or packets to an address; a file object for `av.open`.

    After an error the process has ended. `hurry` and `kill` may be called on any thread, even
    during another call.

    Raises
    ------
    OSError
        of PyAV, or `TimeoutError` if the server exceeds the limit
    """

    def __init__(self) -> None:
        self._hurried = threading.Event()
        self._waits_since_s: float | None = None
        self.gave_up = False  # after `hurry` the server has kept it waiting
        self._process = start_helper(f"{__package__}.sender_process")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def begin(self, order: Order) -> None:
        """Begin to open the address."""
        self._send(order)

    def opened(self) -> None:
        """Wait until it is open."""
        with self._waiting():
            if (answer := self._output.readline()) != _OPENED:
                self._fail(answer)

    def write(self, data: bytes) -> int:
        self._send(Parcel(bytes(data)))
        return len(data)

    def send(self, packet: Any) -> None:
        """Send a packet of PyAV."""
        self._send(
            Parcel(
                bytes(packet), packet.stream_index, packet.pts, packet.dts, packet.duration or 0,
                Fraction(packet.time_base), packet.is_keyframe,
            )
        )  # fmt: skip

    def finish(self) -> None:
        """Send the end, and wait until the server has it."""
        with self._waiting():
            with contextlib.suppress(BrokenPipeError):
                self._input.close()
            answer = self._output.read()
            if self._process.wait() or answer:
                self._fail(answer)
        self.kill()

    def hurry(self) -> None:
        """From now on, wait for the server no longer than a moment."""
        if not self._hurried.is_set():
            self._hurried.set()
            with contextlib.suppress(RuntimeError):  # no more threads: the usual limit remains
                threading.Thread(target=self._watch, name="livemosaic hurry", daemon=True).start()

    def kill(self) -> None:
        """End the process; may be called twice. Never raises."""
        end_helper(self._process)

    def _send(self, item: Order | Parcel) -> None:
        with self._waiting():
            try:
                pickle.dump(item, self._input)
                self._input.flush()
            except (OSError, ValueError):  # it has ended, or was killed
                answer = b"" if self._output.closed else self._output.read()
                self._fail(answer)

    def _fail(self, answer: bytes) -> None:
        """Raise the error that the process reports, or that its end means."""
        if code := answer.removeprefix(_OPENED).strip():
            raise ffmpeg_error(int(code))
        if self._process.wait() == _LATE:
            raise TimeoutError
        raise ChildProcessError(errno.ECHILD, "the process that sends it has crashed; try again")

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        self._waits_since_s = time.monotonic()
        try:
            yield
        except BaseException:
            self.kill()
            raise
        finally:
            self._waits_since_s = None

    def _watch(self) -> None:
        while self._process.poll() is None:
            since_s = self._waits_since_s
            if since_s is not None and time.monotonic() - since_s > _HURRIED_S:
                self.gave_up = True
                self._process.kill()
                return
            time.sleep(_POLL_S)


def serve() -> None:
    """The work of the process: open what the order says, and send all that comes.

    Prints `opened`, and the code of FFmpeg's error if there is one. A call that exceeds the limit
    ends the process, also when the parent is gone.
    """
    from io import BytesIO

    from ..media.ffmpeg import av, open_container

    source, answers = sys.stdin.buffer, sys.stdout.buffer
    order: Order = pickle.load(source)

    def parcels() -> Iterator[Parcel]:
        answers.write(_OPENED)
        answers.flush()
        with contextlib.suppress(EOFError, pickle.UnpicklingError):  # the parent may be gone
            while True:
                yield pickle.load(source)

    def fail(code: int | None) -> NoReturn:
        answers.write(f"{code}\n".encode())
        answers.flush()
        os._exit(1)  # without the container's end, which could take as long again

    @contextlib.contextmanager
    def limited() -> Iterator[None]:
        # By a thread of C: no Python code runs while PyAV opens or closes an output.
        faulthandler.dump_traceback_later(order.limit_s, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    if order.url.lower().startswith(("http:", "https:")):
        from .post import post

        if code := post(order.url, (it.data for it in parcels()), limit_s=order.limit_s):
            fail(code)
        return
    try:
        target: Any = open_container(
            order.url, "w", format=order.muxer, container_options=order.options
        )
        if order.header is None:
            tracks = [target.add_data_stream()]
        else:
            header = open_container(BytesIO(order.header), format="nut")
            tracks = [target.add_stream_from_template(it, opaque=True) for it in header.streams]
        with limited():
            target.start_encoding()
        for parcel in parcels():
            packet = av.Packet(parcel.data)
            packet.stream, packet.time_base = tracks[parcel.track], parcel.time_base
            packet.pts, packet.dts = parcel.pts, parcel.dts
            packet.duration, packet.is_keyframe = parcel.duration, parcel.key
            with limited():
                target.mux_one(packet)
        with limited():
            target.close()
    except av.error.FFmpegError as error:
        fail(error.errno)
