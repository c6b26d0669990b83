"""Checks what this machine has, what it lacks, which video it can process live, and how late.

from livemosaic.doctor import run_checks

for result in run_checks():
    print(result.name, result.state, result.text, result.fix)
"""

from __future__ import annotations

from .checks import CHECKS, Check, run_checks
from .result import CheckResult, State

__all__ = ["CHECKS", "Check", "CheckResult", "State", "run_checks"]
