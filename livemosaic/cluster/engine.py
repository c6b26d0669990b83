"""The engine: it has workers do tasks, and does again those of workers that were killed.

Tasks are coarse, 10 s to minutes each, and their arguments are paths and numbers. A task writes its
result as a file, so nothing large goes through a scheduler, and what is done stays done.
"""

from __future__ import annotations

import heapq
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from ..errors import ClusterError, OptionError, UsageError
from ..processors import usable_cores
from .requirements import Requirements
from .task import Failure, Order, teller
from .workers import News, Workers

__all__ = ["Engine", "Requirements", "check_cluster", "open_engine", "teller"]

T = TypeVar("T")
R = TypeVar("R")

_logger = logging.getLogger("livemosaic")

_POLL_S = 0.25  # between two looks whether to stop
_GLANCE_S = 0.01  # for news, while there are tasks to be made
_MOST_ENDS = 3  # of its workers by one task
_MOST_PROCESSES = 16  # of `local:N`, for each processor: thousands would use up the memory

_ADDRESS = re.compile(r"(?:tcp|tls)://(?:\[[0-9a-fA-F:.]+\]|[\w.-]+):([0-9]{1,5})", re.ASCII)
_LOCAL = re.compile(r"local(?::([1-9][0-9]{0,3}))?", re.ASCII)


def check_cluster(where: str) -> None:
    """Raise `OptionError` for an engine that does not exist, or has too many processes."""
    address, local = _ADDRESS.fullmatch(where), _LOCAL.fullmatch(where)
    if not local and not (address and 0 < int(address[1]) <= 65535):
        raise OptionError(
            "cluster", where, "must be local, local:N, tcp://HOST:PORT or tls://HOST:PORT"
        )
    most = _MOST_PROCESSES * usable_cores()
    if local and local[1] and int(local[1]) > most:
        problem = f"too many processes for this machine; use local, or at most local:{most}"
        raise OptionError("cluster", where, problem)


def open_engine(
    where: str | None, *, workers: int | None = None, requirements: Requirements | None = None
) -> Engine:
    """The engine for a run, which is a context manager.

    Parameters
    ----------
    where : None for processes of this machine; `local` or `local:N` for Dask with N such processes;
        `tcp://HOST:PORT` or `tls://HOST:PORT` for Dask's scheduler at this address
    workers : number of processes on this machine; as many as there are processors if None
    requirements : what has to be the same on each worker

    Raises
    ------
    ClusterError : entering the context: Dask is missing, there is no scheduler, or a worker differs
    KeyboardInterrupt : entering the context: `Engine.stop` was called while it waited for workers
    """
    if where is None:
        from .local import LocalProcesses

        count = workers or usable_cores()
        return Engine(lambda _: LocalProcesses(count))
    check_cluster(where)
    needed = requirements or Requirements()
    try:
        import distributed  # noqa: F401
    except ImportError:
        fix = "install it with: pip install 'livemosaic[cluster]'"
        raise ClusterError(f"cluster {where}: Dask is not installed; {fix}") from None
    from .dask_workers import DaskWorkers

    if match := _LOCAL.fullmatch(where):
        count = int(match[1] or workers or usable_cores())
        return Engine(lambda is_stopping: DaskWorkers.local(count, is_stopping))
    if workers is not None:
        raise UsageError("workers are those of the cluster; leave their number out")
    return Engine(lambda is_stopping: DaskWorkers.at(where, needed, is_stopping))


class Engine:
    """Has workers do tasks. Made by `open_engine`.

    All methods but `stop` and `cancel` belong to one thread. Leaving the context gives up what
    runs, and leaves no process of this machine behind.
    """

    def __init__(self, connect: Callable[[Callable[[], bool]], Workers]) -> None:
        self._connect = connect
        self._workers: Workers | None = None
        self._keys = 0
        self._stopping = self._running = False

    def __enter__(self) -> Self:
        self._workers = self._connect(lambda: self._stopping)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._workers is not None:
            self._workers.close()

    @property
    def workers(self) -> tuple[str, ...]:
        """Names of the workers that there are now."""
        return tuple(self._workers.places) if self._workers is not None else ()

    @property
    def places(self) -> int:
        """How many tasks are done at a time."""
        return sum(self._workers.places.values()) if self._workers is not None else 0

    def stop(self) -> None:
        """Let `run`, or entering the context, raise `KeyboardInterrupt` soon. Safe in a signal
        handler and on any thread."""
        self._stopping = True

    def cancel(self) -> None:
        """The same, without waiting for workers to remove their unfinished files."""
        self._stopping = True
        if self._workers is not None:
            self._workers.kill()

    def run(
        self,
        function: Callable[[T], R],
        tasks: Iterable[T | None],
        *,
        size: Callable[[T], float] = lambda _: 0,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[int, R]]:
        """Call a function of a module for each task; yield number and result of each when it is
        done, in any order.

        The tasks may be made while others are done: by an iterator that yields None whenever it has
        worked for a moment, and all that it has not yielded are still to come.

        The task of a worker that was killed is done again by another one. Closing the iterator
        gives up what runs.

        Parameters
        ----------
        size : of a task; of those that wait, the largest is begun first
        on_progress : called several times a second with the sum of what the tasks that run have
            told by `teller`

        Raises
        ------
        LivemosaicError : a task, or the iterator of tasks, has raised it
        ClusterError : a task has another error, or has ended its worker three times; or the cluster
            has gone
        UsageError : an earlier call has not ended yet
        KeyboardInterrupt : `stop` was called
        """
        assert self._workers is not None, "not entered"
        if self._running:  # it would take the news that the other one waits for
            raise UsageError("the engine does other tasks; wait until all of them are done")
        self._running = True
        coming, is_coming = iter(tasks), True
        known: list[T] = []
        waiting: list[tuple[float, int]] = []  # a heap of ranks and numbers
        running: dict[int, tuple[int, str]] = {}  # number and worker of each key
        told: dict[int, int] = {}
        ends: Counter[int] = Counter()
        try:
            while is_coming or waiting or running:
                if self._stopping:
                    raise KeyboardInterrupt
                for task in coming:
                    if task is None:
                        break
                    heapq.heappush(waiting, (-size(task), len(known)))
                    known.append(task)
                else:
                    is_coming = False
                while waiting and (worker := self._free(running)) is not None:
                    _, number = heapq.heappop(waiting)
                    self._keys += 1
                    running[self._keys] = number, worker
                    level = _logger.getEffectiveLevel()
                    order = Order(function, known[number], self._keys, level)
                    self._workers.start(worker, order)
                for news in self._news(in_passing=is_coming):
                    if self._stopping:  # workers end by `cancel`, too
                        break
                    for key in _keys_of(news, running):
                        number, worker = running[key]
                        if news.kind == "done":
                            told[key] = news.value
                        elif news.kind == "outcome":
                            del running[key]
                            told.pop(key, None)
                            if news.value.failure is not None:
                                raise _error(news.value.failure, known[number])
                            yield number, news.value.value
                        elif news.kind in ("lost", "failed"):
                            del running[key]
                            told.pop(key, None)
                            heapq.heappush(waiting, (-math.inf, number))
                            ends[number] += _MOST_ENDS if news.kind == "failed" else 1
                            _check_ends(known[number], ends[number], worker)
                    if news.kind == "log":
                        level, text = news.value
                        _logger.log(level, "%s", text)
                if on_progress is not None:
                    on_progress(sum(told.values()))
        finally:
            self._running = False
            self._workers.cancel({key: worker for key, (_, worker) in running.items()})

    def _news(self, *, in_passing: bool) -> Iterator[News]:
        """What the workers say: waits for it, or takes in passing all that is there."""
        assert self._workers is not None
        if not in_passing:
            yield from self._workers.wait(_POLL_S)
            return
        while found := self._workers.wait(_GLANCE_S):
            yield from found

    def _free(self, running: dict[int, tuple[int, str]]) -> str | None:
        """The worker with the most free places; None without any."""
        assert self._workers is not None
        busy = Counter(worker for _, worker in running.values())
        places = self._workers.places
        best = max(places, key=lambda name: places[name] - busy[name], default=None)
        return best if best is not None and places[best] > busy[best] else None


def _keys_of(news: News, running: dict[int, tuple[int, str]]) -> list[int]:
    if news.key is not None:
        return [news.key] if news.key in running else []
    return [key for key, (_, worker) in running.items() if worker == news.worker]


def _check_ends(task: object, ends: int, worker: str) -> None:
    """Say that a task is done again; raise `ClusterError` if that makes no sense any more."""
    if ends < _MOST_ENDS:
        _logger.warning("%s has ended; %s is done again", worker, task)
        return
    raise ClusterError(
        f"{task}: {_MOST_ENDS} workers have ended while they did it, perhaps for lack of memory; "
        "close other programs, or use fewer workers on each machine"
    )


def _error(failure: Failure, task: object) -> Exception:
    """The exception of a task."""
    if failure.details:
        _logger.debug("%s", failure.details)
    return failure.error() or ClusterError(f"{task}: {failure.text}")
