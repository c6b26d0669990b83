"""The exceptions of livemosaic.

    LivemosaicError
    ├── UsageError (ValueError)    an option or argument makes no sense
    │   └── OptionError            an option has a wrong value
    ├── SourceError (OSError)      an input cannot be opened or read
    │   └── RefusedError           an input cannot be opened, and a retry is useless
    ├── SinkError (OSError)        an output cannot be opened or written
    ├── GalleryError (ValueError)  a gallery or its photos cannot be used
    └── ClusterError               the workers of a cluster cannot be used

Every message names the thing, the problem and the remedy: *thing: problem; what to do*. The command
line prints it in one line and exits with 2 for a `UsageError`, with 1 for all others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "ClusterError",
    "GalleryError",
    "LivemosaicError",
    "OptionError",
    "RefusedError",
    "SinkError",
    "SourceError",
    "UsageError",
    "as_written",
    "did_you_mean",
    "fix_of_writing",
    "is_out_of_memory",
    "printable",
    "problem_of",
    "shown",
    "unknown_options",
    "words_of",
]


# What a terminal obeys instead of showing it, what turns the direction of the text around it, ends
# of lines, and parts of characters (bytes of file names that are not UTF-8).
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


# A user's name and password before a host, in an address that stands in the wrong place.
# `media.urls.public_name` hides more, of what is known to be an address. The length of a protocol's
# name is limited, because the search in a long text would take hours.
_CREDENTIALS = re.compile(r"(?i)([a-z][a-z0-9+.-]{1,30}:/+)[^\s/'\"]*@")


def printable(text: object) -> str:
    """Text in one line, with control characters as escapes such as \\x1b.

    Names, tags and addresses come from outside: everything that is shown goes through here.
    """
    return _CREDENTIALS.sub(r"\1", _UNPRINTABLE.sub(_escaped, str(text)))


def _escaped(match: re.Match[str]) -> str:
    if "\udc80" <= match[0] <= "\udcff":  # how Python holds a byte that is not UTF-8
        return f"\\x{ord(match[0]) - 0xDC00:x}"
    return match[0].encode("unicode_escape").decode("ascii")


# How the library names the arguments that allow more; the command line shows its flag for all.
OVERWRITE = "set overwrite=True"
MISSING_FOLDERS = "set missing_folders=True"

_NO_MEMORY = -4  # cv2.Error.STS_NO_MEM: OpenCV is not imported before it is needed


def counted(number: int, thing: str) -> str:
    """A number of things, such as "1 photo" and "1,000 photos"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


class LivemosaicError(Exception):
    """The base class of every exception that livemosaic raises on purpose."""

    def __str__(self) -> str:
        return printable(super().__str__())


class UsageError(LivemosaicError, ValueError):
    """An option, an argument or a combination of them makes no sense on any machine."""


class OptionError(UsageError):
    """An option has a wrong value.

    Attributes
    ----------
    option : name of the parameter or field
    value : the value
    problem : "must be a number from 0 to 1"
    """

    def __init__(self, option: str, value: object, problem: str) -> None:
        super().__init__(f"{option} {shown(value)}: {problem}")
        self.option, self.value, self.problem = option, value, problem


@contextlib.contextmanager
def as_written(names: Mapping[str, str]) -> Iterator[None]:
    """Let an `OptionError` name an option, of these by field, as the caller wrote it."""
    try:
        yield
    except OptionError as error:
        name = names.get(error.option, error.option)
        raise OptionError(name, error.value, error.problem) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question after names that a wrong one begins, or after the nearest; empty without any."""
    import difflib

    names = list(known)
    near = [name for name in dict.fromkeys(names) if len(word) > 2 and name.startswith(word)]
    near = near or difflib.get_close_matches(word, names, n=1, cutoff=0.65)
    return f"did you mean {' or '.join(near[:3])}?" if near else ""


def unknown_options(names: Iterable[str], known: Iterable[str], listed: Iterable[str]) -> TypeError:
    """The error for options that do not exist; if none of those known is near, it lists some."""
    wrong = sorted(names)
    hint = did_you_mean(wrong[0], known) or f"there are {', '.join(listed)}"
    return TypeError(f"no option {', '.join(wrong)}; {hint}")


def shown(value: object) -> str:
    """A value in a message, which stays short however long or deep the value is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a very long number"


def words_of(error: BaseException) -> str:
    """Why a call failed, in the system's words. Not every `OSError` has a number of the system."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def fix_of_writing(error: OSError, other: str) -> str:
    """What to do if a file cannot be written; `other` is to write it elsewhere."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return f"make room, or {other}"
    return "give the same command again" if error.errno == errno.ESTALE else other


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a call failed for lack of memory, in Python or in OpenCV."""
    of_opencv = type(error).__module__ == "cv2" and getattr(error, "code", 0) == _NO_MEMORY
    return of_opencv or isinstance(error, MemoryError)


def problem_of(error: BaseException, *, name: str = "") -> str:
    """Any error in one line: the message of a `LivemosaicError`, or the class with the message,
    after the name of the thing."""
    if isinstance(error, LivemosaicError):
        return str(error)
    if name:
        return f"{name}: {problem_of(error)}"
    if is_out_of_memory(error):
        return "not enough memory"
    if isinstance(error, FileNotFoundError) and _folder_is_gone():
        return "the current folder does not exist any more; change to another one"
    return f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"


def _folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


class SourceError(LivemosaicError, OSError):
    """An input cannot be opened or read."""


class RefusedError(SourceError):
    """An input cannot be opened, and a retry is useless: a wrong address, no permission."""


class SinkError(LivemosaicError, OSError):
    """An output cannot be opened or written."""


class GalleryError(LivemosaicError, ValueError):
    """A gallery, or the photos for one, cannot be used."""


class ClusterError(LivemosaicError):
    """A cluster or its workers cannot be used, or fail."""
