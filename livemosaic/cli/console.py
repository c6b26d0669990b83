"""The person at the terminal: what is said to them, and what their Ctrl-C does."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..errors import SinkError

__all__ = [
    "complain",
    "counting_bar",
    "open_standard_files",
    "print_json",
    "print_text",
    "progress_bar",
    "set_up_logging",
]

T = TypeVar("T")
Progress = Callable[[int, int], None]  # done, total

_logger = logging.getLogger("livemosaic")


def open_standard_files() -> None:
    """Open what was closed of standard input, output and error.

    A video file would get the free number, and what C libraries say to standard error be
    written into it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


# ---- words and figures -------------------------------------------------------------------


@contextlib.contextmanager
def progress_bar(*, quiet: bool, when: str = "auto", **settings: Any) -> Iterator[Any]:
    """A bar with rate and time left on standard error, None where none is wanted.

    Parameters
    ----------
    when : `always`, `never`, or `auto`: on a terminal
    settings : of tqdm
    """
    at_terminal = sys.stderr is not None and _stderr.isatty()
    if quiet or not (when == "always" or (when == "auto" and at_terminal)):
        yield None
        return
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread of its own: it is updated often enough
    tqdm.set_lock(threading.RLock())  # and no semaphore for other processes
    with tqdm(file=_stderr, leave=False, mininterval=0, miniters=0, **settings) as bar:
        yield bar


@contextlib.contextmanager
def counting_bar(*, quiet: bool, when: str = "auto", unit: str) -> Iterator[Progress]:
    """A bar that comes with the first call of `progress(done, total)`."""
    bars: list[Any] = []
    with contextlib.ExitStack() as stack:

        def progress(done: int, total: int) -> None:
            if not bars:
                bar = progress_bar(quiet=quiet, when=when, unit=unit, total=total, smoothing=0.1)
                bars.append(stack.enter_context(bar))
            if bars[0] is not None:
                bars[0].update(done - bars[0].n)

        yield progress


def print_json(report: dict[str, Any]) -> None:
    """Print one object on standard output; `SinkError` as of `print_text`."""
    print_text(json.dumps(report) + "\n")


def print_text(text: str) -> None:
    """Print on standard output, at once; `SinkError` when that cannot be written."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What Python still holds of it must not fail again, with a traceback, at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SinkError(
            f"standard output: it cannot be written: {error.strerror}; "
            "keep its reader running until the end"
        ) from None


class _Handler(logging.Handler):
    """Log records as the program's own words."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        _say(level + record.getMessage())


def set_up_logging(*, verbose: bool, quiet: bool) -> None:
    _logger.handlers[:] = [_Handler()]
    _logger.propagate = False
    _logger.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO)


class _StandardError:
    """Standard error, as long as there is somebody who reads it: without, the work goes on."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


_stderr = _StandardError()


def _say(text: str) -> None:
    """One message on standard error, above a progress bar if there is one."""
    tqdm = sys.modules.get("tqdm")
    with tqdm.tqdm.external_write_mode(_stderr) if tqdm else contextlib.nullcontext():
        _stderr.write(f"livemosaic: {text}\n")
        _stderr.flush()


def complain(error: object) -> None:
    _say("error: " + " ".join(str(error).split("\n")))
