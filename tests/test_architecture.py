"""The order of the folders, pure and light imports, and no private names of other packages."""

from __future__ import annotations

import ast
import builtins
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "livemosaic"

# The data flow: a folder, or a module of the root, imports only itself and those before it.
ROOMS = [
    *("errors", "argument", "parse", "listening", "option", "tile_size"),
    *("blocking", "exclusive", "priority", "unfinished", "jit", "processors"),
    *("media", "sources", "vision", "gallery", "mosaic", "diagnosis", "sinks"),
    *("control", "pipeline", "window", "web", "session", "cluster", "api"),
    *("doctor", "cli", "__main__"),
]
ORDER = {name: place for place, name in enumerate(ROOMS)}

FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    """The folder or module of the root that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def for_types_only(node: ast.AST) -> bool:
    """Whether a node is `if TYPE_CHECKING:`."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def imports(path: Path, node: ast.AST) -> Iterator[str]:
    """The absolute names of all modules that a file imports anywhere, but for types only."""
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
    assert own in ORDER, f"{own} is new; add it to ROOMS"
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
    """ROOMS has no old names."""
    assert set(ORDER) == {room(path) for path in FILES}


@pytest.mark.parametrize(
    "folder",
    sorted(p.parent for p in PACKAGE.rglob("__init__.py")),
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_every_folder_has_one_sentence(folder: Path) -> None:
    """docs/architecture.md shows it."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert docstring
    assert docstring.partition("\n\n")[0].endswith(".")


# Threads, clocks, files, the network, other processes.
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
    """With `import av` before `import cv2` OpenCV's first window hangs forever."""
    if path == PACKAGE / "media" / "ffmpeg.py":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {name.split(".")[0] for name in imports(path, tree)}
    assert "av" not in names, "import it from livemosaic.media.ffmpeg, which imports cv2 first"


# ---- private names -----------------------------------------------------------------------

# Public by their documentation, in spite of the underscore.
PUBLIC = {"os._exit", "_asdict", "_fields_", "_make", "_replace"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC


def own_names(tree: ast.AST) -> set[str]:
    """The private names that a module defines, as variables, functions, classes or attributes."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and of_self(node):
            names.add(node.attr)
    return {name for name in names if private(name)}


def of_self(node: ast.Attribute) -> bool:
    return ast.unparse(node.value) in ("self", "cls", "super()")


TESTS = sorted((ROOT / "tests").rglob("*.py"))
OWN_NAMES = set[str]().union(
    *(own_names(ast.parse(path.read_text(encoding="utf-8"))) for path in (*FILES, *TESTS))
)


def foreign_names(tree: ast.AST) -> Iterator[str]:
    """The private names that a module takes from other modules or objects.

    A base class may be in another module, so `self` may have any private name of package and tests.
    Other objects may have those of the same module only.
    """
    own = own_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            allowed = OWN_NAMES if of_self(node) else own
            if private(node.attr) and node.attr not in allowed and ast.unparse(node) not in PUBLIC:
                yield ast.unparse(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [part for alias in node.names for part in alias.name.split(".")]
            if isinstance(node, ast.ImportFrom) and node.module:
                names += node.module.split(".")
            if any(private(name) for name in names):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            # getattr(object, "name"), setattr, hasattr, delattr; setattr("path.name") of pytest
            for argument in node.args[:2]:
                names = str(argument.value).split(".") if isinstance(argument, ast.Constant) else []
                if any(private(name) for name in names) and names != ["_exit"]:
                    yield ast.unparse(node)


def replaced_modules(tree: ast.AST) -> Iterator[str]:
    """The places where a module changes `sys.modules`, as `sys.modules["x"] = y`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            changed = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changed = node.func.value if node.func.attr != "get" else node.func
        else:
            continue
        if ast.unparse(changed) == "sys.modules":
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "path",
    [*FILES, *TESTS],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_private_names_of_others(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(foreign_names(tree)) == []
    assert list(replaced_modules(tree)) == []


@pytest.mark.parametrize(
    "code",
    [
        "import numba; numba.jit(f)._cache",
        "from numba.core._helpers import x",
        "from numba import _helperlib",
        "getattr(numba, '_helperlib')",
        "monkeypatch.setattr('livemosaic.mosaic.mosaic._KEPT', 3)",
        "class A(B):\n    def f(self): return self._of_b",
        "import sys; sys.modules['scipy'] = None",
        "import sys; sys.modules.setdefault('scipy', None)",
        "import sys; del sys.modules['scipy']",
    ],
)
def test_private_names_are_found(code: str) -> None:
    tree = ast.parse(code)
    assert [*foreign_names(tree), *replaced_modules(tree)] != []


# ---- light imports -----------------------------------------------------------------------


def loaded(code: str) -> list[str]:
    """The modules that `code` loads, in this order."""
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
    """Its import takes most of the time until the first frame."""
    names = {name.split(".")[0] for name in loaded("from livemosaic import Mosaic, open_gallery")}
    assert "sklearn" not in names
    assert "av" not in names


def test_public_names() -> None:
    import livemosaic

    assert livemosaic.__all__ == sorted(livemosaic.__all__)
    for name in livemosaic.__all__:
        assert getattr(livemosaic, name).__doc__
    assert set(livemosaic.__all__) <= set(dir(livemosaic))
    with pytest.raises(AttributeError, match="Mosaik"):
        livemosaic.Mosaik  # type: ignore[attr-defined]  # noqa: B018


def test_types_of_the_public_names() -> None:
    """Type checkers see the imports under TYPE_CHECKING, programs the lazy ones: the same names."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            imported |= {alias.name for alias in node.names}
    import livemosaic

    assert imported == set(livemosaic.__all__)


def test_the_tree_of_exceptions() -> None:
    """The docstring draws each exception below its base class, with its other base class."""
    from livemosaic import errors

    assert errors.__doc__ is not None
    drawn = re.findall(r"^    (\W*)(\w+Error)(?: \((\w+)\))?(?:  |$)", errors.__doc__, re.M)
    raised = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert {name for _, name, _ in drawn} == raised
    parents: list[tuple[int, type]] = [(-1, Exception)]
    for branch, name, other in drawn:
        while parents[-1][0] >= len(branch):
            parents.pop()
        error = getattr(errors, name)
        others = (getattr(builtins, other),) if other else ()
        assert error.__bases__ == (parents[-1][1], *others)
        parents.append((len(branch), error))
