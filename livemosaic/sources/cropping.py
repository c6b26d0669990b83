"""Cropping that a container asks for: PixelCrop of Matroska, clean apertures of MP4 and MOV.

Editors and mkvpropedit mark the black bars of a film in this way. PyAV does not give these values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..media.crop import NO_CROP, Crop, of_aperture

_SEGMENT, _TRACKS, _TRACK = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae"
_TYPE, _VIDEO = b"\x83", b"\xe0"
_CROPS = {b"\x54\xcc": "left", b"\x54\xbb": "top", b"\x54\xdd": "right", b"\x54\xaa": "bottom"}
_VIDEO_TYPE = 1
_NUMBER_BYTES = 8  # of a number at most

_ENTRY_BYTES = 78  # of a picture's sample description, before the boxes in it
_ENTRY_SIZE = 24  # where its width and height are

_MAX_READS = 100_000  # of a file; a forged one may have millions of parts

_Part = tuple[bytes, int, int]  # kind, start and end of the content


class _File:
    """Reads a file at any place, `_MAX_READS` times at most; `ValueError` after that."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _MAX_READS

    def read(self, at: int, count: int) -> bytes:
        if not self._left:
            raise ValueError("it has too many parts")
        self._left -= 1
        self._file.seek(at)
        return self._file.read(count)


def read_crop(container: Any, stream: Any) -> Crop:
    """The cropping that a local file asks for; nothing if it is damaged or of another format."""
    name, path = container.format.name, Path(container.name)
    read = {"matroska": _matroska, "mov": _mov}.get(name.partition(",")[0])
    try:
        if read is None or not path.is_file():
            return NO_CROP
        with path.open("rb") as file:
            size = path.stat().st_size
            crops = list(read(_File(file), size))
        crop = crops[container.streams.video.index(stream)]
    except (OSError, ValueError, IndexError, ZeroDivisionError, struct.error):
        return NO_CROP
    is_valid = min(crop) >= 0 and _leaves_some(crop, stream)
    return crop if is_valid else NO_CROP


def _leaves_some(crop: Crop, stream: Any) -> bool:
    context = stream.codec_context
    return min(crop.size_of(context.width, context.height)) > 0


# ---- Matroska ----------------------------------------------------------------------------


def _matroska(file: _File, size: int) -> Iterator[Crop]:
    """The cropping of each video track (RFC 9559)."""
    for tracks in _inside(_elements, file, (b"", 0, size), _SEGMENT, _TRACKS):
        for track in _inside(_elements, file, tracks, _TRACK):
            kinds = [_number(file, it) for it in _inside(_elements, file, track, _TYPE)]
            if kinds != [_VIDEO_TYPE]:
                continue
            sides = {}
            for video in _inside(_elements, file, track, _VIDEO):
                for part in _elements(file, video):
                    if part[0] in _CROPS:
                        sides[_CROPS[part[0]]] = _number(file, part)
            yield Crop(**sides)
        return


def _elements(file: _File, parent: _Part) -> Iterator[_Part]:
    """The elements of EBML (RFC 8794)."""
    _, at, end = parent
    while at < end:
        head = file.read(at, 12)
        id_bytes = 9 - head[0].bit_length()
        length_bytes = 9 - head[id_bytes].bit_length()
        start = at + id_bytes + length_bytes
        mask = (1 << 7 * length_bytes) - 1
        length = int.from_bytes(head[id_bytes : id_bytes + length_bytes]) & mask
        # If all bits are set, the length is not known.
        at = end if length == mask else min(start + length, end)
        yield head[:id_bytes], start, at


def _number(file: _File, part: _Part) -> int:
    length = part[2] - part[1]
    if length > _NUMBER_BYTES:
        raise ValueError("it is no number")
    return int.from_bytes(file.read(part[1], length))


# ---- MP4 and MOV -------------------------------------------------------------------------


def _mov(file: _File, size: int) -> Iterator[Crop]:
    """The cropping of each video track (ISO/IEC 14496-12, 12.1.4)."""
    movie = next(_inside(_boxes, file, (b"", 0, size), b"moov"), (b"", 0, 0))
    for media in _inside(_boxes, file, movie, b"trak", b"mdia"):
        handler = next(_inside(_boxes, file, media, b"hdlr"), None)
        if handler is None or file.read(handler[1] + 8, 4) != b"vide":
            continue
        crop = NO_CROP
        for _, start, end in _inside(_boxes, file, media, b"minf", b"stbl", b"stsd"):
            for entry in _boxes(file, (b"", start + 8, end)):
                stored = struct.unpack(">2H", file.read(entry[1] + _ENTRY_SIZE, 4))
                inner = (b"", entry[1] + _ENTRY_BYTES, entry[2])
                for aperture in _inside(_boxes, file, inner, b"clap"):
                    crop = of_aperture(stored, file.read(aperture[1], 32))
        yield crop


def _boxes(file: _File, parent: _Part) -> Iterator[_Part]:
    _, at, end = parent
    while at + 8 <= end:
        length, kind, long = struct.unpack(">I4sQ", file.read(at, 16).ljust(16, b"\0"))
        start = at + 8
        if length == 1:
            length, start = long, at + 16
        at = min(at + length, end) if length >= 8 else end
        yield kind, start, at


def _inside(parts: Any, file: _File, parent: _Part, *kinds: bytes) -> Iterator[_Part]:
    """All parts on a path of kinds below a part."""
    for part in parts(file, parent):
        if part[0] == kinds[0]:
            if len(kinds) == 1:
                yield part
            else:
                yield from _inside(parts, file, part, *kinds[1:])
