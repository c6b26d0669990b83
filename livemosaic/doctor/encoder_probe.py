"""Tries encoders in a process of its own, because a driver may end it.

Prints `{}` when it is ready, then one line of JSON for each encoder.

python -m livemosaic.doctor.encoder_probe libx264 h264_nvenc ...
"""

from __future__ import annotations

import io
import json
import sys
import time
from fractions import Fraction

import numpy as np

from ..errors import LivemosaicError, words_of
from ..media.colour import Colour
from ..media.ffmpeg import av
from ..media.frame import Frame, StreamInfo
from ..sinks import FileOptions
from ..sinks.encoder import VideoEncoder
from .result import one_line

# Every hardware encoder supports this size, and needs only milliseconds for it.
_WIDTH, _HEIGHT = 640, 384


def encode_one(name: str) -> tuple[str, float]:
    """Encode one frame as a file output would; returns the error and the duration in ms.

    The error is empty for none, and `absent` if this FFmpeg has no such encoder.
    """
    try:
        codec = av.Codec(name, "w")
    except ValueError:
        return "absent", 0.0
    began = time.monotonic()
    try:
        frame = Frame.from_bgr(np.full((_HEIGHT, _WIDTH, 3), 90, np.uint8), colour=Colour())
        info = StreamInfo(_WIDTH, _HEIGHT, rate=Fraction(25), time_base=Fraction(1, 25))
        with av.open(io.BytesIO(), "w", format="matroska") as container:
            encoder = VideoEncoder(container, codec, info, options=FileOptions(), name=name)
            size = sum(packet.size for packet in (*encoder.encode(frame), *encoder.flush()))
    except Exception as error:  # drivers' wrappers raise errors of any type
        return _reason(error), 0.0
    return "" if size else "no data came out", (time.monotonic() - began) * 1e3


def _reason(error: BaseException) -> str:
    """FFmpeg's own words: the advice of our message, such as file permissions, does not apply."""
    if isinstance(error, LivemosaicError):
        if error.__cause__ is None:
            return one_line(error)
        error = error.__cause__
    return " ".join(words_of(error).split())


def main(names: list[str]) -> None:
    """Try each encoder and print its result at once."""
    _print({})
    for name in names:
        error, took_ms = encode_one(name)
        _print({"name": name, "error": error, "ms": round(took_ms, 1)})


def _print(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
