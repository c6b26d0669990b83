"""Tries video encoders in a process of its own, because a driver may end or stop it.

FFmpeg lists every encoder that it was built with: only a try shows whether there is a driver, and
whether the pictures are right.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..unfinished import end_helper, start_helper
from .base import FileOptions

# An encoder takes 40 ms, a driver that has to wake its hardware up to a second. Imports take half a
# second, on a slow machine many: the sum is limited by what a person will wait for.
_EACH_S, _ALL_S = 3.0, 8.0
_MORE_S = 0.3  # for each encoder and million pixels: a busy machine takes as long


class Trial(NamedTuple):
    """What the process tries: encoders, for such a video. The default size is one that every
    hardware encoder supports, and that takes only milliseconds."""

    names: tuple[str, ...]
    width: int = 640
    height: int = 384
    rate: Fraction = Fraction(25)
    deep: bool = False  # 10 bits, for encoders that keep them
    live: bool = False  # as a recording
    low_delay: bool = False  # as a stream over the network
    options: FileOptions = FileOptions()


Probe = Callable[[Trial], dict[str, dict[str, Any]]]


def probe(
    trial: Trial,
    *,
    module: str = f"{__package__}.encoder_probe_process",
    each_s: float = _EACH_S,
    all_s: float = _ALL_S,
) -> dict[str, dict[str, Any]]:
    """Try encoders in another process; after one that ends the process, a new process continues.

    `module` is that process. `each_s` and `all_s` limit the time for one encoder and for all;
    large pictures have more.

    Returns
    -------
    By name: `state`, which is `good`, `absent` (not in this FFmpeg), `failed`, or `untried` (no
    time was left); `text`, the reason; `ms` to encode some frames and to decode them; `psnr`, how
    near the decoded pictures are, in dB
    """
    found: dict[str, dict[str, Any]] = {}
    more_s = _MORE_S * trial.width * trial.height / 1e6
    each_s, all_s = each_s + more_s, all_s + more_s * len(trial.names)
    remaining, deadline = list(trial.names), time.monotonic() + all_s
    while remaining:
        rest = trial._replace(names=tuple(remaining))
        answers, state, reason = _try(module, rest, each_s, deadline)
        for answer in answers:
            found[answer["name"]] = _answered(answer)
        remaining = remaining[len(answers) :]
        if state:
            count = len(remaining) if state == "untried" else 1
            for name in remaining[:count]:
                found[name] = {"state": state, "text": reason, "ms": 0.0, "psnr": 0.0}
            remaining = remaining[count:]
    return found


def refused_devices(folder: Path = Path("/dev/dri")) -> dict[str, str]:
    """The devices of graphics cards that this user may not use, by path: each one's group."""
    if sys.platform != "linux":
        return {}
    found = {}
    for path in sorted(folder.glob("renderD*")):
        if not os.access(path, os.R_OK | os.W_OK):
            with contextlib.suppress(OSError, KeyError):  # a group without a name
                found[str(path)] = path.group()
    return found


def _answered(answer: dict[str, Any]) -> dict[str, Any]:
    error = answer["error"]
    if error == "absent":
        return {"state": "absent", "text": "not in this FFmpeg", "ms": 0.0, "psnr": 0.0}
    state = "failed" if error else "good"
    return {"state": state, "text": error, "ms": answer["ms"], "psnr": answer["psnr"]}


def _try(
    module: str, trial: Trial, each_s: float, deadline: float
) -> tuple[list[dict[str, Any]], str, str]:
    """Run one process; if an answer is missing, also the state of the next name, and the reason."""
    try:
        process = start_helper(module)
    except OSError as error:
        return [], "untried", f"the process did not start: {error.strerror}"
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    answers: list[dict[str, Any]] = []
    ready = False
    try:
        with contextlib.suppress(OSError):  # it has ended
            process.stdin.write(pickle.dumps(trial))
            process.stdin.close()
        while len(answers) < len(trial.names):
            left_s = deadline - time.monotonic()
            try:
                line = lines.get(timeout=max(0.0, min(left_s, each_s) if ready else left_s))
            except queue.Empty:
                if not ready or left_s < each_s:
                    return answers, "untried", "the machine is too slow or too busy"
                return answers, "failed", f"no answer within {each_s:.0f} s"
            if line is None:
                return answers, "failed", f"its driver ended the process ({process.wait()})"
            if ready:
                answers.append(line)
            ready = True
        return answers, "", ""
    finally:
        process.kill()
        reader.join()
        end_helper(process)


def _read(stream: IO[bytes], lines: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Queue the answers, then None; drivers print other lines, too."""
    for line in stream:
        if line.startswith(b"{") and line.endswith(b"}\n"):
            lines.put(json.loads(line))
    lines.put(None)
