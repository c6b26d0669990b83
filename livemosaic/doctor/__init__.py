"""What this machine has, what it lacks, and what it can hold: a small function for each question.

from livemosaic.doctor import examine

for finding in examine():
    print(finding.name, finding.state, finding.text, finding.cure)
"""

from __future__ import annotations

from .checks import CHECKS, Check, examine
from .result import Finding, State

__all__ = ["CHECKS", "Check", "Finding", "State", "examine"]
