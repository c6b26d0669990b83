"""PyAV for sources and sinks: the import itself, colour codes, filter graphs and error messages.

All modules import `av` from here, because `cv2` must be imported first. Both wheels contain a
libxcb-shm, and the first OpenCV window hangs if PyAV's was loaded first. An import sorter would put
`av` first in every module that imports both.
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Literal

# isort: off
import cv2 as _cv2  # noqa: F401  (before av: see above)
import av as av  # re-exported
# isort: on

from ..blocking import start_call
from ..errors import SinkError, SourceError, words_of
from .colour import UNSPECIFIED, Matrix
from .urls import is_url, protocol_problem, split_url

# The matrices by their codes in ISO/IEC 23091-2 (FFmpeg's AVColorSpace). FCC's weights (4) differ
# from those of BT.601 by less than a code value.
MATRICES: dict[int, Matrix] = {
    1: "bt709",
    4: "bt601",
    5: "bt601",
    6: "bt601",
    9: "bt2020",
    10: "bt2020",
}
MATRIX_CODES: dict[Matrix, int] = {"bt601": 6, "bt709": 1, "bt2020": 9}
# libswscale numbers the same matrices in another way.
SWS_MATRICES: dict[Matrix, int] = {
    "bt601": av.video.reformatter.Colorspace.ITU601,
    "bt709": av.video.reformatter.Colorspace.ITU709,
    "bt2020": av.video.reformatter.Colorspace.BT2020,
}
LIMITED, FULL = 1, 2  # FFmpeg's AVColorRange

_FLAGS = av.video.reformatter.Interpolation
# Of the scaler, for the most exact colours.
EXACT = _FLAGS.BILINEAR | _FLAGS.ACCURATE_RND | _FLAGS.FULL_CHR_H_INT | _FLAGS.FULL_CHR_H_INP


def guess_matrix(width: int, height: int) -> Matrix:
    """The matrix that players assume for an untagged picture: BT.709 from HD upwards."""
    return "bt709" if height >= 720 or width >= 1280 else "bt601"


def matrix_tag(code: int, matrix: Matrix, width: int, height: int) -> int:
    """The matrix code for a `width` x `height` output, from the input's `code` and `matrix`.

    The output repeats the input's code. An untagged input makes an untagged output, unless players
    would guess a wrong matrix from the output's size.
    """
    if code != UNSPECIFIED:
        return code
    return UNSPECIFIED if guess_matrix(width, height) == matrix else MATRIX_CODES[matrix]


def fraction(value: Any) -> Fraction | None:
    """A rational of PyAV as a `Fraction`; None where FFmpeg does not know it.

    PyAV 18 has `Fraction` or None, PyAV 19 a class of its own, which is 0/0 if unknown.
    """
    if value is None or not value.denominator or not value.numerator:
        return None
    return Fraction(value.numerator, value.denominator)


def open_container(file: Any, mode: Literal["r", "w"] = "r", **options: Any) -> Any:
    """Call `av.open`; accept metadata that is not UTF-8, such as the Latin-1 of old files.

    PyAV 19 always passes such bytes through, PyAV 18 needs an option for it.
    """
    if int(av.__version__.partition(".")[0]) < 19:
        options["metadata_errors"] = "surrogateescape"
    return av.open(file, mode, **options)


def picture_filter(
    like: av.VideoFrame, time_base: Fraction, *filters: tuple[str, str]
) -> av.filter.Graph:
    """A configured graph for pictures of the size and the format of `like`.

    `filters` are FFmpeg's names and options, in the order in which pictures pass them.
    """
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=like.width, height=like.height, format=like.format, time_base=time_base
        ),
        *(graph.add(name, options) for name, options in filters),
        graph.add("buffersink"),
    ).configure()
    return graph


def filtered(graph: av.filter.Graph, frame: Any) -> Iterator[Any]:
    """Push a frame into a configured filter graph, and yield the frames that are ready.

    `frame` is an `av` frame of video or sound; None, at the end, yields the frames still inside.
    """
    graph.push(frame)
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def demux(container: Any, streams: Iterable[Any]) -> Iterator[Any]:
    """Yield the packets of some streams of an input container.

    PyAV gives no packets of a track that begins in the middle of MPEG-TS. At the end it may trip
    over such a track with an `IndexError`, when all packets are read.
    """
    with contextlib.suppress(IndexError):
        yield from container.demux(*streams)


def codec_name(stream: Any) -> str | None:
    """The name of a stream's codec; None if this FFmpeg cannot decode it."""
    context = stream.codec_context
    return None if context is None else str(context.name)


def add_copy(container: Any, track: Any) -> Any:
    """Add a stream for copied packets of `track`, which need not be decodable, to an output.

    `ValueError` or an error of PyAV if that is impossible.
    """
    if track.codec_context is not None or track.type == "attachment":
        return container.add_stream_from_template(track, opaque=True)
    # PyAV has no template for a stream without a decoder. A filter that does nothing copies the
    # parameters over those of any codec.
    stream = container.add_mux_stream(container.default_video_codec)
    av.BitStreamFilterContext("null", in_stream=track, out_stream=stream)
    stream.time_base = track.time_base
    return stream


def copy_packet(packet: Any, data: bytes | None = None) -> Any:
    """A copy of a packet, with other `data` if given; without `is_discard`, which PyAV lacks."""
    copy: Any = av.Packet(packet if data is None else data)  # the bytes only
    for name in ("stream", "time_base", "pts", "dts", "duration", "is_keyframe"):
        setattr(copy, name, getattr(packet, name))
    for data in packet.iter_sidedata():
        copy.set_sidedata(data)
    return copy


def packet_begin_s(packet: Any) -> Fraction | None:
    """When a packet begins, None if it has no time."""
    base = fraction(packet.time_base)
    return None if packet.pts is None or base is None else packet.pts * base


def packet_end_s(packet: Any) -> Fraction | None:
    """When a packet ends, None if it has no time."""
    base = fraction(packet.time_base)
    return (
        None if packet.pts is None or base is None else (packet.pts + (packet.duration or 0)) * base
    )


def shift_packet(packet: Any, seconds: Fraction) -> Any:
    """Add `seconds` to the times of a packet, in place; return the packet."""
    base = fraction(packet.time_base)
    if seconds and base is not None:
        ticks = round(seconds / base)
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks
    return packet


# Problem and fix, for people, by FFmpeg's errors.
_LATE = "it did not answer in time; check the address and the network"
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "there is no such file; check the spelling"),
    (PermissionError, "permission is denied; check the rights of the file and its folder"),
    (IsADirectoryError, "it is a folder; name a file in it"),
    (ConnectionRefusedError, "nothing answers there; check the address, and that it is running"),
    (TimeoutError, _LATE),
    (av.error.ExitError, _LATE),
    (ConnectionResetError, "the other side closed the connection; check that it is running"),
    (EOFError, "the other side closed the connection; check that it is running"),
    (BrokenPipeError, "the reader has gone away; keep it running until the end"),
    (av.error.DecoderNotFoundError, "this FFmpeg has no decoder for it; convert it first"),
    (
        av.error.HTTPUnauthorizedError,
        "authentication failed; use PROTOCOL://USER:PASSWORD@HOST/PATH",
    ),
    (av.error.HTTPForbiddenError, "the server forbids it; check the address and the user's rights"),
    (av.error.HTTPNotFoundError, "the server has nothing under that path; check the address"),
)

_ERRNO_REASONS = {
    getattr(
        errno, "EDQUOT", errno.ENOSPC
    ): "your share of the disk is used up; make room or choose another folder",
    errno.ENOSPC: "the disk is full; make room or choose another folder",
    errno.ENOMEM: "there is not enough memory; choose a smaller size",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`",
    errno.ENFILE: "too many files are open in the system; close other programs",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EIO: "reading or writing failed; check the disk or the connection",
    errno.EFBIG: "the disk or the system takes no file so large; choose another disk (FAT32 takes "
    "4 GB), or raise the limit with `ulimit -f`",
}
_LOOK_UP_S = 2.0  # for a host's name; FFmpeg has just looked it up, so the answer is near


def ffmpeg_error(code: int) -> Exception:
    """The error of PyAV with this `errno`."""
    try:
        av.error.err_check(-code)
    except av.error.FFmpegError as error:
        return error
    raise ValueError(f"{code} is no error's code")


def reason(error: BaseException, name: str = "") -> str:
    """The problem in one clause, and the fix where it is known; `name` is the file or address."""
    if isinstance(error, av.error.ProtocolNotFoundError):
        return protocol_problem(name)
    for kind, text in _REASONS:
        if isinstance(error, kind):
            return text
    code = getattr(error, "errno", None)
    if code == errno.EIO and is_url(name):
        return _network_reason(name)
    if code in _ERRNO_REASONS:
        return _ERRNO_REASONS[code]
    return " ".join(words_of(error).split())


def _network_reason(address: str) -> str:
    """Why a connection failed; FFmpeg has one error for all causes."""
    host = split_url(address).hostname or ""
    try:
        if re.fullmatch(r"[\w.-]+", host):  # not one that is hidden
            start_call(socket.getaddrinfo, host, None, name="look-up").result(_LOOK_UP_S)
    except (socket.gaierror, UnicodeError):
        return f"no host {host} is known here; check its name and the network"
    except (OSError, RuntimeError):
        pass  # no answer in time, or no more threads
    return "the connection broke, or the server redirects in a circle; check the address"


def source_error(name: str, error: BaseException) -> SourceError:
    """The `SourceError` for an error of PyAV or the system while reading `name`."""
    if isinstance(error, (av.error.InvalidDataError, EOFError)):
        return SourceError(
            f"{name}: not a video or picture that can be read, or cut off; "
            "play it in another program to check, or copy it again"
        )
    return SourceError(f"{name}: cannot be read: {reason(error, name)}")


def sink_error(name: str, error: BaseException) -> SinkError:
    """The `SinkError` for an error of PyAV or the system while writing `name`."""
    return SinkError(f"{name}: cannot be written: {reason(error, name)}")
