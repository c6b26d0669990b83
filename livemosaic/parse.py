"""Parses numbers, and refuses those that take too long to parse.

`int` and `Fraction` also accept a number of a million digits, or 1e999999999, which blocks the
whole process.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

LOWEST_RATE, HIGHEST_RATE = Fraction(1, 100), Fraction(1000)  # frames/s

_MAX_LENGTH = 100  # characters; such a number parses within microseconds
_MAX_EXPONENT = 999  # of ten; doubles end at 308

# FFmpeg's rationals have 32 bits for numerator and denominator. 1001 is the denominator of NTSC's
# rates, and a millionth is 4 ms in an hour.
_NTSC, _MAX_BELOW = 1001, 10**6
_SAME = Fraction(1, 10**6)


def whole(text: str) -> int:
    """The whole number in a text; `ValueError` if there is none."""
    if len(text) > _MAX_LENGTH:
        raise ValueError(text)
    return int(text)


def exact(text: str) -> Fraction:
    """The number in a text, such as 25, 0.5, 2e3 or 30000/1001.

    `ValueError` if there is none, or a longer one; `ZeroDivisionError` for 1/0.
    """
    _, _, exponent = text.lower().partition("e")
    if len(text) > _MAX_LENGTH or abs(int(exponent or 0)) > _MAX_EXPONENT:
        raise ValueError(text)
    return Fraction(text)


def rate(text: str) -> Fraction:
    """The frames/s in a text, as a fraction that containers can hold.

    A decimal within a millionth of a rate with a denominator up to 1001 is that rate:
    29.97002997003 is 30000/1001. The errors are those of `exact`, also for a rate out of range.
    """
    value = exact(text)
    if not LOWEST_RATE <= value <= HIGHEST_RATE:
        raise ValueError(text)
    near = value.limit_denominator(_NTSC)
    if "/" not in text and abs(near - value) <= value * _SAME:
        return near
    return value.limit_denominator(_MAX_BELOW)


def seconds(text: str) -> float:
    """The seconds in a time such as 90, 1:30, 0:47:10 or 0:47:10.5; the errors are those of
    `exact`."""
    *larger, last = text.split(":")
    if len(larger) > 2 or not all(part.isascii() and part.isdigit() for part in larger):
        raise ValueError(text)
    total = exact(last)
    if not 0 <= total < (60 if larger else math.inf):
        raise ValueError(text)
    for place, part in enumerate(reversed(larger), 1):
        total += whole(part) * 60**place
    return float(total)


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of 8080, :8080, 0.0.0.0:8080 or [::1]:8080; this computer without a host.

    `ValueError` if there is no port from 0 to 65535, or what is before it is no host.
    """
    match = re.fullmatch(r"(?:(\[[0-9a-fA-F:.]+\]|[\w.-]*):)?([0-9]{1,5})", text, re.ASCII)
    if match is None or int(match[2]) > 65535:
        raise ValueError(text)
    return (match[1] or "127.0.0.1").strip("[]"), int(match[2])


def reconnect_attempts(text: str) -> float:
    """How often to try to reconnect: a whole number, 0 for "never", infinity for "always"."""
    if text in ("never", "always"):
        return 0 if text == "never" else math.inf
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return whole(text)
