"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_NAME_LENGTH = 40  # of the final name, so that the hidden one has at most 255 bytes


def hidden_path(final: Path) -> Path:
    """A path for an unfinished file.

    It is in the same folder, because a rename is atomic only within one file system. It is random,
    because in a container all runs have the same process number, and the remains of a killed run
    would be in the way.
    """
    return final.with_name(f".{final.name[:_NAME_LENGTH]}.{secrets.token_hex(4)}.part")


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a hidden file that replaces `path` when the block ends, or is removed if it raises.

    If `path` is a link, the file that it leads to is replaced, not the link. After an `OSError`
    nothing is left.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a name has no zero bytes")
    final = Path(os.path.realpath(path))
    part = hidden_path(final)
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, final)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
