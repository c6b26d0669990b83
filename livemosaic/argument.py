"""Checks arguments of the library's functions, so that a wrong one is named where it comes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from numbers import Integral, Rational
from pathlib import Path
from typing import Any

from .errors import UsageError, shown

PATH = "a path or an address"


def take(name: str, value: object, kinds: Any, words: str) -> None:
    """Raise `UsageError` for an argument that is of none of the kinds; `words` describe them."""
    if not isinstance(value, kinds):
        # Not the value: it may be an address with a password, given in the wrong place.
        kind = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise UsageError(f"{name}: give {words}, not {'None' if value is None else kind}")


def path_text(name: str, value: object, words: str = PATH) -> str:
    """The text of a path or an address; `UsageError` if it is none, or empty."""
    take(name, value, str | Path, words)
    text = str(value)
    if not text or "\0" in text:
        raise UsageError(f"{name}: it {'has a zero byte' if text else 'is empty'}; give {words}")
    return text


def items(name: str, value: object, words: str) -> list[Any]:
    """The items of an iterable, a path being a single one; `UsageError` if it has none."""
    if isinstance(value, str | Path):
        return [value]
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        take(name, value, (), words)
    return list(value)  # type: ignore[call-overload, no-any-return]


def whole(name: str, value: object, low: int) -> int:
    """A whole number of at least `low`; `UsageError`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise UsageError(f"{name} {shown(value)}: must be a whole number of at least {low}")
    return int(value)


def number(name: str, value: Any, low: float) -> float:
    """A finite number of at least `low`; `UsageError`."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not low <= value < float("inf")
    ):
        raise UsageError(f"{name} {shown(value)}: must be a number of at least {low:g}")
    return float(value)


def positive(name: str, value: Any) -> Fraction:
    """A `Fraction` or whole number above 0, as a fraction; `UsageError`."""
    if isinstance(value, bool) or not isinstance(value, Rational) or value <= 0:
        raise UsageError(f"{name} {shown(value)}: must be a Fraction or whole number above 0")
    return Fraction(int(value.numerator), int(value.denominator))
