"""The files on the page about video calls: systemd, the desktop and modprobe understand them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

PAGE = (ROOT / "docs" / "video-calls.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
OPTIONS, MODULES, DESKTOP, UNIT = BLOCKS


def accepted(folder: Path, *words: str) -> None:
    if shutil.which(words[0]) is None:
        pytest.skip(f"not installed: {words[0]}")
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service(tmp_path: Path) -> None:
    # The installation is the reader's.
    unit, count = re.subn(r"%h\S*/livemosaic(?= )", sys.executable, UNIT)
    assert count == 1
    (tmp_path / "livemosaic.service").write_text(unit)
    accepted(tmp_path, "systemd-analyze", "--user", "verify", str(tmp_path / "livemosaic.service"))


def test_the_menu(tmp_path: Path) -> None:
    (tmp_path / "livemosaic.desktop").write_text(DESKTOP)
    accepted(tmp_path, "desktop-file-validate", str(tmp_path / "livemosaic.desktop"))


def test_the_module_has_the_camera_that_the_program_names() -> None:
    """As in the command that errors and `doctor` suggest."""
    from livemosaic.sinks.virtual_camera_devices import RELOAD

    assert MODULES == "v4l2loopback\n"
    assert OPTIONS.removeprefix("options ").strip() in RELOAD
    assert "ConditionPathExists=/dev/video10\n" in UNIT
