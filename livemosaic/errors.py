"""The exceptions of livemosaic.

    LivemosaicError
    ├── UsageError      (ValueError)  what was asked for makes no sense; the command line exits 2
    │   └── OptionError               an option does not take a value
    ├── SourceError     (OSError)     an input cannot be opened or read
    │   └── RefusedError              and would not be when tried again
    ├── SinkError       (OSError)     an output cannot be opened or written
    └── GalleryError    (ValueError)  a gallery or its photos cannot be used

Every message names the thing, says what is wrong with it, and says the cure.
"""

from __future__ import annotations

import reprlib

__all__ = [
    "GalleryError",
    "LivemosaicError",
    "OptionError",
    "RefusedError",
    "SinkError",
    "SourceError",
    "UsageError",
    "shown",
]


class LivemosaicError(Exception):
    """The root: catch this to catch everything that livemosaic raises on purpose."""


class UsageError(LivemosaicError, ValueError):
    """An option, a value or a combination that makes no sense, whatever the machine's state."""


class OptionError(UsageError):
    """A value that an option does not take.

    Attributes
    ----------
    option : name of the parameter or field
    value : the value
    problem : "must be a number from 0 to 1"
    """

    def __init__(self, option: str, value: object, problem: str) -> None:
        super().__init__(f"{option} {shown(value)}: {problem}")
        self.option, self.value, self.problem = option, value, problem


def shown(value: object) -> str:
    """A value in a message, which stays short however long or deep the value is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a very long number"


class SourceError(LivemosaicError, OSError):
    """An input that cannot be opened or read."""


class RefusedError(SourceError):
    """An input that cannot be opened, and trying again is useless: a wrong address, no rights."""


class SinkError(LivemosaicError, OSError):
    """An output that cannot be opened or written."""


class GalleryError(LivemosaicError, ValueError):
    """A gallery, or the photos for one, that cannot be used."""
