"""The result of a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import LivemosaicError

# A warning: a part of livemosaic does not work. A problem: livemosaic cannot run.
State = Literal["good", "warning", "problem"]

LESS_LOAD = "close other programs, wait a minute, then run this again"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check; docs/doctor.md explains the fields and details."""

    name: str  # of the check
    state: State
    text: str  # one line for people
    fix: str = ""  # what to type or to do on this system, empty for nothing
    details: Mapping[str, Any] = field(default_factory=dict)  # the same facts for programs


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks."""
    return " ".join(str(error).split())


def problem_and_fix(error: LivemosaicError) -> tuple[str, str]:
    """The two halves of an error's message, *problem; what to do*."""
    problem, _, fix = one_line(error).partition("; ")
    return problem, fix
