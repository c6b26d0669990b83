"""What a check has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import LivemosaicError

__all__ = ["CheckResult", "State", "told"]

State = Literal["good", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check has found.

    Attributes
    ----------
    name : of the check
    state : `good`; `warning`: something can be done without it; `problem`: nothing works before
        it is put right
    text : what was found, one line
    cure : what to type or to do on this system; empty when there is nothing to be done
    details : the same for programs, see the README
    """

    name: str
    state: State
    text: str
    cure: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "text": self.text,
            "cure": self.cure,
            "details": dict(self.details),
        }


def told(error: LivemosaicError) -> tuple[str, str]:
    """The problem and the cure of an error: its message names the thing, then says both."""
    text, _, cure = " ".join(str(error).split()).partition("; ")
    return text, cure
