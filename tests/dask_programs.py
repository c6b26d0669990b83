"""Dask's own programs, as a person starts them on several machines."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .fakes import wait_until
from .program import ENVIRONMENT


class Scheduler:
    """`dask scheduler` on the loopback address, and workers that were started for it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._file, self._words = folder / "scheduler.json", words
        self._log = open(folder / "dask.log", "wb")  # noqa: SIM115
        self._programs: list[subprocess.Popen[bytes]] = []
        address = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.program = self._start("scheduler", *address)
        self.address: str = wait_until(self._address, timeout_s=90)

    def _address(self) -> str:
        with contextlib.suppress(OSError, json.JSONDecodeError):
            return str(json.loads(self._file.read_text())["address"])
        return ""

    def start_worker(self, **options: Any) -> subprocess.Popen[bytes]:
        """A worker with one place, in one process."""
        words = ("--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--no-nanny")
        return self._start("worker", *words, **options)

    def _start(self, kind: str, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        environment = {**ENVIRONMENT, **options.pop("env", {})}
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(self._file)]
        program = subprocess.Popen(
            [*command, *words, *self._words],
            env=environment,
            stdout=self._log,
            stderr=self._log,
            **options,
        )
        self._programs.append(program)
        return program

    def close(self) -> None:
        for program in reversed(self._programs):
            program.kill()
            program.wait()
        self._log.close()


@contextlib.contextmanager
def dask_scheduler(folder: Path, *words: str) -> Iterator[Scheduler]:
    """A scheduler that ends, with its workers, after the block."""
    scheduler = Scheduler(folder, *words)
    try:
        yield scheduler
    finally:
        scheduler.close()
