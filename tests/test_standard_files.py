"""Standard input, output and error that are closed, full, or of another encoding."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from livemosaic.cli.console import open_standard_files

from .program import COMMAND, ENVIRONMENT, SMALL, Outcome, Program, clip, needs_jit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the shell is POSIX's")


def shell(words: str, redirections: str, **environment: str) -> Outcome:
    """Run the program with redirections of a shell."""
    done = subprocess.run(
        ["sh", "-c", f"exec {shlex.join(COMMAND)} {words} {redirections}"],
        env=ENVIRONMENT | environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("words", ["", "--help", "--version", "devices", "completion bash"])
def test_closed_standard_output(words: str) -> None:
    outcome = shell(words, ">&-")
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert "error: standard output is closed; " in outcome.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("words", ["--version", "run --help", "devices --json"])
def test_full_standard_output(words: str) -> None:
    outcome = shell(words, ">/dev/full")
    assert (outcome.code, len(outcome.lines)) == (1, 1)
    assert "No space left" in outcome.err
    assert "reader" not in outcome.err


def test_closed_standard_input() -> None:
    outcome = shell("run - null", "0<&-")
    assert (outcome.code, len(outcome.lines)) == (1, 1)
    assert "standard input: it is closed; " in outcome.err


def test_closed_standard_files_get_their_numbers() -> None:
    """A file that the program opens must not become one of them."""
    own = [os.dup(number) for number in range(3)]
    try:
        for number in (0, 2):
            os.close(number)
        open_standard_files()
        null = os.stat(os.devnull)
        assert [os.path.samestat(os.fstat(number), null) for number in (0, 2)] == [True, True]
    finally:
        for number, copy in enumerate(own):
            os.dup2(copy, number)
            os.close(copy)


@pytest.mark.slow
@needs_jit
def test_nothing_else_needs_them(tmp_path: Path) -> None:
    clip(tmp_path / "a.mp4")
    target = tmp_path / "o.mp4"
    words = shlex.join(
        ["run", str(tmp_path / "a.mp4"), str(target), "--progress", "always", *SMALL]
    )
    assert shell(words, "0<&- >&- 2>&-") == (0, "", "")
    assert target.stat().st_size > 0


@needs_jit
@pytest.mark.skipif(sys.platform == "darwin", reason="its names are UTF-8")
def test_names_that_are_not_utf8(tmp_path: Path, program: Program) -> None:
    path = tmp_path / os.fsdecode(b"b\xe9.png")
    path.write_bytes(b"")
    assert r"/b\xe9.png: the file is empty" in program("run", path, "null").err
    clip(tmp_path / "a.mp4").rename(tmp_path / os.fsdecode(b"\xe9.mp4"))
    outcome = program("run", tmp_path / os.fsdecode(b"\xe9.mp4"), "null", "--json", *SMALL)
    assert json.loads(outcome.out)["input"] == rf"{tmp_path}/\xe9.mp4"


def test_an_encoding_without_the_characters_of_a_text() -> None:
    code = (
        "from livemosaic.cli import console as c; c.open_standard_files(); c.print_lines(['é 🐦'])"
    )
    command = shlex.join([sys.executable, "-c", code])
    for encoding in ("ascii", "utf-8"):
        environment = ENVIRONMENT | {"PYTHONIOENCODING": encoding}
        out = subprocess.run(command, shell=True, env=environment, capture_output=True).stdout
        assert out.decode(encoding) == ("é 🐦\n" if encoding == "utf-8" else "\\xe9 \\U0001f426\n")
