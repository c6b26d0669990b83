"""The process of `encoder_probe`.

It reads a pickled `Trial`, prints `{}` when it is ready, then one line of JSON for each encoder.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import sys
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from ..errors import LivemosaicError, SinkError, words_of
from ..media.deep import DeepInfo
from ..media.ffmpeg import av
from ..media.frame import Frame, StreamInfo
from .base import FileOptions
from .encoder import VideoEncoder
from .encoder_probe import Trial
from .formats import fitting

_FRAMES, _LARGE = 4, 8_000_000  # of large pictures, half as many
_LEAST_DB = 20  # below, it is another picture


def encode_one(name: str, trial: Trial) -> tuple[str, float, float]:
    """Encode some frames as an output would, and decode them.

    Returns
    -------
    error : empty for none, `absent` if this FFmpeg has no such encoder
    ms : that it took
    psnr : how near the decoded pictures are, in dB
    """
    try:
        codec = av.Codec(name, "w")
    except ValueError:
        return "absent", 0.0, 0.0
    info = StreamInfo(
        trial.width,
        trial.height,
        rate=trial.rate,
        time_base=1 / trial.rate,
        deep=DeepInfo() if trial.deep else None,
        live=trial.live,
    )
    began = time.monotonic()
    with av.logging.Capture() as words:  # empty without a level, see below
        try:
            psnr = _try(codec, info, fitting(trial.options, name), low_delay=trial.low_delay)
        except Exception as error:  # drivers' wrappers raise errors of any type
            return _reason(error, [text for _, _, text in words]), 0.0, 0.0
    return "", (time.monotonic() - began) * 1e3, psnr


def _try(codec: Any, info: StreamInfo, options: FileOptions, *, low_delay: bool) -> float:
    """The PSNR; raises any error."""
    file, lumas = io.BytesIO(), []
    with av.open(file, "w", format="matroska") as container:
        encoder = VideoEncoder(
            container, codec, info, options=options, name=codec.name, low_delay=low_delay
        )
        for frame in sample_frames(info):
            lumas.append(frame.y)
            container.mux(list(encoder.encode(frame)))
        container.mux(list(encoder.flush()))
    file.seek(0)
    squares = 0.0
    with av.open(file, "r") as made:
        for luma, decoded in zip(lumas, made.decode(video=0), strict=True):
            if (decoded.width, decoded.height) != (info.width, info.height):
                raise SinkError(f"its pictures have {decoded.width}x{decoded.height} pixels")
            picture = decoded.to_ndarray(format="yuv420p")[: info.height, : info.width]
            squares += cv2.norm(luma, picture, cv2.NORM_L2SQR)
    mean = squares / (len(lumas) * info.width * info.height)
    psnr = 10 * math.log10(255**2 / max(mean, 0.01))
    if psnr < _LEAST_DB:
        raise SinkError(f"its pictures are wrong ({psnr:.0f} dB)")
    return psnr


def sample_frames(info: StreamInfo) -> Iterator[Frame]:
    """A picture as detailed as a mosaic, which moves."""
    random = np.random.default_rng(0)
    width, height = info.width + 2 * _FRAMES, info.height + 2 * _FRAMES
    coarse = random.integers(40, 216, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    fine = random.integers(0, 40, (height // 2 + 1, width // 2 + 1, 3), np.uint8)
    whole = cv2.add(cv2.resize(coarse, (width, height)), cv2.resize(fine, (width, height)))
    is_large = info.width * info.height > _LARGE
    for number in range(_FRAMES // 2 if is_large else _FRAMES):
        rows, columns = (slice(2 * number, 2 * number + side) for side in (info.height, info.width))
        yield Frame.from_bgr(
            np.ascontiguousarray(whole[rows, columns]),
            pts=number,
            time_base=info.time_base,
            colour=info.colour,
        )


def _reason(error: BaseException, words: list[str]) -> str:
    """FFmpeg's own words: the advice of our message, such as file permissions, does not apply."""
    if isinstance(error, LivemosaicError) and error.__cause__ is None:
        return " ".join(str(error).split())
    texts = [" ".join(text.split()).rstrip(".") for text in words]
    return next(filter(None, texts), " ".join(words_of(error.__cause__ or error).split()))


def main(trial: Trial) -> None:
    """Try each encoder and print its result at once."""
    _print({})
    for name in trial.names:
        error, took_ms, psnr = encode_one(name, trial)
        _print({"name": name, "error": error, "ms": round(took_ms, 1), "psnr": round(psnr, 1)})


def _print(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    av.logging.set_level(av.logging.ERROR)
    main(pickle.load(sys.stdin.buffer))
