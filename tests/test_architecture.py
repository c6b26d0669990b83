"""The layers: who may import whom, what is imported late, and in which order."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "livemosaic"

# The data flow: a room (a folder, or a module in the root) may import itself and those before it.
ROOMS = [
    *("errors", "parse", "option", "blocking", "jit"),
    *("media", "gallery", "mosaic"),
    *("sources", "sinks"),
    *("control", "pipeline", "window"),
    *("doctor", "cli", "__main__"),
]
ORDER = {name: place for place, name in enumerate(ROOMS)}

FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    """The folder or module directly below livemosaic that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def for_types_only(node: ast.AST) -> bool:
    """Is this `if TYPE_CHECKING:`?"""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def imports(path: Path, node: ast.AST) -> Iterator[str]:
    """Absolute names of all modules that a file imports, wherever it does; not those for types."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        package = ["livemosaic", *path.relative_to(PACKAGE).parts[:-1]]
        base = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        yield module
        for alias in node.names:
            yield f"{module}.{alias.name}"
    children = node.orelse if isinstance(node, ast.If) and for_types_only(node) else None
    for child in ast.iter_child_nodes(node) if children is None else children:
        yield from imports(path, child)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms(path: Path) -> None:
    own = room(path)
    assert own in ORDER, f"{own} is new: say in ROOMS where it belongs"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name in imports(path, tree):
        parts = name.split(".")
        if parts[0] != "livemosaic" or len(parts) < 2 or parts[1].startswith("__version"):
            continue
        other = parts[1]
        if other not in ORDER:
            continue  # a name of livemosaic/__init__.py
        assert other == own or ORDER[other] < ORDER[own], f"{own} imports the later {other}"


def test_every_room_exists() -> None:
    """No name is left over from what has been renamed."""
    assert set(ORDER) == {room(path) for path in FILES}


@pytest.mark.parametrize("folder", sorted(p.parent for p in PACKAGE.rglob("__init__.py")))
def test_every_folder_says_what_it_is_for(folder: Path) -> None:
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)


# What a pure filter has no use for: threads, a clock, files, the network, other processes.
IMPURE = {
    *("threading", "concurrent", "multiprocessing", "asyncio", "queue", "subprocess", "signal"),
    *("time", "datetime", "os", "io", "shutil", "tempfile", "mmap", "logging", "random"),
    *("socket", "ssl", "http", "urllib", "av"),
}


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "mosaic").rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_the_filter_is_pure(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not IMPURE & {name.split(".")[0] for name in imports(path, tree)}
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not {"open", "print", "input"} & calls


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_av_is_imported_in_one_place(path: Path) -> None:
    """`import av` before `import cv2` hangs the first window of OpenCV for ever."""
    if path == PACKAGE / "media" / "ffmpeg.py":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {name.split(".")[0] for name in imports(path, tree)}
    assert "av" not in names, "take it from livemosaic.media.ffmpeg, which imports cv2 first"


def loaded(code: str) -> list[str]:
    """The modules that are loaded after `code`, in the order of their loading."""
    done = subprocess.run(
        [sys.executable, "-c", code + "\nimport sys\nprint('\\n'.join(sys.modules))"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


HEAVY = {"numpy", "cv2", "numba", "llvmlite", "av", "sklearn", "scipy", "tqdm"}


@pytest.mark.parametrize(
    "code",
    [
        "import livemosaic",
        "import livemosaic.cli.app",
        "import livemosaic.sources, livemosaic.sinks",
    ],
)
def test_light_imports(code: str) -> None:
    assert not HEAVY & {name.split(".")[0] for name in loaded(code)}


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]])
def test_help_costs_no_heavy_import(words: list[str]) -> None:
    code = (
        "import contextlib, io, livemosaic.cli.app\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        f"    livemosaic.cli.app.main({words!r})"
    )
    assert not HEAVY & {name.split(".")[0] for name in loaded(code)}


@pytest.mark.parametrize(
    "module",
    ["media.ffmpeg", "sources.file", "sinks.file", "sinks.encoder", "pipeline", "mosaic.mosaic"],
)
def test_cv2_comes_before_av(module: str) -> None:
    modules = loaded(f"import livemosaic.{module}")
    assert "cv2" in modules
    if "av" in modules:
        assert modules.index("cv2") < modules.index("av")


def test_the_filter_needs_no_scikit_learn() -> None:
    """It takes 1.2 s, most of the time until the first frame."""
    names = {name.split(".")[0] for name in loaded("from livemosaic import Mosaic, open_gallery")}
    assert "sklearn" not in names
    assert "av" not in names


def test_public_names() -> None:
    import livemosaic

    for name in livemosaic.__all__:
        assert getattr(livemosaic, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Mosaik'"):
        livemosaic.Mosaik  # noqa: B018
