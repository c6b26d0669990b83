"""The options of `run`: names, bounds, defaults and help, written once.

They come from the command line, from the `[run]` table of a TOML file (the same names, dashes as
underscores), and from a profile, in this order of precedence.
"""

from __future__ import annotations

import argparse
import reprlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..parse import HIGHEST_RATE, LOWEST_RATE, exact, rate, reconnect_attempts, whole

__all__ = ["OPTIONS", "PROFILES", "Option", "add_options", "resolve"]

_SHORT = 200  # characters of what was written that are repeated in a message


# Each converter takes the text of the command line, or the value of the TOML file, whose type
# has to be right: 32.5 is no tile, 5 no gallery, true no number.


def _whole(value: Any) -> int:
    return whole(str(value))


def _number(value: Any) -> float:
    return float(exact(str(value)))


def _rate(value: Any) -> Fraction:
    return rate(str(value))


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def _size(value: Any) -> tuple[int, int]:
    width, _, height = str(value).lower().partition("x")
    size = whole(width), whole(height)
    if min(size) <= 0:
        raise ValueError
    return size


def _capture(value: Any) -> tuple[int, int, Fraction]:
    size, at, after = str(value).partition("@")
    width, height = _size(size)
    fps = rate(after) if at else Fraction(30)
    return width, height, fps


def _tries(value: Any) -> str:
    reconnect_attempts(str(value))
    return str(value)


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


_KINDS: Mapping[Callable[[Any], Any], str] = {
    _whole: "a whole number",
    _number: "a number",
    _rate: "a rate such as 25 or 30000/1001",
    _word: "a word",
    _size: "WIDTHxHEIGHT, as in 1920x1080",
    _capture: "WIDTHxHEIGHT@RATE, as in 1280x720@30",
    _tries: "never, always, or how many times in a row",
    _yes_or_no: "true or false",
}


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes
    ----------
    name : in the settings file
    convert : one of the converters above
    metavar : what stands for the value in the help; none for a switch
    default : None where it depends on something else, which `help` says then
    low, high : bounds, both allowed themselves
    """

    name: str
    convert: Callable[[Any], Any]
    metavar: str
    help: str
    default: Any = None
    low: float | Fraction | None = None
    high: float | Fraction | None = None
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def read(self, value: Any, *, said: str | None = None) -> Any:
        """Convert and check one value; `UsageError` says what it should have been.

        `said` is how the person wrote it, "--name value" by default.
        """
        try:
            result = self.convert(value)
            good = (
                (not self.choices or result in self.choices)
                and (self.low is None or result >= self.low)
                and (self.high is None or result <= self.high)
            )
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            good = False
        if not good:
            said = said or f"{self.flag} {_short(str(value))}"
            raise UsageError(f"{said}: expected {self._expected()}")
        return result

    def _expected(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = _KINDS[self.convert]
        if self.low is not None and self.high is not None:
            high = self.high if isinstance(self.high, int) else f"{float(self.high):g}"
            return f"{kind}, from {float(self.low):g} to {high}"
        return f"{kind}, at least {float(self.low):g}" if self.low is not None else kind


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
        "tint": 0.0,
        "round_up": True,
    },
    # For both tastes: what the photos show, and what they show together.
    "photos-first": {"tint": 0.5, "variety": 0.8, "overlay": 0.1},
    "picture-first": {"tint": 1.0, "variety": 0.2, "overlay": 0.3},
}

OPTIONS: tuple[Option, ...] = (
    Option(
        "gallery",
        _word,
        "G",
        "photos or emoji (both inside the package), a gallery file, or a folder of photos, which "
        "is built once and kept",
        default="photos",
    ),
    Option(
        "profile",
        _word,
        "P",
        "a named set of the options below (reference is the published algorithm's parameters)",
        default="default",
        choices=tuple(PROFILES),
    ),
    Option("tile", _whole, "PX", "side of a tile in output pixels, even (32)", low=4, high=512),
    Option(
        "columns",
        _whole,
        "N",
        "how many tiles across, instead of --tile; with it, they are the output's size",
        low=1,
    ),
    Option(
        "scale",
        _number,
        "S",
        "output size relative to the input (made about 2560 pixels wide)",
        low=0.01,
        high=100,
    ),
    Option("size", _size, "WxH", "exact output size, instead of --scale"),
    Option(
        "match",
        _word,
        "M",
        "how a tile is chosen: by where its colours lie, or as the published algorithm does",
        default="layout",
        choices=("layout", "clusters"),
    ),
    Option(
        "tint",
        _number,
        "T",
        "how far each photo takes on the mean colour of its place, 0 to 1",
        default=0.8,
        low=0,
        high=1,
    ),
    Option(
        "calm",
        _number,
        "C",
        "how readily photos are exchanged when the picture moves: 0 lively, 1 still",
        default=0.5,
        low=0,
        high=1,
    ),
    Option(
        "variety",
        _number,
        "V",
        "0 the best fitting photos, 1 as many different ones as can be",
        default=0.4,
        low=0,
        high=1,
    ),
    Option(
        "min_distance",
        _whole,
        "N",
        "no photo twice within so many cells",
        default=3,
        low=0,
        high=100,
    ),
    Option(
        "max_uses", _whole, "N", "of a photo in one picture, 0 for any number", default=0, low=0
    ),
    Option(
        "palette", _whole, "N", "clusters of the frame's colours", default=150, low=1, high=4096
    ),
    Option(
        "overlay",
        _number,
        "A",
        "the superimposed original: 0 only tiles, 1 only the original",
        default=0.2,
        low=0,
        high=1,
    ),
    Option(
        "overlay_luma",
        _yes_or_no,
        "",
        "superimpose the original's lightness only: photos keep their colours",
        default=False,
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
        _whole,
        "N",
        "of all randomness: the same seed, input and options give the same pictures",
        default=0,
        low=0,
        high=2**63 - 1,
    ),
    Option(
        "fps",
        _rate,
        "F",
        "constant output rate (the input's own times); a numbered sequence is read at it, too (25)",
        low=LOWEST_RATE,
        high=HIGHEST_RATE,
    ),
    # Less than any frame lasts: 0 seconds would be no picture at all.
    Option("duration", _number, "S", "stop after so many seconds of the input", low=0.001),
    Option(
        "max_latency",
        _number,
        "MS",
        "of a live input, from capture to output: less is done per frame where it is needed",
        default=100.0,
        low=10,
        high=60_000,
    ),
    Option("capture", _capture, "WxH@F", "size and rate asked of a webcam (1280x720@30)"),
    Option(
        "reconnect",
        _tries,
        "N",
        "how often to try again when a live input is lost: never, always, or N times in a row "
        "(always, once it has come)",
    ),
    Option("realtime", _yes_or_no, "", "pace a file as if it were live", default=False),
    Option("codec", _word, "C", "video encoder of a file (the container's usual one)"),
    Option("preset", _word, "P", "the encoder's speed preset"),
    Option("crf", _number, "Q", "the encoder's constant quality, lower is better", low=0),
    Option("format", _word, "F", "of standard output", choices=("matroska", "y4m")),
)

_BY_NAME = {option.name: option for option in OPTIONS}

# Of two that exclude each other, the one that is said nearer to the person counts. (A tile and
# columns said together are an output size.)
_EXCLUSIVE = (("tile", "columns"), ("scale", "size"))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run` to a parser; what is not given stays None."""
    for option in OPTIONS:
        text = option.help.replace("%", "%%")
        if option.convert is _yes_or_no:
            parser.add_argument(
                option.flag, dest=option.name, action="store_const", const=True, help=text
            )
            continue
        if len(option.choices) > 1:
            text += f": {' or '.join(option.choices)}"
        if option.default is not None:
            shown = option.default
            text += f" ({shown if isinstance(shown, str) else f'{shown:g}'})"
        parser.add_argument(option.flag, dest=option.name, metavar=option.metavar, help=text)


def resolve(
    given: Mapping[str, Any], *, file: Path | None = None, text: bytes | None = None
) -> dict[str, Any]:
    """Bring the options together.

    Parameters
    ----------
    given : values of the command line by name, None where not given; other names are ignored
    file : a TOML file with a `[run]` table
    text : what is in the file, where it was read already

    Returns
    -------
    every option's value by name, and `round_up` (set by profiles only)

    Raises
    ------
    UsageError : a value or name that makes no sense, or a file that cannot be used
    """
    filed = _read_file(file, text) if file is not None else {}
    said = {
        option.name: option.read(given[option.name])
        for option in OPTIONS
        if given.get(option.name) is not None
    }
    profile = PROFILES[said.get("profile") or filed.get("profile") or "default"]
    values: dict[str, Any] = {option.name: option.default for option in OPTIONS}
    values["round_up"] = False
    for layer in (profile, filed, said):
        for pair in _EXCLUSIVE:
            if any(name in layer for name in pair):
                values.update(dict.fromkeys(pair))
        if "tile" in layer and "columns" in layer:
            values.update(scale=None, size=None)
        values.update(layer)
    if values["size"] is not None or values["columns"] is not None:
        values["round_up"] = False
    return values


def _read_file(file: Path, text: bytes | None) -> dict[str, Any]:
    """The checked values of the `[run]` table of a settings file."""
    try:
        # Editors of Windows begin a text with a byte order mark.
        document = tomllib.loads((file.read_bytes() if text is None else text).decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(
            f"--config {file}: cannot be read: {error.strerror}; check the name"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {file}: not valid TOML: {error}; correct it there") from None
    except (ValueError, RecursionError) as error:  # limits of Python's, not of TOML's
        what = (
            "a number is too long" if isinstance(error, ValueError) else "it is nested too deeply"
        )
        raise UsageError(f"--config {file}: {what}; correct it there") from None
    table = document.pop("run", {})
    if document or not isinstance(table, dict):
        what = _short(", ".join(document)) or "run is not a table"
        raise UsageError(
            f"--config {file}: unknown: {what}; the options stand in a table, under [run]"
        )
    unknown = [name for name in table if name not in _BY_NAME]
    if unknown:
        raise UsageError(
            f"--config {file}: unknown: {_short(', '.join(unknown))}; "
            f"a [run] table takes {', '.join(_BY_NAME)}"
        )
    return {
        name: _BY_NAME[name].read(value, said=f"--config {file}: {name} = {_written(value)}")
        for name, value in table.items()
    }


def _written(value: Any) -> str:
    """A value of the file for a message, however long or deep it is."""
    try:
        return _short(reprlib.repr(value))
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a very long number"


def _short(text: str) -> str:
    """The text, or its beginning where it would fill a screen."""
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."
