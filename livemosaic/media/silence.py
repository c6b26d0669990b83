"""Silence of the warnings of one thread."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar

# In this thread; others may have tasks of their own.
_is_silent: ContextVar[bool] = ContextVar("is_silent", default=False)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Print no warnings of the block, nor of what it calls by `start_call`."""
    before = _is_silent.get()
    _is_silent.set(True)
    try:
        yield
    finally:
        _is_silent.set(before)


# Once: a filter that leaves while another thread goes through them has it skip one.
logging.getLogger("livemosaic").addFilter(
    lambda record: not _is_silent.get() or record.levelno >= logging.ERROR
)
