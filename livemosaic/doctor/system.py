"""Checks of Python, its packages, the processor and the display."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from .result import CheckResult, State

__all__ = ["cpu", "display", "packages", "python"]

# The first that has what is used; the last that all tests have passed with.
_FIRST_PYTHON, _LAST_PYTHON = (3, 11), (3, 13)


class _Package(NamedTuple):
    """One that is needed.

    Attributes
    ----------
    name : on PyPI
    module : what is imported
    first : the oldest version that works
    last : the newest that all tests have passed with; of later ones only another major version is
        worth a word
    """

    name: str
    module: str
    first: str
    last: str


# In the order of import: OpenCV before PyAV, whose X library would hang OpenCV's first window.
_PACKAGES = (
    _Package("numpy", "numpy", "2.0", "2.5"),
    _Package("opencv-python", "cv2", "4.13", "5.0"),
    _Package("numba", "numba", "0.60", "0.68"),
    _Package("av", "av", "18", "19.0"),
    _Package("scikit-learn", "sklearn", "1.5", "1.9"),
    _Package("threadpoolctl", "threadpoolctl", "3.4", "3.8"),
    _Package("platformdirs", "platformdirs", "4", "4.14"),
    _Package("tqdm", "tqdm", "4.66", "4.70"),
)
if sys.platform in ("win32", "darwin"):
    _PACKAGES += (_Package("cv2-enumerate-cameras", "cv2_enumerate_cameras", "1.2", "1.3"),)
# 1.2 s, and needed to build a gallery only: that it is there has to be enough.
_NOT_IMPORTED = {"scikit-learn"}

# A wheel of OpenCV wants these of the system, which slim containers do not have.
_SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxcb.so.1": "libxcb1",
}

_BUSY = 0.5  # the share of the processors that other programs may take without being noticed


def python() -> CheckResult:
    """Whether this Python is one that works."""
    version, details = platform.python_version(), {"version": platform.python_version()}
    text = f"{platform.python_implementation()} {version}"
    if sys.version_info < _FIRST_PYTHON:
        first = ".".join(map(str, _FIRST_PYTHON))
        return CheckResult(
            "python", "problem", f"{text} is too old", f"install Python {first} or later", details
        )
    if sys.version_info[:2] > _LAST_PYTHON:
        text += f", newer than what was tested ({'.'.join(map(str, _LAST_PYTHON))})"
    return CheckResult("python", "good", text, details=details)


def packages(*, load: Callable[[str], Any] = importlib.import_module) -> CheckResult:
    """Whether every package is there, can be imported, and has a version that works."""
    found: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    newer: list[str] = []
    broken: list[str] = []
    system: list[str] = []
    for package in _PACKAGES:
        version: str | None = None
        try:
            version = _version(package, load)
        except Exception as error:  # a broken package can raise anything
            said = " ".join(str(error).split())
            broken.append(f"{package.name} ({said})")
            library = _SYSTEM_LIBRARIES.get(said.partition(":")[0])
            (system if library else wrong).append(library or _state(package))
        else:
            if _numbers(version) < _numbers(package.first):
                broken.append(f"{package.name} {version} (older than {package.first})")
                wrong.append(_state(package))
            elif _numbers(version)[:1] > _numbers(package.last)[:1]:
                newer.append(f"{package.name} {version} (tested: {package.last})")
        found[package.name] = {
            "version": version,
            "needed": f">={package.first}",
            "tested": package.last,
        }
    details = {"packages": found}
    if broken:
        cures = [f"{_quoted(sys.executable)} -m pip install {' '.join(wrong)}"] if wrong else []
        if system:
            # The names of Debian and Ubuntu, as in most containers; others have similar ones.
            cures.append(f"sudo apt install {' '.join(dict.fromkeys(system))}")
        return CheckResult(
            "packages", "problem", f"not usable: {', '.join(broken)}", "; ".join(cures), details
        )
    versions = ", ".join(f"{name} {of['version']}" for name, of in found.items())
    if newer:
        return CheckResult(
            "packages",
            "warning",
            f"newer than what was tested: {', '.join(newer)}",
            "go on; if something fails, install the tested version",
            details,
        )
    return CheckResult("packages", "good", versions, details=details)


def _version(package: _Package, load: Callable[[str], Any]) -> str:
    if package.name in _NOT_IMPORTED:
        return metadata.version(package.name)
    if package.module == "numba":
        load("livemosaic.jit").import_quickly()
    module = load(package.module)
    # Of OpenCV there are several packages, and the system's own.
    version = getattr(module, "__version__", None)
    return str(version) if isinstance(version, str) else metadata.version(package.name)


def _state(package: _Package) -> str:
    return f"'{package.name}>={package.first}'"


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version for comparing: "5.0.0rc1" is (5, 0, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


# ---- processor ---------------------------------------------------------------------------


def cpu() -> CheckResult:
    """The processor, how many of its cores may be used, and whether others use them."""
    import cv2

    cores, load = usable_cores(), _load()
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i686", "x86")
    # OpenCV's number of AVX2, which it tests at run time on every system.
    avx2 = bool(cv2.checkHardwareSupport(11)) if x86 else None
    model = _model()
    details = {"model": model, "cores": cores, "avx2": avx2, "load": load}
    text = f"{model}, {cores} core{'' if cores == 1 else 's'}"
    if avx2:
        text += ", AVX2"
    if load is not None:
        text += f", load {load:.1f}"
    state: State = "warning"
    if load is not None and load > _BUSY * cores:
        text += ": it was busy in the last minute, so less may be held than the processor can"
        cure = "close what is not needed, wait a minute, then run this again"
    elif x86 and not avx2:
        text += ", no AVX2: half as fast, or less"
        cure = "use smaller outputs and larger tiles: --size 960x540 --tile 24"
    elif cores < 2:
        text += ": stages cannot run side by side"
        cure = "give it two cores or more"
    else:
        state, cure = "good", ""
    return CheckResult("cpu", state, text, cure, details)


def usable_cores(*, cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """How many cores this process may use: those of its affinity, less what a container allows."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text().split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return cores


def _load() -> float | None:
    """Processes that ran or wanted to, over the last minute; None where the system says nothing."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # Windows
        return None


def _model() -> str:
    if sys.platform == "linux":
        try:
            match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
        except OSError:
            match = None
        if match is not None:
            return match[1]
    elif sys.platform == "darwin" and (program := shutil.which("sysctl")):
        done = subprocess.run(
            [program, "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            timeout=2,
            check=False,
        )
        if done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine() or "unknown processor"


def _cpuinfo() -> str:
    return Path("/proc/cpuinfo").read_text(errors="replace")


# ---- display -----------------------------------------------------------------------------


def display() -> CheckResult:
    """Whether a window can be opened, without opening one."""
    import cv2

    from ..errors import SinkError
    from ..window.display import check_display
    from .result import told

    match = re.search(r"^[ \t]*GUI:[ \t]*(.*?)[ \t]*$", cv2.getBuildInformation(), re.MULTILINE)
    gui = match[1] if match is not None and match[1] else "NONE"
    details: dict[str, Any] = {"kind": _kind(), "gui": gui, "width": None, "height": None}
    if gui == "NONE":
        return CheckResult(
            "display",
            "warning",
            "this OpenCV was built without windows",
            f"{_quoted(sys.executable)} -m pip uninstall opencv-python-headless; "
            f"{_quoted(sys.executable)} -m pip install --force-reinstall opencv-python",
            details,
        )
    try:
        size = check_display()
    except SinkError as error:
        text, cure = told(error)
        return CheckResult("display", "warning", text.removeprefix("window: "), cure, details)
    text = f"{details['kind']}, windows by {gui}"
    if size is not None:
        details["width"], details["height"] = size
        text += f", {size[0]}x{size[1]}"
    return CheckResult("display", "good", text, details=details)


def _kind() -> str:
    """What shows windows here: `windows`, `macos`, `x11`, `wayland` or `none`."""
    if sys.platform in ("win32", "darwin"):
        return "windows" if sys.platform == "win32" else "macos"
    if os.environ.get("DISPLAY"):
        return "x11"
    return "wayland" if os.environ.get("WAYLAND_DISPLAY") else "none"
