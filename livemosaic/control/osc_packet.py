"""Packets of Open Sound Control 1.0: messages, and bundles of them.

It takes no package: the parser of python-osc 1.10.2 never returns from a bundle with a negative
size, and it logs by the root logger, which it sets up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

Value = int | float | str | bool | None

_BUNDLE = b"#bundle\0"
_HEAD = len(_BUNDLE) + 8  # with the time tag
_MAX_DEPTH = 8  # of bundles in bundles

_NUMBERS = {tag: struct.Struct(f">{code}") for tag, code in zip("ifhd", "ifqd", strict=True)}
# An impulse (I) has no value: it is a button that was pressed.
_CONSTANTS: dict[str, Value] = {"T": True, "I": True, "F": False, "N": None}
_SIZE = _NUMBERS["i"]


class BadPacket(ValueError):
    """The bytes are no OSC, or have values of a type that no option takes."""


def messages(packet: bytes, *, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """The address and the arguments of each message of a packet, in their order.

    Time tags of bundles are not read: all messages are for now.

    Raises
    ------
    BadPacket : the rest of the packet is no OSC
    """
    if not packet.startswith(_BUNDLE):
        address, at = _text(packet, 0)
        if not address.startswith("/"):
            raise BadPacket("an address that does not begin with /")
        yield address, packet[at:]
        return
    if depth == _MAX_DEPTH:
        raise BadPacket("too many bundles in bundles")
    at = _HEAD
    while at < len(packet):
        try:
            (size,) = _SIZE.unpack_from(packet, at)
        except struct.error:
            raise BadPacket("a bundle that is cut off") from None
        at += _SIZE.size
        if not 0 < size <= len(packet) - at:
            raise BadPacket("a bundle with a wrong size")
        yield from messages(packet[at : at + size], depth=depth + 1)
        at += size


def arguments(data: bytes) -> list[Value]:
    """The values of the arguments of a message.

    Raises
    ------
    BadPacket : they are damaged, or of a type that no option takes
    """
    if not data:
        return []
    tags, at = _text(data, 0)
    if not tags.startswith(","):
        raise BadPacket("arguments without their types")
    values: list[Value] = []
    for tag in tags[1:]:
        if tag in _NUMBERS:
            try:
                (number,) = _NUMBERS[tag].unpack_from(data, at)
            except struct.error:
                raise BadPacket("a number that is cut off") from None
            at += _NUMBERS[tag].size
            # 0.1 has about seven digits as a float of 32 bits, and others behind them.
            values.append(float(f"{number:.7g}") if tag == "f" else number)
        elif tag in ("s", "S"):
            text, at = _text(data, at)
            values.append(text)
        elif tag in _CONSTANTS:
            values.append(_CONSTANTS[tag])
        else:
            raise BadPacket(f"arguments of type {tag}; send numbers, text, true or false")
    return values


def _text(data: bytes, at: int) -> tuple[str, int]:
    """The text at a place, and the place after it, a multiple of four."""
    end = data.find(b"\0", at)
    if end < 0:
        raise BadPacket("text without an end")
    try:
        return data[at:end].decode(), (end // 4 + 1) * 4
    except UnicodeDecodeError:
        raise BadPacket("text that is not UTF-8") from None
