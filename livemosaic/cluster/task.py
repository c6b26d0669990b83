"""What a worker does: it calls a function for a task, and sends what there is to say about it."""

from __future__ import annotations

import contextlib
import logging
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from ..errors import LivemosaicError, is_out_of_memory, problem_of
from ..processors import use_at_most

# Sends a kind of news and its value to the engine; from any thread.
Send = Callable[[str, Any], None]

_TELL_S = 0.5  # between two news of how far a task is

_logger = logging.getLogger("livemosaic")


class Order(NamedTuple):
    """A task for a worker."""

    function: Callable[[Any], Any]
    task: Any
    key: int  # of this attempt
    level: int  # of the messages that the engine prints


class Failure(NamedTuple):
    """An exception of a task. It travels in parts: not every exception survives pickling."""

    kind: type[LivemosaicError] | None  # None: a defect, or not of livemosaic
    text: str
    attributes: dict[str, Any]
    details: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """That of the exception which is being handled."""
        details = traceback.format_exc()
        if not isinstance(error, LivemosaicError):
            return cls(None, problem_of(error), {}, "" if is_out_of_memory(error) else details)
        attributes = dict(vars(error))
        try:
            pickle.dumps(attributes)
        except Exception:
            attributes = {}
        return cls(type(error), str(error), attributes, details)

    def error(self) -> LivemosaicError | None:
        """The exception as it was raised, if it is of livemosaic."""
        if self.kind is None:
            return None
        error = self.kind.__new__(self.kind, self.text)
        error.args = (self.text,)
        vars(error).update(self.attributes)
        return error


class Outcome(NamedTuple):
    """The result of a task, or why there is none."""

    value: Any = None
    failure: Failure | None = None


def _tell_nothing(done: int) -> None:
    pass


_teller: ContextVar[Callable[[int], None]] = ContextVar("teller", default=_tell_nothing)


def teller() -> Callable[[int], None]:
    """A function that tells how much of the running task is done, in units that the caller of
    `Engine.run` knows, such as frames.

    To be asked for on the thread of the task. The function itself may be called from any thread
    and as often as wanted; outside of a task it does nothing.
    """
    return _teller.get()


class _Teller:
    def __init__(self, send: Send) -> None:
        self._send, self._told_s = send, 0.0

    def __call__(self, done: int) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            self._send("done", done)


def call(order: Order, send: Send) -> Outcome:
    """Call the function of a task, on one processor."""
    import cv2

    cv2.setNumThreads(1)
    use_at_most(1)
    token = _teller.set(_Teller(send))
    try:
        with _messages_to(send, order.level):
            return Outcome(order.function(order.task))
    except Exception as error:
        return Outcome(failure=Failure.of(error))
    finally:
        _teller.reset(token)


class _Messages(logging.Handler):
    """Sends log records to the engine of the first task that runs in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.sends: list[Send] = []

    def emit(self, record: logging.LogRecord) -> None:
        sends = self.sends[:1]
        with contextlib.suppress(Exception):  # the engine may have gone
            for send in sends:
                send("log", [record.levelno, record.getMessage()])


_messages = _Messages()
_setting = threading.Lock()  # of the logger, which all tasks of a process share


@contextlib.contextmanager
def _messages_to(send: Send, level: int) -> Iterator[None]:
    with _setting:
        if not _messages.sends:
            _logger.handlers[:] = [_messages]
            _logger.propagate = False
            _logger.setLevel(level)
        _messages.sends.append(send)
    try:
        yield
    finally:
        with _setting:
            _messages.sends.remove(send)
