"""The files on the page about walls: systemd and the desktop understand them; they start one."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT
from .program import ENVIRONMENT, SMALL, finish, needs_jit, spawn
from .screen import open_screen, until
from .test_call_files import accepted

pytestmark = pytest.mark.alone

PAGE = (ROOT / "docs" / "wall.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SETTINGS, UNIT, DESKTOP = BLOCKS
TOKENS = re.findall(r"^    (echo LIVEMOSAIC_.*)$", PAGE, re.MULTILINE)
NAME = "livemosaic-wall.service"


def of_unit(name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_service(tmp_path: Path) -> None:
    # The installation is the reader's.
    unit, count = re.subn(r"%h\S*/livemosaic(?= )", sys.executable, UNIT)
    assert count == 1
    (tmp_path / NAME).write_text(unit)
    accepted(tmp_path, "systemd-analyze", "--user", "verify", str(tmp_path / NAME))


def test_the_menu_starts_the_service(tmp_path: Path) -> None:
    assert f" {NAME}\n" in DESKTOP
    assert f"`~/.config/systemd/user/{NAME}`" in PAGE
    (tmp_path / "wall.desktop").write_text(DESKTOP)
    accepted(tmp_path, "desktop-file-validate", str(tmp_path / "wall.desktop"))


@needs_jit
@pytest.mark.slow
def test_the_service_starts_a_wall(tmp_path: Path) -> None:
    """Its own line, in its folder, with its settings and tokens; the camera alone is another, and
    the page's port a free one."""
    home = tmp_path / "home"
    wall = home / "wall"
    (wall / "guests").mkdir(parents=True)
    program = home / "livemosaic" / ".venv" / "bin" / "livemosaic"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m livemosaic "$@"\n')
    program.chmod(0o755)
    settings = SETTINGS.replace('"wall.gallery"', '"photos"').replace("0.0.0.0:8080", "0")
    settings = settings.replace("1920x1080", "960x540")
    (wall / "wall.toml").write_text(settings)
    environment = {**ENVIRONMENT, "HOME": str(home)}
    for command in TOKENS:
        subprocess.run(["sh", "-c", command], env=environment, check=True)
    made = [line.partition("=") for line in (wall / "wall.env").read_text().splitlines()]
    environment |= {name: value for name, _, value in made}
    line, folder = (of_unit(name).replace("%h", str(home)) for name in _LINES)
    words = ["pattern:480x270@30" if word == "webcam" else word for word in shlex.split(line)]
    with open_screen() as screen:
        process = subprocess.Popen(
            words, cwd=folder, env={**environment, "DISPLAY": screen.name},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            until(lambda: screen.find("livemosaic"), what="the window", timeout_s=120)
            # All of the screen, without a key.
            screen.see(lambda shot: shot[450, [5, -5]].max(axis=1).min() > 8, what="full screen")
            screen.see_pointer(False)
        finally:
            process.terminate()
        outcome = finish(process)
    assert outcome.code == int(of_unit("SuccessExitStatus"))
    for name in ("LIVEMOSAIC_WEB_TOKEN", "LIVEMOSAIC_GUEST_TOKEN"):
        assert f"token={environment[name]}" in outcome.out + outcome.err


@needs_jit
@pytest.mark.slow
def test_all_of_the_second_monitor() -> None:
    words = ("run", "pattern:64x48@10", "window", *SMALL, "--no-config", "--fullscreen")
    with open_screen() as screen:
        for name, place, output in (("left", "600/160x900/240+0+0", "screen"),
                                    ("right", "800/220x900/240+600+0", "none")):  # fmt: skip
            screen.run("xrandr", "--setmonitor", name, place, output)
        process = spawn(*words, "--display", "2", env=screen.variables)
        window = until(lambda: screen.find("livemosaic"), what="the window", timeout_s=120)
        there = [b"600", b"0", b"800", b"900"]  # left, top, width, height

        def fills() -> bool | None:
            lines = screen.run("wmctrl", "-lG", check=False).splitlines()
            places = {words[0].decode(): words[2:6] for words in map(bytes.split, lines)}
            return places.get(window) == there or None

        until(fills, what="full screen there")
        process.terminate()
        assert finish(process).code == 130
        process = spawn(*words, "--display", "3", env=screen.variables)
        outcome = finish(process)
    assert outcome.code == 2
    assert "1 (screen 600x900+0+0), 2 (800x900+600+0)" in outcome.err


_LINES = ("ExecStart", "WorkingDirectory")
