"""The documentation: its examples run, its commands exist, its links and names are true."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pyvirtualcam

import livemosaic
from livemosaic.control.options import OPTIONS
from livemosaic.doctor import CheckResult
from livemosaic.window.keys import KEYS
from scripts import docs_hooks

from .clips import picture
from .conftest import ROOT
from .program import SMALL, Outcome, clip, needs_jit

PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))]
PAGES.append(ROOT / "bench" / "README.md")
IMAGES = ROOT / "docs" / "images"
IMAGES_MAX = 4_000_000  # bytes: a checkout should not be made of pictures

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def code_blocks(text: str, language: str) -> list[tuple[int, str]]:
    """Fenced blocks of a language, each with the number of its first line."""
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start()) + 2, match[1]) for match in found]


def examples() -> list[Any]:
    return [
        pytest.param(code, id=f"{page.name}:{line}")
        for page in PAGES
        for line, code in code_blocks(page.read_text(encoding="utf-8"), "python")
    ]


# ---- examples ----------------------------------------------------------------------------


class FakeCamera:
    """A virtual camera where none is installed."""

    frames = 0
    signature = inspect.signature(pyvirtualcam.Camera)

    def __init__(self, *args: Any, **options: Any) -> None:
        given = self.signature.bind(*args, **options).arguments
        self.shape = (given["height"], given["width"], 3)

    def __enter__(self) -> FakeCamera:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.frames

    def send(self, frame: np.ndarray) -> None:
        assert frame.shape == self.shape
        self.frames += 1


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the examples name, on a machine with a webcam."""
    for name, count in (("photos_folder", 12), ("Pictures", 12)):
        (tmp_path / name).mkdir()
        for number in range(count):
            cv2.imwrite(str(tmp_path / name / f"{number}.jpg"), picture(number=number))
    cv2.imwrite(str(tmp_path / "photo.jpg"), picture())
    clip(tmp_path / "in.mp4", 5)
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda name: capture("in.mp4" if name == 0 else name))
    monkeypatch.setattr(pyvirtualcam, "Camera", FakeCamera)
    keys = iter([-1] * 5 + [27])
    monkeypatch.setattr(cv2, "pollKey", lambda: next(keys))
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@needs_jit
@pytest.mark.parametrize("code", examples())
def test_an_example_runs(code: str, desk: Path) -> None:
    exec(compile(code, "example", "exec"), {"__name__": "__main__"})


def test_there_are_examples() -> None:
    assert len(examples()) >= 10
    assert any("README" in str(example.id) for example in examples())


# ---- commands ----------------------------------------------------------------------------


def commands(text: str) -> Iterator[str]:
    """The commands in indented blocks, without the explanations behind them."""
    for line in text.splitlines():
        match = re.match(r" {4,}(?:cat \S+ \| )?(livemosaic .*)", line)
        if match:
            yield re.split(r" {2,}| \| |\s+#", match[1])[0]


@by_page
def test_commands_are_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = docs_hooks.subcommands()[""]
    for command in commands(page.read_text(encoding="utf-8")):
        words = shlex.split(command)[1:]
        _, unknown = parser.parse_known_args(words)
        # argparse takes no more outputs behind options.
        assert not [word for word in unknown if word.startswith("-")], command


# Options of other programs that the pages name.
FOREIGN = {
    "--strict",
    "--quick",
    "--install",
    "--coverage",
    "--memory-limit",
    "--nthreads",
    "--nworkers",
}


@by_page
def test_options_exist(page: Path) -> None:
    if page.parent.name == "bench" or page.name == "CHANGELOG.md":
        pytest.skip("options of other programs, and of other times")
    known = {
        name
        for parser in docs_hooks.subcommands().values()
        for name in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", parser.format_help())
    }
    text = page.read_text(encoding="utf-8")
    named = {name for code in re.findall(r"`(-[^`]+)`", text) for name in code.split()}
    unknown = {name for name in named if re.fullmatch(r"--[a-z][a-z-]*|-[a-z]", name)} - known
    assert unknown <= FOREIGN


# ---- names and links ---------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    """As GitHub shows the pages; `mkdocs build --strict` looks at those of the site."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        included = {"measurements.md": ROOT / "bench" / "README.md"}.get(file.name, file)
        if anchor:
            assert anchor in anchors(included), target


def test_images_are_used_and_small() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for image in IMAGES.iterdir():
        assert f"images/{image.name}" in text, image.name
    assert sum(image.stat().st_size for image in IMAGES.iterdir()) < IMAGES_MAX


def test_the_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folder = ROOT / "livemosaic"
    names = re.findall(r"`([\w./]+(?:\.py|\.md|/))`", text)
    assert len(names) > 30
    for name in names:
        here = [
            folder / name,
            ROOT / name,
            *folder.glob(f"mosaic/{name}"),
            *folder.glob(f"*/{name}"),
        ]
        assert any(path.exists() for path in here), name


def test_each_room_has_one_sentence() -> None:
    rooms = dict(docs_hooks.room_sentences(ROOT / "livemosaic"))
    assert {path.name for path in rooms} >= {"media", "mosaic", "match", "pipeline", "cli"}
    for folder, sentence in rooms.items():
        assert re.fullmatch(r"[A-Z].*\.", sentence), folder


@by_page
def test_facts_are_current(page: Path) -> None:
    """`python scripts/docs_hooks.py` writes them again."""
    text = page.read_text(encoding="utf-8")
    assert docs_hooks.rewritten(text) == text


def test_pages_have_the_small_facts() -> None:
    asked = re.findall(
        r"^<!-- made from the code: (\w+) -->$",
        "".join(page.read_text(encoding="utf-8") for page in PAGES),
        re.MULTILINE,
    )
    facts = ["inputs", "keys", "live_options", "outputs", "profiles", "rooms"]
    assert sorted(asked) == ["actions", "actions", *facts]


def test_the_page_of_keys_has_them_all() -> None:
    page = (ROOT / "docs" / "window.md").read_text(encoding="utf-8")
    for key in KEYS:
        assert f"| `{key.shown}` |" in page
        assert key.help in page


def shape(value: Any) -> Any:
    """The names in a JSON value, at all depths."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(item) for item in value[:1]] if isinstance(value, list) else None


@needs_jit
def test_the_json_page_has_the_names_of_a_run(
    program: Callable[..., Outcome], tmp_path: Path
) -> None:
    ((_, code), *_) = code_blocks((ROOT / "docs" / "json.md").read_text(encoding="utf-8"), "json")
    source = clip(tmp_path / "in.mp4", 3)
    done = program("run", source, tmp_path / "out.mp4", *SMALL, "--json", "--quiet")
    assert shape(json.loads(code)) == shape(json.loads(done.out))


def test_the_doctor_page_has_the_names_of_a_check() -> None:
    ((_, code), *_) = code_blocks((ROOT / "docs" / "doctor.md").read_text(encoding="utf-8"), "json")
    (check,) = json.loads(code)["checks"]
    assert set(check) == {field.name for field in dataclasses.fields(CheckResult)}


def test_the_api_page_has_all_public_names() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    errors = {name for name in livemosaic.__all__ if name.endswith("Error")}
    assert "::: livemosaic.errors\n" in page
    documented = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", page, re.M)}
    assert documented - {"errors"} == set(livemosaic.__all__) - errors


# ---- the hooks ---------------------------------------------------------------------------


def test_links_of_a_file_fit_the_site() -> None:
    text = "[![x](docs/images/a.jpg) y](docs/looks.md#tint) [b](CHANGELOG.md) [c](tests/x) [d](http://d)"
    assert docs_hooks.site_links(text, folder="") == (
        "[![x](images/a.jpg) y](looks.md#tint) [b](changelog.md) c [d](http://d)"
    )
    assert docs_hooks.site_links("[l](../docs/images/l.jpg)", folder="bench") == "[l](images/l.jpg)"


@pytest.mark.parametrize(
    ("section", "text", "expected"),
    [
        ("Parameters", "bgr : uint8 (h, w),\n    BGR", "bgr\n    uint8 (h, w),\n    BGR"),
        ("Raises", "UsageError : too large", "UsageError\n    too large"),
        ("Raises", "UsageError\n    too large", "UsageError\n    too large"),
        ("Returns", "the grid,\nor None", ":\n    the grid,\n    or None"),
        ("Returns", "ids : int32\nflips : bool", "ids :\n    int32\nflips :\n    bool"),
    ],
)
def test_descriptions_move_below_their_names(section: str, text: str, expected: str) -> None:
    head = f"Make it.\n\n{section}\n{'-' * len(section)}\n"
    assert docs_hooks.below(f"{head}{text}\n\nx : y") == f"{head}{expected}\n\nx : y"


def test_a_page_gets_what_it_asks_for() -> None:
    inside = "text {{ options mosaic }} in a line"
    assert docs_hooks.on_page_markdown(inside) == inside
    assert "# Changelog" in docs_hooks.on_page_markdown("[include: CHANGELOG.md](../CHANGELOG.md)")
    assert "| `--tint` `X` " in docs_hooks.on_page_markdown("{{ options mosaic }}")
    assert "--crops N" in docs_hooks.on_page_markdown("{{ usage gallery build }}")


@pytest.mark.slow
def test_the_reference_has_all_options_and_commands() -> None:
    page = docs_hooks.on_page_markdown((ROOT / "docs" / "cli.md").read_text(encoding="utf-8"))
    for option in OPTIONS:
        assert f"`{option.flag}`" in page
    for words in docs_hooks.subcommands():
        assert words in ("", "run", "gallery") or f"usage: livemosaic {words} " in page
