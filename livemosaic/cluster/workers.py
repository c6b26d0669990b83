"""The interface between the engine and its workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

from .task import Order


class News(NamedTuple):
    """Something that a worker says, or that is known about it."""

    worker: str
    # outcome: an `Outcome`; done: how much of the task; log: level and text of a message;
    # lost: the worker has ended, with all its tasks; failed: it has ended by this task
    kind: str
    key: int | None  # of the order; None: of all orders that the worker has
    value: Any


class Workers(ABC):
    """Processes that do tasks, here or elsewhere. All methods but `kill` belong to one thread."""

    @property
    @abstractmethod
    def places(self) -> Mapping[str, int]:
        """The workers that may be used now, and how many tasks each does at a time."""

    @abstractmethod
    def start(self, worker: str, order: Order) -> None:
        """Give a worker a task."""

    @abstractmethod
    def wait(self, seconds: float) -> list[News]:
        """What the workers say; waits for it that long."""

    @abstractmethod
    def cancel(self, keys: Mapping[int, str]) -> None:
        """Give up tasks, by their keys with their workers."""

    @abstractmethod
    def close(self) -> None:
        """Give up everything. May be called twice."""

    def kill(self) -> None:  # noqa: B027
        """Give up everything at once; safe in a signal handler."""
