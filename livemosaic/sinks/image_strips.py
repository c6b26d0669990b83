"""PNG, JPEG and WebP, encoded in strips, so that a poster's pixels are never in memory at once.

OpenCV's encoders need the whole picture as BGR, 800 MB for 20,000x13,334 pixels, and keep the
result as well. Strips make no larger files. WebP, which is small, cannot be made of strips.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from ..media.frame import Frame

# Eight lines of JPEG's 16x16 blocks, as many as there are restart markers, so that every strip
# begins with the first of them.
_ROWS = 128
_BLOCK_PX = 16  # with chroma of half the size

_JPEG = [
    # 95 of 100: tiles are full of fine detail, and a picture is written once.
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    # All strips share the standard's tables, not the best ones for each.
    *(cv2.IMWRITE_JPEG_OPTIMIZE, 0),
    *(cv2.IMWRITE_JPEG_PROGRESSIVE, 0),
]
_SIZE, _SCAN, _LAST_RESTART, _END = 0xC0, 0xDA, b"\xff\xd7", b"\xff\xd9"

# Deflate's fastest level on differences to the line above: as fast as OpenCV's PNG, 7 % smaller.
_LEVEL, _FROM_ABOVE = 1, 2


def encode_strips(suffix: str, frame: Frame) -> Iterator[bytes]:
    """Yield the bytes of an image file (.png, .webp, .jpg or .jpeg), in order.

    JPEG has no transparent parts, the others keep them.
    """
    encoders = {".png": _png, ".webp": _webp}
    return encoders.get(suffix, _jpeg)(frame)


def _png(frame: Frame) -> Iterator[bytes]:
    """PNG specification (W3C, third edition): 8 bits, R'G'B', not interlaced."""
    colour_type, channels = (2, 3) if frame.alpha is None else (6, 4)
    size = struct.pack(">IIBBBBB", frame.width, frame.height, 8, colour_type, 0, 0, 0)
    yield b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size)
    packer = zlib.compressobj(_LEVEL)
    above = np.zeros(channels * frame.width, np.uint8)
    for number, bgr in enumerate(frame.strips(_ROWS)):
        rgb: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        if frame.alpha is not None:
            rgb = cv2.merge([*cv2.split(rgb), frame.alpha[number * _ROWS :][: len(bgr)]])
        lines = np.asarray(rgb, np.uint8).reshape(len(bgr), -1)
        filtered = np.empty((len(lines), 1 + lines.shape[1]), np.uint8)
        filtered[:, 0] = _FROM_ABOVE
        np.subtract(lines[0], above, out=filtered[0, 1:])
        np.subtract(lines[1:], lines[:-1], out=filtered[1:, 1:])
        above = lines[-1]
        if packed := packer.compress(filtered.data):
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _webp(frame: Frame) -> Iterator[bytes]:
    picture: Any = frame.to_bgr()
    if frame.alpha is not None:
        picture = cv2.merge([*cv2.split(picture), frame.alpha])
    yield cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, 95])[1].tobytes()


def _jpeg(frame: Frame) -> Iterator[bytes]:
    """Strips as JPEGs of their own, without the headers of all but the first.

    A restart marker before each line of blocks makes the lines independent (ITU-T T.81, E.1.4).
    The bytes are those of the whole picture.
    """
    blocks = -(-frame.width // _BLOCK_PX)
    options = [*_JPEG, cv2.IMWRITE_JPEG_RST_INTERVAL, blocks]
    for number, bgr in enumerate(frame.over_grey().strips(_ROWS)):
        encoded: Any = cv2.imencode(".jpg", bgr, options)[1]
        data = encoded.tobytes()
        scan = _segment(data, _SCAN) + 2
        body = scan + int.from_bytes(data[scan : scan + 2], "big")
        if number == 0:
            height = _segment(data, _SIZE) + 5  # after the marker, its length and the depth
            yield data[:height] + struct.pack(">H", frame.height) + data[height + 2 : body]
        else:
            yield _LAST_RESTART
        yield data[body : -len(_END)]
    yield _END


def _segment(data: bytes, kind: int) -> int:
    """The position of a segment in a JPEG."""
    at = 2
    while data[at + 1] != kind:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at
