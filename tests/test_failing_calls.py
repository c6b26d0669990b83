"""Each call that can fail does so once: the message, the exit code, and what is left."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.signals import SYMPTOMS, check_gallery, check_picture, check_video, make_inputs

from .conftest import ROOT
from .program import ENVIRONMENT, left, needs_jit

pytestmark = [
    pytest.mark.slow,
    needs_jit,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("gcc") is None,
        reason="calls are made to fail by a library for Linux, which gcc compiles",
    ),
]

FAULTS = ROOT / "tests" / "faults"

ERRORS = {
    "open": errno.EMFILE,
    "read": errno.EIO,
    "write": errno.ENOSPC,
    "seek": errno.EIO,
    "fsync": errno.EIO,
    "mmap": errno.ENOMEM,
    "rename": errno.EIO,
    "thread": errno.EAGAIN,
    "encoder": errno.ENOMEM,
}

# A later write fails as an earlier one does. LIVEMOSAIC_FAULTS=1000 tries all.
MOST = int(os.environ.get("LIVEMOSAIC_FAULTS", "4"))

TASKS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "run": ("run in/clip.mp4 o/out.mp4 --scale 1 --tile 16", check_video),
    "build": ("gallery build in/photos -o o/out.gallery", check_gallery),
    "poster": ("run in/photos/0.png o/out.png --size 320x240", check_picture),
}


class Program:
    """Runs the command line again and again, each time with another call that fails."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._output = folder, folder.with_name("output")
        library = folder.with_name("faults.so")
        source = str(FAULTS / "faults.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self._process = subprocess.Popen(
            [sys.executable, FAULTS / "program.py"],
            cwd=folder,
            env={
                **ENVIRONMENT,
                "LD_PRELOAD": str(library),
                "LIVEMOSAIC_CACHE": str(folder / "cache"),
                "OPENBLAS_NUM_THREADS": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, words: list[str], kind: str, number: int) -> tuple[int, bool, str]:
        """The exit code, whether there was such a call, and what was printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        error = ERRORS.get(kind, 0)
        order = [kind, number, error, str(self.folder), str(self._output), words]
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code, has_failed = json.loads(self._process.stdout.readline())
        return code, has_failed, self._output.read_text(errors="replace")

    def end(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("faults") / "w"
    for name in ("in", "cache", "o"):
        (folder / name).mkdir(parents=True)
    make_inputs(folder / "in")
    program = Program(folder)
    yield program
    program.end()


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("task", TASKS)
def test_each_call_fails_once(task: str, kind: str, program: Program) -> None:
    line, check = TASKS[task]
    words = [
        str(program.folder / word) if word.startswith(("in/", "o/")) else word
        for word in line.split()
    ]
    outputs = program.folder / "o"
    for number in range(1, MOST + 1):
        for name in left(outputs):
            (outputs / name).unlink()
        code, has_failed, printed = program.run(words, kind, number)
        if not has_failed:
            assert code == 0, printed
            return
        problems: list[Any] = [symptom for symptom in SYMPTOMS if symptom in printed]
        if code not in (0, 1):
            problems.append(f"exit code {code}")
        if code == 1 and printed.count("error: ") != 1:
            problems.append("an error has one line")
        made = left(outputs)
        if [name for name in made + left(program.folder / "cache") if name.endswith(".part")]:
            problems.append("a part is left")
        elif made:
            assert len(made) == 1
            check(outputs / made[0])
        elif code == 0:
            problems.append("no output")
        assert not problems, f"{kind} {number}: {problems}: {printed}"
