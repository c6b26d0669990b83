"""Workers of a Dask cluster: one that exists, or one on this machine for the time of a run."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pickle
import queue
import secrets
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import dask
import distributed

from ..errors import ClusterError, counted, problem_of, words_of
from ..media.atomic_write import Part
from ..unfinished import remove_unfinished
from .requirements import Facts, Requirements, difference, facts_of, host_name, token_in
from .task import Failure, Order, Outcome, call
from .workers import News, Workers

_SCHEDULER_S = 5.0  # for a scheduler that is starting
_CONNECT_S = 20.0
_PATIENCE_S = 5.0  # until a line says for what the program waits
_LOOK_S = 1.0  # between two looks which workers there are
_POLL_S = 0.25  # between two looks whether to stop
_RESULT_S = 5.0  # for a result to come from its worker
_CLOSE_S = 10.0

# Of a cluster of our own. The profiler interrupts a worker a hundred times a second, and the tick
# each process, fifty times.
_CONFIG = {
    "distributed.worker.profile.enabled": False,
    "distributed.diagnostics.nvml": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "1h",
    "distributed.admin.system-monitor.interval": "10s",
    # On a busy machine a worker takes longer to start again than Dask waits for it.
    "distributed.deploy.lost-worker-timeout": "1h",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}

_ENVIRONMENT = "distributed.nanny.pre-spawn-environ"
# With it, workers give the memory of each picture back to the system, which has to clear it again
# for the next one.
_TRIM = "MALLOC_TRIM_THRESHOLD_"

_logger = logging.getLogger("livemosaic")


class DaskWorkers(Workers):
    """The workers of a scheduler.

    Each task is given to one worker, which has been compared with this process. Dask could place it
    itself, but not on workers only that may join or leave, and it would take several tasks as the
    cause when a worker ends.
    """

    def __init__(
        self,
        where: str,
        client: Any,
        requirements: Requirements | None,
        cleanup: contextlib.ExitStack,
    ) -> None:
        self._where, self._client, self._cleanup = where, client, cleanup
        self._requirements, self._token, self._own = requirements, "", Facts()
        if requirements is not None:
            self._token = cleanup.enter_context(token_in(requirements.shared))
            self._own = facts_of(requirements, self._token) | _dask()
        self._run = f"livemosaic-{secrets.token_hex(8)}"
        self._queue: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._futures: dict[int, tuple[Any, str]] = {}  # with the worker of each key
        self._checks: dict[str, Any] = {}  # futures by address
        self._names: dict[str, str] = {}  # of the workers in use, by address
        self._refused: set[str] = set()  # addresses
        self._places: dict[str, int] = {}  # by address, of all workers
        self._looked_s = float("-inf")
        self._waits = self._running = False

    @classmethod
    def at(cls, address: str, requirements: Requirements, is_stopping: Callable[[], bool]) -> Self:
        """Those of the scheduler at an address.

        Raises
        ------
        ClusterError : there is none, or one of the workers differs
        KeyboardInterrupt : `is_stopping` has said so while it waited for workers
        """
        with _cleaning_up() as cleanup:
            client = cleanup.enter_context(_connected(address))
            _check_scheduler(address, client)
            workers = cls(address, client, requirements.absolute(), cleanup)
            workers._begin(is_stopping)
            cleanup = cleanup.pop_all()
            workers._cleanup = cleanup
        return workers

    @classmethod
    def local(cls, count: int, is_stopping: Callable[[], bool]) -> Self:
        """Some processes of this machine, which end with the run; see `at`."""
        where = f"local:{count}"
        with _cleaning_up() as cleanup:
            try:
                # The next run removes that of a killed one.
                scratch = Part(Path(tempfile.gettempdir(), "livemosaic-workers"), folder=True)
                cleanup.callback(scratch.remove)
                folder = str(scratch.path)
                environment = dict(dask.config.get(_ENVIRONMENT))
                environment.pop(_TRIM, None)
                own = {_ENVIRONMENT: environment, "temporary-directory": folder}
                # For the whole run: it says what is done when a worker ends, too.
                cleanup.enter_context(dask.config.set(_CONFIG | own))
                _start_tracker()
                # The threads and processes that this one starts inherit its mask of signals.
                with ThreadPoolExecutor(1, "livemosaic Dask", _block_interrupts) as starter:
                    cluster = starter.submit(
                        distributed.LocalCluster,
                        n_workers=count,
                        threads_per_worker=1,
                        host="127.0.0.1",
                        dashboard_address="127.0.0.1:0",
                        scheduler_kwargs={"dashboard": False},
                        # Else it would count the pages of a mapped gallery, and end the worker.
                        memory_limit=None,
                        local_directory=folder,
                        silence_logs=_silent_level() or False,
                    ).result()
                cleanup.callback(cluster.close, timeout=_CLOSE_S)
                client = distributed.Client(cluster, set_as_default=False, timeout=_CONNECT_S)
                cleanup.callback(client.close, timeout=_CLOSE_S)
                client.register_plugin(_OwnWorker())
                client.run_on_scheduler(_stop_web_server)
            except Exception as error:
                raise ClusterError(f"{where}: {_why_not_started(error)}") from error
            workers = cls(where, client, None, cleanup)
            workers._begin(is_stopping)
            workers._cleanup = cleanup.pop_all()
        return workers

    # ---- the interface ---------------------------------------------------------------------

    @property
    def places(self) -> Mapping[str, int]:
        return {name: self._places[address] for address, name in self._names.items()}

    def start(self, worker: str, order: Order) -> None:
        address = next(it for it, name in self._names.items() if name == worker)
        future = self._submit(address, f"task-{order.key}", _work, pickle.dumps(order), self._run)
        self._futures[order.key] = future, worker
        future.add_done_callback(
            lambda _: self._queue.put(News(worker, "settled", order.key, None))
        )

    def wait(self, seconds: float) -> list[News]:
        found = self._look()
        until_s = time.monotonic() + seconds
        while not found and (left_s := until_s - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                news = self._queue.get(timeout=left_s)
                if news.kind == "checked":
                    self._take_check(news.worker)
                    break
                found = self._settled(news) if news.kind == "settled" else [news]
        return found

    def cancel(self, keys: Mapping[int, str]) -> None:
        futures = [self._futures.pop(key)[0] for key in keys if key in self._futures]
        if futures and self._client.status == "running":
            self._client.cancel(futures)

    def close(self) -> None:
        self._cleanup.close()

    # ---- workers that come and go ----------------------------------------------------------

    def _begin(self, is_stopping: Callable[[], bool]) -> None:
        """Wait until there is a worker; see `at`."""
        self._look()
        self._client.subscribe_topic(self._run, self._take_event)
        told_s = time.monotonic() + _PATIENCE_S
        while self._checks or not self._names:
            if is_stopping():
                raise KeyboardInterrupt
            self.wait(_POLL_S)
            if self._checks and time.monotonic() > told_s:
                told_s = float("inf")
                _logger.info(
                    "%s: comparing %s with this program; one that is busy, or has to compile code "
                    "for its processor, takes a while",
                    *(self._where, counted(len(self._checks), "worker")),
                )
        self._running = True

    def _look(self) -> list[News]:
        """Look which workers there are; the news are those that have gone."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return []
        self._looked_s = now_s
        try:
            if self._client.status != "running":
                raise OSError
            self._places = dict(self._client.nthreads())
        except OSError:  # Dask's own, too
            raise ClusterError(
                f"{self._where}: the scheduler has gone; start it and its workers again, and give "
                "the same command: what is done is kept"
            ) from None
        for address in self._places.keys() - self._names.keys() - self._checks.keys():
            if address not in self._refused:
                self._check(address)
        for address in self._checks.keys() - self._places.keys():
            self._checks.pop(address).cancel()
        self._refused &= self._places.keys()
        lost = [self._names.pop(it) for it in self._names.keys() - self._places.keys()]
        # Dask starts those of this machine again.
        if not self._places and not self._waits and not self._where.startswith("local"):
            _logger.warning(
                "%s: there are no workers; waiting for one, from: dask worker %s --nworkers -1 "
                "--nthreads 1 --memory-limit 0",
                *(self._where, self._where),
            )
        self._waits = not self._places
        for key, (future, worker) in list(self._futures.items()):
            if worker in lost:
                del self._futures[key]
                future.cancel()
        return [News(worker, "lost", None, None) for worker in lost]

    def _check(self, address: str) -> None:
        future = self._submit(
            address,
            f"check-{secrets.token_hex(4)}",
            *(_facts, self._requirements, self._token, self._own),
        )
        self._checks[address] = future
        future.add_done_callback(lambda _: self._queue.put(News(address, "checked", None, None)))

    def _take_check(self, address: str) -> None:
        """Use a worker that does not differ. One that does is an error at first, and a warning
        while others work."""
        future = self._checks.pop(address, None)
        if future is None or future.cancelled():
            return
        try:
            facts: Facts = future.result(timeout=_RESULT_S)
        except (TimeoutError, distributed.CancelledError, distributed.KilledWorker):
            return  # the next look checks it again, or finds that it has gone
        except ImportError as error:
            problem = f"its livemosaic cannot be used: {error}"
            problem += "; install the same version there, and start the worker again"
            facts = {}
        except Exception as error:
            problem = f"{problem_of(error)}; run with -v for the details"
            facts = {}
        else:
            problem = difference(self._own, facts)
        name = f"{facts['host']} ({address})" if "host" in facts else address
        if not problem:
            self._names[address] = name
            return
        self._refused.add(address)
        if not self._running:
            raise ClusterError(f"worker {name}: {problem}")
        _logger.warning("worker %s is not used: %s", name, problem)

    # ---- tasks -----------------------------------------------------------------------------

    def _submit(self, address: str, key: str, function: Any, *arguments: Any) -> Any:
        key = f"{self._run}-{key}"
        return self._client.submit(function, *arguments, key=key, pure=False, workers=[address])

    def _take_event(self, event: tuple[float, Any]) -> None:
        """Called on Dask's thread."""
        kind, key, value = event[1]
        self._queue.put(News("", kind, key, value))

    def _settled(self, news: News) -> list[News]:
        """The outcome of a task whose future has a result, an error or nothing any more."""
        assert news.key is not None
        if news.key not in self._futures:
            return []
        future, worker = self._futures[news.key]
        try:
            outcome = pickle.loads(future.result(timeout=_RESULT_S))
        except TimeoutError:  # its worker may have gone before the result was here
            self._looked_s = float("-inf")
            self._queue.put(news)
            return self._look()
        except distributed.CancelledError:  # by Dask, when the connection broke for a moment
            del self._futures[news.key]
            return [News(worker, "lost", news.key, None)]
        except distributed.KilledWorker:
            del self._futures[news.key]
            return [News(worker, "failed", news.key, None)]
        except Exception as error:
            outcome = Outcome(failure=Failure.of(error))
        del self._futures[news.key]
        return [News(worker, "outcome", news.key, outcome)]


# ---- in the workers ------------------------------------------------------------------------------


def _facts(requirements: Requirements | None, token: str, own: Facts) -> Facts:
    """The facts of this worker, with its machine's name."""
    facts = {} if requirements is None else facts_of(requirements, token, own) | _dask()
    return facts | {"host": host_name()}


def _dask() -> Facts:
    return {"Dask": distributed.__version__}


def _work(order: bytes, topic: str) -> bytes:
    worker = distributed.get_worker()
    its: Order = pickle.loads(order)

    def send(kind: str, value: Any) -> None:
        worker.log_event(topic, [kind, its.key, value])

    return pickle.dumps(call(its, send))


class _OwnWorker(distributed.WorkerPlugin):  # type: ignore[misc]
    """In a worker of our own: it has no port for its web server, and ends without delay."""

    def setup(self, worker: Any) -> None:
        worker.http_server.stop()

    def teardown(self, worker: Any) -> None:
        # A task may run, and Dask would wait for it.
        remove_unfinished()
        os._exit(0)


def _block_interrupts() -> None:
    """Ctrl-C in a terminal comes to all processes; this one ends those that it has started."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def _start_tracker() -> None:
    """Start Python's process that frees the semaphores of Dask's workers after the end of this one.
    It would warn of them, and unblock the signals of the thread that starts it."""
    if sys.platform == "win32":
        return
    name, own = "PYTHONWARNINGS", "ignore:resource_tracker"
    before = os.environ.get(name)
    os.environ[name] = own if not before else f"{before},{own}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it was killed before
            resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _stop_web_server(dask_scheduler: Any) -> None:
    dask_scheduler.http_server.stop()


def _why_not_started(error: Exception) -> str:
    """Why workers of our own did not start, and what to do."""
    problem = " ".join(str(error).split()) or type(error).__name__
    if distributed.Nanny.__name__ in problem:  # Dask's name for the parent of a worker
        problem = "a worker ended while it started"
    if _is_without_guard():
        return f"{problem}; guard the code of the program by: if __name__ == '__main__':"
    fix = "perhaps memory is short: close other programs, or use fewer workers; -v shows details"
    return f"{problem}; {fix}"


def _is_without_guard() -> bool:
    """Whether this program is a script that each new process would do as a whole."""
    if dask.config.get("distributed.worker.multiprocessing-method") == "fork":
        return False
    path = getattr(sys.modules["__main__"], "__file__", None)
    with contextlib.suppress(OSError):
        return path is not None and b"__main__" not in Path(path).read_bytes()
    return False


# ---- the connection ------------------------------------------------------------------------------


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    if address.startswith("tls://"):
        arguments = distributed.Security().get_connection_args("client")
        if arguments.get("ssl_context") is None:
            raise ClusterError(
                f"{address}: there are no certificates; name them in Dask's configuration, under "
                "distributed.comm.tls"
            )
    _await_port(address)
    try:
        client = distributed.Client(address, set_as_default=False, timeout=_CONNECT_S)
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        fix = "check the address, and install the same version of Dask on both machines"
        raise ClusterError(f"{address}: cannot be used: {problem}; {fix}") from error
    try:
        yield client
    finally:
        client.close(timeout=_CLOSE_S)


def _await_port(address: str) -> None:
    """Wait until there is something at an address: Dask would not say why there is not."""
    parts = urlsplit(address)
    until_s = time.monotonic() + _SCHEDULER_S
    while True:
        try:
            socket.create_connection((parts.hostname, parts.port), timeout=_SCHEDULER_S).close()
            return
        except OSError as error:
            if time.monotonic() > until_s:
                raise ClusterError(
                    f"{address}: there is no scheduler: {words_of(error)}; start one with: "
                    "dask scheduler"
                ) from None
        time.sleep(0.2)


def _check_scheduler(address: str, client: Any) -> None:
    """Raise `ClusterError` if the scheduler's Dask differs."""
    other = client.get_versions(check=False)["scheduler"]["packages"]["distributed"]
    if other != distributed.__version__:
        raise ClusterError(
            f"{address}: the scheduler has Dask {other}, here is {distributed.__version__}; "
            "install the same version on all machines"
        )


def _silent_level() -> int | None:
    """The level of Dask's log lines; None for no change: with -v they are shown."""
    return None if _logger.getEffectiveLevel() <= logging.DEBUG else logging.CRITICAL + 1


@contextlib.contextmanager
def _cleaning_up() -> Iterator[contextlib.ExitStack]:
    """A stack that silences Dask until it is closed: we say in our words what it says."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_silence())
        yield stack


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    level = _silent_level()
    names = ("distributed", "tornado", "asyncio")
    loggers = [
        logging.getLogger(name)
        for name in list(logging.root.manager.loggerDict)
        if name.split(".")[0] in names
    ]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(dask|distributed|tornado)\b")
        for logger in loggers if level is not None else ():
            logger.setLevel(level or 0)
        try:
            yield
        finally:
            # Python prints the errors of tasks that Dask has forgotten when it frees them.
            gc.collect()
            for logger, old in zip(loggers, before, strict=True):
                logger.setLevel(old)
