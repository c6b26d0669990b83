"""PNG and JPEG, coded band by band: a poster's pixels are never in memory at once.

OpenCV's encoders want the whole picture as BGR, 800 MB for 20,000x13,334 pixels, and hold the
result as well. Both formats can be made in pieces, and are no larger for it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from ..media.frame import Frame

__all__ = ["encode_strips"]

# Eight lines of JPEG's 16x16 blocks: as many as there are restart markers, so that every band
# begins with the first of them.
_ROWS = 128
_BLOCK_PX = 16  # with chroma of half the size

_JPEG = [
    # 95 of 100: tiles are full of fine detail, and a picture is written once.
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    # Bands have to share their tables: the standard's, not the best for each.
    *(cv2.IMWRITE_JPEG_OPTIMIZE, 0),
    *(cv2.IMWRITE_JPEG_PROGRESSIVE, 0),
]
_SIZE, _SCAN, _LAST_RESTART, _END = 0xC0, 0xDA, b"\xff\xd7", b"\xff\xd9"

# Deflate's quickest level on differences to the line above: as quick as OpenCV's PNG, 7 % smaller.
_LEVEL, _FROM_ABOVE = 1, 2


def encode_strips(suffix: str, frame: Frame) -> Iterator[bytes]:
    """Encode a picture.

    Parameters
    ----------
    suffix : .png, .jpg or .jpeg

    Yields
    ------
    The file's bytes, in order
    """
    return _png(frame) if suffix == ".png" else _jpeg(frame)


def _png(frame: Frame) -> Iterator[bytes]:
    """As of the PNG specification (W3C, third edition): 8 bits, R'G'B', not interlaced."""
    size = struct.pack(">IIBBBBB", frame.width, frame.height, 8, 2, 0, 0, 0)
    yield b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size)
    packer = zlib.compressobj(_LEVEL)
    above = np.zeros(3 * frame.width, np.uint8)
    for bgr in frame.strips(_ROWS):
        lines = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8).reshape(len(bgr), -1)
        coded = np.empty((len(lines), 1 + lines.shape[1]), np.uint8)
        coded[:, 0] = _FROM_ABOVE
        np.subtract(lines[0], above, out=coded[0, 1:])
        np.subtract(lines[1:], lines[:-1], out=coded[1:, 1:])
        above = lines[-1]
        if packed := packer.compress(coded.data):
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _jpeg(frame: Frame) -> Iterator[bytes]:
    """Bands as pictures of their own, of which all but the first lose their headers.

    A restart marker before each line of blocks makes them independent of each other (ITU-T T.81,
    E.1.4): the bytes are those of the whole picture, coded at once.
    """
    blocks = -(-frame.width // _BLOCK_PX)
    options = [*_JPEG, cv2.IMWRITE_JPEG_RST_INTERVAL, blocks]
    for number, bgr in enumerate(frame.strips(_ROWS)):
        coded: Any = cv2.imencode(".jpg", bgr, options)[1]
        data = coded.tobytes()
        head, body = _split(data)
        if number == 0:
            at = _segment(data, _SIZE) + 5  # behind the marker, its length and the depth
            yield head[:at] + struct.pack(">H", frame.height) + head[at + 2 :]
        else:
            yield _LAST_RESTART
        yield body
    yield _END


def _split(data: bytes) -> tuple[bytes, bytes]:
    """A JPEG's headers, and its coded blocks without the end marker."""
    scan = _segment(data, _SCAN)
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    return data[:start], data[start : -len(_END)]


def _segment(data: bytes, kind: int) -> int:
    """Where a JPEG's segment of a kind begins."""
    at = 2
    while data[at + 1] != kind:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at
