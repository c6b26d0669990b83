"""Locks of open files and folders among processes; the system frees them when a process ends."""

from __future__ import annotations

import errno
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def lock_file(file: int, *, shared: bool = False, wait: bool = False) -> None:
    """Lock an open file until it is closed.

    On Windows, a lock that is shared locks nothing.

    Parameters
    ----------
    file : its number, or that of a folder
    shared : several may have it so, while none has it alone
    wait : for the end of the others

    Raises
    ------
    BlockingIOError : another process has it
    OSError : there are no such locks, as on some network folders
    """
    try:
        if sys.platform != "win32":
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
        elif not shared:
            msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in _TAKEN:
            raise BlockingIOError(*error.args) from None
        raise


def take_lock(file: int, *, shared: bool = False, wait: bool = False) -> bool:
    """The same; False if another process has it. Without such locks, each counts as alone."""
    try:
        lock_file(file, shared=shared, wait=wait)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
