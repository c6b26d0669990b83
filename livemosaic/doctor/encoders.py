"""A check of the video encoders: those that really encode a frame."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .finding import Finding

__all__ = ["HARDWARE", "SOFTWARE", "encoders", "probe"]

SOFTWARE = ("libx264", "libx265", "libsvtav1", "libvpx-vp9")
# A driver is found only by trying: FFmpeg lists what it was built with.
HARDWARE = tuple(
    f"{codec}_{kind}"
    for kind in ("nvenc", "qsv", "amf", "vaapi", "videotoolbox", "v4l2m2m")
    for codec in ("h264", "hevc")
)

_PROBE_S = 6.0  # for all: imports take one second on a slow machine, the encoders half a second


Probe = Callable[[Sequence[str]], dict[str, dict[str, Any]]]


def encoders(*, ask: Probe | None = None) -> Finding:
    """Which encoders encode; `ask` is `probe`, or what stands for it."""
    found = (ask or probe)((*SOFTWARE, *HARDWARE))
    good = [name for name, of in found.items() if of["state"] == "good"]
    details = {"encoders": found}
    hardware = [name for name in good if name in HARDWARE]
    text = ", ".join(name for name in good if name in SOFTWARE) or "none by software"
    text += f"; by hardware: {', '.join(hardware) or 'none'}"
    missing = [name for name in SOFTWARE if name not in good]
    again = f"{sys.executable} -m pip install --force-reinstall --no-deps av"
    if "libx264" in missing:
        why = found["libx264"]["text"]
        return Finding(
            "encoders",
            "warning",
            f"libx264, which files need unless another --codec is said, does not encode ({why}); "
            f"those that do: {', '.join(good) or 'none'}",
            again,
            details,
        )
    if missing:
        return Finding(
            "encoders", "warning", f"{text}; not usable: {', '.join(missing)}", again, details
        )
    return Finding("encoders", "good", text, details=details)


def probe(
    names: Sequence[str],
    *,
    command: Sequence[str] = (sys.executable, "-m", "livemosaic.doctor.probe"),
    timeout_s: float = _PROBE_S,
) -> dict[str, dict[str, Any]]:
    """Try each in a process of its own kind: where one ends it, a new one goes on with the next.

    Returns
    -------
    By name: `state`, which is `good`, `absent` (not in this FFmpeg) or `failed`; `text`, the
    reason; `ms` for one frame, with opening
    """
    found: dict[str, dict[str, Any]] = {}
    rest = list(names)
    while rest:
        answers, end = _try(command, rest, timeout_s)
        for answer in answers:
            wrong = answer["wrong"]
            state = "absent" if wrong == "absent" else "failed" if wrong else "good"
            text = "not in this FFmpeg" if wrong == "absent" else wrong
            found[answer["name"]] = {"state": state, "text": text, "ms": answer["ms"]}
        rest = rest[len(answers) :]
        if rest:
            found[rest.pop(0)] = {"state": "failed", "text": end, "ms": 0.0}
    return {name: found[name] for name in names}


def _try(
    command: Sequence[str], names: Sequence[str], timeout_s: float
) -> tuple[list[dict[str, Any]], str]:
    """The answers of one process, and how it ended before it had given all."""
    try:
        done = subprocess.run(
            [*command, *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # drivers speak there as they like
            timeout=timeout_s,
            check=False,
        )
        out, end = done.stdout, f"its driver ended the process ({done.returncode})"
    except subprocess.TimeoutExpired as error:
        out, end = error.stdout or b"", f"it did not answer within {timeout_s:g} s"
    except OSError as error:
        return [], f"it could not be tried: {error.strerror}"
    lines = [line for line in out.splitlines() if line.startswith(b"{") and line.endswith(b"}")]
    return [json.loads(line) for line in lines], end
