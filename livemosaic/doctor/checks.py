"""The list of all checks. A check that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..errors import LivemosaicError
from .benchmark import speed, with_smaller
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


def _speed(width: int, height: int, rate: int) -> Check:
    return Check(f"speed_{height}p{rate}", lambda: speed(width, height, rate), essential=True)


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
    _speed(1280, 720, 30),
    _speed(1920, 1080, 30),
    _speed(1920, 1080, 60),
)


def run_checks(checks: Iterable[Check] = CHECKS) -> Iterator[CheckResult]:
    """Run each check and yield its result; an error of a check becomes its result."""
    results: list[CheckResult] = []
    for check in checks:
        results.append(with_smaller(_run(check), results))
        yield results[-1]


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
