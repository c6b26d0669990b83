"""A check of the video encoders: those that really encode a frame."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from .result import CheckResult

__all__ = ["HARDWARE", "SOFTWARE", "encoders", "probe"]

SOFTWARE = ("libx264", "libx265", "libsvtav1", "libvpx-vp9")
# A driver is found only by trying: FFmpeg lists what it was built with.
HARDWARE = tuple(
    f"{codec}_{kind}"
    for kind in ("nvenc", "qsv", "amf", "vaapi", "videotoolbox", "v4l2m2m")
    for codec in ("h264", "hevc")
)

# An encoder takes 40 ms, a driver that has to wake its hardware up to a second. The whole is
# bounded too, by what a person waits for: imports take half a second, on a slow machine many.
_EACH_S, _ALL_S = 3.0, 8.0

Probe = Callable[[Sequence[str]], dict[str, dict[str, Any]]]


def encoders(*, ask: Probe | None = None) -> CheckResult:
    """Which encoders encode; `ask` is `probe`, or what stands for it."""
    found = (ask or probe)((*SOFTWARE, *HARDWARE))
    good = [name for name, of in found.items() if of["state"] == "good"]
    details = {"encoders": found}
    hardware = [name for name in good if name in HARDWARE]
    text = ", ".join(name for name in good if name in SOFTWARE) or "none by software"
    text += f"; by hardware: {', '.join(hardware) or 'none'}"
    untried = [name for name in SOFTWARE if found[name]["state"] == "untried"]
    missing = [name for name in SOFTWARE if name not in good]
    if untried:
        return CheckResult(
            "encoders",
            "warning",
            f"there was no time to try {', '.join(untried)}: {found[untried[0]]['text']}",
            "close other programs, then run this again",
            details,
        )
    again = f"{sys.executable} -m pip install --force-reinstall --no-deps av"
    if "libx264" in missing:
        why = found["libx264"]["text"]
        return CheckResult(
            "encoders",
            "warning",
            f"libx264, which files need unless another --codec is said, does not encode ({why}); "
            f"those that do: {', '.join(good) or 'none'}",
            again,
            details,
        )
    if missing:
        return CheckResult(
            "encoders", "warning", f"{text}; not usable: {', '.join(missing)}", again, details
        )
    return CheckResult("encoders", "good", text, details=details)


def probe(
    names: Sequence[str],
    *,
    command: Sequence[str] = (sys.executable, "-m", "livemosaic.doctor.encoder_probe"),
    each_s: float = _EACH_S,
    all_s: float = _ALL_S,
) -> dict[str, dict[str, Any]]:
    """Try each in a process of its own kind: where one ends it, a new one goes on with the next.

    Parameters
    ----------
    names : of encoders
    command : what says `{}` when it is ready, and then of each name a line as of `probe.py`
    each_s, all_s : what one may take, and all together, in seconds

    Returns
    -------
    By name: `state`, which is `good`, `absent` (not in this FFmpeg), `failed`, or `untried` (there
    was no time left); `text`, the reason; `ms` for one frame, with opening
    """
    found: dict[str, dict[str, Any]] = {}
    rest, deadline = list(names), time.monotonic() + all_s
    while rest:
        answers, state, end = _try(command, rest, each_s, deadline)
        for answer in answers:
            found[answer["name"]] = _judged(answer)
        rest = rest[len(answers) :]
        for name in rest[: None if state == "untried" else 1]:
            found[name] = {"state": state, "text": end, "ms": 0.0}
        rest = [name for name in rest if name not in found]
    return {name: found[name] for name in names}


def _judged(answer: dict[str, Any]) -> dict[str, Any]:
    wrong = answer["wrong"]
    if wrong == "absent":
        return {"state": "absent", "text": "not in this FFmpeg", "ms": 0.0}
    return {"state": "failed" if wrong else "good", "text": wrong, "ms": answer["ms"]}


def _try(
    command: Sequence[str], names: Sequence[str], each_s: float, deadline: float
) -> tuple[list[dict[str, Any]], str, str]:
    """The answers of one process; if they are not all, the state of the next name, and why."""
    try:
        process = subprocess.Popen(
            [*command, *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # drivers speak there as they like
        )
    except OSError as error:
        return [], "untried", f"it could not be tried: {error.strerror}"
    assert process.stdout is not None
    lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    answers: list[dict[str, Any]] = []
    ready = False
    try:
        while len(answers) < len(names):
            left_s = deadline - time.monotonic()
            try:
                line = lines.get(timeout=max(0.0, min(left_s, each_s) if ready else left_s))
            except queue.Empty:
                if not ready or left_s < each_s:
                    return answers, "untried", "the machine is too slow, or too busy"
                return answers, "failed", f"it did not answer within {each_s:g} s"
            if line is None:
                code = process.wait()
                return answers, "failed", f"its driver ended the process ({code})"
            if ready:
                answers.append(line)
            ready = True
        return answers, "", ""
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def _read(stream: IO[bytes], lines: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Hand on what is an answer, and None at the end; drivers speak there too."""
    for line in stream:
        if line.startswith(b"{") and line.endswith(b"}\n"):
            lines.put(json.loads(line))
    lines.put(None)
