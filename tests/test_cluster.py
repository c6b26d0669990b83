"""The engine: tasks on processes of this machine, and on Dask's workers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import livemosaic
from livemosaic.cluster.engine import Engine, Requirements, check_cluster, open_engine
from livemosaic.cluster.requirements import facts_of
from livemosaic.errors import ClusterError, OptionError, SinkError
from tests import cluster_tasks as tasks
from tests.conftest import ROOT
from tests.dask_programs import Scheduler, dask_scheduler
from tests.fakes import wait_until


def eventually(condition: Callable[[], object]) -> None:
    """Wait for a process that has to start, on a busy machine."""
    wait_until(condition, timeout_s=90)


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
        eventually(lambda: path.exists() and bool(path.read_text()))
        engine.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(engine.run(tasks.pid_then_wait, [str(path)]))
    thread.join()
    engine.__exit__(None, None, None)
    eventually(lambda: not is_running(int(path.read_text())))


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


# ---- a cluster of Dask's programs --------------------------------------------------------


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    facts_of(Requirements())  # compiles kernels, so that nothing waits for it later
    with dask_scheduler(tmp_path_factory.mktemp("dask")) as scheduler:
        yield scheduler


def copy_of_the_package(folder: Path) -> Path:
    """The package with a different version, such as on a machine that was forgotten."""
    ignored = shutil.ignore_patterns("__pycache__", "*.zip", "*.tflite", "*.mp4", "*.md")
    shutil.copytree(ROOT / "livemosaic", folder / "livemosaic", ignore=ignored)
    init = folder / "livemosaic" / "__init__.py"
    init.write_text(init.read_text().replace(f'"{livemosaic.__version__}"', '"0.0.9"'))
    return folder


@pytest.mark.slow
def test_workers_that_come_and_go(
    scheduler: Scheduler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def start_when_asked() -> None:
        eventually(lambda: "there are no workers; waiting for one" in caplog.text)
        workers.append(scheduler.start_worker())

    workers: list[subprocess.Popen[bytes]] = []
    starter = threading.Thread(target=start_when_asked)
    starter.start()
    requirements = Requirements(files=(Path(__file__),), folders=(ROOT,), shared=tmp_path)
    with open_engine(scheduler.address, requirements=requirements) as engine:
        starter.join()
        assert engine.places == 1
        assert engine.workers[0].startswith(socket.gethostname())
        assert list(engine.run(tasks.square, [3])) == [(0, 9)]

        # A worker of another version is left out, and one that is killed replaced.
        copy = copy_of_the_package(tmp_path / "copy")
        other = scheduler.start_worker(cwd=copy, env={"PYTHONPATH": str(copy)})
        path = tmp_path / "pid"

        def kill_and_replace() -> None:
            eventually(lambda: path.exists() and path.read_text())
            eventually(lambda: "livemosaic is 0.0.9, here" in caplog.text)
            other.kill()
            workers[0].kill()
            eventually(lambda: f"{path} is done again" in caplog.text)
            workers.append(scheduler.start_worker())

        killer = threading.Thread(target=kill_and_replace)
        killer.start()
        assert list(engine.run(tasks.wait_once, [str(path)])) == [(0, "again")]
        killer.join()
    assert [it.name for it in tmp_path.iterdir() if it.name.startswith(".livemosaic")] == []
    for worker in workers:
        worker.kill()
        worker.wait()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a path that is another file in each process")
def test_a_worker_that_sees_other_files_is_refused(scheduler: Scheduler, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "a.gallery").write_text(folder.name)
    (here / "out").mkdir()
    worker = scheduler.start_worker(cwd=there)
    seen = Path("/proc/self/cwd")
    before = Path.cwd()
    os.chdir(here)
    try:
        for requirements, words in (
            (Requirements(files=(seen / "a.gallery",)), r"a\.gallery is 5 bytes.*here 4 bytes"),
            (Requirements(shared=seen), "/proc/self/cwd is another folder"),
            (Requirements(folders=(seen / "out",)), "out is not there"),
        ):
            with pytest.raises(ClusterError, match=f"^worker .*{words}.*; let all machines share"):
                open_engine(scheduler.address, requirements=requirements).__enter__()
    finally:
        os.chdir(before)
        worker.kill()
        worker.wait()


@pytest.mark.slow
def test_the_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dask_scheduler(tmp_path) as scheduler:
        with monkeypatch.context() as patch:
            patch.setattr("distributed.__version__", "1.0")
            with pytest.raises(ClusterError, match=r"the scheduler has Dask .*, here is 1\.0;"):
                open_engine(scheduler.address).__enter__()
        worker = scheduler.start_worker()
        with open_engine(scheduler.address) as engine:
            path = tmp_path / "pid"

            def kill() -> None:
                eventually(lambda: path.exists() and path.read_text())
                scheduler.program.kill()

            killer = threading.Thread(target=kill)
            killer.start()
            with pytest.raises(ClusterError, match=r"the scheduler has gone; .* what is done is"):
                list(engine.run(tasks.pid_then_wait, [str(path)]))
            killer.join()
        worker.kill()
