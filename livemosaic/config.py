"""The options of `run`: names, bounds, defaults and help, written once.

They come from the command line, from the `[run]` table of a TOML file (the same names, dashes as
underscores), and from a profile, in this order of precedence.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from .errors import UsageError

__all__ = ["OPTIONS", "PROFILES", "Option", "add_options", "resolve"]


def _number(text: Any) -> float:
    return float(Fraction(str(text)))


def _size(text: Any) -> tuple[int, int]:
    width, _, height = str(text).lower().partition("x")
    return int(width), int(height)


@dataclass(frozen=True, slots=True)
class Option:
    """One option; `convert` takes the text of the command line or the value of the TOML file."""

    name: str
    convert: Callable[[Any], Any]
    metavar: str
    help: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def read(self, value: Any) -> Any:
        """Convert and check one value."""
        try:
            result = self.convert(value)
        except (ValueError, TypeError, ZeroDivisionError):
            raise UsageError(f"{self.flag} {value}: expected {self._expected()}") from None
        if self.choices and result not in self.choices:
            raise UsageError(f"{self.flag} {value}: expected {self._expected()}")
        if (self.low is not None and not result >= self.low) or (
            self.high is not None and not result <= self.high
        ):
            raise UsageError(f"{self.flag} {value}: expected {self._expected()}")
        return result

    def _expected(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = {
            int: "a whole number",
            _number: "a number",
            Fraction: "a rate such as 25 or 30000/1001",
            _size: "WIDTHxHEIGHT, as in 1920x1080",
        }.get(self.convert, "a word")
        if self.low is not None and self.high is not None:
            return f"{kind} from {self.low:g} to {self.high:g}"
        return f"{kind} of at least {self.low:g}" if self.low is not None else str(kind)


# The values of the reference notebook (vishnu-chand/videoMosaic). Its 500 tile clusters and the
# 35th percentile are the defaults of `gallery build`.
PROFILES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "reference": {
        "scale": 4.0,
        "tile": 32,
        "palette": 150,
        "activity": 16.0,
        "overlay": 0.5,
        "match": "clusters",
        "round_up": True,
    },
}

OPTIONS: tuple[Option, ...] = (
    Option(
        "gallery",
        str,
        "G",
        "photos or emoji (both inside the package), a gallery file, or a folder of photos, which "
        "is built once and kept",
        default="photos",
    ),
    Option(
        "profile",
        str,
        "P",
        "a named set of the options below; reference: the published algorithm's parameters",
        default="default",
        choices=tuple(PROFILES),
    ),
    Option("tile", int, "PX", "side of a tile in output pixels, even (32)", low=4, high=512),
    Option("columns", int, "N", "how many tiles across, instead of --tile", low=1),
    Option(
        "scale",
        _number,
        "S",
        "output size relative to the input (made about 2560 pixels wide)",
        low=0.01,
        high=100,
    ),
    Option("size", _size, "WxH", "exact output size, instead of --scale"),
    Option("match", str, "M", "how a tile is chosen", default="clusters", choices=("clusters",)),
    Option("palette", int, "N", "clusters of the frame's colours", default=150, low=1, high=4096),
    Option(
        "overlay",
        _number,
        "A",
        "the superimposed original: 0 only tiles, 1 only the original",
        default=0.5,
        low=0,
        high=1,
    ),
    Option(
        "activity",
        _number,
        "T",
        "how far a colour must move to count as change, 0 to 255",
        default=16.0,
        low=0,
        high=255,
    ),
    Option(
        "seed",
        int,
        "N",
        "of all randomness: the same seed, input and options give the same pictures",
        default=0,
        low=0,
        high=2**63 - 1,
    ),
    Option("fps", Fraction, "F", "constant output rate (the input's own times)", low=0.01),
    Option("duration", _number, "S", "stop after so many seconds of the input", low=0),
    Option("codec", str, "C", "video encoder of a file (the container's usual one)"),
    Option("preset", str, "P", "the encoder's speed preset"),
    Option("crf", _number, "Q", "the encoder's constant quality, lower is better", low=0),
    Option("format", str, "F", "of standard output", choices=("matroska", "y4m")),
)

_BY_NAME = {option.name: option for option in OPTIONS}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run` to a parser; what is not given stays None."""
    for option in OPTIONS:
        text = option.help.replace("%", "%%")
        if option.default is not None:
            text += (
                f" ({option.default:g})"
                if not isinstance(option.default, str)
                else (f" ({option.default})")
            )
        parser.add_argument(option.flag, dest=option.name, metavar=option.metavar, help=text)


def resolve(given: Mapping[str, Any], *, file: Path | None = None) -> dict[str, Any]:
    """Bring the options together.

    Parameters
    ----------
    given : values of the command line by name, None where not given
    file : a TOML file with a `[run]` table

    Returns
    -------
    every option's value by name, and `round_up` (set by profiles only)

    Raises
    ------
    UsageError : a value or name that makes no sense, or a file that cannot be used
    """
    stated = _read_file(file) if file is not None else {}
    stated.update({k: v for k, v in given.items() if v is not None and k in _BY_NAME})
    stated = {name: _BY_NAME[name].read(value) for name, value in stated.items()}
    profile = PROFILES[stated.get("profile", "default")]
    values: dict[str, Any] = {option.name: option.default for option in OPTIONS}
    values["round_up"] = False
    values.update(profile)
    # Of two that exclude each other, what the person said replaces what the profile says.
    for pair in (("tile", "columns"), ("scale", "size")):
        if any(name in stated for name in pair):
            values.update(dict.fromkeys(pair))
    values.update(stated)
    if values["size"] is not None or values["columns"] is not None:
        values["round_up"] = False
    return values


def _read_file(file: Path) -> dict[str, Any]:
    """The `[run]` table of a settings file."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {file}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {file}: not valid TOML: {error}") from None
    table = document.pop("run", {})
    unknown = [*document, *(key for key in table if key not in _BY_NAME)]
    if not isinstance(table, dict) or unknown:
        raise UsageError(
            f"--config {file}: unknown: {', '.join(unknown)}; "
            f"a [run] table takes {', '.join(_BY_NAME)}"
        )
    return table
