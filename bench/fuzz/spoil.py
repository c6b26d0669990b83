"""Changes of files: anywhere, or in the parts that their format has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import random
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from livemosaic.gallery.file_format import FORMAT_VERSION

PNG = b"\x89PNG\r\n\x1a\n"
_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"meta", b"iprp", b"ipco", b"edts", b"dinf"}
_MASTERS = {0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x55B0, 0x1F43B675, 0xA0}
_NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 31, (1 << 32) - 1)

Part = tuple[int, int, int]  # offsets of a part, of its content, and of its end


def spoil(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """A file with one to four changes; `others` are files to take pieces of."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        if data:
            data = chance.choice((_bytes, _cut, _pieces, _splice, _parts, _parts, _parts))(
                data, others, chance
            )
    return data


def _bytes(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    changed = bytearray(data)
    end = min(len(data), chance.choice((64, 1024, len(data))))
    for _ in range(chance.choice((1, 4, 16, 256))):
        changed[chance.randrange(end)] = chance.randrange(256)
    return bytes(changed)


def _cut(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _pieces(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    a, b = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:a] + data[a:b] * chance.choice((0, 2, 3)) + data[b:]


def _splice(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    other = chance.choice(others)
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other) + 1) :]


def _parts(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Change, repeat, remove or exchange a part; the checksums of PNG are right again."""
    parts = list(_parts_of(data))
    if not parts:
        return data
    start, content, end = chance.choice(parts)
    way = chance.randrange(6)
    if way == 0:
        data = data[:end] + data[start:end] + data[end:]
    elif way == 1:
        data = data[:start] + data[end:]
    elif way == 2:
        first, _, last = chance.choice(parts)
        data = data[:start] + data[first:last] + data[end:]
    else:  # a number in its head or at the beginning of its content
        width = chance.choice((1, 2, 4))
        first = start if way == 3 else content
        at = first + chance.randrange(max(1, min(40, end - first)))
        number = chance.choice(_NUMBERS) % (1 << 8 * width)
        data = (
            data[:at]
            + number.to_bytes(width, chance.choice(("big", "little")))
            + data[at + width :]
        )
    return _with_checksums(data) if data.startswith(PNG) and chance.random() < 0.9 else data


def _parts_of(data: bytes) -> Iterator[Part]:
    if data.startswith(PNG):
        yield from _chunks(data, 8, ">I", 4)
    elif data[:4] == b"RIFF":
        yield from _chunks(data, 12, "<I", 0)
    elif data[4:8] == b"ftyp":
        yield from _boxes(data, 0, len(data))
    elif data[:4] == b"\x1aE\xdf\xa3":
        yield from _elements(data, 0, len(data))
    elif data[:2] == b"\xff\xd8":
        at = 2
        while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield at, at + 4, min(end, len(data))
            at = end
    else:
        step = 188 if data[:1] == b"G" else 64
        yield from ((at, at + 4, min(at + step, len(data))) for at in range(0, len(data) - 4, step))


def _chunks(data: bytes, at: int, number: str, behind: int) -> Iterator[Part]:
    """Chunks of PNG (length, name, content, checksum) or RIFF (name, length, content)."""
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(number, data, at + (0 if behind else 4))
        end = min(at + 8 + length + (behind or length % 2), len(data))
        yield at, at + 8, end
        at = end


def _boxes(data: bytes, at: int, end: int) -> Iterator[Part]:
    while at + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, at)
        last = at + length
        if length < 8 or last > end:
            return
        yield at, at + 8, last
        if name in _BOXES:
            yield from _boxes(data, at + (12 if name == b"meta" else 8), last)
        at = last


def _elements(data: bytes, at: int, end: int) -> Iterator[Part]:
    while at + 2 <= end and data[at]:
        name = at + 9 - data[at].bit_length()
        if name >= end or not data[name]:
            return
        content = name + 9 - data[name].bit_length()
        bits = 7 * (content - name)
        length = int.from_bytes(data[name:content], "big") & ((1 << bits) - 1)
        last = end if length == (1 << bits) - 1 else min(content + length, end)
        yield at, content, last
        if int.from_bytes(data[at:name], "big") in _MASTERS:
            yield from _elements(data, content, last)
        at = last


def _with_checksums(data: bytes) -> bytes:
    changed = bytearray(data)
    for start, _, end in list(_parts_of(data)):
        if end - start >= 12:
            changed[end - 4 : end] = struct.pack(">I", zlib.crc32(data[start + 4 : end - 4]))
    return bytes(changed)


def forge_gallery(data: bytes, chance: random.Random) -> bytes:
    """A gallery whose header or arrays are changed, with right checksums."""
    magic, _, count, offset, length = struct.unpack_from("<8sIIQQ", data)
    body, header = bytearray(data[64:offset]), json.loads(data[offset : offset + length])
    for _ in range(chance.choice((1, 1, 3))):
        array = header["arrays"][chance.choice(list(header["arrays"]))]
        way = chance.randrange(4)
        if way == 0:
            table = chance.choice((header, header["arrays"], header["options"], array))
            if isinstance(table, dict) and table:
                table[chance.choice(list(table))] = value(chance)
        elif way == 1:
            shape = array["shape"]
            shape[chance.randrange(len(shape))] = chance.choice((0, 1, -1, 1 << 40, value(chance)))
        elif way == 2:
            array["offset"] = chance.choice((0, 1, -64, len(data), chance.randrange(len(data))))
        elif body:  # a number of an array
            at = max(0, int(array["offset"]) - 64) + 4 * chance.randrange(64)
            body[at : at + 4] = struct.pack("<i", chance.choice((-1, 0, 1, 255, 1 << 30)))
        arrays = header["arrays"]
        if not isinstance(arrays, dict) or not all(
            isinstance(it, dict) and {"offset", "shape"} <= it.keys() for it in arrays.values()
        ):
            break
    text = json.dumps(header, default=str).encode()
    prefix = struct.pack("<8sIIQQ", magic, FORMAT_VERSION, count, 64 + len(body), len(text))
    return resealed(prefix + bytes(32) + bytes(body) + text)


def resealed(data: bytes | bytearray) -> bytes:
    """A gallery file that was altered, with checksums that fit."""
    made = bytearray(data)
    _, version, count, offset, length = struct.unpack_from("<8sIIQQ", made)
    begin = offset - 4 * count if version == FORMAT_VERSION else 64
    if version == FORMAT_VERSION:
        with contextlib.suppress(Exception):  # its header is forged
            for entry in json.loads(made[offset : offset + length])["arrays"].values():
                row = np.dtype(entry["dtype"]).itemsize * math.prod(entry["shape"][1:])
                end, block = entry["offset"] + row * entry["shape"][0], row * entry["rows"]
                for number, at in enumerate(range(entry["offset"], end, block), entry["checksums"]):
                    checksum = zlib.crc32(made[at : min(at + block, end)])
                    struct.pack_into("<I", made, begin + 4 * number, checksum)
    made[32:64] = hashlib.sha256(made[begin:] + made[:32]).digest()
    return bytes(made)


def value(chance: random.Random) -> Any:
    """A value of any type, often a bad one."""
    return chance.choice(
        (
            0, 1, -1, 2, 8, 0.5, 1e308, -1e-308, 2**31, 2**63, -(2**63), 10**30, 65536, True, False,
            "", "auto", "0.5", "96x64", "1/0", "nan", "\x1b]0;x\x07", "\u202eabc", "é" * 300,
            "../" * 40, "/dev/null", "~", [], [1, 2], ["a"], {}, {"a": 1},
        )
    )  # fmt: skip
