"""The engine: tasks on processes of this machine, and on Dask's workers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from livemosaic.cluster.engine import Engine, Requirements, check_cluster, open_engine
from livemosaic.errors import ClusterError, OptionError, SinkError
from tests import cluster_tasks as tasks
from tests.fakes import wait_until

needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")


@pytest.fixture(
    params=[None, pytest.param("local:2", marks=pytest.mark.slow)], ids=["processes", "dask"]
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    workers = None if request.param else 2
    with open_engine(request.param, workers=workers) as engine:
        yield engine


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_all_of_an_engine(engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One test, because starting workers takes seconds."""
    assert engine.places == 2
    assert len(engine.workers) == 2
    assert sorted(engine.run(tasks.square, range(7))) == [(n, n * n) for n in range(7)]
    assert list(engine.run(tasks.square, [])) == []
    assert set(dict(engine.run(tasks.processors, range(2))).values()) == {(1, 1, 1)}

    told: list[int] = []
    assert list(engine.run(tasks.tell, [3], on_progress=told.append)) == [(0, 3)]
    assert max(told) in (1, 2, 3)

    list(engine.run(tasks.warn, ["photo.jpg: beware"]))
    assert "photo.jpg: beware" in caplog.messages

    with pytest.raises(OptionError) as caught:
        list(engine.run(tasks.fail, ["option"]))
    assert (caught.value.option, str(caught.value)) == ("tile", "tile 3: must be larger")
    with pytest.raises(SinkError, match=r"^x\.mp4: the disk is full; free some space$"):
        list(engine.run(tasks.fail, ["sink"]))
    with pytest.raises(ClusterError, match=r"^other: .*ValueError: a defect$"):
        list(engine.run(tasks.fail, ["other"]))

    caplog.clear()
    flag = str(tmp_path / "flag")
    assert len(list(engine.run(tasks.kill_worker_once, [flag]))) == 1
    assert [text for text in caplog.messages if text.endswith(f"{flag} is done again")]
    with pytest.raises(ClusterError, match=r"^the bad one: 3 workers have ended"):
        list(engine.run(tasks.kill_worker, ["the bad one"]))
    assert list(engine.run(tasks.square, [3])) == [(0, 9)]


def test_leaving_ends_what_runs(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def stop() -> None:
        wait_until(lambda: path.exists() and bool(path.read_text()))
        engine.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(engine.run(tasks.pid_then_wait, [str(path)]))
    thread.join()
    engine.__exit__(None, None, None)
    wait_until(lambda: not is_running(int(path.read_text())))


@pytest.mark.parametrize(
    "where", ["", "remote", "local:0", "local:", "host:8786", "tcp://host", "http://host:1"]
)
def test_engines_that_do_not_exist(where: str) -> None:
    with pytest.raises(OptionError, match=r"local, local:N, tcp://HOST:PORT"):
        check_cluster(where)


def test_engines_that_exist() -> None:
    for where in (
        "local",
        "local:12",
        "tcp://10.0.0.5:8786",
        "tls://studio-2.lan:1",
        "tcp://[::1]:1",
    ):
        check_cluster(where)


def test_no_scheduler() -> None:
    with pytest.raises(ClusterError, match=r"^tcp://127\.0\.0\.1:9: no scheduler answers"):
        open_engine("tcp://127.0.0.1:9", requirements=Requirements()).__enter__()
