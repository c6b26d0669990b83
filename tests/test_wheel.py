"""The wheel: its contents, and the program in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from livemosaic.control.options import OPTIONS
from tests.conftest import ROOT
from tests.test_docs import PAGES, code_blocks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(
    *words: str | Path, cwd: Path, timeout_s: float = 500, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that sees neither the checkout nor this run's caches."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "NUMBA_CACHE_DIR", "LIVEMOSAIC_CACHE")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment["LIVEMOSAIC_CACHE"] = str(cwd / "cache")
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build", reason="the package build is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    done = run(
        sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder
    )  # fmt: skip
    output = done.stdout + done.stderr
    # pip downloads the build backend from the package index.
    if done.returncode and ("No matching distribution" in output or "ConnectionError" in output):
        pytest.skip("there is no package index to get the build backend from")
    assert done.returncode == 0, output[-3000:]
    (made,) = folder.glob("*.whl")
    return made


def test_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (record,) = [n for n in names if n.endswith("dist-info/RECORD")]
        info = record.removesuffix("RECORD")
        entry_points = archive.read(info + "entry_points.txt").decode()
        metadata = archive.read(info + "METADATA").decode()
    expected = {str(p.relative_to(ROOT)) for p in (ROOT / "livemosaic").rglob("*.py")}
    for folder in ("gallery/data", "demo", "vision/models"):
        expected |= {
            str(p.relative_to(ROOT))
            for p in (ROOT / "livemosaic" / folder).iterdir()
            if p.is_file()
        }
    expected |= {"livemosaic/py.typed", "livemosaic/sinks/photo_map.html"}
    assert expected <= names
    data = info.replace(".dist-info/", ".data")
    assert {n.split("/")[0] for n in names} == {"livemosaic", info.rstrip("/"), data}
    assert [n for n in names if n.startswith(data)] == [f"{data}/data/share/man/man1/livemosaic.1"]
    assert not [n for n in names if n.endswith((".pyc", ".nbi", ".nbc", ".gallery", ".part"))]
    licences = {
        n.removeprefix(info + "licenses/") for n in names if n.startswith(info + "licenses/")
    }
    assert "LICENSE" in licences
    credits = {n for n in names if "CREDITS" in n and not n.startswith(info)}
    assert credits
    assert "livemosaic = livemosaic.__main__:main" in entry_points
    assert "Requires-Python: >=3.11" in metadata
    assert wheel.stat().st_size < 20e6


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the wheel in it, and this one's dependencies.

    A .pth file shares them: installing them again would download 300 MB. Python reads no .pth file
    in a folder that a .pth file names, so the environment does not see an editable install of this
    checkout.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / "python"
    done = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(done.stdout.strip()) / "shared.pth").write_text("\n".join(sorted(here)) + "\n")
    done = run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet",
        "--disable-pip-version-check", wheel, cwd=folder,
    )  # fmt: skip
    if "No module named pip" in done.stderr:
        pytest.skip("no pip in this environment to install the wheel with")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(python, "-c", "import livemosaic; print(livemosaic.__file__)", cwd=folder)
    assert Path(done.stdout.strip()).is_relative_to(folder), done.stdout + done.stderr
    return binaries


def test_help(installed: Path, tmp_path: Path) -> None:
    for words in (["--help"], ["run", "--help"], ["gallery", "build", "--help"]):
        done = run(installed / "livemosaic", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "usage: livemosaic" in done.stdout
        assert done.stderr == ""


def test_the_man_page_has_every_option(installed: Path) -> None:
    page = (installed.parent / "share/man/man1/livemosaic.1").read_text(encoding="utf-8")
    assert page.startswith(".TH LIVEMOSAIC")
    words = page.replace("\\-", "-")
    for option in OPTIONS:
        assert f"\\fB{option.flag}\\fR" in words
    for subcommand in ("run", "demo", "doctor", "gallery build", "devices", "completion"):
        assert f"'livemosaic {subcommand}'" in words


def test_demo(installed: Path, tmp_path: Path) -> None:
    """A new user's first run, the only one here of the included clip; the result plays."""
    from livemosaic.media.ffmpeg import av

    output = tmp_path / "livemosaic-demo.mp4"
    output.write_text("an earlier one")
    done = run(installed / "livemosaic", "demo", "--json", "--progress", "never", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "the demo is in livemosaic-demo.mp4" in done.stderr
    meanings = ("yourself, live", "your own video", "made of your own", "everything else")
    places = [line.find(it) for line in done.stderr.splitlines() for it in meanings if it in line]
    assert len(places) == len(meanings)
    assert len(set(places)) == 1  # aligned, however long the program's path is
    report = json.loads(done.stdout)
    clip = next((ROOT / "livemosaic" / "demo").glob("*.mp4"))
    with av.open(str(clip)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        tracks = len(container.streams)
    with av.open(str(output)) as container:
        assert len(container.streams) == tracks
        size = {(frame.width, frame.height) for frame in container.decode(video=0)}
        assert size == {(report["grid"]["width"], report["grid"]["height"])}
    with av.open(str(output)) as container:
        assert sum(1 for _ in container.decode(video=0)) == frames
    assert report["frames_in"] == report["frames_out"] == frames
    assert report["dropped"] == 0
    # Only the cache is left beside it.
    assert {p.name for p in tmp_path.iterdir()} == {output.name, "cache"}


# The last line is wrong on purpose: its error shows that the types were read.
_USER = """\
import livemosaic

mosaic = livemosaic.Mosaic("photos", livemosaic.MosaicSettings(tile_px=16))
frame: livemosaic.Frame
ids: int = mosaic.tile_ids
"""


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A folder with a program that uses livemosaic, and the examples of the documentation."""
    (tmp_path / "user.py").write_text(_USER)
    for page in PAGES:
        for line, code in code_blocks(page.read_text(encoding="utf-8"), "python"):
            (tmp_path / f"{page.stem}_{line}.py".replace("-", "_")).write_text(code)
    return tmp_path


def test_types_for_mypy(installed: Path, user: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    done = run(
        sys.executable, "-m", "mypy", "--python-executable", installed / "python", "--strict",
        "--follow-imports", "silent", "--ignore-missing-imports", ".", cwd=user,
    )  # fmt: skip
    assert "user.py:5: error: Incompatible types in assignment" in done.stdout, done.stdout
    assert "Found 1 error" in done.stdout, done.stdout


def test_types_for_pyright(installed: Path, user: Path) -> None:
    pytest.importorskip("basedpyright", reason="basedpyright is not installed")
    (user / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    (user / "IPython").mkdir()  # a notebook has it
    (user / "IPython" / "display.pyi").write_text("def Image(data: bytes) -> object: ...")
    command = (sys.executable, "-m", "basedpyright", "--outputjson")
    done = run(*command, cwd=user, path=installed)  # it asks the first Python of PATH
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [error for error in found if error["severity"] == "error"]
    assert [Path(error["file"]).name for error in errors] == ["user.py"], errors
    assert errors[0]["range"]["start"]["line"] == 4
    done = run(
        *command, "--verifytypes", "livemosaic", "--ignoreexternal", cwd=user, path=installed
    )
    counts = json.loads(done.stdout)["typeCompleteness"]["exportedSymbolCounts"]
    assert counts["withKnownType"] > 500
    assert counts["withUnknownType"] == 0
