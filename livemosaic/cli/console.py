"""The console: messages and progress on standard error, data on standard output.

Everything that is printed is `printable`: names from outside cannot control the terminal.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..errors import MISSING_FOLDERS, OVERWRITE, SinkError, UsageError, printable, words_of

_visible_bars: list[object] = []

Progress = Callable[[int, int], None]  # done, total

BAD_FRAMES = "%s: damaged frames or packets that could not be decoded: %d"

_logger = logging.getLogger("livemosaic")

_LINE_S = 60.0  # between lines of progress
_DRAW_S = 0.1  # between pictures of a bar

_HALF = re.compile("[\ud800-\udfff]")


def open_standard_files() -> None:
    """Open closed standard input, output and error as the null device.

    Otherwise a video file could get their number, and messages of C libraries would go into it.
    Characters that the encoding of standard output does not have are shown as escapes.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if isinstance(sys.stdout, io.TextIOWrapper):  # standard error does so by itself
        sys.stdout.reconfigure(errors="backslashreplace")


class ProgressLines:
    """Progress where there is no terminal, such as in a log: a line each minute.

    It has the methods of tqdm's bar that are used here.
    """

    def __init__(
        self,
        *,
        unit: str = "",
        total: int | None = None,
        initial: int = 0,
        clock: Callable[[], float] = time.monotonic,
        **_: Any,
    ) -> None:
        self.n = self._initial = initial
        self._unit, self.total, self._clock, self._status = unit, total, clock, ""
        self._began_s = self._last_s = clock()

    def set_postfix_str(self, text: str, **_: Any) -> None:
        self._status = text

    def update(self, count: int) -> None:
        self.n += count
        now_s = self._clock()
        if now_s - self._last_s >= _LINE_S:
            self._last_s = now_s
            _logger.info("%s", self._line((self.n - self._initial) / (now_s - self._began_s)))

    def _line(self, rate: float) -> str:
        if not self._unit:  # a single picture
            return self._status
        if self.total is None:
            return f"{self.n:,}{self._unit}, {rate:.1f} per second"
        share = min(self.n / max(self.total, 1), 1.0)
        line = f"{self.n:,} of {self.total:,}{self._unit} ({share:.0%}), {rate:.1f} per second"
        if rate > 0:
            left_s = max(self.total - self.n, 0) / rate
            left = f"{left_s:.0f} s" if left_s < 120 else f"{left_s / 60:.0f} min"
            line += f", about {left} left"
        return line


@contextlib.contextmanager
def progress_bar(
    *, quiet: bool, when: str = "auto", lines: bool = True, **settings: Any
) -> Iterator[Any]:
    """Show a bar on standard error, or, without a terminal, a line each minute.

    Yields tqdm's bar, `ProgressLines`, or None; `lines` are for work that comes to an end.
    """
    on_terminal = sys.stderr is not None and _stderr.isatty()
    if quiet or not (when == "always" or (when == "auto" and on_terminal)):
        yield ProgressLines(**settings) if lines and when == "auto" and not quiet else None
        return
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        def update(self, n: float = 1) -> Any:
            # With 0, tqdm would forget the time since the last update, so that rates are too high.
            return super().update(n) if n else self.refresh()

    tqdm.monitor_interval = 0  # no thread of its own: updates come often enough
    tqdm.set_lock(threading.RLock())  # and no semaphore for other processes
    drawn = {"mininterval": _DRAW_S, "miniters": 0, **settings}
    with Bar(file=_stderr, leave=False, **drawn) as bar:
        _visible_bars.append(bar)
        try:
            yield bar
        finally:
            _visible_bars.remove(bar)


def clearing(number: int) -> bytes:
    """The bytes that clear a progress bar on this file, without any lock; empty without a bar."""
    return (b"\r\x1b[K" if os.isatty(number) else b"\r") if _visible_bars else b""


@contextlib.contextmanager
def photos_bar(*, quiet: bool, when: str = "auto", unit: str = "photos") -> Iterator[Progress]:
    """Yield a function `progress(done, total)`; its first call shows a bar."""
    bars: list[Any] = []
    with contextlib.ExitStack() as stack:

        def progress(done: int, total: int) -> None:
            if not bars:
                # What is there at the first call took no time.
                settings: dict[str, Any] = {"total": total, "initial": done, "smoothing": 0.1}
                settings["unit"] = f" {unit}"
                bar = progress_bar(quiet=quiet, when=when, **settings)
                bars.append(stack.enter_context(bar))
            if bars[0] is not None:
                bars[0].update(done - bars[0].n)

        yield progress


def print_json(report: dict[str, Any]) -> None:
    """Print one object on standard output; the errors are those of `print_text`."""
    # A byte of a name that is not UTF-8 is half a character for Python, and in JSON an error.
    text = _HALF.sub(lambda half: "\\" + printable(half[0]), json.dumps(report, ensure_ascii=False))
    text = json.dumps(json.loads(text)).replace("\x7f", "\\u007f")  # it escapes all but this one
    print_text(f"{text}\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on standard output; the errors are those of `print_text`."""
    print_text("".join(f"{printable(line)}\n" for line in lines))


def print_text(text: str) -> None:
    """Print the program's own text on standard output as it is, at once.

    `UsageError` if standard output is closed, `SinkError` if it cannot be written.
    """
    if sys.stdout is None:
        raise UsageError("standard output is closed; redirect it to a file or a program")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # At its exit, Python would fail again with the buffered rest, with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        fix = "redirect it to another file"
        if isinstance(error, BrokenPipeError):
            fix = "keep its reader running until the end"
        raise SinkError(
            f"standard output: it cannot be written: {words_of(error)}; {fix}"
        ) from None


def print_error(error: object) -> None:
    """Print an error as one line on standard error."""
    _print_message("error: " + " ".join(str(error).split("\n")))


def print_notes(lines: Iterable[str]) -> None:
    """Print lines on standard error, above the progress bar if there is one."""
    _write_lines(map(printable, lines))


def _write_lines(lines: Iterable[str]) -> None:
    for line in lines:
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(line, file=_stderr)
        else:
            _stderr.write(line + "\n")
    _stderr.flush()


def print_code(lines: Sequence[str]) -> None:
    """Print a QR code on standard error, if that is a terminal with room for it."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
        "".join(lines).encode(sys.stderr.encoding)
    except (OSError, ValueError, AttributeError):  # no terminal, or one without such characters
        return
    if len(lines[0]) < columns:
        # Its own colours: on a light terminal it would be a negative, which not all phones read.
        _write_lines(f"\x1b[97;40m{line}\x1b[0m" for line in lines)


class _Handler(logging.Handler):
    """Prints log records as messages of the program."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        _print_message(level + record.getMessage())
        if record.exc_info:
            print_notes("".join(traceback.format_exception(*record.exc_info)).splitlines())


def set_up_logging(*, verbose: bool, quiet: bool) -> None:
    """Print the program's log records."""
    _logger.handlers[:] = [_Handler()]
    _logger.propagate = False
    _logger.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO)


class _StandardError:
    """Standard error; once its reader has gone, the program goes on without."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


_stderr = _StandardError()


def _print_message(text: str) -> None:
    """Print one line on standard error."""
    for argument in (OVERWRITE, MISSING_FOLDERS):
        text = text.replace(argument, "add -y")
    print_notes([f"livemosaic: {text}"])
