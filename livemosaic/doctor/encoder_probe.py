"""Tries encoders in a process that nobody misses if a driver ends it. Prints `{}` when it is ready,
and then a line of JSON for each.

python -m livemosaic.doctor.encoder_probe libx264 h264_nvenc ...
"""

from __future__ import annotations

import io
import json
import sys
import time
from fractions import Fraction

import numpy as np

from ..errors import LivemosaicError
from ..media.colour import Colour
from ..media.ffmpeg import av
from ..media.frame import Frame, StreamInfo
from ..sinks.encoder import VideoEncoder
from ..sinks.formats import FileOptions

__all__ = ["encode_one", "main"]

# All hardware takes it, and all are done with it in some milliseconds.
_WIDTH, _HEIGHT = 640, 384


def encode_one(name: str) -> tuple[str, float]:
    """Encode one frame as a file output would.

    Returns
    -------
    What is wrong, empty for nothing, `absent` when this FFmpeg does not have it; and milliseconds
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
    except LivemosaicError as error:
        return _why(error), 0.0
    except Exception as error:  # whatever a driver's wrapper raises
        return _said(error), 0.0
    return "" if size else "it gave nothing", (time.monotonic() - began) * 1e3


def _why(error: LivemosaicError) -> str:
    cause = error.__cause__
    return _said(cause) if cause is not None else str(error)


def _said(error: BaseException) -> str:
    """FFmpeg's own words: a driver's error is nothing that a file's rights would cure."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def main(names: list[str]) -> None:
    """Say of each encoder what came of it, as soon as it is known."""
    av.logging.set_level(av.logging.PANIC)
    _say({})
    for name in names:
        wrong, took_ms = encode_one(name)
        _say({"name": name, "wrong": wrong, "ms": round(took_ms, 1)})


def _say(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
