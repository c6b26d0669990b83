"""Runs the command line many times, each time with another call that fails; see `faults.c`.

Reads a JSON list from each line of standard input: the kind, the number of the call, its error, the
folder, a file for the output, and the words. It answers with the exit code, and whether the call
was made. Each run is a copy of this process, which has imported everything.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

import cv2  # noqa: F401  (before av)
import sklearn.cluster  # noqa: F401
import threadpoolctl  # noqa: F401

import livemosaic.cluster.galleries
import livemosaic.gallery.build
import livemosaic.gallery.builtin
import livemosaic.mosaic.match.refine
import livemosaic.pipeline
import livemosaic.session  # noqa: F401
from livemosaic.cli import app
from livemosaic.mosaic.match import layout  # noqa: F401
from livemosaic.sinks import file as film  # noqa: F401
from livemosaic.sinks import image, photo_map  # noqa: F401
from livemosaic.sources import file, still  # noqa: F401

faults = ctypes.CDLL(os.environ["LD_PRELOAD"])


def run(kind: str, number: int, error: int, folder: str, output: str, words: list[str]) -> None:
    """Run in this process, and end it."""
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(target, 1)
    os.dup2(target, 2)
    leave = os._exit
    # The program leaves in this way, too, where a call on another thread is stuck.
    os._exit = lambda status: leave(status | (64 if faults.has_failed() else 0))
    faults.arm(kind.encode(), number, error, folder.encode())
    try:
        code = app.main(words)
    except SystemExit as error_:
        code = int(error_.code or 0)
    sys.stderr.flush()
    os._exit(code)


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(*json.loads(line))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    answer = [status, False] if status < 0 else [status & ~64, bool(status & 64)]
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
