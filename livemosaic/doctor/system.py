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

from ..errors import counted
from ..processors import usable_cores
from .result import LESS_LOAD, CheckResult, State, one_line, problem_and_fix

# The first that has everything we use; the last that passed all tests.
_FIRST_PYTHON, _LAST_PYTHON = (3, 11), (3, 13)


class Package(NamedTuple):
    """A required package."""

    name: str  # on PyPI
    module: str
    first: str  # the oldest version that works
    last: str  # the newest version that passed all tests; a later major version gets a warning


# In the order of import: OpenCV before PyAV, whose X library would hang OpenCV's first window.
PACKAGES: tuple[Package, ...] = (
    Package("numpy", "numpy", "2.0", "2.5"),
    Package("opencv-python", "cv2", "4.13", "5.0"),
    Package("numba", "numba", "0.60", "0.68"),
    Package("av", "av", "18", "19.0"),
    Package("pillow", "PIL", "11.3", "13.0"),
    Package("pillow-heif", "pillow_heif", "1.0", "1.8"),
    Package("mss", "mss", "10.2", "10.2"),
    Package("scikit-learn", "sklearn", "1.5", "1.9"),
    Package("threadpoolctl", "threadpoolctl", "3.4", "3.8"),
    Package("platformdirs", "platformdirs", "4", "4.14"),
    Package("tqdm", "tqdm", "4.66", "4.70"),
    Package("shtab", "shtab", "1.13", "1.13"),
    Package("wakepy", "wakepy", "1.0", "1.0"),
)
if sys.platform in ("win32", "darwin"):
    PACKAGES += (Package("cv2-enumerate-cameras", "cv2_enumerate_cameras", "1.2", "1.3"),)
# Packages that only some users need, by the extra of pip that installs them.
EXTRAS = {"sites": "yt-dlp", "web": "starlette", "cluster": "distributed"}
# Its import takes 1.2 s, and only building a gallery needs it: the version is enough.
_NOT_IMPORTED = {"scikit-learn"}

# The Debian packages of libraries that OpenCV's wheel needs, and slim containers lack.
_SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxcb.so.1": "libxcb1",
}

_BUSY = 0.5  # other programs may use this share of the processor without a warning


def python(
    *, first: tuple[int, int] = _FIRST_PYTHON, last: tuple[int, int] = _LAST_PYTHON
) -> CheckResult:
    """Check Python's version: `first` works, `last` is the last tested one."""
    version = platform.python_version()
    details = {"version": version}
    text = f"{platform.python_implementation()} {version}"
    if sys.version_info < first:
        fix = f"install Python {_dotted(first)} or later"
        return CheckResult("python", "problem", f"{text} is too old", fix, details)
    if sys.version_info[:2] > last:
        text += f", newer than the last tested version, {_dotted(last)}"
    return CheckResult("python", "good", text, details=details)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def packages(*, load: Callable[[str], Any] = importlib.import_module) -> CheckResult:
    """Check that each package is installed, can be imported, and has a version that works.

    Those of extras may be missing.
    """
    details: dict[str, dict[str, Any]] = {}
    broken: list[str] = []
    newer: list[str] = []
    pip: list[str] = []
    apt: list[str] = []
    for package in PACKAGES:
        version: str | None = None
        requirement = f"'{package.name}>={package.first}'"
        try:
            version = _version(package, load)
        except Exception as error:  # a broken package can raise anything
            reason = one_line(error)
            broken.append(f"{package.name} ({reason})")
            library = _SYSTEM_LIBRARIES.get(reason.partition(":")[0])
            (apt if library else pip).append(library or requirement)
        else:
            if _numbers(version) < _numbers(package.first):
                broken.append(f"{package.name} {version} (older than {package.first})")
                pip.append(requirement)
            elif _numbers(version)[:1] > _numbers(package.last)[:1]:
                newer.append(f"{package.name} {version} (tested: {package.last})")
        needed = f">={package.first}"
        details[package.name] = {"version": version, "needed": needed, "tested": package.last}
    extras = {name: _installed(package) for name, package in EXTRAS.items()}
    state: State = "good"
    text = ", ".join(f"{name} {package['version']}" for name, package in details.items())
    for name, version in extras.items():
        text += f"; {EXTRAS[name]} {version or f'(extra {name}) is not installed'}"
    fixes = []
    if broken:
        state, text = "problem", f"not usable: {', '.join(broken)}"
        if pip:
            fixes.append(f"{_quoted(sys.executable)} -m pip install {' '.join(pip)}")
        if apt:
            # Debian's and Ubuntu's names, as in most containers; other systems have similar ones.
            fixes.append(f"sudo apt install {' '.join(dict.fromkeys(apt))}")
    elif newer:
        state, text = "warning", f"newer than the tested version: {', '.join(newer)}"
        fixes.append("if something fails, install the tested version")
    found = {"packages": details, "extras": extras}
    return CheckResult("packages", state, text, "; ".join(fixes), found)


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _version(package: Package, load: Callable[[str], Any]) -> str:
    if package.name in _NOT_IMPORTED:
        return metadata.version(package.name)
    module = load(package.module)
    # Several packages contain OpenCV, and a system has its own.
    version = getattr(module, "__version__", None)
    return str(version) if isinstance(version, str) else metadata.version(package.name)


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version, to be compared: (5, 0, 0) for "5.0.0rc1"."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


# ---- processor ---------------------------------------------------------------------------


def load_average() -> float | None:
    """The average number of running or waiting processes in the last minute."""
    if sys.platform == "win32":  # which does not count them
        return None
    return round(os.getloadavg()[0], 2)


def cpu(
    *,
    usable_cores: Callable[[], int] = usable_cores,
    load_average: Callable[[], float | None] = load_average,
) -> CheckResult:
    """Check the processor, how many of its cores are usable, and whether they are busy."""
    import cv2

    cores, load = usable_cores(), load_average()
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i686", "x86")
    # OpenCV's number of AVX2, which it tests at run time on every system.
    avx2 = bool(cv2.checkHardwareSupport(11)) if x86 else None
    model = _model()
    details = {"model": model, "cores": cores, "avx2": avx2, "load": load}
    text = f"{model}, {counted(cores, 'core')}{', AVX2' if avx2 else ''}"
    if load is not None:
        text += f", load {load:.1f}"
    fix = ""
    if load is not None and load > _BUSY * cores:
        text += ": other programs were busy in the last minute, so speeds may be measured too low"
        fix = LESS_LOAD
    elif x86 and not avx2:
        text += ", no AVX2: mosaics take twice the time or more"
        fix = "use smaller outputs and larger tiles: --size 960x540 --tile 24"
    elif cores < 2:
        text += ": the pipeline's stages cannot run at the same time"
        fix = "use two cores or more"
    return CheckResult("cpu", "warning" if fix else "good", text, fix, details)


def _model() -> str:
    if sys.platform == "linux":
        try:
            text = Path("/proc/cpuinfo").read_text(errors="replace")
        except OSError:
            text = ""
        if match := re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE):
            return match[1]
    elif sys.platform == "darwin" and (program := shutil.which("sysctl")):
        command = [program, "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=False)
        if done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine() or "unknown processor"


# ---- display -----------------------------------------------------------------------------


def display() -> CheckResult:
    """Check whether a window can be opened. None is opened."""
    import cv2

    from ..errors import SinkError
    from ..window.display import check_display

    match = re.search(r"^[ \t]*GUI:[ \t]*(.*?)[ \t]*$", cv2.getBuildInformation(), re.MULTILINE)
    gui = match[1] if match is not None and match[1] else "NONE"
    details: dict[str, Any] = {"kind": _kind(), "gui": gui, "width": None, "height": None}
    if gui == "NONE":
        pip = f"{_quoted(sys.executable)} -m pip"
        fix = f"{pip} uninstall opencv-python-headless; "
        fix += f"{pip} install --force-reinstall opencv-python"
        return CheckResult("display", "warning", "this OpenCV has no windows", fix, details)
    try:
        size = check_display()
    except SinkError as error:
        problem, fix = problem_and_fix(error)
        return CheckResult("display", "warning", problem.removeprefix("window: "), fix, details)
    text = f"{details['kind']}, windows by {gui}"
    if size is not None:
        details["width"], details["height"] = size
        text += f", {size[0]}x{size[1]}"
    return CheckResult("display", "good", text, details=details)


def _kind() -> str:
    """The system that shows windows here: `windows`, `macos`, `x11`, `wayland` or `none`."""
    if sys.platform in ("win32", "darwin"):
        return "windows" if sys.platform == "win32" else "macos"
    if os.environ.get("DISPLAY"):
        return "x11"
    return "wayland" if os.environ.get("WAYLAND_DISPLAY") else "none"
