"""A file for FFmpeg's muxers, in which no error is lost."""

from __future__ import annotations

import errno
import os
from io import FileIO

from ..media.atomic_write import Part


class MuxerFile:
    """A part as a file object for `av.open`.

    At their end muxers go back to write what they know by then. They do not look whether that has
    failed, and FFmpeg would write on at the wrong place. So nothing is written after an error, and
    FFmpeg reports it. `write` and `seek` return FFmpeg's code of an error, because PyAV prints
    exceptions that it cannot raise.
    """

    def __init__(self, part: Part) -> None:
        self._file: FileIO = part.open_unbuffered()
        self._begin = b""  # the header, as it was written first
        self._error = 0

    @property
    def failed(self) -> bool:
        """Whether there was an error."""
        return self._error != 0

    @property
    def size(self) -> int:
        """The bytes of the file so far."""
        return os.fstat(self._file.fileno()).st_size

    def write(self, data: bytes) -> int:
        self._begin = self._begin or data
        rest = memoryview(data)
        try:
            while rest and not self._error:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._note(error)
        return self._error or len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self._note(error)
            return self._error

    def tell(self) -> int:
        return self._file.tell()

    def restore(self, size: int) -> None:
        """Cut the file off, and undo what the muxer has changed in the header since; `OSError` if
        the disk refuses."""
        self._file.truncate(size)
        self._file.seek(0)
        self._file.write(self._begin)

    def close(self) -> None:
        self._file.close()

    def _note(self, error: OSError) -> None:
        self._error = self._error or -(error.errno or errno.EIO)
