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

_MAGIC = b"LMpk1\0\0\0"
_END = struct.Struct("<QI8s")  # size of the index, checksum of all before it, magic
_KINDS = get_args(av.packet.PktSideDataT)
_SideData: Any = av.packet.PacketSideData
_CHUNK = 2**20


class PacketWriter:
    """Writes packets into a file as they come."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._checksum = file, 0
        self._entries: list[list[Any]] = []

    def add(self, packet: Any, *notes: int) -> None:
        """Add a packet, and numbers to be read with it."""
        self._write(bytes(packet))
        base = packet.time_base
        beside = []
        for data in packet.iter_sidedata():
            self._write(bytes(data))
            beside.append([data.data_type, data.data_size])
        self._entries.append(
            [
                *(packet.size, packet.pts, packet.dts, packet.duration),
                *(base.numerator, base.denominator, int(packet.is_keyframe), beside, notes),
            ]
        )

    def finish(self, **about: Any) -> None:
        """Write the index, with facts about the file; nothing may be added after it."""
        index = json.dumps({"about": about, "packets": self._entries}).encode()
        self._write(index)
        self._file.write(_END.pack(len(index), self._checksum, _MAGIC))

    def _write(self, data: bytes) -> None:
        self._checksum = zlib.crc32(data, self._checksum)
        self._file.write(data)


class PacketFile:
    """A file of packets, opened. `ValueError` if it is damaged, `OSError` if it cannot be read.

    Attributes
    ----------
    about : the facts about the file
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            end = file.seek(0, 2) - _END.size
            if end < 0:
                raise ValueError("it is cut off")
            file.seek(end)
            size, checksum, magic = _END.unpack(file.read(_END.size))
            if magic != _MAGIC or size > end:
                raise ValueError("it is cut off")
            file.seek(0)
            found, left = 0, end
            while left and (data := file.read(min(left, _CHUNK))):
                found, left = zlib.crc32(data, found), left - len(data)
            if found != checksum:
                raise ValueError("it is damaged")
            file.seek(end - size)
            index = json.loads(file.read(size))
        self.about: dict[str, Any] = index["about"]
        self._entries: list[list[Any]] = index["packets"]

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def times(self) -> list[tuple[int, Fraction]]:
        """The presentation time of each packet, in the order of decoding, and its unit."""
        return [(entry[1], Fraction(entry[4], entry[5])) for entry in self._entries]

    def __iter__(self) -> Iterator[tuple[Any, list[int]]]:
        """Yield each packet, which has no stream yet, and its numbers."""
        with self.path.open("rb") as file:
            for size, pts, dts, duration, ticks, per, key, beside, notes in self._entries:
                data = file.read(size)
                if len(data) != size:
                    raise SinkError(f"{self.path}: it was cut off meanwhile; start again")
                packet: Any = av.Packet(data)
                packet.pts, packet.dts, packet.duration = pts, dts, duration
                packet.time_base, packet.is_keyframe = Fraction(ticks, per), bool(key)
                for kind, length in beside:
                    more: Any = _SideData(_KINDS.index(kind), length)
                    more.update(file.read(length))
                    packet.set_sidedata(more)
                yield packet, notes
