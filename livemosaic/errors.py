"""The exceptions of livemosaic.

    LivemosaicError
    ├── UsageError      (ValueError)  what was asked for makes no sense; the command line exits 2
    ├── SourceError     (OSError)     an input cannot be opened or read
    │   └── RefusedError              and would not be when tried again
    ├── SinkError       (OSError)     an output cannot be opened or written
    └── GalleryError    (ValueError)  a gallery or its photos cannot be used

Every message names the thing, says what is wrong with it, and says the cure.
"""

from __future__ import annotations

__all__ = [
    "GalleryError",
    "LivemosaicError",
    "RefusedError",
    "SinkError",
    "SourceError",
    "UsageError",
]


class LivemosaicError(Exception):
    """The root: catch this to catch everything that livemosaic raises on purpose."""


class UsageError(LivemosaicError, ValueError):
    """An option, a value or a combination that makes no sense, whatever the machine's state."""


class SourceError(LivemosaicError, OSError):
    """An input that cannot be opened or read."""


class RefusedError(SourceError):
    """An input that cannot be opened, and trying again is useless: a wrong address, no rights."""


class SinkError(LivemosaicError, OSError):
    """An output that cannot be opened or written."""


class GalleryError(LivemosaicError, ValueError):
    """A gallery, or the photos for one, that cannot be used."""
