"""Files of coded packets, each exactly as it was: its bytes, its times, and what belongs to it.

No container does that for every codec: most round times, or change what they do not know.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, get_args

from ..errors import SinkError
from ..media.ffmpeg import av

# Of each packet: its size, times and duration, the unit of these, whether it is a key frame, how
# many numbers it has, and how many pieces of side data. Then these numbers, its bytes, the pieces.
_HEAD = struct.Struct("<4q2i3B")
_SIDE = struct.Struct("<Bq")  # its kind and size, before its bytes
_END = struct.Struct("<QQ8s")  # number of packets, size of the facts, which are before it; magic
_CHECKSUM = struct.Struct("<I")  # of all before it
_MAGIC = b"LMpk2\0\0\0"
_UNKNOWN = -(2**63)  # a time, as FFmpeg has it
_KINDS = get_args(av.packet.PktSideDataT)
_SideData: Any = av.packet.PacketSideData
_CHUNK = 2**20


class PacketWriter:
    """Writes packets into a file as they come. Its memory does not grow with them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._checksum, self._count = file, 0, 0

    def add(self, packet: Any, *notes: int) -> None:
        """Add a packet, and numbers to be read with it."""
        times = (packet.pts, packet.dts, packet.duration)
        base, beside = packet.time_base, list(packet.iter_sidedata())
        head = _HEAD.pack(
            packet.size,
            *(_UNKNOWN if it is None else it for it in times),
            *(base.numerator, base.denominator),
            *(packet.is_keyframe, len(notes), len(beside)),
        )
        self._write(head + struct.pack(f"<{len(notes)}q", *notes))
        self._write(bytes(packet))
        for data in beside:
            self._write(_SIDE.pack(_KINDS.index(data.data_type), data.data_size) + bytes(data))
        self._count += 1

    def finish(self, **about: Any) -> None:
        """Write facts about the file; nothing may be added after it."""
        facts = json.dumps(about).encode()
        self._write(facts)
        self._write(_END.pack(self._count, len(facts), _MAGIC))
        self._file.write(_CHECKSUM.pack(self._checksum))

    def _write(self, data: bytes) -> None:
        self._checksum = zlib.crc32(data, self._checksum)
        self._file.write(data)


class PacketFile:
    """A file of packets, which is whole. `ValueError` if it is damaged, `OSError` if it cannot be
    read. The packets stay in the file.

    Attributes
    ----------
    about : the facts about the file
    """

    def __init__(self, path: Path) -> None:
        self.path, self._count = path, 0
        with path.open("rb") as file:
            left = file.seek(0, 2) - _CHECKSUM.size
            end = left - _END.size
            if end < 0:
                raise ValueError("it is cut off")
            file.seek(end)
            self._count, size, magic = _END.unpack(file.read(_END.size))
            (checksum,) = _CHECKSUM.unpack(file.read(_CHECKSUM.size))
            if magic != _MAGIC:
                raise ValueError("it is cut off")
            file.seek(0)
            found = 0
            while left and (data := file.read(min(left, _CHUNK))):
                found, left = zlib.crc32(data, found), left - len(data)
            if found != checksum:
                raise ValueError("it is damaged")
            file.seek(end - size)
            self.about: dict[str, Any] = json.loads(file.read(size))

    def __len__(self) -> int:
        return self._count

    @property
    def times(self) -> list[tuple[int, Fraction]]:
        """The presentation time of each packet, in the order of decoding, and its unit; looked up
        in the file."""
        found = []
        with self._opened() as file:
            for _ in range(len(self)):
                size, pts, _, _, ticks, per, _, notes, beside = self._unpack(file, _HEAD)
                found.append((pts, Fraction(ticks, per)))
                file.seek(8 * notes + size, 1)
                for _ in range(beside):
                    file.seek(self._unpack(file, _SIDE)[1], 1)
        return found

    def __iter__(self) -> Iterator[tuple[Any, list[int]]]:
        """Yield each packet, which has no stream yet, and its numbers."""
        with self._opened() as file:
            for _ in range(len(self)):
                size, *times, ticks, per, key, notes, beside = self._unpack(file, _HEAD)
                data = self._read(file, 8 * notes + size)
                packet: Any = av.Packet(data[8 * notes :])
                times = [None if it == _UNKNOWN else it for it in times]
                packet.pts, packet.dts, packet.duration = times
                packet.time_base, packet.is_keyframe = Fraction(ticks, per), bool(key)
                for _ in range(beside):
                    kind, length = self._unpack(file, _SIDE)
                    more: Any = _SideData(kind, length)
                    more.update(self._read(file, length))
                    packet.set_sidedata(more)
                yield packet, list(struct.unpack_from(f"<{notes}q", data))

    def _opened(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except FileNotFoundError:
            raise SinkError(f"{self.path}: it was removed meanwhile; start again") from None

    def _unpack(self, file: BinaryIO, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self._read(file, form.size))

    def _read(self, file: BinaryIO, size: int) -> bytes:
        data = file.read(size)
        if len(data) != size:
            raise SinkError(f"{self.path}: it was cut off meanwhile; start again")
        return data
