"""The engine: tasks on processes of this machine, and on Dask's workers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import dask
import distributed  # noqa: F401  # before a test changes its configuration for a while
import pytest

import livemosaic
from livemosaic.cluster.engine import Engine, Requirements, check_cluster, open_engine
from livemosaic.cluster.requirements import facts_of, token_in
from livemosaic.errors import ClusterError, OptionError, SinkError, UsageError
from tests import cluster_tasks as tasks
from tests.conftest import ROOT
from tests.dask_programs import Scheduler, dask_scheduler
from tests.fakes import wait_until
from tests.program import finish, left, spawn


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


def ports_of_workers() -> list[tuple[str, int]]:
    """The addresses at which processes wait that this one has started."""
    psutil = pytest.importorskip("psutil")  # Dask needs it
    return [
        tuple(connection.laddr)
        for child in psutil.Process().children(recursive=True)
        for connection in child.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_all_of_an_engine(engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One test, because starting workers takes seconds."""
    assert engine.places == 2
    assert len(engine.workers) == 2
    ports = ports_of_workers()
    assert {host for host, _ in ports} <= {"127.0.0.1"}
    assert len(ports) <= 2  # of Dask's workers, none for their web server
    assert sorted(engine.run(tasks.square, range(7))) == [(n, n * n) for n in range(7)]
    assert list(engine.run(tasks.square, [])) == []
    assert set(dict(engine.run(tasks.processors, range(2))).values()) == {(1, 1, 1)}

    done: list[tuple[int, int]] = []
    begun = time.monotonic()

    def coming() -> Iterator[int | None]:
        """The second task when the first is done."""
        yield 2
        while not done:
            assert time.monotonic() < begun + 90
            yield None
        yield 3

    for result in engine.run(tasks.square, coming()):
        done.append(result)
    assert done == [(0, 4), (1, 9)]

    running = engine.run(tasks.square, range(5))
    next(running)
    with pytest.raises(UsageError, match="other tasks"):
        next(engine.run(tasks.square, [3]))
    assert len(list(running)) == 4
    next(engine.run(tasks.square, range(5)))  # and it is given up

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


def test_the_largest_task_is_begun_first() -> None:
    with open_engine(None, workers=1) as engine:
        done = list(engine.run(tasks.square, [1, None, 3, 2, 3], size=float))
    assert done == [(0, 1), (1, 9), (3, 9), (2, 4)]


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


@pytest.mark.skipif(sys.platform == "win32", reason="sessions of Unix")
def test_processes_stay_in_the_session_and_do_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livemosaic.unfinished.FLAGS", 1)  # of Windows; Unix takes none
    with open_engine(None, workers=1) as engine:
        assert list(engine.run(tasks.session, [0])) == [(0, (os.getsid(0), os.nice(0)))]


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="the system does not tell")
def test_a_process_that_is_stopped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The run waits for it, and says how it goes on; each time once."""
    path = tmp_path / "pid"
    own = open_engine(None, workers=1)

    def said(pid: int, times: int) -> bool:
        return caplog.text.count(f"kill -CONT {pid}") == times

    def stop_twice() -> None:
        eventually(lambda: path.exists() and path.read_text())
        pid = int(path.read_text())
        for times in (1, 2):
            os.kill(pid, signal.SIGSTOP)
            eventually(partial(said, pid, times))
            os.kill(pid, signal.SIGCONT)
            time.sleep(1.5)  # until it has been seen to go on
        own.stop()

    with own as engine:
        thread = threading.Thread(target=stop_twice)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            list(engine.run(tasks.pid_then_wait, [str(path)]))
        thread.join()


@pytest.mark.slow
def test_a_worker_that_takes_long_to_start_again(tmp_path: Path) -> None:
    """Longer than Dask would wait for it."""
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"}),
        open_engine("local:1") as engine,
    ):
        assert len(list(engine.run(tasks.kill_worker_once, [str(tmp_path / "flag")]))) == 1


@pytest.mark.slow
def test_the_speed_of_dasks_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """They keep freed memory for the next picture, and sleep while there is nothing to do."""
    psutil = pytest.importorskip("psutil")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with open_engine("local:1") as engine:
        variables = ["MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS"]
        assert sorted(engine.run(tasks.variable, variables)) == [(0, None), (1, "1")]
        processes = psutil.Process().children(recursive=True)

        def wakes() -> int:
            return sum(process.num_ctx_switches().voluntary for process in processes)

        before = wakes()
        time.sleep(3)
        assert wakes() - before < 60  # 150 by Dask's default


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("guard", [True, False])
def test_a_worker_that_is_killed_while_it_starts(guard: bool, tmp_path: Path) -> None:
    """The advice about a guard is for scripts that lack it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--multiprocessing-fork' in sys.argv:\n    os.kill(os.getpid(), 9)\n"
    )
    script = tmp_path / "script.py"
    code = "from livemosaic.cluster.engine import open_engine\n"
    code += "if __name__ == '__main__':\n    " if guard else ""
    script.write_text(f"{code}open_engine('local:1').__enter__()\n")
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    program = spawn(command=(sys.executable, script), env={"PYTHONPATH": paths}, cwd=tmp_path)
    outcome = finish(program, timeout=90)
    fix = "use fewer workers" if guard else "__name__ == '__main__'"
    assert re.fullmatch(
        rf".*ClusterError: local:1: a worker ended while it started; .*{fix}.*", outcome.lines[-1]
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_ctrl_c_does_not_end_workers_while_they_start(tmp_path: Path) -> None:
    """A terminal sends it to all processes, and Python would print where it was in each."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if '--multiprocessing-fork' in sys.argv:\n    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(
        "from livemosaic.cluster.engine import open_engine\n"
        "if __name__ == '__main__':\n    with open_engine('local:2') as engine:\n"
        "        print(len(engine.workers))\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    program = spawn(command=(sys.executable, script), env={"PYTHONPATH": paths}, cwd=tmp_path)
    outcome = finish(program, timeout=90)
    assert (outcome.code, outcome.out.strip() in ("1", "2"), outcome.err) == (0, True, "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("processes", "SIGINT"),
        ("processes", "SIGTERM"),
        ("processes", "SIGKILL"),
        pytest.param("local:2", "SIGINT", marks=pytest.mark.slow),
        pytest.param("local:2", "SIGKILL", marks=pytest.mark.slow),
    ],
)
def test_no_process_outlives_the_program(
    where: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group gets the signal, too, as from a terminal."""
    command = (sys.executable, "-m", "tests.cluster_program")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    program = spawn(
        *(where, tmp_path),
        command=command,
        start_new_session=True,
        cwd=ROOT,
        env={"TMPDIR": str(scratch)},
    )
    files = [tmp_path / "0", tmp_path / "1"]
    eventually(lambda: all(file.exists() and file.read_text() for file in files))
    if kind == "SIGKILL":
        program.kill()
    else:
        os.killpg(program.pid, getattr(signal, kind))
    outcome = finish(program)
    eventually(lambda: not any(is_running(int(file.read_text())) for file in files))
    assert (outcome.out, outcome.err) == ("", "")
    if kind != "SIGKILL":
        assert outcome.code == 130
    elif where != "processes":
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        with open_engine("local:1"):  # removes what the killed run left
            assert len(left(scratch)) == 1
    assert left(scratch) == []


def test_a_run_removes_what_a_killed_one_left_in_the_common_folder(tmp_path: Path) -> None:
    (tmp_path / ".livemosaic-workers.0123456789abcdef.part").touch()
    with token_in(tmp_path) as token:
        assert left(tmp_path) == [token]
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "where",
    [
        "",
        "remote",
        "local:0",
        "local:",
        "host:8786",
        "tcp://host",
        "tcp://host:65536",
        "http://host:1",
    ],
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


def test_more_processes_than_a_machine_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livemosaic.cluster.engine.usable_cores", lambda: 2)
    check_cluster("local:32")
    for where in ("local:33", "local:9999"):
        with pytest.raises(OptionError, match=r"too many processes .*; .* at most local:32$"):
            check_cluster(where)


@pytest.mark.slow
def test_no_scheduler() -> None:
    with pytest.raises(ClusterError, match=r"^tcp://127\.0\.0\.1:9: there is no scheduler: "):
        open_engine("tcp://127.0.0.1:9").__enter__()


def test_dask_is_missing(tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ImportError(name='distributed')\n")
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = ("gallery", "build", tmp_path, "-o", tmp_path / "x.gallery", "--cluster", "local")
    outcome = finish(spawn(*command, env=environment))
    assert outcome.code == 1
    assert outcome.lines[-1].endswith("pip install 'livemosaic[cluster]'")


PICTURES = """
import sys
from livemosaic.cluster.requirements import Requirements, facts_of
print(facts_of(Requirements())["pictures"], "livemosaic.cluster.probe" in sys.modules)
"""


def pictures(folder: Path, before: str = "", **environment: str) -> tuple[str, bool]:
    """The digest of a process, and whether it has made the pictures; it runs other code before."""
    environment |= {"NUMBA_CACHE_DIR": str(folder), "NUMBA_DISABLE_JIT": "1"}
    outcome = finish(
        spawn(command=(sys.executable, "-c", before + PICTURES), env=environment, cwd=ROOT)
    )
    assert outcome.code == 0, outcome.err
    digest, made = outcome.out.split()
    return digest, made == "True"


def test_the_pictures_of_a_process_are_made_once(tmp_path: Path) -> None:
    """What workers are compared by; a digest that is damaged is made again."""
    first, made = pictures(tmp_path)
    assert made
    assert pictures(tmp_path) == (first, False)
    (path,) = tmp_path.rglob("pictures-*")
    path.write_text("")
    assert pictures(tmp_path) == (first, True)
    assert pictures(tmp_path) == (first, False)


def test_each_processor_makes_its_own_pictures(tmp_path: Path) -> None:
    """Also where kernels are compiled for another one, so that all use the same."""
    features = re.findall(r"\*(\S+)(?!\S)", cv2.getCPUFeaturesLine())
    there = [name for name in features if not name.endswith("?")]  # the processor has it
    if not there:
        pytest.skip("OpenCV uses no more than each processor has")
    assert pictures(tmp_path)[1]
    assert pictures(tmp_path, OPENCV_CPU_DISABLE=there[-1])[1]


def test_a_numpy_without_code_for_some_processors(tmp_path: Path) -> None:
    without = "import numpy; numpy.show_config = lambda mode: {}"
    assert pictures(tmp_path, without)[1]


# ---- a cluster of Dask's programs --------------------------------------------------------


@pytest.fixture(scope="module")
def compiled() -> None:
    """Kernels are compiled, so that no test waits for that."""
    facts_of(Requirements())


@pytest.fixture(scope="module")
def scheduler(compiled: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
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
    def wait_until_it_waits() -> None:
        eventually(lambda: "there are no workers; waiting for one" in caplog.text)

    def stop_when_asked() -> None:
        wait_until_it_waits()
        stopped.stop()

    def start_when_asked() -> None:
        wait_until_it_waits()
        workers.append(scheduler.start_worker())

    stopped = open_engine(scheduler.address)
    stopper = threading.Thread(target=stop_when_asked)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        stopped.__enter__()
    stopper.join()
    caplog.clear()

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
def test_the_scheduler(compiled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


TWICE = """
import os, signal
from pathlib import Path
from livemosaic.cluster.engine import open_engine

if __name__ == "__main__":
    for _ in range(2):
        with open_engine("local:1"):
            pass
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
            os.waitid(os.P_PID, int(child), os.WEXITED | os.WNOWAIT)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the processes in /proc")
def test_a_process_of_pythons_own_that_was_killed(tmp_path: Path) -> None:
    """It frees semaphores; Python begins another one, and would warn."""
    script = tmp_path / "twice.py"
    script.write_text(TWICE)
    words, environment = [sys.executable, "-W", "error"], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*words, script], env=environment, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


FORGOTTEN = """
import asyncio, gc
from livemosaic.cluster.engine import open_engine

async def fail(error):
    raise error

if __name__ == "__main__":
    gc.disable()
    with open_engine("local:1"):
        loop, error = asyncio.new_event_loop(), ValueError("forgotten")
        error.task = loop.create_task(fail(error))
        loop.run_until_complete(asyncio.wait([error.task]))
        loop.close()
        del error
    gc.collect()
"""


@pytest.mark.slow
def test_a_task_that_dask_forgets_says_nothing_later(tmp_path: Path) -> None:
    """Such as one that waited for a worker that was killed: Python says so when it is freed."""
    script = tmp_path / "forgotten.py"
    script.write_text(FORGOTTEN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_scheduler_with_tls(compiled: None, tmp_path: Path) -> None:
    """Certificates are named in Dask's own configuration."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout"
    made = ["openssl", *words.split(), str(key), "-out", str(pem)]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    files = ("--tls-ca-file", str(pem), "--tls-cert", str(pem), "--tls-key", str(key))
    with dask_scheduler(tmp_path, "--protocol", "tls", *files) as scheduler:
        assert scheduler.address.startswith("tls://")
        with pytest.raises(
            ClusterError, match=r"^tls://.*no certificates;.*distributed\.comm\.tls"
        ):
            open_engine(scheduler.address).__enter__()
        tls = "distributed.comm.tls"
        named = {f"{tls}.ca-file": pem, f"{tls}.client.cert": pem, f"{tls}.client.key": key}
        with dask.config.set({name: str(path) for name, path in named.items()}):
            worker = scheduler.start_worker()
            with open_engine(scheduler.address) as engine:
                assert list(engine.run(tasks.square, [3])) == [(0, 9)]
            worker.kill()
