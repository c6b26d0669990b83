"""The person at the terminal: what is said to them, and what their Ctrl-C does."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from .errors import SinkError

__all__ = [
    "Interrupts",
    "complain",
    "counting_bar",
    "leave",
    "open_standard_files",
    "patiently",
    "print_json",
    "print_text",
    "progress_bar",
    "set_up_logging",
]

T = TypeVar("T")
Progress = Callable[[int, int], None]  # done, total

_logger = logging.getLogger("livemosaic")

# Of every thread that this program starts.
_THREADS = "livemosaic "


class _Stoppable(Protocol):
    """What `Interrupts` asks of a pipeline; both are called in a signal handler."""

    def stop(self) -> None: ...

    def cancel(self) -> None: ...


# Programs that stop others (`timeout`, service managers) signal the process and then its group: two
# signals within a millisecond are one request. No person presses Ctrl-C twice in this time.
_SAME_REQUEST_S = 0.05


# A terminal that is closed says so by this one, twice: the system and the shell. None on Windows.
_HANGUP: int | None = getattr(signal, "SIGHUP", None)


class Interrupts:
    """What Ctrl-C, SIGTERM and SIGHUP (unless `nohup` has it ignored) do within the `with` block:
    end the preparations by a `KeyboardInterrupt`, and later ask the pipeline to end.

    Attributes
    ----------
    count : how many came; those within 50 ms are one
    pipeline : set when it takes over: the first one stops it, the second cancels it
    """

    def __init__(self) -> None:
        self.count = 0
        self.pipeline: _Stoppable | None = None
        self._holding = False
        self._last_s = -math.inf
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        # Python allows it on the main thread only.
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM):
                self._before[kind] = signal.signal(kind, self._take)
            if _HANGUP is not None and signal.getsignal(_HANGUP) is signal.SIG_DFL:
                self._before[_HANGUP] = signal.signal(_HANGUP, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)

    def _take(self, kind: int, _: object) -> None:
        now, before = time.monotonic(), self._last_s
        self._last_s = now
        if now - before < _SAME_REQUEST_S or (kind == _HANGUP and self.count):
            return
        self.count += 1
        if self.pipeline is not None:
            (self.pipeline.stop if self.count == 1 else self.pipeline.cancel)()
        elif not self._holding or self.count > 1:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The first one takes effect only at the end of the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self.count:
            raise KeyboardInterrupt


def patiently(call: Callable[..., T], *args: Any) -> T:
    """Call on a thread of its own: a signal ends the waiting, which C code may never do.

    Standard input that nobody writes to, or a server that does not answer, can block for ever.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(call(*args))
        except BaseException as error:
            errors.append(error)
        done.set()

    threading.Thread(target=work, name=_THREADS + "open", daemon=True).start()
    # Not `join`: interrupted, Python 3.11's takes the thread for ended. The time-out is for
    # Windows, where a wait without one cannot be interrupted at all.
    while not done.wait(0.1):
        pass
    if errors:
        raise errors[0]
    return results[0]


def leave(code: int) -> int:
    """The process's exit code, or its end where a thread is stuck in somebody else's code.

    FFmpeg in the middle of a read cannot be called back, and the interpreter's own end would pull
    the ground from under its feet: the process would crash.
    """
    ours = [thread for thread in threading.enumerate() if thread.name.startswith(_THREADS)]
    for thread in ours:
        thread.join(0.1)  # it may be in its last lines
    if any(thread.is_alive() for thread in ours):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    return code


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
