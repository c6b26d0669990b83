"""What the first bytes of an image file say, read before OpenCV decodes anything.

Needed for three reasons: a JPEG can be decoded smaller only when its size is known beforehand; a
file that would unpack to gigabytes must be refused before memory is taken; and "cannot be read"
deserves a reason (OpenCV gives none, and libpng writes its own to standard error).
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

__all__ = ["BadImage", "Header", "read_header"]

# 16,384 x 16,384. The largest sensors of today have 200 megapixels; OpenCV's own limit, four times
# this, would let one small file take 4 GB.
MAX_PIXELS = 2**28

KNOWN = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF"

ORIENTATION_TAG = 0x0112  # of Exif and TIFF


class BadImage(Exception):
    """This file cannot be used; the message is the reason, without the file's name."""


class Header(NamedTuple):
    """Kind of file, size as stored in pixels, and how to turn it (Exif 1..8, 1 for not at all)."""

    kind: str
    width: int
    height: int
    orientation: int = 1


def read_header(data: bytes) -> Header:
    """Recognise an image file by its first bytes.

    `orientation` is left at 1 where the decoder applies it by itself (TIFF, AVIF).

    Raises
    ------
    BadImage : empty, unknown, cut off, damaged where that shows, or too large
    """
    if not data:
        raise BadImage("the file is empty")
    try:
        header = _read(data)
    except (struct.error, IndexError):
        raise BadImage("cut off or damaged: its header is not whole") from None
    if header.width < 1 or header.height < 1:
        raise BadImage(f"damaged {header.kind}: its header gives no size")
    if header.width * header.height > MAX_PIXELS:
        size = f"{header.width} x {header.height}"
        raise BadImage(f"too large: {size} pixels, the limit is {MAX_PIXELS:,} in all")
    return header


def _read(data: bytes) -> Header:
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Header("GIF", *struct.unpack_from("<HH", data, 6))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(b"BM"):
        return _bmp(data)
    if data.startswith((b"II*\0", b"MM\0*")):
        tags = _tiff_tags(data)
        return Header("TIFF", tags.get(256, 0), tags.get(257, 0))
    if data[4:8] == b"ftyp":
        return _avif(data)
    raise BadImage(f"not an image of a known kind ({KNOWN})")


def _jpeg(data: bytes) -> Header:
    """Walk the segments up to the first scan (ITU-T T.81, annex B)."""
    at, width, height, orientation = 2, 0, 0, 1
    while True:
        if data[at] != 0xFF:
            raise BadImage("damaged JPEG: its segments do not join")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xDA:  # the scan: pixels from here on
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
        elif marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(data[at + 10 : at + 2 + length])
        at += 2 + length
    # libjpeg fills what is missing with grey, and a half grey tile is worse than none. Searched
    # from the scan on: an embedded thumbnail has an end marker of its own.
    if data.rfind(b"\xff\xd9", at) < 0:
        raise BadImage("cut off JPEG: it has no end")
    return Header("JPEG", width, height, orientation)


def _png(data: bytes) -> Header:
    """Walk all chunks and check their sums, or libpng would complain on standard error."""
    width, height = struct.unpack_from(">II", data, 16)
    at, orientation, view = 8, 1, memoryview(data)
    while True:
        if at + 12 > len(data):
            raise BadImage("cut off PNG: it has no end")
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise BadImage("cut off PNG: it has no end")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            label = name.decode("ascii", "replace")
            raise BadImage(f"damaged PNG: wrong checksum of its {label} chunk")
        if name == b"eXIf":
            orientation = _orientation(data[at + 8 : end])
        elif name == b"IEND":
            return Header("PNG", width, height, orientation)
        at = end + 4


def _webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise BadImage("cut off WebP: it has no end")
    kind, orientation = data[12:16], 1
    if kind == b"VP8 ":
        width, height = (v & 0x3FFF for v in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        at = 12
        while at + 8 <= len(data):
            name, length = struct.unpack_from("<4sI", data, at)
            if name == b"EXIF":
                orientation = _orientation(data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
            at += 8 + length + (length & 1)
    return Header("WebP", width, height, orientation)


def _bmp(data: bytes) -> Header:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:  # OS/2
        return Header("BMP", *struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    return Header("BMP", abs(width), abs(height))  # a negative height means top row first


def _avif(data: bytes) -> Header:
    (length,) = struct.unpack_from(">I", data, 0)
    brands = {data[i : i + 4] for i in (8, *range(16, min(length, 256), 4))}
    if not brands & {b"avif", b"avis"}:
        if brands & {b"heic", b"heix", b"hevc", b"heim", b"mif1"}:
            raise BadImage("HEIC is not read by OpenCV: save it as JPEG")
        raise BadImage(f"not an image of a known kind ({KNOWN})")
    # The spatial extents of every item, thumbnails and grid tiles among them: the largest counts.
    width = height = 0
    at = data.find(b"ispe")
    while 0 <= at < 2**16:
        w, h = struct.unpack_from(">II", data, at + 8)
        width, height = max(width, w), max(height, h)
        at = data.find(b"ispe", at + 4)
    return Header("AVIF", width, height)


def _orientation(tiff: bytes) -> int:
    """The orientation that an Exif block asks for; 1 when it says none or is damaged."""
    try:
        value = _tiff_tags(tiff).get(ORIENTATION_TAG, 1)
    except struct.error:
        return 1
    return value if 1 <= value <= 8 else 1


def _tiff_tags(data: bytes) -> dict[int, int]:
    """Integer tags of a TIFF's first directory."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    tags = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if kind in (3, 4):  # SHORT, LONG
            (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)
    return tags
