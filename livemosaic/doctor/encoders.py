"""A check of the video encoders: which ones really encode a frame."""

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

SOFTWARE = ("libx264", "libx265", "libsvtav1", "libvpx-vp9")
# FFmpeg lists every encoder it was built with: only a try shows whether there is a driver.
HARDWARE = tuple(
    f"{codec}_{kind}"
    for kind in ("nvenc", "qsv", "amf", "vaapi", "videotoolbox", "v4l2m2m")
    for codec in ("h264", "hevc")
)

# An encoder takes 40 ms, a driver that has to wake its hardware up to a second. Imports take half a
# second, on a slow machine many: the sum is limited by what a person will wait for.
_EACH_S, _ALL_S = 3.0, 8.0

Probe = Callable[[Sequence[str]], dict[str, dict[str, Any]]]


def probe(
    names: Sequence[str],
    *,
    command: Sequence[str] = (sys.executable, "-m", "livemosaic.doctor.encoder_probe"),
    each_s: float = _EACH_S,
    all_s: float = _ALL_S,
) -> dict[str, dict[str, Any]]:
    """Try encoders in another process; after one that ends the process, a new process continues.

    `command` is that of `encoder_probe`. `each_s` and `all_s` limit the time for one encoder and
    for all.

    Returns
    -------
    By name: `state`, which is `good`, `absent` (not in this FFmpeg), `failed`, or `untried` (no
    time was left); `text`, the reason; `ms` to open the encoder and to encode one frame
    """
    found: dict[str, dict[str, Any]] = {}
    remaining, deadline = list(names), time.monotonic() + all_s
    while remaining:
        answers, state, reason = _try(command, remaining, each_s, deadline)
        for answer in answers:
            found[answer["name"]] = _answered(answer)
        remaining = remaining[len(answers) :]
        if state:
            count = len(remaining) if state == "untried" else 1
            for name in remaining[:count]:
                found[name] = {"state": state, "text": reason, "ms": 0.0}
            remaining = remaining[count:]
    return found


def encoders(*, probe: Probe = probe) -> CheckResult:
    """Check which encoders work; `probe` tries them."""
    found = probe((*SOFTWARE, *HARDWARE))
    good = [name for name, result in found.items() if result["state"] == "good"]
    untried = [name for name in SOFTWARE if found[name]["state"] == "untried"]
    missing = [name for name in SOFTWARE if name not in good]
    fix = f"{sys.executable} -m pip install --force-reinstall --no-deps av"
    if untried:
        text = f"there was no time to try {', '.join(untried)}: {found[untried[0]]['text']}"
        fix = "close other programs, then run this again"
    elif "libx264" in missing:
        text = (
            f"libx264, the default for files, does not work ({found['libx264']['text']}); "
            f"working encoders: {', '.join(good) or 'none'}"
        )
    else:
        software = ", ".join(name for name in good if name in SOFTWARE)
        hardware = ", ".join(name for name in good if name in HARDWARE)
        text = f"software: {software}; hardware: {hardware or 'none'}"
        if missing:
            text += f"; not usable: {', '.join(missing)}"
        else:
            fix = ""
    return CheckResult("encoders", "warning" if fix else "good", text, fix, {"encoders": found})


def _answered(answer: dict[str, Any]) -> dict[str, Any]:
    error = answer["error"]
    if error == "absent":
        return {"state": "absent", "text": "not in this FFmpeg", "ms": 0.0}
    return {"state": "failed" if error else "good", "text": error, "ms": answer["ms"]}


def _try(
    command: Sequence[str], names: Sequence[str], each_s: float, deadline: float
) -> tuple[list[dict[str, Any]], str, str]:
    """Run one process; if an answer is missing, also the state of the next name, and the reason."""
    try:
        process = subprocess.Popen(
            [*command, *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # drivers write what they like there
        )
    except OSError as error:
        return [], "untried", f"the process did not start: {error.strerror}"
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
                    return answers, "untried", "the machine is too slow or too busy"
                return answers, "failed", f"no answer within {each_s:g} s"
            if line is None:
                return answers, "failed", f"its driver ended the process ({process.wait()})"
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
    """Queue the answers, then None; drivers print other lines, too."""
    for line in stream:
        if line.startswith(b"{") and line.endswith(b"}\n"):
            lines.put(json.loads(line))
    lines.put(None)
