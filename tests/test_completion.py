"""Tab completion, by the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from livemosaic.mosaic.match import MATCHERS

from .program import Program


@pytest.fixture
def folder(tmp_path: Path, program: Program) -> Path:
    """A folder with the script of each shell, and a file to complete."""
    for shell in ("bash", "zsh", "fish"):
        outcome = program("completion", shell)
        assert (outcome.code, outcome.err) == (0, "")
        (tmp_path / f"script.{shell}").write_text(outcome.out)
    (tmp_path / "holiday.mp4").touch()
    return tmp_path


def answer(shell: str, command: str, folder: Path) -> str:
    """The output of a shell's command; bash and fish have read their scripts."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    read = "" if shell == "zsh" else f"source script.{shell}; "
    done = subprocess.run(
        [shell, "-c", read + command],
        cwd=folder, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def bash(words: str) -> str:
    """A command that prints bash's completions of the last of the words."""
    return (
        f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        '_shtab_livemosaic; echo "${COMPREPLY[@]}"'
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("livemosaic ru", {"run"}),
        ("livemosaic run --max-", {"--max-latency", "--max-uses"}),
        ("livemosaic run holi", {"holiday.mp4"}),
        ("livemosaic run a b --config holi", {"holiday.mp4"}),
        ("livemosaic demo --ov", {"--overwrite"}),
        ("livemosaic gallery build --fi", {"--fit"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_completion(shell: str, words: str, expected: set[str], folder: Path) -> None:
    command = bash(words) if shell == "bash" else f"complete -C '{words}' | cut -f 1"
    assert set(answer(shell, command, folder).split()) == expected


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_choices(shell: str, folder: Path) -> None:
    words = "livemosaic run a b --match "
    command = bash(f'{words} ""') if shell == "bash" else f"complete -C '{words}' | cut -f 1"
    assert answer(shell, command, folder).split() == list(MATCHERS)


def test_zsh_finds_its_function(folder: Path) -> None:
    command = "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; echo $_comps[livemosaic]"
    shutil.copy(folder / "script.zsh", folder / "_livemosaic")
    assert answer("zsh", command, folder) == "_livemosaic\n"
    assert answer("zsh", "zsh -n script.zsh", folder) == ""


def test_an_unknown_shell(program: Program) -> None:
    outcome = program("completion", "tcsh")
    assert outcome.code == 2
    assert "bash" in outcome.err
