"""All checks, one after the other; none can keep the others from being done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..errors import LivemosaicError
from .benchmark import speed
from .cameras import cameras, virtual_cameras
from .encoders import encoders
from .result import CheckResult, State, told
from .storage import cache, gallery
from .system import cpu, display, packages, python

__all__ = ["CHECKS", "Check", "run_checks"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question.

    Attributes
    ----------
    name : of its finding
    ask : answers it
    essential : nothing works when it cannot be answered
    """

    name: str
    ask: Callable[[], CheckResult]
    essential: bool = False


def _speed(width: int, height: int, rate: int) -> Check:
    return Check(f"speed_{height}p{rate}", lambda: speed(width, height, rate), essential=True)


# What the later ones need comes first. What is measured comes last, when nothing else runs.
CHECKS = (
    Check("python", python, essential=True),
    Check("packages", packages, essential=True),
    Check("cpu", cpu),
    Check("display", display),
    Check("cameras", cameras),
    Check("virtual_cameras", virtual_cameras),
    Check("encoders", encoders),
    Check("cache", cache),
    Check("gallery", gallery, essential=True),
    _speed(1280, 720, 30),
    _speed(1920, 1080, 30),
    _speed(1920, 1080, 60),
)


def run_checks(checks: Iterable[Check] = CHECKS) -> Iterator[CheckResult]:
    """What each check finds, as soon as it has. Never raises but for an interrupt."""
    for check in checks:
        yield _asked(check)


def _asked(check: Check) -> CheckResult:
    state: State = "problem" if check.essential else "warning"
    try:
        return check.ask()
    except LivemosaicError as error:
        return CheckResult(check.name, state, *told(error))
    except ImportError as error:
        text = " ".join(str(error).split())
        return CheckResult(check.name, state, text, "first cure what is said of the packages")
    except Exception as error:
        text = f"the check itself failed: {type(error).__name__}: {' '.join(str(error).split())}"
        return CheckResult(check.name, state, text, "report this line: it is a fault of livemosaic")
