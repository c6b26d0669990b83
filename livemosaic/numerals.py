"""Numbers as people write them, within what a computer can do with them at once.

`int` and `Fraction` take every text that is a number: of a million digits, or 1e999999999, which
has a thousand million of them and keeps the whole process waiting.
"""

from __future__ import annotations

from fractions import Fraction

__all__ = ["exact", "whole"]

_MAX_LENGTH = 100  # characters; nobody writes more, and all that follows takes microseconds
_MAX_EXPONENT = 999  # of ten; doubles end at 308


def whole(text: str) -> int:
    """The whole number that is written in `text`; `ValueError` where there is none."""
    if len(text) > _MAX_LENGTH:
        raise ValueError(text)
    return int(text)


def exact(text: str) -> Fraction:
    """The number that is written in `text`, such as 25, 0.5, 2e3 or 30000/1001.

    Raises
    ------
    ValueError : there is none, or one of more than 100 characters or an exponent beyond 999
    ZeroDivisionError : 1/0
    """
    _, _, exponent = text.lower().partition("e")
    if len(text) > _MAX_LENGTH or abs(int(exponent or 0)) > _MAX_EXPONENT:
        raise ValueError(text)
    return Fraction(text)
