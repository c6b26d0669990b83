"""Options: dataclass fields with their help, their bounds and the way they are read.

`MosaicSettings` and `RunOptions` declare their options with `option`. The command line, the
settings file, the checks of values and the CLI reference are views of `options_of` these classes.
"""

from __future__ import annotations

import math
import os
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

from .errors import OptionError
from .parse import exact, rate, whole

T = TypeVar("T")

Size = tuple[int, int]  # width and height in pixels
Texts = str | tuple[str, ...]  # one text, or several


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of values."""

    words: str  # completes "must be"
    metavar: str  # stands for a value in the help of the command line
    read: Callable[[Any], Any]  # converts text or a value; raises ValueError, TypeError, ...
    example: str = ""  # completes "such as"
    json: str = "string"  # its type in JSON
    pattern: str = ""  # a regular expression for values that are texts, if others are numbers


def read_whole(value: Any) -> int:
    """A whole number from its text, or from itself."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, str):
        value = exact(value)
    elif isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def _texts(value: Any) -> Texts:
    if isinstance(value, str):
        return _text(value)
    first, *others = map(_text, value)
    return (first, *others) if others else first


def read_size(value: Any) -> Size:
    """Width and height from 640x480, or from two numbers."""
    if isinstance(value, str):
        value = value.lower().split("x")
    width, height = map(read_whole, value)
    if min(width, height) <= 0:
        raise ValueError
    return width, height


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


# By the type of the field; without its "| None".
_KINDS: Mapping[object, Kind] = {
    int: Kind("a whole number", "N", read_whole, json="integer"),
    float: Kind("a number", "X", _number, json="number"),
    Fraction: Kind("a rate", "RATE", lambda value: rate(str(value)), "25 or 30000/1001"),
    str: Kind("text", "NAME", _text),
    Path: Kind("a path", "FILE", lambda value: Path(_text(os.fspath(value)))),
    Size: Kind("WIDTHxHEIGHT", "WxH", read_size, "1920x1080"),
    bool: Kind("true or false", "", _switch, json="boolean"),
}


TEXTS = Kind("text, or a list of texts", "NAME", _texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option."""

    field: str  # of the dataclass
    name: str  # in the settings file; the command line puts dashes for underscores
    kind: Kind
    help: str  # without the default
    default: Any  # None if it depends on other things, which `help` explains
    optional: bool  # None is a value, too
    metavar: str  # stands for a value in the help of the command line
    low: float | Fraction | None = None  # bounds, both allowed themselves
    high: float | Fraction | None = None
    choices: tuple[str, ...] = ()  # the only values
    short: str = ""  # one-letter flag such as -y
    group: str = "mosaic"  # heading in the help
    live: bool = False  # it may change while a run goes on
    keeps_tiles: bool = False  # a change of it is drawn with the tiles that are there
    filed: bool = True  # a settings file may set it
    is_path: bool = False  # it may name a file
    several: bool = False  # the command line takes it several times, for a list

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_switch(self) -> bool:
        """Whether it is only on or off."""
        return self.kind is _KINDS[bool]

    def read(self, value: object) -> Any:
        """Convert and check text, a value of a TOML file, or the value itself; `OptionError`."""
        try:
            result = self.kind.read(value)
            # Two numbers, such as a size, have no bounds here.
            good = isinstance(result, tuple) or (
                (not self.choices or result in self.choices)
                and (self.low is None or result >= self.low)
                and (self.high is None or result <= self.high)
            )
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            good = False
        if not good:
            raise self.error(value)
        return result

    def check(self, value: object) -> None:
        """Check a value that is not text of the command line; `OptionError`."""
        if value is None and self.optional:
            return
        result = self.read(value)
        if isinstance(value, str) and not isinstance(result, str):
            raise OptionError(self.field, value, f"it is text; give {result!r}")

    def error(self, value: object) -> OptionError:
        """The error for a value that the option does not take."""
        words = f"one of {', '.join(self.choices)}" if self.choices else self.kind.words
        if self.low is not None:
            low = f"{float(self.low):g}"
            words += f" of at least {low}" if self.high is None else f" from {low} to {self.high}"
        if self.kind.example:
            words += f", such as {self.kind.example}"
        return OptionError(self.field, value, f"must be {words}")


def text_of(value: object) -> str:
    """A value as a user writes it."""
    if isinstance(value, tuple | list) and any(isinstance(part, str) for part in value):
        return ", ".join(map(str, value))
    if isinstance(value, tuple):
        size, rest = "x".join(map(text_of, value[:2])), value[2:]
        return f"{size}@{text_of(rest[0])}" if rest else size
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def option(default: T, help: str, **details: Any) -> T:
    """Declare a field of a dataclass as an option; `details` are more attributes of `Option`."""
    return field(default=default, metadata={"option": {"help": " ".join(help.split()), **details}})


def same_option(declared: Any, name: str) -> Any:
    """Declare a field of a dataclass as the option that another dataclass has."""
    its = next(its for its in fields(declared) if its.name == name)
    return field(default=its.default, metadata=its.metadata)


@cache
def options_of(declared: Any) -> tuple[Option, ...]:
    """The options that a dataclass declares; those of a dataclass in a field take its place."""
    hints = typing.get_type_hints(declared)
    found: list[Option] = []
    for its in fields(declared):
        hint = hints[its.name]
        if "option" not in its.metadata:
            found += options_of(hint) if hasattr(hint, "__dataclass_fields__") else ()
            continue
        optional = types.NoneType in typing.get_args(hint)
        if optional:
            hint, *_ = (each for each in typing.get_args(hint) if each is not types.NoneType)
        details: dict[str, Any] = {"name": its.name, **its.metadata["option"]}
        if typing.get_origin(hint) is typing.Literal:
            details["choices"], hint = typing.get_args(hint), str
        kind = details["kind"] = details.get("kind") or _KINDS[hint]
        details.setdefault("metavar", kind.metavar)
        found.append(Option(field=its.name, default=its.default, optional=optional, **details))
    return tuple(found)


def check(declared: Any) -> None:
    """Check the values of a dataclass's own options; `OptionError`."""
    own = {its.name for its in fields(declared)}
    for known in options_of(declared.__class__):
        if known.field in own:
            known.check(getattr(declared, known.field))
