"""What sources and sinks share of PyAV: the import itself, names, colour codes and errors.

Everybody imports `av` from here. Both wheels, PyAV's and OpenCV's, carry a libxcb-shm, and the
first OpenCV window hangs for ever when PyAV's was loaded first; so `cv2` must be imported before
`av`, which an import sorter would turn round in every module that named both.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal

# isort: off
import cv2 as _cv2  # noqa: F401  (before av: see above)
import av
# isort: on

from ..errors import SinkError, SourceError
from .colour import UNSPECIFIED, Matrix

__all__ = [
    "FULL",
    "LIMITED",
    "MATRICES",
    "MATRIX_CODES",
    "SWS_MATRICES",
    "av",
    "filtered",
    "fraction",
    "guess_matrix",
    "matrix_tag",
    "open_container",
    "reason",
    "sink_error",
    "source_error",
]

# Matrix coefficients of ISO/IEC 23091-2 (FFmpeg's AVColorSpace) that mean one of ours. FCC's
# weights are BT.601's within a code value.
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


def guess_matrix(width: int, height: int) -> Matrix:
    """The matrix that players assume for a picture that does not say: BT.709 from HD upwards."""
    return "bt709" if height >= 720 or width >= 1280 else "bt601"


def matrix_tag(said: int, matrix: Matrix, width: int, height: int) -> int:
    """The matrix code to write for a `width` x `height` output of an input that said `said`.

    What the input said is repeated. Where it said nothing neither do we, unless the output's size
    would make players guess another matrix than the one its samples are in.
    """
    if said != UNSPECIFIED:
        return said
    return UNSPECIFIED if guess_matrix(width, height) == matrix else MATRIX_CODES[matrix]


def fraction(value: Any) -> Fraction | None:
    """A rational of PyAV as a `Fraction`, None where FFmpeg knows nothing.

    PyAV 18 gives `Fraction` or None, PyAV 19 a class of its own, whose unknown is 0/0.
    """
    if value is None or not value.denominator or not value.numerator:
        return None
    return Fraction(value.numerator, value.denominator)


def open_container(file: Any, mode: Literal["r", "w"] = "r", **options: Any) -> Any:
    """Call `av.open`, so that no text in a file is a reason to refuse it.

    Old files hold Latin-1. PyAV 19 always passes such bytes through, PyAV 18 when it is told to.
    """
    if int(av.__version__.partition(".")[0]) < 19:
        options["metadata_errors"] = "surrogateescape"
    return av.open(file, mode, **options)


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


# What FFmpeg's errors mean to a person: problem and cure.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "there is no such file; check the spelling"),
    (PermissionError, "permission is denied; check the rights of the file and its folder"),
    (IsADirectoryError, "it is a folder; name a file in it"),
    (ConnectionRefusedError, "nothing answers there; check the address, and that it is running"),
    (TimeoutError, "it did not answer in time; check the address and the network"),
    (ConnectionResetError, "the other side has broken the connection; check that it is running"),
    (BrokenPipeError, "the reader has gone away; keep it running until the end"),
    (av.error.ExitError, "it did not answer in time; check the address and the network"),
    (av.error.DecoderNotFoundError, "this FFmpeg has no decoder for it; convert it first"),
    (av.error.ProtocolNotFoundError, "this FFmpeg cannot speak that protocol; check the address"),
    (
        av.error.HTTPUnauthorizedError,
        "it wants a user name and password, or others; write PROTOCOL://USER:PASSWORD@HOST/PATH",
    ),
    (av.error.HTTPForbiddenError, "the server forbids it; check the address and the user's rights"),
    (av.error.HTTPNotFoundError, "the server has nothing under that path; check the address"),
)

_ERRNO_REASONS = {
    errno.ENOSPC: "the disk is full; make room or choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EIO: "reading or writing failed; check the disk or the connection",
}


def reason(error: BaseException) -> str:
    """Say in one clause what is wrong, and the cure where it is known."""
    for kind, text in _REASONS:
        if isinstance(error, kind):
            return text
    code = getattr(error, "errno", None)
    if code in _ERRNO_REASONS:
        return _ERRNO_REASONS[code]
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def source_error(name: str, error: BaseException) -> SourceError:
    """The `SourceError` for what PyAV (or the system) raised while reading `name`."""
    if isinstance(error, (av.error.InvalidDataError, EOFError)):
        return SourceError(
            f"{name}: not a video or picture that can be read, or cut off; "
            "play it elsewhere to check, or copy it again"
        )
    return SourceError(f"{name}: cannot be read: {reason(error)}")


def sink_error(name: str, error: BaseException) -> SinkError:
    """The `SinkError` for what PyAV (or the system) raised while writing `name`."""
    return SinkError(f"{name}: cannot be written: {reason(error)}")
