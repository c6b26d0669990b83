"""The lowest priority for a process that must not be noticed."""

from __future__ import annotations

import os
import subprocess
import sys

_LOWEST = 19  # of Unix

# For the start of a process on Windows, see `unfinished.start_helper`; elsewhere it lowers its own.
FLAGS: int = getattr(subprocess, "IDLE_PRIORITY_CLASS", 0)


def lower_priority() -> None:
    """Give this process the lowest priority; on Windows, `FLAGS` have done that."""
    if sys.platform != "win32":
        os.nice(_LOWEST)
