"""The list of all checks. A check that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from ..errors import LivemosaicError
from .benchmark import speed
from .cameras import cameras, virtual_cameras
from .encoders import encoders
from .result import CheckResult, State, one_line, problem_and_fix
from .storage import cache, gallery
from .system import cpu, display, packages, python


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    name: str  # of its result
    run: Callable[[], CheckResult]
    essential: bool = False  # livemosaic cannot run if `run` raises an error


_SPEEDS = ((1280, 720, 30), (1920, 1080, 30), (1920, 1080, 60))

# Later checks need earlier ones. Measurements come last, when nothing else runs.
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
    *(Check(f"speed_{h}p{rate}", partial(speed, w, h, rate), True) for w, h, rate in _SPEEDS),
)


def run_checks(checks: Iterable[Check] = CHECKS) -> Iterator[CheckResult]:
    """Run each check and yield its result; an error of a check becomes its result."""
    for check in checks:
        yield _run(check)


def _run(check: Check) -> CheckResult:
    state: State = "problem" if check.essential else "warning"
    try:
        return check.run()
    except LivemosaicError as error:
        return CheckResult(check.name, state, *problem_and_fix(error))
    except ImportError as error:
        return CheckResult(check.name, state, one_line(error), "fix the packages first")
    except Exception as error:
        text = f"the check itself failed: {type(error).__name__}: {one_line(error)}"
        return CheckResult(check.name, state, text, "report this line as a bug of livemosaic")
