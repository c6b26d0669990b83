"""Methods that one thread at a time may call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from .errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def exclusive(fix: str) -> Callable[[F], F]:
    """Have a method raise `UsageError` during another call of such a method of the same object.

    `fix` says what to do, such as "make a Mosaic for each thread". The check costs less than a
    microsecond and needs no lock: operations of a list are atomic, and the first entry owns the
    object. A Ctrl-C anywhere leaves no entry behind.
    """

    def decorate(method: F) -> F:
        @functools.wraps(method)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            calls: list[object] = self.__dict__.setdefault("_calls", [])
            own = object()
            try:
                calls.append(own)
                if calls[0] is not own:
                    raise UsageError(f"{type(self).__name__}: another call is not over yet; {fix}")
                return method(self, *args, **kwargs)
            finally:
                if own in calls:
                    calls.remove(own)

        return cast(F, call)

    return decorate
