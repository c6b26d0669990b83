"""The checks of `doctor`, each in good and bad circumstances; and the whole program."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from livemosaic import jit
from livemosaic.doctor import (
    CHECKS,
    Check,
    CheckResult,
    State,
    benchmark,
    cameras,
    encoders,
    run_checks,
    system,
)
from livemosaic.doctor.result import problem_and_fix
from livemosaic.doctor.storage import cache, gallery
from livemosaic.errors import GalleryError, SinkError
from livemosaic.media.v4l2 import VideoDevice
from livemosaic.processors import usable_cores
from livemosaic.sinks import virtual_camera_devices
from livemosaic.sinks.encoder_probe import Probe, Trial, probe
from livemosaic.sources.camera import devices
from livemosaic.sources.camera.devices import Camera

from .conftest import ROOT
from .fakes import pipeline_threads
from .program import Program, finish, left, needs_jit, spawn
from .screen import SIZE, open_screen

pytestmark = pytest.mark.alone

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="these files are Linux's")


# ---- all of them -------------------------------------------------------------------------


def test_a_check_that_fails_does_not_stop_the_others() -> None:
    def fail(error: Exception) -> Callable[[], CheckResult]:
        def run() -> CheckResult:
            raise error

        return run

    found = list(
        run_checks(
            [
                Check("a", fail(ZeroDivisionError("division\nby zero"))),
                Check("b", fail(ImportError("libGL.so.1: cannot open")), essential=True),
                Check("c", fail(GalleryError("no gallery 'x'; build it")), essential=True),
                Check("d", lambda: CheckResult("d", "good", "all is well")),
            ]
        )
    )
    assert [(f.name, f.state) for f in found] == [
        ("a", "warning"),
        ("b", "problem"),
        ("c", "problem"),
        ("d", "good"),
    ]
    assert "ZeroDivisionError: division by zero" in found[0].text
    assert (found[2].text, found[2].fix) == ("no gallery 'x'", "build it")
    assert all(f.fix for f in found[:3])


def test_the_halves_of_a_message() -> None:
    assert problem_and_fix(SinkError("vcam: it is busy; close it; or take another")) == (
        "vcam: it is busy",
        "close it; or take another",
    )


def test_their_names_are_in_the_documentation() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    for check in CHECKS:
        assert f"`{check.name}`" in page


# ---- Python, packages, processor ---------------------------------------------------------


def test_python() -> None:
    assert system.python().state == "good"
    found = system.python(last=(3, 2))
    assert found.state == "good"
    assert found.text.endswith("3.2")
    found = system.python(first=(9, 1))
    assert found.state == "problem"
    assert "9.1" in found.fix


def test_packages() -> None:
    found = system.packages()
    assert found.state == "good", found
    of = found.details["packages"]
    assert of["numpy"]["version"] == sys.modules["numpy"].__version__
    assert {"opencv-python", "numba", "av", "scikit-learn"} <= set(of)


def test_packages_of_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be missing."""
    versions = {name: metadata.version(package) for name, package in system.EXTRAS.items()}
    found = system.packages()
    assert found.details["extras"] == versions
    for name, package in (("sites", "yt-dlp"), ("web", "starlette"), ("cluster", "distributed")):
        assert f"; {package} {versions[name]}" in found.text
    monkeypatch.setattr(system, "EXTRAS", {"sites": "no-such-package"})
    found = system.packages()
    assert (found.state, found.details["extras"]) == ("good", {"sites": None})
    assert found.text.endswith("; no-such-package (extra sites) is not installed")


def loading(module: str, result: Any) -> Callable[[str], Any]:
    """An import of which one module comes out otherwise: an error, or another version."""

    def load(name: str) -> Any:
        if name != module:
            return importlib.import_module(name)
        if isinstance(result, Exception):
            raise result
        fake = types.ModuleType(name)
        fake.__version__ = result  # type: ignore[attr-defined]
        return fake

    return load


@pytest.mark.parametrize(
    ("module", "result", "state", "text", "fix"),
    [
        ("numba", ImportError("No module\nnamed numba"), "problem", "No module named numba",
         f"{sys.executable} -m pip install 'numba>=0.60'"),
        ("av", RuntimeError("torn"), "problem", "av (torn)", "pip install 'av>=18'"),
        ("cv2", ImportError("libGL.so.1: cannot open shared object file"), "problem", "libGL.so.1",
         "sudo apt install libgl1"),
        ("numpy", "1.26.4", "problem", "numpy 1.26.4 (older than 2.0)", "'numpy>=2.0'"),
        ("av", "99.0.1", "warning", "av 99.0.1 (tested: ", "install the tested version"),
        ("numpy", "2.99.0rc1", "good", "numpy 2.99.0rc1", ""),
    ],
)  # fmt: skip
def test_packages_that_are_not_as_they_should_be(
    module: str, result: Any, state: str, text: str, fix: str
) -> None:
    found = system.packages(load=loading(module, result))
    assert found.state == state
    assert text in found.text
    assert fix in found.fix


def test_the_packages_are_those_of_the_project() -> None:
    """The check of virtual cameras names pyvirtualcam; Numba brings its own llvmlite."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {line.partition(";")[0].strip() for line in project["dependencies"]}
    checked = {f"{package.name}>={package.first}" for package in system.PACKAGES}
    elsewhere = {line for line in needed if line.startswith(("cv2-enumerate-cameras", "llvmlite"))}
    assert checked | elsewhere == {line for line in needed if not line.startswith("pyvirtualcam")}


def test_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def cpu(*, cores: int = 4, load: float | None = 0.1) -> CheckResult:
        return system.cpu(usable_cores=lambda: cores, load_average=lambda: load)

    monkeypatch.setattr("cv2.checkHardwareSupport", lambda feature: True)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    found = cpu()
    assert (found.state, found.fix) == ("good", "")
    assert found.details["model"] in found.text
    assert found.text.endswith(", 4 cores, AVX2, load 0.1")
    found = cpu(load=2.1)
    assert found.state == "warning"
    assert "close other programs" in found.fix
    monkeypatch.setattr("cv2.checkHardwareSupport", lambda feature: False)
    found = cpu()
    assert (found.state, found.details["avx2"]) == ("warning", False)
    assert "no AVX2" in found.text
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    found = cpu()
    assert (found.state, found.details["avx2"]) == ("good", None)
    found = cpu(cores=1, load=None)  # None on Windows
    assert found.state == "warning"
    assert "1 core:" in found.text


def test_the_model_of_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    monkeypatch.setattr("sys.platform", "win32")
    assert system.cpu(load_average=lambda: None).details["model"] == "riscv64"
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert system.cpu(load_average=lambda: None).details["model"] == "riscv64"
    monkeypatch.setattr("shutil.which", lambda name: sys.executable)
    answer = subprocess.CompletedProcess([], 0, "Apple M9\n", "")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: answer)
    assert system.cpu(load_average=lambda: None).details["model"] == "Apple M9"


@on_linux
def test_load_average() -> None:
    load = system.load_average()
    assert load is not None
    assert load == pytest.approx(os.getloadavg()[0], abs=0.5)


@on_linux
def test_a_container_may_allow_fewer_cores(tmp_path: Path) -> None:
    file, all_cores = tmp_path / "cpu.max", len(os.sched_getaffinity(0))
    assert usable_cores(cgroup=file) == all_cores
    for text, cores in (
        ("max 100000\n", all_cores),
        ("50000 100000\n", 1),
        ("99900000 100", all_cores),
    ):
        file.write_text(text)
        assert usable_cores(cgroup=file) == cores


# ---- display -----------------------------------------------------------------------------


@on_linux
def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    found = system.display()
    assert found.state == "warning"
    assert "DISPLAY" in found.text
    assert found.fix
    assert found.details["kind"] == "none"
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert system.display().details["kind"] == "wayland"
    monkeypatch.setattr("sys.platform", "darwin")
    assert system.display().details["kind"] == "macos"


@on_linux
def test_a_display() -> None:
    """In a process of its own: Qt's libraries would stay in this one."""
    code = (
        "import dataclasses, json, livemosaic.doctor.system as system\n"
        "print(json.dumps(dataclasses.asdict(system.display())))"
    )
    with open_screen() as screen:
        found = json.loads(screen.run(sys.executable, "-c", code))
        assert screen.run("wmctrl", "-l") == b""  # no window is left
    assert (found["state"], found["fix"]) == ("good", "")
    assert found["details"]["kind"] == "x11"
    assert (found["details"]["width"], found["details"]["height"]) == SIZE
    assert found["text"].endswith(f"{SIZE[0]}x{SIZE[1]}")


def test_an_opencv_without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "  GUI:                  NONE\n")
    found = system.display()
    assert found.state == "warning"
    assert found.fix.endswith("-m pip install --force-reinstall opencv-python")


# ---- cameras -----------------------------------------------------------------------------


FRONT = Camera("Front", "/dev/video7", 7)


def test_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [FRONT, Camera("OBS", "/dev/video9", 9, virtual=True)]
    monkeypatch.setattr(devices, "list_cameras", lambda: listed)
    found = cameras.cameras()
    assert (found.state, found.text) == ("good", "Front (/dev/video7)")
    assert found.details == {
        "cameras": [{"name": "Front", "path": "/dev/video7", "input": "/dev/video7"}]
    }
    del listed[0]
    found = cameras.cameras()
    assert (found.state, found.details) == ("warning", {"cameras": []})
    assert "plug one in" in found.fix
    listed.append(FRONT)
    found = cameras.cameras(may_use=lambda path: path != FRONT.path)  # root may use everything
    assert found.state == "warning"
    assert FRONT.path in found.text
    assert found.fix.startswith("sudo usermod -aG video")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that Linux has for v4l2loopback 0.12.7 with one device."""
    monkeypatch.setattr("sys.platform", "linux")
    folder = tmp_path / "v4l2loopback"
    (folder / "parameters").mkdir(parents=True)
    (folder / "parameters" / "exclusive_caps").write_text("Y,N,N,N\n")
    ready = [VideoDevice("/dev/video10", "livemosaic", output=True, virtual=True)]
    monkeypatch.setattr(virtual_camera_devices, "virtual_cameras", lambda: ready)
    monkeypatch.setattr(virtual_camera_devices, "choose_device", lambda device: "/dev/video10")
    return folder


def test_a_virtual_camera(module: Path) -> None:
    found = cameras.virtual_cameras(module=module)
    assert found.state == "good"
    assert found.text.startswith("livemosaic (vcam:/dev/video10); v4l2loopback 0.12 or older (")
    assert "issue 470" in found.text
    assert found.details["module"] == {
        "loaded": True,
        "version": None,
        "exclusive_caps": True,
        "second_sender_fault": True,
    }
    (module / "version").write_text("0.13.2\n")
    assert "470" not in cameras.virtual_cameras(module=module).text


def test_a_virtual_camera_that_browsers_do_not_list(module: Path) -> None:
    (module / "parameters" / "exclusive_caps").write_text("N,N\n")
    found = cameras.virtual_cameras(module=module)
    assert found.state == "warning"
    assert "browsers do not list it" in found.text
    assert found.fix.startswith("sudo modprobe -r v4l2loopback && sudo modprobe v4l2loopback")


def test_a_virtual_camera_that_takes_no_sender(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(device: object) -> str:
        raise SinkError("vcam: /dev/video10 (livemosaic) is in use by obs; close that")

    monkeypatch.setattr(virtual_camera_devices, "choose_device", refuse)
    found = cameras.virtual_cameras(module=module)
    assert (found.state, found.fix) == ("warning", "close that")
    assert found.text == "/dev/video10 (livemosaic) is in use by obs"


def test_no_virtual_camera(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_camera_devices, "virtual_cameras", list)
    found = cameras.virtual_cameras(module=module)
    assert found.state == "warning"
    assert "has no device" in found.text
    assert found.fix.startswith("sudo modprobe -r v4l2loopback")
    found = cameras.virtual_cameras(module=module / "none")
    assert found.state == "warning"
    assert "no virtual camera" in found.text
    assert "modprobe v4l2loopback" in found.fix
    assert found.details["module"]["loaded"] is False
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = cameras.virtual_cameras(module=module)
    assert found.fix == f"{sys.executable} -m pip install pyvirtualcam"


# ---- encoders ----------------------------------------------------------------------------


def test_encoders_on_a_machine_that_is_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check ends in time, and does not call the encoders broken."""
    (tmp_path / "slow_probe.py").write_text("import time; time.sleep(60)")
    monkeypatch.syspath_prepend(tmp_path)
    found = encoders.encoders(probe=lambda trial: probe(trial, module="slow_probe", all_s=0.2))
    assert {of["state"] for of in found.details["encoders"].values()} == {"untried"}
    assert found.state == "warning"
    assert found.text.startswith("there was no time to try libx264, libx265")
    assert found.fix == "close other programs, then run this again"


def answering(*good: str) -> Probe:
    def ask(trial: Trial) -> dict[str, dict[str, Any]]:
        return {
            name: {"state": "good" if name in good else "failed", "text": "torn", "ms": 1.0}
            for name in trial.names
        }

    return ask


def test_a_card_that_the_user_may_not_use() -> None:
    found = encoders.encoders(
        probe=answering(*encoders.SOFTWARE),
        refused_devices=lambda: {"/dev/dri/renderD128": "render"},
    )
    assert found.state == "warning"
    assert "no permission to use /dev/dri/renderD128" in found.text
    assert found.fix == "sudo usermod -aG render $USER, then log out and in again"


def test_encoders_in_words() -> None:
    ask = functools.partial(encoders.encoders, refused_devices=dict)
    assert ask(probe=answering(*encoders.SOFTWARE)).text.endswith("vulkan: torn)")
    found = ask(probe=answering(*encoders.SOFTWARE, "hevc_qsv"))
    assert found.state == "good"
    assert found.text == "software: libx264, libx265, libsvtav1, libvpx-vp9; hardware: hevc_qsv"
    found = encoders.encoders(probe=answering("libx264"))
    assert (found.state, "not usable: libx265" in found.text) == ("warning", True)
    found = encoders.encoders(probe=answering("libx265"))
    assert found.state == "warning"
    assert found.text.startswith("libx264, ")
    assert found.text.endswith(": libx265")
    assert "(torn)" in found.text
    assert found.fix.endswith("-m pip install --force-reinstall --no-deps av")


# ---- the disk ----------------------------------------------------------------------------


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.gallery").write_bytes(bytes(3_000_000))
    found = cache()
    assert found.state == "good", found
    assert found.text.startswith(f"{tmp_path / 'mine'}, 3 MB")
    assert left(tmp_path / "mine") == ["x.gallery"]
    found = cache(least_free_mb=10**12)
    assert (found.state, "MB free" in found.text) == ("warning", True)
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(jit, "cache_folder", lambda: file / "kernels")
    found = cache()
    assert (found.state, found.details["kernels_writable"]) == ("warning", False)
    assert "NUMBA_CACHE_DIR" in found.fix


def test_a_cache_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("LIVEMOSAIC_CACHE", str(file / "cache"))
    found = cache()
    assert found.state == "warning"
    assert str(file / "cache") in found.text
    assert "LIVEMOSAIC_CACHE=" in found.fix
    assert found.details["writable"] is False


def test_gallery() -> None:
    found = gallery()
    assert found.state == "good"
    assert found.details["tiles"] > 5000
    assert f"{found.details['tiles']:,} tiles" in found.text


# ---- speed -------------------------------------------------------------------------------


@pytest.mark.slow
@needs_jit
def test_the_pipeline_measures_the_speed() -> None:
    measured = benchmark.measure(320, 192, 20, run_s=0.6, settling_s=0.2)
    assert 0 < measured.fps <= 25
    assert 0 < measured.latency_ms["p50"] <= measured.latency_ms["p99"]
    assert measured.cpu_cores > 0
    assert pipeline_threads() == []


@pytest.mark.slow
@needs_jit
def test_speed() -> None:
    found = benchmark.speed(320, 192, 20)
    assert found.name == "speed_192p20"
    details = found.details
    assert (details["width"], details["height"], details["rate"]) == (320, 192, 20)


def measurement(
    fps: float = 0, p95: float = 0, governor: str = "", cores: float = 1.5
) -> benchmark.Measurement:
    return benchmark.Measurement(fps, {"p50": 20.0, "p95": p95, "p99": p95}, governor, cores)


@pytest.mark.parametrize(
    ("fps", "p95", "governor", "held"),
    [
        (30.0, 20.0, "", "yes"),
        (28.5, 100.0, "", "yes"),
        (30.0, 20.0, "larger tiles", "governed"),
        (28.4, 20.0, "", "no"),
        (15.0, 20.0, "larger tiles", "no"),
        (30.0, 100.1, "", "no"),
        (0.0, 0.0, "", "no"),
    ],
)
def test_sustained(fps: float, p95: float, governor: str, held: str) -> None:
    found = benchmark.judge(1280, 720, 30, measurement(fps, p95, governor))
    assert found.details["held"] == held
    assert governor in found.text
    assert f"{fps} frames/s" in found.text
    assert ("not" in found.text) == (held == "no")
    assert found.state == ("warning" if held == "no" else "good")
    assert ("frames were late" in found.text) == (p95 > 100)


SPEEDS = [(1280, 720, 30), (1920, 1080, 30), (1920, 1080, 60)]


@pytest.mark.parametrize(
    ("fps", "advice"),
    [
        ((30, 30, 50), ["", "", "--size 1920x1080 --fps 30"]),
        ((30, 20, 20), ["", "--size 1280x720 --fps 30", "--size 1280x720 --fps 30"]),
        ((9, 9, 9), ["--size 640x360 --tile 16 --fps 15, which was not measured"] * 3),
    ],
)
def test_a_speed_that_was_sustained_is_recommended(fps: tuple[int, ...], advice: list[str]) -> None:
    found = [
        benchmark.judge(*speed, measurement(reached, 20.0))
        for speed, reached in zip(SPEEDS, fps, strict=True)
    ]
    checks = [Check(it.name, functools.partial(dataclasses.replace, it)) for it in found]
    command = "livemosaic run webcam window "
    assert [result.fix.partition(command)[2] for result in run_checks(checks)] == advice


def test_late_frames_of_a_busy_machine_have_another_cause() -> None:
    found = benchmark.judge(*SPEEDS[1], measurement(30.0, 150.0, cores=0.4))
    assert "(frames were late)" in found.text
    assert "other programs probably kept" in found.text
    (result,) = run_checks([Check(found.name, lambda: found)])
    assert result.fix.startswith("close other programs")
    slow = benchmark.judge(*SPEEDS[1], measurement(20.0, 150.0, cores=1.2))
    assert "other programs" not in slow.text


# ---- the program -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "code", "end"),
    [
        (("good", "good"), 0, "ready to run"),
        (("good", "warning"), 0, "ready to run (1 warning)"),
        (("warning", "warning"), 0, "ready to run (2 warnings)"),
        (("problem", "warning"), 1, "not ready to run; fix first: check_0"),
    ],
)
def test_the_text(
    states: Sequence[State],
    code: int,
    end: str,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = [
        CheckResult(f"check_{number}", state, "a text", "" if state == "good" else "a fix")
        for number, state in enumerate(states)
    ]
    monkeypatch.setattr("livemosaic.doctor.run_checks", lambda: iter(results))
    outcome = program("doctor")
    assert outcome.code == code
    lines = outcome.out.splitlines()
    assert lines[0] == f"check 0          {states[0]:<8} a text"
    assert (lines[1] == "                 fix:     a fix") == (states[0] != "good")
    assert lines[-2:] == ["", end]


@pytest.mark.slow
@needs_jit
def test_in_the_program(tmp_path: Path) -> None:
    """Without a display; nothing is left behind."""
    environment = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}
    outcome = finish(spawn("doctor", "--json", cwd=tmp_path, env=environment), timeout=120)
    assert outcome.code == 0, outcome
    report = json.loads(outcome.out)
    assert set(report) == {"version", "can_run", "duration_s", "checks"}
    assert report["can_run"] is True
    assert [check["name"] for check in report["checks"]] == [check.name for check in CHECKS]
    for check in report["checks"]:
        assert set(check) == {"name", "state", "text", "fix", "details"}
        assert check["state"] in ("good", "warning")
        assert (check["fix"] == "") == (check["state"] == "good")
        assert "\n" not in check["text"] + check["fix"]
    assert left(tmp_path) == []
    assert not re.search(r"\[|Traceback|Error", outcome.err)  # FFmpeg's and drivers' own words


@pytest.mark.slow
def test_a_broken_package(tmp_path: Path) -> None:
    """It is named, with its cure; what needs it fails without a traceback."""
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('torn')")
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    outcome = finish(spawn("doctor", env={"PYTHONPATH": path}), timeout=120)
    assert outcome.code == 1, outcome
    assert re.search(r"^packages +problem  not usable: numba \(torn\)$", outcome.out, re.M)
    assert re.search(r"^ +fix: +\S+ -m pip install 'numba>=0.60'$", outcome.out, re.M)
    assert outcome.out.endswith(": packages, speed_720p30, speed_1080p30, speed_1080p60\n")
    assert "Traceback" not in outcome.out + outcome.err


def test_a_reader_that_leaves() -> None:
    process = spawn("doctor")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    outcome = finish(process, timeout=60)
    assert outcome.code == 1
    assert outcome.lines == [
        "livemosaic: error: standard output: it cannot be written: Broken pipe; "
        "keep its reader running until the end"
    ]
