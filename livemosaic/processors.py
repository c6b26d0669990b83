"""The processors that this program may use."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

_most = math.inf


def use_at_most(cores: float) -> None:
    """Let this process use this many processors: there are others like it beside it. `math.inf` is
    for all."""
    global _most
    _most = cores


def usable_cores(*, cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """How many cores this process may use, by its affinity, its container's limit and
    `use_at_most`."""
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    cores = int(min(cores, _most))
    try:
        quota, period = cgroup.read_text().split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return cores


def codec_threads() -> int:
    """The number of threads for a codec of FFmpeg: as many as there are processors, which 0 means
    for FFmpeg, or those of `use_at_most`."""
    return 0 if math.isinf(_most) else int(_most)
