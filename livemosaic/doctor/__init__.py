"""What this machine has, what it lacks, and what it can hold: a small function for each question.

from livemosaic.doctor import run_checks

for finding in run_checks():
    print(finding.name, finding.state, finding.text, finding.cure)
"""

from __future__ import annotations

from .checks import CHECKS, Check, run_checks
from .result import CheckResult, State

__all__ = ["CHECKS", "Check", "CheckResult", "State", "run_checks"]
